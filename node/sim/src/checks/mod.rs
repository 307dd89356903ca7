//! What must hold in every run, whatever the plan: looked at from outside the sessions, at each step
//! for what the step touched, and as a whole every virtual second. The first violation ends a run.
//! Never here: what a plan expects of its numbers.

pub(crate) mod pace;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use shoal_core::{
    config::{BLOCK_LEN, Config, SHOAL_REQUEST_LEN_MAX},
    ids::PieceIndex,
    metainfo::Metainfo,
    session::{Lease, view::PieceState},
    time::Timestamp,
};

use crate::{
    outcome::Violation,
    plan::Plan,
    world::host::{Host, Node},
};

/// Hosts that are looked at as a whole in a virtual second, at most; where there are more they take
/// turns.
const WHOLE_PER_SECOND: usize = 64;
/// Facts for one host at one time, at most: beyond it nothing moves forward.
const FACTS_AT_ONCE_MAX: u32 = 100_000;

/// What is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Check {
    /// The core's own invariants: a piece is in exactly one state, tables agree.
    Core,
    /// A piece is in the state that its last step leads to.
    Pieces,
    /// An extent has one lease, two in endgame; a lease is of an extent, in blocks.
    Leases,
    /// Nothing is had, told or served that was not verified and written.
    Verified,
    /// Nobody is asked for what it has not told of.
    Told,
    /// Nothing is verified before it is whole.
    Whole,
    /// Nobody is banned who sent nothing wrong.
    Blame,
    /// Nothing is said before both handshakes.
    Handshake,
    /// No more peers are unchoked than there are slots.
    Slots,
    /// Buffers keep within their budget.
    Buffers,
    /// What sessions count is what went over their connections.
    Counters,
    /// A peer is told of others once a minute at most.
    Gossip,
    /// The tracker is asked again no sooner than it allows.
    Announces,
    /// Deadlines move forward.
    Deadlines,
    /// Who can go on does.
    Progress,
    /// At the end nothing is left of what was asked for.
    Leaks,
}

/// What is checked, and what was found.
#[derive(Debug)]
pub(crate) struct Checks {
    violation: Option<Violation>,
    count: u64,
    /// Whose fact is being handled.
    at_work: Option<usize>,
    /// Leases of each extent, by host.
    leased: Vec<BTreeMap<(PieceIndex, u32), u32>>,
    /// The time of a host's last fact, and how many there were at it.
    at_once: Vec<(Timestamp, u32)>,
    extent_len: u64,
    budget: u64,
}

impl Check {
    const ALL: [Self; 16] = [
        Self::Core,
        Self::Pieces,
        Self::Leases,
        Self::Verified,
        Self::Told,
        Self::Whole,
        Self::Blame,
        Self::Handshake,
        Self::Slots,
        Self::Buffers,
        Self::Counters,
        Self::Gossip,
        Self::Announces,
        Self::Deadlines,
        Self::Progress,
        Self::Leaks,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Pieces => "pieces",
            Self::Leases => "leases",
            Self::Verified => "verified",
            Self::Told => "told",
            Self::Whole => "whole",
            Self::Blame => "blame",
            Self::Handshake => "handshake",
            Self::Slots => "slots",
            Self::Buffers => "buffers",
            Self::Counters => "counters",
            Self::Gossip => "gossip",
            Self::Announces => "announces",
            Self::Deadlines => "deadlines",
            Self::Progress => "progress",
            Self::Leaks => "leaks",
        }
    }
}

impl Checks {
    pub(crate) fn new(plan: &Plan) -> Self {
        let hosts = plan.classes.iter().map(|class| class.count as usize).sum();
        Self {
            violation: None,
            count: 0,
            at_work: None,
            leased: vec![BTreeMap::new(); hosts],
            at_once: vec![(Timestamp(0), 0); hosts],
            extent_len: u64::from(plan.piece_len.min(shoal_core::config::EXTENT_LEN)),
            budget: Config::default().buffer_budget_bytes,
        }
    }

    /// A fact of this host is being handled.
    pub(crate) fn begin(&mut self, host: usize) {
        self.at_work = Some(host);
    }

    pub(crate) fn end(&mut self) {
        self.at_work = None;
    }

    pub(crate) fn at_work(&self) -> Option<usize> {
        self.at_work
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The names of all checks, which are always on.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        Check::ALL.map(Check::name).to_vec()
    }

    /// Notes that something does not hold; the first such thing counts.
    pub(crate) fn violated(
        &mut self,
        now: Timestamp,
        host: Option<usize>,
        check: Check,
        detail: impl FnOnce() -> String,
    ) {
        if self.violation.is_none() {
            let at = crate::world::since_origin(now);
            let (check, detail) = (check.name(), detail());
            self.violation = Some(Violation { at, host, check, detail });
        }
    }

    /// Notes whether something holds.
    pub(crate) fn that(
        &mut self,
        now: Timestamp,
        host: usize,
        check: Check,
        holds: bool,
        detail: impl FnOnce() -> String,
    ) {
        self.count += 1;
        if !holds {
            self.violated(now, Some(host), check, detail);
        }
    }

    /// A session wants to be woken at `next`, having handled everything until `now`.
    pub(crate) fn deadline(&mut self, now: Timestamp, host: usize, next: Timestamp) {
        self.that(now, host, Check::Deadlines, next > now, || {
            format!("it wants to be woken at {next:?}, and it is {now:?}")
        });
        let (last, count) = &mut self.at_once[host];
        *count = if *last == now { *count + 1 } else { 0 };
        *last = now;
        let count = *count;
        self.that(now, host, Check::Deadlines, count < FACTS_AT_ONCE_MAX, || {
            format!("{count} facts at one time")
        });
    }

