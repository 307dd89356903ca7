//! The engine's conduct, in a small world of real sessions.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test says what went wrong by panicking, and looks for one kind of notice"
)]

mod checks;
mod crowds;
mod dials;
mod foreign;
mod magnets;
mod policies;
mod selection;
mod sources;
mod trials;
mod unchoking;
mod web_seeds;
mod world;

use std::time::Duration;

use shoal_core::{
    config::Config,
    ids::{JobId, PieceIndex, TorrentId},
    session::{
        Event,
        command::{Command, CommandError, Done},
        event::PieceOutcome,
        fault::CloseCause,
        notice::Notice,
        view::{PieceState, TorrentState},
    },
    wire::Message,
};
use world::{Giving, Host, World, bits, metainfo};

const MIB: u64 = 1024 * 1024;
const MINUTE: Duration = Duration::from_secs(60);

fn host(upload_bps: u64) -> Host {
    Host { upload_bps, ..Host::default() }
}

fn all_done(world: &World, leeches: &[(usize, JobId)]) -> bool {
    leeches.iter().all(|&(node, job)| world.done(node, job).is_some())
}

#[track_caller]
fn finish(world: &mut World, leeches: &[(usize, JobId)], limit: Duration) {
    assert!(world.run(limit, |world| all_done(world, leeches)), "at {:?}: {:#?}", world.now, {
        let stuck = leeches.iter().map(|&(node, job)| world.session(node).job(job));
        stuck.collect::<Vec<_>>()
    });
    for &(node, job) in leeches {
        assert_eq!(world.done(node, job), Some(Ok(())));
    }
}

#[test]
fn flash_crowd_completes_and_shares_the_load() {
    // Each crowd draws otherwise, for a session is seeded by its number.
    let seeded = [0, 1, 2, 3].map(|others| {
        let mut world = World::new(metainfo(32 * MIB, 512 * 1024));
        for _ in 0..others {
            world.bare(Host::default(), Config::default());
        }
        let seed = world.seed(Host::default());
        let leeches = (0..5).map(|_| world.leech(Host::default())).collect::<Vec<_>>();
        finish(&mut world, &leeches, MINUTE);
        world.session(seed).torrents()[0].uploaded
    });
    let mean = seeded.iter().sum::<u64>() / 4;
    // Without them it sends five copies; with links as quick as these it sends about two.
    assert!(mean < 32 * MIB * 5 / 2, "the seed sent {seeded:?}: the leechers hardly helped");
}

#[test]
fn with_other_leechers_no_more_is_begun_than_is_soon_verified() {
    let most = |others: usize| {
        let mut world = World::new(metainfo(64 * MIB, 512 * 1024));
        world.verifying_takes = Duration::from_secs(30);
        world.seed(host(100_000_000));
        let (leech, _) = world.leech(host(100_000_000));
        for _ in 0..others {
            world.leech(host(100_000_000));
        }
        world.run(Duration::from_secs(10), |_| false);
        let torrent = world.torrent(leech);
        let state = |piece| world.session(leech).piece(torrent, PieceIndex(piece)).unwrap().0;
        let waiting = (0..128).filter(|&piece| state(piece) == PieceState::Verifying);
        waiting.count() as u64 * 512 * 1024
    };
    let config = Config::default();
    assert_eq!(most(0), config.buffer_budget_bytes, "alone with a seed it takes what it can");
    // What was under way already comes too.
    let under_way = config.buffer_budget_bytes / 4;
    assert!(most(1) <= config.verify_backlog_bytes + under_way, "{}", most(1));
}

#[test]
fn same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::new(metainfo(8 * MIB, 256 * 1024));
        world.seed(Host::default());
        let leeches = (0..3).map(|_| world.leech(Host::default())).collect::<Vec<_>>();
        finish(&mut world, &leeches, MINUTE);
        world.trace
    };
    assert_eq!(run(), run());
}

