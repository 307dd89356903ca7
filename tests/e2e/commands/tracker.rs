//! The commands that speak to the tracker.

use shoal::v1;
use tonic::Code;

use super::*;
use crate::harness::{CHUNK, Party, dead_port, metainfo, sample, sentence};

async fn peer_set(host: &Host) -> v1::PeerSet {
    let request = v1::GetPeerSetRequest { with_bitfields: true, ..Default::default() };
    host.peer().get_peer_set(request).await.unwrap().into_inner().set.unwrap()
}

async fn last_peer_set(host: &Host) -> v1::PeerSet {
    let request = v1::SeePeerSetRequest::default();
    host.peer().see_peer_set(request).await.unwrap().into_inner().set.unwrap()
}

async fn check(host: &Host) -> v1::CheckTrackerConnectedResponse {
    let request = v1::CheckTrackerConnectedRequest::default();
    host.peer().check_tracker_connected(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_asking_updating_and_leaving_over_grpc() {
    let party = Party::new().await;
    let url = party.announce_url().await;
    let path = party.write("data/file1.webm", &sample(5 * CHUNK as usize, 1));
    let seeder = party.peer("seeder").await;
    let metainfo = seeder.create(&path, std::slice::from_ref(&url)).await;
    let before = check(&seeder).await;
    assert!(!before.connected && before.last_announce_age_ms.is_none(), "{before:?}");
    assert_eq!(before.message, "Peer is not connected to tracker");
    let own = sentence(seeder.addr);

    let connected = seeder.connect_tracker().await;
    assert_eq!(connected.message, format!("Tracker established connection to {own}"));
    assert_eq!(connected.self_, address(seeder.addr));
    assert_eq!(connected.tracker_url, url);
    assert!(connected.keeps_chunk_status && connected.interval_ms > 0, "{connected:?}");
    let now = check(&seeder).await;
    assert!(now.connected && now.last_announce_age_ms.is_some() && now.last_error.is_empty());
    assert_eq!((now.message.as_str(), &now.tracker_url), ("Peer is connected to tracker", &url));
    assert!(now.next_announce_ms.is_some());

    let leecher = party.leecher("leecher", &metainfo).await;
    let nobody = last_peer_set(&leecher).await;
    assert!(nobody.peers.is_empty() && nobody.received_at.is_none(), "{nobody:?}");
    leecher.connect_tracker().await;
    let set = peer_set(&leecher).await;
    assert_eq!((set.seeders, set.leechers, set.chunks, set.total_peers), (1, 1, 5, 2));
    let of = |host: &Host| {
        let entry = set.peers.iter().find(|peer| peer.address == address(host.addr));
        entry.unwrap_or_else(|| panic!("{set:?}")).clone()
    };
    let (one, other) = (of(&seeder), of(&leecher));
    assert_eq!((one.chunks_have, one.left_bytes, one.is_self), (Some(5), Some(0), false));
    assert_eq!(one.bitfield, [0b1111_1000]);
    assert_eq!((other.chunks_have, other.is_self), (Some(0), true));
    assert_eq!(other.left_bytes, Some(5 * u64::from(CHUNK)));

    // A chunk that arrived is in the peer set once the status is updated.
    leecher.connect_peer(seeder.addr).await;
    Ask::chunk(seeder.addr, "@2").call(&leecher, "request-download").await.unwrap();
    let request = v1::UpdateStatusToTrackerRequest::default();
    let updated = leecher.peer().update_status_to_tracker(request).await.unwrap().into_inner();
    assert_eq!(updated.message, format!("Tracker updated {} status", sentence(leecher.addr)));
    assert_eq!(updated.self_, address(leecher.addr));
    let set = peer_set(&seeder).await;
    let told = set.peers.iter().find(|peer| peer.address == address(leecher.addr)).unwrap();
    assert_eq!((told.chunks_have, &told.bitfield[..]), (Some(1), &[0b0010_0000][..]));
    assert_eq!(told.downloaded_bytes, Some(u64::from(CHUNK)));

    let request = v1::DisconnectTrackerRequest::default();
    let left = seeder.peer().disconnect_tracker(request).await.unwrap().into_inner();
    assert_eq!(left.message, format!("{own} disconnected from tracker"));
    assert_eq!(left.self_, address(seeder.addr));
    assert!(!check(&seeder).await.connected);
    let set = peer_set(&leecher).await;
    assert!(set.peers.iter().all(|peer| peer.is_self), "{set:?}");
    assert!(last_peer_set(&leecher).await.received_at.is_some());
    // Transfers with peers go on.
    Ask::chunk(seeder.addr, "@3").call(&leecher, "request-download").await.unwrap();

    let quit = leecher.peer().quit_torrent(v1::QuitTorrentRequest::default()).await.unwrap();
    let quit = quit.into_inner();
    assert_eq!(quit.message, format!("{} quit torrent", sentence(leecher.addr)));
    assert_eq!((quit.self_, quit.closed_connections), (address(leecher.addr), 1));
    let torrent = leecher.torrent().await;
    assert_eq!((torrent.state(), torrent.chunks_have), (v1::TorrentState::Quit, 2));
    assert!(leecher.connect_tracker().await.keeps_chunk_status, "it rejoins");
    assert_eq!(leecher.torrent().await.state(), v1::TorrentState::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_asking_updating_and_leaving_through_shoalctl() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(5 * CHUNK as usize, 2)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    let own = sentence(leecher.addr);
    let out = leecher.ctl(&["check-tracker-connected"]).await.ok();
    assert!(out.starts_with("Peer is not connected to tracker\n"), "{out}");
    let out = leecher.ctl(&["connect-tracker"]).await.ok();
    assert_eq!(out, format!("Tracker established connection to {own}\n"));
    let out = leecher.ctl(&["check-tracker-connected"]).await.ok();
    assert!(out.starts_with("Peer is connected to tracker\n"), "{out}");
    for command in ["get-peer-set", "see-peer-set"] {
        let out = leecher.ctl(&[command, "--with-bitfields"]).await.ok();
        let line = |host: &Host| out.lines().find(|line| line.contains(&host.addr.to_string()));
        assert!(line(&seeder).is_some_and(|line| line.contains("11111")), "{out}");
        assert!(line(&leecher).is_some_and(|line| line.contains("00000")), "{out}");
    }
    let out = leecher.ctl(&["update-status-to-tracker"]).await.ok();
    assert_eq!(out, format!("Tracker updated {own} status\n"));
    let out = leecher.ctl(&["disconnect-tracker"]).await.ok();
    assert_eq!(out, format!("{own} disconnected from tracker\n"));
    assert_eq!(leecher.ctl(&["quit-torrent"]).await.ok(), format!("{own} quit torrent\n"));
    let swarm = party.tracker.ctl(&["tracker", "peers"]).await.ok();
    assert!(swarm.contains(&seeder.addr.to_string()), "{swarm}");
    assert!(!swarm.contains(&leecher.addr.to_string()), "{swarm}");
}

/// The commands that need a tracker connection.
const NEED_TRACKER: [&str; 3] = ["get-peer-set", "update-status-to-tracker", "disconnect-tracker"];

#[tokio::test(flavor = "multi_thread")]
async fn without_connect_tracker_the_tracker_is_not_asked() {
    let party = Party::new().await;
    let url = party.announce_url().await;
    let peer = party.leecher("peer", &metainfo("a", b"x", CHUNK, &[&url])).await;
    for command in NEED_TRACKER {
        let (code, reason) = (Code::FailedPrecondition, "TRACKER_NOT_CONNECTED");
        let refused = refused(&peer, command, &Ask::default(), code, reason).await;
        assert!(refused.message.contains("connect_tracker"), "{}", refused.message);
    }
    let swarms = party.tracker.swarms().list_swarms(v1::ListSwarmsRequest::default()).await;
    assert_eq!(swarms.unwrap().into_inner().swarms, [], "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torrent_without_a_tracker_cannot_connect_to_one() {
    let party = Party::new().await;
    let peer = party.leecher("peer", &metainfo("a", b"x", CHUNK, &[])).await;
    for command in ["connect-tracker", "get-peer-set", "update-status-to-tracker"] {
        refused(&peer, command, &Ask::default(), Code::FailedPrecondition, "NO_TRACKER").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_is_down_is_named_with_the_cause() {
    let party = Party::new().await;
    let url = format!("http://127.0.0.1:{}/announce", dead_port());
    let peer = party.leecher("peer", &metainfo("a", b"x", CHUNK, &[&url])).await;
    for command in ["connect-tracker", "auto-download"] {
        let ask = Ask::default();
        let refused = refused(&peer, command, &ask, Code::Unavailable, "TRACKER_UNREACHABLE").await;
        assert_eq!(refused.metadata["tracker"], url);
        assert!(refused.message.contains(&url), "{}", refused.message);
        assert!(refused.message.to_lowercase().contains("refused"), "{}", refused.message);
    }
    let state = check(&peer).await;
    assert!(!state.connected && state.last_error.contains("refused"), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_refuses_is_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let only = dir.path().join("only.torrent");
    std::fs::write(&only, metainfo("listed", b"y", CHUNK, &[])).unwrap();
    let party = Party::with_tracker(|tracker| tracker.only = vec![only]).await;
    let url = party.announce_url().await;
    let peer = party.leecher("peer", &metainfo("a", b"x", CHUNK, &[&url])).await;
    for command in ["connect-tracker", "auto-download"] {
        let (code, reason) = (Code::FailedPrecondition, "TRACKER_REFUSED");
        let refused = refused(&peer, command, &Ask::default(), code, reason).await;
        assert_eq!(refused.metadata["tracker"], url);
        assert!(!refused.metadata["cause"].is_empty());
    }
    let listed = party.peer("other").await;
    listed.add(&metainfo("listed", b"y", CHUNK, &[&url])).await.unwrap();
    assert!(listed.connect_tracker().await.keeps_chunk_status, "a listed one is welcome");
}
