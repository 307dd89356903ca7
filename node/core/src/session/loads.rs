//! What each torrent takes of what all share, and the sums of it: no decision adds up all torrents.
//! Never here: how much one may take.

use std::collections::{BTreeMap, BTreeSet};

use super::Session;
use crate::ids::TorrentId;

/// What one torrent takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Load {
    /// Bytes of buffers for pieces being fetched or verified.
    pub(super) open_bytes: u64,
    /// A download of it is at work that buffers are kept for.
    pub(super) downloads: bool,
    /// It has connections, or a download: time matters to it.
    pub(super) is_busy: bool,
}

/// What all torrents take.
///
/// Invariant: the sums are those of `of`, which holds every load but empty ones.
#[derive(Debug, Default)]
pub(super) struct Loads {
    of: BTreeMap<TorrentId, Load>,
    busy: BTreeSet<TorrentId>,
    open_bytes: u64,
    downloads: usize,
}

impl Loads {
    /// Takes over what a torrent takes.
    pub(super) fn set(&mut self, id: TorrentId, load: Load) {
        let old = match load == Load::default() {
            true => self.of.remove(&id),
            false => self.of.insert(id, load),
        };
        let old = old.unwrap_or_default();
        self.open_bytes = self.open_bytes - old.open_bytes + load.open_bytes;
        self.downloads = self.downloads - usize::from(old.downloads) + usize::from(load.downloads);
        match load.is_busy {
            true => self.busy.insert(id),
            false => self.busy.remove(&id),
        };
    }

    /// What a torrent takes.
    pub(super) fn of(&self, id: TorrentId) -> Load {
        self.of.get(&id).copied().unwrap_or_default()
    }

    /// Bytes of buffers that all take.
    pub(super) fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// Whether others than this one download.
    pub(super) fn others_download(&self, id: TorrentId) -> bool {
        self.downloads > usize::from(self.of(id).downloads)
    }

    /// The torrents to which time matters.
    pub(super) fn busy(&self) -> impl Iterator<Item = TorrentId> + '_ {
        self.busy.iter().copied()
    }
}

impl Session {
    /// Counts a torrent anew.
    pub(super) fn weigh(&mut self, id: TorrentId) {
        self.loads.set(id, self.load_of(id));
    }

    fn load_of(&self, id: TorrentId) -> Load {
        let Some(torrent) = self.torrents.get(&id) else { return Load::default() };
        let downloads = torrent.auto_download.is_some();
        Load {
            open_bytes: torrent.pieces.open_bytes(),
            downloads: downloads && torrent.may_download(),
            is_busy: downloads || !torrent.conns.is_empty(),
        }
    }

    /// Checks that the sums are those of all torrents; for tests and simulation.
    ///
    /// # Panics
    /// Where they are not: our own mistake.
    pub(super) fn check_loads(&self) {
        for &id in self.torrents.keys() {
            assert_eq!(self.loads.of(id), self.load_of(id), "load of {id:?}");
        }
        let all = || self.torrents.keys().map(|&id| self.load_of(id));
        assert_eq!(self.loads.open_bytes, all().map(|load| load.open_bytes).sum::<u64>());
        assert_eq!(self.loads.downloads, all().filter(|load| load.downloads).count());
        assert_eq!(self.loads.busy.len(), all().filter(|load| load.is_busy).count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_every_change() {
        let mut loads = Loads::default();
        let (one, other) = (TorrentId(1), TorrentId(2));
        let load = Load { open_bytes: 5, downloads: true, is_busy: true };
        loads.set(one, load);
        assert!(loads.others_download(other) && !loads.others_download(one));
        loads.set(other, load);
        assert!(loads.others_download(one));
        assert_eq!((loads.open_bytes(), loads.busy().count()), (10, 2));
        loads.set(one, Load { open_bytes: 1, downloads: false, is_busy: true });
        assert_eq!((loads.open_bytes(), loads.busy().count()), (6, 2));
        assert!(!loads.others_download(other));
        loads.set(one, Load::default());
        loads.set(other, Load::default());
        assert_eq!((loads.open_bytes(), loads.busy().count(), loads.of.len()), (0, 0, 0));
    }
}
