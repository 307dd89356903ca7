//! The peer sockets of a node: listener, dialler, handshakes, and a task for each connection.
//!
//! [`Net`] carries out what the session decides and reports what happens as [`NetEvent`]s;
//! [`swarm`] is what connections know of a torrent, [`buffer`] the memory they fill. Inside,
//! `shake` makes connections, `conn` runs one, `leases` knows what it fetches, `upload` what it
//! sends, `voice` what it may say, `warm` keeps its task from waiting for a disk, [`rate_limit`]
//! makes it wait for its turn; [`meter`] counts bytes.
//! Never here: a decision about pieces or peers, a hash, a write to a disk.

pub mod buffer;
mod conn;
pub mod event;
mod leases;
pub mod meter;
pub mod rate_limit;
mod shake;
pub mod swarm;
#[cfg(test)]
mod tests;
mod upload;
mod voice;
mod warm;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use shoal_core::{
    config::Config,
    ids::{ConnId, LeaseId, PeerId},
    session::{
        Lease, Serving,
        event::{INCOMING_BIT, LeaseEnd},
        fault::CloseCause,
    },
    wire::Message,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    buffer::{BufferPool, ExtentBuffer},
    event::NetEvent,
    meter::NetMeter,
    rate_limit::{Limits, Rates},
    swarm::{BlockSource, Content, HaveMap, Source, SourceError, Swarm},
};
use self::{
    conn::{Command, Commands},
    event::Outbox,
};
use crate::clock::Clock;

/// How the peer sockets of a node are set up.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Where to listen; port 0 takes a free one. Outgoing connections come from this address where
    /// it is a specific one.
    pub listen: SocketAddr,
    /// Ours, in every handshake.
    pub peer_id: PeerId,
    /// Bounds of time and number.
    pub limits: NetLimits,
    /// What all connections together may send and receive.
    pub rates: Rates,
    /// The node's clock.
    pub clock: Clock,
}

/// Bounds of the peer sockets, from the core's [`Config`].
#[derive(Clone, Debug)]
pub struct NetLimits {
    /// How long a dial with its handshake, an incoming handshake, and the wait for the session's
    /// word on it may take, each (default 10 s).
    pub handshake_timeout: Duration,
    /// Quiet after which a keep-alive is sent (default 90 s).
    pub keep_alive_after: Duration,
    /// Silence after which a connection is closed (default 180 s).
    pub idle_timeout: Duration,
    /// How often a peer whose bytes a rate limit leaves unread is reported to have sent some: a
    /// quarter of the silence for which peers are snubbed (default 5 s).
    pub vouch_every: Duration,
    /// Requests of one peer that are kept (`reqq`; default 2 000).
    pub requests_served_max: u32,
    /// Incoming connections that shake hands at once; others are closed (default 64).
    pub shaking_max: usize,
    /// Connections in all beyond which incoming ones are closed unheard (default 1 024, and 64 for
    /// the session to refuse with a reason).
    pub connections_max: usize,
}

/// The peer sockets of a node. No method waits for anything.
pub struct Net {
    shared: Arc<Shared>,
}

/// What the tasks of the room share.
struct Shared {
    local_addr: SocketAddr,
    peer_id: PeerId,
    limits: NetLimits,
    /// [`NetLimits::connections_max`], which changes.
    connections_max: AtomicUsize,
    rates: Arc<Limits>,
    clock: Clock,
    inbox: mpsc::Sender<NetEvent>,
    runtime: Handle,
    /// How commands reach connections. Locked for one look-up or change, never over a wait; not
    /// touched while payload flows.
    conns: Mutex<HashMap<ConnId, mpsc::UnboundedSender<Command>>>,
    meter: NetMeter,
    incoming: AtomicU64,
    shaking: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How long [`Net::shutdown`] waits for its tasks, which wait for nothing by then.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

impl NetLimits {
    /// The bounds of a session's configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            handshake_timeout: config.handshake_timeout,
            keep_alive_after: config.keep_alive_after,
            idle_timeout: config.idle_timeout,
            vouch_every: config.snub_after / 4,
            requests_served_max: config.requests_served_max,
            shaking_max: config.half_open_max,
            connections_max: config.connections_max + config.half_open_max,
        }
    }
}

