//! What is to be done: the imperatives that a shell carries out for a [`Session`](super::Session).

use std::net::SocketAddr;

use crate::{
    ids::{AnnounceId, CommandId, ConnId, InfoHash, JobId, LeaseId, PieceIndex, TorrentId},
    policy::{Consultation, Report},
    session::{
        command::{CommandError, Done},
        fault::CloseCause,
        notice::Notice,
    },
    tracker::announce::AnnounceRequest,
    wire::Message,
};

/// An imperative. Actions are carried out in the order given; none of them may block the session.
#[derive(Debug)]
pub enum Action {
    /// Connect and shake hands, within the handshake timeout. Answered by `Dialled` or `DialFailed`.
    Dial {
        /// Its id from now on.
        conn: ConnId,
        /// The torrent, or the quest.
        torrent: TorrentId,
        /// Its info hash.
        info_hash: InfoHash,
        /// Where to.
        addr: SocketAddr,
    },
    /// Find the host of a web seed. Answered by `WebSeedOpened` or `Closed`; leases follow, as of
    /// any connection, and `Close` ends it.
    OpenWebSeed {
        /// Its id from now on.
        conn: ConnId,
        /// The torrent.
        torrent: TorrentId,
        /// As the metainfo has it.
        url: String,
    },
    /// Send our handshake to an incoming connection and begin.
    Accept {
        /// Which.
        conn: ConnId,
        /// The torrent, or the quest.
        torrent: TorrentId,
    },
    /// Send a message.
    Send {
        /// To whom.
        conn: ConnId,
        /// What. Never `request`, `cancel`, `reject`, `choke`, `unchoke`.
        message: Message,
    },
    /// Choke or unchoke: the connection sends the message where that is news, and from then on
    /// rejects (ignores, without the fast extension) or serves requests, at most `request_len_max`
    /// bytes each. First when the connection begins, again at the earliest when the peer's extended
    /// handshake was judged.
    Serve {
        /// Whom.
        conn: ConnId,
        /// Whether requests are served.
        serving: Serving,
        /// The longest request served, bytes.
        request_len_max: u32,
    },
    /// End a connection. Answered by `Closed`, after `LeaseEnded` for each of its leases.
    Close {
        /// Which. Unknown ones are ignored: it may be gone already.
        conn: ConnId,
        /// Why, for the log and for an incoming connection that was never accepted.
        cause: CloseCause,
    },
    /// Let a connection fetch an extent.
    GrantLease {
        /// Who.
        conn: ConnId,
        /// What.
        lease: Lease,
    },
    /// Take an extent back: `cancel` what is outstanding; answered by `LeaseEnded`, unless
    /// `ExtentReceived` is under way already. Unknown ones are ignored.
    RevokeLease {
        /// Whose.
        conn: ConnId,
        /// Which.
        lease: LeaseId,
    },
    /// Hash the buffers of a piece and, where they are right, write them. Answered by
    /// `PieceVerified`; the buffers are free afterwards.
    VerifyAndWrite {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Digest the blocks even where the piece is right: an earlier copy was wrong.
        compare: bool,
    },
    /// Throw away what the shell keeps of a piece that is being fetched.
    DropPiece {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// Read and hash pieces from disk in the background, about in order; each is answered once by
    /// `PieceChecked`, in any order.
    CheckPieces {
        /// The torrent.
        torrent: TorrentId,
        /// Which.
        pieces: Vec<PieceIndex>,
        /// The job whose work it is. Pieces that are not read when `StopOutsideJob` ends it are
        /// answered as the store knew them.
        job: Option<JobId>,
    },
    /// Bring complete files to their final place. Answered by `Merged`.
    Merge {
        /// The torrent.
        torrent: TorrentId,
        /// Repeated in the answer.
        merge: u64,
        /// Files, as indexes into the metainfo's files; every one is complete.
        files: Vec<usize>,
    },
    /// Announce to a tracker. Answered by `AnnounceFinished`.
    Announce {
        /// Repeated in the answer.
        announce: AnnounceId,
        /// The announce URL.
        url: String,
        /// What to say. The shell fills in nothing.
        request: Box<AnnounceRequest>,
    },
    /// Announce torrents on the local network (BEP 14). Not answered.
    AnnounceLocally {
        /// Which.
        info_hashes: Vec<InfoHash>,
        /// Where we accept connections.
        port: u16,
    },
    /// The metadata of a magnet link is here and right: take its torrent in
    /// ([`Command::Add`](super::command::Command::Add)), which ends the quest, or report
    /// `MetadataRefused`.
    MetadataFound {
        /// Of which quest.
        quest: TorrentId,
        /// The info dictionary.
        info_bytes: Vec<u8>,
    },
    /// Ask the policy. Answered by `PolicyAnswered`.
    Consult(Box<Consultation>),
    /// Tell a policy what happened. Answered by `PolicyAdvised` where it has advice; may be dropped.
    Inform(Box<Report>),
    /// Answer a command.
    Reply {
        /// Which.
        command: CommandId,
        /// How it ended.
        result: Result<Done, CommandError>,
    },
    /// Tell whoever listens, and keep what has to survive.
    Notify(Notice),
    /// A job whose work is the shell's was cancelled: a creation, or the check of a verification.
    StopOutsideJob {
        /// Which.
        job: JobId,
    },
}

/// Whether a connection's requests are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serving {
    /// Choked: requests are rejected, or ignored.
    Choked,
    /// Unchoked: requests for verified pieces are served.
    Unchoked,
}

/// The right, and the duty, of one connection to fetch one extent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The generation: never given twice.
    pub id: LeaseId,
    /// The torrent.
    pub torrent: TorrentId,
    /// The piece.
    pub piece: PieceIndex,
    /// Which extent of the piece, from 0.
    pub extent: u32,
    /// Where the extent begins in the piece, bytes.
    pub offset: u32,
    /// Its length, bytes, padding included.
    pub len: u32,
    /// The longest request to make, bytes: a multiple of 16 KiB.
    pub request_len: u32,
    /// The most requests the peer takes at once (`reqq`).
    pub requests_max: u32,
    /// Another lease of the same extent is out (endgame): a buffer of its own is used, blocks of
    /// 16 KiB are asked for, and what an earlier lease had filled is not taken over.
    pub duplicate: bool,
}
