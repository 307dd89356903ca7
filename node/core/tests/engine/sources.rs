//! Sources of peers beside trackers: peer exchange (BEP 11) and local discovery (BEP 14).

use std::{collections::BTreeSet, net::SocketAddr};

use shoal_core::{
    time::Timestamp,
    wire::{
        ExtendedHandshake, Extension, PexMessage, PexPeer,
        pex::{REACHABLE, SEED},
    },
};

use super::*;
use crate::world::metainfo_at;

const SECOND: Duration = Duration::from_secs(1);

/// A world without a tracker.
fn trackerless(private: bool) -> World {
    World::new(metainfo_at(32 * MIB, 512 * 1024, &[], private))
}

/// A seed that was told of so many leechers, and connected to them.
fn hub(world: &mut World, leeches: usize) -> (usize, Vec<(usize, JobId)>) {
    let hub = world.seed(host(100_000));
    let leeches = (0..leeches).map(|_| world.leech(host(100_000))).collect::<Vec<_>>();
    for &(leech, _) in &leeches {
        connect(world, hub, leech);
    }
    (hub, leeches)
}

fn connect(world: &mut World, from: usize, to: usize) {
    let (torrent, addr) = (world.torrent(from), world.addr(to));
    world.ask(from, Command::ConnectPeer(torrent, addr)).unwrap();
}

fn peers(world: &World, node: usize) -> usize {
    world.session(node).torrents()[0].peers
}

/// The messages of peer exchange that a node sent.
fn told(world: &World, node: usize) -> Vec<PexMessage> {
    let said = world.said.iter().filter(|(by, _)| *by == node);
    let told = said.filter_map(|(_, message)| match message {
        Message::Extended { id, payload } if Extension::of_id(*id) == Some(Extension::Pex) => {
            Some(PexMessage::decode(payload).unwrap())
        }
        _ => None,
    });
    told.collect()
}

fn pex(added: impl IntoIterator<Item = SocketAddr>) -> Message {
    let added = added.into_iter().map(|addr| PexPeer { addr, flags: 0 }).collect();
    let message = PexMessage { added, dropped: Vec::new() };
    let id = Extension::offer(&[Extension::Pex])[&Extension::Pex];
    Message::Extended { id, payload: message.encode() }
}

fn strangers(host: u8, ports: std::ops::Range<u16>) -> Vec<SocketAddr> {
    ports.map(|port| SocketAddr::from(([10, 9, 9, host], port))).collect()
}

/// The strangers that a node dialled.
fn dialled(world: &World, node: usize) -> BTreeSet<SocketAddr> {
    let of_node = world.dialled.iter().filter(|(by, _)| *by == node).map(|(_, addr)| *addr);
    of_node.filter(|addr| addr.to_string().starts_with("10.9.9.")).collect()
}

#[test]
fn peers_that_share_a_peer_find_each_other_without_a_tracker() {
    let mut world = trackerless(false);
    let (hub, leeches) = hub(&mut world, 3);
    let met = |world: &World| leeches.iter().all(|&(leech, _)| peers(world, leech) == 3);
    assert!(world.run(10 * SECOND, met), "{:?}", told(&world, hub));
    let first = &told(&world, hub)[0];
    assert!(first.added.iter().all(|peer| peer.flags == REACHABLE), "{first:?}");
    world.run(3 * SECOND, |_| false);
    let of_leech = told(&world, leeches[0].0);
    let seed = of_leech.iter().flat_map(|message| &message.added).any(|p| p.flags & SEED != 0);
    assert!(seed, "{of_leech:?}");
    finish(&mut world, &leeches, 10 * MINUTE);
}

#[test]
fn nobody_is_told_of_anybody_in_a_private_torrent_and_nobody_believed() {
    let mut world = trackerless(true);
    world.config.local_discovery = true;
    let (hub, leeches) = hub(&mut world, 2);
    let leech = leeches[0].0;
    world.run(5 * SECOND, |_| false);
    world.say(hub, leech, pex(strangers(1, 1..10)));
    let addr = strangers(2, 7..8)[0];
    let info_hashes = vec![world.metainfo.info_hash];
    world.fact(leech, Event::HeardLocally { addr, info_hashes });
    world.run(MINUTE, |_| false);
    assert_eq!((peers(&world, leech), dialled(&world, leech).len()), (1, 0));
    assert!(world.announced_locally.is_empty());
    let hellos = world.said.iter().filter_map(|(_, message)| match message {
        Message::Extended { id: 0, payload } => Some(ExtendedHandshake::decode(payload).unwrap()),
        _ => None,
    });
    assert!(hellos.into_iter().all(|hello| !hello.ids.contains_key(&Extension::Pex)));
    assert!(told(&world, hub).is_empty());
}

