//! The breaker: when a policy that keeps failing is left out, and when it is tried again. Pure;
//! the time comes in with every call.

use std::time::Duration;

use shoal_core::time::Timestamp;

/// So many failures in a row trip it.
pub const ERRORS_MAX: u32 = 10;
/// So many exhausted budgets within [`EXHAUSTED_WITHIN`] trip it.
pub const EXHAUSTED_MAX: usize = 3;
/// The span in which exhausted budgets are counted.
pub const EXHAUSTED_WITHIN: Duration = Duration::from_secs(60);
/// The first time it stays tripped; every failed probe doubles it.
pub const TRIPPED_MIN: Duration = Duration::from_secs(30);
/// The longest it stays tripped.
pub const TRIPPED_MAX: Duration = Duration::from_secs(600);

/// Leaves out a policy that keeps failing.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// Failures since the last success.
    errors: u32,
    /// When the last budgets were exhausted, the oldest first.
    exhausted: [Option<Timestamp>; EXHAUSTED_MAX],
    tripped: Option<Tripped>,
    trips: u64,
}

#[derive(Clone, Copy, Debug)]
struct Tripped {
    until: Timestamp,
    span: Duration,
}

/// Whether a decision may be asked of the policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Ask it.
    Ask,
    /// Ask it: the one probe after a trip. Its result closes the breaker or trips it again.
    Probe,
    /// Do not ask it.
    Bypass,
}

/// How a decision went wrong, as far as the breaker cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An error.
    Error,
    /// The budget was spent, of time or memory.
    Exhausted,
}

impl Breaker {
    /// Whether a decision at `now` may be asked of the policy.
    #[must_use]
    pub fn admit(&self, now: Timestamp) -> Admission {
        match self.tripped {
            None => Admission::Ask,
            Some(tripped) if now < tripped.until => Admission::Bypass,
            Some(_) => Admission::Probe,
        }
    }

    /// The policy answered within its contract.
    pub fn succeeded(&mut self) {
        self.errors = 0;
        if self.tripped.take().is_some() {
            self.exhausted = [None; EXHAUSTED_MAX];
        }
    }

    /// The policy failed. Tells whether this tripped the breaker.
    pub fn failed(&mut self, now: Timestamp, fault: Fault) -> bool {
        self.errors = self.errors.saturating_add(1);
        if fault == Fault::Exhausted {
            self.exhausted.rotate_left(1);
            self.exhausted[EXHAUSTED_MAX - 1] = Some(now);
        }
        let oldest = self.exhausted[0];
        let spent = oldest.is_some_and(|at| now.since(at) <= EXHAUSTED_WITHIN);
        let span = match self.tripped {
            Some(tripped) => (tripped.span * 2).min(TRIPPED_MAX),
            None if self.errors >= ERRORS_MAX || spent => TRIPPED_MIN,
            None => return false,
        };
        self.tripped = Some(Tripped { until: now + span, span });
        self.trips += 1;
        true
    }

    /// Until when the policy is left out, where it is. It stays tripped until a probe succeeds.
    #[must_use]
    pub fn tripped_until(&self) -> Option<Timestamp> {
        self.tripped.map(|tripped| tripped.until)
    }

    /// How often it tripped.
    #[must_use]
    pub fn trips(&self) -> u64 {
        self.trips
    }

    /// Closes it and forgets every failure and trip.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn ten_errors_in_a_row_trip_it_and_nine_do_not() {
        let mut breaker = Breaker::default();
        for _ in 0..ERRORS_MAX - 1 {
            assert!(!breaker.failed(at(1), Fault::Error));
        }
        breaker.succeeded();
        for _ in 0..ERRORS_MAX - 1 {
            assert!(!breaker.failed(at(1), Fault::Error));
        }
        assert_eq!(breaker.admit(at(1)), Admission::Ask);
        assert!(breaker.failed(at(1), Fault::Error));
        assert_eq!(breaker.admit(at(30)), Admission::Bypass);
        assert_eq!(breaker.admit(at(31)), Admission::Probe);
    }

    #[test]
    fn three_exhausted_budgets_within_a_minute_trip_it() {
        let mut breaker = Breaker::default();
        for second in [0, 50, 100, 150] {
            assert!(!breaker.failed(at(second), Fault::Exhausted), "at {second}");
            breaker.succeeded();
        }
        assert!(breaker.failed(at(160), Fault::Exhausted), "100, 150 and 160");
    }

    #[test]
    fn a_failed_probe_doubles_the_wait_up_to_ten_minutes() {
        let mut breaker = Breaker::default();
        for _ in 0..ERRORS_MAX {
            breaker.failed(at(0), Fault::Error);
        }
        let mut spans = Vec::new();
        let mut now = breaker.tripped_until().unwrap();
        for _ in 0..6 {
            assert_eq!(breaker.admit(now), Admission::Probe);
            breaker.failed(now, Fault::Error);
            let until = breaker.tripped_until().unwrap();
            spans.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(spans, [60, 120, 240, 480, 600, 600]);
        breaker.succeeded();
        assert_eq!(breaker.admit(now), Admission::Ask);
        assert!(!breaker.failed(now, Fault::Error), "one error after a good probe");
        assert_eq!(breaker.trips(), 7);
    }

    #[test]
    fn a_reset_clears_it() {
        let mut breaker = Breaker::default();
        for _ in 0..ERRORS_MAX {
            breaker.failed(at(0), Fault::Error);
        }
        breaker.reset();
        assert_eq!(breaker.admit(at(0)), Admission::Ask);
        assert!(!breaker.failed(at(0), Fault::Error));
    }
}
