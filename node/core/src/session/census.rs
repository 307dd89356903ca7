//! How the session stands in numbers: for whoever measures the node. Counted when it is asked for;
//! only [`Tally`] is kept, beside what each torrent keeps. Never here: anything by torrent or by peer.

use super::{
    Session, decisions::DecisionCounts, jobs::Job, snapshot::state_of, view::TorrentState,
};

/// What came of the work of a session since it began: unlike what torrents keep, it never
/// decreases, whichever torrents come and go, and begins at 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Payload bytes received for leases, from peers and web seeds, before any of them is verified.
    pub received: u64,
    /// Payload bytes served.
    pub sent: u64,
    /// Payload bytes received and discarded.
    pub wasted: u64,
    /// Pieces received, verified and written.
    pub verified: u64,
    /// Pieces received that failed their hash.
    pub failed: u64,
}

/// How the session stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Census {
    /// What it did.
    pub tally: Tally,
    /// What came of its decisions.
    pub decisions: DecisionCounts,
    /// Torrents in each state.
    pub torrents: [(TorrentState, usize); TorrentState::ALL.len()],
    /// Magnet links whose metadata is looked for.
    pub quests: usize,
    /// Connections, those of quests and web seeds included.
    pub connected: usize,
    /// Of these, web seeds.
    pub web_seeds: usize,
    /// Dials under way.
    pub half_open: usize,
    /// Peers that are banned, counted once in each torrent.
    pub banned: usize,
    /// Jobs at work.
    pub jobs: usize,
    /// Bytes of buffers that pieces being fetched and verified take.
    pub buffer_bytes: u64,
    /// The most of that.
    pub buffer_bytes_max: u64,
    /// The most connections.
    pub connections_max: usize,
}

impl Session {
    /// How it stands: takes time in proportion to the torrents, and allocates nothing for them.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut torrents = TorrentState::ALL.map(|state| (state, 0));
        let mut banned = 0;
        for torrent in self.torrents.values() {
            let state = state_of(torrent);
            if let Some((_, count)) = torrents.iter_mut().find(|(other, _)| *other == state) {
                *count += 1;
            }
            banned += torrent.blame.banned().count();
        }
        Census {
            tally: self.tally,
            decisions: self.decisions.counts(),
            torrents,
            quests: self.quests.len(),
            connected: self.connection_count(),
            web_seeds: self.web_seed_conns,
            half_open: self.dials.len() + self.web_seed_dials.len(),
            banned,
            jobs: self.jobs.values().filter(|job| Job::is_running(job)).count(),
            buffer_bytes: self.loads.open_bytes(),
            buffer_bytes_max: self.config.buffer_budget_bytes,
            connections_max: self.config.connections_max,
        }
    }
}
