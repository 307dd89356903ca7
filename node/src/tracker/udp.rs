//! The UDP of the tracker ([BEP 15]): a packet in, at most one out, on the registry that HTTP has. A
//! thread of its own takes packets in batches and answers each batch under one lock, with one look at
//! the clock. Nothing is kept of a client before its address is proven: its connection id is a keyed
//! hash. Until then no reply is longer than its request. Never here: swarms, the bytes of packets.
//!
//! - `packets`: batches in and out
//! - `proofs`: connection ids
//!
//! [BEP 15]: https://www.bittorrent.org/beps/bep_0015.html

use std::{
    io,
    net::{IpAddr, UdpSocket},
    os::fd::OwnedFd,
    sync::Arc,
    thread,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
};
use shoal_core::{
    ids::InfoHash,
    time::Timestamp,
    tracker::{
        announce::{AnnounceRequest, Failure},
        registry::{Family, PeerRef, Registry, Room},
        scrape::ScrapeEntry,
        udp::{
            Action, CONNECT_LEN, REQUEST_LEN_MAX,
            reply::{AnnounceHead, HEAD_LEN, peers_max, write_connect, write_error, write_scrape},
            request::{Head, Query},
        },
    },
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::{
    packets::{BATCH_MAX, Inbox, Outbox},
    proofs::Proofs,
};
use super::shared::Shared;

mod packets;
mod proofs;

/// The pause after a receive failed.
const RECEIVE_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// What a client is told whose connection id is another's, too old or made up: shorter than any
/// request, so that a forged address gains nothing.
const UNPROVEN: &str = "connection id expired";

/// The thread of the UDP.
pub(super) struct Running {
    /// What it is woken by.
    bell: Arc<OwnedFd>,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

/// Serves a bound socket from a thread of its own, until `stop`.
///
/// # Errors
/// The system has no thread, no event or no randomness for it.
pub(super) fn start(
    socket: UdpSocket,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> io::Result<Running> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (end, ended) = oneshot::channel();
    let is_told = packets::prepare(&socket)?;
    let answerer = Answerer { proofs: Proofs::new()?, shared };
    let worker = Worker { socket, answerer, bell: Arc::clone(&bell), stop: stop.clone() };
    let body = move || {
        worker.run(&mut Inbox::new(is_told), &mut Outbox::new());
        // Whoever waits finds the port free.
        drop(worker);
        // Nobody waits where the tracker was dropped.
        let _ = end.send(());
    };
    thread::Builder::new().name("tracker-udp".to_owned()).spawn(body)?;
    Ok(Running { bell, stop, ended })
}

impl Running {
    /// Returns when the thread has ended, of which it is told when the tracker stops.
    ///
    /// # Errors
    /// It ended before.
    pub(super) async fn ended(mut self) -> io::Result<()> {
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = &mut self.ended => return Err(io::Error::other("the thread of UDP ended")),
        }
        self.ring();
        (&mut self.ended).await.map_err(|_| io::Error::other("the thread of UDP failed"))
    }

    fn ring(&self) {
        if let Err(error) = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes()) {
            tracing::debug!(%error, "the thread of UDP cannot be woken");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ring();
    }
}

/// What the thread has.
struct Worker {
    socket: UdpSocket,
    answerer: Answerer,
    bell: Arc<OwnedFd>,
    stop: CancellationToken,
}

impl Worker {
    fn run(&self, inbox: &mut Inbox, outbox: &mut Outbox) {
        // A flood leaves no time to look at the bell.
        while !self.stop.is_cancelled() {
            match inbox.receive(&self.socket) {
                Ok(0) => self.wait(None),
                Ok(count) => {
                    self.answerer.answer_all(inbox, outbox);
                    outbox.send(&self.socket);
                    if count < BATCH_MAX {
                        self.wait(None);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "tracker cannot receive a packet");
                    self.wait(Some(&RECEIVE_PAUSE));
                }
            }
        }
    }

    /// Waits for a packet or the bell; where there is a `pause`, for its end or the bell.
    fn wait(&self, pause: Option<&Timespec>) {
        let bell = PollFd::new(&*self.bell, PollFlags::IN);
        let packet = PollFd::new(&self.socket, PollFlags::IN);
        let result = match pause {
            Some(pause) => poll(&mut [bell], Some(pause)),
            None => poll(&mut [bell, packet], None),
        };
        match result {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::debug!(%error, "tracker cannot wait for packets");
                thread::yield_now();
            }
        }
    }
}

