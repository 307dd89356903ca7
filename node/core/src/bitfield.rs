//! A set of pieces: one bit each, most significant first as on the wire (BEP 3 §bitfield).
//!
//! Never here: what having or wanting a piece means.

use std::iter;

use crate::ids::PieceIndex;

/// A set over `0..len`, with its size known at all times. Bits beyond `len` are always zero.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bitfield {
    /// Bit `i` is bit `63 - i % 64` of word `i / 64`: big-endian words are the wire's bytes.
    words: Vec<u64>,
    len: usize,
    ones: usize,
}

/// Why bytes are no bitfield of the given length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BitfieldError {
    /// Not exactly as many bytes as the pieces need.
    #[error("bitfield of {got} bytes where {expected} are needed")]
    Length {
        /// Bytes received.
        got: usize,
        /// Bytes that the piece count needs.
        expected: usize,
    },
    /// A bit beyond the last piece is set.
    #[error("bitfield with spare bits set: its last byte is {last:#04x}")]
    SpareBits {
        /// The last byte.
        last: u8,
    },
}

/// What may name a bit: a [`PieceIndex`], or a plain index where the bits are not pieces.
pub trait BitIndex {
    /// The index, from 0.
    fn bit_index(self) -> usize;
}

impl BitIndex for PieceIndex {
    fn bit_index(self) -> usize {
        self.0 as usize
    }
}

impl BitIndex for usize {
    fn bit_index(self) -> usize {
        self
    }
}

