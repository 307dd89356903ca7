//! Contexts: which node is meant, and what comes along.

use std::{path::Path, process::Command};

use shoal_ctl::{Exit, Places};

use crate::fake::{Node, Ran, run_at};

fn places(dir: &Path) -> Places {
    Places { config: Some(dir.join("config")), state: Some(dir.join("state")) }
}

async fn run(dir: &Path, line: &str) -> Ran {
    run_at(places(dir), &line.split(' ').collect::<Vec<_>>(), "").await
}

#[tokio::test]
async fn a_context_is_kept_used_shown_and_forgotten() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let add = format!("context add lab --endpoint {} --default-torrent film --use", node.unix);
    let ran = run(dir, &add).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "context lab is kept, and in use\n"));
    assert_eq!(run(dir, &add).await.exit, Exit::Precondition, "it is there already");
    assert_eq!(run(dir, "connect-tracker").await.exit, Exit::Ok);
    assert_eq!(node.seen.last(), "ConnectTrackerRequest { torrent: \"film\" }");
    let ran = run(dir, "connect-tracker --torrent other").await;
    assert_eq!(ran.exit, Exit::Ok);
    assert!(node.seen.last().contains("other"), "a flag overrules a context");
    let ran = run(dir, "context list").await;
    assert!(ran.out.contains("\n* lab   unix://"), "{}", ran.out);
    let ran = run(dir, "context use --none").await;
    assert_eq!(ran.out, "no context is in use\n");
    assert_eq!(run(dir, "connect-tracker").await.exit, Exit::Unreachable, "the default node");
    assert_eq!(run(dir, "connect-tracker --context lab").await.exit, Exit::Ok);
    assert_eq!(run(dir, "context remove lab").await.exit, Exit::Ok);
    let ran = run(dir, "connect-tracker --context lab").await;
    assert_eq!(ran.exit, Exit::NotFound);
    assert!(ran.err.contains("there is no context 'lab'"), "{}", ran.err);
}

#[tokio::test]
async fn an_endpoint_stands_above_a_context_and_nothing_of_the_context_goes_there() {
    let (node, other) = (Node::start().await, Node::start().await);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let add = format!("context add lab --endpoint {} --default-torrent film --use", node.unix);
    assert_eq!(run(dir, &add).await.exit, Exit::Ok);
    let ran = run(dir, &format!("connect-tracker --endpoint {}", other.unix)).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    assert!(node.seen.all().is_empty());
    assert_eq!(other.seen.last(), "ConnectTrackerRequest { torrent: \"\" }");
    let ran = run(dir, &format!("connect-tracker --context lab --endpoint {}", other.unix)).await;
    assert!(ran.err.contains("not that of context 'lab'"), "{}", ran.err);
    assert!(node.seen.all().is_empty());
}

#[tokio::test]
async fn a_contexts_format_holds_where_a_command_has_it() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let add = format!("context add lab --endpoint {} --default-format name --use", node.unix);
    assert_eq!(run(dir, &add).await.exit, Exit::Ok);
    assert_eq!(run(dir, "jobs list").await.out, "9\n10\n");
    assert_eq!(run(dir, "jobs list -o jsonl").await.out.lines().count(), 2);
    let ran = run(dir, "connect-tracker").await;
    assert!(ran.out.starts_with("Tracker established"), "{ran:?}");
    assert!(run(dir, "completions bash").await.out.contains("complete -o nospace"));
}

#[tokio::test]
async fn a_shell_goes_to_the_contexts_node_with_its_torrent() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let add = format!("context add lab --endpoint {} --default-torrent film --use", node.unix);
    assert_eq!(run(dir, &add).await.exit, Exit::Ok);
    let input = "/connect_tracker\ncontext list -o name\nnode info --context lab\n";
    let ran = run_at(places(dir), &["shell"], input).await;
    assert!(ran.out.ends_with("\nlab\n"), "{}", ran.out);
    assert!(ran.err.contains("a shell stays with its node"), "{}", ran.err);
    assert_eq!(node.seen.all(), ["ConnectTrackerRequest { torrent: \"film\" }"]);
}

/// What `shoalctl` prints with these variables, and nothing else in its environment.
async fn with_vars(vars: &[(&str, &str)], line: &str) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shoalctl"));
    program.env_clear().envs(vars.iter().copied()).args(line.split(' '));
    let output = tokio::task::spawn_blocking(move || program.output()).await;
    let output = output.expect("it does not panic").expect("the program starts");
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_flag_beats_the_environment_which_beats_a_context() {
    let (one, two, three) = (Node::start().await, Node::start().await, Node::start().await);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().to_str().unwrap();
    let home = [("XDG_CONFIG_HOME", config), ("XDG_STATE_HOME", config)];
    for (name, node) in [("one", &one), ("two", &two)] {
        with_vars(&home, &format!("context add {name} --endpoint {}", node.unix)).await;
    }
    let asked = async |vars: &[(&str, &str)], line: &str| {
        let before = [&one, &two, &three].map(|node| node.seen.all().len());
        with_vars(&[&home, vars].concat(), line).await;
        let after = [&one, &two, &three].map(|node| node.seen.all().len());
        before.iter().zip(after).position(|(before, after)| *before != after)
    };
    let (by_name, by_endpoint) =
        (("SHOAL_CONTEXT", "one"), ("SHOAL_ENDPOINT", three.unix.as_str()));
    assert_eq!(asked(&[by_name], "node info").await, Some(0));
    assert_eq!(asked(&[by_name], "node info --context two").await, Some(1));
    assert_eq!(asked(&[by_name, by_endpoint], "node info").await, Some(2));
    assert_eq!(asked(&[by_endpoint], "node info --context two").await, Some(2));
    let line = format!("node info --endpoint {}", one.unix);
    assert_eq!(asked(&[by_endpoint], &line).await, Some(0));
    with_vars(&home, "context use two").await;
    assert_eq!(asked(&[], "node info").await, Some(1));
    let names = with_vars(&[&home[..], &[("SHOAL_OUTPUT", "name")]].concat(), "jobs list").await;
    assert_eq!(names, "9\n10\n");
}
