//! Secrets, which only their owners have, and their hashes, which the node keeps.

use std::{fmt, io};

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::ID_PREFIX;

/// What every secret begins with, so that it is known where it was left lying about.
pub const PREFIX: &str = "shoal_";
/// Random bytes of a secret: nobody guesses 256 bits.
const SECRET_LEN: usize = 32;
/// Random bytes of an id.
const ID_LEN: usize = 6;

/// What a caller sends. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn random() -> io::Result<Self> {
        Ok(Self(format!("{PREFIX}{}", hex::encode(random::<SECRET_LEN>()?))))
    }

    /// A text that has the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let whole = digits.len() == 2 * SECRET_LEN;
        (whole && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Self(text.to_owned()))
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a secret's text. A plain hash will do: no secret can be guessed from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of a text, secret or not.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether they are the same; how long it takes does not depend on where they differ.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// An id that no token had before.
pub(super) fn random_id() -> io::Result<String> {
    Ok(format!("{ID_PREFIX}{}", hex::encode(random::<ID_LEN>()?)))
}

fn random<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    let mut filled = 0;
    while filled < LEN {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_a_form_and_no_two_are_the_same() {
        let (a, b) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.expose().len(), 70);
        assert_eq!(Secret::parse(a.expose()), Some(a.clone()));
        assert!(!format!("{a:?}").contains(a.expose()));
        let short = &a.expose()[..69];
        for bad in ["", "shoal_", short, &format!("{short}g"), &a.expose()[6..]] {
            assert_eq!(Secret::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_digest_is_that_of_the_standard_and_survives_text() {
        let digest = Digest::of("abc");
        let text = serde_json::to_string(&digest).unwrap();
        assert!(text.starts_with("\"ba7816bf8f01cfea"), "{text}");
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        assert!(digest.same(&Digest::of("abc")) && !digest.same(&Digest::of("abd")));
        assert!(serde_json::from_str::<Digest>("\"ba78\"").is_err());
    }
}
