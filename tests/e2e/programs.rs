//! The programs by themselves: what they say, and that a node is where it says and ends when asked.

use crate::binaries::{Program, texts};

#[tokio::test]
async fn both_programs_tell_their_version_and_help() {
    let home = tempfile::tempdir().unwrap();
    for program in [Program::shoald(), Program::shoalctl()].into_iter().flatten() {
        for flag in ["--version", "--help"] {
            let (code, out, err) = texts(&program.run(home.path(), &[flag]).await);
            assert_eq!((code, err.as_str()), (Some(0), ""));
            assert!(out.contains("shoal"), "{out}");
        }
    }
}

#[tokio::test]
async fn a_node_tells_where_it_is_serves_shoalctl_and_ends_when_asked() {
    let (Some(shoald), Some(shoalctl)) = (Program::shoald(), Program::shoalctl()) else { return };
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("node");
    let node = shoald.node("peer", &state, &[]).await;
    let ready = std::fs::read(state.with_extension("ready")).unwrap();
    let ready: serde_json::Value = serde_json::from_slice(&ready).unwrap();
    let told = ready.to_string();
    assert!(told.contains(&node.addr.to_string()), "{told}");
    let endpoint = format!("unix://{}", state.join("shoald.sock").display());
    let line = ["--endpoint", &endpoint, "node", "info"];
    let (code, out, err) = texts(&shoalctl.run(home.path(), &line).await);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains(&node.addr.to_string()), "{out}");
    assert_eq!(node.terminate().await, Some(0));
    let (code, out, err) = texts(&shoalctl.run(home.path(), &line).await);
    assert_eq!((code, out.as_str()), (Some(5), ""), "nobody is there");
    assert!(err.contains("no node at"), "{err}");
}
