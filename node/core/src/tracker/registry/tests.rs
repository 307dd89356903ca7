//! The registry's behaviours, one by one; `model` has them all at once.

mod model;

use std::net::SocketAddr;

use super::{list::listed_ip, *};
use crate::tracker::{
    announce::{AnnounceEvent, REPLY_PEERS_MAX, ShoalStatus},
    reply::PeerForm,
};

const TORRENT: InfoHash = InfoHash([7; 20]);
const START: Timestamp = Timestamp(1_000_000);

fn registry() -> Registry {
    Registry::new(RegistryConfig::default(), 42)
}

fn id(n: u16) -> PeerId {
    let mut id = *b"-SH0100-0000000000XX";
    id[18..].copy_from_slice(&n.to_be_bytes());
    PeerId(id)
}

fn ip(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    [203, 0, high, low].into()
}

fn request(n: u16, left: u64) -> AnnounceRequest {
    AnnounceRequest::new(TORRENT, id(n), 7000, left)
}

/// Peer `n` announces from its own address.
fn announce(registry: &mut Registry, n: u16, left: u64) -> AnnounceReply {
    let reply = registry.announce(START, &request(n, left), ip(n)).unwrap();
    registry.check();
    reply
}

fn with_event(mut request: AnnounceRequest, event: AnnounceEvent) -> AnnounceRequest {
    request.event = Some(event);
    request
}

fn counts(reply: &AnnounceReply) -> (u32, u32, u32) {
    (reply.complete.unwrap(), reply.incomplete.unwrap(), reply.downloaded.unwrap())
}

fn kinds(registry: &mut Registry) -> Vec<SwarmEventKind> {
    registry.take_events().0.into_iter().map(|event| event.kind).collect()
}

#[test]
fn a_peer_gets_the_others_and_never_itself() {
    let mut registry = registry();
    assert!(announce(&mut registry, 1, 5).peers.is_empty());
    let reply = announce(&mut registry, 2, 5);
    assert_eq!(
        reply.peers,
        [super::super::announce::PeerEntry { addr: SocketAddr::new(ip(1), 7000), id: Some(id(1)) }]
    );
    assert_eq!(counts(&reply), (0, 2, 0));
    assert_eq!((reply.interval_s, reply.min_interval_s), (120, Some(30)));
    assert_eq!(reply.external_ip, Some(ip(2)));
    assert_eq!(reply.shoal, None);
}

#[test]
fn seeds_are_not_given_to_seeds() {
    let mut registry = registry();
    announce(&mut registry, 1, 0);
    announce(&mut registry, 2, 5);
    let reply = announce(&mut registry, 3, 0);
    assert_eq!(reply.peers.iter().map(|peer| peer.id).collect::<Vec<_>>(), [Some(id(2))]);
    assert_eq!(announce(&mut registry, 2, 5).peers.len(), 2);
    // Who begins may have a magnet link alone, and not know what is left.
    let begins = with_event(request(4, 0), AnnounceEvent::Started);
    assert_eq!(registry.announce(START, &begins, ip(4)).unwrap().peers.len(), 3);
}

#[test]
fn the_peer_set_holds_everyone_the_asking_peer_first() {
    let mut registry = registry();
    announce(&mut registry, 1, 0);
    announce(&mut registry, 2, 5);
    let mut request = request(3, 0);
    request.shoal = Some(ShoalStatus { up: 9, down: 8, ..ShoalStatus::default() });
    let reply = registry.announce(START, &request, ip(3)).unwrap();
    let set = reply.shoal.unwrap().peers;
    assert_eq!((set[0].id, set[0].up, set[0].down, set[0].left), (id(3), Some(9), Some(8), 0));
    let mut others: Vec<_> = set[1..].iter().map(|peer| (peer.id, peer.up, peer.left)).collect();
    others.sort();
    assert_eq!(others, [(id(1), None, 0), (id(2), None, 5)]);
}

