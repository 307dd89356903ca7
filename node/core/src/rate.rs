//! Smoothed byte rates over time that is handed in.

use std::time::Duration;

use crate::time::Timestamp;

/// A byte rate, smoothed over about two seconds. Only the four basic operations on `f64` are
/// used, so that every machine computes the same.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    smoothed: f64,
    window: u64,
    since: Timestamp,
    known: bool,
}

/// The time over which a rate is smoothed, seconds.
const SMOOTHING_S: f64 = 2.0;
/// The shortest window that is measured; less is left to grow.
const WINDOW_MIN: Duration = Duration::from_millis(100);

impl Rate {
    /// A rate of nothing yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { smoothed: 0.0, window: 0, since: now, known: false }
    }

    /// Counts bytes into the open window.
    pub fn add(&mut self, bytes: u64) {
        self.window = self.window.saturating_add(bytes);
    }

    /// Closes the window, where it is long enough.
    pub fn tick(&mut self, now: Timestamp) {
        let elapsed = now.since(self.since);
        if elapsed < WINDOW_MIN {
            return;
        }
        let seconds = elapsed.as_secs_f64();
        let sample = self.window as f64 / seconds;
        let weight = if self.known { seconds / (SMOOTHING_S + seconds) } else { 1.0 };
        self.known |= self.window > 0;
        self.smoothed += (sample - self.smoothed) * weight;
        self.window = 0;
        self.since = now;
    }

    /// Bytes a second; 0 where nothing was measured.
    #[must_use]
    pub fn bps(&self) -> u64 {
        self.smoothed as u64
    }

    /// Forgets what was measured: the next window begins at `now`.
    pub fn reset(&mut self, now: Timestamp) {
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * 1000)
    }

    #[test]
    fn first_measurement_counts_whole_and_silence_fades() {
        let mut rate = Rate::new(at(0));
        rate.tick(at(1000));
        assert_eq!(rate.bps(), 0);
        rate.add(1_000_000);
        rate.tick(at(2000));
        assert_eq!(rate.bps(), 1_000_000);
        for second in 3..20 {
            rate.tick(at(second * 1000));
        }
        assert!(rate.bps() < 2_000, "{}", rate.bps());
    }
}
