//! Every command that changes something is told in the event stream. Never here: what else the event
//! says.

use std::collections::BTreeSet;

use prost_reflect::DescriptorPool;
use shoal::v1::{self, EventKind};
use shoal_ctl::Exit;

use crate::harness::{CHUNK, Host, PATIENCE, Party, sample, within};

/// Methods that change nothing, and what is not of the node's state: its end is told by the end of
/// the stream, tokens by nobody.
const NOT_TOLD: [&str; 27] = [
    "BenchPolicy",
    "CheckTargetPeerConnected",
    "CheckTrackerConnected",
    "ExplainDecision",
    "GetInfo",
    "GetPolicy",
    "GetSettings",
    "GetSwarm",
    "GetTorrent",
    "ListJobs",
    "ListPolicies",
    "ListSwarms",
    "ListTorrents",
    "Ping",
    "SeeChunkStatus",
    "SeeConnected",
    "SeePeerSet",
    "SeeThisPeerInfo",
    "Shutdown",
    "SimulatePolicy",
    "TestPolicy",
    "ValidatePolicy",
    "WatchDecisions",
    "WatchEvents",
    // Of AuthService.
    "CreateToken",
    "ListTokens",
    "RevokeToken",
];

/// Runs a command, which is to be told so.
async fn told(node: &Host, line: &str, kind: EventKind, what: &str) {
    let mut events = node.events(&[kind]).await;
    let said = node.ctl(&line.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(said.exit, Exit::Ok, "{line}: {said:?}");
    let event = within(PATIENCE, &format!("{line}: {what}"), events.what(what)).await;
    assert!(!event.message.is_empty(), "{line}: {event:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_changes_something_is_an_event() {
    let party = Party::new().await;
    let (seeder, file) = pair(&party).await;
    let leecher = party.peer("leecher").await;
    let path = party.write("pair.torrent", &file);
    let (path, folder) = (path.display(), party.dir.path().join("data/pair"));
    let (ip, port) = (seeder.addr.ip(), seeder.addr.port());
    let mut done = BTreeSet::new();
    let mut check = async |method: &'static str, line: &str, kind, what: &str| {
        told(&leecher, line, kind, what).await;
        done.insert(method);
    };
    let request = |chunk: &str| format!("request-download {ip} {port} {chunk}");
    use EventKind::{Job, Merge, Peer, Policy, Settings, Torrent, Tracker};
    check("AddTorrent", &format!("torrent add {path}"), Torrent, "added").await;
    check("ConnectTracker", "connect-tracker", Tracker, "announced").await;
    check("GetPeerSet", "get-peer-set", Tracker, "announced").await;
    check("UpdateStatusToTracker", "update-status-to-tracker", Tracker, "announced").await;
    check("ConnectPeer", &format!("connect-peer {ip} {port}"), Peer, "connected").await;
    check("RequestDownload", &request("a.bin.part1"), Job, "ended").await;
    check("RequestDownload", &request("b.bin.part1"), EventKind::Chunk, "verified").await;
    check("MergeChunks", "merge-chunks a.bin", Merge, "merged").await;
    check("AutoDownload", "auto-download", Job, "ended").await;
    check("DisconnectPeer", &format!("disconnect-peer {ip} {port}"), Peer, "disconnected").await;
    check("SelectFiles", "torrent select --files a.bin", Torrent, "selected").await;
    check("VerifyTorrent", "torrent verify", Job, "ended").await;
    check("PauseTorrent", "torrent pause", Torrent, "state").await;
    check("ResumeTorrent", "torrent resume", Torrent, "state").await;
    check("DisconnectTracker", "disconnect-tracker", Torrent, "state").await;
    check("QuitTorrent", "quit-torrent", Torrent, "state").await;
    check("SetPolicy", "policy set rendezvous.lua", Policy, "set").await;
    check("ResetPolicy", "policy reset", Policy, "reset").await;
    check("UpdateSettings", "settings set upload-limit=1MB", Settings, "set").await;
    check("RemoveTorrent", "torrent remove pair --yes", Torrent, "removed").await;
    let create = format!("torrent create {} --name other", folder.display());
    check("CreateTorrent", &create, Torrent, "added").await;
    cancelled(&leecher, &party).await;
    done.insert("CancelJob");
    let pool = DescriptorPool::decode(v1::DESCRIPTOR_SET).unwrap();
    let services = pool.services().filter(|service| service.package_name() == "shoal.v1");
    let methods = services.flat_map(|service| {
        service.methods().map(|method| method.name().to_owned()).collect::<Vec<_>>()
    });
    for method in methods {
        let known = done.contains(method.as_str()) || NOT_TOLD.contains(&method.as_str());
        assert!(known, "{method}: is it told? it belongs here or into NOT_TOLD");
    }
}

/// A job that waits for peers is ended.
async fn cancelled(node: &Host, party: &Party) {
    let url = party.announce_url().await;
    let lonely = crate::harness::metainfo("lonely", &sample(CHUNK as usize, 9), CHUNK, &[&url]);
    let torrent = node.add(&lonely).await.unwrap().info_hash;
    let request = v1::AutoDownloadRequest { torrent, ..Default::default() };
    let mut stream = node.peer().auto_download(request).await.unwrap().into_inner();
    let job_id = stream.message().await.unwrap().unwrap().job_id;
    let mut events = node.events(&[EventKind::Job]).await;
    node.jobs().cancel_job(v1::CancelJobRequest { job_id }).await.unwrap();
    events.what("ended").await;
}

/// A seeder of two files of a chunk each.
async fn pair(party: &Party) -> (Host, Vec<u8>) {
    for (name, seed) in [("a.bin", 1), ("b.bin", 2)] {
        party.write(&format!("data/pair/{name}"), &sample(CHUNK as usize, seed));
    }
    let seeder = party.peer("seeder").await;
    let path = party.dir.path().join("data/pair");
    let file = seeder.create(&path, &[party.announce_url().await]).await;
    seeder.connect_tracker().await;
    (seeder, file)
}
