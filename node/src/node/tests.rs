//! Whole nodes in this process, spoken to over gRPC.

use std::{fs, path::Path, time::Duration};

use shoal::{
    client::{Connect, Connection},
    v1::{
        self as api, add_torrent_request::Source, node_service_client::NodeServiceClient,
        peer_service_client::PeerServiceClient, policy_service_client::PolicyServiceClient,
        torrent_service_client::TorrentServiceClient, tracker_service_client::TrackerServiceClient,
        watch_events_response::Item,
    },
};
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use super::*;
use crate::{config::PeerConfig, exit::Exit};

const SOON: Duration = Duration::from_secs(20);

fn tracker(dir: &Path) -> NodeConfig {
    let mut config = NodeConfig::new(dir.join("tracker"));
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.tracker = Some(TrackerConfig { listen, ..Default::default() });
    config.ready_file = Some(dir.join("ready.json"));
    config
}

fn peer(dir: &Path, name: &str) -> NodeConfig {
    let mut config = NodeConfig::new(dir.join(name));
    config.control.push("127.0.0.1:0".parse().unwrap());
    let base = PeerConfig::new(&config.state_dir);
    config.peer = Some(PeerConfig { listen: ([127, 0, 0, 1], 0).into(), ..base });
    config
}

async fn unix(node: &Node) -> Channel {
    shoal::client::connect(&node.control()[0]).await.unwrap()
}

async fn tcp(node: &Node) -> Connection {
    let token = node.context.state_dir.join("admin.token");
    Connect::to(&node.control()[1]).token_file(token).connect().await.unwrap()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// The last message of a stream that ends well.
async fn last<M>(stream: tonic::Response<Streaming<M>>) -> M {
    let (mut stream, mut last) = (stream.into_inner(), None);
    while let Some(message) = timeout(SOON, stream.message()).await.unwrap().unwrap() {
        last = Some(message);
    }
    last.unwrap()
}

fn create(path: &Path, announce_url: &str) -> api::CreateTorrentRequest {
    api::CreateTorrentRequest {
        path: path.display().to_string(),
        chunk_size_bytes: 64 << 10,
        trackers: vec![api::TrackerTier { urls: vec![announce_url.to_owned()] }],
        ..Default::default()
    }
}

/// A tracker, and a seed of a file of three chunks; a leecher that has the torrent.
struct Swarm {
    dir: TempDir,
    tracker: Node,
    seed: Node,
    leecher: Node,
    data: Vec<u8>,
}

impl Swarm {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data: Vec<u8> = (0..170_000_u64).map(|n| ((n * n) >> 7).to_le_bytes()[0]).collect();
        fs::write(dir.path().join("file.bin"), &data).unwrap();
        let tracker = Node::start(tracker(dir.path())).await.unwrap();
        let seed = Node::start(peer(dir.path(), "seed")).await.unwrap();
        let leecher = Node::start(peer(dir.path(), "leecher")).await.unwrap();
        let url = tracker.announce_url().unwrap();
        let mut torrents = TorrentServiceClient::new(unix(&seed).await);
        let create = torrents.create_torrent(create(&dir.path().join("file.bin"), url)).await;
        let created = last(create.unwrap()).await;
        assert_eq!(created.torrent.unwrap().chunks, 3);
        let connect = api::ConnectTrackerRequest::default();
        let connected = PeerServiceClient::new(unix(&seed).await).connect_tracker(connect).await;
        let own = format!("Peer[127.0.0.1,{}]", seed.peer_addr().unwrap().port());
        let message = connected.unwrap().into_inner().message;
        assert_eq!(message, format!("Tracker established connection to {own}"));
        let source = Some(Source::Metainfo(created.metainfo));
        let add = api::AddTorrentRequest { source, ..Default::default() };
        let added = TorrentServiceClient::new(tcp(&leecher).await).add_torrent(add).await.unwrap();
        assert!(!added.into_inner().already);
        Self { dir, tracker, seed, leecher, data }
    }

    async fn end(self) {
        for node in [self.leecher, self.seed, self.tracker] {
            assert_eq!(node.shutdown().await, ShutdownReport::default());
        }
    }
}

