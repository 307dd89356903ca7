//! The program's own surface: flags, exit codes, what goes to which stream. What nodes do is tested
//! in the root package's `e2e`, which needs the program that building this test builds.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod deploy;
mod logs;
mod sim;

use std::process::{Command, Output};

fn shoald(args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoald"));
    command.args(args).env_clear().env("HOME", home.path()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn version_is_data_and_usage_is_talk() {
    let version = shoald(&["--version"]);
    assert!(version.status.success());
    assert_eq!(text(&version.stdout), concat!("shoald ", env!("CARGO_PKG_VERSION"), "\n"));
    let usage = shoald(&["peer", "--bogus"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(usage.stdout.is_empty());
    assert!(text(&usage.stderr).contains("--bogus"), "{}", text(&usage.stderr));
}

#[test]
fn printed_configuration_is_a_configuration() {
    let printed =
        shoald(&["peer", "--listen", "127.0.0.1:0", "--label", "zone=a", "--print-config"]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shoal.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let again = shoald(&["run", "--config", &file.display().to_string(), "--print-config"]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    // The folders of the first run's home are written out, so that the second run has them too.
    assert_eq!(text(&again.stdout), text(&printed.stdout));
    for key in ["state-dir", "control", "downloads", "listen", "[peer.label]"] {
        let there = text(&printed.stdout).lines().any(|line| line.starts_with(key));
        assert!(there, "{key} in {}", text(&printed.stdout));
    }
}

#[test]
fn unknown_key_of_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shoal.toml");
    std::fs::write(&file, "[peer]\nlissten = \"127.0.0.1:0\"\n").unwrap();
    let refused = shoald(&["run", "--config", &file.display().to_string()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("lissten"), "{}", text(&refused.stderr));
}
