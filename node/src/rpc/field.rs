//! Fields of requests as values of ours: what is malformed is refused by the field's name.

use std::net::{IpAddr, SocketAddr};

use shoal::v1::PeerAddress;
use shoal_core::{ids::PieceIndex, metainfo::Metainfo};

use super::status::Refusal;

/// The address where a peer listens.
///
/// # Errors
/// A refusal that names `peer`, `peer.ip` or `peer.port`.
pub fn peer(peer: Option<PeerAddress>) -> Result<SocketAddr, Refusal> {
    let PeerAddress { ip, port } = peer.ok_or_else(|| Refusal::field("peer", "is missing"))?;
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(&ip);
    let parsed = bare.parse::<IpAddr>();
    let addr = parsed.map_err(|_| Refusal::field("peer.ip", format!("'{ip}' is no IP address")))?;
    let addr = addr.to_canonical();
    if addr.is_unspecified() || addr.is_multicast() {
        return Err(Refusal::field("peer.ip", format!("{ip} is nobody's address")));
    }
    match u16::try_from(port) {
        Ok(port @ 1..) => Ok((addr, port).into()),
        Ok(0) | Err(_) => Err(Refusal::field("peer.port", format!("{port} is not 1-65535"))),
    }
}

/// The piece of a chunk name.
///
/// # Errors
/// A refusal of an empty `chunk`, or `UNKNOWN_CHUNK` with a suggestion.
pub fn chunk(metainfo: &Metainfo, name: &str) -> Result<PieceIndex, Refusal> {
    if name.is_empty() {
        return Err(Refusal::field("chunk", "is empty; name it as file1.webm.part3 or @2"));
    }
    Ok(metainfo.find_chunk(name)?)
}

/// An address on its way out.
#[must_use]
pub fn address(addr: SocketAddr) -> PeerAddress {
    PeerAddress { ip: addr.ip().to_canonical().to_string(), port: addr.port().into() }
}

/// An address as the specification's sentences have it: `Peer[ip,port]`.
#[must_use]
pub fn sentence(addr: SocketAddr) -> String {
    format!("Peer[{},{}]", addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ip: &str, port: u32) -> Result<SocketAddr, &'static str> {
        let read = peer(Some(PeerAddress { ip: ip.to_owned(), port }));
        read.map_err(|refusal| refusal.field.unwrap().0)
    }

    #[test]
    fn peer_addresses_are_checked_field_by_field() {
        assert_eq!(read("10.0.0.2", 7000).unwrap().to_string(), "10.0.0.2:7000");
        assert_eq!(read("[::1]", 1).unwrap().to_string(), "[::1]:1");
        assert_eq!(read("::ffff:10.0.0.2", 65535).unwrap().to_string(), "10.0.0.2:65535");
        for (ip, port, field) in [
            ("localhost", 1, "peer.ip"),
            ("", 1, "peer.ip"),
            ("0.0.0.0", 1, "peer.ip"),
            ("224.0.0.1", 1, "peer.ip"),
            ("10.0.0.2", 0, "peer.port"),
            ("10.0.0.2", 65536, "peer.port"),
        ] {
            assert_eq!(read(ip, port), Err(field), "{ip} {port}");
        }
        assert_eq!(peer(None).unwrap_err().field.unwrap().0, "peer");
    }

    #[test]
    fn sentences_name_peers_as_the_specification_does() {
        assert_eq!(sentence("192.168.1.181:7000".parse().unwrap()), "Peer[192.168.1.181,7000]");
        assert_eq!(sentence("[::1]:7000".parse().unwrap()), "Peer[::1,7000]");
    }
}
