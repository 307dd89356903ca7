//! `shoald dev`: a tracker, a seeder and leechers in one process, on loopback. Whole nodes, driven
//! as any caller would drive them; every copy is compared with its source.
//!
//! - `sample`: data to share, and whether two trees are the same
//! - `progress`: bars on a terminal
//! - `report`: the summary
//!
//! Never here: a way into a node that others have not got.

mod progress;
mod report;
mod sample;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use shoal_core::{
    metainfo::{Metainfo, MetainfoError, create::Pad},
    session::{
        command::{Command, CommandError, Done},
        view::{JobDone, JobView, TorrentState},
    },
};
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{NodeConfig, PeerConfig, TrackerConfig},
    exit::Exit,
    node::{Node, StartError},
    session::{
        SessionHandle,
        handle::{AddError, AddSource, AddTorrent, CreateError, CreateTorrent, Gone},
    },
};
use progress::Bars;
use report::{Leecher, Summary};

/// What `shoald dev` is told.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// File or folder to share; none = sample data.
    pub path: Option<PathBuf>,
    /// Leechers, at least 1.
    pub leechers: usize,
    /// Name or file of their policy.
    pub policy: String,
    /// Folder for the nodes, kept; none = a temporary one.
    pub dir: Option<PathBuf>,
    /// End once every copy is verified.
    pub exit: bool,
    /// Bytes of sample data.
    pub size: u64,
    /// Which log lines go to stderr.
    pub log: String,
}

/// Any port of loopback.
const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// How often a job is looked at that says nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The pause between two looks at a seeder that checks its data.
const CHECK_PAUSE: Duration = Duration::from_millis(20);

