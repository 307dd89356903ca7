//! Chunks for the two connections of a download that are chosen without regard to labels, whatever
//! a script says (design §6). Natives see no labels: they need none. Never here: who they are and
//! when they are due, which [`crate::torrent::blind`] keeps.

use super::{Action, Chooser, Session, consult::Asked, decisions::DecidedBy};
use crate::{ids::TorrentId, torrent::blind::Blind};

impl Session {
    /// Chooses the label-blind connections of a download anew where some are gone or kept long
    /// enough: at random among those that could serve.
    pub(super) fn choose_blind(&mut self, id: TorrentId) {
        let scripted = matches!(self.chooser_of(id), Chooser::Consulted(..));
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if !scripted || torrent.auto_download.is_none() {
            return torrent.blind.clear();
        }
        let mut blind: Blind = std::mem::take(&mut torrent.blind);
        let free = blind.release(self.now, |conn| self.could_serve(conn));
        let others = self.torrents[&id].conns.iter().copied();
        let mut others = others
            .filter(|&conn| self.could_serve(conn) && !blind.contains(conn))
            .filter(|&conn| !self.is_web_seed(conn))
            .collect::<Vec<_>>();
        for _ in 0..free.min(others.len()) {
            let chosen = others.swap_remove(self.rng.below(others.len()));
            blind.keep(chosen, self.now);
        }
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.blind = blind;
        }
    }

    /// Gives a chunk to each label-blind connection that got none for too long.
    pub(super) fn feed_blind(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        for conn in self.torrents[&id].blind.hungry(self.now) {
            // Not even one that the script allows nothing.
            let mut view = self.one_view(conn);
            view.slots = view.slots.max(1);
            if !self.could_serve(conn) || view.inflight >= view.slots {
                continue;
            }
            let table = [view];
            let mut skip = 0;
            let next = self.next_extent(id, &table, &mut skip, out);
            let Some((piece, extent)) = next else { continue };
            let asked = Asked { piece, extent, candidates: 1 };
            self.keep_decision(id, asked, Some(conn), DecidedBy::Blind, 0);
            self.grant(id, piece, extent, conn, out);
        }
    }
}
