//! The reply to an announce as bencoded bytes, and back. Encoding gives each client the form it
//! asked for; decoding takes every form that is about, and skips what makes no sense in it rather
//! than lose the rest. Never here: HTTP.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::{
    bencode::{self, DecodeError, Dict, Item, Value, encode_bytes, encode_int},
    config::ANNOUNCE_HAVE_LEN_MAX,
    ids::PeerId,
    tracker::{
        announce::{
            AnnounceReply, AnnounceRequest, BYTES_MAX, Failure, INTERVAL_DEFAULT_S, PeerEntry,
            REASON_LEN_MAX, REPLY_PEERS_MAX, RetryIn, SHOAL_LEN_MAX, ShoalPeer, ShoalReply,
            TRACKER_ID_LEN_MAX, is_dialable,
        },
        labels,
        registry::Answer,
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

/// The peers of a reply in the compact form, as they are drawn: by the way that most announces go,
/// which needs no list of entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CompactPeers {
    v4: Vec<u8>,
    v6: Vec<u8>,
}

/// The compact form of a peer of IPv4, bytes (BEP 23).
const COMPACT_LEN: usize = 6;
/// The compact form of a peer of IPv6, bytes (BEP 7).
const COMPACT6_LEN: usize = 18;

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
    let peers = peers.filter_map(|peer| read_shoal_peer(peer.as_dict()?)).take(REPLY_PEERS_MAX);
    Some(ShoalReply { peers: peers.collect() })
}

