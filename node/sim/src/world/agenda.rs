//! What is to happen, in order of time, then of when it was decided. Never here: what follows.

use std::{cmp::Ordering, collections::BinaryHeap, time::Duration};

use shoal_core::{
    ids::{LeaseId, PieceIndex},
    session::Event,
    time::Timestamp,
};

use super::{
    link::{EndId, Packet, Request},
    wire::Said,
};

/// Something that is to happen.
#[derive(Debug)]
pub(crate) enum What {
    /// A host comes.
    Come(usize),
    /// A host goes for good.
    Go(usize),
    /// The process of a host that went ends.
    Ended(usize, u32),
    /// A session's deadline.
    Wake(usize),
    /// A fact for a host, if it is still the incarnation that it is for.
    Fact(usize, u32, Box<Event>),
    /// A handshake or a message reaches an end.
    Told(EndId, Box<Said>),
    /// `have`, where it was held up.
    Have(EndId, PieceIndex),
    /// Hosts hear the `have` messages of a turn.
    Haves,
    /// A handshake reaches the host that is dialled.
    Knock(EndId),
    /// The other end of a connection is gone.
    Hangup(EndId),
    /// A request reaches the end that serves it.
    Asked(EndId, Box<Request>),
    /// A `cancel` reaches it.
    Cancelled(EndId, LeaseId),
    /// A `reject` reaches the end that asked.
    Rejected(EndId, LeaseId),
    /// A host's uplink has sent a packet, and takes the next.
    Sent(usize, Packet),
    /// A packet has passed what lies between two zones.
    Passed(Packet),
    /// A packet reaches the receiver's downlink.
    Reached(Packet),
    /// The receiver has read it.
    Arrived(Packet),
    /// An end hears that so many bytes came.
    Acked(EndId, u32),
    /// An end that sends slowly may send again.
    Paced(EndId),
    /// A connection of a flapper breaks.
    Flap(EndId),
    /// A disk has hashed and written a piece, or refused.
    Written { host: usize, life: u32, piece: PieceIndex, compare: bool },
    /// A fault of the plan begins, or is mended.
    Fault(usize, Turn),
    /// Connections that were cut for too long are given up.
    GiveUp(usize),
    /// Everything is looked at.
    Inspect,
}

/// Which end of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Begins,
    Ends,
}

/// What is to happen.
///
/// Most of it happens within milliseconds, and there are hundreds of thousands of things at once: only
/// what happens in the present slot of time is kept in order, what comes later in that of its slot.
///
/// Invariants: `now` holds what happens in slots up to `slot`; a place of `wheel` what happens in the
/// one slot after it, of the next [`SLOTS`], that has this place; `far` everything later.
#[derive(Debug)]
pub(crate) struct Agenda {
    now: BinaryHeap<Entry>,
    slot: u64,
    wheel: Vec<Vec<Entry>>,
    /// How much there is in the wheel.
    turning: usize,
    far: BinaryHeap<Entry>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    sequence: u64,
    what: What,
}

/// A slot of time, microseconds.
const SLOT_US: u64 = 256;
/// So many slots after the present one are kept apart: about a second.
const SLOTS: u64 = 4096;

impl Default for Agenda {
    fn default() -> Self {
        Self {
            now: BinaryHeap::new(),
            slot: 0,
            wheel: (0..SLOTS).map(|_| Vec::new()).collect(),
            turning: 0,
            far: BinaryHeap::new(),
            sequence: 0,
        }
    }
}

impl Agenda {
    pub(crate) fn at(&mut self, at: Timestamp, what: What) {
        self.sequence += 1;
        self.put(Entry { at, sequence: self.sequence, what });
    }

    pub(crate) fn after(&mut self, now: Timestamp, delay: Duration, what: What) {
        self.at(now + delay, what);
    }

    pub(crate) fn next(&mut self) -> Option<(Timestamp, What)> {
        while self.now.is_empty() {
            self.advance()?;
        }
        self.now.pop().map(|entry| (entry.at, entry.what))
    }

    fn put(&mut self, entry: Entry) {
        let slot = entry.at.0 / SLOT_US;
        if slot <= self.slot {
            self.now.push(entry);
        } else if slot - self.slot <= SLOTS {
            self.wheel[place(slot)].push(entry);
            self.turning += 1;
        } else {
            self.far.push(entry);
        }
    }

    /// Goes on to the next slot in which something may happen; none where nothing is left.
    fn advance(&mut self) -> Option<()> {
        match (self.turning, self.far.peek()) {
            (0, None) => return None,
            (0, Some(first)) => self.slot = first.at.0 / SLOT_US,
            (_, _) => self.slot += 1,
        }
        let due = std::mem::take(&mut self.wheel[place(self.slot)]);
        self.turning -= due.len();
        self.now = due.into();
        while self.far.peek().is_some_and(|entry| entry.at.0 / SLOT_US <= self.slot + SLOTS) {
            let entry = self.far.pop()?;
            self.put(entry);
        }
        Some(())
    }
}

fn place(slot: u64) -> usize {
    (slot % SLOTS) as usize
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_of_two_at_once_the_one_decided_first() {
        let mut agenda = Agenda::default();
        for (at, host) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            agenda.at(Timestamp(at), What::Wake(host));
        }
        let order = std::iter::from_fn(|| agenda.next()).map(|(at, what)| {
            let What::Wake(host) = what else { panic!("{what:?}") };
            (at.0, host)
        });
        assert_eq!(order.collect::<Vec<_>>(), [(3, 1), (3, 3), (5, 0), (5, 2)]);
    }

    #[test]
    fn what_is_far_off_comes_in_its_time_too() {
        let mut agenda = Agenda::default();
        let mut rng = shoal_core::rng::Rng::new(3);
        let (mut now, mut left) = (0, Vec::new());
        for step in 0..20_000 {
            if step % 2 == 0 || rng.below(3) > 0 {
                let reach = [1, 300, 50_000, 1 << 20, 1 << 24][rng.below(5)];
                let at = now + rng.below(reach) as u64;
                agenda.at(Timestamp(at), What::Wake(step));
                left.push((at, step));
            } else {
                left.sort_unstable();
                let Some((at, What::Wake(host))) = agenda.next() else { panic!("step {step}") };
                assert_eq!((at.0, host), left.remove(0), "step {step}");
                now = at.0;
            }
        }
        left.sort_unstable();
        let rest = std::iter::from_fn(|| agenda.next()).map(|(at, what)| {
            let What::Wake(host) = what else { panic!("{what:?}") };
            (at.0, host)
        });
        assert_eq!(rest.collect::<Vec<_>>(), left);
    }
}
