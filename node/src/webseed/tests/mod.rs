//! The room against servers on loopback that behave and servers that do not.

mod misbehaviour;
mod places;

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::{IntoResponse as _, Response},
};
use reqwest::{StatusCode, header};
use shoal_core::{
    config::BLOCK_LEN,
    ids::{ConnId, LeaseId, PieceIndex, TorrentId},
    metainfo::{Content, CreateOptions, Metainfo, NewFile, Pad, Plan},
    session::{
        Event, Lease,
        event::LeaseEnd,
        fault::{CloseCause, Retry},
    },
};
use tokio::{net::TcpListener, sync::mpsc};

use super::{Guard, Target, WebSeedConfig, WebSeeds};
use crate::{
    clock::Clock,
    net::{BufferPool, ExtentBuffer, Limits, NetEvent, Rates},
};

const CONN: ConnId = ConnId(1);
const PIECE: u32 = 64 * 1024;
/// Two files and their padding: the second begins in the second piece.
const FILES: [(&str, usize); 3] = [("a b.bin", 50_000), ("d/100%.bin", 200_000), ("empty", 0)];

fn bytes(file: usize) -> Vec<u8> {
    let mut bytes = vec![0; FILES[file].1];
    fastrand::Rng::with_seed(file as u64).fill(&mut bytes);
    bytes
}

fn metainfo(pad: Pad) -> Arc<Metainfo> {
    let file = |(path, len): &(&str, usize)| NewFile {
        path: path.split('/').map(str::to_owned).collect(),
        len: *len as u64,
    };
    let plan = Plan::new(CreateOptions {
        name: "to rrent".to_owned(),
        content: Content::Multi(FILES.iter().map(file).collect()),
        piece_len: Some(PIECE),
        pad,
        private: false,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        comment: None,
        created_unix: None,
    });
    let plan = plan.unwrap();
    let hashes = vec![[0; 20]; plan.layout().piece_count() as usize];
    Arc::new(Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap())
}

/// What a torrent holds at these bytes of a piece.
fn content(metainfo: &Metainfo, piece: u32) -> Vec<u8> {
    let layout = metainfo.layout();
    let slices = layout.slices(PieceIndex(piece), 0, PIECE);
    let parts = slices.map(|slice| {
        let (from, len) = (slice.file_offset as usize, slice.len as usize);
        if slice.pad {
            return vec![0; len];
        }
        let path = metainfo.files[slice.file].joined();
        let file = FILES.iter().position(|(name, _)| *name == path).unwrap();
        bytes(file)[from..from + len].to_vec()
    });
    parts.flatten().collect()
}

/// A server on loopback, and what it was asked.
struct Server {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(answer: impl Fn(Request) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let router = Router::new().fallback(async move |request: Request| {
            let range = request.headers().get(header::RANGE);
            let range = range.map_or("", |range| range.to_str().unwrap());
            log.lock().unwrap().push(format!("{} {range}", request.uri()));
            let response = answer(request);
            if response.extensions().get::<Withheld>().is_some() {
                std::future::pending::<()>().await;
            }
            response
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, asked, task }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Marks an answer that is never sent: the server waits without keeping a thread of the test.
#[derive(Clone, Copy)]
struct Withheld;

/// First and last byte asked for.
fn range(request: &Request) -> (usize, usize) {
    let range = request.headers()[header::RANGE].to_str().unwrap();
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    (first.parse().unwrap(), last.parse().unwrap())
}

fn file_of(request: &Request) -> usize {
    match request.uri().path() {
        "/to%20rrent/a%20b.bin" => 0,
        "/to%20rrent/d/100%25.bin" => 1,
        other => panic!("{other}"),
    }
}

/// An answer with a body that is not framed by its length.
fn part(request: &Request, body: Body) -> Response {
    let (first, last) = range(request);
    let total = FILES[file_of(request)].1;
    let range = format!("bytes {first}-{last}/{total}");
    (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], body).into_response()
}

fn wanted(request: &Request) -> Bytes {
    let (first, last) = range(request);
    bytes(file_of(request))[first..=last].to_vec().into()
}

/// As a server should.
#[expect(clippy::needless_pass_by_value, reason = "as all answers")]
fn good(request: Request) -> Response {
    let body = wanted(&request);
    part(&request, body.into())
}

/// A body of chunks, each after a pause; the last stands for ever where `endless`.
fn dripping(first: Bytes, drop: Bytes, pause: Duration, drops: usize) -> Body {
    let (sender, body) = mpsc::channel::<Result<Bytes, Infallible>>(1);
    tokio::spawn(async move {
        let _ = sender.send(Ok(first)).await;
        for _ in 0..drops {
            tokio::time::sleep(pause).await;
            if sender.send(Ok(drop.clone())).await.is_err() {
                return;
            }
        }
    });
    Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(body))
}

/// A room and what it reports.
struct Room {
    seeds: WebSeeds,
    limits: Arc<Limits>,
    clock: Clock,
    reports: mpsc::Receiver<NetEvent>,
    metainfo: Arc<Metainfo>,
    pool: BufferPool,
    progress: u64,
    vouched: u32,
}

/// How a lease ended.
enum End {
    Received(ExtentBuffer),
    Ended(ExtentBuffer, LeaseEnd),
}

const LOOPBACK: Guard = Guard { loopback: true };

impl Room {
    fn new(guard: Guard, pad: Pad) -> Self {
        Self::with(guard, pad, Duration::from_millis(300))
    }

