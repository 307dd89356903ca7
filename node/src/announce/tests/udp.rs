//! UDP trackers: ours, and scripted ones that lose, delay, forget and lie.

use shoal_core::tracker::{
    registry::Family,
    scrape::ScrapeEntry,
    udp::{
        PacketError,
        reply::{Body, Reply},
        request::Request,
    },
};
use tokio::net::UdpSocket;

use super::*;
use crate::tracker::{TrackerConfig, TrackerServer};

const ID: u64 = 0x0123_4567_89ab_cdef;

/// A tracker that answers each request with the packets that `script` gives for it; tells the
/// requests and where they came from.
async fn tracker(
    mut script: impl FnMut(&Request) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, mpsc::UnboundedReceiver<(Request, SocketAddr)>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut packet = vec![0; 4096];
        while let Ok((len, source)) = socket.recv_from(&mut packet).await {
            let request = Request::decode(&packet[..len]).unwrap();
            for reply in script(&request) {
                socket.send_to(&reply, source).await.unwrap();
            }
            let _ = tell.send((request, source));
        }
    });
    (addr, told)
}

fn transaction(request: &Request) -> u32 {
    match request {
        Request::Connect { transaction }
        | Request::Announce { transaction, .. }
        | Request::Scrape { transaction, .. } => *transaction,
    }
}

fn packet(request: &Request, body: Body) -> Vec<u8> {
    Reply { transaction: transaction(request), body }.encode(Family::V4)
}

/// As a tracker should, with one peer.
fn well(request: &Request) -> Vec<u8> {
    packet(
        request,
        match request {
            Request::Connect { .. } => Body::Connect { connection: ID },
            Request::Announce { .. } => Body::Announce {
                interval_s: 9,
                leechers: 1,
                seeders: 2,
                peers: vec!["10.0.0.1:7000".parse().unwrap(), "0.0.0.0:1".parse().unwrap()],
            },
            Request::Scrape { info_hashes, .. } => {
                let entry = ScrapeEntry { complete: 1, incomplete: 2, downloaded: 3 };
                Body::Scrape { entries: vec![entry; info_hashes.len()] }
            }
        },
    )
}

fn error(request: &Request, reason: &str) -> Vec<u8> {
    packet(request, Body::Error { reason: reason.to_owned() })
}

fn hasty(timeout_ms: u64) -> Announcer {
    let retransmit = Duration::from_millis(20);
    let timeout = Duration::from_millis(timeout_ms);
    Announcer::new(AnnouncerConfig { retransmit, timeout, ..Default::default() }).unwrap()
}

fn drain<T>(told: &mut mpsc::UnboundedReceiver<T>) -> Vec<T> {
    std::iter::from_fn(|| told.try_recv().ok()).collect()
}

#[tokio::test]
async fn our_own_tracker_is_announced_to_and_scraped_over_both_families() {
    for (listen, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]")] {
        let config = TrackerConfig { listen: listen.parse().unwrap(), ..TrackerConfig::default() };
        let tracker = TrackerServer::start(config).unwrap();
        let url = format!("udp://{host}:{}/announce", tracker.local_addr().port());
        let announcer = announcer();
        let other = AnnounceRequest { port: 7001, peer_id: PeerId([1; 20]), ..request() };
        announcer.announce(&url, &other).await.unwrap();
        let reply = announcer.announce(&url, &request()).await.unwrap();
        let addr = SocketAddr::new(tracker.local_addr().ip(), 7001);
        assert_eq!(reply.peers, [PeerEntry { addr, id: None }]);
        assert_eq!((reply.interval_s, reply.complete, reply.incomplete), (120, Some(0), Some(2)));
        assert_eq!(reply.shoal, None);
        let hashes = [InfoHash([1; 20]), request().info_hash];
        let reply = announcer.scrape(&url, &hashes).await.unwrap();
        let entry = ScrapeEntry { incomplete: 2, ..ScrapeEntry::default() };
        assert_eq!(reply.files, [(hashes[0], ScrapeEntry::default()), (hashes[1], entry)]);
        assert_eq!(announcer.scrape(&url, &[]).await, Ok(ScrapeReply::default()));
        tracker.shutdown().await;
    }
}

