//! The UDP of the tracker ([BEP 15]): a packet in, at most one out, on the registry that HTTP has.
//! Nothing is kept of a client before its address is proven: its connection id is a keyed hash. Until
//! then no reply is longer than its request. Never here: swarms, the bytes of packets.
//!
//! [BEP 15]: https://www.bittorrent.org/beps/bep_0015.html

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::rand::{GetRandomFlags, getrandom};
use sha1::{Digest as _, Sha1};
use shoal_core::{
    ids::InfoHash,
    tracker::{
        announce::{AnnounceRequest, Failure},
        registry::Family,
        scrape::ScrapeEntry,
        udp::{
            Action, CONNECTION_VALID_S, REQUEST_LEN_MAX,
            reply::{Body, Reply, peers_max},
            request::{Head, Request},
        },
    },
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::packets::{Packets, Received};
use super::server::Shared;

mod packets;

/// The pause after a receive failed.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);
/// What a client is told whose connection id is another's, too old or made up: shorter than any
/// request, so that a forged address gains nothing.
const UNPROVEN: &str = "connection id expired";

/// Serves until `stop`.
pub(super) async fn serve(
    socket: std::net::UdpSocket,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> io::Result<()> {
    let socket = Packets::new(socket)?;
    let answerer = Answerer { proofs: Proofs::new()?, shared };
    stop.run_until_cancelled(answerer.run(&socket)).await;
    Ok(())
}

/// What a packet is answered.
struct Answerer {
    proofs: Proofs,
    shared: Arc<Shared>,
}

impl Answerer {
    async fn run(&self, socket: &Packets) {
        // One byte more: a packet that is too long is seen to be.
        let mut packet = vec![0; REQUEST_LEN_MAX + 1];
        loop {
            let received = match socket.receive(&mut packet).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "tracker cannot receive a packet");
                    sleep(RECEIVE_PAUSE).await;
                    continue;
                }
            };
            let Received { len, source, .. } = received;
            let reply = packet.get(..len).filter(|packet| packet.len() <= REQUEST_LEN_MAX);
            let reply = reply.and_then(|packet| self.answer(packet, source, Instant::now()));
            // Where the system has no room the reply is lost, and the client asks again.
            if let Some(reply) = reply
                && let Err(error) = socket.answer(&reply, &received)
            {
                tracing::trace!(%source, %error, "tracker cannot send a packet");
            }
        }
    }

    /// The reply to a packet; none where it is not of the protocol.
    fn answer(&self, packet: &[u8], source: SocketAddr, now: Instant) -> Option<Vec<u8>> {
        let ip = source.ip().to_canonical();
        let head = Head::decode(packet).ok()?;
        let is_proven =
            head.action != Action::Connect && self.proofs.hold(head.connection, ip, now);
        let body = if is_proven {
            self.reply(packet, ip).unwrap_or_else(|failure| {
                tracing::debug!(%failure, "tracker refuses");
                Body::Error { reason: failure.to_string() }
            })
        } else if head.action == Action::Connect {
            let _: Request = Request::decode(packet).ok()?;
            Body::Connect { connection: self.proofs.make(ip, now) }
        } else {
            Body::Error { reason: UNPROVEN.to_owned() }
        };
        let reply = Reply { transaction: head.transaction, body }.encode(family(ip));
        (is_proven || reply.len() <= packet.len()).then_some(reply)
    }

    /// What a client whose address is proven is told.
    fn reply(&self, packet: &[u8], source: IpAddr) -> Result<Body, Failure> {
        let request = Request::decode(packet);
        match request.map_err(|error| Failure::new(format!("malformed packet: {error}")))? {
            Request::Connect { .. } => Err(Failure::new("malformed packet")),
            Request::Announce { announce, .. } => self.announce(&announce, source),
            Request::Scrape { info_hashes, .. } => Ok(self.scrape(&info_hashes)),
        }
    }

    fn announce(&self, request: &AnnounceRequest, source: IpAddr) -> Result<Body, Failure> {
        let family = family(source);
        let (reply, wanted) = self.shared.announce_for(request, source)?;
        let peers = reply.peers.iter().map(|peer| peer.addr);
        let peers = peers.filter(|peer| self::family(peer.ip()) == family);
        Ok(Body::Announce {
            interval_s: reply.interval_s,
            leechers: reply.incomplete.unwrap_or(0),
            seeders: reply.complete.unwrap_or(0),
            peers: peers.take(wanted.min(peers_max(family))).collect(),
        })
    }

    /// The numbers in the order asked for: of a torrent that is not known, zeros.
    fn scrape(&self, info_hashes: &[InfoHash]) -> Body {
        let files = self.shared.scrape(info_hashes).files;
        let entries = info_hashes.iter().map(|info_hash| {
            let known = files.iter().find(|(known, _)| known == info_hash);
            known.map_or(ScrapeEntry::default(), |&(_, entry)| entry)
        });
        Body::Scrape { entries: entries.collect() }
    }
}

/// Connection ids: when it was given, and a hash of that, the client's address and a secret. Nobody
/// else can make one, and none is kept.
struct Proofs {
    secret: [u8; 32],
    origin: Instant,
}

impl Proofs {
    fn new() -> io::Result<Self> {
        let mut secret = [0; 32];
        let len = secret.len();
        let filled = getrandom(&mut secret[..], GetRandomFlags::empty())?;
        if filled != len {
            return Err(io::Error::other("the system has too little randomness"));
        }
        Ok(Self { secret, origin: Instant::now() })
    }

    /// The id of a client at this address.
    fn make(&self, ip: IpAddr, now: Instant) -> u64 {
        self.id(ip, self.second(now))
    }

    /// Whether an id was given to this address, at most [`CONNECTION_VALID_S`] ago.
    fn hold(&self, id: u64, ip: IpAddr, now: Instant) -> bool {
        let second = self.second(now);
        let age = second.wrapping_sub(id) & STAMP;
        let given = second.checked_sub(age).filter(|_| age <= CONNECTION_VALID_S);
        given.is_some_and(|given| self.id(ip, given) == id)
    }

    /// 48 bits of the hash, and the low 16 of the second.
    fn id(&self, ip: IpAddr, second: u64) -> u64 {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        // All of it has one length, so that nothing can be appended.
        let hash = Sha1::new()
            .chain_update(self.secret)
            .chain_update(second.to_be_bytes())
            .chain_update(ip.octets())
            .finalize();
        let hash = hash.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte));
        hash & !STAMP | second & STAMP
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs()
    }
}

/// The bits of a connection id that tell when it was given: 18 hours until they are the same again.
const STAMP: u64 = 0xffff;

fn family(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

#[cfg(test)]
mod tests;
