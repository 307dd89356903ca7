//! HTTP servers as peers of last resort (BEP 19): [`WebSeeds`] carries out the leases of the
//! session's web seeds and reports as [`Net`](crate::net::Net) does, in the same words.
//!
//! Inside, `guard` says which servers may be asked, `seed` runs one web seed of one torrent,
//! `fetch` fills the buffer of one lease, `reply` judges the head of an answer. Never here: which
//! piece, or whether its bytes are right.

mod fetch;
mod guard;
mod reply;
mod seed;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::{Client, redirect};
use rustls::pki_types::CertificateDer;
use shoal_core::{
    ids::{ConnId, LeaseId},
    metainfo::Metainfo,
    session::{Event, Lease, event::LeaseEnd, fault::CloseCause},
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use guard::Guard;
use seed::Command;

use crate::{
    clock::Clock,
    http,
    net::{ExtentBuffer, Limits, NetEvent},
};

/// How web seeds are asked. `Default` is the truth.
#[derive(Clone, Debug)]
pub struct WebSeedConfig {
    /// The address requests go out from; `None` leaves it to the system.
    pub local_address: Option<IpAddr>,
    /// Which servers may be asked.
    pub guard: Guard,
    /// How long a connection may take, its name's look-up included (default 10 s).
    pub connect_timeout: Duration,
    /// How long the head of an answer may take, redirects included (default 30 s).
    pub head_timeout: Duration,
    /// How long a body may pause (default 20 s).
    pub pause_timeout: Duration,
    /// In each such time a body must bring 16 KiB (default 30 s).
    pub slow_after: Duration,
    /// How often a lease that a rate limit holds up is vouched for (default 5 s).
    pub vouch_every: Duration,
    /// Authorities whose certificates are believed beside those that browsers trust (default none).
    pub roots: Vec<CertificateDer<'static>>,
}

/// A torrent as its web seeds see it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its files.
    pub metainfo: Arc<Metainfo>,
    /// What its connections may receive in all, besides what the node's may.
    pub limits: Arc<Limits>,
}

/// The web seeds of a node. No method waits for anything.
pub struct WebSeeds {
    shared: Arc<Shared>,
}

