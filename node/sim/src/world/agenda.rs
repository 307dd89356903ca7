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
    /// A host hears the `have` messages of a turn.
    Haves(usize),
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
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Entry>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    sequence: u64,
    what: What,
}

impl Agenda {
    pub(crate) fn at(&mut self, at: Timestamp, what: What) {
        self.sequence += 1;
        self.heap.push(Entry { at, sequence: self.sequence, what });
    }

    pub(crate) fn after(&mut self, now: Timestamp, delay: Duration, what: What) {
        self.at(now + delay, what);
    }

    pub(crate) fn next(&mut self) -> Option<(Timestamp, What)> {
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }
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
}