#[tokio::test]
async fn path_and_query_go_along_and_peers_that_lead_nowhere_are_left_out() {
    let (addr, mut told) = tracker(|request| vec![well(request)]).await;
    let long = "x".repeat(600);
    let url = format!("udp://{addr}/announce?key={long}#fragment");
    let reply = announcer().announce(&url, &request()).await.unwrap();
    assert_eq!(reply.peers.len(), 1);
    let (connect, _) = told.recv().await.unwrap();
    assert!(matches!(connect, Request::Connect { .. }));
    let Some((Request::Announce { announce, url_data, connection, .. }, _)) = told.recv().await
    else {
        panic!("no announce")
    };
    assert_eq!((*announce, connection), (request(), ID));
    assert_eq!(url_data, format!("/announce?key={long}").into_bytes());
    announcer().announce(&format!("udp://{addr}"), &request()).await.unwrap();
    told.recv().await.unwrap();
    let (announce, _) = told.recv().await.unwrap();
    assert!(matches!(announce, Request::Announce { url_data, .. } if url_data.is_empty()));
    let url = format!("udp://{addr}/{}", "x".repeat(1024));
    let error = announcer().announce(&url, &request()).await.unwrap_err();
    assert!(matches!(error, AnnounceError::InvalidUrl { .. }), "{error}");
}

#[tokio::test]
async fn lost_packets_are_sent_again_and_the_id_is_used_again() {
    let mut seen = 0;
    // Every request is lost twice.
    let (addr, mut told) = tracker(move |request| {
        seen += 1;
        if seen % 3 == 0 { vec![well(request)] } else { Vec::new() }
    })
    .await;
    let announcer = hasty(20_000);
    let url = format!("udp://{addr}/announce");
    announcer.announce(&url, &request()).await.unwrap();
    let first = drain(&mut told);
    assert_eq!(first.len(), 6);
    let connects = first.iter().filter(|(request, _)| matches!(request, Request::Connect { .. }));
    assert_eq!(connects.count(), 3);
    // Transactions are drawn anew for each announce, and stay the same when it is sent again.
    let ids: std::collections::BTreeSet<u32> =
        first.iter().map(|(request, _)| transaction(request)).collect();
    assert_eq!(ids.len(), 2);
    announcer.announce(&url, &request()).await.unwrap();
    let second = drain(&mut told);
    assert!(second.iter().all(|(request, _)| matches!(request, Request::Announce { .. })));
    assert!(second.iter().all(|(request, _)| !ids.contains(&transaction(request))));
}

#[tokio::test]
async fn a_tracker_that_forgot_its_id_is_connected_to_again() {
    let mut announces = 0;
    let (addr, mut told) = tracker(move |request| {
        announces += usize::from(matches!(request, Request::Announce { .. }));
        match request {
            Request::Announce { .. } if announces == 2 => vec![error(request, "who are you")],
            Request::Connect { .. } | Request::Announce { .. } | Request::Scrape { .. } => {
                vec![well(request)]
            }
        }
    })
    .await;
    let (announcer, url) = (announcer(), format!("udp://{addr}/announce"));
    announcer.announce(&url, &request()).await.unwrap();
    announcer.announce(&url, &request()).await.unwrap();
    assert_eq!(drain(&mut told).len(), 5, "connect, announce; announce, connect, announce");
}

#[tokio::test]
async fn a_refusal_is_told_with_its_words() {
    for refuse_connect in [true, false] {
        let (addr, _told) = tracker(move |request| match request {
            Request::Connect { .. } if !refuse_connect => vec![well(request)],
            Request::Connect { .. } | Request::Announce { .. } | Request::Scrape { .. } => {
                vec![error(request, "no\x1b[m")]
            }
        })
        .await;
        let result = announcer().announce(&format!("udp://{addr}/a"), &request()).await;
        assert_eq!(result, Err(AnnounceError::Refused(Failure::new("no\x1b[m"))));
        let reason = "no\u{fffd}[m".to_owned();
        let told = AnnounceFailure::from(result.unwrap_err());
        assert_eq!(told, AnnounceFailure::Refused { reason, retry_in_s: None });
    }
}

