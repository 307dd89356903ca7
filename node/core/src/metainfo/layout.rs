//! Which bytes of a torrent lie where: pieces, extents, slices of files, padding. Arithmetic only.

use std::ops::Range;

use crate::{config::EXTENT_LEN, ids::PieceIndex};

/// The geometry of a torrent.
///
/// Invariant: spans are not empty, follow each other without a gap, and end at `total_len`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    piece_len: u32,
    total_len: u64,
    spans: Vec<Span>,
}

/// The bytes of one file that is not empty.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Span {
    file: usize,
    offset: u64,
    len: u64,
    pad: bool,
}

/// A part of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileSlice {
    /// Index of the file in its torrent.
    pub file: usize,
    /// Where the slice begins in the file, bytes.
    pub file_offset: u64,
    /// Bytes, never 0.
    pub len: u64,
    /// The file is padding: zeros, not on a disk.
    pub pad: bool,
}

impl Layout {
    /// The layout of files in this order, each with its length in bytes and whether it is padding.
    /// `piece_len` is not 0; the lengths add up to at most `u64::MAX`, and to at most 2^32 pieces.
    #[must_use]
    pub fn new(piece_len: u32, files: impl IntoIterator<Item = (u64, bool)>) -> Self {
        let mut layout = Self { piece_len: piece_len.max(1), total_len: 0, spans: Vec::new() };
        for (file, (len, pad)) in files.into_iter().enumerate() {
            if len > 0 {
                layout.spans.push(Span { file, offset: layout.total_len, len, pad });
                layout.total_len += len;
            }
        }
        layout
    }

