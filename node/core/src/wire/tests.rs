//! Round trips of everything on the wire, and each limit at, below and above it.

use std::net::IpAddr;

use proptest::prelude::*;

use super::{fault::*, frame::*, handshake::*, message::*, *};
use crate::{
    bitfield::BitfieldError,
    config::*,
    fuzzing,
    ids::{InfoHash, PeerId, PieceIndex},
    policy::Labels,
};

const LIMITS: FrameLimits =
    FrameLimits { bitfield_len: Some(10), block_len_max: BLOCK_LEN, fast: true };

fn block(piece: u32, offset: u32, len: u32) -> BlockRange {
    BlockRange { piece: PieceIndex(piece), offset, len }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out);
    out
}

fn refused(len: u32, id: u8, fault: InvalidMessage) {
    let expected = Err(PeerFault::InvalidMessage(fault));
    assert_eq!(Head::decode(len, id, &LIMITS), expected, "length {len}, id {id}");
}

#[test]
fn handshake_is_laid_out_as_bep_3_says() {
    let bytes = Handshake::new(InfoHash([1; 20]), PeerId([2; 20])).encode();
    assert_eq!(&bytes[..20], b"\x13BitTorrent protocol");
    assert_eq!(bytes[20..28], [0, 0, 0, 0, 0, 0x10, 0, 4]);
    assert_eq!(bytes[28..48], [1; 20]);
    assert_eq!(bytes[48..], [2; 20]);
}

#[test]
fn what_both_handshakes_offer_is_agreed_on() {
    let ours = Handshake::new(InfoHash([0; 20]), PeerId([0; 20]));
    let offering = |reserved| Handshake { reserved, ..ours };
    let agreed = |reserved| {
        let theirs = offering(reserved);
        let terms = Terms::agreed(&ours, &theirs);
        assert_eq!(terms, Terms::agreed(&theirs, &ours));
        (terms.fast, terms.extended)
    };
    assert_eq!(agreed(ours.reserved), (true, true));
    assert_eq!(agreed([0xff; 8]), (true, true));
    assert_eq!(agreed([0, 0, 0, 0, 0, 0, 0, 4]), (true, false));
    assert_eq!(agreed([0, 0, 0, 0, 0, 0x10, 0, 0]), (false, true));
    assert_eq!(agreed([0; 8]), (false, false));
}

/// One message of every kind.
fn one_of_each() -> Vec<Message> {
    vec![
        Message::KeepAlive,
        Message::Choke,
        Message::Unchoke,
        Message::Interested,
        Message::NotInterested,
        Message::Have(PieceIndex(1)),
        Message::Bitfield(vec![0; 10]),
        Message::Request(block(1, 0, 1)),
        Message::Cancel(block(1, 0, 1)),
        Message::Extended { id: 0, payload: b"de".to_vec() },
        Message::Port(1),
        Message::Suggest(PieceIndex(1)),
        Message::HaveAll,
        Message::HaveNone,
        Message::Reject(block(1, 0, 1)),
        Message::AllowedFast(PieceIndex(1)),
    ]
}

#[test]
fn a_peer_is_sent_only_kinds_of_messages_that_were_agreed_on() {
    let both = [false, true];
    for (fast, extended) in both.into_iter().flat_map(|fast| both.map(|other| (fast, other))) {
        let terms = Terms { fast, extended };
        for message in one_of_each() {
            let expected = match message.kind().map(MessageKind::id) {
                None | Some(0..=8) => true,
                Some(13..=17) => fast,
                Some(20) => extended,
                Some(_) => false,
            };
            let mut out = vec![7];
            let written = terms.write(&message, &mut out);
            assert_eq!(written.is_ok(), expected, "{message:?} under {terms:?}");
            let whole = [vec![7], encoded(&message)].concat();
            assert_eq!(out, if expected { whole } else { vec![7] }, "{message:?}");
        }
    }
}

#[test]
fn encrypted_handshake_is_told_by_its_first_byte() {
    let mut bytes = Handshake::new(InfoHash([1; 20]), PeerId([2; 20])).encode();
    bytes[1] = b'b';
    assert_eq!(Handshake::decode(&bytes), Err(Incompatible::Protocol.into()));
    bytes[0] = 20;
    assert_eq!(Handshake::decode(&bytes), Err(Incompatible::NotPlaintext(20).into()));
    assert!(Handshake::check_first_byte(19).is_ok());
}

