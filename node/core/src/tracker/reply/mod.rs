//! The reply to an announce as bencoded bytes, and back. Encoding gives each client the form it
//! asked for; decoding takes every form that is about, and skips what makes no sense in it rather
//! than lose the rest. Never here: HTTP.

mod compact;

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

pub use self::compact::CompactPeers;
use crate::{
    bencode::{self, DecodeError, Dict, Item, Value, encode_bytes, encode_int},
    config::ANNOUNCE_HAVE_LEN_MAX,
    ids::PeerId,
    policy::Labels,
    tracker::{
        announce::{
            AnnounceReply, AnnounceRequest, BYTES_MAX, Failure, INTERVAL_DEFAULT_S, PeerEntry,
            REASON_LEN_MAX, REPLY_PEERS_MAX, RetryIn, SHOAL_LEN_MAX, ShoalPeer, ShoalReply,
            TRACKER_ID_LEN_MAX, is_dialable,
        },
        labels,
    },
};

/// How the key `peers` is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerForm {
    /// Strings of 6 bytes a peer in `peers` (BEP 23) and of 18 in `peers6` (BEP 7).
    Compact,
    /// A list of dictionaries (BEP 3), with ids.
    Full,
    /// A list of dictionaries without ids (`no_peer_id=1`).
    WithoutIds,
}

/// Why a tracker's bytes are no reply.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplyError {
    /// The tracker said no.
    #[error("refused: {0}")]
    Refused(Failure),
    /// The bytes are not bencoded: most often a web page.
    #[error("not bencoded: {0}")]
    NotBencoded(DecodeError),
    /// The bytes are another value.
    #[error("a {0}, not a dictionary")]
    NotDictionary(&'static str),
    /// There is neither a failure nor this key.
    #[error("{0} is missing")]
    Missing(&'static str),
}

impl PeerForm {
    /// The form that a request asks for.
    #[must_use]
    pub fn of(request: &AnnounceRequest) -> Self {
        match (request.compact, request.no_peer_id) {
            (true, _) => Self::Compact,
            (false, false) => Self::Full,
            (false, true) => Self::WithoutIds,
        }
    }
}

impl AnnounceReply {
    /// The bencoded reply. Under `shoal`, bitfields and at last peers that do not fit
    /// [`SHOAL_LEN_MAX`] are left out.
    #[must_use]
    pub fn encode(&self, form: PeerForm) -> Vec<u8> {
        let mut entries = vec![("interval", Item::Int(self.interval_s.into()))];
        let numbers = [
            ("min interval", self.min_interval_s),
            ("complete", self.complete),
            ("incomplete", self.incomplete),
            ("downloaded", self.downloaded),
        ];
        let numbers = numbers.into_iter().filter_map(|(key, number)| Some((key, number?)));
        entries.extend(numbers.map(|(key, number)| (key, Item::Int(number.into()))));
        if let Some(warning) = &self.warning {
            entries.push(("warning message", bytes(warning.as_bytes())));
        }
        if let Some(tracker_id) = &self.tracker_id {
            entries.push(("tracker id", bytes(tracker_id)));
        }
        if let Some(ip) = self.external_ip {
            entries.push(("external ip", Item::Bytes(Cow::Owned(ip_octets(ip.to_canonical())))));
        }
        match form {
            PeerForm::Compact => {
                let (v4, v6) = compact(&self.peers);
                entries.push(("peers", Item::Bytes(Cow::Owned(v4))));
                if !v6.is_empty() {
                    entries.push(("peers6", Item::Bytes(Cow::Owned(v6))));
                }
            }
            PeerForm::Full => entries.push(("peers", dictionaries(&self.peers, |peer| peer.id))),
            PeerForm::WithoutIds => entries.push(("peers", dictionaries(&self.peers, |_| None))),
        }
        if let Some(shoal) = &self.shoal {
            entries.push(("shoal", Item::Raw(Cow::Owned(encode_shoal(shoal)))));
        }
        Item::dict(entries).encode()
    }

    /// Reads a reply in any form: compact or not, IPv4 and IPv6. Peers that cannot be dialled, that
    /// are named by a DNS name, or that come after the first [`REPLY_PEERS_MAX`] are skipped; bytes
    /// after the dictionary are ignored.
    ///
    /// # Errors
    /// A failure, bytes that are not bencoded, or neither an interval nor peers.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReplyError> {
        let dict = &read_reply(bytes)?;
        let interval_s = read_count(dict, "interval").filter(|&seconds| seconds != 0);
        let (peers, peers6) = (dict.get("peers"), dict.get("peers6"));
        if interval_s.is_none() && peers.is_none() && peers6.is_none() {
            return Err(ReplyError::Missing("peers"));
        }
        let tracker_id = dict.get("tracker id").and_then(Value::as_bytes);
        let tracker_id = tracker_id.filter(|id| id.len() <= TRACKER_ID_LEN_MAX);
        Ok(Self {
            interval_s: interval_s.unwrap_or(INTERVAL_DEFAULT_S),
            min_interval_s: read_count(dict, "min interval"),
            complete: read_count(dict, "complete"),
            incomplete: read_count(dict, "incomplete"),
            downloaded: read_count(dict, "downloaded"),
            peers: read_peers(peers, peers6),
            warning: dict.get("warning message").and_then(Value::as_bytes).map(text),
            tracker_id: tracker_id.map(<[u8]>::to_vec),
            external_ip: dict.get("external ip").and_then(Value::as_bytes).and_then(read_ip),
            shoal: dict.get("shoal").and_then(Value::as_dict).and_then(read_shoal),
        })
    }
}

