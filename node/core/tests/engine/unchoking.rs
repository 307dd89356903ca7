//! Whom a node serves where its upload slots are few (BEP 3 §choking), in virtual time.

use std::collections::BTreeMap;

use shoal_core::{config::Unchoke, ids::ConnId, time::Timestamp};

use super::*;
use crate::world::metainfo_at;

const SECOND: Duration = Duration::from_secs(1);
/// The least time between two decisions on one connection.
const HOLD: Duration = Duration::from_secs(10);

/// A seed with so many slots and so many leechers that want everything of it, connected.
fn crowd(unchoke: Unchoke, seed: Host, leeches: usize, len: u64) -> (World, usize, Vec<usize>) {
    // Private: nobody is told of anybody, and the leechers stay strangers to each other.
    let metainfo = metainfo_at(len, 512 * 1024, &["http://tracker/announce"], true);
    let mut world = World::new(metainfo);
    let config = Config { unchoke, ..Config::default() };
    let pieces = world.metainfo.piece_count();
    let seed = world.node(seed, config, bits(pieces as usize, 0..pieces));
    let (torrent, addr) = (world.torrent(seed), world.addr(seed));
    world.command(seed, Command::ConnectTracker(torrent));
    world.tracker_down = true;
    let leeches = (0..leeches).map(|_| world.leech(host(1)).0).collect::<Vec<_>>();
    for &leech in &leeches {
        let torrent = world.torrent(leech);
        world.ask(leech, Command::ConnectPeer(torrent, addr)).unwrap();
    }
    (world, seed, leeches)
}

/// What was seen of the connections of a node: how long each was served, and when it was choked or
/// unchoked.
#[derive(Default)]
struct Watched {
    served: BTreeMap<ConnId, Duration>,
    flips: BTreeMap<ConnId, Vec<Timestamp>>,
    now: BTreeMap<ConnId, bool>,
}

/// Lets time pass, and looks at a node four times a second.
fn watch(world: &mut World, node: usize, time: Duration, slots: usize) -> Watched {
    let mut watched = Watched::default();
    let torrent = world.torrent(node);
    let end = world.now + time;
    while world.now < end {
        let before = world.now;
        world.run(SECOND / 4, |_| false);
        let passed = world.now.since(before);
        let peers = world.session(node).connections(torrent);
        let unchoked = peers.iter().filter(|peer| !peer.am_choking).count();
        assert!(unchoked <= slots, "{unchoked} of {slots} at {:?}", world.now);
        for peer in peers {
            let serves = !peer.am_choking;
            *watched.served.entry(peer.conn).or_default() += passed * u32::from(serves);
            if watched.now.insert(peer.conn, serves).unwrap_or(serves) != serves {
                watched.flips.entry(peer.conn).or_default().push(world.now);
            }
        }
    }
    watched
}

#[test]
fn by_default_everybody_is_unchoked_at_once_and_for_good() {
    assert_eq!(Config::default().unchoke, Unchoke::All);
    let (mut world, seed, leeches) = crowd(Unchoke::All, host(1), 20, 4 * MIB);
    let watched = watch(&mut world, seed, MINUTE, 20);
    assert_eq!(watched.served.len(), leeches.len());
    assert!(watched.served.values().all(|served| *served >= 59 * SECOND), "{:?}", watched.served);
    let chokes = world.trace.iter().filter(|line| line.contains("message: Choke"));
    assert_eq!(chokes.count(), 0);
}

#[test]
fn slots_go_round_fairly_among_equals_and_every_decision_holds() {
    for slots in [1, 4] {
        // Nothing is sent in this time: all rates are equal.
        let (mut world, seed, leeches) = crowd(Unchoke::Slots(slots), host(1), 20, 4 * MIB);
        let watched = watch(&mut world, seed, 1800 * SECOND, slots as usize);
        assert_eq!(watched.served.len(), leeches.len());
        let mean = 1800 * SECOND * slots / 20;
        for (conn, &served) in &watched.served {
            let off = served.abs_diff(mean);
            assert!(off <= 45 * SECOND, "{conn:?} was served {served:?}, the mean is {mean:?}");
        }
        for (conn, flips) in &watched.flips {
            // What is seen is up to a quarter of a second late.
            let least = flips.windows(2).map(|two| two[1].since(two[0])).min();
            let held = least.is_none_or(|least| least + SECOND / 4 >= HOLD);
            assert!(held, "{conn:?} flipped after {least:?}");
        }
    }
}

#[test]
fn interest_that_comes_and_goes_makes_no_choke_flip_within_ten_seconds() {
    let (mut world, seed, leeches) = crowd(Unchoke::Slots(1), host(1), 2, 4 * MIB);
    let flips = |world: &World| {
        let said = world.trace.iter().filter(|line| line.contains("hoke }"));
        said.count()
    };
    // The leechers have unchoked the seed by then.
    let (before, began) = (flips(&world), world.now);
    for turn in 0..60 {
        let message = if turn % 2 == 0 { Message::NotInterested } else { Message::Interested };
        leeches.iter().for_each(|&leech| world.say(leech, seed, message.clone()));
        watch(&mut world, seed, SECOND, 1);
    }
    let most = 2 * (world.now.since(began).as_secs() as usize / 10 + 1);
    let flips = flips(&world) - before;
    assert!((2..=most).contains(&flips), "{flips} chokes and unchokes, at most {most} hold");
}

#[test]
fn with_few_slots_everybody_still_completes() {
    let (mut world, seed, leeches) = crowd(Unchoke::Slots(2), Host::default(), 6, 8 * MIB);
    world.tracker_down = false;
    let complete = |world: &World| {
        leeches.iter().all(|&leech| world.session(leech).torrents()[0].pieces_have == 16)
    };
    assert!(world.run(10 * MINUTE, complete));
    assert!(world.session(seed).torrents()[0].uploaded >= 8 * MIB);
}

#[test]
fn an_upload_only_peer_takes_no_slot() {
    let (mut world, seed, leeches) = crowd(Unchoke::Slots(2), host(1), 2, 4 * MIB);
    let payload = b"d11:upload_onlyi1ee".to_vec();
    world.say(leeches[0], seed, Message::Extended { id: 0, payload });
    world.run(HOLD + SECOND, |_| false);
    let watched = watch(&mut world, seed, MINUTE, 1);
    let served = watched.served.values().filter(|served| !served.is_zero()).count();
    assert_eq!(served, 1);
}
