//! `auto_download`: begun, stepped, merged, and given up where nobody is left.

use std::time::Duration;

use super::NAMES_MAX;
use crate::{
    ids::{ConnId, JobId, TorrentId},
    session::{
        Action, MergeFor, Session,
        command::{CommandError, Done},
        event::{MergeDone, MergeFailure},
        notice::Notice,
        notify, reply,
        view::{JobDone, JobKind, ServedBy},
    },
};

/// How long nobody may turn up before `--available-only` believes that nobody will.
const QUIET: Duration = Duration::from_secs(2);

impl Session {
    /// Begins an auto_download, or joins the one at work.
    pub(in crate::session) fn auto_download(
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

    /// Gets the auto_download of a torrent on, or ends it.
    pub(in crate::session) fn step_jobs(&mut self, id: TorrentId, out: &mut Vec<Action>) {
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
    pub(super) fn merge_for(&mut self, job: JobId, id: TorrentId, out: &mut Vec<Action>) {
        let files = self.torrents[&id].complete_files();
        let Some(state) = self.jobs.get_mut(&job) else { return };
        state.merging = true;
        let merge = self.next_id();
        self.merges.insert(merge, MergeFor::Job(job));
        out.push(Action::Merge { torrent: id, merge, files });
    }

    /// Whether every missing chunk is one that no connected peer has, and nobody else is expected.
    pub(super) fn nobody_has_the_rest(&mut self, job: JobId, id: TorrentId) -> bool {
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
            || torrent.conns.iter().any(|&conn| self.interests(conn));
        let Some(job) = self.jobs.get_mut(&job) else { return false };
        if more {
            job.quiet_since = self.now;
        }
        self.now.since(job.quiet_since) >= QUIET
    }

    pub(in crate::session) fn on_merged(
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
    pub(super) fn goes_on(&mut self, job: JobId) -> bool {
        let Some(state) = self.jobs.get_mut(&job).filter(|job| job.reselected) else {
            return false;
        };
        (state.merging, state.reselected) = (false, false);
        true
    }

    /// The end of a download whose complete files are merged.
    pub(super) fn download_done(
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

    /// No tracker answered: a download that cannot begin for want of peers ends, unless it is a
    /// patient one.
    pub(in crate::session) fn tracker_failed_jobs(
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
}
