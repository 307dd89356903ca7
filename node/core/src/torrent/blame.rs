//! Who sent bad data. Blame is exact: a peer is charged for what is proven to be its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use crate::{
    ids::{ConnId, PeerId, PieceIndex},
    session::event::BlockDigest,
};

/// A peer as it is remembered when its connection is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Suspect {
    /// The connection over which it sent.
    pub conn: ConnId,
    /// Its id.
    pub peer_id: PeerId,
    /// Where it listens, as far as known.
    pub addr: SocketAddr,
}

/// A failed piece of several contributors.
#[derive(Debug)]
struct Trial {
    blocks: Vec<BlockDigest>,
    contributors: Vec<Suspect>,
    /// Contributors that have not yet been asked for the whole piece alone.
    untried: Vec<Suspect>,
    /// How many were asked alone and did not finish.
    dismissed: u32,
}

/// Charges, bans, and pieces under trial.
#[derive(Debug, Default)]
pub struct Blame {
    charges: BTreeMap<PeerId, u32>,
    /// Banned ids, and where each listened.
    banned_ids: BTreeMap<PeerId, SocketAddr>,
    banned_addrs: BTreeSet<SocketAddr>,
    trials: BTreeMap<PieceIndex, Trial>,
    /// Who is sending pieces that are being fetched.
    contributors: BTreeMap<PieceIndex, Vec<Suspect>>,
}

/// Charges at which a peer is banned for the torrent.
const CHARGES_MAX: u32 = 2;
/// Peers whose charges are remembered. A peer with a new id begins again, so the map is bounded.
const REMEMBERED_MAX: usize = 4096;
/// Pieces under trial at once. Beyond it a failed piece of several contributors is only fetched
/// again.
const TRIALS_MAX: usize = 64;

/// Witnesses that may fail to finish a piece on trial in a row before it is fetched from all once
/// more: who chokes us by turns, or is far away, finishes no large piece alone.
const WITNESSES_MAX: u32 = 6;

/// What a charge led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sentence {
    /// It is remembered.
    Charged,
    /// The peer is banned for the torrent.
    Banned,
}

impl Blame {
    /// A peer was given a part of a piece.
    pub fn contributes(&mut self, piece: PieceIndex, suspect: Suspect) {
        let list = self.contributors.entry(piece).or_default();
        if list.iter().all(|known| known.conn != suspect.conn) {
            list.push(suspect);
        }
    }

    /// How a connection that was given a part of a piece is remembered.
    #[must_use]
    pub fn contributor(&self, piece: PieceIndex, conn: ConnId) -> Option<Suspect> {
        self.contributors.get(&piece)?.iter().find(|suspect| suspect.conn == conn).copied()
    }

    /// The piece was given up.
    pub fn clear(&mut self, piece: PieceIndex) {
        self.contributors.remove(&piece);
    }

    /// Whether an earlier copy of the piece was wrong and nobody was charged yet.
    #[must_use]
    pub fn on_trial(&self, piece: PieceIndex) -> bool {
        self.trials.contains_key(&piece)
    }

    /// Whether a piece on trial is to be asked of one witness, alone.
    #[must_use]
    pub fn wants_witness(&self, piece: PieceIndex) -> bool {
        self.trials.get(&piece).is_some_and(|trial| trial.dismissed < WITNESSES_MAX)
    }

    /// Who is to be asked for the whole of a piece on trial, alone: the first contributor of the
    /// wrong copy that is still there and was not asked.
    #[must_use]
    pub fn next_witness(
        &self,
        piece: PieceIndex,
        is_here: impl Fn(ConnId) -> bool,
    ) -> Option<ConnId> {
        let trial = self.trials.get(&piece)?;
        trial.untried.iter().map(|suspect| suspect.conn).find(|&conn| is_here(conn))
    }

    /// A witness could not finish: the next one is asked.
    pub fn dismiss_witness(&mut self, piece: PieceIndex, conn: ConnId) {
        if let Some(trial) = self.trials.get_mut(&piece) {
            trial.untried.retain(|suspect| suspect.conn != conn);
            trial.dismissed = trial.dismissed.saturating_add(1);
        }
    }

    /// How many witnesses did not finish a piece on trial.
    #[must_use]
    pub fn dismissed(&self, piece: PieceIndex) -> u32 {
        self.trials.get(&piece).map_or(0, |trial| trial.dismissed)
    }

    /// A piece failed its hash: returns who is proven to have sent bad data. With several
    /// contributors that is nobody yet: the piece goes on trial.
    pub fn failed(&mut self, piece: PieceIndex, blocks: Vec<BlockDigest>) -> Vec<Suspect> {
        let given = self.contributors.remove(&piece).unwrap_or_default();
        let sent = blocks.iter().filter_map(|block| block.from).collect::<BTreeSet<_>>();
        let contributors =
            given.into_iter().filter(|suspect| sent.contains(&suspect.conn)).collect::<Vec<_>>();
        if let [only] = contributors[..] {
            self.dismiss_witness(piece, only.conn);
            return vec![only];
        }
        if let Some(trial) = self.trials.get_mut(&piece) {
            // From all it was wrong again: witnesses are asked anew.
            trial.dismissed = 0;
        } else if self.trials.len() < TRIALS_MAX {
            let untried = contributors.clone();
            self.trials.insert(piece, Trial { blocks, contributors, untried, dismissed: 0 });
        }
        Vec::new()
    }

