//! request_download, and auto_download as a command.

use shoal::v1;
use tonic::Code;

use super::*;
use crate::{
    fake::{Conduct, Content, Fake},
    harness::{CHUNK, PATIENCE, Party, metainfo, sample, until, within},
};

async fn request(host: &Host, from: SocketAddr, chunk: &str) -> v1::RequestDownloadResponse {
    let request = v1::RequestDownloadRequest {
        peer: address(from),
        chunk: chunk.to_owned(),
        ..Default::default()
    };
    let stream = host.peer().request_download(request).await.unwrap().into_inner();
    last(stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_chunk_from_one_peer_by_name_and_by_index() {
    let party = Party::new().await;
    let data = sample(4 * CHUNK as usize + 10, 8);
    let (seeder, metainfo) = party.seeder("file1.webm", &data).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_peer(seeder.addr).await;

    let done = request(&leecher, seeder.addr, "file1.webm.part3").await;
    assert_eq!(done.message, "File received successfully!");
    assert!(done.verified && !done.already && done.elapsed_us > 0, "{done:?}");
    assert_eq!((done.index, done.bytes), (2, u64::from(CHUNK)));
    let done = request(&leecher, seeder.addr, "@4").await;
    assert_eq!((done.index, done.bytes, done.already), (4, 10, false));
    let again = request(&leecher, seeder.addr, "@4").await;
    assert!(again.already && again.verified);
    let torrent = leecher.torrent().await;
    assert_eq!((torrent.chunks_have, torrent.downloaded_bytes), (2, u64::from(CHUNK) + 10));

    let port = seeder.addr.port().to_string();
    let line = ["request-download", "127.0.0.1", &port, "file1.webm.part1"];
    let out = leecher.ctl(&line).await.ok();
    assert!(out.starts_with("File received successfully!\nchunk 0, 64.0 KiB in "), "{out}");
    assert!(out.ends_with(", verified\n"), "{out}");
    let out = leecher.ctl(&line).await.ok();
    assert!(out.contains("was here already"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_malformed_chunks_are_refused_with_a_near_one_suggested() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(3 * CHUNK as usize, 9)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_peer(seeder.addr).await;
    for (chunk, near) in [
        ("file1.wbem.part2", Some("file1.webm.part2")),
        ("file1.webm.part9", Some("file1.webm.part3")),
        ("file1.webm.part0", Some("file1.webm.part1")),
        ("file1.webm", Some("file1.webm.part1")),
        ("@3", Some("@2")),
        ("@x", Some("@2")),
        ("nothing of the kind", None),
    ] {
        let ask = Ask::chunk(seeder.addr, chunk);
        let (code, reason) = (Code::NotFound, "UNKNOWN_CHUNK");
        let refused = refused(&leecher, "request-download", &ask, code, reason).await;
        assert_eq!(refused.metadata.get("suggestion").map(String::as_str), near, "{chunk}");
        assert_eq!(refused.metadata["chunk"], chunk);
    }
    let ask = Ask::chunk(seeder.addr, "");
    let (code, reason) = (Code::InvalidArgument, "BAD_ARGUMENT");
    refused(&leecher, "request-download", &ask, code, reason).await;
    assert_eq!(leecher.torrent().await.downloaded_bytes, 0, "nothing was asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_the_peer_lacks_is_refused() {
    let party = Party::new().await;
    let metainfo = metainfo("file1.webm", &sample(3 * CHUNK as usize, 10), CHUNK, &[]);
    let one = party.leecher("one", &metainfo).await;
    let other = party.leecher("other", &metainfo).await;
    one.connect_peer(other.addr).await;
    let ask = Ask::chunk(other.addr, "file1.webm.part2");
    let (code, reason) = (Code::FailedPrecondition, "PEER_LACKS_CHUNK");
    let refused = refused(&one, "request-download", &ask, code, reason).await;
    assert_eq!(refused.metadata["chunk"], "file1.webm.part2");
    assert_eq!(refused.metadata["peer"], other.addr.to_string());
}

/// Waits until a fake is asked for a chunk.
async fn asked_for(fake: &Fake, chunk: u32) {
    until("a request", async || fake.asked().contains(&chunk).then_some(())).await;
}

async fn jobs(host: &Host) -> Vec<v1::Job> {
    let request = v1::ListJobsRequest::default();
    host.jobs().list_jobs(request).await.unwrap().into_inner().jobs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_was_requested_already_is_busy_until_it_is_there() {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("file1.webm", sample(3 * CHUNK as usize, 14), CHUNK);
    let held = Fake::start(1, &content, Conduct::Held);
    let other = Fake::start(2, &content, Conduct::Honest);
    let leecher = party.leecher("leecher", &metainfo).await;
    for fake in [&held, &other] {
        leecher.connect_peer(fake.addr).await;
    }
    let chunk = "file1.webm.part2";
    let first = request(&leecher, held.addr, chunk);
    let refusals = async {
        asked_for(&held, 1).await;
        for fake in [&held, &other] {
            let ask = Ask::chunk(fake.addr, chunk);
            let (code, reason) = (Code::FailedPrecondition, "CHUNK_BUSY");
            let busy = refused(&leecher, "request-download", &ask, code, reason).await;
            assert_eq!(busy.metadata["chunk"], chunk);
            assert!(busy.message.contains(chunk), "{}", busy.message);
            assert!(busy.message.contains("wait for its job, or cancel"), "{}", busy.message);
        }
        assert_eq!(jobs(&leecher).await.len(), 1, "nothing was begun");
        assert!(other.asked().is_empty());
        // Other chunks are free.
        request(&leecher, other.addr, "@0").await;
        held.release();
    };
    let (done, ()) = tokio::join!(within(PATIENCE * 2, "the first request", first), refusals);
    assert!(done.verified && !done.already, "{done:?}");
    assert_eq!((held.served(), other.served()), (u64::from(CHUNK), u64::from(CHUNK)));
    assert!(request(&leecher, other.addr, chunk).await.already);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_auto_download_fetches_is_busy_until_its_job_is_cancelled() {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("file1.webm", sample(1000, 15), CHUNK);
    let held = Fake::start(1, &content, Conduct::Held);
    let other = Fake::start(2, &content, Conduct::Honest);
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_peer(held.addr).await;
    let began = leecher.peer().auto_download(v1::AutoDownloadRequest::default()).await.unwrap();
    asked_for(&held, 0).await;
    let ask = Ask::chunk(held.addr, "@0");
    let (code, reason) = (Code::FailedPrecondition, "CHUNK_BUSY");
    let busy = refused(&leecher, "request-download", &ask, code, reason).await;
    assert_eq!(busy.metadata["chunk"], "file1.webm.part1");
    let running = jobs(&leecher).await;
    assert_eq!((running.len(), running[0].state()), (1, v1::JobState::Running));
    leecher.ctl(&["jobs", "cancel", &running[0].id.to_string()]).await.ok();
    let ended = within(PATIENCE, "the end of the stream", last(began.into_inner())).await;
    assert_eq!(refusal(&ended.unwrap_err()).1, "JOB_CANCELLED");
    leecher.connect_peer(other.addr).await;
    assert!(request(&leecher, other.addr, "@0").await.verified);
    assert_eq!(held.served(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hangs_up_on_a_request_is_lost_and_the_chunk_is_free_again() {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("file1.webm", sample(3 * CHUNK as usize, 19), CHUNK);
    let fake = Fake::start(1, &content, Conduct::HangsUp);
    let other = Fake::start(2, &content, Conduct::Honest);
    let leecher = party.leecher("leecher", &metainfo).await;
    let (code, reason) = (Code::Unavailable, "PEER_LOST");
    let (command, ask) = ("request-download", Ask::chunk(fake.addr, "file1.webm.part2"));
    leecher.connect_peer(fake.addr).await;
    let lost = refused_over_grpc(&leecher, command, &ask, code, reason).await;
    leecher.connect_peer(fake.addr).await;
    refused_through_shoalctl(&leecher, command, &ask, code, &lost).await;
    assert_eq!(lost.metadata["peer"], fake.addr.to_string());
    assert_eq!(lost.metadata["cause"], "closed by the peer");
    assert!(lost.message.contains(&fake.addr.to_string()), "{}", lost.message);
    assert!(lost.message.contains("connect_peer to it again"), "{}", lost.message);
    let torrent = leecher.torrent().await;
    assert_eq!((torrent.peers, torrent.chunks_have, torrent.downloaded_bytes), (0, 0, 0));
    assert!(jobs(&leecher).await.iter().all(|job| job.state() == v1::JobState::Failed));
    leecher.connect_peer(other.addr).await;
    assert!(request(&leecher, other.addr, "file1.webm.part2").await.verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_download_does_everything_and_says_so() {
    let party = Party::new().await;
    let data = sample(20 * CHUNK as usize, 11);
    let (seeder, metainfo) = party.seeder("file1.webm", &data).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    let done = leecher.auto_download().await.unwrap();
    assert!(done.complete && !done.joined);
    assert_eq!(done.message, "Merge complete!");
    assert_eq!(done.served_by.len(), 1);
    let by = &done.served_by[0];
    assert_eq!((by.peer.clone(), by.chunks), (address(seeder.addr), 20));
    assert_eq!((by.bytes, done.wasted_bytes), (data.len() as u64, 0));
    let path = leecher.downloads().join("file1.webm");
    assert_eq!(done.paths, [path.to_str().unwrap()]);
    assert!(std::fs::read(&path).unwrap() == data);
    assert_eq!(leecher.torrent().await.state(), v1::TorrentState::Seeding);
    let again = leecher.auto_download().await.unwrap();
    assert!(again.complete && again.paths == done.paths, "repeating it is harmless");

    let other = party.leecher("other", &metainfo).await;
    let out = other.ctl(&["auto-download"]).await.ok();
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("Merge complete!"), "{out}");
    let path = other.downloads().join("file1.webm");
    assert_eq!(lines.next(), path.to_str(), "{out}");
    assert!(out.contains("SERVED BY"), "{out}");
    assert!(std::fs::read(path).unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn available_only_merges_what_is_complete_and_names_the_rest() {
    let party = Party::new().await;
    for (name, seed) in [("a.webm", 12), ("b.webm", 13)] {
        party.write(&format!("data/two/{name}"), &sample(2 * CHUNK as usize, seed));
    }
    let url = party.announce_url().await;
    let seeder = party.peer("seeder").await;
    let metainfo = seeder.create(&party.dir.path().join("data/two"), &[url]).await;
    // The half has a.webm and one chunk of b.webm.
    let half = party.leecher("half", &metainfo).await;
    half.connect_peer(seeder.addr).await;
    for chunk in ["a.webm.part1", "a.webm.part2", "b.webm.part2"] {
        request(&half, seeder.addr, chunk).await;
    }
    Ask::peer(seeder.addr).call(&half, "disconnect-peer").await.unwrap();
    half.connect_tracker().await;
    let leecher = party.leecher("leecher", &metainfo).await;
    let ask = Ask { available_only: true, ..Ask::default() };
    let (code, reason) = (Code::FailedPrecondition, "CHUNKS_UNAVAILABLE");
    let refused = refused(&leecher, "auto-download", &ask, code, reason).await;
    assert_eq!(refused.metadata["chunks"], "b.webm.part1");
    assert!(refused.message.contains("b.webm.part1"), "{}", refused.message);
    let merged = leecher.downloads().join("two");
    assert!(std::fs::read(merged.join("a.webm")).unwrap() == sample(2 * CHUNK as usize, 12));
    assert!(!merged.join("b.webm").exists());
    assert_eq!(leecher.torrent().await.chunks_have, 3);
}
