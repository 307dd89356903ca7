//! The other ends of the control surface, each a process of its own so that its time is not the
//! node's: readers of events, a caller of everything, and a storm of changes. Each ends when it is
//! asked to and says as one JSON document what it saw. Never here: a node.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Args;
use serde::{Deserialize, Serialize};
use shoal::{
    client,
    v1::{
        self, node_service_client::NodeServiceClient, peer_service_client::PeerServiceClient,
        torrent_service_client::TorrentServiceClient, watch_events_response::Item,
    },
};
use tokio::task::JoinSet;
use tonic::{Code, Streaming, transport::Channel};

use super::report::{Latency, percentiles};
use crate::interrupt;

/// Readers of events.
#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// The node.
    endpoint: String,
    /// How many, each on a connection of its own.
    count: usize,
    /// Written once all of them have their snapshot.
    ready_file: PathBuf,
    /// Read nothing more from then on; once asked to end, read on to see how the stream ended.
    #[arg(long)]
    stall: bool,
}

/// A caller of everything, one call after the other on one connection.
#[derive(Args, Debug)]
pub(crate) struct CallArgs {
    /// The node.
    endpoint: String,
    /// The most seconds.
    seconds: u64,
    /// Milliseconds between two calls.
    pause_ms: u64,
}

/// Changes of settings, each an event.
#[derive(Args, Debug)]
pub(crate) struct StormArgs {
    /// The node.
    endpoint: String,
    /// How many.
    count: usize,
}

/// What readers saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Watched {
    /// Messages, of all of them.
    pub(super) messages: u64,
    /// Readers that were told to be too slow.
    pub(super) cut_off: usize,
    /// Readers that lost their stream otherwise.
    pub(super) lost: usize,
}

/// What a caller saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Called {
    /// Of all calls.
    pub(super) all: Latency,
    /// Of each method.
    pub(super) methods: BTreeMap<String, Latency>,
    /// Calls that failed.
    pub(super) failed: usize,
}

/// Changes under way at once.
const AT_ONCE: usize = 8;
/// How often it is looked whether the end was asked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a stream that stalled may take to tell its end.
const READ_WITHIN: Duration = Duration::from_secs(5);

impl WatchArgs {
    /// Reads until it is asked to end.
    ///
    /// # Errors
    /// The node cannot be reached.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        interrupt::install()?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build()?;
        show(&runtime.block_on(self.watch())?)
    }

    async fn watch(self) -> anyhow::Result<Watched> {
        let (messages, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut readers = JoinSet::new();
        for _ in 0..self.count {
            let mut stream = begin(&self.endpoint).await?;
            stream.message().await?;
            let (messages, ends, stall) = (messages.clone(), ends.clone(), self.stall);
            readers.spawn(async move {
                while stall && !ends.load(Ordering::Relaxed) {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                loop {
                    match stream.message().await {
                        Ok(Some(_)) => messages.fetch_add(1, Ordering::Relaxed),
                        Ok(None) => return Code::Ok,
                        Err(status) => return status.code(),
                    };
                }
            });
        }
        fs::write(&self.ready_file, "ready")?;
        let mut watched = Watched::default();
        while !interrupt::happened() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        ends.store(true, Ordering::Relaxed);
        // Who reads has not ended; who stalled reads what is left, and then its end.
        let patience = if self.stall { READ_WITHIN } else { Duration::ZERO };
        let until = tokio::time::Instant::now() + patience;
        while let Ok(Some(end)) = tokio::time::timeout_at(until, readers.join_next()).await {
            if end? == Code::ResourceExhausted {
                watched.cut_off += 1;
            } else {
                watched.lost += 1;
            }
        }
        watched.messages = messages.load(Ordering::Relaxed);
        Ok(watched)
    }
}

async fn begin(endpoint: &str) -> anyhow::Result<Streaming<v1::WatchEventsResponse>> {
    let channel = client::connect(endpoint).await?;
    let request = v1::WatchEventsRequest::default();
    Ok(NodeServiceClient::new(channel).watch_events(request).await?.into_inner())
}

/// What is called, in turn.
const CALLS: [&str; 7] = [
    "GetInfo",
    "ListTorrents",
    "GetTorrent",
    "SeeConnected",
    "SeeChunkStatus",
    "ListJobs",
    "WatchEvents, to its snapshot",
];

impl CallArgs {
    /// Calls until it is asked to end, or its time is up.
    ///
    /// # Errors
    /// The node cannot be reached, or nothing was answered.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        interrupt::install()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        show(&runtime.block_on(self.call())?)
    }

    async fn call(self) -> anyhow::Result<Called> {
        let channel = client::connect(&self.endpoint).await?;
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut failed = 0;
        for name in CALLS.into_iter().cycle() {
            if interrupt::happened() || Instant::now() >= end {
                break;
            }
            let start = Instant::now();
            match ask(&channel, name).await {
                Ok(()) => {
                    let ms = start.elapsed().as_secs_f64() * 1e3;
                    times.entry(name.to_owned()).or_default().push(ms);
                }
                Err(_) => failed += 1,
            }
            tokio::time::sleep(Duration::from_millis(self.pause_ms)).await;
        }
        let all = percentiles(times.values().flatten().copied().collect());
        ensure!(all.calls > 0, "no call was answered, {failed} failed");
        let methods = times.into_iter().map(|(name, times)| (name, percentiles(times))).collect();
        Ok(Called { all, methods, failed })
    }
}

