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
        Timestamp(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The instant of a timestamp; `None` where it is too far away to be told, as
    /// [`Timestamp::NEVER`] is.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Option<Instant> {
        self.origin.checked_add(Duration::from_micros(at.0))
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
        assert!(clock.wall(at) >= clock.started());
        assert!(clock.now() >= at);
        let _ = (clock.instant(Timestamp::NEVER), clock.wall(Timestamp::NEVER));
    }
}
