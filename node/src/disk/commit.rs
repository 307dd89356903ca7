//! Have-bits, committed only after the data under them is synced (§10 of the design).
//!
//! Never here: when to commit; the session's timer says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use shoal_core::ids::PieceIndex;

use super::{
    error::{CommitError, DiskError},
    fs::OpenMode,
    record::Place,
    tables::Changes,
    torrent::{TorrentStore, is_missing},
};

impl TorrentStore {
    /// Makes every written piece durable, and then its have-bit. Returns the pieces committed.
    ///
    /// Call it every 2 s or 64 MiB while there are writes, and before the node ends; with nothing
    /// to do it costs nothing.
    ///
    /// # Errors
    /// [`CommitError`] with the pieces that are lost: after a failed sync everything uncommitted,
    /// to be fetched again. Where only the database failed nothing is lost.
    pub fn commit(&self) -> Result<Vec<PieceIndex>, CommitError> {
        let _one = self.0.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let (dirty, dirs) = {
            let mut ledger = self.ledger();
            if !ledger.lost.is_empty() {
                return Err(self.report_lost(DiskError::at(self.0.layout.origin().path())(
                    io::Error::other("a sync failed"),
                )));
            }
            let mut written = std::mem::take(&mut ledger.written);
            ledger.committing.append(&mut written);
            (std::mem::take(&mut ledger.dirty), std::mem::take(&mut ledger.dirty_dirs))
        };
        if let Err(error) = self.sync(&dirty, &dirs) {
            let mut ledger = self.ledger();
            ledger.lose_uncommitted();
            ledger.dirty_dirs.extend(dirs);
            drop(ledger);
            return Err(self.report_lost(error));
        }
        self.commit_bits()
    }

    /// Syncs files, then folders.
    fn sync(
        &self,
        dirty: &BTreeMap<usize, Option<Arc<File>>>,
        dirs: &BTreeSet<PathBuf>,
    ) -> Result<(), DiskError> {
        for (&file, open) in dirty {
            let place = self.ledger().files[file].place;
            let at = self.0.layout.location(file, place);
            let synced = match open {
                Some(open) => self.0.fs.sync_file(open),
                None => {
                    self.0.fs.open(&at, OpenMode::Read).and_then(|open| self.0.fs.sync_file(&open))
                }
            };
            match synced {
                // What cannot be written to has nothing unwritten.
                Err(error) if place == Place::Seed && is_read_only(&error) => {}
                outcome => outcome.map_err(DiskError::at(at.path()))?,
            }
        }
        self.sync_dirs(dirs)
    }

    /// Makes the entries of folders durable, those above first.
    pub(super) fn sync_dirs(&self, dirs: &BTreeSet<PathBuf>) -> Result<(), DiskError> {
        for dir in dirs {
            match self.0.fs.sync_dir(dir) {
                // A folder that is gone holds nothing we claim.
                Err(error) if is_missing(&error) => {}
                outcome => outcome.map_err(DiskError::at(dir))?,
            }
        }
        Ok(())
    }

    /// Writes the bitmap and the places that go with it, in one transaction.
    fn commit_bits(&self) -> Result<Vec<PieceIndex>, CommitError> {
        let (have, places, moved) = {
            let mut ledger = self.ledger();
            if !ledger.committing.is_empty() || ledger.forgotten || !ledger.moved.is_empty() {
                let (have, places) = ledger.snapshot();
                ledger.forgotten = false;
                (have, places, std::mem::take(&mut ledger.moved))
            } else {
                return Ok(Vec::new());
            }
        };
        let changes = Changes { have: Some(&have.to_wire()), places: &places, intents: &[] };
        let outcome = self.0.store.commit(self.info_hash(), &changes);
        let mut ledger = self.ledger();
        if let Err(error) = outcome {
            ledger.forgotten = true;
            ledger.moved.extend(moved);
            // Their data is synced: the next commit takes them along.
            let mut waiting = std::mem::take(&mut ledger.committing);
            ledger.written.append(&mut waiting);
            return Err(CommitError { lost: Vec::new(), source: error.into() });
        }
        // What was forgotten meanwhile is not in `committing`, but the database has its bit.
        let committed = std::mem::take(&mut ledger.committing);
        for piece in have.iter_ones() {
            let kept = committed.contains(&piece) || ledger.committed.get(piece);
            ledger.forgotten |= !kept;
        }
        for piece in &committed {
            ledger.committed.set(*piece);
        }
        Ok(committed.into_iter().collect())
    }

    /// Syncs a file early where too many wait for the next commit, so that they do not use up the
    /// open files. A failure is reported by the next commit.
    pub(super) fn bound_dirty_files(&self) {
        loop {
            let (file, open) = {
                let mut ledger = self.ledger();
                let open = ledger.dirty.iter().filter(|(_, open)| open.is_some());
                if open.count() <= DIRTY_FILES_MAX {
                    return;
                }
                let Some((file, open)) = ledger.dirty.pop_first() else {
                    return;
                };
                (file, open)
            };
            let Some(open) = open else {
                // Verified only: it holds nothing open.
                self.ledger().dirty.insert(file, None);
                return;
            };
            if let Err(error) = self.0.fs.sync_file(&open) {
                let file = self.0.layout.location(file, Place::Chunks).path();
                tracing::warn!(file = %file.display(), %error, "cannot sync");
                self.ledger().lose_uncommitted();
                return;
            }
        }
    }

    fn report_lost(&self, source: DiskError) -> CommitError {
        let lost = std::mem::take(&mut self.ledger().lost).into_iter().collect();
        CommitError { lost, source: source.into() }
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::InvalidInput)
}

/// The most files that wait, open, for the next commit's sync: with [`super::store`]'s cache
/// still below the common limit of 1 024 open files.
const DIRTY_FILES_MAX: usize = 256;
