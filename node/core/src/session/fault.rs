//! Why a connection ends, and what follows from it.

use std::time::Duration;

use crate::wire::PeerFault;

/// Why a connection ended, or is to end.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloseCause {
    /// The other side closed it.
    #[error("closed by the peer")]
    Remote,
    /// The system said so.
    #[error("connection failed: {0}")]
    Io(String),
    /// Nothing was heard for the idle timeout.
    #[error("silent for too long")]
    Idle,
    /// The peer broke a rule.
    #[error("{0}")]
    Fault(PeerFault),
    /// An operator asked for it.
    #[error("closed by an operator")]
    Operator,
    /// The torrent was quit, paused or removed.
    #[error("torrent stopped")]
    TorrentStopped,
    /// Pieces that the peer was told of are no longer had: a new connection tells it the truth.
    #[error("pieces that were told are no longer had")]
    Recanted,
    /// The torrent is not one of this node's, or does not take part.
    #[error("unknown info hash")]
    UnknownTorrent,
    /// It is this node itself.
    #[error("own peer id")]
    Own,
    /// Another connection to the same peer stays.
    #[error("duplicate connection")]
    Duplicate,
    /// A web seed failed.
    #[error("{0}")]
    WebSeed(WebSeedFault),
    /// No download wants the web seed.
    #[error("nothing is wanted of it")]
    NotNeeded,
    /// Both sides have everything.
    #[error("both sides are complete")]
    BothComplete,
    /// The peer is banned for the torrent.
    #[error("banned")]
    Banned,
    /// It gives no metadata (BEP 9), which is all that we want of it.
    #[error("gives no metadata")]
    NoMetadata,
    /// The metadata that it was asked for is here.
    #[error("the metadata is here")]
    MetadataFound,
    /// The node or the torrent has as many as it may.
    #[error("too many connections")]
    Full,
    /// The node is shutting down.
    #[error("shutting down")]
    Shutdown,
}

/// How a web seed failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{cause}")]
pub struct WebSeedFault {
    /// What happened, for a person. Names no more of the URL than host and port.
    pub cause: String,
    /// Whether it is asked again.
    pub retry: Retry,
}

/// When a web seed that failed is asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// After a rest, which doubles with each failure in a row.
    Later,
    /// As `Later`, and not before the time that the server asked for.
    After(Duration),
    /// Not for this torrent: nothing will get better.
    Never,
}