#[tokio::test]
async fn replies_of_other_transactions_and_other_senders_are_ignored() {
    let liar = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (sources, mut asked) = mpsc::unbounded_channel::<(Vec<u8>, SocketAddr)>();
    // Before the true reply: garbage, and refusals of other transactions.
    let (addr, mut told) = tracker(move |request| {
        let body = || Body::Error { reason: "a lie".to_owned() };
        let other = Reply { transaction: !transaction(request), body: body() };
        vec![vec![], vec![9; 7], vec![0xff; 20], other.encode(Family::V4), well(request)]
    })
    .await;
    announcer().announce(&format!("udp://{addr}/a"), &request()).await.unwrap();
    drain(&mut told);
    // From another address, the right transaction.
    let (addr, mut told) = tracker(|_| Vec::new()).await;
    tokio::spawn(async move {
        while let Some((request, source)) = told.recv().await {
            liar.send_to(&well(&request), source).unwrap();
            let _ = sources.send((well(&request), source));
        }
    });
    let error = hasty(200).announce(&format!("udp://{addr}/a"), &request()).await.unwrap_err();
    let AnnounceError::Unreachable { cause, .. } = error else { panic!("{error:?}") };
    assert_eq!(cause, "no reply within 200ms");
    assert!(asked.recv().await.is_some(), "the liar did answer");
}

#[tokio::test]
async fn nonsense_under_the_right_transaction_is_told() {
    type Spoil = fn(&Request) -> Vec<u8>;
    let cut: Spoil = |request| well(request)[..12].to_vec();
    let unknown: Spoil = |request| {
        [&7_u32.to_be_bytes()[..], &transaction(request).to_be_bytes(), &[0; 12]].concat()
    };
    let other: Spoil = |request| packet(request, Body::Scrape { entries: Vec::new() });
    for (spoil, error) in [
        (cut, PacketError::TooShort { len: 12, min: 16 }),
        (unknown, PacketError::Action(7)),
        (other, PacketError::Action(2)),
    ] {
        let (addr, _told) = tracker(move |request| vec![spoil(request)]).await;
        let result = announcer().announce(&format!("udp://{addr}/a"), &request()).await;
        let address = addr.to_string();
        assert_eq!(result, Err(AnnounceError::MalformedPacket { address, error }));
        let told = AnnounceFailure::from(result.unwrap_err());
        assert!(matches!(told, AnnounceFailure::Malformed { .. }), "{told:?}");
    }
}

#[tokio::test]
async fn a_silent_tracker_is_asked_ever_more_rarely_and_given_up() {
    let (addr, mut told) = tracker(|_| Vec::new()).await;
    let error = hasty(300).announce(&format!("udp://{addr}/a"), &request()).await.unwrap_err();
    let address = addr.to_string();
    let cause = "no reply within 300ms".to_owned();
    assert_eq!(error, AnnounceError::Unreachable { address, cause });
    // At 0, 20, 60 and 140 ms; the next would be at 300.
    let count = drain(&mut told).len();
    assert!((2..=5).contains(&count), "{count}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    drop(socket);
    let url = format!("udp://{addr}/announce?passkey=secret");
    let error = announcer().announce(&url, &request()).await.unwrap_err();
    let AnnounceError::Unreachable { address, cause } = &error else { panic!("{error:?}") };
    assert_eq!(*address, addr.to_string());
    assert!(cause.contains("refused"), "{cause}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn packets_go_out_from_the_address_asked_for() {
    let (addr, mut told) = tracker(|request| vec![well(request)]).await;
    let local: IpAddr = [127, 0, 0, 7].into();
    let local_address = Some(local);
    let announcer =
        Announcer::new(AnnouncerConfig { local_address, ..Default::default() }).unwrap();
    announcer.announce(&format!("udp://{addr}/announce"), &request()).await.unwrap();
    assert_eq!(told.recv().await.unwrap().1.ip(), local);
    // A name that has addresses of both families, of which one is the tracker's.
    let url = format!("udp://localhost:{}/announce", addr.port());
    announcer.announce(&url, &request()).await.unwrap();
}
