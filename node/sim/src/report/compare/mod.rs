//! Where policies that ran on the same seeds differ beyond noise.
//!
//! The runs of two policies are paired by seed: the same population, arrivals and draws. Of times
//! and multiples the ratio of each pair counts, of indexes and parts the difference; said is the
//! median over pairs. Whether it is noise, the exact signed-rank test says (`signed_rank`), and
//! as several measures are looked at, Holm's step-down procedure: the smallest of `m` p-values must
//! be at most `LEVEL / m`, the next at most `LEVEL / (m - 1)`, and so on, so that a pair of equal
//! policies is called different in any measure at most once in twenty times. Source: Holm, "A
//! simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
//! 1979.
//!
//! Measures that are equal in every pair are not counted in `m`: which these are depends on the
//! magnitudes alone, that the test takes as given. With few pairs even unanimous ones could not
//! pass; then that is said, and no more. Several policies are each compared with the first: the
//! level is one pair's.
//!
//! Never here: a choice of measures after the fact ([`Metric::COMPARED`]).

mod signed_rank;
mod wording;

use std::collections::BTreeMap;

use crate::outcome::Outcome;

use super::{
    metric::{Metric, Unit},
    spread::Spread,
    stats::RunStats,
};

/// How seldom two equal policies may be called different.
pub const LEVEL: f64 = 0.05;
/// Pairs that are tested, at most: the test's cost grows with the third power.
pub const PAIRS_MAX: usize = 256;

/// A policy beside the first one.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The policy.
    pub policy: String,
    /// The one that it is compared with.
    pub baseline: String,
    /// The seeds that both ran with, to the end, in order; at most [`PAIRS_MAX`].
    pub seeds: Vec<u64>,
    /// Each of [`Metric::COMPARED`].
    pub metrics: Vec<Compared>,
}

/// One measure of two policies.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The measure.
    pub metric: Metric,
    /// How the policy's value relates to the baseline's in each pair: their ratio, of indexes and
    /// parts their difference. None, where no pair has both.
    pub effect: Option<Spread>,
    /// Pairs in which the policy's value is the lower one.
    pub lower: usize,
    /// Pairs in which it is the higher one.
    pub higher: usize,
    /// How likely so much or more is among equals, in this measure alone, two-sided.
    pub p: Option<f64>,
    /// The same, adjusted for the number of measures by Holm.
    pub p_holm: Option<f64>,
    /// What can be said.
    pub finding: Finding,
}

/// What can be said of two policies in one measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is nothing to measure.
    Unmeasured,
    /// They are equal in every pair.
    Equal,
    /// Even unanimous pairs would be too few. How many would do.
    TooFew(usize),
    /// They differ no more than equals do.
    Noise,
    /// The policy's value is lower.
    Lower,
    /// The policy's value is higher.
    Higher,
}

/// Compares a policy with a baseline, each with its runs. Runs are paired by seed; those that a
/// violation ended are left out.
#[must_use]
pub fn compare(
    (baseline, before): (&str, &[Outcome]),
    (policy, after): (&str, &[Outcome]),
) -> Comparison {
    let before = by_seed(before);
    let mut pairs = Vec::new();
    for (seed, stats) in by_seed(after) {
        if let Some(base) = before.get(&seed) {
            pairs.push((seed, base, stats));
        }
    }
    pairs.truncate(PAIRS_MAX);
    let mut metrics: Vec<Compared> = Metric::COMPARED
        .into_iter()
        .map(|metric| {
            let both =
                pairs.iter().filter_map(|(_, base, stats)| metric.of(base).zip(metric.of(stats)));
            Compared::of(metric, &both.collect::<Vec<_>>())
        })
        .collect();
    conclude(&mut metrics);
    Comparison {
        policy: policy.to_owned(),
        baseline: baseline.to_owned(),
        seeds: pairs.iter().map(|(seed, _, _)| *seed).collect(),
        metrics,
    }
}

/// The smallest number of pairs with which unanimous ones pass among so many measures.
#[must_use]
pub fn pairs_needed(measures: usize) -> usize {
    let mut pairs = 1;
    let mut least = 1.0;
    while least * measures as f64 > LEVEL {
        pairs += 1;
        least /= 2.0;
    }
    pairs
}

