//! The data of one torrent, and what may be trusted of it when it is opened.
//!
//! Never here: writing, committing, reading, merging; each has its file.

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{fs::SeekFrom, io::Errno};
use shoal_core::{
    bitfield::Bitfield,
    ids::{InfoHash, PieceIndex},
    metainfo::Metainfo,
};

use super::{
    error::{DiskError, OpenError},
    fs::{FileStamp, FileSystem, OpenMode},
    layout::Layout,
    ledger::{FileState, Ledger},
    record::{Place, PlaceRecord, Placement},
    store::{Store, StoreError},
};

/// The data of one torrent. Cheap to clone; every method blocks, and all may be called at once.
#[derive(Clone, Debug)]
pub struct TorrentStore(pub(super) Arc<Inner>);

/// What was found when a torrent's data was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The pieces that may be served at once: committed, and their files as they were left.
    pub have: Bitfield,
    /// Pieces whose range holds data that nothing vouches for: to be verified in the background
    /// with [`TorrentStore::verify_pieces`], not to be downloaded before.
    pub unverified: Vec<PieceIndex>,
    /// Files, by index, that are not as they were left.
    pub changed: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) layout: Layout,
    pub(super) placement: Placement,
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) ledger: Mutex<Ledger>,
    /// Held while a commit runs: commits follow one another.
    pub(super) commits: Mutex<()>,
    /// Held while files and folders are made, until they are in `dirty_dirs`.
    pub(super) creates: Mutex<()>,
    /// Held while files are merged or removed.
    pub(super) merges: Mutex<()>,
}

impl TorrentStore {
    /// Opens the data of a torrent and completes the merges that were begun.
    ///
    /// What was committed is trusted without being read. A file in the chunk memory must have its
    /// whole length, a merged or seeded one the size, time and inode it was verified under.
    ///
    /// # Errors
    /// [`OpenError`] where the torrent has no place, its chunk memory cannot be made, or the
    /// database fails.
    pub fn open(
        store: &Store,
        meta: Arc<Metainfo>,
        placement: Placement,
        fs: Arc<dyn FileSystem>,
    ) -> Result<(Self, Opened), OpenError> {
        let layout = Layout::new(meta, &placement)?;
        let hash = layout.meta.info_hash;
        let pieces = layout.piece_count() as usize;
        let have = store.have(hash)?.and_then(|wire| Bitfield::from_wire(&wire, pieces).ok());
        let first = match placement {
            Placement::Downloads { .. } => Place::Chunks,
            Placement::Seed { .. } => Place::Seed,
        };
        let files = vec![FileState::new(first, None); layout.file_count()];
        let ledger = Ledger::new(have.unwrap_or_else(|| Bitfield::new(pieces)), files);
        let torrent = Self(Arc::new(Inner {
            store: store.clone(),
            layout,
            placement,
            fs,
            ledger: Mutex::new(ledger),
            commits: Mutex::new(()),
            creates: Mutex::new(()),
            merges: Mutex::new(()),
        }));
        store.files().remove_torrent(hash);
        let opened = torrent.resume()?;
        Ok((torrent, opened))
    }

