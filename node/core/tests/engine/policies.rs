//! What scripts can do to a download: decide, advise, fail, starve; and what they are told.

use std::{collections::BTreeMap, net::SocketAddr};

use shoal_core::{
    bitfield::Bitfield,
    config::Config,
    ids::{PieceIndex, PolicyId},
    policy::{
        Advice, Candidate, ChunkFault, ChunkOrder, Happening, Hooks, Order, Report, Verdict,
        native::Native,
    },
    session::{
        Chooser,
        command::Command,
        decisions::{Consulted, DecidedBy, Decision},
        explain::LeftOut,
        notice::Notice,
    },
    wire::Message,
};

use crate::{
    MIB, MINUTE, finish, host,
    world::{Host, Policy, World, metainfo, nonsense},
};

/// A script that only decides.
pub(crate) const DECIDES: Hooks = Hooks {
    decides: true,
    order: false,
    slots: false,
    chunk_done: false,
    chunk_failed: false,
    peer_added: false,
    peer_removed: false,
    tick: false,
    finished: false,
};

/// Puts a script with these functions in force for the node.
pub(crate) fn scripted(hooks: Hooks) -> Command {
    Command::SetChooser(None, Some(Chooser::Consulted(PolicyId(1), hooks)))
}

#[test]
fn whatever_a_policy_answers_the_download_finishes() {
    for seed in 0..20 {
        let mut world = World::new(metainfo(8 * MIB, 256 * 1024));
        world.policy = Some(nonsense(seed));
        world.seed(Host::default());
        world.seed(Host::default());
        let leech = world.leech(Host::default());
        world.command(leech.0, scripted(DECIDES));
        finish(&mut world, &[leech], MINUTE);
    }
}

#[test]
fn policy_that_never_answers_is_overruled() {
    let mut world = World::new(metainfo(2 * MIB, 256 * 1024));
    world.seed(Host::default());
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(DECIDES));
    finish(&mut world, &[leech], 2 * MINUTE);
    assert!(world.notices(leech.0).iter().any(|n| matches!(n, Notice::PolicyLate { .. })));
}

#[test]
fn policy_that_always_defers_is_overruled_once_the_download_starves() {
    let mut world = World::new(metainfo(2 * MIB, 512 * 1024));
    world.policy =
        Some(Box::new(|question| vec![Verdict::Deferred { ms: 50 }; question.chunks.len()]));
    world.seed(Host::default());
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(DECIDES));
    finish(&mut world, &[leech], MINUTE);
}

#[test]
fn verdict_of_a_policy_is_obeyed() {
    let mut world = World::new(metainfo(8 * MIB, 256 * 1024));
    let favourite = world.seed(host(1_000_000));
    world.seed(Host::default());
    let addr = world.addr(favourite);
    world.policy = Some(only(addr));
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(DECIDES));
    finish(&mut world, &[leech], MINUTE);
    let done = world.session(leech.0).job(leech.1).unwrap().ended.unwrap().1.unwrap();
    let by = done.served_by.iter().find(|served| served.addr == addr).unwrap().pieces;
    // The last ones are fetched twice, whatever the policy says.
    assert!(by >= 20, "the favourite served {by} of 32");
}

/// Asks nobody but the peer at `addr`; waits while it is full.
fn only(addr: SocketAddr) -> Policy {
    Box::new(move |question| {
        let mut table = question.clone();
        let decide = |chunk: usize| {
            let favourite = |candidate: &Candidate| table.peers[candidate.peer].addr == addr;
            let found = table.open_candidates(chunk).find(favourite);
            let Some(Candidate { peer, .. }) = found else {
                return Verdict::Deferred { ms: 50 };
            };
            let conn = table.peers[peer].conn;
            table.apply(chunk, peer);
            Verdict::Chosen { conn, reason: Some("the favourite".to_owned()) }
        };
        (0..question.chunks.len()).map(decide).collect()
    })
}

fn decisions(world: &World, node: usize) -> Vec<Decision> {
    world.session(node).decisions_after(0).cloned().collect()
}

