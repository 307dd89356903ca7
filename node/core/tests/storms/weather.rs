//! Inputs from a seed: random ones, and real ones that something was done to.

use shoal_core::rng::Rng;

/// The longest random input, bytes, but for one in a hundred.
const LEN_MAX: usize = 160;
/// The longest of those.
const LONG_MAX: usize = 4096;
/// The most changes to one input.
const CHANGES_MAX: usize = 6;

/// Numbers at the borders of what fields hold.
const BORDERS: [&[u8]; 12] = [
    b"0",
    b"-1",
    b"1",
    b"255",
    b"65536",
    b"2147483648",
    b"4294967295",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"99999999999999999999",
    b"0000000007",
];

pub(crate) struct Weather(Rng);

impl Weather {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// Any bytes, or the words of a language in any order with a few bytes between them.
    pub(crate) fn random(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let longest = if self.0.below(100) == 0 { LONG_MAX } else { LEN_MAX };
        let len = self.0.below(longest + 1);
        let speaks = self.0.below(2) == 0;
        let mut bytes = Vec::with_capacity(len + 32);
        while bytes.len() < len {
            if speaks && self.0.below(8) != 0 {
                bytes.extend_from_slice(words[self.0.below(words.len())]);
            } else {
                bytes.push(self.byte());
            }
        }
        bytes
    }

    /// One of the samples with some changes.
    pub(crate) fn mutated(&mut self, samples: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = samples[self.0.below(samples.len())].clone();
        for _ in 0..=self.0.below(CHANGES_MAX) {
            self.change(&mut bytes, samples, words);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, samples: &[Vec<u8>], words: &[&[u8]]) {
        let at = self.0.below(bytes.len() + 1);
        let end = at + self.0.below((bytes.len() - at).min(64) + 1);
        let byte = self.byte();
        match (self.0.below(9), bytes.get_mut(at)) {
            (0, Some(there)) => *there ^= 1 << (byte & 7),
            (1, Some(there)) => *there = byte,
            (2, _) => bytes.insert(at, byte),
            (3, _) => drop(bytes.drain(at..end)),
            (4, _) => bytes.truncate(at),
            (5, _) => {
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
            (6, _) => {
                bytes.splice(at..end, words[self.0.below(words.len())].iter().copied());
            }
            (7, _) => self.renumber(bytes, at),
            _ => {
                let other = &samples[self.0.below(samples.len())];
                let from = self.0.below(other.len() + 1);
                let to = from + self.0.below((other.len() - from).min(64) + 1);
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }

    /// Another number in place of the first one from `at` on.
    fn renumber(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit) else { return };
        let start = at + start;
        let len = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let other = BORDERS[self.0.below(BORDERS.len())];
        bytes.splice(start..start + len, other.iter().copied());
    }

    fn byte(&mut self) -> u8 {
        // The low eight bits.
        self.0.u64().to_le_bytes()[0]
    }
}
