//! Which files are wanted, before and during transfers. The world checks after every event that
//! what waits is what is wanted, not had and not in work.

use std::time::Duration;

use shoal_core::{
    bitfield::Bitfield,
    config::Config,
    ids::PieceIndex,
    rng::Rng,
    session::{
        command::{Command, Done},
        fault::CloseCause,
        notice::Notice,
        view::{PieceState, TorrentState, TorrentView},
    },
    torrent::selection::Selection,
    tracker::announce::AnnounceEvent,
    wire::{Message, extended::ExtendedHandshake},
};

use crate::{
    MIB, MINUTE, finish, host,
    world::{Host, World, bits, folder},
};

const PIECE: u64 = 256 * 1024;

/// Files of four and a half, five and a half, and three pieces: piece 4 is shared by the first two.
fn world() -> World {
    World::new(folder(&[PIECE * 9 / 2, PIECE * 11 / 2, PIECE * 3], PIECE as u32))
}

/// A node without a piece that wants these files and downloads nothing yet.
fn chooser(world: &mut World, files: &[usize]) -> usize {
    let none = Bitfield::new(world.metainfo.piece_count() as usize);
    let node = world.node(Host::default(), Config::default(), none);
    select(world, node, files);
    node
}

fn select(world: &mut World, node: usize, files: &[usize]) {
    let selection = match files {
        [] => Selection::default(),
        files => Selection::of(&world.metainfo, files.iter().copied()),
    };
    let torrent = world.torrent(node);
    assert_eq!(world.command(node, Command::Select(torrent, selection)), Some(Ok(Done::Ok)));
}

fn view(world: &World, node: usize) -> TorrentView {
    world.session(node).torrents().remove(0)
}

fn had(world: &World, node: usize) -> Vec<u32> {
    let have = world.session(node).have(world.torrent(node)).unwrap();
    have.iter_ones().map(|piece| piece.0).collect()
}

fn asked(world: &World, node: usize) -> Vec<u32> {
    let granted = world.granted.iter().filter(|(by, ..)| *by == node);
    granted.map(|(_, _, lease)| lease.piece.0).collect()
}

fn merges(world: &World, node: usize) -> Vec<Vec<usize>> {
    let of = world.merges.iter().filter(|(by, _)| *by == node);
    of.map(|(_, files)| files.clone()).collect()
}

fn closed(world: &World, node: usize) -> Vec<String> {
    let ended = world.notices(node).iter().filter_map(|notice| match notice {
        Notice::PeerDisconnected(news) => Some(news.reason.clone()),
        _ => None,
    });
    ended.collect()
}

fn piece_state(world: &World, node: usize, piece: u32) -> PieceState {
    world.session(node).piece(world.torrent(node), PieceIndex(piece)).unwrap().0
}

#[test]
fn only_pieces_of_wanted_files_are_fetched_and_only_those_files_are_merged() {
    let mut world = world();
    let seed = world.seed(Host::default());
    let leech = chooser(&mut world, &[0]);
    assert_eq!(piece_state(&world, leech, 4), PieceState::Missing);
    assert_eq!(piece_state(&world, leech, 5), PieceState::Unwanted);
    let job = world.download(leech, false);
    finish(&mut world, &[(leech, job)], MINUTE);
    assert_eq!(had(&world, leech), [0, 1, 2, 3, 4]);
    assert_eq!(merges(&world, leech), [[0]]);
    let view = view(&world, leech);
    assert_eq!(view.state, TorrentState::Seeding);
    assert_eq!((view.wanted_done_bytes, view.wanted_bytes), (PIECE * 9 / 2, PIECE * 9 / 2));
    let job = world.session(leech).job(job).unwrap();
    assert_eq!((job.done_bytes, job.total_bytes), (PIECE * 9 / 2, PIECE * 9 / 2));
    assert_eq!((job.done_pieces, job.total_pieces), (5, 5));
    // A partial seed and a seed have nothing to say to each other, and the seed knows why.
    world.run(Duration::from_secs(1), |_| false);
    assert_eq!(closed(&world, leech), [CloseCause::BothComplete.to_string()]);
    assert_eq!(view_of_peers(&world, seed), 0);
}

fn view_of_peers(world: &World, node: usize) -> usize {
    world.session(node).connections(world.torrent(node)).len()
}

