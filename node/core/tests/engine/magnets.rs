//! Magnet links: whom metadata is taken from, who lies about it, and who gets ours.

use shoal_core::{
    config::{METADATA_BURST, METADATA_PIECE_LEN},
    wire::{Extension, MetadataMessage},
};

use super::*;

const TRACKER: &[&str] = &["http://tracker/announce"];

/// A torrent whose metadata has six pieces.
fn world() -> World {
    World::new(metainfo(64 * MIB, 16 * 1024))
}

fn giving(metadata: Giving) -> Host {
    Host { metadata, ..Host::default() }
}

fn is_found(world: &World, node: usize) -> bool {
    !world.session(node).torrents().is_empty()
}

#[track_caller]
fn find(world: &mut World, node: usize, limit: Duration) {
    let found = world.run(limit, |world| is_found(world, node));
    assert!(found, "at {:?}: {:#?}", world.now, world.session(node).quests());
    assert!(world.session(node).quests().is_empty());
}

/// Pieces of metadata that a node was asked for.
fn asked(world: &World, by: usize) -> usize {
    let said = world.said.iter().filter(|(node, _)| *node == by);
    said.filter(|(_, message)| {
        is_metadata(message, |m| matches!(m, MetadataMessage::Request { .. }))
    })
    .count()
}

fn is_metadata(message: &Message, fits: impl Fn(&MetadataMessage) -> bool) -> bool {
    let Message::Extended { id, payload } = message else { return false };
    Extension::of_id(*id) == Some(Extension::Metadata)
        && MetadataMessage::decode(payload).is_ok_and(|message| fits(&message))
}

#[test]
fn a_link_and_one_peer_are_enough_for_the_whole_torrent() {
    let mut world = world();
    let seed = world.seed(Host::default());
    let seeker = world.seeker(&[], &[seed]);
    let view = &world.session(seeker).quests()[0];
    assert_eq!((view.name.len(), view.pieces, view.peers), (8, 0, 0));
    find(&mut world, seeker, Duration::from_secs(1));
    assert!(
        world.notices(seeker).iter().any(|n| matches!(n, Notice::QuestEnded { found: true, .. }))
    );
    // The address carries over; nobody else could tell it.
    let job = world.download(seeker, false);
    finish(&mut world, &[(seeker, job)], MINUTE);
}

#[test]
fn a_link_and_a_tracker_are_enough_and_announcing_goes_on() {
    let mut world = world();
    world.seed(Host::default());
    let seeker = world.seeker(TRACKER, &[]);
    find(&mut world, seeker, Duration::from_secs(1));
    let torrent = world.torrent(seeker);
    assert!(world.run(MINUTE, |world| world.session(seeker).tracker(torrent).unwrap().connected));
    let job = world.download(seeker, false);
    finish(&mut world, &[(seeker, job)], MINUTE);
}

#[test]
fn a_link_that_leads_nowhere_is_refused_at_once() {
    let mut world = world();
    let node = world.bare(Host::default(), Config::default());
    let magnet = shoal_core::magnet::Magnet {
        info_hash: world.metainfo.info_hash,
        name: None,
        trackers: Vec::new(),
        peers: Vec::new(),
    };
    let done = world.command(node, Command::AddMagnet(Box::new(magnet)));
    assert_eq!(done, Some(Err(CommandError::NoSource)));
    assert!(world.session(node).quests().is_empty());
}

#[test]
fn two_peers_share_the_work() {
    let mut world = world();
    let seeds = [world.seed(Host::default()), world.seed(Host::default())];
    let seeker = world.seeker(&[], &seeds);
    find(&mut world, seeker, Duration::from_secs(1));
    let gave = |seed| {
        let said = world.said.iter().filter(|(node, _)| *node == seed);
        said.filter(|(_, m)| is_metadata(m, |m| matches!(m, MetadataMessage::Data { .. }))).count()
    };
    assert!(gave(seeds[0]) >= 2 && gave(seeds[1]) >= 2, "{} {}", gave(seeds[0]), gave(seeds[1]));
    assert_eq!(gave(seeds[0]) + gave(seeds[1]), 6, "no piece twice");
}

#[test]
fn liars_about_the_size_do_not_keep_an_honest_peer_from_giving() {
    for size in [1, METADATA_PIECE_LEN, 100_000, 1 << 24] {
        let mut world = world();
        let liars = [0; 5].map(|_| world.seed(giving(Giving::Size(size))));
        let honest = world.seed(Host::default());
        let seeker = world.seeker(&[], &[&liars[..], &[honest]].concat());
        find(&mut world, seeker, MINUTE);
    }
}

