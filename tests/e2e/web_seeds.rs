//! Downloads from HTTP servers (BEP 19), alone and beside peers, and what operators see of them.

use std::path::Path;

use shoal::v1;
use shoal_core::metainfo::Metainfo;
use shoal_ctl::Exit;
use shoal_node::config::{PeerConfig, value::ByteRate};

use crate::{
    harness::{CHUNK, Host, Party, sample, until},
    web_server::WebServer,
};

const FILES: [(&str, usize); 5] = [
    ("a b.bin", 100_001),
    ("sub/50%.bin", 1_500_000),
    ("sub/empty", 0),
    ("sub/grüße.bin", 3 * CHUNK as usize),
    ("z.bin", 7),
];

fn plant(party: &Party) {
    for (seed, (path, len)) in (1..).zip(FILES) {
        party.write(&format!("www/tree/{path}"), &sample(len, seed));
    }
}

fn assert_same(downloads: &Path) {
    for (seed, (path, len)) in (1..).zip(FILES) {
        let copy = std::fs::read(downloads.join("tree").join(path)).unwrap();
        assert!(copy == sample(len, seed), "{path}");
    }
}

/// Makes a torrent of the planted tree with a web seed, on a node that does not announce it.
async fn torrent(party: &Party, server: &WebServer, trackers: &[&str], pad: &str) -> Vec<u8> {
    let maker = party.peer("maker").await;
    let (path, output) = (party.dir.path().join("www/tree"), party.dir.path().join("a.torrent"));
    let (url, chunk) = (server.url(), CHUNK.to_string());
    let mut args = vec!["torrent", "create", path.to_str().unwrap(), "--web-seed", &url];
    args.extend(["--pad", pad, "--chunk-size", &chunk, "--output", output.to_str().unwrap()]);
    args.extend(trackers.iter().flat_map(|url| ["--tracker", url]));
    maker.ctl(&args).await.ok();
    let bytes = std::fs::read(output).unwrap();
    assert_eq!(Metainfo::parse(&bytes).unwrap().web_seeds, [url]);
    bytes
}

/// A peer that has the torrent added, told otherwise.
async fn leecher(party: &Party, metainfo: &[u8], tell: impl FnOnce(&mut PeerConfig)) -> Host {
    let leecher = party
        .peer_with("leecher", |role| {
            role.web_seeds_loopback = true;
            tell(role);
        })
        .await;
    leecher.add(metainfo).await.unwrap();
    leecher
}

/// Begins to download; the job belongs to the node.
async fn begin(host: &Host) {
    let request = v1::AutoDownloadRequest::default();
    drop(host.peer().auto_download(request).await.unwrap());
}

