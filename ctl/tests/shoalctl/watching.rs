//! Looks that are repeated, and work that is waited for or not.

use std::{sync::Arc, time::Duration};

use shoal_ctl::{Exit, Io};
use tokio::sync::Notify;

use crate::fake::Node;

/// Runs `line` until it has looked `looks` times, then interrupts it.
async fn watch(node: &Node, line: &str, looks: usize) -> (Exit, String, String) {
    let interrupt = Arc::new(Notify::new());
    let (io, stdout, stderr) = Io::captured("");
    let mut io = io.interrupted_by(Arc::clone(&interrupt));
    let words = ["shoalctl", "--endpoint", &node.unix].into_iter().chain(line.split(' '));
    let pressed = async {
        while node.seen.all().len() < looks {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        interrupt.notify_waiters();
        std::future::pending::<Exit>().await
    };
    let exit = tokio::select! {
        exit = shoal_ctl::run(words, &mut io) => exit,
        exit = pressed => exit,
    };
    (exit, stdout.text(), stderr.text())
}

#[tokio::test]
async fn looks_are_appended_where_no_terminal_is_and_end_with_an_interrupt() {
    let node = Node::start().await;
    let (exit, out, err) = watch(&node, "jobs list --watch 100ms", 3).await;
    assert_eq!((exit, err.as_str()), (Exit::Interrupted, "shoalctl: interrupted\n"));
    let looks: Vec<&str> = out.split("\n\n").collect();
    assert!(looks.len() >= 2 && looks.iter().all(|look| look.starts_with("JOB")), "{out:?}");
}

#[tokio::test]
async fn programs_read_a_document_a_look() {
    for (format, begins) in [("json", "{\"jobs\""), ("jsonl", "{\"id\""), ("name", "")] {
        let node = Node::start().await;
        let (exit, out, _) = watch(&node, &format!("jobs list -o {format} --watch 100ms"), 3).await;
        assert_eq!(exit, Exit::Interrupted);
        assert!(out.lines().count() >= 2, "{out:?}");
        assert!(out.lines().all(|line| line.starts_with(begins)), "{format}: {out:?}");
    }
    let node = Node::start().await;
    let (_, out, _) = watch(&node, "jobs list -o yaml --watch 100ms", 3).await;
    assert!(out.matches("---\njobs:\n").count() >= 2, "{out:?}");
}

#[tokio::test]
async fn a_look_that_fails_ends_the_watch() {
    let node = Node::start().await;
    let ran = node.run("see-connected --torrent code:5 --watch").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::NotFound, ""));
    let ran = node.run("torrent show --watch film").await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("--watch"), "{}", ran.err);
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_begun() {
    let node = Node::start().await;
    let ran = node.run("auto-download --torrent hang --no-wait").await;
    assert_eq!(ran.exit, Exit::Ok);
    assert_eq!(ran.out, "job 9 has begun; shoalctl jobs wait 9 waits for it\n");
    let ran = node.run("auto-download --torrent hang --no-wait -o name").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "9\n"));
    for line in [
        "torrent verify hang --no-wait",
        "request-download 10.0.0.2 7000 @2 --torrent hang --no-wait",
    ] {
        let ran = node.run(line).await;
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""), "{line}");
        assert!(ran.out.contains("begun"), "{}", ran.out);
    }
    let ran = node.run("torrent create /data --no-wait --output /x").await;
    assert_eq!(ran.exit, Exit::Usage);
}

#[tokio::test]
async fn jobs_are_waited_for_until_they_have_ended() {
    let node = Node::start().await;
    let ran = node.run("jobs wait 9").await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    assert!(ran.out.contains("film"), "{}", ran.out);
    let ran = node.run("jobs wait 10").await;
    assert_eq!(ran.exit, Exit::Precondition, "{ran:?}");
    assert_eq!(ran.err, "shoalctl: job 10: failed: no room\n");
    let ran = node.run("jobs wait 9 11").await;
    assert_eq!(
        (ran.exit, ran.err.as_str()),
        (Exit::NotFound, "shoalctl: the node knows no job 11\n")
    );
}
