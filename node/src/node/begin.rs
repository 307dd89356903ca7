//! What the configuration wants done once everything runs: torrents added, seeds announced,
//! downloads begun and watched to their end; and the tracker's news told in the event stream.

use std::{path::PathBuf, time::Duration};

use shoal_core::{
    ids::{InfoHash, JobId, TorrentId},
    magnet::Magnet,
    session::command::{Command, CommandError, Done},
    tracker::registry::{SwarmEvent, SwarmEventKind},
};
use tokio::{
    runtime::Handle,
    sync::{broadcast::error::RecvError, watch},
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{Completed, StartError, prepare::TorrentFile};
use crate::{
    config::NodeConfig,
    rpc::context::Context,
    session::{
        NewEvent, SessionHandle,
        event_hub::{Detail, EventKind},
        handle::{AddSource, AddTorrent},
        magnets::AddMagnet,
    },
    tracker::News,
};

/// The pause after the first failed announce of a seed; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How often a job is looked at whose bell is silent.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What is to be begun.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    announce: Vec<TorrentId>,
    download: Vec<(Source, String)>,
}

/// What is to be downloaded.
#[derive(Clone, Copy, Debug)]
enum Source {
    Torrent(TorrentId),
    /// A magnet link, once its metadata is here.
    Magnet(InfoHash),
}

/// The downloads of the command line.
#[derive(Clone, Debug, Default)]
pub(super) struct Downloads(Option<watch::Receiver<Option<Completed>>>);

impl Wanted {
    /// Adds the torrents.
    pub(super) async fn add(
        session: &SessionHandle,
        torrents: Vec<TorrentFile>,
        seeds: Vec<(TorrentFile, PathBuf)>,
        config: &NodeConfig,
    ) -> Result<Self, StartError> {
        let mut wanted = Self::default();
        let auto_download = config.peer.as_ref().is_some_and(|peer| peer.auto_download);
        for (TorrentFile { path, bytes, .. }, data) in seeds {
            let add = AddTorrent { metainfo: bytes, source: AddSource::Seed(data) };
            let added = session.add_torrent(add).await;
            let refused = |cause| StartError::Add { what: "--seed", path, cause };
            wanted.announce.push(added.map_err(refused)?.id);
        }
        for TorrentFile { path, bytes, name, info_hash } in torrents {
            let add = AddTorrent { metainfo: bytes, source: AddSource::Download };
            let added = session.add_torrent(add).await;
            let refused = |cause| StartError::Add { what: "--torrent", path, cause };
            let added = added.map_err(refused)?;
            tracing::debug!(%info_hash, already = added.already, "torrent of the command line");
            if auto_download {
                wanted.download.push((Source::Torrent(added.id), name));
            }
        }
        Ok(wanted)
    }

    /// Adds the magnet links.
    pub(super) async fn add_magnets(
        &mut self,
        session: &SessionHandle,
        magnets: Vec<Magnet>,
        config: &NodeConfig,
    ) -> Result<(), StartError> {
        let auto_download = config.peer.as_ref().is_some_and(|peer| peer.auto_download);
        for magnet in magnets {
            let (name, info_hash) = (magnet.shown_name(), magnet.info_hash);
            let added = session.add_magnet(AddMagnet { magnet, files: Vec::new() }).await;
            let refused = |cause| StartError::AddMagnet { name: name.clone(), cause };
            let added = added.map_err(refused)?;
            tracing::debug!(%info_hash, already = added.already, "link of the command line");
            if auto_download {
                self.download.push((Source::Magnet(info_hash), name));
            }
        }
        Ok(())
    }

    /// Begins in the background. Nothing of it can keep the node from running.
    pub(super) fn begin(
        self,
        session: &SessionHandle,
        runtime: &Handle,
        stop: &CancellationToken,
    ) -> (Downloads, Vec<JoinHandle<()>>) {
        let mut tasks = Vec::new();
        for torrent in self.announce {
            let (session, stop) = (session.clone(), stop.clone());
            tasks.push(runtime.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = announce(&session, torrent) => {}
                }
            }));
        }
        if self.download.is_empty() {
            return (Downloads::default(), tasks);
        }
        let (told, completed) = watch::channel(None);
        let session = session.clone();
        tasks.push(runtime.spawn(async move {
            let mut ends = Completed::default();
            // All at once: a magnet link may wait for its metadata for ever.
            let mut downloads = JoinSet::new();
            for (source, name) in self.download {
                let session = session.clone();
                downloads.spawn(async move { (name, download(&session, source).await) });
            }
            while let Some(ended) = downloads.join_next().await {
                if let Ok((name, Err(cause))) = ended {
                    ends.failed.push((name, cause));
                }
            }
            ends.failed.sort_unstable();
            told.send_replace(Some(ends));
        }));
        (Downloads(Some(completed)), tasks)
    }
}