#[test]
fn a_partial_seed_announces_nothing_left_what_it_has_and_no_completion() {
    let mut world = world();
    world.seed(Host::default());
    let leech = chooser(&mut world, &[0]);
    let job = world.download(leech, false);
    finish(&mut world, &[(leech, job)], MINUTE);
    world.run(Duration::from_secs(5), |_| false);
    let said = |world: &World| {
        let of = world.announced.iter().filter(|(by, _)| *by == leech);
        of.map(|(_, request)| request.clone()).collect::<Vec<_>>()
    };
    let announced = said(&world);
    assert_eq!(announced[0].left, PIECE * 9 / 2);
    let last = announced.last().unwrap();
    assert_eq!(last.left, 0);
    assert_eq!(last.shoal.as_ref().unwrap().have, Some(bits(13, 0..5).to_wire()));
    let completed = |request: &&shoal_core::tracker::announce::AnnounceRequest| {
        request.event == Some(AnnounceEvent::Completed)
    };
    assert_eq!(announced.iter().filter(completed).count(), 0);
    // Once the rest is here too, it is complete.
    select(&mut world, leech, &[]);
    let job = world.download(leech, false);
    finish(&mut world, &[(leech, job)], MINUTE);
    world.run(Duration::from_secs(5), |_| false);
    assert_eq!(said(&world).iter().filter(completed).count(), 1);
}

#[test]
fn our_tracker_tells_what_a_partial_seed_has() {
    let mut world = world();
    world.seed(Host::default());
    let leech = chooser(&mut world, &[2]);
    let job = world.download(leech, false);
    finish(&mut world, &[(leech, job)], MINUTE);
    world.run(Duration::from_secs(5), |_| false);
    let other = chooser(&mut world, &[]);
    let torrent = world.torrent(other);
    world.ask(other, Command::ConnectTracker(torrent)).unwrap();
    let set = world.session(other).peer_set(torrent).unwrap();
    let partial = set.shoal.iter().find(|peer| peer.addr == world.addr(leech)).unwrap();
    assert_eq!((partial.left, partial.have.clone()), (0, Some(bits(13, 10..13).to_wire())));
}

#[test]
fn more_files_selected_during_a_download_extend_it() {
    let mut world = world();
    world.seed(host(500_000));
    let leech = chooser(&mut world, &[0]);
    let job = world.download(leech, false);
    assert!(world.run(MINUTE, |world| had(world, leech).len() >= 3));
    select(&mut world, leech, &[0, 2]);
    finish(&mut world, &[(leech, job)], MINUTE);
    assert_eq!(had(&world, leech), [0, 1, 2, 3, 4, 10, 11, 12]);
    assert_eq!(merges(&world, leech), [[0, 2]]);
    let selected = |notice: &&Notice| matches!(notice, Notice::Selected(_));
    assert_eq!(world.notices(leech).iter().filter(selected).count(), 2);
}

#[test]
fn fewer_files_selected_during_a_download_stop_what_is_in_flight_and_keep_what_is_verified() {
    // Pieces come in any order: in some swarm either file is whole before the other.
    let halfway = |others| {
        let mut world = world();
        for _ in 0..others {
            world.bare(Host::default(), Config::default());
        }
        world.seed(host(2_000_000));
        let leech = chooser(&mut world, &[0, 1]);
        let job = world.download(leech, false);
        let pieces = [0..5, 4..10];
        let whole = |world: &World| {
            let had = had(world, leech);
            pieces.iter().position(|pieces| pieces.clone().all(|piece| had.contains(&piece)))
        };
        world.run(MINUTE, |world| whole(world).is_some() && !asked(world, leech).is_empty());
        let file = whole(&world)?;
        let open = pieces[1 - file].clone();
        let open = open.filter(|piece| piece_state(&world, leech, *piece) == PieceState::Fetching);
        let open = open.collect::<Vec<_>>();
        (!open.is_empty()).then_some((world, leech, job, file, open))
    };
    let (mut world, leech, job, file, open) = (0..9).find_map(halfway).unwrap();
    let before = had(&world, leech);
    select(&mut world, leech, &[file]);
    for piece in open {
        assert_eq!(piece_state(&world, leech, piece), PieceState::Unwanted);
    }
    // Nothing of it is missing: the job ends at once.
    world.granted.clear();
    finish(&mut world, &[(leech, job)], Duration::from_secs(1));
    assert_eq!(merges(&world, leech), [[file]]);
    assert!(asked(&world, leech).is_empty());
    let after = had(&world, leech);
    assert!(before.iter().all(|piece| after.contains(piece)) && after.len() < 10, "{after:?}");
    let leases = world.session(leech).connections(world.torrent(leech));
    assert!(leases.iter().all(|conn| conn.inflight == 0));
}