impl Bitfield {
    /// An empty set over `0..len`.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len, ones: 0 }
    }

    /// The whole of `0..len`.
    #[must_use]
    pub fn full(len: usize) -> Self {
        let mut words = vec![u64::MAX; len.div_ceil(64)];
        if let (Some(last), spare @ 1..) = (words.last_mut(), len.wrapping_neg() % 64) {
            *last <<= spare;
        }
        Self { words, len, ones: len }
    }

    /// How many bytes a set over `0..len` takes on the wire.
    #[must_use]
    pub fn wire_len(len: usize) -> usize {
        len.div_ceil(8)
    }

    /// Reads the body of a `bitfield` message of a torrent of `len` pieces.
    ///
    /// # Errors
    /// [`BitfieldError::Length`] unless the length is exact, [`BitfieldError::SpareBits`] where a
    /// bit beyond the last piece is set.
    pub fn from_wire(bytes: &[u8], len: usize) -> Result<Self, BitfieldError> {
        let expected = Self::wire_len(len);
        if bytes.len() != expected {
            return Err(BitfieldError::Length { got: bytes.len(), expected });
        }
        let spare = len.wrapping_neg() % 8;
        if let Some(&last) = bytes.last()
            && last & !(0xff << spare) != 0
        {
            return Err(BitfieldError::SpareBits { last });
        }
        let words: Vec<u64> = bytes.chunks(8).map(word_of).collect();
        let ones = words.iter().map(|word| word.count_ones() as usize).sum();
        Ok(Self { words, len, ones })
    }

    /// The body of a `bitfield` message: exact length, spare bits zero.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate(Self::wire_len(self.len));
        bytes
    }

    /// Whether `index` is in the set; `false` beyond `len`.
    #[must_use]
    pub fn get(&self, index: impl BitIndex) -> bool {
        let index = index.bit_index();
        index < self.len && self.words[index / 64] & mask(index) != 0
    }

    /// Adds `index`. Returns whether it was absent; beyond `len` nothing happens.
    pub fn set(&mut self, index: impl BitIndex) -> bool {
        let index = index.bit_index();
        let added = index < self.len && !self.get(index);
        if added {
            self.words[index / 64] |= mask(index);
            self.ones += 1;
        }
        added
    }

    /// Removes `index`. Returns whether it was there.
    pub fn clear(&mut self, index: impl BitIndex) -> bool {
        let index = index.bit_index();
        let removed = self.get(index);
        if removed {
            self.words[index / 64] &= !mask(index);
            self.ones -= 1;
        }
        removed
    }

    /// The number of bits, set or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bits at all (not: none set).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bits are set, in O(1).
    #[must_use]
    pub fn count_ones(&self) -> usize {
        self.ones
    }

    /// Whether every bit is set; true of no bits at all.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// The set bits in rising order.
    pub fn iter_ones(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        bits(self.words.iter().copied(), self.len)
    }

    /// The set bits at or after `from`, in rising order.
    pub fn ones_from(&self, from: impl BitIndex) -> impl Iterator<Item = PieceIndex> + '_ {
        let from = from.bit_index();
        let at = (from / 64).min(self.words.len());
        let base = (at * 64) as u32;
        bits(self.words[at..].iter().copied(), self.len.saturating_sub(at * 64))
            .map(move |piece| PieceIndex(piece.0 + base))
            .skip_while(move |piece| (piece.0 as usize) < from)
    }

    /// How many bits are in both sets, 64 a step. Sets of different lengths are compared over the
    /// shorter one.
    #[must_use]
    pub fn count_common(&self, other: &Self) -> usize {
        let words = self.words.iter().zip(&other.words);
        words.map(|(ours, theirs)| (ours & theirs).count_ones() as usize).sum()
    }

    /// What is in this set and not in the other, 64 bits a step.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let theirs = other.words.iter().copied().chain(iter::repeat(0));
        let words = self.words.iter().zip(theirs).map(|(ours, theirs)| ours & !theirs);
        let words = words.collect::<Vec<_>>();
        let ones = words.iter().map(|word| word.count_ones() as usize).sum();
        Self { words, len: self.len, ones }
    }

    /// The unset bits in rising order.
    pub fn iter_zeros(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        bits(self.words.iter().map(|word| !word), self.len)
    }

    /// The first index at or after `from`, wrapping around, that is in both sets: of what a peer
    /// has (`self`), the next piece still `wanted`. 64 pieces a step. Sets of different lengths
    /// are compared over the shorter one.
    #[must_use]
    pub fn first_common_missing(&self, wanted: &Self, from: impl BitIndex) -> Option<PieceIndex> {
        let len = self.len.min(wanted.len);
        let from = from.bit_index();
        let from = if from < len { from } else { 0 };
        self.first_common(wanted, from, len).or_else(|| self.first_common(wanted, 0, from))
    }

    /// The first index in both sets within `from..to`.
    fn first_common(&self, other: &Self, from: usize, to: usize) -> Option<PieceIndex> {
        let mut mask = u64::MAX >> (from % 64);
        for at in from / 64..to.div_ceil(64) {
            let both = self.words[at] & other.words[at] & mask;
            if both != 0 {
                let index = at * 64 + both.leading_zeros() as usize;
                return (index < to).then_some(PieceIndex(index as u32));
            }
            mask = u64::MAX;
        }
        None
    }
}

impl std::fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bitfield({} of {})", self.ones, self.len)
    }
}

/// The word of at most eight wire bytes.
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(word)
}

fn mask(index: usize) -> u64 {
    1 << (63 - index % 64)
}

