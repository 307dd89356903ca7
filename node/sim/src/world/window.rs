//! How much a connection has on its way, as TCP would: it begins with ten segments, doubles with each
//! round trip as long as it is used up, and shrinks again while nothing is sent. Nothing is lost on
//! the way, for pipes take no more than they hold. Never here: who may send.

use std::time::Duration;

use shoal_core::time::Timestamp;

/// The payload of a segment, bytes: Ethernet's, with timestamps.
const SEGMENT: u32 = 1448;
/// What a connection begins with (RFC 6928).
const INITIAL: u32 = 10 * SEGMENT;
/// The most: Linux's buffer of a sending socket.
const MAX: u32 = 4 << 20;
/// A window is halved for each such time in which nothing was sent (RFC 2861): Linux's least time-out
/// of a retransmission, and a short way.
const IDLE: Duration = Duration::from_millis(200);

/// What a connection may have on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    size: u32,
    in_flight: u32,
    /// When it last sent, or heard that something came: a long way is no idleness.
    active: Timestamp,
    /// It has something to send and waits for what is on its way.
    pub(crate) blocked: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: INITIAL, in_flight: 0, active: Timestamp(0), blocked: false }
    }
}

impl Window {
    /// How much of so many bytes may set out now; none where a segment may not.
    pub(crate) fn room(&mut self, now: Timestamp, bytes: u32) -> u32 {
        let idle = now.since(self.active).as_micros() / IDLE.as_micros();
        if self.in_flight == 0 && idle > 0 {
            let halvings = u32::try_from(idle).unwrap_or(u32::MAX);
            self.size = self.size.checked_shr(halvings).unwrap_or(0).max(INITIAL);
        }
        let room = self.size.saturating_sub(self.in_flight);
        if room < bytes.min(SEGMENT) { 0 } else { bytes.min(room) }
    }

    pub(crate) fn send(&mut self, now: Timestamp, bytes: u32) {
        self.in_flight += bytes;
        self.active = now;
    }

    /// So many bytes came, as is heard now.
    pub(crate) fn acked(&mut self, now: Timestamp, bytes: u32) {
        self.active = self.active.max(now);
        // What is not used does not grow.
        if self.in_flight.saturating_mul(2) >= self.size {
            self.size = (self.size + bytes).min(MAX);
        }
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_doubles_with_each_round_trip_and_shrinks_when_it_is_not_used() {
        let (mut window, mut now) = (Window::default(), Timestamp(1_000_000));
        let mut rounds = 0;
        while window.size < MAX {
            let room = window.room(now, u32::MAX);
            assert_eq!(room, (INITIAL << rounds).min(MAX), "round {rounds}");
            window.send(now, room);
            assert_eq!(window.room(now, u32::MAX), 0, "all of it is on its way");
            now = now + Duration::from_millis(50);
            window.acked(now, room);
            rounds += 1;
        }
        assert_eq!(rounds, 9);
        now = now + 3 * IDLE;
        assert_eq!(window.room(now, u32::MAX), MAX >> 3);
        now = now + Duration::from_secs(60);
        assert_eq!(window.room(now, u32::MAX), INITIAL);
    }

    #[test]
    fn a_window_that_is_not_used_up_does_not_grow() {
        let mut window = Window::default();
        window.send(Timestamp(1), 1000);
        window.acked(Timestamp(2), 1000);
        assert_eq!(window.size, INITIAL);
    }
}
