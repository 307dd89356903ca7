//! Announces and scrapes over UDP ([BEP 15], with the URL's path of [BEP 41]): addresses of a tracker,
//! connection ids, retransmissions. Never here: the bytes of packets.
//!
//! [BEP 15]: https://www.bittorrent.org/beps/bep_0015.html
//! [BEP 41]: https://www.bittorrent.org/beps/bep_0041.html

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::Url;
use shoal_core::{
    ids::InfoHash,
    tracker::{
        announce::{
            AnnounceReply, AnnounceRequest, Failure, INTERVAL_DEFAULT_S, PeerEntry, is_dialable,
        },
        registry::Family,
        scrape::ScrapeReply,
        udp::{
            CONNECTION_USED_S, PacketError, READ_REPLY_LEN_MAX,
            options::URL_DATA_LEN_MAX,
            reply::{Body, Reply},
            request::Request,
        },
    },
};
use tokio::{
    net::{UdpSocket, lookup_host},
    time::timeout,
};

use super::{AnnounceError, AnnouncerConfig};

/// A client of UDP trackers. Clones share their connection ids.
#[derive(Clone, Debug)]
pub(super) struct Client {
    local_address: Option<IpAddr>,
    timeout: Duration,
    retransmit: Duration,
    known: Arc<Mutex<BTreeMap<SocketAddr, Known>>>,
}

/// A tracker as its URL names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    host: String,
    port: u16,
    /// Path and query, which may be a secret.
    url_data: Vec<u8>,
    /// Host and port, for errors.
    address: String,
}

/// A connection id.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: u64,
    got: Instant,
}

/// A tracker at one of its addresses. The transaction ids stay the same, so that a reply that comes
/// after its request was sent again is still one.
struct Endpoint {
    addr: SocketAddr,
    /// Connected: the system passes on what comes from `addr` only.
    socket: UdpSocket,
    connect: u32,
    request: u32,
}

/// How an attempt at an endpoint ended without a reply.
enum Missed {
    /// Nothing came in time.
    Silent,
    /// The tracker does not take a connection id that it gave before.
    Forgotten,
    /// Nobody can be reached there.
    Dead(io::Error),
    /// There is no use in going on.
    Final(AnnounceError),
}

/// The most addresses of a tracker that are tried.
const ADDRESSES_MAX: usize = 4;
/// The most connection ids kept.
const KNOWN_MAX: usize = 256;
/// The longest pause is 2 to this times the first (BEP 15).
const DOUBLINGS_MAX: u32 = 8;

impl Target {
    /// The tracker of a `udp:` URL, or what is wrong with it.
    pub(super) fn of(url: &Url, address: String) -> Result<Self, String> {
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it names no host")?;
        let port = url.port().filter(|&port| port != 0).ok_or("it names no port")?;
        let mut url_data = url.path().as_bytes().to_vec();
        if let Some(query) = url.query() {
            url_data.push(b'?');
            url_data.extend_from_slice(query.as_bytes());
        }
        if url_data.len() > URL_DATA_LEN_MAX {
            let len = url_data.len();
            return Err(format!("a path of {len} bytes, above {URL_DATA_LEN_MAX}"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, url_data, address })
    }

    fn unreachable(&self, cause: String) -> AnnounceError {
        AnnounceError::Unreachable { address: self.address.clone(), cause }
    }

    fn nonsense(&self, error: PacketError) -> AnnounceError {
        AnnounceError::MalformedPacket { address: self.address.clone(), error }
    }
}

impl Client {
    pub(super) fn new(config: &AnnouncerConfig) -> Self {
        Self {
            local_address: config.local_address,
            timeout: config.timeout,
            retransmit: config.retransmit,
            known: Arc::default(),
        }
    }

    pub(super) async fn announce(
        &self,
        target: &Target,
        announce: &AnnounceRequest,
    ) -> Result<AnnounceReply, AnnounceError> {
        let body = self.ask(target, |connection, transaction| Request::Announce {
            connection,
            transaction,
            announce: Box::new(announce.clone()),
            url_data: target.url_data.clone(),
        });
        match body.await? {
            Body::Announce { interval_s, leechers, seeders, peers } => {
                let interval_s = if interval_s == 0 { INTERVAL_DEFAULT_S } else { interval_s };
                let mut reply = AnnounceReply::new(interval_s);
                (reply.complete, reply.incomplete) = (Some(seeders), Some(leechers));
                let peers = peers.into_iter();
                let peers =
                    peers.map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                let peers = peers.filter(|&peer| is_dialable(peer));
                reply.peers = peers.map(|addr| PeerEntry { addr, id: None }).collect();
                Ok(reply)
            }
            other @ (Body::Connect { .. } | Body::Scrape { .. } | Body::Error { .. }) => {
                Err(target.nonsense(PacketError::Action(other.action().number())))
            }
        }
    }

    /// The numbers of the torrents; a tracker gives zeros for those it does not know.
    pub(super) async fn scrape(
        &self,
        target: &Target,
        info_hashes: &[InfoHash],
    ) -> Result<ScrapeReply, AnnounceError> {
        if info_hashes.is_empty() {
            return Ok(ScrapeReply::default());
        }
        let body = self.ask(target, |connection, transaction| Request::Scrape {
            connection,
            transaction,
            info_hashes: info_hashes.to_vec(),
        });
        match body.await? {
            Body::Scrape { entries } => {
                let files = info_hashes.iter().copied().zip(entries).collect();
                Ok(ScrapeReply { files })
            }
            other @ (Body::Connect { .. } | Body::Announce { .. } | Body::Error { .. }) => {
                Err(target.nonsense(PacketError::Action(other.action().number())))
            }
        }
    }

