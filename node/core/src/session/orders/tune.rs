//! Tunables that an operator changes while the session runs. Never here: rate limits, which the
//! connections keep themselves.

use crate::{
    config::Unchoke,
    ids::ConnId,
    peer::Origin,
    session::{
        Action, Session,
        command::{Done, Tuning},
    },
    wire::extended::ShoalMessage,
};

impl Session {
    pub(super) fn tune(&mut self, tuning: Tuning, out: &mut Vec<Action>) -> Done {
        let Tuning { unchoke, labels, connections_max, connections_per_torrent_max } = tuning;
        let config = &mut self.config;
        config.connections_max = connections_max.unwrap_or(config.connections_max);
        let of_torrent = connections_per_torrent_max.unwrap_or(config.connections_per_torrent_max);
        config.connections_per_torrent_max = of_torrent;
        if let Some(labels) = labels {
            self.identity.labels = labels;
            self.tell_labels(out);
        }
        match unchoke {
            Some(Unchoke::All) => {
                self.config.unchoke = Unchoke::All;
                self.unchoke_everybody(out);
            }
            // The next tick chooses whom they serve.
            Some(slots @ Unchoke::Slots(_)) => self.config.unchoke = slots,
            None => {}
        }
        // What a limit kept from being dialled may be dialled.
        self.dirty.extend(self.torrents.keys());
        Done::Ok
    }

    fn tell_labels(&mut self, out: &mut Vec<Action>) {
        let told = self.conns.iter().filter(|(_, state)| state.shoal.is_some());
        for conn in told.map(|(conn, _)| conn).collect::<Vec<_>>() {
            let labels = (*self.identity.labels).clone();
            self.send_shoal(conn, &ShoalMessage::Hello { labels }, out);
        }
    }

    fn unchoke_everybody(&mut self, out: &mut Vec<Action>) {
        let peers = self.conns.iter().filter(|(_, state)| state.origin != Origin::WebSeed);
        let choked = peers.filter(|(_, state)| state.am_choking).map(|(conn, _)| conn);
        for conn in choked.collect::<Vec<ConnId>>() {
            if let Some(state) = self.conns.get_mut(&conn) {
                (state.am_choking, state.optimistic) = (false, None);
                state.choke_flipped = Some(self.now);
            }
            self.serve(conn, out);
        }
    }
}
