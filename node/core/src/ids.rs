//! Identities: the names of torrents, peers, connections, leases and rounds. No behaviour.

use std::{fmt, str::FromStr};

/// The identity of a torrent: SHA-1 of the original bytes of its `info` dictionary (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

/// A peer's twenty bytes of BEP 3, ours being `-SH0100-` and twelve random bytes (BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

/// The index of a piece in its torrent, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PieceIndex(pub u32);

/// A connection of this node, unique for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// A torrent of this node, unique for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TorrentId(pub u32);

/// One grant of an extent to a connection. Its number is the generation: never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseId(pub u64);

/// A policy that was put in force: a new one each time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PolicyId(pub u64);

/// One consultation of a policy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RoundId(pub u64);

/// One announce to a tracker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AnnounceId(pub u64);

/// A job of this node: work that outlives the call that asked for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// A command of an operator, answered exactly once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommandId(pub u64);

impl PeerId {
    /// What this node's ids begin with (BEP 20).
    pub const PREFIX: [u8; 8] = *b"-SH0100-";

    /// The name of the client as its id tells it: `Azureus`-style ids give their two letters and
    /// version, anything else is `unknown`. Safe to print.
    #[must_use]
    pub fn client(&self) -> String {
        let id = &self.0;
        if id[0] != b'-' || id[7] != b'-' || !id[1..7].iter().all(u8::is_ascii_alphanumeric) {
            return "unknown".to_owned();
        }
        let code = String::from_utf8_lossy(&id[1..3]);
        let version = id[3..7].iter().map(|&b| char::from(b).to_string());
        let version = version.collect::<Vec<_>>().join(".");
        let name = match code.as_ref() {
            "SH" => "shoal",
            "LT" => "libtorrent",
            "lt" => "libtorrent (rakshasa)",
            "qB" => "qBittorrent",
            "TR" => "Transmission",
            "DE" => "Deluge",
            "rQ" => "rqbit",
            "UT" => "uTorrent",
            _ => return format!("{code} {version}"),
        };
        format!("{name} {version}")
    }
}

macro_rules! twenty_bytes {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = hex::FromHexError;

            /// Reads forty hexadecimal digits.
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; 20];
                hex::decode_to_slice(s, &mut bytes)?;
                Ok(Self(bytes))
            }
        }
    };
}

twenty_bytes!(InfoHash);
twenty_bytes!(PeerId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_names_never_carry_control_bytes() {
        assert_eq!(PeerId(*b"-SH0100-abcdefghijkl").client(), "shoal 0.1.0.0");
        assert_eq!(PeerId(*b"-\x1b[31m0-abcdefghijkl").client(), "unknown");
        assert_eq!(PeerId(*b"-XY1234-abcdefghijkl").client(), "XY 1.2.3.4");
    }

    #[test]
    fn info_hash_prints_as_it_parses() {
        let hash: InfoHash = "00112233445566778899aabbccddeeff00112233".parse().unwrap();
        assert_eq!(hash.to_string(), "00112233445566778899aabbccddeeff00112233");
        assert!("0011".parse::<InfoHash>().is_err());
    }
}
