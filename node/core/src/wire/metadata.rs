//! The messages of `ut_metadata` (BEP 9): the info dictionary in pieces of 16 KiB, from who has it.
//! Never here: who is asked, and whether the bytes are right.

use crate::{
    bencode::{self, Item, Value},
    config::{METADATA_LEN_MAX, METADATA_PIECE_LEN},
    wire::{
        extended::unsigned,
        fault::{InvalidMessage, PeerFault},
    },
};

/// A message of the extension `ut_metadata`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataMessage {
    /// Asks for a piece.
    Request {
        /// Its index.
        piece: u32,
    },
    /// A piece.
    Data {
        /// Its index.
        piece: u32,
        /// Bytes of the whole metadata, where the sender says it: 1 to [`METADATA_LEN_MAX`].
        total_size: Option<u32>,
        /// The piece: at most [`METADATA_PIECE_LEN`] bytes.
        bytes: Vec<u8>,
    },
    /// The sender does not give a piece.
    Reject {
        /// Its index.
        piece: u32,
    },
    /// A type that we do not know: to be ignored (BEP 9). Never sent.
    Unknown,
}

const REQUEST: u32 = 0;
const DATA: u32 = 1;
const REJECT: u32 = 2;

impl MetadataMessage {
    /// The payload of the extended message. [`Self::Unknown`] becomes a message that every receiver
    /// ignores.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let message = |kind: u32, piece: u32| {
            vec![("msg_type", Item::from(kind)), ("piece", Item::from(piece))]
        };
        match self {
            Self::Request { piece } => Item::dict(message(REQUEST, *piece)).encode(),
            Self::Reject { piece } => Item::dict(message(REJECT, *piece)).encode(),
            Self::Data { piece, total_size, bytes } => {
                let mut entries = message(DATA, *piece);
                entries.extend(total_size.map(|size| ("total_size", Item::from(size))));
                let mut payload = Item::dict(entries).encode();
                payload.extend_from_slice(bytes);
                payload
            }
            Self::Unknown => Item::dict(message(u32::MAX, 0)).encode(),
        }
    }

    /// Reads the payload of a message of [`Extension::Metadata`](super::Extension::Metadata).
    ///
    /// # Errors
    /// [`InvalidMessage`]: `Extended` where it is not bencoded, `ExtendedField` naming the key that
    /// is missing or out of its range, or the data that is too long.
    pub fn decode(payload: &[u8]) -> Result<Self, PeerFault> {
        let (value, rest) = bencode::decode_prefix(payload).map_err(InvalidMessage::Extended)?;
        let dict = value.as_dict().ok_or(InvalidMessage::ExtendedField("dictionary"))?;
        let kind = dict.get("msg_type").and_then(Value::as_unsigned);
        let kind = kind.ok_or(InvalidMessage::ExtendedField("msg_type"))?;
        let piece = || {
            let piece = unsigned(dict, "piece").and_then(|piece| u32::try_from(piece).ok());
            piece.ok_or(InvalidMessage::ExtendedField("piece"))
        };
        Ok(match u32::try_from(kind) {
            Ok(REQUEST) => Self::Request { piece: piece()? },
            Ok(REJECT) => Self::Reject { piece: piece()? },
            Ok(DATA) if rest.len() > METADATA_PIECE_LEN as usize => {
                return Err(InvalidMessage::ExtendedField("data").into());
            }
            Ok(DATA) => Self::Data {
                piece: piece()?,
                total_size: dict.get("total_size").map(total_size).transpose()?,
                bytes: rest.to_vec(),
            },
            Ok(_) | Err(_) => Self::Unknown,
        })
    }
}

fn total_size(value: &Value<'_>) -> Result<u32, InvalidMessage> {
    let size = value.as_unsigned().filter(|size| (1..=METADATA_LEN_MAX).contains(size));
    let size = size.and_then(|size| u32::try_from(size).ok());
    size.ok_or(InvalidMessage::ExtendedField("total_size"))
}

/// How many pieces metadata of `len` bytes has.
#[must_use]
pub fn piece_count(len: u32) -> u32 {
    len.div_ceil(METADATA_PIECE_LEN)
}

/// Where a piece is in metadata of `len` bytes; none where there is no such piece.
#[must_use]
pub fn piece_range(piece: u32, len: u32) -> Option<std::ops::Range<usize>> {
    let start = piece.checked_mul(METADATA_PIECE_LEN).filter(|start| *start < len)?;
    Some(start as usize..start.saturating_add(METADATA_PIECE_LEN).min(len) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &[u8]) -> Result<MetadataMessage, String> {
        MetadataMessage::decode(payload).map_err(|fault| fault.to_string())
    }

    #[test]
    fn messages_read_as_they_were_written() {
        for message in [
            MetadataMessage::Request { piece: 0 },
            MetadataMessage::Reject { piece: 7 },
            MetadataMessage::Data { piece: 1, total_size: Some(16385), bytes: vec![b'e'] },
            MetadataMessage::Data { piece: 0, total_size: None, bytes: vec![0; 16384] },
            MetadataMessage::Unknown,
        ] {
            assert_eq!(read(&message.encode()), Ok(message));
        }
        let known: &[u8] = b"d8:msg_typei0e5:piecei3ee";
        assert_eq!(MetadataMessage::Request { piece: 3 }.encode(), known);
        let known: &[u8] = b"d8:msg_typei1e5:piecei0e10:total_sizei3eexyz";
        let bytes = b"xyz".to_vec();
        let data = MetadataMessage::Data { piece: 0, total_size: Some(3), bytes };
        assert_eq!(data.encode(), known);
    }

    #[test]
    fn what_is_missing_or_out_of_range_is_named() {
        for (payload, what) in [
            (&b"i1e"[..], "dictionary"),
            (b"d5:piecei0ee", "msg_type"),
            (b"d8:msg_typei0ee", "piece"),
            (b"d8:msg_typei0e5:piecei-1ee", "piece"),
            (b"d8:msg_typei2e5:piecei4294967296ee", "piece"),
            (b"d8:msg_typei1e5:piecei0e10:total_sizei0eex", "total_size"),
            (b"d8:msg_typei1e5:piecei0e10:total_sizei16777217eex", "total_size"),
        ] {
            let fault = read(payload).unwrap_err();
            assert!(fault.contains(what), "{fault}");
        }
        let mut long = b"d8:msg_typei1e5:piecei0ee".to_vec();
        long.extend_from_slice(&[0; 16385]);
        assert!(read(&long).unwrap_err().contains("data"));
        assert!(read(b"x").is_err());
    }

    #[test]
    fn the_last_piece_is_short_and_there_is_none_behind_it() {
        assert_eq!((piece_count(16384), piece_count(16385)), (1, 2));
        assert_eq!(piece_range(0, 16385), Some(0..16384));
        assert_eq!(piece_range(1, 16385), Some(16384..16385));
        assert_eq!(piece_range(1, 16384), None);
        assert_eq!(piece_range(u32::MAX, 16384), None);
    }
}
