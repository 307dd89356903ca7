//! The swarms by info hash: found by a keyed hash, seen in order, swept when they are due. Never
//! here: what happens in a swarm.

use std::collections::BTreeSet;

use hashbrown::HashTable;

use super::{hash::HashKeys, side::grow, swarm::Swarm};
use crate::ids::InfoHash;

/// The swarms of a tracker.
///
/// Invariants: `table` holds the index of every swarm of `list` once, `order` its info hash, and
/// `due` that and its second, where it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Torrents {
    list: Vec<Swarm>,
    table: HashTable<u32>,
    order: BTreeSet<InfoHash>,
    due: BTreeSet<(u32, InfoHash)>,
}

impl Torrents {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn find(&self, keys: &HashKeys, info_hash: InfoHash) -> Option<usize> {
        let is_it = |&index: &u32| self.list[index as usize].info_hash == info_hash;
        self.table.find(keys.hash(&info_hash.0), is_it).map(|&index| index as usize)
    }

    pub(super) fn swarm(&self, index: usize) -> &Swarm {
        &self.list[index]
    }

    pub(super) fn swarm_mut(&mut self, index: usize) -> &mut Swarm {
        &mut self.list[index]
    }

    /// Puts in an empty swarm of a torrent that has none; returns its index.
    pub(super) fn insert(&mut self, keys: &HashKeys, info_hash: InfoHash) -> usize {
        debug_assert_eq!(self.find(keys, info_hash), None, "a torrent put in twice");
        let Self { list, table, order, .. } = self;
        let index = list.len();
        grow(list);
        list.push(Swarm::new(info_hash));
        order.insert(info_hash);
        let hash = |&index: &u32| keys.hash(&list[index as usize].info_hash.0);
        table.insert_unique(hash(&number(index)), number(index), hash);
        index
    }

    /// Takes out a swarm; another may have its index then.
    pub(super) fn remove(&mut self, keys: &HashKeys, index: usize) {
        self.set_due(index, None);
        let swarm = self.list.swap_remove(index);
        self.order.remove(&swarm.info_hash);
        let hash = keys.hash(&swarm.info_hash.0);
        if let Ok(entry) = self.table.find_entry(hash, |&other| other == number(index)) {
            entry.remove();
        }
        let Some(moved) = self.list.get(index) else { return };
        let was = number(self.list.len());
        let hash = keys.hash(&moved.info_hash.0);
        if let Some(known) = self.table.find_mut(hash, |&known| known == was) {
            *known = number(index);
        }
    }

    /// When a swarm is to be swept.
    pub(super) fn set_due(&mut self, index: usize, due: Option<u32>) {
        let swarm = &mut self.list[index];
        if swarm.due == due {
            return;
        }
        if let Some(second) = std::mem::replace(&mut swarm.due, due) {
            self.due.remove(&(second, swarm.info_hash));
        }
        if let Some(second) = due {
            self.due.insert((second, swarm.info_hash));
        }
    }

    /// A swarm that is to be swept in this second, or was before.
    pub(super) fn first_due(&self, second: u32) -> Option<InfoHash> {
        self.due.first().filter(|(due, _)| *due <= second).map(|&(_, info_hash)| info_hash)
    }

    /// The torrents after this one (from the first with `None`), in order.
    pub(super) fn after(&self, info_hash: Option<InfoHash>) -> impl Iterator<Item = InfoHash> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = info_hash.map_or(Unbounded, Excluded);
        self.order.range((from, Unbounded)).copied()
    }

    /// The memory of all swarms.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.list.iter().map(Swarm::bytes).sum()
    }

    #[cfg(test)]
    pub(super) fn check(&self, keys: &HashKeys) {
        let len = self.len();
        assert_eq!((self.table.len(), self.order.len()), (len, len));
        let due = self.list.iter().filter(|swarm| swarm.due.is_some()).count();
        assert_eq!(self.due.len(), due);
        for (index, swarm) in self.list.iter().enumerate() {
            assert_eq!(self.find(keys, swarm.info_hash), Some(index));
            assert!(self.order.contains(&swarm.info_hash));
            assert!(swarm.due.is_none_or(|due| self.due.contains(&(due, swarm.info_hash))));
            swarm.check(keys);
        }
    }
}

/// The limit of torrents keeps every index far below.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
