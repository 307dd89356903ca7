//! Verifications: what is found of pieces, in whatever order, and what is not looked at any more; and
//! the creations that the shell runs.

use shoal_core::{
    config::Config,
    ids::{JobId, PieceIndex, TorrentId},
    rng::Rng,
    session::{
        Event,
        command::{Command, CommandError, Done},
        event::OutsideNews,
        notice::Notice,
    },
};

use crate::{
    MIB,
    world::{Host, World, bits, metainfo},
};

const PIECES: usize = 16;

/// A node that has everything and begins to verify it; what it is to look at is left to the test.
fn verifying() -> (World, TorrentId, JobId, Vec<PieceIndex>) {
    let mut world = World::new(metainfo(PIECES as u64 * MIB / 4, 256 * 1024));
    let node = world.node(Host::default(), Config::default(), bits(PIECES, 0..PIECES as u32));
    assert_eq!(node, 0);
    world.hold_checks = true;
    let torrent = world.torrent(0);
    let Ok(Done::Job { job, .. }) = world.ask(0, Command::Verify(torrent)) else { panic!() };
    let [(of, pieces)] = &world.checks[..] else { panic!("{:?}", world.checks) };
    assert_eq!((*of, pieces.len()), (Some(job), PIECES));
    let pieces = pieces.clone();
    (world, torrent, job, pieces)
}

/// Pieces had, and being checked.
fn counts(world: &World, torrent: TorrentId) -> (u32, u32) {
    let view = world.session(0).torrent(torrent).unwrap();
    (view.pieces_have, view.pieces_checking)
}

#[test]
fn pieces_found_in_any_order_and_told_twice_count_once() {
    const BAD: PieceIndex = PieceIndex(5);
    for seed in 0..20 {
        let (mut world, torrent, job, mut pieces) = verifying();
        let mut rng = Rng::new(seed);
        (1..PIECES).rev().for_each(|last| pieces.swap(last, rng.below(last + 1)));
        for (told, &piece) in (1..).zip(&pieces) {
            assert_eq!(world.done(0, job), None, "after {told} of {PIECES}");
            let good = piece != BAD;
            for _ in 0..2 {
                world.fact(0, Event::PieceChecked { torrent, piece, good });
            }
            assert_eq!(counts(&world, torrent).1, PIECES as u32 - told);
        }
        assert_eq!(world.done(0, job), Some(Ok(())));
        assert_eq!(counts(&world, torrent), (PIECES as u32 - 1, 0));
        let view = world.session(0).job(job).unwrap();
        assert_eq!(view.done_pieces, PIECES as u32);
        let had = |notice: &&Notice| matches!(notice, Notice::PieceHave { .. });
        // Once as it was added, and once as it was found.
        assert_eq!(world.notices(0).iter().filter(had).count(), 2 * PIECES - 1);
    }
}

#[test]
fn a_cancelled_verification_ends_at_once_and_its_check_soon() {
    let (mut world, torrent, job, pieces) = verifying();
    let tell = |world: &mut World, piece: PieceIndex| {
        world.fact(0, Event::PieceChecked { torrent, piece, good: true });
    };
    tell(&mut world, pieces[3]);
    world.ask(0, Command::CancelJob(job)).unwrap();
    assert_eq!(world.done(0, job), Some(Err(CommandError::Cancelled)));
    assert_eq!(world.stopped, [job]);
    assert_eq!(world.ask(0, Command::Verify(torrent)), Err(CommandError::Checking));
    // The shell answers for the rest.
    pieces.iter().for_each(|&piece| tell(&mut world, piece));
    assert_eq!(counts(&world, torrent), (PIECES as u32, 0));
    assert!(world.ask(0, Command::Verify(torrent)).is_ok());
}

#[test]
fn a_creation_that_ended_well_has_all_of_its_bytes_done() {
    let mut world = World::new(metainfo(MIB, 256 * 1024));
    let node = world.bare(Host::default(), Config::default());
    let begin = Command::BeginOutsideJob { name: "file1.webm".to_owned() };
    let Ok(Done::Job { job, .. }) = world.ask(node, begin) else { panic!() };
    let progress = OutsideNews::Progress { done_bytes: 3 * MIB, total_bytes: 4 * MIB };
    world.fact(node, Event::OutsideJob { job, news: progress });
    world.fact(node, Event::OutsideJob { job, news: OutsideNews::Ended(Ok(())) });
    let view = world.session(node).job(job).unwrap();
    assert_eq!((view.done_bytes, view.total_bytes), (4 * MIB, 4 * MIB));
}
