//! The registry as the threads of the tracker share it, and what of its events is told. Never here: a
//! socket.
//!
//! One lock, held for one request of HTTP or for one batch of packets. A thread of the registry's own,
//! behind a channel, costs a switch of threads each way, which is more than an announce.

use std::{
    io,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rustix::rand::{GetRandomFlags, getrandom};
use shoal_core::{
    ids::InfoHash,
    time::Timestamp,
    tracker::{
        announce::{AnnounceReply, AnnounceRequest, Failure},
        registry::{Registry, RegistryConfig, SwarmEvent, SwarmEventKind},
        scrape::ScrapeReply,
    },
};
use tokio::sync::broadcast;

use super::meter::TrackerMeter;

/// News that a slow subscriber may be behind.
pub const NEWS_KEPT: usize = 8192;
/// Events told a second: peers decide how many happen, and whoever is told has other things to do.
const TOLD_MAX: u32 = 1000;
/// Lines about peers in the log, a second.
const LOG_LINES_MAX: u32 = 100;
/// Peers forgotten under one lock.
const EXPIRE_BATCH: usize = 250;

/// What a subscriber is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// Something happened to a peer.
    Event(SwarmEvent),
    /// So much more happened within a second that it was not told.
    More(u64),
}

/// The registry, its clock, and who is told what happens in it.
#[derive(Debug)]
pub(super) struct Shared {
    /// Never held over an await.
    registry: Mutex<Registry>,
    origin: Instant,
    /// Locked while the registry is, so that events keep their order, and held on without it.
    teller: Mutex<Teller>,
    news: broadcast::Sender<News>,
    meter: TrackerMeter,
}

/// What was told lately.
#[derive(Debug, Default)]
struct Teller {
    /// Events on their way; empty but for a moment.
    events: Vec<SwarmEvent>,
    told: Limit<TOLD_MAX>,
    lines: Limit<LOG_LINES_MAX>,
}

/// At most `MAX` a second.
#[derive(Debug, Default)]
struct Limit<const MAX: u32> {
    second: u64,
    passed: u32,
    held_back: u64,
}

impl Shared {
    /// An empty registry.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new(config: RegistryConfig) -> io::Result<Self> {
        let mut seed = [0; 8];
        let len = seed.len();
        if getrandom(&mut seed[..], GetRandomFlags::empty())? != len {
            return Err(io::Error::other("the system has too little randomness"));
        }
        Ok(Self {
            registry: Mutex::new(Registry::new(config, u64::from_ne_bytes(seed))),
            origin: Instant::now(),
            teller: Mutex::default(),
            news: broadcast::Sender::new(NEWS_KEPT),
            meter: TrackerMeter::default(),
        })
    }

    pub(super) fn meter(&self) -> &TrackerMeter {
        &self.meter
    }

    pub(super) fn announce(
        &self,
        request: &AnnounceRequest,
        source: IpAddr,
    ) -> Result<AnnounceReply, Failure> {
        self.with(|registry, now| registry.announce(now, request, source))
    }

    pub(super) fn scrape(&self, info_hashes: &[InfoHash]) -> ScrapeReply {
        self.with(|registry, _| registry.scrape(info_hashes))
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        self.with(|registry, _| registry.counts())
    }

    /// Forgets a batch of silent peers; says whether there are more.
    pub(super) fn expire(&self) -> bool {
        self.with(|registry, now| registry.expire(now, EXPIRE_BATCH))
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Calls with the registry, once for as much as there is to be done, and tells what happened.
    pub(super) fn with<T>(&self, call: impl FnOnce(&mut Registry, Timestamp) -> T) -> T {
        let mut registry = lock(&self.registry);
        // Read under the lock: the registry's time never decreases.
        let elapsed = self.origin.elapsed().as_micros();
        let now = Timestamp(u64::try_from(elapsed).unwrap_or(u64::MAX));
        let answer = call(&mut registry, now);
        let mut teller = lock(&self.teller);
        let lost = registry.drain_events(&mut teller.events);
        let (_, peers) = registry.counts();
        drop(registry);
        teller.tell(now, peers, lost, &self.news);
        answer
    }
}

