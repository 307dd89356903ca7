//! The tracker over real HTTP on loopback.

use std::{net::SocketAddr, time::Duration};

use shoal_core::{
    bencode,
    ids::{InfoHash, PeerId},
    tracker::{
        announce::{AnnounceEvent, AnnounceRequest, Failure, ShoalStatus},
        query::{QUERY_LEN_MAX, scrape_query},
        registry::{LeaveReason, RegistryConfig, SwarmEventKind},
        reply::ReplyError,
        scrape::ScrapeReply,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::*;
use crate::announce::{Announcer, AnnouncerConfig};

const TORRENT: InfoHash = InfoHash([0xf7; 20]);
const LONG: Duration = Duration::from_secs(20);

fn config() -> TrackerConfig {
    TrackerConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..TrackerConfig::default() }
}

fn start(config: TrackerConfig) -> TrackerServer {
    TrackerServer::start(config).unwrap()
}

fn request(n: u8, left: u64) -> AnnounceRequest {
    AnnounceRequest::new(TORRENT, PeerId([n; 20]), 7000 + u16::from(n), left)
}

/// Sends bytes and reads until the tracker closes.
async fn exchange(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    answer
}

/// Gets a path, and splits the answer into head and body.
async fn get(addr: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: tracker\r\nConnection: close\r\n\r\n");
    let answer = exchange(addr, head.as_bytes()).await;
    let at = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..at].to_vec()).unwrap(), answer[at + 4..].to_vec())
}

