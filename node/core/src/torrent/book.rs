//! The addresses a torrent knows: whom to dial, when again, and how far who named them is trusted.
//! Never here: connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    config::{HEARSAY_PER_MINUTE_MAX, LOCAL_ADDRESSES_MAX, PEX_ADDRESSES_MAX},
    ids::ConnId,
    time::Timestamp,
};

/// Where an address is known from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// An operator named it.
    Operator,
    /// A tracker answered it.
    Tracker,
    /// The peer connected to us, and said that it listens there.
    Incoming,
    /// It was announced on the local network, from this host.
    Local(IpAddr),
    /// A peer at this host named it in peer exchange.
    Pex(IpAddr),
}

/// How an address stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Nobody is connected; not dialled before this, which is [`UNTRIED`] where nobody tried.
    Free(Timestamp),
    /// A dial is under way.
    Dialling(ConnId),
    /// A dial failed beside one of another torrent to the same address: not dialled until that ended.
    HeldUp,
    /// Connected.
    Connected(ConnId),
    /// It is this node itself.
    Own,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    standing: Standing,
    failures: u32,
    source: Source,
}

/// The known addresses of a torrent's peers: where they listen.
///
/// Invariants: `ready` and `waiting` hold exactly the free addresses, each in one of them, `ready`
/// none whose time had not come when it was last looked at; `failing` those of them that failed;
/// `untried` and `hopeful` count the entries of which [`Entry::is_untried`] and [`Entry::is_hopeful`]
/// are true; `named` those of each source of hearsay, and `hearsay` their sum.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<SocketAddr, Entry>,
    /// Who may be dialled, in the order in which it is done.
    ready: BTreeSet<Turn>,
    /// Who may be dialled later, in order of time.
    waiting: BTreeSet<(Timestamp, SocketAddr)>,
    /// Who gives way to others, the last one first: by trust, then by failures in a row.
    failing: BTreeSet<(u8, u32, SocketAddr)>,
    untried: usize,
    hopeful: usize,
    named: BTreeMap<Source, usize>,
    hearsay: usize,
    /// When the minute began in which new hearsay is counted, and how much of it came.
    heard: (Timestamp, u32),
    /// What the order is drawn by in which equal addresses are dialled.
    seed: u64,
}

/// Where an address stands among those that may be dialled: by failures in a row, by how far who named
/// it is trusted, and then by lot. If all nodes of a swarm went by address, the first ones would
/// be called by all, and refuse nearly all.
type Turn = (u32, u8, u32, SocketAddr);

/// The time of an address that nobody tried, or that is to be tried as if nobody had.
const UNTRIED: Timestamp = Timestamp(0);

/// The first wait after a failed dial; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// The longest wait after failed dials.
const RETRY_MAX: Duration = Duration::from_secs(300);
const MINUTE: Duration = Duration::from_secs(60);
/// No address is before this one.
const FIRST: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
/// After so many failed dials in a row hearsay is forgotten.
const HEARSAY_TRIES: u32 = 3;

impl Source {
    /// The less, the more it is trusted.
    fn rank(self) -> u8 {
        match self {
            Self::Operator => 0,
            Self::Tracker => 1,
            Self::Incoming => 2,
            Self::Local(_) => 3,
            Self::Pex(_) => 4,
        }
    }

    /// The most addresses that it may name; none: as many as there is room for.
    fn share(self) -> Option<usize> {
        match self {
            Self::Operator | Self::Tracker | Self::Incoming => None,
            Self::Local(_) => Some(LOCAL_ADDRESSES_MAX),
            Self::Pex(_) => Some(PEX_ADDRESSES_MAX),
        }
    }

    /// Whether anybody on the network can be behind it.
    fn is_hearsay(self) -> bool {
        self.share().is_some()
    }
}

impl Book {
    /// An empty book; by the seed it draws in which order equal addresses are dialled.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Learns an address, up to `limit` of them: beyond, one that is trusted less gives way, or
    /// one not trusted more that fails. Hearsay has half of the book at most, and of that no host
    /// more than its share. Tells whether the address is news.
    pub fn learn(&mut self, addr: SocketAddr, source: Source, limit: usize) -> bool {
        if let Some(&known) = self.entries.get(&addr) {
            if source.rank() < known.source.rank() {
                self.put(addr, Entry { source, ..known });
            }
            return false;
        }
        if addr.port() == 0 || !self.has_share(source, limit) {
            return false;
        }
        if self.entries.len() >= limit && !self.forget_worst(source) {
            return false;
        }
        let standing = Standing::Free(UNTRIED);
        self.put(addr, Entry { standing, failures: 0, source });
        true
    }

