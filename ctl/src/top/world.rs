//! What is known of the node: facts come in, state comes out. Never here: a call, a key, a pixel.

use std::collections::{BTreeMap, BTreeSet};

use shoal::v1;

/// The most torrents that are kept; a node with more shows the first of them.
pub(super) const TORRENTS_MAX: usize = 10_000;

/// The most decisions that are kept: as many as a node keeps.
const DECISIONS_MAX: usize = 256;

/// Sweeps of the list after which a torrent that was in none of them is forgotten: one may miss a
/// torrent whose place moved.
const SWEEPS_MISSED_MAX: u64 = 2;

/// Something that was heard of the node.
#[derive(Debug)]
pub(super) enum Fact {
    /// The node itself.
    Node(Box<v1::GetInfoResponse>),
    /// A page of the list of torrents.
    Page {
        /// Its torrents.
        torrents: Vec<v1::Torrent>,
        /// The list ends with it.
        last: bool,
    },
    /// One torrent as it stands.
    Torrent(Box<v1::Torrent>),
    /// A torrent, 40 digits, that the node does not know.
    Gone(String),
    /// The connections of a torrent.
    Peers {
        /// Its hash.
        torrent: String,
        /// The first of them.
        peers: Vec<v1::Connection>,
    },
    /// The chunks of a torrent.
    Chunks {
        /// Its hash.
        torrent: String,
        /// The first page of its status.
        status: Box<v1::SeeChunkStatusResponse>,
    },
    /// The last decisions of a torrent.
    Decisions {
        /// Its hash.
        torrent: String,
        /// Oldest first.
        decisions: Vec<v1::Decision>,
    },
    /// A torrent with its files and trackers.
    Details(Box<v1::GetTorrentResponse>),
    /// How a chunk would be decided, or why nothing says so.
    Explained(Result<Box<v1::ExplainDecisionResponse>, String>),
    /// Something happened.
    Event(Box<v1::Event>),
    /// The node refused a call that makes up the screen.
    Refused(String),
    /// Nobody answers.
    Lost(String),
}

/// Everything known of the node.
#[derive(Debug, Default)]
pub(super) struct World {
    /// The node; absent until it answered once.
    pub(super) node: Option<Box<v1::GetInfoResponse>>,
    /// The torrents by info hash.
    pub(super) torrents: BTreeMap<String, Known>,
    /// What is known of the torrent that was chosen.
    pub(super) chosen: Option<Chosen>,
    /// The torrent of the details, as last told.
    pub(super) details: Option<Box<v1::GetTorrentResponse>>,
    /// How the chunk of the details would be decided.
    pub(super) explained: Option<Result<Box<v1::ExplainDecisionResponse>, String>>,
    /// Why nobody answers; absent while somebody does.
    pub(super) lost: Option<String>,
    /// What the node refused last.
    pub(super) refused: Option<String>,
    /// The last event that asks for an operator.
    pub(super) alert: Option<String>,
    sweep: u64,
}

/// A torrent of the list.
#[derive(Debug)]
pub(super) struct Known {
    /// As it was last told.
    pub(super) torrent: v1::Torrent,
    /// The sweep that saw it last.
    sweep: u64,
}

/// What is known of the torrent that was chosen.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Its info hash.
    pub(super) hash: String,
    /// Its connections; absent until they were told.
    pub(super) peers: Option<Vec<v1::Connection>>,
    /// Its chunks; absent until they were told.
    pub(super) chunks: Option<Chunks>,
    /// Its last decisions, newest first; absent until they were told.
    pub(super) decisions: Option<Vec<v1::Decision>>,
}

impl Chosen {
    /// Every chunk of it is known to be had.
    pub(super) fn is_whole(&self) -> bool {
        self.chunks.as_ref().is_some_and(|chunks| chunks.have == chunks.total)
    }
}

