//! A leecher that is killed half-way and started again.

use shoal::v1::{self, EventKind};

use crate::{
    binaries::Program,
    fake::{Conduct, Content, Fake},
    harness::{CHUNK, PATIENCE, sample, within},
};

/// Chunks of the file: 16 MiB, two seconds at the pace of the peers.
const CHUNKS: u32 = 256;

#[tokio::test(flavor = "multi_thread")]
async fn a_leecher_killed_at_half_finishes_without_downloading_anything_twice() {
    let Some(shoald) = Program::shoald() else { return };
    let dir = tempfile::tempdir().unwrap();
    let size = u64::from(CHUNKS * CHUNK);
    let (content, metainfo) = Content::new("file1.webm", sample(size as usize, 110), CHUNK);
    let file = dir.path().join("file1.torrent");
    std::fs::write(&file, metainfo).unwrap();
    let fakes = [1, 2].map(|n| Fake::start(n, &content, Conduct::Paced(1 << 22)));
    let state = dir.path().join("leecher");
    let args = ["--torrent", file.to_str().unwrap(), "--auto-download"];

    let node = shoald.node("peer", &state, &args).await;
    let mut events = node.events(&[EventKind::Chunk]).await;
    for fake in &fakes {
        node.connect_peer(fake.addr).await;
    }
    let had = loop {
        let event = events.until(|event| event.what == "verified").await;
        let Some(v1::event::Detail::Chunks(change)) = event.detail else { continue };
        if change.chunks_have >= CHUNKS / 2 {
            break change.chunks_have;
        }
    };
    node.kill().await;

    let node = shoald.node("peer", &state, &args).await;
    let mut events = node.events(&[EventKind::Job]).await;
    for fake in &fakes {
        node.connect_peer(fake.addr).await;
    }
    if node.torrent().await.state() != v1::TorrentState::Seeding {
        within(PATIENCE, "the end of the download", events.what("ended")).await;
    }
    let torrent = node.torrent().await;
    assert_eq!((torrent.state(), torrent.chunks_have), (v1::TorrentState::Seeding, CHUNKS));
    let served: u64 = fakes.iter().map(Fake::served).sum();
    // What was on its way when the node died is asked for again: the windows of two peers.
    let twice = served - size;
    assert!(twice <= size / 4, "{twice} of {size} bytes twice; {had} chunks were there");
    assert!(std::fs::read(state.join("downloads/file1.webm")).unwrap() == content.data);
    assert_eq!(node.terminate().await, Some(0));
}
