//! What a tracker answers (BEP 15): connect, announce, scrape, error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Action, PacketError, Reader, SENT_REPLY_LEN_MAX};
use crate::tracker::{
    announce::{REASON_LEN_MAX, REPLY_PEERS_MAX},
    query::SCRAPE_MAX,
    registry::Family,
    scrape::ScrapeEntry,
};

/// A reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The transaction id of the request.
    pub transaction: u32,
    /// What is said.
    pub body: Body,
}

/// What a reply says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// To a connect.
    Connect {
        /// To be used in what follows, for [`super::CONNECTION_USED_S`].
        connection: u64,
    },
    /// To an announce.
    Announce {
        /// Seconds to wait until the next regular announce.
        interval_s: u32,
        /// Leechers in the swarm.
        leechers: u32,
        /// Seeds in the swarm.
        seeders: u32,
        /// Some of the swarm, of the family of the client's address.
        peers: Vec<SocketAddr>,
    },
    /// To a scrape.
    Scrape {
        /// The numbers of each torrent, in the order asked for.
        entries: Vec<ScrapeEntry>,
    },
    /// The tracker refuses.
    Error {
        /// Why, at most [`REASON_LEN_MAX`] bytes. From the wire: sanitise before a terminal.
        reason: String,
    },
}

/// The begin of the reply to an announce; the peers follow, each in its compact form, at most
/// [`peers_max`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnnounceHead {
    /// The transaction id of the request.
    pub transaction: u32,
    /// As in [`Body::Announce`].
    pub interval_s: u32,
    /// As in [`Body::Announce`].
    pub leechers: u32,
    /// As in [`Body::Announce`].
    pub seeders: u32,
}

/// The length of action and transaction id, bytes.
pub const HEAD_LEN: usize = 8;

impl Reply {
    /// The packet for a client of this family, at most [`SENT_REPLY_LEN_MAX`] bytes: peers of the
    /// other family, and those for which there is no room, are left out.
    #[must_use]
    pub fn encode(&self, family: Family) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        self.encode_into(family, &mut out);
        out
    }

    /// Appends the packet to a buffer, as [`Reply::encode`].
    pub fn encode_into(&self, family: Family, out: &mut Vec<u8>) {
        let transaction = self.transaction;
        match &self.body {
            &Body::Connect { connection } => write_connect(transaction, connection, out),
            Body::Announce { interval_s, leechers, seeders, peers } => {
                let (interval_s, leechers, seeders) = (*interval_s, *leechers, *seeders);
                let head = AnnounceHead { transaction, interval_s, leechers, seeders };
                out.extend_from_slice(&head.encode());
                write_peers(peers, family, out);
            }
            Body::Scrape { entries } => {
                write_scrape(transaction, entries.iter().take(SCRAPE_MAX).copied(), out);
            }
            Body::Error { reason } => write_error(transaction, reason, out),
        }
    }

    /// Reads a packet from a tracker whose address is of this family, which is that of its peers.
    /// Bytes that make no whole peer or torrent are ignored, peers and torrents beyond
    /// [`REPLY_PEERS_MAX`] and [`SCRAPE_MAX`] too.
    ///
    /// # Errors
    /// A packet that ends too early, or an unknown action.
    pub fn decode(bytes: &[u8], family: Family) -> Result<Self, PacketError> {
        let mut reader = Reader::new(bytes);
        let (number, transaction) = (reader.u32()?, reader.u32()?);
        let body = match Action::read(number)? {
            Action::Connect => Body::Connect { connection: reader.u64()? },
            Action::Announce => {
                let (interval_s, leechers, seeders) = (reader.u32()?, reader.u32()?, reader.u32()?);
                let peers = read_peers(reader.rest, family);
                Body::Announce { interval_s, leechers, seeders, peers }
            }
            Action::Scrape => Body::Scrape { entries: read_entries(reader.rest) },
            Action::Error => Body::Error { reason: read_reason(reader.rest) },
        };
        Ok(Self { transaction, body })
    }
}

