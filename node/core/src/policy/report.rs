//! What a policy is told beside consultations, and what it advises. Never here: Lua, or who is told.

use super::{ChunkOrder, ChunkView, DownloadView, PeerView};
use crate::{
    ids::{ConnId, PolicyId, TorrentId},
    time::Timestamp,
};

/// Which of a policy's functions there are: it is neither told nor asked for what it has not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hooks {
    /// `choose` or `score`: without either the default policy decides.
    pub decides: bool,
    /// `order`.
    pub order: bool,
    /// `slots`.
    pub slots: bool,
    /// `on.chunk_done`.
    pub chunk_done: bool,
    /// `on.chunk_failed`.
    pub chunk_failed: bool,
    /// `on.peer_added`.
    pub peer_added: bool,
    /// `on.peer_removed`.
    pub peer_removed: bool,
    /// `on.tick`.
    pub tick: bool,
    /// `on.finished`.
    pub finished: bool,
}

impl Hooks {
    /// These, and the event handlers of another: who has any of them is told.
    #[must_use]
    pub fn with_events_of(self, other: Self) -> Self {
        Self {
            chunk_done: self.chunk_done || other.chunk_done,
            chunk_failed: self.chunk_failed || other.chunk_failed,
            peer_added: self.peer_added || other.peer_added,
            peer_removed: self.peer_removed || other.peer_removed,
            tick: self.tick || other.tick,
            finished: self.finished || other.finished,
            ..self
        }
    }
}

/// Something that happened in a download, told to the policy that decides it.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Which policy.
    pub policy: PolicyId,
    /// The torrent.
    pub torrent: TorrentId,
    /// When it happened.
    pub now: Timestamp,
    /// The download.
    pub download: DownloadView,
    /// What happened.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Happening {
    /// The download begins under this policy, or its phase changed (endgame): asks for `order` and
    /// for the `slots` of these peers.
    Phase {
        /// The connected peers, in order of peer id.
        peers: Vec<PeerView>,
    },
    /// A second passed: `on.tick`; asks for `order` and for the `slots` of these peers.
    Tick {
        /// The connected peers, in order of peer id.
        peers: Vec<PeerView>,
    },
    /// An extent came whole: `on.chunk_done`. Its piece is not verified yet: bad data follows as
    /// [`ChunkFault::Hash`].
    ChunkDone {
        /// From whom.
        peer: PeerView,
        /// What. Its candidates are not listed.
        chunk: ChunkView,
        /// Bytes of it, padding included.
        bytes: u64,
        /// Time since it was granted, microseconds.
        took_us: u64,
    },
    /// An extent was not fetched, or was wrong: `on.chunk_failed`.
    ChunkFailed {
        /// By whom.
        peer: PeerView,
        /// What. Its candidates are not listed.
        chunk: ChunkView,
        /// How.
        fault: ChunkFault,
    },
    /// A peer connected and told what it has: `on.peer_added`; asks for its `slots`.
    PeerAdded {
        /// Who.
        peer: PeerView,
    },
    /// A peer is gone: `on.peer_removed`.
    PeerRemoved {
        /// Who.
        peer: PeerView,
    },
    /// The download ended: `on.finished`.
    Finished,
}

/// How a chunk failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunkFault {
    /// The peer was silent or much too slow.
    Timeout,
    /// Its data was wrong.
    Hash,
    /// The connection ended.
    Disconnect,
    /// The peer choked us or refused.
    Reject,
}

impl ChunkFault {
    /// Its name in scripts: `ev.kind`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Hash => "hash",
            Self::Disconnect => "disconnect",
            Self::Reject => "reject",
        }
    }
}

/// What a policy wants beside decisions: its answer to a [`Report`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advice {
    /// Which policy.
    pub policy: PolicyId,
    /// The torrent.
    pub torrent: TorrentId,
    /// How pieces are to be ordered; none: no opinion was asked for, or it failed.
    pub order: Option<ChunkOrder>,
    /// The most chunks in flight at each of these peers; what is not named keeps its last one,
    /// and all of it is withdrawn when none comes for five seconds. The
    /// engine grants no more than it would without. A peer of 0 is asked for nothing, unless it is
    /// one of the label-blind ones or nothing is in flight for 2 s.
    pub slots: Vec<(ConnId, u32)>,
}
