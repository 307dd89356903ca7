//! What goes wrong, how it is said, and the exit code that tells it.

use std::io::{self, Cursor, Write};

use shoal_ctl::{Buffer, Exit, Io};

use crate::fake::{Node, run};

#[tokio::test]
async fn each_status_has_its_exit_code() {
    let node = Node::start().await;
    for (code, exit) in [
        (1, Exit::Precondition),
        (2, Exit::Internal),
        (3, Exit::Invalid),
        (4, Exit::Deadline),
        (5, Exit::NotFound),
        (6, Exit::Precondition),
        (7, Exit::NotAllowed),
        (8, Exit::Precondition),
        (9, Exit::Precondition),
        (12, Exit::Unimplemented),
        (13, Exit::Internal),
        (14, Exit::Unreachable),
        (16, Exit::NotAllowed),
    ] {
        for command in [
            "quit-torrent",
            "auto-download",
            "torrent verify",
            "see-connected",
            "policy set --none",
            "policy status",
            "policy reset",
            "policy explain @2",
            "policy trace",
        ] {
            let ran = node.run(&format!("{command} --torrent code:{code}")).await;
            assert_eq!(ran.exit, exit, "{command} {code}: {ran:?}");
            assert_eq!(ran.out, "");
            assert_eq!(ran.err, "shoalctl: as asked\n");
        }
    }
}

#[tokio::test]
async fn a_near_name_is_a_hint_and_json_tells_all() {
    let node = Node::start().await;
    let ran = node.run("ping 10.0.0.2 7000 --torrent near").await;
    assert_eq!(ran.exit, Exit::NotFound);
    assert_eq!(ran.err, "shoalctl: no torrent 'near'\nhint: did you mean 'film'?\n");
    let ran = node.run("ping 10.0.0.2 7000 --torrent near -o json").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::NotFound, ""));
    let json: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(json["code"], "NOT_FOUND");
    assert_eq!(json["reason"], "NO_SUCH_TORRENT");
    assert_eq!(json["metadata"]["suggestion"], "film");
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_nonsense_is_usage() {
    let ran = run("unix:///nowhere/shoald.sock", &["node", "info"], "").await;
    assert_eq!(ran.exit, Exit::Unreachable);
    assert!(ran.err.contains("unix:///nowhere/shoald.sock"), "{}", ran.err);
    assert!(ran.err.contains("hint: "), "{}", ran.err);
    let ran = run("ftp://10.0.0.1", &["node", "info", "-o", "json"], "").await;
    assert_eq!(ran.exit, Exit::Usage);
    let json: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(json["reason"], "USAGE");
}

#[tokio::test]
async fn a_connection_that_breaks_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let hangs_up = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    for words in [&["node", "info"][..], &["auto-download"], &["see-connected"]] {
        let ran = run(&endpoint, words, "").await;
        assert_eq!(ran.exit, Exit::Unreachable, "{ran:?}");
    }
    hangs_up.abort();
}

#[tokio::test]
async fn a_wrong_line_is_usage_in_either_format() {
    let ran = run("unix:///nowhere", &["ping", "10.0.0.2", "70000"], "").await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("'70000' for '<PORT>'"), "{}", ran.err);
    let ran = run("unix:///nowhere", &["ping", "10.0.0.300", "1", "-o", "json"], "").await;
    assert_eq!(ran.exit, Exit::Usage);
    let json: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert!(json["message"].as_str().unwrap().contains("<IP>"), "{}", ran.err);
}

#[tokio::test]
async fn time_runs_out_for_replies_and_for_streams() {
    let node = Node::start().await;
    for line in [
        "connect-tracker --torrent slow --timeout 50ms",
        "auto-download --torrent slow --timeout 50ms",
        "auto-download --torrent hang --timeout 50ms",
        "events --torrent hang --timeout 50ms",
        "policy explain --torrent slow --timeout 50ms",
        "policy trace --follow --torrent hang --timeout 50ms",
    ] {
        let ran = node.run(line).await;
        assert_eq!(ran.exit, Exit::Deadline, "{line}: {ran:?}");
        assert!(ran.err.contains("no answer within 50ms"), "{}", ran.err);
    }
}

/// Takes some writes, then has no reader.
struct Pipe(usize);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0 -= 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_run_quietly() {
    let node = Node::start().await;
    for (takes, line) in [
        (0, "see-chunk-status"),
        (0, "completions bash"),
        (0, "--help"),
        (1, "events -o json --torrent hang"),
        (1, "policy trace -o json --follow --torrent hang"),
    ] {
        let stderr = Buffer::default();
        let mut io = Io::new(Cursor::new(Vec::new()), Pipe(takes), stderr.clone());
        let words = ["shoalctl", "--endpoint", &node.unix].into_iter().chain(line.split(' '));
        let exit = shoal_ctl::run(words, &mut io).await;
        assert_eq!((exit, stderr.text().as_str()), (Exit::Ok, ""), "{line}");
    }
}
