//! Swarms without a tracker: they find themselves on the local network and through each other.

use std::fs;

use shoal::v1::{self, PeerSource};
use shoal_node::config::value::ByteRate;

use crate::harness::{CHUNK, Host, Party, metainfo, refusal, sample, until};

/// Bytes of the file here: no whole number of chunks.
const LEN: usize = 40 * CHUNK as usize + 7;
/// So slow a seeder is still at it when peers have told each other of it.
const SLOW: ByteRate = ByteRate(400 << 10);

/// How a node came to each of its peers, by the port where they listen.
async fn sources(host: &Host) -> Vec<(u32, PeerSource)> {
    let request = v1::SeeConnectedRequest::default();
    let reply = host.peer().see_connected(request).await.unwrap().into_inner();
    let port = |conn: &v1::Connection| conn.peer.as_ref().unwrap().port;
    reply.connections.iter().map(|conn| (port(conn), conn.source())).collect()
}

#[track_caller]
fn assert_copy(host: &Host, data: &[u8]) {
    assert!(fs::read(host.downloads().join("film.webm")).unwrap() == data, "the copy differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_one_network_find_each_other_without_a_tracker() {
    let party = Party::new().await;
    let data = sample(LEN, 14);
    let path = party.write("data/film.webm", &data);
    let on = |role: &mut shoal_node::config::PeerConfig| role.local_discovery = Some(true);
    let seeder = party.peer_with("seeder", on).await;
    let metainfo = seeder.create(&path, &[]).await;
    assert!(seeder.info().await.local_discovery);

    let leecher = party.peer_with("leecher", on).await;
    leecher.add(&metainfo).await.unwrap();
    let done = leecher.auto_download().await.unwrap();
    assert_copy(&leecher, &data);
    let served = done.served_by.iter().map(|peer| peer.peer.as_ref().unwrap().port);
    assert_eq!(served.collect::<Vec<_>>(), [u32::from(seeder.addr.port())]);
    let info = leecher.ctl(&["node", "info"]).await.ok();
    assert!(info.lines().any(|line| line.starts_with("local discovery") && line.ends_with("on")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_loopback_looks_for_nobody_unless_it_is_told_to() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    assert!(!peer.info().await.local_discovery);
    let info = peer.ctl(&["node", "info"]).await.ok();
    assert!(info.lines().any(|line| line.starts_with("local discovery") && line.ends_with("off")));
    let info = party.tracker.ctl(&["node", "info"]).await.ok();
    assert!(info.lines().any(|line| line.starts_with("local discovery") && line.ends_with('-')));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_answers_at_all_a_download_ends_with_the_trackers_error() {
    let party = Party::new().await;
    let dead = format!("http://127.0.0.1:{}/announce", crate::harness::dead_port());
    let on = |role: &mut shoal_node::config::PeerConfig| role.local_discovery = Some(true);
    let peer = party.peer_with("peer", on).await;
    peer.add(&metainfo("film.webm", b"x", CHUNK, &[&dead])).await.unwrap();
    let status = peer.auto_download().await.unwrap_err();
    assert_eq!(refusal(&status).1, "TRACKER_UNREACHABLE");
}

/// The seeder is told of nobody, and nobody but the first leecher is told of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_knows_one_of_a_swarm_finds_the_others_through_it() {
    let party = Party::new().await;
    let data = sample(LEN, 11);
    let path = party.write("data/film.webm", &data);
    let seeder = party.peer_with("seeder", |role| role.upload_limit = SLOW).await;
    let metainfo = seeder.create(&path, &[]).await;
    let first = party.leecher("first", &metainfo).await;
    first.connect_peer(seeder.addr).await;
    let second = party.leecher("second", &metainfo).await;
    second.connect_peer(first.addr).await;
    let downloads = async { tokio::join!(first.auto_download(), second.auto_download()) };
    let met = until("the second leecher finds the seeder", async || {
        let mut sources = sources(&second).await;
        sources.sort_unstable_by_key(|(_, source)| i32::from(*source));
        let port = |host: &Host| u32::from(host.addr.port());
        let expected =
            [(port(&first), PeerSource::Operator), (port(&seeder), PeerSource::Exchange)];
        (sources == expected).then_some(())
    });
    let ((one, two), ()) = tokio::join!(downloads, met);
    one.unwrap();
    two.unwrap();
    assert_copy(&first, &data);
    assert_copy(&second, &data);
}