    /// Learns an address from hearsay, as [`Self::learn`] does, and no more than
    /// [`HEARSAY_PER_MINUTE_MAX`] new ones a minute.
    pub fn hear(&mut self, addr: SocketAddr, source: Source, limit: usize, now: Timestamp) -> bool {
        if now.since(self.heard.0) >= MINUTE {
            self.heard = (now, 0);
        }
        let heard = self.heard.1 < HEARSAY_PER_MINUTE_MAX && self.learn(addr, source, limit);
        self.heard.1 += u32::from(heard);
        heard
    }

    /// Where an address is known from.
    #[must_use]
    pub fn source(&self, addr: &SocketAddr) -> Option<Source> {
        self.entries.get(addr).map(|entry| entry.source)
    }

    /// The peers at a host say that nobody is at an address any more which they named: it is
    /// forgotten, unless somebody is.
    pub fn forget_hearsay(&mut self, addr: SocketAddr, from: IpAddr) {
        let entry = self.entries.get(&addr);
        if entry.is_some_and(|e| e.source == Source::Pex(from) && e.is_free()) {
            self.remove(addr);
        }
    }

    /// Addresses to dial now, at most `count`, those with the fewest failures first, of these the
    /// most trusted, of these by lot.
    #[must_use]
    pub fn due(&mut self, now: Timestamp, count: usize) -> Vec<SocketAddr> {
        self.advance(now);
        self.ready.iter().map(|&(.., addr)| addr).take(count).collect()
    }

    /// Whether anybody may be dialled now.
    #[must_use]
    pub fn is_any_due(&self, now: Timestamp) -> bool {
        !self.ready.is_empty() || self.waiting.first().is_some_and(|(at, _)| *at <= now)
    }