fn read_shoal_peer(peer: &Dict<'_>) -> Option<ShoalPeer> {
    let number = |key| peer.get(key).and_then(Value::as_unsigned).filter(|&n| n <= BYTES_MAX);
    let have = peer.get("have").and_then(Value::as_bytes);
    let have = have.filter(|have| !have.is_empty() && have.len() <= ANNOUNCE_HAVE_LEN_MAX);
    let labels = peer.get("labels").and_then(Value::as_dict);
    let labels = labels.and_then(|labels| labels::from_dict(labels).ok());
    let id = peer.get("id")?.as_bytes()?;
    Some(ShoalPeer {
        id: PeerId(id.try_into().ok()?),
        addr: read_addr(peer)?,
        up: number("up"),
        down: number("down"),
        left: number("left")?,
        have: have.map(<[u8]>::to_vec),
        labels: labels.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Labels;

    fn peer(addr: &str, id: Option<u8>) -> PeerEntry {
        PeerEntry { addr: addr.parse().unwrap(), id: id.map(|id| PeerId([id; 20])) }
    }

    fn shoal_peer(id: u8, have_len: usize) -> ShoalPeer {
        ShoalPeer {
            id: PeerId([id; 20]),
            addr: SocketAddr::new([10, 0, 0, id].into(), 7000),
            up: Some(u64::from(id)),
            down: None,
            left: 9,
            have: (have_len > 0).then(|| vec![id; have_len]),
            labels: Labels::from([("zone".to_owned(), "a".to_owned())]),
        }
    }

    fn full() -> AnnounceReply {
        AnnounceReply {
            interval_s: 120,
            min_interval_s: Some(30),
            complete: Some(1),
            incomplete: Some(2),
            downloaded: Some(3),
            peers: vec![peer("10.0.0.1:7000", Some(1)), peer("[2001:db8::1]:7001", Some(2))],
            warning: Some("careful".to_owned()),
            tracker_id: Some(vec![0, 0xff]),
            external_ip: Some([192, 0, 2, 1].into()),
            shoal: Some(ShoalReply { peers: vec![shoal_peer(1, 3), shoal_peer(2, 0)] }),
        }
    }

    #[test]
    fn the_full_form_keeps_everything() {
        assert_eq!(AnnounceReply::decode(&full().encode(PeerForm::Full)), Ok(full()));
    }

    #[test]
    fn the_other_forms_keep_everything_but_the_ids() {
        let mut expected = full();
        expected.peers.iter_mut().for_each(|peer| peer.id = None);
        for form in [PeerForm::Compact, PeerForm::WithoutIds] {
            assert_eq!(AnnounceReply::decode(&full().encode(form)), Ok(expected.clone()));
        }
    }

    #[test]
    fn a_compact_reply_is_the_bytes_of_bep_23_and_bep_7() {
        let mut reply = AnnounceReply::new(120);
        reply.peers = vec![peer("10.0.0.1:258", None)];
        let expected = b"d8:intervali120e5:peers6:\x0a\x00\x00\x01\x01\x02e";
        assert_eq!(reply.encode(PeerForm::Compact), expected);
        reply.peers = vec![peer("[::1]:258", None)];
        let mut expected = b"d8:intervali120e5:peers0:6:peers618:".to_vec();
        expected.extend_from_slice(&[0; 15]);
        expected.extend_from_slice(b"\x01\x01\x02e");
        assert_eq!(reply.encode(PeerForm::Compact), expected);
    }

    #[test]
    fn what_is_written_as_it_is_drawn_is_the_same() {
        let mut reply = AnnounceReply { shoal: None, tracker_id: None, ..full() };
        for warning in [None, Some("careful")] {
            for external_ip in ["192.0.2.1", "2001:db8::9", "::ffff:192.0.2.1"] {
                reply.warning = warning.map(str::to_owned);
                reply.external_ip = Some(external_ip.parse().unwrap());
                let answer = Answer {
                    interval_s: reply.interval_s,
                    min_interval_s: reply.min_interval_s.unwrap(),
                    complete: reply.complete.unwrap(),
                    incomplete: reply.incomplete.unwrap(),
                    downloaded: reply.downloaded.unwrap(),
                    warning,
                    external_ip: reply.external_ip.unwrap(),
                };
                for peers in [&[][..], &full().peers[..1], &full().peers] {
                    reply.peers = peers.to_vec();
                    let mut compact = CompactPeers::default();
                    for peer in peers {
                        let port = peer.addr.port().to_be_bytes();
                        compact.push(&[&ip_octets(peer.addr.ip())[..], &port].concat());
                    }
                    assert_eq!(compact.encode(&answer), reply.encode(PeerForm::Compact));
                }
            }
        }
    }

    #[test]
    fn failures_read_as_they_were_written() {
        for failure in [Failure::new("no"), Failure::never("no"), Failure::retry("no", 7)] {
            let refused = Err(ReplyError::Refused(failure.clone()));
            assert_eq!(AnnounceReply::decode(&failure.encode()), refused);
        }
        let text = b"d14:failure reason2:no8:retry in5:Nevere";
        assert_eq!(AnnounceReply::decode(text), Err(ReplyError::Refused(Failure::never("no"))));
    }

    #[test]
    fn a_reason_at_its_limit_passes_and_above_it_is_cut() {
        for (len, kept) in [(1023, 1023), (REASON_LEN_MAX, 1024), (1025, 1024)] {
            let bytes = Failure::new("x".repeat(len)).encode();
            let Err(ReplyError::Refused(failure)) = AnnounceReply::decode(&bytes) else {
                panic!("not refused");
            };
            assert_eq!(failure.reason.len(), kept);
        }
        let bytes = Failure::new("é".repeat(1000)).encode();
        assert!(matches!(AnnounceReply::decode(&bytes),
            Err(ReplyError::Refused(failure)) if failure.reason.len() <= REASON_LEN_MAX));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        let cases: [(&[u8], ReplyError); 3] = [
            (b"le", ReplyError::NotDictionary("list")),
            (b"de", ReplyError::Missing("peers")),
            (b"d8:intervali0ee", ReplyError::Missing("peers")),
        ];
        for (bytes, error) in cases {
            assert_eq!(AnnounceReply::decode(bytes), Err(error));
        }
        let page = AnnounceReply::decode(b"<html>");
        assert!(matches!(page, Err(ReplyError::NotBencoded(_))));
    }

    #[test]
    fn bad_entries_are_skipped_and_the_rest_is_kept() {
        let reply = b"d8:intervali-5e5:peersl\
            d2:ip9:127.0.0.14:porti1eed2:ip9:not an ip4:porti2eed2:ip9:127.0.0.14:porti0ee\
            d2:ip9:127.0.0.14:porti65536eei7e\
            d2:ip7:0.0.0.04:porti5eed2:ip9:127.0.0.17:peer id2:no4:porti3eee\
            5:shoald5:peersld2:id2:noed2:id20:aaaaaaaaaaaaaaaaaaaa2:ip3:::14:lefti0e4:porti8ee\
            e1:vi1eee\r\n";
        let reply = AnnounceReply::decode(reply).unwrap();
        assert_eq!(reply.interval_s, INTERVAL_DEFAULT_S);
        assert_eq!(reply.peers, [peer("127.0.0.1:1", None), peer("127.0.0.1:3", None)]);
        let shoal = reply.shoal.unwrap();
        assert_eq!(shoal.peers.len(), 1);
        assert_eq!(shoal.peers[0].addr, "[::1]:8".parse().unwrap());
        // A half of a compact entry at the end.
        let reply = AnnounceReply::decode(b"d5:peers8:\x0a\x00\x00\x01\x01\x02\x0a\x00e").unwrap();
        assert_eq!(reply.peers, [peer("10.0.0.1:258", None)]);
    }

    #[test]
    fn another_version_of_the_extension_is_not_read() {
        let reply = AnnounceReply::decode(b"d8:intervali5e5:shoald5:peersle1:vi2eee").unwrap();
        assert_eq!(reply.shoal, None);
    }

    #[test]
    fn at_most_the_limit_of_peers_is_read() {
        for (count, kept) in [(1999, 1999), (2000, 2000), (2001, REPLY_PEERS_MAX)] {
            let mut reply = AnnounceReply::new(1);
            reply.peers = vec![peer("10.0.0.1:1", None); count];
            let read = AnnounceReply::decode(&reply.encode(PeerForm::Compact)).unwrap();
            assert_eq!(read.peers.len(), kept);
        }
    }

    #[test]
    fn bitfields_beyond_the_limit_of_the_extension_are_left_out() {
        let set = |count: usize| ShoalReply {
            peers: (0..count).map(|i| shoal_peer(i as u8, ANNOUNCE_HAVE_LEN_MAX)).collect(),
        };
        let with_have =
            |shoal: &ShoalReply| shoal.peers.iter().filter(|p| p.have.is_some()).count();
        for (count, kept) in [(30, 30), (31, 31), (32, 31), (200, 31)] {
            let bytes = encode_shoal(&set(count));
            assert!(bytes.len() <= SHOAL_LEN_MAX, "{}", bytes.len());
            let value = bencode::decode(&bytes).unwrap();
            let read = read_shoal(value.as_dict().unwrap()).unwrap();
            assert_eq!((read.peers.len(), with_have(&read)), (count, kept));
        }
    }

    #[test]
    fn peers_beyond_the_limit_of_the_extension_are_left_out() {
        let mut peer = shoal_peer(1, 0);
        peer.labels = (0..16).map(|i| (format!("{i:064}"), "v".repeat(64))).collect();
        let bytes = encode_shoal(&ShoalReply { peers: vec![peer; REPLY_PEERS_MAX] });
        assert!((SHOAL_LEN_MAX - 4096..=SHOAL_LEN_MAX).contains(&bytes.len()), "{}", bytes.len());
        assert!(bencode::decode(&bytes).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = AnnounceReply::decode(&bytes);
        }

        #[test]
        fn a_damaged_reply_never_panics(at in 0_usize..400, byte in any::<u8>()) {
            let mut bytes = full().encode(PeerForm::Full);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = AnnounceReply::decode(&bytes);
            let _ = AnnounceReply::decode(&bytes[..at]);
        }
    }
}
