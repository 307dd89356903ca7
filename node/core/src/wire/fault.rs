//! What can be wrong with a peer, sorted by whose fault it is, and the one table of consequences.
//!
//! Never here: our own mistakes (asserts) and the world's (`io::Error`).

use crate::{bencode::DecodeError, bitfield::BitfieldError};

/// A fault of a peer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerFault {
    /// Its bytes are no message.
    #[error("invalid message: {0}")]
    InvalidMessage(#[from] InvalidMessage),
    /// Its messages are well formed, its conduct is not.
    #[error("misbehaved: {0}")]
    Misbehaved(#[from] Misbehaved),
    /// Nothing wrong with it, merely not for us.
    #[error("incompatible: {0}")]
    Incompatible(#[from] Incompatible),
}

/// Bytes that are no message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidMessage {
    /// The length prefix is beyond what any message, or this kind, may have.
    #[error("length {len} where at most {max} is allowed")]
    TooLong {
        /// Bytes announced.
        len: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// A message of a fixed length has another one.
    #[error("message {id} of length {len} where {expected} is needed")]
    WrongLength {
        /// The message's id.
        id: u8,
        /// Bytes announced, with the id.
        len: u32,
        /// Bytes needed, with the id.
        expected: u32,
    },
    /// A `piece` or `extended` message too short for its own header.
    #[error("message {id} of length {len} where at least {min} is needed")]
    TooShort {
        /// The message's id.
        id: u8,
        /// Bytes announced, with the id.
        len: u32,
        /// Bytes needed, with the id.
        min: u32,
    },
    /// No message has this id.
    #[error("unknown message id {0}")]
    UnknownId(u8),
    /// A message of the fast extension (BEP 6), which was not negotiated.
    #[error("message id {0} of the fast extension, which was not negotiated")]
    FastNotNegotiated(u8),
    /// A message of the extension protocol (BEP 10), which was not negotiated.
    #[error("a message of the extension protocol, which was not negotiated")]
    ExtendedNotNegotiated,
    /// A bitfield of the wrong size or with spare bits set.
    #[error("{0}")]
    Bitfield(#[from] BitfieldError),
    /// A piece that the torrent has not.
    #[error("piece {index} of a torrent of {pieces}")]
    PieceOutOfRange {
        /// The index sent.
        index: u32,
        /// Pieces of the torrent.
        pieces: u32,
    },
    /// A block that is empty or reaches beyond its piece.
    #[error("block of {len} bytes at {offset} in piece {piece} of {piece_len} bytes")]
    BlockOutOfRange {
        /// The piece.
        piece: u32,
        /// Where the block begins in the piece, bytes.
        offset: u32,
        /// Its length, bytes.
        len: u32,
        /// The piece's, bytes.
        piece_len: u32,
    },
    /// An extended message that is not bencoded.
    #[error("extended message: {0}")]
    Extended(#[from] DecodeError),
    /// An extended message that is bencoded but no dictionary, or lacks what its type needs.
    #[error("extended message without a valid {0:?}")]
    ExtendedField(&'static str),
    /// More than [`crate::config::LABELS_MAX`] labels.
    #[error("{0} labels where at most {max} are allowed", max = crate::config::LABELS_MAX)]
    TooManyLabels(usize),
    /// A label's key or value is empty (a key), too long, not text, or has control characters.
    #[error("malformed label {0:?}")]
    MalformedLabel(String),
}

/// Conduct that breaks the protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misbehaved {
    /// It sent wrong data, proven to be its own (§6 of the design: blame is exact).
    #[error("sent corrupt data of piece {piece}")]
    CorruptPiece {
        /// The piece.
        piece: u32,
    },
    /// A block that nobody asked it for.
    #[error("sent a block that was not requested: piece {piece}, offset {offset}")]
    UnrequestedBlock {
        /// The piece.
        piece: u32,
        /// Where the block begins in the piece, bytes.
        offset: u32,
    },
    /// A rejection of what nobody asked it for.
    #[error("rejected a block that was not requested: piece {piece}, offset {offset}")]
    UnrequestedReject {
        /// The piece.
        piece: u32,
        /// Where the block begins in the piece, bytes.
        offset: u32,
    },
    /// A request for a piece we do not have.
    #[error("requested piece {piece}, which we do not have")]
    RequestNotHad {
        /// The piece.
        piece: u32,
    },
    /// A request longer than we offered to serve.
    #[error("requested {len} bytes where at most {max} are served")]
    RequestTooLong {
        /// Bytes requested.
        len: u32,
        /// Bytes served at most.
        max: u32,
    },
    /// More requests outstanding than our `reqq`.
    #[error("more than {max} requests outstanding")]
    TooManyRequests {
        /// Our `reqq`.
        max: u32,
    },
    /// It goes on requesting while choked.
    #[error("requested {count} times while choked")]
    RequestWhileChoked {
        /// Requests since the choke.
        count: u32,
    },
    /// More messages a second than anyone needs.
    #[error("flood of messages")]
    Flood,
    /// No handshake in time.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// Metadata that is not what the info hash names, proven to be its own (BEP 9).
    #[error("sent wrong metadata")]
    WrongMetadata,
}

/// Peers that are not for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Incompatible {
    /// The first byte is not 19: most likely an encrypted handshake (MSE). Closing at once makes
    /// the other side retry in plaintext.
    #[error("first byte {0} is not 19: encrypted handshakes are not supported")]
    NotPlaintext(u8),
    /// It begins like a handshake but names another protocol.
    #[error("not the BitTorrent protocol")]
    Protocol,
    /// It answered for another torrent than the one it was dialled for.
    #[error("info hash of another torrent")]
    OtherInfoHash,
}

/// What follows from a fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Consequence {
    /// The message is dropped and counted.
    Ignore,
    /// The connection is closed; the peer may come back.
    Close,
    /// The connection is closed and the peer not let in again for this torrent.
    Ban,
}

impl PeerFault {
    /// The table: every fault has one consequence.
    ///
    /// A corrupt piece bans only when the engine reports it here, which it does at the second
    /// charge. What honest peers do around a choke, a cancel or a restart is merely ignored.
    #[must_use]
    pub fn consequence(&self) -> Consequence {
        match self {
            Self::InvalidMessage(fault) => match fault {
                InvalidMessage::TooLong { .. }
                | InvalidMessage::WrongLength { .. }
                | InvalidMessage::TooShort { .. }
                | InvalidMessage::UnknownId(_)
                | InvalidMessage::FastNotNegotiated(_)
                | InvalidMessage::Bitfield(_)
                | InvalidMessage::PieceOutOfRange { .. }
                | InvalidMessage::BlockOutOfRange { .. } => Consequence::Close,
                InvalidMessage::ExtendedNotNegotiated
                | InvalidMessage::Extended(_)
                | InvalidMessage::ExtendedField(_)
                | InvalidMessage::TooManyLabels(_)
                | InvalidMessage::MalformedLabel(_) => Consequence::Ignore,
            },
            Self::Misbehaved(fault) => match fault {
                Misbehaved::CorruptPiece { .. } | Misbehaved::WrongMetadata => Consequence::Ban,
                Misbehaved::UnrequestedBlock { .. }
                | Misbehaved::UnrequestedReject { .. }
                | Misbehaved::RequestNotHad { .. }
                | Misbehaved::RequestTooLong { .. }
                | Misbehaved::TooManyRequests { .. } => Consequence::Ignore,
                Misbehaved::RequestWhileChoked { .. }
                | Misbehaved::Flood
                | Misbehaved::HandshakeTimeout => Consequence::Close,
            },
            Self::Incompatible(fault) => match fault {
                Incompatible::NotPlaintext(_)
                | Incompatible::Protocol
                | Incompatible::OtherInfoHash => Consequence::Close,
            },
        }
    }
}

impl From<BitfieldError> for PeerFault {
    fn from(error: BitfieldError) -> Self {
        Self::InvalidMessage(error.into())
    }
}