impl Teller {
    fn tell(&mut self, now: Timestamp, peers: usize, lost: u64, news: &broadcast::Sender<News>) {
        let second = now.millis() / 1000;
        let suppressed = self.lines.turn(second);
        if suppressed > 0 {
            tracing::info!(suppressed, "more happened to peers than is logged");
        }
        let more = self.told.turn(second);
        // Nobody may be listening.
        if more > 0 {
            let _ = news.send(News::More(more));
        }
        let is_heard = news.receiver_count() > 0;
        self.told.held_back += if is_heard { lost } else { 0 };
        self.lines.held_back += lost;
        for event in self.events.drain(..) {
            let SwarmEvent { info_hash, peer_id, addr, kind } = &event;
            tracing::debug!(torrent = %info_hash, peer = %peer_id, %addr, ?kind, "swarm event");
            if self.lines.pass() {
                log(&event, peers);
            }
            if is_heard && self.told.pass() {
                let _ = news.send(News::Event(event));
            }
        }
    }
}

fn log(event: &SwarmEvent, peers: usize) {
    let SwarmEvent { info_hash, peer_id, kind, .. } = event;
    match kind {
        SwarmEventKind::Joined { left } => {
            tracing::info!(torrent = %info_hash, peer = %peer_id, left, peers, "peer joined");
        }
        SwarmEventKind::Updated { left, completed } => {
            tracing::info!(torrent = %info_hash, peer = %peer_id, left, completed, "peer updated");
        }
        SwarmEventKind::Left(reason) => {
            tracing::info!(torrent = %info_hash, peer = %peer_id, ?reason, peers, "peer left");
        }
    }
}

impl<const MAX: u32> Limit<MAX> {
    /// Begins another second where it is time; tells how many were held back in the one before.
    fn turn(&mut self, second: u64) -> u64 {
        if second == self.second {
            return 0;
        }
        let held_back = self.held_back;
        *self = Self { second, ..Self::default() };
        held_back
    }

    fn pass(&mut self) -> bool {
        let passes = self.passed < MAX;
        self.passed += u32::from(passes);
        self.held_back += u64::from(!passes);
        passes
    }
}

/// A panic under a lock is our bug: it is in the log, and the others are served on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use shoal_core::ids::PeerId;

    use super::*;

    #[test]
    fn what_is_told_is_limited_and_the_rest_is_counted() {
        let mut limit = Limit::<100>::default();
        let passed = (0..105).filter(|_| limit.pass()).count();
        assert_eq!(passed, 100);
        assert_eq!(limit.turn(0), 0);
        assert_eq!(limit.turn(1), 5);
        assert!(limit.pass());
        assert_eq!(limit.turn(1), 0);
    }

    #[test]
    fn a_flood_is_told_in_part_and_the_rest_is_counted() {
        let news = broadcast::Sender::new(NEWS_KEPT);
        let mut teller = Teller::default();
        let event = |n: u32| SwarmEvent {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            addr: SocketAddr::new(IpAddr::V4(n.into()), 1),
            kind: SwarmEventKind::Joined { left: 0 },
        };
        // What nobody hears is not told later.
        teller.events.extend((0..TOLD_MAX * 2).map(event));
        teller.tell(Timestamp(0), 0, 7, &news);
        let mut heard = news.subscribe();
        teller.events.extend((0..TOLD_MAX + 5).map(event));
        teller.tell(Timestamp(999_999), 0, 3, &news);
        teller.tell(Timestamp(1_000_000), 0, 0, &news);
        teller.events.push(event(9));
        teller.tell(Timestamp(1_000_001), 0, 0, &news);
        for n in 0..TOLD_MAX {
            assert_eq!(heard.try_recv(), Ok(News::Event(event(n))));
        }
        assert_eq!(heard.try_recv(), Ok(News::More(5 + 3)));
        assert_eq!(heard.try_recv(), Ok(News::Event(event(9))));
        assert!(heard.try_recv().is_err());
    }
}
