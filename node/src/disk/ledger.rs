//! What is known of a torrent's data: which pieces are committed, which are only written, what has
//! to be synced before they may be committed, and how each file was last seen.
//!
//! Never here: any I/O. The ledger is held under a lock that nobody holds while a disk works.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use shoal_core::{bitfield::Bitfield, ids::PieceIndex};

use super::{
    fs::FileStamp,
    record::{Place, PlaceRecord},
};

/// The ledger of one torrent.
///
/// A piece is in at most one of `committed`, `committing` and `written`. A piece enters `written`
/// only together with its files in `dirty`, so whoever takes both finds what to sync.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Bits in the database, less those that are to be removed from it.
    pub(super) committed: Bitfield,
    /// Being committed.
    pub(super) committing: BTreeSet<PieceIndex>,
    /// Written or verified since the last commit began.
    pub(super) written: BTreeSet<PieceIndex>,
    /// Files to sync. `None`: verified, not written; to be opened for the sync.
    pub(super) dirty: BTreeMap<usize, Option<Arc<File>>>,
    /// Folders with new entries to sync.
    pub(super) dirty_dirs: BTreeSet<PathBuf>,
    /// Lost by a sync that failed outside a commit; the next commit says so.
    pub(super) lost: BTreeSet<PieceIndex>,
    /// Lost by a failed sync and not written again: what can be read of them may be in memory
    /// alone, where no later sync finds it.
    pub(super) suspect: BTreeSet<PieceIndex>,
    /// Whether bits were removed that the database still has.
    pub(super) forgotten: bool,
    /// Files whose place record in the database is out of date.
    pub(super) moved: BTreeSet<usize>,
    /// How many syncs have failed.
    pub(super) failed_syncs: u64,
    /// By file index.
    pub(super) files: Vec<FileState>,
}

/// How a file was last seen.
#[derive(Clone, Debug)]
pub(super) struct FileState {
    pub(super) place: Place,
    /// The stamp under which its pieces are verified; `None` in the chunk memory or where missing.
    pub(super) stamp: Option<FileStamp>,
    /// When the stamp was last compared with the disk.
    pub(super) checked: Option<Instant>,
    /// How often it changed under us: what was read before a change is not trusted after it.
    pub(super) changes: u64,
    /// Our own writes in flight to a merged file, whose stamp they change.
    pub(super) writers: u32,
}

impl Ledger {
    pub(super) fn new(committed: Bitfield, files: Vec<FileState>) -> Self {
        Self {
            committed,
            committing: BTreeSet::new(),
            written: BTreeSet::new(),
            dirty: BTreeMap::new(),
            dirty_dirs: BTreeSet::new(),
            lost: BTreeSet::new(),
            suspect: BTreeSet::new(),
            forgotten: false,
            moved: BTreeSet::new(),
            failed_syncs: 0,
            files,
        }
    }

    /// Whether a piece may be served: verified and on the disk, committed or not.
    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        self.committed.get(piece)
            || self.written.contains(&piece)
            || self.committing.contains(&piece)
    }

    /// A piece is on the disk and these files of it are to be synced.
    pub(super) fn note(
        &mut self,
        piece: PieceIndex,
        files: impl IntoIterator<Item = (usize, Option<Arc<File>>)>,
    ) {
        for (index, open) in files {
            let kept = self.dirty.entry(index).or_default();
            if open.is_some() {
                *kept = open;
            }
            if self.files[index].place != Place::Chunks {
                self.moved.insert(index);
            }
        }
        if !self.has(piece) {
            self.written.insert(piece);
        }
        self.lost.remove(&piece);
        self.suspect.remove(&piece);
    }

    /// A piece turned out bad or gone.
    pub(super) fn forget(&mut self, piece: PieceIndex) {
        self.written.remove(&piece);
        self.committing.remove(&piece);
        self.forgotten |= self.committed.clear(piece);
    }

    /// A sync failed: nothing uncommitted is on the disk for sure, nor ever will be.
    pub(super) fn lose_uncommitted(&mut self) {
        self.failed_syncs += 1;
        self.suspect.extend(self.committing.iter().chain(&self.written));
        self.lost.append(&mut self.committing);
        self.lost.append(&mut self.written);
        self.dirty.clear();
    }

    /// A file is not what it was: its pieces are forgotten, and what is seen is what they will be
    /// verified under.
    pub(super) fn on_changed(
        &mut self,
        file: usize,
        seen: Option<FileStamp>,
        pieces: impl Iterator<Item = PieceIndex>,
    ) {
        let state = &mut self.files[file];
        state.changes += 1;
        state.stamp = seen;
        if seen.is_none() && state.place == Place::Merged {
            state.place = Place::Chunks;
        }
        self.moved.insert(file);
        pieces.for_each(|piece| self.forget(piece));
    }

    /// The bitmap and the places as they stand once `committing` is committed.
    pub(super) fn snapshot(&self) -> (Bitfield, Vec<(usize, Option<PlaceRecord>)>) {
        let mut have = self.committed.clone();
        for piece in &self.committing {
            have.set(*piece);
        }
        (have, self.moved.iter().map(|&file| (file, self.files[file].record())).collect())
    }
}

impl FileState {
    pub(super) fn new(place: Place, stamp: Option<FileStamp>) -> Self {
        Self { place, stamp, checked: None, changes: 0, writers: 0 }
    }

    fn record(&self) -> Option<PlaceRecord> {
        let stamp = self.stamp.filter(|_| self.place != Place::Chunks)?;
        Some(PlaceRecord { place: self.place, stamp })
    }

    /// Whether what is seen at the file's place is still the file we knew.
    pub(super) fn agrees(&self, seen: Option<FileStamp>, len: u64) -> bool {
        match self.place {
            Place::Chunks => seen.is_some_and(|seen| seen.len == len),
            // Known to be missing, it is unchanged while it stays missing.
            Place::Merged | Place::Seed => seen == self.stamp,
        }
    }
}
