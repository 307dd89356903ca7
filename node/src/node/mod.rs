//! A node in this process: its rooms put together, each on a runtime of its own, and taken apart in
//! order. Several may run side by side.
//!
//! - `prepare`: what is read and checked before anything runs
//! - `begin`: what the configuration wants done once everything runs
//! - [`ready`]: the ready file
//! - [`StartError`]: why a node did not start, and the exit code of it
//!
//! Never here: what any room does.

mod begin;
mod error;
mod prepare;
pub mod ready;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use shoal_core::{ids::InfoHash, tracker::registry::RegistryConfig};
use tokio::{
    runtime::{Handle, Runtime},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use error::StartError;

use crate::{
    auth::tokens::Tokens,
    clock::Clock,
    config::{
        NodeConfig, TrackerConfig,
        value::{ControlAddr, MetricsAddr},
    },
    metrics::{
        Metrics,
        vitals::{Observed, Vitals},
    },
    net::Rates,
    policy_host::{Scope, workbench::Workbench},
    rpc::{
        calls::Calls,
        context::{Context, Rooms},
        events::READERS_MAX,
        serve::{self, Serving},
        socket::Bound,
    },
    session::{
        self, EventHub, Running, SessionHandle, SessionOptions, ShutdownReport, handle::SetPolicy,
    },
    simulation::place::Place,
    tracker::{self, TrackerServer},
    webseed::Guard,
};
use begin::{Downloads, Wanted};
use prepare::Prepared;

/// How long a released tracker may take to be let go by the calls that still look at it.
const RELEASE_TRIES: u32 = 50;
/// The pause between two looks at that.
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// A node that runs. Dropping it stops it without a word to anybody; [`shutdown`](Self::shutdown)
/// is the way to end it.
#[derive(Debug)]
pub struct Node {
    rooms: Parts,
    context: Context,
    downloads: Downloads,
}

/// What has to be taken apart again, in the order in which it was put together.
#[derive(Debug, Default)]
struct Parts {
    vitals: Vitals,
    metrics: Option<Metrics>,
    tracker: Option<Arc<TrackerServer>>,
    data: Option<Runtime>,
    session: Option<Running>,
    tasks: Vec<JoinHandle<()>>,
    serving: Option<Serving>,
}

/// How the downloads of the command line ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Completed {
    /// Name and cause of each that failed; empty where all are complete and merged.
    pub failed: Vec<(String, String)>,
}

impl Node {
    /// Starts a node: when this returns, everything is bound and served, and the ready file is
    /// written.
    ///
    /// # Errors
    /// [`StartError`], one line that names the thing; nothing runs then.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let prepared = blocking(move || Prepared::new(config)).await?;
        let mut parts = Parts::default();
        match parts.assemble(prepared).await {
            Ok((context, downloads)) => Ok(Self { rooms: parts, context, downloads }),
            Err(error) => {
                parts.take_apart().await;
                Err(error)
            }
        }
    }

    /// Where it listens for peers; none without the peer role.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.handle().map(|handle| handle.facts().listen_addr)
    }

    /// Where its tracker listens; none without the tracker role.
    #[must_use]
    pub fn tracker_addr(&self) -> Option<SocketAddr> {
        self.context.tracker.as_ref().map(|tracker| tracker.local_addr())
    }

    /// Where it tells metrics; none where it does not.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.rooms.metrics.as_ref().map(Metrics::local_addr)
    }

    /// Whether it is alive and ready.
    #[must_use]
    pub fn vitals(&self) -> &Vitals {
        &self.rooms.vitals
    }

    /// The announce URL of its tracker; none without the tracker role.
    #[must_use]
    pub fn announce_url(&self) -> Option<&str> {
        self.context.announce_url.as_deref()
    }

    /// Where its control surface listens: `unix:PATH` or `IP:PORT`, as bound.
    #[must_use]
    pub fn control(&self) -> &[String] {
        &self.context.control
    }

    /// The door to its session; none without the peer role.
    #[must_use]
    pub fn handle(&self) -> Option<&SessionHandle> {
        self.context.session.as_ref()
    }

    /// Waits until a caller asks for the node's end.
    pub async fn wait(&self) {
        self.context.shutdown.cancelled().await;
    }

    /// As [`wait`](Self::wait), for a task that does not hold the node.
    pub fn asked_to_end(&self) -> impl Future<Output = ()> + Send + use<> {
        self.context.shutdown.clone().cancelled_owned()
    }

    /// Waits until every download of the command line has ended. Never returns where there is
    /// none.
    pub async fn completed(&self) -> Completed {
        self.downloads.completed().await
    }

    /// Ends the node in order: health says so, streams end, trackers are told, data is synced.
    /// Returns what did not finish in its time.
    pub async fn shutdown(mut self) -> ShutdownReport {
        let control = self.context.control.len();
        tracing::info!(control, "shutting down");
        drop((self.context, self.downloads));
        self.rooms.take_apart().await
    }
}