    /// The torrent's info hash.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.0.layout.meta.info_hash
    }

    /// What the torrent is made of.
    #[must_use]
    pub fn metainfo(&self) -> &Arc<Metainfo> {
        &self.0.layout.meta
    }

    /// Where the data is.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.0.placement
    }

    /// The pieces on the disk, verified, committed or not.
    #[must_use]
    pub fn have(&self) -> Bitfield {
        let ledger = self.ledger();
        let mut have = ledger.committed.clone();
        for piece in ledger.written.iter().chain(&ledger.committing) {
            have.set(*piece);
        }
        have
    }

    /// The pieces that touch a file; none for an empty, unknown or pad file.
    #[must_use]
    pub fn pieces_of_file(&self, file: usize) -> Vec<PieceIndex> {
        if file < self.0.layout.file_count() && self.0.layout.is_on_disk(file) {
            self.0.layout.pieces_of(file).collect()
        } else {
            Vec::new()
        }
    }

    /// Which place a file is in and its path there; `None` for an unknown, pad or link file.
    #[must_use]
    pub fn place_of(&self, file: usize) -> Option<(Place, PathBuf)> {
        let layout = &self.0.layout;
        if file >= layout.file_count() || !layout.is_on_disk(file) {
            return None;
        }
        let place = self.ledger().files[file].place;
        Some((place, layout.location(file, place).path()))
    }

    /// For each file, in the metainfo's order, whether it is in its final place. Waits for no disk.
    #[must_use]
    pub fn in_place(&self) -> Vec<bool> {
        let layout = &self.0.layout;
        let ledger = self.ledger();
        let states = ledger.files.iter().enumerate();
        states.map(|(file, is)| layout.is_on_disk(file) && is.place != Place::Chunks).collect()
    }

    /// Bytes that may still be written where the chunk memory (or the seed) is.
    ///
    /// # Errors
    /// [`DiskError::Io`] where the file system does not say.
    pub fn free_space(&self) -> Result<u64, DiskError> {
        let path = self.0.layout.origin().path();
        self.0.fs.free_space(&path).map_err(DiskError::at(path))
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stamp of what is at a file's place; `None` where nothing is.
    pub(super) fn stamp_at(
        &self,
        file: usize,
        place: Place,
    ) -> Result<Option<FileStamp>, DiskError> {
        let at = self.0.layout.location(file, place);
        match self.0.fs.stamp(&at) {
            Ok(stamp) => Ok(Some(stamp)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(DiskError::at(at.path())(error)),
        }
    }

    fn resume(&self) -> Result<Opened, OpenError> {
        let recorded = self.recorded_places()?;
        let mut changed = BTreeSet::new();
        for (file, record) in &recorded {
            let state = &mut self.ledger().files[*file];
            (state.place, state.stamp) = (record.place, Some(record.stamp));
        }
        let merge_again = self.settle_merges()?;
        let mut holding = BTreeSet::new();
        let mut empty_chunks = true;
        for file in self.0.layout.files() {
            let (differs, data) = self.resume_file(file)?;
            if differs {
                changed.insert(file);
            }
            holding.extend(data);
            let place = self.ledger().files[file].place;
            empty_chunks &= place != Place::Chunks || self.0.layout.file_len(file) == 0;
        }
        if !empty_chunks {
            self.make_chunks_dir()?;
        }
        self.remove_leftovers(&changed);
        for file in merge_again {
            if let Err(error) = self.merge(Some(file)) {
                let hash = self.info_hash();
                tracing::warn!(%hash, file, %error, "cannot complete a merge that was begun");
            }
        }
        let ledger = self.ledger();
        let trusted = |piece: &PieceIndex| ledger.committed.get(*piece);
        let mut unverified: BTreeSet<_> = holding.into_iter().filter(|p| !trusted(p)).collect();
        // A piece of padding alone needs no disk.
        unverified.extend(ledger.committed.iter_zeros().filter(|&piece| self.is_padding(piece)));
        Ok(Opened {
            have: ledger.committed.clone(),
            unverified: unverified.into_iter().collect(),
            changed: changed.into_iter().collect(),
        })
    }

    /// The places the database knows, as far as this placement allows them.
    fn recorded_places(&self) -> Result<Vec<(usize, PlaceRecord)>, StoreError> {
        let Inner { store, layout, placement, .. } = &*self.0;
        let mut places = store.places(layout.meta.info_hash)?;
        places.retain(|(file, record)| {
            let possible = match placement {
                Placement::Downloads { .. } => record.place == Place::Merged,
                Placement::Seed { .. } => record.place == Place::Seed,
            };
            possible && *file < layout.file_count() && layout.is_on_disk(*file)
        });
        Ok(places)
    }

    /// Compares a file with what is known of it. Returns whether it differs, and the pieces whose
    /// ranges hold data.
    fn resume_file(&self, file: usize) -> Result<(bool, Vec<PieceIndex>), OpenError> {
        let layout = &self.0.layout;
        let place = self.ledger().files[file].place;
        let seen = self.stamp_at(file, place)?;
        let mut differs = false;
        {
            let mut ledger = self.ledger();
            let claimed = layout.pieces_of(file).any(|piece| ledger.committed.get(piece));
            let state = &ledger.files[file];
            let known = state.stamp.is_some() || claimed;
            if !state.agrees(seen, layout.file_len(file)) {
                // A seed never seen before has not changed.
                differs = known;
                if known || place != Place::Chunks {
                    ledger.on_changed(
                        file,
                        seen.filter(|_| place != Place::Chunks),
                        layout.pieces_of(file),
                    );
                }
            }
            let claimed = layout.pieces_of(file).any(|piece| ledger.committed.get(piece));
            if place == Place::Chunks && seen.is_some() && !claimed {
                // Made by a life of this node that may have ended before the folders were synced.
                let mut at = layout.location(file, place).parent();
                while let Some(dir) = at {
                    ledger.dirty_dirs.insert(dir.path());
                    at = dir.parent();
                }
            }
        }
        let whole = {
            let ledger = self.ledger();
            layout.pieces_of(file).all(|piece| ledger.committed.get(piece))
        };
        if whole || seen.is_none() {
            return Ok((differs, Vec::new()));
        }
        if place != Place::Chunks {
            // Somebody else's file: a hole in it is data like any other.
            return Ok((differs, layout.pieces_of(file).collect()));
        }
        Ok((differs, self.pieces_with_data(file, place)?))
    }

    /// The pieces that have data anywhere in this file, found without reading it.
    fn pieces_with_data(&self, file: usize, place: Place) -> Result<Vec<PieceIndex>, DiskError> {
        let layout = &self.0.layout;
        let at = layout.location(file, place);
        let failed = |error: io::Error| DiskError::at(at.path())(error);
        let open = self.0.fs.open(&at, OpenMode::Read).map_err(failed)?;
        let len = layout.file_len(file).min(open.metadata().map_err(failed)?.len());
        let mut pieces = Vec::new();
        let mut from = 0;
        while from < len {
            let data = match rustix::fs::seek(&open, SeekFrom::Data(from)) {
                Ok(data) => data,
                Err(Errno::NXIO) => break,
                // A file system without holes: all of it may be data.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => from,
                Err(error) => return Err(failed(error.into())),
            };
            let hole = rustix::fs::seek(&open, SeekFrom::Hole(data)).unwrap_or(len);
            let to = hole.min(len).max(data + 1);
            pieces.extend(layout.pieces_of_range(file, data.min(len), to.min(len)));
            from = to;
        }
        pieces.dedup();
        Ok(pieces)
    }

    /// Makes the chunk memory's folder, so that a downloads folder that cannot be written to is
    /// known before the first byte is asked for.
    fn make_chunks_dir(&self) -> Result<(), DiskError> {
        let Placement::Downloads { .. } = self.0.placement else {
            return Ok(());
        };
        let origin = self.0.layout.origin();
        self.0.fs.create_dirs(&origin).map_err(DiskError::at(origin.path()))?;
        if self.ledger().committed.count_ones() > 0 {
            return Ok(());
        }
        // Made just now, or by a life that ended before it could sync them.
        for dir in origin.base.ancestors().skip(1) {
            match self.0.fs.sync_dir(dir) {
                // What we may not read is not what we made.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                outcome => outcome.map_err(DiskError::at(dir))?,
            }
        }
        Ok(())
    }

    fn is_padding(&self, piece: PieceIndex) -> bool {
        self.0.layout.whole(piece).iter().all(|slice| slice.pad)
    }
}

/// Whether nothing is at a path: also where one of its folders is missing or a file.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