    /// What the tracker says to a request, within the time of an announce.
    async fn ask(
        &self,
        target: &Target,
        request: impl Fn(u64, u32) -> Request,
    ) -> Result<Body, AnnounceError> {
        let asked = timeout(self.timeout, self.persist(target, request)).await;
        asked.unwrap_or_else(|_| {
            Err(target.unreachable(format!("no reply within {:?}", self.timeout)))
        })
    }

    /// Asks again and again, each of the tracker's addresses in turn.
    async fn persist(
        &self,
        target: &Target,
        request: impl Fn(u64, u32) -> Request,
    ) -> Result<Body, AnnounceError> {
        let mut endpoints = self.endpoints(target).await?;
        let (mut turn, mut doublings) = (0, 0);
        loop {
            let at = turn % endpoints.len();
            let wait = self.retransmit * 2_u32.pow(doublings);
            match self.attempt(target, &endpoints[at], wait, &request).await {
                Ok(body) => return Ok(body),
                Err(Missed::Final(error)) => return Err(error),
                Err(Missed::Forgotten) => {}
                Err(Missed::Silent) => {
                    turn += 1;
                    doublings = DOUBLINGS_MAX.min(doublings + 1);
                }
                Err(Missed::Dead(error)) => {
                    endpoints.remove(at);
                    if endpoints.is_empty() {
                        return Err(target.unreachable(error.to_string()));
                    }
                }
            }
        }
    }

    /// A connect, unless there is an id, and the request.
    async fn attempt(
        &self,
        target: &Target,
        endpoint: &Endpoint,
        wait: Duration,
        request: impl Fn(u64, u32) -> Request,
    ) -> Result<Body, Missed> {
        let known = self.known(endpoint.addr);
        let connection = match known {
            Some(connection) => connection,
            None => {
                let connect = Request::Connect { transaction: endpoint.connect };
                match endpoint.exchange(target, &connect, endpoint.connect, wait).await? {
                    Body::Connect { connection } => self.keep(endpoint.addr, connection),
                    Body::Error { reason } => return Err(refused(reason)),
                    other @ (Body::Announce { .. } | Body::Scrape { .. }) => {
                        let error = PacketError::Action(other.action().number());
                        return Err(Missed::Final(target.nonsense(error)));
                    }
                }
            }
        };
        let request = request(connection, endpoint.request);
        match endpoint.exchange(target, &request, endpoint.request, wait).await? {
            Body::Error { reason } => {
                // Trackers that were started anew do not know their own ids.
                self.forget(endpoint.addr);
                Err(if known.is_some() { Missed::Forgotten } else { refused(reason) })
            }
            body @ (Body::Connect { .. } | Body::Announce { .. } | Body::Scrape { .. }) => Ok(body),
        }
    }

    /// A socket towards each address of the tracker.
    async fn endpoints(&self, target: &Target) -> Result<Vec<Endpoint>, AnnounceError> {
        let unreachable = |error: io::Error| target.unreachable(error.to_string());
        let addrs = lookup_host((&*target.host, target.port)).await.map_err(unreachable)?;
        let (mut endpoints, mut failed) = (Vec::new(), None);
        for addr in addrs.take(ADDRESSES_MAX) {
            match Endpoint::open(addr, self.local_address).await {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if endpoints.is_empty() => Err(unreachable(error)),
            None if endpoints.is_empty() => Err(target.unreachable("no address".to_owned())),
            Some(_) | None => Ok(endpoints),
        }
    }

    fn known(&self, addr: SocketAddr) -> Option<u64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&addr).filter(|known| known.is_fresh()).map(|known| known.id)
    }

    fn keep(&self, addr: SocketAddr, id: u64) -> u64 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| known.is_fresh());
        }
        if known.len() < KNOWN_MAX {
            known.insert(addr, Known { id, got: Instant::now() });
        }
        id
    }

    fn forget(&self, addr: SocketAddr) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&addr);
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.got.elapsed() < Duration::from_secs(CONNECTION_USED_S)
    }
}

impl Endpoint {
    /// From the address asked for, where it is of the same family.
    async fn open(addr: SocketAddr, local: Option<IpAddr>) -> io::Result<Self> {
        let any = match addr {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let local = local.filter(|local| local.is_ipv4() == addr.is_ipv4()).unwrap_or(any);
        let socket = UdpSocket::bind((local, 0)).await?;
        socket.connect(addr).await?;
        Ok(Self { addr, socket, connect: fastrand::u32(..), request: fastrand::u32(..) })
    }

    /// Sends a packet and waits for the reply of this transaction; others are nobody's.
    async fn exchange(
        &self,
        target: &Target,
        request: &Request,
        transaction: u32,
        wait: Duration,
    ) -> Result<Body, Missed> {
        self.socket.send(&request.encode()).await.map_err(Missed::Dead)?;
        let mut packet = vec![0; READ_REPLY_LEN_MAX];
        let received = async {
            loop {
                let len = self.socket.recv(&mut packet).await?;
                let packet = &packet[..len];
                if packet.get(4..8) == Some(&transaction.to_be_bytes()) {
                    return Ok(Reply::decode(packet, self.family()));
                }
            }
        };
        let reply = timeout(wait, received).await.map_err(|_| Missed::Silent)?;
        let reply = reply.map_err(Missed::Dead)?;
        let reply = reply.map_err(|error| Missed::Final(target.nonsense(error)))?;
        Ok(reply.body)
    }

    fn family(&self) -> Family {
        if self.addr.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

fn refused(reason: String) -> Missed {
    Missed::Final(AnnounceError::Refused(Failure::new(reason)))
}