impl Parts {
    async fn assemble(&mut self, prepared: Prepared) -> Result<(Context, Downloads), StartError> {
        let clock = Clock::start();
        let Prepared { config, only, torrents, magnets, seeds, policy, tls } = prepared;
        // First, so that whoever waits for the node sees it start.
        self.metrics = config.metrics.map(|addr| self.start_metrics(addr)).transpose()?;
        if let Some(tracker) = &config.tracker {
            self.tracker = Some(Arc::new(start_tracker(tracker, only.as_ref())?));
        }
        if config.peer.is_some() {
            self.start_session(&config, clock).await?;
        }
        // Behind the session: a state directory in use is refused with the process that has it.
        let listeners = config.control.iter().map(Bound::bind).collect::<Result<Vec<_>, _>>()?;
        let session = self.session.as_ref().map(|running| running.handle.clone());
        if let (Some(session), Some(policy)) = (&session, policy) {
            let set =
                session.set_policy(SetPolicy::deciding(Scope::Node, Some(policy.choice))).await;
            let set = set.map_err(|error| StartError::policy(policy.name, error))?;
            for warning in set.warnings {
                tracing::warn!(warning, "policy");
            }
        }
        let mut wanted = match &session {
            Some(session) => Wanted::add(session, torrents, seeds, &config).await?,
            None => Wanted::default(),
        };
        if let Some(session) = &session {
            wanted.add_magnets(session, magnets, &config).await?;
        }
        let dir = config.state_dir.clone();
        let tokens = blocking(move || Ok(Tokens::open(&dir, clock.started())?)).await?;
        let context = self.context(&config, &listeners, tokens, only, session.clone(), clock);
        let runtime = serve::runtime().map_err(StartError::Threads)?;
        self.tasks.push(runtime.spawn(begin::tell_tracker(context.clone())));
        let serving = Serving::start(runtime, listeners, tls.as_ref(), context.clone()).await;
        self.serving = Some(serving.map_err(StartError::Threads)?);
        self.vitals.serving(observed(&context));
        if let Some(path) = &config.ready_file {
            let metrics = self.metrics.as_ref().map(Metrics::local_addr);
            ready::write(path, &context, tls.is_some(), metrics)?;
        }
        let downloads = match (&session, &self.data) {
            (Some(session), Some(data)) => {
                let (downloads, task) = wanted.begin(session, data.handle(), &context.shutdown);
                self.tasks.extend(task);
                downloads
            }
            _ => Downloads::default(),
        };
        tracing::info!(control = ?context.control, "serving");
        Ok((context, downloads))
    }

    fn start_metrics(&self, MetricsAddr(addr): MetricsAddr) -> Result<Metrics, StartError> {
        let metrics = Metrics::start(addr, self.vitals.clone());
        let metrics = metrics.map_err(|cause| StartError::Metrics { addr, cause })?;
        let port = metrics.local_addr().port();
        if addr.ip().is_loopback() {
            tracing::info!(port, "metrics listening");
        } else {
            tracing::warn!(port, "metrics are told to whoever can connect: they need no token");
        }
        Ok(metrics)
    }

    async fn start_session(&mut self, config: &NodeConfig, clock: Clock) -> Result<(), StartError> {
        let Some(peer) = &config.peer else { return Ok(()) };
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let data = builder.thread_name("shoal-data").enable_all().build();
        let data = self.data.insert(data.map_err(StartError::Threads)?);
        let options = SessionOptions {
            config: peer.core(),
            state_dir: config.state_dir.clone(),
            downloads: peer.downloads.clone(),
            chunks: peer.chunks.clone(),
            listen: peer.listen,
            rates: Rates::of(peer.upload_limit.0, peer.download_limit.0),
            web_seed_guard: Guard { loopback: peer.web_seeds_loopback },
            advertise: config.advertise,
            labels: peer.label.clone(),
            clock,
        };
        let started = on(data.handle(), session::start(options)).await?;
        self.session = Some(started?);
        Ok(())
    }

