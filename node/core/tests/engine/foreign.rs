//! What the engine owes to clients that are not ours: each test names a rule that they enforce.

use shoal_core::{
    bitfield::Bitfield,
    config::BLOCK_LEN,
    policy::{ChunkFault, Happening},
    wire::{ExtendedHandshake, Terms},
};

use super::*;

/// The first two messages of each node that say anything, by index of the node.
fn opening(world: &World, node: usize) -> Vec<&Message> {
    world.said.iter().filter(|(by, _)| *by == node).map(|(_, message)| message).take(2).collect()
}

fn is_hello(message: &Message) -> bool {
    matches!(message, Message::Extended { id: 0, .. })
}

#[test]
fn what_is_had_is_told_before_anything_else_and_shortly_where_fast_is_spoken() {
    let cases = [
        (Terms { fast: true, extended: true }, Message::HaveAll, Some(Message::HaveNone)),
        (Terms { fast: false, extended: true }, Message::Bitfield(vec![0xf0]), None),
    ];
    for (terms, full, empty) in cases {
        let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
        world.terms = terms;
        let seed = world.seed(Host::default());
        let leech = world.leech(Host::default());
        finish(&mut world, &[leech], MINUTE);
        let said = opening(&world, seed);
        assert!(*said[0] == full && is_hello(said[1]), "{said:?}");
        let said = opening(&world, leech.0);
        match &empty {
            Some(empty) => assert!(said[0] == empty && is_hello(said[1]), "{said:?}"),
            None => assert!(is_hello(said[0]), "{said:?}"),
        }
    }
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let partial = world.node(Host::default(), Config::default(), bits(4, [1, 3]));
    let torrent = world.torrent(partial);
    world.ask(partial, Command::ConnectTracker(torrent)).unwrap();
    world.leech(Host::default());
    assert!(world.run(MINUTE, |world| world.said.len() > 6));
    // Spare bits are clear.
    let said = opening(&world, partial);
    assert!(*said[0] == Message::Bitfield(vec![0b0101_0000]) && is_hello(said[1]), "{said:?}");
}

#[test]
fn nothing_of_an_extension_is_said_to_a_peer_without_it() {
    let both = [false, true];
    for (fast, extended) in both.into_iter().flat_map(|fast| both.map(|other| (fast, other))) {
        let mut world = World::new(metainfo(4 * MIB, 512 * 1024));
        world.terms = Terms { fast, extended };
        world.seed(Host::default());
        let leeches = [world.leech(Host::default()), world.leech(Host::default())];
        // The world asserts of every message that it was agreed on.
        finish(&mut world, &leeches, MINUTE);
    }
}

#[test]
fn an_extended_message_of_a_peer_that_did_not_offer_the_protocol_changes_nothing() {
    let mut world = World::new(metainfo(4 * MIB, 512 * 1024));
    world.terms = Terms { fast: true, extended: false };
    let seed = world.seed(host(100_000));
    let (leech, job) = world.leech(Host::default());
    assert!(world.run(MINUTE, |world| world.session(leech).torrents()[0].peers == 1));
    let payload = b"d1:md5:shoali1ee5:shoald1:vi1ee1:v4:evile".to_vec();
    world.say(seed, leech, Message::Extended { id: 0, payload });
    finish(&mut world, &[(leech, job)], 2 * MINUTE);
    assert!(world.said.iter().all(|(_, message)| !matches!(message, Message::Extended { .. })));
}

#[test]
fn a_peer_that_rejects_is_not_asked_at_the_speed_of_the_network_and_others_serve() {
    let mut world = World::new(metainfo(4 * MIB, 512 * 1024));
    world.seed(Host { rejects: true, ..Host::default() });
    let leech = world.leech(Host::default());
    world.run(20 * Duration::from_secs(1), |_| false);
    let grants = world.trace.iter().filter(|line| line.contains("LeaseEnded")).count();
    assert!((3..12).contains(&grants), "{grants} leases in 20 s");
    world.seed(Host::default());
    finish(&mut world, &[leech], MINUTE);
}

