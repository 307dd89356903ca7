//! Candidates, as shells ask for them: by the program itself.

use std::process::{Command, Output};

use crate::fake::Node;

/// What the program answers to a shell whose cursor stands in the last of `words`.
async fn asked(node: &str, words: &[&str]) -> (Vec<String>, Output) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shoalctl"));
    program
        .env("_SHOALCTL_COMPLETE", "fish")
        .env("SHOAL_ENDPOINT", node)
        .env("XDG_CONFIG_HOME", "/nowhere")
        .env("XDG_STATE_HOME", "/nowhere")
        .args(["--", "shoalctl"])
        .args(words);
    let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let values = text.lines().map(|line| line.split('\t').next().unwrap().to_owned());
    (values.collect(), output)
}

async fn candidates(node: &str, words: &[&str]) -> Vec<String> {
    asked(node, words).await.0
}

#[tokio::test]
async fn what_the_node_has_is_offered() {
    let node = Node::start().await;
    for (words, expected) in [
        (&["torrent", "show", ""][..], "abababababab"),
        (&["see-connected", "--torrent", ""], "abababababab"),
        (&["request-download", "10.0.0.2", "7000", ""], "film.webm.part2"),
        (&["request_download", "10.0.0.2", "7000", "film.webm.part2"], "film.webm.part20"),
        (&["jobs", "cancel", ""], "10"),
        (&["policy", "set", "f"], "fastest"),
        (&["tracker", "peers", ""], "abababababab"),
        (&["call", "GetI"], "GetInfo"),
        (&["describe", "NodeS"], "NodeService"),
    ] {
        let found = candidates(&node.unix, words).await;
        assert!(found.iter().any(|found| found == expected), "{words:?}: {found:?}");
    }
}

#[tokio::test]
async fn peers_are_offered_by_address_and_then_by_port() {
    let node = Node::start().await;
    assert_eq!(candidates(&node.unix, &["connect-peer", "10."]).await, ["10.0.0.7"]);
    assert_eq!(candidates(&node.unix, &["connect-peer", "10.0.0.7", "7"]).await, ["7007"]);
    assert!(candidates(&node.unix, &["connect-peer", "10.0.0.8", "7"]).await.is_empty());
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_silence_and_soon() {
    let (found, output) = asked("unix:///nowhere/x.sock", &["jobs", "cancel", "1"]).await;
    assert!(found.is_empty() && output.stderr.is_empty() && output.status.success(), "{output:?}");
    // A listener that never answers: without a limit this would not end.
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let _mute = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let (found, output) =
        asked(&format!("unix://{}", socket.display()), &["jobs", "cancel", "1"]).await;
    assert!(found.is_empty() && output.stderr.is_empty() && output.status.success(), "{output:?}");
}

#[tokio::test]
async fn options_and_commands_need_no_node() {
    let found = candidates("unix:///nowhere", &["torrent", "re"]).await;
    assert_eq!(found, ["resume", "remove"]);
    let found = candidates("unix:///nowhere", &["jobs", "list", "--w"]).await;
    assert_eq!(found, ["--watch"]);
    let found = candidates("unix:///nowhere", &["jobs", "list", "-o", "j"]).await;
    assert_eq!(found, ["json", "jsonl"]);
}
