//! Who was silent for too long: swarms are swept when the first of their peers may be. A peer costs
//! nothing for it but the second in which it was seen, and an announce changes that alone. Never
//! here: other ways to leave.

use super::{LeaveReason, Registry};
use crate::time::Timestamp;

/// Peers looked at for each that may be forgotten in one call.
const LOOKS: usize = 32;

impl Registry {
    /// Forgets peers whose time is over, at most `limit` of them, and looks at a bounded number for
    /// it, beyond the swarm that it is at; says whether to come again at once. A peer is forgotten at
    /// its time or up to a second after it.
    pub fn expire(&mut self, now: Timestamp, limit: usize) -> bool {
        let second = second_before(now);
        let (mut removals, mut looks) = (limit, limit.saturating_mul(LOOKS));
        while let Some(info_hash) = self.torrents.first_due(second) {
            if removals == 0 || looks == 0 {
                return true;
            }
            let Some(index) = self.torrents.find(&self.keys, info_hash) else { return false };
            looks = looks.saturating_sub(self.torrents.swarm(index).len());
            removals -= self.sweep(index, second, removals);
        }
        false
    }

    /// Forgets those of a swarm whose time is over, at most `limit`; returns how many.
    fn sweep(&mut self, index: usize, second: u32, limit: usize) -> usize {
        let mut count = 0;
        if let Some(since) = second.checked_sub(self.expire_after()) {
            let mut end = None;
            while count < limit
                && let Some(place) = self.torrents.swarm(index).last_silent(since, end)
            {
                self.remove(index, place, LeaveReason::Expired);
                end = Some(place);
                count += 1;
            }
        }
        let oldest = self.torrents.swarm(index).oldest();
        self.torrents.set_due(index, oldest.map(|seen| self.deadline(seen)));
        self.drop_empty(index);
        count
    }

    /// The second in which the time of a peer is over that was seen in this one.
    pub(super) fn deadline(&self, seen: u32) -> u32 {
        seen.saturating_add(self.expire_after())
    }

    /// Seconds of silence after which a peer is forgotten.
    fn expire_after(&self) -> u32 {
        second_after(Timestamp(0) + self.config.expire_after)
    }
}

/// The first whole second that is not before this time.
pub(super) fn second_after(time: Timestamp) -> u32 {
    u32::try_from(time.0.div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// The last whole second that is not after this time.
fn second_before(time: Timestamp) -> u32 {
    u32::try_from(time.0 / 1_000_000).unwrap_or(u32::MAX)
}

/// The time at which a second begins.
pub(super) fn at_second(second: u32) -> Timestamp {
    Timestamp(u64::from(second) * 1_000_000)
}
