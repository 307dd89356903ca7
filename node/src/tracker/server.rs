//! The tracker as the rest of the node sees it: start, look, listen, stop. Never here: HTTP or UDP.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use shoal_core::{
    ids::InfoHash,
    time::Timestamp,
    tracker::{
        announce::{AnnounceReply, AnnounceRequest, Failure},
        registry::{
            EVENTS_MAX, PeerKey, Registry, RegistryConfig, SwarmEvent, SwarmEventKind,
            views::{SwarmSummary, SwarmView},
        },
        scrape::ScrapeReply,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::CancellationToken;

use super::{http, udp};

/// What a tracker is started with. `Default` is the truth.
#[derive(Clone, Debug)]
pub struct TrackerConfig {
    /// Where it listens (default 0.0.0.0:7001, the specification's port). Port 0 is any free one.
    pub listen: SocketAddr,
    /// Whether it serves UDP too, at the same address (default yes).
    pub udp: bool,
    /// The registry's tunables.
    pub registry: RegistryConfig,
    /// Most connections at once (default 1 024); further ones wait to be accepted.
    pub connections_max: usize,
    /// How long the head of a request may take, and how long a connection may idle before its next
    /// one (default 10 s).
    pub header_timeout: Duration,
    /// How long a connection may live in all (default 60 s): peers come every other minute.
    pub connection_lifetime: Duration,
}

/// Why a tracker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The address cannot be listened on over UDP.
    #[error("cannot listen on {addr} over UDP: {source}; serve without it by --udp=false")]
    ListenUdp {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Its thread or its runtime could not be made.
    #[error("cannot run the tracker on {addr}: {source}")]
    Run {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A running tracker. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct TrackerServer {
    local_addr: SocketAddr,
    serves_udp: bool,
    shared: Arc<Shared>,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

/// The registry and its clock. The lock is held for one call of the registry and never over an
/// await; events are published after it is released.
#[derive(Debug)]
pub(super) struct Shared {
    registry: Mutex<Registry>,
    origin: Instant,
    events: broadcast::Sender<SwarmEvent>,
    log: Mutex<LogLimit>,
}

/// Peers decide how many lines there are: at most [`LOG_LINES_MAX`] a second.
#[derive(Debug, Default)]
struct LogLimit {
    second: u64,
    lines: u32,
    suppressed: u64,
}

/// How long connections may take to end when the tracker stops.
pub(super) const GRACE: Duration = Duration::from_secs(3);
/// How long a stop may take in all: beyond it the thread is left to itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often any free port is tried that is not free for UDP too.
const PORT_TRIES: usize = 16;
/// Pending connections that the kernel keeps.
const BACKLOG: i32 = 1024;
/// Peers forgotten under one lock.
const EXPIRE_BATCH: usize = 1000;
/// Lines about peers in the log, a second.
const LOG_LINES_MAX: u32 = 100;

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7001)),
            udp: true,
            registry: RegistryConfig::default(),
            connections_max: 1024,
            header_timeout: Duration::from_secs(10),
            connection_lifetime: Duration::from_secs(60),
        }
    }
}

