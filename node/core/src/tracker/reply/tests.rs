//! Replies as they are written and read.

use proptest::prelude::*;

use super::*;
use crate::tracker::registry::Answer;

fn peer(addr: &str, id: Option<u8>) -> PeerEntry {
    PeerEntry { addr: addr.parse().unwrap(), id: id.map(|id| PeerId([id; 20])) }
}

fn shoal_peer(id: u8, have_len: usize) -> Arc<ShoalPeer> {
    Arc::new(ShoalPeer {
        id: PeerId([id; 20]),
        addr: SocketAddr::new([10, 0, 0, id].into(), 7000),
        up: Some(u64::from(id)),
        down: None,
        left: 9,
        have: (have_len > 0).then(|| vec![id; have_len]),
        labels: Arc::new(Labels::from([("zone".to_owned(), "a".to_owned())])),
    })
}

fn full() -> AnnounceReply {
    AnnounceReply {
        interval_s: 120,
        min_interval_s: Some(30),
        complete: Some(1),
        incomplete: Some(2),
        downloaded: Some(3),
        peers: vec![peer("10.0.0.1:7000", Some(1)), peer("[2001:db8::1]:7001", Some(2))],
        warning: Some("careful".to_owned()),
        tracker_id: Some(vec![0, 0xff]),
        external_ip: Some([192, 0, 2, 1].into()),
        shoal: Some(ShoalReply { peers: vec![shoal_peer(1, 3), shoal_peer(2, 0)] }),
    }
}

#[test]
fn the_full_form_keeps_everything() {
    assert_eq!(AnnounceReply::decode(&full().encode(PeerForm::Full)), Ok(full()));
}

#[test]
fn the_other_forms_keep_everything_but_the_ids() {
    let mut expected = full();
    expected.peers.iter_mut().for_each(|peer| peer.id = None);
    for form in [PeerForm::Compact, PeerForm::WithoutIds] {
        assert_eq!(AnnounceReply::decode(&full().encode(form)), Ok(expected.clone()));
    }
}

#[test]
fn a_compact_reply_is_the_bytes_of_bep_23_and_bep_7() {
    let mut reply = AnnounceReply::new(120);
    reply.peers = vec![peer("10.0.0.1:258", None)];
    let expected = b"d8:intervali120e5:peers6:\x0a\x00\x00\x01\x01\x02e";
    assert_eq!(reply.encode(PeerForm::Compact), expected);
    reply.peers = vec![peer("[::1]:258", None)];
    let mut expected = b"d8:intervali120e5:peers0:6:peers618:".to_vec();
    expected.extend_from_slice(&[0; 15]);
    expected.extend_from_slice(b"\x01\x01\x02e");
    assert_eq!(reply.encode(PeerForm::Compact), expected);
}

#[test]
fn what_is_written_as_it_is_drawn_is_the_same() {
    let mut reply = AnnounceReply { shoal: None, tracker_id: None, ..full() };
    for warning in [None, Some("careful")] {
        for external_ip in ["192.0.2.1", "2001:db8::9", "::ffff:192.0.2.1"] {
            reply.warning = warning.map(str::to_owned);
            reply.external_ip = Some(external_ip.parse().unwrap());
            let answer = Answer {
                interval_s: reply.interval_s,
                min_interval_s: reply.min_interval_s.unwrap(),
                complete: reply.complete.unwrap(),
                incomplete: reply.incomplete.unwrap(),
                downloaded: reply.downloaded.unwrap(),
                warning,
                external_ip: reply.external_ip.unwrap(),
            };
            for peers in [&[][..], &full().peers[..1], &full().peers] {
                reply.peers = peers.to_vec();
                let mut compact = CompactPeers::default();
                for peer in peers {
                    let port = peer.addr.port().to_be_bytes();
                    compact.push(&[&ip_octets(peer.addr.ip())[..], &port].concat());
                }
                assert_eq!(compact.encode(&answer), reply.encode(PeerForm::Compact));
            }
        }
    }
}

#[test]
fn failures_read_as_they_were_written() {
    for failure in [Failure::new("no"), Failure::never("no"), Failure::retry("no", 7)] {
        let refused = Err(ReplyError::Refused(failure.clone()));
        assert_eq!(AnnounceReply::decode(&failure.encode()), refused);
    }
    let text = b"d14:failure reason2:no8:retry in5:Nevere";
    assert_eq!(AnnounceReply::decode(text), Err(ReplyError::Refused(Failure::never("no"))));
}

#[test]
fn a_reason_at_its_limit_passes_and_above_it_is_cut() {
    for (len, kept) in [(1023, 1023), (REASON_LEN_MAX, 1024), (1025, 1024)] {
        let bytes = Failure::new("x".repeat(len)).encode();
        let Err(ReplyError::Refused(failure)) = AnnounceReply::decode(&bytes) else {
            panic!("not refused");
        };
        assert_eq!(failure.reason.len(), kept);
    }
    let bytes = Failure::new("é".repeat(1000)).encode();
    assert!(matches!(AnnounceReply::decode(&bytes),
        Err(ReplyError::Refused(failure)) if failure.reason.len() <= REASON_LEN_MAX));
}