#[test]
fn corrupt_peer_is_charged_then_banned_and_the_file_arrives_from_the_others() {
    let mut world = World::new(metainfo(32 * MIB, 512 * 1024));
    world.seed(Host::default());
    let corrupt = world.seed(Host { corrupt: true, ..Host::default() });
    let leech = world.leech(Host::default());
    finish(&mut world, &[leech], MINUTE);
    let addr = world.addr(corrupt);
    let notices = world.notices(leech.0);
    let charged = notices.iter().filter(|n| matches!(n, Notice::PeerCharged(p) if p.addr == addr));
    let banned = notices.iter().filter(|n| matches!(n, Notice::PeerBanned(p) if p.addr == addr));
    assert_eq!((charged.count(), banned.count()), (1, 1));
    let others =
        |n: &Notice| matches!(n, Notice::PeerCharged(p) | Notice::PeerBanned(p) if p.addr != addr);
    assert!(!notices.iter().any(others), "an innocent peer was charged");
}

#[test]
fn dripping_peers_do_not_stop_a_download_that_has_one_good_peer() {
    let mut world = World::new(metainfo(16 * MIB, 512 * 1024));
    world.seed(Host::default());
    for _ in 0..4 {
        world.seed(host(16 * 1024 / 19));
    }
    let leech = world.leech(Host::default());
    finish(&mut world, &[leech], Duration::from_secs(40));
}

#[test]
fn silent_peers_are_snubbed_and_replaced() {
    let mut world = World::new(metainfo(4 * MIB, 512 * 1024));
    let good = world.seed(host(100_000));
    let silent = world.seed(host(1));
    let leech = world.leech(Host::default());
    let began = world.now;
    let snubbed = |world: &World| {
        let notices = world.notices(leech.0).iter();
        let snubbed = notices.filter_map(|notice| match notice {
            Notice::PeerSnubbed(peer) => Some(peer.addr),
            _ => None,
        });
        snubbed.collect::<Vec<_>>()
    };
    assert!(world.run(MINUTE, |world| !snubbed(world).is_empty()));
    let after = world.now.since(began);
    let limit = Config::default().snub_after;
    assert!(after >= limit && after < limit + Duration::from_secs(1), "{after:?}");
    finish(&mut world, &[leech], MINUTE);
    assert_eq!(snubbed(&world), [world.addr(silent)]);
    let done = world.session(leech.0).job(leech.1).unwrap().ended.unwrap().1.unwrap();
    let served = done.served_by.iter().map(|by| (by.addr, by.pieces)).collect::<Vec<_>>();
    assert_eq!(served, [(world.addr(good), 8)]);
}

#[test]
fn a_peer_whose_bytes_we_leave_unread_is_not_snubbed() {
    let mut world = World::new(metainfo(4 * MIB, 512 * 1024));
    world.seed(host(1));
    let (leech, _) = world.leech(Host::default());
    let snubbed = |world: &World| {
        world.notices(leech).iter().any(|notice| matches!(notice, Notice::PeerSnubbed(_)))
    };
    for _ in 0..12 {
        world.run(Duration::from_secs(5), |_| false);
        world.vouch(leech);
    }
    assert!(!snubbed(&world), "it was held up");
    assert!(world.run(MINUTE, snubbed), "it was silent");
}

#[test]
fn seeder_that_dies_is_replaced_and_nothing_is_left_leased() {
    let mut world = World::new(metainfo(32 * MIB, 512 * 1024));
    let first = world.seed(Host::default());
    let leech = world.leech(Host::default());
    let half = |world: &World| world.session(leech.0).torrents()[0].pieces_have >= 20;
    assert!(world.run(MINUTE, half));
    world.kill(first);
    world.seed(Host::default());
    finish(&mut world, &[leech], 5 * MINUTE);
}