#[test]
fn a_rejection_is_told_to_the_policy_at_once() {
    let mut world = World::new(metainfo(4 * MIB, 512 * 1024));
    world.seed(Host { rejects: true, ..Host::default() });
    let (leech, _) = world.leech(Host::default());
    let hooks = shoal_core::policy::Hooks { chunk_failed: true, ..Default::default() };
    world.command(leech, policies::scripted(hooks));
    let rejected = |world: &World| {
        world.reports.iter().any(|report| {
            matches!(report.what, Happening::ChunkFailed { fault: ChunkFault::Reject, .. })
        })
    };
    assert!(world.run(Duration::from_secs(2), rejected));
}

#[test]
fn a_choke_keeps_the_leases_of_a_fast_peer_and_ends_those_of_others() {
    for fast in [true, false] {
        let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
        world.terms.fast = fast;
        let seed = world.seed(host(200_000));
        let leech = world.leech(Host::default());
        let begun = |world: &World| world.trace.iter().any(|line| line.contains("LeaseProgress"));
        assert!(world.run(MINUTE, begun));
        world.say(seed, leech.0, Message::Choke);
        world.run(Duration::from_secs(1), |_| false);
        let ended = world.trace.iter().any(|line| line.contains("LeaseEnded"));
        assert_eq!(ended, !fast);
        world.say(seed, leech.0, Message::Unchoke);
        finish(&mut world, &[leech], MINUTE);
    }
}

#[test]
fn have_all_tells_of_every_piece_and_have_none_takes_none_back() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    world.tracker_down = true;
    let other = world.node(host(1), Config::default(), Bitfield::new(4));
    let (leech, job) = world.leech(Host::default());
    let (torrent, addr) = (world.torrent(leech), world.addr(other));
    world.ask(leech, Command::ConnectPeer(torrent, addr)).unwrap();
    let interested = |world: &World| {
        let said = world.said.iter().filter(|(by, _)| *by == leech).map(|(_, said)| said);
        said.filter(|said| matches!(said, Message::Interested | Message::NotInterested)).count()
    };
    assert_eq!(interested(&world), 0);
    world.say(other, leech, Message::HaveAll);
    world.say(other, leech, Message::HaveNone);
    world.run(Duration::from_secs(1), |_| false);
    assert_eq!(interested(&world), 1);
    assert!(world.session(leech).job(job).unwrap().ended.is_none());
}

/// What the extended handshakes of a node say of `upload_only`, in order.
fn upload_only(world: &World, node: usize) -> Vec<Option<bool>> {
    let said = world.said.iter().filter(|(by, _)| *by == node);
    let hellos = said.filter_map(|(_, message)| match message {
        Message::Extended { id: 0, payload } => Some(ExtendedHandshake::decode(payload).unwrap()),
        _ => None,
    });
    hellos.map(|hello| hello.upload_only).collect()
}

#[test]
fn a_node_says_upload_only_once_it_is_complete_to_those_that_stay() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let seed = world.seed(host(500_000));
    let idle = world.node(Host::default(), Config::default(), Bitfield::new(4));
    let leech = world.leech(host(1));
    world.run(Duration::from_secs(1), |_| false);
    let (torrent, addr) = (world.torrent(leech.0), world.addr(idle));
    world.ask(leech.0, Command::ConnectPeer(torrent, addr)).unwrap();
    finish(&mut world, &[leech], MINUTE);
    world.run(Duration::from_secs(1), |_| false);
    assert!(upload_only(&world, seed).iter().all(|said| *said == Some(true)));
    // To both while it was incomplete; to the one that is incomplete when it was done.
    assert_eq!(upload_only(&world, leech.0).last(), Some(&Some(true)));
    assert!(upload_only(&world, leech.0)[..2].iter().all(Option::is_none));
    assert!(upload_only(&world, idle).iter().all(Option::is_none));
}

