//! What the disk says of pieces, apart from those that were just received: that it is full or broken,
//! what checks found, what changed or was lost. Never here: leases.

use super::{
    Action, Session, command::CommandError, fault::CloseCause, notice::Notice, notify,
    timers::Timer,
};
use crate::{
    ids::{PieceIndex, TorrentId},
    torrent::Condition,
};

/// How long a full disk is left alone before it is tried again.
const DISK_RETRY: std::time::Duration = std::time::Duration::from_secs(5);

impl Session {
    pub(super) fn on_disk_trouble(
        &mut self,
        id: TorrentId,
        condition: Condition,
        out: &mut Vec<Action>,
    ) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let (what, cause) = match &condition {
            Condition::DiskFull(cause) => ("disk_full", cause.clone()),
            Condition::Failed(cause) => ("io_error", cause.clone()),
            Condition::Active | Condition::Paused | Condition::Quit => return,
        };
        if !torrent.takes_part() || torrent.condition == condition {
            return;
        }
        torrent.condition = condition;
        notify(out, Notice::Disk { torrent: id, what, cause: cause.clone() });
        notify(out, Notice::TorrentChanged(id));
        self.give_up_all(id, out);
        match what {
            "disk_full" => {
                self.timers.set(Timer::DiskRetry(id), self.now + DISK_RETRY);
                self.fail_requests(id, &CommandError::DiskFull(cause), out);
            }
            _ => self.fail_jobs(id, &CommandError::Disk(cause), out),
        }
    }

    pub(super) fn on_disk_retry(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if matches!(torrent.condition, Condition::DiskFull(_)) {
            torrent.condition = Condition::Active;
            self.dirty.insert(id);
            self.update_interests(id, out);
        }
    }

    pub(super) fn on_piece_checked(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        good: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if !torrent.pieces.is_checking(piece) {
            return;
        }
        torrent.checking -= 1;
        let last = torrent.checking == 0;
        if good {
            torrent.pieces.found(piece);
            self.now_have(id, piece, out);
        } else {
            torrent.pieces.lost(piece);
            torrent.put_back(piece);
        }
        self.verified_one(id, piece, good, out);
        if last {
            self.dirty.insert(id);
            notify(out, Notice::TorrentChanged(id));
            self.update_interests(id, out);
            self.finished_if_all_had(id, out);
        }
    }

    pub(super) fn on_pieces_doubtful(
        &mut self,
        id: TorrentId,
        pieces: &[PieceIndex],
        cause: String,
        out: &mut Vec<Action>,
    ) {
        let doubtful = self.forget_pieces(id, pieces, out);
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if doubtful.is_empty() {
            return;
        }
        for &piece in &doubtful {
            torrent.pieces.check(piece);
            torrent.picker.remove(piece);
        }
        torrent.checking += doubtful.len() as u32;
        notify(out, Notice::Disk { torrent: id, what: "changed", cause });
        notify(out, Notice::TorrentChanged(id));
        out.push(Action::CheckPieces { torrent: id, pieces: doubtful, job: None });
        self.dirty.insert(id);
    }

    pub(super) fn on_pieces_lost(
        &mut self,
        id: TorrentId,
        pieces: &[PieceIndex],
        cause: String,
        out: &mut Vec<Action>,
    ) {
        if self.forget_pieces(id, pieces, out).is_empty() {
            return;
        }
        notify(out, Notice::Disk { torrent: id, what: "io_error", cause });
        notify(out, Notice::TorrentChanged(id));
        self.update_interests(id, out);
        self.dirty.insert(id);
    }

    /// Pieces that were had become missing; returns those that were.
    fn forget_pieces(
        &mut self,
        id: TorrentId,
        pieces: &[PieceIndex],
        out: &mut Vec<Action>,
    ) -> Vec<PieceIndex> {
        let Some(torrent) = self.torrents.get_mut(&id) else { return Vec::new() };
        let had = pieces.iter().copied().filter(|&piece| torrent.have().get(piece));
        let had = had.collect::<Vec<_>>();
        for &piece in &had {
            torrent.pieces.lost(piece);
            torrent.put_back(piece);
            torrent.count_lost(piece);
            notify(out, Notice::PieceLost { torrent: id, piece });
        }
        if !had.is_empty() {
            self.count_interesting(id);
            self.recant(id, out);
        }
        had
    }

    /// The protocol has no word for a piece that is no longer had: peers that were told of it would
    /// ask for it in vain. Their connections end, and the next ones begin with the truth.
    pub(super) fn recant(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        for conn in torrent.conns.clone() {
            if !self.is_web_seed(conn) {
                self.close(conn, CloseCause::Recanted, out);
            }
        }
    }
}
