//! A bucket of bytes that fills with time and may go into debt: what is asked for is never too much
//! for it, it is paid back before the next is given. Never here: a clock, who waits.

use std::num::NonZeroU64;

use shoal_core::time::Timestamp;

/// Bytes that may go now, and what is owed for those that went.
///
/// Invariant: `level` is at most what [`burst`](Self::burst) says.
#[derive(Debug)]
pub(super) struct Bucket {
    bps: NonZeroU64,
    /// Bytes × 10⁶, so that a microsecond adds a whole number; below 0 it is debt.
    level: i128,
    filled_at: Timestamp,
}

/// One byte in `level`.
const BYTE: i128 = 1_000_000;
/// The most that is given at once, bytes.
pub(super) const SLICE_MAX: u32 = 64 * 1024;
/// The least that is given at once, bytes: below it more is sent in heads of packets than in them.
pub(super) const SLICE_MIN: u32 = 1024;
/// What is given at once is at most this part of a second's bytes, so that hundreds get theirs
/// within seconds.
const SLICES_PER_SECOND: u64 = 64;
/// What may be saved up is this part of a second's bytes: more than a timer is late by.
const BURSTS_PER_SECOND: u64 = 20;

impl Bucket {
    /// Empty, and fills with `bps` bytes a second.
    pub(super) fn new(bps: NonZeroU64, now: Timestamp) -> Self {
        Self { bps, level: 0, filled_at: now }
    }

    /// Fills at another rate from now on. Debt is forgiven beyond what that rate could have made.
    pub(super) fn set(&mut self, bps: NonZeroU64, now: Timestamp) {
        self.fill(now);
        self.bps = bps;
        let debt_max = BYTE * i128::from(self.slice());
        self.level = self.level.clamp(-debt_max, self.burst());
    }

    /// Takes `want` bytes or one slice, whichever is less. None while there is debt, or nothing.
    pub(super) fn take(&mut self, want: u32, now: Timestamp) -> Option<u32> {
        self.fill(now);
        if self.level < BYTE {
            return None;
        }
        let taken = want.min(self.slice());
        self.charge(taken);
        Some(taken)
    }

    /// Counts bytes that went without being taken.
    pub(super) fn charge(&mut self, bytes: u32) {
        self.level -= BYTE * i128::from(bytes);
    }

    /// Gives back bytes that were taken and did not go.
    pub(super) fn refund(&mut self, bytes: u32) {
        self.level = (self.level + BYTE * i128::from(bytes)).min(self.burst());
    }

    /// Whether anything can be taken, were it filled up to its last use.
    pub(super) fn has_any(&self) -> bool {
        self.level >= BYTE
    }

    /// When there is something to take again.
    pub(super) fn ready_at(&self) -> Timestamp {
        let missing = (BYTE - self.level).max(0);
        let bps = i128::from(self.bps.get());
        let micros = (missing + bps - 1) / bps;
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        Timestamp(self.filled_at.0.saturating_add(micros))
    }

    /// The most that is taken at once, bytes.
    fn slice(&self) -> u32 {
        let part = self.bps.get() / SLICES_PER_SECOND;
        u32::try_from(part).unwrap_or(SLICE_MAX).clamp(SLICE_MIN, SLICE_MAX)
    }

    fn burst(&self) -> i128 {
        let bytes = (self.bps.get() / BURSTS_PER_SECOND).max(self.slice().into());
        BYTE * i128::from(bytes)
    }

