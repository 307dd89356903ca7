//! A leecher that is killed half-way and started again.

use std::{
    collections::BTreeSet,
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use shoal::v1::{self, EventKind};
use shoal_core::metainfo::Metainfo;
use shoal_node::disk::{Opened, RealFileSystem, Store, TorrentStore};

use crate::{
    binaries::Program,
    commands::Ask,
    fake::{Conduct, Content, Fake},
    harness::{CHUNK, Events, Host, PATIENCE, sample, within},
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

/// What is committed, and what is on disk beside that, of the only torrent of a dead node; and the
/// file of its chunk memory.
fn left_behind(state: &Path, metainfo: &[u8]) -> (Opened, PathBuf) {
    let store = Store::open(state).unwrap();
    let (_, record) = store.torrents().unwrap().remove(0);
    let metainfo = Arc::new(Metainfo::parse(metainfo).unwrap());
    let files = Arc::new(RealFileSystem);
    let (torrent, opened) = TorrentStore::open(&store, metainfo, record.placement, files).unwrap();
    let (_, path) = torrent.place_of(0).unwrap();
    (opened, path)
}

/// Turns a byte in each of these chunks; length and times stay as they are.
fn spoil<'a>(path: &Path, data: &mut [u8], chunks: impl IntoIterator<Item = &'a u32>) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    for chunk in chunks {
        let at = (chunk * CHUNK + 100) as usize;
        data[at] ^= 0xff;
        file.write_all_at(&data[at..=at], at as u64).unwrap();
    }
    file.set_modified(modified).unwrap();
}

/// The first event of this node about its torrent.
async fn added(node: &Host) -> v1::Torrent {
    let epoch = node.info().await.epoch;
    let request = v1::WatchEventsRequest { after_revision: Some(0), epoch, ..Default::default() };
    let mut events = Events(node.node().watch_events(request).await.unwrap().into_inner());
    match events.what("added").await.detail {
        Some(v1::event::Detail::Torrent(torrent)) => torrent,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_what_was_committed_is_trusted_and_the_rest_on_disk_is_verified() {
    const CHUNKS: u32 = 32;
    let Some(shoald) = Program::shoald() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (content, metainfo) =
        Content::new("file1.webm", sample((CHUNKS * CHUNK) as usize, 111), CHUNK);
    let torrent = dir.path().join("file1.torrent");
    std::fs::write(&torrent, &metainfo).unwrap();
    let state = dir.path().join("leecher");
    let args = ["--torrent", torrent.to_str().unwrap()];
    let fake = Fake::start(1, &content, Conduct::Honest);

    // Chunks are committed two seconds after the first of them: a life that ends sooner leaves all
    // of its own uncommitted. On a machine that dawdles it takes several.
    let mut next = 0;
    let (committed, uncommitted, path) = loop {
        let node = shoald.node("peer", &state, &args).await;
        node.connect_peer(fake.addr).await;
        for chunk in next..next + 4 {
            let ask = Ask::chunk(fake.addr, &format!("@{chunk}"));
            ask.call(&node, "request-download").await.unwrap();
        }
        next += 4;
        // The first life ends in order, which commits.
        if next == 4 {
            assert_eq!(node.terminate().await, Some(0));
            continue;
        }
        node.kill().await;
        let (found, path) = left_behind(&state, &metainfo);
        let committed: BTreeSet<u32> = found.have.iter_ones().map(|piece| piece.0).collect();
        let uncommitted: BTreeSet<u32> = found.unverified.iter().map(|piece| piece.0).collect();
        assert_eq!(committed.len() + uncommitted.len(), next as usize, "nothing is lost");
        assert!((0..4).all(|chunk| committed.contains(&chunk)), "{committed:?}");
        if uncommitted.len() >= 2 {
            break (committed, uncommitted, path);
        }
        assert!(next + 4 < CHUNKS, "every life was committed before it was killed");
    };
    drop(fake);

    // A committed chunk that was hashed would be found bad, and asked for again.
    let mut expected = content.data.clone();
    spoil(&path, &mut expected, &committed);
    let torn = *uncommitted.last().unwrap();
    spoil(&path, &mut expected.clone(), [&torn]);

    let fake = Fake::start(2, &content, Conduct::Honest);
    let node = shoald.node("peer", &state, &args).await;
    let found = added(&node).await;
    let counts = (found.chunks_have as usize, found.chunks_checking as usize);
    assert_eq!(counts, (committed.len(), uncommitted.len()));
    node.connect_peer(fake.addr).await;
    assert!(node.auto_download().await.unwrap().complete);
    let had = |chunk: &u32| committed.contains(chunk) || uncommitted.contains(chunk);
    let missing: BTreeSet<u32> =
        (0..CHUNKS).filter(|chunk| !had(chunk) || *chunk == torn).collect();
    assert_eq!(fake.asked(), missing);
    assert_eq!(fake.served(), missing.len() as u64 * u64::from(CHUNK));
    let torrent = node.torrent().await;
    assert_eq!((torrent.chunks_have, torrent.chunks_checking), (CHUNKS, 0));
    assert!(std::fs::read(state.join("downloads/file1.webm")).unwrap() == expected);
    assert_eq!(node.terminate().await, Some(0));
}
