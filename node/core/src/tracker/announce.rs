//! What a peer tells a tracker and what it hears back, as plain values ([BEP 3], [BEP 7],
//! [BEP 23], [BEP 24], [BEP 31] and the extension `shoal`). Never here: how they are spelt on the
//! wire.
//!
//! [BEP 3]: https://www.bittorrent.org/beps/bep_0003.html
//! [BEP 7]: https://www.bittorrent.org/beps/bep_0007.html
//! [BEP 23]: https://www.bittorrent.org/beps/bep_0023.html
//! [BEP 24]: https://www.bittorrent.org/beps/bep_0024.html
//! [BEP 31]: https://www.bittorrent.org/beps/bep_0031.html

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    ids::{InfoHash, PeerId},
    policy::Labels,
};

/// The largest byte count of an announce: bencoded integers are read as `i64` by most clients.
pub const BYTES_MAX: u64 = i64::MAX as u64;
/// The longest `key` of a peer that is kept, bytes (clients send 8 hexadecimal digits).
pub const KEY_LEN_MAX: usize = 64;
/// The longest `trackerid`, bytes.
pub const TRACKER_ID_LEN_MAX: usize = 256;
/// The longest reason or warning that is kept of a foreign tracker's reply, bytes.
pub const REASON_LEN_MAX: usize = 1024;
/// The longest encoding of the key `shoal` in a reply, bytes (§8 of the design).
pub const SHOAL_LEN_MAX: usize = 1024 * 1024;
/// The most peers taken from a reply, and the most listed under `shoal` (peers kept per torrent).
pub const REPLY_PEERS_MAX: usize = 2000;
/// The interval of a reply that names none, seconds (what most trackers use).
pub const INTERVAL_DEFAULT_S: u32 = 1800;

/// What a peer tells a tracker about one torrent (BEP 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceRequest {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Who announces.
    pub peer_id: PeerId,
    /// The port it listens on; 0 where it listens nowhere, and then nobody is given its address.
    pub port: u16,
    /// Payload bytes sent since `started`, at most [`BYTES_MAX`].
    pub uploaded: u64,
    /// Payload bytes received since `started`, at most [`BYTES_MAX`].
    pub downloaded: u64,
    /// Bytes missing of what it wants, at most [`BYTES_MAX`]; 0 makes it a seed.
    pub left: u64,
    /// What happened, `None` at the regular interval.
    pub event: Option<AnnounceEvent>,
    /// How many peers it would like; `None` leaves it to the tracker.
    pub numwant: Option<u32>,
    /// It takes the compact form (BEP 23).
    pub compact: bool,
    /// It does not need peer ids in the dictionary form.
    pub no_peer_id: bool,
    /// The address it would like to be known by; most trackers ignore it.
    pub ip: Option<IpAddr>,
    /// A secret that proves the same peer after a change of its address, at most [`KEY_LEN_MAX`]
    /// bytes.
    pub key: Option<Vec<u8>>,
    /// What the tracker said as its `tracker id`, at most [`TRACKER_ID_LEN_MAX`] bytes.
    pub tracker_id: Option<Vec<u8>>,
    /// The extension `shoal`; `None` is plain BEP 3.
    pub shoal: Option<ShoalStatus>,
}

/// What happened to the announcing peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AnnounceEvent {
    /// The first announce of a session.
    Started,
    /// The last missing byte arrived.
    Completed,
    /// It leaves.
    Stopped,
}

/// A peer's status in the extension `shoal` (§8 of the design). `Default` only asks whether the
/// tracker speaks it: that is the first announce, `shoal=1` alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShoalStatus {
    /// The bitfield of the pieces it has (as in BEP 3's message), while incomplete and at most
    /// [`crate::config::ANNOUNCE_HAVE_LEN_MAX`] bytes.
    pub have: Option<Vec<u8>>,
    /// Payload bytes served in its life, at most [`BYTES_MAX`].
    pub up: u64,
    /// Payload bytes fetched in its life, at most [`BYTES_MAX`].
    pub down: u64,
    /// Its operator's labels, at most 16 of 64 bytes each.
    pub labels: Labels,
}

