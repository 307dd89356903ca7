//! `watch_with_resume` over nodes that go away and come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shoal::{
    client::{Connect, ConnectError, Connection},
    v1::{self, EventKind},
    watch::{Gap, News, Watch, watch_with_resume},
};
use tokio::{io::copy_bidirectional, net::TcpListener, task::JoinSet};
use tonic::Code;

use crate::harness::{CHUNK, Host, PATIENCE, Party, metainfo, sample, within};

type Follow = Watch<Box<dyn FnMut() -> Connecting + Send>>;
type Connecting = std::pin::Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

fn follow(host: &Host, endpoint: String, request: v1::WatchEventsRequest) -> Follow {
    let token = host.config.state_dir.join("admin.token");
    let connect = move || -> Connecting {
        let how = Connect::to(&endpoint).token_file(&token);
        Box::pin(async move { how.connect().await })
    };
    watch_with_resume(Box::new(connect), request)
}

fn socket(host: &Host) -> String {
    format!("unix://{}", host.config.state_dir.join("shoald.sock").display())
}

/// The next news but marks of idleness.
async fn next(watch: &mut Follow) -> News {
    loop {
        let news = within(PATIENCE, "news", watch.next()).await.unwrap();
        if !matches!(news, News::Idle) {
            return news;
        }
    }
}

/// A file of settings that is told as an event.
async fn change(host: &Host, bps: u64) {
    let line = ["settings", "set", &format!("upload-limit={bps}")];
    host.ctl(&line).await.ok();
}

/// A way to a node that can be cut.
struct Cable {
    endpoint: String,
    cut: Arc<AtomicBool>,
}

async fn cable(to: &str) -> Cable {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (cut, to) = (Arc::new(AtomicBool::new(false)), to.to_owned());
    let is_cut = cut.clone();
    tokio::spawn(async move {
        let mut ways = JoinSet::new();
        loop {
            let (mut here, _) = tokio::select! {
                came = listener.accept() => came.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(5)) => {
                    if is_cut.load(Ordering::Relaxed) {
                        ways.abort_all();
                    }
                    continue;
                }
            };
            if is_cut.load(Ordering::Relaxed) {
                continue;
            }
            let to = to.clone();
            ways.spawn(async move {
                let mut there = tokio::net::TcpStream::connect(&to).await.unwrap();
                let _ = copy_bidirectional(&mut here, &mut there).await;
            });
        }
    });
    Cable { endpoint, cut }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_the_connection_is_gone_is_told_when_it_is_back() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    let tcp = peer.info().await.control_addresses;
    let tcp = tcp.iter().find(|addr| !addr.starts_with("unix:")).unwrap();
    let cable = cable(tcp).await;
    let kinds = vec![EventKind::Settings.into()];
    let request = v1::WatchEventsRequest { kinds, ..Default::default() };
    let mut watch = follow(&peer, cable.endpoint, request);
    let first = next(&mut watch).await;
    assert!(matches!(first, News::Snapshot { gap: None, .. }), "{first:?}");
    change(&peer, 5000).await;
    assert!(matches!(next(&mut watch).await, News::Event(_)));
    cable.cut.store(true, Ordering::Relaxed);
    let mut pauses = Vec::new();
    while pauses.len() < 3 {
        let news = next(&mut watch).await;
        let News::Lost { pause, .. } = news else { panic!("{news:?}") };
        pauses.push(pause);
    }
    change(&peer, 6000).await;
    change(&peer, 7000).await;
    assert!(pauses[0] < pauses[2], "{pauses:?}");
    cable.cut.store(false, Ordering::Relaxed);
    let mut told = Vec::new();
    while told.len() < 2 {
        match next(&mut watch).await {
            News::Event(event) => told.push(event.message),
            News::Lost { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, ["upload limit 6000 bytes/s", "upload limit 7000 bytes/s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_started_anew_is_told_as_a_gap_with_a_snapshot() {
    let party = Party::new().await;
    let file = metainfo("file1.webm", &sample(CHUNK as usize, 7), CHUNK, &[]);
    let peer = party.leecher("peer", &file).await;
    let mut watch = follow(&peer, socket(&peer), v1::WatchEventsRequest::default());
    assert!(matches!(next(&mut watch).await, News::Snapshot { gap: None, .. }));
    let epoch = watch.position().unwrap().epoch.clone();
    let peer = peer.restart().await;
    let mut lost = 0;
    let snapshot = loop {
        match next(&mut watch).await {
            News::Snapshot { snapshot, gap } => {
                assert_eq!(gap, Some(Gap::Restarted));
                break snapshot;
            }
            News::Lost { cause, .. } => {
                assert_eq!(cause.code(), Code::Unavailable, "{cause:?}");
                lost += 1;
            }
            News::Event(_) | News::Idle => {}
        }
    };
    assert!(lost > 0);
    assert_eq!(snapshot.torrents[0].name, "file1.webm");
    assert_ne!(watch.position().unwrap().epoch, epoch);
    drop(peer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_no_longer_kept_is_told_as_missed() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    let epoch = peer.info().await.epoch;
    let change = v1::UpdateSettingsRequest {
        settings: Some(v1::Settings::default()),
        update_mask: Some(prost_types::FieldMask { paths: vec!["upload_slots".to_owned()] }),
        ..Default::default()
    };
    // As many events as are kept, and more.
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let (mut node, change) = (peer.node(), change.clone());
        calls.spawn(async move {
            for _ in 0..1100 {
                node.update_settings(change.clone()).await.unwrap();
            }
        });
    }
    within(PATIENCE * 2, "many events", calls.join_all()).await;
    let request = v1::WatchEventsRequest { after_revision: Some(3), epoch, ..Default::default() };
    let mut watch = follow(&peer, socket(&peer), request);
    let news = next(&mut watch).await;
    let News::Snapshot { gap: Some(Gap::Missed { after: 3, oldest }), .. } = news else {
        panic!("{news:?}")
    };
    let last = watch.position().unwrap().revision;
    assert_eq!(last + 1 - oldest, 8192);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_try_cannot_mend_is_an_error() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    let request = v1::WatchEventsRequest { torrent: "nobody".to_owned(), ..Default::default() };
    let mut watch = follow(&peer, socket(&peer), request);
    let refused = within(PATIENCE, "a refusal", watch.next()).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
}
