//! Which piece is begun next: every piece that nobody has begun, ordered so that a decision costs
//! O(log n) and never a scan of all pieces.

use std::collections::BTreeSet;

use crate::{bitfield::Bitfield, ids::PieceIndex, policy::Order, rng::Rng};

/// Availability of every piece, and the pieces not begun in order.
///
/// Invariant: `ranked` holds exactly the pieces that were put in and not removed, each under its
/// present rank.
#[derive(Debug)]
pub struct Picker {
    order: Order,
    /// Connected peers that have the piece, complete peers apart.
    partial: Vec<u16>,
    /// Connected peers that have every piece.
    complete: u32,
    /// Random and fixed: breaks ties, and is the rank of [`Order::Random`].
    tie: Vec<u32>,
    waiting: Bitfield,
    ranked: BTreeSet<(u32, u32, u32)>,
    /// Only so many waiting pieces are looked at, the first in order of index.
    window: Option<u32>,
    /// No piece before this one waits.
    first: u32,
}

/// How many pieces of the order are looked at for one that a given set of peers has, before the
/// search goes by the peer's own bitfield.
const WALK_MAX: usize = 64;

impl Picker {
    /// A picker of `count` pieces, all waiting, in the default order.
    #[must_use]
    pub fn new(count: u32, rng: &mut Rng) -> Self {
        let tie = (0..count).map(|_| rng.u64() as u32).collect::<Vec<_>>();
        let mut picker = Self {
            order: Order::default(),
            partial: vec![0; count as usize],
            complete: 0,
            tie,
            waiting: Bitfield::full(count as usize),
            ranked: BTreeSet::new(),
            window: None,
            first: 0,
        };
        picker.rank_all();
        picker
    }

    /// Changes the order, and to how many of the first waiting pieces it is confined.
    pub fn set_order(&mut self, order: Order, window: Option<u32>) {
        if self.order != order {
            self.order = order;
            self.rank_all();
        }
        self.window = window;
    }