#[test]
fn two_connections_are_fed_every_ten_seconds_whatever_a_script_says() {
    let mut world = World::new(metainfo(48 * MIB, 256 * 1024));
    let favourite = world.seed(host(1_000_000));
    for _ in 0..4 {
        world.seed(host(1_000_000));
    }
    world.policy = Some(only(world.addr(favourite)));
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(DECIDES));
    let mut made: Vec<Decision> = Vec::new();
    let ended = world.run(2 * MINUTE, |world| {
        let last = made.last().map_or(0, |decision| decision.sequence);
        made.extend(world.session(leech.0).decisions_after(last).cloned());
        world.done(leech.0, leech.1).is_some()
    });
    assert!(ended);
    let blind = made.iter().filter(|d| d.by == DecidedBy::Blind).collect::<Vec<_>>();
    let seconds = world.now.0 / 1_000_000;
    assert!((40..60).contains(&seconds), "the favourite alone takes 50 s, not {seconds}");
    let others = blind.iter().filter(|d| d.chosen != Some(world.addr(favourite))).count();
    // Two connections, one of which may be the favourite; a chunk each every ten seconds.
    assert!((4..=20).contains(&others), "{others} chunks for the others");
    let mut last = BTreeMap::new();
    for fed in blind {
        let before = last.insert(fed.chosen, fed.at);
        assert!(before.is_none_or(|before| fed.at.since(before).as_secs() >= 10), "{fed:?}");
    }
}

#[test]
fn a_native_policy_feeds_nobody_by_force() {
    let mut world = World::new(metainfo(16 * MIB, 256 * 1024));
    for _ in 0..3 {
        world.seed(host(500_000));
    }
    let leech = world.leech(Host::default());
    finish(&mut world, &[leech], 2 * MINUTE);
    let by = DecidedBy::Native(Native::LowestUploaded);
    assert!(decisions(&world, leech.0).iter().all(|decision| decision.by == by));
}

#[test]
fn decisions_tell_by_whose_word_and_why() {
    let mut world = World::new(metainfo(2 * MIB, 256 * 1024));
    let favourite = world.seed(Host::default());
    world.seed(Host::default());
    let addr = world.addr(favourite);
    world.policy = Some(only(addr));
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(DECIDES));
    finish(&mut world, &[leech], MINUTE);
    let made = decisions(&world, leech.0);
    let asked = made.iter().filter_map(|decision| match &decision.by {
        DecidedBy::Consulted { policy, outcome: Consulted::Chosen, reason } => {
            Some((*policy, reason.clone(), decision.chosen, decision.spent_us))
        }
        DecidedBy::Consulted { .. } | DecidedBy::Native(_) | DecidedBy::Blind => None,
    });
    let asked = asked.collect::<Vec<_>>();
    assert!(!asked.is_empty(), "{made:#?}");
    let expected = (PolicyId(1), Some("the favourite".to_owned()), Some(addr), 1);
    assert!(asked.iter().all(|asked| *asked == expected), "{asked:#?}");
}

/// Advises each time it is told of a phase or a tick.
fn advising(world: &mut World, order: Option<ChunkOrder>, slots: u32) {
    world.advisor = Some(Box::new(move |report| {
        let (Happening::Phase { peers } | Happening::Tick { peers }) = &report.what else {
            return None;
        };
        let slots = peers.iter().map(|peer| (peer.conn, slots)).collect();
        Some(Advice { policy: report.policy, torrent: report.torrent, order, slots })
    }));
}

#[test]
fn advised_order_is_followed() {
    let mut world = World::new(metainfo(16 * MIB, 256 * 1024));
    let seed = world.seed(host(1_000_000));
    let order = ChunkOrder { strategy: Order::Sequential, ..ChunkOrder::default() };
    advising(&mut world, Some(order), 1);
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(Hooks { order: true, slots: true, ..Hooks::default() }));
    finish(&mut world, &[leech], MINUTE);
    let pieces = decisions(&world, leech.0).into_iter().map(|d| d.piece.0).collect::<Vec<_>>();
    // The first one is begun before the advice is there.
    assert!(pieces[2..].is_sorted(), "{pieces:?}");
    assert_eq!(pieces.len(), 64, "one seeder, {}: nothing is fetched twice", world.addr(seed));
}