impl World {
    /// Takes a fact in.
    pub(super) fn hear(&mut self, fact: Fact) {
        match fact {
            Fact::Node(node) => self.node(node),
            Fact::Page { torrents, last } => self.page(torrents, last),
            Fact::Torrent(torrent) => self.upsert(*torrent),
            Fact::Gone(hash) => self.forget(&hash),
            Fact::Peers { torrent, peers } => {
                if let Some(chosen) = self.chosen(&torrent) {
                    chosen.peers = Some(peers);
                }
            }
            Fact::Chunks { torrent, status } => {
                if let Some(chosen) = self.chosen(&torrent) {
                    chosen.chunks = Some(Chunks::new(&status));
                }
            }
            Fact::Decisions { torrent, mut decisions } => {
                if let Some(chosen) = self.chosen(&torrent) {
                    decisions.sort_by_key(|decision| std::cmp::Reverse(decision.sequence));
                    decisions.truncate(DECISIONS_MAX);
                    chosen.decisions = Some(decisions);
                }
            }
            Fact::Details(details) => {
                if let Some(torrent) = &details.torrent {
                    self.upsert(torrent.clone());
                }
                self.details = Some(details);
            }
            Fact::Explained(explained) => self.explained = Some(explained),
            Fact::Event(event) => self.event(*event),
            Fact::Refused(why) => self.refused = Some(why),
            Fact::Lost(why) => self.lost = Some(why),
        }
    }

    /// Takes a fact in while the screen stands still: only what it still lacks of the torrent that
    /// was chosen since.
    pub(super) fn hear_paused(&mut self, fact: Fact) {
        let chosen = self.chosen.as_ref();
        let lacks = |torrent: &str, lacking: fn(&Chosen) -> bool| {
            chosen.is_some_and(|chosen| chosen.hash == torrent && lacking(chosen))
        };
        let wanted = match &fact {
            Fact::Peers { torrent, .. } => lacks(torrent, |chosen| chosen.peers.is_none()),
            Fact::Chunks { torrent, .. } => lacks(torrent, |chosen| chosen.chunks.is_none()),
            Fact::Decisions { torrent, .. } => lacks(torrent, |chosen| chosen.decisions.is_none()),
            Fact::Details(_) => self.details.is_none(),
            Fact::Explained(_) => self.explained.is_none(),
            Fact::Lost(_) => true,
            Fact::Node(_) => self.lost.is_some(),
            Fact::Page { .. }
            | Fact::Torrent(_)
            | Fact::Gone(_)
            | Fact::Event(_)
            | Fact::Refused(_) => false,
        };
        if wanted {
            self.hear(fact);
        }
    }

    /// Turns to another torrent.
    pub(super) fn choose(&mut self, hash: Option<&str>) {
        if self.chosen.as_ref().map(|chosen| chosen.hash.as_str()) != hash {
            self.chosen = hash.map(|hash| Chosen { hash: hash.to_owned(), ..Chosen::default() });
        }
    }

    /// The torrent that was chosen, as it stands.
    pub(super) fn chosen_torrent(&self) -> Option<&v1::Torrent> {
        self.torrents.get(&self.chosen.as_ref()?.hash).map(|known| &known.torrent)
    }

    /// Payload bytes in and out over the lives of the torrents.
    pub(super) fn totals(&self) -> (u64, u64) {
        let each = self.torrents.values().map(|known| &known.torrent);
        each.fold((0, 0), |(got, sent), torrent| {
            let (more_got, more_sent) = (torrent.downloaded_bytes, torrent.uploaded_bytes);
            (u64::saturating_add(got, more_got), u64::saturating_add(sent, more_sent))
        })
    }

    fn chosen(&mut self, hash: &str) -> Option<&mut Chosen> {
        self.chosen.as_mut().filter(|chosen| chosen.hash == hash)
    }

    fn node(&mut self, node: Box<v1::GetInfoResponse>) {
        let before = self.node.as_ref().map(|node| &node.epoch);
        if before.is_some_and(|epoch| *epoch != node.epoch) {
            // Another start of the node: what it said before is void.
            let chosen = self.chosen.take().map(|chosen| chosen.hash);
            *self = Self::default();
            self.choose(chosen.as_deref());
        }
        self.node = Some(node);
        self.lost = None;
    }

    fn page(&mut self, torrents: Vec<v1::Torrent>, last: bool) {
        for torrent in torrents {
            self.upsert(torrent);
        }
        self.refused = None;
        if last {
            let sweep = self.sweep;
            self.torrents.retain(|_, known| sweep - known.sweep < SWEEPS_MISSED_MAX);
            self.sweep += 1;
        }
    }

    fn upsert(&mut self, torrent: v1::Torrent) {
        let sweep = self.sweep;
        if let Some(known) = self.torrents.get_mut(&torrent.info_hash) {
            *known = Known { torrent, sweep };
        } else if self.torrents.len() < TORRENTS_MAX {
            self.torrents.insert(torrent.info_hash.clone(), Known { torrent, sweep });
        }
    }

