//! Any method by its descriptors, and what those say.

use serde_json::Value;
use shoal_ctl::Exit;

use crate::fake::{Node, run};

#[tokio::test]
async fn a_call_says_what_the_command_of_the_method_says() {
    let node = Node::start().await;
    for (call, command) in [
        ("GetInfo", "node info"),
        ("TorrentService/ListTorrents", "torrent list"),
        ("shoal.v1.JobService/ListJobs {\"pageSize\":1000}", "jobs list"),
        ("SeePeerSet {\"withBitfields\":true}", "see-peer-set --with-bitfields"),
        ("GetPolicy", "policy status"),
        ("CancelJob {\"jobId\":\"9\"}", "jobs cancel 9"),
    ] {
        let called = node.run(&format!("call {call}")).await;
        assert_eq!((called.exit, called.err.as_str()), (Exit::Ok, ""), "{call}");
        let command = node.run(&format!("{command} -o json")).await;
        assert_eq!(called.json(), command.json(), "{call}");
    }
}

#[tokio::test]
async fn a_stream_is_a_line_a_message_and_identifiers_are_found() {
    let node = Node::start().await;
    let ran = node.run("call AutoDownload {}").await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    let jobs: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(jobs.len(), 2);
    assert_eq!(jobs[1]["complete"], true);
    let ran = node.run("call ListJobs -o name").await;
    assert_eq!(ran.out, "9\n10\n");
    assert_eq!(node.run("call Ping -o name").await.exit, Exit::Usage);
}

#[tokio::test]
async fn the_request_may_come_from_a_file_or_from_standard_input() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("request.json");
    std::fs::write(&file, "{\"torrent\": \"film\"}").unwrap();
    let from_file = format!("@{}", file.display());
    for (given, stdin) in [(from_file.as_str(), ""), ("-", "{\"torrent\":\n\"film\"}")] {
        let ran = run(&node.unix, &["call", "QuitTorrent", given], stdin).await;
        assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
        assert_eq!(node.seen.last(), "QuitTorrentRequest { torrent: \"film\" }");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_said() {
    let node = Node::start().await;
    let ran = node.run("call QuitTorrent {\"torent\":\"film\"}").await;
    assert_eq!(ran.exit, Exit::Invalid);
    assert_eq!(
        ran.err,
        "shoalctl: QuitTorrentRequest has no field 'torent'\nhint: did you mean 'torrent'?\n"
    );
    let ran = node.run("call QuitTorent").await;
    assert_eq!(ran.exit, Exit::NotFound);
    assert!(ran.err.contains("did you mean 'QuitTorrent'?"), "{}", ran.err);
    let ran = node.run("call QuitTorrent {\"torrent\":\"code:7\"}").await;
    assert_eq!(ran.exit, Exit::NotAllowed);
    let ran = node.run("call AutoDownload {\"torrent\":\"slow\"} --timeout 50ms").await;
    assert_eq!(ran.exit, Exit::Deadline);
    let ran = node.run("call ServerReflectionInfo").await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("takes a stream"), "{}", ran.err);
    assert_eq!(node.seen.all().len(), 2, "nothing else was called");
}

#[tokio::test]
async fn the_api_is_described_by_the_node_and_without_one() {
    let node = Node::start().await;
    let ran = node.run("describe GetInfo").await;
    assert_eq!(ran.exit, Exit::Ok);
    assert!(ran.err.starts_with("as the node describes itself"), "{}", ran.err);
    for part in [
        "rpc NodeService/GetInfo(GetInfoRequest) returns (GetInfoResponse)\n    Shows version",
        "\ncommand: shoalctl node info\n",
        "  startedAt: google.protobuf.Timestamp\n    When it started.\n",
        "  labels: map<string, string>\n",
        "  roles: repeated Role\n",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let ran = run("unix:///nowhere", &["describe", "GetInfo"], "").await;
    assert_eq!(ran.exit, Exit::Ok);
    assert!(ran.err.starts_with("no node answers"), "{}", ran.err);
    let ran = node.run("describe").await;
    assert!(ran.out.starts_with("shoal.v1."), "{}", ran.out);
    assert!(ran.out.contains("grpc.reflection.v1.ServerReflection"), "{}", ran.out);
    assert!(!node.run("describe --built-in").await.out.contains("grpc."));
}

#[tokio::test]
async fn a_template_is_a_request_to_fill_in() {
    let node = Node::start().await;
    let ran = node.run("describe Ping --template").await;
    let json = ran.json();
    assert_eq!(json["peer"]["port"], 0);
    let called = run(&node.unix, &["call", "Ping", &ran.out], "").await;
    assert_eq!(called.exit, Exit::Ok, "{called:?}");
    assert_eq!(node.run("describe NodeService --template").await.exit, Exit::Usage);
}
