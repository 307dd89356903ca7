//! Magnet links (BEP 9): the quest for the metadata of a torrent of which the info hash is known.
//!
//! A quest has connections, addresses and trackers of its own, apart from those of torrents, and an
//! id of the same kind. It ends when its torrent is taken in, by the metadata that was found or by
//! a metainfo file, or when it is removed. [`connect`] says who is connected, [`fetch`] who is
//! asked, [`assembly`] what came of it, [`announce`] what trackers hear. Never here: a torrent.

mod announce;
mod assembly;
mod connect;
mod fetch;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use assembly::Assembly;
pub(super) use connect::Met;
use connect::Source;

use super::{
    Action, Session,
    command::{CommandError, Done},
    fault::CloseCause,
    notice::Notice,
    notify,
    timers::Timer,
    view::QuestView,
};
use crate::{
    config::{QUEST_BANS_MAX, QUESTS_MAX},
    ids::{ConnId, InfoHash, PeerId, TorrentId},
    magnet::Magnet,
    torrent::{
        announcing::Announcing,
        book::{self, Book},
    },
    wire::metadata::piece_count,
};

/// The search for the metadata of one magnet link.
#[derive(Debug)]
pub(super) struct Quest {
    pub(super) magnet: Magnet,
    pub(super) book: Book,
    pub(super) announcing: Announcing,
    phase: Phase,
    sources: BTreeMap<ConnId, Source>,
    /// The metadata as it is put together, by the sizes that peers claim.
    sizes: BTreeMap<u32, Assembly>,
    banned: Banned,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    /// Peers are looked for and asked.
    Seeking,
    /// The metadata is with the shell, to become a torrent.
    Found,
    /// The metadata makes no torrent here.
    Failed(String),
}

/// Who sent wrong metadata.
#[derive(Debug, Default)]
struct Banned {
    ids: BTreeSet<PeerId>,
    addrs: BTreeSet<SocketAddr>,
}

impl Banned {
    fn add(&mut self, peer_id: PeerId, addr: SocketAddr) {
        self.ids.insert(peer_id);
        self.addrs.insert(addr);
        // Somebody who is forgotten may lie once more.
        if self.ids.len() > QUEST_BANS_MAX {
            self.ids.pop_first();
        }
        if self.addrs.len() > QUEST_BANS_MAX {
            self.addrs.pop_first();
        }
    }
}

impl Session {
    /// The quest for an info hash.
    pub(super) fn quest_of(&self, info_hash: &InfoHash) -> Option<TorrentId> {
        let mut quests = self.quests.iter();
        quests.find(|(_, quest)| quest.magnet.info_hash == *info_hash).map(|(&id, _)| id)
    }

    /// Every quest, in order of name, then info hash.
    #[must_use]
    pub fn quests(&self) -> Vec<QuestView> {
        let mut views: Vec<_> = self.quests.keys().filter_map(|&id| self.quest(id)).collect();
        views.sort_by(|a, b| (&a.name, a.info_hash).cmp(&(&b.name, b.info_hash)));
        views
    }

    /// One quest.
    #[must_use]
    pub fn quest(&self, id: TorrentId) -> Option<QuestView> {
        let quest = self.quests.get(&id)?;
        let best = quest.sizes.iter().max_by_key(|(_, assembly)| assembly.here());
        let tracker = quest.announcing.view();
        Some(QuestView {
            id,
            info_hash: quest.magnet.info_hash,
            name: quest.magnet.shown_name(),
            failed: match &quest.phase {
                Phase::Failed(cause) => Some(cause.clone()),
                Phase::Seeking | Phase::Found => None,
            },
            tracker_error: tracker.last_error,
            peers: quest.sources.len(),
            pieces_have: best.map_or(0, |(_, assembly)| assembly.here()),
            pieces: best.map_or(0, |(&len, _)| piece_count(len)),
            trackers: quest.magnet.trackers.clone(),
            tracker_connected: tracker.connected,
        })
    }

    pub(super) fn add_magnet(
        &mut self,
        magnet: Magnet,
        out: &mut Vec<Action>,
    ) -> Result<Done, CommandError> {
        let known = self.by_hash(&magnet.info_hash).or_else(|| self.quest_of(&magnet.info_hash));
        if let Some(id) = known {
            self.learn_given(id, &magnet.peers)?;
            return Ok(Done::Seeking { id, already: !self.begin_anew(id, out) });
        }
        if magnet.trackers.is_empty() && magnet.peers.is_empty() {
            return Err(CommandError::NoSource);
        }
        if self.quests.len() >= QUESTS_MAX {
            return Err(CommandError::TooManyQuests(QUESTS_MAX));
        }
        let id = TorrentId(self.next_id() as u32);
        let mut announcing = Announcing::new(&magnet.trackers, &mut self.rng);
        if announcing.has_tracker() {
            announcing.want(self.now);
        }
        let mut book = Book::new(self.rng.u64());
        let limit = self.config.peers_per_torrent_max;
        for &addr in &magnet.peers {
            book.learn(addr, book::Source::Operator, limit);
        }
        let quest = Quest {
            magnet,
            book,
            announcing,
            phase: Phase::Seeking,
            sources: BTreeMap::new(),
            sizes: BTreeMap::new(),
            banned: Banned::default(),
        };
        self.quests.insert(id, quest);
        notify(out, Notice::QuestBegan(id));
        self.dirty.insert(id);
        Ok(Done::Seeking { id, already: false })
    }

