//! A host: a real session, and what it stands on. Never here: what the session decides.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use shoal_core::{
    bitfield::Bitfield,
    ids::{CommandId, ConnId, JobId, PeerId, PieceIndex, TorrentId},
    session::{
        Event, Session,
        command::{CommandError, Done},
    },
    time::Timestamp,
};
use shoal_policy::script::Script;

use super::{
    link::{Block, EndId},
    pipe::Pipe,
};
use crate::checks::pace::Announced;

/// A host and everything it has.
pub(crate) struct Host {
    /// Index into the plan's classes.
    pub(crate) class: usize,
    pub(crate) addr: SocketAddr,
    pub(crate) peer_id: PeerId,
    /// The seed of its sessions.
    pub(crate) seed: u64,
    /// How often it was started: what is for an earlier life is for nobody.
    pub(crate) life: u32,
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    pub(crate) uplink: Uplink,
    pub(crate) downlink: Pipe,
    /// What part of the blocks that it sends are wrong.
    pub(crate) noise: f64,
    /// It has sent wrong blocks without meaning to.
    pub(crate) was_broken: bool,
    pub(crate) record: Record,
}

/// What runs on a host.
pub(crate) struct Node {
    pub(crate) session: Box<Session>,
    pub(crate) script: Option<Box<Script>>,
    pub(crate) torrent: TorrentId,
    pub(crate) job: Option<JobId>,
    pub(crate) conns: BTreeMap<ConnId, EndId>,
    /// When it is woken.
    pub(crate) wake: Timestamp,
    /// What its session said that it serves.
    pub(crate) serves: Bitfield,
    /// What is here of extents that nobody fetches, or that are complete.
    pub(crate) buffers: BTreeMap<(PieceIndex, u32), Buffer>,
    /// Pieces that the disk is at work on.
    pub(crate) verifying: BTreeMap<PieceIndex, Vec<(u32, Vec<Block>)>>,
    /// The answers of commands that were not fetched.
    pub(crate) replies: BTreeMap<CommandId, Result<Done, CommandError>>,
    /// Decisions that were counted.
    pub(crate) decisions_seen: u64,
    /// It was told to go.
    pub(crate) leaving: bool,
    /// What its torrent had moved before this life, bytes: sent, received, in vain.
    pub(crate) before: [u64; 3],
    /// Payload of this life, as the connections counted it when they told it: sent, received.
    pub(crate) told: [u64; 2],
    /// Payload that came and that nobody had asked for, or no longer.
    pub(crate) unasked: u64,
    /// Since when it could go on, as far as was seen.
    pub(crate) able: Option<Timestamp>,
    /// When payload last came.
    pub(crate) moved: Timestamp,
    /// What it last told the tracker.
    pub(crate) announced: Option<Announced>,
}

/// What is here of an extent.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) filled: u32,
    pub(crate) blocks: Vec<Block>,
}

/// The way out.
#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) bps: u64,
    /// A packet is being sent.
    pub(crate) busy: bool,
    /// Ends that have something to send, in turn.
    pub(crate) ring: VecDeque<EndId>,
}

/// A disk: which pieces are on it, and how quick it is.
#[derive(Debug)]
pub(crate) struct Disk {
    /// What it hashes and writes, bytes a second.
    pub(crate) bps: u64,
    /// It has no room.
    pub(crate) full: bool,
    /// It is as slow as this for a time.
    pub(crate) slow: Option<u64>,
    /// When it has done what it was asked.
    pub(crate) free: Timestamp,
    /// Pieces that are written, and right.
    pub(crate) holds: Bitfield,
    /// When those were written that may not be committed.
    pub(crate) fresh: VecDeque<(Timestamp, PieceIndex)>,
}

/// What is told of a host in the end.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) came: Option<Timestamp>,
    pub(crate) complete: Option<Timestamp>,
    pub(crate) left: Option<Timestamp>,
    pub(crate) uploaded: u64,
    pub(crate) downloaded: u64,
    pub(crate) wasted: u64,
    /// As its sessions counted, in all of its lives.
    pub(crate) uploaded_told: u64,
    pub(crate) downloaded_told: u64,
    pub(crate) banned_by: u32,
    pub(crate) unchoke_spread: Option<f64>,
}

/// A have-bit is committed at the latest so long after its piece was written (design §10).
pub(crate) const COMMIT_AFTER: Duration = Duration::from_secs(2);
/// What a disk takes for a piece beside its bytes.
const DISK_ACCESS: Duration = Duration::from_micros(200);

impl Node {
    /// Counts payload that its session is told of.
    pub(crate) fn count(&mut self, event: &Event) {
        if let Event::LeaseProgress { bytes, .. } = event {
            self.told[1] += u64::from(*bytes);
        } else if let Event::Uploaded { bytes, .. } = event {
            self.told[0] += bytes;
        } else if let Event::Wasted { bytes, .. } = event {
            self.unasked += bytes;
        }
    }
}

impl Disk {
    pub(crate) fn new(bps: u64, holds: Bitfield) -> Self {
        let fresh = VecDeque::new();
        Self { bps, full: false, slow: None, free: Timestamp(0), holds, fresh }
    }

    /// When it has done with so many bytes more.
    pub(crate) fn take(&mut self, now: Timestamp, bytes: u32) -> Timestamp {
        let bps = self.slow.unwrap_or(self.bps).max(1);
        let takes = Duration::from_nanos(u64::from(bytes) * 1_000_000_000 / bps);
        self.free = self.free.max(now) + takes + DISK_ACCESS;
        self.free
    }

    /// A piece is written.
    pub(crate) fn wrote(&mut self, now: Timestamp, piece: PieceIndex) {
        self.holds.set(piece);
        while self.fresh.front().is_some_and(|(at, _)| now.since(*at) >= COMMIT_AFTER) {
            self.fresh.pop_front();
        }
        self.fresh.push_back((now, piece));
    }

    /// What is found after a sudden end: committed pieces, and those that are there and were not
    /// committed.
    pub(crate) fn found(&mut self, now: Timestamp) -> (Bitfield, Vec<PieceIndex>) {
        let (mut have, mut unverified) = (self.holds.clone(), Vec::new());
        for (at, piece) in self.fresh.drain(..) {
            if now.since(at) < COMMIT_AFTER && have.clear(piece) {
                unverified.push(piece);
            }
        }
        self.free = now;
        unverified.sort();
        (have, unverified)
    }
}
