//! Entry points for fuzzers: any bytes in, no panic. Each also asserts what must hold of whatever
//! was accepted. The property tests call the same functions.

use crate::{
    bencode::{self, Item},
    ids::PieceIndex,
    metainfo::{FileKind, Metainfo},
    wire::{
        ExtendedHandshake, FrameLimits, Handshake, Message, Next, ShoalMessage, frame,
        handshake::HANDSHAKE_LEN, message,
    },
};

/// Decodes bencoded data; what is accepted decodes again from its own encoding.
///
/// # Panics
/// Where the encoder and the decoder disagree.
pub fn bencode(data: &[u8]) {
    let _ = bencode::decode(data);
    let Ok((value, rest)) = bencode::decode_prefix(data) else { return };
    assert!(rest.len() < data.len(), "a value takes at least a byte");
    let encoded = Item::from(&value).encode();
    let again = bencode::decode(&encoded).map(|value| Item::from(&value));
    assert_eq!(again, Ok(Item::from(&value)), "encoded as {encoded:?}");
}

/// Parses a metainfo file; of what is accepted, layout and names agree with the files.
///
/// # Panics
/// Where they do not.
pub fn metainfo(data: &[u8]) {
    let _ = Metainfo::parse_info(data);
    let Ok(metainfo) = Metainfo::parse(data) else { return };
    let layout = metainfo.layout();
    assert_eq!(metainfo.pieces.len(), layout.piece_count() as usize, "a hash for each piece");
    assert_eq!(metainfo.files.last().map_or(0, |file| file.end()), layout.total_len());
    for (index, file) in metainfo.files.iter().enumerate().take(64) {
        if file.kind != FileKind::Pad {
            assert_eq!(metainfo.find_file(&file.joined()).ok(), Some(index), "{file:?}");
        }
    }
    for piece in (0..layout.piece_count()).map(PieceIndex).take(64) {
        let slices = layout.slices(piece, 0, u32::MAX);
        let len: u64 = slices.map(|slice| slice.len).sum();
        assert_eq!(len, u64::from(layout.piece_size(piece)), "the slices of {piece:?}");
        let name = metainfo.chunk_name(piece);
        assert_eq!(metainfo.find_chunk(&name).ok(), Some(piece), "{name:?}");
    }
    let alone = Metainfo::parse_info(&metainfo.info_bytes).map(|info| info.info_hash);
    assert_eq!(alone, Ok(metainfo.info_hash), "info alone has the same hash");
}

/// Reads a stream of peer messages; what is accepted encodes to the bytes it was read from. The
/// first two bytes choose the limits.
///
/// # Panics
/// Where it does not.
pub fn wire(data: &[u8]) {
    if let Some(handshake) = data.first_chunk::<HANDSHAKE_LEN>()
        && let Ok(read) = Handshake::decode(handshake)
    {
        assert_eq!(&read.encode(), handshake, "a handshake is written as it was read");
    }
    let [bitfield_len, block_len, stream @ ..] = data else { return };
    let limits = FrameLimits {
        bitfield_len: u32::from(*bitfield_len),
        block_len_max: u32::from(*block_len) << 12,
    };
    let mut rest = stream;
    while let Ok(next) = frame::next(rest, &limits) {
        let taken = match next {
            Next::Need(needed) => {
                assert!(needed > rest.len(), "{needed} bytes needed of {} there", rest.len());
                return;
            }
            Next::Piece(block) => {
                assert!((1..=limits.block_len_max).contains(&block.len), "{block:?}");
                let mut head = [0; message::PIECE_HEAD_LEN];
                message::encode_piece_head(block.piece, block.offset, block.len, &mut head);
                assert_eq!(head, rest[..head.len()], "{block:?}");
                head.len() + block.len as usize
            }
            Next::Message(message, taken) => {
                check_message(&message, &rest[..taken]);
                taken
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
}

/// Decodes the payload of an extended message, both as the handshake and as a `shoal` message;
/// what is accepted encodes to something that means the same.
///
/// # Panics
/// Where it does not.
pub fn extended(data: &[u8]) {
    if let Ok(handshake) = ExtendedHandshake::decode(data) {
        let encoded = handshake.encode();
        assert!(encoded.len() < 1000, "{} bytes", encoded.len());
        assert_eq!(ExtendedHandshake::decode(&encoded), Ok(handshake));
    }
    if let Ok(message) = ShoalMessage::decode(data) {
        assert_eq!(ShoalMessage::decode(&message.encode()), Ok(message));
    }
}

fn check_message(message: &Message, read: &[u8]) {
    let mut written = Vec::new();
    message::encode(message, &mut written);
    assert_eq!(written, read, "{message:?}");
    if let Message::Extended { payload, .. } = message {
        extended(payload);
    }
}