fn by_seed(runs: &[Outcome]) -> BTreeMap<u64, RunStats> {
    let ended = runs.iter().filter(|it| it.violation.is_none());
    ended.map(|outcome| (outcome.seed, RunStats::of(outcome))).collect()
}

impl Compared {
    /// Of pairs of the baseline's value and the policy's; what is beyond noise is still open.
    fn of(metric: Metric, pairs: &[(f64, f64)]) -> Self {
        let lower = pairs.iter().filter(|(base, value)| value < base).count();
        let higher = pairs.iter().filter(|(base, value)| value > base).count();
        let relation = |&(base, value): &(f64, f64)| match metric.unit() {
            Unit::Seconds | Unit::Copies => ratio(base, value),
            Unit::Hosts | Unit::Index | Unit::Part => value - base,
        };
        let effect = Spread::of(pairs.iter().map(relation));
        let magnitude = |&(base, value): &(f64, f64)| match metric.unit() {
            Unit::Seconds | Unit::Copies => ratio(base.min(value), base.max(value)),
            Unit::Hosts | Unit::Index | Unit::Part => (value - base).abs(),
        };
        let differing = pairs.iter().filter(|(base, value)| base != value);
        let signed: Vec<(f64, bool)> =
            differing.map(|pair| (magnitude(pair), pair.1 > pair.0)).collect();
        let p = (!signed.is_empty()).then(|| signed_rank::p_value(&signed));
        let finding = match effect {
            None => Finding::Unmeasured,
            Some(_) if p.is_none() => Finding::Equal,
            Some(_) => Finding::Noise,
        };
        Self { metric, effect, lower, higher, p, p_holm: None, finding }
    }

    /// Pairs that there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.effect.map_or(0, |it| it.count)
    }

    /// The median of ratios or differences where the policies are equal.
    fn neutral(&self) -> f64 {
        match self.metric.unit() {
            Unit::Seconds | Unit::Copies => 1.0,
            Unit::Hosts | Unit::Index | Unit::Part => 0.0,
        }
    }
}

/// Holm's procedure over the measures in which any pair differs.
fn conclude(metrics: &mut [Compared]) {
    let mut order: Vec<(f64, usize)> =
        metrics.iter().enumerate().filter_map(|(place, it)| Some((it.p?, place))).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let needed = pairs_needed(order.len());
    let mut before = 0.0_f64;
    for (rank, (p, place)) in order.iter().enumerate() {
        let adjusted = (p * (order.len() - rank) as f64).min(1.0).max(before);
        before = adjusted;
        let Some(compared) = metrics.get_mut(*place) else { continue };
        compared.p_holm = Some(adjusted);
        let median = compared.effect.map_or(f64::NAN, |it| it.median);
        compared.finding = if compared.pairs() < needed {
            Finding::TooFew(needed)
        } else if adjusted <= LEVEL && median < compared.neutral() {
            Finding::Lower
        } else if adjusted <= LEVEL && median > compared.neutral() {
            Finding::Higher
        } else {
            Finding::Noise
        };
    }
}