#[test]
fn a_download_takes_up_what_is_selected_after_it_ended() {
    let mut world = world();
    world.seed(Host::default());
    let leech = chooser(&mut world, &[1]);
    let job = world.download(leech, false);
    finish(&mut world, &[(leech, job)], MINUTE);
    select(&mut world, leech, &[0, 1]);
    assert_eq!(view(&world, leech).state, TorrentState::Idle);
    assert_eq!(view(&world, leech).wanted_done_bytes, PIECE * 6, "half of piece 4 is the first's");
    world.granted.clear();
    let job = world.download(leech, false);
    finish(&mut world, &[(leech, job)], MINUTE);
    let mut fetched = asked(&world, leech);
    fetched.sort_unstable();
    assert_eq!(fetched, [0, 1, 2, 3], "the shared piece is not fetched again");
    assert_eq!(merges(&world, leech), [vec![1], vec![0, 1]]);
}

#[test]
fn files_selected_while_the_others_are_being_merged_are_fetched_by_the_same_job() {
    let mut world = world();
    world.seed(Host::default());
    let leech = chooser(&mut world, &[0]);
    let job = world.download(leech, false);
    assert!(world.run(MINUTE, |world| !merges(world, leech).is_empty()));
    assert!(world.done(leech, job).is_none());
    select(&mut world, leech, &[0, 2]);
    finish(&mut world, &[(leech, job)], MINUTE);
    assert_eq!(merges(&world, leech), [vec![0], vec![0, 2]]);
    assert_eq!(view(&world, leech).state, TorrentState::Seeding);
}

#[test]
fn a_chunk_that_an_operator_names_is_fetched_whether_or_not_its_file_is_wanted() {
    for downloaded in [false, true] {
        let mut world = world();
        let seed = world.seed(Host::default());
        let leech = chooser(&mut world, &[0]);
        if downloaded {
            let job = world.download(leech, false);
            finish(&mut world, &[(leech, job)], MINUTE);
        }
        let (torrent, addr) = (world.torrent(leech), world.addr(seed));
        world.ask(leech, Command::ConnectPeer(torrent, addr)).unwrap();
        let done = world.ask(leech, Command::RequestDownload(torrent, addr, PieceIndex(7)));
        let Ok(Done::Job { job, .. }) = done else { panic!("{done:?}") };
        finish(&mut world, &[(leech, job)], MINUTE);
        assert!(had(&world, leech).contains(&7));
        // Its file is still not wanted, and the rest of it not fetched.
        assert_eq!(piece_state(&world, leech, 8), PieceState::Unwanted);
        assert_eq!(had(&world, leech).len(), if downloaded { 6 } else { 1 });
        assert_eq!(view(&world, leech).wanted_bytes, PIECE * 9 / 2);
    }
}

#[test]
fn a_request_for_an_unwanted_chunk_goes_on_when_less_is_selected() {
    let mut world = world();
    let seed = world.seed(host(200_000));
    let leech = chooser(&mut world, &[0, 1]);
    let (torrent, addr) = (world.torrent(leech), world.addr(seed));
    world.ask(leech, Command::ConnectPeer(torrent, addr)).unwrap();
    let done = world.ask(leech, Command::RequestDownload(torrent, addr, PieceIndex(8)));
    let Ok(Done::Job { job, .. }) = done else { panic!("{done:?}") };
    assert!(world.run(MINUTE, |world| !asked(world, leech).is_empty()));
    select(&mut world, leech, &[0]);
    finish(&mut world, &[(leech, job)], MINUTE);
    assert_eq!(had(&world, leech), [8]);
}

#[test]
fn a_merge_may_name_an_unwanted_file_that_is_complete() {
    let mut world = world();
    world.seed(Host::default());
    let leech = chooser(&mut world, &[2]);
    let job = world.download(leech, false);
    finish(&mut world, &[(leech, job)], MINUTE);
    select(&mut world, leech, &[0]);
    let torrent = world.torrent(leech);
    assert!(matches!(world.ask(leech, Command::Merge(torrent, vec![2])), Ok(Done::Merged(_))));
    assert!(world.ask(leech, Command::Merge(torrent, vec![1])).is_err());
}

