//! What peers say to each other after the handshake (BEP 3 §peer messages, BEP 6, BEP 10), without
//! the payload of `piece`, which [`super::frame`] leaves in the stream.

use crate::{
    ids::PieceIndex,
    wire::fault::{InvalidMessage, PeerFault},
};

/// A part of a piece, as `request`, `piece` and `cancel` name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockRange {
    /// The piece.
    pub piece: PieceIndex,
    /// Where it begins in the piece, bytes.
    pub offset: u32,
    /// How long it is, bytes.
    pub len: u32,
}

/// A message of the peer wire other than `piece`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Nothing but a sign of life.
    KeepAlive,
    /// The sender serves no requests of the receiver.
    Choke,
    /// The sender serves requests of the receiver.
    Unchoke,
    /// The sender wants something that the receiver has.
    Interested,
    /// The sender wants nothing that the receiver has.
    NotInterested,
    /// The sender has this piece.
    Have(PieceIndex),
    /// All that the sender has, as on the wire ([`crate::bitfield::Bitfield::from_wire`]).
    Bitfield(Vec<u8>),
    /// The sender asks for this block.
    Request(BlockRange),
    /// The sender no longer asks for this block.
    Cancel(BlockRange),
    /// A message of an extension (BEP 10): 0 is the extended handshake.
    Extended {
        /// The id that the receiver gave the extension.
        id: u8,
        /// The rest.
        payload: Vec<u8>,
    },
    /// The sender's DHT port (BEP 5). Read and ignored.
    Port(u16),
    /// The sender would like to be asked for this piece (BEP 6). Read and ignored.
    Suggest(PieceIndex),
    /// The sender has everything (BEP 6).
    HaveAll,
    /// The sender has nothing (BEP 6).
    HaveNone,
    /// The sender will not answer this request (BEP 6).
    Reject(BlockRange),
    /// The sender serves this piece even while it chokes (BEP 6). Read and ignored.
    AllowedFast(PieceIndex),
}

/// The kinds of message with an id, other than `piece`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MessageKind {
    /// [`Message::Choke`]
    Choke = 0,
    /// [`Message::Unchoke`]
    Unchoke = 1,
    /// [`Message::Interested`]
    Interested = 2,
    /// [`Message::NotInterested`]
    NotInterested = 3,
    /// [`Message::Have`]
    Have = 4,
    /// [`Message::Bitfield`]
    Bitfield = 5,
    /// [`Message::Request`]
    Request = 6,
    /// [`Message::Cancel`]
    Cancel = 8,
    /// [`Message::Port`]
    Port = 9,
    /// [`Message::Suggest`]
    Suggest = 13,
    /// [`Message::HaveAll`]
    HaveAll = 14,
    /// [`Message::HaveNone`]
    HaveNone = 15,
    /// [`Message::Reject`]
    Reject = 16,
    /// [`Message::AllowedFast`]
    AllowedFast = 17,
    /// [`Message::Extended`]
    Extended = 20,
}

/// The id of `piece`, the one message that is not a [`Message`].
pub const PIECE_ID: u8 = 7;
/// The length of everything before the payload of a `piece` message, bytes.
pub const PIECE_HEAD_LEN: usize = 13;

impl BlockRange {
    /// Where the block ends in the piece, bytes; more than `u32` where a peer made it up.
    #[must_use]
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }

    /// Checks a block from a peer against the piece that it names.
    ///
    /// # Errors
    /// [`InvalidMessage::BlockOutOfRange`] where it is empty or reaches beyond `piece_len` bytes.
    pub fn check(&self, piece_len: u32) -> Result<(), PeerFault> {
        if self.len > 0 && self.end() <= u64::from(piece_len) {
            return Ok(());
        }
        let &Self { piece: PieceIndex(piece), offset, len } = self;
        Err(InvalidMessage::BlockOutOfRange { piece, offset, len, piece_len }.into())
    }

    fn encode(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.piece.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.offset.to_be_bytes());
        bytes[8..].copy_from_slice(&self.len.to_be_bytes());
        bytes
    }

    fn decode(bytes: [u8; 12]) -> Self {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self { piece: PieceIndex(word(0)), offset: word(4), len: word(8) }
    }
}

impl Message {
    /// Its kind; none for a keep-alive, which has no id.
    #[must_use]
    pub fn kind(&self) -> Option<MessageKind> {
        Some(match self {
            Self::KeepAlive => return None,
            Self::Choke => MessageKind::Choke,
            Self::Unchoke => MessageKind::Unchoke,
            Self::Interested => MessageKind::Interested,
            Self::NotInterested => MessageKind::NotInterested,
            Self::Have(_) => MessageKind::Have,
            Self::Bitfield(_) => MessageKind::Bitfield,
            Self::Request(_) => MessageKind::Request,
            Self::Cancel(_) => MessageKind::Cancel,
            Self::Extended { .. } => MessageKind::Extended,
            Self::Port(_) => MessageKind::Port,
            Self::Suggest(_) => MessageKind::Suggest,
            Self::HaveAll => MessageKind::HaveAll,
            Self::HaveNone => MessageKind::HaveNone,
            Self::Reject(_) => MessageKind::Reject,
            Self::AllowedFast(_) => MessageKind::AllowedFast,
        })
    }
}

