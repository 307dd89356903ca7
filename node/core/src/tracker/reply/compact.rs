//! A reply in the compact form, written as its peers are drawn: by the way that most announces go, which
//! needs no list of entries. Never here: the other forms.

use std::net::IpAddr;

use crate::{
    bencode::{encode_bytes, encode_int},
    tracker::registry::Answer,
};

/// The peers of a reply in the compact form, as they are drawn.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CompactPeers {
    v4: Vec<u8>,
    v6: Vec<u8>,
}

/// The compact form of a peer of IPv4, bytes (BEP 23).
const COMPACT_LEN: usize = 6;
/// The compact form of a peer of IPv6, bytes (BEP 7).
const COMPACT6_LEN: usize = 18;

impl CompactPeers {
    /// Adds a peer's compact form: 6 bytes of IPv4 or 18 of IPv6, else nothing.
    pub fn push(&mut self, peer: &[u8]) {
        match peer.len() {
            COMPACT_LEN => self.v4.extend_from_slice(peer),
            COMPACT6_LEN => self.v6.extend_from_slice(peer),
            _ => {}
        }
    }

    /// The bencoded reply, as [`AnnounceReply::encode`] writes it in the compact form.
    #[must_use]
    pub fn encode(&self, answer: &Answer) -> Vec<u8> {
        // In order of keys; the numbers have at most 10 digits, the keys about 100 bytes.
        let mut out = Vec::with_capacity(256 + self.v4.len() + self.v6.len());
        let number = |key: &[u8], number: u32, out: &mut Vec<u8>| {
            encode_bytes(key, out);
            encode_int(number.into(), out);
        };
        let string = |key: &[u8], string: &[u8], out: &mut Vec<u8>| {
            encode_bytes(key, out);
            encode_bytes(string, out);
        };
        out.push(b'd');
        number(b"complete", answer.complete, &mut out);
        number(b"downloaded", answer.downloaded, &mut out);
        match answer.external_ip.to_canonical() {
            IpAddr::V4(ip) => string(b"external ip", &ip.octets(), &mut out),
            IpAddr::V6(ip) => string(b"external ip", &ip.octets(), &mut out),
        }
        number(b"incomplete", answer.incomplete, &mut out);
        number(b"interval", answer.interval_s, &mut out);
        number(b"min interval", answer.min_interval_s, &mut out);
        string(b"peers", &self.v4, &mut out);
        if !self.v6.is_empty() {
            string(b"peers6", &self.v6, &mut out);
        }
        if let Some(warning) = answer.warning {
            string(b"warning message", warning.as_bytes(), &mut out);
        }
        out.push(b'e');
        out
    }
}
