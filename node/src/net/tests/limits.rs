//! Rate limits of real sockets. Times are those of the wall: a limited transfer is never faster
//! than its limit, and not much slower.

use std::time::Instant;

use super::*;

/// What every transfer here is limited to, bytes a second.
const BPS: u64 = 2_000_000;
const LIMITED: Duration = Duration::from_secs(1);

fn upload(bps: u64) -> Rates {
    Rates::of(bps, 0)
}

fn download(bps: u64) -> Rates {
    Rates::of(0, bps)
}

/// As much as goes through in [`LIMITED`], and what it takes.
fn a_second_of() -> Arc<Data> {
    Data::single((BPS * LIMITED.as_secs()) as usize)
}

/// Another connection of `leecher` to `seeder`, both sides of it.
async fn connect(
    seeder: &mut Party,
    leecher: &mut Party,
    conn: ConnId,
    (full, empty): (&Arc<Swarm>, &Arc<Swarm>),
) {
    leecher.net.dial(conn, Arc::clone(empty), seeder.net.local_addr());
    let (up, ..) = seeder.incoming().await;
    seeder.net.accept(up, Arc::clone(full));
    seeder.net.serve(up, Serving::Unchoked, 1 << 20);
    leecher.message(&Message::Unchoke).await;
}

/// Fetches pieces of one torrent from a connection and returns when all are there and right.
async fn fetch(
    party: &mut Party,
    (data, swarm): (&Data, &Swarm),
    conn: ConnId,
    pieces: std::ops::Range<u32>,
    request_len: u32,
) -> Instant {
    let leases = pieces.clone().map(|piece| party.grant(conn, swarm, piece, request_len));
    for (piece, lease) in pieces.zip(leases.collect::<Vec<_>>()) {
        assert!(party.received(lease).await == data.piece(piece), "piece {piece}");
    }
    Instant::now()
}

#[track_caller]
fn assert_about(took: Duration, expected: Duration) {
    let ratio = took.as_secs_f64() / expected.as_secs_f64();
    assert!((0.85..1.15).contains(&ratio), "{took:?}, expected {expected:?}");
}