#[test]
fn what_did_not_change_is_not_said_again_and_who_went_is_said_once() {
    let mut world = trackerless(false);
    let none = |world: &World| bits(world.metainfo.piece_count() as usize, []);
    let all = (0..4).map(|_| {
        let have = none(&world);
        world.node(Host::default(), Config::default(), have)
    });
    let all = all.collect::<Vec<_>>();
    for &other in &all[1..] {
        connect(&mut world, all[0], other);
    }
    world.run(20 * MINUTE, |_| false);
    // Each of three is told of two: in one message, for all came within two seconds.
    let first = told(&world, all[0]);
    assert_eq!(first.len(), 3, "{first:?}");
    assert!(first.iter().all(|message| message.added.len() == 2), "{first:?}");
    world.kill(all[3]);
    world.run(20 * MINUTE, |_| false);
    let gone = &told(&world, all[0])[3..];
    assert_eq!(gone.len(), 2, "{gone:?}");
    let expected = [world.addr(all[3])];
    assert!(gone.iter().all(|m| m.added.is_empty() && m.dropped == expected), "{gone:?}");
}

#[test]
fn a_peer_is_told_once_a_minute_however_many_come() {
    let mut world = trackerless(false);
    let none = bits(world.metainfo.piece_count() as usize, []);
    let hub = world.node(Host::default(), Config::default(), none.clone());
    let first = world.node(Host::default(), Config::default(), none.clone());
    connect(&mut world, hub, first);
    let mut came = Vec::new();
    for _ in 0..120 {
        let other = world.node(Host::default(), Config::default(), none.clone());
        connect(&mut world, hub, other);
        came.push((other, world.now));
        world.run(SECOND, |_| false);
    }
    world.run(5 * MINUTE, |_| false);
    let to_first = told(&world, hub);
    let largest = to_first.iter().map(|message| message.added.len()).max();
    assert!(largest <= Some(50), "{largest:?}");
    // Whoever came first was told most often: at the start, and after each of the minutes in
    // which somebody came, and what was left over once more.
    let times = world.gossiped.iter().filter(|(from, to, _)| (*from, *to) == (hub, first));
    let times = times.map(|(.., at)| *at).collect::<Vec<Timestamp>>();
    assert!((3..=5).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= MINUTE), "{times:?}");
    for (other, at) in came {
        let first = world.gossiped.iter().find(|(from, to, _)| (*from, *to) == (hub, other));
        assert!(first.is_some_and(|(.., told)| told.since(at) <= 3 * SECOND), "{other}: {first:?}");
    }
    let all: BTreeSet<_> = to_first.iter().flat_map(|m| &m.added).map(|peer| peer.addr).collect();
    assert_eq!(all.len(), 121);
}

#[test]
fn a_flood_of_peer_exchange_is_ignored_and_a_host_names_no_more_than_its_share() {
    let mut world = trackerless(false);
    let (hub, leeches) = hub(&mut world, 1);
    let leech = leeches[0].0;
    world.run(SECOND, |_| false);
    for n in 0..20 {
        world.say(hub, leech, pex(strangers(1, 1 + 50 * n..51 + 50 * n)));
    }
    world.run(30 * SECOND, |_| false);
    assert_eq!(dialled(&world, leech), strangers(1, 1..51).into_iter().collect());
    let torrent = world.torrent(leech);
    assert_eq!(world.session(leech).connections(torrent)[0].ignored_exchanges, 19);
    // What comes a minute later counts again.
    world.run(20 * SECOND, |_| false);
    world.say(hub, leech, pex(strangers(2, 1..51)));
    world.run(SECOND, |_| false);
    assert_eq!(dialled(&world, leech).len(), 100);
}

