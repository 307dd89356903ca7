//! `request_download`: one piece of one peer.

use std::time::Duration;

use super::Job;
use crate::{
    ids::{ConnId, JobId, PieceIndex, TorrentId},
    peer::Conn,
    session::{
        Action, Session,
        command::CommandError,
        fault::CloseCause,
        timers::Timer,
        view::{JobDone, JobKind},
    },
};

/// How long a `request_download` may take without a byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

impl Session {
    /// Begins a `request_download`.
    pub(in crate::session) fn request_download(
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

    /// Ends every `request_download` of a torrent: what it wanted is not fetched again.
    pub(in crate::session) fn fail_requests(
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

    pub(super) fn give_up_open(&mut self, id: TorrentId, piece: PieceIndex, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        if torrent.pieces.opened(piece).is_some() && !torrent.pieces.is_verifying(piece) {
            self.give_up(id, piece, out);
        }
    }

    /// Gives up pieces being fetched, apart from those that a `request_download` wants and those
    /// being verified.
    pub(in crate::session) fn give_up_shared(
        &mut self,
        id: TorrentId,
        which: impl Fn(PieceIndex) -> bool,
        out: &mut Vec<Action>,
    ) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        let open = torrent.pieces.open().map(|(piece, _)| piece);
        let open = open.filter(|&piece| which(piece) && !self.is_for_request(id, piece));
        for piece in open.collect::<Vec<_>>() {
            self.give_up_open(id, piece, out);
        }
    }

    /// A piece that a `request_download` wants ended.
    pub(in crate::session) fn request_done(
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
    pub(in crate::session) fn requests_lost(
        &mut self,
        conn: &Conn,
        cause: &CloseCause,
        out: &mut Vec<Action>,
    ) {
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

    pub(in crate::session) fn on_request_overdue(&mut self, id: JobId, out: &mut Vec<Action>) {
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
}
