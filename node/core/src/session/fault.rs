//! Why a connection ends, and what follows from it.

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
    /// Both sides have everything.
    #[error("both sides are complete")]
    BothComplete,
    /// The peer is banned for the torrent.
    #[error("banned")]
    Banned,
    /// The node or the torrent has as many as it may.
    #[error("too many connections")]
    Full,
    /// The node is shutting down.
    #[error("shutting down")]
    Shutdown,
}
