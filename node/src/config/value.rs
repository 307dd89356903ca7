//! The values that flags, variables and the configuration file share: read from one spelling,
//! printed in the same. Never here: which of them wins.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use shoal_core::config::Unchoke;

/// A text that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(pub String);

/// A number of bytes: `64MiB`, `1.5 GB`, `4096`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let size = text.parse::<ByteSize>();
        let size = size.map_err(|_| BadValue(format!("'{text}' is no size such as 64MiB")))?;
        Ok(Self(size.as_u64()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1_u64 << 10)] {
            if self.0 >= bytes && self.0.is_multiple_of(bytes) {
                return write!(f, "{}{unit}", self.0 / bytes);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Bytes a second, 0 for no limit: `20MB`, `512KiB`, `20MB/s`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ByteRate(pub u64);

impl FromStr for ByteRate {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let size = text.strip_suffix("/s").unwrap_or(text).parse::<ByteSize>();
        let cause =
            || format!("'{text}' is no rate such as 20MB or 512KiB, which are bytes a second");
        Ok(Self(size.map_err(|_| BadValue(cause()))?.as_u64()))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in [("GB", 1_000_000_000), ("MB", 1_000_000)] {
            if self.0 >= bytes && self.0.is_multiple_of(bytes) {
                return write!(f, "{}{unit}", self.0 / bytes);
            }
        }
        Size(self.0).fmt(f)
    }
}

/// Where the control surface listens: `unix:PATH` or `IP:PORT`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlAddr {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address; beyond loopback it needs TLS.
    Tcp(SocketAddr),
}

impl FromStr for ControlAddr {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(BadValue(format!("'{text}' names no path")));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let addr = text.parse().map_err(|_| {
            BadValue(format!("'{text}' is neither unix:PATH nor IP:PORT such as 127.0.0.1:7002"))
        })?;
        Ok(Self::Tcp(addr))
    }
}

impl fmt::Display for ControlAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(addr) => addr.fmt(f),
        }
    }
}

/// Where metrics are told: `IP:PORT`, or `PORT` on loopback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetricsAddr(pub SocketAddr);

impl FromStr for MetricsAddr {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let port = text.parse::<u16>().ok().map(|port| (Ipv4Addr::LOCALHOST, port).into());
        let addr = port.or_else(|| text.parse().ok());
        addr.map(Self).ok_or_else(|| {
            BadValue(format!("'{text}' is neither a port nor IP:PORT such as 127.0.0.1:7003"))
        })
    }
}

impl fmt::Display for MetricsAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A torrent and the data it is seeded from: `FILE.torrent=DATA`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeedSpec {
    /// The metainfo file.
    pub torrent: PathBuf,
    /// The file or folder.
    pub data: PathBuf,
}

impl FromStr for SeedSpec {
    type Err = BadValue;

    /// Splits behind the first `.torrent`, so that the data's path may hold an `=`; else at the
    /// first `=`.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        const SUFFIX: &str = ".torrent";
        let at = text.find(".torrent=").map(|at| at + SUFFIX.len()).or_else(|| text.find('='));
        match at.map(|at| (&text[..at], &text[at + 1..])) {
            Some((torrent, data)) if !torrent.is_empty() && !data.is_empty() => {
                Ok(Self { torrent: torrent.into(), data: data.into() })
            }
            Some(_) | None => Err(BadValue(format!("'{text}' is not FILE.torrent=DATA"))),
        }
    }
}

impl fmt::Display for SeedSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.torrent.display(), self.data.display())
    }
}

/// Whose requests are served: `all`, or those of so many peers of each torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unchoking(pub Unchoke);

impl FromStr for Unchoking {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let slots = match text {
            "all" => return Ok(Self(Unchoke::All)),
            slots => slots.parse().ok().filter(|slots| *slots > 0),
        };
        let slots = slots.ok_or_else(|| {
            BadValue(format!("'{text}' is neither 'all' nor a number of peers above 0"))
        })?;
        Ok(Self(Unchoke::Slots(slots)))
    }
}

impl fmt::Display for Unchoking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unchoke::All => f.write_str("all"),
            Unchoke::Slots(slots) => slots.fmt(f),
        }
    }
}

