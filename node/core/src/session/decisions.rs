//! The last decisions of the node, kept for whoever looks: whom each chunk was asked from, and by
//! whose word. Never here: a decision.

use std::{collections::VecDeque, net::SocketAddr};

use crate::{
    ids::{PieceIndex, PolicyId, TorrentId},
    policy::native::Native,
    time::Timestamp,
};

/// So many are kept (policy.md §5).
pub const DECISIONS_KEPT: usize = 256;

/// A decision that was made.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    /// Rises by one with every decision of the session, from 1.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// The torrent.
    pub torrent: TorrentId,
    /// The piece.
    pub piece: PieceIndex,
    /// Where the extent begins in the piece, bytes.
    pub offset: u32,
    /// Peers among whom it was chosen; where more than 64 had a free slot, at most so many.
    pub candidates: u32,
    /// Who was asked; none where nobody.
    pub chosen: Option<SocketAddr>,
    /// By whose word.
    pub by: DecidedBy,
    /// What the policy took for it, microseconds.
    pub spent_us: u32,
}

/// By whose word a chunk was asked from a peer, or from none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DecidedBy {
    /// A native policy in place.
    Native(Native),
    /// The engine, for a label-blind connection.
    Blind,
    /// A script that was consulted.
    Consulted {
        /// Which.
        policy: PolicyId,
        /// What came of it.
        outcome: Consulted,
        /// Its reason, bounded and sanitised.
        reason: Option<String>,
    },
}

/// What came of asking a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consulted {
    /// Its peer was asked.
    Chosen,
    /// No opinion: the default decided.
    Abstained,
    /// It asked to wait.
    Deferred,
    /// It asked to wait although nothing was in flight: the default decided.
    Starved,
    /// It failed: the default decided.
    Failed,
    /// It was not asked: the default decided.
    Bypassed,
    /// It answered too late: the default decided.
    Late,
    /// Its peer was gone or full by then: the default decided.
    Stale,
    /// By then nobody had a free slot; the chunk is asked about again.
    Nobody,
}

/// How many decisions there were, by whose word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DecisionCounts {
    /// A native policy's, in place.
    pub native: u64,
    /// The engine's, for label-blind connections.
    pub blind: u64,
    /// Of a script that was consulted, by what came of it, in the order of [`Consulted::ALL`].
    pub consulted: [u64; Consulted::ALL.len()],
}

/// The last decisions.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    last: VecDeque<Decision>,
    made: u64,
    counts: DecisionCounts,
}

impl Consulted {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Chosen,
        Self::Abstained,
        Self::Deferred,
        Self::Starved,
        Self::Failed,
        Self::Bypassed,
        Self::Late,
        Self::Stale,
        Self::Nobody,
    ];
}

impl DecisionCounts {
    fn count(&mut self, by: &DecidedBy) {
        match by {
            DecidedBy::Native(_) => self.native += 1,
            DecidedBy::Blind => self.blind += 1,
            DecidedBy::Consulted { outcome, .. } => self.consulted[*outcome as usize] += 1,
        }
    }
}

impl Decisions {
    /// Keeps one; its sequence is given here.
    pub(super) fn keep(&mut self, decision: Decision) {
        self.made += 1;
        self.counts.count(&decision.by);
        if self.last.len() >= DECISIONS_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(Decision { sequence: self.made, ..decision });
    }

    /// How many there were.
    pub(super) fn counts(&self) -> DecisionCounts {
        self.counts
    }

    /// Those after a sequence that are still kept, oldest first.
    pub(super) fn after(&self, sequence: u64) -> impl Iterator<Item = &Decision> {
        self.last.iter().filter(move |decision| decision.sequence > sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_numbered_from_one() {
        let mut decisions = Decisions::default();
        let decision = Decision {
            sequence: 0,
            at: Timestamp(0),
            torrent: TorrentId(1),
            piece: PieceIndex(0),
            offset: 0,
            candidates: 1,
            chosen: None,
            by: DecidedBy::Blind,
            spent_us: 0,
        };
        for _ in 0..DECISIONS_KEPT + 3 {
            decisions.keep(decision.clone());
        }
        let sequences = |after| decisions.after(after).map(|d| d.sequence).collect::<Vec<_>>();
        assert_eq!(sequences(0).len(), DECISIONS_KEPT);
        assert_eq!(sequences(0)[0], 4);
        assert_eq!(sequences(DECISIONS_KEPT as u64 + 1), [258, 259]);
        assert_eq!(decisions.counts().blind, DECISIONS_KEPT as u64 + 3, "the forgotten ones too");
    }

    #[test]
    fn what_came_of_asking_a_script_is_counted_by_its_kind() {
        let mut counts = DecisionCounts::default();
        for (outcome, times) in Consulted::ALL.into_iter().zip(1..) {
            for _ in 0..times {
                counts.count(&DecidedBy::Consulted { policy: PolicyId(1), outcome, reason: None });
            }
        }
        assert_eq!(counts.consulted, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