    /// Connected peers that have a piece.
    #[must_use]
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.complete + u32::from(self.partial[piece.0 as usize])
    }

    /// The pieces that wait to be begun.
    #[must_use]
    pub fn waiting(&self) -> &Bitfield {
        &self.waiting
    }

    /// Whether no piece waits to be begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranked.is_empty()
    }

    /// A piece waits to be begun again.
    pub fn insert(&mut self, piece: PieceIndex) {
        if self.waiting.set(piece) {
            self.ranked.insert(self.key(piece));
            self.first = self.first.min(piece.0);
        }
    }

    /// A piece was begun, or is had.
    pub fn remove(&mut self, piece: PieceIndex) {
        if self.waiting.clear(piece) {
            let key = self.key(piece);
            let was_there = self.ranked.remove(&key);
            assert!(was_there, "piece {} was ranked under another key", piece.0);
            if piece.0 == self.first {
                self.first = self.first_waiting().map_or(self.first, |first| first.0);
            }
        }
    }

    /// A peer with these pieces connected.
    pub fn add_peer(&mut self, have: &Bitfield) {
        if have.is_full() && !have.is_empty() {
            self.complete += 1;
            return;
        }
        have.iter_ones().for_each(|piece| self.shift(piece, true));
    }

    /// A peer with these pieces left.
    pub fn remove_peer(&mut self, have: &Bitfield) {
        if have.is_full() && !have.is_empty() {
            self.complete -= 1;
            return;
        }
        have.iter_ones().for_each(|piece| self.shift(piece, false));
    }

    /// A connected peer got one more piece; `have` holds it already.
    pub fn add_piece(&mut self, piece: PieceIndex, have: &Bitfield) {
        if !have.is_full() {
            return self.shift(piece, true);
        }
        let others = have.iter_ones().filter(|&other| other != piece).collect::<Vec<_>>();
        others.into_iter().for_each(|other| self.shift(other, false));
        self.complete += 1;
    }

    /// The next waiting piece that one of `peers` has: the first in order within a bounded walk,
    /// else any that the first of the peers that has one lacks least.
    #[must_use]
    pub fn next(&self, peers: &[&Bitfield], rng: &mut Rng) -> Option<PieceIndex> {
        // Where nobody has anything of the window, the rest is better than nothing.
        let within = self.window.and_then(|window| self.next_in(window as usize, peers));
        if within.is_some() {
            return within;
        }
        let walk = self.ranked.iter().take(WALK_MAX).map(|&(_, _, piece)| PieceIndex(piece));
        let mut walk = walk.filter(|&piece| peers.iter().any(|have| have.get(piece)));
        walk.next().or_else(|| {
            let from = rng.below(self.partial.len());
            peers.iter().find_map(|have| have.first_common_missing(&self.waiting, from))
        })
    }

    /// The first in order of the first so many waiting pieces, of those that one of `peers` has.
    fn next_in(&self, window: usize, peers: &[&Bitfield]) -> Option<PieceIndex> {
        let waiting = self.waiting.ones_from(PieceIndex(self.first)).take(window);
        let held = waiting.filter(|&piece| peers.iter().any(|have| have.get(piece)));
        held.min_by_key(|&piece| self.key(piece))
    }

    fn first_waiting(&self) -> Option<PieceIndex> {
        self.waiting.ones_from(PieceIndex(self.first)).next()
    }

    /// The waiting pieces that no connected peer has, in order of index, with their count.
    #[must_use]
    pub fn unavailable(&self, names_max: usize) -> (usize, Vec<PieceIndex>) {
        if self.complete > 0 {
            return (0, Vec::new());
        }
        let nobody = self.waiting.iter_ones().filter(|p| self.partial[p.0 as usize] == 0);
        let mut count = 0;
        let mut first = Vec::new();
        for piece in nobody {
            count += 1;
            if first.len() < names_max {
                first.push(piece);
            }
        }
        (count, first)
    }

    fn shift(&mut self, piece: PieceIndex, up: bool) {
        let waits = self.waiting.get(piece);
        if waits {
            self.ranked.remove(&self.key(piece));
        }
        let count = &mut self.partial[piece.0 as usize];
        *count = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
        if waits {
            self.ranked.insert(self.key(piece));
        }
    }

    fn key(&self, piece: PieceIndex) -> (u32, u32, u32) {
        let index = piece.0 as usize;
        let rank = match self.order {
            Order::Rarest => u32::from(self.partial[index]),
            Order::Sequential | Order::Random => 0,
        };
        let tie = match self.order {
            Order::Rarest | Order::Random => self.tie[index],
            Order::Sequential => piece.0,
        };
        (rank, tie, piece.0)
    }

    fn rank_all(&mut self) {
        self.ranked = self.waiting.iter_ones().map(|piece| self.key(piece)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(len: usize, pieces: &[u32]) -> Bitfield {
        let mut field = Bitfield::new(len);
        for &piece in pieces {
            field.set(PieceIndex(piece));
        }
        field
    }

    #[test]
    fn rarest_piece_that_a_free_peer_has_comes_first() {
        let mut picker = Picker::new(4, &mut Rng::new(1));
        let common = field(4, &[0, 1, 2]);
        let rare = field(4, &[0, 2, 3]);
        picker.add_peer(&common);
        picker.add_peer(&rare);
        let mut rng = Rng::new(2);
        let first = picker.next(&[&common, &rare], &mut rng).unwrap();
        assert!(first == PieceIndex(1) || first == PieceIndex(3), "{first:?}");
        assert_eq!(picker.next(&[&rare], &mut rng), Some(PieceIndex(3)));
        picker.remove(PieceIndex(3));
        assert_ne!(picker.next(&[&rare], &mut rng), Some(PieceIndex(3)));
    }

    #[test]
    fn peers_that_come_and_go_leave_no_trace() {
        let mut picker = Picker::new(100, &mut Rng::new(3));
        let mut partial = field(100, &(0..99).collect::<Vec<_>>());
        let full = Bitfield::full(100);
        picker.add_peer(&partial);
        picker.add_peer(&full);
        assert_eq!(picker.availability(PieceIndex(5)), 2);
        assert_eq!(picker.availability(PieceIndex(99)), 1);
        partial.set(PieceIndex(99));
        picker.add_piece(PieceIndex(99), &partial);
        assert_eq!(picker.availability(PieceIndex(99)), 2);
        picker.remove_peer(&partial);
        picker.remove_peer(&full);
        assert!((0..100).all(|p| picker.availability(PieceIndex(p)) == 0));
        assert_eq!(picker.unavailable(3).0, 100);
    }

    #[test]
    fn a_peer_behind_the_walk_is_still_served() {
        let mut picker = Picker::new(1000, &mut Rng::new(4));
        picker.set_order(Order::Sequential, None);
        let last = field(1000, &[999]);
        assert_eq!(picker.next(&[&last], &mut Rng::new(5)), Some(PieceIndex(999)));
        assert_eq!(picker.next(&[&Bitfield::full(1000)], &mut Rng::new(5)), Some(PieceIndex(0)));
    }

    #[test]
    fn a_window_confines_the_order_and_moves_on() {
        let mut picker = Picker::new(100, &mut Rng::new(6));
        let (all, rare) = (Bitfield::full(100), field(100, &[0, 1, 3]));
        picker.add_peer(&all);
        picker.add_peer(&rare);
        picker.set_order(Order::Rarest, Some(3));
        let next = |picker: &Picker| picker.next(&[&all], &mut Rng::new(7));
        assert_eq!(next(&picker), Some(PieceIndex(2)), "the rarest of 0, 1 and 2");
        for piece in [0, 1, 2] {
            picker.remove(PieceIndex(piece));
        }
        assert!((4..6).contains(&next(&picker).unwrap().0), "the rarest of 3, 4 and 5");
        picker.insert(PieceIndex(1));
        assert_eq!(next(&picker), Some(PieceIndex(4)), "the rarest of 1, 3 and 4");
        let last = field(100, &[99]);
        let beyond = picker.next(&[&last], &mut Rng::new(7));
        assert_eq!(beyond, Some(PieceIndex(99)), "nobody has anything of the window");
        picker.set_order(Order::Sequential, None);
        assert_eq!(next(&picker), Some(PieceIndex(1)));
    }
}
