//! The beginning of a session: store opened, sockets bound, torrents restored, loop begun.
//!
//! Never here: where the options come from.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use shoal_core::{
    config::Config,
    ids::PeerId,
    policy::Labels,
    session::{Event, Identity, Session},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::task::TaskTracker;

use super::{
    checking::Checks,
    creation::Creations,
    disk_rooms::Room,
    event_hub::{Detail, EventHub, EventKind, NewEvent},
    fetching::Fetching,
    handle::{NodeFacts, SessionHandle, SetPolicy},
    housekeeping::Chores,
    inbox::{INBOX_LEN, Inbox, Input},
    job_watch::JobWatches,
    magnets::{self, AddMagnet},
    meters::Meters,
    opening::{self, Folders},
    policy::{self, Policies},
    run::{ReplyTo, Rooms, Shell, Waiting},
    shutdown::ShutdownReport,
};
use crate::{
    announce::{AnnounceError, Announcer, AnnouncerConfig},
    clock::Clock,
    discovery::{Discovery, DiscoveryConfig, Heard},
    disk::{FileSystem, RealFileSystem, Store, StoreError},
    net::{Net, NetConfig, NetLimits, Rates},
    policy_host::{PolicyHost, Tell},
    webseed::{Guard, WebSeedConfig, WebSeeds},
};

/// The most threads that verify and write pieces, and the most that check them: one a core, at
/// least two; beyond, the disk is the bound.
const PIECE_THREADS_MAX: usize = 16;
/// Threads that read metainfo, open, merge and remove.
const FILE_THREADS: usize = 2;
/// Local announces that wait for the loop; more are dropped.
const HEARD_MAX: usize = 64;
/// The folder of the chunk memories below the downloads folder.
const CHUNKS_DIR: &str = ".shoal";

/// What a session is started with.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Limits and tunables.
    pub config: Config,
    /// The state directory.
    pub state_dir: PathBuf,
    /// Where merged files go; made where it is missing. Absolute.
    pub downloads: PathBuf,
    /// The folder of the chunk memories; `<downloads>/.shoal` where absent. Absolute.
    pub chunks: Option<PathBuf>,
    /// Where to listen for peers; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What all peer connections together may send and receive.
    pub rates: Rates,
    /// Which web seeds may be asked.
    pub web_seed_guard: Guard,
    /// The address given to trackers; none: the tracker takes the one it sees.
    pub advertise: Option<IpAddr>,
    /// Our operator's labels.
    pub labels: Labels,
    /// The node's clock.
    pub clock: Clock,
}

/// Why a session did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory refuses: another node has it, or it cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder cannot be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address for peers cannot be listened on.
    #[error("cannot {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system gives no means to announce.
    #[error(transparent)]
    Announcer(#[from] AnnounceError),
    /// The system gives no means to ask web seeds.
    #[error("no HTTP client: {0}")]
    WebSeeds(String),
    /// The system gives no threads.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
}

/// A session that runs.
#[derive(Debug)]
pub struct Running {
    /// The door to it.
    pub handle: SessionHandle,
    /// Its loop. Ends after [`SessionHandle::shutdown`].
    pub task: JoinHandle<ShutdownReport>,
}

/// Starts a session on the tokio runtime this is called in: the data runtime, never the one that
/// serves gRPC. When it returns every kept torrent is there.
///
/// # Errors
/// [`StartError`]; nothing runs then.
pub async fn start(options: SessionOptions) -> Result<Running, StartError> {
    start_with(options, Arc::new(RealFileSystem), PolicyHost::new).await
}

/// Starts a session whose policies live in a host made so, and whose torrents' files are seen through
/// this file system.
///
/// # Errors
/// As [`start`].
pub(super) async fn start_with(
    options: SessionOptions,
    files: Arc<dyn FileSystem>,
    host: impl FnOnce(Clock, Tell) -> PolicyHost,
) -> Result<Running, StartError> {
    let chunks = options.chunks.clone().unwrap_or_else(|| options.downloads.join(CHUNKS_DIR));
    let (downloads, chunks) = (Arc::from(options.downloads.as_path()), Arc::from(chunks));
    let folders = Folders { downloads, chunks, files };
    let (state_dir, made) = (options.state_dir.clone(), folders.clone());
    let opened = tokio::task::spawn_blocking(move || open(&state_dir, &made)).await;
    let opened = opened.map_err(|error| StartError::Threads(io::Error::other(error)))??;
    let (inbox, inputs) = Inbox::new();
    let (net_reports, peers) = mpsc::channel(INBOX_LEN);
    let mut shell = build(options, folders, &opened, inbox.clone(), net_reports, host)?;
    for (hash, torrent) in opened.torrents {
        match torrent {
            Ok(torrent) => shell.add(Box::new(torrent), ReplyTo::Nobody),
            Err(cause) => {
                tracing::error!(torrent = %hash, cause, "a kept torrent cannot be opened");
                shell.events.emit(NewEvent {
                    kind: EventKind::Disk,
                    what: "io_error",
                    torrent: None,
                    info_hash: Some(hash),
                    message: format!("{hash} cannot be opened: {cause}"),
                    detail: Detail::None,
                });
            }
        }
    }
    for magnet in opened.magnets {
        shell.restore_magnet(magnet);
    }
    for policy in opened.policies {
        shell.set_policy(policy, None);
    }
    let handle = SessionHandle {
        inbox,
        events: shell.events.clone(),
        jobs: shell.jobs.clone(),
        policy: shell.policies.host.clone(),
        facts: shell.facts.clone(),
        meters: shell.meters.clone(),
    };
    // Boxed: the loop's state is large, and the task keeps it where it is.
    let task = tokio::spawn(Box::pin(shell.run(inputs, peers)));
    Ok(Running { handle, task })
}

