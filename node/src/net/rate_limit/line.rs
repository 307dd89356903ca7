//! Who waits for a bucket: connections in the order in which they came, so that each has its turn
//! however fast the others are. Never here: a clock, a lock.

use std::{collections::VecDeque, num::NonZeroU64, task::Waker};

use shoal_core::{ids::ConnId, time::Timestamp};

use super::bucket::Bucket;

/// A bucket and those who wait for it; without a limit there is no bucket.
///
/// Invariant: nobody waits where there is no bucket.
#[derive(Debug, Default)]
pub(super) struct Line {
    bucket: Option<Bucket>,
    waiting: VecDeque<Waiting>,
}

/// The answer to who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// There is no limit.
    All,
    /// So many bytes, which are taken.
    Bytes(u32),
    /// In the line; the first of it is told when to ask again, the others are woken.
    Wait(Option<Timestamp>),
}

#[derive(Debug)]
struct Waiting {
    conn: ConnId,
    /// It is to ask again.
    called: bool,
    waker: Option<Waker>,
}

impl Line {
    /// Another limit, or none: everyone who waits asks again.
    pub(super) fn set(&mut self, bps: Option<NonZeroU64>, now: Timestamp) {
        match (bps, &mut self.bucket) {
            (Some(bps), Some(bucket)) => bucket.set(bps, now),
            (Some(bps), empty @ None) => *empty = Some(Bucket::new(bps, now)),
            (None, bucket) => *bucket = None,
        }
        self.waiting.iter_mut().for_each(Waiting::call);
        if self.bucket.is_none() {
            self.waiting.clear();
        }
    }

    /// Takes up to `want` bytes, or a place in the line.
    pub(super) fn ask(&mut self, conn: ConnId, want: u32, now: Timestamp) -> Answer {
        let Some(bucket) = &mut self.bucket else { return Answer::All };
        let place = self.waiting.iter().position(|waiting| waiting.conn == conn);
        let first = self.waiting.is_empty() || place == Some(0);
        if first && let Some(bytes) = bucket.take(want, now) {
            self.waiting.pop_front();
            self.call_first();
            return Answer::Bytes(bytes);
        }
        let until = first.then(|| bucket.ready_at());
        match place.and_then(|place| self.waiting.get_mut(place)) {
            Some(waiting) => waiting.called = false,
            None => self.waiting.push_back(Waiting { conn, called: false, waker: None }),
        }
        Answer::Wait(until)
    }

    /// Whether `conn` is to ask again; it is woken with `waker` when that becomes so.
    pub(super) fn poll(&mut self, conn: ConnId, waker: &Waker) -> bool {
        let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.conn == conn) else {
            return true;
        };
        if !waiting.called {
            waiting.waker = Some(waker.clone());
        }
        waiting.called
    }

    /// Waits no longer.
    pub(super) fn leave(&mut self, conn: ConnId) {
        self.waiting.retain(|waiting| waiting.conn != conn);
        self.call_first();
    }

    /// Bytes that were taken did not go.
    pub(super) fn refund(&mut self, bytes: u32) {
        let Some(bucket) = &mut self.bucket else { return };
        bucket.refund(bytes);
        if bucket.has_any() {
            self.call_first();
        }
    }

    /// Bytes went without being taken.
    pub(super) fn charge(&mut self, bytes: u32) {
        if let Some(bucket) = &mut self.bucket {
            bucket.charge(bytes);
        }
    }

    fn call_first(&mut self) {
        if let Some(first) = self.waiting.front_mut() {
            first.call();
        }
    }
}

impl Waiting {
    fn call(&mut self) {
        self.called = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);
    const C: ConnId = ConnId(3);

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// 64 bytes a millisecond, in slices of 1024 bytes.
    fn line() -> Line {
        let mut line = Line::default();
        line.set(NonZeroU64::new(64_000), at_ms(0));
        line
    }

    fn at_ms(ms: u64) -> Timestamp {
        Timestamp(ms * 1000)
    }

