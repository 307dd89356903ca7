//! The disk: state directory, chunk memory, merges, sources of uploads, making of torrents.
//!
//! A synchronous, blocking library: the shell calls it on its own blocking threads. Never here:
//! peers, timers, or any decision about what to fetch.

mod cache;
mod fs;
mod real;
mod record;
mod store;
mod tables;

pub use fs::{FileStamp, FileSystem, Location, OpenMode, is_full};
pub use real::RealFileSystem;
pub use record::{Place, Placement, TorrentRecord};
pub use store::{Store, StoreError};
