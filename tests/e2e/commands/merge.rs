//! merge_chunks.

use shoal::v1;
use tonic::Code;

use super::*;
use crate::harness::{CHUNK, Party, sample};

async fn merge(host: &Host, file: &str) -> v1::MergeChunksResponse {
    let request = v1::MergeChunksRequest { file: file.to_owned(), ..Default::default() };
    host.peer().merge_chunks(request).await.unwrap().into_inner()
}

/// A leecher with all of `a.webm` and nothing of `b.webm`, not merged.
async fn half(party: &Party) -> (Host, Host) {
    for (name, seed) in [("a.webm", 20), ("b.webm", 21)] {
        party.write(&format!("data/two/{name}"), &sample(2 * CHUNK as usize, seed));
    }
    let seeder = party.peer("seeder").await;
    let metainfo = seeder.create(&party.dir.path().join("data/two"), &[]).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_peer(seeder.addr).await;
    for chunk in ["a.webm.part1", "a.webm.part2"] {
        Ask::chunk(seeder.addr, chunk).call(&leecher, "request-download").await.unwrap();
    }
    (seeder, leecher)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_file_becomes_a_file_and_repeating_it_is_harmless() {
    let party = Party::new().await;
    let (seeder, leecher) = half(&party).await;
    let path = leecher.downloads().join("two/a.webm");
    assert!(!path.exists());
    let done = merge(&leecher, "a.webm").await;
    assert_eq!((done.message.as_str(), done.already), ("Merge complete!", false));
    assert_eq!(done.paths, [path.to_str().unwrap()]);
    assert!(std::fs::read(&path).unwrap() == sample(2 * CHUNK as usize, 20));
    let again = merge(&leecher, "a.webm").await;
    assert!(again.already && again.paths == done.paths);
    let out = leecher.ctl(&["merge-chunks", "a.webm"]).await.ok();
    assert_eq!(out, format!("Merge complete!\n{}\n", path.display()));
    // The rest still goes where it belongs, and every file is merged without a name.
    for chunk in ["b.webm.part1", "b.webm.part2"] {
        Ask::chunk(seeder.addr, chunk).call(&leecher, "request-download").await.unwrap();
    }
    let done = merge(&leecher, "").await;
    assert_eq!(done.paths.len(), 2);
    let other = leecher.downloads().join("two/b.webm");
    assert!(std::fs::read(other).unwrap() == sample(2 * CHUNK as usize, 21));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_file_is_refused_with_what_is_missing() {
    let party = Party::new().await;
    let (_seeder, leecher) = half(&party).await;
    for file in ["b.webm", ""] {
        let (code, reason) = (Code::FailedPrecondition, "MERGE_INCOMPLETE");
        let refused = refused(&leecher, "merge-chunks", &Ask::file(file), code, reason).await;
        assert_eq!(refused.metadata["chunks"], "b.webm.part1, b.webm.part2");
        assert_eq!(
            (&refused.metadata["file"][..], &refused.metadata["missing"][..]),
            ("b.webm", "2")
        );
    }
    assert!(!leecher.downloads().join("two").exists(), "nothing is half done");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_file_is_refused_with_a_near_one_suggested() {
    let party = Party::new().await;
    let (_seeder, leecher) = half(&party).await;
    let ask = Ask::file("a.wbem");
    let refused = refused(&leecher, "merge-chunks", &ask, Code::NotFound, "UNKNOWN_FILE").await;
    assert_eq!(refused.metadata["suggestion"], "a.webm");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_different_file_is_never_overwritten() {
    let party = Party::new().await;
    let (_seeder, leecher) = half(&party).await;
    let path = leecher.downloads().join("two/a.webm");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "mine").unwrap();
    let ask = Ask::file("a.webm");
    let refused =
        refused(&leecher, "merge-chunks", &ask, Code::AlreadyExists, "MERGE_EXISTS").await;
    assert_eq!(refused.metadata["path"], path.to_str().unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    assert_eq!(leecher.torrent().await.chunks_have, 2);
    std::fs::remove_file(&path).unwrap();
    assert!(!merge(&leecher, "a.webm").await.already, "the way is free");
}
