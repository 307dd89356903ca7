//! Which files of a torrent are wanted, changed while it runs. Never here: what that makes of pieces
//! and bytes, which [`crate::torrent::selection`] knows.

use super::{
    Action, Session,
    command::{CommandError, Done},
    notice::Notice,
    notify,
};
use crate::{ids::TorrentId, torrent::selection::Selection};

impl Session {
    /// Wants these files from now on. A download at work goes on with them, or ends where nothing of
    /// them is missing; pieces that only it wanted and that are not wanted any more are given up.
    pub(super) fn order_selection(
        &mut self,
        id: TorrentId,
        selection: Selection,
        out: &mut Vec<Action>,
    ) -> Result<Done, CommandError> {
        let now = self.now;
        let torrent = self.find(id)?;
        if *torrent.selection() == selection {
            return Ok(Done::Ok);
        }
        let left = torrent.left_bytes();
        torrent.select(selection);
        if torrent.left_bytes() != left {
            torrent.announcing.tell_soon(now);
        }
        let wanted = torrent.pieces.wanted().clone();
        self.give_up_shared(id, |piece| !wanted.get(piece), out);
        self.count_interesting(id);
        self.extend_download(id);
        notify(out, Notice::Selected(id));
        notify(out, Notice::TorrentChanged(id));
        self.update_interests(id, out);
        for conn in self.torrents[&id].conns.clone() {
            if !self.part_if_nothing_to_do(conn, out) {
                self.tell_upload_only(conn, out);
            }
        }
        self.dirty.insert(id);
        Ok(Done::Ok)
    }

    /// A download at work has something else to fetch: peers are looked for again. Where it is
    /// merging what was wanted before, it goes on after that.
    fn extend_download(&mut self, id: TorrentId) {
        let now = self.now;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(job) = torrent.auto_download.and_then(|job| self.jobs.get_mut(&job)) else {
            return;
        };
        job.reselected = job.merging;
        if !torrent.is_finished() {
            torrent.book.retry_all();
            if torrent.announcing.has_tracker() {
                torrent.announcing.want(now);
                torrent.announcing.hurry(now);
            }
        }
    }
}
