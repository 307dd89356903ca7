//! Extents that are taken from holders which are too slow, and the last ones that are fetched twice
//! (design §6).

use std::time::Duration;

use super::{Action, Session};
use crate::{
    ids::{ConnId, LeaseId, PieceIndex, TorrentId},
    policy::ChunkFault,
    torrent::pieces::ExtentState,
};

/// The age of a lease from which an endgame duplicate may be granted.
const DUPLICATE_AFTER: Duration = Duration::from_millis(500);
/// Waiting peers that are looked at for a take-over in one tick.
const RESCUES_MAX: usize = 8;
/// Each holder of an extent has twice as long as the one it was taken from, so often: or peers from
/// whom the first byte takes longer than `take_over_after` would lose it to each other for ever. That
/// is 32 s at last, and who is silent for 20 s is snubbed.
const DOUBLINGS_MAX: u32 = 3;
/// The same of a piece on trial, by the witnesses that did not finish it: nothing of what they brought
/// is kept. That is 128 s at last.
const TRIAL_DOUBLINGS_MAX: u32 = 5;

impl Session {
    /// Where peers wait and nothing is left to grant them, extents are taken from holders that are
    /// much slower; and in endgame the slowest extents are fetched twice.
    pub(super) fn rescue(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let torrent = &self.torrents[&id];
        if torrent.auto_download.is_none() || !torrent.may_download() || self.is_consulting(id) {
            return;
        }
        let mut waiting = self.ready(id);
        waiting.retain(|conn| self.conns[conn].leases.is_empty());
        waiting.sort_by_key(|conn| {
            (self.is_web_seed(*conn), std::cmp::Reverse(self.conns[conn].best_bps))
        });
        waiting.truncate(RESCUES_MAX);
        for conn in waiting {
            let endgame = self.is_endgame(&self.torrents[&id]);
            let Some(slow) = self.slowest_for(id, conn) else { continue };
            let record = &self.leases[&slow];
            let (piece, extent, holder) = (record.piece, record.extent, record.conn);
            let age = self.now.since(record.granted);
            if self.is_web_seed(conn) && self.delivers_soon(holder) {
                continue;
            }
            if self.is_too_slow(slow, conn) {
                let Some(state) = self.conns.get_mut(&holder) else { continue };
                state.failures += 1;
                state.fail_streak += 1;
                state.rest(self.now);
                let peer = state.peer_id;
                if let Some(torrent) = self.torrents.get_mut(&id) {
                    torrent.pieces.mark_taken_over(piece, extent, peer);
                }
                self.tell_failed(holder, (piece, extent), ChunkFault::Timeout, out);
                self.revoke(slow, out);
            } else if endgame
                && self.torrents[&id].duplicate
                && age >= DUPLICATE_AFTER
                && self.is_single(slow)
                && !self.is_exclusive(id, piece)
            {
                self.grant(id, piece, extent, conn, out);
            }
        }
    }

    /// The lease that a waiting peer could take over with the most gain: the one that its holder
    /// needs longest for.
    fn slowest_for(&self, id: TorrentId, conn: ConnId) -> Option<LeaseId> {
        let torrent = &self.torrents[&id];
        let have = &self.conns[&conn].have;
        let theirs = torrent.pieces.open().filter(|(piece, _)| have.get(*piece));
        // A witness is excused where it is slow; a `request_download` waits for whom it names.
        let theirs =
            theirs.filter(|(piece, open)| open.only.is_none() || !self.is_for_request(id, *piece));
        let holders = theirs.flat_map(|(_, open)| &open.extents).flat_map(|e| match e.state {
            ExtentState::Leased(first, second)
                if first.conn != conn && second.is_none_or(|second| second.conn != conn) =>
            {
                [Some(first), second]
            }
            ExtentState::Leased(..)
            | ExtentState::Missing
            | ExtentState::Reserved
            | ExtentState::Received => [None, None],
        });
        let leases = holders.flatten().map(|holder| holder.lease);
        let leases = leases.filter(|lease| !self.leases[lease].revoked);
        leases.max_by_key(|lease| (self.remaining_ms(*lease), std::cmp::Reverse(*lease)))
    }

    /// Whether one connection is to fetch a piece alone.
    fn is_exclusive(&self, id: TorrentId, piece: PieceIndex) -> bool {
        self.torrents[&id].pieces.opened(piece).is_some_and(|open| open.only.is_some())
    }

    /// Whether nobody else fetches the extent of a lease.
    fn is_single(&self, lease: LeaseId) -> bool {
        let record = &self.leases[&lease];
        let open = self.torrents[&record.torrent].pieces.opened(record.piece);
        let extent = open.and_then(|open| open.extents.get(record.extent as usize));
        extent.is_some_and(|extent| matches!(extent.state, ExtentState::Leased(_, None)))
    }

    /// How long a holder still needs for a lease, at its rate.
    fn remaining_ms(&self, lease: LeaseId) -> u64 {
        let record = &self.leases[&lease];
        let left = u64::from(record.due.saturating_sub(record.received));
        let bps = self.conns.get(&record.conn).map_or(0, |state| state.rate_in.bps());
        left * 1000 / bps.max(1)
    }

    /// Whether a holder is slower than a quarter of the median of all, or of the peer that waits.
    fn is_too_slow(&self, lease: LeaseId, waiting: ConnId) -> bool {
        let record = &self.leases[&lease];
        let torrent = &self.torrents[&record.torrent];
        let open = torrent.pieces.opened(record.piece);
        let extent = open.and_then(|open| open.extents.get(record.extent as usize));
        let lost = extent.map_or(0, |extent| extent.take_overs).min(DOUBLINGS_MAX);
        let dismissed = torrent.blame.dismissed(record.piece).min(TRIAL_DOUBLINGS_MAX);
        let doublings = lost.max(dismissed);
        if self.now.since(record.granted) < self.config.take_over_after * (1 << doublings) {
            return false;
        }
        let mut rates = torrent
            .conns
            .iter()
            .map(|conn| &self.conns[conn])
            .filter(|state| state.downloaded > 0)
            .map(|state| state.rate_in.bps())
            .collect::<Vec<_>>();
        rates.sort_unstable();
        let median = rates.get(rates.len() / 2).copied().unwrap_or(0);
        let reference = median.max(self.conns[&waiting].best_bps);
        let holder = self.conns.get(&record.conn).map_or(0, |state| state.rate_in.bps());
        // Nothing is known of a web seed before it is asked, and peers delivered nothing yet.
        holder < reference / 4 || (reference == 0 && self.is_web_seed(waiting))
    }
}
