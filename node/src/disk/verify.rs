//! Verification of pieces on the disk.
//!
//! Never here: which pieces, or on which threads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
};

use sha1::{Digest, Sha1};
use shoal_core::{ids::PieceIndex, metainfo::FileSlice};

use super::{
    error::DiskError,
    fs::OpenMode,
    ledger::Ledger,
    record::Place,
    torrent::{TorrentStore, is_missing},
    window::{hash_range, hash_zeros, read_ahead},
};

impl TorrentStore {
    /// Reads pieces from the disk and compares them with their hashes; tells of each, in order,
    /// whether it matches. A piece that matches is had and committed by the next
    /// [`TorrentStore::commit`]; one that does not is not had any more. Missing and short files do
    /// not match, and what a failed sync lost does not until it is written again.
    ///
    /// What is looked at once for all of them makes several pieces cheaper than one by one. The
    /// disk is told of the whole range at the start, so it reads on while the first bytes of it
    /// are hashed.
    ///
    /// # Errors
    /// [`DiskError::Io`] where a file cannot be read, [`DiskError::Changed`] where a merged or
    /// seeded file changed meanwhile (all its pieces are to be verified again),
    /// [`DiskError::Overtaken`] where a sync failed meanwhile, [`DiskError::Range`] for an unknown
    /// piece. Nothing is noted of any of the pieces then.
    pub fn verify_pieces(&self, pieces: &[PieceIndex]) -> Result<Vec<bool>, DiskError> {
        let looks = self.begin(pieces)?;
        let fresh = looks.iter().filter(|look| !look.had && !look.suspect);
        self.drop_cache(&ranges(fresh))?;
        self.read_on(&ranges(looks.iter().filter(|look| !look.suspect)));
        let mut matches = Vec::with_capacity(looks.len());
        for look in &looks {
            let right = !look.suspect && self.hash_on_disk(&look.slices)? == Some(look.expected);
            matches.push(right);
        }
        let right = looks.iter().zip(&matches).filter(|(_, matches)| **matches);
        let filled: BTreeSet<usize> = right.flat_map(|(look, _)| look.files()).collect();
        filled.into_iter().try_for_each(|file| self.make_whole(file))?;
        let before: BTreeMap<usize, u64> = looks.iter().flat_map(Look::changes).collect();
        before.keys().try_for_each(|&file| self.check(file))?;
        let mut ledger = self.ledger();
        let now = |file: usize| ledger.files[file].changes;
        if let Some((&file, _)) = before.iter().find(|(file, before)| now(**file) != **before) {
            return Err(DiskError::Changed { file });
        }
        for (look, &matches) in looks.iter().zip(&matches) {
            if matches && ledger.failed_syncs != look.failed_syncs {
                return Err(DiskError::Overtaken { piece: look.piece });
            }
        }
        for (look, &matches) in looks.iter().zip(&matches) {
            match (matches, look.suspect) {
                (true, _) => ledger.note(look.piece, look.files().map(|file| (file, None))),
                (false, false) => ledger.forget(look.piece),
                (false, true) => {}
            }
        }
        Ok(matches)
    }

    /// One piece, as [`TorrentStore::verify_pieces`].
    ///
    /// # Errors
    /// The same.
    pub fn verify_piece(&self, piece: PieceIndex) -> Result<bool, DiskError> {
        Ok(self.verify_pieces(&[piece])? == [true])
    }

    /// What is known before the disk is asked.
    fn begin(&self, pieces: &[PieceIndex]) -> Result<Vec<Look>, DiskError> {
        let layout = &self.0.layout;
        if let Some(&piece) = pieces.iter().find(|piece| piece.0 >= layout.piece_count()) {
            return Err(DiskError::Range { piece, offset: 0, len: 0 });
        }
        let ledger = self.ledger();
        let look = |&piece: &PieceIndex| {
            let expected = layout.meta.pieces[piece.0 as usize];
            Look::new(piece, expected, layout.whole(piece), &ledger)
        };
        Ok(pieces.iter().map(look).collect())
    }

