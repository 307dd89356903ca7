//! Cuts a stream into messages: length prefix and id are judged before anything is buffered.
//!
//! [`next`] does all of it over a buffer of received bytes; its parts are there for who reads in
//! another way. Never here: payload of a `piece` message.

use crate::{
    config::{BITFIELD_LEN_MAX, EXTENDED_LEN_MAX, MESSAGE_LEN_MAX, SHOAL_REQUEST_LEN_MAX},
    ids::PieceIndex,
    wire::{
        fault::{InvalidMessage, PeerFault},
        message::{self, BlockRange, Message, MessageKind, PIECE_HEAD_LEN, PIECE_ID},
    },
};

/// What a connection allows of its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameLimits {
    /// The exact length of a bitfield, bytes: [`crate::bitfield::Bitfield::wire_len`]. None where
    /// nobody knows it (BEP 9): at most [`BITFIELD_LEN_MAX`] then.
    pub bitfield_len: Option<u32>,
    /// The longest payload of a `piece` message, bytes: the longest request that we send, at most
    /// [`SHOAL_REQUEST_LEN_MAX`].
    pub block_len_max: u32,
    /// The fast extension was agreed on ([`super::Terms`]).
    pub fast: bool,
}

/// What the length prefix and the id tell of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Head {
    /// A message whose `body_len` bytes after the id go to [`message::decode_body`].
    Message {
        /// Its kind.
        kind: MessageKind,
        /// Bytes after the id.
        body_len: u32,
    },
    /// A `piece` message: piece index and offset (4 bytes each) follow, then the payload.
    Piece {
        /// Bytes of payload, at least 1.
        payload_len: u32,
    },
}

/// What a buffer of received bytes begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// An incomplete message: call again when the buffer has this many bytes. They are within the
    /// limits already; of a `piece` message only the first [`PIECE_HEAD_LEN`] are asked for.
    Need(usize),
    /// A message, and how many bytes of the buffer it took.
    Message(Message, usize),
    /// The head of a `piece` message, [`PIECE_HEAD_LEN`] bytes. The payload follows: as many bytes
    /// as the range is long. The range is not checked against any piece.
    Piece(BlockRange),
}

impl Head {
    /// Judges a message by its length prefix (`len`, with the id, at least 1) and its id.
    ///
    /// # Errors
    /// [`InvalidMessage`]: `TooLong`, `TooShort` and `WrongLength` by the kind's own limits,
    /// `UnknownId`, `FastNotNegotiated` (BEP 6 ids 13–17, where they were not agreed on).
    pub fn decode(len: u32, id: u8, limits: &FrameLimits) -> Result<Self, PeerFault> {
        if id == PIECE_ID {
            at_least(id, len, 10)?;
            at_most(len, limits.block_len_max.min(SHOAL_REQUEST_LEN_MAX).saturating_add(9))?;
            return Ok(Self::Piece { payload_len: len - 9 });
        }
        let kind = MessageKind::from_id(id).ok_or(InvalidMessage::UnknownId(id))?;
        if kind.is_fast() && !limits.fast {
            return Err(InvalidMessage::FastNotNegotiated(id).into());
        }
        match kind {
            MessageKind::Choke
            | MessageKind::Unchoke
            | MessageKind::Interested
            | MessageKind::NotInterested
            | MessageKind::HaveAll
            | MessageKind::HaveNone => exactly(id, len, 1)?,
            MessageKind::Port => exactly(id, len, 3)?,
            MessageKind::Have | MessageKind::Suggest | MessageKind::AllowedFast => {
                exactly(id, len, 5)?;
            }
            MessageKind::Request | MessageKind::Cancel | MessageKind::Reject => {
                exactly(id, len, 13)?;
            }
            MessageKind::Bitfield => match limits.bitfield_len {
                Some(exact) => exactly(id, len, exact.saturating_add(1))?,
                None => at_most(len, BITFIELD_LEN_MAX + 1)?,
            },
            MessageKind::Extended => {
                at_least(id, len, 2)?;
                at_most(len, EXTENDED_LEN_MAX)?;
            }
        }
        Ok(Self::Message { kind, body_len: len - 1 })
    }
}

/// Reads a length prefix: the length of the message with its id, `None` for a keep-alive.
///
/// # Errors
/// [`InvalidMessage::TooLong`] beyond [`MESSAGE_LEN_MAX`].
pub fn length_prefix(bytes: [u8; 4]) -> Result<Option<u32>, PeerFault> {
    let len = u32::from_be_bytes(bytes);
    at_most(len, MESSAGE_LEN_MAX)?;
    Ok((len > 0).then_some(len))
}

/// Reads the piece index and the offset that follow the id of a `piece` message.
#[must_use]
pub fn piece_head(bytes: [u8; 8], payload_len: u32) -> BlockRange {
    let [a, b, c, d, e, f, g, h] = bytes;
    BlockRange {
        piece: PieceIndex(u32::from_be_bytes([a, b, c, d])),
        offset: u32::from_be_bytes([e, f, g, h]),
        len: payload_len,
    }
}

/// Reads the first message of `buffer`, or says how many bytes it needs.
///
/// # Errors
/// As [`length_prefix`] and [`Head::decode`], as early as the bytes allow.
pub fn next(buffer: &[u8], limits: &FrameLimits) -> Result<Next, PeerFault> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(Next::Need(4));
    };
    let Some(len) = length_prefix(*prefix)? else {
        return Ok(Next::Message(Message::KeepAlive, 4));
    };
    let Some((&id, body)) = rest.split_first() else {
        return Ok(Next::Need(5));
    };
    match Head::decode(len, id, limits)? {
        Head::Piece { payload_len } => Ok(match body.first_chunk::<8>() {
            Some(head) => Next::Piece(piece_head(*head, payload_len)),
            None => Next::Need(PIECE_HEAD_LEN),
        }),
        Head::Message { kind, body_len } => {
            let total = body_len as usize + 5;
            match body.get(..body_len as usize) {
                Some(body) => Ok(Next::Message(message::decode_body(kind, body)?, total)),
                None => Ok(Next::Need(total)),
            }
        }
    }
}

fn at_most(len: u32, max: u32) -> Result<(), PeerFault> {
    if len <= max { Ok(()) } else { Err(InvalidMessage::TooLong { len, max }.into()) }
}

fn at_least(id: u8, len: u32, min: u32) -> Result<(), PeerFault> {
    if len >= min { Ok(()) } else { Err(InvalidMessage::TooShort { id, len, min }.into()) }
}

fn exactly(id: u8, len: u32, expected: u32) -> Result<(), PeerFault> {
    if len == expected {
        return Ok(());
    }
    Err(InvalidMessage::WrongLength { id, len, expected }.into())
}
