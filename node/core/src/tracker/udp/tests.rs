//! Packets byte for byte, at their lengths and around them, and whatever an enemy sends.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::{
    options::{read_url_data, write_url_data},
    reply::{Body, Reply, peers_max},
    request::{Head, Query, Request},
    *,
};
use crate::{
    fuzzing,
    ids::{InfoHash, PeerId},
    rng::Rng,
    tracker::{
        announce::{AnnounceEvent, AnnounceRequest, BYTES_MAX, REASON_LEN_MAX},
        query::SCRAPE_MAX,
        registry::Family,
        scrape::ScrapeEntry,
    },
};

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

fn announce() -> AnnounceRequest {
    AnnounceRequest {
        uploaded: 3,
        downloaded: 1,
        event: Some(AnnounceEvent::Started),
        ip: Some([10, 0, 0, 9].into()),
        key: Some(b"DEADBEEF".to_vec()),
        ..AnnounceRequest::new(InfoHash([0x11; 20]), PeerId([0x22; 20]), 0x1b58, 2)
    }
}

fn entry(n: u32) -> ScrapeEntry {
    ScrapeEntry { complete: n, downloaded: n + 1, incomplete: n + 2 }
}

/// Whether a tracker reads the same as everybody.
fn is_read_alike(packet: &[u8]) -> bool {
    match (Request::decode(packet), Query::decode(packet)) {
        (Ok(Request::Announce { announce, .. }), Ok(Some(Query::Announce(read)))) => {
            *announce == read
        }
        (Ok(Request::Scrape { info_hashes, .. }), Ok(Some(Query::Scrape(read)))) => {
            info_hashes.iter().map(|info_hash| &info_hash.0).eq(read)
        }
        (Ok(Request::Connect { .. }) | Err(PacketError::ConnectLen(_)), Ok(None)) => true,
        (Err(one), Err(other)) => one == other,
        _ => false,
    }
}

#[test]
fn requests_are_written_as_bep_15_has_them() {
    let check = |request: Request, hex: &str| {
        assert_eq!(hex::encode(request.encode()), hex.replace(' ', ""));
        assert_eq!(Request::decode(&bytes(hex)), Ok(request));
        assert!(is_read_alike(&bytes(hex)), "{hex}");
    };
    check(Request::Connect { transaction: 7 }, "0000041727101980 00000000 00000007");
    let hashes = vec![InfoHash([0x11; 20]), InfoHash([0x22; 20])];
    let (one, two) = ("11".repeat(20), "22".repeat(20));
    let request = Request::Scrape { connection: 9, transaction: 7, info_hashes: hashes };
    check(request, &format!("0000000000000009 00000002 00000007 {one} {two}"));
    let request = Request::Announce {
        connection: 9,
        transaction: 7,
        announce: Box::new(announce()),
        url_data: b"/a?b".to_vec(),
    };
    let hex = format!(
        "0000000000000009 00000001 00000007 {one} {two} 0000000000000001 0000000000000002 \
         0000000000000003 00000002 0a000009 deadbeef ffffffff 1b58 02 04 2f613f62 00"
    );
    check(request, &hex);
}

#[test]
fn replies_are_written_as_bep_15_has_them() {
    let check = |body: Body, family: Family, hex: &str| {
        let reply = Reply { transaction: 7, body };
        assert_eq!(hex::encode(reply.encode(family)), hex.replace(' ', ""));
        assert_eq!(Reply::decode(&bytes(hex), family), Ok(reply));
    };
    check(Body::Connect { connection: 9 }, Family::V4, "00000000 00000007 0000000000000009");
    let body =
        |peers: Vec<SocketAddr>| Body::Announce { interval_s: 120, leechers: 1, seeders: 2, peers };
    let head = "00000001 00000007 00000078 00000001 00000002";
    let v4 = vec!["10.0.0.1:7000".parse().unwrap(), "10.0.0.2:1".parse().unwrap()];
    check(body(v4), Family::V4, &format!("{head} 0a0000011b58 0a0000020001"));
    let v6 = vec!["[fd00::1]:7000".parse().unwrap()];
    check(body(v6), Family::V6, &format!("{head} fd000000000000000000000000000001 1b58"));
    let body = Body::Scrape { entries: vec![entry(1), entry(7)] };
    let numbers = "00000001 00000002 00000003 00000007 00000008 00000009";
    check(body, Family::V4, &format!("00000002 00000007 {numbers}"));
    let body = Body::Error { reason: "no".to_owned() };
    check(body, Family::V6, "00000003 00000007 6e6f");
}

