//! What has a rate: uplinks, downlinks, and what lies between zones. Packets leave a pipe one after
//! the other; how many are on their way to one is bounded, as a congestion control that works would
//! bound them. Never here: who sends.

use std::{collections::VecDeque, time::Duration};

use shoal_core::time::Timestamp;

use super::link::EndId;

/// What may wait before a pipe at the least, bytes.
const QUEUE_MIN: u64 = 4 * 64 * 1024;

/// A pipe through which packets pass one after the other.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Bytes a second; `None` is no limit.
    bps: Option<u64>,
    /// When it has passed everything that came.
    free: Timestamp,
    /// Bytes that were sent towards it and have not passed.
    pending: u64,
    /// The most of them.
    pending_max: u64,
    /// Who waits for room, in order.
    waiting: VecDeque<EndId>,
}

impl Pipe {
    /// A pipe of this rate, `way` from those who send, before which packets of so long a time may
    /// wait.
    pub(crate) fn new(bps: Option<u64>, way: Duration, queue: Duration) -> Self {
        let held = |bps: u64| u128::from(bps) * (queue + 2 * way).as_micros() / 1_000_000;
        let pending_max =
            bps.map_or(u64::MAX, |bps| u64::try_from(held(bps)).unwrap_or(u64::MAX).max(QUEUE_MIN));
        Self { bps, free: Timestamp(0), pending: 0, pending_max, waiting: VecDeque::new() }
    }

    /// Whether a packet may be sent towards it.
    pub(crate) fn has_room(&self, bytes: u32) -> bool {
        self.pending == 0 || self.pending + u64::from(bytes) <= self.pending_max
    }

    /// A packet is sent towards it.
    pub(crate) fn reserve(&mut self, bytes: u32) {
        self.pending += u64::from(bytes);
    }

    /// A packet comes: when it has passed.
    pub(crate) fn enter(&mut self, now: Timestamp, bytes: u32) -> Timestamp {
        self.free = self.free.max(now) + self.takes(bytes);
        self.free
    }

    /// A packet has passed, or was lost on its way.
    pub(crate) fn release(&mut self, bytes: u32) {
        self.pending -= u64::from(bytes);
    }

    /// How long it takes for so many bytes.
    pub(crate) fn takes(&self, bytes: u32) -> Duration {
        let Some(bps) = self.bps else { return Duration::ZERO };
        Duration::from_nanos(u64::from(bytes) * 1_000_000_000 / bps.max(1))
    }

    /// An end waits for room.
    pub(crate) fn wait(&mut self, end: EndId) {
        self.waiting.push_back(end);
    }

    /// Who has waited longest, where there is room for a packet.
    pub(crate) fn next_waiting(&mut self, bytes: u32) -> Option<EndId> {
        if self.has_room(bytes) { self.waiting.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_pass_one_after_the_other_at_the_rate() {
        let mut pipe = Pipe::new(Some(1_000_000), Duration::ZERO, Duration::ZERO);
        let at = |ms: u64| Timestamp(ms * 1000);
        assert_eq!(pipe.enter(at(10), 50_000), at(60));
        assert_eq!(pipe.enter(at(20), 50_000), at(110), "after the first");
        assert_eq!(pipe.enter(at(500), 50_000), at(550), "it was free");
        let mut open = Pipe::new(None, Duration::ZERO, Duration::ZERO);
        assert_eq!(open.enter(at(10), 50_000), at(10));
    }

    #[test]
    fn what_is_on_its_way_is_bounded_and_one_packet_always_may() {
        let mut pipe = Pipe::new(Some(1000), Duration::ZERO, Duration::ZERO);
        assert!(pipe.has_room(u32::MAX));
        pipe.reserve(200_000);
        assert!(pipe.has_room(62_144) && !pipe.has_room(62_145));
        pipe.release(200_000);
        assert!(pipe.has_room(u32::MAX));
    }
}
