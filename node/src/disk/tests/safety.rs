//! Links, pipes, folders that cannot be used, and disks without room.

use std::{fs, os::unix::fs::symlink, sync::Arc};

use shoal_core::ids::PieceIndex;

use super::sample::{Home, PIECE, Sample};
use crate::disk::{CommitCause, DiskError, OpenError, RealFileSystem};

#[test]
fn link_in_the_chunk_memory_is_not_followed() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let outside = home.state_dir().with_file_name("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("b"), "precious").unwrap();
    let (torrent, _) = home.open(&sample);
    symlink(&outside, home.chunks(&sample).join("d")).unwrap();
    symlink(outside.join("b"), home.chunks(&sample).join("a")).unwrap();
    for piece in [0, 2, 4] {
        let piece = PieceIndex(piece);
        let refused = torrent.write_piece(piece, &[sample.piece(piece)]);
        assert!(matches!(refused, Err(DiskError::Io { .. })), "{refused:?}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(outside.join("b")).unwrap(), b"precious");
    assert_eq!(torrent.have().count_ones(), 0);
}

#[test]
fn link_in_the_downloads_folder_is_not_followed() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let outside = home.state_dir().with_file_name("outside");
    fs::create_dir_all(&outside).unwrap();
    let (torrent, _) = home.open(&sample);
    sample.write_all(&torrent);
    symlink(&outside, home.downloads().join("sample")).unwrap();
    assert!(torrent.merge(None).is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(torrent.have().is_full());
}

#[test]
fn pipe_in_the_place_of_a_file_holds_nobody() {
    let (home, sample) = (Home::new(), Sample::single(PIECE));
    let (torrent, _) = home.open(&sample);
    let path = home.chunks(&sample).join("sample");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    let refused = torrent.write_piece(PieceIndex(0), &[&sample.bytes]);
    assert!(matches!(refused, Err(DiskError::Io { .. })), "{refused:?}");
}

#[test]
fn downloads_folder_that_cannot_be_made_is_named() {
    let (home, sample) = (Home::new(), Sample::straddling());
    fs::write(home.downloads(), "a file").unwrap();
    let error = home.open_on(&sample, Arc::new(RealFileSystem)).unwrap_err();
    let OpenError::Disk(DiskError::Io { path, .. }) = &error else { panic!("{error:?}") };
    assert!(path.starts_with(home.downloads()), "{error}");
}

#[test]
fn disk_without_room_is_told_from_a_broken_one() {
    let (home, sample) = (Home::new(), Sample::single(3 * PIECE));
    let (torrent, _) = home.open_forgetful(&sample).unwrap();
    home.fs.set_room(Some(PIECE as u64));
    assert_eq!(torrent.free_space().unwrap(), PIECE as u64);
    sample.write(&torrent, PieceIndex(0));
    let refused = torrent.write_piece(PieceIndex(1), &[sample.piece(PieceIndex(1))]);
    assert!(matches!(refused, Err(DiskError::Full { .. })), "{refused:?}");
    assert_eq!(torrent.commit().unwrap(), [PieceIndex(0)], "it keeps what it has");
    home.fs.set_room(None);
    sample.write(&torrent, PieceIndex(1));
    assert_eq!(torrent.commit().unwrap(), [PieceIndex(1)]);
}

#[test]
fn quota_and_disk_full_are_both_full() {
    use rustix::io::Errno;
    let is_full = |errno: Errno| crate::disk::is_full(&errno.into());
    assert!(is_full(Errno::NOSPC) && is_full(Errno::DQUOT));
    assert!(!is_full(Errno::IO) && !is_full(Errno::ACCESS));
}

#[test]
fn failed_sync_loses_everything_uncommitted() {
    let (home, sample) = (Home::new(), Sample::straddling());
    let (torrent, _) = home.open_forgetful(&sample).unwrap();
    sample.write(&torrent, PieceIndex(0));
    torrent.commit().unwrap();
    [1, 5].iter().for_each(|piece| sample.write(&torrent, PieceIndex(*piece)));
    home.fs.fail_next_sync();
    let error = torrent.commit().unwrap_err();
    assert_eq!(error.lost, [1, 5].map(PieceIndex));
    assert!(matches!(error.source, CommitCause::Disk(DiskError::Io { .. })), "{error:?}");
    assert_eq!(torrent.have().count_ones(), 1);
    assert!(torrent.commit().unwrap().is_empty());
    // It can still be read, from memory alone.
    assert!(!torrent.verify_piece(PieceIndex(1)).unwrap());
    [1, 5].iter().for_each(|piece| sample.write(&torrent, PieceIndex(*piece)));
    assert_eq!(torrent.commit().unwrap(), [1, 5].map(PieceIndex));
}

#[test]
fn buffers_of_the_wrong_length_are_refused() {
    let (home, sample) = (Home::new(), Sample::single(PIECE + 10));
    let (torrent, _) = home.open(&sample);
    let bytes = &sample.bytes;
    for (piece, parts) in [(0, &bytes[..PIECE - 1]), (1, &bytes[..11]), (2, &bytes[..10])] {
        let refused = torrent.write_piece(PieceIndex(piece), &[parts]);
        assert!(matches!(refused, Err(DiskError::Range { .. })), "{refused:?}");
    }
    let (left, right) = bytes[..PIECE].split_at(1000);
    torrent.write_piece(PieceIndex(0), &[left, &[], right]).unwrap();
    assert!(torrent.verify_piece(PieceIndex(0)).unwrap());
}

#[test]
fn more_dirty_files_than_may_be_open_are_all_committed() {
    let names: Vec<String> = (0..600).map(|index| format!("f{index:03}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 100)).collect();
    let sample = Sample::multi(&files, shoal_core::metainfo::Pad::Never);
    let home = Home::new();
    let (torrent, _) = home.open_forgetful(&sample).unwrap();
    sample.write_all(&torrent);
    torrent.commit().unwrap();
    drop(torrent);
    home.fs.restart(5);
    let (torrent, opened) = home.open_forgetful(&sample).unwrap();
    assert!(opened.have.is_full());
    assert!(sample.pieces().all(|piece| torrent.verify_piece(piece).unwrap()));
}
