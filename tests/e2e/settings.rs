//! Settings that change while the node runs: what holds at once, what is refused whole, what a
//! restart keeps.

use shoal::v1::{self, EventKind};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{CHUNK, Host, Party, metainfo, refusal, sample, until};

async fn settings(host: &Host, torrent: Option<&str>) -> v1::Settings {
    let request = v1::GetSettingsRequest { torrent: torrent.map(str::to_owned) };
    host.node().get_settings(request).await.unwrap().into_inner().settings.unwrap()
}

async fn update(
    host: &Host,
    torrent: Option<&str>,
    settings: v1::Settings,
    paths: &[&str],
) -> Result<v1::Settings, tonic::Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = v1::UpdateSettingsRequest {
        torrent: torrent.map(str::to_owned),
        settings: Some(settings),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    Ok(host.node().update_settings(request).await?.into_inner().settings.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_holds_at_once_and_is_told_with_how_things_stand() {
    let party = Party::new().await;
    let (seeder, file) = party.seeder("file1.webm", &sample(40 * CHUNK as usize, 3)).await;
    let leecher = party.leecher("leecher", &file).await;
    let before = settings(&leecher, None).await;
    assert_eq!((before.upload_limit_bps, before.upload_slots, before.connections), (0, 0, 1024));
    let mut events = leecher.events(&[EventKind::Settings]).await;
    let said = leecher
        .ctl(&["settings", "set", "labels=zone=b", "connections=7", "upload-limit=2MB"])
        .await;
    assert!(said.err.contains("until the node ends"), "{}", said.err);
    assert!(said.ok().contains("upload-limit"));
    let event = events.what("set").await;
    assert!(event.message.contains("labels zone=b"), "{}", event.message);
    let Some(v1::event::Detail::Settings(told)) = event.detail else { panic!("{event:?}") };
    let now = settings(&leecher, None).await;
    assert_eq!(told, now);
    assert_eq!((now.upload_limit_bps, now.connections, now.download_limit_bps), (2_000_000, 7, 0));
    assert_eq!(leecher.info().await.labels["zone"], "b");
    // Peers are told of labels on connections there are.
    leecher.connect_peer(seeder.addr).await;
    let zone_is = async |zone: &str| {
        until("labels at the other end", async || {
            let request = v1::SeeConnectedRequest::default();
            let reply = seeder.peer().see_connected(request).await.unwrap().into_inner();
            let told = reply.connections.first()?.labels.get("zone")?.clone();
            (told == zone).then_some(())
        })
        .await;
    };
    zone_is("b").await;
    leecher.ctl(&["settings", "set", "labels=zone=c"]).await.ok();
    zone_is("c").await;
    // A download at work is slowed down, and let go again.
    let torrent = v1::Settings { download_limit_bps: 1 << 20, ..Default::default() };
    let limited = update(&leecher, Some(""), torrent, &["download_limit_bps"]).await.unwrap();
    assert_eq!(limited.download_limit_bps, 1 << 20);
    let request = v1::AutoDownloadRequest::default();
    let mut download = leecher.peer().auto_download(request).await.unwrap().into_inner();
    let first = download.message().await.unwrap().unwrap();
    assert!(!first.complete);
    let none = v1::Settings::default();
    update(&leecher, Some(""), none, &["download_limit_bps"]).await.unwrap();
    assert!(crate::harness::last(download).await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_slots_choke_and_all_slots_serve_everybody() {
    let party = Party::new().await;
    let (seeder, file) = party.seeder("file1.webm", &sample(4 * CHUNK as usize, 4)).await;
    let leecher = party.leecher("leecher", &file).await;
    let slots = async |slots| {
        let wanted = v1::Settings { upload_slots: slots, ..Default::default() };
        update(&seeder, None, wanted, &["upload_slots"]).await.unwrap();
    };
    slots(1).await;
    leecher.connect_peer(seeder.addr).await;
    let choked = async |expected: bool| {
        until("choked or not", async || {
            let request = v1::SeeConnectedRequest::default();
            let reply = seeder.peer().see_connected(request).await.unwrap().into_inner();
            (reply.connections.first()?.am_choking == expected).then_some(())
        })
        .await;
    };
    choked(true).await;
    slots(0).await;
    choked(false).await;
    assert!(leecher.auto_download().await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_path_or_value_changes_nothing() {
    let party = Party::new().await;
    let file = metainfo("file1.webm", &sample(CHUNK as usize, 5), CHUNK, &[]);
    let peer = party.leecher("peer", &file).await;
    let before = settings(&peer, None).await;
    let wanted =
        v1::Settings { upload_limit_bps: 5000, download_limit_bps: 5, ..Default::default() };
    for (torrent, paths, field) in [
        (None, &["upload_limit_bps", "swim"][..], "update_mask"),
        (None, &[], "update_mask"),
        (None, &["upload_limit_bps", "download_limit_bps"], "settings.download_limit_bps"),
        (None, &["upload_limit_bps", "connections"], "settings.connections"),
        (Some(""), &["upload_limit_bps", "labels"], "update_mask"),
    ] {
        let refused = update(&peer, torrent, wanted.clone(), paths).await.unwrap_err();
        let details = refused.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!((refused.code(), violation.field.as_str()), (Code::InvalidArgument, field));
    }
    // The log of a node in a test is not the node's.
    let log = v1::Settings {
        log_filter: "debug".to_owned(),
        upload_limit_bps: 5000,
        ..Default::default()
    };
    let refused = update(&peer, None, log, &["upload_limit_bps", "log_filter"]).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "NO_LOG_FILTER");
    let refused = update(&peer, Some("other"), wanted, &["upload_limit_bps"]).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "UNKNOWN_TORRENT");
    assert_eq!(settings(&peer, None).await, before);
    assert_eq!(settings(&peer, Some("")).await, v1::Settings::default());
    let limits = v1::Settings { upload_limit_bps: 5000, ..Default::default() };
    let tracker = &party.tracker;
    let refused = update(tracker, None, limits, &["upload_limit_bps"]).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "NOT_IN_ROLE");
    assert_eq!(settings(tracker, None).await, v1::Settings::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_limits_of_torrents_and_goes_by_its_configuration_else() {
    let party = Party::new().await;
    let file = metainfo("file1.webm", &sample(CHUNK as usize, 6), CHUNK, &[]);
    let peer = party.leecher("peer", &file).await;
    let line =
        ["settings", "set", "--torrent", "file1.webm", "upload-limit=3MB", "download-limit=4MB"];
    let said = peer.ctl(&line).await;
    assert_eq!(said.err, "");
    said.ok();
    peer.ctl(&["settings", "set", "upload-limit=5MB"]).await.ok();
    let peer = peer.restart().await;
    let kept = settings(&peer, Some("file1.webm")).await;
    assert_eq!((kept.upload_limit_bps, kept.download_limit_bps), (3_000_000, 4_000_000));
    assert_eq!(settings(&peer, None).await.upload_limit_bps, 0);
}