#[test]
fn advised_slots_bound_what_is_in_flight() {
    let mut world = World::new(metainfo(64 * MIB, 256 * 1024));
    world.seed(host(4_000_000));
    advising(&mut world, None, 2);
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(Hooks { slots: true, ..Hooks::default() }));
    let torrent = world.torrent(leech.0);
    let inflight = |world: &World| {
        let conns = world.session(leech.0).connections(torrent);
        conns.first().map_or(0, |conn| conn.inflight)
    };
    let mut most = 0;
    let late = world.now + std::time::Duration::from_secs(4);
    world.run(MINUTE, |world| {
        if world.now > late {
            most = most.max(inflight(world));
        }
        world.session(leech.0).torrents()[0].pieces_have > 120
    });
    assert_eq!(most, 2);
    world.command(leech.0, Command::SetChooser(None, None));
    let freed = |world: &World| inflight(world) > 2;
    assert!(world.run(MINUTE, freed), "the advice outlived its policy");
}

#[test]
fn peers_that_a_script_closes_serve_only_a_download_that_starves() {
    let mut world = World::new(metainfo(16 * MIB, 512 * 1024));
    let seeds = [world.seed(host(MIB)), world.seed(host(MIB))];
    let (leech, job) = world.leech(host(MIB));
    world.advisor = Some(Box::new(|report: &Report| {
        let (Happening::Phase { peers } | Happening::Tick { peers }) = &report.what else {
            return None;
        };
        let slots = peers.iter().map(|peer| (peer.conn, 0)).collect();
        let Report { policy, torrent, .. } = *report;
        Some(Advice { policy, torrent, order: None, slots })
    }));
    world.command(leech, scripted(Hooks { slots: true, ..Hooks::default() }));
    finish(&mut world, &[(leech, job)], 2 * MINUTE);
    let asked = seeds.map(|seed| world.session(seed).torrents()[0].uploaded);
    assert!(asked.iter().sum::<u64>() >= 16 * MIB, "{asked:?}");
    // Open, two peers of 1 MiB/s need 8 s; closed, they serve a chunk every 2 s.
    assert!(world.now.millis() > 20_000, "{:?}: as if they were open", world.now);
}

#[test]
fn advice_that_is_not_repeated_is_withdrawn() {
    let mut world = World::new(metainfo(16 * MIB, 512 * 1024));
    for _ in 0..2 {
        world.seed(host(MIB));
    }
    // Closes everybody once, and is never heard of again.
    world.advisor = Some(Box::new(|report: &Report| {
        let Happening::Phase { peers } = &report.what else { return None };
        let slots = peers.iter().map(|peer| (peer.conn, 0)).collect();
        let Report { policy, torrent, .. } = *report;
        Some(Advice { policy, torrent, order: None, slots })
    }));
    let leech = world.leech(Host::default());
    let torrent = world.torrent(leech.0);
    let met = |world: &World| world.session(leech.0).connections(torrent).len() == 2;
    assert!(world.run(MINUTE, met));
    world.command(leech.0, scripted(Hooks { slots: true, ..Hooks::default() }));
    finish(&mut world, &[leech], MINUTE);
    // Closed to the end it would take a minute, open 8 s.
    assert!((8_000..20_000).contains(&world.now.millis()), "{:?}", world.now);
}

#[test]
fn a_script_is_not_asked_for_more_chunks_than_their_holders_have_slots() {
    let mut world = World::new(metainfo(16 * MIB, 256 * 1024));
    let pieces = world.metainfo.piece_count() as usize;
    world.seed(host(MIB));
    // Two who have the first piece only: their free slots are of no use for the others.
    for _ in 0..2 {
        let mut first = Bitfield::new(pieces);
        first.set(PieceIndex(0));
        let poor = world.node(host(MIB), Config::default(), first);
        let torrent = world.torrent(poor);
        world.command(poor, Command::ConnectTracker(torrent));
    }
    world.policy = Some(Box::new(|question| vec![Verdict::Abstained; question.chunks.len()]));
    let (leech, job) = world.leech(Host::default());
    world.command(leech, scripted(DECIDES));
    let mut made: Vec<Decision> = Vec::new();
    let ended = world.run(MINUTE, |world| {
        let last = made.last().map_or(0, |decision| decision.sequence);
        made.extend(world.session(leech).decisions_after(last).cloned());
        world.done(leech, job).is_some()
    });
    assert!(ended);
    let vain = made.iter().filter(|decision| decision.chosen.is_none()).count();
    assert!(vain * 10 <= made.len(), "{vain} of {} in vain", made.len());
}

