//! The tracker as the rest of the node sees it: start, look, listen, stop. Never here: HTTP or UDP.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

use shoal_core::{
    ids::InfoHash,
    tracker::registry::{
        PeerKey, RegistryConfig,
        views::{SwarmSummary, SwarmView},
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    http,
    meter::TrackerMeter,
    shared::{News, Shared},
    udp,
};
use crate::http::server::Limits;

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

/// How long a stop may take in all: beyond it the thread is left to itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often any free port is tried that is not free for UDP too.
const PORT_TRIES: usize = 16;
/// Pending connections that the kernel keeps.
const BACKLOG: i32 = 1024;
/// What the kernel keeps of packets that come faster than they are answered, and of answers that go:
/// half a second of a busy tracker. The system may allow less.
const UDP_BUFFER_LEN: usize = 4 * 1024 * 1024;

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
        let limits = Limits {
            connections_max: config.connections_max,
            header_timeout: config.header_timeout,
            connection_lifetime: config.connection_lifetime,
            head_len_max: http::HEAD_LEN_MAX,
        };
        let shared = Arc::new(Shared::new(config.registry).map_err(run)?);
        let stop = CancellationToken::new();
        let (end, ended) = oneshot::channel();
        let serves_udp = socket.is_some();
        let http = http::serve(listener, limits, Arc::clone(&shared), stop.clone());
        let udp = socket.map(|socket| udp::start(socket, Arc::clone(&shared), stop.clone()));
        let udp = udp.transpose().map_err(run)?;
        let thread = thread::Builder::new().name("tracker".to_owned());
        let body = move || {
            let told = |ended: io::Result<()>| {
                if let Err(error) = ended {
                    tracing::error!(%error, "tracker ended");
                }
            };
            let http = async { told(http.await) };
            let udp = async {
                if let Some(udp) = udp {
                    told(udp.ended().await);
                }
            };
            runtime.block_on(async { tokio::join!(http, udp) });
            // Nobody waits where the tracker was dropped.
            let _ = end.send(());
        };
        if let Err(error) = thread.spawn(body) {
            stop.cancel();
            return Err(run(error));
        }
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

    /// What it was asked, and what it answered.
    #[must_use]
    pub fn meter(&self) -> &TrackerMeter {
        self.shared.meter()
    }

    /// What happens to peers from here on, as much of it as is told. A subscriber that falls
    /// [`NEWS_KEPT`](super::shared::NEWS_KEPT) behind is told how much it missed.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<News> {
        self.shared.subscribe()
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
    // As much as the system allows.
    let sized = socket.set_recv_buffer_size(UDP_BUFFER_LEN);
    if let Err(error) = sized.and(socket.set_send_buffer_size(UDP_BUFFER_LEN)) {
        tracing::debug!(%error, "the buffers of UDP stay as they are");
    }
    socket.bind(&addr.into())?;
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
