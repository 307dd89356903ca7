//! Pieces whose first copy was wrong, and that one peer alone is to send again (design §9).

use shoal_core::{
    ids::JobId,
    session::{command::Command, notice::Notice, view::TorrentState},
    wire::Message,
};

use crate::{
    MIB, MINUTE, finish, host,
    world::{Host, World, metainfo},
};

const PIECE: u32 = 4 << 20;

/// Pieces of several extents, honest seeds, a liar, and who downloads.
fn begin(honest: u32, bps: u64, liar_bps: u64) -> (World, usize, (usize, JobId)) {
    let mut world = World::new(metainfo(64 * MIB + 5, PIECE));
    let liar = world.seed(Host { corrupt: true, upload_bps: liar_bps, ..Host::default() });
    for _ in 0..honest {
        world.seed(host(bps));
    }
    let leech = world.leech(Host::default());
    (world, liar, leech)
}

/// How often a node blamed the liar; it must have blamed nobody else.
#[track_caller]
fn blames_only(world: &World, node: usize, liar: usize) -> usize {
    let blamed = world.notices(node).iter().filter_map(|notice| match notice {
        Notice::PeerCharged(peer) | Notice::PeerBanned(peer) => Some(peer.addr),
        _ => None,
    });
    let blamed = blamed.collect::<Vec<_>>();
    assert!(blamed.iter().all(|addr| *addr == world.addr(liar)), "{blamed:?}");
    blamed.len()
}

/// Whether a piece failed so far.
fn one_failed(world: &World, node: usize) -> bool {
    world.session(node).torrents()[0].failed_pieces > 0
}

#[test]
fn large_pieces_of_several_contributors_blame_only_the_liar() {
    let (mut world, liar, leech) = begin(3, 4_000_000, 4_000_000);
    finish(&mut world, &[leech], 3 * MINUTE);
    assert!(blames_only(&world, leech.0, liar) >= 2);
}

#[test]
fn a_liar_banned_while_pieces_wait_for_it_alone_does_not_stop_the_download() {
    // Honest seeds, bytes a second of each, and of the liar: each stopped once.
    for (seeds, bps, liar_bps) in
        [(2, 2_000_000, 500_000), (5, 1_000_000, 1_000_000), (5, 2_000_000, 4_000_000)]
    {
        let (mut world, liar, leech) = begin(seeds, bps, liar_bps);
        finish(&mut world, &[leech], 3 * MINUTE);
        blames_only(&world, leech.0, liar);
    }
}

#[test]
fn a_liar_that_chokes_us_after_its_lie_does_not_stop_the_download() {
    let (mut world, liar, leech) = begin(2, 10_000_000, 10_000_000);
    assert!(world.run(MINUTE, |world| one_failed(world, leech.0)));
    world.say(liar, leech.0, Message::Choke);
    finish(&mut world, &[leech], MINUTE);
}

#[test]
fn a_liar_that_drips_after_its_lie_does_not_stop_the_download() {
    for bps in [1, 16 * 1024 / 19] {
        let (mut world, liar, leech) = begin(2, 10_000_000, 10_000_000);
        assert!(world.run(MINUTE, |world| one_failed(world, leech.0)));
        world.slow_down(liar, bps);
        finish(&mut world, &[leech], MINUTE);
    }
}

#[test]
fn what_a_node_did_outlives_its_torrents_and_is_the_sum_of_theirs() {
    let (mut world, liar, leech) = begin(3, 4_000_000, 4_000_000);
    finish(&mut world, &[leech], 3 * MINUTE);
    let (before, torrent) =
        (world.session(leech.0).census(), &world.session(leech.0).torrents()[0]);
    let tally = before.tally;
    assert_eq!((tally.received, tally.sent), (torrent.downloaded, torrent.uploaded));
    assert_eq!((tally.wasted, tally.failed), (torrent.wasted, torrent.failed_pieces.into()));
    assert_eq!(tally.verified, u64::from(torrent.pieces_have));
    assert!(tally.failed > 0 && tally.wasted > 0, "{tally:?}");
    assert_eq!(before.banned, usize::from(blames_only(&world, leech.0, liar) >= 2));
    assert_eq!((before.jobs, before.buffer_bytes), (0, 0));
    assert!(before.torrents.contains(&(TorrentState::Seeding, 1)), "{before:?}");
    assert!(before.decisions.native >= tally.verified, "{:?}", before.decisions);
    let torrent = world.torrent(leech.0);
    world.ask(leech.0, Command::Remove { torrent, delete_data: false }).unwrap();
    let after = world.session(leech.0).census();
    assert_eq!((after.tally, after.decisions), (tally, before.decisions));
    assert!(after.torrents.iter().all(|(_, count)| *count == 0), "{after:?}");
}
