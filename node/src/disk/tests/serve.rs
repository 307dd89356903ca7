//! Sources of uploads, and files that change under them.

use std::fs;

use shoal_core::{ids::PieceIndex, metainfo::Pad};

use super::sample::{Home, PIECE, Sample, bytes_of};
use crate::disk::{DiskError, Source};

#[test]
fn written_piece_is_served_before_it_is_committed() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    for piece in sample.pieces() {
        let bytes = sample.piece(piece);
        let sources = torrent.source(piece, 0, bytes.len() as u32).unwrap();
        assert_eq!(bytes_of(&sources), bytes);
        let part = torrent.source(piece, 100, 1234).unwrap();
        assert_eq!(bytes_of(&part), bytes[100..1334]);
    }
}

#[test]
fn padding_is_served_from_memory() {
    let home = Home::new();
    let sample = Sample::multi(&[("a", 100), ("b", PIECE)], Pad::Always);
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    let sources = torrent.source(PieceIndex(0), 0, PIECE as u32).unwrap();
    let [Source::File { offset: 0, len: 100, .. }, Source::Zeros(zeros)] = sources[..] else {
        panic!("{sources:?}");
    };
    assert_eq!(zeros, PIECE as u64 - 100);
}

#[test]
fn range_beyond_the_piece_is_refused() {
    let (home, sample) = (Home::new(), Sample::single(PIECE + 10));
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    assert!(torrent.source(PieceIndex(1), 0, 10).is_ok());
    for (piece, offset, len) in [(1, 0, 11), (1, 5, 6), (2, 0, 1), (0, u32::MAX, u32::MAX)] {
        let refused = torrent.source(PieceIndex(piece), offset, len);
        assert!(matches!(refused, Err(DiskError::Range { .. })), "{piece} {offset} {len}");
    }
    assert!(matches!(torrent.verify_piece(PieceIndex(2)), Err(DiskError::Range { .. })));
}

#[test]
fn pieces_verified_together_are_each_told_and_noted_by_itself() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let folder = home.state_dir().with_file_name("mine");
    sample.put(&folder);
    // Byte 40 000 of all: in the third piece.
    let mut second = sample.file(1).to_vec();
    second[20_000] ^= 1;
    fs::write(folder.join("d/b"), second).unwrap();
    let (torrent, _) = home.seed(&sample, &folder);
    let pieces: Vec<_> = sample.pieces().collect();
    let unknown = [&pieces[..], &[PieceIndex(99)]].concat();
    let refused = torrent.verify_pieces(&unknown);
    assert!(matches!(refused, Err(DiskError::Range { .. })), "{refused:?}");
    assert_eq!(torrent.have().count_ones(), 0, "nothing is noted of a run that failed");
    let backwards: Vec<_> = pieces.iter().rev().copied().collect();
    for run in [&pieces, &backwards] {
        let right = run.iter().map(|&piece| piece != PieceIndex(2));
        assert_eq!(torrent.verify_pieces(run).unwrap(), right.collect::<Vec<_>>());
        assert_eq!(torrent.have().iter_zeros().collect::<Vec<_>>(), [PieceIndex(2)]);
    }
}

#[test]
fn changed_seed_file_is_not_served() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let folder = home.state_dir().with_file_name("mine");
    sample.put(&folder);
    let (torrent, _) = home.seed(&sample, &folder);
    sample.pieces().for_each(|piece| assert!(torrent.verify_piece(piece).unwrap()));
    torrent.commit().unwrap();
    // Another file of the same length and content under the same name: another inode.
    fs::write(folder.join("new"), sample.file(0)).unwrap();
    fs::rename(folder.join("new"), folder.join("a")).unwrap();
    let refused = torrent.source(PieceIndex(0), 0, 10);
    assert!(matches!(refused, Err(DiskError::Changed { file: 0 })), "{refused:?}");
    assert_eq!(torrent.pieces_of_file(0), [0, 1].map(PieceIndex));
    assert_eq!(torrent.have().count_ones(), 5);
    assert!(torrent.verify_piece(PieceIndex(0)).unwrap());
    assert!(torrent.verify_piece(PieceIndex(1)).unwrap());
    torrent.commit().unwrap();
    drop(torrent);
    assert!(home.seed(&sample, &folder).1.have.is_full());
}

#[test]
fn look_at_a_file_notices_every_kind_of_change() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    torrent.merge(None).unwrap();
    assert!(!torrent.is_changed(0).unwrap());
    let file = |name| home.downloads().join("sample").join(name);
    fs::File::options().write(true).open(file("a")).unwrap().set_len(19_999).unwrap();
    assert!(torrent.is_changed(0).unwrap());
    let open = fs::File::options().write(true).open(file("d/b")).unwrap();
    open.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(torrent.is_changed(1).unwrap());
    fs::remove_file(file("d/e/c")).unwrap();
    assert!(torrent.is_changed(2).unwrap());
    assert_eq!(torrent.have().count_ones(), 0);
    assert!(!torrent.is_changed(99).unwrap());
}

#[test]
fn truncated_chunk_file_is_noticed() {
    let (home, sample) = (Home::new(), Sample::single(3 * PIECE));
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    torrent.commit().unwrap();
    let path = home.chunks(&sample).join("sample");
    fs::File::options().write(true).open(path).unwrap().set_len(5).unwrap();
    let refused = torrent.source(PieceIndex(2), 0, 10);
    assert!(matches!(refused, Err(DiskError::Changed { file: 0 })));
    assert!(!torrent.verify_piece(PieceIndex(2)).unwrap());
}

#[test]
fn seed_is_never_written_to() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let folder = home.state_dir().with_file_name("mine");
    sample.put(&folder);
    fs::write(folder.join("a"), vec![0; 20_000]).unwrap();
    let (torrent, _) = home.seed(&sample, &folder);
    let refused = torrent.write_piece(PieceIndex(0), &[sample.piece(PieceIndex(0))]);
    assert!(matches!(refused, Err(DiskError::ReadOnly { .. })), "{refused:?}");
    assert_eq!(fs::read(folder.join("a")).unwrap(), vec![0; 20_000]);
    torrent.remove(crate::disk::MergedFiles::Delete).unwrap();
    assert!(folder.join("a").exists());
}

#[test]
fn writes_commits_merges_and_reads_go_on_at_once() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    let (left, right): (Vec<_>, Vec<_>) = sample.pieces().partition(|piece| piece.0 % 2 == 0);
    std::thread::scope(|scope| {
        for half in [&left, &right] {
            scope.spawn(|| half.iter().for_each(|piece| sample.write(&torrent, *piece)));
        }
        scope.spawn(|| {
            while torrent.merge(None).is_err() {
                torrent.commit().unwrap();
            }
        });
        scope.spawn(|| {
            while torrent.merge(Some(1)).is_err() {
                for piece in torrent.have().iter_ones() {
                    let sources = torrent.source(piece, 0, 64).unwrap();
                    assert_eq!(bytes_of(&sources), sample.piece(piece)[..64]);
                }
            }
        });
    });
    assert!(torrent.have().is_full());
    assert!(sample.pieces().all(|piece| torrent.verify_piece(piece).unwrap()));
    assert!(torrent.merge(None).unwrap().already);
}