impl Downloads {
    pub(super) async fn completed(&self) -> Completed {
        if let Some(mut completed) = self.0.clone()
            && let Ok(ends) = completed.wait_for(Option::is_some).await
        {
            return ends.clone().unwrap_or_default();
        }
        // Nothing was wanted, or the node ends before it is known.
        std::future::pending().await
    }
}

/// Connects to the tracker, again and again until it answers or there is none.
async fn announce(session: &SessionHandle, torrent: TorrentId) {
    let mut pause = RETRY_MIN;
    loop {
        match session.command(Command::ConnectTracker(torrent)).await {
            Ok(_) => return,
            Err(
                error @ (CommandError::TrackerUnreachable { .. }
                | CommandError::TrackerRefused { .. }),
            ) => {
                tracing::warn!(%error, retry_s = pause.as_secs(), "a seed is not announced");
            }
            Err(CommandError::NoTracker | CommandError::ShuttingDown) => return,
            Err(error) => {
                tracing::warn!(%error, "a seed is not announced");
                return;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Downloads a torrent to its end.
async fn download(session: &SessionHandle, source: Source) -> Result<(), String> {
    let torrent = match source {
        Source::Torrent(torrent) => torrent,
        Source::Magnet(info_hash) => {
            session.torrent_of(info_hash).await.map_err(|error| error.to_string())?
        }
    };
    let ended = match begin_download(session, torrent).await {
        Ok(job) => end_of(session, job).await,
        Err(error) => Err(error),
    };
    ended.map_err(|error| error.to_string())
}

async fn begin_download(
    session: &SessionHandle,
    torrent: TorrentId,
) -> Result<JobId, CommandError> {
    let command = Command::AutoDownload { torrent, available_only: false, patient: true };
    let done = session.command(command).await?;
    if let Done::Job { job, .. } = done {
        return Ok(job);
    }
    tracing::error!(?done, "auto_download was answered so");
    Err(CommandError::UnknownTorrent)
}

/// Waits for the end of a job.
async fn end_of(session: &SessionHandle, job: JobId) -> Result<(), CommandError> {
    let mut bell = session.job_watch(job);
    loop {
        let view = session.query(move |session| session.job(job)).await;
        let view = view.map_err(|_| CommandError::ShuttingDown)?;
        match view.ok_or(CommandError::UnknownJob(job))?.ended {
            Some((_, Ok(_))) => return Ok(()),
            Some((_, Err(error))) => return Err(error),
            None => {}
        }
        let ended = tokio::time::timeout(LOOK_AGAIN, bell.wait_for(|beat| beat.ended)).await;
        if ended.is_ok_and(|end| end.is_err()) {
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Tells in the event stream who joins and leaves our tracker.
pub(super) async fn tell_tracker(context: Context) {
    let Some(tracker) = &context.tracker else { return };
    let (mut news, events) = (tracker.subscribe(), context.events.clone());
    // The tracker is to be let go at the end.
    drop(context);
    loop {
        match news.recv().await {
            Ok(news) => {
                if let Some(event) = told(&news) {
                    events.emit(event);
                }
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "news of the tracker were not told in the event stream");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn told(news: &News) -> Option<NewEvent> {
    let event = match news {
        News::Event(event) => event,
        News::More(count) => {
            let message = format!("{count} more announced, joined or left within a second");
            return Some(tracker_event("more", None, message));
        }
    };
    let SwarmEvent { info_hash, peer_id, addr, kind } = event;
    let (what, message) = match kind {
        SwarmEventKind::Joined { left } => ("joined", format!("{addr} joined, {left} bytes left")),
        SwarmEventKind::Updated { completed: true, .. } => {
            ("announced", format!("{addr} is complete"))
        }
        SwarmEventKind::Updated { .. } => return None,
        SwarmEventKind::Left(reason) => ("left", format!("{addr} left: {reason:?}")),
    };
    tracing::trace!(%peer_id, what, "told");
    Some(tracker_event(what, Some(*info_hash), message))
}

fn tracker_event(what: &'static str, info_hash: Option<InfoHash>, message: String) -> NewEvent {
    let (kind, detail) = (EventKind::Tracker, Detail::None);
    NewEvent { kind, what, torrent: None, info_hash, message, detail }
}