/// A key and its value: `zone=a`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// What stands before the first `=`; never empty.
    pub key: String,
    /// What stands behind it.
    pub value: String,
}

impl FromStr for Pair {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            Some(_) | None => Err(BadValue(format!("'{text}' is not KEY=VALUE"))),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

as_text!(Size, ByteRate, Unchoking, ControlAddr, MetricsAddr, SeedSpec);

/// Reads pairs from a TOML table: `label = { zone = "a" }`.
pub(super) fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pair>, D::Error> {
    let table = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(table.into_iter().map(|(key, value)| Pair { key, value }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_as_they_are_read() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("1000", 1000), ("3KiB", 3072)]
        {
            assert_eq!(text.parse::<Size>(), Ok(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert!("much".parse::<Size>().is_err());
    }

    #[test]
    fn rates_print_as_they_are_read() {
        let check = |text: &str, bps: u64, printed: &str| {
            assert_eq!(text.parse::<ByteRate>(), Ok(ByteRate(bps)), "{text}");
            assert_eq!(ByteRate(bps).to_string(), printed);
            assert_eq!(printed.parse(), Ok(ByteRate(bps)), "{printed}");
        };
        check("20MB", 20_000_000, "20MB");
        check("20 MB/s", 20_000_000, "20MB");
        check("1.5 GB", 1_500_000_000, "1500MB");
        check("512KiB", 512 << 10, "512KiB");
        check("8MiB/s", 8 << 20, "8MiB");
        check("1025", 1025, "1025");
        check("0", 0, "0");
        for bad in ["fast", "", "20Mbit", "20MB/min", "-1"] {
            let error = bad.parse::<ByteRate>().unwrap_err().to_string();
            assert!(error.contains("bytes a second"), "{bad}: {error}");
        }
    }

    #[test]
    fn who_is_unchoked_prints_as_it_is_read() {
        for (text, expected) in
            [("all", Unchoke::All), ("1", Unchoke::Slots(1)), ("4", Unchoke::Slots(4))]
        {
            assert_eq!(text.parse(), Ok(Unchoking(expected)), "{text}");
            assert_eq!(Unchoking(expected).to_string(), text);
        }
        for bad in ["0", "", "-1", "slots", "4294967296"] {
            let error = bad.parse::<Unchoking>().unwrap_err().to_string();
            assert!(error.contains("above 0"), "{bad}: {error}");
        }
    }

    #[test]
    fn control_addresses_are_paths_or_ip_and_port() {
        let unix = ControlAddr::Unix("/run/x.sock".into());
        assert_eq!("unix:/run/x.sock".parse(), Ok(unix.clone()));
        assert_eq!("unix:///run/x.sock".parse(), Ok(unix));
        assert_eq!("[::1]:0".parse(), Ok(ControlAddr::Tcp("[::1]:0".parse().unwrap())));
        for bad in ["unix:", "localhost:1", "7002", ""] {
            assert!(bad.parse::<ControlAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn metrics_are_on_loopback_unless_an_address_is_named() {
        for (text, expected) in
            [("7003", "127.0.0.1:7003"), ("0.0.0.0:7003", "0.0.0.0:7003"), ("[::1]:0", "[::1]:0")]
        {
            let addr = text.parse::<MetricsAddr>().unwrap();
            assert_eq!(addr.to_string(), expected, "{text}");
            assert_eq!(expected.parse(), Ok(addr));
        }
        for bad in ["", "65536", "localhost:7003", ":7003", "127.0.0.1", "unix:/m"] {
            assert!(bad.parse::<MetricsAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_seed_is_a_torrent_and_data_with_any_sign_in_its_path() {
        let check = |text: &str, torrent: &str, data: &str| {
            let expected = SeedSpec { torrent: torrent.into(), data: data.into() };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        };
        check("a.torrent=b=c", "a.torrent", "b=c");
        check("x=y.torrent=data", "x=y.torrent", "data");
        check("meta=data", "meta", "data");
        for bad in ["a.torrent", "=b", "a.torrent="] {
            assert!(bad.parse::<SeedSpec>().is_err(), "{bad}");
        }
    }
}