    fn context(
        &self,
        config: &NodeConfig,
        listeners: &[Bound],
        tokens: Tokens,
        only: Option<BTreeSet<InfoHash>>,
        session: Option<SessionHandle>,
        clock: Clock,
    ) -> Context {
        let local_ip = local_ip();
        let events = match &session {
            Some(session) => session.events().clone(),
            None => EventHub::new(format!("{:016x}", fastrand::u64(..))),
        };
        let announce_url = self.tracker.as_ref().map(|tracker| {
            let bound = tracker.local_addr();
            let own = if bound.ip().is_unspecified() { local_ip } else { bound.ip() };
            let addr = SocketAddr::new(config.advertise.unwrap_or(own), bound.port());
            format!("http://{addr}/announce")
        });
        Context::new(Rooms {
            session,
            tracker: self.tracker.clone(),
            only,
            events,
            started_at: clock.started(),
            started: Instant::now(),
            state_dir: config.state_dir.clone(),
            announce_url,
            control: listeners.iter().map(|bound| control_text(&bound.addr())).collect(),
            local_ip,
            tokens,
            roots: prepare::share_roots(config),
            workbench: Workbench::default(),
            simulations: Place::default(),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            calls: Calls::default(),
            ending: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        })
    }

    /// Ends what runs, the control surface first to say so and last to stop.
    async fn take_apart(&mut self) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        self.vitals.ending();
        if let Some(serving) = &self.serving {
            serving.farewell().await;
        }
        for task in self.tasks.drain(..) {
            task.abort();
        }
        if let Some(Running { handle, task }) = self.session.take() {
            report = handle.shutdown().await;
            // The loop ends by itself after its shutdown; one that panicked has ended too.
            let _ = task.await;
        }
        if let Some(serving) = self.serving.take()
            && !serving.stop().await
        {
            report.unfinished.push("calls under way were cut off".to_owned());
        }
        if let Some(tracker) = self.tracker.take()
            && let Some(tracker) = release(tracker).await
        {
            tracker.shutdown().await;
        }
        if let Some(data) = self.data.take() {
            data.shutdown_background();
        }
        if let Some(metrics) = self.metrics.take() {
            metrics.shutdown().await;
        }
        report
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        // A runtime may not be dropped where async code runs.
        if let Some(data) = self.data.take() {
            data.shutdown_background();
        }
    }
}

/// What metrics are told of.
fn observed(context: &Context) -> Observed {
    Observed {
        session: context.session.clone(),
        tracker: context.tracker.as_ref().map(Arc::downgrade),
        calls: context.calls.clone(),
        events: context.events.clone(),
        started_at: context.started_at,
    }
}

/// The tracker once nobody else holds it. None where a call does not let go: it ends with that.
async fn release(mut tracker: Arc<TrackerServer>) -> Option<TrackerServer> {
    for _ in 0..RELEASE_TRIES {
        match Arc::try_unwrap(tracker) {
            Ok(tracker) => return Some(tracker),
            Err(shared) => tracker = shared,
        }
        tokio::time::sleep(RELEASE_PAUSE).await;
    }
    None
}

fn start_tracker(
    config: &TrackerConfig,
    only: Option<&BTreeSet<InfoHash>>,
) -> Result<TrackerServer, StartError> {
    let defaults = RegistryConfig::default();
    let interval = Duration::from_secs(config.interval.into());
    let registry = RegistryConfig {
        interval,
        min_interval: defaults.min_interval.min(interval),
        // A peer may miss an announce before it is forgotten.
        expire_after: defaults.expire_after.max(interval * 5 / 2),
        only: only.cloned(),
        ..defaults
    };
    let config = tracker::TrackerConfig {
        listen: config.listen,
        udp: config.udp,
        registry,
        ..tracker::TrackerConfig::default()
    };
    Ok(TrackerServer::start(config)?)
}

/// Our address towards the rest of the world: the one that the default route leaves by. Nothing is
/// sent; the addresses are those of RFC 5737.
fn local_ip() -> IpAddr {
    let probe = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    };
    probe().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn control_text(addr: &ControlAddr) -> String {
    addr.to_string()
}

/// Runs a future on another runtime.
async fn on<R: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = R> + Send + 'static,
) -> Result<R, StartError> {
    let lost = |error| StartError::Threads(std::io::Error::other(error));
    runtime.spawn(work).await.map_err(lost)
}

async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, StartError> + Send + 'static,
) -> Result<R, StartError> {
    let lost = |error| Err(StartError::Threads(std::io::Error::other(error)));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(lost)
}
