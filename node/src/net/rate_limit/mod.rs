//! Limits to what is sent and received, of a node and of a torrent: [`Limits`]; both hold for a
//! connection, which asks its `Pace` before every piece of sending and reading. A limit can change
//! at any time. Where there is none, asking is a load from memory.
//!
//! What is asked for is never too much: it is given in slices, and a bucket in debt makes wait
//! (`bucket`). Whoever waits has its turn in the order of coming (`line`). The clock is handed in.
//! Never here: a socket.

mod bucket;
mod line;

use std::{
    num::NonZeroU64,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
    time::Instant,
};

use shoal_core::{ids::ConnId, time::Timestamp};

use self::line::{Answer, Line};
use crate::clock::Clock;

/// How fast at most, in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Payload sent, bytes a second; none: no limit.
    pub upload_bps: Option<NonZeroU64>,
    /// Bytes received, a second; none: no limit.
    pub download_bps: Option<NonZeroU64>,
}

/// The limits that a node's connections share, or a torrent's.
#[derive(Debug, Default)]
pub struct Limits {
    upload: Limit,
    download: Limit,
}

/// One direction of [`Limits`].
#[derive(Debug, Default)]
struct Limit {
    /// There is a limit: looked at without the lock.
    holds: AtomicBool,
    /// Locked for one question, never over a wait.
    line: Mutex<Line>,
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Upload,
    Download,
}

/// What one connection may send, or receive. Dropping it gives back what it did not use.
#[derive(Debug)]
pub(crate) struct Pace {
    conn: ConnId,
    direction: Direction,
    clock: Clock,
    /// Its place at its torrent's limit, then at its node's.
    places: [Place; 2],
    /// When to ask again; none also where it is woken for that.
    until: Option<Timestamp>,
}

#[derive(Debug)]
struct Place {
    limits: Arc<Limits>,
    /// Bytes that were taken here.
    in_hand: u32,
    waits: bool,
}

impl Rates {
    /// Of bytes a second; 0 is no limit.
    #[must_use]
    pub fn of(upload_bps: u64, download_bps: u64) -> Self {
        Self {
            upload_bps: NonZeroU64::new(upload_bps),
            download_bps: NonZeroU64::new(download_bps),
        }
    }
}

impl Limits {
    /// Limits that hold from the start.
    #[must_use]
    pub fn new(rates: Rates, now: Timestamp) -> Self {
        let limits = Self::default();
        limits.set(rates, now);
        limits
    }

    /// Other limits from now on, also for those who wait. `now` is of the clock of the
    /// [`Net`](super::Net) whose connections have these limits.
    pub fn set(&self, rates: Rates, now: Timestamp) {
        self.upload.set(rates.upload_bps, now);
        self.download.set(rates.download_bps, now);
    }

    fn limit(&self, direction: Direction) -> &Limit {
        match direction {
            Direction::Upload => &self.upload,
            Direction::Download => &self.download,
        }
    }
}

impl Limit {
    fn set(&self, bps: Option<NonZeroU64>, now: Timestamp) {
        let mut line = self.line();
        line.set(bps, now);
        // Under the lock, so that of two changes the same one is last in both.
        self.holds.store(bps.is_some(), Ordering::Relaxed);
    }

    fn holds(&self) -> bool {
        self.holds.load(Ordering::Relaxed)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing under the lock panics half way.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    pub(crate) fn new(
        conn: ConnId,
        direction: Direction,
        torrent: &Arc<Limits>,
        node: &Arc<Limits>,
        clock: Clock,
    ) -> Self {
        let places = [torrent, node].map(|limits| Place {
            limits: Arc::clone(limits),
            in_hand: 0,
            waits: false,
        });
        Self { conn, direction, clock, places, until: None }
    }

    /// How many bytes may go now, of up to `want`; [`used`](Self::used) follows. None: it waits,
    /// until [`deadline`](Self::deadline) or [`is_called`](Self::is_called).
    pub(crate) fn ask(&mut self, want: u32, now: Instant) -> Option<u32> {
        if !self.is_limited() {
            return Some(want);
        }
        let now = self.clock.timestamp(now);
        let mut most = want;
        for place in &mut self.places {
            place.waits = false;
            if place.in_hand > 0 {
                most = most.min(place.in_hand);
                continue;
            }
            match place.limits.limit(self.direction).line().ask(self.conn, most, now) {
                Answer::All => {}
                Answer::Bytes(bytes) => {
                    place.in_hand = bytes;
                    most = most.min(bytes);
                }
                Answer::Wait(until) => {
                    (place.waits, self.until) = (true, until);
                    return None;
                }
            }
        }
        Some(most)
    }

    /// How many bytes went since they were asked for; what is left is given back.
    pub(crate) fn used(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        for place in &mut self.places {
            let limit = place.limits.limit(self.direction);
            let in_hand = std::mem::take(&mut place.in_hand);
            if bytes > in_hand && limit.holds() {
                limit.line().charge(bytes - in_hand);
            } else if bytes < in_hand {
                limit.line().refund(in_hand - bytes);
            }
        }
    }

    /// There is nothing to send or receive now: leaves the line.
    pub(crate) fn leave(&mut self) {
        for place in &mut self.places {
            if std::mem::take(&mut place.waits) {
                place.limits.limit(self.direction).line().leave(self.conn);
            }
        }
        self.used(0);
    }

    /// Whether it waits for its turn.
    pub(crate) fn waits(&self) -> bool {
        self.places.iter().any(|place| place.waits)
    }

    /// When it is to ask again, where it waits and that is known.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let until = self.until.filter(|_| self.waits())?;
        self.clock.instant(until)
    }