#[test]
fn addresses_that_mean_nothing_here_or_are_our_own_or_banned_are_not_dialled() {
    let mut world = trackerless(false);
    let corrupt = world.seed(Host { corrupt: true, ..Host::default() });
    let (hub, leeches) = hub(&mut world, 1);
    let (leech, job) = leeches[0];
    connect(&mut world, leech, corrupt);
    let addr = world.addr(corrupt);
    let banned = |n: &Notice| matches!(n, Notice::PeerBanned(p) if p.addr == addr);
    assert!(world.run(MINUTE, |world| world.notices(leech).iter().any(banned)));
    world.dialled.clear();
    let own = world.addr(leech);
    let odd = ["127.0.0.1:7", "169.254.1.1:7", "[fe80::1]:7", "[::1]:7", "[::ffff:127.0.0.1]:7"];
    let odd = odd.map(|text| text.parse().unwrap());
    for _ in 0..3 {
        world.say(hub, leech, pex(odd.into_iter().chain([own, addr])));
        world.run(MINUTE, |_| false);
    }
    assert!(world.done(leech, job).is_none(), "it was over too soon to see anything");
    let dialled = world.dialled.iter().filter(|(by, _)| *by == leech).map(|(_, addr)| *addr);
    // That it is our own is seen when somebody with our id answers there.
    assert_eq!(dialled.collect::<Vec<_>>(), [own]);
}

#[test]
fn a_swarm_of_one_network_finds_itself_without_a_tracker() {
    let mut world = trackerless(false);
    world.config.local_discovery = true;
    world.seed(Host::default());
    world.run(10 * SECOND, |_| false);
    let first = world.leech(Host::default());
    // The seed answers, though it announced itself a moment ago.
    assert!(world.run(5 * SECOND, |world| peers(world, first.0) == 1));
    // Whoever comes then is dialled by those that download, and told of the seed by them.
    let others = (0..3).map(|_| world.leech(Host::default())).collect::<Vec<_>>();
    finish(&mut world, &others, MINUTE);
    finish(&mut world, &[first], MINUTE);
}

#[test]
fn announces_on_the_local_network_stay_rare_in_a_swarm_of_many() {
    let mut world = trackerless(false);
    world.config.local_discovery = true;
    world.seed(host(50_000));
    for _ in 0..20 {
        world.leech(host(50_000));
    }
    world.run(10 * MINUTE, |_| false);
    for node in 0..21 {
        let made = world.announced_locally.iter().filter(|(by, _)| *by == node).count();
        assert!((2..=6).contains(&made), "node {node}: {made}");
    }
}

#[test]
fn what_is_neither_had_nor_wanted_is_not_announced_and_nothing_where_it_is_off() {
    let mut world = trackerless(false);
    let none = bits(world.metainfo.piece_count() as usize, []);
    let on = Config { local_discovery: true, ..Config::default() };
    let idle = world.node(Host::default(), on, none);
    let (off, _) = world.leech(Host::default());
    world.run(10 * MINUTE, |_| false);
    assert!(world.announced_locally.is_empty(), "{:?}", world.announced_locally);
    let (addr, info_hashes) = (strangers(1, 7..8)[0], vec![world.metainfo.info_hash]);
    world.fact(off, Event::HeardLocally { addr, info_hashes });
    world.run(MINUTE, |_| false);
    assert!(dialled(&world, off).is_empty());
    let torrent = world.torrent(idle);
    world.command(idle, Command::AutoDownload { torrent, available_only: false, patient: true });
    world.run(MINUTE, |_| false);
    assert!(!world.announced_locally.is_empty());
    world.command(idle, Command::Pause(torrent)).unwrap().unwrap();
    let before = world.announced_locally.len();
    world.run(20 * MINUTE, |_| false);
    assert_eq!(world.announced_locally.len(), before);
}

#[test]
fn where_no_tracker_answers_local_peers_are_waited_for_a_moment() {
    let run = |seeds: usize| {
        let mut world = World::new(metainfo(4 * MIB, 512 * 1024));
        world.tracker_down = true;
        world.config.local_discovery = true;
        let have = bits(world.metainfo.piece_count() as usize, 0..8);
        let config = world.config.clone();
        for _ in 0..seeds {
            world.node(Host::default(), config.clone(), have.clone());
        }
        let leech = world.node(Host::default(), config, bits(8, []));
        let torrent = world.torrent(leech);
        let command = Command::AutoDownload { torrent, available_only: false, patient: false };
        let Ok(Done::Job { job, .. }) = world.ask(leech, command) else { panic!("no job") };
        world.run(MINUTE, |world| world.done(leech, job).is_some());
        (world.done(leech, job), world.now)
    };
    assert_eq!(run(1).0, Some(Ok(())));
    let (ended, at) = run(0);
    assert!(matches!(ended, Some(Err(CommandError::TrackerUnreachable { .. }))), "{ended:?}");
    assert!(at > Timestamp(3_000_000) && at < Timestamp(15_000_000), "{at:?}");
}
