//! What people get wrong on a command line: one clear line that names the thing, the right exit
//! code, and nothing left half done.

use std::{fs, path::Path};

use crate::{
    binaries::{Program, texts},
    harness::{CHUNK, dead_port, metainfo, sample},
};

/// A peer with these arguments ends with this code and one line that has all these words.
async fn check(home: &Path, args: &[&str], code: i32, words: &[&str]) {
    let Some(shoald) = Program::shoald() else { return };
    let state = home.join("state");
    let mut line = vec!["peer", "--listen", "127.0.0.1:0", "--log", "off"];
    line.extend(["--state-dir", state.to_str().unwrap()]);
    line.extend(args);
    let (ended, out, err) = texts(&shoald.run(home, &line).await);
    assert_eq!((ended, out.as_str()), (Some(code), ""), "{args:?}: {err}");
    assert!(err.starts_with("error: ") && err.lines().count() == 1, "{args:?}: {err}");
    for word in words {
        assert!(err.contains(word), "{args:?}: no {word:?} in {err}");
    }
    assert!(
        !state.join("torrents").is_dir()
            || fs::read_dir(state.join("torrents")).unwrap().count() == 0
    );
    assert!(!state.join("shoald.sock").exists(), "{args:?}");
}

/// A metainfo file of one file with these path components, put together by hand.
fn with_path(components: &[&str]) -> Vec<u8> {
    let path: String = components.iter().map(|c| format!("{}:{c}", c.len())).collect();
    let info =
        format!("d5:filesld6:lengthi1e4:pathl{path}eee4:name1:n12:piece lengthi16384e6:pieces20:");
    [b"d4:info", info.as_bytes(), &[b'x'; 20], b"ee"].concat()
}

#[tokio::test]
async fn torrent_files_that_are_none() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let whole = metainfo("file1.webm", &sample(1000, 1), CHUNK, &[]);
    let truncated = file("truncated.torrent", &whole[..whole.len() - 7]);
    let escaping = file("escaping.torrent", &with_path(&["..", "etc", "passwd"]));
    let v2 = b"d4:infod9:file treed1:ad0:d6:lengthi1eeee12:meta versioni2e4:name1:a12:piece lengthi16384eee";
    let v2 = file("v2.torrent", v2);
    let text = file("text.torrent", b"hello");
    for (path, code, words) in [
        ("missing.torrent", 3, &["missing.torrent", "No such file"][..]),
        (&truncated, 8, &["truncated.torrent"]),
        (&escaping, 8, &["escaping.torrent", ".."]),
        (&v2, 8, &["v2.torrent", "v2"]),
        (&text, 8, &["text.torrent"]),
    ] {
        check(home.path(), &["--torrent", path], code, words).await;
    }
}

#[tokio::test]
async fn ports_and_folders_that_are_taken_or_cannot_be() {
    let Some(shoald) = Program::shoald() else { return };
    let home = tempfile::tempdir().unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().to_string();
    let state = home.path().join("other");
    let line = ["peer", "--log", "off", "--listen", &port, "--state-dir", state.to_str().unwrap()];
    let (code, _, err) = texts(&shoald.run(home.path(), &line).await);
    assert_eq!(code, Some(7), "{err}");
    assert!(err.contains(&port) && err.contains("--listen") && err.lines().count() == 1, "{err}");

    let blocked = home.path().join("file");
    fs::write(&blocked, "no folder").unwrap();
    let below = blocked.join("downloads");
    let below = below.to_str().unwrap();
    let line = ["peer", "--log", "off", "--listen", "127.0.0.1:0", "--downloads", below];
    let (code, _, err) = texts(&shoald.run(home.path(), &line).await);
    assert!(code.is_some_and(|code| code != 0) && err.lines().count() == 1, "{err}");
    assert!(err.contains(below) && err.contains("--downloads"), "{err}");
    assert_eq!(fs::read(&blocked).unwrap(), b"no folder");

    let state = home.path().join("node");
    let node = shoald.node("peer", &state, &[]).await;
    let pid = node.info().await.pid.to_string();
    let socket = format!("unix:{}", home.path().join("second.sock").display());
    let line = ["peer", "--log", "off", "--listen", "127.0.0.1:0", "--control", &socket];
    let line: Vec<_> = line.into_iter().chain(["--state-dir", state.to_str().unwrap()]).collect();
    let (code, _, err) = texts(&shoald.run(home.path(), &line).await);
    assert_eq!(code, Some(7), "{err}");
    assert!(err.contains(&pid) && err.contains("--state-dir"), "{err}");
    assert!(node.info().await.uptime_ms > 0, "the first one goes on");
    assert_eq!(node.terminate().await, Some(0));
}

#[tokio::test]
async fn flags_chunks_and_peers_that_are_unknown_and_commands_of_the_other_role() {
    let (Some(shoald), Some(shoalctl)) = (Program::shoald(), Program::shoalctl()) else { return };
    let home = tempfile::tempdir().unwrap();
    let (code, out, err) = texts(&shoald.run(home.path(), &["peer", "--lissten", "x"]).await);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("--lissten") && err.contains("--listen"), "{err}");
    let (code, _, err) = texts(&shoalctl.run(home.path(), &["conect-tracker"]).await);
    assert_eq!(code, Some(2));
    assert!(err.contains("conect-tracker") && err.contains("connect-tracker"), "{err}");

    let file = home.path().join("a.torrent");
    let url = format!("http://127.0.0.1:{}/announce", dead_port());
    fs::write(&file, metainfo("file1.webm", b"x", CHUNK, &[&url])).unwrap();
    let state = home.path().join("peer");
    let peer = shoald.node("peer", &state, &["--torrent", file.to_str().unwrap()]).await;
    let socket = |state: &Path| format!("unix://{}", state.join("shoald.sock").display());
    let tracker_state = home.path().join("tracker");
    let tracker = shoald.node("tracker", &tracker_state, &[]).await;
    let (own, port) = (peer.addr.to_string(), peer.addr.port().to_string());
    for (state, line, code, word) in [
        (&state, &["connect-tracker"][..], 5, url.as_str()),
        (&state, &["ping", "127.0.0.1", "9"], 3, "127.0.0.1:9"),
        (&state, &["merge-chunks", "file1.wbem"], 3, "file1.webm"),
        (&state, &["connect-peer", "127.0.0.1", &port], 8, &own),
        (&state, &["tracker", "swarms"], 7, "tracker role"),
        (&tracker_state, &["see-connected"], 7, "peer role"),
    ] {
        let endpoint = socket(state);
        let words: Vec<_> =
            ["--endpoint", &endpoint].into_iter().chain(line.iter().copied()).collect();
        let (ended, out, err) = texts(&shoalctl.run(home.path(), &words).await);
        assert_eq!((ended, out.as_str()), (Some(code), ""), "{line:?}: {err}");
        assert!(err.starts_with("shoalctl: ") && err.contains(word), "{line:?}: {err}");
    }
    assert_eq!((peer.terminate().await, tracker.terminate().await), (Some(0), Some(0)));
}