impl Failure {
    /// The bencoded refusal.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut entries = vec![("failure reason", bytes(self.reason.as_bytes()))];
        match self.retry_in {
            Some(RetryIn::Minutes(minutes)) => {
                entries.push(("retry in", Item::Int(minutes.into())))
            }
            Some(RetryIn::Never) => entries.push(("retry in", bytes(b"never"))),
            None => {}
        }
        Item::dict(entries).encode()
    }
}

/// The dictionary of a reply that is no failure.
pub(super) fn read_reply(bytes: &[u8]) -> Result<Dict<'_>, ReplyError> {
    let (value, _) = bencode::decode_prefix(bytes).map_err(ReplyError::NotBencoded)?;
    let type_name = value.type_name();
    let Value::Dict(dict) = value else { return Err(ReplyError::NotDictionary(type_name)) };
    let Some(reason) = dict.get("failure reason") else { return Ok(dict) };
    let reason = reason.as_bytes().map_or_else(|| "no reason given".to_owned(), text);
    let retry_in = dict.get("retry in").and_then(|retry_in| match retry_in.as_bytes() {
        Some(word) => word.eq_ignore_ascii_case(b"never").then_some(RetryIn::Never),
        None => Some(RetryIn::Minutes(clamp(retry_in.as_unsigned()?))),
    });
    Err(ReplyError::Refused(Failure { reason, retry_in }))
}

/// A number of a reply; `None` where there is none, or a negative one.
pub(super) fn read_count(dict: &Dict<'_>, key: &str) -> Option<u32> {
    dict.get(key)?.as_unsigned().map(clamp)
}

fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn bytes(bytes: &[u8]) -> Item<'_> {
    Item::Bytes(Cow::Borrowed(bytes))
}

/// Text from the wire, whatever its encoding, cut at [`REASON_LEN_MAX`] bytes.
fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(REASON_LEN_MAX)]).into_owned();
    text.truncate(text.floor_char_boundary(REASON_LEN_MAX));
    text
}

fn ip_octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The compact forms: `peers` and `peers6`.
fn compact(peers: &[PeerEntry]) -> (Vec<u8>, Vec<u8>) {
    let (mut v4, mut v6) = (Vec::with_capacity(peers.len() * 6), Vec::new());
    for peer in peers {
        let ip = peer.addr.ip().to_canonical();
        let out = if ip.is_ipv4() { &mut v4 } else { &mut v6 };
        out.extend_from_slice(&ip_octets(ip));
        out.extend_from_slice(&peer.addr.port().to_be_bytes());
    }
    (v4, v6)
}

fn dictionaries(peers: &[PeerEntry], id: impl Fn(&PeerEntry) -> Option<PeerId>) -> Item<'static> {
    let peers = peers.iter().map(|peer| {
        let ip = peer.addr.ip().to_canonical().to_string();
        let mut entries = vec![
            ("ip", Item::Bytes(Cow::Owned(ip.into_bytes()))),
            ("port", Item::Int(peer.addr.port().into())),
        ];
        if let Some(id) = id(peer) {
            entries.push(("peer id", Item::Bytes(Cow::Owned(id.0.to_vec()))));
        }
        Item::dict(entries)
    });
    Item::List(peers.collect())
}

/// The dictionary under `shoal`, at most [`SHOAL_LEN_MAX`] bytes: peers first, then as many
/// bitfields as there is room for.
fn encode_shoal(shoal: &ShoalReply) -> Vec<u8> {
    let mut out = b"d5:peersl".to_vec();
    let end = b"e1:vi1ee";
    let mut room = SHOAL_LEN_MAX - out.len() - end.len();
    let mut scratch = Vec::new();
    let bare = shoal.peers.iter().take(REPLY_PEERS_MAX).take_while(|peer| {
        scratch.clear();
        encode_shoal_peer(peer, None, &mut scratch);
        let fits = scratch.len() <= room;
        room -= if fits { scratch.len() } else { 0 };
        fits
    });
    let count = bare.count();
    for peer in &shoal.peers[..count] {
        // `4:have`, at most 7 digits and a colon, and the bytes.
        let have = peer.have.as_deref().filter(|have| have.len() + 14 <= room);
        room -= have.map_or(0, |have| have.len() + 14);
        encode_shoal_peer(peer, have, &mut out);
    }
    out.extend_from_slice(end);
    out
}