#[test]
fn seeds_part_from_seeds_without_penalty_and_not_from_an_upload_only_peer_that_lacks_something() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let seed = world.seed(Host::default());
    let partial = world.node(Host::default(), Config::default(), bits(4, [0, 1, 2]));
    let (torrent, addr) = (world.torrent(partial), world.addr(seed));
    world.ask(partial, Command::ConnectPeer(torrent, addr)).unwrap();
    let hello = ExtendedHandshake { upload_only: Some(true), ..ExtendedHandshake::default() };
    world.say(partial, seed, Message::Extended { id: 0, payload: hello.encode() });
    world.run(Duration::from_secs(5), |_| false);
    let ended = |world: &World| {
        let ended = world.notices(seed).iter().filter_map(|notice| match notice {
            Notice::PeerDisconnected(news) => Some(news.reason.clone()),
            _ => None,
        });
        ended.collect::<Vec<_>>()
    };
    assert!(ended(&world).is_empty());
    world.say(partial, seed, Message::Have(PieceIndex(3)));
    world.run(Duration::from_secs(1), |_| false);
    assert_eq!(ended(&world), [CloseCause::BothComplete.to_string()]);
    // Nothing is held against it: it is served again.
    let job = world.download(partial, false);
    finish(&mut world, &[(partial, job)], MINUTE);
    let penalty = |n: &Notice| matches!(n, Notice::PeerCharged(_) | Notice::PeerBanned(_));
    assert!(!world.notices(seed).iter().chain(world.notices(partial)).any(penalty));
}

#[test]
fn a_foreign_peer_is_asked_for_16_kib_at_a_time_and_as_many_requests_as_it_takes() {
    // Without a word of it 250 requests, else what the peer says.
    for (reqq, expected) in [(None, 250), (Some(7), 7), (Some(2000), 2000)] {
        let mut world = World::new(metainfo(8 * MIB, 1024 * 1024));
        // Our own extended handshake is left out: the peer is a stranger.
        world.terms = Terms { fast: true, extended: reqq.is_some() };
        world.foreign = true;
        let seed = world.seed(host(2_000_000));
        let leech = world.leech(Host::default());
        assert!(world.run(MINUTE, |world| world.session(leech.0).torrents()[0].peers == 1));
        if reqq.is_some() {
            let hello = ExtendedHandshake { reqq, ..ExtendedHandshake::default() };
            world.say(seed, leech.0, Message::Extended { id: 0, payload: hello.encode() });
            world.run(Duration::from_millis(10), |_| false);
            world.granted.clear();
        }
        finish(&mut world, &[leech], MINUTE);
        assert!(!world.granted.is_empty());
        for (_, _, lease) in &world.granted {
            assert_eq!((lease.request_len, lease.requests_max), (BLOCK_LEN, expected));
            assert_eq!(lease.offset % BLOCK_LEN, 0, "{lease:?}");
        }
    }
}

#[test]
fn our_extended_handshake_is_small_and_tells_how_many_requests_are_kept() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    world.seed(Host::default());
    let leech = world.leech(Host::default());
    finish(&mut world, &[leech], MINUTE);
    let hellos = world.said.iter().filter(|(_, message)| is_hello(message));
    let mut count = 0;
    for (_, message) in hellos {
        let Message::Extended { payload, .. } = message else { continue };
        assert!(payload.len() < 1000, "{} bytes", payload.len());
        assert_eq!(ExtendedHandshake::decode(payload).unwrap().reqq, Some(2000));
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn what_is_asked_of_a_peer_that_cannot_say_no_runs_into_a_timer() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    world.terms.fast = false;
    // It drops every request without a word.
    let silent = world.seed(host(1));
    let leech = world.leech(Host::default());
    let holds = |world: &World| world.granted.iter().any(|(_, peer, _)| *peer == silent);
    assert!(world.run(MINUTE, holds));
    let asked_at = world.now;
    let good = world.seed(Host::default());
    let (torrent, addr) = (world.torrent(leech.0), world.addr(good));
    world.ask(leech.0, Command::ConnectPeer(torrent, addr)).unwrap();
    finish(&mut world, &[leech], MINUTE);
    let limit = Config::default().snub_after + Duration::from_secs(5);
    assert!(world.now.since(asked_at) < limit, "{:?}", world.now.since(asked_at));
}

#[test]
fn the_timers_suit_what_others_enforce() {
    let config = Config::default();
    let seconds = Duration::from_secs;
    // libtorrent ends a connection after 120 s of silence, aria2 one with two keep-alives in 5 s.
    assert!((seconds(60)..=seconds(100)).contains(&config.keep_alive_after));
    assert!(config.idle_timeout >= seconds(120));
    assert!((seconds(10)..=seconds(20)).contains(&config.handshake_timeout));
}
