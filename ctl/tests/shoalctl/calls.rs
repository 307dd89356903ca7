//! Commands with one reply: what they ask, what they write.

use shoal_ctl::{Exit, Io, Terminals};

use crate::fake::{CHUNKS, Node, run};

#[tokio::test]
async fn a_sentence_is_all_that_is_written_over_either_transport() {
    let node = Node::start().await;
    for endpoint in [&node.unix, &node.tcp] {
        for spelling in ["connect-tracker", "connect_tracker"] {
            let ran = run(endpoint, &[spelling, "--torrent", "film"], "").await;
            assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
            assert_eq!(ran.out, "Tracker established connection to Peer[10.0.0.1,7000]\n");
            assert_eq!(ran.err, "");
            assert_eq!(node.seen.last(), "ConnectTrackerRequest { torrent: \"film\" }");
        }
    }
}

/// Each command with one reply, and something its table says.
const LINES: [(&str, &str); 33] = [
    ("connect-tracker", "Tracker established connection to Peer[10.0.0.1,7000]\n"),
    ("get-peer-set", "10.0.0.1:7000 (this)"),
    ("update-status-to-tracker", "Tracker updated Peer[10.0.0.1,7000] status\n"),
    ("disconnect-tracker", "Peer[10.0.0.1,7000] disconnected from tracker\n"),
    ("quit-torrent", "Peer[10.0.0.1,7000] quit torrent\n"),
    ("connect-peer 10.0.0.2 7000", "established connection to Peer[10.0.0.1,7000]\nclient:"),
    ("ping 10.0.0.2 7000", "received ping from Peer[10.0.0.1,7000]\n"),
    ("disconnect-peer 10.0.0.2 7000", "disconnected from Peer[10.0.0.1,7000]\n"),
    ("check-tracker-connected", "Peer is not connected to tracker\ntracker:       -\n"),
    ("check-target-peer-connected 10.0.0.2 7000", "Target Peer[10.0.0.2,7000] is not connected\n"),
    ("see-this-peer-info", "current chunks: film.part1 and 2 more\n"),
    ("see-peer-set", "from http://10.0.0.9:7001/announce"),
    ("see-connected", "PEER"),
    ("see-chunk-status", "film.webm.part1: 1"),
    ("merge-chunks film.webm", "Merge complete!\n/downloads/film.webm\n"),
    ("torrent list", "seeding"),
    ("torrent show", "2 of 3"),
    ("torrent pause", "film\u{fffd}: seeding\n"),
    ("torrent select --files *.mkv", "film\u{fffd}: 2 of 5 files wanted, 10.0 MiB of 30.0 MiB\n"),
    ("torrent resume film", "film\u{fffd}: seeding\n"),
    ("torrent remove film --yes", "film removed\n"),
    ("jobs list", "film"),
    ("jobs cancel 9", "job 9: cancelled\n"),
    ("tracker swarms", "abababababab"),
    ("tracker peers abab", "shoal\u{fffd}"),
    ("node info", "0.1.0"),
    ("node shutdown", "the node ends\n"),
    ("policy set rarest", "is in force\n"),
    ("policy status", "last error: bad.lua:3: '=' expected (syntax)\n  > 3 |    choose\u{fffd}\n"),
    ("policy list", "fastest  native  yes"),
    ("policy reset", "policy near.lua begins anew\n"),
    ("policy explain @2 --torrent film", "* 10.0.0.2:7001    2.5"),
    ("policy bench fastest", "         8       1000  850 ns  12.3 µs\n"),
];

#[tokio::test]
async fn every_command_writes_its_table_and_its_json() {
    let node = Node::start().await;
    for (line, part) in LINES {
        let ran = node.run(line).await;
        assert_eq!(ran.exit, Exit::Ok, "{line}: {ran:?}");
        assert!(ran.out.contains(part), "{line}: {}", ran.out);
        let ran = node.run(&format!("{line} -o json")).await;
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""), "{line}");
        assert!(ran.json().is_object(), "{line}");
    }
}

#[tokio::test]
async fn json_is_one_document_with_every_field() {
    let node = Node::start().await;
    let ran = node.run("-o json connect-peer 10.0.0.2 7000").await;
    assert_eq!(ran.exit, Exit::Ok);
    let json = ran.json();
    assert_eq!(json["already"], false);
    assert_eq!(json["chunksHave"], 0);
    assert!(node.seen.last().contains("PeerAddress { ip: \"10.0.0.2\", port: 7000 }"));
}

#[tokio::test]
async fn every_page_of_the_chunk_status_is_fetched() {
    let node = Node::start().await;
    let ran = node.run("see-chunk-status").await;
    assert_eq!(ran.exit, Exit::Ok);
    assert_eq!(ran.out.lines().count(), CHUNKS as usize);
    assert!(ran.out.starts_with("film.webm.part1: 1  "), "{}", &ran.out[..80]);
    assert!(ran.out.lines().nth(1).unwrap().starts_with("film.webm.part2: 0  "));
    assert!(!ran.err.contains("not shown"), "{}", ran.err);
    assert_eq!(node.seen.all().len(), 3);
    let json = node.run("see-chunk-status -o json").await.json();
    assert_eq!(json["chunks"].as_array().unwrap().len(), CHUNKS as usize);
    assert_eq!(json["nextPageToken"], "");
}

