//! The two connections of a download that no policy can starve (design §6): which they are, and
//! when each got a chunk last. Naive locality starves; these keep every part of a swarm fed. Never
//! here: labels, or the choice.

use std::time::Duration;

use crate::{ids::ConnId, time::Timestamp};

/// So many connections of a download are out of a policy's reach.
pub const BLIND_CONNS: usize = 2;
/// A connection is kept at least this long.
pub const BLIND_KEPT: Duration = Duration::from_secs(30);
/// Each gets at least one chunk in this time.
pub const BLIND_FED_EVERY: Duration = Duration::from_secs(10);

/// The label-blind connections of a download.
#[derive(Debug, Default)]
pub struct Blind(Vec<Kept>);

#[derive(Clone, Copy, Debug)]
struct Kept {
    conn: ConnId,
    since: Timestamp,
    fed: Option<Timestamp>,
}

impl Blind {
    /// Lets go of those that cannot serve any more and of those that were kept long enough; tells
    /// how many places are free.
    pub fn release(&mut self, now: Timestamp, could_serve: impl Fn(ConnId) -> bool) -> usize {
        self.0.retain(|kept| could_serve(kept.conn) && now.since(kept.since) < BLIND_KEPT);
        BLIND_CONNS - self.0.len()
    }

    /// A connection is gone.
    pub fn forget(&mut self, conn: ConnId) {
        self.0.retain(|kept| kept.conn != conn);
    }

    /// Lets go of all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a connection is one of them.
    #[must_use]
    pub fn contains(&self, conn: ConnId) -> bool {
        self.0.iter().any(|kept| kept.conn == conn)
    }

    /// Takes a connection in.
    pub fn keep(&mut self, conn: ConnId, now: Timestamp) {
        assert!(self.0.len() < BLIND_CONNS && !self.contains(conn), "{conn:?} beside {:?}", self.0);
        self.0.push(Kept { conn, since: now, fed: None });
    }

    /// A connection got a chunk, by whose word ever.
    pub fn fed(&mut self, conn: ConnId, now: Timestamp) {
        for kept in self.0.iter_mut().filter(|kept| kept.conn == conn) {
            kept.fed = Some(now);
        }
    }

    /// Those whose next chunk is due.
    #[must_use]
    pub fn hungry(&self, now: Timestamp) -> Vec<ConnId> {
        let due = |kept: &&Kept| kept.fed.is_none_or(|fed| now.since(fed) >= BLIND_FED_EVERY);
        self.0.iter().filter(due).map(|kept| kept.conn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn each_is_kept_thirty_seconds_and_fed_every_ten() {
        let mut blind = Blind::default();
        assert_eq!(blind.release(at(0), |_| true), 2);
        blind.keep(ConnId(1), at(0));
        blind.keep(ConnId(2), at(0));
        assert_eq!(blind.hungry(at(0)), [ConnId(1), ConnId(2)]);
        blind.fed(ConnId(1), at(0));
        blind.fed(ConnId(3), at(0));
        assert_eq!(blind.hungry(at(9)), [ConnId(2)]);
        assert_eq!(blind.hungry(at(10)), [ConnId(1), ConnId(2)]);
        assert_eq!(blind.release(at(29), |_| true), 0);
        assert_eq!(blind.release(at(29), |conn| conn == ConnId(2)), 1, "one is gone");
        blind.forget(ConnId(2));
        assert_eq!(blind.hungry(at(29)), [], "who is gone is not fed");
        assert_eq!(blind.release(at(30), |_| true), 2);
    }
}
