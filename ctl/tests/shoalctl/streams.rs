//! Commands that follow a stream: downloads, creation, verification, events.

use std::{sync::Arc, time::Duration};

use shoal_ctl::{Buffer, Exit, Io};
use tokio::sync::Notify;

use crate::fake::{Node, run};

#[tokio::test]
async fn a_download_is_silent_until_its_result() {
    let node = Node::start().await;
    let ran = node.run("auto-download --available-only").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    assert!(
        ran.out.starts_with("Merge complete!\n/downloads/film\u{fffd}[2J.webm\n"),
        "{}",
        ran.out
    );
    assert!(node.seen.last().contains("available_only: true"));
    let ran = node.run("request-download 10.0.0.2 7000 film.webm.part3").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    assert_eq!(
        ran.out,
        "File received successfully!\nchunk 2, 512.0 KiB in 12.0 ms, 41.7 MiB/s, verified\n"
    );
}

#[tokio::test]
async fn json_is_a_line_a_message() {
    let node = Node::start().await;
    for (line, count) in [
        ("auto-download", 2),
        ("request-download 10.0.0.2 7000 @2", 2),
        ("torrent verify", 2),
        ("torrent create /data --no-seed", 2),
    ] {
        let ran = node.run(&format!("{line} -o json")).await;
        assert_eq!(ran.exit, Exit::Ok, "{line}: {ran:?}");
        assert_eq!(ran.out.lines().count(), count, "{line}");
        for message in ran.out.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(message).unwrap().is_object());
        }
    }
}

#[tokio::test]
async fn a_stream_without_a_result_is_no_success() {
    let node = Node::start().await;
    for line in [
        "auto-download --torrent cut",
        "request-download 10.0.0.2 7000 @2 --torrent cut",
        "torrent verify cut",
    ] {
        let ran = node.run(line).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Internal, ""), "{line}");
        assert!(ran.err.contains("without a result"), "{}", ran.err);
    }
}

#[tokio::test]
async fn verification_ends_with_a_line() {
    let node = Node::start().await;
    let ran = node.run("torrent verify film").await;
    assert_eq!(ran.out, "film\u{fffd}: 2 of 3 chunks had, 1 chunk did not match\n");
}

#[tokio::test]
async fn the_metainfo_is_written_once_and_replaced_by_force() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("film.torrent");
    let output = file.to_str().unwrap();
    let words = [
        "torrent",
        "create",
        "film",
        "--tracker",
        "http://a/announce,udp://b:1",
        "--tracker",
        "http://c/announce",
        "--chunk-size",
        "1MiB",
        "--output",
        output,
    ];
    let ran = run(&node.unix, &words, "").await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    assert_eq!(ran.err, "left out, neither file nor folder: link\u{fffd}\n");
    assert_eq!(std::fs::read(&file).unwrap(), b"d4:infodee");
    let seen = node.seen.last();
    let here = std::env::current_dir().unwrap().join("film");
    assert!(seen.contains(&format!("path: {here:?}")), "{seen}");
    assert!(seen.contains("chunk_size_bytes: 1048576"), "{seen}");
    let tiers = "[TrackerTier { urls: [\"http://a/announce\", \"udp://b:1\"] }, \
                 TrackerTier { urls: [\"http://c/announce\"] }]";
    assert!(seen.contains(tiers), "{seen}");
    let ran = run(&node.unix, &words, "").await;
    assert_eq!(ran.exit, Exit::Precondition);
    assert_eq!(node.seen.all().len(), 1, "nothing is hashed for a file that cannot be written");
    let forced: Vec<&str> = words.into_iter().chain(["--force"]).collect();
    assert_eq!(run(&node.unix, &forced, "").await.exit, Exit::Ok);
}

#[tokio::test]
async fn a_relative_path_means_nothing_over_tcp() {
    let node = Node::start().await;
    let ran = run(&node.tcp, &["torrent", "create", "film"], "").await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("PATH 'film' must be absolute"), "{}", ran.err);
    assert_eq!(run(&node.tcp, &["torrent", "create", "/data/film"], "").await.exit, Exit::Ok);
    let ran = run(&node.tcp, &["torrent", "create", "/data/film", "--no-seed"], "").await;
    assert_eq!(ran.exit, Exit::Usage, "the metainfo would be lost");
}

