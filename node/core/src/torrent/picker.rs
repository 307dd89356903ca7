//! Which piece is begun next: every piece that nobody has begun, ordered so that neither a decision
//! nor the news that a peer has one more costs a scan of all pieces.

use super::ranked::Ranked;
use crate::{bitfield::Bitfield, ids::PieceIndex, policy::Order, rng::Rng};

/// Availability of every piece, and the pieces not begun in order.
///
/// Invariant: unless `stale`, `ranked` holds exactly the waiting pieces, each under its present rank;
/// in sequential order nobody looks at it.
#[derive(Debug)]
pub struct Picker {
    order: Order,
    /// Connected peers that have the piece, complete peers apart.
    partial: Vec<u16>,
    /// Connected peers that have every piece.
    complete: u32,
    /// All pieces, in a random order: those of one rank are in it when all are ranked anew.
    shuffled: Vec<u32>,
    waiting: Bitfield,
    ranked: Ranked,
    /// So many ranks changed at once that all are made anew before the next piece is begun.
    stale: bool,
    /// Rises with every piece that is put in: what nobody had may be had again.
    returned: u64,
    /// Only so many waiting pieces are looked at, the first in order of index.
    window: Option<u32>,
    /// No piece before this one waits.
    first: u32,
}

/// How many pieces of the order are looked at for one that a given set of peers has, before the
/// search goes by the peer's own bitfield.
const WALK_MAX: usize = 64;
/// Where more than one in so many waiting pieces change their rank at once, all are ranked anew:
/// that costs less a piece than moving it does.
const RANK_ALL_FROM: usize = 4;

impl Picker {
    /// A picker of `count` pieces, all waiting, in the default order.
    #[must_use]
    pub fn new(count: u32, rng: &mut Rng) -> Self {
        let mut shuffled = (0..count).collect::<Vec<_>>();
        for place in (1..shuffled.len()).rev() {
            shuffled.swap(place, rng.below(place + 1));
        }
        let mut picker = Self {
            order: Order::default(),
            partial: vec![0; count as usize],
            complete: 0,
            shuffled,
            waiting: Bitfield::full(count as usize),
            ranked: Ranked::new(count as usize, rng.fork()),
            stale: true,
            returned: 0,
            window: None,
            first: 0,
        };
        picker.settle();
        picker
    }