    /// Whose time has come may be dialled.
    fn advance(&mut self, now: Timestamp) {
        while let Some(&(_, addr)) = self.waiting.first().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            if let Some(entry) = self.entries.get(&addr) {
                self.ready.insert(self.turn(addr, entry));
            }
        }
    }

    /// Addresses that nobody tried yet are due at `at`.
    pub fn give_time(&mut self, at: Timestamp) {
        if self.untried == 0 {
            return;
        }
        let untried = |addr: &SocketAddr| self.entries.get(addr).is_some_and(Entry::is_untried);
        let addrs = self.ready.iter().map(|turn| turn.3).filter(untried);
        for addr in addrs.collect::<Vec<_>>() {
            self.stand(addr, Standing::Free(at));
        }
    }

    /// Whether a dial is under way or may still be made at once: somebody may yet turn up.
    #[must_use]
    pub fn has_untried(&self) -> bool {
        self.hopeful > 0
    }

    /// A dial began. An address that is not known is one of an operator.
    pub fn dialling(&mut self, addr: SocketAddr, conn: ConnId) {
        let standing = Standing::Dialling(conn);
        let new = Entry { standing, failures: 0, source: Source::Operator };
        let entry = self.entries.get(&addr).copied().unwrap_or(new);
        self.put(addr, Entry { standing, ..entry });
    }

    /// A connection stands to an address that was dialled.
    pub fn connected(&mut self, addr: SocketAddr, conn: ConnId) {
        let source = self.source(&addr).unwrap_or(Source::Operator);
        let standing = Standing::Connected(conn);
        self.put(addr, Entry { standing, failures: 0, source });
    }

    /// A peer that connected to us said where it listens: learnt as [`Self::learn`] does.
    pub fn introduced(&mut self, addr: SocketAddr, conn: ConnId, limit: usize) {
        self.learn(addr, Source::Incoming, limit);
        if self.knows(&addr) {
            self.connected(addr, conn);
        }
    }

    /// A dial failed.
    pub fn dial_failed(&mut self, addr: SocketAddr, conn: ConnId, now: Timestamp) {
        if self.dial_to(&addr) == Some(conn) {
            self.fail(addr, now);
        }
    }

    fn fail(&mut self, addr: SocketAddr, now: Timestamp) {
        let Some(&entry) = self.entries.get(&addr) else { return };
        let wait = RETRY_FIRST.saturating_mul(1 << entry.failures.min(16)).min(RETRY_MAX);
        let failures = entry.failures + 1;
        if entry.source.is_hearsay() && failures >= HEARSAY_TRIES {
            self.remove(addr);
        } else {
            self.put(addr, Entry { standing: Standing::Free(now + wait), failures, ..entry });
        }
    }

    /// A dial failed beside another one to the same address: what that means is still to be seen.
    pub fn hold_up(&mut self, addr: SocketAddr, conn: ConnId) {
        if self.dial_to(&addr) == Some(conn) {
            self.stand(addr, Standing::HeldUp);
        }
    }

    /// An address is held up no longer: it failed, or may be dialled at once.
    pub fn let_go(&mut self, addr: SocketAddr, failed: bool, now: Timestamp) {
        let Some(entry) = self.entries.get(&addr) else { return };
        match (entry.standing == Standing::HeldUp, failed) {
            (true, true) => self.fail(addr, now),
            (true, false) => self.stand(addr, Standing::Free(now)),
            (false, _) => {}
        }
    }

    /// A connection ended; `again` is when it may be dialled next.
    pub fn closed(&mut self, addr: SocketAddr, conn: ConnId, again: Timestamp) {
        let Some(entry) = self.entries.get(&addr) else { return };
        if matches!(entry.standing, Standing::Connected(c) | Standing::Dialling(c) if c == conn) {
            self.stand(addr, Standing::Free(again));
        }
    }

    /// Whoever is at an address was of no use, and gives way to others: it is dialled after them.
    pub fn gave_way(&mut self, addr: SocketAddr) {
        if let Some(&entry) = self.entries.get(&addr) {
            self.put(addr, Entry { failures: entry.failures + 1, ..entry });
        }
    }

    /// The address turned out to be our own.
    pub fn is_ourselves(&mut self, addr: SocketAddr) {
        let source = self.source(&addr).unwrap_or(Source::Operator);
        self.put(addr, Entry { standing: Standing::Own, failures: 0, source });
    }

    /// Whether the address is our own.
    #[must_use]
    pub fn is_own(&self, addr: &SocketAddr) -> bool {
        self.entries.get(addr).is_some_and(|entry| entry.standing == Standing::Own)
    }

    /// The dial under way to an address.
    #[must_use]
    pub fn dial_to(&self, addr: &SocketAddr) -> Option<ConnId> {
        match self.entries.get(addr)?.standing {
            Standing::Dialling(conn) => Some(conn),
            Standing::Free(_) | Standing::HeldUp | Standing::Connected(_) | Standing::Own => None,
        }
    }

    /// Whether the address is known.
    #[must_use]
    pub fn knows(&self, addr: &SocketAddr) -> bool {
        self.entries.contains_key(addr)
    }

    /// Every known address but our own.
    pub fn addresses(&self) -> impl Iterator<Item = (SocketAddr, Source)> + '_ {
        let others = self.entries.iter().filter(|(_, entry)| entry.standing != Standing::Own);
        others.map(|(&addr, entry)| (addr, entry.source))
    }

    /// A known address of somebody else that differs from `addr` in its port or its last digits only.
    #[must_use]
    pub fn similar(&self, addr: &SocketAddr) -> Option<SocketAddr> {
        let known = || self.entries.iter().filter(|(_, entry)| entry.standing != Standing::Own);
        let others = || known().map(|(other, _)| other).filter(|other| *other != addr);
        let same_ip = others().find(|other| other.ip() == addr.ip());
        same_ip.or_else(|| others().find(|other| other.port() == addr.port())).copied()
    }

    /// The earliest time after `now` at which an address may be dialled again.
    #[must_use]
    pub fn next_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.advance(now);
        self.waiting.first().map(|&(at, _)| at)
    }

    /// Makes every address due at once, as after a pause.
    pub fn retry_all(&mut self) {
        let free = self.entries.iter().filter(|(_, entry)| entry.is_free());
        for (addr, entry) in free.map(|(&addr, &entry)| (addr, entry)).collect::<Vec<_>>() {
            let standing = Standing::Free(UNTRIED);
            self.put(addr, Entry { standing, failures: 0, ..entry });
        }
    }

    /// Whether a source may name another address.
    fn has_share(&self, source: Source, limit: usize) -> bool {
        let Some(share) = source.share() else { return true };
        let of_it = self.named.get(&source).copied().unwrap_or(0);
        of_it < share && self.hearsay < limit / 2
    }

    /// Makes room for an address of `source`.
    fn forget_worst(&mut self, source: Source) -> bool {
        let rank = source.rank();
        let failing = self.failing.last().filter(|worst| worst.0 >= rank);
        let sound = self.ready.range(..(1, 0, 0, FIRST)).next_back();
        let sound = sound.filter(|last| last.1 > rank).map(|&(_, rank, _, addr)| (rank, 0, addr));
        let Some((.., addr)) = failing.copied().max(sound) else { return false };
        self.remove(addr);
        true
    }

    /// Has an address that is known stand otherwise.
    fn stand(&mut self, addr: SocketAddr, standing: Standing) {
        if let Some(&entry) = self.entries.get(&addr) {
            self.put(addr, Entry { standing, ..entry });
        }
    }

    /// Enters an address, in place of what stood there: every change of an entry goes this way.
    fn put(&mut self, addr: SocketAddr, entry: Entry) {
        if let Some(old) = self.entries.insert(addr, entry) {
            self.strike(addr, &old);
        }
        if let Standing::Free(at) = entry.standing {
            // Who was never tried waits for nothing.
            match at {
                UNTRIED => self.ready.insert(self.turn(addr, &entry)),
                at => self.waiting.insert((at, addr)),
            };
            if entry.failures > 0 {
                self.failing.insert((entry.source.rank(), entry.failures, addr));
            }
        }
        self.untried += usize::from(entry.is_untried());
        self.hopeful += usize::from(entry.is_hopeful());
        if entry.source.is_hearsay() {
            *self.named.entry(entry.source).or_default() += 1;
            self.hearsay += 1;
        }
    }

    fn remove(&mut self, addr: SocketAddr) {
        if let Some(entry) = self.entries.remove(&addr) {
            self.strike(addr, &entry);
        }
    }

    /// Takes what stood of an address out of everything but the entries.
    fn strike(&mut self, addr: SocketAddr, old: &Entry) {
        if let Standing::Free(at) = old.standing {
            if !self.waiting.remove(&(at, addr)) {
                self.ready.remove(&self.turn(addr, old));
            }
            if old.failures > 0 {
                self.failing.remove(&(old.source.rank(), old.failures, addr));
            }
        }
        self.untried -= usize::from(old.is_untried());
        self.hopeful -= usize::from(old.is_hopeful());
        if old.source.is_hearsay() {
            self.hearsay -= 1;
            if let Some(count) = self.named.get_mut(&old.source) {
                *count -= 1;
                if *count == 0 {
                    self.named.remove(&old.source);
                }
            }
        }
    }

    /// Where an address stands among those that may be dialled.
    fn turn(&self, addr: SocketAddr, entry: &Entry) -> Turn {
        (entry.failures, entry.source.rank(), self.lot(addr), addr)
    }

    /// A number that nobody foresees who does not know the seed: SplitMix64's finaliser, of the
    /// address.
    fn lot(&self, addr: SocketAddr) -> u32 {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => u64::from(u32::from(ip)),
            IpAddr::V6(ip) => (u128::from(ip) ^ (u128::from(ip) >> 64)) as u64,
        };
        let mut lot = self.seed ^ ip ^ (u64::from(addr.port()) << 48);
        lot = (lot ^ (lot >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        lot = (lot ^ (lot >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (lot >> 32) as u32
    }

    /// Checks the invariants.
    ///
    /// # Panics
    /// Where one is broken: our own mistake.
    pub fn check_invariants(&self) {
        let hopeful = self.entries.values().filter(|entry| entry.is_hopeful()).count();
        assert_eq!(self.hopeful, hopeful, "addresses that may yet answer");
        let untried = self.entries.values().filter(|entry| entry.is_untried()).count();
        assert_eq!(self.untried, untried, "addresses that nobody tried");
        let mut named = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| entry.source.is_hearsay()) {
            *named.entry(entry.source).or_default() += 1;
        }
        assert_eq!(self.named, named, "hearsay by source");
        assert_eq!(self.hearsay, named.values().sum::<usize>(), "hearsay");
        let (mut free, mut failing) = (0, BTreeSet::new());
        for (&addr, entry) in &self.entries {
            let Standing::Free(at) = entry.standing else { continue };
            free += 1;
            if entry.failures > 0 {
                failing.insert((entry.source.rank(), entry.failures, addr));
            }
            let waits = self.waiting.contains(&(at, addr));
            let is_ready = self.ready.contains(&self.turn(addr, entry));
            assert_ne!(waits, is_ready, "{addr} in one of both");
        }
        assert_eq!(self.ready.len() + self.waiting.len(), free, "free addresses");
        assert_eq!(self.failing, failing, "addresses that fail");
    }
}

impl Entry {
    fn is_free(&self) -> bool {
        matches!(self.standing, Standing::Free(_))
    }

    /// Whether it may be dialled from the beginning of time.
    fn is_untried(&self) -> bool {
        self.standing == Standing::Free(UNTRIED)
    }

    /// Whether somebody may yet turn up there: it was not tried in vain, or is being tried.
    fn is_hopeful(&self) -> bool {
        match self.standing {
            Standing::Free(_) => self.failures == 0,
            Standing::Dialling(_) | Standing::HeldUp => true,
            Standing::Connected(_) | Standing::Own => false,
        }
    }
}

#[cfg(test)]
mod tests;