#[test]
fn what_is_no_reply_is_an_error() {
    let cases: [(&[u8], ReplyError); 3] = [
        (b"le", ReplyError::NotDictionary("list")),
        (b"de", ReplyError::Missing("peers")),
        (b"d8:intervali0ee", ReplyError::Missing("peers")),
    ];
    for (bytes, error) in cases {
        assert_eq!(AnnounceReply::decode(bytes), Err(error));
    }
    let page = AnnounceReply::decode(b"<html>");
    assert!(matches!(page, Err(ReplyError::NotBencoded(_))));
}

#[test]
fn bad_entries_are_skipped_and_the_rest_is_kept() {
    let reply = b"d8:intervali-5e5:peersl\
        d2:ip9:127.0.0.14:porti1eed2:ip9:not an ip4:porti2eed2:ip9:127.0.0.14:porti0ee\
        d2:ip9:127.0.0.14:porti65536eei7e\
        d2:ip7:0.0.0.04:porti5eed2:ip9:127.0.0.17:peer id2:no4:porti3eee\
        5:shoald5:peersld2:id2:noed2:id20:aaaaaaaaaaaaaaaaaaaa2:ip3:::14:lefti0e4:porti8ee\
        e1:vi1eee\r\n";
    let reply = AnnounceReply::decode(reply).unwrap();
    assert_eq!(reply.interval_s, INTERVAL_DEFAULT_S);
    assert_eq!(reply.peers, [peer("127.0.0.1:1", None), peer("127.0.0.1:3", None)]);
    let shoal = reply.shoal.unwrap();
    assert_eq!(shoal.peers.len(), 1);
    assert_eq!(shoal.peers[0].addr, "[::1]:8".parse().unwrap());
    // A half of a compact entry at the end.
    let reply = AnnounceReply::decode(b"d5:peers8:\x0a\x00\x00\x01\x01\x02\x0a\x00e").unwrap();
    assert_eq!(reply.peers, [peer("10.0.0.1:258", None)]);
}

#[test]
fn another_version_of_the_extension_is_not_read() {
    let reply = AnnounceReply::decode(b"d8:intervali5e5:shoald5:peersle1:vi2eee").unwrap();
    assert_eq!(reply.shoal, None);
}

#[test]
fn at_most_the_limit_of_peers_is_read() {
    for (count, kept) in [(1999, 1999), (2000, 2000), (2001, REPLY_PEERS_MAX)] {
        let mut reply = AnnounceReply::new(1);
        reply.peers = vec![peer("10.0.0.1:1", None); count];
        let read = AnnounceReply::decode(&reply.encode(PeerForm::Compact)).unwrap();
        assert_eq!(read.peers.len(), kept);
    }
}

#[test]
fn bitfields_beyond_the_limit_of_the_extension_are_left_out() {
    let set = |count: usize| ShoalReply {
        peers: (0..count).map(|i| shoal_peer(i as u8, ANNOUNCE_HAVE_LEN_MAX)).collect(),
    };
    let with_have = |shoal: &ShoalReply| shoal.peers.iter().filter(|p| p.have.is_some()).count();
    for (count, kept) in [(30, 30), (31, 31), (32, 31), (200, 31)] {
        let bytes = encode_shoal(&set(count));
        assert!(bytes.len() <= SHOAL_LEN_MAX, "{}", bytes.len());
        let value = bencode::decode(&bytes).unwrap();
        let read = read_shoal(value.as_dict().unwrap()).unwrap();
        assert_eq!((read.peers.len(), with_have(&read)), (count, kept));
    }
}

#[test]
fn peers_beyond_the_limit_of_the_extension_are_left_out() {
    let mut peer = shoal_peer(1, 0);
    let labels = (0..16).map(|i| (format!("{i:064}"), "v".repeat(64))).collect();
    Arc::make_mut(&mut peer).labels = Arc::new(labels);
    let bytes = encode_shoal(&ShoalReply { peers: vec![peer; REPLY_PEERS_MAX] });
    assert!((SHOAL_LEN_MAX - 4096..=SHOAL_LEN_MAX).contains(&bytes.len()), "{}", bytes.len());
    assert!(bencode::decode(&bytes).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = AnnounceReply::decode(&bytes);
    }

    #[test]
    fn a_damaged_reply_never_panics(at in 0_usize..400, byte in any::<u8>()) {
        let mut bytes = full().encode(PeerForm::Full);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = AnnounceReply::decode(&bytes);
        let _ = AnnounceReply::decode(&bytes[..at]);
    }
}
