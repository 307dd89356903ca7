//! What the parser takes and refuses, each limit at, below and above it, and arbitrary bytes.

use proptest::prelude::*;
use sha1::{Digest, Sha1};

use super::*;
use crate::{bencode::Item, config::*, fuzzing};

type Entries = Vec<(&'static str, Item<'static>)>;

fn torrent(info: Entries) -> Vec<u8> {
    Item::dict([("info", Item::dict(info))]).encode()
}

/// `base` with these entries in place of its own, or without those that are `None`.
fn with(base: Entries, changes: Vec<(&'static str, Option<Item<'static>>)>) -> Entries {
    let mut entries = base;
    for (key, item) in changes {
        entries.retain(|(k, _)| *k != key);
        entries.extend(item.map(|item| (key, item)));
    }
    entries
}

fn hashes(count: usize) -> Item<'static> {
    Item::from(vec![9; 20 * count])
}

fn single(len: i64) -> Entries {
    let pieces = usize::try_from(len).unwrap_or(0).div_ceil(16384).min(100);
    vec![
        ("name", Item::from("movie.webm")),
        ("piece length", Item::from(16384u32)),
        ("length", Item::Int(len)),
        ("pieces", hashes(pieces)),
    ]
}

fn file(path: &[&[u8]], len: i64) -> Entries {
    let path = path.iter().map(|component| Item::from(component.to_vec()));
    vec![("length", Item::Int(len)), ("path", Item::List(path.collect()))]
}

fn multi(files: Vec<Entries>, pieces: usize) -> Entries {
    vec![
        ("name", Item::from("album")),
        ("piece length", Item::from(16384u32)),
        ("files", Item::list(files.into_iter().map(Item::dict))),
        ("pieces", hashes(pieces)),
    ]
}

fn parse(info: Entries) -> Result<Metainfo, MetainfoError> {
    Metainfo::parse(&torrent(info))
}

/// A torrent of empty files at these paths.
fn parse_paths(paths: &[&str]) -> Result<Metainfo, MetainfoError> {
    let entry = |path: &&str| file(&path.split('/').map(str::as_bytes).collect::<Vec<_>>(), 0);
    parse(multi(paths.iter().map(entry).collect(), 0))
}

