//! What is trusted, verified or missing when a torrent is opened again.

use shoal_core::{ids::PieceIndex, metainfo::Pad};

use super::sample::{Home, PIECE, Sample};
use crate::disk::{Place, Store, TorrentStore};

fn write(sample: &Sample, torrent: &TorrentStore, pieces: &[u32]) {
    pieces.iter().for_each(|piece| sample.write(torrent, PieceIndex(*piece)));
}

fn ones(have: &shoal_core::bitfield::Bitfield) -> Vec<u32> {
    have.iter_ones().map(|piece| piece.0).collect()
}

#[test]
fn new_torrent_has_nothing() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, opened) = home.open(&sample);
    assert_eq!(opened.have.count_ones(), 0);
    assert!(opened.unverified.is_empty() && opened.changed.is_empty());
    assert!(home.chunks(&sample).is_dir());
    assert!(torrent.commit().unwrap().is_empty());
}

#[test]
fn committed_pieces_are_had_without_reading_them() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    write(&sample, &torrent, &[1, 3]);
    assert_eq!(torrent.commit().unwrap(), [PieceIndex(1), PieceIndex(3)]);
    drop(torrent);
    let (torrent, opened) = home.open(&sample);
    assert_eq!(ones(&opened.have), [1, 3]);
    assert_eq!(torrent.have(), opened.have);
    assert!(opened.changed.is_empty());
    assert!(!opened.unverified.contains(&PieceIndex(1)));
}

#[test]
fn written_but_uncommitted_pieces_are_verified_after_a_kill() {
    let (home, sample) = (Home::new(), Sample::single(10 * PIECE));
    let (torrent, _) = home.open(&sample);
    write(&sample, &torrent, &[2, 5, 6]);
    torrent.commit().unwrap();
    write(&sample, &torrent, &[0, 8]);
    drop(torrent);
    let (torrent, opened) = home.open(&sample);
    assert_eq!(ones(&opened.have), [2, 5, 6]);
    assert_eq!(opened.unverified, [PieceIndex(0), PieceIndex(8)]);
    assert!(torrent.verify_piece(PieceIndex(0)).unwrap());
    assert_eq!(torrent.commit().unwrap(), [PieceIndex(0)]);
    drop(torrent);
    assert_eq!(ones(&home.open(&sample).1.have), [0, 2, 5, 6]);
}

#[test]
fn torn_piece_does_not_verify() {
    let (home, sample) = (Home::new(), Sample::single(3 * PIECE));
    let (torrent, _) = home.open(&sample);
    sample.write(&torrent, PieceIndex(1));
    drop(torrent);
    let path = home.chunks(&sample).join("sample");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[PIECE + 100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (torrent, opened) = home.open(&sample);
    assert!(opened.unverified.contains(&PieceIndex(1)));
    assert!(!torrent.verify_piece(PieceIndex(1)).unwrap());
    assert_eq!(torrent.have().count_ones(), 0);
}

#[test]
fn lost_chunk_file_loses_its_pieces_only() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    torrent.commit().unwrap();
    drop(torrent);
    std::fs::remove_file(home.chunks(&sample).join("a")).unwrap();
    let (torrent, opened) = home.open(&sample);
    assert_eq!(opened.changed, [0]);
    assert_eq!(ones(&opened.have), [2, 3, 4, 5, 6]);
    // The straddling piece's other half is still there.
    assert_eq!(opened.unverified, [PieceIndex(1)]);
    assert!(!torrent.verify_piece(PieceIndex(1)).unwrap());
    torrent.commit().unwrap();
    drop(torrent);
    assert_eq!(ones(&home.open(&sample).1.have), [2, 3, 4, 5, 6]);
}

#[test]
fn piece_that_went_bad_is_not_had_after_verification() {
    let (home, sample) = (Home::new(), Sample::single(3 * PIECE));
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    torrent.commit().unwrap();
    let path = home.chunks(&sample).join("sample");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(!torrent.verify_piece(PieceIndex(0)).unwrap());
    assert!(torrent.verify_piece(PieceIndex(1)).unwrap());
    torrent.commit().unwrap();
    drop(torrent);
    assert_eq!(ones(&home.open(&sample).1.have), [1, 2]);
}

