//! Magnet links (BEP 9, with the peers of BEP 53's `x.pe`): a torrent named by its info hash alone.
//! Never here: how its metadata is found.

use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE32;
use percent_encoding::percent_decode_str;

use crate::{
    bencode::Item,
    config::{GIVEN_PEERS_MAX, MAGNET_LEN_MAX, MAGNET_NAME_LEN_MAX, TRACKERS_MAX, URL_LEN_MAX},
    ids::InfoHash,
    metainfo::MetainfoError,
    wire::extended::clean,
};

/// What a magnet link says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Magnet {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// What the link calls it (`dn`): at most [`MAGNET_NAME_LEN_MAX`] characters that can be shown.
    pub name: Option<String>,
    /// Its trackers (`tr`), each a tier of its own, at most [`TRACKERS_MAX`].
    pub trackers: Vec<Vec<String>>,
    /// Where peers listen (`x.pe`), at most [`GIVEN_PEERS_MAX`]; names of hosts are left out.
    pub peers: Vec<SocketAddr>,
}

/// Why a magnet link is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MagnetError {
    /// It does not begin like one.
    #[error("does not begin with \"magnet:?\"")]
    NoMagnet,
    /// Longer than [`MAGNET_LEN_MAX`].
    #[error("{0} bytes long where at most {MAGNET_LEN_MAX} are read")]
    TooLong(usize),
    /// It names no info hash.
    #[error("names no torrent: xt=urn:btih:… is missing")]
    NoTopic,
    /// The info hash is none.
    #[error("{0:?} is no info hash: 40 hexadecimal digits or 32 of base32 are needed")]
    Hash(String),
    /// Two different info hashes.
    #[error("names two torrents: {0} and {1}")]
    TwoTopics(InfoHash, InfoHash),
    /// It names a v2 torrent only (BEP 52).
    #[error("{}", MetainfoError::V2Only)]
    V2Only,
}

/// The beginning of every magnet link.
const SCHEME: &str = "magnet:";

impl Magnet {
    /// Whether a text is meant as a magnet link.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        let scheme = text.trim_start().get(..SCHEME.len());
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// Reads a magnet link. Unknown keys are ignored, so are trackers and peers that make no sense
    /// or are too many.
    ///
    /// # Errors
    /// [`MagnetError`].
    pub fn parse(text: &str) -> Result<Self, MagnetError> {
        let text = text.trim();
        if text.len() > MAGNET_LEN_MAX {
            return Err(MagnetError::TooLong(text.len()));
        }
        if !Self::is_meant(text) {
            return Err(MagnetError::NoMagnet);
        }
        let query = text[SCHEME.len()..].strip_prefix('?').ok_or(MagnetError::NoMagnet)?;
        let (mut hash, mut is_v2) = (None, false);
        let (mut name, mut trackers, mut peers) = (None, Vec::new(), Vec::new());
        for (key, value) in query.split('&').filter_map(|field| field.split_once('=')) {
            // Repeated keys may be numbered: `tr.1`.
            let key = key.to_ascii_lowercase();
            let number = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
            let key = match key.rsplit_once('.') {
                Some((bare, digits)) if number(digits) => bare,
                _ => key.as_str(),
            };
            match key {
                "xt" => match topic(&decoded(value))? {
                    Topic::V1(found) => match hash.replace(found) {
                        Some(other) if other != found => {
                            return Err(MagnetError::TwoTopics(other, found));
                        }
                        Some(_) | None => {}
                    },
                    Topic::V2 => is_v2 = true,
                    Topic::Other => {}
                },
                "dn" if name.is_none() => {
                    let shown = clean(&decoded(&value.replace('+', " ")), MAGNET_NAME_LEN_MAX);
                    name = Some(shown).filter(|name| !name.is_empty());
                }
                "tr" => take_tracker(&decoded(value), &mut trackers),
                "x.pe" if peers.len() < GIVEN_PEERS_MAX => peers.extend(peer(&decoded(value))),
                _ => {}
            }
        }
        let info_hash = match (hash, is_v2) {
            (Some(hash), _) => hash,
            (None, true) => return Err(MagnetError::V2Only),
            (None, false) => return Err(MagnetError::NoTopic),
        };
        peers.sort_unstable();
        peers.dedup();
        Ok(Self { info_hash, name, trackers, peers })
    }

    /// What to call the torrent while nothing but the link is known of it.
    #[must_use]
    pub fn shown_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{:.8}", self.info_hash.to_string()))
    }
}

/// A metainfo file of an info dictionary that was found, with the trackers of its link.
#[must_use]
pub fn metainfo_file(trackers: &[Vec<String>], info_bytes: &[u8]) -> Vec<u8> {
    let mut entries = vec![("info", Item::Raw(info_bytes.into()))];
    if let Some(first) = trackers.iter().flatten().next() {
        let tiers = trackers.iter().map(|urls| Item::list(urls.iter().map(String::as_str)));
        entries.push(("announce", Item::from(first.as_str())));
        entries.push(("announce-list", Item::list(tiers)));
    }
    Item::dict(entries).encode()
}

enum Topic {
    V1(InfoHash),
    V2,
    Other,
}

