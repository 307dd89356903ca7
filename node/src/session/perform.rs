//! Carrying out what the session says: one action after the other, none of which waits.
//!
//! Never here: why.

use std::sync::Arc;

use shoal_core::{
    ids::{AnnounceId, ConnId, JobId, PieceIndex, TorrentId},
    session::{
        Action, Event, Lease,
        event::{AnnounceFailure, MergeDone, MergeFailure, PieceOutcome},
        fault::CloseCause,
    },
    tracker::announce::AnnounceRequest,
};

use super::{
    checking::Check,
    inbox::{DiskNews, Inbox, Input},
    piece_work::verify_and_write,
    run::Shell,
};
use crate::{
    disk::{CommitError, DiskError, MergeError, TorrentStore},
    net::{ExtentBuffer, NetEvent, Swarm},
    webseed::Target,
};

impl Shell {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Dial { conn, torrent, addr, info_hash: _ } => match self.swarm(torrent) {
                Some(swarm) => self.net.dial(conn, swarm, addr),
                None => {
                    let cause = "the torrent is gone".to_owned();
                    self.later(Event::DialFailed { conn, cause });
                }
            },
            Action::OpenWebSeed { conn, torrent, url } => self.open_web_seed(conn, torrent, url),
            Action::Accept { conn, torrent } => {
                if let Some(swarm) = self.swarm(torrent) {
                    self.net.accept(conn, swarm);
                }
            }
            Action::Send { conn, message } => self.net.send(conn, message),
            Action::Serve { conn, serving, request_len_max } => {
                self.net.serve(conn, serving, request_len_max);
            }
            Action::Close { conn, cause } => match self.web_seeds.owns(conn) {
                true => self.web_seeds.close(conn, cause),
                false => self.net.close(conn, cause),
            },
            Action::GrantLease { conn, lease } => self.grant(conn, lease),
            Action::RevokeLease { conn, lease } => match self.web_seeds.owns(conn) {
                true => self.web_seeds.revoke(conn, lease),
                false => self.net.revoke(conn, lease),
            },
            Action::VerifyAndWrite { torrent, piece, compare } => {
                self.verify_and_write(torrent, piece, compare);
            }
            Action::DropPiece { torrent, piece } => self.fetching.drop_piece(torrent, piece),
            Action::CheckPieces { torrent, pieces, job } => {
                self.check_pieces(torrent, pieces, job);
            }
            Action::Merge { torrent, merge, files } => self.merge(torrent, merge, files),
            Action::Announce { announce, url, request } => self.announce(announce, url, request),
            Action::AnnounceLocally { info_hashes, port } => {
                if let Some(discovery) = &self.discovery {
                    discovery.announce(info_hashes, port);
                }
            }
            Action::MetadataFound { quest, info_bytes } => self.on_found(quest, &info_bytes),
            Action::Consult(consultation) => {
                if let Err(answer) = self.policies.host.consult(consultation) {
                    self.later(Event::PolicyAnswered(answer));
                }
            }
            Action::Inform(report) => self.policies.host.inform(report),
            Action::Reply { command, result } => self.on_reply(command, result),
            Action::Notify(notice) => self.on_notice(notice),
            Action::StopOutsideJob { job } => {
                self.creations.stop(job);
                self.checks.stop(job);
            }
        }
    }

    fn open_web_seed(&mut self, conn: ConnId, torrent: TorrentId, url: String) {
        match self.torrents.get(&torrent) {
            Some(known) => {
                let (metainfo, limits) = (known.metainfo.clone(), known.swarm.limits.clone());
                self.web_seeds.open(conn, Target { metainfo, limits }, url);
            }
            None => self.later(Event::Closed { conn, cause: CloseCause::TorrentStopped }),
        }
    }

    /// The swarm of a torrent, or of a quest.
    fn swarm(&self, id: TorrentId) -> Option<Arc<Swarm>> {
        let of_torrent = self.torrents.get(&id).map(|torrent| &torrent.swarm);
        of_torrent.or_else(|| self.quests.get(&id).map(|quest| &quest.swarm)).cloned()
    }

    fn grant(&mut self, conn: ConnId, lease: Lease) {
        let pads = self
            .torrents
            .get(&lease.torrent)
            .map(|torrent| torrent.metainfo.layout().pad_ranges(lease.piece));
        let buffer = self.fetching.grant(&lease, &pads.unwrap_or_default());
        // Handled in the next turn: the session learns there, too, that the connection is gone, and
        // does not grant the same lease again and again in this one.
        let refused = match self.web_seeds.owns(conn) {
            true => self.web_seeds.grant(lease, conn, buffer),
            false => self.net.grant(lease, conn, buffer),
        };
        if let Some(NetEvent::LeaseEnded { conn, lease, buffer, end }) = refused {
            let filled = self.fetching.ended(lease, buffer);
            self.later(Event::LeaseEnded { conn, lease, filled, end });
        }
    }

    fn verify_and_write(&mut self, torrent: TorrentId, piece: PieceIndex, compare: bool) {
        let broken = |cause: &str| PieceOutcome::DiskError { cause: cause.to_owned() };
        let Some(known) = self.torrents.get(&torrent) else {
            self.fetching.drop_piece(torrent, piece);
            let outcome = broken("the torrent is gone");
            self.later(Event::PieceVerified { torrent, piece, outcome });
            return;
        };
        let layout = known.metainfo.layout();
        let extents =
            (0..layout.extent_count(piece)).map(|extent| layout.extent_range(piece, extent));
        let pads = layout.pad_ranges(piece);
        let buffers = self.fetching.take_piece(torrent, piece, extents, &pads);
        let (store, alive, inbox) = (known.store.clone(), known.alive.clone(), self.inbox.clone());
        let submitted = self.rooms.pieces.submit(move || {
            let mut report = PieceReport { inbox, torrent, piece, buffers, done: None };
            let done = verify_and_write(&store, piece, &report.buffers, compare);
            report.done = Some(done);
            drop((report, alive));
        });
        if let Err(refused) = submitted {
            let outcome = broken(&refused.to_string());
            self.later(Event::PieceVerified { torrent, piece, outcome });
        }
    }

    fn check_pieces(&mut self, torrent: TorrentId, pieces: Vec<PieceIndex>, job: Option<JobId>) {
        let Some(known) = self.torrents.get(&torrent) else { return };
        let (store, gone) = (known.store.clone(), known.stop.clone());
        let check = Check::new(torrent, store, pieces.clone(), self.inbox.clone(), gone);
        let check = Arc::new(check);
        if let Some(job) = job {
            self.checks.begin(job, &check);
        }
        let alive = known.alive.clone();
        let work = move || {
            // The data is in use for as long as this work lives.
            let _alive = &alive;
            check.step()
        };
        if self.rooms.pieces.in_background(work).is_err() {
            for piece in pieces {
                self.later(Event::PieceChecked { torrent, piece, good: false });
            }
        }
    }

    fn merge(&mut self, torrent: TorrentId, merge: u64, files: Vec<usize>) {
        let fail = |cause: &str| Err(MergeFailure::Io { cause: cause.to_owned() });
        let Some(known) = self.torrents.get(&torrent) else {
            let result = fail("the torrent is gone");
            self.later(Event::Merged { torrent, merge, result });
            return;
        };
        let (store, alive, inbox) = (known.store.clone(), known.alive.clone(), self.inbox.clone());
        let submitted = self.rooms.files.submit(move || {
            let broken = || (fail("the disk thread failed"), None);
            let (result, lost) = guarded(|| merge_files(&store, &files), broken);
            inbox.tell(Input::Disk(DiskNews::Merged { torrent, merge, result, lost }));
            drop(alive);
        });
        if let Err(refused) = submitted {
            let result = fail(&refused.to_string());
            self.later(Event::Merged { torrent, merge, result });
        }
    }

    fn announce(&mut self, announce: AnnounceId, url: String, request: Box<AnnounceRequest>) {
        self.waiting.announces.insert(announce, url.clone());
        let (announcer, inbox) = (self.announcer.clone(), self.inbox.clone());
        // In a task of its own, so that even its panic is an end that is told.
        let asked = tokio::spawn(async move { announcer.announce(&url, &request).await });
        self.tasks.spawn(async move {
            let result = match asked.await {
                Ok(result) => result.map_err(AnnounceFailure::from),
                Err(error) => Err(AnnounceFailure::Unreachable { cause: error.to_string() }),
            };
            let event = Event::AnnounceFinished { announce, result };
            // The session has ended: nobody waits for the tracker's word.
            let _ = inbox.send(Input::Core(event)).await;
        });
    }
}

