//! What happened: the facts that a shell reports to a [`Session`](super::Session).

use std::net::SocketAddr;

use crate::{
    bitfield::Bitfield,
    ids::{AnnounceId, CommandId, ConnId, InfoHash, JobId, LeaseId, PeerId, PieceIndex, TorrentId},
    policy::{Advice, Answer},
    session::{command::Command, fault::CloseCause},
    tracker::announce::AnnounceReply,
    wire::{Message, Terms},
};

/// A fact. Payload is never part of one.
#[derive(Debug)]
pub enum Event {
    /// An operator's wish; answered by exactly one [`Action::Reply`](super::Action::Reply).
    CommandIssued {
        /// Repeated in the reply.
        id: CommandId,
        /// What is wished.
        command: Command,
    },
    /// A peer dialled us and sent its handshake; ours waits for
    /// [`Action::Accept`](super::Action::Accept).
    Incoming {
        /// Given by the shell, with [`INCOMING_BIT`] set.
        conn: ConnId,
        /// Where it connects from (not where it listens).
        addr: SocketAddr,
        /// The torrent it asks for.
        info_hash: InfoHash,
        /// Its id.
        peer_id: PeerId,
        /// What both handshakes offer.
        terms: Terms,
    },
    /// A dial succeeded: both handshakes are done and the info hash is the right one.
    Dialled {
        /// As in [`Action::Dial`](super::Action::Dial).
        conn: ConnId,
        /// Its id.
        peer_id: PeerId,
        /// What both handshakes offer.
        terms: Terms,
    },
    /// A dial or its handshake failed. The connection never was.
    DialFailed {
        /// As in [`Action::Dial`](super::Action::Dial).
        conn: ConnId,
        /// Why, for a person.
        cause: String,
    },
    /// A web seed's host was found, and may be asked. `Closed` follows where it fails, or comes in
    /// place of this.
    WebSeedOpened {
        /// As in [`Action::OpenWebSeed`](super::Action::OpenWebSeed).
        conn: ConnId,
        /// Its address, for people: requests may go to another one of the host's.
        addr: SocketAddr,
    },
    /// A message other than keep-alive, `request`, `cancel`, `reject`, `piece` and the hints of the
    /// fast extension, which the connection handles on the spot.
    MessageReceived {
        /// From whom.
        conn: ConnId,
        /// Well-formed by itself; whether it fits the torrent is for the core to say.
        message: Message,
    },
    /// The connection is gone. Every lease of it was ended before, each by its own event.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        cause: CloseCause,
    },
    /// Bytes of a lease arrived (batched: at most every 200 ms, or every 256 KiB).
    LeaseProgress {
        /// From whom.
        conn: ConnId,
        /// For which lease.
        lease: LeaseId,
        /// Bytes since the last report; 0 = it has sent some that we leave unread, and is not
        /// silent.
        bytes: u32,
        /// Time from the oldest outstanding request to its first byte, microseconds; 0 = not
        /// measured in this batch.
        latency_us: u64,
    },
    /// Every byte of a lease is in its buffer, which the shell keeps for the piece.
    ExtentReceived {
        /// From whom.
        conn: ConnId,
        /// Which.
        lease: LeaseId,
    },
    /// A lease ended without being filled: revoked, rejected, or its connection is closing.
    LeaseEnded {
        /// Whose.
        conn: ConnId,
        /// Which.
        lease: LeaseId,
        /// Bytes of the extent that its buffer now holds, from any contributor, padding included;
        /// the shell keeps the buffer for the next lease of the extent. 0: nothing is kept.
        filled: u32,
        /// Why it ended.
        end: LeaseEnd,
    },
    /// Payload arrived for which no lease was left (or twice); it was discarded.
    Wasted {
        /// From whom.
        conn: ConnId,
        /// Bytes.
        bytes: u64,
    },
    /// Payload went out to a peer (batched).
    Uploaded {
        /// To whom.
        conn: ConnId,
        /// Bytes since the last report.
        bytes: u64,
    },
    /// The end of [`Action::VerifyAndWrite`](super::Action::VerifyAndWrite).
    PieceVerified {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// How it ended.
        outcome: PieceOutcome,
    },
    /// A piece of [`Action::CheckPieces`](super::Action::CheckPieces) was read and hashed.
    PieceChecked {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Its data is there and right.
        good: bool,
    },
    /// Pieces that were had can no longer be trusted: check them again.
    PiecesDoubtful {
        /// The torrent.
        torrent: TorrentId,
        /// Which.
        pieces: Vec<PieceIndex>,
        /// What happened, for a person: `payload.bin changed on disk`.
        cause: String,
    },
    /// Pieces are gone: a sync failed before they were committed.
    PiecesLost {
        /// The torrent.
        torrent: TorrentId,
        /// Which.
        pieces: Vec<PieceIndex>,
        /// What happened, for a person.
        cause: String,
    },
    /// The end of [`Action::Merge`](super::Action::Merge).
    Merged {
        /// The torrent.
        torrent: TorrentId,
        /// Repeated from the action.
        merge: u64,
        /// Where the files are, or why not.
        result: Result<MergeDone, MergeFailure>,
    },
    /// The end of an announce.
    AnnounceFinished {
        /// Which.
        announce: AnnounceId,
        /// The reply, or why there is none.
        result: Result<AnnounceReply, AnnounceFailure>,
    },
    /// Somebody on the local network announced torrents (BEP 14).
    HeardLocally {
        /// Where it listens: the address the datagram came from, with the port it names.
        addr: SocketAddr,
        /// Its torrents; ours may be among them.
        info_hashes: Vec<InfoHash>,
    },
    /// A policy answered, or its host did in its stead.
    PolicyAnswered(Answer),
    /// A policy told how it wants pieces ordered and slots given.
    PolicyAdvised(Advice),
    /// What [`Action::MetadataFound`](super::Action::MetadataFound) found makes no torrent here.
    MetadataRefused {
        /// Of which quest.
        quest: TorrentId,
        /// Why, for a person.
        cause: String,
    },
    /// A job that the shell runs by itself (a creation) got on.
    OutsideJob {
        /// Which.
        job: JobId,
        /// How far it is, or that it ended.
        news: OutsideNews,
    },
    /// Time passed: [`next_deadline`](super::Session::next_deadline) is reached.
    Wake,
}