    /// Bytes in all, padding included.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        self.total_len
    }

    /// Bytes in all, without padding.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.spans.iter().filter(|span| !span.pad).map(|span| span.len).sum()
    }

    /// The length of every piece but the last, bytes.
    #[must_use]
    pub fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// The number of pieces.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        self.total_len.div_ceil(u64::from(self.piece_len)) as u32
    }

    /// Whether the torrent has this piece.
    #[must_use]
    pub fn has_piece(&self, piece: PieceIndex) -> bool {
        piece.0 < self.piece_count()
    }

    /// The length of a piece, bytes: shorter for the last one, 0 for one that does not exist.
    #[must_use]
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        let left = self.total_len.saturating_sub(self.piece_offset(piece));
        left.min(u64::from(self.piece_len)) as u32
    }

    /// Where a piece begins in the torrent, bytes.
    #[must_use]
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_len)
    }

    /// How many extents a piece has.
    #[must_use]
    pub fn extent_count(&self, piece: PieceIndex) -> u32 {
        self.piece_size(piece).div_ceil(EXTENT_LEN)
    }

    /// The bytes of the piece that its extent `extent` (from 0) is; empty beyond the last one.
    #[must_use]
    pub fn extent_range(&self, piece: PieceIndex, extent: u32) -> Range<u32> {
        let size = self.piece_size(piece);
        let start = extent.saturating_mul(EXTENT_LEN).min(size);
        start..start.saturating_add(EXTENT_LEN).min(size)
    }

    /// The pieces that hold bytes of this part of the torrent; empty where it is.
    #[must_use]
    pub fn pieces_of(&self, offset: u64, len: u64) -> Range<u32> {
        let piece_len = u64::from(self.piece_len);
        let end = offset.saturating_add(len).min(self.total_len);
        if offset >= end {
            return 0..0;
        }
        (offset / piece_len) as u32..end.div_ceil(piece_len) as u32
    }

    /// The parts of files that make up `len` bytes at `offset` of a piece, in order, as far as the
    /// piece reaches. O(log files) to begin, O(1) each.
    pub fn slices(
        &self,
        piece: PieceIndex,
        offset: u32,
        len: u32,
    ) -> impl Iterator<Item = FileSlice> + '_ {
        let piece_start = self.piece_offset(piece);
        let piece_end = piece_start + u64::from(self.piece_size(piece));
        let start = piece_start + u64::from(offset);
        let end = (start + u64::from(len)).min(piece_end);
        let first = self.spans.partition_point(|span| span.offset + span.len <= start);
        self.spans[first..].iter().take_while(move |span| span.offset < end).filter_map(
            move |span| {
                let from = start.max(span.offset);
                let to = end.min(span.offset + span.len);
                let slice = FileSlice {
                    file: span.file,
                    file_offset: from.saturating_sub(span.offset),
                    len: to.saturating_sub(from),
                    pad: span.pad,
                };
                (slice.len > 0).then_some(slice)
            },
        )
    }

    /// The ranges of a piece that are padding, in order, joined where they touch: zeros that are
    /// never requested.
    #[must_use]
    pub fn pad_ranges(&self, piece: PieceIndex) -> Vec<Range<u32>> {
        let mut ranges: Vec<Range<u32>> = Vec::new();
        let mut at = 0;
        for slice in self.slices(piece, 0, self.piece_len) {
            // A slice of a piece is no longer than the piece.
            let end = at + slice.len as u32;
            match ranges.last_mut() {
                Some(last) if slice.pad && last.end == at => last.end = end,
                _ if slice.pad => ranges.push(at..end),
                _ => {}
            }
            at = end;
        }
        ranges
    }

    /// Whether these bytes of a piece are padding and nothing else; `false` of no bytes.
    #[must_use]
    pub fn is_padding(&self, piece: PieceIndex, offset: u32, len: u32) -> bool {
        let mut slices = self.slices(piece, offset, len).peekable();
        slices.peek().is_some() && slices.all(|slice| slice.pad)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each byte of a torrent by itself: its file, its place there, whether it is padding.
    fn model(files: &[(u64, bool)]) -> Vec<(usize, u64, bool)> {
        let of = |(file, &(len, pad))| (0..len).map(move |at| (file, at, pad));
        files.iter().enumerate().flat_map(of).collect()
    }

    fn bytes_of(slices: impl Iterator<Item = FileSlice>) -> Vec<(usize, u64, bool)> {
        slices
            .inspect(|slice| assert!(slice.len > 0, "{slice:?}"))
            .flat_map(|s| (0..s.len).map(move |at| (s.file, s.file_offset + at, s.pad)))
            .collect()
    }

    #[test]
    fn torrent_without_bytes_has_no_pieces() {
        let layout = Layout::new(16384, [(0, false), (0, false)]);
        assert_eq!(layout.piece_count(), 0);
        assert_eq!(layout.piece_size(PieceIndex(0)), 0);
        assert_eq!(layout.slices(PieceIndex(0), 0, 5).count(), 0);
        assert!(!layout.is_padding(PieceIndex(0), 0, 5));
        assert_eq!(layout.extent_count(PieceIndex(0)), 0);
    }

    #[test]
    fn extents_cut_large_pieces() {
        let check = |piece_len: u32, total: u64, last: u32, expected: &[(u32, u32)]| {
            let layout = Layout::new(piece_len, [(total, false)]);
            let count = layout.extent_count(PieceIndex(last));
            let ranges = (0..count).map(|extent| layout.extent_range(PieceIndex(last), extent));
            let ranges: Vec<_> = ranges.map(|range| (range.start, range.end)).collect();
            assert_eq!(ranges, expected);
            assert!(layout.extent_range(PieceIndex(last), count).is_empty());
        };
        let mib = EXTENT_LEN;
        check(mib / 2, u64::from(mib), 1, &[(0, mib / 2)]);
        check(mib, u64::from(mib) + 1, 1, &[(0, 1)]);
        check(mib, u64::from(mib), 0, &[(0, mib)]);
        check(2 * mib, 2 * u64::from(mib), 0, &[(0, mib), (mib, 2 * mib)]);
        let three = [(0, mib), (mib, 2 * mib), (2 * mib, 2 * mib + 7)];
        check(4 * mib, 2 * u64::from(mib) + 7, 0, &three);
    }

    #[test]
    fn absurd_places_are_empty() {
        let layout = Layout::new(u32::MAX, [(10, false)]);
        assert_eq!(layout.slices(PieceIndex(u32::MAX), u32::MAX, u32::MAX).count(), 0);
        assert_eq!(layout.slices(PieceIndex(0), 10, u32::MAX).count(), 0);
        assert!(layout.pieces_of(u64::MAX, u64::MAX).is_empty());
        assert!(layout.extent_range(PieceIndex(0), u32::MAX).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn agrees_with_a_list_of_bytes(
            files in prop::collection::vec((0u64..20, prop::bool::weighted(0.3)), 0..12),
            piece_len in 1u32..30,
            (offset, len) in (0u32..40, 0u32..40),
        ) {
            let layout = Layout::new(piece_len, files.iter().copied());
            let bytes = model(&files);
            let pieces: Vec<_> = bytes.chunks(piece_len as usize).collect();
            prop_assert_eq!(layout.total_len(), bytes.len() as u64);
            prop_assert_eq!(layout.piece_count() as usize, pieces.len());
            prop_assert_eq!(layout.content_len(), bytes.iter().filter(|b| !b.2).count() as u64);
            for (index, piece) in pieces.iter().enumerate() {
                let index = PieceIndex(index as u32);
                prop_assert_eq!(layout.piece_size(index) as usize, piece.len());
                let part: Vec<_> =
                    piece.iter().skip(offset as usize).take(len as usize).copied().collect();
                prop_assert_eq!(bytes_of(layout.slices(index, offset, len)), &part[..]);
                let all_pad = !part.is_empty() && part.iter().all(|byte| byte.2);
                prop_assert_eq!(layout.is_padding(index, offset, len), all_pad);
                let pads = layout.pad_ranges(index);
                for (at, byte) in piece.iter().enumerate() {
                    let inside = pads.iter().filter(|range| range.contains(&(at as u32))).count();
                    prop_assert_eq!(inside, usize::from(byte.2));
                }
                prop_assert!(pads.windows(2).all(|pair| pair[0].end < pair[1].start), "joined");
            }
            prop_assert_eq!(layout.slices(PieceIndex(layout.piece_count()), 0, len).count(), 0);
        }

        #[test]
        fn pieces_of_a_range_are_those_that_hold_its_bytes(
            total in 0u64..200, piece_len in 1u32..30, offset in 0u64..220, len in 0u64..220,
        ) {
            let layout = Layout::new(piece_len, [(total, false)]);
            let mut expected: Vec<u32> =
                (offset..offset + len).filter(|at| *at < total)
                    .map(|at| (at / u64::from(piece_len)) as u32).collect();
            expected.dedup();
            prop_assert_eq!(layout.pieces_of(offset, len).collect::<Vec<_>>(), expected);
        }
    }
}
