//! `shoald dev`: a whole swarm in one command.

use crate::binaries::{Program, texts};

#[tokio::test]
async fn dev_shares_a_sample_verifies_every_copy_and_ends() {
    let Some(shoald) = Program::shoald() else { return };
    let home = tempfile::tempdir().unwrap();
    let line = ["dev", "--exit", "--size", "8MiB"];
    let (code, out, err) = texts(&shoald.run(home.path(), &line).await);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(!out.is_empty(), "a summary");
    println!("{out}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left behind");
}
