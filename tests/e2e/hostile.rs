//! Peers that lie, drip or crawl, beside ones that do not.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use shoal::v1;
use tonic::Code;

use crate::{
    binaries::Program,
    commands::{Ask, refused},
    fake::{Conduct, Content, Fake},
    harness::{CHUNK, Host, Party, address, last, sample, within},
};

/// Every byte under a folder that is not zero.
fn written(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of = |path: std::path::PathBuf| match path.is_dir() {
        true => written(&path),
        false => std::fs::read(path).unwrap().iter().filter(|&&byte| byte != 0).count() as u64,
    };
    entries.map(|entry| of(entry.unwrap().path())).sum()
}

async fn connections(host: &Host) -> Vec<v1::Connection> {
    let request = v1::SeeConnectedRequest::default();
    host.peer().see_connected(request).await.unwrap().into_inner().connections
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_charged_then_banned_and_nothing_of_it_is_kept_or_served() {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("file1.webm", sample(8 * CHUNK as usize, 50), CHUNK);
    let liar = Fake::start(1, &content, Conduct::Liar);
    let leecher = party.leecher("leecher", &metainfo).await;
    let other = party.leecher("other", &metainfo).await;
    other.connect_peer(leecher.addr).await;
    let mut events = leecher.events(&[v1::EventKind::Peer]).await;
    leecher.connect_peer(liar.addr).await;
    let request = v1::AutoDownloadRequest::default();
    let job = leecher.peer().auto_download(request).await.unwrap().into_inner();
    for what in ["charged", "banned"] {
        let event = events.what(what).await;
        let Some(v1::event::Detail::Peer(peer)) = event.detail else { panic!("{event:?}") };
        assert_eq!(peer.peer, address(liar.addr), "{what}");
    }
    let torrent = leecher.torrent().await;
    assert!(torrent.chunks_have == 0 && torrent.failed_chunks >= 2, "{torrent:?}");
    assert!(torrent.wasted_bytes >= 2 * u64::from(CHUNK), "{torrent:?}");
    assert_eq!(written(leecher.downloads()), 0, "nothing unverified is written");
    let ask = Ask::peer(liar.addr);
    let (code, reason) = (Code::FailedPrecondition, "PEER_BANNED");
    for command in ["connect-peer", "ping", "request-download", "disconnect-peer"] {
        refused(&leecher, command, &ask, code, reason).await;
    }
    assert!(connections(&leecher).await.iter().all(|conn| conn.peer != address(liar.addr)));
    let seen = connections(&other).await;
    assert_eq!((seen.len(), seen[0].chunks_have), (1, 0), "nothing unverified is offered");

    // The file arrives whole from the others.
    let honest = Fake::start(2, &content, Conduct::Honest);
    leecher.connect_peer(honest.addr).await;
    let done = within(Duration::from_secs(30), "the download", last(job)).await.unwrap();
    assert!(done.complete);
    assert_eq!(done.served_by.len(), 1, "{:?}", done.served_by);
    assert_eq!(done.served_by[0].peer, address(honest.addr));
    assert!(std::fs::read(leecher.downloads().join("file1.webm")).unwrap() == content.data);
    assert!(other.auto_download().await.unwrap().complete);
    assert!(std::fs::read(other.downloads().join("file1.webm")).unwrap() == content.data);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_pieces_of_several_peers_the_liar_is_found() {
    let party = Party::new().await;
    let chunk = 4 << 20;
    let (content, metainfo) = Content::new("big.bin", sample(6 * chunk as usize + 5, 51), chunk);
    let liar = Fake::start(1, &content, Conduct::Liar);
    let honest = [2, 3].map(|n| Fake::start(n, &content, Conduct::Honest));
    let leecher = party.leecher("leecher", &metainfo).await;
    let mut events = leecher.events(&[v1::EventKind::Peer]).await;
    leecher.connect_peer(liar.addr).await;
    for fake in &honest {
        leecher.connect_peer(fake.addr).await;
    }
    let done = leecher.auto_download().await.unwrap();
    assert!(done.complete);
    assert!(std::fs::read(leecher.downloads().join("big.bin")).unwrap() == content.data);
    assert!(done.served_by.iter().all(|by| honest.iter().any(|f| by.peer == address(f.addr))));
    let event = events.what("banned").await;
    let Some(v1::event::Detail::Peer(peer)) = event.detail else { panic!("{event:?}") };
    assert_eq!(peer.peer, address(liar.addr), "nobody else is blamed");
    let here = connections(&leecher).await;
    assert!(honest.iter().all(|f| here.iter().any(|conn| conn.peer == address(f.addr))));
}

#[tokio::test(flavor = "multi_thread")]
async fn four_dripping_peers_do_not_stop_a_download_with_one_good_peer() {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("file1.webm", sample(64 * CHUNK as usize, 52), CHUNK);
    let drip = Conduct::Drip(Duration::from_secs(19));
    let drips = [1, 2, 3, 4].map(|n| Fake::start(n, &content, drip));
    let good = Fake::start(9, &content, Conduct::Honest);
    let leecher = party.leecher("leecher", &metainfo).await;
    for fake in drips.iter().chain([&good]) {
        leecher.connect_peer(fake.addr).await;
    }
    let begun = Instant::now();
    let done = leecher.auto_download().await.unwrap();
    assert!(done.complete && begun.elapsed() <= Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(std::fs::read(leecher.downloads().join("file1.webm")).unwrap() == content.data);
}

/// Fakes, and bytes a second of each.
const CROWD: (u8, u32) = (50, 200_000);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_slow_peers_with_large_pieces_are_used_together_in_little_memory() {
    let Some(shoald) = Program::shoald() else { return };
    let dir = tempfile::tempdir().unwrap();
    let chunk = 16 << 20;
    // As much as everyone brings in the time of four extents of 1 MiB.
    let (content, metainfo) = Content::new("big.bin", sample(200 << 20, 53), chunk);
    let file = dir.path().join("big.torrent");
    std::fs::write(&file, metainfo).unwrap();
    let (count, rate) = CROWD;
    let fakes: Vec<_> =
        (0..count).map(|n| Fake::start(n, &content, Conduct::Paced(rate))).collect();
    let state = dir.path().join("leecher");
    let node = shoald.node("peer", &state, &["--torrent", file.to_str().unwrap()]).await;
    for fake in &fakes {
        node.connect_peer(fake.addr).await;
    }
    let begun = Instant::now();
    let request = v1::AutoDownloadRequest::default();
    let job = node.peer().auto_download(request).await.unwrap().into_inner();
    let done = within(Duration::from_secs(60), "the download", last(job)).await.unwrap();
    let took = begun.elapsed();
    let peak = node.peak_memory();
    assert!(done.complete);
    let full = f64::from(u32::from(count) * rate);
    let reached = content.data.len() as f64 / took.as_secs_f64() / full;
    println!("{:.0} % of {full} B/s, {} MiB at most", reached * 100.0, peak >> 20);
    assert!(reached >= 0.8, "only {:.0} % of {full} B/s in {took:?}", reached * 100.0);
    assert!(peak < 100 << 20, "{} MiB", peak >> 20);
    assert!(fakes.iter().all(|fake| fake.served() > 0), "everyone is used");
    assert!(std::fs::read(state.join("downloads/big.bin")).unwrap() == content.data);
}