#[test]
fn messages_are_written_as_bep_3_says() {
    assert_eq!(encoded(&Message::KeepAlive), [0, 0, 0, 0]);
    assert_eq!(encoded(&Message::Unchoke), [0, 0, 0, 1, 1]);
    assert_eq!(encoded(&Message::Have(PieceIndex(258))), [0, 0, 0, 5, 4, 0, 0, 1, 2]);
    let request = encoded(&Message::Request(block(1, 2, 3)));
    assert_eq!(request, [0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
    assert_eq!(encoded(&Message::Cancel(block(1, 2, 3)))[4], 8);
    assert_eq!(encoded(&Message::Bitfield(vec![0x80])), [0, 0, 0, 2, 5, 0x80]);
    assert_eq!(encoded(&Message::Port(0x1ae1)), [0, 0, 0, 3, 9, 0x1a, 0xe1]);
    assert_eq!(encoded(&Message::Suggest(PieceIndex(258))), [0, 0, 0, 5, 13, 0, 0, 1, 2]);
    assert_eq!(encoded(&Message::HaveAll), [0, 0, 0, 1, 14]);
    assert_eq!(encoded(&Message::HaveNone), [0, 0, 0, 1, 15]);
    assert_eq!(encoded(&Message::Reject(block(1, 2, 3)))[4..], [&[16], &request[5..]].concat());
    assert_eq!(encoded(&Message::AllowedFast(PieceIndex(258))), [0, 0, 0, 5, 17, 0, 0, 1, 2]);
    let extended = Message::Extended { id: 1, payload: vec![7] };
    assert_eq!(encoded(&extended), [0, 0, 0, 3, 20, 1, 7]);
    let mut head = [0; PIECE_HEAD_LEN];
    encode_piece_head(PieceIndex(1), 2, 16384, &mut head);
    assert_eq!(head, [0, 0, 0x40, 9, 7, 0, 0, 0, 1, 0, 0, 0, 2]);
}

#[test]
fn length_prefix_is_limited() {
    let prefix = |len: u32| length_prefix(len.to_be_bytes());
    assert_eq!(prefix(0), Ok(None));
    assert_eq!(prefix(MESSAGE_LEN_MAX - 1), Ok(Some(MESSAGE_LEN_MAX - 1)));
    assert_eq!(prefix(MESSAGE_LEN_MAX), Ok(Some(MESSAGE_LEN_MAX)));
    let (len, max) = (MESSAGE_LEN_MAX + 1, MESSAGE_LEN_MAX);
    assert_eq!(prefix(len), Err(InvalidMessage::TooLong { len, max }.into()));
}

#[test]
fn lengths_are_exact_for_each_kind() {
    let fixed = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 5), (5, 11), (6, 13), (8, 13), (9, 3)];
    let fast = [(13, 5), (14, 1), (15, 1), (16, 13), (17, 5)];
    for (id, expected) in fixed.into_iter().chain(fast) {
        assert!(Head::decode(expected, id, &LIMITS).is_ok(), "id {id}");
        for len in [expected - 1, expected + 1].into_iter().filter(|len| *len > 0) {
            refused(len, id, InvalidMessage::WrongLength { id, len, expected });
        }
    }
}

#[test]
fn piece_messages_are_limited_by_what_we_request() {
    let max = BLOCK_LEN + 9;
    refused(9, PIECE_ID, InvalidMessage::TooShort { id: PIECE_ID, len: 9, min: 10 });
    assert_eq!(Head::decode(10, PIECE_ID, &LIMITS), Ok(Head::Piece { payload_len: 1 }));
    assert_eq!(Head::decode(max, PIECE_ID, &LIMITS), Ok(Head::Piece { payload_len: BLOCK_LEN }));
    refused(max + 1, PIECE_ID, InvalidMessage::TooLong { len: max + 1, max });
    let greedy = FrameLimits { block_len_max: u32::MAX, ..LIMITS };
    assert!(Head::decode(MESSAGE_LEN_MAX, PIECE_ID, &greedy).is_ok());
    assert!(Head::decode(MESSAGE_LEN_MAX + 1, PIECE_ID, &greedy).is_err());
}

#[test]
fn extended_messages_are_limited() {
    refused(1, 20, InvalidMessage::TooShort { id: 20, len: 1, min: 2 });
    assert!(Head::decode(2, 20, &LIMITS).is_ok());
    assert!(Head::decode(EXTENDED_LEN_MAX - 1, 20, &LIMITS).is_ok());
    assert!(Head::decode(EXTENDED_LEN_MAX, 20, &LIMITS).is_ok());
    let (len, max) = (EXTENDED_LEN_MAX + 1, EXTENDED_LEN_MAX);
    refused(len, 20, InvalidMessage::TooLong { len, max });
}

