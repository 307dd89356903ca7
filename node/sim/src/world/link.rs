//! Connections between hosts: two ends each, and what each asks for and sends. Never here: how
//! long anything takes.

use std::{collections::VecDeque, time::Duration};

use shoal_core::{
    ids::{ConnId, LeaseId, PieceIndex},
    session::Lease,
    time::Timestamp,
};

use super::window::Window;

/// One end of a connection, and which of the connections that had its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct EndId {
    /// Twice the place of the connection, plus one for the end that was dialled.
    place: u32,
    generation: u32,
}

/// How far an end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// It dialled, and waits for the other's handshake.
    Dialling,
    /// It was dialled, and has not said yes.
    Offered,
    /// Both handshakes are done, as far as it knows.
    Open,
    /// Its host has closed it, or heard that it is closed.
    Gone,
}

/// One end. What every message asks for comes first, in one line of the processor's cache: there are
/// hundreds of thousands of ends.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct End {
    pub(crate) host: usize,
    pub(crate) conn: ConnId,
    /// When the last message that it sent arrives: the next is not before.
    pub(crate) last_arrival: Timestamp,
    /// Which of the connections that had its place it is of.
    generation: u32,
    pub(crate) phase: Phase,
    /// It serves requests.
    pub(crate) serving: bool,
    /// Since when it has served, and for how long it had before.
    pub(crate) served: (Option<Timestamp>, Duration),
    /// When it was opened.
    pub(crate) opened: Timestamp,
    /// The other end has said that it wants something.
    pub(crate) wanted: bool,
    /// What the other end asked for, in order.
    pub(crate) requests: VecDeque<Request>,
    /// It waits for its turn at its host's uplink, or for room on the way.
    pub(crate) queued: bool,
    /// What it may have on its way, and has.
    pub(crate) window: Window,
    /// The bytes a second that its host allows it, and when it may send again.
    pub(crate) pace: Option<u64>,
    pub(crate) paced_until: Timestamp,
    /// Payload that went out and was not told to its session.
    pub(crate) untold: u64,
    /// What it fetches, in the order granted.
    pub(crate) fetches: Vec<Fetch>,
    /// When it last told of others.
    pub(crate) gossiped: Option<Timestamp>,
}

/// A request on its way, or being served.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) lease: LeaseId,
    pub(crate) piece: PieceIndex,
    /// Bytes that are not sent yet.
    pub(crate) left: u32,
}

/// A lease of an end, and how far it is.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) lease: Lease,
    /// Bytes of the extent that are here.
    pub(crate) filled: u32,
    /// Who sent them, block by block.
    pub(crate) blocks: Vec<Block>,
    /// Bytes that came and were not told to the session.
    pub(crate) untold: u32,
    pub(crate) told: Timestamp,
    pub(crate) asked: Timestamp,
    /// No byte came yet.
    pub(crate) fresh: bool,
    /// How long the first byte took, microseconds, until it is told; else 0.
    pub(crate) latency_us: u64,
    /// What it is part of was given up: nothing of it is kept.
    pub(crate) stale: bool,
}

/// Who sent a run of blocks, and whether they are right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    /// Where the run ends in the extent, bytes.
    pub(crate) end: u32,
    pub(crate) from: ConnId,
    /// What is wrong with it; 0: nothing.
    pub(crate) noise: u64,
}

/// Payload on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    /// The end that sends it.
    pub(crate) from: EndId,
    /// Its host, and the host it goes to, which may be there when the connection is not.
    pub(crate) sender: usize,
    pub(crate) to: usize,
    pub(crate) lease: LeaseId,
    pub(crate) bytes: u32,
    pub(crate) noise: u64,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Links {
    pairs: Vec<[End; 2]>,
    free: Vec<u32>,
}

impl EndId {
    /// The other end of the connection.
    pub(crate) fn other(self) -> Self {
        Self { place: self.place ^ 1, ..self }
    }
}

impl End {
    pub(crate) fn new(host: usize, conn: ConnId, phase: Phase, now: Timestamp) -> Self {
        Self {
            host,
            conn,
            last_arrival: now,
            generation: 0,
            phase,
            serving: false,
            served: (None, Duration::ZERO),
            opened: now,
            wanted: false,
            requests: VecDeque::new(),
            queued: false,
            window: Window::default(),
            pace: None,
            paced_until: Timestamp(0),
            untold: 0,
            fetches: Vec::new(),
            gossiped: None,
        }
    }

    /// For how long it has served until now.
    pub(crate) fn served(&self, now: Timestamp) -> Duration {
        self.served.1 + self.served.0.map_or(Duration::ZERO, |since| now.since(since))
    }
}

impl Links {
    /// Takes a connection in; the end that dials.
    pub(crate) fn insert(&mut self, mut ends: [End; 2]) -> EndId {
        let place = match self.free.pop() {
            Some(place) => {
                let pair = &mut self.pairs[place as usize];
                let generation = pair[0].generation;
                ends.iter_mut().for_each(|end| end.generation = generation);
                *pair = ends;
                place
            }
            None => {
                self.pairs.push(ends);
                u32::try_from(self.pairs.len() - 1).unwrap_or(u32::MAX)
            }
        };
        EndId { place: place * 2, generation: self.pairs[place as usize][0].generation }
    }

    /// An end, unless its connection is gone.
    pub(crate) fn get(&self, id: EndId) -> Option<&End> {
        let end = &self.pairs[(id.place / 2) as usize][(id.place & 1) as usize];
        (end.generation == id.generation).then_some(end)
    }

    pub(crate) fn get_mut(&mut self, id: EndId) -> Option<&mut End> {
        let end = &mut self.pairs[(id.place / 2) as usize][(id.place & 1) as usize];
        (end.generation == id.generation).then_some(end)
    }

    /// Lets go of a connection of which both ends are gone.
    pub(crate) fn release(&mut self, id: EndId) {
        let ends = &mut self.pairs[(id.place / 2) as usize];
        let is_gone = |end: &End| end.generation == id.generation && end.phase == Phase::Gone;
        if ends.iter().all(is_gone) {
            for end in ends {
                end.generation += 1;
                (end.requests, end.fetches) = (VecDeque::new(), Vec::new());
            }
            self.free.push(id.place / 2);
        }
    }

    /// Every end that is there, in order of place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (EndId, &End)> {
        let there = self.pairs.iter().zip(0_u32..);
        there.flat_map(|(ends, place)| {
            let ends = ends.iter().zip(0_u32..);
            let there = ends.filter(|(end, _)| end.phase != Phase::Gone);
            there.map(move |(end, side)| {
                (EndId { place: place * 2 + side, generation: end.generation }, end)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_a_connection_that_is_gone_is_not_the_one_in_its_place() {
        let mut links = Links::default();
        let pair =
            |phase| [7, 8].map(|host| End::new(host, ConnId(host as u64), phase, Timestamp(0)));
        let old = links.insert(pair(Phase::Open));
        assert_eq!(links.get(old.other()).unwrap().host, 8);
        links.get_mut(old).unwrap().phase = Phase::Gone;
        links.release(old);
        assert!(links.get(old).is_some(), "one end is still there");
        links.get_mut(old.other()).unwrap().phase = Phase::Gone;
        links.release(old);
        let new = links.insert(pair(Phase::Dialling));
        assert!(links.get(old).is_none() && links.get(new).is_some());
        assert_eq!(links.iter().count(), 2);
    }
}