    /// A lease is granted.
    pub(crate) fn granted(
        &mut self,
        now: Timestamp,
        host: usize,
        metainfo: &Metainfo,
        lease: &Lease,
        node: Option<&Node>,
    ) {
        let leases = self.leased[host].entry((lease.piece, lease.extent)).or_default();
        *leases += 1;
        let leases = *leases;
        let most = if lease.duplicate { 2 } else { 1 };
        self.that(now, host, Check::Leases, leases <= most, || {
            format!("{leases} leases of one extent: {lease:?}")
        });
        let range = metainfo.layout().extent_range(lease.piece, lease.extent);
        let of_extent = range == (lease.offset..lease.offset + lease.len);
        let in_blocks = lease.request_len.is_multiple_of(BLOCK_LEN)
            && (BLOCK_LEN..=SHOAL_REQUEST_LEN_MAX).contains(&lease.request_len);
        self.that(now, host, Check::Leases, of_extent && in_blocks, || format!("{lease:?}"));
        let Some(node) = node else { return };
        let state = node.session.piece(node.torrent, lease.piece).map(|(state, _)| state);
        self.that(now, host, Check::Pieces, state == Some(PieceState::Fetching), || {
            format!("{lease:?} of a piece that is {state:?}")
        });
    }

    /// A lease is over.
    pub(crate) fn returned(&mut self, host: usize, lease: &Lease) {
        let key = (lease.piece, lease.extent);
        if let Some(leases) = self.leased[host].get_mut(&key) {
            *leases -= 1;
            if *leases == 0 {
                self.leased[host].remove(&key);
            }
        }
    }

    /// A host's process is no more.
    pub(crate) fn crashed(&mut self, host: usize) {
        self.leased[host].clear();
    }

    /// A session heard what came of a piece.
    pub(crate) fn after_verification(
        &mut self,
        now: Timestamp,
        host: usize,
        piece: PieceIndex,
        disk: bool,
        node: Option<&Node>,
    ) {
        let Some(node) = node else { return };
        let state = node.session.piece(node.torrent, piece).map(|(state, _)| state);
        let had = state == Some(PieceState::Have);
        self.that(now, host, Check::Verified, !had || disk, || {
            format!("{piece:?} is had and was not written")
        });
        let going = state == Some(PieceState::Verifying);
        self.that(now, host, Check::Pieces, !going, || format!("{piece:?} is still verified"));
    }

    /// Whether a host is looked at as a whole in this second.
    pub(crate) fn is_turn(&self, now: Timestamp, host: usize, hosts: usize) -> bool {
        let turns = hosts.div_ceil(WHOLE_PER_SECOND);
        let second = crate::world::since_origin(now).as_secs();
        host % turns == usize::try_from(second).unwrap_or(0) % turns
    }

    /// A host is looked at as a whole.
    pub(crate) fn whole(&mut self, now: Timestamp, host: usize, it: &Host) {
        let Some(node) = &it.node else { return };
        node.session.check_invariants();
        self.count += 1;
        let Some(view) = node.session.torrent(node.torrent) else { return };
        for (what, found, expected) in [
            ("uploaded", view.uploaded, node.before[0] + node.told[0]),
            ("downloaded", view.downloaded, node.before[1] + node.told[1]),
        ] {
            self.that(now, host, Check::Counters, found == expected, || {
                format!("{what} is {found}, and {expected} went over the connections")
            });
        }
        let wasted = view.wasted <= node.told[1] + node.unasked;
        self.that(now, host, Check::Counters, wasted, || {
            format!("{} bytes in vain of {}", view.wasted, node.told[1] + node.unasked)
        });
        let leased = self.leased[host].keys();
        let kept = node.buffers.keys().filter(|key| !self.leased[host].contains_key(key));
        let verifying: usize = node.verifying.values().map(Vec::len).sum();
        let bytes = (leased.count() + kept.count() + verifying) as u64 * self.extent_len;
        let budget = self.budget;
        self.that(now, host, Check::Buffers, bytes <= budget, || {
            format!("{bytes} bytes of buffers, and the budget is {budget}")
        });
        let able = node.able.unwrap_or(now);
        let quiet = now.since(node.moved.max(able));
        let stuck = it.record.complete.is_none() && quiet > STILL_MAX;
        self.that(now, host, Check::Progress, !stuck, || {
            format!("nothing came for {} s from a seed that serves it", quiet.as_secs())
        });
    }

    /// The run is over.
    pub(crate) fn at_the_end(&mut self, now: Timestamp, hosts: &[Host]) {
        for (host, it) in hosts.iter().enumerate() {
            let Some(node) = it.node.as_ref().filter(|_| it.record.complete.is_some()) else {
                continue;
            };
            let left = (self.leased[host].len(), node.buffers.len(), node.verifying.len());
            self.that(now, host, Check::Leaks, left == (0, 0, 0), || {
                format!("complete, with {left:?} leases, buffers and pieces being verified")
            });
        }
    }
}

/// How long a host may stand still beside a seed that serves it: thrice what it takes to notice that
/// a peer is silent and to try all over, and an endgame.
const STILL_MAX: Duration = Duration::from_secs(120);