    /// Time goes by. A time before the last is taken for the last: tasks read the clock before they
    /// get here.
    fn fill(&mut self, now: Timestamp) {
        let micros = now.0.saturating_sub(self.filled_at.0);
        let added = i128::from(micros).saturating_mul(i128::from(self.bps.get()));
        self.level = self.level.saturating_add(added).min(self.burst());
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(bps: u64) -> Bucket {
        Bucket::new(NonZeroU64::new(bps).unwrap(), at_ms(0))
    }

    fn at_ms(ms: u64) -> Timestamp {
        Timestamp(ms * 1000)
    }

    #[test]
    fn a_slice_is_given_once_there_is_a_byte_and_paid_back_after() {
        let mut bucket = bucket(64_000);
        assert_eq!(bucket.take(1024, at_ms(0)), None);
        // 64 bytes a millisecond: the first byte is there at once, the slice is not.
        assert_eq!(bucket.ready_at(), Timestamp(16));
        assert_eq!(bucket.take(1024, Timestamp(15)), None);
        assert_eq!(bucket.take(1024, Timestamp(16)), Some(1024));
        assert_eq!(bucket.take(1, Timestamp(16)), None);
        // Paid back after 16 ms, and a byte more is there 16 µs later.
        assert_eq!(bucket.ready_at(), Timestamp(16_016));
        assert_eq!(bucket.take(1, Timestamp(16_015)), None);
        assert_eq!(bucket.take(1, Timestamp(16_016)), Some(1));
    }

    #[test]
    fn what_is_asked_for_is_given_up_to_a_slice() {
        let check = |bps: u64, want: u32, expected: u32| {
            assert_eq!(bucket(bps).take(want, at_ms(1000)), Some(expected), "{want} of {bps}");
        };
        for bps in [1, 1024, 64 * 1024] {
            check(bps, SLICE_MIN - 1, SLICE_MIN - 1);
            check(bps, SLICE_MIN, SLICE_MIN);
            check(bps, SLICE_MIN + 1, SLICE_MIN);
        }
        check(128 * 1024, u32::MAX, 2048);
        for bps in [4 << 20, 20_000_000, u64::MAX] {
            check(bps, SLICE_MAX - 1, SLICE_MAX - 1);
            check(bps, SLICE_MAX, SLICE_MAX);
            check(bps, u32::MAX, SLICE_MAX);
        }
    }

    #[test]
    fn the_rate_is_kept_to_the_byte_whatever_is_asked_for() {
        for (bps, want) in [(1_000, 10), (1_000, 5_000), (999_983, 70_000), (20_000_000, 70_000)] {
            let mut bucket = bucket(bps);
            let (mut given, mut now, seconds) = (0, at_ms(0), 20);
            while now < at_ms(seconds * 1000) {
                match bucket.take(want, now) {
                    Some(bytes) => given += u64::from(bytes),
                    None => now = bucket.ready_at(),
                }
            }
            let over = given.checked_sub(bps * seconds).unwrap();
            assert!(over <= u64::from(SLICE_MAX.min(want)), "{given} at {bps}");
        }
    }

    #[test]
    fn little_is_saved_up() {
        let mut bucket = bucket(10_000_000);
        let (mut given, hour) = (0, at_ms(3_600_000));
        while let Some(bytes) = bucket.take(u32::MAX, hour) {
            given += bytes;
        }
        // 50 ms, and the slice that made the debt.
        assert!((500_000..=500_000 + SLICE_MAX).contains(&given), "{given}");
    }

    #[test]
    fn what_did_not_go_comes_back_and_what_went_beyond_is_owed() {
        let mut bucket = bucket(64_000);
        assert_eq!(bucket.take(1024, at_ms(1)), Some(1024));
        bucket.refund(1024);
        assert!(bucket.has_any());
        assert_eq!(bucket.take(1024, at_ms(1)), Some(1024));
        bucket.charge(64_000);
        assert!(!bucket.has_any());
        // 64 bytes had come by then.
        assert_eq!(bucket.take(1, at_ms(1 + 1000 + 15)), None);
        assert_eq!(bucket.take(1, at_ms(1 + 1000 + 16)), Some(1));
    }

    #[test]
    fn another_rate_holds_at_once_and_forgives_debt_it_could_not_have_made() {
        let mut bucket = bucket(20_000_000);
        assert_eq!(bucket.take(SLICE_MAX, at_ms(1)), Some(SLICE_MAX));
        bucket.set(NonZeroU64::new(1000).unwrap(), at_ms(1));
        // At the old debt it would be 45 s.
        assert_eq!(bucket.ready_at(), at_ms(1 + 1025));
        bucket.set(NonZeroU64::new(1_000_000).unwrap(), at_ms(2));
        assert_eq!(bucket.ready_at(), Timestamp(2000 + 1024));
    }

    #[test]
    fn time_that_is_late_or_far_away_does_no_harm() {
        let mut bucket = bucket(u64::MAX);
        assert!(bucket.take(1, at_ms(10)).is_some());
        bucket.charge(u32::MAX);
        assert!(bucket.take(1, at_ms(5)).is_some());
        assert!(bucket.take(1, Timestamp::NEVER).is_some());
        bucket.charge(u32::MAX);
        assert!(bucket.ready_at() <= Timestamp::NEVER);
    }
}