/// What the disk had to say at the start.
struct AtStart {
    store: Store,
    peer_id: PeerId,
    torrents: Vec<(shoal_core::ids::InfoHash, Result<opening::OpenedTorrent, String>)>,
    magnets: Vec<AddMagnet>,
    policies: Vec<SetPolicy>,
}

fn open(state_dir: &Path, folders: &Folders) -> Result<AtStart, StartError> {
    let store = Store::open(state_dir)?;
    for folder in [&folders.downloads, &folders.chunks] {
        let failed = |source| StartError::Folder { path: folder.to_path_buf(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut peer_id = [0; 20];
    peer_id[..8].copy_from_slice(&PeerId::PREFIX);
    peer_id[8..].copy_from_slice(&store.peer_id_seed()?);
    let torrents = opening::restore(&store, folders);
    let magnets = magnets::kept(&store);
    let policies = policy::kept(&store);
    Ok(AtStart { store, peer_id: PeerId(peer_id), torrents, magnets, policies })
}

fn build(
    options: SessionOptions,
    folders: Folders,
    opened: &AtStart,
    inbox: Inbox,
    net_reports: mpsc::Sender<crate::net::NetEvent>,
    host: impl FnOnce(Clock, Tell) -> PolicyHost,
) -> Result<Shell, StartError> {
    let SessionOptions { mut config, listen, rates, clock, .. } = options;
    let limits = NetLimits::of(&config);
    let net_config = NetConfig { listen, peer_id: opened.peer_id, limits, rates, clock };
    let failed = |source| StartError::Listen { addr: listen, source };
    let net = Net::start(net_config, net_reports.clone()).map_err(failed)?;
    let asks = web_seed_config(listen.ip(), options.web_seed_guard, &config);
    let web_seeds = WebSeeds::new(asks, net.limits(), clock, net_reports);
    let web_seeds = web_seeds.map_err(StartError::WebSeeds)?;
    let listen_addr = net.local_addr();
    let identity = Identity {
        peer_id: opened.peer_id,
        listen_port: listen_addr.port(),
        advertise: options.advertise,
        labels: Arc::new(options.labels),
    };
    let announcer = Announcer::new(AnnouncerConfig {
        local_address: Some(listen.ip()).filter(|ip| !ip.is_unspecified()),
        timeout: config.announce_timeout,
        ..AnnouncerConfig::default()
    })?;
    let discovery = config.local_discovery.then(|| discover(listen.ip(), &inbox)).flatten();
    config.local_discovery = discovery.is_some();
    let policy_inbox = inbox.clone();
    let tell = Arc::new(move |news| policy_inbox.tell(Input::Policy(news)));
    let rooms = rooms()?;
    let facts = Arc::new(NodeFacts {
        peer_id: opened.peer_id,
        listen_addr,
        local_discovery: discovery.is_some(),
        downloads_dir: folders.downloads.to_path_buf(),
        state_dir: options.state_dir,
        clock,
    });
    let budget = config.buffer_budget_bytes;
    let meters = Meters::of(&net, &rooms);
    let epoch = format!("{:016x}", fastrand::u64(..));
    Ok(Shell {
        session: Session::new(config, identity, fastrand::u64(..), clock.now()),
        clock,
        net,
        rates,
        web_seeds,
        inbox,
        store: opened.store.clone(),
        folders,
        facts,
        rooms,
        announcer,
        discovery,
        tasks: TaskTracker::new(),
        events: EventHub::new(epoch),
        jobs: JobWatches::default(),
        meters,
        torrents: std::collections::BTreeMap::new(),
        quests: std::collections::BTreeMap::new(),
        fetching: Fetching::new(budget),
        waiting: Waiting::default(),
        creations: Creations::default(),
        checks: Checks::default(),
        policies: Policies::new(host(clock, tell)),
        chores: Chores::default(),
        actions: Vec::new(),
        later: Vec::new(),
        arriving: None,
        stopping: None,
    })
}

/// The disk threads.
fn rooms() -> Result<Rooms, StartError> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Ok(Rooms {
        // One more, so that a received piece does not wait for a check.
        pieces: room("pieces", cores.clamp(2, PIECE_THREADS_MAX) + 1)?,
        files: room("files", FILE_THREADS)?,
        store: room("store", 1)?,
    })
}

fn web_seed_config(from: IpAddr, guard: Guard, config: &Config) -> WebSeedConfig {
    let (local_address, vouch_every) = (Some(from), config.snub_after / 4);
    WebSeedConfig { local_address, guard, vouch_every, ..WebSeedConfig::default() }
}

/// Begins local discovery. Where that fails the node does without.
fn discover(listen: IpAddr, inbox: &Inbox) -> Option<Discovery> {
    let (heard, mut hears) = mpsc::channel(HEARD_MAX);
    let config = DiscoveryConfig { listen, ..DiscoveryConfig::default() };
    let discovery = match Discovery::start(&config, &heard) {
        Ok(discovery) => discovery,
        Err(error) => {
            tracing::warn!("no local discovery: cannot {error}");
            return None;
        }
    };
    let inbox = inbox.clone();
    // Ends with the room, which is the loop's.
    tokio::spawn(async move {
        while let Some(Heard { addr, info_hashes }) = hears.recv().await {
            let event = Event::HeardLocally { addr, info_hashes };
            if inbox.send(Input::Core(event)).await.is_err() {
                return;
            }
        }
    });
    Some(discovery)
}

fn room(name: &str, threads: usize) -> Result<Room, StartError> {
    Room::new(name, threads).map_err(StartError::Threads)
}