#[test]
fn largest_bitfield_fits_a_message() {
    let limits = FrameLimits { bitfield_len: Some(BITFIELD_LEN_MAX), ..LIMITS };
    assert_eq!(crate::bitfield::Bitfield::wire_len(PIECES_MAX as usize), BITFIELD_LEN_MAX as usize);
    assert!(length_prefix((BITFIELD_LEN_MAX + 1).to_be_bytes()).is_ok());
    assert!(Head::decode(BITFIELD_LEN_MAX + 1, 5, &limits).is_ok());
    assert!(Head::decode(BITFIELD_LEN_MAX, 5, &limits).is_err());
    assert!(Head::decode(BITFIELD_LEN_MAX + 2, 5, &limits).is_err());
}

#[test]
fn unknown_ids_and_fast_messages_that_were_not_agreed_on_are_refused() {
    for id in 0..=255 {
        match id {
            0..=9 | 20 => {}
            13..=17 => {
                let without = Head::decode(1, id, &FrameLimits { fast: false, ..LIMITS });
                assert_eq!(without, Err(InvalidMessage::FastNotNegotiated(id).into()));
            }
            _ => refused(1, id, InvalidMessage::UnknownId(id)),
        }
    }
}

#[test]
fn stream_asks_for_no_more_than_it_needs() {
    let bytes = encoded(&Message::Have(PieceIndex(7)));
    assert_eq!(next(&bytes[..3], &LIMITS), Ok(Next::Need(4)));
    assert_eq!(next(&bytes[..4], &LIMITS), Ok(Next::Need(5)));
    assert_eq!(next(&bytes[..8], &LIMITS), Ok(Next::Need(9)));
    assert_eq!(next(&bytes, &LIMITS), Ok(Next::Message(Message::Have(PieceIndex(7)), 9)));
    let mut head = [0; PIECE_HEAD_LEN];
    encode_piece_head(PieceIndex(1), 2, BLOCK_LEN, &mut head);
    assert_eq!(next(&head[..12], &LIMITS), Ok(Next::Need(PIECE_HEAD_LEN)));
    assert_eq!(next(&head, &LIMITS), Ok(Next::Piece(block(1, 2, BLOCK_LEN))));
}

#[test]
fn oversized_message_is_refused_before_its_body_arrives() {
    assert!(next(&[0xff; 4], &LIMITS).is_err());
    assert!(next(&[0, 0, 1, 0, 5], &LIMITS).is_err());
}

#[test]
fn blocks_beyond_their_piece_are_refused() {
    assert!(block(0, 0, 100).check(100).is_ok());
    assert!(block(0, 99, 1).check(100).is_ok());
    assert!(block(0, 99, 2).check(100).is_err());
    assert!(block(0, 100, 0).check(100).is_err());
    assert!(block(0, u32::MAX, u32::MAX).check(100).is_err());
}

#[test]
fn only_proven_corruption_bans() {
    let consequence = |fault: PeerFault| fault.consequence();
    assert_eq!(consequence(Misbehaved::CorruptPiece { piece: 1 }.into()), Consequence::Ban);
    assert_eq!(consequence(Misbehaved::RequestNotHad { piece: 1 }.into()), Consequence::Ignore);
    assert_eq!(consequence(InvalidMessage::UnknownId(99).into()), Consequence::Close);
    assert_eq!(consequence(BitfieldError::SpareBits { last: 1 }.into()), Consequence::Close);
}

fn full_handshake() -> ExtendedHandshake {
    ExtendedHandshake {
        ids: Extension::offer(&[Extension::Shoal, Extension::Metadata, Extension::Pex]),
        shoal: Some(ShoalOffer { version: 1, request_len_max: SHOAL_REQUEST_LEN_MAX }),
        client: "\u{1F41F}".repeat(CLIENT_NAME_LEN_MAX),
        port: Some(7000),
        reqq: Some(2000),
        your_ip: Some("2001:db8::1".parse().unwrap()),
        upload_only: Some(true),
        metadata_size: Some(1 << 24),
    }
}

#[test]
fn extended_handshake_fits_the_smallest_buffer() {
    let handshake = full_handshake();
    let encoded = handshake.encode();
    assert!(encoded.len() < 1000, "{} bytes", encoded.len());
    assert_eq!(ExtendedHandshake::decode(&encoded), Ok(handshake));
}