#[test]
fn numwant_zero_asks_for_oneself_alone() {
    let mut registry = registry();
    announce(&mut registry, 1, 5);
    let mut request = request(2, 5);
    request.numwant = Some(0);
    request.shoal = Some(ShoalStatus::default());
    let reply = registry.announce(START, &request, ip(2)).unwrap();
    assert!(reply.peers.is_empty());
    assert_eq!(reply.shoal.unwrap().peers.len(), 1);
}

#[test]
fn numwant_is_kept_to_its_limit() {
    let mut registry = registry();
    for n in 0..300 {
        announce(&mut registry, n, 5);
    }
    for (numwant, given) in [(None, 50), (Some(199), 199), (Some(200), 200), (Some(201), 200)] {
        let mut request = request(0, 5);
        request.numwant = numwant;
        let reply = registry.announce(START, &request, ip(0)).unwrap();
        let distinct: BTreeSet<_> = reply.peers.iter().map(|peer| peer.addr).collect();
        assert_eq!((reply.peers.len(), distinct.len()), (given, given));
    }
}

#[test]
fn every_peer_is_drawn_sooner_or_later() {
    let mut registry = registry();
    for n in 0..200 {
        announce(&mut registry, n, u64::from(n % 3));
    }
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        seen.extend(announce(&mut registry, 1, 1).peers.iter().map(|peer| peer.addr));
    }
    assert_eq!(seen.len(), 199);
}

#[test]
fn stopping_takes_a_peer_out_and_gives_it_nobody() {
    let mut registry = registry();
    announce(&mut registry, 1, 5);
    announce(&mut registry, 2, 5);
    let stopped = with_event(request(1, 5), AnnounceEvent::Stopped);
    let reply = registry.announce(START, &stopped, ip(1)).unwrap();
    assert_eq!((reply.peers.len(), counts(&reply)), (0, (0, 1, 0)));
    registry.check();
    let stopped = with_event(request(2, 5), AnnounceEvent::Stopped);
    registry.announce(START, &stopped, ip(2)).unwrap();
    assert_eq!(registry.counts(), (0, 0));
}

#[test]
fn a_completion_counts_once() {
    let mut registry = registry();
    announce(&mut registry, 1, 5);
    let completed = with_event(request(1, 0), AnnounceEvent::Completed);
    for _ in 0..3 {
        let reply = registry.announce(START, &completed, ip(1)).unwrap();
        assert_eq!(counts(&reply), (1, 0, 1));
    }
    // A seed from the start completed elsewhere; missing bytes are no completion.
    let started = with_event(request(2, 0), AnnounceEvent::Started);
    assert_eq!(counts(&registry.announce(START, &started, ip(2)).unwrap()), (2, 0, 1));
    let early = with_event(request(3, 1), AnnounceEvent::Completed);
    assert_eq!(counts(&registry.announce(START, &early, ip(3)).unwrap()), (2, 1, 1));
}

#[test]
fn silent_peers_expire_at_their_time() {
    let mut registry = registry();
    let after = registry.config().expire_after;
    announce(&mut registry, 1, 5);
    announce(&mut registry, 2, 5);
    let later = START + Duration::from_secs(10);
    registry.announce(later, &request(2, 5), ip(2)).unwrap();
    assert!(!registry.expire(START + after - Duration::from_micros(1), 100));
    assert_eq!(registry.counts().1, 2);
    registry.expire(START + after, 100);
    registry.check();
    assert_eq!(registry.counts().1, 1);
    registry.expire(later + after, 100);
    assert_eq!(registry.counts(), (0, 0));
}

#[test]
fn expiry_keeps_to_its_limit_and_says_that_there_is_more() {
    let mut registry = registry();
    (0..5).for_each(|n| drop(announce(&mut registry, n, 5)));
    assert!(registry.expire(Timestamp::NEVER, 4));
    assert_eq!(registry.counts().1, 1);
    assert!(!registry.expire(Timestamp::NEVER, 1));
}

