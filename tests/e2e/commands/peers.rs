//! The commands of one peer: connect, ping, check, disconnect.

use shoal::v1;
use tonic::Code;

use super::*;
use crate::{
    binaries::Program,
    fake::{Conduct, Content, Fake},
    harness::{CHUNK, Party, dead_port, metainfo, sample, sentence},
};

async fn check(host: &Host, addr: SocketAddr) -> v1::CheckTargetPeerConnectedResponse {
    let request = v1::CheckTargetPeerConnectedRequest { peer: address(addr), ..Default::default() };
    host.peer().check_target_peer_connected(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_pinging_and_disconnecting_over_grpc() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(5 * CHUNK as usize, 3)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    let (target, own) = (sentence(seeder.addr), sentence(leecher.addr));
    let before = check(&leecher, seeder.addr).await;
    assert!(!before.connected && before.connected_since.is_none());
    assert!(before.message.contains("is not connected"), "{}", before.message);

    let connected = leecher.connect_peer(seeder.addr).await;
    assert_eq!(connected.message, format!("{target} established connection to {own}"));
    assert_eq!(connected.peer_id, seeder.info().await.peer_id);
    assert!(connected.client.starts_with("shoal"), "{}", connected.client);
    assert_eq!((connected.chunks_have, connected.already), (5, false));
    assert_eq!(connected.extensions, ["extended", "shoal"]);
    let again = leecher.connect_peer(seeder.addr).await;
    assert!(again.already && again.message == connected.message);
    let now = check(&leecher, seeder.addr).await;
    assert!(now.connected && now.connected_since.is_some(), "{now:?}");
    assert_eq!(now.message, format!("Target {target} is connected to current {own}"));

    let request = v1::PingRequest { peer: address(seeder.addr), ..Default::default() };
    let pong = leecher.peer().ping(request).await.unwrap().into_inner();
    assert_eq!(pong.message, format!("{target} received ping from {own}"));
    assert!(!pong.foreign && pong.round_trip_us.is_some_and(|us| us > 0), "{pong:?}");

    // The other side knows the address where we listen.
    let back = check(&seeder, leecher.addr).await;
    assert!(back.connected, "{back:?}");

    let request = v1::DisconnectPeerRequest { peer: address(seeder.addr), ..Default::default() };
    let left = leecher.peer().disconnect_peer(request).await.unwrap().into_inner();
    assert_eq!(left.message, format!("{target} disconnected from {own}"));
    assert!(!check(&leecher, seeder.addr).await.connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_pinging_and_disconnecting_through_shoalctl() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(5 * CHUNK as usize, 4)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    let (target, own) = (sentence(seeder.addr), sentence(leecher.addr));
    let port = seeder.addr.port().to_string();
    let first = |out: String| out.lines().next().unwrap_or_default().to_owned();
    let out = leecher.ctl(&["connect-peer", "127.0.0.1", &port]).await.ok();
    assert_eq!(first(out), format!("{target} established connection to {own}"));
    let out = leecher.ctl(&["check-target-peer-connected", "127.0.0.1", &port]).await.ok();
    assert_eq!(first(out), format!("Target {target} is connected to current {own}"));
    let out = leecher.ctl(&["ping", "127.0.0.1", &port]).await.ok();
    assert!(out.contains("round trip"), "{out}");
    assert_eq!(first(out), format!("{target} received ping from {own}"));
    let out = leecher.ctl(&["disconnect-peer", "127.0.0.1", &port]).await.ok();
    assert_eq!(out, format!("{target} disconnected from {own}\n"));
    let out = leecher.ctl(&["check-target-peer-connected", "127.0.0.1", &port]).await.ok();
    assert!(out.contains("is not connected"), "{out}");
}

/// The commands that need a connection.
const NEED_CONNECTION: [&str; 3] = ["ping", "request-download", "disconnect-peer"];

#[tokio::test(flavor = "multi_thread")]
async fn unknown_peers_are_refused_with_a_near_one_suggested() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(1000, 5)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    for command in NEED_CONNECTION {
        let ask = Ask::peer("10.1.2.3:4567".parse().unwrap());
        let refused = refused(&leecher, command, &ask, Code::NotFound, "UNKNOWN_PEER").await;
        assert_eq!(refused.metadata.get("suggestion"), None, "nobody is known");
        assert!(refused.message.contains("10.1.2.3:4567"), "{}", refused.message);
    }
    leecher.connect_tracker().await;
    let near = SocketAddr::from((seeder.addr.ip(), seeder.addr.port() ^ 1));
    for command in NEED_CONNECTION {
        let ask = Ask::peer(near);
        let refused = refused(&leecher, command, &ask, Code::NotFound, "UNKNOWN_PEER").await;
        assert_eq!(refused.metadata["suggestion"], seeder.addr.to_string(), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_peer_has_to_be_connected_first() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(1000, 6)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_tracker().await;
    for command in NEED_CONNECTION {
        let (code, reason) = (Code::FailedPrecondition, "PEER_NOT_CONNECTED");
        let refused = refused(&leecher, command, &Ask::peer(seeder.addr), code, reason).await;
        assert_eq!(refused.metadata["peer"], seeder.addr.to_string());
        assert!(refused.message.contains("connect_peer first"), "{}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_address_is_refused() {
    let party = Party::new().await;
    let (_seeder, metainfo) = party.seeder("file1.webm", &sample(1000, 7)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    for command in OF_PEERS {
        let ask = Ask::peer(leecher.addr);
        refused(&leecher, command, &ask, Code::InvalidArgument, "OWN_ADDRESS").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_answer_is_named_with_the_cause() {
    let party = Party::new().await;
    let leecher = party.leecher("leecher", &metainfo("a", b"x", CHUNK, &[])).await;
    let nobody = SocketAddr::from(([127, 0, 0, 1], dead_port()));
    let ask = Ask::peer(nobody);
    let down = refused(&leecher, "connect-peer", &ask, Code::Unavailable, "PEER_UNREACHABLE").await;
    assert!(down.message.contains(&nobody.to_string()), "{}", down.message);
    assert!(down.message.to_lowercase().contains("refused"), "{}", down.message);
    // A peer without the torrent closes the connection.
    let other = party.peer("other").await;
    let ask = Ask::peer(other.addr);
    refused(&leecher, "connect-peer", &ask, Code::Unavailable, "PEER_UNREACHABLE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_for_another_connection_is_said_with_the_limit_to_raise() {
    let (content, metainfo) = Content::new("file1.webm", sample(1000, 16), CHUNK);
    for (setting, of_node, of_torrent) in [("connections-per-torrent", 5, 1), ("connections", 1, 5)]
    {
        let party = Party::new().await;
        let fakes = [1, 2].map(|n| Fake::start(n, &content, Conduct::Honest));
        let told = party.peer_with("leecher", |role| {
            (role.connections, role.connections_per_torrent) = (of_node, of_torrent);
        });
        let leecher = told.await;
        leecher.add(&metainfo).await.unwrap();
        leecher.connect_peer(fakes[0].addr).await;
        let ask = Ask::peer(fakes[1].addr);
        let (code, reason) = (Code::ResourceExhausted, "TOO_MANY_CONNECTIONS");
        let full = refused(&leecher, "connect-peer", &ask, code, reason).await;
        let peer = fakes[1].addr.to_string();
        assert_eq!(full.metadata["peer"], peer);
        assert_eq!(
            (full.metadata["setting"].as_str(), full.metadata["limit"].as_str()),
            (setting, "1")
        );
        let told = format!("peer {peer}: {setting} is 1; disconnect_peer another first");
        assert!(full.message.contains(&told), "{}", full.message);

        // Nobody was dialled or taken down, and who was there stays.
        assert_eq!(fakes[1].connections(), 0);
        refused(&leecher, "ping", &ask, Code::NotFound, "UNKNOWN_PEER").await;
        assert!(leecher.connect_peer(fakes[0].addr).await.already);
        Ask::peer(fakes[0].addr).call(&leecher, "disconnect-peer").await.unwrap();
        assert!(!leecher.connect_peer(fakes[1].addr).await.already, "there is room again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_leaves_after_its_handshake_is_lost() {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("file1.webm", sample(1000, 17), CHUNK);
    let fake = Fake::start(1, &content, Conduct::Leaves);
    let leecher = party.leecher("leecher", &metainfo).await;
    let ask = Ask::peer(fake.addr);
    let lost = refused(&leecher, "connect-peer", &ask, Code::Unavailable, "PEER_LOST").await;
    assert_eq!(lost.metadata["peer"], fake.addr.to_string());
    assert!(lost.message.contains(&fake.addr.to_string()), "{}", lost.message);
    assert!(lost.message.contains("connect_peer to it again"), "{}", lost.message);
    assert_eq!(leecher.torrent().await.peers, 0);
    assert!(!check(&leecher, fake.addr).await.connected);
    assert_eq!(fake.connections(), 2, "dialled once for each command");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hangs_is_lost_to_a_ping_and_stays_connected() {
    let Some(shoald) = Program::shoald() else { return };
    let party = Party::new().await;
    let metainfo = metainfo("file1.webm", &sample(1000, 18), CHUNK, &[]);
    let file = party.write("file1.torrent", &metainfo);
    let args = ["--torrent", file.to_str().unwrap()];
    let peer = shoald.node("peer", &party.dir.path().join("peer"), &args).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_peer(peer.addr).await;
    let ask = Ask::peer(peer.addr);
    ask.clone().call(&leecher, "ping").await.unwrap();
    peer.freeze().await;
    let lost = refused(&leecher, "ping", &ask, Code::Unavailable, "PEER_LOST").await;
    assert_eq!(lost.metadata["peer"], peer.addr.to_string());
    assert_eq!(lost.metadata["cause"], "no pong within 5 s");
    assert!(lost.message.contains("or ask another peer"), "{}", lost.message);
    peer.thaw();
    assert!(check(&leecher, peer.addr).await.connected);
    ask.call(&leecher, "ping").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_addresses_are_refused_by_field() {
    let party = Party::new().await;
    let leecher = party.leecher("leecher", &metainfo("a", b"x", CHUNK, &[])).await;
    let peer = |ip: &str, port| Some(v1::PeerAddress { ip: ip.to_owned(), port });
    for (peer, field) in [
        (peer("10.0.0.300", 7000), "peer.ip"),
        (peer("localhost", 7000), "peer.ip"),
        (peer("", 7000), "peer.ip"),
        (peer("0.0.0.0", 7000), "peer.ip"),
        (peer("127.0.0.1", 0), "peer.port"),
        (peer("127.0.0.1", 65536), "peer.port"),
        (None, "peer"),
    ] {
        for command in OF_PEERS.into_iter().chain(["check-target-peer-connected"]) {
            let ask = Ask { peer: peer.clone(), ..Ask::default() };
            let status = ask.call(&leecher, command).await.unwrap_err();
            let (code, reason, _) = refusal(&status);
            assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BAD_ARGUMENT"));
            let details = status.get_error_details();
            assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
        }
    }
    for (ip, port, argument) in [
        ("10.0.0.300", "7000", "<IP>"),
        ("localhost", "7000", "<IP>"),
        ("127.0.0.1", "0", "<PORT>"),
        ("127.0.0.1", "65536", "<PORT>"),
        ("127.0.0.1", "x", "<PORT>"),
    ] {
        for command in OF_PEERS {
            let words = if command == "request-download" { 4 } else { 3 };
            let said = leecher.ctl(&[command, ip, port, "@0"][..words]).await;
            assert_eq!((said.exit, said.out.as_str()), (Exit::Usage, ""), "{command} {ip} {port}");
            assert!(said.err.contains(argument), "{}", said.err);
        }
    }
}
