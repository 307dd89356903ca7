//! Metadata of one claimed size, put together of pieces from several peers, or of one alone where
//! a mixture was wrong: so the liar shows. Never here: who is connected.

use std::collections::BTreeSet;

use sha1::{Digest, Sha1};

use crate::{
    ids::{ConnId, InfoHash},
    wire::metadata::{piece_count, piece_range},
};

/// Metadata of one size.
#[derive(Debug)]
pub(super) struct Assembly {
    len: u32,
    parts: Vec<Option<(ConnId, Vec<u8>)>>,
    here: u32,
    /// Pieces that somebody is asked for.
    asked: BTreeSet<u32>,
    /// A mixture was wrong: pieces are taken of one peer at a time.
    alone: bool,
    /// That peer.
    solo: Option<ConnId>,
    /// Who was that already and did not come to the end.
    tried: BTreeSet<ConnId>,
}

/// What became of a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// It is right.
    Right(Vec<u8>),
    /// It is wrong, and all of it was this peer's.
    WrongOf(ConnId),
    /// It is wrong, and several had part in it.
    Mixed,
}

impl Assembly {
    pub(super) fn new(len: u32) -> Self {
        Self {
            len,
            parts: vec![None; piece_count(len) as usize],
            here: 0,
            asked: BTreeSet::new(),
            alone: false,
            solo: None,
            tried: BTreeSet::new(),
        }
    }

    /// Pieces that are here.
    pub(super) fn here(&self) -> u32 {
        self.here
    }

    pub(super) fn is_asked(&self, piece: u32) -> bool {
        self.asked.contains(&piece)
    }

    /// Of those that claim this size, in order of preference, who may be asked.
    pub(super) fn may_ask(&mut self, sources: &[ConnId]) -> Vec<ConnId> {
        if !self.alone {
            return sources.to_vec();
        }
        if self.solo.is_none() {
            let fresh = sources.iter().find(|conn| !self.tried.contains(conn));
            if fresh.is_none() {
                self.tried.clear();
            }
            self.solo = fresh.or(sources.first()).copied();
        }
        self.solo.into_iter().collect()
    }

    /// Takes a piece to be asked for.
    pub(super) fn ask(&mut self) -> Option<u32> {
        let missing = self.parts.iter().enumerate().filter(|(_, part)| part.is_none());
        let mut missing = missing.map(|(index, _)| index as u32);
        let piece = missing.find(|piece| !self.asked.contains(piece))?;
        self.asked.insert(piece);
        Some(piece)
    }

    /// A piece does not come.
    pub(super) fn unask(&mut self, piece: u32) {
        self.asked.remove(&piece);
    }

    /// Whether a piece has the length it must have.
    pub(super) fn fits(&self, piece: u32, len: usize) -> bool {
        piece_range(piece, self.len).is_some_and(|range| range.len() == len)
    }

    /// Takes a piece that fits; tells what became of the whole where it is the last one.
    pub(super) fn take(
        &mut self,
        from: ConnId,
        piece: u32,
        bytes: Vec<u8>,
        info_hash: &InfoHash,
    ) -> Option<Whole> {
        self.asked.remove(&piece);
        let part = self.parts.get_mut(piece as usize).filter(|part| part.is_none())?;
        *part = Some((from, bytes));
        self.here += 1;
        if (self.here as usize) < self.parts.len() {
            return None;
        }
        let parts = self.parts.iter_mut().filter_map(Option::take).collect::<Vec<_>>();
        self.here = 0;
        let mut hasher = Sha1::new();
        parts.iter().for_each(|(_, bytes)| hasher.update(bytes));
        if InfoHash(hasher.finalize().into()) == *info_hash {
            return Some(Whole::Right(parts.into_iter().flat_map(|(_, bytes)| bytes).collect()));
        }
        self.alone = true;
        self.solo = None;
        let one = parts.iter().all(|(conn, _)| *conn == from);
        Some(if one { Whole::WrongOf(from) } else { Whole::Mixed })
    }

    /// A peer goes, or does not give what it was asked for. What was to be of it alone begins anew
    /// with another.
    pub(super) fn let_down(&mut self, conn: ConnId) {
        if self.alone && self.solo == Some(conn) {
            self.solo = None;
            self.tried.insert(conn);
            self.parts.fill(None);
            self.here = 0;
        }
    }

    /// A peer is gone for good.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.let_down(conn);
        self.tried.remove(&conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    fn hash(bytes: &[u8]) -> InfoHash {
        InfoHash(Sha1::digest(bytes).into())
    }

    #[test]
    fn pieces_of_several_make_a_whole() {
        let whole = vec![7; 16384 + 3];
        let mut assembly = Assembly::new(whole.len() as u32);
        assert_eq!((assembly.ask(), assembly.ask(), assembly.ask()), (Some(0), Some(1), None));
        assembly.unask(0);
        assert_eq!(assembly.ask(), Some(0));
        assert!(assembly.fits(1, 3) && !assembly.fits(0, 3) && !assembly.fits(2, 3));
        assert_eq!(assembly.take(A, 1, vec![7; 3], &hash(&whole)), None);
        assert_eq!(assembly.take(A, 1, vec![8; 3], &hash(&whole)), None, "the first one stays");
        let taken = assembly.take(B, 0, vec![7; 16384], &hash(&whole));
        assert_eq!(taken, Some(Whole::Right(whole)));
    }

    #[test]
    fn after_a_wrong_mixture_one_peer_at_a_time_is_asked() {
        let whole = vec![7; 16384 + 3];
        let mut assembly = Assembly::new(whole.len() as u32);
        assert_eq!(assembly.may_ask(&[A, B]), [A, B]);
        assert_eq!(assembly.take(A, 0, vec![0; 16384], &hash(&whole)), None);
        assert_eq!(assembly.take(B, 1, vec![7; 3], &hash(&whole)), Some(Whole::Mixed));
        assert_eq!(assembly.may_ask(&[A, B]), [A]);
        assert_eq!(assembly.take(A, 0, vec![0; 16384], &hash(&whole)), None);
        assembly.let_down(A);
        assert_eq!((assembly.here(), assembly.may_ask(&[A, B])), (0, vec![B]));
        assembly.let_down(B);
        assert_eq!(assembly.may_ask(&[A, B]), [A], "everybody had a turn");
        assert_eq!(assembly.take(A, 0, vec![0; 16384], &hash(&whole)), None);
        let wrong = assembly.take(A, 1, vec![7; 3], &hash(&whole));
        assert_eq!(wrong, Some(Whole::WrongOf(A)));
        assert_eq!(assembly.may_ask(&[]), []);
    }
}