/// What the tasks of the room share.
struct Shared {
    client: Client,
    config: WebSeedConfig,
    /// What the node may receive.
    limits: Arc<Limits>,
    clock: Clock,
    inbox: mpsc::Sender<NetEvent>,
    runtime: Handle,
    /// How commands reach web seeds. Locked for one look-up or change, never over a wait.
    seeds: Mutex<HashMap<ConnId, UnboundedSender<Command>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How long an idle connection to a server is kept: shorter than servers do.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// How long [`WebSeeds::shutdown`] waits for its tasks, which wait for nothing by then.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);

impl Default for WebSeedConfig {
    fn default() -> Self {
        Self {
            local_address: None,
            guard: Guard::default(),
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            pause_timeout: Duration::from_secs(20),
            slow_after: Duration::from_secs(30),
            vouch_every: Duration::from_secs(5),
            roots: Vec::new(),
        }
    }
}

impl WebSeeds {
    /// A room that reports to `inbox`, a bounded channel of which the receiver never waits for it;
    /// `limits` are the node's. Proxies of the environment are not used: they would connect for us,
    /// and nobody could tell where to.
    ///
    /// # Errors
    /// What the HTTP client says of the system.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(
        config: WebSeedConfig,
        limits: Arc<Limits>,
        clock: Clock,
        inbox: mpsc::Sender<NetEvent>,
    ) -> Result<Self, String> {
        let guard = config.guard;
        let tls = http::client_config(&config.roots).map_err(|error| error.to_string())?;
        let client = Client::builder()
            .user_agent(concat!("shoal/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .referer(false)
            .http1_only()
            .tls_backend_preconfigured(tls)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .local_address(config.local_address.filter(|ip| !ip.is_unspecified()))
            .dns_resolver(Arc::new(guard))
            .redirect(redirect::Policy::custom(move |attempt| guard.follow(attempt)))
            .build()
            .map_err(|error| http::cause(&error))?;
        let shared = Arc::new(Shared {
            client,
            config,
            limits,
            clock,
            inbox,
            runtime: Handle::current(),
            seeds: Mutex::new(HashMap::new()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        Ok(Self { shared })
    }

    /// Finds the host of a web seed; `WebSeedOpened` or `Closed` follows.
    pub fn open(&self, conn: ConnId, target: Target, url: String) {
        let (sender, commands) = mpsc::unbounded_channel();
        self.shared.seeds().insert(conn, sender);
        let stop = self.shared.stop.clone();
        let task = seed::run(Arc::clone(&self.shared), conn, target, url, commands);
        let task = async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled_owned() => {}
            }
        };
        self.shared.tasks.spawn_on(task, &self.shared.runtime);
    }

    /// Whether a connection is a web seed of this room, and has not reported its end.
    #[must_use]
    pub fn owns(&self, conn: ConnId) -> bool {
        self.shared.seeds().contains_key(&conn)
    }

    /// Lets a web seed fetch an extent into a buffer of its length; blocks that are filled already
    /// are not asked for. `ExtentReceived` or `LeaseEnded` follows: where the web seed is gone, it
    /// is returned at once.
    #[must_use = "the event is to be handled like one that was received"]
    pub fn grant(&self, lease: Lease, conn: ConnId, buffer: ExtentBuffer) -> Option<NetEvent> {
        match self.shared.command(conn, Command::Grant(lease, buffer))? {
            Command::Grant(lease, buffer) => Some(ended(conn, lease.id, buffer, LeaseEnd::Closing)),
            Command::Revoke(_) | Command::Close(_) => None,
        }
    }

    /// Takes a lease back; `LeaseEnded` follows, unless the lease is over already.
    pub fn revoke(&self, conn: ConnId, lease: LeaseId) {
        self.shared.command(conn, Command::Revoke(lease));
    }

    /// Ends a web seed; `LeaseEnded` for each of its leases and `Closed` follow.
    pub fn close(&self, conn: ConnId, cause: CloseCause) {
        self.shared.command(conn, Command::Close(cause));
    }

    /// Drops every request and waits for every task, at most a second. Reports that nobody receives
    /// are dropped.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(SHUTDOWN_MAX, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.shared.tasks.len(), "web seeds did not end in time");
        }
    }
}

impl Drop for WebSeeds {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    fn seeds(&self) -> MutexGuard<'_, HashMap<ConnId, UnboundedSender<Command>>> {
        // Every change of the map is one call: a panic elsewhere leaves it whole.
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a command on; returns it where the web seed is gone.
    fn command(&self, conn: ConnId, command: Command) -> Option<Command> {
        // Under the lock: what was sent before the removal is in the channel after it.
        match self.seeds().get(&conn) {
            Some(sender) => sender.send(command).err().map(|unsent| unsent.0),
            None => Some(command),
        }
    }

    async fn tell(&self, event: NetEvent) {
        // The session has ended: nobody waits for the report.
        let _ = self.inbox.send(event).await;
    }

    /// The end of a web seed: leases that were granted meanwhile end too.
    async fn leave(
        &self,
        conn: ConnId,
        cause: CloseCause,
        mut commands: UnboundedReceiver<Command>,
    ) {
        self.seeds().remove(&conn);
        while let Ok(command) = commands.try_recv() {
            if let Command::Grant(lease, buffer) = command {
                self.tell(ended(conn, lease.id, buffer, LeaseEnd::Closing)).await;
            }
        }
        self.tell(NetEvent::Core(Event::Closed { conn, cause })).await;
    }
}

fn ended(conn: ConnId, lease: LeaseId, buffer: ExtentBuffer, end: LeaseEnd) -> NetEvent {
    NetEvent::LeaseEnded { conn, lease, buffer, end }
}
