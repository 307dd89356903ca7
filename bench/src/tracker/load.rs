//! Which peers announce what: torrents and peers by number, the same in every run and to every
//! tracker. Never here: sockets.

use std::{fmt::Write as _, time::Duration};

/// So many peers of so many torrents.
#[derive(Clone, Debug)]
pub(super) struct Load {
    info_hashes: Vec<[u8; 20]>,
    peers_per_torrent: u32,
    numwant: u32,
}

/// One peer of one torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Announcer {
    torrent: u32,
    peer: u32,
}

/// When a generator has done enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    /// Every peer was answered once. They say that they start.
    Once,
    /// So much time is over.
    For(Duration),
}

/// What a generator got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Outcome {
    /// Answers, each of them checked.
    pub(super) answers: u64,
    /// Peers in all answers.
    pub(super) peers: u64,
    /// Requests that were sent anew: their answer, or their connection, was lost.
    pub(super) lost: u64,
    /// From the first request to the last answer.
    pub(super) wall: Duration,
}

/// The lowest port that a peer listens at.
const PORT_MIN: u32 = 1024;
/// The most peers of a torrent: each has a port of its own.
pub(super) const PEERS_MAX: u32 = 60_000;
/// One peer in so many has everything.
const SEED_EVERY: u32 = 4;
/// Bytes of an announce over UDP (BEP 15).
pub(super) const PACKET_LEN: usize = 98;
/// `event` of BEP 15.
const STARTED: u32 = 2;

impl Load {
    /// Peers that want `numwant` others each.
    pub(super) fn new(torrents: u32, peers_per_torrent: u32, numwant: u32) -> Self {
        let info_hashes = (0..torrents).map(|torrent| spread(u64::from(torrent))).collect();
        Self { info_hashes, peers_per_torrent, numwant }
    }

    /// Peers of all torrents.
    pub(super) fn len(&self) -> u64 {
        self.info_hashes.len() as u64 * u64::from(self.peers_per_torrent)
    }

    /// The torrents.
    pub(super) fn info_hashes(&self) -> &[[u8; 20]] {
        &self.info_hashes
    }

    /// The most peers that an answer may hold.
    pub(super) fn numwant(&self) -> u32 {
        self.numwant
    }

    /// The peer whose turn it is: the first ones of all torrents, then the second ones, and so on
    /// round and round.
    pub(super) fn announcer(&self, turn: u64) -> Announcer {
        let (turn, torrents) = (turn % self.len(), self.info_hashes.len() as u64);
        Announcer { torrent: (turn % torrents) as u32, peer: (turn / torrents) as u32 }
    }

    fn info_hash(&self, announcer: Announcer) -> [u8; 20] {
        self.info_hashes[announcer.torrent as usize]
    }

    /// An announce over UDP.
    pub(super) fn packet(
        &self,
        connection: u64,
        transaction: u32,
        announcer: Announcer,
        begins: bool,
    ) -> [u8; PACKET_LEN] {
        let mut packet = [0; PACKET_LEN];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        let number = announcer.torrent.wrapping_mul(self.peers_per_torrent) + announcer.peer;
        put(&connection.to_be_bytes());
        put(&1_u32.to_be_bytes());
        put(&transaction.to_be_bytes());
        put(&self.info_hash(announcer));
        put(&announcer.id());
        put(&0_u64.to_be_bytes());
        put(&announcer.left().to_be_bytes());
        put(&0_u64.to_be_bytes());
        put(&if begins { STARTED } else { 0 }.to_be_bytes());
        // No address of its own: peers of a torrent differ in their ports, as over HTTP.
        put(&0_u32.to_be_bytes());
        put(&number.to_be_bytes());
        put(&self.numwant.to_be_bytes());
        put(&announcer.port().to_be_bytes());
        packet
    }

    /// Appends an announce over HTTP.
    pub(super) fn request(
        &self,
        announcer: Announcer,
        begins: bool,
        closes: bool,
        out: &mut Vec<u8>,
    ) {
        out.extend(b"GET /announce?info_hash=");
        escape(&self.info_hash(announcer), out);
        out.extend(b"&peer_id=");
        out.extend(announcer.id());
        let (port, left) = (announcer.port(), announcer.left());
        let mut rest = format!("&port={port}&uploaded=0&downloaded=0&left={left}");
        // Writing to a string does not fail.
        let _ = write!(rest, "&compact=1&numwant={}", self.numwant);
        rest.push_str(if begins { "&event=started" } else { "" });
        rest.push_str(" HTTP/1.1\r\nHost: localhost\r\n");
        rest.push_str(if closes { "Connection: close\r\n\r\n" } else { "\r\n" });
        out.extend(rest.as_bytes());
    }
}

impl Announcer {
    fn id(self) -> [u8; 20] {
        let mut id = *b"-XX0100-000000000000";
        for (number, at) in [(self.torrent, 8), (self.peer, 14)] {
            for (digit, byte) in id[at..at + 6].iter_mut().enumerate() {
                *byte = b'a' + (number >> (4 * digit) & 15) as u8;
            }
        }
        id
    }

    fn port(self) -> u16 {
        (PORT_MIN + self.peer % PEERS_MAX) as u16
    }

    fn left(self) -> u64 {
        if self.peer.is_multiple_of(SEED_EVERY) { 0 } else { 1 << 20 }
    }
}

/// Twenty bytes that look like chance (the finisher of `SplitMix64`).
fn spread(number: u64) -> [u8; 20] {
    let mut bytes = [0; 20];
    for (index, chunk) in (1_u64..).zip(bytes.chunks_mut(8)) {
        let mut word = (number * 3 + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        chunk.copy_from_slice(&word.to_be_bytes()[..chunk.len()]);
    }
    bytes
}

/// Appends bytes as a query spells them.
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use shoal_core::tracker::{
        announce::{AnnounceEvent, AnnounceRequest},
        udp::request::Request,
    };

    use super::*;

    #[test]
    fn every_peer_has_its_turn_once_and_then_again() {
        let load = Load::new(5, 3, 30);
        let announcers: Vec<_> = (0..15).map(|turn| load.announcer(turn)).collect();
        assert_eq!(announcers[5], Announcer { torrent: 0, peer: 1 });
        assert_eq!(load.announcer(15), announcers[0]);
        let ids: BTreeSet<_> = announcers.iter().map(|it| it.id()).collect();
        let hashes: BTreeSet<_> = load.info_hashes().iter().collect();
        assert_eq!((ids.len(), hashes.len(), load.len()), (15, 5, 15));
    }

    #[test]
    fn both_spellings_say_the_same() {
        let load = Load::new(2, 100, 30);
        let announcer = load.announcer(9);
        let packet = load.packet(7, 8, announcer, true);
        let request = Request::decode(&packet).unwrap();
        let Request::Announce { announce: over_udp, .. } = request else { panic!("{request:?}") };
        let mut text = Vec::new();
        load.request(announcer, true, true, &mut text);
        let text = String::from_utf8(text).unwrap();
        let query = text.strip_prefix("GET /announce?").unwrap().split(' ').next().unwrap();
        let over_http = AnnounceRequest::parse_query(query.as_bytes()).unwrap();
        for announce in [&*over_udp, &over_http] {
            assert_eq!(announce.info_hash.0, load.info_hashes()[1]);
            assert_eq!((announce.peer_id.0, announce.port), (announcer.id(), 1028));
            assert_eq!((announce.left, announce.numwant), (0, Some(30)));
            assert_eq!(announce.event, Some(AnnounceEvent::Started));
        }
        assert!(text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
    }
}
