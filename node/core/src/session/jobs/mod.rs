//! Jobs: work that outlives the command that asked for it. Here how they begin, end, and are told of,
//! and those that the shell runs (creations); what each kind does stands in [`download`], [`request`]
//! and [`verify`].

mod download;
mod request;
mod verify;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{
    Action, MergeFor, Session,
    command::CommandError,
    event::OutsideNews,
    notice::Notice,
    notify,
    timers::Timer,
    view::{JobDone, JobKind},
};
use crate::{
    ids::{ConnId, InfoHash, JobId, TorrentId},
    time::Timestamp,
};

/// Ended jobs that are remembered.
const ENDED_MAX: usize = 256;
/// Names of chunks that a message lists.
const NAMES_MAX: usize = 20;
/// How often a job's progress is news.
const NEWS_EVERY: Duration = Duration::from_millis(250);

/// One job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) kind: JobKind,
    pub(super) torrent: Option<TorrentId>,
    pub(super) info_hash: Option<InfoHash>,
    pub(super) name: String,
    pub(super) began: Timestamp,
    pub(super) ended: Option<(Timestamp, Result<JobDone, CommandError>)>,
    /// Of a job that counts by itself: bytes done and in all.
    pub(super) bytes: (u64, u64),
    /// Of a verification: pieces done, in all, and bad.
    pub(super) pieces: (u32, u32, u32),
    /// Of a download: who served how many pieces and bytes.
    pub(super) served: BTreeMap<SocketAddr, (u32, u64)>,
    pub(super) merging: bool,
    /// Other files are wanted than when its merge began.
    pub(super) reselected: bool,
    /// Bytes that were here when it began; once it has ended, those that came meanwhile.
    pub(super) moved: u64,
    available_only: bool,
    patient: bool,
    wasted_before: u64,
    request: Option<ConnId>,
    quiet_since: Timestamp,
    told_at: Timestamp,
    told: (u64, u64),
}

impl Job {
    fn new(id: JobId, kind: JobKind, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            torrent: None,
            info_hash: None,
            name: String::new(),
            began: now,
            ended: None,
            bytes: (0, 0),
            pieces: (0, 0, 0),
            served: BTreeMap::new(),
            merging: false,
            reselected: false,
            moved: 0,
            available_only: false,
            patient: true,
            wasted_before: 0,
            request: None,
            quiet_since: now,
            told_at: now,
            told: (0, 0),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether it is a `request_download` at work with this connection.
    pub(super) fn is_request_to(&self, conn: ConnId) -> bool {
        self.is_running() && self.request == Some(conn)
    }
}

impl Session {
    fn new_job(
        &mut self,
        kind: JobKind,
        torrent: Option<TorrentId>,
        out: &mut Vec<Action>,
    ) -> JobId {
        let id = JobId(self.next_id());
        let kind_downloads = kind == JobKind::AutoDownload;
        let mut job = Job::new(id, kind, self.now);
        if let Some(of) = torrent.and_then(|id| self.torrents.get(&id)) {
            job.torrent = Some(of.id);
            job.info_hash = Some(of.metainfo.info_hash);
            job.name.clone_from(&of.metainfo.name);
            job.wasted_before = of.wasted;
            if kind_downloads {
                job.moved = of.done_bytes;
            }
        }
        self.jobs.insert(id, job);
        notify(out, Notice::JobBegan(id));
        id
    }

    /// A job that the shell runs.
    pub(super) fn begin_outside_job(&mut self, name: String, out: &mut Vec<Action>) -> JobId {
        let job = self.new_job(JobKind::Create, None, out);
        if let Some(state) = self.jobs.get_mut(&job) {
            state.name = name;
        }
        job
    }

    pub(super) fn on_outside_job(&mut self, job: JobId, news: OutsideNews, out: &mut Vec<Action>) {
        match news {
            OutsideNews::Progress { done_bytes, total_bytes } => {
                if let Some(state) = self.jobs.get_mut(&job) {
                    state.bytes = (done_bytes, total_bytes);
                }
            }
            OutsideNews::Ended(Ok(())) => {
                // Progress is told now and then, not at the end.
                if let Some(state) = self.jobs.get_mut(&job) {
                    state.bytes.0 = state.bytes.1;
                }
                self.end_job(job, Ok(JobDone::default()), out);
            }
            OutsideNews::Ended(Err(cause)) => {
                self.end_job(job, Err(CommandError::Disk(cause)), out)
            }
        }
    }