    /// Gives a file of the chunk memory its whole length before anything rests on it: it may be of a
    /// life of this node that ended before its length was durable.
    fn make_whole(&self, file: usize) -> Result<(), DiskError> {
        let layout = &self.0.layout;
        {
            let ledger = self.ledger();
            let claimed = || layout.pieces_of(file).any(|piece| ledger.has(piece));
            if ledger.files[file].place != Place::Chunks || claimed() {
                return Ok(());
            }
        }
        let at = layout.location(file, Place::Chunks);
        let whole = |open: File| self.set_whole_len(file, &open);
        match self.0.fs.open(&at, OpenMode::Write).and_then(whole) {
            // It has just been merged.
            Err(error) if is_missing(&error) => Ok(()),
            outcome => outcome.map_err(DiskError::at(at.path())),
        }
    }

    /// Makes the next read of what we wrote, and nothing vouches for, a read of the disk: an earlier
    /// life of this node may have had a failed sync.
    fn drop_cache(&self, ranges: &[FileSlice]) -> Result<(), DiskError> {
        for range in ranges {
            let place = self.ledger().files[range.file].place;
            if place == Place::Seed {
                continue;
            }
            match self.file_to_read(range.file) {
                Ok(file) => self
                    .0
                    .fs
                    .drop_cache(&file, range.file_offset, range.len)
                    .map_err(DiskError::at(self.0.layout.location(range.file, place).path()))?,
                Err(DiskError::Io { source, .. }) if is_missing(&source) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets the disk begin. What is wrong with a file is told by reading it.
    fn read_on(&self, ranges: &[FileSlice]) {
        for range in ranges {
            if let Ok(file) = self.file_to_read(range.file) {
                read_ahead(&file, range.file_offset, range.len);
            }
        }
    }

    /// The hash of what is on the disk, `None` where some of it is missing.
    fn hash_on_disk(&self, slices: &[FileSlice]) -> Result<Option<[u8; 20]>, DiskError> {
        let mut hash = Sha1::new();
        for slice in slices {
            if slice.pad {
                hash_zeros(&mut hash, slice.len);
                continue;
            }
            let file = match self.file_to_read(slice.file) {
                Ok(file) => file,
                Err(DiskError::Io { source, .. }) if is_missing(&source) => return Ok(None),
                Err(error) => return Err(error),
            };
            match hash_range(&mut hash, &file, slice.file_offset, slice.len) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => {
                    let place = self.ledger().files[slice.file].place;
                    let path = self.0.layout.location(slice.file, place).path();
                    return Err(DiskError::at(path)(error));
                }
            }
        }
        Ok(Some(hash.finalize().into()))
    }
}

/// A piece under verification, and what was known as it began.
struct Look {
    piece: PieceIndex,
    expected: [u8; 20],
    slices: Vec<FileSlice>,
    /// How often each file had changed.
    changes: Vec<(usize, u64)>,
    /// How many syncs had failed.
    failed_syncs: u64,
    had: bool,
    /// Lost by a failed sync: what can be read of it proves nothing.
    suspect: bool,
}

impl Look {
    fn new(piece: PieceIndex, expected: [u8; 20], slices: Vec<FileSlice>, ledger: &Ledger) -> Self {
        let files = slices.iter().filter(|slice| !slice.pad).map(|slice| slice.file);
        let changes = files.map(|file| (file, ledger.files[file].changes)).collect();
        let (had, suspect) = (ledger.has(piece), ledger.suspect.contains(&piece));
        Self { piece, expected, slices, changes, failed_syncs: ledger.failed_syncs, had, suspect }
    }

    fn files(&self) -> impl Iterator<Item = usize> {
        self.changes.iter().map(|(file, _)| *file)
    }

    fn changes(&self) -> impl Iterator<Item = (usize, u64)> {
        self.changes.iter().filter(|_| !self.suspect).copied()
    }
}

/// The ranges of files that pieces lie in, those that follow one another as one.
fn ranges<'a>(looks: impl Iterator<Item = &'a Look>) -> Vec<FileSlice> {
    let mut ranges: Vec<FileSlice> = Vec::new();
    for slice in looks.flat_map(|look| &look.slices).filter(|slice| !slice.pad) {
        match ranges.last_mut() {
            Some(last)
                if last.file == slice.file && last.file_offset + last.len == slice.file_offset =>
            {
                last.len += slice.len;
            }
            _ => ranges.push(*slice),
        }
    }
    ranges
}
