//! The table: each foreign client leeches from us and seeds to us, through each tracker, over HTTP
//! and UDP, each shape of a torrent; byte for byte. One client process has all torrents of a row.

use std::{path::PathBuf, time::Instant};

use shoal::v1;
use tokio::task::JoinSet;

use crate::{
    clients::{Kind, Role, Task, shoal::Node},
    harness::last,
    net::say,
    swarm::{Payload, Room, Shape, TRANSFER, Tracker},
    trees,
};

/// A room in which a client can be; none where it cannot, which is said.
async fn room(kind: Kind) -> Option<Room> {
    if !kind.is_here() {
        return None;
    }
    let room = Room::new().await?;
    if kind == Kind::Transmission && !room.net.is_real() {
        say("left out: Transmission, which takes no peer on loopback (root has namespaces)");
        return None;
    }
    Some(room)
}

fn all(room: &Room) -> Vec<(Tracker, Shape)> {
    let shapes = |tracker| Shape::ALL.map(|shape| (tracker, shape));
    room.trackers().flat_map(shapes).collect()
}

fn torrents(payloads: &[Payload]) -> Vec<PathBuf> {
    payloads.iter().map(|payload| payload.torrent.clone()).collect()
}

/// The client downloads everything from one node of ours, tells the trackers so, and stays.
async fn leeches_from_us(kind: Kind) {
    let Some(mut room) = room(kind).await else { return };
    let ours = Node::peer(&room.shoald, &room.net.host(), &room.dir.path().join("ours")).await;
    let wanted = all(&room);
    let payloads = room.open(&ours, &wanted).await;
    for payload in &payloads {
        let torrent = payload.info_hash.to_string();
        let request = v1::ConnectTrackerRequest { torrent };
        ours.peer().connect_tracker(request).await.unwrap();
    }
    let data = room.dir.path().join("theirs");
    let (place, home) = (room.net.host(), room.dir.path().join("home"));
    let torrents = torrents(&payloads);
    let task =
        Task { place: &place, role: Role::Leech, torrents: &torrents, data: &data, home: &home };
    let mut client = kind.start(&task);
    let (done, missing) = room
        .watch(&payloads, |payload, entry| {
            entry.complete == 2 && payload.difference_at(kind, &data).is_none()
        })
        .await;
    println!("{} leeches from us: {done:.1?}", kind.name());
    client.must_run();
    let told = format!("{missing:#?}\n{}\nours: {}", client.said(), ours.said());
    assert!(missing.is_empty(), "{told}");
    client.kill().await;
    for payload in &payloads {
        assert_eq!(payload.difference_at(kind, &data), None, "{payload}");
    }
}

/// A node of ours downloads everything from the client.
async fn seeds_to_us(kind: Kind) {
    let Some(mut room) = room(kind).await else { return };
    let maker = Node::peer(&room.shoald, &room.net.host(), &room.dir.path().join("maker")).await;
    let wanted = all(&room);
    let payloads = room.open(&maker, &wanted).await;
    maker.kill().await;
    let data = room.dir.path().join("theirs");
    for payload in &payloads {
        trees::copy_with_padding(&payload.source, &data, &payload.metainfo);
    }
    let (place, home) = (room.net.host(), room.dir.path().join("home"));
    let torrents = torrents(&payloads);
    let task =
        Task { place: &place, role: Role::Seed, torrents: &torrents, data: &data, home: &home };
    let mut client = kind.start(&task);
    let (announced, missing) = room.watch(&payloads, |_, entry| entry.complete == 1).await;
    println!("{} announces: {announced:.1?}", kind.name());
    client.must_run();
    assert!(missing.is_empty(), "{missing:#?}\n{}", client.said());

    let ours = Node::peer(&room.shoald, &room.net.host(), &room.dir.path().join("ours")).await;
    let from = place.ip.to_string();
    let wrong = download_all(&ours, &payloads, &from).await;
    assert!(wrong.is_empty(), "{wrong:#?}\n{}\nours: {}", client.said(), ours.said());
    let (_, missing) = room.watch(&payloads, |_, entry| entry.complete == 2).await;
    assert!(missing.is_empty(), "we do not say that we are complete: {missing:#?}");
    client.must_run();
}