#[test]
fn a_silent_peer_is_forgotten_within_a_second_of_its_time_and_never_before() {
    for micros in [0, 1, 999_999] {
        let mut registry = registry();
        let start = START + Duration::from_micros(micros);
        registry.announce(start, &request(1, 5), ip(1)).unwrap();
        let end = start + registry.config().expire_after;
        registry.expire(end - Duration::from_micros(1), 1);
        assert_eq!(registry.counts().1, 1);
        registry.expire(end + Duration::from_secs(1), 1);
        assert_eq!(registry.counts().1, 0);
    }
}

#[test]
fn expiry_looks_at_few_swarms_in_a_call_though_nobody_is_silent() {
    let mut registry = registry();
    let later = START + Duration::from_secs(600);
    for now in [START, later] {
        for n in 0..100 {
            let mut request = request(n, 5);
            request.info_hash = InfoHash([u8::try_from(n).unwrap(); 20]);
            registry.announce(now, &request, ip(n)).unwrap();
        }
    }
    let first_due = START + registry.config().expire_after;
    let calls = (1..).find(|_| !registry.expire(first_due, 1)).unwrap();
    assert!((3..=5).contains(&calls), "{calls}");
    assert_eq!(registry.counts().1, 100);
    registry.check();
    assert!(!registry.expire(first_due, 0), "all of them are due later");
}

#[test]
fn events_tell_who_came_changed_and_left() {
    use SwarmEventKind::{Joined, Left, Updated};
    let mut registry = registry();
    announce(&mut registry, 1, 5);
    registry.announce(START, &with_event(request(1, 0), AnnounceEvent::Completed), ip(1)).unwrap();
    registry.announce(START, &with_event(request(1, 0), AnnounceEvent::Stopped), ip(1)).unwrap();
    let expected =
        [Joined { left: 5 }, Updated { left: 0, completed: true }, Left(LeaveReason::Stopped)];
    assert_eq!(kinds(&mut registry), expected);
    announce(&mut registry, 1, 5);
    registry.expire(Timestamp::NEVER, 1);
    assert_eq!(kinds(&mut registry), [Joined { left: 5 }, Left(LeaveReason::Expired)]);
}

#[test]
fn events_nobody_takes_are_forgotten_from_the_oldest() {
    let mut registry = registry();
    for _ in 0..=EVENTS_MAX {
        registry.announce(START, &request(1, 5), ip(1)).unwrap();
    }
    let (events, lost) = registry.take_events();
    assert_eq!((events.len(), lost), (EVENTS_MAX, 1));
    assert_eq!(events[0].kind, SwarmEventKind::Updated { left: 5, completed: false });
    assert_eq!(registry.take_events(), (Vec::new(), 0));
}

#[test]
fn a_restarted_peer_takes_the_place_of_its_former_self() {
    let mut registry = registry();
    announce(&mut registry, 1, 5);
    registry.take_events();
    let reply = registry.announce(START, &request(2, 5), ip(1)).unwrap();
    registry.check();
    assert_eq!((reply.peers.len(), counts(&reply)), (0, (0, 1, 0)));
    let expected =
        [SwarmEventKind::Left(LeaveReason::Replaced), SwarmEventKind::Joined { left: 5 }];
    assert_eq!(kinds(&mut registry), expected);
}

#[test]
fn a_peer_with_both_families_is_listed_twice() {
    let mut registry = registry();
    announce(&mut registry, 1, 5);
    let v6 = "2001:db8::1".parse().unwrap();
    let reply = registry.announce(START, &request(1, 5), v6).unwrap();
    assert_eq!(reply.incomplete, Some(2));
    // An IPv4 address that an IPv6 socket saw is IPv4.
    let mapped = "::ffff:203.0.0.1".parse().unwrap();
    assert_eq!(registry.announce(START, &request(1, 5), mapped).unwrap().incomplete, Some(2));
    registry.check();
}

