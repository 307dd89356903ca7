//! Files that someone edits behind the node's back: nothing unverified is served.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use shoal::v1::{self, EventKind};

use crate::{
    commands::Ask,
    harness::{CHUNK, Host, Party, sample, until},
};

/// Chunks of the file.
const CHUNKS: u32 = 8;
/// The chunk that is edited.
const EDITED: u32 = 5;

/// Writes into the middle of a chunk; the length stays. The time of change moves on for sure.
fn edit(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"edited", u64::from(EDITED * CHUNK + 100)).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(2)).unwrap();
}

async fn have(host: &Host) -> Vec<u32> {
    let request = v1::SeeChunkStatusRequest::default();
    let status = host.peer().see_chunk_status(request).await.unwrap().into_inner();
    status.chunks.iter().filter(|chunk| chunk.have).map(|chunk| chunk.index).collect()
}

fn all_but_the_edited() -> Vec<u32> {
    (0..CHUNKS).filter(|&index| index != EDITED).collect()
}

/// A node asks `source` for every chunk: it gets the right ones, and never the edited one.
async fn ask_for_everything(party: &Party, source: &Host, metainfo: &[u8]) {
    let asker = party.leecher("asker", metainfo).await;
    let mut events = source.events(&[EventKind::Disk]).await;
    asker.connect_peer(source.addr).await;
    for index in 0..CHUNKS {
        let ask = Ask::chunk(source.addr, &format!("@{index}"));
        // The source may close the connection when it sees the change: the peer is dialled again.
        let served = until("an answer about a chunk", async || {
            match ask.clone().call(&asker, "request-download").await {
                Ok(()) => Some(true),
                Err(_) if index == EDITED => Some(false),
                Err(_) => {
                    let _ = Ask::peer(source.addr).call(&asker, "connect-peer").await;
                    None
                }
            }
        });
        assert_eq!(served.await, index != EDITED, "chunk {index}");
    }
    let event = events.what("changed").await;
    assert!(event.message.contains("file1.webm"), "{}", event.message);
    until("the verification", async || (have(source).await == all_but_the_edited()).then_some(()))
        .await;
    assert_eq!(asker.torrent().await.failed_chunks, 0, "nothing bad was sent");
    assert_eq!(have(&asker).await, all_but_the_edited());
    let there = asker.torrent().await;
    assert_eq!(there.downloaded_bytes, u64::from((CHUNKS - 1) * CHUNK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_file_that_is_edited_is_verified_again() {
    let party = Party::new().await;
    let data = sample((CHUNKS * CHUNK) as usize, 100);
    let (seeder, metainfo) = party.seeder("file1.webm", &data).await;
    let source = party.leecher("source", &metainfo).await;
    assert!(source.auto_download().await.unwrap().complete);
    drop(seeder);
    edit(&source.downloads().join("file1.webm"));
    ask_for_everything(&party, &source, &metainfo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeded_file_that_is_edited_is_verified_again() {
    let party = Party::new().await;
    let data = sample((CHUNKS * CHUNK) as usize, 101);
    let (seeder, metainfo) = party.seeder("file1.webm", &data).await;
    edit(&party.dir.path().join("data/file1.webm"));
    ask_for_everything(&party, &seeder, &metainfo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_edited_while_the_node_is_down_is_verified_at_its_start() {
    let party = Party::new().await;
    let data = sample((CHUNKS * CHUNK) as usize, 102);
    let (mut seeder, _) = party.seeder("file1.webm", &data).await;
    assert_eq!(have(&seeder).await.len(), CHUNKS as usize);
    seeder.stop().await;
    edit(&party.dir.path().join("data/file1.webm"));
    let seeder = Host::start(seeder.config.clone()).await;
    until("the verification", async || (have(&seeder).await == all_but_the_edited()).then_some(()))
        .await;
    // Put right again, it is whole after a verification.
    let path = party.dir.path().join("data/file1.webm");
    fs::write(&path, &data).unwrap();
    seeder.ctl(&["torrent", "verify"]).await.ok();
    assert_eq!(have(&seeder).await.len(), CHUNKS as usize);
    assert!(fs::read(path).unwrap() == data, "somebody's file is never written to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_or_cut_is_not_served() {
    let party = Party::new().await;
    let data = sample((CHUNKS * CHUNK) as usize, 103);
    let (seeder, metainfo) = party.seeder("file1.webm", &data).await;
    let path = party.dir.path().join("data/file1.webm");
    fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    let asker = party.leecher("asker", &metainfo).await;
    asker.connect_peer(seeder.addr).await;
    Ask::chunk(seeder.addr, "@7").call(&asker, "request-download").await.unwrap_err();
    until("the verification", async || have(&seeder).await.is_empty().then_some(())).await;
    let torrent = asker.torrent().await;
    assert_eq!((torrent.chunks_have, torrent.failed_chunks), (0, 0));
}
