//! Files that someone edits behind the node's back: nothing unverified is served.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use shoal::v1;

use crate::harness::{CHUNK, Host, Party, sample, until};

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