#[test]
fn seed_is_verified_once_and_then_trusted_by_its_stamps() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let folder = home.state_dir().with_file_name("mine");
    sample.put(&folder);
    let (torrent, opened) = home.seed(&sample, &folder);
    assert_eq!(opened.have.count_ones(), 0);
    assert_eq!(opened.unverified, sample.pieces().collect::<Vec<_>>());
    assert!(opened.changed.is_empty());
    for piece in opened.unverified {
        assert!(torrent.verify_piece(piece).unwrap());
    }
    assert_eq!(torrent.commit().unwrap().len(), 7);
    drop(torrent);
    let (torrent, opened) = home.seed(&sample, &folder);
    assert!(opened.have.is_full() && opened.unverified.is_empty());
    drop(torrent);

    std::fs::write(folder.join("d/b"), vec![0; 30_000]).unwrap();
    let (torrent, opened) = home.seed(&sample, &folder);
    assert_eq!(opened.changed, [1]);
    assert_eq!(ones(&opened.have), [0, 4, 5, 6]);
    assert_eq!(opened.unverified, [1, 2, 3].map(PieceIndex));
    for piece in opened.unverified {
        assert!(!torrent.verify_piece(piece).unwrap());
    }
    torrent.commit().unwrap();
    drop(torrent);
    assert_eq!(ones(&home.seed(&sample, &folder).1.have), [0, 4, 5, 6]);
}

#[test]
fn seed_with_holes_is_verified_like_any_other() {
    let (home, sample) = (Home::new(), Sample::single(50_000));
    let path = home.state_dir().with_file_name("sparse");
    std::fs::File::create(&path).unwrap().set_len(50_000).unwrap();
    let (_, opened) = home.seed(&sample, &path);
    assert_eq!(opened.unverified, sample.pieces().collect::<Vec<_>>());
}

#[test]
fn missing_seed_file_has_no_pieces() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let folder = home.state_dir().with_file_name("mine");
    sample.put(&folder);
    std::fs::remove_file(folder.join("a")).unwrap();
    let (torrent, opened) = home.seed(&sample, &folder);
    assert_eq!(opened.unverified, [1, 2, 3, 4, 5, 6].map(PieceIndex));
    assert!(!torrent.verify_piece(PieceIndex(1)).unwrap());
    assert!(torrent.verify_piece(PieceIndex(2)).unwrap());
}

#[test]
fn single_file_seed_may_have_another_name() {
    let (home, sample) = (Home::new(), Sample::single(2 * PIECE + 5));
    let path = home.state_dir().with_file_name("renamed.bin");
    std::fs::write(&path, &sample.bytes).unwrap();
    let (torrent, opened) = home.seed(&sample, &path);
    assert_eq!(opened.unverified.len(), 3);
    assert!(opened.unverified.iter().all(|piece| torrent.verify_piece(*piece).unwrap()));
    assert_eq!(torrent.place_of(0), Some((Place::Seed, path.canonicalize().unwrap())));
}

#[test]
fn padding_is_neither_written_nor_missed() {
    let home = Home::new();
    let sample = Sample::multi(&[("a", 100), ("b", PIECE + 1)], Pad::Always);
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    torrent.commit().unwrap();
    assert!(!home.chunks(&sample).join(".pad").exists());
    assert_eq!(std::fs::metadata(home.chunks(&sample).join("a")).unwrap().len(), 100);
    assert!(sample.pieces().all(|piece| torrent.verify_piece(piece).unwrap()));
    drop(torrent);
    assert!(home.open(&sample).1.have.is_full());
}

#[test]
fn removed_torrent_starts_from_nothing() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    torrent.commit().unwrap();
    torrent.merge(Some(0)).unwrap();
    torrent.remove(crate::disk::MergedFiles::Keep).unwrap();
    drop(torrent);
    let store = Store::open(&home.state_dir()).unwrap();
    store.remove_torrent(sample.meta.info_hash).unwrap();
    drop(store);
    assert!(!home.chunks(&sample).exists());
    assert_eq!(std::fs::read(home.downloads().join("sample/a")).unwrap(), sample.file(0));
    let (torrent, opened) = home.open(&sample);
    assert_eq!(opened.have.count_ones(), 0);
    torrent.remove(crate::disk::MergedFiles::Delete).unwrap();
    assert!(home.downloads().join("sample/a").exists(), "not this torrent's any more");
}

#[test]
fn merged_files_go_where_asked() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    torrent.merge(None).unwrap();
    std::fs::write(home.downloads().join("sample/d/own"), "mine").unwrap();
    torrent.remove(crate::disk::MergedFiles::Delete).unwrap();
    assert!(!home.downloads().join("sample/a").exists());
    assert!(!home.downloads().join("sample/d/e").exists());
    assert!(home.downloads().join("sample/d/own").exists());
}