#[test]
fn waits_for_chunks_nobody_has_and_names_them() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let partial = world.node(Host::default(), Config::default(), bits(4, [0, 1]));
    let torrent = world.torrent(partial);
    world.ask(partial, Command::ConnectTracker(torrent)).unwrap();
    let (node, job) = world.leech(Host::default());
    assert!(!world.run(Duration::from_secs(30), |world| world.done(node, job).is_some()));
    let view = world.session(node).job(job).unwrap();
    assert_eq!(view.waiting_for, ["file1.webm.part3", "file1.webm.part4"]);
    world.seed(Host::default());
    finish(&mut world, &[(node, job)], 10 * MINUTE);
}

#[test]
fn later_bitfield_tells_of_new_chunks_and_takes_none_back() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let partial = world.node(Host::default(), Config::default(), bits(4, [0, 1]));
    let torrent = world.torrent(partial);
    world.ask(partial, Command::ConnectTracker(torrent)).unwrap();
    let (node, job) = world.leech(Host::default());
    assert!(world.run(MINUTE, |world| world.session(node).torrents()[0].pieces_have == 2));
    let mut waiting_for_after = |told: [u32; 2]| {
        world.say(partial, node, Message::Bitfield(bits(4, told).to_wire()));
        world.run(Duration::from_secs(5), |_| false);
        assert_eq!(world.session(node).torrents()[0].peers, 1);
        world.session(node).job(job).unwrap().waiting_for
    };
    assert_eq!(waiting_for_after([0, 1]), ["file1.webm.part3", "file1.webm.part4"]);
    assert_eq!(waiting_for_after([0, 3]), ["file1.webm.part3"]);
    assert_eq!(waiting_for_after([0, 1]), ["file1.webm.part3"]);
}

#[test]
fn available_only_ends_with_the_names_of_what_is_missing() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let partial = world.node(Host::default(), Config::default(), bits(4, [0, 1]));
    let torrent = world.torrent(partial);
    world.ask(partial, Command::ConnectTracker(torrent)).unwrap();
    let node = world.node(Host::default(), Config::default(), bits(4, []));
    let job = world.download(node, true);
    assert!(world.run(MINUTE, |world| world.done(node, job).is_some()));
    let names = vec!["file1.webm.part3".to_owned(), "file1.webm.part4".to_owned()];
    let error = CommandError::Unavailable { missing: 2, names };
    assert_eq!(world.done(node, job), Some(Err(error)));
    assert_eq!(world.session(node).torrents()[0].pieces_have, 2);
}

#[test]
fn peers_are_not_left_believing_in_chunks_that_are_no_longer_had() {
    let mut world = World::new(metainfo(32 * MIB, 512 * 1024));
    let seed = world.seed(Host::default());
    let leech = world.leech(Host::default());
    assert!(world.run(MINUTE, |world| world.session(leech.0).torrents()[0].pieces_have > 5));
    world.tamper(seed, 0..64);
    assert_eq!(world.session(seed).connection_count(), 0);
    finish(&mut world, &[leech], MINUTE);
}

#[test]
fn request_download_fetches_one_chunk_from_one_peer() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let seed = world.seed(Host::default());
    let partial = world.node(Host::default(), Config::default(), bits(4, [0]));
    let node = world.node(Host::default(), Config::default(), bits(4, []));
    let (torrent, seed, partial) = (world.torrent(node), world.addr(seed), world.addr(partial));
    let request = |addr, piece| Command::RequestDownload(torrent, addr, PieceIndex(piece));
    let unknown = CommandError::UnknownPeer { addr: seed, suggestion: None };
    assert_eq!(world.ask(node, request(seed, 2)), Err(unknown));
    for addr in [seed, partial] {
        let connected = world.ask(node, Command::ConnectPeer(torrent, addr)).unwrap();
        let Done::Connected { pieces_have, shoal: true, already: false, .. } = connected else {
            panic!("{connected:?}");
        };
        assert_eq!(pieces_have, if addr == seed { 4 } else { 1 });
    }
    let lacks =
        CommandError::PeerLacksChunk { addr: partial, chunk: "file1.webm.part3".to_owned() };
    assert_eq!(world.ask(node, request(partial, 2)), Err(lacks));
    let Ok(Done::Job { job, .. }) = world.ask(node, request(seed, 2)) else { panic!() };
    assert!(world.run(MINUTE, |world| world.done(node, job).is_some()));
    assert_eq!(world.done(node, job), Some(Ok(())));
    assert_eq!(
        world.session(node).have(torrent).unwrap().iter_ones().collect::<Vec<_>>(),
        [PieceIndex(2)]
    );
}

