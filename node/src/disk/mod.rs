//! The disk: state directory, chunk memory, merges, sources of uploads, making of torrents.
//!
//! A synchronous, blocking library: the shell calls it on its own blocking threads. Never here:
//! peers, timers, or any decision about what to fetch.

mod cache;
mod commit;
mod create;
mod error;
mod fs;
mod hash;
mod layout;
mod ledger;
mod merge;
mod read;
mod real;
mod record;
mod remove;
mod store;
mod tables;
mod torrent;
mod verify;
mod window;
mod write;

pub use create::{CreateError, CreateOptions, Created, create};
pub use error::{CommitCause, CommitError, DiskError, MergeError, OpenError};
pub use fs::{FileStamp, FileSystem, Location, OpenMode, is_full};
pub use hash::{hash_blocks, hash_parts};
pub use layout::LayoutError;
pub use merge::Merged;
pub use read::Source;
pub use real::RealFileSystem;
pub use record::{MagnetRecord, Place, Placement, TorrentRecord};
pub use remove::MergedFiles;
pub use store::{Store, StoreError};
pub use torrent::{Opened, TorrentStore};

#[cfg(test)]
mod tests;
