//! Removing a torrent's data.

use std::{collections::BTreeSet, io, sync::PoisonError};

use super::{
    error::DiskError,
    record::Place,
    torrent::{TorrentStore, is_missing},
};

/// What becomes of merged files when a torrent is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MergedFiles {
    /// They stay.
    Keep,
    /// They go, and the folders that they leave empty.
    Delete,
}

impl TorrentStore {
    /// Removes the torrent's chunk memory and, where asked, its merged files. A seed's data is the
    /// operator's and stays. Files that are not the torrent's stay, and so do their folders.
    ///
    /// The caller has ended all use of the torrent, and forgets it with
    /// [`Store::remove_torrent`](super::Store::remove_torrent) afterwards: a crash between the two
    /// leaves a torrent with missing pieces, never data without a torrent.
    ///
    /// # Errors
    /// [`DiskError::Io`] with the first file that cannot be removed; repeat it then.
    pub fn remove(&self, merged: MergedFiles) -> Result<(), DiskError> {
        let _one = self.0.merges.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.store.files().remove_torrent(self.info_hash());
        let layout = &self.0.layout;
        let mut dirs = BTreeSet::new();
        for file in layout.files() {
            let place = self.ledger().files[file].place;
            match place {
                Place::Seed => continue,
                Place::Merged if merged == MergedFiles::Keep => continue,
                Place::Merged | Place::Chunks => {}
            }
            let at = layout.location(file, place);
            match self.0.fs.remove_file(&at) {
                Ok(()) => {}
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(DiskError::at(at.path())(error)),
            }
            let mut parent = at.parent();
            while let Some(dir) = parent {
                parent = dir.parent();
                dirs.insert(dir);
            }
        }
        for dir in dirs.iter().rev() {
            let is_downloads = dir.relative.as_os_str().is_empty() && *dir != layout.origin();
            if is_downloads {
                continue;
            }
            match self.0.fs.remove_dir(dir) {
                Err(error) if !is_missing(&error) && !is_occupied(&error) => {
                    return Err(DiskError::at(dir.path())(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let mut ledger = self.ledger();
        ledger.dirty.clear();
        ledger.dirty_dirs.clear();
        Ok(())
    }
}

fn is_occupied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::DirectoryNotEmpty
}
