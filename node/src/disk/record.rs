//! What the database keeps of a torrent, as JSON: fields may be added, unknown ones are kept.
//!
//! Never here: how it is stored.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fs::FileStamp;

/// Where the data of a torrent is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Fetched into the chunk memory, merged into the downloads folder.
    Downloads {
        /// `<downloads>/.shoal/<info hash>`: this torrent's chunk memory, absolute.
        chunks_dir: PathBuf,
        /// The downloads folder, absolute.
        downloads: PathBuf,
    },
    /// Complete where the operator has it; never written to and never removed.
    Seed {
        /// The file of a single-file torrent, else the folder that holds its files. Absolute.
        path: PathBuf,
    },
}

/// A torrent of this node and what its operator wants of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TorrentRecord {
    /// Where the data is.
    pub placement: Placement,
    /// Paused by the operator.
    #[serde(default)]
    pub paused: bool,
    /// An auto_download job wants it.
    #[serde(default)]
    pub auto_download: bool,
    /// Added only to be seeded.
    #[serde(default)]
    pub seed_only: bool,
    /// The operator wants it announced.
    #[serde(default)]
    pub tracker_connected: bool,
    /// The operator's label, empty for none.
    #[serde(default)]
    pub label: String,
    /// The wanted files: a bitfield over the metainfo's files as on the wire, hexadecimal; absent
    /// where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_files: Option<String>,
    /// Payload that its connections together may send, bytes a second; 0 = no limit.
    #[serde(default)]
    pub upload_limit_bps: u64,
    /// Bytes that its connections together may receive, a second; 0 = no limit.
    #[serde(default)]
    pub download_limit_bps: u64,
    /// Payload bytes served in the torrent's life.
    #[serde(default)]
    pub uploaded_bytes: u64,
    /// Payload bytes received in the torrent's life.
    #[serde(default)]
    pub downloaded_bytes: u64,
    /// Whatever else was kept, also by a later version.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// A magnet link whose metadata is looked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MagnetRecord {
    /// What the link calls the torrent.
    #[serde(default)]
    pub name: Option<String>,
    /// Tracker tiers.
    #[serde(default)]
    pub trackers: Vec<Vec<String>>,
    /// Where peers listen.
    #[serde(default)]
    pub peers: Vec<SocketAddr>,
    /// Patterns of the files that are wanted; none: all.
    #[serde(default)]
    pub files: Vec<String>,
}

/// A file whose place is not the chunk memory, or whose content was verified in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct PlaceRecord {
    pub(super) place: Place,
    /// The stamp under which its committed pieces were verified.
    pub(super) stamp: FileStamp,
}

/// Which of its possible places a file is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the chunk memory: ours alone.
    Chunks,
    /// In the downloads folder: others may change it.
    Merged,
    /// Where the operator has it: never written to.
    Seed,
}

/// A merge that was begun: completed or dropped at the next start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct MergeIntent {
    /// The stamp that the file has once it is in its place.
    pub(super) stamp: FileStamp,
}

impl TorrentRecord {
    /// A torrent just added: running, not announced, nothing transferred.
    #[must_use]
    pub fn new(placement: Placement) -> Self {
        Self {
            placement,
            paused: false,
            auto_download: false,
            seed_only: false,
            tracker_connected: false,
            label: String::new(),
            wanted_files: None,
            upload_limit_bps: 0,
            download_limit_bps: 0,
            uploaded_bytes: 0,
            downloaded_bytes: 0,
            extra: BTreeMap::new(),
        }
    }
}
