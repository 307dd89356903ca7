//! Connection ids, and the tracker over real UDP on loopback.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use shoal_core::{
    ids::PeerId,
    tracker::{
        announce::{AnnounceEvent, ShoalStatus},
        query::SCRAPE_MAX,
        registry::RegistryConfig,
        udp::{
            ANNOUNCE_LEN,
            reply::{Body, Reply},
            request::Request,
        },
    },
};
use tokio::time::timeout;

use super::*;
use crate::{
    announce::{Announcer, AnnouncerConfig},
    tracker::{StartError, TrackerConfig, TrackerServer},
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const TORRENT: InfoHash = InfoHash([0xf7; 20]);
const LONG: Duration = Duration::from_secs(20);

fn config() -> TrackerConfig {
    TrackerConfig { listen: (Ipv4Addr::LOCALHOST, 0).into(), ..TrackerConfig::default() }
}

fn start(config: TrackerConfig) -> TrackerServer {
    TrackerServer::start(config).unwrap()
}

fn peer(n: u16, left: u64) -> AnnounceRequest {
    let [high, low] = n.to_be_bytes();
    let mut id = [high; 20];
    id[19] = low;
    AnnounceRequest::new(TORRENT, PeerId(id), 7000 + n, left)
}

/// A client that has a connection id.
struct Client {
    socket: tokio::net::UdpSocket,
    connection: u64,
}

impl Client {
    async fn new(tracker: SocketAddr) -> Self {
        let local: IpAddr = match tracker {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = tokio::net::UdpSocket::bind((local, 0)).await.unwrap();
        socket.connect(tracker).await.unwrap();
        let mut client = Self { socket, connection: 0 };
        let body = client.ask(&Request::Connect { transaction: 7 }.encode()).await;
        let Body::Connect { connection } = body else { panic!("{body:?}") };
        client.connection = connection;
        client
    }

    async fn receive(&self) -> Vec<u8> {
        let mut packet = vec![0; 4096];
        let len = timeout(LONG, self.socket.recv(&mut packet)).await.unwrap().unwrap();
        packet.truncate(len);
        packet
    }

    async fn ask(&self, packet: &[u8]) -> Body {
        self.socket.send(packet).await.unwrap();
        let family = family(self.socket.peer_addr().unwrap().ip());
        let reply = Reply::decode(&self.receive().await, family).unwrap();
        assert_eq!(reply.transaction, 7);
        reply.body
    }

    async fn announce(&self, announce: AnnounceRequest) -> Body {
        let (connection, announce) = (self.connection, Box::new(announce));
        let url_data = b"/announce?key=value".to_vec();
        self.ask(&Request::Announce { connection, transaction: 7, announce, url_data }.encode())
            .await
    }

    async fn scrape(&self, info_hashes: Vec<InfoHash>) -> Body {
        let connection = self.connection;
        self.ask(&Request::Scrape { connection, transaction: 7, info_hashes }.encode()).await
    }

    /// Sends what gets no reply: the next reply is to a connect sent after it.
    async fn gets_nothing_for(&self, packet: &[u8]) {
        self.socket.send(packet).await.unwrap();
        let body = self.ask(&Request::Connect { transaction: 7 }.encode()).await;
        assert!(matches!(body, Body::Connect { .. }), "{packet:?}: {body:?}");
    }
}

fn family(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

fn numbers(body: Body) -> (u32, u32, u32, Vec<SocketAddr>) {
    match body {
        Body::Announce { interval_s, leechers, seeders, peers } => {
            (interval_s, leechers, seeders, peers)
        }
        Body::Connect { .. } | Body::Scrape { .. } | Body::Error { .. } => panic!("{body:?}"),
    }
}

#[test]
fn a_connection_id_holds_for_two_minutes_from_its_address_only() {
    let proofs = Proofs::new().unwrap();
    let other = Proofs::new().unwrap();
    // From the start, and where the low bits of the second begin anew.
    for start in [0, 65_400, 65_535, 65_536, 200_000] {
        let id = proofs.make(HERE, start);
        for (age, holds) in [(0, true), (1, true), (119, true), (120, true), (121, false)] {
            assert_eq!(proofs.hold(id, HERE, start + age), holds, "{start} + {age}");
        }
        assert!(!proofs.hold(id, HERE, start + 65_536), "the same low bits");
        assert!(!proofs.hold(id, [10, 0, 0, 2].into(), start));
        assert!(!proofs.hold(id ^ 1 << 40, HERE, start));
        assert!(!proofs.hold(id ^ 1, HERE, start + 1), "another second, the same hash");
        assert!(!other.hold(id, HERE, start));
    }
}

#[test]
fn nothing_unproven_gets_more_than_it_sent() {
    let shared = Arc::new(Shared::new(RegistryConfig::default()).unwrap());
    let answerer = Answerer { proofs: Proofs::new().unwrap(), shared };
    let mut random = fastrand::Rng::with_seed(15);
    let mut answered = 0;
    for _ in 0..20_000 {
        let mut packet = vec![0; random.usize(..200)];
        random.fill(&mut packet);
        // Half of them with an action of a request, and the id of a connect where it is one.
        if random.bool() && packet.len() >= 12 {
            let action = random.u32(..3);
            packet[8..12].copy_from_slice(&action.to_be_bytes());
            if action == 0 {
                packet[..8].copy_from_slice(&Request::Connect { transaction: 0 }.encode()[..8]);
                // Some of them whole.
                packet.truncate(random.usize(12..24));
            }
        }
        let mut reply = Vec::new();
        answerer.shared.with(|registry, now| {
            let asked = Asked { packet: &packet, ip: HERE, now };
            answerer.answer(&asked, registry, &mut reply);
        });
        assert!(reply.len() <= packet.len(), "{reply:?} for {packet:?}");
        answered += usize::from(!reply.is_empty());
    }
    assert!(answered > 1000, "{answered}");
    assert_eq!(answerer.shared.counts(), (0, 0), "nobody was listed");
}

#[tokio::test]
async fn udp_and_http_share_one_registry_and_one_port() {
    let tracker = start(config());
    assert!(tracker.serves_udp());
    let client = Client::new(tracker.local_addr()).await;
    let (interval_s, leechers, seeders, peers) = numbers(client.announce(peer(1, 0)).await);
    assert_eq!((interval_s, leechers, seeders, peers), (120, 0, 1, vec![]));

    let announcer = Announcer::new(AnnouncerConfig::default()).unwrap();
    let url = format!("http://{}/announce", tracker.local_addr());
    let ours = AnnounceRequest { shoal: Some(ShoalStatus::default()), ..peer(2, 9) };
    let reply = announcer.announce(&url, &ours).await.unwrap();
    assert_eq!(reply.peers[0].addr, "127.0.0.1:7001".parse().unwrap());
    let set = reply.shoal.unwrap().peers;
    assert_eq!((set[1].up, set[1].left, &set[1].have), (None, 0, &None), "a plain peer");

    let (_, leechers, seeders, peers) = numbers(client.announce(peer(1, 0)).await);
    assert_eq!((leechers, seeders, peers), (1, 1, vec!["127.0.0.1:7002".parse().unwrap()]));
    let stopped = AnnounceRequest { event: Some(AnnounceEvent::Stopped), ..peer(1, 0) };
    let (_, leechers, seeders, peers) = numbers(client.announce(stopped).await);
    assert_eq!((leechers, seeders, peers), (1, 0, vec![]));
    tracker.shutdown().await;
}

#[tokio::test]
async fn scrapes_answer_in_the_order_asked_for_up_to_74_torrents() {
    let tracker = start(config());
    let client = Client::new(tracker.local_addr()).await;
    client.announce(peer(1, 9)).await;
    client.announce(AnnounceRequest { event: Some(AnnounceEvent::Completed), ..peer(1, 0) }).await;
    client.announce(peer(2, 9)).await;
    let mut hashes = vec![InfoHash([1; 20]); SCRAPE_MAX];
    hashes[40] = TORRENT;
    let Body::Scrape { entries } = client.scrape(hashes).await else { panic!("no scrape") };
    let known = ScrapeEntry { complete: 1, incomplete: 1, downloaded: 1 };
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(*entry, if at == 40 { known } else { ScrapeEntry::default() });
    }
    assert_eq!(entries.len(), SCRAPE_MAX);
    let (connection, info_hashes) = (client.connection, vec![TORRENT; SCRAPE_MAX]);
    let packet = Request::Scrape { connection, transaction: 7, info_hashes }.encode();
    let body = client.ask(&[&packet[..], &[1; 20]].concat()).await;
    let Body::Error { reason } = body else { panic!("{body:?}") };
    assert!(reason.contains("1500 bytes of info hashes"), "{reason}");
}

#[tokio::test]
async fn refusals_are_error_packets() {
    let registry =
        RegistryConfig { only: Some([InfoHash([1; 20])].into()), ..RegistryConfig::default() };
    let tracker = start(TrackerConfig { registry, ..config() });
    let client = Client::new(tracker.local_addr()).await;
    let body = client.announce(peer(1, 0)).await;
    let Body::Error { reason } = body else { panic!("{body:?}") };
    assert!(reason.contains("is not served here"), "{reason}");
    client.announce(AnnounceRequest { info_hash: InfoHash([1; 20]), ..peer(1, 0) }).await;
    assert_eq!(tracker.counts(), (1, 1));
}

#[tokio::test]
async fn a_connection_id_of_nobody_is_refused_in_a_short_packet() {
    let tracker = start(config());
    let mut client = Client::new(tracker.local_addr()).await;
    client.connection ^= 1 << 30;
    for body in [client.announce(peer(1, 0)).await, client.scrape(vec![TORRENT]).await] {
        assert_eq!(body, Body::Error { reason: UNPROVEN.to_owned() });
    }
    assert_eq!(tracker.counts(), (0, 0));
}

#[tokio::test]
async fn what_is_not_of_the_protocol_gets_no_reply() {
    let tracker = start(config());
    let client = Client::new(tracker.local_addr()).await;
    let connect = Request::Connect { transaction: 9 }.encode();
    client.gets_nothing_for(b"").await;
    client.gets_nothing_for(&connect[..CONNECT_LEN - 1]).await;
    client.gets_nothing_for(&[&connect[..], b"x"].concat()).await;
    client.gets_nothing_for(&[9; 64]).await;
    let (connection, announce) = (client.connection, Box::new(peer(1, 0)));
    let packet = Request::Announce { connection, transaction: 9, announce, url_data: vec![] };
    let padded = |len: usize| [packet.encode(), vec![0; len - ANNOUNCE_LEN]].concat();
    client.gets_nothing_for(&padded(REQUEST_LEN_MAX + 1)).await;
    assert_eq!(tracker.counts(), (0, 0));
    client.socket.send(&padded(REQUEST_LEN_MAX)).await.unwrap();
    client.receive().await;
    assert_eq!(tracker.counts(), (1, 1));
}

#[tokio::test]
async fn as_many_peers_as_wanted_and_as_fit() {
    for (listen, fit) in [("127.0.0.1:0", 200), ("[::1]:0", 67)] {
        let tracker = start(TrackerConfig { listen: listen.parse().unwrap(), ..config() });
        let client = Client::new(tracker.local_addr()).await;
        for n in 1..=250 {
            client.announce(peer(n, 9)).await;
        }
        for (numwant, expected) in [
            (None, 50),
            (Some(0), 0),
            (Some(3), 3),
            (Some(fit), fit),
            (Some(fit + 1), fit),
            (Some(u32::MAX), fit),
        ] {
            let (_, leechers, _, peers) =
                numbers(client.announce(AnnounceRequest { numwant, ..peer(1, 9) }).await);
            assert_eq!((peers.len(), leechers), (expected as usize, 250), "{numwant:?}");
            assert!(peers.iter().all(|peer| peer.ip() == tracker.local_addr().ip()));
        }
    }
}

#[tokio::test]
async fn on_both_families_each_client_is_given_peers_of_its_own() {
    let tracker = start(TrackerConfig { listen: "[::]:0".parse().unwrap(), ..config() });
    let port = tracker.local_addr().port();
    let v4 = Client::new((Ipv4Addr::LOCALHOST, port).into()).await;
    let v6 = Client::new((Ipv6Addr::LOCALHOST, port).into()).await;
    for n in [1, 2] {
        v4.announce(peer(n, 9)).await;
        v6.announce(peer(n, 9)).await;
    }
    let (_, leechers, _, peers) = numbers(v4.announce(peer(1, 9)).await);
    assert_eq!((leechers, peers), (4, vec!["127.0.0.1:7002".parse().unwrap()]));
    let (_, _, _, peers) = numbers(v6.announce(peer(1, 9)).await);
    assert_eq!(peers, ["[::1]:7002".parse().unwrap()]);
}

#[tokio::test]
async fn without_udp_its_port_stays_free() {
    let tracker = start(TrackerConfig { udp: false, ..config() });
    assert!(!tracker.serves_udp());
    let listen = tracker.local_addr();
    let _socket = UdpSocket::bind(listen).unwrap();
    tracker.shutdown().await;
    let error = TrackerServer::start(TrackerConfig { listen, ..config() }).unwrap_err();
    assert!(matches!(error, StartError::ListenUdp { .. }), "{error}");
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
    start(TrackerConfig { listen, udp: false, ..config() });
}

#[tokio::test]
async fn a_client_is_answered_from_the_address_it_asked() {
    let listens = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    for listen in listens {
        let tracker = start(TrackerConfig { listen: (listen, 0).into(), ..config() });
        let port = tracker.local_addr().port();
        for asked in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
            // A connected socket takes packets of nobody else.
            let client = Client::new((asked.parse::<Ipv4Addr>().unwrap(), port).into()).await;
            let body = client.announce(peer(1, 0)).await;
            assert!(matches!(body, Body::Announce { .. }), "{asked} on {listen}: {body:?}");
        }
        if listen.is_ipv6() {
            let client = Client::new((Ipv6Addr::LOCALHOST, port).into()).await;
            let body = client.announce(peer(1, 0)).await;
            assert!(matches!(body, Body::Announce { .. }), "{body:?}");
        }
    }
}

#[tokio::test]
async fn packets_that_come_together_are_answered_in_order() {
    let tracker = start(config());
    let client = Client::new(tracker.local_addr()).await;
    let connection = client.connection;
    // More than fit a batch, some of them to be left without an answer.
    let count = BATCH_MAX as u32 * 3;
    for transaction in 0..count {
        let packet = match transaction % 4 {
            0 => Request::Connect { transaction }.encode(),
            1 => {
                let info_hashes = vec![TORRENT];
                Request::Scrape { connection, transaction, info_hashes }.encode()
            }
            2 => b"nothing".to_vec(),
            _ => {
                let (announce, url_data) = (Box::new(peer(transaction as u16, 9)), vec![]);
                Request::Announce { connection, transaction, announce, url_data }.encode()
            }
        };
        client.socket.send(&packet).await.unwrap();
    }
    let mut leechers_before = 0;
    for transaction in (0..count).filter(|transaction| transaction % 4 != 2) {
        let reply = Reply::decode(&client.receive().await, Family::V4).unwrap();
        assert_eq!(reply.transaction, transaction);
        match (transaction % 4, reply.body) {
            (0, Body::Connect { .. }) => {}
            (1, Body::Scrape { entries }) => assert_eq!(entries[0].incomplete, leechers_before),
            (3, Body::Announce { leechers, .. }) => {
                leechers_before += 1;
                assert_eq!(leechers, leechers_before);
            }
            (_, body) => panic!("{transaction}: {body:?}"),
        }
    }
}

#[tokio::test]
async fn answers_of_one_batch_leave_from_the_addresses_asked() {
    let tracker = start(TrackerConfig { listen: "[::]:0".parse().unwrap(), ..config() });
    let port = tracker.local_addr().port();
    let mut clients = Vec::new();
    for asked in ["127.0.0.1", "127.0.0.2", "127.0.0.2", "::1", "127.0.0.3"] {
        clients.push(Client::new((asked.parse::<IpAddr>().unwrap(), port).into()).await);
    }
    for round in 0..BATCH_MAX as u32 {
        for client in &clients {
            let packet = Request::Connect { transaction: round }.encode();
            client.socket.send(&packet).await.unwrap();
        }
    }
    for round in 0..BATCH_MAX as u32 {
        for client in &clients {
            let reply = Reply::decode(&client.receive().await, Family::V4).unwrap();
            assert_eq!(reply.transaction, round);
        }
    }
}

#[tokio::test]
async fn it_stops_while_packets_keep_coming() {
    let tracker = start(config());
    let addr = tracker.local_addr();
    let is_over = Arc::new(AtomicBool::new(false));
    let flooding = Arc::clone(&is_over);
    let flood = thread::spawn(move || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let packet = Request::Connect { transaction: 1 }.encode();
        while !flooding.load(Ordering::Relaxed) {
            let _ = socket.send_to(&packet, addr);
        }
    });
    let client = Client::new(addr).await;
    client.announce(peer(1, 9)).await;
    timeout(LONG, tracker.shutdown()).await.unwrap();
    is_over.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    // The socket is gone with its thread.
    start(TrackerConfig { listen: addr, ..config() });
}

#[tokio::test]
async fn a_dropped_tracker_frees_its_port() {
    let tracker = start(config());
    let listen = tracker.local_addr();
    drop(tracker);
    let again = async {
        while TrackerServer::start(TrackerConfig { listen, ..config() }).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, again).await.unwrap();
}