/// Written by hand, in order of keys: a peer set has thousands.
fn encode_shoal_peer(peer: &ShoalPeer, have: Option<&[u8]>, out: &mut Vec<u8>) {
    let number = |key: &[u8], number: u64, out: &mut Vec<u8>| {
        encode_bytes(key, out);
        encode_int(i64::try_from(number).unwrap_or(i64::MAX), out);
    };
    out.push(b'd');
    if let Some(down) = peer.down {
        number(b"down", down, out);
    }
    if let Some(have) = have {
        encode_bytes(b"have", out);
        encode_bytes(have, out);
    }
    encode_bytes(b"id", out);
    encode_bytes(&peer.id.0, out);
    encode_bytes(b"ip", out);
    encode_bytes(peer.addr.ip().to_canonical().to_string().as_bytes(), out);
    if !peer.labels.is_empty() {
        encode_bytes(b"labels", out);
        out.extend_from_slice(&labels::encode(&peer.labels));
    }
    number(b"left", peer.left, out);
    number(b"port", peer.addr.port().into(), out);
    if let Some(up) = peer.up {
        number(b"up", up, out);
    }
    out.push(b'e');
}

fn read_peers(peers: Option<&Value<'_>>, peers6: Option<&Value<'_>>) -> Vec<PeerEntry> {
    let v4 = peers.and_then(Value::as_bytes).unwrap_or_default().chunks_exact(6).map(|peer| {
        let ip = Ipv4Addr::new(peer[0], peer[1], peer[2], peer[3]);
        SocketAddr::new(ip.into(), u16::from_be_bytes([peer[4], peer[5]]))
    });
    let v6 = peers6.and_then(Value::as_bytes).unwrap_or_default().chunks_exact(18).map(|peer| {
        let (ip, port) = peer.split_at(16);
        let ip: [u8; 16] = ip.try_into().expect("a chunk of 18 bytes begins with 16");
        let ip = IpAddr::from(Ipv6Addr::from(ip)).to_canonical();
        SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]))
    });
    // Some trackers give dictionaries under `peers6` too.
    let lists = [peers, peers6].into_iter().flatten().filter_map(Value::as_list).flatten();
    let listed = lists.filter_map(|peer| read_peer(peer.as_dict()?));
    let compact = v4.chain(v6).map(|addr| PeerEntry { addr, id: None });
    let all = compact.chain(listed).filter(|peer| is_dialable(peer.addr));
    all.take(REPLY_PEERS_MAX).collect()
}

fn read_peer(peer: &Dict<'_>) -> Option<PeerEntry> {
    let id = peer.get("peer id").and_then(Value::as_bytes);
    let id = id.and_then(|id| Some(PeerId(id.try_into().ok()?)));
    Some(PeerEntry { addr: read_addr(peer)?, id })
}

/// The address under `ip` (as text) and `port`.
fn read_addr(peer: &Dict<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = peer.get("ip")?.as_str()?.parse().ok()?;
    let port = peer.get("port")?.as_unsigned()?;
    Some(SocketAddr::new(ip.to_canonical(), u16::try_from(port).ok()?))
}

/// An address of 4 or 16 bytes (BEP 24), or as text, as some trackers have it.
fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok();
    let text = || std::str::from_utf8(bytes).ok()?.parse().ok();
    v4.or_else(v6).or_else(text).map(|ip: IpAddr| ip.to_canonical())
}

/// Version 1 of the extension; another one is not ours to read.
fn read_shoal(shoal: &Dict<'_>) -> Option<ShoalReply> {
    if shoal.get("v")?.as_int()? != 1 {
        return None;
    }
    let peers = shoal.get("peers").and_then(Value::as_list).unwrap_or_default().iter();
    let mut last = Arc::default();
    let peers = peers.filter_map(|peer| read_shoal_peer(peer.as_dict()?, &mut last));
    Some(ShoalReply { peers: peers.take(REPLY_PEERS_MAX).collect() })
}

/// A peer of the key `shoal`. `last` are the labels of the one before: equal ones are shared.
fn read_shoal_peer(peer: &Dict<'_>, last: &mut Arc<Labels>) -> Option<Arc<ShoalPeer>> {
    let number = |key| peer.get(key).and_then(Value::as_unsigned).filter(|&n| n <= BYTES_MAX);
    let have = peer.get("have").and_then(Value::as_bytes);
    let have = have.filter(|have| !have.is_empty() && have.len() <= ANNOUNCE_HAVE_LEN_MAX);
    let labels = peer.get("labels").and_then(Value::as_dict);
    let labels = labels.and_then(|labels| labels::from_dict(labels).ok()).unwrap_or_default();
    if labels != **last {
        *last = Arc::new(labels);
    }
    let id = peer.get("id")?.as_bytes()?;
    let known = ShoalPeer {
        id: PeerId(id.try_into().ok()?),
        addr: read_addr(peer)?,
        up: number("up"),
        down: number("down"),
        left: number("left")?,
        have: have.map(<[u8]>::to_vec),
        labels: Arc::clone(last),
    };
    Some(Arc::new(known))
}

#[cfg(test)]
mod tests;
