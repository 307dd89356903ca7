//! The node's clock: the one place where the time is read for the core.

use std::time::{Duration, Instant, SystemTime};

use shoal_core::time::Timestamp;

/// Time since the node started, as the core counts it. Never decreases; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    wall_origin: SystemTime,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now(), wall_origin: SystemTime::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.timestamp(Instant::now())
    }

    /// The instant of a timestamp; `None` where it is too far away to be told, as
    /// [`Timestamp::NEVER`] is.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Option<Instant> {
        self.origin.checked_add(Duration::from_micros(at.0))
    }

    /// The timestamp of an instant; that of the start where it is before.
    #[must_use]
    pub fn timestamp(&self, at: Instant) -> Timestamp {
        let since = at.saturating_duration_since(self.origin);
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// The time of day of a timestamp, by the wall clock at the start.
    #[must_use]
    pub fn wall(&self, at: Timestamp) -> SystemTime {
        self.wall_origin.checked_add(Duration::from_micros(at.0)).unwrap_or(self.wall_origin)
    }

    /// When the clock was started, by the wall clock.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.wall_origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_and_instants_agree() {
        let clock = Clock::start();
        let (before, at, after) = (Instant::now(), clock.now(), Instant::now());
        let instant = clock.instant(at).unwrap();
        let slack = Duration::from_micros(1);
        assert!(before <= instant + slack && instant <= after);
        assert_eq!(clock.timestamp(instant), at);
        assert_eq!(clock.timestamp(clock.instant(Timestamp(7)).unwrap()), Timestamp(7));
        assert!(clock.wall(at) >= clock.started());
        assert!(clock.now() >= at);
        let _ = (clock.instant(Timestamp::NEVER), clock.wall(Timestamp::NEVER));
    }
}