impl Net {
    /// Listens, and from then on reports to `inbox`, a bounded channel of which the receiver never
    /// waits for this room. Everything runs on the tokio runtime it is called in.
    ///
    /// # Errors
    /// What the system says of the address, with the address.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: NetConfig, inbox: mpsc::Sender<NetEvent>) -> io::Result<Self> {
        let listener = shake::listen(config.listen)?;
        let shared = Arc::new(Shared {
            local_addr: listener.local_addr()?,
            peer_id: config.peer_id,
            shaking: Arc::new(Semaphore::new(config.limits.shaking_max)),
            connections_max: AtomicUsize::new(config.limits.connections_max),
            limits: config.limits,
            rates: Arc::new(Limits::new(config.rates, config.clock.now())),
            clock: config.clock,
            inbox,
            runtime: Handle::current(),
            conns: Mutex::new(HashMap::new()),
            meter: NetMeter::default(),
            incoming: AtomicU64::new(INCOMING_BIT),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        shared.spawn(shake::accept_all(Arc::clone(&shared), listener));
        Ok(Self { shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local_addr
    }

    /// Connects and shakes hands; `Dialled` or `DialFailed` follows.
    pub fn dial(&self, conn: ConnId, swarm: Arc<Swarm>, addr: SocketAddr) {
        let commands = self.shared.enter(conn);
        let task = shake::dial(Arc::clone(&self.shared), conn, commands, swarm, addr);
        self.shared.spawn(task);
    }

    /// Answers the handshake of an incoming connection and begins.
    pub fn accept(&self, conn: ConnId, swarm: Arc<Swarm>) {
        self.shared.command(conn, Command::Accept(swarm));
    }

    /// Sends a message: never `request`, `cancel`, `choke` or `unchoke`, which connections send by
    /// themselves. An unknown connection is ignored, here and below: it may be gone already.
    pub fn send(&self, conn: ConnId, message: Message) {
        self.shared.command(conn, Command::Send(message));
    }

    /// Chokes or unchokes, and serves requests of at most `request_len_max` bytes from then on.
    pub fn serve(&self, conn: ConnId, serving: Serving, request_len_max: u32) {
        self.shared.command(conn, Command::Serve(serving, request_len_max));
    }

    /// Ends a connection; `LeaseEnded` for each of its leases and `Closed` follow. A dial under
    /// way ends as `DialFailed`.
    pub fn close(&self, conn: ConnId, cause: CloseCause) {
        self.shared.command(conn, Command::Close(cause));
    }

    /// Lets a connection fetch an extent into a buffer of its length; blocks that are filled
    /// already are not asked for. `ExtentReceived` or `LeaseEnded` follows: where the connection
    /// is gone, it is returned at once.
    ///
    /// # Panics
    /// On the connection's task where the buffer is not of the lease's length: a mistake of the
    /// caller.
    #[must_use = "the event is to be handled like one that was received"]
    pub fn grant(&self, lease: Lease, conn: ConnId, buffer: ExtentBuffer) -> Option<NetEvent> {
        match self.shared.command(conn, Command::Grant(lease, buffer))? {
            Command::Grant(lease, buffer) => {
                let (lease, end) = (lease.id, LeaseEnd::Closing);
                Some(NetEvent::LeaseEnded { conn, lease, buffer, end })
            }
            Command::Accept(_)
            | Command::Send(_)
            | Command::Serve(..)
            | Command::Close(_)
            | Command::Revoke(_) => None,
        }
    }

    /// Takes a lease back; `LeaseEnded` follows, unless the lease is over already.
    pub fn revoke(&self, conn: ConnId, lease: LeaseId) {
        self.shared.command(conn, Command::Revoke(lease));
    }

    /// Limits what all connections together send and receive, from now on.
    pub fn set_limits(&self, rates: Rates) {
        self.shared.rates.set(rates, self.shared.clock.now());
    }

    /// Limits what the connections of one torrent together send and receive, from now on. The
    /// node's limit holds besides.
    pub fn set_torrent_limits(&self, swarm: &Swarm, rates: Rates) {
        swarm.limits.set(rates, self.shared.clock.now());
    }

    /// Closes incoming connections unheard beyond so many in all, from now on, and those that the
    /// session refuses with a reason.
    pub fn set_connections_max(&self, most: usize) {
        let most = most.saturating_add(self.shared.limits.shaking_max);
        self.shared.connections_max.store(most, Ordering::Relaxed);
    }

    /// What was sent and received.
    #[must_use]
    pub fn meter(&self) -> NetMeter {
        self.shared.meter.clone()
    }

    /// What all connections together may send and receive.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.shared.rates)
    }

    /// How many connections there are, those that are being made included.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.shared.conns().len()
    }

    /// Closes every socket and waits for every task, at most two seconds. Reports that nobody
    /// receives are dropped.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(SHUTDOWN_MAX, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.shared.tasks.len(), "peer tasks did not end in time");
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    /// Runs a task until it ends or the room is shut down.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let task = async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled_owned() => {}
            }
        };
        self.tasks.spawn_on(task, &self.runtime);
    }

    fn conns(&self) -> MutexGuard<'_, HashMap<ConnId, mpsc::UnboundedSender<Command>>> {
        // Every change of the map is one call: a panic elsewhere leaves it whole.
        self.conns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to shake hands with one more incoming connection.
    fn may_shake(&self) -> Option<OwnedSemaphorePermit> {
        if self.conns().len() >= self.connections_max.load(Ordering::Relaxed) {
            return None;
        }
        Arc::clone(&self.shaking).try_acquire_owned().ok()
    }

    fn enter(&self, conn: ConnId) -> Commands {
        let (sender, commands) = mpsc::unbounded_channel();
        self.conns().insert(conn, sender);
        commands
    }

    fn enter_incoming(&self) -> (ConnId, Commands) {
        let conn = ConnId(self.incoming.fetch_add(1, Ordering::Relaxed));
        (conn, self.enter(conn))
    }

    /// Passes a command on; returns it where the connection is gone.
    fn command(&self, conn: ConnId, command: Command) -> Option<Command> {
        // Under the lock: what was sent before `remove` is in the channel after it.
        match self.conns().get(&conn) {
            Some(sender) => sender.send(command).err().map(|unsent| unsent.0),
            None => Some(command),
        }
    }

    fn remove(&self, conn: ConnId) {
        self.conns().remove(&conn);
    }

    /// The end of a connection: leases that were granted meanwhile end too, then all is reported.
    async fn leave(
        &self,
        conn: ConnId,
        cause: CloseCause,
        mut outbox: Outbox,
        mut commands: Commands,
    ) {
        self.remove(conn);
        while let Ok(command) = commands.try_recv() {
            if let Command::Grant(lease, buffer) = command {
                let (lease, end) = (lease.id, LeaseEnd::Closing);
                outbox.push(NetEvent::LeaseEnded { conn, lease, buffer, end });
            }
        }
        outbox.closed(cause);
        outbox.drain(&self.inbox).await;
    }
}
