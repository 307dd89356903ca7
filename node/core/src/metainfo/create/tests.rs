//! Plans with and without padding, and that what is made is what is read.

use proptest::prelude::*;

use super::*;
use crate::metainfo::{Metainfo, PathFault};

const KIB: u64 = 1024;

fn options(files: &[(&str, u64)]) -> CreateOptions {
    let path = |path: &str| path.split('/').map(str::to_owned).collect();
    let files = files.iter().map(|(name, len)| NewFile { path: path(name), len: *len });
    CreateOptions {
        name: "album".into(),
        content: Content::Multi(files.collect()),
        piece_len: Some(PIECE_LEN_MIN),
        pad: Pad::Auto,
        private: false,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        comment: None,
        created_unix: None,
    }
}

/// Paths and lengths of a plan.
fn planned(files: &[(&str, u64)], pad: Pad) -> Vec<(String, u64)> {
    let plan = Plan::new(CreateOptions { pad, ..options(files) }).unwrap();
    plan.files().iter().map(|file| (file.joined(), file.len)).collect()
}

fn made(options: CreateOptions) -> Metainfo {
    let plan = Plan::new(options).unwrap();
    let hashes = vec![[7; 20]; plan.layout().piece_count() as usize];
    let metainfo = Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap();
    assert_eq!(metainfo.files, plan.files());
    assert_eq!(metainfo.layout(), plan.layout());
    metainfo
}

fn refused(options: CreateOptions) -> MetainfoError {
    Plan::new(options).unwrap_err()
}

#[test]
fn padding_aligns_every_file_but_the_first() {
    let files = [("a", 1), ("empty", 0), ("b", 16 * KIB), ("c", 5)];
    let names = |pad| planned(&files, pad).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(Pad::Always), ["a", ".pad/16383", "empty", "b", "c"]);
    assert_eq!(names(Pad::Never), ["a", "empty", "b", "c"]);
    let plan = Plan::new(CreateOptions { pad: Pad::Always, ..options(&files) }).unwrap();
    assert!(plan.files().iter().all(|f| f.kind == FileKind::Pad || f.offset % (16 * KIB) == 0));
}

#[test]
fn nothing_is_padded_after_the_last_file_with_bytes() {
    assert_eq!(planned(&[("a", 5)], Pad::Always).len(), 1);
    assert_eq!(planned(&[("a", 5), ("empty", 0)], Pad::Always).len(), 2);
    assert_eq!(planned(&[("empty", 0), ("void", 0)], Pad::Always).len(), 2);
}

#[test]
fn auto_pads_up_to_two_percent() {
    // Two files, of which the first lacks so much of a piece.
    let count =
        |padding: u64| planned(&[("a", 16 * KIB - padding), ("b", 16 * KIB)], Pad::Auto).len();
    let limit = (1..16 * KIB).rfind(|p| *p <= (32 * KIB - p) / AUTO_PAD_SHARE).unwrap();
    assert_eq!(count(limit - 1), 3);
    assert_eq!(count(limit), 3);
    assert_eq!(count(limit + 1), 2);
}

#[test]
fn auto_padding_never_makes_too_many_files() {
    let names: Vec<String> = (0..FILES_MAX).map(|n| n.to_string()).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 16 * KIB - 1)).collect();
    let plan = |pad, count| Plan::new(CreateOptions { pad, ..options(&files[..count]) });
    assert_eq!(plan(Pad::Auto, FILES_MAX).unwrap().files().len(), FILES_MAX);
    assert_eq!(plan(Pad::Always, FILES_MAX / 2).unwrap().files().len(), FILES_MAX - 1);
    let error = plan(Pad::Always, FILES_MAX / 2 + 1).unwrap_err();
    assert_eq!(error, MetainfoError::TooManyFiles(FILES_MAX + 1));
}

#[test]
fn piece_length_grows_with_the_content() {
    let limit = u64::from(AUTO_PIECES_MAX) * u64::from(PIECE_LEN_DEFAULT);
    assert_eq!(auto_piece_len(0), PIECE_LEN_DEFAULT);
    assert_eq!(auto_piece_len(limit), PIECE_LEN_DEFAULT);
    assert_eq!(auto_piece_len(limit + 1), 2 * PIECE_LEN_DEFAULT);
    assert_eq!(auto_piece_len(2 * limit + 1), 4 * PIECE_LEN_DEFAULT);
    assert_eq!(auto_piece_len(u64::MAX), PIECE_LEN_MAX);
}

#[test]
fn piece_length_asked_for_is_checked() {
    let with = |len| Plan::new(CreateOptions { piece_len: Some(len), ..options(&[("a", 1)]) });
    assert!(with(PIECE_LEN_MIN).is_ok());
    assert!(with(PIECE_LEN_MAX).is_ok());
    for len in [0, 1, PIECE_LEN_MIN / 2, PIECE_LEN_MIN + 1, 3 * PIECE_LEN_MIN, 2 * PIECE_LEN_MAX] {
        assert_eq!(with(len).unwrap_err(), MetainfoError::NewPieceLength(len));
    }
}