#[test]
fn an_address_may_be_named_from_nearby_only() {
    let named: IpAddr = [198, 51, 100, 9].into();
    for (source, honoured) in [
        ("127.0.0.1", true),
        ("10.1.2.3", true),
        ("192.168.1.1", true),
        ("169.254.0.1", true),
        ("fd00::1", true),
        ("::1", true),
        ("203.0.113.1", false),
        ("2001:db8::1", false),
    ] {
        let source: IpAddr = source.parse().unwrap();
        let mut registry = registry();
        let mut request = request(1, 5);
        request.ip = Some(named);
        registry.announce(START, &request, source).unwrap();
        let addr = registry.swarm(START, TORRENT, None, 10).unwrap().peers[0].addr;
        assert_eq!(addr.ip(), if honoured { named } else { source });
    }
    assert_eq!(
        listed_ip(Some([0, 0, 0, 0].into()), [10, 0, 0, 1].into()),
        IpAddr::from([10, 0, 0, 1])
    );
}

#[test]
fn a_peer_id_with_a_key_is_not_taken_from_another_address() {
    let mut registry = registry();
    let mut keyed = request(1, 5);
    keyed.key = Some(b"secret".to_vec());
    registry.announce(START, &keyed, ip(1)).unwrap();
    for stolen in [request(1, 0), with_event(request(1, 0), AnnounceEvent::Stopped)] {
        assert!(registry.announce(START, &stolen, ip(2)).is_err());
    }
    // The same peer with another address, and from the same address without its key.
    registry.announce(START, &keyed, ip(3)).unwrap();
    registry.announce(START, &request(1, 5), ip(3)).unwrap();
    registry.check();
    assert_eq!(registry.counts().1, 1);
}

#[test]
fn a_peer_without_a_port_is_counted_and_given_to_nobody() {
    let mut registry = registry();
    let mut deaf = request(1, 5);
    deaf.port = 0;
    registry.announce(START, &deaf, ip(1)).unwrap();
    let reply = announce(&mut registry, 2, 5);
    assert_eq!((reply.peers.len(), reply.incomplete), (0, Some(2)));
}

#[test]
fn only_listed_torrents_are_served() {
    let only = Some(BTreeSet::from([TORRENT]));
    let mut registry = Registry::new(RegistryConfig { only, ..RegistryConfig::default() }, 1);
    let mut other = request(1, 5);
    other.info_hash = InfoHash([8; 20]);
    let failure = registry.announce(START, &other, ip(1)).unwrap_err();
    assert!(failure.reason.contains(&other.info_hash.to_string()), "{failure}");
    announce(&mut registry, 1, 5);
    registry.expire(Timestamp::NEVER, 1);
    let summary = registry.swarms(None, 10);
    assert_eq!((summary.len(), summary[0].incomplete), (1, 0));
}

#[test]
fn beyond_the_limit_of_a_swarm_peers_are_answered_and_not_listed() {
    let config = RegistryConfig { peers_per_torrent_max: 2, ..RegistryConfig::default() };
    let mut registry = Registry::new(config, 1);
    assert_eq!(announce(&mut registry, 1, 5).warning, None);
    assert_eq!(announce(&mut registry, 2, 5).warning, None);
    let reply = announce(&mut registry, 3, 5);
    assert_eq!((reply.peers.len(), reply.incomplete), (2, Some(2)));
    assert!(reply.warning.is_some());
    assert_eq!(announce(&mut registry, 1, 5).warning, None);
}

#[test]
fn beyond_the_limit_of_the_tracker_peers_are_answered_and_not_listed() {
    let config = RegistryConfig { peers_max: 1, ..RegistryConfig::default() };
    let mut registry = Registry::new(config, 1);
    assert_eq!(announce(&mut registry, 1, 5).warning, None);
    assert!(announce(&mut registry, 2, 5).warning.is_some());
    let mut elsewhere = request(2, 5);
    elsewhere.info_hash = InfoHash([8; 20]);
    assert!(registry.announce(START, &elsewhere, ip(2)).unwrap().warning.is_some());
    registry.check();
    assert_eq!(registry.counts(), (1, 1));
}

#[test]
fn beyond_the_limit_of_torrents_an_announce_is_refused() {
    let config = RegistryConfig { torrents_max: 1, ..RegistryConfig::default() };
    let mut registry = Registry::new(config, 1);
    announce(&mut registry, 1, 5);
    let mut other = request(1, 5);
    other.info_hash = InfoHash([8; 20]);
    assert!(registry.announce(START, &other, ip(1)).is_err());
    announce(&mut registry, 2, 5);
}

