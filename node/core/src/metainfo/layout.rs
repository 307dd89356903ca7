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
