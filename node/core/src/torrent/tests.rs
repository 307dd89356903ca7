use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::metainfo::create::{Content, CreateOptions, NewFile, Pad, Plan};
use crate::rng::Rng;

const PIECE: u32 = 16 * 1024;
/// One and a half pieces, an empty file, less than a piece, three pieces, a few bytes.
const FILES: [u64; 5] = [24 * 1024, 0, 5000, 48 * 1024, 3];

fn torrent() -> Torrent {
    let files = FILES.iter().enumerate();
    let files = files.map(|(index, &len)| NewFile { path: vec![format!("{index}")], len });
    let plan = Plan::new(CreateOptions {
        name: "release".to_owned(),
        content: Content::Multi(files.collect()),
        piece_len: Some(PIECE),
        pad: Pad::Never,
        private: false,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        comment: None,
        created_unix: None,
    });
    let plan = plan.unwrap();
    let hashes = vec![[7; 20]; plan.layout().piece_count() as usize];
    let metainfo = Arc::new(Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap());
    let have = Bitfield::new(metainfo.piece_count() as usize);
    let opened = Opened { have, unverified: Vec::new(), downloaded: 0, uploaded: 0 };
    let (resume, selection) = (Resume::default(), Selection::default());
    let rng = &mut Rng::new(1);
    Torrent::new(TorrentId(1), metainfo, &opened, resume, selection, rng, Timestamp::default())
}

fn waiting(torrent: &Torrent) -> Vec<u32> {
    torrent.picker.waiting().iter_ones().map(|piece| piece.0).collect()
}

fn had(torrent: &mut Torrent, piece: u32) {
    let piece = PieceIndex(piece);
    torrent.pieces.found(piece);
    torrent.picker.remove(piece);
    torrent.count_had(piece);
}

#[test]
fn what_is_left_are_bytes_of_wanted_files() {
    let mut torrent = torrent();
    torrent.select(Selection::of(&torrent.metainfo, [2, 3]));
    assert_eq!((torrent.wanted_bytes, torrent.left_bytes()), (5000 + 48 * 1024, 5000 + 48 * 1024));
    assert_eq!(waiting(&torrent), [1, 2, 3, 4]);
    // The first half of this piece belongs to a file that is not wanted.
    had(&mut torrent, 1);
    assert_eq!(torrent.wanted_done_bytes, 8 * 1024);
    assert_eq!(torrent.done_bytes, 16 * 1024);
    // One that nobody wants counts for nothing.
    had(&mut torrent, 0);
    assert_eq!((torrent.wanted_done_bytes, torrent.done_bytes), (8 * 1024, 32 * 1024));
    torrent.select(Selection::of(&torrent.metainfo, [0, 1]));
    assert!(torrent.is_finished() && !torrent.is_complete());
    assert_eq!((torrent.left_bytes(), torrent.complete_files()), (0, vec![0, 1]));
    torrent.select(Selection::default());
    assert!(!torrent.is_finished());
    assert_eq!(torrent.wanted_done_bytes, torrent.done_bytes);
    assert_eq!(waiting(&torrent), [2, 3, 4]);
}

#[test]
fn an_empty_file_alone_leaves_nothing_to_fetch() {
    let mut torrent = torrent();
    torrent.select(Selection::of(&torrent.metainfo, [1]));
    assert!(torrent.is_finished() && torrent.picker.is_empty());
    assert_eq!((torrent.wanted_bytes, torrent.complete_files()), (0, vec![1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is selected and whatever becomes of pieces: what waits is what is wanted, not had
    /// and not in work.
    #[test]
    fn what_waits_is_what_is_wanted_and_neither_had_nor_in_work(
        steps in prop::collection::vec((0u8..7, 0u32..5, 0u32..32), 0..100),
    ) {
        let mut torrent = torrent();
        let pieces = torrent.metainfo.piece_count();
        let (mut had, mut work) = (BTreeSet::new(), BTreeSet::new());
        let mut wanted = (0..pieces).collect::<BTreeSet<_>>();
        for (step, index, files) in steps {
            let piece = PieceIndex(index);
            let free = torrent.pieces.is_missing(piece);
            match step {
                0 | 1 => {
                    let chosen = (0..FILES.len()).filter(|file| files & (1 << file) != 0);
                    let chosen = chosen.collect::<Vec<_>>();
                    torrent.select(Selection::of(&torrent.metainfo, chosen.iter().copied()));
                    let of = |&file: &usize| torrent.metainfo.file_pieces(file);
                    wanted = chosen.iter().flat_map(of).collect();
                }
                // An operator may ask for what is not wanted.
                2 if free => {
                    let plan = torrent.plan(piece);
                    torrent.picker.remove(piece);
                    torrent.pieces.begin(piece, &plan, None);
                    work.insert(index);
                }
                3 if torrent.pieces.opened(piece).is_some() => {
                    torrent.pieces.give_up(piece);
                    work.remove(&index);
                    torrent.put_back(piece);
                }
                4 if free => {
                    torrent.pieces.check(piece);
                    torrent.picker.remove(piece);
                    work.insert(index);
                }
                5 if torrent.pieces.is_checking(piece) => {
                    torrent.pieces.found(piece);
                    torrent.count_had(piece);
                    work.remove(&index);
                    had.insert(index);
                }
                6 if had.remove(&index) => {
                    torrent.pieces.lost(piece);
                    torrent.put_back(piece);
                    torrent.count_lost(piece);
                }
                _ => {}
            }
            let expected = wanted.iter().copied().filter(|p| !had.contains(p) && !work.contains(p));
            prop_assert_eq!(waiting(&torrent), expected.collect::<Vec<_>>());
            prop_assert_eq!(torrent.is_finished(), wanted.is_subset(&had));
            torrent.pieces.check_invariants();
        }
    }
}

#[test]
fn what_a_tracker_reported_is_found_by_the_whole_id() {
    let mut torrent = torrent();
    let id = |first: u8, last: u8| {
        let mut id = [first; 20];
        id[19] = last;
        PeerId(id)
    };
    let known = |id, left| {
        let (addr, labels) = (([10, 0, 0, 1], 7000).into(), Arc::default());
        Arc::new(ShoalPeer { id, addr, up: None, down: None, left, have: None, labels })
    };
    // The last bytes of the first two are the same.
    let mut twin = [2; 20];
    twin[16..].copy_from_slice(&id(1, 5).0[16..]);
    let ids = [id(1, 5), PeerId(twin)];
    let all = ids.into_iter().chain((10..60).map(|n| id(3, n)));
    let shoal = all.zip(0..).map(|(id, left)| known(id, left)).collect::<Vec<_>>();
    torrent.take_peer_set(PeerSetView { shoal: shoal.clone(), ..PeerSetView::default() });
    for peer in &shoal {
        assert_eq!(torrent.reported(&peer.id), Some(&**peer));
    }
    assert_eq!(torrent.reported(&id(4, 5)), None);
    assert_eq!(torrent.reported(&id(1, 9)), None);
}
