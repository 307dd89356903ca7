//! The files held open, over all torrents, least recently used out first.
//!
//! Never here: whether a file's content may be trusted.

use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shoal_core::ids::InfoHash;

/// Open files by torrent and file index. A file taken out stays open while somebody uses it.
#[derive(Debug)]
pub(super) struct FileCache {
    entries: Mutex<Entries>,
    capacity: usize,
}

/// What a file was opened for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

impl FileCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: Mutex::default(), capacity }
    }

    /// The open file, where it was opened for at least this access.
    pub(super) fn file(&self, hash: InfoHash, file: usize, access: Access) -> Option<Arc<File>> {
        let mut entries = self.lock();
        entries.tick += 1;
        let tick = entries.tick;
        let entry = entries.by_file.get_mut(&(hash, file))?;
        if access == Access::ReadWrite && entry.access == Access::Read {
            return None;
        }
        entry.used = tick;
        Some(entry.file.clone())
    }

    /// Keeps an open file, replacing the one kept before.
    pub(super) fn insert(&self, hash: InfoHash, file: usize, access: Access, open: Arc<File>) {
        let mut entries = self.lock();
        entries.tick += 1;
        let used = entries.tick;
        if entries.by_file.len() >= self.capacity && !entries.by_file.contains_key(&(hash, file)) {
            let oldest = entries.by_file.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                entries.by_file.remove(&key);
            }
        }
        entries.by_file.insert((hash, file), Entry { file: open, access, used });
    }

    /// Lets go of one file.
    pub(super) fn remove(&self, hash: InfoHash, file: usize) {
        self.lock().by_file.remove(&(hash, file));
    }

    /// Lets go of a torrent's files.
    pub(super) fn remove_torrent(&self, hash: InfoHash) {
        self.lock().by_file.retain(|(of, _), _| *of != hash);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Entries {
    by_file: HashMap<(InfoHash, usize), Entry>,
    /// Counts uses: the clock of "least recently".
    tick: u64,
}

#[derive(Debug)]
struct Entry {
    file: Arc<File>,
    access: Access,
    used: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_recently_used_file_goes_first() {
        let cache = FileCache::new(2);
        let hash = InfoHash([0; 20]);
        let open = || Arc::new(tempfile::tempfile().unwrap());
        cache.insert(hash, 0, Access::ReadWrite, open());
        cache.insert(hash, 1, Access::Read, open());
        assert!(cache.file(hash, 0, Access::Read).is_some());
        cache.insert(hash, 2, Access::Read, open());
        assert!(cache.file(hash, 1, Access::Read).is_none());
        assert!(cache.file(hash, 0, Access::ReadWrite).is_some());
        assert!(cache.file(hash, 2, Access::ReadWrite).is_none(), "opened to read only");
    }
}
