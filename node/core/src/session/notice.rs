//! What is worth telling: notices for the event stream, the log and the store.

use std::net::SocketAddr;

use crate::ids::{ConnId, JobId, PeerId, PieceIndex, TorrentId};

/// Something that changed. The shell turns it into an event of `WatchEvents`, and keeps what has
/// to survive a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A torrent is there.
    TorrentAdded(TorrentId),
    /// A torrent's state, flags or totals changed.
    TorrentChanged(TorrentId),
    /// Other files of a torrent are wanted than before.
    Selected(TorrentId),
    /// A torrent is gone; the last notice about it.
    TorrentRemoved {
        /// Which.
        torrent: TorrentId,
        /// Delete what was merged, too.
        delete_data: bool,
    },
    /// The metadata of a magnet link is looked for; comes before any action about the quest.
    QuestBegan(TorrentId),
    /// A quest's metadata makes no torrent here.
    QuestFailed {
        /// Which.
        quest: TorrentId,
        /// Why.
        cause: String,
    },
    /// A quest is over; the last notice about it.
    QuestEnded {
        /// Which.
        quest: TorrentId,
        /// Its torrent was taken in; else it was removed.
        found: bool,
    },
    /// A piece is verified and written: serve it.
    PieceHave {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// A piece is no longer had: do not serve it.
    PieceLost {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// A peer connected.
    PeerConnected(PeerNews),
    /// A peer is gone.
    PeerDisconnected(PeerNews),
    /// A peer is silent with requests out.
    PeerSnubbed(PeerNews),
    /// A peer sent bad data.
    PeerCharged(PeerNews),
    /// A peer is banned for the torrent.
    PeerBanned(PeerNews),
    /// A tracker answered.
    Announced {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker.
        url: String,
        /// Peers in the reply.
        peers: usize,
    },
    /// A tracker did not answer, or refused.
    AnnounceFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker.
        url: String,
        /// Why.
        cause: String,
    },
    /// A job began.
    JobBegan(JobId),
    /// A job got on (at most twice a second).
    JobProgress(JobId),
    /// A job ended.
    JobEnded(JobId),
    /// Files are in their final place.
    Merged {
        /// The torrent.
        torrent: TorrentId,
        /// Where.
        paths: Vec<String>,
    },
    /// The disk is full, fails, or changed under us.
    Disk {
        /// The torrent.
        torrent: TorrentId,
        /// `disk_full`, `io_error` or `changed`.
        what: &'static str,
        /// The path and the cause.
        cause: String,
    },
    /// A consultation was answered too late and the default decided.
    PolicyLate {
        /// Chunks that the default decided.
        chunks: usize,
    },
}

/// A peer that is in the news.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerNews {
    /// The torrent, or the quest.
    pub torrent: TorrentId,
    /// The connection.
    pub conn: ConnId,
    /// Where it listens, as far as known.
    pub addr: SocketAddr,
    /// Its id.
    pub peer_id: PeerId,
    /// Why; empty where it goes without saying.
    pub reason: String,
}