    #[test]
    fn without_a_limit_everything_goes() {
        let mut line = Line::default();
        assert_eq!(line.ask(A, 5, at_ms(0)), Answer::All);
        line.charge(u32::MAX);
        assert_eq!(line.ask(A, u32::MAX, at_ms(0)), Answer::All);
    }

    #[test]
    fn everyone_has_a_turn_in_the_order_of_coming() {
        let mut line = line();
        let (mut now, mut got) = (at_ms(1), Vec::new());
        // A asks twice as often as the others.
        while got.len() < 9 {
            for conn in [A, B, A, C] {
                match line.ask(conn, u32::MAX, now) {
                    Answer::Bytes(_) => got.push(conn),
                    Answer::Wait(until) => now = until.unwrap_or(now),
                    Answer::All => unreachable!(),
                }
            }
        }
        assert_eq!(got, [A, B, A, C, B, A, C, B, A]);
    }

    #[test]
    fn the_next_is_called_when_the_first_took_its_bytes_or_left() {
        let mut line = line();
        assert_eq!(line.ask(A, 100, at_ms(1)), Answer::Bytes(100));
        assert!(matches!(line.ask(A, 100, at_ms(1)), Answer::Wait(Some(_))));
        assert_eq!(line.ask(B, 100, at_ms(1)), Answer::Wait(None));
        assert_eq!(line.ask(C, 100, at_ms(1)), Answer::Wait(None));
        let (b, c) = (Arc::<Count>::default(), Arc::<Count>::default());
        assert!(!line.poll(B, &b.clone().into()) && !line.poll(C, &c.clone().into()));
        assert_eq!(line.ask(A, 100, at_ms(2)), Answer::Bytes(100));
        assert_eq!((b.get(), c.get()), (1, 0));
        assert!(line.poll(B, Waker::noop()) && !line.poll(C, &c.clone().into()));
        line.leave(B);
        assert_eq!((b.get(), c.get()), (1, 1));
        assert!(matches!(line.ask(C, 100, at_ms(2)), Answer::Wait(Some(_))));
        assert!(!line.poll(C, Waker::noop()));
    }

    #[test]
    fn bytes_given_back_are_offered_to_the_first() {
        let mut line = line();
        assert_eq!(line.ask(A, 1024, at_ms(1)), Answer::Bytes(1024));
        assert!(matches!(line.ask(B, 1024, at_ms(1)), Answer::Wait(Some(_))));
        let b = Arc::<Count>::default();
        assert!(!line.poll(B, &b.clone().into()));
        line.refund(1024);
        assert_eq!((b.get(), line.ask(B, 1024, at_ms(1))), (1, Answer::Bytes(1024)));
    }

    #[test]
    fn a_new_limit_reaches_those_who_wait() {
        let mut line = line();
        line.charge(64_000);
        assert_eq!(line.ask(A, 1, at_ms(0)), Answer::Wait(Some(Timestamp(1_000_016))));
        assert_eq!(line.ask(B, 1, at_ms(0)), Answer::Wait(None));
        let count = Arc::<Count>::default();
        let waker: Waker = count.clone().into();
        assert!(!line.poll(A, &waker) && !line.poll(B, &waker));
        line.set(NonZeroU64::new(1_000_000), at_ms(0));
        assert_eq!(count.get(), 2);
        // Debt of at most a slice of the new limit.
        assert_eq!(line.ask(A, 1, at_ms(0)), Answer::Wait(Some(Timestamp(15_626))));
        assert_eq!(line.ask(B, 1, at_ms(0)), Answer::Wait(None));
        assert!(!line.poll(A, &waker) && !line.poll(B, &waker));
        line.set(None, at_ms(0));
        assert_eq!(count.get(), 4);
        assert!(line.poll(A, &waker) && line.poll(B, &waker));
        assert_eq!(
            (line.ask(B, 1, at_ms(0)), line.ask(A, 1, at_ms(0))),
            (Answer::All, Answer::All)
        );
    }
}