async fn ask(channel: &Channel, name: &str) -> Result<(), tonic::Status> {
    let mut node = NodeServiceClient::new(channel.clone());
    let mut torrents = TorrentServiceClient::new(channel.clone());
    let mut peer = PeerServiceClient::new(channel.clone());
    match name {
        "GetInfo" => drop(node.get_info(v1::GetInfoRequest {}).await?),
        "ListTorrents" => drop(torrents.list_torrents(v1::ListTorrentsRequest::default()).await?),
        "GetTorrent" => drop(torrents.get_torrent(v1::GetTorrentRequest::default()).await?),
        "SeeConnected" => drop(peer.see_connected(v1::SeeConnectedRequest::default()).await?),
        "SeeChunkStatus" => {
            drop(peer.see_chunk_status(v1::SeeChunkStatusRequest::default()).await?);
        }
        "ListJobs" => {
            let mut jobs = v1::job_service_client::JobServiceClient::new(channel.clone());
            drop(jobs.list_jobs(v1::ListJobsRequest::default()).await?);
        }
        _ => {
            let stream = node.watch_events(v1::WatchEventsRequest::default()).await?;
            let first = stream.into_inner().message().await?.and_then(|message| message.item);
            if !matches!(first, Some(Item::Snapshot(_))) {
                return Err(tonic::Status::internal("no snapshot"));
            }
        }
    }
    Ok(())
}

impl StormArgs {
    /// Changes a setting again and again.
    ///
    /// # Errors
    /// A call fails.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        interrupt::install()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        show(&runtime.block_on(async {
            let channel = client::connect(&self.endpoint).await?;
            let mut all = JoinSet::new();
            for _ in 0..AT_ONCE {
                all.spawn(change(channel.clone(), self.count / AT_ONCE));
            }
            while let Some(ended) = all.join_next().await {
                ended??;
            }
            anyhow::Ok(Called::default())
        })?)
    }
}

async fn change(channel: Channel, count: usize) -> anyhow::Result<()> {
    let mut node = NodeServiceClient::new(channel);
    for n in 0..count {
        interrupt::check()?;
        let connections = 1024 + u32::from(n.is_multiple_of(2));
        let paths = vec!["connections".to_owned()];
        let request = v1::UpdateSettingsRequest {
            torrent: None,
            settings: Some(v1::Settings { connections, ..v1::Settings::default() }),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        node.update_settings(request).await?;
    }
    Ok(())
}

fn show<R: Serialize>(result: &R) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(result)?;
    std::io::stdout().write_all((text + "\n").as_bytes())?;
    Ok(())
}