#[tokio::test]
async fn what_a_node_sends_is_limited() {
    let data = a_second_of();
    let (seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    let pieces = 0..data.metainfo.piece_count();
    seeder.net.set_limits(upload(BPS));
    let start = Instant::now();
    let end = fetch(&mut leecher, (&data, &swarm), conn, pieces, 1 << 20).await;
    assert_about(end - start, LIMITED);
}

#[tokio::test]
async fn what_a_node_receives_is_limited() {
    let data = a_second_of();
    let (_seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    let pieces = 0..data.metainfo.piece_count();
    leecher.net.set_limits(download(BPS));
    let start = Instant::now();
    let end = fetch(&mut leecher, (&data, &swarm), conn, pieces, BLOCK_LEN).await;
    assert_about(end - start, LIMITED);
}

#[tokio::test]
async fn what_a_torrent_sends_and_receives_is_limited_besides() {
    let data = a_second_of();
    let (seeder, _, full, mut leecher, conn, swarm) = pair(&data).await;
    let pieces = data.metainfo.piece_count();
    seeder.net.set_limits(upload(2 * BPS));
    seeder.net.set_torrent_limits(&full, upload(BPS));
    let start = Instant::now();
    let middle = fetch(&mut leecher, (&data, &swarm), conn, 0..pieces / 2, BLOCK_LEN).await;
    assert_about(middle - start, LIMITED / 2);
    seeder.net.set_torrent_limits(&full, Rates::default());
    leecher.net.set_torrent_limits(&swarm, download(BPS));
    let middle = Instant::now();
    let end = fetch(&mut leecher, (&data, &swarm), conn, pieces / 2..pieces, BLOCK_LEN).await;
    assert_about(end - middle, LIMITED / 2);
}

#[tokio::test]
async fn connections_share_what_their_node_sends() {
    let data = a_second_of();
    let (mut seeder, _, full, mut greedy, conn, swarm) = pair(&data).await;
    let mut modest = Party::start(3);
    let other = data.swarm([]);
    connect(&mut seeder, &mut modest, ConnId(6), (&full, &other)).await;
    let half = data.metainfo.piece_count() / 2;
    seeder.net.set_limits(upload(BPS));
    let start = Instant::now();
    // One asks for whole pieces, the other for blocks, two at once.
    let fetch_modestly = async {
        let mut leases = VecDeque::new();
        for piece in 0..half {
            leases.push_back(modest.grant_at_most(ConnId(6), &other, piece, BLOCK_LEN, 8));
        }
        for (piece, lease) in (0..half).zip(leases) {
            assert!(modest.received(lease).await == data.piece(piece));
        }
        Instant::now()
    };
    let fetch_greedily = fetch(&mut greedy, (&data, &swarm), conn, 0..half, 1 << 20);
    let (first, second) = tokio::join!(fetch_modestly, fetch_greedily);
    assert_about(first - start, LIMITED);
    assert_about(second - start, LIMITED);
}

#[tokio::test]
async fn connections_share_what_their_node_receives() {
    let data = a_second_of();
    let (_seeder, _, full, mut leecher, conn, swarm) = pair(&data).await;
    let mut other = Party::start(3);
    connect(&mut other, &mut leecher, ConnId(6), (&full, &swarm)).await;
    let half = data.metainfo.piece_count() / 2;
    leecher.net.set_limits(download(BPS));
    let start = Instant::now();
    let mut lease = |conn, pieces: std::ops::Range<u32>, len| {
        let leases = pieces.map(|piece| leecher.grant(conn, &swarm, piece, len));
        leases.collect::<Vec<_>>()
    };
    let sides = [lease(conn, 0..half, BLOCK_LEN), lease(ConnId(6), half..2 * half, 1 << 20)];
    let mut left = sides.map(|leases| leases.into_iter().collect::<std::collections::HashSet<_>>());
    let mut ends = [start; 2];
    while left.iter().any(|leases| !leases.is_empty()) {
        let pick = |event: &NetEvent| match event {
            NetEvent::ExtentReceived { lease, .. } => Some(*lease),
            _ => None,
        };
        let (lease, _) = leecher.until(pick).await;
        for (leases, end) in left.iter_mut().zip(&mut ends) {
            if leases.remove(&lease) {
                *end = Instant::now();
            }
        }
    }
    assert_about(ends[0] - start, LIMITED);
    assert_about(ends[1] - start, LIMITED);
}

#[tokio::test]
async fn a_limit_that_changes_holds_for_who_waits() {
    let data = a_second_of();
    let (seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    let pieces = data.metainfo.piece_count();
    // It would take half an hour.
    seeder.net.set_limits(upload(1024));
    leecher.net.set_limits(download(1024));
    let leases = (0..pieces).map(|piece| leecher.grant(conn, &swarm, piece, BLOCK_LEN));
    let leases = leases.collect::<Vec<_>>();
    let progress = |event: &NetEvent| match event {
        NetEvent::Core(Event::LeaseProgress { .. }) => Some(()),
        _ => None,
    };
    leecher.until(progress).await;
    seeder.net.set_limits(Rates::default());
    leecher.net.set_limits(Rates::default());
    for (piece, lease) in (0..).zip(leases) {
        assert!(leecher.received(lease).await == data.piece(piece));
    }
}

#[tokio::test]
async fn a_peer_that_we_hold_up_is_neither_idle_nor_silent() {
    let data = Data::single(PIECE_LEN as usize);
    let mut seeder = Party::start(1);
    let mut leecher = Party::limited(2, |limits| {
        limits.idle_timeout = Duration::from_millis(700);
        limits.vouch_every = Duration::from_millis(200);
    });
    let (full, empty) = (data.swarm([0]), data.swarm([]));
    connect(&mut seeder, &mut leecher, ConnId(5), (&full, &empty)).await;
    // A kilobyte at once, and a second until the next.
    leecher.net.set_limits(download(1024));
    let lease = leecher.grant(ConnId(5), &empty, 0, PIECE_LEN);
    let (mut bytes, mut vouched) = (0, 0);
    while bytes < 2 * 1024 {
        let pick = |event: &NetEvent| match *event {
            NetEvent::Core(Event::LeaseProgress { bytes, .. }) => Some(bytes),
            NetEvent::Core(Event::Closed { .. }) => panic!("{event:?}"),
            _ => None,
        };
        let (more, _) = leecher.until(pick).await;
        bytes += more;
        vouched += u32::from(more == 0);
    }
    assert!((2..12).contains(&vouched), "{vouched} reports");
    leecher.net.set_limits(Rates::default());
    assert!(leecher.received(lease).await == data.piece(0));
    // Silent by itself, it is closed as ever.
    assert_eq!(leecher.closed().await, CloseCause::Idle);
}

#[tokio::test]
async fn control_messages_do_not_wait_for_a_limit() {
    let data = a_second_of();
    let (mut seeder, up, _, leecher, conn, _) = pair(&data).await;
    seeder.net.set_limits(Rates::of(1024, 1024));
    leecher.net.set_limits(Rates::of(1024, 1024));
    // Half a minute's worth in each direction.
    for piece in 0..4000 {
        leecher.net.send(conn, Message::Have(PieceIndex(piece)));
        seeder.net.send(up, Message::Have(PieceIndex(piece)));
    }
    let start = Instant::now();
    seeder.message(&Message::Have(PieceIndex(3999))).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
