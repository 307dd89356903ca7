use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer(text: &str, flags: u8) -> PexPeer {
    PexPeer { addr: addr(text), flags }
}

fn sample() -> PexMessage {
    PexMessage {
        added: vec![peer("10.0.0.1:7000", SEED), peer("[2001:db8::1]:7001", SEED | REACHABLE)],
        dropped: vec![addr("10.0.0.2:1"), addr("[2001:db8::2]:65535")],
    }
}

#[test]
fn a_message_is_written_in_the_keys_of_bep_11_and_read_again() {
    let encoded = sample().encode();
    let expected = [
        &b"d5:added6:\x0a\0\0\x01\x1b\x58"[..],
        b"7:added.f1:\x02",
        b"6:added618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1b\x59",
        b"8:added6.f1:\x12",
        b"7:dropped6:\x0a\0\0\x02\0\x01",
        b"8:dropped618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xff\xffe",
    ];
    assert_eq!(encoded, expected.concat(), "{}", encoded.escape_ascii());
    assert_eq!(PexMessage::decode(&encoded), Ok(sample()));
    let empty = PexMessage::default();
    assert!(empty.is_empty() && !sample().is_empty());
    assert_eq!(PexMessage::decode(&empty.encode()), Ok(empty));
}

#[test]
fn more_than_fifty_of_a_kind_are_neither_written_nor_read() {
    let many = |count: u16| PexMessage {
        added: (1..=count).map(|n| peer(&format!("10.0.0.1:{n}"), 0)).collect(),
        dropped: (1..=count).map(|n| addr(&format!("10.0.0.2:{n}"))).collect(),
    };
    for (count, kept) in [(49, 49), (50, 50), (51, 50), (2000, 50)] {
        let read = PexMessage::decode(&many(count).encode()).unwrap();
        assert_eq!((read.added.len(), read.dropped.len()), (kept, kept));
        let list = compact(many(count).added.iter().map(|peer| peer.addr), true);
        let raw = Item::dict([("added", Item::from(list))]).encode();
        assert_eq!(PexMessage::decode(&raw).unwrap().added.len(), kept);
    }
}

#[test]
fn lists_of_the_wrong_length_count_as_absent_and_lacking_flags_as_none() {
    let read = |bytes: &[u8]| PexMessage::decode(bytes).unwrap();
    assert!(read(b"d5:added7:\x0a\0\0\x01\x1b\x58\0e").is_empty());
    assert!(read(b"d6:added66:\x0a\0\0\x01\x1b\x58e").is_empty());
    assert!(read(b"d5:addedi5e7:droppedlee").is_empty());
    let two = b"d5:added12:\x0a\0\0\x01\x1b\x58\x0a\0\0\x02\x1b\x587:added.f1:\x02e";
    assert_eq!(read(two).added, [peer("10.0.0.1:7000", 2), peer("10.0.0.2:7000", 0)]);
}

#[test]
fn addresses_where_nobody_listens_are_left_out_with_their_flags() {
    let list = [
        &b"\0\0\0\0\x1b\x58"[..],    // unspecified
        b"\x0a\0\0\x01\0\0",         // port 0
        b"\xe0\0\0\x01\x1b\x58",     // multicast
        b"\xff\xff\xff\xff\x1b\x58", // broadcast
        b"\x0a\0\0\x01\x1b\x58",
    ]
    .concat();
    let flags = Item::from(vec![1, 2, 4, 8, 16]);
    let payload = Item::dict([("added", Item::from(list)), ("added.f", flags)]).encode();
    assert_eq!(PexMessage::decode(&payload).unwrap().added, [peer("10.0.0.1:7000", 16)]);
}

#[test]
fn what_is_no_dictionary_is_refused() {
    let fault = |bytes: &[u8]| PexMessage::decode(bytes).unwrap_err();
    assert!(matches!(fault(b""), PeerFault::InvalidMessage(InvalidMessage::Extended(_))));
    assert_eq!(fault(b"le"), InvalidMessage::ExtendedField("dictionary").into());
}