#[test]
fn request_download_from_a_silent_peer_ends_and_gives_the_chunk_back() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let silent = world.seed(host(1));
    let seed = world.seed(Host::default());
    let node = world.node(Host::default(), Config::default(), bits(4, []));
    let (torrent, silent, seed) = (world.torrent(node), world.addr(silent), world.addr(seed));
    let request = |addr| Command::RequestDownload(torrent, addr, PieceIndex(2));
    for addr in [silent, seed] {
        world.ask(node, Command::ConnectPeer(torrent, addr)).unwrap();
    }
    let Ok(Done::Job { job, .. }) = world.ask(node, request(silent)) else { panic!() };
    assert!(world.run(2 * MINUTE, |world| world.done(node, job).is_some()));
    let cause = "no data for 60 s".to_owned();
    assert_eq!(world.done(node, job), Some(Err(CommandError::PeerLost { addr: silent, cause })));
    let Ok(Done::Job { job, .. }) = world.ask(node, request(seed)) else { panic!() };
    assert!(world.run(MINUTE, |world| world.done(node, job).is_some()));
    assert_eq!(world.done(node, job), Some(Ok(())));
}

/// A node that is verifying the chunk that it asked a peer for; the peer's node, and the job.
fn verifying_a_request(world: &mut World) -> (usize, usize, JobId) {
    let seed = world.seed(Host::default());
    let node = world.node(Host::default(), Config::default(), bits(4, []));
    let (torrent, addr) = (world.torrent(node), world.addr(seed));
    world.ask(node, Command::ConnectPeer(torrent, addr)).unwrap();
    let request = Command::RequestDownload(torrent, addr, PieceIndex(2));
    let Ok(Done::Job { job, .. }) = world.ask(node, request) else { panic!() };
    let verifying = |world: &World| {
        let piece = world.session(node).piece(torrent, PieceIndex(2));
        piece.unwrap().0 == PieceState::Verifying
    };
    assert!(world.run(MINUTE, verifying));
    (seed, node, job)
}

#[test]
fn a_peer_that_goes_once_its_chunk_came_is_not_missed() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let (seed, node, job) = verifying_a_request(&mut world);
    world.kill(seed);
    let gone = |world: &World| world.session(node).connection_count() == 0;
    assert!(world.run(MINUTE, gone));
    assert_eq!(world.done(node, job), None, "not verified yet");
    assert!(world.run(MINUTE, |world| world.done(node, job).is_some()));
    assert_eq!(world.done(node, job), Some(Ok(())));
}

#[test]
fn a_full_disk_ends_what_was_asked_of_one_peer() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let (_, node, job) = verifying_a_request(&mut world);
    let cause = "no space left".to_owned();
    let outcome = PieceOutcome::DiskFull { cause: cause.clone() };
    let (torrent, piece) = (world.torrent(node), PieceIndex(2));
    world.fact(node, Event::PieceVerified { torrent, piece, outcome });
    assert_eq!(world.done(node, job), Some(Err(CommandError::DiskFull(cause))));
    assert_eq!(world.session(node).piece(torrent, piece).unwrap().0, PieceState::Missing);
}