#[tokio::test]
async fn a_download_goes_from_create_to_merge_over_grpc() {
    let swarm = Swarm::start().await;
    let mut leecher = PeerServiceClient::new(tcp(&swarm.leecher).await);
    let stream = leecher.auto_download(api::AutoDownloadRequest::default()).await.unwrap();
    let done = last(stream).await;
    assert!(done.complete && done.message == "Merge complete!", "{done:?}");
    assert_eq!(done.served_by.iter().map(|by| by.chunks).sum::<u32>(), 3);
    assert_eq!(fs::read(&done.paths[0]).unwrap(), swarm.data);

    let chunks = api::SeeChunkStatusRequest { page_size: 2, ..Default::default() };
    let first = leecher.see_chunk_status(chunks.clone()).await.unwrap().into_inner();
    assert_eq!((first.chunks.len(), first.bitfield), (2, vec![0b1110_0000]));
    assert_eq!(first.chunks[1].names, ["file.bin.part2"]);
    let rest = api::SeeChunkStatusRequest { page_token: first.next_page_token, ..chunks };
    let rest = leecher.see_chunk_status(rest).await.unwrap().into_inner();
    assert_eq!((rest.chunks.len(), rest.next_page_token.as_str()), (1, ""));

    let set = leecher.get_peer_set(api::GetPeerSetRequest::default()).await.unwrap().into_inner();
    let entries = set.set.unwrap().peers;
    assert_eq!(entries.iter().filter(|entry| entry.is_self).count(), 1);
    assert!(entries.iter().all(|entry| entry.chunks_have == Some(3)), "{entries:?}");
    let mut tracker = TrackerServiceClient::new(unix(&swarm.tracker).await);
    let view = tracker.get_swarm(api::GetSwarmRequest::default()).await.unwrap().into_inner();
    assert_eq!((view.swarm.unwrap().seeders, view.peers.len()), (2, 2));
    swarm.end().await;
}