#[test]
fn a_script_is_told_only_what_it_asks_for() {
    let all = Hooks {
        decides: false,
        order: false,
        slots: false,
        chunk_done: true,
        chunk_failed: true,
        peer_added: true,
        peer_removed: true,
        tick: true,
        finished: true,
    };
    for (hooks, told) in [(all, true), (Hooks { decides: true, ..Hooks::default() }, false)] {
        let mut world = World::new(metainfo(8 * MIB, 256 * 1024));
        let dying = world.seed(host(1_000_000));
        world.seed(host(1_000_000));
        let leech = world.leech(Host::default());
        world.command(leech.0, scripted(hooks));
        assert!(world.run(MINUTE, |world| world.session(leech.0).torrents()[0].pieces_have > 8));
        world.kill(dying);
        finish(&mut world, &[leech], 2 * MINUTE);
        let mut counts = BTreeMap::new();
        for report in &world.reports {
            *counts.entry(kind(&report.what)).or_insert(0) += 1;
        }
        if !told {
            assert!(counts.is_empty(), "{counts:?}");
            continue;
        }
        assert_eq!(counts["peer_added"], 2);
        // The one that died, and the other once both were complete.
        assert_eq!(counts["peer_removed"], 2);
        assert!((32..40).contains(&counts["chunk_done"]), "{counts:?}");
        assert!(counts["chunk_failed"] >= 1, "{counts:?}");
        assert!(counts["tick"] >= 3, "{counts:?}");
        assert_eq!(counts["finished"], 1);
        let disconnected = world.reports.iter().any(|report| {
            matches!(report.what, Happening::ChunkFailed { fault: ChunkFault::Disconnect, .. })
        });
        assert!(disconnected, "the peer that died had something in flight");
    }
}

fn kind(what: &Happening) -> &'static str {
    match what {
        Happening::Phase { .. } => "phase",
        Happening::Tick { .. } => "tick",
        Happening::ChunkDone { .. } => "chunk_done",
        Happening::ChunkFailed { .. } => "chunk_failed",
        Happening::PeerAdded { .. } => "peer_added",
        Happening::PeerRemoved { .. } => "peer_removed",
        Happening::Finished => "finished",
    }
}

#[test]
fn bad_data_is_told_as_such() {
    let mut world = World::new(metainfo(8 * MIB, 256 * 1024));
    world.seed(Host::default());
    world.seed(Host { corrupt: true, ..Host::default() });
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(Hooks { chunk_failed: true, ..Hooks::default() }));
    finish(&mut world, &[leech], MINUTE);
    let wrong = world.reports.iter().filter(|report| {
        matches!(report.what, Happening::ChunkFailed { fault: ChunkFault::Hash, .. })
    });
    assert!(wrong.count() >= 1);
}

#[test]
fn the_policy_of_a_torrent_goes_before_the_nodes() {
    let mut world = World::new(metainfo(8 * MIB, 256 * 1024));
    let favourite = world.seed(Host::default());
    world.seed(Host::default());
    world.policy = Some(only(world.addr(favourite)));
    let leech = world.leech(Host::default());
    let torrent = world.torrent(leech.0);
    world.command(leech.0, Command::SetChooser(None, Some(Chooser::Native(Native::Random))));
    let own = Chooser::Consulted(PolicyId(7), DECIDES);
    world.command(leech.0, Command::SetChooser(Some(torrent), Some(own)));
    assert_eq!(world.session(leech.0).chooser(Some(torrent)), own);
    assert_eq!(world.session(leech.0).chooser(None), Chooser::Native(Native::Random));
    finish(&mut world, &[leech], MINUTE);
    let consulted = |decision: &Decision| {
        matches!(decision.by, DecidedBy::Consulted { policy: PolicyId(7), .. } | DecidedBy::Blind)
    };
    assert!(decisions(&world, leech.0).iter().all(consulted));
    world.command(leech.0, Command::SetChooser(Some(torrent), None));
    assert_eq!(world.session(leech.0).chooser(Some(torrent)), Chooser::Native(Native::Random));
}