impl Body {
    /// What the packet is about.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Connect { .. } => Action::Connect,
            Self::Announce { .. } => Action::Announce,
            Self::Scrape { .. } => Action::Scrape,
            Self::Error { .. } => Action::Error,
        }
    }
}

impl AnnounceHead {
    /// Its length, bytes.
    pub const LEN: usize = 20;

    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::LEN] {
        let Self { transaction, interval_s, leechers, seeders } = self;
        let mut bytes = [0; Self::LEN];
        let numbers = [Action::Announce.number(), transaction, interval_s, leechers, seeders];
        for (place, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        bytes
    }
}

/// Appends the packet of a [`Body::Connect`].
pub fn write_connect(transaction: u32, connection: u64, out: &mut Vec<u8>) {
    write_head(Action::Connect, transaction, out);
    out.extend_from_slice(&connection.to_be_bytes());
}

/// Appends the packet of a [`Body::Scrape`], which may have at most [`SCRAPE_MAX`] entries.
pub fn write_scrape(
    transaction: u32,
    entries: impl Iterator<Item = ScrapeEntry>,
    out: &mut Vec<u8>,
) {
    write_head(Action::Scrape, transaction, out);
    for entry in entries {
        for number in [entry.complete, entry.downloaded, entry.incomplete] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends the packet of a [`Body::Error`], whose end is left out where there is no room for it.
pub fn write_error(transaction: u32, reason: &str, out: &mut Vec<u8>) {
    write_head(Action::Error, transaction, out);
    let room = REASON_LEN_MAX.min(SENT_REPLY_LEN_MAX - HEAD_LEN);
    out.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(room)]);
}

fn write_head(action: Action, transaction: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&action.number().to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
}

/// The most peers of a family in a reply that is written.
#[must_use]
pub fn peers_max(family: Family) -> usize {
    let len = match family {
        Family::V4 => 6,
        Family::V6 => 18,
    };
    (SENT_REPLY_LEN_MAX - AnnounceHead::LEN) / len
}

fn write_peers(peers: &[SocketAddr], family: Family, out: &mut Vec<u8>) {
    let of_family = peers.iter().filter(|peer| match family {
        Family::V4 => peer.is_ipv4(),
        Family::V6 => peer.is_ipv6(),
    });
    for peer in of_family.take(peers_max(family)) {
        match peer.ip() {
            IpAddr::V4(ip) => out.extend(ip.octets()),
            IpAddr::V6(ip) => out.extend(ip.octets()),
        }
        out.extend(peer.port().to_be_bytes());
    }
}

fn read_peers(bytes: &[u8], family: Family) -> Vec<SocketAddr> {
    let v4 = |&[a, b, c, d, port @ ..]: &[u8; 6]| {
        SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes(port))
    };
    let v6 = |peer: &[u8; 18]| {
        let number = peer.iter().take(16).fold(0, |number, &byte| number << 8 | u128::from(byte));
        SocketAddr::new(Ipv6Addr::from(number).into(), u16::from_be_bytes([peer[16], peer[17]]))
    };
    match family {
        Family::V4 => bytes.as_chunks().0.iter().take(REPLY_PEERS_MAX).map(v4).collect(),
        Family::V6 => bytes.as_chunks().0.iter().take(REPLY_PEERS_MAX).map(v6).collect(),
    }
}

fn read_entries(bytes: &[u8]) -> Vec<ScrapeEntry> {
    let (numbers, _) = bytes.as_chunks::<4>();
    let (entries, _) = numbers.as_chunks::<3>();
    let entries = entries.iter().take(SCRAPE_MAX).map(|entry| {
        let [complete, downloaded, incomplete] = entry.map(u32::from_be_bytes);
        ScrapeEntry { complete, incomplete, downloaded }
    });
    entries.collect()
}

/// Text from the wire, whatever its encoding; some trackers end it as C does.
fn read_reason(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(REASON_LEN_MAX)];
    let mut reason = String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    reason.truncate(reason.floor_char_boundary(REASON_LEN_MAX));
    reason
}