#[test]
fn quit_leaves_everything_and_connect_tracker_rejoins() {
    let mut world = World::new(metainfo(32 * MIB, 512 * 1024));
    world.seed(Host::default());
    let (node, job) = world.leech(Host::default());
    let torrent = world.torrent(node);
    assert!(world.run(MINUTE, |world| world.session(node).torrents()[0].pieces_have > 5));
    let quit = world.ask(node, Command::Quit(torrent));
    assert_eq!(quit, Ok(Done::Quit { closed: 1 }));
    assert_eq!(world.done(node, job), Some(Err(CommandError::Cancelled)));
    let view = world.session(node).torrent(torrent).unwrap();
    assert_eq!((view.state, view.peers), (TorrentState::Quit, 0));
    let have = view.pieces_have;
    world.run(Duration::from_secs(5), |_| false);
    assert_eq!(world.session(node).torrent(torrent).unwrap().pieces_have, have);
    assert!(matches!(
        world.ask(node, Command::ConnectTracker(torrent)),
        Ok(Done::Announced { .. })
    ));
    let job = world.download(node, false);
    finish(&mut world, &[(node, job)], MINUTE);
}

#[test]
fn pause_keeps_the_job_and_resume_goes_on() {
    let mut world = World::new(metainfo(32 * MIB, 512 * 1024));
    world.seed(Host::default());
    let leech = world.leech(Host::default());
    let torrent = world.torrent(leech.0);
    assert!(world.run(MINUTE, |world| world.session(leech.0).torrents()[0].pieces_have > 5));
    world.ask(leech.0, Command::Pause(torrent)).unwrap();
    world.run(Duration::from_secs(20), |_| false);
    assert_eq!(world.session(leech.0).torrent(torrent).unwrap().state, TorrentState::Paused);
    assert_eq!(world.done(leech.0, leech.1), None);
    world.ask(leech.0, Command::Resume(torrent)).unwrap();
    finish(&mut world, &[leech], MINUTE);
}

#[test]
fn what_ends_with_the_torrent_or_the_node_blames_no_peer() {
    let check = |command: fn(TorrentId) -> Command, expected: CommandError| {
        let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
        let seed = world.seed(host(1));
        let node = world.node(Host::default(), Config::default(), bits(4, []));
        let (torrent, addr) = (world.torrent(node), world.addr(seed));
        world.ask(node, Command::ConnectPeer(torrent, addr)).unwrap();
        let request = Command::RequestDownload(torrent, addr, PieceIndex(2));
        let Ok(Done::Job { job, .. }) = world.ask(node, request) else { panic!() };
        let ping = world.issue(node, Command::Ping(torrent, addr));
        world.issue(node, command(torrent));
        assert_eq!(world.done(node, job), Some(Err(expected.clone())));
        assert_eq!(world.reply(node, ping), Some(Err(expected)));
    };
    check(Command::Pause, CommandError::Paused);
    check(|_| Command::Shutdown, CommandError::ShuttingDown);
}

#[test]
fn dials_that_find_the_torrent_full_are_told_so() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let peers = [(); 2].map(|()| world.seed(Host::default()));
    let config = Config { connections_per_torrent_max: 1, ..Config::default() };
    let node = world.node(Host::default(), config, bits(4, []));
    let (torrent, addrs) = (world.torrent(node), peers.map(|peer| world.addr(peer)));
    let dials = addrs.map(|addr| world.issue(node, Command::ConnectPeer(torrent, addr)));
    world.run(Duration::from_secs(1), |_| false);
    assert!(matches!(world.reply(node, dials[0]), Some(Ok(Done::Connected { .. }))));
    let (addr, setting) = (addrs[1], "connections-per-torrent");
    let full = CommandError::TooManyConnections { addr, setting, limit: 1 };
    assert_eq!(world.reply(node, dials[1]), Some(Err(full.clone())));
    assert_eq!(world.ask(node, Command::ConnectPeer(torrent, addr)), Err(full));
    assert_eq!(world.session(node).connection_count(), 1);
}

