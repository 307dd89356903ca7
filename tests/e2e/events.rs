//! WatchEvents: a snapshot, then every change; taking up where a reader left off.

use shoal::v1::{self, EventKind, watch_events_response::Item};
use shoal_ctl::Exit;
use tonic::{Code, Status};

use crate::harness::{CHUNK, Events, Host, Party, refusal, sample};

async fn watch(host: &Host, request: v1::WatchEventsRequest) -> Result<Events, Status> {
    Ok(Events(host.node().watch_events(request).await?.into_inner()))
}

/// A leecher of twenty chunks, its seeder, and nothing else.
async fn pair(party: &Party) -> (Host, Host) {
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(20 * CHUNK as usize, 90)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    (seeder, leecher)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_first_and_then_what_happens_in_order() {
    let party = Party::new().await;
    let (seeder, leecher) = pair(&party).await;
    let mut events = watch(&leecher, v1::WatchEventsRequest::default()).await.unwrap();
    let first = events.next().await;
    let Some(Item::Snapshot(snapshot)) = first.item else { panic!("{first:?}") };
    assert_eq!((snapshot.torrents.len(), snapshot.jobs.len()), (1, 0));
    assert_eq!(snapshot.torrents[0].name, "file1.webm");
    assert_eq!(first.epoch, leecher.info().await.epoch);
    assert!(leecher.auto_download().await.unwrap().complete);

    let mut revision = first.revision;
    let (mut whats, mut had) = (Vec::new(), std::collections::BTreeSet::new());
    let mut ended = false;
    // Chunks are told a few times a second: the end of the job may come before the last of them.
    while !ended || had.len() < 20 {
        let message = events.next().await;
        assert_eq!(message.epoch, first.epoch);
        let Some(Item::Event(event)) = message.item else { continue };
        assert!(message.revision > revision, "{} after {revision}", message.revision);
        revision = message.revision;
        assert!(!event.message.is_empty() && event.at.is_some(), "{event:?}");
        if let Some(v1::event::Detail::Chunks(change)) = &event.detail {
            had.extend(change.have.iter().copied());
            assert_eq!(change.chunks_have as usize, had.len());
        }
        ended |= event.kind() == EventKind::Job && event.what == "ended";
        whats.push((event.kind(), event.what));
    }
    let at = |kind, what: &str| {
        let found = whats.iter().position(|seen| *seen == (kind, what.to_owned()));
        found.unwrap_or_else(|| panic!("no {kind:?} {what} in {whats:?}"))
    };
    let began = at(EventKind::Job, "began");
    let announced = at(EventKind::Tracker, "announced");
    let connected = at(EventKind::Peer, "connected");
    let merged = at(EventKind::Merge, "merged");
    assert!(began < announced && announced < connected && connected < merged, "{whats:?}");
    assert!(merged < at(EventKind::Job, "ended"), "{whats:?}");
    drop(seeder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_takes_up_after_its_revision_without_a_snapshot() {
    let party = Party::new().await;
    let (seeder, leecher) = pair(&party).await;
    let mut events = watch(&leecher, v1::WatchEventsRequest::default()).await.unwrap();
    let first = events.next().await;
    leecher.connect_peer(seeder.addr).await;
    let seen = events.next().await;
    drop(events);
    leecher.connect_tracker().await;
    let request = v1::WatchEventsRequest {
        after_revision: Some(seen.revision),
        epoch: first.epoch.clone(),
        ..Default::default()
    };
    let mut again = watch(&leecher, request).await.unwrap();
    let next = again.next().await;
    assert!(matches!(next.item, Some(Item::Event(_))), "{next:?}");
    assert_eq!(next.revision, seen.revision + 1);
    again.what("announced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_not_kept_is_out_of_range() {
    let party = Party::new().await;
    let (_seeder, leecher) = pair(&party).await;
    let epoch = leecher.info().await.epoch;
    for (after, epoch) in [(0, "another"), (0, ""), (1 << 40, epoch.as_str())] {
        let request = v1::WatchEventsRequest {
            after_revision: Some(after),
            epoch: epoch.to_owned(),
            ..Default::default()
        };
        let refused = match watch(&leecher, request).await {
            Ok(mut events) => events.0.message().await.expect_err("a refusal"),
            Err(status) => status,
        };
        let (code, reason, message) = refusal(&refused);
        assert_eq!((code, reason.as_str()), (Code::OutOfRange, "REVISION_GONE"), "{message}");
        if !epoch.is_empty() {
            let line = ["events", "--after", &after.to_string(), "--epoch", epoch];
            let said = leecher.ctl(&line).await;
            assert_eq!((said.exit, said.out.as_str()), (Exit::Precondition, ""));
            assert!(said.err.starts_with(&format!("shoalctl: {message}\n")), "{}", said.err);
        }
    }
    let leecher = leecher.restart().await;
    assert_ne!(leecher.info().await.epoch, epoch, "new at each start");
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_and_torrents_are_filtered() {
    let party = Party::new().await;
    let (seeder, leecher) = pair(&party).await;
    let request = v1::WatchEventsRequest {
        torrent: "file1.webm".to_owned(),
        kinds: vec![EventKind::Merge.into()],
        ..Default::default()
    };
    let mut merges = watch(&leecher, request).await.unwrap();
    leecher.auto_download().await.unwrap();
    let event = merges.until(|_| true).await;
    assert_eq!((event.kind(), event.what.as_str()), (EventKind::Merge, "merged"));
    assert_eq!(event.info_hash, leecher.torrent().await.info_hash);
    let request = v1::WatchEventsRequest { torrent: "other".to_owned(), ..Default::default() };
    let refused = watch(&leecher, request).await.err().unwrap();
    assert_eq!(refusal(&refused).1, "UNKNOWN_TORRENT");
    // A tracker tells who joins.
    let mut joins = party.tracker.events(&[EventKind::Tracker]).await;
    crate::commands::Ask::default().call(&seeder, "quit-torrent").await.unwrap();
    joins.what("left").await;
    seeder.connect_tracker().await;
    assert!(joins.what("joined").await.message.contains(&seeder.addr.to_string()));
}
