//! A swarm that finds itself through our tracker over UDP.

use std::fs;

use shoal::v1;
use shoal_core::tracker::scrape::ScrapeEntry;
use shoal_node::announce::{Announcer, AnnouncerConfig};
use tonic::Code;

use crate::harness::{CHUNK, Party, info_hash, metainfo, refusal, sample, sentence};

#[tokio::test(flavor = "multi_thread")]
async fn a_seeder_and_a_leecher_meet_over_udp() {
    let party = Party::new().await;
    let info = party.tracker.info().await;
    let url = info.udp_announce_url;
    assert_eq!(url, info.announce_url.replace("http://", "udp://"));
    let data = sample(20 * CHUNK as usize + 7, 15);
    let path = party.write("data/film.webm", &data);
    let seeder = party.peer("seeder").await;
    let metainfo = seeder.create(&path, std::slice::from_ref(&url)).await;
    let connected = seeder.connect_tracker().await;
    assert_eq!((connected.tracker_url, connected.keeps_chunk_status), (url.clone(), false));

    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.auto_download().await.unwrap();
    assert!(fs::read(leecher.downloads().join("film.webm")).unwrap() == data, "the copy differs");

    let announcer = Announcer::new(AnnouncerConfig::default()).unwrap();
    let scrape = async || {
        let reply = announcer.scrape(&url, &[info_hash(&metainfo)]).await.unwrap();
        reply.files[0].1
    };
    let listed = scrape().await;
    assert_eq!(listed.complete + listed.incomplete, 2);
    // It says that it is complete, if it has not yet.
    leecher
        .peer()
        .update_status_to_tracker(v1::UpdateStatusToTrackerRequest::default())
        .await
        .unwrap();
    let both = ScrapeEntry { complete: 2, incomplete: 0, downloaded: 1 };
    assert_eq!(scrape().await, both);

    let request = v1::DisconnectTrackerRequest::default();
    let left = leecher.peer().disconnect_tracker(request).await.unwrap().into_inner();
    assert_eq!(left.message, format!("{} disconnected from tracker", sentence(leecher.addr)));
    assert_eq!(scrape().await.complete, 1, "the tracker was told");
    let mut seeder = seeder;
    seeder.stop().await;
    assert_eq!(scrape().await.complete, 0, "a node that ends says so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_over_udp_is_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let only = dir.path().join("only.torrent");
    fs::write(&only, metainfo("listed", b"y", CHUNK, &[])).unwrap();
    let party = Party::with_tracker(|tracker| tracker.only = vec![only]).await;
    let url = party.tracker.info().await.udp_announce_url;
    let peer = party.leecher("peer", &metainfo("a", b"x", CHUNK, &[&url])).await;
    let request = v1::ConnectTrackerRequest::default();
    let status = peer.peer().connect_tracker(request).await.unwrap_err();
    let (code, reason, message) = refusal(&status);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "TRACKER_REFUSED"));
    assert!(message.contains("is not served here"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_told_not_to_serves_no_udp() {
    let party = Party::with_tracker(|tracker| tracker.udp = false).await;
    let info = party.tracker.info().await;
    assert_eq!(info.udp_announce_url, "");
    let url = info.announce_url.replace("http://", "udp://");
    let peer = party.leecher("peer", &metainfo("a", b"x", CHUNK, &[&url])).await;
    let request = v1::ConnectTrackerRequest::default();
    let status = peer.peer().connect_tracker(request).await.unwrap_err();
    let (code, reason, message) = refusal(&status);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "TRACKER_UNREACHABLE"));
    assert!(message.to_lowercase().contains("refused"), "{message}");
}