#[test]
fn we_are_interested_in_wanted_pieces_only_and_say_upload_only_as_that_changes() {
    let mut world = world();
    // A peer that has the last file, and nothing else.
    let other = world.node(Host::default(), Config::default(), bits(13, 10..13));
    let leech = chooser(&mut world, &[0]);
    let job = world.download(leech, false);
    let (torrent, addr) = (world.torrent(leech), world.addr(other));
    world.ask(leech, Command::ConnectPeer(torrent, addr)).unwrap();
    world.run(Duration::from_secs(1), |_| false);
    let interest = |world: &World| {
        let said = world.said.iter().filter(|(by, _)| *by == leech).map(|(_, said)| said);
        let said = said.filter_map(|said| match said {
            Message::Interested => Some(true),
            Message::NotInterested => Some(false),
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    let upload_only = |world: &World| {
        let said = world.said.iter().filter(|(by, _)| *by == leech);
        let hellos = said.filter_map(|(_, message)| match message {
            Message::Extended { id: 0, payload } => {
                Some(ExtendedHandshake::decode(payload).unwrap().upload_only)
            }
            _ => None,
        });
        hellos.collect::<Vec<_>>()
    };
    assert_eq!((interest(&world), upload_only(&world)), (vec![], vec![None]));
    select(&mut world, leech, &[2]);
    finish(&mut world, &[(leech, job)], MINUTE);
    assert_eq!(interest(&world), [true, false]);
    assert_eq!(upload_only(&world), [None, Some(true)]);
    select(&mut world, leech, &[]);
    world.run(Duration::from_secs(1), |_| false);
    assert_eq!(upload_only(&world), [None, Some(true), Some(false)]);
    assert_eq!(interest(&world), [true, false], "nobody has what is missing");
}

#[test]
fn available_only_ends_over_wanted_chunks_alone() {
    let mut world = world();
    let some = world.node(Host::default(), Config::default(), bits(13, 0..5));
    let torrent = world.torrent(some);
    world.ask(some, Command::ConnectTracker(torrent)).unwrap();
    let leech = chooser(&mut world, &[0]);
    let job = world.download(leech, true);
    finish(&mut world, &[(leech, job)], MINUTE);
    assert_eq!(merges(&world, leech), [[0]]);
}

#[test]
fn what_policies_see_is_what_is_wanted() {
    let mut world = world();
    world.seed(Host::default());
    let leech = chooser(&mut world, &[1]);
    let torrent = world.torrent(leech);
    let policy = shoal_core::ids::PolicyId(7);
    let hooks = shoal_core::policy::Hooks { decides: true, ..Default::default() };
    let chooser = shoal_core::session::Chooser::Consulted(policy, hooks);
    world.command(leech, Command::SetChooser(Some(torrent), Some(chooser)));
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let keep = seen.clone();
    world.policy = Some(Box::new(move |question| {
        assert_eq!(question.download.total, PIECE * 11 / 2);
        keep.borrow_mut().extend(question.chunks.iter().map(|chunk| chunk.piece.0));
        Vec::new()
    }));
    let job = world.download(leech, false);
    finish(&mut world, &[(leech, job)], MINUTE);
    let seen = seen.borrow();
    assert!(!seen.is_empty() && seen.iter().all(|piece| (4..10).contains(piece)), "{seen:?}");
}

#[test]
fn any_sequence_of_selections_ends_with_what_was_selected_last() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut world = World::new(folder(&[MIB, 0, 700_000, 3, 2 * MIB, 100_000], PIECE as u32));
        world.seed(host(3_000_000));
        world.seed(host(1_000_000));
        let leech = chooser(&mut world, &[0]);
        let mut job = world.download(leech, false);
        let mut last = vec![0];
        for _ in 0..8 {
            let pause = Duration::from_millis(rng.below(300) as u64);
            world.run(pause, |_| false);
            last = (0..6).filter(|_| rng.below(2) == 0).collect();
            last.extend((last.is_empty()).then_some(4));
            select(&mut world, leech, &last);
            if world.done(leech, job).is_some() {
                job = world.download(leech, false);
            }
        }
        finish(&mut world, &[(leech, job)], MINUTE);
        let expected = Selection::of(&world.metainfo, last.iter().copied());
        let have = world.session(leech).have(world.torrent(leech)).unwrap();
        let lacking = expected.pieces(&world.metainfo).without(have);
        assert_eq!(lacking.count_ones(), 0, "seed {seed}");
        assert_eq!(merges(&world, leech).last(), Some(&last), "seed {seed}");
    }
}