/// Tells the end of a piece's writing when it is dropped, whatever became of it.
struct PieceReport {
    inbox: Inbox,
    torrent: TorrentId,
    piece: PieceIndex,
    buffers: Vec<ExtentBuffer>,
    done: Option<(PieceOutcome, Vec<usize>)>,
}

impl Drop for PieceReport {
    fn drop(&mut self) {
        let broken =
            || (PieceOutcome::DiskError { cause: "the disk thread failed".to_owned() }, Vec::new());
        let (outcome, changed) = self.done.take().unwrap_or_else(broken);
        let (torrent, piece) = (self.torrent, self.piece);
        let buffers = std::mem::take(&mut self.buffers);
        let news = DiskNews::PieceDone { torrent, piece, outcome, buffers, changed };
        self.inbox.tell(Input::Disk(news));
    }
}

/// Runs work on a disk thread; where it panics, what is told instead.
pub(super) fn guarded<T>(work: impl FnOnce() -> T, broken: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!("a disk thread's work failed; this is a bug");
        broken()
    })
}

/// Pieces that a commit lost, and why.
type Lost = Option<(Vec<PieceIndex>, String)>;

/// Merges these files at once.
fn merge_files(store: &TorrentStore, files: &[usize]) -> (Result<MergeDone, MergeFailure>, Lost) {
    match store.merge_files(files) {
        Ok(already) => {
            let path = |&file: &usize| store.place_of(file).map(|(_, path)| path);
            let paths = files.iter().filter_map(path);
            let paths = paths.map(|path| path.display().to_string()).collect();
            (Ok(MergeDone { paths, already }), None)
        }
        Err(error) => merge_failure(error),
    }
}

fn merge_failure(error: MergeError) -> (Result<MergeDone, MergeFailure>, Lost) {
    let cause = error.to_string();
    let (failure, lost) = match error {
        MergeError::Exists { path } => {
            (MergeFailure::Exists { path: path.display().to_string() }, None)
        }
        MergeError::Disk(DiskError::Full { .. }) => (MergeFailure::DiskFull { cause }, None),
        MergeError::Commit(CommitError { lost, source }) => {
            let cause = format!("{cause}: {source}");
            let lost = (!lost.is_empty()).then(|| (lost, cause.clone()));
            (MergeFailure::Io { cause }, lost)
        }
        MergeError::Incomplete { .. }
        | MergeError::NoFile { .. }
        | MergeError::Disk(_)
        | MergeError::Store(_) => (MergeFailure::Io { cause }, None),
    };
    (Err(failure), lost)
}