#[test]
fn requests_of_another_length_are_refused_with_a_reason() {
    let connect = Request::Connect { transaction: 7 }.encode();
    for len in 0..CONNECT_LEN {
        let error = Request::decode(&connect[..len]).unwrap_err();
        assert!(matches!(error, PacketError::TooShort { len: l, .. } if l == len), "{error}");
    }
    let longer = [&connect[..], &[0]].concat();
    assert_eq!(Request::decode(&longer), Err(PacketError::ConnectLen(17)));
    let other = [&[1; 8][..], &connect[8..]].concat();
    let error = PacketError::ProtocolId(0x0101_0101_0101_0101);
    assert_eq!(Request::decode(&other), Err(error));
    for action in [3, 4, u32::MAX] {
        let packet = [&[0; 8][..], &action.to_be_bytes(), &[0; 4]].concat();
        assert_eq!(Request::decode(&packet), Err(PacketError::Action(action)));
    }
    let announce = Box::new(announce());
    let request = Request::Announce { connection: 1, transaction: 2, announce, url_data: vec![] };
    let packet = request.encode();
    assert_eq!(packet.len(), ANNOUNCE_LEN);
    for len in CONNECT_LEN..ANNOUNCE_LEN {
        let error = Request::decode(&packet[..len]).unwrap_err();
        assert!(matches!(error, PacketError::TooShort { len: l, .. } if l == len), "{error}");
    }
    assert!(Request::decode(&packet).is_ok());
    assert!(Request::decode(&[&packet[..], &[0]].concat()).is_ok());
}

#[test]
fn a_scrape_has_1_to_74_whole_info_hashes() {
    let head = [&[0; 8][..], &2_u32.to_be_bytes(), &[0; 4]].concat();
    for (len, expected) in [
        (0, false),
        (19, false),
        (20, true),
        (21, false),
        (20 * SCRAPE_MAX, true),
        (20 * (SCRAPE_MAX + 1), false),
    ] {
        let packet = [&head[..], &vec![1; len]].concat();
        match Request::decode(&packet) {
            Ok(request) => assert_eq!((expected, request.encode()), (true, packet)),
            Err(error) => assert_eq!((expected, error), (false, PacketError::ScrapeLen(len))),
        }
    }
}

#[test]
fn replies_that_end_too_early_are_refused_and_what_follows_is_ignored() {
    for (action, min) in [(0, 16), (1, 20), (2, 8), (3, 8)] {
        let packet = [&u32::to_be_bytes(action)[..], &[0; 40]].concat();
        for len in 0..min {
            let error = Reply::decode(&packet[..len], Family::V4).unwrap_err();
            assert!(matches!(error, PacketError::TooShort { len: l, .. } if l == len), "{error}");
        }
        assert!(Reply::decode(&packet[..min], Family::V4).is_ok(), "{action}");
        assert!(Reply::decode(&packet[..min + 5], Family::V4).is_ok(), "{action}");
    }
    assert_eq!(Reply::decode(&[9; 20], Family::V4), Err(PacketError::Action(0x0909_0909)));
}

#[test]
fn a_reply_holds_peers_of_one_family_up_to_its_length() {
    let all = |ip: IpAddr| (1..=300).map(move |port| SocketAddr::new(ip, port));
    let peers: Vec<_> = all([10, 0, 0, 1].into()).chain(all([0xfd; 16].into())).collect();
    let body = Body::Announce { interval_s: 1, leechers: 0, seeders: 0, peers };
    let reply = Reply { transaction: 1, body };
    for (family, count) in [(Family::V4, 202), (Family::V6, 67)] {
        let packet = reply.encode(family);
        assert!(packet.len() <= SENT_REPLY_LEN_MAX, "{}", packet.len());
        let read = Reply::decode(&packet, family).unwrap();
        let Body::Announce { peers, .. } = read.body else { panic!("{read:?}") };
        assert_eq!((peers.len(), peers_max(family)), (count, count));
        assert!(peers.iter().all(|peer| peer.is_ipv4() == (family == Family::V4)));
    }
}