fn keys(body: &[u8]) -> Vec<String> {
    let value = bencode::decode(body).unwrap();
    let keys = value.as_dict().unwrap().iter();
    keys.map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_stock_announce_sees_plain_bep_3_only() {
    let tracker = start(config());
    let announcer = Announcer::new(AnnouncerConfig::default()).unwrap();
    let url = format!("http://{}/announce", tracker.local_addr());
    let mut ours = request(1, 0);
    ours.shoal = Some(ShoalStatus { up: 5, ..ShoalStatus::default() });
    announcer.announce(&url, &ours).await.unwrap();

    let path = format!("/announce?{}&supportcrypto=1&numwant=80", request(2, 9).to_query());
    let (head, body) = get(tracker.local_addr(), &path).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let standard = [
        "complete",
        "downloaded",
        "external ip",
        "incomplete",
        "interval",
        "min interval",
        "peers",
    ];
    assert_eq!(keys(&body), standard);
    let value = bencode::decode(&body).unwrap();
    let peers = value.as_dict().unwrap().get("peers").unwrap().as_bytes();
    assert_eq!(peers, Some(&b"\x7f\x00\x00\x01\x1b\x59"[..]));
    tracker.shutdown().await;
}

#[tokio::test]
async fn a_shoal_peer_finds_itself_and_the_others_in_the_peer_set() {
    let tracker = start(config());
    let announcer = Announcer::new(AnnouncerConfig::default()).unwrap();
    let url = format!("http://{}/announce", tracker.local_addr());
    announcer.announce(&url, &request(1, 0)).await.unwrap();
    let mut ours = request(2, 9);
    let status = ShoalStatus {
        have: Some(vec![0xa0]),
        up: 3,
        down: 4,
        labels: [("zone".to_owned(), "a b&c=d".to_owned())].into(),
    };
    ours.shoal = Some(status.clone());
    let reply = announcer.announce(&url, &ours).await.unwrap();
    let set = reply.shoal.unwrap().peers;
    assert_eq!(set.len(), 2);
    assert_eq!(
        (set[0].id, &set[0].have, &*set[0].labels),
        (ours.peer_id, &status.have, &status.labels)
    );
    assert_eq!((set[0].up, set[0].down, set[0].left), (Some(3), Some(4), 9));
    assert_eq!((set[1].up, set[1].left), (None, 0));

    let view = tracker.swarm(TORRENT, None, 10).unwrap();
    assert_eq!((view.peers.len(), view.peers[1].have_count), (2, Some(2)));
    assert_eq!((tracker.counts(), tracker.swarms(None, 10).len()), ((1, 2), 1));
    tracker.shutdown().await;
}

#[tokio::test]
async fn the_largest_announce_of_ours_passes() {
    let tracker = start(config());
    let announcer = Announcer::new(AnnouncerConfig::default()).unwrap();
    let url = format!("http://{}/announce", tracker.local_addr());
    let mut ours = request(1, 9);
    let have = Some(vec![0xff; shoal_core::config::ANNOUNCE_HAVE_LEN_MAX]);
    let labels = (0..16).map(|i| (format!("{i:064}"), "v".repeat(64))).collect();
    ours.shoal = Some(ShoalStatus { have: have.clone(), labels, ..ShoalStatus::default() });
    let reply = announcer.announce(&url, &ours).await.unwrap();
    assert_eq!(reply.shoal.unwrap().peers[0].have, have);
}

#[tokio::test]
async fn refusals_are_bencoded_under_status_200() {
    let only = Some([InfoHash([1; 20])].into());
    let registry = RegistryConfig { only, ..RegistryConfig::default() };
    let tracker = start(TrackerConfig { registry, ..config() });
    let query = request(1, 0).to_query();
    for path in [
        format!("/announce?{query}"),
        "/announce".into(),
        "/announce?%00%ff&&=&x".into(),
        "/scrape".into(),
    ] {
        let (head, body) = get(tracker.local_addr(), &path).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        assert_eq!(keys(&body), ["failure reason", "retry in"], "{path}");
    }
    assert!(get(tracker.local_addr(), "/other").await.0.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_query_beyond_its_limit_is_refused_and_the_tracker_goes_on() {
    let tracker = start(config());
    let long = format!("/announce?{}", "x".repeat(QUERY_LEN_MAX + 1));
    let (_, body) = get(tracker.local_addr(), &long).await;
    assert_eq!(keys(&body), ["failure reason", "retry in"]);
    let endless = format!("GET /announce?{}", "x".repeat(200 * 1024));
    let mut stream = TcpStream::connect(tracker.local_addr()).await.unwrap();
    // The tracker may close while we are still sending.
    let _ = stream.write_all(endless.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(get(tracker.local_addr(), "/scrape").await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let header_timeout = Duration::from_millis(50);
    let tracker = start(TrackerConfig { header_timeout, ..config() });
    // Nothing at all, half a head, and idling after a request.
    for bytes in ["", "GET /ann", "GET /scrape HTTP/1.1\r\nHost: t\r\n\r\n"] {
        exchange(tracker.local_addr(), bytes.as_bytes()).await;
    }
}

/// Splits one answer with a `content-length` off the front: its head, its body, and the rest.
fn split(answer: &[u8]) -> (String, &[u8], &[u8]) {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_ascii_lowercase()).unwrap();
    let (_, len) = head.split_once("content-length: ").unwrap();
    let len: usize = len.split("\r\n").next().unwrap().parse().unwrap();
    let (body, rest) = answer[end..].split_at(len);
    (head, body, rest)
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_order() {
    let tracker = start(config());
    let mut requests = Vec::new();
    for left in 0..50 {
        let query = request(left, 9).to_query();
        requests.extend(format!("GET /announce?{query} HTTP/1.1\r\nHost: t\r\n\r\n").bytes());
        requests.extend(b"GET /other HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    requests.extend(b"GET /scrape HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let answers = exchange(tracker.local_addr(), &requests).await;
    let mut rest = &answers[..];
    for count in 1..=50 {
        let (head, body, after) = split(rest);
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let value = bencode::decode(body).unwrap();
        let incomplete = value.as_dict().unwrap().get("incomplete").unwrap().as_unsigned();
        assert_eq!(incomplete, Some(count));
        let (head, _, after) = split(after);
        assert!(head.starts_with("http/1.1 404"), "{head}");
        rest = after;
    }
    let (_, body, after) = split(rest);
    assert_eq!((keys(body), after), (vec!["failure reason".into(), "retry in".into()], &b""[..]));
}

#[tokio::test]
async fn a_connection_is_kept_for_more_requests_unless_the_client_says_otherwise() {
    let tracker = start(config());
    let mut stream = TcpStream::connect(tracker.local_addr()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /scrape HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let len = timeout(LONG, stream.read(&mut answer)).await.unwrap().unwrap();
        assert!(split(&answer[..len]).0.starts_with("http/1.1 200"));
    }
    // What follows the last request of a connection is not answered.
    for last in ["HTTP/1.1\r\nHost: t\r\nConnection: close", "HTTP/1.0"] {
        let twice = format!("GET /scrape {last}\r\n\r\nGET /scrape {last}\r\n\r\n");
        let answer = exchange(tracker.local_addr(), twice.as_bytes()).await;
        let (head, _, rest) = split(&answer);
        assert!(head.contains(" 200 ") && rest.is_empty(), "{last}: {head}");
    }
    let kept =
        b"GET /scrape HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /scrape HTTP/1.0\r\n\r\n";
    let answer = exchange(tracker.local_addr(), kept).await;
    let (head, _, rest) = split(&answer);
    assert!(head.contains("connection: keep-alive"), "{head}");
    assert!(split(rest).2.is_empty());
}

#[tokio::test]
async fn other_methods_and_what_is_no_request_are_refused() {
    let tracker = start(config());
    for (request, status) in [
        ("POST /announce HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n", "405"),
        ("POST /announce HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999\r\n", "405"),
        ("DELETE /scrape HTTP/1.1\r\nHost: t\r\n", "405"),
        ("GET /announce/ HTTP/1.1\r\nHost: t\r\n", "404"),
        ("HEAD /other HTTP/1.1\r\nHost: t\r\n", "404"),
        ("d8:announce", "400"),
        ("GET /scrape HTTP/9.9\r\n", "400"),
    ] {
        let request = format!("{request}Connection: close\r\n\r\n");
        let answer = exchange(tracker.local_addr(), request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert_eq!(answer.contains("allow: GET,HEAD"), status == "405", "{answer}");
    }
    let head = b"HEAD /scrape HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    let answer = exchange(tracker.local_addr(), head).await;
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"\r\n\r\n"));
}

#[tokio::test]
async fn a_head_that_is_too_long_or_has_too_many_fields_is_refused() {
    let tracker = start(config());
    let field = format!("X: {}\r\n", "x".repeat(1000));
    for (fields, status) in [
        (field.repeat(10), "200"),
        ("X: y\r\n".repeat(62), "200"),
        ("X: y\r\n".repeat(65), "431"),
        (field.repeat(100), "431"),
    ] {
        let head = format!("GET /scrape HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{fields}\r\n");
        let mut stream = TcpStream::connect(tracker.local_addr()).await.unwrap();
        // The tracker may close while we are still sending, and the answer be lost with it.
        let sent = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let read = timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
        let is_whole = sent.is_ok() && read.is_ok();
        let expected = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(expected.as_bytes()) || !is_whole && status == "431");
    }
}

#[tokio::test]
async fn a_head_that_comes_in_drips_is_given_up() {
    let header_timeout = Duration::from_millis(100);
    let tracker = start(TrackerConfig { header_timeout, ..config() });
    let stream = TcpStream::connect(tracker.local_addr()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    // Each byte comes in time, the head does not.
    let mut answer = Vec::new();
    let _ = timeout(LONG, reader.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    timeout(LONG, dripping).await.unwrap().unwrap();
}

#[tokio::test]
async fn it_stops_while_requests_keep_coming() {
    let tracker = start(config());
    let mut stream = TcpStream::connect(tracker.local_addr()).await.unwrap();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let asking = tokio::spawn(async move {
        let mut begun = Some(begun);
        let mut answer = vec![0; 4096];
        loop {
            let sent = stream.write_all(b"GET /scrape HTTP/1.1\r\nHost: t\r\n\r\n").await;
            let read = stream.read(&mut answer).await;
            if sent.is_err() || !read.is_ok_and(|len| len > 0) {
                return;
            }
            if let Some(begun) = begun.take() {
                begun.send(()).unwrap();
            }
        }
    });
    begins.await.unwrap();
    timeout(LONG, tracker.shutdown()).await.unwrap();
    timeout(LONG, asking).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_ends_with_its_lifetime() {
    let connection_lifetime = Duration::from_millis(50);
    let header_timeout = LONG * 10;
    let tracker = start(TrackerConfig { connection_lifetime, header_timeout, ..config() });
    exchange(tracker.local_addr(), b"").await;
}

#[tokio::test]
async fn further_connections_wait_for_a_free_place() {
    let tracker = start(TrackerConfig { connections_max: 1, ..config() });
    let first = TcpStream::connect(tracker.local_addr()).await.unwrap();
    let addr = tracker.local_addr();
    let mut second = tokio::spawn(async move { get(addr, "/scrape").await });
    let early = timeout(Duration::from_millis(50), &mut second).await;
    assert!(early.is_err(), "served beyond the limit");
    drop(first);
    let (head, _) = timeout(LONG, second).await.unwrap().unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn events_are_broadcast_in_order() {
    let tracker = start(config());
    let mut events = tracker.subscribe();
    let announcer = Announcer::new(AnnouncerConfig::default()).unwrap();
    let url = format!("http://{}/announce", tracker.local_addr());
    for (event, left) in
        [(AnnounceEvent::Started, 9), (AnnounceEvent::Completed, 0), (AnnounceEvent::Stopped, 0)]
    {
        let mut request = request(1, left);
        request.event = Some(event);
        announcer.announce(&url, &request).await.unwrap();
    }
    for expected in [
        SwarmEventKind::Joined { left: 9 },
        SwarmEventKind::Updated { left: 0, completed: true },
        SwarmEventKind::Left(LeaveReason::Stopped),
    ] {
        let news = timeout(LONG, events.recv()).await.unwrap().unwrap();
        let News::Event(event) = news else { panic!("{news:?}") };
        assert_eq!((event.kind, event.info_hash), (expected, TORRENT));
    }
}

#[tokio::test]
async fn silent_peers_expire_by_themselves() {
    let registry = RegistryConfig { expire_after: Duration::ZERO, ..RegistryConfig::default() };
    let tracker = start(TrackerConfig { registry, ..config() });
    let mut events = tracker.subscribe();
    get(tracker.local_addr(), &format!("/announce?{}", request(1, 9).to_query())).await;
    timeout(LONG, events.recv()).await.unwrap().unwrap();
    let news = timeout(LONG, events.recv()).await.unwrap().unwrap();
    let News::Event(event) = news else { panic!("{news:?}") };
    assert_eq!(event.kind, SwarmEventKind::Left(LeaveReason::Expired));
}

#[tokio::test]
async fn scrapes_answer_for_several_torrents() {
    let tracker = start(config());
    let announcer = Announcer::new(AnnouncerConfig::default()).unwrap();
    let url = format!("http://{}/announce", tracker.local_addr());
    announcer.announce(&url, &request(1, 0)).await.unwrap();
    let other = InfoHash([1; 20]);
    let reply = announcer.scrape(&url, &[TORRENT, other]).await.unwrap();
    assert_eq!((reply.files.len(), reply.files[0].0, reply.files[0].1.complete), (1, TORRENT, 1));
    let path = format!("/scrape?{}", scrape_query(&[other]));
    let (_, body) = get(tracker.local_addr(), &path).await;
    assert_eq!(ScrapeReply::decode(&body), Ok(ScrapeReply::default()));
    let (_, body) = get(tracker.local_addr(), "/scrape?info_hash=short").await;
    let refused = ReplyError::Refused(Failure::never("info_hash is 5 bytes, not 20"));
    assert_eq!(ScrapeReply::decode(&body), Err(refused));
}

#[test]
fn an_address_in_use_is_named() {
    let first = start(config());
    let listen = first.local_addr();
    let error = TrackerServer::start(TrackerConfig { listen, ..config() }).unwrap_err();
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}

#[tokio::test]
async fn a_stopped_tracker_frees_its_port_in_spite_of_idle_connections() {
    let tracker = start(config());
    let listen = tracker.local_addr();
    let mut idle = TcpStream::connect(listen).await.unwrap();
    timeout(LONG, tracker.shutdown()).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(LONG, idle.read_to_end(&mut rest)).await.unwrap();
    let again = start(TrackerConfig { listen, ..config() });
    assert_eq!(again.local_addr(), listen);
}
