//! Tokens: made, listed, revoked; and which of them goes with a call.

use std::{fs, os::unix::fs::PermissionsExt as _};

use shoal_ctl::Exit;

use crate::fake::{Node, run};

#[tokio::test]
async fn a_secret_is_all_that_goes_to_standard_output() {
    let node = Node::start().await;
    let ran = node.run("token create ci --scope read,write --scope policy").await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    assert_eq!(ran.out, format!("shoal_{}\n", "5e".repeat(32)));
    assert!(ran.err.contains("token ci (tok_0123456789ab)"), "{}", ran.err);
    let seen = node.seen.last();
    assert!(seen.contains("name: \"ci\"") && seen.contains("expires_at: None"), "{seen}");
    let ran = node.run("token create ci --scope admin --expires 30d -o json").await;
    assert_eq!(ran.json()["token"]["scopes"][0], "TOKEN_SCOPE_ADMIN");
    assert!(node.seen.last().contains("expires_at: Some("), "{}", node.seen.last());
    for wrong in ["token create ci", "token create ci --scope all", "token create --scope read"] {
        assert_eq!(node.run(wrong).await.exit, Exit::Usage, "{wrong}");
    }
}

#[tokio::test]
async fn a_secret_goes_into_a_new_file_of_its_user_alone() {
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().join("ci.token");
    let words = ["token", "create", "ci", "--scope", "read", "--output", path.to_str().unwrap()];
    let ran = run(&node.unix, &words, "").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""), "{ran:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("shoal_{}\n", "5e".repeat(32)));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let requests = node.seen.all().len();
    let again = run(&node.unix, &words, "").await;
    assert_eq!(again.exit, Exit::Precondition, "{again:?}");
    assert_eq!(node.seen.all().len(), requests, "no token is made that nobody could use");
}

#[tokio::test]
async fn tokens_are_listed_without_secrets_and_revoked_by_name() {
    let node = Node::start().await;
    let ran = node.run("token list").await;
    let lines: Vec<Vec<&str>> =
        ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected: [Vec<&str>; 3] = [
        vec!["NAME", "SCOPES", "EXPIRES", "CREATED", "ID", "FILE"],
        vec!["admin", "admin", "never", "1970-01-01", "tok_0123456789ab", "/state/admin.token"],
        vec!["ci", "read,write", "1970-01-02", "1970-01-01", "tok_0123456789ab", "-"],
    ];
    assert_eq!(lines, expected);
    let ran = node.run("token revoke ci").await;
    assert_eq!(ran.out, "token ci (tok_0123456789ab) is refused from now on\n");
    assert_eq!(node.seen.last(), "RevokeTokenRequest { token: \"ci\" }");
}

#[tokio::test]
async fn a_token_is_sent_to_this_machine_and_not_over_a_network_in_the_open() {
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let file = dir.path().join("token");
    fs::write(&file, "shoal_secret\n").unwrap();
    let file = file.to_str().unwrap();
    let ran = run(&node.tcp, &["--token-file", file, "node", "info"], "").await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    for endpoint in ["http://192.0.2.1:7002", "192.0.2.1:7002", "http://node1:7002"] {
        let ran = run(endpoint, &["node", "info", "--token-file", file], "").await;
        assert_eq!(ran.exit, Exit::NotAllowed, "{ran:?}");
        assert!(ran.err.contains("https://") && !ran.err.contains("secret"), "{}", ran.err);
    }
    let none = dir.path().join("none");
    let ran = run(&node.tcp, &["node", "info", "--token-file", none.to_str().unwrap()], "").await;
    assert_eq!(ran.exit, Exit::NotFound, "{ran:?}");
    fs::write(&none, "two words").unwrap();
    let ran = run(&node.tcp, &["node", "info", "--token-file", none.to_str().unwrap()], "").await;
    assert_eq!(ran.exit, Exit::Usage, "{ran:?}");
    assert!(!ran.err.contains("words"), "{}", ran.err);
}

#[tokio::test]
async fn certificates_without_tls_and_halves_of_a_pair_are_usage() {
    let node = Node::start().await;
    for words in ["--ca x", "--cert x --key y", "--cert x", "--key y"] {
        let words: Vec<_> = words.split(' ').chain(["node", "info"]).collect();
        let ran = run(&node.tcp, &words, "").await;
        assert_eq!(ran.exit, Exit::Usage, "{ran:?}");
    }
}
