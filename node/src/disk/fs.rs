//! The seam under the chunk memory: every act on a disk that a have-bit may depend on goes through
//! [`FileSystem`], so that a test can forget what was not synced, fail a sync or fill the disk.
//!
//! Never here: torrents, pieces, or the database.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, IoSlice},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// A path below a trusted folder. The folder is the operator's and may be reached through symbolic
/// links; nothing below it is followed through one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Location {
    /// The trusted folder, absolute.
    pub base: Arc<Path>,
    /// Plain components below it; empty for the folder itself.
    pub relative: PathBuf,
}

/// What tells whether a file is still the one we knew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileStamp {
    /// Length in bytes.
    pub len: u64,
    /// Time of the last change of the content, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// The number of the inode.
    pub inode: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// To read an existing file.
    Read,
    /// To read and write an existing file.
    Write,
    /// To read and write, making the file where it is missing.
    Create,
    /// To read and write a file that must not exist yet.
    CreateNew,
}

/// The acts on a disk that durability rests on. All of them block.
///
/// No method follows a symbolic link below [`Location::base`]. Errors are the operating system's.
#[expect(clippy::missing_errors_doc, reason = "every method returns the system's own error")]
pub trait FileSystem: Send + Sync + std::fmt::Debug {
    /// Opens a regular file. Anything else at the path is refused.
    fn open(&self, at: &Location, mode: OpenMode) -> io::Result<File>;
    /// The stamp of the regular file at a path, without opening it.
    fn stamp(&self, at: &Location) -> io::Result<FileStamp>;
    /// Sets the length of a file, leaving a hole where it grows.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()>;
    /// Writes all of these buffers, one after the other, from `offset` on.
    fn write_all_at(&self, file: &File, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Writes the whole of one file over another, empty one.
    fn copy(&self, from: &File, to: &File) -> io::Result<u64>;
    /// Makes the content of a file, and the length needed to read it back, durable.
    fn sync_file(&self, file: &File) -> io::Result<()>;
    /// Lets go of what memory holds of a range of a file and the disk should hold too, so that the
    /// next read tells what the disk holds. After a failed sync the two differ, and only memory
    /// has what was written.
    fn drop_cache(&self, file: &File, offset: u64, len: u64) -> io::Result<()>;
    /// Makes the entries of a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the folder at a path and those above it that are missing. Returns the folders that
    /// got a new entry, to be synced.
    fn create_dirs(&self, at: &Location) -> io::Result<Vec<PathBuf>>;
    /// Gives a file a new path, on the same file system only. Never replaces an existing file.
    fn rename(&self, from: &Location, to: &Location) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, at: &Location) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, at: &Location) -> io::Result<()>;
    /// Bytes that this process may still write below the nearest existing folder of a path.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
}

impl Location {
    /// A path of `components` below `base`.
    ///
    /// The components are plain names: metainfo has refused `..`, separators and empty ones, and
    /// [`FileSystem`] walks them one by one all the same.
    pub fn new<S: AsRef<OsStr>>(base: &Arc<Path>, components: impl IntoIterator<Item = S>) -> Self {
        let mut relative = PathBuf::new();
        components.into_iter().for_each(|component| relative.push(component.as_ref()));
        Self { base: base.clone(), relative }
    }

    /// The whole path, for messages and for syncing folders.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        if self.relative.as_os_str().is_empty() {
            return self.base.to_path_buf();
        }
        self.base.join(&self.relative)
    }

    /// The folder that holds this, `None` for the base.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let relative = self.relative.parent()?.to_path_buf();
        Some(Self { base: self.base.clone(), relative })
    }

    /// The same folder, another name.
    #[must_use]
    pub fn with_name(&self, name: &OsStr) -> Self {
        Self { base: self.base.clone(), relative: self.relative.with_file_name(name) }
    }
}

impl FileStamp {
    /// The stamp of an open file or of a folder's entry.
    #[must_use]
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        let mtime_ns =
            metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Self { len: metadata.len(), mtime_ns, inode: metadata.ino() }
    }
}

/// Whether an error says that there is no room: the disk's or the quota's.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