/// Set in the id of every incoming connection; outgoing ids are given by the session.
pub const INCOMING_BIT: u64 = 1 << 63;

/// How the verification and writing of a piece ended.
#[derive(Debug)]
pub enum PieceOutcome {
    /// Verified and written. Carries block digests where they were asked for.
    Written {
        /// As asked for in the action.
        blocks: Vec<BlockDigest>,
    },
    /// The hash is not the torrent's. Nothing was written.
    Mismatch {
        /// Every block of the piece, and who sent it.
        blocks: Vec<BlockDigest>,
    },
    /// Verified, not written: the disk is full.
    DiskFull {
        /// The path and the cause, for a person.
        cause: String,
    },
    /// Verified, not written: an I/O error.
    DiskError {
        /// The path and the cause, for a person.
        cause: String,
    },
}

/// Why a lease ended without being filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseEnd {
    /// It was revoked.
    Revoked,
    /// The peer rejected requests of it (BEP 6), and nothing more of it is on its way.
    Rejected,
    /// Its connection is closing, or gone.
    Closing,
}

/// The digest of one 16 KiB block of a received piece, and who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockDigest {
    /// The block's index in the piece.
    pub block: u32,
    /// The connection that sent it; none for padding.
    pub from: Option<ConnId>,
    /// SHA-1 of the block.
    pub digest: [u8; 20],
}

/// Files that were merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeDone {
    /// Where they are, in the torrent's order.
    pub paths: Vec<String>,
    /// Every one was merged before.
    pub already: bool,
}

/// Why a merge failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MergeFailure {
    /// A different file stands there.
    Exists {
        /// Its path.
        path: String,
    },
    /// No room.
    DiskFull {
        /// The path and the cause.
        cause: String,
    },
    /// Anything else the system said.
    Io {
        /// The path and the cause.
        cause: String,
    },
}

/// Why an announce got no reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnnounceFailure {
    /// Nobody answered, in time or at all.
    Unreachable {
        /// The address and the cause.
        cause: String,
    },
    /// The tracker refused; its words, sanitised.
    Refused {
        /// The failure reason.
        reason: String,
        /// When to ask again, seconds (BEP 31).
        retry_in_s: Option<u32>,
    },
    /// The reply made no sense.
    Malformed {
        /// What was wrong.
        cause: String,
    },
}

/// News of a job that the shell runs by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutsideNews {
    /// How far it is.
    Progress {
        /// Bytes done.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// It ended, well or with this error.
    Ended(Result<(), String>),
}

/// What the store found when it opened a torrent.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Committed pieces: had, not hashed again.
    pub have: Bitfield,
    /// Pieces that hold data but were not committed: to be checked, not downloaded.
    pub unverified: Vec<PieceIndex>,
    /// Payload bytes downloaded in the torrent's life.
    pub downloaded: u64,
    /// Payload bytes served in the torrent's life.
    pub uploaded: u64,
}