#[test]
fn a_reason_is_cut_at_its_limit_both_ways() {
    for (count, kept) in [(511, 511), (512, 512), (513, 512)] {
        let body = Body::Error { reason: "é".repeat(count) };
        let packet = Reply { transaction: 1, body }.encode(Family::V4);
        assert_eq!(packet.len(), 8 + 2 * kept);
    }
    let packet = [&[0, 0, 0, 3, 0, 0, 0, 0][..], &[0xff; 2000]].concat();
    let reply = Reply::decode(&packet, Family::V4).unwrap();
    let Body::Error { reason } = reply.body else { panic!("{reply:?}") };
    assert!(reason.len() <= REASON_LEN_MAX);
    let reply = Reply::decode(b"\0\0\0\x03\0\0\0\0no\0", Family::V4).unwrap();
    assert_eq!(reply.body, Body::Error { reason: "no".to_owned() });
}

#[test]
fn numbers_beyond_their_bounds_are_read_as_their_bounds() {
    let wanted = |numwant| AnnounceRequest { numwant, key: None, ..announce() };
    let read = |announce: AnnounceRequest| {
        let announce = Box::new(announce);
        let packet =
            Request::Announce { connection: 1, transaction: 2, announce, url_data: vec![] };
        packet.encode()
    };
    let of = |packet: &[u8]| match Request::decode(packet).unwrap() {
        Request::Announce { announce, .. } => *announce,
        Request::Connect { .. } | Request::Scrape { .. } => panic!("no announce"),
    };
    let max = i32::MAX.unsigned_abs();
    for (said, heard) in
        [(None, None), (Some(0), Some(0)), (Some(max), Some(max)), (Some(max + 1), Some(max))]
    {
        assert_eq!(of(&read(wanted(said))).numwant, heard);
    }
    let mut packet = read(wanted(None));
    packet[56..80].fill(0xff);
    packet[80..84].fill(9);
    let announce = of(&packet);
    let counts = [announce.downloaded, announce.left, announce.uploaded];
    assert_eq!((counts, announce.event, announce.key), ([BYTES_MAX; 3], None, None));
}