#[test]
fn tracker_that_is_down_is_named_and_nothing_is_left_half_done() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    world.tracker_down = true;
    let node = world.node(Host::default(), Config::default(), bits(4, []));
    let torrent = world.torrent(node);
    let error = world.ask(node, Command::ConnectTracker(torrent)).unwrap_err();
    assert!(matches!(error, CommandError::TrackerUnreachable { .. }), "{error:?}");
    assert!(!world.session(node).torrent(torrent).unwrap().announcing);
    let download = Command::AutoDownload { torrent, available_only: false, patient: false };
    let Ok(Done::Job { job, .. }) = world.ask(node, download) else { panic!() };
    assert!(world.run(MINUTE, |world| world.done(node, job).is_some()));
    assert!(matches!(world.done(node, job), Some(Err(CommandError::TrackerUnreachable { .. }))));
}

#[test]
fn ping_measures_the_round_trip() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let seed = world.seed(Host::default());
    let node = world.node(Host::default(), Config::default(), bits(4, []));
    let (torrent, addr) = (world.torrent(node), world.addr(seed));
    world.ask(node, Command::ConnectPeer(torrent, addr)).unwrap();
    let pong = world.ask(node, Command::Ping(torrent, addr)).unwrap();
    let Done::Pong { round_trip_us: Some(us), .. } = pong else { panic!("{pong:?}") };
    assert!((1000..1100).contains(&us), "{us}");
    world.ask(node, Command::DisconnectPeer(torrent, addr)).unwrap();
    let error = world.ask(node, Command::Ping(torrent, addr)).unwrap_err();
    assert_eq!(error, CommandError::PeerNotConnected(addr));
}

#[test]
fn what_went_out_before_we_closed_is_counted() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let seed = world.seed(Host::default());
    let torrent = world.torrent(seed);
    world.leech(host(1));
    assert!(world.run(MINUTE, |world| !world.session(seed).connections(torrent).is_empty()));
    let conn = world.session(seed).connections(torrent)[0].conn;
    let before = world.session(seed).torrents()[0].uploaded;
    world.issue(seed, Command::Quit(torrent));
    world.fact(seed, Event::Uploaded { conn, bytes: 5 });
    world.fact(seed, Event::Closed { conn, cause: CloseCause::Operator });
    world.fact(seed, Event::Uploaded { conn, bytes: 7 });
    assert_eq!(world.session(seed).torrents()[0].uploaded, before + 5);
}

#[test]
fn two_that_dial_each_other_keep_one_connection() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let one = world.node(Host::default(), Config::default(), bits(4, [0, 1]));
    let two = world.node(Host::default(), Config::default(), bits(4, [2, 3]));
    let (a, b) = (world.addr(one), world.addr(two));
    let (ta, tb) = (world.torrent(one), world.torrent(two));
    let first = world.issue(one, Command::ConnectPeer(ta, b));
    let second = world.issue(two, Command::ConnectPeer(tb, a));
    world.run(Duration::from_secs(2), |_| false);
    for (node, command) in [(one, first), (two, second)] {
        assert!(matches!(world.reply(node, command), Some(Ok(Done::Connected { .. }))));
        assert_eq!(world.session(node).connection_count(), 1);
    }
    assert!(world.session(one).connections(ta)[0].outgoing, "the lower id's dial stays");
}

#[test]
fn shutdown_tells_the_tracker() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    let seed = world.seed(Host::default());
    world.run(Duration::from_secs(1), |_| false);
    assert_eq!(world.ask(seed, Command::Shutdown), Ok(Done::Ok));
    let (node, _) = world.leech(Host::default());
    world.run(Duration::from_secs(1), |_| false);
    assert!(world.session(node).peer_set(world.torrent(node)).unwrap().plain.is_empty());
}

#[test]
fn fifty_slow_peers_fill_the_budget_and_keep_the_pace() {
    let mut world = World::new(metainfo(256 * MIB, 16 * 1024 * 1024));
    for _ in 0..50 {
        world.seed(host(200_000));
    }
    let leech = world.leech(Host::default());
    let began = world.now;
    finish(&mut world, &[leech], 2 * MINUTE);
    let rate = 256.0 * MIB as f64 / world.now.since(began).as_secs_f64();
    assert!(rate >= 0.8 * 10e6, "{rate} bytes/s of 10 MB/s");
}