fn topic(urn: &str) -> Result<Topic, MagnetError> {
    let lower = urn.to_ascii_lowercase();
    if lower.starts_with("urn:btmh:") {
        return Ok(Topic::V2);
    }
    let Some(digits) = lower.strip_prefix("urn:btih:") else { return Ok(Topic::Other) };
    let wrong = || MagnetError::Hash(clean(&urn["urn:btih:".len()..], 64));
    match digits.len() {
        40 => digits.parse().map(Topic::V1).map_err(|_| wrong()),
        32 => {
            let bytes = BASE32.decode(digits.to_ascii_uppercase().as_bytes());
            let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
            bytes.map(|bytes| Topic::V1(InfoHash(bytes))).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn take_tracker(url: &str, trackers: &mut Vec<Vec<String>>) {
    let url = url.trim();
    let fits = url.contains("://") && url.len() <= URL_LEN_MAX;
    let known = trackers.iter().any(|tier: &Vec<String>| tier[0] == url);
    if fits && !known && !url.contains(char::is_control) && trackers.len() < TRACKERS_MAX {
        trackers.push(vec![url.to_owned()]);
    }
}

/// An address of `x.pe`, where it is one that somebody can be dialled at.
fn peer(text: &str) -> Option<SocketAddr> {
    let addr: SocketAddr = text.trim().parse().ok()?;
    let ip: IpAddr = addr.ip().to_canonical();
    let usable = addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast();
    usable.then_some(SocketAddr::new(ip, addr.port()))
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::Metainfo;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";

    fn refused(text: &str) -> String {
        Magnet::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_link_names_torrent_name_trackers_and_peers() {
        let link = format!(
            "magnet:?xt=urn:btih:{HEX}&dn=a+film%20%C3%A9%0a.webm&tr=http%3A%2F%2Ft%2Fannounce\
             &tr.1=udp://u:1&tr=http%3A%2F%2Ft%2Fannounce&x.pe=10.0.0.1:7000&x.pe=%5B::1%5D:2\
             &x.pe=host:1&x.pe=0.0.0.0:1&x.pe=10.0.0.1:0&ws=ignored&so=0-2"
        );
        let magnet = Magnet::parse(&link).unwrap();
        assert_eq!(magnet.info_hash.to_string(), HEX);
        assert_eq!(magnet.name.as_deref(), Some("a film é.webm"));
        assert_eq!(magnet.trackers, [["http://t/announce"], ["udp://u:1"]]);
        let peers: Vec<_> = magnet.peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["10.0.0.1:7000", "[::1]:2"]);
    }

    #[test]
    fn a_hash_may_be_base32_and_of_any_case() {
        let bytes: InfoHash = HEX.parse().unwrap();
        let base32 = BASE32.encode(&bytes.0);
        for digits in [HEX.to_owned(), HEX.to_uppercase(), base32.to_lowercase(), base32] {
            let magnet = Magnet::parse(&format!("MAGNET:?xt=URN:BTIH:{digits}")).unwrap();
            assert_eq!(magnet.info_hash, bytes);
            assert_eq!(magnet.shown_name(), "01234567");
        }
        // A hybrid torrent is opened as v1.
        let both = format!("magnet:?xt=urn:btmh:1220{HEX}&xt=urn:btih:{HEX}");
        assert_eq!(Magnet::parse(&both).unwrap().info_hash, bytes);
    }

    #[test]
    fn what_is_no_link_is_refused_with_the_reason() {
        assert!(refused("http://a").contains("magnet:?"));
        assert!(refused("magnet:xt=1").contains("magnet:?"));
        assert!(refused("magnet:?dn=a").contains("xt=urn:btih:"));
        assert!(refused("magnet:?xt=urn:sha1:abc").contains("xt=urn:btih:"));
        assert!(refused("magnet:?xt=urn:btih:123").contains("\"123\""));
        assert!(refused(&format!("magnet:?xt=urn:btih:{}", "g".repeat(40))).contains("info hash"));
        assert!(refused(&format!("magnet:?xt=urn:btih:{}", "1".repeat(32))).contains("info hash"));
        assert!(refused(&format!("magnet:?xt=urn:btmh:1220{HEX}")).contains("v2-only"));
        let other = HEX.replace('0', "1");
        let two = format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btih:{other}");
        assert!(refused(&two).contains("two torrents"));
        assert!(refused(&format!("magnet:?{}", "a".repeat(MAGNET_LEN_MAX))).contains("long"));
        for odd in ["", "magnet", "magnét:?xt=urn:btih:é", "magnet:?&&==&%&xt", "magnet:?xt=%FF"]
        {
            refused(odd);
        }
    }

    #[test]
    fn a_metainfo_file_is_made_of_what_was_found() {
        let info: &[u8] =
            b"d6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
        let trackers = vec![vec!["http://t/a".to_owned()], vec!["udp://u:1".to_owned()]];
        for trackers in [trackers, Vec::new()] {
            let metainfo = Metainfo::parse(&metainfo_file(&trackers, info)).unwrap();
            assert_eq!((metainfo.info_bytes.as_slice(), metainfo.trackers), (info, trackers));
        }
    }

    #[test]
    fn lists_end_at_their_limits() {
        let mut link = format!("magnet:?xt=urn:btih:{HEX}");
        for n in 1..=300 {
            link.push_str(&format!("&tr=http://t/{n}&x.pe=10.0.0.1:{n}"));
        }
        let magnet = Magnet::parse(&link).unwrap();
        assert_eq!(magnet.trackers.len(), TRACKERS_MAX);
        assert_eq!(magnet.peers.len(), GIVEN_PEERS_MAX);
    }
}
