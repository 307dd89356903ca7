//! Merging: what moves, what is refused, and what a restart makes of a merge that was cut short.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use shoal_core::ids::PieceIndex;

use super::sample::{Home, Sample, bytes_of};
use crate::disk::{MergeError, Place, TorrentStore};

fn complete() -> (Home, Sample, TorrentStore) {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open_forgetful(&sample).unwrap();
    sample.write_all(&torrent);
    (home, sample, torrent)
}

fn assert_merged(home: &Home, sample: &Sample) {
    for (index, file) in sample.meta.files.iter().enumerate() {
        let path = home.downloads().join("sample").join(file.joined());
        assert_eq!(fs::read(path).unwrap(), sample.file(index), "{}", file.joined());
    }
    assert!(!home.chunks(sample).exists(), "the chunk memory is left");
    assert!(!home.downloads().join(".shoal/merge").exists(), "a copy is left");
}

#[test]
fn incomplete_file_names_its_missing_pieces() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    [0, 2].iter().for_each(|piece| sample.write(&torrent, PieceIndex(*piece)));
    let error = torrent.merge(Some(0)).unwrap_err();
    let MergeError::Incomplete { missing } = error else { panic!("{error:?}") };
    assert_eq!(missing, [PieceIndex(1)]);
    let error = torrent.merge(None).unwrap_err();
    let MergeError::Incomplete { missing } = error else { panic!("{error:?}") };
    assert_eq!(missing, [1, 3, 4, 5, 6].map(PieceIndex));
    assert!(matches!(torrent.merge(Some(9)), Err(MergeError::NoFile { file: 9 })));
}

#[test]
fn merge_moves_everything_once() {
    let (home, sample, torrent) = complete();
    let merged = torrent.merge(None).unwrap();
    assert_eq!((merged.path, merged.already), (home.downloads().join("sample"), false));
    assert_merged(&home, &sample);
    assert!(torrent.merge(None).unwrap().already);
    let again = torrent.merge(Some(3)).unwrap();
    assert_eq!((again.path, again.already), (home.downloads().join("sample/d/nil"), true));
}

#[test]
fn straddling_piece_is_served_and_trusted_over_two_places() {
    let (home, sample, torrent) = complete();
    torrent.merge(Some(0)).unwrap();
    assert_eq!(torrent.place_of(0).unwrap().0, Place::Merged);
    assert_eq!(torrent.place_of(1).unwrap().0, Place::Chunks);
    let piece = PieceIndex(1);
    assert_eq!(bytes_of(&torrent.source(piece, 0, 16384).unwrap()), sample.piece(piece));
    assert!(torrent.verify_piece(piece).unwrap());
    torrent.commit().unwrap();
    drop(torrent);
    let (torrent, opened) = home.open_forgetful(&sample).unwrap();
    assert!(opened.have.is_full() && opened.changed.is_empty());
    assert_eq!(bytes_of(&torrent.source(piece, 0, 16384).unwrap()), sample.piece(piece));
    torrent.merge(None).unwrap();
    assert_merged(&home, &sample);
}

#[test]
fn straddling_piece_may_be_written_after_one_file_was_merged() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    [0, 1].iter().for_each(|piece| sample.write(&torrent, PieceIndex(*piece)));
    torrent.merge(Some(0)).unwrap();
    // Written once more, as after a repair: into the merged file and into the chunk memory.
    sample.write(&torrent, PieceIndex(1));
    assert!(!torrent.is_changed(0).unwrap(), "our own write is no change");
    torrent.commit().unwrap();
    drop(torrent);
    let (_, opened) = home.open(&sample);
    assert_eq!(opened.have.count_ones(), 2);
    assert!(opened.changed.is_empty());
}

#[test]
fn different_existing_file_is_never_touched() {
    let (home, _, torrent) = complete();
    let target = home.downloads().join("sample/d/b");
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    for content in [b"short".to_vec(), vec![0; 30_000]] {
        fs::write(&target, &content).unwrap();
        let error = torrent.merge(None).unwrap_err();
        assert!(matches!(&error, MergeError::Exists { path } if *path == target), "{error:?}");
        assert_eq!(fs::read(&target).unwrap(), content);
        assert_eq!(torrent.place_of(0).unwrap().0, Place::Chunks, "nothing moved");
    }
    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    assert!(matches!(torrent.merge(Some(1)), Err(MergeError::Exists { .. })));
    fs::remove_dir(&target).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &target).unwrap();
    assert!(matches!(torrent.merge(Some(1)), Err(MergeError::Exists { .. } | MergeError::Disk(_))));
    assert!(torrent.have().is_full());
}

#[test]
fn existing_file_of_the_same_content_becomes_the_torrents() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    sample.put(&home.downloads().join("sample"));
    let path = home.downloads().join("sample/a");
    let inode = fs::metadata(&path).unwrap().ino();
    torrent.merge(None).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert_merged(&home, &sample);
}

