//! When a torrent is announced on the local network (BEP 14). Never here: what is announced.

use std::time::Duration;

use crate::{
    config::{LOCAL_EVERY, LOCAL_LEAST_EVERY},
    time::Timestamp,
};

/// How long an announce waits for others to go out with it.
const GATHER: Duration = Duration::from_millis(500);

/// The local announces of a torrent: every [`LOCAL_EVERY`], at once where there is a reason, and
/// on the average not more often than every [`LOCAL_LEAST_EVERY`]. Two may follow each other
/// sooner, so that who has just announced itself can answer whoever comes next.
#[derive(Debug)]
pub struct Local {
    /// Announced at all, and while a download looks for peers.
    standing: (bool, bool),
    next: Timestamp,
    /// The last two announces, the older one first.
    made: [Option<Timestamp>; 2],
}

impl Default for Local {
    fn default() -> Self {
        Self { standing: (false, false), next: Timestamp::NEVER, made: [None; 2] }
    }
}

impl Local {
    /// Whether the torrent is announced, and whether it looks for peers: where either begins, that
    /// is a reason to announce.
    pub fn stand(&mut self, announced: bool, looking: bool, now: Timestamp) {
        let before = std::mem::replace(&mut self.standing, (announced, looking));
        if !announced {
            self.next = Timestamp::NEVER;
        } else if !before.0 || (looking && !before.1) {
            self.wish(now);
        }
    }

    /// There is a reason to announce.
    pub fn wish(&mut self, now: Timestamp) {
        if self.standing.0 {
            let may = self.made[0].map_or(now, |older| older + 2 * LOCAL_LEAST_EVERY);
            self.next = self.next.min(may.max(now + GATHER));
        }
    }

    /// A download has no peer: it announces as often as it may.
    pub fn seek(&mut self, now: Timestamp) {
        if self.made[1].is_some_and(|last| now.since(last) >= LOCAL_LEAST_EVERY) {
            self.wish(now);
        }
    }

    /// When the next is due.
    #[must_use]
    pub fn next(&self) -> Timestamp {
        self.next
    }

    /// An announce is made, if one is due.
    pub fn take_due(&mut self, now: Timestamp) -> bool {
        let due = self.next <= now;
        if due {
            self.made = [self.made[1], Some(now)];
            self.next = now + LOCAL_EVERY;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When announces are made in `span`, with a reason every second.
    fn made(local: &mut Local, from: Timestamp, seconds: u64, reasons: bool) -> Vec<u64> {
        let mut made = Vec::new();
        for second in 0..seconds {
            let now = from + Duration::from_secs(second);
            if reasons {
                local.wish(now);
            }
            if local.take_due(now) {
                made.push(second);
            }
        }
        made
    }

    #[test]
    fn without_a_reason_a_torrent_is_announced_every_five_minutes() {
        let mut local = Local::default();
        local.stand(true, false, Timestamp(1));
        assert_eq!(made(&mut local, Timestamp(1), 1000, false), [1, 301, 601, 901]);
    }

    #[test]
    fn reasons_bring_no_more_than_one_a_minute_on_the_average() {
        let mut local = Local::default();
        local.stand(true, false, Timestamp(1));
        let made = made(&mut local, Timestamp(1), 3600, true);
        assert_eq!(made[..4], [1, 3, 121, 123]);
        assert!(made.len() <= 60, "{made:?}");
    }

    #[test]
    fn a_torrent_that_is_not_announced_stays_silent_whatever_the_reason() {
        let mut local = Local::default();
        assert!(made(&mut local, Timestamp(1), 1000, true).is_empty());
        local.stand(true, false, Timestamp(1));
        local.stand(false, false, Timestamp(1));
        assert!(made(&mut local, Timestamp(1), 1000, true).is_empty());
    }

    #[test]
    fn a_download_that_begins_is_a_reason_and_one_without_peers_asks_every_minute() {
        let mut local = Local::default();
        local.stand(true, false, Timestamp(1));
        assert!(local.take_due(Timestamp(1) + GATHER));
        let later = Timestamp(1) + Duration::from_secs(10);
        local.stand(true, true, later);
        assert_eq!(local.next(), later + GATHER);
        assert!(local.take_due(later + GATHER));
        let mut count = 0;
        for second in 0..600 {
            let now = later + Duration::from_secs(second);
            local.seek(now);
            count += u32::from(local.take_due(now));
        }
        assert!((8..=10).contains(&count), "{count}");
    }
}