#[tokio::test]
async fn the_bytes_of_a_download_are_counted_by_both_ends() {
    let swarm = Swarm::start().await;
    let mut leecher = PeerServiceClient::new(tcp(&swarm.leecher).await);
    let stream = leecher.auto_download(api::AutoDownloadRequest::default()).await.unwrap();
    last(stream).await;
    let (len, meters) =
        (swarm.data.len() as u64, |node: &Node| node.handle().unwrap().meters().clone());
    let (received, sent) = (meters(&swarm.leecher).net.received, meters(&swarm.seed).net.sent);
    assert_eq!(received.payload.get(), len);
    assert!((1..len / 4).contains(&received.protocol.get()), "{received:?}");
    // The sender counts at the end of a turn, which the receiver may be ahead of.
    let counted = async {
        while sent.payload.get() < len {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, counted).await.unwrap();
    assert_eq!(sent.payload.get(), len);
    assert!((1..len / 4).contains(&sent.protocol.get()), "{sent:?}");
    let tally = |node: &Node| {
        let session = node.handle().unwrap().clone();
        async move { session.query(shoal_core::session::Session::census).await.unwrap().tally }
    };
    let (tally, chunks) = (tally(&swarm.leecher).await, 3);
    assert_eq!((tally.received, tally.verified, tally.failed), (len, chunks, 0));
    swarm.end().await;
}

#[tokio::test]
async fn refusals_carry_their_reason_and_change_nothing() {
    let swarm = Swarm::start().await;
    let mut peers = PeerServiceClient::new(tcp(&swarm.leecher).await);
    let peer = |port: u32| Some(api::PeerAddress { ip: "127.0.0.1".to_owned(), port });
    let seed = swarm.seed.peer_addr().unwrap().port().into();
    let ask = |torrent: &str, peer, chunk: &str| api::RequestDownloadRequest {
        torrent: torrent.to_owned(),
        peer,
        chunk: chunk.to_owned(),
    };
    for (request, code, expected) in [
        (ask("other", peer(seed), "@0"), Code::NotFound, "UNKNOWN_TORRENT"),
        (ask("", peer(seed), "file.bin.prat1"), Code::NotFound, "UNKNOWN_CHUNK"),
        (ask("", peer(0), "@0"), Code::InvalidArgument, "BAD_ARGUMENT"),
        (ask("", peer(9), "@0"), Code::NotFound, "UNKNOWN_PEER"),
    ] {
        let status = peers.request_download(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{status}");
    }
    let merge = api::MergeChunksRequest::default();
    let status = peers.merge_chunks(merge).await.unwrap_err();
    assert_eq!(reason(&status), "MERGE_INCOMPLETE");

    let mut torrents = TorrentServiceClient::new(tcp(&swarm.leecher).await);
    let shared = create(&swarm.dir.path().join("file.bin"), "http://127.0.0.1:1/announce");
    let status = torrents.create_torrent(shared).await.unwrap_err();
    assert_eq!(reason(&status), "PATH_NOT_SHARED", "only over the Unix socket");
    let status = torrents.remove_torrent(api::RemoveTorrentRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    let mut tracker = PeerServiceClient::new(unix(&swarm.tracker).await);
    let status = tracker.see_connected(api::SeeConnectedRequest::default()).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "NOT_IN_ROLE")
    );
    let mut policies = PolicyServiceClient::new(tcp(&swarm.leecher).await);
    let broken = api::set_policy_request::Policy::Source("return {".to_owned());
    let set = api::SetPolicyRequest { policy: Some(broken), ..Default::default() };
    assert_eq!(reason(&policies.set_policy(set).await.unwrap_err()), "BAD_POLICY");
    let status = policies.get_policy(api::GetPolicyRequest::default()).await.unwrap().into_inner();
    assert_eq!(status.status.unwrap().name, "lowest_uploaded", "the old one stays");
    swarm.end().await;
}

#[tokio::test]
async fn events_begin_with_a_snapshot_can_be_taken_up_and_end_with_a_reason() {
    let swarm = Swarm::start().await;
    let mut node = NodeServiceClient::new(unix(&swarm.seed).await);
    let watch = api::WatchEventsRequest::default();
    let mut events = node.watch_events(watch.clone()).await.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap();
    let Some(Item::Snapshot(snapshot)) = first.item else { panic!("no snapshot first") };
    assert_eq!(snapshot.torrents.len(), 1);

    let pause = api::PauseTorrentRequest::default();
    let mut torrents = TorrentServiceClient::new(unix(&swarm.seed).await);
    torrents.pause_torrent(pause).await.unwrap();
    let next = timeout(SOON, events.message()).await.unwrap().unwrap().unwrap();
    assert!(matches!(next.item, Some(Item::Event(_))) && next.revision > first.revision);

    let after = |revision: u64, epoch: &str| api::WatchEventsRequest {
        after_revision: Some(revision),
        epoch: epoch.to_owned(),
        ..watch.clone()
    };
    let again = node.watch_events(after(first.revision, &first.epoch)).await.unwrap();
    let again = again.into_inner().message().await.unwrap().unwrap();
    assert_eq!(again.revision, first.revision + 1, "no snapshot, nothing left out");
    let status = node.watch_events(after(first.revision, "other")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::OutOfRange, "REVISION_GONE"));
    let kinds = api::WatchEventsRequest { kinds: vec![99], ..watch };
    assert_eq!(node.watch_events(kinds).await.unwrap_err().code(), Code::InvalidArgument);

    swarm.end().await;
    let status = loop {
        match timeout(SOON, events.message()).await.unwrap() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
}

#[tokio::test]
async fn a_start_that_fails_names_the_thing_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let refused = async |config: NodeConfig| match Node::start(config).await {
        Ok(_) => panic!("it started"),
        Err(error) => (error.exit(), error.to_string()),
    };
    let first = Node::start(peer(dir.path(), "a")).await.unwrap();
    let (exit, text) = refused(peer(dir.path(), "a")).await;
    assert_eq!(exit, Exit::Precondition);
    assert!(text.contains(&std::process::id().to_string()), "{text}");

    let mut taken = peer(dir.path(), "b");
    taken.peer.as_mut().unwrap().listen = first.peer_addr().unwrap();
    let (exit, text) = refused(taken.clone()).await;
    assert_eq!(exit, Exit::Precondition, "{text}");
    assert!(text.contains(&first.peer_addr().unwrap().to_string()), "{text}");

    let bad = dir.path().join("bad.torrent");
    fs::write(&bad, "not bencoded").unwrap();
    let mut torrent = peer(dir.path(), "b");
    torrent.peer.as_mut().unwrap().torrent = vec![bad.clone()];
    let (exit, text) = refused(torrent).await;
    assert_eq!(exit, Exit::Invalid);
    assert!(text.contains(bad.to_str().unwrap()), "{text}");

    let mut policy = peer(dir.path(), "b");
    policy.peer.as_mut().unwrap().policy = Some("lowest_uplaoded".to_owned());
    let (exit, text) = refused(policy).await;
    assert!(exit == Exit::NotFound && text.contains("did you mean 'lowest_uploaded'"), "{text}");

    first.shutdown().await;
    taken.peer.as_mut().unwrap().listen = ([127, 0, 0, 1], 0).into();
    let second = Node::start(taken).await.unwrap();
    second.shutdown().await;
    assert!(!dir.path().join("b/shoald.sock").exists());
}

#[tokio::test]
async fn a_ready_node_tells_its_addresses_and_ends_on_a_call() {
    let dir = tempfile::tempdir().unwrap();
    let config = tracker(dir.path());
    fs::write(dir.path().join("ready.json"), "of an earlier run").unwrap();
    let node = Node::start(config).await.unwrap();
    let text = fs::read(dir.path().join("ready.json")).unwrap();
    let told: ready::Ready = serde_json::from_slice(&text).unwrap();
    assert_eq!(told.control, node.control());
    assert_eq!(told.tracker_address, node.tracker_addr().map(|addr| addr.to_string()));
    assert_eq!((told.peer_address, told.roles), (None, vec!["tracker".to_owned()]));
    let mut client = NodeServiceClient::new(unix(&node).await);
    let info = client.get_info(api::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(Some(info.announce_url.as_str()), node.announce_url());
    assert_eq!(info.udp_announce_url, info.announce_url.replace("http://", "udp://"));
    client.shutdown(api::ShutdownRequest {}).await.unwrap();
    timeout(SOON, node.wait()).await.unwrap();
    node.shutdown().await;
}
