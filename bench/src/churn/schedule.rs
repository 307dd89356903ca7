//! Who comes when and who leaves before it is done: drawn from a seed, so that every run has the
//! same. Never here: a clock.

use std::time::Duration;

/// A leecher to come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Arrival {
    /// When, from the start. Where the swarm is full it comes once somebody left.
    pub(super) at: Duration,
    /// The part of the file with which it leaves, as by a crash; none: it stays until it has all.
    pub(super) leaves_at: Option<f64>,
}

/// What is drawn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Draw {
    /// Leechers in all.
    pub(super) count: usize,
    /// The time over which they come, the mean: the first at once, then at the intervals of a
    /// Poisson process.
    pub(super) within: Duration,
    /// How likely each is to leave early.
    pub(super) leave_probability: f64,
    /// Where it begins.
    pub(super) seed: u64,
}

/// The part of the file with which one leaves that leaves early.
const LEAVES_FROM: f64 = 0.1;
const LEAVES_TO: f64 = 0.9;

/// Draws it all, by time.
pub(super) fn draw(draw: Draw) -> Vec<Arrival> {
    let mut rng = fastrand::Rng::with_seed(draw.seed);
    let mean_s = draw.within.as_secs_f64() / draw.count.saturating_sub(1).max(1) as f64;
    let mut at_s = 0.0;
    let arrival = |index: usize| {
        if index > 0 {
            // 1 - f64() is never 0.
            at_s -= mean_s * (1.0 - rng.f64()).ln();
        }
        // Both are drawn for all, so that another probability does not change who comes when.
        let (leaves, part) = (rng.f64() < draw.leave_probability, rng.f64());
        let leaves_at = leaves.then_some(LEAVES_FROM + part * (LEAVES_TO - LEAVES_FROM));
        Arrival { at: Duration::from_secs_f64(at_s), leaves_at }
    };
    (0..draw.count).map(arrival).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAW: Draw =
        Draw { count: 1000, within: Duration::from_secs(500), leave_probability: 0.25, seed: 1 };

    #[test]
    fn a_seed_gives_one_schedule_in_order_and_of_the_length_asked_for() {
        let drawn = draw(DRAW);
        assert_eq!(drawn, draw(DRAW));
        assert_ne!(drawn, draw(Draw { seed: 2, ..DRAW }));
        assert_eq!(drawn[0].at, Duration::ZERO);
        assert!(drawn.is_sorted_by_key(|arrival| arrival.at));
        let last_s = drawn[999].at.as_secs_f64();
        assert!((400.0..600.0).contains(&last_s), "{last_s}");
    }

    #[test]
    fn as_many_leave_early_as_is_likely() {
        let drawn = draw(DRAW);
        let parts: Vec<f64> = drawn.iter().filter_map(|arrival| arrival.leaves_at).collect();
        assert!((200..300).contains(&parts.len()), "{}", parts.len());
        assert!(parts.iter().all(|part| (LEAVES_FROM..LEAVES_TO).contains(part)));
        let never = draw(Draw { leave_probability: 0.0, ..DRAW });
        assert!(never.iter().all(|arrival| arrival.leaves_at.is_none()));
        assert!(never.iter().map(|it| it.at).eq(drawn.iter().map(|it| it.at)));
    }
}
