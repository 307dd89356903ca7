//! Magnet links: a hash and somebody to ask are enough.

use std::{fs, time::Duration};

use shoal::v1::{self, EventKind};
use shoal_ctl::Exit;
use tonic::{Code, Status};

use crate::{
    binaries::Program,
    harness::{CHUNK, Host, PATIENCE, Party, info_hash, metainfo, refusal, sample, until, within},
};

/// Bytes of the film: enough chunks that its metadata has several pieces.
const LEN: usize = 1300 * CHUNK as usize / 4;

/// A seeder of a film whose metadata has two pieces, the film, and its info hash.
async fn film(party: &Party) -> (Host, Vec<u8>, String) {
    let data = sample(LEN, 91);
    let path = party.write("data/film.webm", &data);
    let seeder = party.peer("seeder").await;
    let request = v1::CreateTorrentRequest {
        path: path.to_str().unwrap().to_owned(),
        chunk_size_bytes: 16 * 1024,
        trackers: vec![v1::TrackerTier { urls: vec![party.announce_url().await] }],
        ..v1::CreateTorrentRequest::default()
    };
    let made = seeder.torrents().create_torrent(request).await.unwrap().into_inner();
    let metainfo = crate::harness::last(made).await.unwrap().metainfo;
    seeder.connect_tracker().await;
    let hash = info_hash(&metainfo).to_string();
    (seeder, data, hash)
}

fn link(hash: &str, rest: &str) -> String {
    format!("magnet:?xt=urn:btih:{hash}{rest}")
}

async fn add_link(node: &Host, link: &str) -> Result<v1::AddTorrentResponse, Status> {
    let source = Some(v1::add_torrent_request::Source::Magnet(link.to_owned()));
    let request = v1::AddTorrentRequest { source, ..Default::default() };
    Ok(node.torrents().add_torrent(request).await?.into_inner())
}