    /// A piece passed. Where it was on trial, its right blocks tell who sent the wrong ones.
    pub fn passed(&mut self, piece: PieceIndex, blocks: &[BlockDigest]) -> Vec<Suspect> {
        self.contributors.remove(&piece);
        let Some(trial) = self.trials.remove(&piece) else { return Vec::new() };
        let right = blocks.iter().map(|b| (b.block, b.digest)).collect::<BTreeMap<_, _>>();
        let wrong = |b: &&BlockDigest| right.get(&b.block).is_some_and(|d| *d != b.digest);
        let liars =
            trial.blocks.iter().filter(wrong).filter_map(|b| b.from).collect::<BTreeSet<_>>();
        trial.contributors.into_iter().filter(|suspect| liars.contains(&suspect.conn)).collect()
    }

    /// Charges a peer with bad data.
    pub fn charge(&mut self, suspect: Suspect) -> Sentence {
        if self.charges.len() >= REMEMBERED_MAX && !self.charges.contains_key(&suspect.peer_id) {
            self.charges.pop_first();
        }
        let charges = self.charges.entry(suspect.peer_id).or_default();
        *charges += 1;
        if *charges < CHARGES_MAX {
            return Sentence::Charged;
        }
        if self.banned_ids.len() < REMEMBERED_MAX {
            self.banned_ids.insert(suspect.peer_id, suspect.addr);
            self.banned_addrs.insert(suspect.addr);
        }
        Sentence::Banned
    }

    /// Whether this peer may not take part.
    #[must_use]
    pub fn is_banned(&self, peer_id: &PeerId) -> bool {
        self.banned_ids.contains_key(peer_id)
    }

    /// Banned peers, and where each listened.
    pub fn banned(&self) -> impl Iterator<Item = (PeerId, SocketAddr)> + '_ {
        self.banned_ids.iter().map(|(&id, &addr)| (id, addr))
    }

    /// Whether a banned peer listens there.
    #[must_use]
    pub fn is_banned_addr(&self, addr: &SocketAddr) -> bool {
        self.banned_addrs.contains(addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(n: u8) -> Suspect {
        let addr = SocketAddr::from(([127, 0, 0, n], 7000));
        Suspect { conn: ConnId(u64::from(n)), peer_id: PeerId([n; 20]), addr }
    }

    fn block(block: u32, from: u8, digest: u8) -> BlockDigest {
        BlockDigest { block, from: Some(ConnId(u64::from(from))), digest: [digest; 20] }
    }

    #[test]
    fn sole_contributor_is_charged_and_the_second_time_banned() {
        let mut blame = Blame::default();
        for sentence in [Sentence::Charged, Sentence::Banned] {
            blame.contributes(PieceIndex(1), suspect(1));
            let guilty = blame.failed(PieceIndex(1), vec![block(0, 1, 0)]);
            assert_eq!(guilty, [suspect(1)]);
            assert_eq!(blame.charge(suspect(1)), sentence);
        }
        assert!(blame.is_banned(&PeerId([1; 20])));
        assert!(blame.is_banned_addr(&suspect(1).addr));
    }

    #[test]
    fn of_several_contributors_only_the_one_whose_block_differs_is_guilty() {
        let mut blame = Blame::default();
        let piece = PieceIndex(7);
        blame.contributes(piece, suspect(1));
        blame.contributes(piece, suspect(2));
        let wrong = vec![block(0, 1, 10), block(1, 2, 99)];
        assert!(blame.failed(piece, wrong).is_empty());
        assert!(blame.on_trial(piece));
        assert_eq!(blame.next_witness(piece, |_| true), Some(ConnId(1)));
        assert_eq!(blame.next_witness(piece, |conn| conn != ConnId(1)), Some(ConnId(2)));
        blame.contributes(piece, suspect(1));
        let guilty = blame.passed(piece, &[block(0, 1, 10), block(1, 1, 11)]);
        assert_eq!(guilty, [suspect(2)]);
        assert!(!blame.on_trial(piece));
    }

    #[test]
    fn after_witnesses_that_did_not_finish_all_are_asked_until_that_is_wrong_too() {
        let mut blame = Blame::default();
        let piece = PieceIndex(7);
        let fail = |blame: &mut Blame| {
            blame.contributes(piece, suspect(1));
            blame.contributes(piece, suspect(2));
            blame.failed(piece, vec![block(0, 1, 10), block(1, 2, 99)])
        };
        assert!(!blame.wants_witness(piece));
        assert!(fail(&mut blame).is_empty());
        for _ in 0..WITNESSES_MAX {
            assert!(blame.wants_witness(piece));
            blame.dismiss_witness(piece, ConnId(3));
        }
        assert!(!blame.wants_witness(piece) && blame.on_trial(piece));
        assert!(fail(&mut blame).is_empty());
        assert!(blame.wants_witness(piece));
    }

    #[test]
    fn witness_that_fails_alone_is_guilty_and_not_asked_again() {
        let mut blame = Blame::default();
        let piece = PieceIndex(7);
        blame.contributes(piece, suspect(1));
        blame.contributes(piece, suspect(2));
        blame.failed(piece, vec![block(0, 1, 10), block(1, 2, 11)]);
        blame.contributes(piece, suspect(1));
        assert_eq!(blame.failed(piece, vec![block(0, 1, 10), block(1, 1, 12)]), [suspect(1)]);
        assert_eq!(blame.next_witness(piece, |_| true), Some(ConnId(2)));
    }
}
