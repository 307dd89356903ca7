//! Random few of many without looking at all of them. Never here: what is drawn.

use crate::rng::Rng;

/// Draws distinct numbers. Its memory serves every draw: nothing is allocated for one once the
/// largest swarm has been drawn from.
///
/// Invariant: between draws no bit of `marks` is set.
#[derive(Clone, Debug, Default)]
pub(super) struct Urn {
    drawn: Vec<u32>,
    /// A bit for each number.
    marks: Vec<u64>,
}

impl Urn {
    /// `want` distinct numbers below `count`, or all of them where there are fewer: every set of
    /// that size is equally likely, its order is not. Floyd's sampling, O(want) whatever `count` is.
    pub(super) fn draw(&mut self, rng: &mut Rng, want: usize, count: usize) -> &[u32] {
        let Self { drawn, marks } = self;
        drawn.clear();
        if want >= count {
            drawn.extend(0..u32::try_from(count).unwrap_or(u32::MAX));
            return drawn;
        }
        if marks.len() < count.div_ceil(64) {
            marks.resize(count.div_ceil(64), 0);
        }
        let marks = marks.as_mut_slice();
        drawn.extend((count - want..count).map(|last| {
            let number = rng.below(last + 1);
            let is_drawn = marks[number / 64] & bit(number) != 0;
            let number = if is_drawn { last } else { number };
            marks[number / 64] |= bit(number);
            u32::try_from(number).unwrap_or(u32::MAX)
        }));
        for &number in &*drawn {
            marks[number as usize / 64] = 0;
        }
        drawn
    }
}

fn bit(number: usize) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn draws_are_uniform_and_distinct() {
        let (mut urn, mut rng) = (Urn::default(), Rng::new(7));
        let mut hits = [0_u32; 10];
        for _ in 0..10_000 {
            let drawn: BTreeSet<u32> = urn.draw(&mut rng, 3, 10).iter().copied().collect();
            assert_eq!(drawn.len(), 3);
            drawn.into_iter().for_each(|number| hits[number as usize] += 1);
        }
        assert!(hits.iter().all(|&n| (2_700..3_300).contains(&n)), "{hits:?}");
    }

    #[test]
    fn every_set_is_equally_likely() {
        let (mut urn, mut rng) = (Urn::default(), Rng::new(7));
        let mut hits = std::collections::BTreeMap::<BTreeSet<u32>, u32>::new();
        for _ in 0..10_000 {
            let drawn = urn.draw(&mut rng, 2, 5).iter().copied().collect();
            *hits.entry(drawn).or_default() += 1;
        }
        assert_eq!(hits.len(), 10);
        assert!(hits.values().all(|n| (850..1_150).contains(n)), "{hits:?}");
    }

    #[test]
    fn a_draw_larger_than_the_swarm_gives_all() {
        let (mut urn, mut rng) = (Urn::default(), Rng::new(7));
        for (want, count) in [(9, 3), (3, 3), (usize::MAX, 3)] {
            assert_eq!(urn.draw(&mut rng, want, count), [0, 1, 2]);
        }
        assert_eq!(urn.draw(&mut rng, 0, 3), []);
        assert_eq!(urn.draw(&mut rng, 3, 0), []);
    }

    #[test]
    fn a_draw_knows_nothing_of_those_before() {
        let (mut urn, mut rng) = (Urn::default(), Rng::new(7));
        for count in [1000, 3, 200, 64, 65] {
            let drawn: BTreeSet<u32> = urn.draw(&mut rng, 63, count).iter().copied().collect();
            assert_eq!(drawn.len(), count.min(63));
            assert!(urn.marks.iter().all(|&word| word == 0));
        }
    }
}
