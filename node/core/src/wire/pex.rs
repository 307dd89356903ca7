//! The message of peer exchange, `ut_pex` (BEP 11): whom the sender is connected with, as
//! differences. Never here: what is told to whom, or what is believed.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::{
    address::is_host,
    bencode::{self, Dict, Item, Value},
    config::PEX_PEERS_MAX,
    wire::fault::{InvalidMessage, PeerFault},
};

/// The flag of a peer that wants nothing: a seed, or one that said `upload_only`.
pub const SEED: u8 = 0x02;
/// The flag of a peer that the sender could dial.
pub const REACHABLE: u8 = 0x10;

/// The bytes of a compact address, the port included.
const V4_LEN: usize = 6;
const V6_LEN: usize = 18;

/// A message of `ut_pex`. Of each list at most [`PEX_PEERS_MAX`] are written and read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PexMessage {
    /// Peers that the sender is connected with, and was not when it spoke last.
    pub added: Vec<PexPeer>,
    /// Where peers listen that the sender is not connected with any more.
    pub dropped: Vec<SocketAddr>,
}

/// A peer as another one tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PexPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What is said of it: [`SEED`], [`REACHABLE`], bits of others; 0 where nothing is said.
    pub flags: u8,
}

impl PexMessage {
    /// Whether it says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }

    /// The payload of the extended message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let added = || self.added.iter().take(PEX_PEERS_MAX);
        let flags = |v4: bool| {
            let family = added().filter(move |peer| peer.addr.is_ipv4() == v4);
            family.map(|peer| peer.flags).collect::<Vec<_>>()
        };
        let dropped = || self.dropped.iter().take(PEX_PEERS_MAX).copied();
        Item::dict([
            ("added", Item::from(compact(added().map(|peer| peer.addr), true))),
            ("added.f", Item::from(flags(true))),
            ("added6", Item::from(compact(added().map(|peer| peer.addr), false))),
            ("added6.f", Item::from(flags(false))),
            ("dropped", Item::from(compact(dropped(), true))),
            ("dropped6", Item::from(compact(dropped(), false))),
        ])
        .encode()
    }

    /// Reads the payload of an extended message of this kind. A list of the wrong type or length
    /// counts as absent, addresses where nobody can listen are left out, IPv4 comes before IPv6.
    ///
    /// # Errors
    /// [`InvalidMessage::Extended`] where it is not bencoded, [`InvalidMessage::ExtendedField`]
    /// where it is no dictionary.
    pub fn decode(payload: &[u8]) -> Result<Self, PeerFault> {
        let value = match bencode::decode_prefix(payload) {
            Ok((value, _)) => value,
            Err(error) => return Err(InvalidMessage::Extended(error).into()),
        };
        let dict = value.as_dict().ok_or(InvalidMessage::ExtendedField("dictionary"))?;
        let flags = |key| bytes(dict, key).iter().copied().chain(std::iter::repeat(0));
        let v4 = addresses(bytes(dict, "added"), true).zip(flags("added.f"));
        let v6 = addresses(bytes(dict, "added6"), false).zip(flags("added6.f"));
        let added = v4.chain(v6).filter(|(addr, _)| is_host(*addr)).take(PEX_PEERS_MAX);
        let dropped = addresses(bytes(dict, "dropped"), true)
            .chain(addresses(bytes(dict, "dropped6"), false))
            .filter(|addr| is_host(*addr))
            .take(PEX_PEERS_MAX);
        Ok(Self {
            added: added.map(|(addr, flags)| PexPeer { addr, flags }).collect(),
            dropped: dropped.collect(),
        })
    }
}

fn bytes<'a>(dict: &Dict<'a>, key: &str) -> &'a [u8] {
    dict.get(key).and_then(Value::as_bytes).unwrap_or_default()
}

/// The addresses of one family, compact.
fn compact(addrs: impl Iterator<Item = SocketAddr>, v4: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for addr in addrs.filter(|addr| addr.is_ipv4() == v4) {
        match addr.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
        out.extend_from_slice(&addr.port().to_be_bytes());
    }
    out
}

/// The addresses of a compact list of one family; none of a list of the wrong length.
fn addresses(list: &[u8], v4: bool) -> impl Iterator<Item = SocketAddr> {
    let len = if v4 { V4_LEN } else { V6_LEN };
    let list = if list.len().is_multiple_of(len) { list } else { &[] };
    list.chunks_exact(len).filter_map(address)
}

fn address(entry: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = entry.split_last_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    if let Ok(ip) = <[u8; 4]>::try_from(ip) {
        return Some(SocketAddrV4::new(ip.into(), port).into());
    }
    let ip = <[u8; 16]>::try_from(ip).ok()?;
    Some(SocketAddrV6::new(ip.into(), port, 0, 0).into())
}

#[cfg(test)]
mod tests;