    /// One that waits longer for a body than a test takes.
    fn patient(guard: Guard, pad: Pad) -> Self {
        Self::with(guard, pad, Duration::from_secs(60))
    }

    fn with(guard: Guard, pad: Pad, pause_timeout: Duration) -> Self {
        let config = WebSeedConfig {
            guard,
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(1),
            pause_timeout,
            slow_after: Duration::from_millis(600),
            vouch_every: Duration::from_millis(100),
            ..WebSeedConfig::default()
        };
        let (inbox, reports) = mpsc::channel(64);
        let (limits, clock) = (Arc::<Limits>::default(), Clock::start());
        let seeds = WebSeeds::new(config, limits.clone(), clock, inbox).unwrap();
        let (metainfo, pool) = (metainfo(pad), BufferPool::new(1 << 20));
        Self { seeds, limits, clock, reports, metainfo, pool, progress: 0, vouched: 0 }
    }

    fn open(&self, url: String) {
        let target = Target { metainfo: self.metainfo.clone(), limits: Arc::default() };
        self.seeds.open(CONN, target, url);
    }

    async fn next(&mut self) -> NetEvent {
        let next = tokio::time::timeout(Duration::from_secs(10), self.reports.recv());
        next.await.expect("a report").unwrap()
    }

    async fn opened(&mut self) -> SocketAddr {
        let next = self.next().await;
        let NetEvent::Core(Event::WebSeedOpened { conn: CONN, addr }) = next else {
            panic!("{next:?}")
        };
        addr
    }

    async fn closed(&mut self) -> CloseCause {
        let NetEvent::Core(Event::Closed { conn: CONN, cause }) = self.next().await else {
            panic!("something else before the end")
        };
        assert!(!self.seeds.owns(CONN));
        cause
    }

    fn lease(&self, piece: u32) -> Lease {
        Lease {
            id: LeaseId(100 + u64::from(piece)),
            torrent: TorrentId(1),
            piece: PieceIndex(piece),
            extent: 0,
            offset: 0,
            len: self.metainfo.layout().piece_size(PieceIndex(piece)),
            request_len: BLOCK_LEN,
            requests_max: 10,
            duplicate: false,
        }
    }

    fn grant(&mut self, piece: u32) {
        let lease = self.lease(piece);
        let mut buffer = self.pool.take(lease.len);
        buffer.fill_padding(0, &self.metainfo.layout().pad_ranges(lease.piece));
        assert!(self.seeds.grant(lease, CONN, buffer).is_none());
    }

    /// The end of the next lease; what progress came before is counted.
    async fn end(&mut self) -> (LeaseId, End) {
        loop {
            match self.next().await {
                NetEvent::Core(Event::LeaseProgress { bytes, .. }) => {
                    self.progress += u64::from(bytes);
                    self.vouched += u32::from(bytes == 0);
                }
                NetEvent::ExtentReceived { lease, buffer, .. } => {
                    return (lease, End::Received(buffer));
                }
                NetEvent::LeaseEnded { lease, buffer, end, .. } => {
                    return (lease, End::Ended(buffer, end));
                }
                NetEvent::Core(event) => panic!("{event:?}"),
                NetEvent::SourceChanged { .. } => panic!("web seeds serve nothing"),
            }
        }
    }

    /// Fetches every piece and compares it.
    async fn fetch_all(&mut self) {
        let count = self.metainfo.piece_count();
        (0..count).for_each(|piece| self.grant(piece));
        for _ in 0..count {
            let (lease, end) = self.end().await;
            let End::Received(buffer) = end else { panic!("{lease:?} failed") };
            let piece = (lease.0 - 100) as u32;
            assert!(buffer.is_full() && buffer.bytes() == content(&self.metainfo, piece));
            assert!(buffer.contributors().all(|conn| conn == CONN));
            self.pool.put(buffer);
        }
        let content = self.metainfo.layout().content_len();
        assert_eq!(self.progress, content, "padding was counted, or fetched");
    }