#[test]
fn bitfields_and_labels_keep_to_their_budget() {
    let config = RegistryConfig { have_bytes_max: 10, ..RegistryConfig::default() };
    let mut registry = Registry::new(config, 1);
    let mut announce = |n: u16, have_len: usize, left: u64, label: &str| {
        let mut request = request(n, left);
        let labels = [("k".to_owned(), label.to_owned())].into();
        let have = (have_len > 0).then(|| vec![0xff; have_len]);
        request.shoal = Some(ShoalStatus { have, labels, ..ShoalStatus::default() });
        let reply = registry.announce(START, &request, ip(n)).unwrap();
        registry.check();
        let own = reply.shoal.unwrap().peers.swap_remove(0);
        (own.have.is_some(), !own.labels.is_empty())
    };
    assert_eq!(announce(1, 8, 5, "v"), (true, true));
    assert_eq!(announce(2, 1, 5, "v"), (false, false));
    // Its own former status makes room for the next.
    assert_eq!(announce(1, 7, 5, "v"), (true, true));
    assert_eq!(announce(2, 1, 5, ""), (false, true));
    // A seed has none; one that wants only a part may lack nothing and have one.
    assert_eq!(announce(1, 0, 0, "v"), (false, true));
    assert_eq!(announce(2, 6, 0, "v"), (true, true));
    assert_eq!(registry.status_bytes, 10);
}

#[test]
fn lifetime_totals_never_fall() {
    let mut registry = registry();
    for (up, expected) in [(5, 5), (0, 5), (9, 9)] {
        let mut request = request(1, 5);
        request.shoal = Some(ShoalStatus { up, ..ShoalStatus::default() });
        let reply = registry.announce(START, &request, ip(1)).unwrap();
        assert_eq!(reply.shoal.unwrap().peers[0].up, Some(expected));
    }
}

#[test]
fn a_large_peer_set_keeps_to_its_size() {
    let mut registry = registry();
    let mut last = None;
    for n in 0..2100 {
        let mut request = request(n, 5);
        let have = Some(vec![0xff; 2048]);
        request.shoal = (n < 2099).then(|| ShoalStatus { have, ..ShoalStatus::default() });
        request.numwant = Some(u32::from(n == 2099));
        if n == 2099 {
            request.shoal = Some(ShoalStatus { have: Some(vec![1]), ..ShoalStatus::default() });
        }
        last = Some(registry.announce(START, &request, ip(n)).unwrap());
    }
    let reply = last.unwrap();
    let set = &reply.shoal.as_ref().unwrap().peers;
    assert_eq!(set.len(), REPLY_PEERS_MAX);
    assert_eq!(set[0].have, Some(vec![1]));
    let kept = set.iter().filter(|peer| peer.have.is_some()).count();
    assert!((100..600).contains(&kept), "{kept}");
    let read = AnnounceReply::decode(&reply.encode(PeerForm::Compact)).unwrap();
    assert_eq!(read.shoal, reply.shoal);
}

