//! What survives a restart, what is refused, and what the files of the node's own tokens do.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::auth::scope::Scope;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn later(s: u64) -> SystemTime {
    NOW + Duration::from_secs(s)
}

fn open(dir: &TempDir) -> Tokens {
    Tokens::open(dir.path(), NOW).unwrap()
}

fn secret_in(dir: &TempDir, file: &str) -> String {
    fs::read_to_string(dir.path().join(file)).unwrap().trim().to_owned()
}

fn new(name: &str, expires: Option<SystemTime>) -> NewToken {
    NewToken { name: name.to_owned(), scopes: Scopes::new([Scope::Write]), expires }
}

fn good(tokens: &Tokens, secret: &str) -> bool {
    tokens.check(secret, NOW).is_some()
}

#[test]
fn the_first_start_makes_two_tokens_for_the_node_s_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(&dir);
    let admin = tokens.check(&secret_in(&dir, "admin.token"), NOW).unwrap();
    assert_eq!(
        (admin.token.name.as_str(), admin.token.scopes.allow(Scope::Policy)),
        ("admin", true)
    );
    let readonly = tokens.check(&secret_in(&dir, "readonly.token"), NOW).unwrap();
    assert!(readonly.token.scopes.allow(Scope::Read) && !readonly.token.scopes.allow(Scope::Write));
    for file in ["admin.token", "readonly.token", "tokens.json"] {
        let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let list = fs::read_to_string(dir.path().join("tokens.json")).unwrap();
    assert!(!list.contains(&secret_in(&dir, "admin.token")[6..]), "only hashes are kept");
}

#[test]
fn tokens_outlive_a_restart_and_revoked_ones_stay_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(&dir);
    let admin = secret_in(&dir, "admin.token");
    let (kept, secret) = tokens.create(new("ci", Some(later(9))), NOW).unwrap();
    let (_, gone) = tokens.create(new("old", None), NOW).unwrap();
    let grant = tokens.check(gone.expose(), NOW).unwrap();
    assert_eq!(tokens.revoke("old").unwrap().name, "old");
    assert!(grant.ended.is_cancelled() && !good(&tokens, gone.expose()));
    let again = open(&dir);
    assert!(good(&again, &admin) && good(&again, secret.expose()));
    assert!(!good(&again, gone.expose()));
    assert!(again.list().contains(&kept));
    assert_eq!(again.revoke(&kept.id).unwrap(), kept, "by its id");
    assert!(matches!(again.revoke("ci"), Err(TokenError::Unknown(_))));
}

#[test]
fn a_token_ends_at_its_time_and_its_name_is_free_then() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(&dir);
    let (_, secret) = tokens.create(new("ci", Some(later(9))), NOW).unwrap();
    assert!(tokens.check(secret.expose(), later(8)).is_some());
    assert!(tokens.check(secret.expose(), later(9)).is_none());
    assert!(matches!(tokens.create(new("ci", None), later(8)), Err(TokenError::Exists(_))));
    tokens.create(new("ci", None), later(9)).unwrap();
    assert!(tokens.check(secret.expose(), later(9)).is_none());
}

#[test]
fn what_makes_no_token_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(&dir);
    let long = "x".repeat(NAME_LEN_MAX + 1);
    for name in ["", "a b", "tok_1", "é", "a/b", &long] {
        let refused = tokens.create(new(name, None), NOW);
        assert!(matches!(refused, Err(TokenError::BadName(_))), "{name}");
    }
    tokens.create(new(&long[1..], None), NOW).unwrap();
    let refused = tokens.create(new("a", Some(NOW)), NOW);
    assert!(matches!(refused, Err(TokenError::Expired)));
    let refused = tokens.create(NewToken { scopes: Scopes::default(), ..new("a", None) }, NOW);
    assert!(matches!(refused, Err(TokenError::NoScope)));
    let refused = tokens.create(new("admin", None), NOW);
    assert!(matches!(refused, Err(TokenError::Exists(_))));
    assert_eq!(tokens.list().len(), 3);
}

#[test]
fn there_are_so_many_tokens_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(&dir);
    // Written once, not a thousand times.
    let mut live = tokens.look().clone();
    let sample = live.tokens[0].clone();
    for n in live.tokens.len()..TOKENS_MAX - 1 {
        let mut held = sample.clone();
        held.token.name = format!("t{n}");
        live.tokens.push(held);
    }
    *tokens.change() = live;
    tokens.create(new("last", None), NOW).unwrap();
    assert!(matches!(tokens.create(new("more", None), NOW), Err(TokenError::TooMany)));
    let again = open(&dir);
    assert_eq!(again.list().len(), TOKENS_MAX, "and all of them are read");
}

#[test]
fn to_delete_the_file_of_a_builtin_token_rotates_it() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir);
    let (old, readonly) = (secret_in(&dir, "admin.token"), secret_in(&dir, "readonly.token"));
    fs::remove_file(dir.path().join("admin.token")).unwrap();
    let tokens = open(&dir);
    let fresh = secret_in(&dir, "admin.token");
    assert_ne!(old, fresh);
    assert!(!good(&tokens, &old) && good(&tokens, &fresh) && good(&tokens, &readonly));
    assert_eq!(tokens.list().len(), 2);
}

#[test]
fn a_builtin_token_that_was_revoked_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(&dir);
    let old = secret_in(&dir, "admin.token");
    tokens.revoke("admin").unwrap();
    assert!(!dir.path().join("admin.token").exists());
    // From a backup, say.
    fs::write(dir.path().join("admin.token"), &old).unwrap();
    let again = open(&dir);
    assert!(!good(&again, &old));
    let (token, secret) = again.create(new("admin", None), NOW).unwrap();
    assert_eq!(token.file, None, "its name is free for an ordinary one");
    assert!(good(&open(&dir), secret.expose()));
}

#[test]
fn a_secret_that_an_operator_puts_into_the_file_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let own = Secret::random().unwrap();
    fs::write(dir.path().join("admin.token"), own.expose()).unwrap();
    let tokens = open(&dir);
    assert!(good(&tokens, own.expose()));
    let mode = fs::metadata(dir.path().join("admin.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "closed to others");
    fs::remove_file(dir.path().join("tokens.json")).unwrap();
    assert!(good(&open(&dir), own.expose()), "so it outlives the list");
    fs::write(dir.path().join("admin.token"), "hunter2").unwrap();
    let refused = Tokens::open(dir.path(), NOW).unwrap_err().to_string();
    assert!(refused.contains("admin.token holds no token"), "{refused}");
    assert!(!refused.contains("hunter2"));
}

#[test]
fn a_list_that_cannot_be_read_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["{", "{\"version\":2,\"tokens\":[],\"retired\":[]}"] {
        fs::write(dir.path().join("tokens.json"), text).unwrap();
        let refused = Tokens::open(dir.path(), NOW).unwrap_err().to_string();
        assert!(refused.contains("tokens.json: ") && !refused.contains('\n'), "{refused}");
        assert_eq!(fs::read_to_string(dir.path().join("tokens.json")).unwrap(), text);
    }
}

#[test]
fn a_token_whose_end_cannot_be_saved_is_refused_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(&dir);
    let (_, secret) = tokens.create(new("ci", None), NOW).unwrap();
    let path = dir.path().to_owned();
    dir.close().unwrap();
    assert!(matches!(tokens.revoke("ci"), Err(TokenError::RevokedNotSaved { .. })));
    assert!(!good(&tokens, secret.expose()), "{}", path.display());
    assert!(matches!(tokens.create(new("new", None), NOW), Err(TokenError::NotSaved { .. })));
}
