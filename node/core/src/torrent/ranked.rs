//! Pieces in order of rank, and of one rank in random order: moving a piece by one rank takes two
//! swaps, whatever there is. Crowds tell of pieces all the time, and each moves one. Never here: what
//! a rank is.

use std::ops::Range;

use crate::{ids::PieceIndex, rng::Rng};

/// Some of so many pieces, in order.
///
/// Invariants: `places` says of each piece of `order` where it stands there; the pieces of a rank are
/// those from its start to that of the next one, or to the end.
#[derive(Debug)]
pub(super) struct Ranked {
    order: Vec<u32>,
    places: Vec<u32>,
    starts: Vec<u32>,
    /// Decides where a piece stands among those of its rank: who comes there last must not be first
    /// there, for all who hear of a piece would want it next.
    rng: Rng,
}

impl Ranked {
    /// Holds none of `count` pieces.
    pub(super) fn new(count: usize, rng: Rng) -> Self {
        Self { order: Vec::new(), places: vec![0; count], starts: vec![0], rng }
    }

    /// Holds these pieces, in the order in which they are given, but for their ranks.
    pub(super) fn fill(
        &mut self,
        pieces: impl Iterator<Item = u32> + Clone,
        rank: impl Fn(u32) -> usize,
    ) {
        let mut counts = vec![0];
        for piece in pieces.clone() {
            let rank = rank(piece);
            counts.resize(counts.len().max(rank + 1), 0);
            counts[rank] += 1;
        }
        let mut start = 0;
        for place in &mut counts {
            start += std::mem::replace(place, start);
        }
        self.starts = counts;
        self.order.clear();
        self.order.resize(start as usize, 0);
        let mut next = self.starts.clone();
        for piece in pieces {
            let place = &mut next[rank(piece)];
            self.order[*place as usize] = piece;
            self.places[piece as usize] = *place;
            *place += 1;
        }
    }

    /// The pieces in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.order.iter().map(|&piece| PieceIndex(piece))
    }

    /// Where a piece stands that is held.
    pub(super) fn place(&self, piece: PieceIndex) -> u32 {
        self.places[piece.0 as usize]
    }

    /// Takes a piece in.
    pub(super) fn insert(&mut self, piece: PieceIndex, rank: usize) {
        self.reach(rank);
        let mut place = self.order.len();
        self.order.push(piece.0);
        self.places[piece.0 as usize] = place as u32;
        // Each rank above gives its first place away, for one after its last.
        for above in (rank + 1..self.starts.len()).rev() {
            let first = self.starts[above] as usize;
            self.swap(place, first);
            self.starts[above] += 1;
            place = first;
        }
        self.mingle(place, rank);
    }

    /// Lets go of a piece of this rank.
    pub(super) fn remove(&mut self, piece: PieceIndex, rank: usize) {
        let mut place = self.find(piece, rank);
        for above in rank + 1..=self.starts.len() {
            let last = self.range(above - 1).end - 1;
            self.swap(place, last);
            if let Some(start) = self.starts.get_mut(above) {
                *start -= 1;
            }
            place = last;
        }
        self.order.pop();
    }

    /// A piece of this rank has the next one.
    pub(super) fn raise(&mut self, piece: PieceIndex, rank: usize) {
        self.reach(rank + 1);
        let (place, last) = (self.find(piece, rank), self.range(rank).end - 1);
        self.swap(place, last);
        self.starts[rank + 1] -= 1;
        self.mingle(last, rank + 1);
    }

    /// A piece of this rank has the one before it.
    pub(super) fn lower(&mut self, piece: PieceIndex, rank: usize) {
        let (place, first) = (self.find(piece, rank), self.range(rank).start);
        self.swap(place, first);
        self.starts[rank] += 1;
        self.mingle(first, rank - 1);
    }

    /// There are ranks up to this one.
    fn reach(&mut self, rank: usize) {
        if self.starts.len() <= rank {
            self.starts.resize(rank + 1, self.order.len() as u32);
        }
    }

    fn range(&self, rank: usize) -> Range<usize> {
        let end = self.starts.get(rank + 1).map_or(self.order.len(), |&end| end as usize);
        self.starts[rank] as usize..end
    }

    fn find(&self, piece: PieceIndex, rank: usize) -> usize {
        let (place, range) = (self.place(piece) as usize, self.range(rank));
        let is_there = range.contains(&place) && self.order[place] == piece.0;
        assert!(is_there, "piece {} at {place}, and rank {rank} is at {range:?}", piece.0);
        place
    }

    /// A piece that came to a rank stands anywhere there.
    fn mingle(&mut self, place: usize, rank: usize) {
        let range = self.range(rank);
        let other = range.start + self.rng.below(range.len());
        self.swap(place, other);
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.order.swap(one, other);
        self.places[self.order[one] as usize] = one as u32;
        self.places[self.order[other] as usize] = other as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn pieces_stand_in_order_of_rank_whatever_happens_to_them() {
        let mut rng = Rng::new(1);
        let mut ranked = Ranked::new(40, Rng::new(2));
        let mut ranks: BTreeMap<u32, usize> = BTreeMap::new();
        for step in 0..4000 {
            let piece = rng.below(40) as u32;
            let known = ranks.get(&piece).copied();
            match (rng.below(9), known) {
                (0, _) => {
                    let pieces = ranks.keys().copied().collect::<Vec<_>>();
                    ranked.fill(pieces.into_iter(), |piece| ranks[&piece]);
                }
                (1, Some(rank)) => {
                    ranked.remove(PieceIndex(piece), rank);
                    ranks.remove(&piece);
                }
                (2..=4, Some(rank @ 1..)) => {
                    ranked.lower(PieceIndex(piece), rank);
                    ranks.insert(piece, rank - 1);
                }
                (_, Some(rank)) => {
                    ranked.raise(PieceIndex(piece), rank);
                    ranks.insert(piece, rank + 1);
                }
                (_, None) => {
                    let rank = rng.below(6);
                    ranked.insert(PieceIndex(piece), rank);
                    ranks.insert(piece, rank);
                }
            }
            let order = ranked.iter().map(|piece| ranks[&piece.0]).collect::<Vec<_>>();
            assert!(order.is_sorted() && order.len() == ranks.len(), "step {step}: {order:?}");
            let places = ranked.iter().map(|piece| ranked.place(piece));
            assert!(places.eq(0..ranks.len() as u32), "step {step}");
        }
    }

    #[test]
    fn who_comes_to_a_rank_last_is_first_there_no_more_often_than_others() {
        let mut ranked = Ranked::new(10, Rng::new(3));
        let mut first = 0;
        for round in 0..1000 {
            ranked.fill(0..10, |piece| usize::from(piece > 0));
            ranked.raise(PieceIndex(0), 0);
            first += usize::from(ranked.iter().next() == Some(PieceIndex(0)));
            assert!(round < 999 || (60..140).contains(&first), "{first} times of 1000");
        }
    }
}