/// The set bits of these words below `len`.
fn bits(words: impl Iterator<Item = u64>, len: usize) -> impl Iterator<Item = PieceIndex> {
    words
        .enumerate()
        .flat_map(|(at, mut word)| {
            iter::from_fn(move || {
                let bit = word.leading_zeros() as usize;
                (bit < 64).then(|| {
                    word &= !mask(bit);
                    at * 64 + bit
                })
            })
        })
        .take_while(move |&index| index < len)
        .map(|index| PieceIndex(index as u32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(bits: &[bool]) -> Bitfield {
        let mut field = Bitfield::new(bits.len());
        for (index, _) in bits.iter().enumerate().filter(|(_, bit)| **bit) {
            assert!(field.set(index));
        }
        field
    }

    fn indices(bits: &[bool], wanted: bool) -> Vec<PieceIndex> {
        let of_kind = bits.iter().enumerate().filter(|(_, bit)| **bit == wanted);
        of_kind.map(|(index, _)| PieceIndex(index as u32)).collect()
    }

    #[test]
    fn first_piece_is_the_highest_bit_of_the_first_byte() {
        let mut field = Bitfield::new(10);
        field.set(PieceIndex(0));
        field.set(9);
        assert_eq!(field.to_wire(), [0x80, 0x40]);
    }

    #[test]
    fn wire_length_must_be_exact() {
        let length = |got, expected| Err(BitfieldError::Length { got, expected });
        assert_eq!(Bitfield::from_wire(&[0], 9), length(1, 2));
        assert!(Bitfield::from_wire(&[0, 0], 9).is_ok());
        assert_eq!(Bitfield::from_wire(&[0, 0, 0], 9), length(3, 2));
        assert!(Bitfield::from_wire(&[], 0).unwrap().is_full());
    }

    #[test]
    fn spare_bits_are_refused() {
        assert_eq!(Bitfield::from_wire(&[0xff, 0x80], 9).unwrap(), Bitfield::full(9));
        let refused = Bitfield::from_wire(&[0, 0x40], 9);
        assert_eq!(refused, Err(BitfieldError::SpareBits { last: 0x40 }));
        assert!(Bitfield::from_wire(&[0xff], 8).unwrap().is_full());
    }

    #[test]
    fn indices_beyond_the_end_change_nothing() {
        let mut field = Bitfield::new(3);
        assert!(!field.set(3));
        assert!(!field.get(PieceIndex(u32::MAX)));
        assert!(!field.clear(64));
        assert_eq!(field.count_ones(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn agrees_with_a_list_of_bools(
            mut bits in prop::collection::vec(any::<bool>(), 0..300),
            changes in prop::collection::vec((0usize..300, any::<bool>()), 0..100),
        ) {
            let mut field = of(&bits);
            for (index, on) in changes {
                let changed = bits.get(index).is_some_and(|bit| *bit != on);
                prop_assert_eq!(if on { field.set(index) } else { field.clear(index) }, changed);
                if let Some(bit) = bits.get_mut(index) {
                    *bit = on;
                }
            }
            prop_assert_eq!(&field, &of(&bits));
            prop_assert_eq!(field.count_ones(), bits.iter().filter(|bit| **bit).count());
            prop_assert_eq!(field.is_full(), bits.iter().all(|bit| *bit));
            prop_assert_eq!(field.iter_ones().collect::<Vec<_>>(), indices(&bits, true));
            prop_assert_eq!(field.iter_zeros().collect::<Vec<_>>(), indices(&bits, false));
            prop_assert_eq!(Bitfield::from_wire(&field.to_wire(), bits.len()), Ok(field));
            prop_assert_eq!(Bitfield::full(bits.len()), of(&vec![true; bits.len()]));
        }

        #[test]
        fn sets_are_compared_bit_by_bit(
            pairs in prop::collection::vec((any::<bool>(), any::<bool>()), 0..300),
        ) {
            let (ours, theirs): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let common = pairs.iter().filter(|(ours, theirs)| *ours && *theirs).count();
            prop_assert_eq!(of(&ours).count_common(&of(&theirs)), common);
            let rest = pairs.iter().map(|(ours, theirs)| *ours && !theirs).collect::<Vec<_>>();
            prop_assert_eq!(of(&ours).without(&of(&theirs)), of(&rest));
        }

        #[test]
        fn first_common_is_what_a_scan_finds(
            pairs in prop::collection::vec((prop::bool::weighted(0.1), prop::bool::weighted(0.2)), 0..300),
            from in 0usize..320,
        ) {
            let (theirs, wanted): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let start = if from < pairs.len() { from } else { 0 };
            let expected = (start..pairs.len()).chain(0..start).find(|&i| pairs[i] == (true, true));
            let found = of(&theirs).first_common_missing(&of(&wanted), from);
            prop_assert_eq!(found, expected.map(|index| PieceIndex(index as u32)));
        }
    }
}