    fn forget(&mut self, hash: &str) {
        self.torrents.remove(hash);
        if self.chosen(hash).is_some() {
            self.chosen = None;
        }
    }

    fn event(&mut self, event: v1::Event) {
        if is_alarming(&event) {
            self.alert = Some(event.message.clone());
        }
        match event.detail {
            _ if event.what == "removed" && event.kind() == v1::EventKind::Torrent => {
                self.forget(&event.info_hash);
            }
            Some(v1::event::Detail::Torrent(torrent)) => self.upsert(torrent),
            Some(v1::event::Detail::Chunks(change)) => self.chunks(&event.info_hash, &change),
            Some(
                v1::event::Detail::Peer(_)
                | v1::event::Detail::Job(_)
                | v1::event::Detail::Settings(_),
            )
            | None => {}
        }
    }

    fn chunks(&mut self, hash: &str, change: &v1::ChunkChange) {
        if let Some(known) = self.torrents.get_mut(hash) {
            known.torrent.chunks_have = change.chunks_have;
        }
        if let Some(chunks) = self.chosen(hash).and_then(|chosen| chosen.chunks.as_mut()) {
            chunks.change(change);
        }
    }
}

/// What an operator should see although nobody asked.
fn is_alarming(event: &v1::Event) -> bool {
    const ALARMS: [&str; 9] = [
        "disk_full",
        "io_error",
        "changed",
        "tripped",
        "wedged",
        "error",
        "refused",
        "metadata_failed",
        "banned",
    ];
    ALARMS.contains(&event.what.as_str())
}

/// The chunks of a torrent.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// One bit each, the first in the highest.
    bits: Vec<u8>,
    /// Begun, and not yet had.
    in_flight: BTreeSet<u32>,
    /// How many there are.
    pub(super) total: u32,
    /// How many are had.
    pub(super) have: u32,
}

/// How the chunks of a part of the map stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Chunks in it.
    pub(super) chunks: u32,
    /// Of these, had.
    pub(super) have: u32,
    /// Of these, in flight.
    pub(super) in_flight: u32,
}

impl Chunks {
    fn new(status: &v1::SeeChunkStatusResponse) -> Self {
        let total = status.total_chunks;
        let mut bits = status.bitfield.clone();
        bits.resize(total.div_ceil(8) as usize, 0);
        let in_flight = status.in_flight.iter().copied().filter(|&index| index < total).collect();
        let mut this = Self { bits, in_flight, total, have: 0 };
        this.have = this.part(0, total).have;
        this
    }

    fn change(&mut self, change: &v1::ChunkChange) {
        for &index in &change.have {
            self.in_flight.remove(&index);
            self.set(index, true);
        }
        for &index in &change.lost {
            self.set(index, false);
        }
    }

    /// Chunks in flight.
    pub(super) fn in_flight(&self) -> u32 {
        u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX)
    }

    /// The map in at most `cells` parts of the same size, the last perhaps smaller.
    pub(super) fn parts(&self, cells: u32) -> Vec<Part> {
        let size = self.total.div_ceil(cells.max(1)).max(1);
        let starts = (0..self.total).step_by(size as usize);
        starts.map(|from| self.part(from, from.saturating_add(size).min(self.total))).collect()
    }

    fn part(&self, from: u32, until: u32) -> Part {
        let have = self.count(from, until);
        let in_flight = self.in_flight.range(from..until).count();
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Part { chunks: until - from, have, in_flight: number(in_flight) }
    }

    /// Chunks had from one index until before another.
    fn count(&self, from: u32, until: u32) -> u32 {
        let (first, last) = (from.next_multiple_of(8).min(until), until / 8 * 8);
        let edges = (from..first).chain(last.max(first)..until);
        let whole = self.bits.get(first as usize / 8..last as usize / 8).unwrap_or_default();
        let edges = edges.map(|index| u32::from(self.get(index)));
        edges.chain(whole.iter().map(|byte| byte.count_ones())).sum()
    }

    fn get(&self, index: u32) -> bool {
        self.bits.get(index as usize / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
    }

    fn set(&mut self, index: u32, have: bool) {
        if index >= self.total || self.get(index) == have {
            return;
        }
        if let Some(byte) = self.bits.get_mut(index as usize / 8) {
            *byte ^= 0x80 >> (index % 8);
            self.have = if have { self.have + 1 } else { self.have - 1 };
        }
    }
}

#[cfg(test)]
mod tests;
