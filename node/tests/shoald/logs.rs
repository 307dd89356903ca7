//! `--log-format json`: one object a line, whatever callers and torrents are called, with the call
//! that a line was for; and no secret in it.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use shoal::v1::{
    self as api, peer_service_client::PeerServiceClient,
    torrent_service_client::TorrentServiceClient,
};
use tonic::{Request, metadata::MetadataValue};

const SECRET: &str = "5ecre7passkey";

/// A node whose log is in `dir/log`, ready.
fn start(dir: &Path) -> Child {
    let ready = dir.join("ready");
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoald"));
    command.args(["peer", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    // Everything that shoal itself says, and what libraries do above their innermost.
    command.args(["--log", "debug,shoal_node=trace,policy=trace"]);
    command.arg("--state-dir").arg(dir.join("state")).arg("--ready-file").arg(&ready);
    command.env_clear().env("HOME", dir).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(File::create(dir.join("log")).unwrap()).spawn().unwrap();
    let began = Instant::now();
    while !ready.exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "the node does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

async fn use_it(dir: &Path) {
    let socket = format!("unix://{}", dir.join("state/shoald.sock").display());
    let channel = shoal::client::connect(&socket).await.unwrap();
    let mut torrents = TorrentServiceClient::new(channel.clone());
    let evil = dir.join("evil\u{1b}[31m\u{202e}\n\"name");
    std::fs::write(&evil, vec![1; 100_000]).unwrap();
    let url = format!("http://127.0.0.1:1/announce?passkey={SECRET}");
    let request = api::CreateTorrentRequest {
        path: evil.display().to_string(),
        name: "ev\u{1b}[31mil".to_owned(),
        trackers: vec![api::TrackerTier { urls: vec![url] }],
        ..api::CreateTorrentRequest::default()
    };
    // Refused for its name, or made: both are to be told in whole lines.
    if let Ok(made) = torrents.create_torrent(request.clone()).await {
        let mut made = made.into_inner();
        while made.message().await.is_ok_and(|message| message.is_some()) {}
    }
    let plain = api::CreateTorrentRequest { name: "plain".to_owned(), ..request };
    let mut made = torrents.create_torrent(plain).await.unwrap().into_inner();
    while made.message().await.unwrap().is_some() {}
    let mut asked = Request::new(api::GetTorrentRequest {
        torrent: "no\u{1b}such\nthing".to_owned(),
        ..api::GetTorrentRequest::default()
    });
    asked.metadata_mut().insert("x-request-id", MetadataValue::from_static("mine-1"));
    torrents.get_torrent(asked).await.unwrap_err();
    let connect = api::ConnectTrackerRequest { torrent: "plain".to_owned() };
    PeerServiceClient::new(channel).connect_tracker(connect).await.unwrap_err();
}

#[test]
fn every_line_is_an_object_with_its_call_and_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(use_it(dir.path()));
    kill_process(Pid::from_child(&node), Signal::TERM).unwrap();
    assert!(node.wait().unwrap().success());
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(!log.contains(SECRET), "{log}");
    let mut of_call = Vec::new();
    for line in log.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(parsed["timestamp"].is_string() && parsed["level"].is_string(), "{line}");
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
        let spans = parsed["spans"].as_array().cloned().unwrap_or_default();
        let call = spans.into_iter().find(|span| span["name"] == "call");
        of_call.extend(call.map(|call| (call, parsed["fields"].clone())));
    }
    let ended = of_call.iter().find(|(call, _)| call["id"] == "mine-1").unwrap();
    let (call, fields) = ended;
    assert_eq!(
        (&call["service"], &call["method"]),
        (&"shoal.v1.TorrentService".into(), &"GetTorrent".into())
    );
    assert!(call["peer"].as_str().unwrap().starts_with("unix:uid="), "{call}");
    assert_eq!(fields["code"], "NotFound");
    assert!(fields["duration_us"].as_u64().unwrap() > 0);
    let failed = of_call.iter().any(|(call, fields)| {
        call["method"] == "ConnectTracker" && fields["code"] == "Unavailable"
    });
    assert!(failed, "{of_call:#?}");
}