    /// Whether it waits and is to ask again; else the task is woken for that.
    pub(crate) fn is_called(&self, cx: &Context<'_>) -> bool {
        let called = |place: &Place| {
            let limit = place.limits.limit(self.direction);
            place.waits && limit.line().poll(self.conn, cx.waker())
        };
        self.places.iter().any(called)
    }

    /// Whether there is a limit, or was one when it last asked.
    pub(crate) fn is_limited(&self) -> bool {
        let limited = |place: &Place| {
            place.waits || place.in_hand > 0 || place.limits.limit(self.direction).holds()
        };
        self.places.iter().any(limited)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::{task::Waker, time::Duration};

    use super::*;

    fn rates(bps: u64) -> Rates {
        Rates::of(bps, 0)
    }

    /// Connections of one torrent of one node, and its clock.
    fn paces<const N: usize>(torrent: &Arc<Limits>, node: &Arc<Limits>) -> ([Pace; N], Instant) {
        let clock = Clock::start();
        let conns = std::array::from_fn(|conn| ConnId(conn as u64));
        let paces = conns.map(|conn| Pace::new(conn, Direction::Upload, torrent, node, clock));
        (paces, clock.instant(Timestamp(0)).unwrap())
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn without_a_limit_all_goes_at_once_and_the_other_direction_is_free() {
        let limits = Arc::new(Limits::new(rates(1), Timestamp(0)));
        let free = Arc::default();
        let ([mut pace], start) = paces(&free, &free);
        assert_eq!(pace.ask(u32::MAX, start), Some(u32::MAX));
        pace.used(usize::MAX);
        let clock = Clock::start();
        let mut down = Pace::new(ConnId(1), Direction::Download, &limits, &limits, clock);
        assert_eq!(down.ask(7, start), Some(7));
    }

    #[test]
    fn the_stricter_of_two_limits_holds() {
        for bps in [[1_000_000, 100_000], [100_000, 1_000_000]] {
            let [torrent, node] = bps.map(|bps| Arc::new(Limits::new(rates(bps), Timestamp(0))));
            let ([mut pace], start) = paces(&torrent, &node);
            let (mut now, mut sent) = (start + ms(1), 0);
            while now < start + ms(10_000) {
                match pace.ask(50_000, now) {
                    Some(bytes) => {
                        sent += bytes;
                        pace.used(bytes as usize);
                    }
                    None => now = pace.deadline().unwrap(),
                }
            }
            assert!((1_000_000..1_002_000).contains(&sent), "{sent}");
        }
    }

    #[test]
    fn what_was_not_used_is_there_for_the_next() {
        let limits = Arc::new(Limits::new(rates(64_000), Timestamp(0)));
        let ([mut first, mut second], start) = paces(&Arc::default(), &limits);
        assert_eq!(first.ask(5000, start + ms(1)), Some(1024));
        assert_eq!(second.ask(5000, start + ms(1)), None);
        first.used(0);
        assert!(second.is_called(&Context::from_waker(Waker::noop())));
        assert_eq!(second.ask(5000, start + ms(1)), Some(1024));
        assert!(!second.waits());
        drop(second);
        assert_eq!(first.ask(5000, start + ms(1)), Some(1024));
    }

    #[test]
    fn who_leaves_the_line_or_ends_holds_up_nobody() {
        let limits = Arc::new(Limits::new(rates(64_000), Timestamp(0)));
        let ([mut first, mut second, mut third], start) = paces(&limits, &Arc::default());
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(first.ask(5000, start + ms(1)), Some(1024));
        first.used(1024);
        assert_eq!(first.ask(5000, start + ms(1)), None);
        assert_eq!(second.ask(5000, start + ms(1)), None);
        assert_eq!(third.ask(5000, start + ms(1)), None);
        assert_eq!((second.deadline(), second.is_called(&cx)), (None, false));
        first.leave();
        assert!(!first.waits() && second.is_called(&cx) && !third.is_called(&cx));
        drop(second);
        assert!(third.is_called(&cx));
        assert_eq!(third.ask(5000, start + ms(1)), None);
        assert!(third.deadline().unwrap() > start + ms(15));
        assert_eq!(third.ask(5000, start + ms(17)), Some(1024));
    }

    #[test]
    fn a_limit_that_goes_frees_who_waits_for_it() {
        let limits = Arc::new(Limits::new(rates(1), Timestamp(0)));
        let ([mut pace], start) = paces(&Arc::default(), &limits);
        assert_eq!(pace.ask(5000, start), None);
        limits.set(Rates::default(), Timestamp(1));
        assert!(pace.is_called(&Context::from_waker(Waker::noop())));
        assert_eq!((pace.ask(5000, start), pace.waits()), (Some(5000), false));
    }
}