#[test]
fn options_are_walked_as_bep_41_says() {
    for (options, expected) in [
        (&b""[..], Ok(&b""[..])),
        (b"\x00\x02\x09", Ok(b"")),
        (b"\x01\x01\x02\x02/a\x01\x02\x01b", Ok(b"/ab")),
        (b"\x07\x02xx\x02\x02/a", Ok(b"/a")),
        (b"\x02\x00", Ok(b"")),
        (b"\x02", Err(PacketError::Option { kind: 2 })),
        (b"\x02\x03/a", Err(PacketError::Option { kind: 2 })),
        (b"\x09\x01", Err(PacketError::Option { kind: 9 })),
    ] {
        assert_eq!(read_url_data(options), expected.map(<[u8]>::to_vec), "{options:?}");
    }
    for len in [0, 1, 254, 255, 256, 510, 511, 1024] {
        let url_data = vec![b'x'; len];
        let mut options = Vec::new();
        write_url_data(&url_data, &mut options);
        assert_eq!(read_url_data(&options), Ok(url_data));
        assert!(options.len() + ANNOUNCE_LEN <= SENT_REPLY_LEN_MAX, "{}", options.len());
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let ids = any::<(u64, u32, [u8; 20], [u8; 20])>();
    let numbers = (0..=BYTES_MAX, 0..=BYTES_MAX, 0..=BYTES_MAX, any::<u16>());
    let rest = (
        prop::sample::select(vec![
            None,
            Some(AnnounceEvent::Started),
            Some(AnnounceEvent::Completed),
            Some(AnnounceEvent::Stopped),
        ]),
        prop::option::of(0..=i32::MAX.unsigned_abs()),
        prop::option::of(1..=u32::MAX),
        prop::option::of(1..=u32::MAX),
        prop::collection::vec(any::<u8>(), 0..600),
    );
    let announce = (ids, numbers, rest).prop_map(|(ids, numbers, rest)| {
        let (event, numwant, ip, key, url_data) = rest;
        let (connection, transaction, info_hash, peer_id) = ids;
        let announce = AnnounceRequest {
            uploaded: numbers.0,
            downloaded: numbers.1,
            event,
            numwant,
            ip: ip.map(|ip| std::net::Ipv4Addr::from(ip).into()),
            key: key.map(|key| format!("{key:08X}").into_bytes()),
            ..AnnounceRequest::new(InfoHash(info_hash), PeerId(peer_id), numbers.3, numbers.2)
        };
        Request::Announce { connection, transaction, announce: Box::new(announce), url_data }
    });
    let hashes = prop::collection::vec(any::<[u8; 20]>().prop_map(InfoHash), 1..=SCRAPE_MAX);
    prop_oneof![
        any::<u32>().prop_map(|transaction| Request::Connect { transaction }),
        announce,
        (any::<(u64, u32)>(), hashes).prop_map(|((connection, transaction), info_hashes)| {
            Request::Scrape { connection, transaction, info_hashes }
        }),
    ]
}

fn any_reply() -> impl Strategy<Value = (Reply, Family)> {
    let v4 = prop::collection::vec(any::<std::net::SocketAddrV4>(), 0..=202);
    let v6 = prop::collection::vec(any::<([u8; 16], u16)>(), 0..=67);
    let v6 = v6.prop_map(|peers| peers.into_iter().map(SocketAddr::from).collect::<Vec<_>>());
    let v4 = v4.prop_map(|peers| peers.into_iter().map(SocketAddr::from).collect::<Vec<_>>());
    let peers = prop_oneof![v4.prop_map(|p| (p, Family::V4)), v6.prop_map(|p| (p, Family::V6))];
    let announce = (any::<(u32, u32, u32)>(), peers).prop_map(|(numbers, (peers, family))| {
        let (interval_s, leechers, seeders) = numbers;
        (Body::Announce { interval_s, leechers, seeders, peers }, family)
    });
    let entries = prop::collection::vec(0..u32::MAX - 2, 0..=SCRAPE_MAX);
    let entries = entries.prop_map(|numbers| numbers.into_iter().map(entry).collect());
    let body = prop_oneof![
        any::<u64>().prop_map(|connection| (Body::Connect { connection }, Family::V6)),
        announce,
        entries.prop_map(|entries| (Body::Scrape { entries }, Family::V4)),
        "[a-zé]{0,300}".prop_map(|reason| (Body::Error { reason }, Family::V4)),
    ];
    (any::<u32>(), body)
        .prop_map(|(transaction, (body, family))| (Reply { transaction, body }, family))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_request_is_read_as_it_was_written(
        request in any_request(), at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let mut packet = request.encode();
        let head = Head::decode(&packet).unwrap();
        prop_assert_eq!(Request::decode(&packet), Ok(request));
        prop_assert_eq!(&packet[12..16], &head.transaction.to_be_bytes());
        let at = at.index(packet.len());
        fuzzing::udp(&packet[..at]);
        prop_assert!(is_read_alike(&packet) && is_read_alike(&packet[..at]));
        packet[at] = with;
        fuzzing::udp(&packet);
        prop_assert!(is_read_alike(&packet));
    }

    #[test]
    fn every_reply_is_read_as_it_was_written(
        (reply, family) in any_reply(), at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let mut packet = reply.encode(family);
        prop_assert!(packet.len() <= SENT_REPLY_LEN_MAX);
        prop_assert_eq!(Reply::decode(&packet, family), Ok(reply));
        let at = at.index(packet.len());
        fuzzing::udp(&packet[..at]);
        packet[at] = with;
        fuzzing::udp(&packet);
    }
}

/// 100 000 packets of random bytes and 10 000 of real ones with a few bytes changed.
#[test]
fn random_and_mutated_packets_are_survived() {
    let mut rng = Rng::new(15);
    let real = [
        Request::Connect { transaction: 7 }.encode(),
        Request::Scrape { connection: 9, transaction: 7, info_hashes: vec![InfoHash([1; 20]); 3] }
            .encode(),
        Request::Announce {
            connection: 9,
            transaction: 7,
            announce: Box::new(announce()),
            url_data: vec![b'x'; 300],
        }
        .encode(),
    ];
    let mut refused = 0;
    for _ in 0..100_000 {
        let mut packet: Vec<u8> = (0..rng.below(200)).map(|_| rng.u64().to_le_bytes()[0]).collect();
        // An action there is, in half of them: else nothing but the action is tried.
        if rng.below(2) == 0 && packet.len() >= 12 {
            let action = u32::try_from(rng.below(5)).unwrap().to_be_bytes();
            let at = 8 * rng.below(2);
            packet[at..at + 4].copy_from_slice(&action);
        }
        fuzzing::udp(&packet);
        refused += usize::from(Request::decode(&packet).is_err());
    }
    assert!((50_000..100_000).contains(&refused), "{refused}");
    for _ in 0..10_000 {
        let mut packet = real[rng.below(real.len())].clone();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(packet.len());
            packet[at] = rng.u64().to_le_bytes()[0];
        }
        packet.truncate(packet.len() - rng.below(4));
        fuzzing::udp(&packet);
    }
}