#[test]
fn extended_handshake_has_the_keys_of_the_design() {
    let handshake = ExtendedHandshake { client: "shoal".into(), ..full_handshake() };
    let handshake = ExtendedHandshake { your_ip: Some([10, 0, 0, 2].into()), ..handshake };
    let expected = b"d1:md5:shoali1e11:ut_metadatai2e6:ut_pexi3ee13:metadata_sizei16777216e1:pi7000e4:reqqi2000e5:shoald6:maxreqi1048576e1:vi1ee\
        11:upload_onlyi1e1:v5:shoal6:yourip4:\x0a\x00\x00\x02e";
    assert_eq!(handshake.encode(), expected);
}

#[test]
fn foreign_extended_handshake_is_read_for_what_it_has() {
    let transmission = b"d1:ei0e1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei1e1:pi51413e\
        4:reqqi512e11:upload_onlyi1e1:v17:Transmission 3.00e";
    let read = ExtendedHandshake::decode(transmission).unwrap();
    assert_eq!(read.ids, [(Extension::Metadata, 3), (Extension::Pex, 1)].into());
    assert_eq!((read.shoal, read.metadata_size), (None, Some(1)));
    assert_eq!(
        (read.client.as_str(), read.port, read.reqq),
        ("Transmission 3.00", Some(51413), Some(512))
    );
    assert_eq!(read.upload_only, Some(true));
    assert_eq!(ExtendedHandshake::decode(b"de"), Ok(ExtendedHandshake::default()));
}

#[test]
fn extended_handshake_out_of_range_counts_as_absent() {
    let read = |text: &[u8]| ExtendedHandshake::decode(text).unwrap();
    for m in [
        "5:shoali0e",
        "5:shoali256e",
        "11:ut_metadatai-1e",
        "11:ut_metadata1:2",
        "6:ut_pexi0e",
        "1:xi9e",
    ] {
        assert!(read(format!("d1:md{m}ee").as_bytes()).ids.is_empty(), "{m}");
    }
    for size in ["0", "-1", "16777217", "99999999999"] {
        let text = format!("d13:metadata_sizei{size}ee");
        assert_eq!(read(text.as_bytes()).metadata_size, None, "{size}");
    }
    assert_eq!(read(b"d1:pi65536ee").port, None);
    assert_eq!(read(b"d1:pi0ee").port, None);
    assert_eq!(read(b"d4:reqqi0ee").reqq, Some(1));
    assert_eq!(read(b"d4:reqqi-5ee").reqq, None);
    assert_eq!(read(b"d4:reqqi99999999999ee").reqq, Some(u32::MAX));
    assert_eq!(read(b"d5:shoald6:maxreqi5e1:vi1eee").shoal.unwrap().request_len_max, BLOCK_LEN);
    assert_eq!(read(b"d5:shoald1:vi0eee").shoal, None);
    assert_eq!(read(b"d6:yourip3:abce").your_ip, None::<IpAddr>);
    assert_eq!(read(b"d11:upload_onlyi0ee").upload_only, Some(false));
    assert_eq!(read(b"d11:upload_onlyi7ee").upload_only, Some(true));
    assert_eq!(read(b"d11:upload_only1:1e").upload_only, None);
    assert!(ExtendedHandshake::decode(b"le").is_err());
    assert!(ExtendedHandshake::decode(b"").is_err());
}

#[test]
fn client_names_are_cleaned() {
    let named = |name: &[u8]| {
        let payload = [b"d1:v".to_vec(), format!("{}:", name.len()).into_bytes(), name.to_vec()];
        ExtendedHandshake::decode(&[payload.concat(), b"e".to_vec()].concat()).unwrap().client
    };
    assert_eq!(named(b" \x1b[31mred\r\n "), "[31mred");
    assert_eq!(named("a\u{202e}b".as_bytes()), "ab");
    assert_eq!(named(b"\xff"), "\u{fffd}");
    for len in [CLIENT_NAME_LEN_MAX - 1, CLIENT_NAME_LEN_MAX, CLIENT_NAME_LEN_MAX + 1] {
        assert_eq!(named(&vec![b'x'; len]).len(), len.min(CLIENT_NAME_LEN_MAX));
    }
}

fn hello(labels: Labels) -> Result<ShoalMessage, PeerFault> {
    ShoalMessage::decode(&ShoalMessage::Hello { labels }.encode())
}

#[test]
fn labels_are_limited_in_number() {
    let labels = |count: usize| (0..count).map(|n| (format!("k{n}"), "v".into())).collect();
    assert!(hello(labels(LABELS_MAX - 1)).is_ok());
    assert!(hello(labels(LABELS_MAX)).is_ok());
    let refused = InvalidMessage::TooManyLabels(LABELS_MAX + 1);
    assert_eq!(hello(labels(LABELS_MAX + 1)), Err(refused.into()));
}