async fn until_here(node: &Host) -> v1::Torrent {
    until("the metadata is here", async || {
        let torrent = node.torrent().await;
        (torrent.state() == v1::TorrentState::Idle).then_some(torrent)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_with_a_tracker_becomes_a_torrent_that_downloads() {
    let party = Party::new().await;
    let (_seeder, data, hash) = film(&party).await;
    let leecher = party.peer("leecher").await;
    let mut events = leecher.events(&[EventKind::Torrent]).await;
    let url = party.announce_url().await;
    let said = leecher.ctl(&["torrent", "add", &link(&hash, &format!("&tr={url}"))]).await.ok();
    assert!(said.contains("film.webm") && said.contains("state:      idle"), "{said}");
    let first = events.what("added").await;
    let Some(v1::event::Detail::Torrent(torrent)) = first.detail else { panic!("{first:?}") };
    assert_eq!((torrent.state(), torrent.name.len()), (v1::TorrentState::Metadata, 8));
    assert!(events.what("metadata").await.message.contains("is here"));
    assert_eq!(events.what("added").await.info_hash, hash);

    leecher.auto_download().await.unwrap();
    assert!(fs::read(leecher.downloads().join("film.webm")).unwrap() == data);
    let said = leecher.ctl(&["torrent", "show"]).await.ok();
    assert!(said.contains(&format!("tracker tier 1: {url}")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_and_a_peer_are_enough_and_the_address_carries_over() {
    let party = Party::new().await;
    let (seeder, data, hash) = film(&party).await;
    let leecher = party.peer("leecher").await;
    let peer = seeder.addr.to_string();
    let said = leecher.ctl(&["torrent", "add", &link(&hash, "&dn=a+film"), "--peer", &peer]).await;
    assert!(said.ok().contains("film.webm"));
    leecher.auto_download().await.unwrap();
    assert!(fs::read(leecher.downloads().join("film.webm")).unwrap() == data);
    // A third one, of the leecher: who has the metadata gives it, wherever it is from.
    let third = party.peer("third").await;
    let x_pe = format!("&x.pe={}", leecher.addr);
    assert!(!add_link(&third, &link(&hash, &x_pe)).await.unwrap().already);
    until_here(&third).await;
    third.auto_download().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_lead_nowhere_are_refused_at_once_with_the_reason() {
    let party = Party::new().await;
    let node = party.peer("node").await;
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let cases = [
        (link(hash, ""), "BAD_ARGUMENT", "--peer IP:PORT"),
        (link("123", ""), "BAD_ARGUMENT", "\"123\""),
        ("magnet:?dn=x".to_owned(), "BAD_ARGUMENT", "xt=urn:btih:"),
        (format!("magnet:?xt=urn:btmh:1220{hash}"), "V2_ONLY", "v2-only"),
        (link(hash, &"&tr=x".repeat(20_000)), "BAD_ARGUMENT", "bytes long"),
        ("film.torrent".to_owned(), "BAD_ARGUMENT", "magnet:?"),
    ];
    for (link, reason, part) in cases {
        let (code, found, message) = refusal(&add_link(&node, &link).await.unwrap_err());
        assert_eq!((code, found.as_str()), (Code::InvalidArgument, reason), "{message}");
        assert!(message.contains(part) && !message.contains('\n'), "{message}");
    }
    let said = node.ctl(&["torrent", "add", &link(hash, "")]).await;
    assert_eq!((said.exit, said.err.lines().count()), (Exit::Invalid, 1), "{said:?}");
    let said = node.ctl(&["torrent", "add", &link(hash, ""), "--seed", "/tmp"]).await;
    assert_eq!(said.exit, Exit::Usage, "{said:?}");
    assert!(node.ctl(&["torrent", "list"]).await.err.contains("no torrent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_metadata_is_missing_it_is_shown_and_can_only_be_removed() {
    let party = Party::new().await;
    let mut node = party.peer("node").await;
    let data = sample(1000, 5);
    let file = metainfo("film.webm", &data, CHUNK, &[]);
    let hash = info_hash(&file).to_string();
    let nobody = format!("&dn=a+%1b%5b31mfilm&tr={}", party.announce_url().await);
    let args = ["torrent", "add", &link(&hash, &nobody), "--no-wait"];
    let said = node.ctl(&args).await.ok();
    assert!(said.contains("a [31mfilm") && said.contains("state:     metadata"), "{said}");
    let list = node.ctl(&["torrent", "list"]).await.ok();
    assert!(list.contains("metadata     –     –"), "{list}");

    for command in
        [&["torrent", "pause"][..], &["torrent", "verify"], &["auto_download"], &["ping"]]
    {
        let mut args = command.to_vec();
        if command == ["ping"] {
            args.extend(["127.0.0.1", "9"]);
        }
        let said = node.ctl(&args).await;
        assert_eq!(said.exit, Exit::Precondition, "{said:?}");
        assert!(said.err.contains("metadata") && said.err.lines().count() == 1, "{said:?}");
    }
    let request = v1::PauseTorrentRequest { torrent: hash[..6].to_owned() };
    let (code, reason, _) = refusal(&node.torrents().pause_torrent(request).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "METADATA_MISSING"));

    assert!(add_link(&node, &link(&hash, "")).await.unwrap().already);
    // It is there after a restart.
    node = node.restart().await;
    assert_eq!(node.torrent().await.state(), v1::TorrentState::Metadata);
    node.ctl(&["torrent", "remove", &hash, "--yes"]).await.ok();
    node = node.restart().await;
    assert!(node.ctl(&["torrent", "list"]).await.err.contains("no torrent"));

    // The metainfo file of the same torrent ends the search.
    add_link(&node, &link(&hash, &nobody)).await.unwrap();
    assert_eq!(node.add(&file).await.unwrap().state(), v1::TorrentState::Idle);
    assert!(add_link(&node, &link(&hash, "")).await.unwrap().already);
    node = node.restart().await;
    assert_eq!(node.torrent().await.name, "film.webm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_followed_over_a_restart_to_the_end() {
    let party = Party::new().await;
    let leecher = party.peer("leecher").await;
    let data = sample(LEN, 91);
    let file = metainfo("film.webm", &data, CHUNK, &[]);
    let hash = info_hash(&file).to_string();
    let url = party.announce_url().await;
    add_link(&leecher, &link(&hash, &format!("&tr={url}"))).await.unwrap();
    let leecher = leecher.restart().await;
    assert_eq!(leecher.torrent().await.state(), v1::TorrentState::Metadata);
    let seeder = party.peer("seeder").await;
    let path = party.write("data/film.webm", &data);
    let source = Some(v1::add_torrent_request::Source::Metainfo(file));
    let seed_path = path.to_str().unwrap().to_owned();
    let request = v1::AddTorrentRequest { source, seed_path, ..Default::default() };
    seeder.torrents().add_torrent(request).await.unwrap();
    // Peers may be told to a link, and to a torrent, at any time.
    let peer = seeder.addr.to_string();
    leecher.ctl(&["torrent", "add", &link(&hash, ""), "--peer", &peer]).await.ok();
    assert_eq!(until_here(&leecher).await.info_hash, hash);
    leecher.auto_download().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_may_be_given_beside_a_metainfo_file() {
    let party = Party::new().await;
    let path = party.write("data/film.webm", &sample(LEN, 92));
    let seeder = party.peer("seeder").await;
    let file = party.write("film.torrent", &seeder.create(&path, &[]).await);
    let leecher = party.peer("leecher").await;
    let (file, peer) = (file.to_str().unwrap(), seeder.addr.to_string());
    leecher.ctl(&["torrent", "add", file, "--peer", &peer]).await.ok();
    leecher.auto_download().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shoald_downloads_a_link_of_its_command_line_and_ends() {
    let Some(shoald) = Program::shoald() else { return };
    let party = Party::new().await;
    let (seeder, data, hash) = film(&party).await;
    let state = party.dir.path().join("leecher");
    let link = link(&hash, &format!("&x.pe={}", seeder.addr));
    let node = shoald.node("peer", &state, &["--torrent", &link, "--auto-download"]).await;
    let copy = state.join("downloads/film.webm");
    let there = async {
        while fs::read(&copy).ok().as_ref() != Some(&data) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(PATIENCE, "the download", there).await;
    assert_eq!(node.terminate().await, Some(0));
}
