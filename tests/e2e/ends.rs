//! Ends: of a node by a call, of a torrent by its removal.

use shoal::v1;
use tonic::Code;

use crate::{
    binaries::Program,
    harness::{CHUNK, PATIENCE, Party, refusal, sample, within},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_the_node_after_its_answer() {
    let Some(shoald) = Program::shoald() else { return };
    let home = tempfile::tempdir().unwrap();
    let node = shoald.node("peer", &home.path().join("node"), &[]).await;
    let mut events = node.events(&[]).await;
    events.next().await;
    node.node().shutdown(v1::ShutdownRequest {}).await.unwrap();
    let ended = async {
        loop {
            match events.0.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a stream ends with a reason"),
                Err(status) => return status,
            }
        }
    };
    let status = within(PATIENCE, "the end of the stream", ended).await;
    let (code, reason, _) = refusal(&status);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    assert_eq!(node.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_torrent_is_gone_and_its_files_only_if_asked() {
    let party = Party::new().await;
    let data = sample(3 * CHUNK as usize, 71);
    let (_seeder, metainfo) = party.seeder("file1.webm", &data).await;
    for delete_data in [false, true] {
        let leecher = party.leecher(&format!("leecher-{delete_data}"), &metainfo).await;
        assert!(leecher.auto_download().await.unwrap().complete);
        let merged = leecher.downloads().join("file1.webm");
        let unnamed = v1::RemoveTorrentRequest { torrent: String::new(), delete_data };
        let status = leecher.torrents().remove_torrent(unnamed).await.unwrap_err();
        assert_eq!(refusal(&status).1, "BAD_ARGUMENT");
        let request = v1::RemoveTorrentRequest { torrent: "file1.webm".to_owned(), delete_data };
        let removed = leecher.torrents().remove_torrent(request).await.unwrap().into_inner();
        assert_eq!(removed.name, "file1.webm");
        let request = v1::ListTorrentsRequest::default();
        let left = leecher.torrents().list_torrents(request).await.unwrap().into_inner();
        assert!(left.torrents.is_empty());
        assert_eq!(merged.exists(), !delete_data, "delete_data: {delete_data}");
    }
}