#[tokio::test]
async fn what_a_limit_leaves_out_is_said() {
    let node = Node::start().await;
    let ran = node.run("see-chunk-status --limit 1200").await;
    assert_eq!(ran.out.lines().count(), 1200);
    assert!(ran.err.contains("1300 more are not shown"), "{}", ran.err);
}

#[tokio::test]
async fn the_peer_set_marks_this_peer_and_shows_bits_when_asked() {
    let node = Node::start().await;
    let ran = node.run("see-peer-set --with-bitfields").await;
    assert!(ran.out.contains("10.0.0.1:7000 (this)     2/3"), "{}", ran.out);
    assert!(ran.out.contains("  101\n"), "{}", ran.out);
    let ran = node.run("get-peer-set").await;
    assert!(ran.out.contains("from http://10.0.0.9:7001/announce"), "{}", ran.out);
}

#[tokio::test]
async fn names_from_torrents_cannot_drive_a_terminal() {
    let node = Node::start().await;
    let ran = node.run("torrent list").await;
    assert!(ran.out.contains("film\u{fffd}") && !ran.out.contains('\u{202e}'), "{}", ran.out);
    let ran = node.run("torrent list -o json").await;
    assert!(ran.out.contains("film\\u202e"), "{}", ran.out);
    assert_eq!(ran.json()["torrents"][0]["name"], "film\u{202e}");
}

#[tokio::test]
async fn a_metainfo_file_is_read_here_and_a_seed_path_is_the_nodes() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.torrent");
    std::fs::write(&file, b"d4:spam").unwrap();
    let words = ["torrent", "add", file.to_str().unwrap(), "--seed", "data/film"];
    assert_eq!(run(&node.unix, &words, "").await.exit, Exit::Ok);
    let here = std::env::current_dir().unwrap().join("data/film");
    let seen = node.seen.last();
    assert!(seen.contains(&format!("seed_path: {here:?}")), "{seen}");
    assert!(seen.contains(&format!("Metainfo({:?})", b"d4:spam")), "{seen}");
    let ran = run(&node.tcp, &words, "").await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("--seed 'data/film' must be absolute"), "{}", ran.err);
    assert_eq!(node.seen.all().len(), 1);
}

#[tokio::test]
async fn files_are_named_once_or_more_or_all_of_them() {
    let node = Node::start().await;
    let seen = |line: &'static str| {
        let node = &node;
        async move {
            assert_eq!(node.run(line).await.exit, Exit::Ok);
            node.seen.last()
        }
    };
    assert_eq!(
        seen("torrent select film --files a/*.mkv --files !b").await,
        r#"SelectFilesRequest { torrent: "film", files: ["a/*.mkv", "!b"], all: false }"#
    );
    assert_eq!(
        seen("torrent select --all").await,
        r#"SelectFilesRequest { torrent: "", files: [], all: true }"#
    );
    for wrong in ["torrent select", "torrent select --all --files a", "torrent select a b"] {
        assert_eq!(node.run(wrong).await.exit, Exit::Usage, "{wrong}");
    }
    let wrong = node.run("torrent add x.torrent --files a --seed b").await;
    assert_eq!(wrong.exit, Exit::Usage);
    assert!(wrong.err.contains("--seed"), "{}", wrong.err);
}

#[tokio::test]
async fn removing_needs_an_answer() {
    let node = Node::start().await;
    let ran = node.run("torrent remove film").await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("--yes"), "{}", ran.err);
    assert!(node.seen.all().is_empty());
    let ran = node.run("torrent remove --torrent film --delete-data --yes").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "film removed\n"));
    assert_eq!(node.seen.last(), "RemoveTorrentRequest { torrent: \"film\", delete_data: true }");
    assert_eq!(node.run("torrent remove --yes").await.exit, Exit::Usage);
}

#[tokio::test]
async fn a_terminal_is_asked_before_a_torrent_is_removed() {
    let node = Node::start().await;
    for (answer, exit, requests) in
        [("n\n", Exit::Usage, 0), ("", Exit::Usage, 0), ("y\n", Exit::Ok, 1)]
    {
        let (io, stdout, stderr) = Io::captured(answer);
        let terminals = Terminals { stdin: true, stdout: false, stderr: true };
        let mut io = io.with_terminals(terminals);
        let words = ["shoalctl", "--endpoint", &node.unix, "torrent", "remove", "film"];
        assert_eq!(shoal_ctl::run(words, &mut io).await, exit, "{answer:?}");
        assert!(stderr.text().starts_with("Remove film? [y/N]\n"), "{}", stderr.text());
        assert_eq!(stdout.text().is_empty(), requests == 0);
        assert_eq!(node.seen.all().len(), requests);
    }
}

#[tokio::test]
async fn help_version_and_completions_need_no_node() {
    for (words, part) in [
        (&["--version"][..], "shoalctl "),
        (&["help"], "auto-download"),
        (&["completions", "bash"], "complete -o nospace"),
        (&["completions", "zsh"], "#compdef shoalctl"),
        (&["completions", "fish"], "complete --keep-order"),
        (&["completions", "bash", "--static"], "complete -F"),
        (&["man"], ".TH shoalctl 1"),
        (&["policy", "test", "--help"], "7 a test failed or there was none"),
    ] {
        let ran = run("unix:///nowhere", words, "").await;
        assert_eq!(ran.exit, Exit::Ok, "{words:?}");
        assert!(ran.out.contains(part), "{words:?}: {}", ran.out);
    }
}
