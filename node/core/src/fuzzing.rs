//! Entry points for fuzzers: any bytes in, no panic. Each also asserts what must hold of whatever
//! was accepted, and tells what became of the bytes. The property tests and the storms of
//! `node/core/tests` call the same functions.

use crate::{
    address::is_host,
    bencode::{self, Item, Value},
    config::{LOCAL_HASHES_MAX, LOCAL_LEN_MAX, MESSAGE_LEN_MAX, PEX_PEERS_MAX},
    ids::PieceIndex,
    magnet::Magnet,
    metainfo::{FileKind, Metainfo},
    policy::Labels,
    tracker::{
        announce::{AnnounceReply, AnnounceRequest, PeerEntry, ShoalPeer},
        query::{parse_scrape_query, scrape_query},
        registry::Family,
        reply::PeerForm,
        scrape::ScrapeReply,
        udp::{
            READ_REPLY_LEN_MAX,
            reply::Reply,
            request::{Head, Request},
        },
    },
    wire::{
        ExtendedHandshake, FrameLimits, Handshake, LocalAnnounce, Message, MetadataMessage, Next,
        PexMessage, ShoalMessage, frame, handshake::HANDSHAKE_LEN, message,
    },
};

/// What became of an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is accepted. About as many bytes are held for what it says, the bytes themselves apart
    /// where the value borrows from them.
    Holds(usize),
    /// It is refused for this reason.
    Refused(String),
}

