//! Torrents as files describe them (BEP 3, 12, 19, 27, 47): the parsed [`Metainfo`].
//!
//! [`parse`] reads metainfo files, [`create`] makes them, [`paths`] judges names from an enemy,
//! [`layout`] knows which bytes lie where, [`names`] what chunks are called, [`web_seeds`] where
//! HTTP servers have them. Never here: a file on a disk, or hashing of content.

pub mod create;
pub mod error;
pub mod layout;
pub mod names;
pub mod parse;
pub mod paths;
pub mod web_seeds;

#[cfg(test)]
mod tests;

pub use self::{
    create::{Content, CreateOptions, NewFile, Pad, Plan},
    error::{MetainfoError, PathFault},
    layout::{FileSlice, Layout},
    names::{UnknownChunk, UnknownFile},
};
use crate::ids::InfoHash;

/// What a metainfo file says of a torrent. Everything in it has been checked: it is safe to use as
/// it stands, except that texts are to be sanitised before a terminal sees them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metainfo {
    /// SHA-1 of `info_bytes`.
    pub info_hash: InfoHash,
    /// The name of the file, or of the folder of a multi-file torrent: one safe path component.
    pub name: String,
    /// The length of every piece but the last, bytes.
    pub piece_len: u32,
    /// The SHA-1 of each piece.
    pub pieces: Vec<[u8; 20]>,
    /// The files in the order of their bytes, padding and symlinks among them.
    pub files: Vec<File>,
    /// Whether `files` lie in a folder called `name`; else there is one file, called `name`.
    pub is_multi: bool,
    /// Whether peers are to come from its trackers only (BEP 27).
    pub private: bool,
    /// Tracker URLs in tiers (BEP 12); a lone `announce` is one tier. Not shuffled.
    pub trackers: Vec<Vec<String>>,
    /// URLs of HTTP servers that have the content (BEP 19), each once, at most
    /// [`WEB_SEEDS_MAX`](crate::config::WEB_SEEDS_MAX).
    pub web_seeds: Vec<String>,
    /// A free text.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// When it was made, seconds since 1970.
    pub created_unix: Option<i64>,
    /// The original bytes of the `info` dictionary.
    pub info_bytes: Vec<u8>,
    layout: Layout,
    /// Indices of all files but padding, in order of path.
    by_path: Vec<u32>,
}

/// One file of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Safe components, without the torrent's name; of a single-file torrent its name.
    pub path: Vec<String>,
    /// Bytes.
    pub len: u64,
    /// Where it begins in the torrent, bytes.
    pub offset: u64,
    /// What it is.
    pub kind: FileKind,
}

/// What a file of a torrent is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// Content.
    Regular,
    /// Zeros that align the next file to a piece (BEP 47); never on a disk.
    Pad,
    /// A symlink: listed, never created. Has no bytes.
    Symlink,
}

impl Metainfo {
    /// Which bytes lie where.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes in all, padding included.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        self.layout.total_len()
    }

    /// The number of pieces.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        self.layout.piece_count()
    }
}

impl File {
    /// The path with `/` between its components: unique in its torrent unless the file is padding.
    #[must_use]
    pub fn joined(&self) -> String {
        self.path.join("/")
    }

    /// Where it ends in the torrent, bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }
}
