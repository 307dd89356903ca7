//! Power cuts at random points of random histories: no have-bit over lost bytes, and nothing that
//! was committed is lost.

use proptest::prelude::*;
use shoal_core::ids::PieceIndex;

use super::sample::{Home, Sample};
use crate::disk::{TorrentStore, hash_parts};

#[derive(Clone, Debug)]
enum Act {
    Write(u32),
    Verify(u32),
    Commit,
    Merge(usize),
    FailSync,
    CutAfter(u64),
    Restart(u64),
    Kill,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0u32..7).prop_map(Act::Write),
        1 => (0u32..7).prop_map(Act::Verify),
        3 => Just(Act::Commit),
        2 => (0usize..4).prop_map(Act::Merge),
        1 => Just(Act::FailSync),
        2 => (0u64..40).prop_map(Act::CutAfter),
        2 => any::<u64>().prop_map(Act::Restart),
        1 => Just(Act::Kill),
    ]
}

/// Reads a piece where its files are, past the code under test.
fn on_disk(torrent: &TorrentStore, piece: PieceIndex) -> Option<[u8; 20]> {
    let mut bytes = Vec::new();
    for slice in torrent.metainfo().layout().slices(piece, 0, u32::MAX) {
        let (_, path) = torrent.place_of(slice.file)?;
        let file = std::fs::read(path).ok()?;
        let (from, to) = (slice.file_offset as usize, (slice.file_offset + slice.len) as usize);
        bytes.extend_from_slice(file.get(from..to)?);
    }
    Some(hash_parts(&[&bytes]))
}

fn run(acts: &[Act], last: u64) -> Result<(), TestCaseError> {
    let (home, sample) = (Home::new(), Sample::straddling());
    let mut torrent = Some(home.open_forgetful(&sample).unwrap().0);
    let mut committed = std::collections::BTreeSet::new();
    for act in acts.iter().chain(&[Act::Commit, Act::Restart(last)]) {
        let open = torrent.as_ref().unwrap();
        match act {
            Act::Write(piece) => {
                let piece = PieceIndex(*piece);
                if !open.have().get(piece) {
                    let _ = open.write_piece(piece, &[sample.piece(piece)]);
                }
            }
            Act::Verify(piece) => {
                let _ = open.verify_piece(PieceIndex(*piece));
            }
            Act::Commit => match open.commit() {
                Ok(pieces) => committed.extend(pieces),
                Err(error) => {
                    prop_assert!(error.lost.iter().all(|piece| !open.have().get(*piece)));
                }
            },
            Act::Merge(file) => {
                let _ = open.merge(Some(*file));
            }
            Act::FailSync => home.fs.fail_next_sync(),
            Act::CutAfter(acts) => home.fs.cut_after(*acts),
            Act::Kill if home.fs.is_cut() => {}
            Act::Restart(_) | Act::Kill => {
                drop(torrent.take());
                if let Act::Restart(seed) = act {
                    home.fs.restart(*seed);
                }
                let reopened = home.open_forgetful(&sample);
                let Ok((opened, found)) = reopened else {
                    // The power went while it was opened.
                    prop_assert!(home.fs.is_cut(), "{:?}", reopened.err());
                    home.fs.restart(last);
                    torrent = Some(home.open_forgetful(&sample).unwrap().0);
                    continue;
                };
                for piece in found.have.iter_ones() {
                    let expected = Some(sample.meta.pieces[piece.0 as usize]);
                    prop_assert_eq!(on_disk(&opened, piece), expected, "piece {}", piece.0);
                }
                for piece in &committed {
                    prop_assert!(found.have.get(*piece), "piece {} was committed", piece.0);
                }
                torrent = Some(opened);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_have_bit_over_lost_bytes(acts in prop::collection::vec(act(), 1..40), last in any::<u64>()) {
        run(&acts, last)?;
    }
}

#[test]
fn download_cut_at_any_act_keeps_what_was_committed() {
    for acts in 0..60 {
        let mut history = vec![Act::CutAfter(acts)];
        for piece in 0..7 {
            history.extend([Act::Write(piece), Act::Commit]);
        }
        run(&history, acts).unwrap();
    }
}

#[test]
fn length_that_was_not_durable_is_set_again() {
    // Found by `no_have_bit_over_lost_bytes`.
    let history =
        [Act::Write(3), Act::Write(0), Act::Restart(8_215_198_036_791_424_378), Act::Write(3)];
    run(&history, 0).unwrap();
}

#[test]
fn a_piece_verified_in_a_file_of_no_durable_length_is_kept() {
    // Found by `no_have_bit_over_lost_bytes`.
    let history = [
        Act::Write(1),
        Act::Restart(5_904_060_902_224_743_746),
        Act::Write(4),
        Act::Restart(6_672_132_118_253_436_282),
        Act::Verify(4),
        Act::Commit,
    ];
    run(&history, 0).unwrap();
}