fn path_fault(result: Result<Metainfo, MetainfoError>) -> PathFault {
    match result {
        Err(MetainfoError::UnsafePath { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn info_hash_is_over_the_original_bytes() {
    // Keys out of order, one unknown: nobody re-encodes.
    let info = b"d4:name1:a1:x0:12:piece lengthi16384e6:lengthi0e6:pieces0:e";
    let metainfo = Metainfo::parse(&[b"d4:info", &info[..], b"e"].concat()).unwrap();
    assert_eq!(metainfo.info_bytes, info);
    assert_eq!(metainfo.info_hash.0[..], Sha1::digest(info)[..]);
    assert_eq!(Metainfo::parse_info(info), Ok(metainfo));
}

#[test]
fn trailing_bytes_are_ignored() {
    assert!(Metainfo::parse(&[torrent(single(5)), b"\r\n".to_vec()].concat()).is_ok());
}

#[test]
fn size_of_the_file_is_limited() {
    let padded = |len: u64| {
        let mut bytes = torrent(single(5));
        bytes.resize(len as usize, b' ');
        Metainfo::parse(&bytes)
    };
    assert!(padded(METAINFO_LEN_MAX - 1).is_ok());
    assert!(padded(METAINFO_LEN_MAX).is_ok());
    assert_eq!(padded(METAINFO_LEN_MAX + 1), Err(MetainfoError::TooLarge(METAINFO_LEN_MAX + 1)));
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    for key in ["name", "piece length", "length", "pieces"] {
        assert_eq!(parse(with(single(5), vec![(key, None)])), Err(MetainfoError::Missing(key)));
        let wrong = parse(with(single(5), vec![(key, Some(Item::List(Vec::new())))]));
        assert!(matches!(wrong, Err(MetainfoError::WrongType { key: k, .. }) if k == key));
    }
    assert_eq!(Metainfo::parse(b"de"), Err(MetainfoError::Missing("info")));
    assert!(matches!(Metainfo::parse(b"le"), Err(MetainfoError::WrongType { .. })));
    assert!(matches!(Metainfo::parse(b"<html>"), Err(MetainfoError::Bencode(_))));
}

#[test]
fn v2_only_is_told_apart_and_a_hybrid_opens_as_v1() {
    let v2 = [("meta version", Some(Item::Int(2))), ("file tree", Some(Item::dict::<&str>([])))];
    let hybrid = with(single(5), v2.to_vec());
    assert!(parse(hybrid.clone()).is_ok());
    let error = parse(with(hybrid, vec![("pieces", None)])).unwrap_err();
    assert_eq!(error, MetainfoError::V2Only);
    assert!(error.to_string().contains("v2-only torrents are not supported"));
    assert!(error.to_string().contains("hybrid"));
}

#[test]
fn piece_length_is_bounded() {
    let of = |len: i64| parse(with(single(5), vec![("piece length", Some(Item::Int(len)))]));
    let (min, max) = (i64::from(PIECE_LEN_MIN), i64::from(FOREIGN_PIECE_LEN_MAX));
    for len in [min, min + 1, max - 1, max] {
        assert!(of(len).is_ok(), "{len}");
    }
    for len in [min - 1, max + 1, 0, -1, i64::MAX, i64::MIN] {
        assert_eq!(of(len), Err(MetainfoError::PieceLength(len)));
    }
}

#[test]
fn pieces_match_the_length() {
    let of =
        |len: i64, count: usize| parse(with(single(len), vec![("pieces", Some(hashes(count)))]));
    assert!(of(0, 0).is_ok());
    assert!(of(16384, 1).is_ok());
    assert!(of(16385, 2).is_ok());
    let count =
        |got, expected, total_len| Err(MetainfoError::PieceCount { got, expected, total_len });
    assert_eq!(of(0, 1), count(1, 0, 0));
    assert_eq!(of(16384, 0), count(0, 1, 16384));
    assert_eq!(of(16384, 2), count(2, 1, 16384));
    assert_eq!(of(16385, 1), count(1, 2, 16385));
    let odd = parse(with(single(5), vec![("pieces", Some(Item::from(vec![0; 21])))]));
    assert_eq!(odd, Err(MetainfoError::PiecesLength(21)));
}

#[test]
fn number_of_pieces_is_limited() {
    let most = i64::from(PIECES_MAX) * 16384;
    // The count is judged before the hashes, of which a file this small has too few.
    assert!(matches!(parse(single(most)), Err(MetainfoError::PieceCount { .. })));
    let expected = u64::from(PIECES_MAX) + 1;
    assert_eq!(parse(single(most + 1)), Err(MetainfoError::TooManyPieces(expected)));
}

#[test]
fn number_of_files_is_limited() {
    let of = |count: usize| {
        let files = (0..count).map(|n| file(&[n.to_string().as_bytes()], 0)).collect();
        parse(multi(files, 0)).map(|metainfo| metainfo.files.len())
    };
    assert_eq!(of(0), Err(MetainfoError::NoFiles));
    assert_eq!(of(1), Ok(1));
    assert_eq!(of(FILES_MAX), Ok(FILES_MAX));
    assert_eq!(of(FILES_MAX + 1), Err(MetainfoError::TooManyFiles(FILES_MAX + 1)));
}

#[test]
fn lengths_neither_negative_nor_overflowing() {
    let negative = MetainfoError::FileLength { path: "movie.webm".into(), len: -1 };
    assert_eq!(parse(single(-1)), Err(negative));
    let files = ["a", "b", "c"].map(|name| file(&[name.as_bytes()], i64::MAX));
    let overflow = MetainfoError::LengthOverflow { path: "c".into() };
    assert_eq!(parse(multi(files.to_vec(), 0)), Err(overflow));
}

#[test]
fn unsafe_paths_are_refused() {
    let fault = |path: &str| path_fault(parse_paths(&["fine", path]));
    assert_eq!(fault("../etc/passwd"), PathFault::Dots);
    assert_eq!(fault("a/../b"), PathFault::Dots);
    assert_eq!(fault("/etc/passwd"), PathFault::Absolute);
    assert_eq!(fault("./etc/.."), PathFault::Dots);
    assert_eq!(fault(".shoal/x"), PathFault::Reserved);
    assert!(parse_paths(&["a/.shoal", "...", "..a", " "]).is_ok());
    let one = |component: &[u8]| path_fault(parse(multi(vec![file(&[component], 0)], 0)));
    assert_eq!(one(b"a/b"), PathFault::Character);
    assert_eq!(one(b"/etc/passwd"), PathFault::Absolute);
    assert_eq!(path_fault(parse(multi(vec![file(&[], 0)], 0))), PathFault::Empty);
}

#[test]
fn unsafe_names_are_refused() {
    let named = |name: &'static str| parse(with(single(5), vec![("name", Some(Item::from(name)))]));
    assert_eq!(path_fault(named("")), PathFault::EmptyComponent);
    assert_eq!(path_fault(named("..")), PathFault::Dots);
    assert_eq!(path_fault(named(".")), PathFault::Dots);
    assert_eq!(path_fault(named("\0")), PathFault::EmptyComponent);
    assert_eq!(path_fault(named("/etc/passwd")), PathFault::Absolute);
    assert_eq!(path_fault(named(".shoal")), PathFault::Reserved);
}

#[test]
fn offending_path_is_named() {
    let error = parse_paths(&["fine", "a/../b"]).unwrap_err();
    assert_eq!(error.to_string(), "unsafe path \"a/../b\": it has a component . or ..");
}

#[test]
fn component_length_is_limited() {
    let of = |len: usize| parse_paths(&[&"x".repeat(len)]);
    assert!(of(COMPONENT_LEN_MAX - 1).is_ok());
    assert!(of(COMPONENT_LEN_MAX).is_ok());
    assert_eq!(path_fault(of(COMPONENT_LEN_MAX + 1)), PathFault::ComponentTooLong);
}

#[test]
fn path_depth_is_limited() {
    let of = |depth: usize| parse_paths(&[&vec!["x"; depth].join("/")]);
    assert!(of(PATH_DEPTH_MAX - 1).is_ok());
    assert!(of(PATH_DEPTH_MAX).is_ok());
    assert_eq!(path_fault(of(PATH_DEPTH_MAX + 1)), PathFault::TooDeep);
}

#[test]
fn path_length_is_limited() {
    let of = |len: usize| {
        let mut path = "x".repeat(199) + "/";
        path = path.repeat(len.div_ceil(200));
        path.truncate(len - 1);
        parse_paths(&[&(path + "y")])
    };
    assert!(of(PATH_LEN_MAX - 1).is_ok());
    assert!(of(PATH_LEN_MAX).is_ok());
    assert_eq!(path_fault(of(PATH_LEN_MAX + 1)), PathFault::TooLong);
}

/// The paths that files at these paths get.
fn given(paths: &[&str]) -> Vec<String> {
    parse_paths(paths).unwrap().files.iter().map(File::joined).collect()
}

#[test]
fn paths_are_tidied() {
    let tidied = given(&["a//b", "a/./c", "./d", "e/", ".", "f/b\0c"]);
    assert_eq!(tidied, ["a/_/b", "a/c", "d", "e/_", "_", "f/bc"]);
}

#[test]
fn paths_that_collide_get_numbers() {
    assert_eq!(given(&["a", "b", "a", "a"]), ["a", "b", "a.1", "a.2"]);
    assert_eq!(given(&["d.e/f", "d.e/f"]), ["d.e/f", "d.e/f.1"]);
    assert_eq!(
        given(&[".a", ".a", "x.tar.gz", "x.tar.gz"])[1..],
        [".1.a", "x.tar.gz", "x.tar.1.gz"]
    );
    assert_eq!(given(&["a.1.x", "a.x", "a.x"]), ["a.1.x", "a.x", "a.2.x"]);
    assert_eq!(given(&["a.x", "a.x", "a.1.x"]), ["a.x", "a.1.x", "a.1.1.x"]);
    assert_eq!(given(&["a/b/c", "a b", "a-b", "a/b"]), ["a/b/c", "a b", "a-b", "a/b.1"]);
    assert_eq!(given(&["a", "a.1", "a/x"]), ["a.1", "a.1.1", "a/x"]);
    assert_eq!(given(&["a/b", "a/c", "ab", "A"]), ["a/b", "a/c", "ab", "A"]);
}

#[test]
fn numbered_names_are_no_longer_than_names_may_be() {
    for name in ["x".repeat(COMPONENT_LEN_MAX), format!("x.{}", "y".repeat(COMPONENT_LEN_MAX - 2))]
    {
        let files = parse_paths(&[&name, &name]).unwrap().files;
        assert_eq!(files[1].path[0].len(), COMPONENT_LEN_MAX);
        assert_ne!(files[0].path, files[1].path);
    }
}

#[test]
fn names_that_everyone_has_are_numbered_in_no_time() {
    let files = (0..FILES_MAX).map(|_| file(&[b"a"], 0)).collect();
    let files = parse(multi(files, 0)).unwrap().files;
    assert_eq!(files[FILES_MAX - 1].joined(), format!("a.{}", FILES_MAX - 1));
    // About as many components as a metainfo file may have, and most of every path the same.
    let deep = |n: usize| {
        let name = (n / 2).to_string();
        let path: Vec<&[u8]> = [b"x"; 61].iter().map(|x| &x[..]).chain([name.as_bytes()]).collect();
        file(&path, 0)
    };
    let files = parse(multi((0..30_000).map(deep).collect(), 0)).unwrap().files;
    assert_eq!(files[29_999].path[61], "14999.1");
}

#[test]
fn names_that_are_not_utf8_stay_different() {
    let files = [&b"a\xff.txt"[..], b"a\xfe.txt", "a\u{fffd}.txt".as_bytes()];
    let metainfo = parse(multi(files.iter().map(|name| file(&[name], 0)).collect(), 0)).unwrap();
    let names: Vec<_> = metainfo.files.iter().map(File::joined).collect();
    assert!(names[0].starts_with("a\u{fffd}~") && names[0].ends_with(".txt"), "{names:?}");
    assert_ne!(names[0], names[1]);
    let long = [&[0xff; COMPONENT_LEN_MAX][..]];
    assert!(parse(multi(vec![file(&long, 0)], 0)).is_ok());
    let longer = [&[0xff; COMPONENT_LEN_MAX + 1][..]];
    assert_eq!(path_fault(parse(multi(vec![file(&longer, 0)], 0))), PathFault::ComponentTooLong);
}

#[test]
fn utf8_spellings_are_preferred() {
    let mut entry = file(&[b"\xe9"], 0);
    entry.push(("path.utf-8", Item::list(["\u{e9}"])));
    let info = with(multi(vec![entry], 0), vec![("name.utf-8", Some(Item::from("\u{e0}")))]);
    let metainfo = parse(info).unwrap();
    assert_eq!(metainfo.files[0].path, ["\u{e9}"]);
    assert_eq!(metainfo.name, "\u{e0}");
}

#[test]
fn padding_may_repeat_and_symlinks_have_no_bytes() {
    let attr = |mut entry: Entries, attr: &'static str| {
        entry.push(("attr", Item::from(attr)));
        entry
    };
    let pad = || attr(file(&[b".pad", b"100"], 100), "p");
    let link = attr(file(&[b"link"], 77), "l");
    let both = attr(file(&[b"both"], 77), "pl");
    let files = vec![file(&[b"a"], 16284), pad(), link, both, file(&[b"b"], 16284), pad()];
    let metainfo = parse(multi(files, 2)).unwrap();
    let kinds: Vec<_> = metainfo.files.iter().map(|file| file.kind).collect();
    use FileKind::{Pad, Regular, Symlink};
    assert_eq!(kinds, [Regular, Pad, Symlink, Symlink, Regular, Pad]);
    assert_eq!(metainfo.total_len(), 32768);
    assert_eq!(metainfo.files[4].offset, 16384);
    assert_eq!(metainfo.layout().content_len(), 2 * 16284);
}

#[test]
fn padding_without_a_path_has_one_and_an_older_kind_is_known_by_its_name() {
    let bare = vec![("attr", Item::from("p")), ("length", Item::from(16384u32))];
    let older = file(&[b"_____padding_file_0_of BitComet"], 16384);
    let files = parse(multi(vec![bare, older, file(&[b"a"], 1)], 3)).unwrap().files;
    assert_eq!([files[0].kind, files[1].kind], [FileKind::Pad; 2]);
    assert_eq!(files[0].path, [".pad", "16384"]);
}

#[test]
fn single_file_is_content_unless_it_is_a_symlink() {
    let attr = |attr: &'static str| parse(with(single(5), vec![("attr", Some(Item::from(attr)))]));
    assert_eq!(attr("p").unwrap().files[0].kind, FileKind::Regular);
    let expected = MetainfoError::PieceCount { got: 1, expected: 0, total_len: 0 };
    assert_eq!(attr("l"), Err(expected));
}

#[test]
fn executable_and_hidden_files_are_regular() {
    let mut entry = file(&[b"run"], 0);
    entry.push(("attr", Item::from("xh")));
    assert_eq!(parse(multi(vec![entry], 0)).unwrap().files[0].kind, FileKind::Regular);
}

#[test]
fn private_is_any_number_but_zero() {
    let of = |n: i64| parse(with(single(5), vec![("private", Some(Item::Int(n)))])).unwrap();
    assert!(of(1).private && of(2).private && of(-1).private);
    assert!(!of(0).private);
    assert!(!parse(single(5)).unwrap().private);
}

fn trackers_of(outer: Entries) -> Vec<Vec<String>> {
    let outer = with(outer, vec![("info", Some(Item::dict(single(5))))]);
    Metainfo::parse(&Item::dict(outer).encode()).unwrap().trackers
}

#[test]
fn trackers_come_in_tiers() {
    let list = Item::List(vec![Item::list(["http://a", "http://b"]), Item::list(["http://c"])]);
    let announce = ("announce", Item::from("http://x"));
    let tiers = trackers_of(vec![announce.clone(), ("announce-list", list)]);
    assert_eq!(tiers, [vec!["http://a", "http://b"], vec!["http://c"]]);
    assert_eq!(trackers_of(vec![announce.clone()]), [["http://x"]]);
    let empty = Item::List(vec![Item::List(Vec::new())]);
    assert_eq!(trackers_of(vec![announce, ("announce-list", empty)]), [["http://x"]]);
    assert!(trackers_of(vec![("announce", Item::Int(1))]).is_empty());
}

#[test]
fn trackers_are_limited() {
    let count = |count: usize| {
        let tiers = (0..count).map(|n| Item::list([format!("http://{n}")]));
        trackers_of(vec![("announce-list", Item::List(tiers.collect()))]).len()
    };
    assert_eq!(count(TRACKERS_MAX - 1), TRACKERS_MAX - 1);
    assert_eq!(count(TRACKERS_MAX), TRACKERS_MAX);
    assert_eq!(count(TRACKERS_MAX + 1), TRACKERS_MAX);
    let len = |len: usize| trackers_of(vec![("announce", Item::from("u".repeat(len)))]).len();
    assert_eq!([len(URL_LEN_MAX - 1), len(URL_LEN_MAX), len(URL_LEN_MAX + 1)], [1, 1, 0]);
}

#[test]
fn comments_are_cut() {
    let of = |len: usize| {
        let entries =
            vec![("comment", Item::from("c".repeat(len))), ("info", Item::dict(single(5)))];
        Metainfo::parse(&Item::dict(entries).encode()).unwrap().comment.unwrap().len()
    };
    assert_eq!(of(COMMENT_LEN_MAX - 1), COMMENT_LEN_MAX - 1);
    assert_eq!(of(COMMENT_LEN_MAX), COMMENT_LEN_MAX);
    assert_eq!(of(COMMENT_LEN_MAX + 1), COMMENT_LEN_MAX);
}

fn sample() -> Vec<u8> {
    let files = vec![file(&[b"a", b"b.webm"], 16000), file(&[b"c"], 20000)];
    let entries = vec![("announce", Item::from("http://a")), ("info", Item::dict(multi(files, 3)))];
    Item::dict(entries).encode()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::metainfo(&data);
    }

    #[test]
    fn any_damage_is_survived(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let mut bytes = sample();
        fuzzing::metainfo(&bytes);
        for (index, byte, how) in damage {
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        fuzzing::metainfo(&bytes);
    }

    #[test]
    fn any_paths_are_survived(paths in prop::collection::vec("[ab./]{0,6}", 1..6)) {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        if let Ok(metainfo) = parse_paths(&paths) {
            let read: Vec<_> = metainfo.files.iter().map(File::joined).collect();
            let mut distinct = read.clone();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), read.len(), "{:?}", read);
            let begins = |a: &str, b: &str| b.starts_with(&format!("{a}/"));
            prop_assert!(read.iter().all(|a| !read.iter().any(|b| begins(a, b))), "{:?}", read);
            prop_assert!(!read.join("/").split('/').any(|c| matches!(c, "" | "." | "..")));
        }
    }
}