/// What packets are answered.
struct Answerer {
    proofs: Proofs,
    shared: Arc<Shared>,
}

/// A packet, and what is known of it beside its bytes.
struct Asked<'a> {
    packet: &'a [u8],
    /// Who asks.
    ip: IpAddr,
    now: Timestamp,
}

impl Answerer {
    /// Answers a batch, in order, under one lock.
    fn answer_all(&self, inbox: &Inbox, outbox: &mut Outbox) {
        self.shared.with(|registry, now| {
            for (packet, received) in inbox.packets() {
                let asked = Asked { packet, ip: received.source.ip().to_canonical(), now };
                outbox.push(received, |out| self.answer(&asked, registry, out));
            }
        });
    }

    /// Appends the reply to a packet; nothing where it is not of the protocol.
    fn answer(&self, asked: &Asked<'_>, registry: &mut Registry, out: &mut Vec<u8>) {
        let &Asked { packet, ip, now } = asked;
        let meter = &self.shared.meter().udp;
        let head = Head::decode(packet).ok().filter(|_| packet.len() <= REQUEST_LEN_MAX);
        let Some(Head { connection, action, transaction }) = head else {
            meter.malformed.inc();
            return;
        };
        let second = now.millis() / 1000;
        if action == Action::Connect {
            // As long as it has to be, which is as long as its reply.
            if packet.len() == CONNECT_LEN {
                meter.connect.ok.inc();
                write_connect(transaction, self.proofs.make(ip, second), out);
            }
        } else if self.proofs.hold(connection, ip, second) {
            let begin = out.len();
            let answered = answer_proven(asked, transaction, registry, out);
            match action {
                Action::Announce => meter.announce.count(&answered),
                Action::Scrape => meter.scrape.count(&answered),
                Action::Connect | Action::Error => {
                    meter.malformed.inc();
                }
            }
            if let Err(failure) = answered {
                tracing::debug!(%failure, "tracker refuses");
                out.truncate(begin);
                write_error(transaction, &failure.to_string(), out);
            }
        } else {
            meter.connect.refused.inc();
            if packet.len() >= HEAD_LEN + UNPROVEN.len() {
                write_error(transaction, UNPROVEN, out);
            }
        }
    }
}

/// Appends the reply to a client whose address is proven.
fn answer_proven(
    asked: &Asked<'_>,
    transaction: u32,
    registry: &mut Registry,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let query = Query::decode(asked.packet);
    match query.map_err(|error| Failure::new(format!("malformed packet: {error}")))? {
        None => Err(Failure::new("malformed packet")),
        Some(Query::Announce(request)) => announce(asked, transaction, &request, registry, out),
        Some(Query::Scrape(info_hashes)) => {
            // In the order asked for: of a torrent that is not known, zeros.
            let entries = info_hashes.iter().map(|&info_hash| {
                let known = registry.scrape(&[InfoHash(info_hash)]).files;
                known.first().map_or(ScrapeEntry::default(), |&(_, entry)| entry)
            });
            write_scrape(transaction, entries, out);
            Ok(())
        }
    }
}

fn announce(
    asked: &Asked<'_>,
    transaction: u32,
    request: &AnnounceRequest,
    registry: &mut Registry,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let &Asked { ip, now, .. } = asked;
    let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
    let room = Room { family: Some(family), peers_max: peers_max(family) };
    // The numbers are known last and stand first.
    let begin = out.len();
    out.extend_from_slice(&[0; AnnounceHead::LEN]);
    let give = |peer: PeerRef<'_>| out.extend_from_slice(peer.compact());
    let answer = registry.announce_with(now, request, ip, room, give)?;
    let head = AnnounceHead {
        transaction,
        interval_s: answer.interval_s,
        leechers: answer.incomplete,
        seeders: answer.complete,
    };
    out[begin..begin + AnnounceHead::LEN].copy_from_slice(&head.encode());
    Ok(())
}

#[cfg(test)]
mod tests;