#[test]
fn labels_are_limited_in_length() {
    let of = |key: usize, value: usize| hello([("k".repeat(key), "v".repeat(value))].into());
    assert!(of(LABEL_LEN_MAX - 1, LABEL_LEN_MAX - 1).is_ok());
    assert!(of(LABEL_LEN_MAX, LABEL_LEN_MAX).is_ok());
    assert!(of(LABEL_LEN_MAX + 1, 1).is_err());
    assert!(of(1, LABEL_LEN_MAX + 1).is_err());
    assert!(of(1, 0).is_ok());
    assert!(of(0, 1).is_err());
    assert!(hello([("zone".into(), "a\x07".into())].into()).is_err());
    assert!(ShoalMessage::decode(b"d6:labelsd1:\xff1:ae1:t5:helloe").is_err());
}

#[test]
fn unknown_shoal_messages_and_keys_are_ignored() {
    assert_eq!(ShoalMessage::decode(b"d1:t4:danc1:x0:e").ok(), Some(ShoalMessage::Unknown));
    assert_eq!(ShoalMessage::decode(b"d1:ni3e1:t4:ping1:z0:e"), Ok(ShoalMessage::Ping { n: 3 }));
    let missing = |key| Err(PeerFault::from(InvalidMessage::ExtendedField(key)));
    assert_eq!(ShoalMessage::decode(b"d1:ni-3e1:t4:pinge"), missing("n"));
    assert_eq!(ShoalMessage::decode(b"d1:t6:status2:upi1ee"), missing("down"));
    assert_eq!(ShoalMessage::decode(b"de"), missing("t"));
}

fn any_block() -> impl Strategy<Value = BlockRange> {
    any::<(u32, u32, u32)>().prop_map(|(piece, offset, len)| block(piece, offset, len))
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        any::<u32>().prop_map(|piece| Message::Have(PieceIndex(piece))),
        prop::collection::vec(any::<u8>(), 10).prop_map(Message::Bitfield),
        any_block().prop_map(Message::Request),
        any_block().prop_map(Message::Cancel),
        any::<u16>().prop_map(Message::Port),
        any::<u32>().prop_map(|piece| Message::Suggest(PieceIndex(piece))),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        any_block().prop_map(Message::Reject),
        any::<u32>().prop_map(|piece| Message::AllowedFast(PieceIndex(piece))),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(id, payload)| Message::Extended { id, payload }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_stream_is_read_as_it_was_written(
        messages in prop::collection::vec(any_message(), 0..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(encoded).collect();
        let mut rest = &stream[..];
        let mut read = Vec::new();
        while let Ok(Next::Message(message, taken)) = next(rest, &LIMITS) {
            read.push(message);
            rest = &rest[taken..];
        }
        prop_assert_eq!(read, messages);
        prop_assert_eq!(next(rest, &LIMITS), Ok(Next::Need(4)));
        fuzzing::wire(&[&[10, 4], &stream[..cut.index(stream.len() + 1)]].concat());
    }

    #[test]
    fn every_handshake_is_read_as_it_was_written(
        reserved in any::<[u8; 8]>(), hash in any::<[u8; 20]>(), id in any::<[u8; 20]>(),
    ) {
        let handshake = Handshake { reserved, info_hash: InfoHash(hash), peer_id: PeerId(id) };
        prop_assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
    }

    #[test]
    fn any_stream_is_survived(
        data in prop::collection::vec(any::<u8>(), 0..200),
        head in prop::option::of((0u32..20, 0u8..21)),
    ) {
        fuzzing::wire(&data);
        if let Some((len, id)) = head {
            fuzzing::wire(&[&[10, 4], &len.to_be_bytes()[..], &[id], &data].concat());
        }
    }

    #[test]
    fn any_extended_payload_is_survived(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::extended(&data);
    }

    #[test]
    fn any_known_keys_are_survived(
        entries in prop::collection::btree_map(
            prop::sample::select(vec![
                "m", "v", "p", "reqq", "yourip", "upload_only", "shoal", "t", "n", "labels",
            ]),
            prop_oneof![
                any::<i64>().prop_map(|n| format!("i{n}e")),
                any::<String>().prop_map(|s| format!("{}:{s}", s.len())),
                Just("d5:shoali7ee".to_owned()),
                Just("d6:maxreqi70000e1:vi1ee".to_owned()),
                Just("4:ping".to_owned()),
                Just("5:hello".to_owned()),
            ],
            0..9,
        ),
    ) {
        let body: String = entries.iter().map(|(k, v)| format!("{}:{k}{v}", k.len())).collect();
        fuzzing::extended(format!("d{body}e").as_bytes());
    }
}