    /// Ends a job.
    pub(super) fn end_job(
        &mut self,
        id: JobId,
        result: Result<JobDone, CommandError>,
        out: &mut Vec<Action>,
    ) {
        // What the view counted while it ran stands still from here.
        let Some(view) = self.job(id).filter(|job| job.ended.is_none()) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let of = job.torrent.and_then(|of| self.torrents.get(&of));
        job.moved = match (&job.kind, of) {
            // What was wanted may have changed meanwhile: all that came counts.
            (JobKind::AutoDownload, Some(of)) => of.done_bytes.saturating_sub(job.moved),
            (JobKind::AutoDownload, None)
            | (JobKind::RequestDownload(_) | JobKind::Create | JobKind::Verify, _) => {
                view.done_bytes
            }
        };
        job.bytes = (view.done_bytes, view.total_bytes);
        (job.pieces.0, job.pieces.1) = (view.done_pieces, view.total_pieces);
        job.ended = Some((self.now, result));
        let (of, request) = (job.torrent, job.request.take());
        self.timers.clear(Timer::Request(id));
        notify(out, Notice::JobEnded(id));
        if let Some(torrent) = of.and_then(|of| self.torrents.get_mut(&of)) {
            let (of, download) = (torrent.id, torrent.auto_download == Some(id));
            if download {
                torrent.auto_download = None;
                self.tell_finished(of, out);
            }
            notify(out, Notice::TorrentChanged(of));
            self.update_interests(of, out);
            self.dirty.insert(of);
        }
        if let Some(conn) = request {
            self.update_interest(conn, out);
        }
        self.forget_old_jobs();
    }

    fn forget_old_jobs(&mut self) {
        let ended = self.jobs.values().filter_map(|job| job.ended.as_ref().map(|e| (e.0, job.id)));
        let mut ended = ended.collect::<Vec<_>>();
        ended.sort_unstable();
        let surplus = ended.len().saturating_sub(ENDED_MAX);
        for (_, id) in ended.into_iter().take(surplus) {
            self.jobs.remove(&id);
        }
    }

    /// Ends every job of a torrent, and gives up what only they wanted.
    pub(super) fn fail_jobs(&mut self, id: TorrentId, error: &CommandError, out: &mut Vec<Action>) {
        let jobs = self.jobs.values().filter(|job| job.torrent == Some(id) && job.is_running());
        for job in jobs.map(|job| job.id).collect::<Vec<_>>() {
            self.cancel(job, error.clone(), out);
        }
    }

    /// Ends a job before its time.
    pub(super) fn cancel(&mut self, job: JobId, error: CommandError, out: &mut Vec<Action>) {
        let Some(state) = self.jobs.get(&job) else { return };
        let (kind, of) = (state.kind.clone(), state.torrent);
        self.merges.retain(|_, merge| *merge != MergeFor::Job(job));
        self.end_job(job, Err(error), out);
        match (kind, of) {
            (JobKind::AutoDownload, Some(of)) => self.give_up_shared(of, |_| true, out),
            (JobKind::RequestDownload(piece), Some(of)) => self.give_up_open(of, piece, out),
            // What a verification has not looked at is trusted as before.
            (JobKind::Create | JobKind::Verify, _) => out.push(Action::StopOutsideJob { job }),
            (JobKind::AutoDownload | JobKind::RequestDownload(_), None) => {}
        }
    }

    /// Tells the progress of jobs that got on.
    pub(super) fn job_news(&mut self, out: &mut Vec<Action>) {
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            let job = &self.jobs[&id];
            if !job.is_running() || self.now.since(job.told_at) < NEWS_EVERY {
                continue;
            }
            let torrent = job.torrent.and_then(|of| self.torrents.get(&of));
            let seen = match (&job.kind, torrent) {
                (JobKind::AutoDownload, Some(t)) => (t.done_bytes, t.conns.len() as u64),
                (JobKind::RequestDownload(_), Some(t)) => (t.downloaded, 0),
                (JobKind::Create, _) => job.bytes,
                (JobKind::Verify, _) => (u64::from(job.pieces.0), 0),
                (JobKind::AutoDownload | JobKind::RequestDownload(_), None) => (0, 0),
            };
            let now = self.now;
            if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.told != seen) {
                job.told = seen;
                job.told_at = now;
                notify(out, Notice::JobProgress(id));
            }
        }
    }
}