/// What a tracker answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceReply {
    /// Seconds to wait until the next regular announce.
    pub interval_s: u32,
    /// Seconds that must pass before any further announce; `None` where the tracker said nothing.
    pub min_interval_s: Option<u32>,
    /// Seeds in the swarm.
    pub complete: Option<u32>,
    /// Leechers in the swarm.
    pub incomplete: Option<u32>,
    /// How often the torrent was completed.
    pub downloaded: Option<u32>,
    /// Some of the swarm, never the asking peer.
    pub peers: Vec<PeerEntry>,
    /// Shown to the operator; the announce succeeded all the same. From the wire: sanitise before a
    /// terminal.
    pub warning: Option<String>,
    /// To be repeated as `trackerid`.
    pub tracker_id: Option<Vec<u8>>,
    /// The address that the tracker saw (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// The peer set of the extension `shoal`; only in answer to `shoal=1`.
    pub shoal: Option<ShoalReply>,
}

/// A peer in a reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PeerEntry {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its id, which the compact form leaves out.
    pub id: Option<PeerId>,
}

/// The key `shoal` of a reply.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShoalReply {
    /// The peer set, the asking peer first, at most [`REPLY_PEERS_MAX`]. Shared by all who are told of
    /// a peer, where they are in one process with the tracker.
    pub peers: Vec<Arc<ShoalPeer>>,
}

/// A peer of the peer set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShoalPeer {
    /// Its id.
    pub id: PeerId,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Payload bytes served in its life; `None` where it reports none, as foreign peers.
    pub up: Option<u64>,
    /// Payload bytes fetched in its life; `None` where it reports none, as foreign peers.
    pub down: Option<u64>,
    /// Bytes missing of what it wants; 0 without a bitfield is a seed, which has every piece.
    pub left: u64,
    /// The bitfield of the pieces it has; `None` for seeds, for foreign peers, and where the reply
    /// had no room for it.
    pub have: Option<Vec<u8>>,
    /// Its operator's labels: shared, for a swarm has few that differ.
    pub labels: Arc<Labels>,
}

/// A tracker's refusal: BEP 3's `failure reason`, with BEP 31's `retry in`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}{}", Suffix(*.retry_in))]
pub struct Failure {
    /// What is wrong, at most [`REASON_LEN_MAX`] bytes. From the wire: sanitise before a terminal.
    pub reason: String,
    /// When to come again, where the tracker said so.
    pub retry_in: Option<RetryIn>,
}

/// When to come again after a failure (BEP 31).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryIn {
    /// After this many minutes.
    Minutes(u32),
    /// Not at all.
    Never,
}

impl AnnounceRequest {
    /// A regular announce of a peer that has nothing yet: everything else at BEP 3's defaults, in
    /// the compact form.
    #[must_use]
    pub fn new(info_hash: InfoHash, peer_id: PeerId, port: u16, left: u64) -> Self {
        Self {
            info_hash,
            peer_id,
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event: None,
            numwant: None,
            compact: true,
            no_peer_id: false,
            ip: None,
            key: None,
            tracker_id: None,
            shoal: None,
        }
    }
}

impl AnnounceEvent {
    /// As it stands in a query.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
        }
    }
}

impl AnnounceReply {
    /// A reply without peers.
    #[must_use]
    pub fn new(interval_s: u32) -> Self {
        Self {
            interval_s,
            min_interval_s: None,
            complete: None,
            incomplete: None,
            downloaded: None,
            peers: Vec::new(),
            warning: None,
            tracker_id: None,
            external_ip: None,
            shoal: None,
        }
    }
}

impl Failure {
    /// A failure that says nothing about coming again.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_in: None }
    }

    /// A failure that asking again will not cure.
    pub fn never(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_in: Some(RetryIn::Never) }
    }

    /// A failure that may pass.
    pub fn retry(reason: impl Into<String>, minutes: u32) -> Self {
        Self { reason: reason.into(), retry_in: Some(RetryIn::Minutes(minutes)) }
    }
}

/// Whether a peer at this address can be dialled at all.
#[must_use]
pub fn is_dialable(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

/// How the `retry in` of a failure reads after its reason.
struct Suffix(Option<RetryIn>);

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(RetryIn::Minutes(minutes)) => write!(f, " (retry in {minutes} min)"),
            Some(RetryIn::Never) => f.write_str(" (do not retry)"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_when_to_come_again() {
        assert_eq!(Failure::new("no").to_string(), "no");
        assert_eq!(Failure::retry("no", 5).to_string(), "no (retry in 5 min)");
        assert_eq!(Failure::never("no").to_string(), "no (do not retry)");
    }

    #[test]
    fn addresses_that_lead_nowhere_are_not_dialable() {
        for addr in ["10.0.0.1:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1"] {
            assert!(!is_dialable(addr.parse().unwrap()), "{addr}");
        }
        for addr in ["10.0.0.1:1", "127.0.0.1:65535", "[::1]:80"] {
            assert!(is_dialable(addr.parse().unwrap()), "{addr}");
        }
    }
}
