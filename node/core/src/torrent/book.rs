//! The addresses a torrent knows: whom to dial, and when again. Never here: connections.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use crate::{ids::ConnId, time::Timestamp};

/// How an address stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Nobody is connected; not dialled before this.
    Free(Timestamp),
    /// A dial is under way.
    Dialling(ConnId),
    /// Connected.
    Connected(ConnId),
    /// It is this node itself.
    Own,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    standing: Standing,
    failures: u32,
}

/// The known addresses of a torrent's peers: where they listen.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<SocketAddr, Entry>,
}

/// The first wait after a failed dial; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// The longest wait after failed dials.
const RETRY_MAX: Duration = Duration::from_secs(300);

impl Book {
    /// Learns an address, up to `limit` of them: beyond, one that fails gives way.
    pub fn learn(&mut self, addr: SocketAddr, limit: usize) {
        if self.entries.contains_key(&addr) || addr.port() == 0 {
            return;
        }
        if self.entries.len() >= limit && !self.forget_worst() {
            return;
        }
        let standing = Standing::Free(Timestamp::default());
        self.entries.insert(addr, Entry { standing, failures: 0 });
    }

    /// Addresses to dial now, at most `count`, those with the fewest failures first.
    #[must_use]
    pub fn due(&self, now: Timestamp, count: usize) -> Vec<SocketAddr> {
        let free = |e: &Entry| matches!(e.standing, Standing::Free(at) if at <= now);
        let due = self.entries.iter().filter(|(_, entry)| free(entry));
        let mut due = due.map(|(&addr, entry)| (entry.failures, addr)).collect::<Vec<_>>();
        due.sort_unstable();
        due.into_iter().map(|(_, addr)| addr).take(count).collect()
    }

    /// Whether a dial is under way or may still be made at once: somebody may yet turn up.
    #[must_use]
    pub fn has_untried(&self) -> bool {
        let untried = |e: &Entry| match e.standing {
            Standing::Free(_) => e.failures == 0,
            Standing::Dialling(_) => true,
            Standing::Connected(_) | Standing::Own => false,
        };
        self.entries.values().any(untried)
    }

    /// A dial began.
    pub fn dialling(&mut self, addr: SocketAddr, conn: ConnId) {
        let entry = Entry { standing: Standing::Dialling(conn), failures: 0 };
        let standing = entry.standing;
        self.entries.entry(addr).or_insert(entry).standing = standing;
    }

    /// A connection stands.
    pub fn connected(&mut self, addr: SocketAddr, conn: ConnId) {
        let entry = Entry { standing: Standing::Connected(conn), failures: 0 };
        self.entries.insert(addr, entry);
    }

    /// A dial failed.
    pub fn dial_failed(&mut self, addr: SocketAddr, conn: ConnId, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        if entry.standing == Standing::Dialling(conn) {
            let wait = RETRY_FIRST.saturating_mul(1 << entry.failures.min(16)).min(RETRY_MAX);
            entry.standing = Standing::Free(now + wait);
            entry.failures += 1;
        }
    }

    /// A connection ended; `again` is when it may be dialled next.
    pub fn closed(&mut self, addr: SocketAddr, conn: ConnId, again: Timestamp) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        if matches!(entry.standing, Standing::Connected(c) | Standing::Dialling(c) if c == conn) {
            entry.standing = Standing::Free(again);
        }
    }

    /// The address turned out to be our own.
    pub fn is_ourselves(&mut self, addr: SocketAddr) {
        self.entries.insert(addr, Entry { standing: Standing::Own, failures: 0 });
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
            Standing::Free(_) | Standing::Connected(_) | Standing::Own => None,
        }
    }

    /// Whether the address is known.
    #[must_use]
    pub fn knows(&self, addr: &SocketAddr) -> bool {
        self.entries.contains_key(addr)
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
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let free = self.entries.values().filter_map(|entry| match entry.standing {
            Standing::Free(at) if at > now => Some(at),
            Standing::Free(_) | Standing::Dialling(_) | Standing::Connected(_) | Standing::Own => {
                None
            }
        });
        free.min()
    }

    /// Makes every address due at once, as after a pause.
    pub fn retry_all(&mut self) {
        for entry in self.entries.values_mut() {
            if matches!(entry.standing, Standing::Free(_)) {
                *entry = Entry { standing: Standing::Free(Timestamp::default()), failures: 0 };
            }
        }
    }

    fn forget_worst(&mut self) -> bool {
        let failing = |e: &Entry| matches!(e.standing, Standing::Free(_)) && e.failures > 0;
        let worst = self.entries.iter().filter(|(_, e)| failing(e)).max_by_key(|(_, e)| e.failures);
        let Some((&addr, _)) = worst else { return false };
        self.entries.remove(&addr).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    #[test]
    fn failed_dials_wait_longer_each_time() {
        let mut book = Book::default();
        book.learn(addr(1), 10);
        let mut now = Timestamp::default();
        for seconds in [2, 4, 8] {
            assert_eq!(book.due(now, 5), [addr(1)]);
            book.dialling(addr(1), ConnId(1));
            book.dial_failed(addr(1), ConnId(1), now);
            now = now + Duration::from_secs(seconds);
            assert!(book.due(now - Duration::from_micros(1), 5).is_empty());
        }
    }

    #[test]
    fn similar_addresses_are_never_our_own() {
        let mut book = Book::default();
        book.is_ourselves(addr(1));
        assert_eq!(book.similar(&addr(2)), None);
        book.learn(addr(3), 10);
        assert_eq!(book.similar(&addr(2)), Some(addr(3)));
    }

    #[test]
    fn full_book_forgets_only_addresses_that_fail() {
        let mut book = Book::default();
        book.learn(addr(1), 2);
        book.learn(addr(2), 2);
        book.learn(addr(3), 2);
        assert!(!book.knows(&addr(3)));
        book.dialling(addr(1), ConnId(1));
        book.dial_failed(addr(1), ConnId(1), Timestamp::default());
        book.learn(addr(3), 2);
        assert!(book.knows(&addr(3)) && !book.knows(&addr(1)));
    }
}
