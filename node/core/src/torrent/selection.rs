//! Which files of a torrent are wanted, and what follows from it: wanted pieces and bytes.
//! Never here: how files are named by an operator, or where pieces stand.

use std::sync::Arc;

use crate::{
    bitfield::Bitfield,
    ids::PieceIndex,
    metainfo::{FileKind, Metainfo},
};

/// The wanted files of a torrent; all of them by default. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection(Option<Arc<Bitfield>>);

impl Selection {
    /// These files, by index. What is no regular file counts for nothing; naming every regular file
    /// is wanting all.
    #[must_use]
    pub fn of(metainfo: &Metainfo, files: impl IntoIterator<Item = usize>) -> Self {
        let regular = |file: usize| {
            metainfo.files.get(file).is_some_and(|file| file.kind == FileKind::Regular)
        };
        let mut wanted = Bitfield::new(metainfo.files.len());
        for file in files.into_iter().filter(|&file| regular(file)) {
            wanted.set(file);
        }
        let all = (0..metainfo.files.len()).filter(|&file| regular(file)).count();
        Self((wanted.count_ones() < all).then(|| Arc::new(wanted)))
    }

    /// Whether every file is wanted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// The wanted files by index; none: all.
    #[must_use]
    pub fn files(&self) -> Option<&Bitfield> {
        self.0.as_deref()
    }

    /// Whether a file is wanted.
    #[must_use]
    pub fn wants(&self, file: usize) -> bool {
        self.0.as_ref().is_none_or(|files| files.get(file))
    }

    /// The wanted regular files, by index.
    pub fn regular<'a>(&'a self, metainfo: &'a Metainfo) -> impl Iterator<Item = usize> + 'a {
        let files = metainfo.files.iter().enumerate();
        let files =
            files.filter(|(index, file)| file.kind == FileKind::Regular && self.wants(*index));
        files.map(|(index, _)| index)
    }

    /// The pieces that hold bytes of a wanted file. Of padding alone only where all is wanted.
    #[must_use]
    pub fn pieces(&self, metainfo: &Metainfo) -> Bitfield {
        let count = metainfo.piece_count() as usize;
        if self.is_all() {
            return Bitfield::full(count);
        }
        let mut pieces = Bitfield::new(count);
        for file in self.regular(metainfo) {
            for piece in metainfo.file_pieces(file) {
                pieces.set(PieceIndex(piece));
            }
        }
        pieces
    }

    /// Bytes of the wanted files.
    #[must_use]
    pub fn bytes(&self, metainfo: &Metainfo) -> u64 {
        self.regular(metainfo).map(|file| metainfo.files[file].len).sum()
    }

    /// Bytes of the wanted files that a piece holds.
    #[must_use]
    pub fn bytes_of(&self, metainfo: &Metainfo, piece: PieceIndex) -> u64 {
        let layout = metainfo.layout();
        let slices = layout.slices(piece, 0, layout.piece_len());
        slices.filter(|slice| !slice.pad && self.wants(slice.file)).map(|slice| slice.len).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metainfo::create::{Content, CreateOptions, NewFile, Pad, Plan};

    const PIECE: u32 = 16 * 1024;

    /// A torrent of files of these lengths.
    fn torrent(lens: &[u64], pad: Pad) -> Metainfo {
        let file =
            |(index, &len): (usize, &u64)| NewFile { path: vec![format!("{index:03}")], len };
        let plan = Plan::new(CreateOptions {
            name: "release".to_owned(),
            content: Content::Multi(lens.iter().enumerate().map(file).collect()),
            piece_len: Some(PIECE),
            pad,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_unix: None,
        });
        let plan = plan.unwrap();
        let hashes = vec![[7; 20]; plan.layout().piece_count() as usize];
        Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap()
    }

    fn ones(field: &Bitfield) -> Vec<u32> {
        field.iter_ones().map(|piece| piece.0).collect()
    }

    #[test]
    fn a_piece_shared_with_an_unwanted_file_is_wanted_and_its_bytes_count_for_the_wanted_one() {
        let metainfo = torrent(&[20_000, 20_000, 0, 5], Pad::Never);
        let first = Selection::of(&metainfo, [0]);
        assert_eq!(ones(&first.pieces(&metainfo)), [0, 1]);
        assert_eq!(first.bytes(&metainfo), 20_000);
        assert_eq!(first.bytes_of(&metainfo, PieceIndex(1)), 20_000 - 16_384);
        let second = Selection::of(&metainfo, [1]);
        assert_eq!(ones(&second.pieces(&metainfo)), [1, 2]);
        assert_eq!(ones(&Selection::of(&metainfo, [2]).pieces(&metainfo)), [0; 0]);
    }

    #[test]
    fn naming_every_regular_file_is_wanting_all() {
        let metainfo = torrent(&[20_000, 20_000], Pad::Always);
        let pads = metainfo.files.iter().filter(|file| file.kind == FileKind::Pad);
        assert!(pads.count() > 0);
        let regular = (0..metainfo.files.len())
            .filter(|&file| metainfo.files[file].kind == FileKind::Regular)
            .collect::<Vec<_>>();
        assert!(Selection::of(&metainfo, regular.clone()).is_all());
        assert!(Selection::of(&metainfo, 0..1000).is_all());
        let last = Selection::of(&metainfo, regular.last().copied());
        assert!(!last.is_all() && !last.wants(0));
        assert!(Selection::default().pieces(&metainfo).is_full());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn pieces_and_bytes_agree_with_each_other(
            lens in prop::collection::vec(0u64..60_000, 1..10),
            picks in prop::collection::vec(any::<bool>(), 10),
            padded in any::<bool>(),
        ) {
            prop_assume!(lens.iter().sum::<u64>() > 0);
            let metainfo = torrent(&lens, if padded { Pad::Always } else { Pad::Never });
            let mut picks = picks.iter();
            let chosen = (0..metainfo.files.len()).filter(|_| picks.next().is_some_and(|pick| *pick));
            let selection = Selection::of(&metainfo, chosen);
            let pieces = selection.pieces(&metainfo);
            let mut sum = 0;
            for piece in (0..metainfo.piece_count()).map(PieceIndex) {
                let bytes = selection.bytes_of(&metainfo, piece);
                prop_assert!(bytes == 0 || pieces.get(piece));
                prop_assert!(selection.is_all() || bytes > 0 || !pieces.get(piece));
                sum += bytes;
            }
            prop_assert_eq!(sum, selection.bytes(&metainfo));
        }
    }
}