/// `value` in multiples of `base`; 1 where they are equal, even nothing or never.
fn ratio(base: f64, value: f64) -> f64 {
    if base == value { 1.0 } else { value / base }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up::{outcome, violation};

    /// Runs with seeds 1, 2, … in which two leechers took so long.
    fn runs(took: &[u64]) -> Vec<Outcome> {
        (1..).zip(took).map(|(seed, took)| outcome(seed, &[*took, *took])).collect()
    }

    fn find(comparison: &Comparison, metric: Metric) -> &Compared {
        comparison.metrics.iter().find(|it| it.metric == metric).unwrap()
    }

    #[test]
    fn unanimous_seeds_are_beyond_noise_and_what_never_differs_is_equal() {
        let base = runs(&[100, 110, 90, 105, 95, 101, 99, 104]);
        let fast = runs(&[88, 90, 80, 93, 84, 90, 86, 91]);
        let comparison = compare(("a", &base), ("b", &fast));
        assert_eq!(comparison.seeds, [1, 2, 3, 4, 5, 6, 7, 8]);
        let p50 = find(&comparison, Metric::P50);
        assert_eq!((p50.lower, p50.higher, p50.finding), (8, 0, Finding::Lower));
        assert_eq!(p50.p, Some(2.0 / 256.0));
        assert_eq!(p50.p_holm, Some(6.0 / 256.0), "three measures of time differ");
        assert!((p50.effect.unwrap().median - 0.883).abs() < 0.003);
        assert_eq!(find(&comparison, Metric::Jain).finding, Finding::Equal);
        let back = compare(("b", &fast), ("a", &base));
        assert_eq!(find(&back, Metric::P50).finding, Finding::Higher);
        assert_eq!(find(&back, Metric::P50).p, p50.p);
    }

    #[test]
    fn seeds_that_disagree_are_noise() {
        let base = runs(&[100, 110, 90, 105, 95, 101, 99, 104]);
        let other = runs(&[101, 108, 93, 101, 100, 95, 106, 96]);
        let p50 = find(&compare(("a", &base), ("b", &other)), Metric::P50).clone();
        assert_eq!((p50.lower, p50.higher, p50.finding), (4, 4, Finding::Noise));
        assert!(p50.p.unwrap() > 0.8, "{p50:?}");
    }

    #[test]
    fn few_seeds_cannot_tell() {
        assert_eq!([1, 2, 3, 5, 6, 7].map(pairs_needed), [6, 7, 7, 8, 8, 9]);
        for (count, expected) in
            [(1, Finding::TooFew(7)), (6, Finding::TooFew(7)), (7, Finding::Lower)]
        {
            let comparison =
                compare(("a", &runs(&vec![100; count])), ("b", &runs(&vec![50; count])));
            assert_eq!(find(&comparison, Metric::P50).finding, expected, "{count}");
        }
    }

    #[test]
    fn only_runs_with_the_same_seed_that_came_to_their_end_are_paired() {
        let (mut base, mut other) = (runs(&[100, 110, 120, 130]), runs(&[90, 100, 110, 120]));
        base[0].violation = Some(violation());
        other[2].seed = 77;
        other.reverse();
        let comparison = compare(("a", &base), ("b", &other));
        assert_eq!(comparison.seeds, [2, 4]);
        let many: Vec<Outcome> = (0..=PAIRS_MAX as u64).map(|it| outcome(it, &[it + 1])).collect();
        for (count, paired) in [(255, 255), (256, 256), (257, PAIRS_MAX)] {
            let comparison = compare(("a", &many[..count]), ("b", &many));
            assert_eq!(comparison.seeds.len(), paired);
        }
        let none = compare(("a", &base[..1]), ("b", &other));
        assert!(none.seeds.is_empty());
        assert!(none.metrics.iter().all(|it| it.finding == Finding::Unmeasured));
    }

    #[test]
    fn never_is_slower_than_any_time_and_as_slow_as_never() {
        let base = runs(&[100; 8]);
        let mut stuck = runs(&[90; 8]);
        for run in &mut stuck {
            run.hosts[2].complete = None;
        }
        let comparison = compare(("a", &base), ("b", &stuck));
        assert_eq!(find(&comparison, Metric::P50).finding, Finding::Lower);
        let max = find(&comparison, Metric::Max);
        assert_eq!((max.finding, max.effect.unwrap().median), (Finding::Higher, f64::INFINITY));
        let same = compare(("b", &stuck), ("c", &stuck));
        assert_eq!(find(&same, Metric::Max).finding, Finding::Equal);
    }

    #[test]
    fn many_measures_make_each_harder_to_call_different() {
        let differing = |p: f64| Compared {
            metric: Metric::P50,
            effect: Spread::of([0.5; 20]),
            lower: 20,
            higher: 0,
            p: Some(p),
            p_holm: None,
            finding: Finding::Noise,
        };
        let mut metrics = [0.03, 0.01, 0.04].map(differing);
        conclude(&mut metrics);
        let adjusted = metrics.clone().map(|it| (it.p_holm.unwrap() * 1e6).round() / 1e6);
        assert_eq!(adjusted, [0.06, 0.03, 0.06]);
        assert_eq!(metrics.map(|it| it.finding), [Finding::Noise, Finding::Lower, Finding::Noise]);
    }
}