#[test]
fn content_beyond_the_limits_is_refused_before_hashing() {
    let of = |pieces: u64| Plan::new(options(&[("a", pieces * 16 * KIB)]));
    // 2^20 hashes alone are 20 MiB: the metainfo's own limit comes first.
    let readable = METAINFO_LEN_MAX / 20 - 100;
    assert!(of(readable).is_ok());
    assert!(matches!(of(u64::from(PIECES_MAX)).unwrap_err(), MetainfoError::TooLarge(_)));
    let error = of(u64::from(PIECES_MAX) + 1).unwrap_err();
    assert_eq!(error, MetainfoError::TooManyPieces(u64::from(PIECES_MAX) + 1));
    let overflow = refused(options(&[("a", u64::MAX / 2), ("b", 1)]));
    assert_eq!(overflow, MetainfoError::LengthOverflow { path: "b".into() });
}

#[test]
fn wishes_that_no_client_could_open_are_refused() {
    let unsafe_path = |files: &[(&str, u64)], fault| {
        let path = files.last().unwrap().0.into();
        assert_eq!(refused(options(files)), MetainfoError::UnsafePath { path, fault });
    };
    unsafe_path(&[("a", 1), ("../b", 1)], PathFault::Dots);
    unsafe_path(&[("a", 1), ("a", 1)], PathFault::Duplicate);
    unsafe_path(&[("a/b", 1), ("a", 1)], PathFault::FileAndFolder);
    assert_eq!(refused(options(&[])), MetainfoError::NoFiles);
    let named = CreateOptions { name: "a/b".into(), ..options(&[("a", 1)]) };
    assert!(matches!(refused(named), MetainfoError::UnsafePath { .. }));
    for (len, accepted) in [(0, false), (URL_LEN_MAX, true), (URL_LEN_MAX + 1, false)] {
        let trackers = vec![vec!["u".repeat(len)]];
        let plan = Plan::new(CreateOptions { trackers, ..options(&[("a", 1)]) });
        assert_eq!(plan.is_ok(), accepted, "{len}");
    }
}

#[test]
fn everything_said_is_read_again() {
    let urls = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
    let trackers = vec![urls(&["http://a/announce", "http://b/announce"]), urls(&["udp://c:1"])];
    let metainfo = made(CreateOptions {
        private: true,
        trackers: trackers.clone(),
        comment: Some("a comment".into()),
        created_unix: Some(1_700_000_000),
        ..options(&[("cd1/a", 100), ("cd1/b", 40 * KIB)])
    });
    assert_eq!(metainfo.name, "album");
    assert_eq!(metainfo.trackers, trackers);
    assert_eq!(metainfo.comment.as_deref(), Some("a comment"));
    assert_eq!(metainfo.created_unix, Some(1_700_000_000));
    assert!(metainfo.created_by.unwrap().starts_with("shoal/"));
    assert!(metainfo.private && metainfo.is_multi);
}

#[test]
fn single_file_is_called_as_its_torrent() {
    let content = Content::Single { len: 16 * KIB + 1 };
    let trackers = vec![vec!["http://a/announce".to_owned()]];
    let metainfo = made(CreateOptions { content, trackers: trackers.clone(), ..options(&[]) });
    assert!(!metainfo.is_multi);
    assert_eq!(metainfo.files[0].path, ["album"]);
    assert_eq!(metainfo.piece_count(), 2);
    assert_eq!(metainfo.trackers, trackers);
}

#[test]
fn hashes_must_be_as_many_as_pieces() {
    let plan = Plan::new(options(&[("a", 20 * KIB)])).unwrap();
    let count = |got| MetainfoError::PieceCount { got, expected: 2, total_len: 20 * KIB };
    assert_eq!(plan.finish(&[[0; 20]; 1]), Err(count(1)));
    assert!(plan.finish(&[[0; 20]; 2]).is_ok());
    assert_eq!(plan.finish(&[[0; 20]; 3]), Err(count(3)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_plan_is_read_as_it_was_made(
        lens in prop::collection::vec(0u64..100_000, 1..12),
        pad in prop::sample::select(vec![Pad::Auto, Pad::Always, Pad::Never]),
    ) {
        let names: Vec<String> = (0..lens.len()).map(|n| format!("{}/{n}", n % 3)).collect();
        let files: Vec<_> = names.iter().map(String::as_str).zip(lens.iter().copied()).collect();
        let metainfo = made(CreateOptions { pad, ..options(&files) });
        prop_assert_eq!(metainfo.layout().content_len(), lens.iter().sum::<u64>());
        for piece in (0..metainfo.piece_count()).map(crate::ids::PieceIndex) {
            let names = metainfo.chunk_names(piece);
            prop_assert!(pad != Pad::Always || names.len() == 1, "{:?}", names);
            for name in names {
                prop_assert_eq!(metainfo.find_chunk(&name), Ok(piece));
            }
        }
    }
}