impl TrackerServer {
    /// Listens, and serves from a thread of its own. May be called outside any runtime.
    ///
    /// # Errors
    /// The address cannot be listened on, or no thread can be had.
    pub fn start(config: TrackerConfig) -> Result<Self, StartError> {
        let addr = config.listen;
        let (listener, socket) = sockets(addr, config.udp)?;
        let run = |source| StartError::Run { addr, source };
        let local_addr = listener.local_addr().map_err(run)?;
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().map_err(run)?;
        let limits = http::Limits {
            connections_max: config.connections_max,
            header_timeout: config.header_timeout,
            connection_lifetime: config.connection_lifetime,
        };
        let shared = Arc::new(Shared::new(config.registry));
        let stop = CancellationToken::new();
        let (end, ended) = oneshot::channel();
        let serves_udp = socket.is_some();
        let http = http::serve(listener, limits, Arc::clone(&shared), stop.clone());
        let udp = socket.map(|socket| udp::serve(socket, Arc::clone(&shared), stop.clone()));
        let thread = thread::Builder::new().name("tracker".to_owned());
        let body = move || {
            let udp = async {
                match udp {
                    Some(udp) => udp.await,
                    None => Ok(()),
                }
            };
            let (http, udp) = runtime.block_on(async { tokio::join!(http, udp) });
            for error in [http, udp].into_iter().filter_map(Result::err) {
                tracing::error!(%error, "tracker ended");
            }
            // Nobody waits where the tracker was dropped.
            let _ = end.send(());
        };
        thread.spawn(body).map_err(run)?;
        tracing::info!(port = local_addr.port(), udp = serves_udp, "tracker listening");
        Ok(Self { local_addr, serves_udp, shared, stop, ended })
    }

    /// Where it listens, with the port that port 0 became.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether it serves UDP at the same address.
    #[must_use]
    pub fn serves_udp(&self) -> bool {
        self.serves_udp
    }

    /// The swarms after this info hash, in order, at most `limit`.
    #[must_use]
    pub fn swarms(&self, after: Option<InfoHash>, limit: usize) -> Vec<SwarmSummary> {
        self.shared.with(|registry, _| registry.swarms(after, limit))
    }

    /// A swarm and those of its peers that come after this key, at most `limit`.
    #[must_use]
    pub fn swarm(
        &self,
        info_hash: InfoHash,
        after: Option<PeerKey>,
        limit: usize,
    ) -> Option<SwarmView> {
        self.shared.with(|registry, now| registry.swarm(now, info_hash, after, limit))
    }

    /// How many swarms there are, and how many peers in all of them.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.shared.counts()
    }

    /// What happens to peers from here on. A subscriber that falls [`EVENTS_MAX`] behind is told how
    /// many it missed.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<SwarmEvent> {
        self.shared.events.subscribe()
    }

    /// Stops accepting, lets requests under way end, and returns when all is over: after 5 s at the
    /// latest.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, &mut self.ended).await.is_err() {
            tracing::warn!("the tracker did not stop in time");
        }
    }
}