async fn web_seed(host: &Host) -> v1::WebSeed {
    let request = v1::GetTorrentRequest::default();
    let reply = host.torrents().get_torrent(request).await.unwrap().into_inner();
    reply.web_seeds.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_chunks_span_files_comes_from_a_server_alone() {
    for pad in ["never", "always"] {
        let party = Party::new().await;
        plant(&party);
        let server = WebServer::start(&party.dir.path().join("www")).await;
        let metainfo = torrent(&party, &server, &[], pad).await;
        let leecher = leecher(&party, &metainfo, |_| ()).await;
        let done = leecher.auto_download().await.unwrap();
        assert!(done.complete);
        assert_same(leecher.downloads());
        let total = FILES.iter().map(|(_, len)| *len as u64).sum::<u64>();
        assert_eq!(server.sent(), total, "each byte once, and no padding");
        let served = done.served_by.iter().map(|by| by.peer.clone().unwrap().port);
        assert_eq!(served.collect::<Vec<_>>(), [u32::from(server.addr().port())]);
        assert!(!web_seed(&leecher).await.in_use, "the download is over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_server_as_a_peer_with_its_label() {
    let party = Party::new().await;
    plant(&party);
    let server = WebServer::start(&party.dir.path().join("www")).await;
    let metainfo = torrent(&party, &server, &[], "never").await;
    let leecher = leecher(&party, &metainfo, |role| role.download_limit = ByteRate(200_000)).await;
    begin(&leecher).await;
    until("the web seed delivers", async || {
        (leecher.torrent().await.chunks_have > 0).then_some(())
    })
    .await;
    let addr = format!("127.0.0.1:{}", server.addr().port());
    let peers = leecher.ctl(&["see-connected"]).await.ok();
    let line = peers.lines().find(|line| line.contains(&addr)).unwrap_or_else(|| panic!("{peers}"));
    assert!(line.contains("web seed"), "{peers}");
    let explained = leecher.ctl(&["policy", "explain"]).await.ok();
    assert!(explained.contains(&addr), "{explained}");
    let shown = leecher.ctl(&["torrent", "show"]).await.ok();
    assert!(shown.contains(&format!("web seed: {}\n  in use\n", server.url())), "{shown}");
    for text in [&peers, &explained, &shown] {
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
    let request = v1::ExplainDecisionRequest::default();
    let labelled = until("a slot is free", async || {
        let reply = leecher.policies().explain_decision(request.clone()).await.ok()?.into_inner();
        reply.candidates.into_iter().next()
    })
    .await;
    assert_eq!(labelled.labels.get("webseed").map(String::as_str), Some("true"));
    assert_eq!(labelled.client, "web seed");
    // The limit holds: what is left of 1.8 MB takes seconds.
    assert!(leecher.torrent().await.chunks_have < 28);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_peer_the_server_is_hardly_asked() {
    let party = Party::new().await;
    let data = sample(16 << 20, 99);
    party.write("www/file1.webm", &data);
    let server = WebServer::start(&party.dir.path().join("www")).await;
    let seeder = party.peer("seeder").await;
    let path = party.dir.path().join("www/file1.webm");
    let request = v1::CreateTorrentRequest {
        path: path.to_str().unwrap().to_owned(),
        chunk_size_bytes: CHUNK,
        trackers: vec![v1::TrackerTier { urls: vec![party.announce_url().await] }],
        web_seeds: vec![server.url()],
        ..v1::CreateTorrentRequest::default()
    };
    let made = seeder.torrents().create_torrent(request).await.unwrap().into_inner();
    let metainfo = crate::harness::last(made).await.unwrap().metainfo;
    seeder.connect_tracker().await;
    let leecher = leecher(&party, &metainfo, |_| ()).await;
    let done = leecher.auto_download().await.unwrap();
    assert!(done.complete);
    assert!(std::fs::read(leecher.downloads().join("file1.webm")).unwrap() == data);
    let from = |port: u16| {
        let by =
            done.served_by.iter().filter(|by| by.peer.as_ref().unwrap().port == u32::from(port));
        by.map(|by| by.bytes).sum::<u64>()
    };
    let (peer, web) = (from(seeder.addr.port()), from(server.addr().port()));
    assert!(web <= 1 << 20 && peer + web == 16 << 20, "{peer} from the peer, {web} by HTTP");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_this_machine_is_not_asked_unless_allowed_and_none_where_switched_off() {
    let party = Party::new().await;
    plant(&party);
    let server = WebServer::start(&party.dir.path().join("www")).await;
    let metainfo = torrent(&party, &server, &[], "never").await;
    let refused = leecher(&party, &metainfo, |role| role.web_seeds_loopback = false).await;
    let said = refused.ctl(&["auto-download", "--available-only"]).await;
    assert_eq!(said.exit, Exit::Precondition, "{said:?}");
    let seed = web_seed(&refused).await;
    assert!(seed.given_up && seed.error.contains("--web-seeds-loopback"), "{seed:?}");
    let off = party
        .peer_with("off", |role| (role.web_seeds, role.web_seeds_loopback) = (false, true))
        .await;
    off.add(&metainfo).await.unwrap();
    let said = off.ctl(&["auto-download", "--available-only"]).await;
    assert_eq!(said.exit, Exit::Precondition, "{said:?}");
    assert_eq!(server.sent(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_other_content_is_given_up_and_the_download_goes_on_with_a_peer() {
    let party = Party::new().await;
    let (data, other) = (sample(1 << 20, 3), sample(1 << 20, 4));
    party.write("www/file1.webm", &other);
    let server = WebServer::start(&party.dir.path().join("www")).await;
    let path = party.write("data/file1.webm", &data);
    let seeder = party.peer("seeder").await;
    let request = v1::CreateTorrentRequest {
        path: path.to_str().unwrap().to_owned(),
        chunk_size_bytes: CHUNK,
        web_seeds: vec![server.url()],
        ..v1::CreateTorrentRequest::default()
    };
    let made = seeder.torrents().create_torrent(request).await.unwrap().into_inner();
    let metainfo = crate::harness::last(made).await.unwrap().metainfo;
    let leecher = leecher(&party, &metainfo, |_| ()).await;
    begin(&leecher).await;
    let seed = until("the web seed is given up", async || {
        Some(web_seed(&leecher).await).filter(|seed| seed.given_up)
    })
    .await;
    assert!(seed.error.contains("corrupt"), "{seed:?}");
    leecher.connect_peer(seeder.addr).await;
    assert!(leecher.auto_download().await.unwrap().complete);
    assert!(std::fs::read(leecher.downloads().join("file1.webm")).unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_web_seed_is_refused_with_its_name() {
    let party = Party::new().await;
    let path = party.write("www/a", b"a");
    let node = party.peer("maker").await;
    let args = ["torrent", "create", path.to_str().unwrap(), "--web-seed", "ftp://w/"];
    let said = node.ctl(&args).await;
    assert_eq!(said.exit, Exit::Invalid, "{said:?}");
    assert!(said.err.contains("ftp://w/") && said.err.contains("HTTP"), "{}", said.err);
}