#[test]
fn peers_of_the_family_that_a_reply_has_room_for_are_drawn() {
    let mut registry = registry();
    let v6 = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
    for n in 1..=60 {
        registry.announce(START, &request(n, 5), ip(n)).unwrap();
        registry.announce(START, &request(n + 100, 5), v6(n)).unwrap();
    }
    let mut given = |numwant, room: Room| {
        let mut peers = BTreeSet::new();
        let request = AnnounceRequest { numwant, ..request(1, 5) };
        let give = |peer: PeerRef<'_>| {
            let octets = match peer.addr().ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            assert_eq!(peer.compact(), [&*octets, &7000_u16.to_be_bytes()].concat());
            assert!(peers.insert((peer.addr().is_ipv4(), peer.id())), "given twice");
        };
        let answer = registry.announce_with(START, &request, ip(1), room, give).unwrap();
        assert_eq!((answer.incomplete, answer.warning), (120, None));
        assert!(!peers.contains(&(true, id(1))), "itself");
        let v4 = peers.iter().filter(|&&(is_v4, _)| is_v4).count();
        (v4, peers.len() - v4)
    };
    let room = |family, peers_max| Room { family, peers_max };
    assert_eq!(given(None, room(Some(Family::V4), 200)), (50, 0));
    assert_eq!(given(Some(1000), room(Some(Family::V4), 1000)), (59, 0));
    assert_eq!(given(Some(1000), room(Some(Family::V6), 1000)), (0, 60));
    assert_eq!(given(Some(1000), room(None, 1000)), (59, 60));
    assert_eq!(given(Some(1000), room(Some(Family::V6), 7)), (0, 7));
    assert_eq!(given(Some(0), room(None, 1000)), (0, 0));
}

#[test]
fn memory_comes_back_when_peers_leave() {
    let mut registry = registry();
    for n in 0..3000 {
        registry.announce(START, &request(n, u64::from(n % 2)), ip(n)).unwrap();
    }
    for n in 0..2999 {
        let stopped = with_event(request(n, 5), AnnounceEvent::Stopped);
        registry.announce(START, &stopped, ip(n)).unwrap();
        if n % 100 == 0 {
            registry.check();
        }
    }
    registry.check();
    assert_eq!(registry.counts(), (1, 1));
}

#[test]
fn a_foreign_peer_costs_few_bytes_in_swarms_of_any_size() {
    let keyed = |n, left| AnnounceRequest { key: Some(b"1A2B3C4D".to_vec()), ..request(n, left) };
    // Tables double after 112 and 7168 entries: these are the sizes that leave most of them idle.
    for (count, bytes_max) in [(20, 140), (100, 110), (113, 110), (7169, 110), (10_000, 110)] {
        let mut registry = registry();
        for n in 0..count {
            registry.announce(START, &keyed(n, u64::from(n % 3)), ip(n)).unwrap();
        }
        let bytes = registry.torrents.bytes() / usize::from(count);
        assert!((70..=bytes_max).contains(&bytes), "{count}: {bytes}");
    }
}

#[test]
fn views_come_in_pages() {
    let mut registry = registry();
    for n in 0..5 {
        announce(&mut registry, n, u64::from(n));
    }
    let mut keyed = request(9, 5);
    keyed.info_hash = InfoHash([9; 20]);
    keyed.shoal = Some(ShoalStatus { have: Some(vec![0b1010_0000]), ..ShoalStatus::default() });
    registry.announce(START, &keyed, ip(9)).unwrap();
    let first = registry.swarms(None, 1);
    assert_eq!((first.len(), first[0].info_hash, first[0].incomplete), (1, TORRENT, 4));
    let second = registry.swarms(Some(TORRENT), 10);
    assert_eq!((second.len(), second[0].info_hash), (1, InfoHash([9; 20])));

    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let view = registry.swarm(START, TORRENT, after, 2).unwrap();
        seen.extend(view.peers.iter().map(|peer| peer.id));
        after = view.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..5).map(id).collect::<Vec<_>>());
    let later = START + Duration::from_secs(3);
    let view = registry.swarm(later, InfoHash([9; 20]), None, 2).unwrap();
    assert_eq!((view.peers[0].have_count, view.peers[0].up), (Some(2), Some(0)));
    assert_eq!(view.peers[0].age, Duration::from_secs(3));
    assert_eq!(registry.swarm(START, InfoHash([1; 20]), None, 2), None);
}

#[test]
fn a_scrape_answers_for_known_torrents() {
    let mut registry = registry();
    announce(&mut registry, 1, 0);
    announce(&mut registry, 2, 4);
    let reply = registry.scrape(&[TORRENT, InfoHash([1; 20])]);
    assert_eq!(reply.files.len(), 1);
    let (info_hash, entry) = reply.files[0];
    assert_eq!((info_hash, entry.complete, entry.incomplete), (TORRENT, 1, 1));
}
