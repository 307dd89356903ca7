//! What becomes of odd torrent files: each kind of [`kinds`] opens with these files and the hash of
//! its original bytes, or is refused with an error that names the offence. What libtorrent makes of
//! the same files is asked by `tests/interop`.

mod kinds;

use kinds::{Entry, Ours};
use sha1::{Digest, Sha1};
use shoal_core::{
    fuzzing,
    metainfo::{File, Metainfo},
};

fn entry(file: &File) -> Entry {
    Entry { path: file.joined(), len: file.len, kind: file.kind }
}

#[test]
fn every_kind_opens_or_is_refused_as_the_table_says() {
    for odd in kinds::all() {
        let kind = odd.kind;
        match (Metainfo::parse(&odd.torrent.bytes), &odd.ours) {
            (Ok(metainfo), Ours::Opens { name, files, private, trackers }) => {
                let read: Vec<_> = metainfo.files.iter().map(entry).collect();
                assert!(read == *files, "{kind}: {:?}", &read[..read.len().min(9)]);
                assert_eq!((&metainfo.name, metainfo.private), (name, *private), "{kind}");
                assert_eq!(&metainfo.trackers, trackers, "{kind}");
                let hash: [u8; 20] = Sha1::digest(&odd.torrent.info).into();
                assert_eq!(metainfo.info_hash.0, hash, "{kind}: the hash of the original bytes");
            }
            (Err(error), Ours::Refuses { variant, message }) => {
                let (found, shown) = (format!("{error:?}"), error.to_string());
                assert!(found.starts_with(variant), "{kind}: {error:?}");
                assert!(shown.contains(message), "{kind}: {shown}");
                assert!(shown.len() < 1024, "{kind}: {} bytes of message", shown.len());
            }
            (Ok(metainfo), Ours::Refuses { .. }) => {
                panic!("{kind}: opened as {:?} with {} files", metainfo.name, metainfo.files.len())
            }
            (Err(error), Ours::Opens { .. }) => panic!("{kind}: {error}"),
        }
    }
}

#[test]
fn kinds_have_names_of_their_own() {
    let mut names: Vec<_> = kinds::all().iter().map(|odd| odd.kind).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count > 200, "{count} kinds");
}

#[test]
fn libtorrent_differs_for_a_reason_and_seldom() {
    let kinds = kinds::all();
    let reasons: Vec<_> = kinds.iter().filter_map(|odd| odd.libtorrent.reason()).collect();
    assert!(reasons.iter().all(|reason| !reason.is_empty()));
    assert!(reasons.len() * 3 < kinds.len(), "{} of {}", reasons.len(), kinds.len());
}

#[test]
fn what_opens_is_sound() {
    for odd in kinds::all() {
        fuzzing::metainfo(&odd.torrent.bytes);
    }
}

#[test]
fn info_alone_has_the_same_verdict() {
    for odd in kinds::all().iter().filter(|odd| !odd.torrent.info.is_empty()) {
        let Ours::Opens { name, .. } = &odd.ours else { continue };
        let alone = Metainfo::parse_info(&odd.torrent.info);
        assert_eq!(alone.map(|alone| alone.name).as_ref(), Ok(name), "{}", odd.kind);
    }
}

#[test]
fn no_cut_of_any_kind_is_worse_than_an_error() {
    for odd in kinds::all().iter().filter(|odd| odd.torrent.bytes.len() < 4096) {
        for len in 0..odd.torrent.bytes.len() {
            let cut = Metainfo::parse(&odd.torrent.bytes[..len]);
            // Only what followed the dictionary may be missing.
            let is_whole =
                odd.torrent.bytes[..len].ends_with(b"e") || odd.kind.contains("trailing");
            assert!(cut.is_err() || is_whole, "{} cut to {len} bytes", odd.kind);
            if let Err(error) = cut {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
