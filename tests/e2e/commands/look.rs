//! The commands that only look, and pages.

use shoal::v1;
use tonic::Code;

use super::*;
use crate::harness::{CHUNK, Party, sample};

#[tokio::test(flavor = "multi_thread")]
async fn this_peer_its_chunks_and_its_connections() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(3 * CHUNK as usize, 30)).await;
    let tell = |peer: &mut shoal_node::config::PeerConfig| {
        peer.label.insert("zone".to_owned(), "a".to_owned());
    };
    let leecher = party.peer_with("leecher", tell).await;
    leecher.add(&metainfo).await.unwrap();
    leecher.connect_peer(seeder.addr).await;
    Ask::chunk(seeder.addr, "@1").call(&leecher, "request-download").await.unwrap();

    let mut to = leecher.peer();
    let info = to.see_this_peer_info(v1::SeeThisPeerInfoRequest::default()).await.unwrap();
    let info = info.into_inner();
    assert_eq!(info.self_, address(leecher.addr));
    assert_eq!(info.current_chunks, ["file1.webm.part2"]);
    assert_eq!(info.missing_chunks, ["file1.webm.part1", "file1.webm.part3"]);
    assert_eq!((info.chunks_have, info.chunks_missing), (1, 2));
    assert_eq!((info.downloaded_bytes, info.uploaded_bytes), (u64::from(CHUNK), 0));
    assert_eq!((info.torrent_name.as_str(), info.labels["zone"].as_str()), ("file1.webm", "a"));

    let status = to.see_chunk_status(v1::SeeChunkStatusRequest::default()).await.unwrap();
    let status = status.into_inner();
    assert_eq!((status.total_chunks, status.chunks_have), (3, 1));
    assert_eq!(status.bitfield, [0b0100_0000]);
    let had: Vec<_> = status.chunks.iter().map(|c| (c.have, c.state.as_str())).collect();
    assert_eq!(had, [(false, "missing"), (true, "have"), (false, "missing")]);
    assert!(status.chunks.iter().all(|c| c.size_bytes == CHUNK && c.availability == 1));
    assert_eq!(status.chunks[2].names, ["file1.webm.part3"]);

    let connected = to.see_connected(v1::SeeConnectedRequest::default()).await.unwrap();
    let connected = connected.into_inner().connections;
    assert_eq!(connected.len(), 1);
    let conn = &connected[0];
    assert_eq!(conn.peer, address(seeder.addr));
    assert!(conn.outgoing && conn.shoal && !conn.am_choking && !conn.snubbed, "{conn:?}");
    assert_eq!((conn.chunks_have, conn.verified_chunks), (3, 1));
    assert_eq!(conn.downloaded_bytes, u64::from(CHUNK));
    let other = seeder.peer().see_connected(v1::SeeConnectedRequest::default()).await.unwrap();
    let other = other.into_inner().connections;
    assert_eq!((other.len(), other[0].outgoing), (1, false));
    assert_eq!(other[0].labels["zone"], "a");
    assert_eq!(other[0].peer, address(leecher.addr));

    let out = leecher.ctl(&["see-this-peer-info"]).await.ok();
    assert!(out.contains("file1.webm.part2") && out.contains("zone=a"), "{out}");
    let out = leecher.ctl(&["see-chunk-status"]).await.ok();
    let starts: Vec<&str> = out.lines().map(|line| &line[..19]).collect();
    assert_eq!(
        starts,
        ["file1.webm.part1: 0", "file1.webm.part2: 1", "file1.webm.part3: 0"],
        "{out}"
    );
    let out = leecher.ctl(&["see-connected"]).await.ok();
    assert!(out.contains(&seeder.addr.to_string()), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_come_in_pages_and_shoalctl_gathers_them() {
    let party = Party::new().await;
    let (seeder, _) = party.seeder("many.bin", &sample(45 * CHUNK as usize, 31)).await;
    let mut page_token = String::new();
    let mut seen = Vec::new();
    for page in 0.. {
        let request = v1::SeeChunkStatusRequest { page_size: 20, page_token, ..Default::default() };
        let reply = seeder.peer().see_chunk_status(request).await.unwrap().into_inner();
        assert_eq!(reply.bitfield.is_empty(), page > 0);
        seen.extend(reply.chunks.iter().map(|chunk| chunk.index));
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, (0..45).collect::<Vec<_>>());
    assert_eq!(seeder.ctl(&["see-chunk-status"]).await.ok().lines().count(), 45);
    for (page_size, page_token) in [(1001, ""), (0, "no token")] {
        let page_token = page_token.to_owned();
        let request = v1::SeeChunkStatusRequest { page_size, page_token, ..Default::default() };
        let status = seeder.peer().see_chunk_status(request).await.unwrap_err();
        let (code, reason, _) = refusal(&status);
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BAD_ARGUMENT"));
    }
}