#[test]
fn whoever_failed_a_chunk_is_named_where_others_did_not() {
    let mut world = World::new(metainfo(64 * MIB, 256 * 1024));
    let pieces = world.metainfo.piece_count();
    let silent = world.seed(host(1));
    world.seed(host(400_000));
    // The script waits for the silent one, so that the other has slots free.
    world.policy = Some(only(world.addr(silent)));
    let (leech, _) = world.leech(Host::default());
    world.command(leech, scripted(DECIDES));
    let torrent = world.torrent(leech);
    let tried = |world: &World| {
        let session = world.session(leech);
        let explain = |piece| session.explain(torrent, Some(PieceIndex(piece)));
        (0..pieces).filter_map(explain).any(|explained| {
            let named = explained.left_out.iter().find(|peer| peer.why == LeftOut::Tried);
            named.is_some_and(|peer| {
                peer.addr == world.addr(silent) && peer.detail.contains("failed this chunk")
            })
        })
    };
    assert!(world.run(MINUTE, tried), "a chunk is taken over from it after 4 s");
}

#[test]
fn whoever_is_no_candidate_is_named_with_the_reason() {
    let mut world = World::new(metainfo(8 * MIB, 256 * 1024));
    let pieces = world.metainfo.piece_count() as usize;
    let seeds = [0, 1].map(|_| world.seed(host(100_000)));
    let liar = world.seed(Host { corrupt: true, ..Host::default() });
    let mut partial = Bitfield::new(pieces);
    partial.set(PieceIndex(0));
    let poor = world.node(host(100_000), Config::default(), partial);
    let torrent = world.torrent(poor);
    world.command(poor, Command::ConnectTracker(torrent));
    let leech = world.leech(Host::default());
    let torrent = world.torrent(leech.0);
    let banned = |world: &World| {
        world.notices(leech.0).iter().any(|notice| matches!(notice, Notice::PeerBanned(_)))
    };
    assert!(world.run(MINUTE, banned), "the liar is not banned");
    let four = |world: &World| world.session(leech.0).connections(torrent).len() == 3;
    assert!(world.run(MINUTE, four), "three peers are left");
    world.say(seeds[0], leech.0, Message::Choke);
    let choked = |world: &World| {
        let conns = world.session(leech.0).connections(torrent);
        conns.iter().any(|conn| conn.peer_choking)
    };
    assert!(world.run(MINUTE, choked));
    let wanted = PieceIndex(pieces as u32 - 1);
    let explained = world.session(leech.0).explain(torrent, Some(wanted)).unwrap();
    let why = |node: usize| {
        let addr = world.addr(node);
        explained.left_out.iter().find(|peer| peer.addr == addr).map(|peer| peer.why)
    };
    assert_eq!(why(liar), Some(LeftOut::Banned));
    assert_eq!(why(poor), Some(LeftOut::HasItNot));
    assert_eq!(why(seeds[0]), Some(LeftOut::Choking));
    let candidates = &explained.question.chunks[0].candidates;
    match why(seeds[1]) {
        Some(why) => assert_eq!((why, candidates.len()), (LeftOut::NoSlot, 0)),
        None => assert_eq!(candidates.len(), 1),
    }
    assert_eq!(explained.question.chunks[0].name, "file1.webm.part32");
    assert_eq!(explained.left_out.len() + candidates.len(), 4, "each is somewhere, once");
    let before = format!("{:?}", world.session(leech.0));
    drop(world.session(leech.0).explain(torrent, None));
    assert_eq!(format!("{:?}", world.session(leech.0)), before, "explaining changes nothing");
}