#[test]
fn other_device_gets_a_verified_copy() {
    let (home, sample, torrent) = complete();
    home.fs.put_on_other_device(&home.chunks(&sample));
    torrent.merge(None).unwrap();
    assert_merged(&home, &sample);
    let piece = PieceIndex(3);
    assert_eq!(bytes_of(&torrent.source(piece, 0, 16384).unwrap()), sample.piece(piece));
    drop(torrent);
    home.fs.restart(1);
    assert!(home.open_forgetful(&sample).unwrap().1.have.is_full());
    assert_merged(&home, &sample);
}

#[test]
fn full_device_leaves_the_chunk_memory_as_it_is() {
    let (home, sample, torrent) = complete();
    home.fs.put_on_other_device(&home.chunks(&sample));
    torrent.commit().unwrap();
    home.fs.set_room(Some(25_000));
    let error = torrent.merge(None).unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
    assert_eq!(torrent.place_of(0).unwrap().0, Place::Merged);
    assert_eq!(torrent.place_of(1).unwrap().0, Place::Chunks);
    home.fs.set_room(None);
    assert!(!torrent.merge(None).unwrap().already);
    assert_merged(&home, &sample);
}

#[test]
fn merge_cut_at_any_act_is_completed_and_loses_nothing() {
    for device in ["one device", "two devices"] {
        let mut acts = 0;
        loop {
            let (home, sample, torrent) = complete();
            torrent.commit().unwrap();
            if device == "two devices" {
                home.fs.put_on_other_device(&home.chunks(&sample));
            }
            home.fs.cut_after(acts);
            let outcome = torrent.merge(None);
            drop(torrent);
            let cut = home.fs.is_cut();
            home.fs.restart(acts);
            let (torrent, opened) = home.open_forgetful(&sample).unwrap();
            assert!(opened.have.is_full(), "{device}, cut after {acts}: {opened:?}");
            for piece in sample.pieces() {
                assert!(torrent.verify_piece(piece).unwrap(), "{device}, cut after {acts}");
            }
            torrent.merge(None).unwrap();
            assert_merged(&home, &sample);
            if !cut {
                outcome.unwrap();
                break;
            }
            acts += 1;
        }
        assert!(acts > 20, "{device}: a merge of {acts} acts");
    }
}

#[test]
fn intent_is_completed_at_the_next_start() {
    // The file is renamed, and the node killed before it could record it.
    let (home, sample, torrent) = complete();
    torrent.commit().unwrap();
    let renamed = || home.downloads().join("sample/a").exists();
    let mut acts = 0;
    home.fs.cut_after(acts);
    let mut torrent = torrent;
    while torrent.merge(Some(0)).is_err() && !renamed() {
        drop(torrent);
        home.fs.restart(3);
        torrent = home.open_forgetful(&sample).unwrap().0;
        acts += 1;
        if torrent.place_of(0).unwrap().0 == Place::Merged {
            break;
        }
        home.fs.cut_after(acts);
    }
    drop(torrent);
    home.fs.restart(3);
    let (torrent, opened) = home.open_forgetful(&sample).unwrap();
    assert_eq!(torrent.place_of(0).unwrap().0, Place::Merged, "without being asked again");
    assert!(opened.have.is_full());
}

#[test]
fn changed_merged_file_is_noticed_at_the_next_start() {
    let (home, sample, torrent) = complete();
    torrent.merge(None).unwrap();
    drop(torrent);
    let path = home.downloads().join("sample/a");
    edit(&path);
    let (torrent, opened) = home.open(&sample);
    assert_eq!(opened.changed, [0]);
    assert_eq!(opened.unverified, [0, 1].map(PieceIndex));
    assert!(!torrent.verify_piece(PieceIndex(0)).unwrap());
    assert!(torrent.verify_piece(PieceIndex(1)).unwrap());
    // The bad piece is fetched again and repaired in its place.
    sample.write(&torrent, PieceIndex(0));
    torrent.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), sample.file(0));
    drop(torrent);
    let (_, opened) = home.open(&sample);
    assert!(opened.have.is_full() && opened.changed.is_empty());
}

#[test]
fn removed_merged_file_is_fetched_into_the_chunk_memory_again() {
    let (home, sample, torrent) = complete();
    torrent.merge(None).unwrap();
    drop(torrent);
    fs::remove_file(home.downloads().join("sample/a")).unwrap();
    let (torrent, opened) = home.open_forgetful(&sample).unwrap();
    assert_eq!(opened.changed, [0]);
    assert_eq!(torrent.place_of(0).unwrap().0, Place::Chunks);
    [0, 1].iter().for_each(|piece| sample.write(&torrent, PieceIndex(*piece)));
    assert!(!torrent.merge(None).unwrap().already);
    assert_merged(&home, &sample);
}

/// Changes one byte, and the time with it whatever the clock's grain.
fn edit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
}

#[test]
fn torrent_of_empty_files_is_merged() {
    let home = Home::new();
    let sample = Sample::multi(&[("a", 0), ("b", 0)], shoal_core::metainfo::Pad::Auto);
    let (torrent, opened) = home.open(&sample);
    assert!(opened.have.is_full() && opened.unverified.is_empty());
    assert!(!torrent.merge(None).unwrap().already);
    assert_merged(&home, &sample);
    assert!(torrent.merge(None).unwrap().already);
}