    /// Opens a web seed that fails the first lease; the fault's cause and retry.
    async fn failed(&mut self, url: String) -> (String, Retry) {
        self.open(url);
        self.opened().await;
        self.grant(1);
        let (_, end) = self.end().await;
        assert!(matches!(end, End::Ended(_, LeaseEnd::Closing)));
        let CloseCause::WebSeed(fault) = self.closed().await else { panic!("no failure") };
        (fault.cause, fault.retry)
    }
}

#[tokio::test]
async fn files_are_fetched_by_ranges_and_padding_is_not() {
    for pad in [Pad::Always, Pad::Never] {
        let server = Server::start(good).await;
        let mut room = Room::new(LOOPBACK, pad);
        room.open(server.url());
        assert_eq!(room.opened().await, server.addr);
        room.fetch_all().await;
        let asked = server.asked();
        assert!(asked.iter().all(|asked| !asked.contains(".pad")), "{asked:?}");
        match pad {
            // Two pieces of 64 KiB straddle nothing.
            Pad::Always => assert_eq!(asked.len(), 5, "{asked:?}"),
            Pad::Never | Pad::Auto => {
                assert!(asked.contains(&"/to%20rrent/a%20b.bin bytes=0-49999".to_owned()));
                let second = "/to%20rrent/d/100%25.bin bytes=0-15535".to_owned();
                assert!(asked.contains(&second), "{asked:?}");
            }
        }
        room.seeds.close(CONN, CloseCause::NotNeeded);
        assert_eq!(room.closed().await, CloseCause::NotNeeded);
    }
}

#[tokio::test]
async fn blocks_that_are_there_are_not_asked_for() {
    let server = Server::start(good).await;
    let mut room = Room::new(LOOPBACK, Pad::Never);
    room.open(server.url());
    room.opened().await;
    let lease = room.lease(1);
    let mut buffer = room.pool.take(lease.len);
    buffer.target(BLOCK_LEN..2 * BLOCK_LEN).fill(7);
    buffer.filled_by(ConnId(9), BLOCK_LEN..2 * BLOCK_LEN);
    assert!(room.seeds.grant(lease, CONN, buffer).is_none());
    let (_, End::Received(buffer)) = room.end().await else { panic!() };
    let expected = content(&room.metainfo, 1);
    let block = BLOCK_LEN as usize;
    assert_eq!(buffer.bytes()[..block], expected[..block]);
    assert!(buffer.bytes()[block..2 * block].iter().all(|&byte| byte == 7));
    assert_eq!(buffer.bytes()[2 * block..], expected[2 * block..]);
    assert_eq!(buffer.contributors().count(), 2);
    assert_eq!((server.asked().len(), room.progress), (2, u64::from(PIECE - BLOCK_LEN)));
}
#[tokio::test]
async fn a_revoked_lease_ends_at_once_and_keeps_what_came() {
    let server = Server::start(|request| {
        let (first, rest) = (wanted(&request).slice(..40_000), Bytes::new());
        part(&request, dripping(first, rest, Duration::from_secs(60), 1))
    });
    let server = server.await;
    let mut room = Room::patient(LOOPBACK, Pad::Always);
    room.open(server.url());
    room.opened().await;
    // Two are fetched, the third waits.
    [1, 2, 3].into_iter().for_each(|piece| room.grant(piece));
    for _ in 0..2 {
        let next = room.next().await;
        let NetEvent::Core(Event::LeaseProgress { bytes, .. }) = next else { panic!() };
        assert_eq!(bytes, 40_000);
    }
    room.seeds.revoke(CONN, LeaseId(103));
    let (lease, end) = room.end().await;
    assert!(matches!(end, End::Ended(_, LeaseEnd::Revoked)));
    assert_eq!(lease, LeaseId(103));
    room.seeds.revoke(CONN, LeaseId(101));
    let (lease, End::Ended(buffer, LeaseEnd::Revoked)) = room.end().await else { panic!() };
    assert_eq!((lease, buffer.filled_bytes()), (LeaseId(101), 2 * BLOCK_LEN));
    room.seeds.close(CONN, CloseCause::Operator);
    assert!(matches!(room.end().await, (LeaseId(102), End::Ended(_, LeaseEnd::Closing))));
    assert_eq!(room.closed().await, CloseCause::Operator);
    let (lease, buffer) = (room.lease(1), room.pool.take(PIECE));
    let late = room.seeds.grant(lease, CONN, buffer);
    assert!(matches!(late, Some(NetEvent::LeaseEnded { end: LeaseEnd::Closing, .. })));
}

#[tokio::test]
async fn the_rate_limit_holds_and_who_waits_for_it_is_vouched_for() {
    let server = Server::start(good).await;
    let mut room = Room::new(LOOPBACK, Pad::Always);
    room.limits.set(Rates::of(0, 100_000), room.clock.now());
    room.open(server.url());
    room.opened().await;
    let began = Instant::now();
    room.fetch_all().await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "250 kB at 100 kB/s took {took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(room.vouched > 0, "nobody was told that the limit holds it up");
}

#[tokio::test]
async fn nobody_there_is_a_failure_that_may_pass() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let mut room = Room::new(LOOPBACK, Pad::Always);
    let (cause, retry) = room.failed(format!("http://{addr}/")).await;
    assert_eq!(retry, Retry::Later);
    assert!(cause.contains("refused"), "{cause}");
}

#[tokio::test]
async fn shutdown_waits_for_no_server() {
    let server = Server::start(|request| {
        let rest = dripping(Bytes::new(), Bytes::new(), Duration::from_secs(60), 1);
        part(&request, rest)
    });
    let server = server.await;
    let mut room = Room::new(LOOPBACK, Pad::Always);
    room.open(server.url());
    room.opened().await;
    room.grant(1);
    let began = Instant::now();
    room.seeds.shutdown().await;
    assert!(began.elapsed() < Duration::from_millis(900));
}
