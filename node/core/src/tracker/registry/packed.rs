//! Values of a peer in few bytes. Never here: what they mean.

/// A number of 48 bits; a larger one is kept as the largest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct U48([u8; 6]);

/// A secret of at most [`Secret::LEN_MAX`] bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Secret {
    len: u8,
    bytes: [u8; Self::LEN_MAX],
}

impl U48 {
    pub(super) const MAX: u64 = (1 << 48) - 1;

    pub(super) fn new(number: u64) -> Self {
        let [_, _, bytes @ ..] = number.min(Self::MAX).to_be_bytes();
        Self(bytes)
    }

    pub(super) fn get(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl Secret {
    /// Clients send 8 hexadecimal digits (libtorrent, aria2, Transmission).
    pub(super) const LEN_MAX: usize = 8;
    /// A length that no secret has.
    const ABSENT: u8 = u8::MAX;

    pub(super) const NONE: Self = Self { len: Self::ABSENT, bytes: [0; Self::LEN_MAX] };

    /// `None` where it is too long.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::LEN_MAX];
        bytes.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(Self { len: u8::try_from(secret.len()).ok()?, bytes })
    }

    pub(super) fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..usize::from(self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_up_to_48_bits() {
        for (number, kept) in [(0, 0), (1, 1), (U48::MAX - 1, U48::MAX - 1), (U48::MAX, U48::MAX)] {
            assert_eq!(U48::new(number).get(), kept);
        }
        assert_eq!(U48::new(U48::MAX + 1).get(), U48::MAX);
        assert_eq!(U48::new(u64::MAX).get(), U48::MAX);
    }

    #[test]
    fn secrets_are_kept_up_to_their_length() {
        for len in [0, 1, Secret::LEN_MAX - 1, Secret::LEN_MAX] {
            let secret = vec![7; len];
            assert_eq!(Secret::new(&secret).unwrap().get(), Some(&*secret));
        }
        assert_eq!(Secret::new(&[7; Secret::LEN_MAX + 1]), None);
        assert_eq!(Secret::NONE.get(), None);
    }
}
