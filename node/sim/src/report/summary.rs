//! What several runs of one policy, with different seeds, come to. Never here: a single run
//! ([`super::stats`]).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    metric::Metric,
    spread::Spread,
    stats::{GroupStats, RunStats},
};

/// What several runs come to: of every measure the median over seeds, and the ends. Only runs that
/// came to their end are in it: a run that a violation ended says nothing about times.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How many runs are in it.
    pub runs: usize,
    /// Each of [`Metric::ALL`], where there was something to measure.
    pub metrics: BTreeMap<Metric, Spread>,
    /// Decisions by what came of them; in a run that has none of a kind they are 0.
    pub decisions: BTreeMap<&'static str, Spread>,
    /// Each class in each zone.
    pub groups: Vec<GroupSummary>,
}

/// The hosts of one class in one zone, over several seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSummary {
    /// The name of the class.
    pub class: Arc<str>,
    /// The name of the zone.
    pub zone: Arc<str>,
    /// How many came.
    pub hosts: Option<Spread>,
    /// Complete ones, as a part of those that should be.
    pub complete_part: Option<Spread>,
    /// Times, by [`Metric::P50`], `P90`, `P99` and `Max`.
    pub times: BTreeMap<Metric, Spread>,
    /// What a host sent, the mean, in multiples of the content.
    pub sent_copies: Option<Spread>,
}

impl Summary {
    /// Of these runs.
    #[must_use]
    pub fn of<'a>(runs: impl Iterator<Item = &'a RunStats>) -> Self {
        let runs: Vec<&RunStats> = runs.collect();
        let over = |value: &dyn Fn(&RunStats) -> Option<f64>| {
            Spread::of(runs.iter().filter_map(|stats| value(stats)))
        };
        let kinds = runs.iter().flat_map(|stats| stats.decisions.keys().copied());
        let decided = |kind: &'static str| {
            let count = |stats: &RunStats| stats.decisions.get(kind).copied().unwrap_or(0) as f64;
            Some((kind, over(&|stats| Some(count(stats)))?))
        };
        Self {
            runs: runs.len(),
            metrics: Metric::ALL
                .into_iter()
                .filter_map(|metric| Some((metric, over(&|stats| metric.of(stats))?)))
                .collect(),
            decisions: kinds.filter_map(decided).collect(),
            groups: groups(&runs),
        }
    }
}

impl GroupSummary {
    fn of(members: &[&GroupStats]) -> Option<Self> {
        let first = members.first()?;
        let over = |value: &dyn Fn(&GroupStats) -> Option<f64>| {
            Spread::of(members.iter().filter_map(|stats| value(stats)))
        };
        let times = [Metric::P50, Metric::P90, Metric::P99, Metric::Max];
        Some(Self {
            class: Arc::clone(&first.class),
            zone: Arc::clone(&first.zone),
            hosts: over(&|stats| Some(stats.hosts as f64)),
            complete_part: over(&|stats| stats.fared.complete_part()),
            times: times
                .into_iter()
                .filter_map(|metric| Some((metric, over(&|stats| metric.of_times(stats.times))?)))
                .collect(),
            sent_copies: over(&|stats| Some(stats.sent_copies)),
        })
    }
}

/// In the order in which they come first.
fn groups(runs: &[&RunStats]) -> Vec<GroupSummary> {
    let mut members: Vec<Vec<&GroupStats>> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for group in runs.iter().flat_map(|stats| &stats.groups) {
        let place = *places.entry((&group.class, &group.zone)).or_insert(members.len());
        match members.get_mut(place) {
            Some(same) => same.push(group),
            None => members.push(vec![group]),
        }
    }
    members.iter().filter_map(|same| GroupSummary::of(same)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up::outcome;

    #[test]
    fn medians_are_taken_over_seeds() {
        let mut runs = [outcome(1, &[10, 20]), outcome(2, &[11, 90]), outcome(3, &[14, 30])];
        runs[2].decisions.remove("rescued");
        runs[1].hosts[2].complete = None;
        let stats: Vec<RunStats> = runs.iter().map(RunStats::of).collect();
        let summary = Summary::of(stats.iter());
        let of = |metric| summary.metrics.get(&metric).map(|it| [it.min, it.median, it.max]);
        assert_eq!(summary.runs, 3);
        assert_eq!(of(Metric::P50), Some([10.0, 11.0, 14.0]));
        assert_eq!(of(Metric::Max), Some([20.0, 30.0, f64::INFINITY]));
        assert_eq!(of(Metric::Complete), Some([1.0, 2.0, 2.0]));
        assert_eq!(of(Metric::Banned), None);
        assert_eq!(summary.decisions.get("rescued").map(|it| it.min), Some(0.0));
        assert_eq!(summary.groups.len(), 2);
        assert_eq!(summary.groups[1].times.get(&Metric::P50).map(|it| it.median), Some(11.0));
        assert_eq!(summary.groups[0].times.get(&Metric::P50), None);
    }

    #[test]
    fn no_runs_come_to_nothing() {
        let summary = Summary::of([].into_iter());
        assert!(summary.metrics.is_empty() && summary.groups.is_empty());
    }
}