impl MessageKind {
    /// The kind of this id; `None` for `piece` and for ids that no message has.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        const ALL: [MessageKind; 15] = [
            MessageKind::Choke,
            MessageKind::Unchoke,
            MessageKind::Interested,
            MessageKind::NotInterested,
            MessageKind::Have,
            MessageKind::Bitfield,
            MessageKind::Request,
            MessageKind::Cancel,
            MessageKind::Port,
            MessageKind::Suggest,
            MessageKind::HaveAll,
            MessageKind::HaveNone,
            MessageKind::Reject,
            MessageKind::AllowedFast,
            MessageKind::Extended,
        ];
        ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The id on the wire.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// Whether it is of the fast extension (BEP 6).
    #[must_use]
    pub fn is_fast(self) -> bool {
        (Self::Suggest.id()..=Self::AllowedFast.id()).contains(&self.id())
    }
}

/// Reads what follows the id of a message.
///
/// # Errors
/// [`InvalidMessage::WrongLength`] or [`InvalidMessage::TooShort`] where the body is not as long as
/// its kind needs, which [`super::frame::Head::decode`] has ruled out already.
pub fn decode_body(kind: MessageKind, body: &[u8]) -> Result<Message, PeerFault> {
    Ok(match kind {
        MessageKind::Choke => empty(kind, body, Message::Choke)?,
        MessageKind::Unchoke => empty(kind, body, Message::Unchoke)?,
        MessageKind::Interested => empty(kind, body, Message::Interested)?,
        MessageKind::NotInterested => empty(kind, body, Message::NotInterested)?,
        MessageKind::Have => Message::Have(piece(kind, body)?),
        MessageKind::Bitfield => Message::Bitfield(body.to_vec()),
        MessageKind::Request => Message::Request(BlockRange::decode(exact(kind, body)?)),
        MessageKind::Cancel => Message::Cancel(BlockRange::decode(exact(kind, body)?)),
        MessageKind::Port => Message::Port(u16::from_be_bytes(exact(kind, body)?)),
        MessageKind::Suggest => Message::Suggest(piece(kind, body)?),
        MessageKind::HaveAll => empty(kind, body, Message::HaveAll)?,
        MessageKind::HaveNone => empty(kind, body, Message::HaveNone)?,
        MessageKind::Reject => Message::Reject(BlockRange::decode(exact(kind, body)?)),
        MessageKind::AllowedFast => Message::AllowedFast(piece(kind, body)?),
        MessageKind::Extended => match body {
            [id, payload @ ..] => Message::Extended { id: *id, payload: payload.to_vec() },
            [] => return Err(InvalidMessage::TooShort { id: kind.id(), len: 1, min: 2 }.into()),
        },
    })
}

/// Appends a message with its length prefix to `out`, whether the receiver knows it or not: what
/// may be sent goes through [`super::Terms::write`].
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::KeepAlive => out.extend_from_slice(&[0; 4]),
        Message::Choke => put(MessageKind::Choke, &[], out),
        Message::Unchoke => put(MessageKind::Unchoke, &[], out),
        Message::Interested => put(MessageKind::Interested, &[], out),
        Message::NotInterested => put(MessageKind::NotInterested, &[], out),
        Message::Have(piece) => put(MessageKind::Have, &[&piece.0.to_be_bytes()], out),
        Message::Bitfield(bytes) => put(MessageKind::Bitfield, &[bytes], out),
        Message::Request(block) => put(MessageKind::Request, &[&block.encode()], out),
        Message::Cancel(block) => put(MessageKind::Cancel, &[&block.encode()], out),
        Message::Extended { id, payload } => put(MessageKind::Extended, &[&[*id], payload], out),
        Message::Port(port) => put(MessageKind::Port, &[&port.to_be_bytes()], out),
        Message::Suggest(piece) => put(MessageKind::Suggest, &[&piece.0.to_be_bytes()], out),
        Message::HaveAll => put(MessageKind::HaveAll, &[], out),
        Message::HaveNone => put(MessageKind::HaveNone, &[], out),
        Message::Reject(block) => put(MessageKind::Reject, &[&block.encode()], out),
        Message::AllowedFast(piece) => {
            put(MessageKind::AllowedFast, &[&piece.0.to_be_bytes()], out)
        }
    }
}

/// Writes all of a `piece` message that precedes its `len` bytes of payload. `len` is at most
/// [`crate::config::SHOAL_REQUEST_LEN_MAX`].
pub fn encode_piece_head(piece: PieceIndex, offset: u32, len: u32, out: &mut [u8; PIECE_HEAD_LEN]) {
    out[..4].copy_from_slice(&len.saturating_add(9).to_be_bytes());
    out[4] = PIECE_ID;
    out[5..9].copy_from_slice(&piece.0.to_be_bytes());
    out[9..].copy_from_slice(&offset.to_be_bytes());
}

fn put(kind: MessageKind, parts: &[&[u8]], out: &mut Vec<u8>) {
    let len = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    // What we send is bounded far below 4 GiB: bitfields by the piece count, extensions by us.
    out.extend_from_slice(&(len as u32).to_be_bytes());
    out.push(kind.id());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn empty(kind: MessageKind, body: &[u8], message: Message) -> Result<Message, PeerFault> {
    exact::<0>(kind, body).map(|_| message)
}

fn piece(kind: MessageKind, body: &[u8]) -> Result<PieceIndex, PeerFault> {
    Ok(PieceIndex(u32::from_be_bytes(exact(kind, body)?)))
}

fn exact<const N: usize>(kind: MessageKind, body: &[u8]) -> Result<[u8; N], PeerFault> {
    body.try_into().map_err(|_| {
        let len = body.len() as u32 + 1;
        InvalidMessage::WrongLength { id: kind.id(), len, expected: N as u32 + 1 }.into()
    })
}