#[tokio::test]
async fn events_are_lines_and_their_end_is_a_failure() {
    let node = Node::start().await;
    let ran = node.run("events --kind merge --kind disk --after 6 --epoch e1").await;
    assert!(ran.out.contains("merge    merged") && ran.out.ends_with("film was merged\n"));
    assert_eq!(ran.out.lines().count(), 1);
    assert!(ran.err.starts_with("at revision 7: 0 torrents, 0 jobs running\n"), "{}", ran.err);
    assert_eq!(ran.exit, Exit::Internal);
    let seen = node.seen.last();
    assert!(seen.contains("kinds: [Merge, Disk], after_revision: Some(6)"), "{seen}");
    let ran = node.run("events -o json").await;
    assert_eq!(ran.out.lines().count(), 3);
    assert_eq!(node.run("events --after 6").await.exit, Exit::Usage);
}

#[tokio::test]
async fn decisions_are_lines_and_what_is_left_out_is_counted() {
    let node = Node::start().await;
    let ran = node.run("policy trace --torrent film").await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    assert_eq!(
        ran.out,
        "TIME      CHUNK            OUTCOME    PEER            OF    US  REASON\n\
         10:20:30  film.webm.part1  chosen     10.0.0.2:7001   41    12  in the\u{fffd} zone\n\
         10:20:30  film.webm.part2  chosen     10.0.0.2:7001   41    12  in the\u{fffd} zone\n\
         10:20:30  film.webm.part9  chosen     10.0.0.2:7001   41    12  in the\u{fffd} zone\n"
    );
    assert_eq!(ran.err, "1 decision left out\n8 decisions left out\n");
    let seen = node.seen.last();
    assert_eq!(seen, "WatchDecisionsRequest { torrent: Some(\"film\"), follow: false }");
    let ran = node.run("policy trace -o json").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    assert_eq!(ran.out.lines().count(), 3);
    let last: serde_json::Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["skipped"], "8");
    assert_eq!(last["decisions"][0]["outcome"], "OUTCOME_CHOSEN");
    assert!(node.seen.last().contains("torrent: None"));
}

#[tokio::test]
async fn decisions_that_are_followed_have_no_end() {
    let node = Node::start().await;
    let ran = node.run("policy trace --follow").await;
    assert_eq!(ran.exit, Exit::Internal);
    assert!(ran.err.ends_with("shoalctl: the node ended the stream of decisions\n"), "{}", ran.err);
    assert!(node.seen.last().contains("follow: true"));
    let (exit, err) = interrupt(&node, "policy trace -f --torrent hang").await;
    assert_eq!(exit, Exit::Interrupted, "{err}");
}

/// Runs `line` and interrupts it once something was written.
async fn interrupt(node: &Node, line: &str) -> (Exit, String) {
    let interrupt = Arc::new(Notify::new());
    let (io, stdout, stderr) = Io::captured("");
    let mut io = io.interrupted_by(Arc::clone(&interrupt));
    let words = ["shoalctl", "--endpoint", &node.unix].into_iter().chain(line.split(' '));
    let pressed = async {
        while stdout.text().is_empty() && Buffer::text(&stderr).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        interrupt.notify_waiters();
        std::future::pending::<Exit>().await
    };
    let exit = tokio::select! {
        exit = shoal_ctl::run(words, &mut io) => exit,
        exit = pressed => exit,
    };
    (exit, stderr.text())
}

#[tokio::test]
async fn an_interrupted_download_goes_on_in_the_node() {
    let node = Node::start().await;
    let (exit, err) = interrupt(&node, "auto-download --torrent hang -o json").await;
    assert_eq!(exit, Exit::Interrupted);
    assert!(err.contains("job 9 goes on in the node (shoalctl jobs list)"), "{err}");
}

#[tokio::test]
async fn interrupted_events_tell_where_to_take_up() {
    let node = Node::start().await;
    let (exit, err) = interrupt(&node, "events --torrent hang").await;
    assert_eq!(exit, Exit::Interrupted);
    assert!(err.contains("events --after ") && err.contains("--epoch e1"), "{err}");
}