    /// Takes a quest that failed up again. `false` where it did not fail.
    fn begin_anew(&mut self, id: TorrentId, out: &mut Vec<Action>) -> bool {
        let Some(quest) = self.quests.get_mut(&id) else { return false };
        if !matches!(quest.phase, Phase::Failed(_)) {
            return false;
        }
        quest.phase = Phase::Seeking;
        if quest.announcing.has_tracker() {
            quest.announcing.want(self.now);
        }
        quest.book.retry_all();
        notify(out, Notice::QuestBegan(id));
        self.dirty.insert(id);
        true
    }

    /// Something changed: announces, dials and asks as it stands.
    pub(super) fn step_quest(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(quest) = self.quests.get_mut(&id) else { return };
        let seeks = quest.phase == Phase::Seeking && self.leaving.is_none();
        if seeks && quest.sources.is_empty() {
            quest.announcing.seek(self.now);
        }
        self.quest_announce_due(id, out);
        if seeks {
            self.dial_sources(id, out);
            self.ask_sources(id, out);
        }
    }

    /// The metadata is here: nobody is needed any more.
    fn found(&mut self, id: TorrentId, info_bytes: Vec<u8>, out: &mut Vec<Action>) {
        self.close_sources(id, &CloseCause::MetadataFound, out);
        let Some(quest) = self.quests.get_mut(&id) else { return };
        quest.phase = Phase::Found;
        quest.sizes.clear();
        out.push(Action::MetadataFound { quest: id, info_bytes });
    }

    pub(super) fn on_metadata_refused(
        &mut self,
        id: TorrentId,
        cause: String,
        out: &mut Vec<Action>,
    ) {
        let Some(quest) = self.quests.get_mut(&id) else { return };
        quest.phase = Phase::Failed(cause.clone());
        quest.announcing.unwant();
        notify(out, Notice::QuestFailed { quest: id, cause });
        self.dirty.insert(id);
    }

    /// The torrent of an info hash is taken in: its quest, if any, is over. Trackers are not told
    /// `stopped`, for the torrent goes on under the same peer id.
    pub(super) fn fulfil_quest(
        &mut self,
        info_hash: &InfoHash,
        out: &mut Vec<Action>,
    ) -> Option<Quest> {
        let id = self.quest_of(info_hash)?;
        self.end_quest(id, &CloseCause::MetadataFound, true, out)
    }

    /// Forgets a quest.
    pub(super) fn remove_quest(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        if let Some(quest) = self.quests.get_mut(&id) {
            quest.announcing.unwant();
        }
        // `stopped` is said at once or not at all: nobody is here to hear the answer.
        self.quest_announce_due(id, out);
        self.end_quest(id, &CloseCause::TorrentStopped, false, out);
    }

    fn end_quest(
        &mut self,
        id: TorrentId,
        cause: &CloseCause,
        found: bool,
        out: &mut Vec<Action>,
    ) -> Option<Quest> {
        self.close_sources(id, cause, out);
        for timer in [Timer::Metadata(id), Timer::Announce(id), Timer::Redial(id)] {
            self.timers.clear(timer);
        }
        self.dirty.remove(&id);
        let quest = self.quests.remove(&id)?;
        notify(out, Notice::QuestEnded { quest: id, found });
        Some(quest)
    }

    /// Part of [`Self::check_invariants`].
    pub(super) fn check_quests(&self) {
        for (conn, id) in &self.quest_conns {
            assert!(self.quests[id].sources.contains_key(conn), "{conn:?} is no source");
            assert!(!self.conns.contains_key(conn), "{conn:?} is of a torrent too");
        }
        for (id, quest) in &self.quests {
            assert!(!self.by_hash.contains_key(&quest.magnet.info_hash), "{id:?} is here");
            for (conn, source) in &quest.sources {
                assert_eq!(self.quest_conns.get(conn), Some(id), "the quest of {conn:?}");
                let assembly = source.size.and_then(|size| quest.sizes.get(&size));
                let asked = |piece| assembly.is_some_and(|assembly| assembly.is_asked(piece));
                assert!(source.asked.keys().all(|&piece| asked(piece)), "asked of {conn:?}");
            }
        }
    }
}
