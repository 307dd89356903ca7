//! The state directory: its lock, its database and the metainfo files beside it.
//!
//! Never here: the torrents' data, see [`TorrentStore`](super::TorrentStore).

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};
use rustix::fs::FlockOperation;

use super::cache::FileCache;

/// The state directory of one node. Cheap to clone; every method blocks.
///
/// The directory is locked until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

/// Why the state directory refuses.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another node has the directory.
    #[error("state directory {} is in use by process {pid}", dir.display())]
    InUse {
        /// The state directory.
        dir: PathBuf,
        /// The process that holds it; 0 where it has not said yet.
        pid: u32,
    },
    /// A file or folder of the state directory failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// What failed.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The database failed, also after it was closed and opened again.
    #[error("database {}: {source}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// How.
        source: Box<redb::Error>,
    },
    /// A value in the database that is none we wrote.
    #[error("database {}: {table} of {key}: {message}", path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The key, printable.
        key: String,
        /// What is wrong with the value.
        message: String,
    },
}

impl Store {
    /// Opens a state directory, making it (for this user alone) where it is missing.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process, or another `Store` of this one, holds it;
    /// [`StoreError::Io`] and [`StoreError::Database`] where it cannot be used.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let database = |path: &Path| Database::create(path).map_err(redb::Error::from);
        Self::open_with(dir, Box::new(database))
    }

    /// [`Store::open`] over a database that a test may break.
    pub(super) fn open_with(dir: &Path, opener: Opener) -> Result<Self, StoreError> {
        make_private_dir(dir)?;
        make_private_dir(&dir.join(TORRENTS_DIR))?;
        let lock = lock(dir)?;
        let path = dir.join(DATABASE_FILE);
        let database = opener(&path).map_err(|source| database_error(&path, source))?;
        let store = Self(Arc::new(Inner {
            dir: dir.to_path_buf(),
            path,
            opener,
            database: RwLock::new(Some(database)),
            files: FileCache::new(OPEN_FILES_MAX),
            _lock: lock,
        }));
        store.write(super::tables::create)?;
        Ok(store)
    }

    /// The state directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// The open files of all torrents.
    pub(super) fn files(&self) -> &FileCache {
        &self.0.files
    }

    /// The database's file, for messages.
    pub(super) fn database_path(&self) -> &Path {
        &self.0.path
    }

    /// Runs a durable transaction. `change` may run twice: after an I/O error the database is
    /// closed, opened again, and the change repeated.
    pub(super) fn write<T>(
        &self,
        change: impl Fn(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// Runs a reading transaction, twice where the first hits an I/O error.
    pub(super) fn read<T>(
        &self,
        query: impl Fn(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.with(|database| query(&database.begin_read()?))
    }

    fn with<T>(&self, act: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let first = {
            let database = self.0.database.read().unwrap_or_else(PoisonError::into_inner);
            database.as_ref().map(&act)
        };
        match first {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) if !refuses_for_ever(&error) => {
                return Err(database_error(&self.0.path, error));
            }
            // Broken, or a former attempt to open it again failed.
            Some(Err(_)) | None => {}
        }
        let mut database = self.0.database.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have opened it again: then this closes it once more, harmlessly.
        *database = None;
        let opened =
            (self.0.opener)(&self.0.path).map_err(|error| database_error(&self.0.path, error))?;
        act(database.insert(opened)).map_err(|error| database_error(&self.0.path, error))
    }

    /// Writes a file beside the database so that it is there whole or not at all.
    pub(super) fn write_file(&self, relative: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.0.dir.join(relative);
        let written = (|| {
            let parent = path.parent().unwrap_or(&self.0.dir);
            let mut file = tempfile::NamedTempFile::new_in(parent)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(parent)?.sync_all()
        })();
        written.map_err(|source| StoreError::Io { path, source })
    }
}

/// Opens the database; called again after an I/O error.
pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, redb::Error> + Send + Sync>;

struct Inner {
    dir: PathBuf,
    path: PathBuf,
    opener: Opener,
    /// `None` only where opening it again failed.
    database: RwLock<Option<Database>>,
    files: FileCache,
    /// Holds the `flock`; dropped last, after the database.
    _lock: File,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Takes the directory's lock and writes our process id into it.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK_FILE);
    let failed = |source| StoreError::Io { path: path.clone(), source };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // A holder that has not written its id yet is no reason to say less.
            let _ = file.read_to_string(&mut text);
            let pid = text.trim().parse().unwrap_or(0);
            return Err(StoreError::InUse { dir: dir.to_path_buf(), pid });
        }
        Err(error) => return Err(failed(error.into())),
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn make_private_dir(path: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StoreError::Io { path: path.to_path_buf(), source })
}

/// Whether redb answers nothing more until it is opened again.
fn refuses_for_ever(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed)
}

fn database_error(path: &Path, source: redb::Error) -> StoreError {
    StoreError::Database { path: path.to_path_buf(), source: Box::new(source) }
}

/// The lock of the directory; its content is the holder's process id.
const LOCK_FILE: &str = "lock";
const DATABASE_FILE: &str = "node.redb";
/// Metainfo files, `<info hash>.torrent`.
pub(super) const TORRENTS_DIR: &str = "torrents";
/// The most files held open for data, over all torrents: half of the common limit of 1 024 open
/// files, the rest being sockets (the limit is raised at start where the system allows).
const OPEN_FILES_MAX: usize = 512;