/// Downloads all payloads at once; says what is wrong.
async fn download_all(ours: &Node, payloads: &[Payload], from: &str) -> Vec<String> {
    let mut downloads = JoinSet::new();
    for payload in payloads {
        ours.add(&payload.metainfo).await.unwrap();
    }
    for (index, payload) in payloads.iter().enumerate() {
        let torrent = payload.info_hash.to_string();
        let request = v1::AutoDownloadRequest { torrent, ..v1::AutoDownloadRequest::default() };
        let mut peer = ours.peer();
        let start = Instant::now();
        downloads.spawn(async move {
            let done = match peer.auto_download(request).await {
                Ok(stream) => last(stream.into_inner()).await,
                Err(status) => Err(status),
            };
            (index, done, start.elapsed())
        });
    }
    let (mut wrong, mut took) = (Vec::new(), Vec::new());
    let _ = tokio::time::timeout(TRANSFER, async {
        while let Some(ended) = downloads.join_next().await {
            let (index, done, time) = ended.unwrap();
            let payload = &payloads[index];
            took.push((payload.name.clone(), time));
            match done {
                Ok(done) => wrong.extend(judge(ours, payload, &done, from).await),
                Err(status) => wrong.push(format!("{payload}: {status:?}")),
            }
        }
    })
    .await;
    println!("we download: {took:.1?}");
    let ended = |payload: &Payload| took.iter().any(|(name, _)| *name == payload.name);
    let left = payloads.iter().filter(|payload| !ended(payload));
    wrong.extend(left.map(|payload| format!("{payload}: not within {TRANSFER:?}")));
    wrong
}

/// What is wrong with a download that ended well.
async fn judge(
    ours: &Node,
    payload: &Payload,
    done: &v1::AutoDownloadResponse,
    from: &str,
) -> Option<String> {
    let request = v1::GetTorrentRequest {
        torrent: payload.info_hash.to_string(),
        ..v1::GetTorrentRequest::default()
    };
    let torrent = ours.torrents().get_torrent(request).await.unwrap().into_inner();
    let torrent = torrent.torrent.unwrap();
    let ip = |served: &v1::ServedBy| served.peer.as_ref().map(|peer| peer.ip.clone());
    let served: Vec<_> = done.served_by.iter().map(|by| (ip(by), by.chunks)).collect();
    if !done.complete || torrent.failed_chunks > 0 {
        return Some(format!("{payload}: {done:?}, {} chunks failed", torrent.failed_chunks));
    }
    if served != [(Some(from.to_owned()), torrent.chunks)] {
        return Some(format!("{payload}: served by {served:?}"));
    }
    let folder = ours.info().await.downloads_dir;
    payload.difference(folder.as_ref()).map(|difference| format!("{payload}: {difference}"))
}

#[tokio::test]
async fn aria2_leeches_from_us_through_every_tracker() {
    leeches_from_us(Kind::Aria2).await;
}

#[tokio::test]
async fn aria2_seeds_to_us_through_every_tracker() {
    seeds_to_us(Kind::Aria2).await;
}

#[tokio::test]
async fn transmission_leeches_from_us_through_every_tracker() {
    leeches_from_us(Kind::Transmission).await;
}

#[tokio::test]
async fn transmission_seeds_to_us_through_every_tracker() {
    seeds_to_us(Kind::Transmission).await;
}

/// It dials over µTP, finds nobody, and leaves the address alone: the seed dials it.
#[tokio::test]
async fn transmission_as_it_comes_is_dialled_by_our_seed() {
    let Some(mut room) = room(Kind::Transmission).await else { return };
    let ours = Node::peer(&room.shoald, &room.net.host(), &room.dir.path().join("ours")).await;
    let payloads = room.open(&ours, &[(Tracker::OursHttp, Shape::File)]).await;
    ours.connect_tracker().await;
    let (place, role) = (room.net.host(), Role::LeechByUtp);
    let (data, home) = (room.dir.path().join("theirs"), room.dir.path().join("home"));
    let torrents = torrents(&payloads);
    let task = Task { place: &place, role, torrents: &torrents, data: &data, home: &home };
    let client = Kind::Transmission.start(&task);
    let (_, missing) = room.watch(&payloads, |_, entry| entry.incomplete == 1).await;
    assert!(missing.is_empty(), "{missing:#?}\n{}", client.said());
    // A seed hears of it with its next announce.
    let request = v1::UpdateStatusToTrackerRequest::default();
    ours.peer().update_status_to_tracker(request).await.unwrap();
    let (done, missing) = room
        .watch(&payloads, |payload, entry| {
            entry.complete == 2 && payload.difference_at(Kind::Transmission, &data).is_none()
        })
        .await;
    println!("Transmission leeches from a seed that dials it: {done:.1?}");
    assert!(missing.is_empty(), "{missing:#?}\n{}\nours: {}", client.said(), ours.said());
}

#[tokio::test]
async fn libtorrent_leeches_from_us_through_every_tracker() {
    leeches_from_us(Kind::Libtorrent).await;
}

#[tokio::test]
async fn libtorrent_seeds_to_us_through_every_tracker() {
    seeds_to_us(Kind::Libtorrent).await;
}