impl Drop for TrackerServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    pub(super) fn new(config: RegistryConfig) -> Self {
        let registry = Registry::new(config, fastrand::u64(..));
        Self {
            registry: Mutex::new(registry),
            origin: Instant::now(),
            events: broadcast::Sender::new(EVENTS_MAX),
            log: Mutex::default(),
        }
    }

    pub(super) fn announce(
        &self,
        request: &AnnounceRequest,
        source: IpAddr,
    ) -> Result<AnnounceReply, Failure> {
        self.with(|registry, now| registry.announce(now, request, source))
    }

    /// As [`Shared::announce`], but with as many peers as there may be in a reply, of which only
    /// those of the client's family are of use to it; and how many of them it wants.
    pub(super) fn announce_for(
        &self,
        request: &AnnounceRequest,
        source: IpAddr,
    ) -> Result<(AnnounceReply, usize), Failure> {
        self.with(|registry, now| {
            let config = registry.config();
            let wanted = request.numwant.unwrap_or(config.numwant_default).min(config.numwant_max);
            let numwant = Some(if wanted == 0 { 0 } else { config.numwant_max });
            let request = AnnounceRequest { numwant, ..request.clone() };
            let reply = registry.announce(now, &request, source)?;
            Ok((reply, usize::try_from(wanted).unwrap_or(usize::MAX)))
        })
    }

    pub(super) fn scrape(&self, info_hashes: &[InfoHash]) -> ScrapeReply {
        self.with(|registry, _| registry.scrape(info_hashes))
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        self.with(|registry, _| registry.counts())
    }

    /// Forgets a batch of silent peers; says whether there are more.
    pub(super) fn expire(&self) -> bool {
        self.with(|registry, now| registry.expire(now, EXPIRE_BATCH))
    }

    /// One call of the registry, and what it told of published.
    fn with<T>(&self, call: impl FnOnce(&mut Registry, Timestamp) -> T) -> T {
        // A panic in the registry is our bug: it is in the log, and the others are served on.
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: the registry's time never decreases.
        let elapsed = self.origin.elapsed().as_micros();
        let now = Timestamp(u64::try_from(elapsed).unwrap_or(u64::MAX));
        let answer = call(&mut registry, now);
        let (events, lost) = registry.take_events();
        let (_, peers) = registry.counts();
        drop(registry);
        if lost > 0 {
            tracing::warn!(lost, "events of the tracker were lost");
        }
        for event in events {
            self.log(&event, now, peers);
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
        answer
    }

    fn log(&self, event: &SwarmEvent, now: Timestamp, peers: usize) {
        let mut limit = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let suppressed = limit.turn(now);
        let passes = limit.pass();
        drop(limit);
        if suppressed > 0 {
            tracing::info!(suppressed, "more happened to peers than is logged");
        }
        let SwarmEvent { info_hash, peer_id, addr, kind } = event;
        tracing::debug!(torrent = %info_hash, peer = %peer_id, %addr, ?kind, "swarm event");
        if !passes {
            return;
        }
        match kind {
            SwarmEventKind::Joined { left } => {
                tracing::info!(torrent = %info_hash, peer = %peer_id, left, peers, "peer joined");
            }
            SwarmEventKind::Updated { left, completed } => {
                tracing::info!(
                    torrent = %info_hash, peer = %peer_id, left, completed, "peer updated"
                );
            }
            SwarmEventKind::Left(reason) => {
                tracing::info!(torrent = %info_hash, peer = %peer_id, ?reason, peers, "peer left");
            }
        }
    }
}

impl LogLimit {
    /// Begins the next second where it is time; tells what was held back in the one before.
    fn turn(&mut self, now: Timestamp) -> u64 {
        let second = now.millis() / 1000;
        if second == self.second {
            return 0;
        }
        let suppressed = self.suppressed;
        *self = Self { second, ..Self::default() };
        suppressed
    }

    fn pass(&mut self) -> bool {
        let passes = self.lines < LOG_LINES_MAX;
        self.lines += u32::from(passes);
        self.suppressed += u64::from(!passes);
        passes
    }
}

/// The sockets of HTTP and UDP, on one port.
fn sockets(
    addr: SocketAddr,
    with_udp: bool,
) -> Result<(TcpListener, Option<UdpSocket>), StartError> {
    let mut tries = PORT_TRIES;
    loop {
        let failed = |source| StartError::Listen { addr, source };
        let listener = listen(addr).map_err(failed)?;
        if !with_udp {
            return Ok((listener, None));
        }
        let bound = listener.local_addr().map_err(failed)?;
        tries -= 1;
        match bind_udp(bound) {
            Ok(socket) => return Ok((listener, Some(socket))),
            Err(error) if addr.port() == 0 && tries > 0 => {
                tracing::debug!(%error, port = bound.port(), "a port is not free for UDP");
            }
            Err(source) => return Err(StartError::ListenUdp { addr: bound, source }),
        }
    }
}

/// A socket for packets; `[::]` takes IPv4 too.
fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.bind(&addr.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A listening socket; `[::]` takes IPv4 too.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // A tracker that is started anew takes its port back at once.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_peers_are_limited_and_the_rest_is_counted() {
        let mut limit = LogLimit::default();
        let passed = (0..LOG_LINES_MAX + 5).filter(|_| limit.pass()).count();
        assert_eq!(passed, LOG_LINES_MAX as usize);
        assert_eq!(limit.turn(Timestamp(999_999)), 0);
        assert_eq!(limit.turn(Timestamp(1_000_000)), 5);
        assert!(limit.pass());
    }
}