    /// Changes the order, and to how many of the first waiting pieces it is confined.
    pub fn set_order(&mut self, order: Order, window: Option<u32>) {
        if self.order != order {
            self.order = order;
            self.stale = true;
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
        self.waiting.count_ones() == 0
    }

    /// How many pieces were put in so far.
    #[must_use]
    pub fn returned(&self) -> u64 {
        self.returned
    }

    /// Ranks all pieces anew, where many changed their rank since: [`Self::next`] is quick
    /// afterwards.
    pub fn settle(&mut self) {
        if std::mem::take(&mut self.stale) && self.order != Order::Sequential {
            let (waiting, partial, order) = (&self.waiting, &self.partial, self.order);
            let pieces = self.shuffled.iter().copied();
            let pieces = pieces.filter(|&piece| waiting.get(PieceIndex(piece)));
            self.ranked.fill(pieces, |piece| rank(order, partial, PieceIndex(piece)));
        }
    }

    /// A piece waits to be begun again.
    pub fn insert(&mut self, piece: PieceIndex) {
        if self.waiting.set(piece) {
            if self.is_ranked() {
                self.ranked.insert(piece, self.rank(piece));
            }
            self.first = self.first.min(piece.0);
            self.returned += 1;
        }
    }

    /// A piece was begun, or is had.
    pub fn remove(&mut self, piece: PieceIndex) {
        if self.waiting.clear(piece) {
            if self.is_ranked() {
                self.ranked.remove(piece, self.rank(piece));
            }
            if piece.0 == self.first {
                self.first = self.first_waiting().map_or(self.first, |first| first.0);
            }
        }
    }

    /// A peer with these pieces connected.
    pub fn add_peer(&mut self, have: &Bitfield) {
        if have.is_full() && !have.is_empty() {
            self.complete += 1;
        } else {
            self.shift_all(have, true);
        }
    }

    /// A peer with these pieces left.
    pub fn remove_peer(&mut self, have: &Bitfield) {
        if have.is_full() && !have.is_empty() {
            self.complete -= 1;
        } else {
            self.shift_all(have, false);
        }
    }

    /// A connected peer got one more piece; `have` holds it already.
    pub fn add_piece(&mut self, piece: PieceIndex, have: &Bitfield) {
        if !have.is_full() {
            return self.shift(piece, true);
        }
        let mut others = have.clone();
        others.clear(piece);
        self.shift_all(&others, false);
        self.complete += 1;
    }

    /// The next waiting piece that one of `peers` has: the first in order within a bounded walk,
    /// else any that the first of the peers that has one lacks least.
    #[must_use]
    pub fn next(&self, peers: &[&Bitfield], rng: &mut Rng) -> Option<PieceIndex> {
        // Whoever has everything has the first in order; nobody else needs to be looked at.
        let whole = peers.iter().find(|have| have.is_full());
        let peers = whole.map_or(peers, std::slice::from_ref);
        let held = |piece| peers.iter().any(|have| have.get(piece));
        self.first_held(held).or_else(|| {
            let from = rng.below(self.partial.len());
            peers.iter().find_map(|have| self.any_of(have, from))
        })
    }

    /// The first waiting piece in order that somebody has, within a bounded walk.
    #[must_use]
    pub fn first_held(&self, held: impl Fn(PieceIndex) -> bool) -> Option<PieceIndex> {
        // Where nobody has anything of the window, the rest is better than nothing.
        let within = self.window.and_then(|window| self.next_in(window as usize, &held));
        if within.is_some() {
            return within;
        }
        if self.stale {
            // Only who looks without a change gets here: `settle` comes before every decision.
            let waiting = self.waiting.iter_ones().filter(|&piece| held(piece));
            return waiting.min_by_key(|&piece| self.key(piece));
        }
        if self.order == Order::Sequential {
            let mut walk = self.waiting.ones_from(PieceIndex(self.first)).take(WALK_MAX);
            return walk.find(|&piece| held(piece));
        }
        self.ranked.iter().take(WALK_MAX).find(|&piece| held(piece))
    }

    /// A waiting piece that a peer has, the first from an index on, round the end.
    #[must_use]
    pub fn any_of(&self, have: &Bitfield, from: usize) -> Option<PieceIndex> {
        have.first_common_missing(&self.waiting, from)
    }

    /// The first in order of the first so many waiting pieces, of those that somebody has.
    fn next_in(&self, window: usize, held: impl Fn(PieceIndex) -> bool) -> Option<PieceIndex> {
        let waiting = self.waiting.ones_from(PieceIndex(self.first)).take(window);
        waiting.filter(|&piece| held(piece)).min_by_key(|&piece| self.key(piece))
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
        let count = &mut self.partial[piece.0 as usize];
        let old = *count;
        *count = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
        let moved = *count != old;
        // Other orders do not ask how many have a piece.
        if moved && self.is_ranked() && self.order == Order::Rarest && self.waiting.get(piece) {
            match up {
                true => self.ranked.raise(piece, old.into()),
                false => self.ranked.lower(piece, old.into()),
            }
        }
    }

    fn shift_all(&mut self, pieces: &Bitfield, up: bool) {
        let many = pieces.count_ones() > self.waiting.count_ones() / RANK_ALL_FROM;
        self.stale |= many && self.order == Order::Rarest;
        pieces.iter_ones().for_each(|piece| self.shift(piece, up));
    }

    fn is_ranked(&self) -> bool {
        !self.stale && self.order != Order::Sequential
    }

    fn rank(&self, piece: PieceIndex) -> usize {
        rank(self.order, &self.partial, piece)
    }

    /// Where a waiting piece stands: the least is begun first.
    fn key(&self, piece: PieceIndex) -> (usize, u32) {
        let place = if self.is_ranked() { self.ranked.place(piece) } else { piece.0 };
        (self.rank(piece), place)
    }
}

fn rank(order: Order, partial: &[u16], piece: PieceIndex) -> usize {
    match order {
        Order::Rarest => partial[piece.0 as usize].into(),
        Order::Sequential | Order::Random => 0,
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
    fn ranks_made_anew_are_those_that_were_moved_one_by_one() {
        let mut rng = Rng::new(8);
        let mut picker = Picker::new(300, &mut Rng::new(9));
        let mut peers = Vec::new();
        for step in 0..400 {
            let piece = PieceIndex(rng.below(300) as u32);
            match step % 4 {
                0 => {
                    let some = (0..300).filter(|n| n % (2 + step % 60) == 0).collect::<Vec<_>>();
                    peers.push(field(300, &some));
                    picker.add_peer(peers.last().unwrap());
                }
                1 if peers.len() > 5 => picker.remove_peer(&peers.swap_remove(0)),
                2 => picker.remove(piece),
                _ => picker.insert(piece),
            }
            if step % 3 == 0 {
                picker.settle();
                if picker.order != Order::Sequential {
                    let all = picker.ranked.iter().collect::<Vec<_>>();
                    assert!(all.is_sorted_by_key(|&piece| picker.rank(piece)), "step {step}");
                    assert_eq!(all.len(), picker.waiting.count_ones(), "step {step}");
                }
                picker.set_order(Order::ALL[step as usize % Order::ALL.len()], None);
            }
            let count = |n| peers.iter().filter(|have| have.get(PieceIndex(n))).count();
            assert!((0..300).all(|n| picker.availability(PieceIndex(n)) as usize == count(n)));
            let have = Bitfield::full(300);
            let next = picker.next(&[&have], &mut Rng::new(1));
            let least = picker.waiting.iter_ones().min_by_key(|&piece| picker.key(piece));
            assert_eq!(next, least, "step {step}");
        }
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