#[test]
fn who_alone_gives_wrong_metadata_is_not_asked_again() {
    let mut world = world();
    let liar = world.seed(giving(Giving::Wrong));
    let seeker = world.seeker(&[], &[liar]);
    assert!(!world.run(10 * MINUTE, |world| is_found(world, seeker)));
    assert_eq!(asked(&world, seeker), 6, "each piece once");
    assert_eq!(world.session(seeker).quests()[0].peers, 0);
}

#[test]
fn a_liar_beside_an_honest_peer_is_found_out() {
    for liars in 1..4 {
        let mut world = world();
        let mut peers: Vec<_> = (0..liars).map(|_| world.seed(giving(Giving::Wrong))).collect();
        peers.push(world.seed(Host::default()));
        let seeker = world.seeker(&[], &peers);
        find(&mut world, seeker, MINUTE);
    }
}

#[test]
fn who_rejects_is_asked_less_and_less_and_another_gives() {
    let mut world = world();
    let rejecting = world.seed(giving(Giving::Rejects));
    let seeker = world.seeker(&[], &[rejecting]);
    assert!(!world.run(2 * MINUTE, |world| is_found(world, seeker)));
    assert!((2..20).contains(&asked(&world, seeker)), "{}", asked(&world, seeker));
    let honest = world.seed(Host::default());
    let id = world.session(seeker).quests()[0].id;
    let addr = world.addr(honest);
    world.command(seeker, Command::LearnPeers(id, vec![addr])).unwrap().unwrap();
    find(&mut world, seeker, MINUTE);
}

#[test]
fn who_stalls_keeps_nobody_waiting_longer_than_its_time() {
    let mut world = world();
    let stalling = world.seed(giving(Giving::Stalls));
    let honest = world.seed(Host::default());
    let seeker = world.seeker(&[], &[stalling, honest]);
    find(&mut world, seeker, Duration::from_secs(15));
}

#[test]
fn what_a_peer_gave_before_it_vanished_is_not_asked_for_again() {
    let mut world = world();
    let vanishing = world.seed(giving(Giving::Vanishes(3)));
    let seeker = world.seeker(&[], &[vanishing]);
    assert!(!world.run(MINUTE, |world| is_found(world, seeker)));
    let view = &world.session(seeker).quests()[0];
    let had = view.pieces_have;
    // The last one may be lost on its way.
    assert!(view.pieces == 6 && (2..=3).contains(&had), "{view:?}");
    let before = asked(&world, seeker);
    let honest = world.seed(Host::default());
    let id = world.session(seeker).quests()[0].id;
    let addr = world.addr(honest);
    world.command(seeker, Command::LearnPeers(id, vec![addr])).unwrap().unwrap();
    find(&mut world, seeker, MINUTE);
    assert_eq!(asked(&world, seeker) - before, 6 - had as usize);
}

#[test]
fn who_does_not_speak_of_metadata_is_let_go() {
    let mut world = world();
    let silent = world.seed(giving(Giving::Silent));
    let seeker = world.seeker(&[], &[silent]);
    let gone = |notice: &Notice| matches!(notice, Notice::PeerDisconnected(news) if news.reason == "gives no metadata");
    assert!(world.run(MINUTE, |world| world.notices(seeker).iter().any(gone)));
    let mut world = self::world();
    world.terms.extended = false;
    let plain = world.seed(Host::default());
    let seeker = world.seeker(&[], &[plain]);
    assert!(world.run(MINUTE, |world| world.notices(seeker).iter().any(gone)));
}

#[test]
fn a_peer_that_never_says_hello_is_let_go() {
    let mut world = world();
    world.foreign = true;
    let mute = world.seed(Host::default());
    let seeker = world.seeker(&[], &[mute]);
    assert!(world.run(MINUTE, |world| world.session(seeker).quests()[0].peers == 1));
    let began = world.now;
    assert!(world.run(MINUTE, |world| world.session(seeker).quests()[0].peers == 0));
    assert!(world.now.since(began) >= Duration::from_secs(9));
}

#[test]
fn two_links_without_metadata_let_each_other_go_and_find_it_later() {
    let mut world = world();
    let seekers = [world.seeker(TRACKER, &[]), world.seeker(TRACKER, &[])];
    assert!(!world.run(MINUTE, |world| is_found(world, seekers[0])));
    world.seed(Host::default());
    for seeker in seekers {
        find(&mut world, seeker, 45 * MINUTE);
    }
}