/// Why it failed.
#[derive(Debug, thiserror::Error)]
enum DevError {
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: io::Error },
    #[error("{} is not empty; name a new folder", .0.display())]
    NotEmpty(PathBuf),
    #[error("{node}: {cause}")]
    Start { node: String, cause: Box<StartError> },
    #[error("making the torrent: {0}")]
    Create(#[from] CreateError),
    #[error("the torrent that was made: {0}")]
    Metainfo(#[from] MetainfoError),
    #[error("{node}: {cause}")]
    Add { node: String, cause: AddError },
    #[error("{node}: {cause}")]
    Command { node: String, cause: CommandError },
    #[error("{node}: {}: {cause}", path.display())]
    Copy { node: String, path: PathBuf, cause: String },
    #[error("{0}")]
    Gone(#[from] Gone),
    #[error("a task was lost: {0}")]
    Lost(#[from] tokio::task::JoinError),
    #[error("interrupted")]
    Interrupted,
}

impl DevError {
    fn exit(&self) -> Exit {
        match self {
            Self::File { cause, .. } if cause.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::Start { cause, .. } => cause.exit(),
            Self::NotEmpty(_) | Self::Add { .. } | Self::Command { .. } => Exit::Precondition,
            Self::File { .. }
            | Self::Create(_)
            | Self::Metainfo(_)
            | Self::Copy { .. }
            | Self::Gone(_)
            | Self::Lost(_) => Exit::Internal,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

/// The nodes, by name: the tracker, the seeder, the leechers.
#[derive(Default)]
struct Fleet(Vec<(String, Node)>);

/// Runs it to its end, or until `stop`; says on stdout how it went, and on stderr what failed.
pub async fn run(options: DevOptions, stop: CancellationToken) -> Exit {
    let mut fleet = Fleet::default();
    let folder = match folder(options.dir.as_deref()) {
        Ok(folder) => folder,
        Err(error) => return failed(&error),
    };
    let result = tokio::select! {
        biased;
        () = stop.cancelled() => Err(DevError::Interrupted),
        result = share(&options, folder.path(), &mut fleet) => result,
    };
    let exit = match result {
        Ok(summary) => {
            say(&summary.to_string());
            if !options.exit {
                say(&endpoints(&fleet));
                fleet.stay_up(&stop).await;
            }
            Exit::Ok
        }
        Err(error) => failed(&error),
    };
    fleet.shutdown().await;
    exit
}

/// A folder for the nodes.
enum Folder {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(path) => path,
        }
    }
}

fn folder(dir: Option<&Path>) -> Result<Folder, DevError> {
    let Some(dir) = dir else {
        let made = tempfile::Builder::new().prefix("shoal-dev-").tempdir();
        let failed = |cause| DevError::File { path: std::env::temp_dir(), cause };
        return made.map(Folder::Temporary).map_err(failed);
    };
    let failed = |cause| DevError::File { path: dir.to_owned(), cause };
    fs::create_dir_all(dir).map_err(failed)?;
    if fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(DevError::NotEmpty(dir.to_owned()));
    }
    std::path::absolute(dir).map(Folder::Kept).map_err(failed)
}

async fn share(options: &DevOptions, dir: &Path, fleet: &mut Fleet) -> Result<Summary, DevError> {
    let source = source(options, dir).await?;
    let announce_url = fleet.start(dir, options).await?;
    let seeder = fleet.session("seeder")?;
    let (bytes, metainfo) = make_torrent(&seeder, &source, announce_url).await?;
    announce(&seeder).await?;

    let bars = Bars::new(options.leechers, metainfo.layout().content_len());
    let began = Instant::now();
    let mut running = JoinSet::new();
    for index in 0..options.leechers {
        let name = leecher_name(index);
        let (session, bar) = (fleet.session(&name)?, bars.bar(index));
        let (bytes, source) = (bytes.clone(), source.clone());
        let metainfo = metainfo.clone();
        running.spawn(async move {
            let ended = download(&session, &name, bytes, &bar).await?;
            let took = began.elapsed();
            bar.comparing();
            let target = session.facts().downloads_dir.join(&metainfo.name);
            let compared =
                tokio::task::spawn_blocking(move || sample::compare(&metainfo, &source, &target));
            compared.await?.map_err(|(path, cause)| DevError::Copy {
                node: name.clone(),
                path,
                cause,
            })?;
            bar.done();
            let policy = session.policy_status(crate::policy_host::Scope::Node);
            Ok::<_, DevError>((index, Leecher { name, done: ended, took, policy }))
        });
    }
    let mut leechers = Vec::new();
    while let Some(ended) = running.join_next().await {
        leechers.push(ended??);
    }
    bars.clear();
    leechers.sort_by_key(|(index, _)| *index);
    Ok(Summary {
        content_len: metainfo.layout().content_len(),
        chunks: metainfo.piece_count(),
        took: leechers.iter().map(|(_, leecher)| leecher.took).max().unwrap_or_default(),
        servers: fleet.servers(),
        leechers: leechers.into_iter().map(|(_, leecher)| leecher).collect(),
    })
}

async fn source(options: &DevOptions, dir: &Path) -> Result<PathBuf, DevError> {
    match &options.path {
        Some(path) => {
            fs::canonicalize(path).map_err(|cause| DevError::File { path: path.clone(), cause })
        }
        None => {
            let (path, size) = (dir.join("sample.bin"), options.size);
            let write = move || {
                sample::write(&path, size)
                    .map(|()| path.clone())
                    .map_err(|cause| DevError::File { path: path.clone(), cause })
            };
            tokio::task::spawn_blocking(write).await?
        }
    }
}

async fn make_torrent(
    seeder: &SessionHandle,
    source: &Path,
    announce_url: String,
) -> Result<(Vec<u8>, Arc<Metainfo>), DevError> {
    let create = CreateTorrent {
        path: source.to_owned(),
        name: None,
        piece_len: None,
        pad: Pad::Auto,
        private: false,
        trackers: vec![vec![announce_url]],
        web_seeds: Vec::new(),
        comment: None,
        seed: true,
    };
    let creation = seeder.create_torrent(create).await?;
    let created = creation.result.await.unwrap_or(Err(CreateError::Gone(Gone)))?;
    let metainfo = Metainfo::parse(&created.metainfo)?;
    Ok((created.metainfo, Arc::new(metainfo)))
}

/// Lets the seeder check what it seeds, then tell the tracker.
async fn announce(seeder: &SessionHandle) -> Result<(), DevError> {
    let command = |cause| DevError::Command { node: "seeder".to_owned(), cause };
    let torrent = loop {
        let views = seeder.query(|session| session.torrents()).await?;
        let view = views.into_iter().next().ok_or_else(|| command(CommandError::UnknownTorrent))?;
        if view.state != TorrentState::Checking {
            break view.id;
        }
        sleep(CHECK_PAUSE).await;
    };
    seeder.command(Command::ConnectTracker(torrent)).await.map(drop).map_err(command)
}

/// Adds the torrent to a leecher and follows its auto_download.
async fn download(
    session: &SessionHandle,
    name: &str,
    metainfo: Vec<u8>,
    bar: &progress::Bar,
) -> Result<JobDone, DevError> {
    let failed = |cause| DevError::Command { node: name.to_owned(), cause };
    let added = session.add_torrent(AddTorrent { metainfo, source: AddSource::Download }).await;
    let added = added.map_err(|cause| DevError::Add { node: name.to_owned(), cause })?;
    let command =
        Command::AutoDownload { torrent: added.id, available_only: false, patient: false };
    let done = session.command(command).await.map_err(failed)?;
    let Done::Job { job, .. } = done else { return Err(failed(CommandError::UnknownTorrent)) };
    let mut bell = session.job_watch(job);
    loop {
        bell.borrow_and_update();
        let view: Option<JobView> = session.query(move |session| session.job(job)).await?;
        let view = view.ok_or(CommandError::UnknownJob(job)).map_err(failed)?;
        bar.show(&view);
        match view.ended {
            Some((_, Ok(done))) => return Ok(done),
            Some((_, Err(error))) => return Err(failed(error)),
            // A job whose bell is gone is looked at again all the same.
            None => drop(timeout(LOOK_AGAIN, bell.changed()).await),
        }
    }
}

impl Fleet {
    /// Starts every node; returns the announce URL.
    async fn start(&mut self, dir: &Path, options: &DevOptions) -> Result<String, DevError> {
        let mut tracker = NodeConfig::new(dir.join("tracker"));
        tracker.tracker =
            Some(TrackerConfig { listen: LOOPBACK.into(), ..TrackerConfig::default() });
        self.add("tracker".to_owned(), tracker).await?;
        self.add("seeder".to_owned(), peer(dir, "seeder", None)).await?;
        for index in 0..options.leechers {
            let name = leecher_name(index);
            let config = peer(dir, &name, Some(options.policy.clone()));
            self.add(name, config).await?;
        }
        let url = self.0.first().and_then(|(_, tracker)| tracker.announce_url());
        Ok(url.unwrap_or_default().to_owned())
    }

    async fn add(&mut self, name: String, config: NodeConfig) -> Result<(), DevError> {
        match Box::pin(Node::start(config)).await {
            Ok(node) => self.0.push((name, node)),
            Err(cause) => return Err(DevError::Start { node: name, cause: Box::new(cause) }),
        }
        Ok(())
    }

    fn session(&self, name: &str) -> Result<SessionHandle, DevError> {
        let node = self.0.iter().find(|(known, _)| known == name);
        node.and_then(|(_, node)| node.handle()).cloned().ok_or(DevError::Gone(Gone))
    }

    /// Who may have served: the port where each listens, and its name.
    fn servers(&self) -> Vec<(u16, String)> {
        let peers =
            self.0.iter().filter_map(|(name, node)| Some((node.peer_addr()?.port(), name.clone())));
        peers.collect()
    }

    /// Waits until it is told to stop, or until a node is.
    async fn stay_up(&self, stop: &CancellationToken) {
        let mut ends = JoinSet::new();
        for (_, node) in &self.0 {
            ends.spawn(node.asked_to_end());
        }
        tokio::select! {
            () = stop.cancelled() => {}
            _ = ends.join_next() => {}
        }
    }

    /// Ends every node, the leechers first, so that nobody misses a tracker.
    async fn shutdown(self) {
        let mut peers = JoinSet::new();
        let mut tracker = None;
        for (name, node) in self.0 {
            if node.handle().is_none() {
                tracker = Some(node);
                continue;
            }
            peers.spawn(async move { (name, node.shutdown().await) });
        }
        while let Some(ended) = peers.join_next().await {
            if let Ok((name, report)) = ended {
                for line in report.unfinished {
                    tracing::warn!(name, line, "not finished");
                }
            }
        }
        if let Some(tracker) = tracker {
            tracker.shutdown().await;
        }
    }
}

fn peer(dir: &Path, name: &str, policy: Option<String>) -> NodeConfig {
    let mut config = NodeConfig::new(dir.join(name));
    let base = PeerConfig::new(&config.state_dir);
    config.peer = Some(PeerConfig { listen: LOOPBACK.into(), policy, ..base });
    config
}

fn leecher_name(index: usize) -> String {
    format!("leecher-{}", index + 1)
}

/// A line for each node that can be pasted into a shell.
fn endpoints(fleet: &Fleet) -> String {
    let line = |(name, node): &(String, Node)| {
        let endpoint = node.control().first().map_or("", String::as_str);
        let endpoint = endpoint.replacen("unix:", "unix://", 1);
        let command = if node.handle().is_some() { "see-connected" } else { "tracker swarms" };
        format!("shoalctl --endpoint {endpoint} {command}  # {name}\n")
    };
    let lines: String = fleet.0.iter().map(line).collect();
    format!("\nThe nodes stay up until Ctrl-C:\n{lines}")
}

fn failed(error: &DevError) -> Exit {
    // Nobody reads stderr: there is nowhere left to say so.
    let _ = writeln!(io::stderr(), "error: {error}");
    error.exit()
}

fn say(text: &str) {
    // A reader of stdout that went away ends nothing.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    let _ = io::stdout().lock().flush();
}
