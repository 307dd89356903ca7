//! Jobs: auto_download, request_download, verification, and creations that the shell runs.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{
    Action, MergeFor, Session,
    command::{CommandError, Done},
    event::{MergeDone, MergeFailure, OutsideNews},
    fault::CloseCause,
    notice::Notice,
    notify, reply,
    timers::Timer,
    view::{JobDone, JobKind, ServedBy},
};
use crate::{
    ids::{ConnId, InfoHash, JobId, PieceIndex, TorrentId},
    peer::Conn,
    time::Timestamp,
};

/// Ended jobs that are remembered.
const ENDED_MAX: usize = 256;
/// Names of chunks that a message lists.
const NAMES_MAX: usize = 20;
/// How long a `request_download` may take without a byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nobody may turn up before `--available-only` believes that nobody will.
const QUIET: Duration = Duration::from_secs(2);
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

    /// Begins an auto_download, or joins the one at work.
    pub(super) fn auto_download(
        &mut self,
        id: TorrentId,
        available_only: bool,
        patient: bool,
        out: &mut Vec<Action>,
    ) -> (JobId, bool) {
        if let Some(job) = self.torrents[&id].auto_download {
            if let Some(job) = self.jobs.get_mut(&job) {
                job.available_only |= available_only;
            }
            return (job, true);
        }
        let job = self.new_job(JobKind::AutoDownload, Some(id), out);
        if let Some(state) = self.jobs.get_mut(&job) {
            state.available_only = available_only;
            state.patient = patient;
        }
        let now = self.now;
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.auto_download = Some(job);
            torrent.book.retry_all();
            if torrent.announcing.has_tracker() && !torrent.is_finished() {
                torrent.announcing.want(now);
                torrent.announcing.hurry(now);
            }
        }
        notify(out, Notice::TorrentChanged(id));
        self.update_interests(id, out);
        self.dirty.insert(id);
        (job, false)
    }

    /// Begins a `request_download`.
    pub(super) fn request_download(
        &mut self,
        id: TorrentId,
        conn: ConnId,
        piece: PieceIndex,
        out: &mut Vec<Action>,
    ) -> JobId {
        let job = self.new_job(JobKind::RequestDownload(piece), Some(id), out);
        let size = self.torrents[&id].metainfo.layout().piece_size(piece);
        let had = self.torrents[&id].have().get(piece);
        if let Some(state) = self.jobs.get_mut(&job) {
            state.bytes.1 = u64::from(size);
            state.request = (!had).then_some(conn);
        }
        if had {
            let done = JobDone { bytes: u64::from(size), already: true, ..JobDone::default() };
            self.end_job(job, Ok(done), out);
            return job;
        }
        self.timers.set(Timer::Request(job), self.now + REQUEST_TIMEOUT);
        self.begin(id, piece, Some(conn), out);
        self.update_interest(conn, out);
        self.dirty.insert(id);
        job
    }

    /// Begins a verification of everything.
    pub(super) fn verify(&mut self, id: TorrentId, out: &mut Vec<Action>) -> JobId {
        let job = self.new_job(JobKind::Verify, Some(id), out);
        self.give_up_all(id, out);
        let now_had = self.torrents[&id].have().iter_ones().collect::<Vec<_>>();
        let Some(torrent) = self.torrents.get_mut(&id) else { return job };
        let count = torrent.metainfo.piece_count();
        let free =
            |piece: &PieceIndex| torrent.have().get(*piece) || torrent.pieces.is_missing(*piece);
        let pieces = (0..count).map(PieceIndex).filter(free).collect::<Vec<_>>();
        for &piece in &now_had {
            torrent.count_lost(piece);
        }
        for &piece in &pieces {
            torrent.pieces.check(piece);
            torrent.picker.remove(piece);
        }
        torrent.checking += pieces.len() as u32;
        self.count_interesting(id);
        if let Some(state) = self.jobs.get_mut(&job) {
            state.pieces.1 = pieces.len() as u32;
        }
        if !now_had.is_empty() {
            self.recant(id, out);
        }
        for piece in now_had {
            notify(out, Notice::PieceLost { torrent: id, piece });
        }
        notify(out, Notice::TorrentChanged(id));
        if pieces.is_empty() {
            self.end_job(job, Ok(JobDone::default()), out);
        } else {
            out.push(Action::CheckPieces { torrent: id, pieces });
        }
        job
    }

    /// A checked piece counts for the verifications at work.
    pub(super) fn verified_one(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        good: bool,
        out: &mut Vec<Action>,
    ) {
        let size = u64::from(self.torrents[&id].metainfo.layout().piece_size(piece));
        let checking = self.torrents[&id].checking;
        let mut done = Vec::new();
        for job in self.jobs.values_mut() {
            if job.kind == JobKind::Verify && job.torrent == Some(id) && job.is_running() {
                job.pieces.0 += 1;
                job.bytes.0 += size;
                job.pieces.2 += u32::from(!good);
                if checking == 0 || job.pieces.0 >= job.pieces.1 {
                    done.push((job.id, job.pieces.2));
                }
            }
        }
        for (job, bad_pieces) in done {
            self.end_job(job, Ok(JobDone { bad_pieces, ..JobDone::default() }), out);
        }
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
            OutsideNews::Ended(Ok(())) => self.end_job(job, Ok(JobDone::default()), out),
            OutsideNews::Ended(Err(cause)) => {
                self.end_job(job, Err(CommandError::Disk(cause)), out)
            }
        }
    }

    /// Gets the auto_download of a torrent on, or ends it.
    pub(super) fn step_jobs(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let now = self.now;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(job) = torrent.auto_download.filter(|job| !self.jobs[job].merging) else { return };
        if torrent.peer_count() == 0 && torrent.takes_part() && !torrent.is_finished() {
            torrent.announcing.seek(now);
        }
        let finished = self.torrents[&id].is_finished();
        if finished || (self.jobs[&job].available_only && self.nobody_has_the_rest(job, id)) {
            self.merge_for(job, id, out);
        }
    }

    /// Merges what is complete, at the end of a job.
    fn merge_for(&mut self, job: JobId, id: TorrentId, out: &mut Vec<Action>) {
        let files = self.torrents[&id].complete_files();
        let Some(state) = self.jobs.get_mut(&job) else { return };
        state.merging = true;
        let merge = self.next_id();
        self.merges.insert(merge, MergeFor::Job(job));
        out.push(Action::Merge { torrent: id, merge, files });
    }

    /// Whether every missing chunk is one that no connected peer has, and nobody else is expected.
    fn nobody_has_the_rest(&mut self, job: JobId, id: TorrentId) -> bool {
        let torrent = &self.torrents[&id];
        let announcing = &torrent.announcing;
        let asked = announcing.is_started()
            || announcing.last_error().is_some()
            || !announcing.has_tracker();
        let working = torrent.pieces.open().next().is_some() || torrent.checking > 0;
        let expected = !asked
            || announcing.in_flight()
            || torrent.book.has_untried()
            || self.awaits_local(id, job)
            || working
            || self.hopes_for_web_seeds(torrent);
        let conns = &self.conns;
        let silent =
            |conn: &ConnId| !conns[conn].told_pieces && self.now.since(conns[conn].since) < QUIET;
        let more = expected
            || torrent.conns.iter().any(silent)
            || torrent.conns.iter().any(|conn| conns[conn].interesting > 0);
        let Some(job) = self.jobs.get_mut(&job) else { return false };
        if more {
            job.quiet_since = self.now;
        }
        self.now.since(job.quiet_since) >= QUIET
    }

    pub(super) fn on_merged(
        &mut self,
        id: TorrentId,
        merge: u64,
        result: Result<MergeDone, MergeFailure>,
        out: &mut Vec<Action>,
    ) {
        if let Ok(done) = &result {
            let paths = done.paths.clone();
            if !done.already {
                notify(out, Notice::Merged { torrent: id, paths });
            }
        }
        let result = result.map_err(|failure| match failure {
            MergeFailure::Exists { path } => CommandError::MergeExists { path },
            MergeFailure::DiskFull { cause } => CommandError::DiskFull(cause),
            MergeFailure::Io { cause } => CommandError::Disk(cause),
        });
        match self.merges.remove(&merge) {
            Some(MergeFor::Command(command, _)) => reply(out, command, result.map(Done::Merged)),
            Some(MergeFor::Job(job)) if result.is_ok() && self.goes_on(job) => {
                self.dirty.insert(id);
            }
            Some(MergeFor::Job(job)) => {
                let ended = result.and_then(|done| self.download_done(job, id, done));
                self.end_job(job, ended, out);
            }
            None => {}
        }
    }

    /// Whether a download whose files were merged has more to do: others were selected meanwhile.
    fn goes_on(&mut self, job: JobId) -> bool {
        let Some(state) = self.jobs.get_mut(&job).filter(|job| job.reselected) else {
            return false;
        };
        (state.merging, state.reselected) = (false, false);
        true
    }

    /// The end of a download whose complete files are merged.
    fn download_done(
        &self,
        job: JobId,
        id: TorrentId,
        merged: MergeDone,
    ) -> Result<JobDone, CommandError> {
        let (Some(job), Some(torrent)) = (self.jobs.get(&job), self.torrents.get(&id)) else {
            return Err(CommandError::UnknownTorrent);
        };
        if !torrent.is_finished() {
            let lacking = torrent.pieces.lacking();
            let named = lacking.iter_ones().take(NAMES_MAX);
            let names = named.map(|piece| torrent.metainfo.chunk_name(piece)).collect();
            return Err(CommandError::Unavailable { missing: lacking.count_ones(), names });
        }
        let served = job.served.iter();
        let served_by =
            served.map(|(&addr, &(pieces, bytes))| ServedBy { addr, pieces, bytes }).collect();
        let wasted = torrent.wasted.saturating_sub(job.wasted_before);
        Ok(JobDone { paths: merged.paths, served_by, wasted, ..JobDone::default() })
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

    /// Ends every `request_download` of a torrent: what it wanted is not fetched again.
    pub(super) fn fail_requests(
        &mut self,
        id: TorrentId,
        error: &CommandError,
        out: &mut Vec<Action>,
    ) {
        let requests = self.jobs.values().filter(|job| {
            job.is_running()
                && job.torrent == Some(id)
                && matches!(job.kind, JobKind::RequestDownload(_))
        });
        for job in requests.map(|job| job.id).collect::<Vec<_>>() {
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
            (JobKind::Create, _) => out.push(Action::StopOutsideJob { job }),
            // What is being checked is checked to the end: a half trusted torrent helps nobody.
            (JobKind::Verify, _) | (JobKind::AutoDownload | JobKind::RequestDownload(_), None) => {}
        }
    }

    fn give_up_open(&mut self, id: TorrentId, piece: PieceIndex, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        if torrent.pieces.opened(piece).is_some() && !torrent.pieces.is_verifying(piece) {
            self.give_up(id, piece, out);
        }
    }

    /// Gives up pieces being fetched, apart from those that a `request_download` wants and those
    /// being verified.
    pub(super) fn give_up_shared(
        &mut self,
        id: TorrentId,
        which: impl Fn(PieceIndex) -> bool,
        out: &mut Vec<Action>,
    ) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        let requested = |piece: PieceIndex| {
            self.jobs.values().any(|j| {
                j.is_running() && j.torrent == Some(id) && j.kind == JobKind::RequestDownload(piece)
            })
        };
        let open = torrent.pieces.open().map(|(piece, _)| piece);
        let open = open.filter(|&piece| which(piece) && !requested(piece));
        for piece in open.collect::<Vec<_>>() {
            self.give_up_open(id, piece, out);
        }
    }

    /// A piece that a `request_download` wants ended.
    pub(super) fn request_done(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        result: &Result<(), CommandError>,
        out: &mut Vec<Action>,
    ) {
        let wants = |job: &&Job| {
            job.is_running()
                && job.torrent == Some(id)
                && job.kind == JobKind::RequestDownload(piece)
        };
        for job in self.jobs.values().filter(wants).map(|job| job.id).collect::<Vec<_>>() {
            let bytes = self.jobs[&job].bytes.1;
            let done = result.clone().map(|()| JobDone { bytes, ..JobDone::default() });
            self.end_job(job, done, out);
        }
    }

    /// A connection that `request_download` jobs relied on is gone. A chunk that came whole before
    /// that is verified all the same, and ends its job.
    pub(super) fn requests_lost(&mut self, conn: &Conn, cause: &CloseCause, out: &mut Vec<Action>) {
        let torrent = self.torrents.get(&conn.torrent);
        let came = |job: &&Job| match (&job.kind, torrent) {
            (JobKind::RequestDownload(piece), Some(torrent)) => torrent.pieces.is_verifying(*piece),
            (JobKind::RequestDownload(_), None)
            | (JobKind::AutoDownload | JobKind::Create | JobKind::Verify, _) => false,
        };
        let lost = self.jobs.values().filter(|job| job.is_request_to(conn.id) && !came(job));
        for job in lost.map(|job| job.id).collect::<Vec<_>>() {
            self.cancel(job, self.lost(conn, cause), out);
        }
    }

    pub(super) fn on_request_overdue(&mut self, id: JobId, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.is_running()) else { return };
        let Some(conn) = job.request.and_then(|conn| self.conns.get(&conn)) else { return };
        let silent = self.now.since(conn.last_payload.max(job.began));
        if silent < REQUEST_TIMEOUT && !conn.leases.is_empty() {
            return self.timers.set(Timer::Request(id), self.now + (REQUEST_TIMEOUT - silent));
        }
        let choked = if conn.peer_choking { "it chokes us" } else { "no data" };
        let cause = format!("{choked} for {} s", REQUEST_TIMEOUT.as_secs());
        self.cancel(id, CommandError::PeerLost { addr: conn.address(), cause }, out);
    }

    /// No tracker answered: a download that cannot begin for want of peers ends, unless it is a
    /// patient one.
    pub(super) fn tracker_failed_jobs(
        &mut self,
        id: TorrentId,
        error: &CommandError,
        out: &mut Vec<Action>,
    ) {
        let torrent = &self.torrents[&id];
        let Some(job) = torrent.auto_download else { return };
        let hopeless = torrent.conns.is_empty()
            && !torrent.book.has_untried()
            && !torrent.announcing.is_started()
            && !self.awaits_local(id, job)
            && !self.jobs[&job].patient
            && !self.hopes_for_web_seeds(torrent);
        if hopeless {
            if let Some(torrent) = self.torrents.get_mut(&id) {
                torrent.announcing.unwant();
            }
            self.cancel(job, error.clone(), out);
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