/// Decodes bencoded data; what is accepted decodes again from its own encoding.
///
/// # Panics
/// Where the encoder and the decoder disagree.
pub fn bencode(data: &[u8]) -> Outcome {
    let _ = bencode::decode(data);
    let (value, rest) = match bencode::decode_prefix(data) {
        Ok(read) => read,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    assert!(rest.len() < data.len(), "a value takes at least a byte");
    let encoded = Item::from(&value).encode();
    let again = bencode::decode(&encoded).map(|value| Item::from(&value));
    assert_eq!(again, Ok(Item::from(&value)), "encoded as {encoded:?}");
    Outcome::Holds(held_by_value(&value))
}

/// Parses a metainfo file; of what is accepted, layout and names agree with the files.
///
/// # Panics
/// Where they do not.
pub fn metainfo(data: &[u8]) -> Outcome {
    let _ = Metainfo::parse_info(data);
    let metainfo = match Metainfo::parse(data) {
        Ok(metainfo) => metainfo,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
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
    for base in metainfo.web_seeds.iter().take(4) {
        for file in 0..metainfo.files.len().min(64) {
            let url = metainfo.web_seed_url(base, file);
            assert!(url.is_some_and(|url| url.starts_with(base.as_str())), "{base:?} {file}");
        }
    }
    let alone = Metainfo::parse_info(&metainfo.info_bytes).map(|info| info.info_hash);
    assert_eq!(alone, Ok(metainfo.info_hash), "info alone has the same hash");
    Outcome::Holds(held_by_metainfo(&metainfo))
}

/// Reads the 68 bytes that open a connection; what is accepted is written as it was read.
///
/// # Panics
/// Where it is not.
pub fn handshake(data: &[u8]) -> Outcome {
    let Some(bytes) = data.first_chunk::<HANDSHAKE_LEN>() else {
        let early = data.first().map(|&byte| Handshake::check_first_byte(byte));
        let Some(Err(fault)) = early else { return Outcome::Refused("too short".to_owned()) };
        return Outcome::Refused(fault.to_string());
    };
    match Handshake::decode(bytes) {
        Ok(read) => {
            assert_eq!(&read.encode(), bytes, "a handshake is written as it was read");
            Outcome::Holds(size_of::<Handshake>())
        }
        Err(fault) => Outcome::Refused(fault.to_string()),
    }
}

/// Reads a stream of peer messages; what is accepted encodes to the bytes it was read from. The
/// first two bytes choose the limits.
///
/// # Panics
/// Where it does not.
pub fn wire(data: &[u8]) -> Outcome {
    handshake(data);
    let [bitfield_len, block_len, stream @ ..] = data else { return Outcome::Holds(0) };
    let limits = FrameLimits {
        bitfield_len: Some(u32::from(*bitfield_len)).filter(|len| *len != 255),
        block_len_max: u32::from(*block_len) << 12,
        fast: block_len % 2 == 0,
    };
    let (mut rest, mut held) = (stream, 0);
    loop {
        let taken = match frame::next(rest, &limits) {
            Err(fault) => return Outcome::Refused(fault.to_string()),
            Ok(Next::Need(needed)) => {
                assert!(needed > rest.len(), "{needed} bytes needed of {} there", rest.len());
                assert!(needed <= MESSAGE_LEN_MAX as usize + 4, "{needed} bytes needed");
                return Outcome::Holds(held);
            }
            Ok(Next::Piece(block)) => {
                assert!((1..=limits.block_len_max).contains(&block.len), "{block:?}");
                let mut head = [0; message::PIECE_HEAD_LEN];
                message::encode_piece_head(block.piece, block.offset, block.len, &mut head);
                assert_eq!(head, rest[..head.len()], "{block:?}");
                head.len() + block.len as usize
            }
            Ok(Next::Message(message, taken)) => {
                held += check_message(&message, &rest[..taken]);
                taken
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
}

/// Decodes the payload of an extended message, as the handshake and as a message of each extension.
///
/// # Panics
/// As [`extended_handshake`], [`shoal_message`], [`metadata_message`] and [`pex_message`].
pub fn extended(data: &[u8]) {
    extended_handshake(data);
    shoal_message(data);
    metadata_message(data);
    pex_message(data);
}

/// Decodes a message of the extension `ut_metadata`; what is accepted encodes to something that
/// means the same.
///
/// # Panics
/// Where it does not.
pub fn metadata_message(data: &[u8]) -> Outcome {
    match MetadataMessage::decode(data) {
        Ok(message) => {
            assert_eq!(MetadataMessage::decode(&message.encode()).as_ref(), Ok(&message));
            let bytes = match &message {
                MetadataMessage::Data { bytes, .. } => bytes.capacity(),
                MetadataMessage::Request { .. }
                | MetadataMessage::Reject { .. }
                | MetadataMessage::Unknown => 0,
            };
            Outcome::Holds(size_of::<MetadataMessage>() + bytes)
        }
        Err(fault) => Outcome::Refused(fault.to_string()),
    }
}

/// Reads a magnet link; what is accepted is within its limits.
///
/// # Panics
/// Where it is not.
pub fn magnet(data: &[u8]) -> Outcome {
    match Magnet::parse(&String::from_utf8_lossy(data)) {
        Ok(magnet) => {
            let name = magnet.shown_name();
            assert!(!name.is_empty() && !name.chars().any(char::is_control), "{name:?}");
            assert!(magnet.peers.iter().all(|peer| peer.port() != 0), "{magnet:?}");
            let trackers = magnet.trackers.iter().flatten();
            let trackers: usize = trackers.map(|url| url.capacity() + 64).sum();
            let peers = magnet.peers.capacity() * size_of::<std::net::SocketAddr>();
            let name = magnet.name.as_ref().map_or(0, String::capacity);
            Outcome::Holds(size_of::<Magnet>() + trackers + peers + name)
        }
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

/// Decodes the payload of an extended handshake; what is accepted encodes to something small that
/// means the same.
///
/// # Panics
/// Where it does not.
pub fn extended_handshake(data: &[u8]) -> Outcome {
    match ExtendedHandshake::decode(data) {
        Ok(handshake) => {
            let encoded = handshake.encode();
            assert!(encoded.len() < 1000, "{} bytes", encoded.len());
            let held = size_of::<ExtendedHandshake>() + handshake.client.capacity();
            assert_eq!(ExtendedHandshake::decode(&encoded), Ok(handshake));
            Outcome::Holds(held)
        }
        Err(fault) => Outcome::Refused(fault.to_string()),
    }
}

/// Decodes a message of the extension `shoal`; what is accepted encodes to something that means
/// the same.
///
/// # Panics
/// Where it does not.
pub fn shoal_message(data: &[u8]) -> Outcome {
    match ShoalMessage::decode(data) {
        Ok(message) => {
            assert_eq!(ShoalMessage::decode(&message.encode()).as_ref(), Ok(&message));
            let labels = match &message {
                ShoalMessage::Hello { labels } => held_by_labels(labels),
                ShoalMessage::Ping { .. }
                | ShoalMessage::Pong { .. }
                | ShoalMessage::Status { .. }
                | ShoalMessage::Unknown => 0,
            };
            Outcome::Holds(size_of::<ShoalMessage>() + labels)
        }
        Err(fault) => Outcome::Refused(fault.to_string()),
    }
}

/// Decodes a message of peer exchange; what is accepted encodes to something that means the same,
/// and names nobody who cannot be dialled.
///
/// # Panics
/// Where it does not.
pub fn pex_message(data: &[u8]) -> Outcome {
    match PexMessage::decode(data) {
        Ok(message) => {
            assert_eq!(PexMessage::decode(&message.encode()).as_ref(), Ok(&message));
            let PexMessage { added, dropped } = &message;
            assert!(added.len().max(dropped.len()) <= PEX_PEERS_MAX, "{message:?}");
            let named = added.iter().map(|peer| peer.addr).chain(dropped.iter().copied());
            named.for_each(|addr| assert!(is_host(addr), "{addr}"));
            Outcome::Holds(
                size_of::<PexMessage>() + size_of_val(&added[..]) + size_of_val(&dropped[..]),
            )
        }
        Err(fault) => Outcome::Refused(fault.to_string()),
    }
}

/// Reads a datagram of local discovery; what is accepted is read again from its own spelling.
///
/// # Panics
/// Where it is not.
pub fn local_announce(data: &[u8]) -> Outcome {
    match LocalAnnounce::decode(data) {
        Ok(mut announce) => {
            let held = size_of::<LocalAnnounce>() + size_of_val(&announce.info_hashes[..]);
            let held = held + announce.cookie.capacity();
            announce.info_hashes.truncate(LOCAL_HASHES_MAX);
            let encoded = announce.encode(([239, 192, 152, 143], 6771).into());
            assert!(encoded.len() <= LOCAL_LEN_MAX, "{} bytes", encoded.len());
            assert_eq!(LocalAnnounce::decode(&encoded), Ok(announce));
            Outcome::Holds(held)
        }
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

/// Reads the query of an announce; what is accepted is read again from its own spelling.
///
/// # Panics
/// Where it is not.
pub fn announce_query(data: &[u8]) -> Outcome {
    match AnnounceRequest::parse_query(data) {
        Ok(request) => {
            let again = AnnounceRequest::parse_query(request.to_query().as_bytes());
            assert_eq!(again.as_ref(), Ok(&request));
            let texts = [&request.key, &request.tracker_id].map(|text| held_by_text(text.as_ref()));
            let shoal = request.shoal.as_ref().map_or(0, |status| {
                held_by_text(status.have.as_ref()) + held_by_labels(&status.labels)
            });
            Outcome::Holds(size_of::<AnnounceRequest>() + texts.iter().sum::<usize>() + shoal)
        }
        Err(failure) => Outcome::Refused(failure.to_string()),
    }
}

/// Reads the reply to an announce; what is accepted is read again from its own spelling.
///
/// # Panics
/// Where it is not.
pub fn announce_reply(data: &[u8]) -> Outcome {
    match AnnounceReply::decode(data) {
        Ok(reply) => {
            let again = AnnounceReply::decode(&reply.encode(PeerForm::Full));
            assert_eq!(again.as_ref(), Ok(&reply));
            let shoal = reply.shoal.as_ref().map_or(0, |shoal| {
                let peers = shoal.peers.iter();
                peers.map(|peer| held_by_shoal_peer(peer)).sum::<usize>()
            });
            let texts = held_by_text(reply.tracker_id.as_ref())
                + reply.warning.as_ref().map_or(0, String::capacity);
            let peers = reply.peers.len() * size_of::<PeerEntry>();
            Outcome::Holds(size_of::<AnnounceReply>() + peers + texts + shoal)
        }
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

/// Reads the query of a scrape; what is accepted is read again from its own spelling.
///
/// # Panics
/// Where it is not.
pub fn scrape_request(data: &[u8]) -> Outcome {
    match parse_scrape_query(data) {
        Ok(hashes) => {
            let again = parse_scrape_query(scrape_query(&hashes).as_bytes());
            assert_eq!(again.as_ref(), Ok(&hashes));
            Outcome::Holds(hashes.len() * 20)
        }
        Err(failure) => Outcome::Refused(failure.to_string()),
    }
}

/// Reads the reply to a scrape; what is accepted is read again from its own spelling.
///
/// # Panics
/// Where it is not.
pub fn scrape_reply(data: &[u8]) -> Outcome {
    match ScrapeReply::decode(data) {
        Ok(reply) => {
            assert_eq!(ScrapeReply::decode(&reply.encode()).as_ref(), Ok(&reply));
            Outcome::Holds(size_of_val(&reply.files[..]))
        }
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

/// Reads a packet of the UDP tracker protocol, as a request and as a reply of either family; what
/// is accepted reads the same from its own encoding, and nothing of a request grows.
///
/// # Panics
/// Where it does not.
pub fn udp(data: &[u8]) {
    if let Ok(request) = Request::decode(data) {
        let encoded = request.encode();
        // One byte: the end of the options, which may be left out.
        assert!(encoded.len() <= data.len() + 1, "{} of {}", encoded.len(), data.len());
        assert_eq!(Head::decode(data), Head::decode(&encoded));
        assert_eq!(Request::decode(&encoded), Ok(request), "encoded as {encoded:?}");
    }
    for family in [Family::V4, Family::V6] {
        if let Ok(reply) = Reply::decode(data, family)
            && data.len() <= READ_REPLY_LEN_MAX
        {
            let encoded = reply.encode(family);
            let again = Reply::decode(&encoded, family).map(|again| again.encode(family));
            assert_eq!(again, Ok(encoded), "{reply:?}");
        }
    }
}

/// Returns about how many bytes the message holds.
fn check_message(message: &Message, read: &[u8]) -> usize {
    let mut written = Vec::new();
    message::encode(message, &mut written);
    assert_eq!(written, read, "{message:?}");
    if let Message::Extended { payload, .. } = message {
        extended(payload);
    }
    size_of::<Message>() + read.len()
}

fn held_by_value(value: &Value<'_>) -> usize {
    let (mut held, mut ahead) = (0, vec![value]);
    while let Some(value) = ahead.pop() {
        held += size_of::<Value<'_>>();
        match value {
            Value::Bytes(_) | Value::Int(_) => {}
            Value::List(items) => ahead.extend(items),
            Value::Dict(dict) => {
                held += dict.len() * size_of::<&[u8]>();
                ahead.extend(dict.iter().map(|(_, value)| value));
            }
        }
    }
    held
}

fn held_by_metainfo(metainfo: &Metainfo) -> usize {
    let texts = |texts: &[String]| {
        texts.iter().map(|text| size_of::<String>() + text.capacity()).sum::<usize>()
    };
    let files = metainfo.files.iter();
    let files = files.map(|file| size_of_val(file) + texts(&file.path)).sum::<usize>();
    let trackers = metainfo.trackers.iter();
    let trackers = trackers.map(|tier| size_of_val(tier) + texts(tier)).sum::<usize>();
    let more = [&metainfo.comment, &metainfo.created_by].into_iter().flatten();
    size_of::<Metainfo>()
        + metainfo.name.capacity()
        + size_of_val(&metainfo.pieces[..])
        + metainfo.info_bytes.len()
        + files
        + trackers
        + texts(&metainfo.web_seeds)
        + more.map(String::capacity).sum::<usize>()
}

fn held_by_labels(labels: &Labels) -> usize {
    let held = |text: &String| size_of::<String>() + text.capacity();
    labels.iter().map(|(key, value)| held(key) + held(value)).sum()
}

fn held_by_shoal_peer(peer: &ShoalPeer) -> usize {
    size_of::<ShoalPeer>() + held_by_text(peer.have.as_ref()) + held_by_labels(&peer.labels)
}

fn held_by_text(text: Option<&Vec<u8>>) -> usize {
    text.map_or(0, Vec::capacity)
}
