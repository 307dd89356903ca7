//! Commands against a torrent that is paused or was quit.

use shoal::v1;
use tonic::Code;

use super::*;
use crate::harness::{CHUNK, Party, sample};

/// Commands that need a torrent that takes part.
const NEED_ACTIVE: [&str; 6] = [
    "get-peer-set",
    "update-status-to-tracker",
    "connect-peer",
    "ping",
    "request-download",
    "disconnect-peer",
];

/// Commands that look, and work in any state.
const ALWAYS: [&str; 6] = [
    "check-tracker-connected",
    "check-target-peer-connected",
    "see-this-peer-info",
    "see-peer-set",
    "see-connected",
    "see-chunk-status",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_torrent_refuses_what_transfers_and_resumes() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(3 * CHUNK as usize, 40)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_tracker().await;
    leecher.connect_peer(seeder.addr).await;
    let out = leecher.ctl(&["torrent", "pause"]).await.ok();
    assert!(out.contains("paused"), "{out}");
    let ask = Ask::peer(seeder.addr);
    let refusing = NEED_ACTIVE.into_iter().chain(["connect-tracker", "auto-download"]);
    for command in refusing {
        let refused = refused(&leecher, command, &ask, Code::FailedPrecondition, "PAUSED").await;
        assert!(refused.message.contains("resume it first"), "{}", refused.message);
    }
    for command in ALWAYS {
        ask.clone().call(&leecher, command).await.unwrap();
    }
    let torrent = leecher.torrent().await;
    assert_eq!((torrent.state(), torrent.peers), (v1::TorrentState::Paused, 0));
    leecher.ctl(&["torrent", "resume"]).await.ok();
    assert!(leecher.auto_download().await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torrent_that_was_quit_refuses_until_it_rejoins() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(3 * CHUNK as usize, 41)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_tracker().await;
    leecher.connect_peer(seeder.addr).await;
    Ask::default().call(&leecher, "quit-torrent").await.unwrap();
    let ask = Ask::peer(seeder.addr);
    for command in NEED_ACTIVE.into_iter().chain(["quit-torrent"]) {
        let refused = refused(&leecher, command, &ask, Code::FailedPrecondition, "HAS_QUIT").await;
        assert!(refused.message.contains("rejoins"), "{}", refused.message);
    }
    for command in ALWAYS {
        ask.clone().call(&leecher, command).await.unwrap();
    }
    assert!(leecher.auto_download().await.unwrap().complete, "auto_download rejoins");
}