#[test]
fn a_metainfo_file_ends_the_quest_and_a_removal_says_so_to_the_tracker() {
    let mut world = world();
    let seeker = world.seeker(TRACKER, &[]);
    assert!(!world.run(Duration::from_secs(5), |world| is_found(world, seeker)));
    let metainfo = world.metainfo.clone();
    let none = shoal_core::bitfield::Bitfield::new(metainfo.piece_count() as usize);
    let opened = shoal_core::session::event::Opened {
        have: none,
        unverified: vec![],
        downloaded: 0,
        uploaded: 0,
    };
    let add = Command::Add {
        metainfo,
        opened,
        resume: Default::default(),
        selection: Default::default(),
    };
    assert!(matches!(world.command(seeker, add), Some(Ok(Done::Added(_)))));
    assert!(world.session(seeker).quests().is_empty());

    // It would give its metadata.
    world.kill(seeker);
    let other = world.seeker(TRACKER, &[]);
    assert!(!world.run(Duration::from_secs(5), |world| is_found(world, other)));
    let id = world.session(other).quests()[0].id;
    for refused in [Command::Pause(id), Command::Verify(id), Command::ConnectTracker(id)] {
        let done = world.command(other, refused);
        assert!(matches!(done, Some(Err(CommandError::MetadataMissing(_)))), "{done:?}");
    }
    let remove = Command::Remove { torrent: id, delete_data: false };
    assert_eq!(world.command(other, remove), Some(Ok(Done::Ok)));
    assert!(world.session(other).quests().is_empty());
    assert_eq!(world.session(other).connection_count(), 0);
}

#[test]
fn a_node_ends_in_time_though_it_still_looks_for_metadata() {
    let mut world = world();
    let stalling = world.seed(giving(Giving::Stalls));
    let seeker = world.seeker(TRACKER, &[stalling]);
    assert!(world.run(MINUTE, |world| world.session(seeker).quests()[0].peers == 1));
    assert_eq!(world.ask(seeker, Command::Shutdown), Ok(Done::Ok));
    assert_eq!(world.session(seeker).connection_count(), 0);
}

/// How many pieces of metadata, and how many rejections, a node sent.
fn answers(world: &World, of: usize) -> (usize, usize) {
    let count = |fits: fn(&MetadataMessage) -> bool| {
        let said = world.said.iter().filter(|(node, _)| *node == of);
        said.filter(|(_, message)| is_metadata(message, fits)).count()
    };
    let data = count(|message| matches!(message, MetadataMessage::Data { .. }));
    (data, count(|message| matches!(message, MetadataMessage::Reject { .. })))
}

/// Asks a seed for pieces of its metadata, and waits for so many answers: data and rejections.
fn ask(world: &mut World, seed: usize, pieces: &[u32], count: usize) -> (usize, usize) {
    let before = answers(world, seed);
    for &piece in pieces {
        let payload = MetadataMessage::Request { piece }.encode();
        world.say(seed + 1, seed, Message::Extended { id: 2, payload });
    }
    let since = |world: &World| {
        let (data, rejected) = answers(world, seed);
        (data - before.0, rejected - before.1)
    };
    world.run(Duration::from_secs(2), |world| since(world).0 + since(world).1 >= count);
    since(world)
}

#[test]
fn what_a_peer_gets_of_our_metadata_is_bounded() {
    let mut world = World::new(metainfo(256 * MIB, 16 * 1024));
    let seed = world.seed(Host { upload_bps: 1, ..Host::default() });
    let leech = world.leech(Host::default()).0;
    assert_eq!(leech, seed + 1);
    assert!(world.run(MINUTE, |world| world.session(leech).connection_count() == 1));
    world.run(Duration::from_secs(1), |_| false);
    let pieces = world.metainfo.info_bytes.len().div_ceil(METADATA_PIECE_LEN as usize) as u32;
    assert_eq!(pieces, 21);
    assert_eq!(ask(&mut world, seed, &[pieces, u32::MAX], 2), (0, 2), "out of range");
    let all: Vec<u32> = (0..pieces).collect();
    let twice = [&all[..], &all[..]].concat();
    let burst = METADATA_BURST as usize;
    assert_eq!(ask(&mut world, seed, &twice, burst), (burst, 0));
    // The rest comes with the next tick, and nothing of it is rejected.
    assert!(world.run(MINUTE, |world| answers(world, seed).0 == 42));
    assert_eq!(ask(&mut world, seed, &all, 21), (0, 21), "twice is enough");
    world.run(MINUTE, |_| false);
    assert_eq!(ask(&mut world, seed, &all, 21), (21, 0), "a minute later it may have it again");
}
