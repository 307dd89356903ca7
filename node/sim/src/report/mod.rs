//! What comes of runs, for a person and for a program: [`Report`] has a table, a document and a
//! picture, and says whether everything held. `stats` is a run in numbers, `summary` several of
//! them, `expect` judges one by its plan, `compare` says where policies differ; `words` and
//! `layout` make text of it. Pure: values and text come out. Never here: a clock, a file, a print.

pub mod compare;
pub mod expect;
pub mod metric;
pub mod spread;
pub mod stats;
pub mod summary;

mod json;
pub(crate) mod layout;
#[cfg(test)]
mod made_up;
mod picture;
mod table;
pub(crate) mod words;

pub use picture::curves;

use crate::{
    outcome::{Outcome, Violation},
    plan::Plan,
};

use self::{
    compare::{Comparison, compare},
    expect::{Judged, judge},
    stats::RunStats,
    summary::Summary,
};

/// Every run of a plan, by policy, judged and compared.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    plan: &'a Plan,
    policies: Vec<PolicyReport>,
    comparisons: Vec<Comparison>,
}

/// The runs of one policy.
#[derive(Clone, Debug)]
struct PolicyReport {
    name: String,
    /// As many as `runs`, in the same order.
    outcomes: Vec<Outcome>,
    runs: Vec<RunReport>,
    summary: Summary,
}

/// What is said of one run.
#[derive(Clone, Debug)]
struct RunReport {
    stats: RunStats,
    judged: Vec<Judged>,
    replay: String,
}

/// A run that did not hold.
#[derive(Clone, Copy, Debug)]
pub struct Broken<'a> {
    /// The policy.
    pub policy: &'a str,
    /// The seed.
    pub seed: u64,
    /// The first of what was not met, as [`Judged::what`].
    pub what: &'static str,
    /// What was violated, where something was.
    pub violation: Option<&'a Violation>,
    /// The command line that runs it again.
    pub replay: &'a str,
}

impl<'a> Report<'a> {
    /// Of these runs of a plan, by policy; where there are several, each is compared with the
    /// first. `replay` gives the command line that runs it again: one line, quoted for a shell.
    #[must_use]
    pub fn new(
        plan: &'a Plan,
        policies: Vec<(String, Vec<Outcome>)>,
        replay: impl Fn(&Outcome) -> String,
    ) -> Self {
        let policies: Vec<PolicyReport> = policies
            .into_iter()
            .map(|(name, outcomes)| PolicyReport::new(plan, name, outcomes, &replay))
            .collect();
        let comparisons = match policies.split_first() {
            Some((first, others)) => others
                .iter()
                .map(|it| compare((&first.name, &first.outcomes), (&it.name, &it.outcomes)))
                .collect(),
            None => Vec::new(),
        };
        Self { plan, policies, comparisons }
    }

    /// Whether every run held: no check was violated, and the plan's expectations were met.
    #[must_use]
    pub fn holds(&self) -> bool {
        let mut runs = self.policies.iter().flat_map(|policy| &policy.runs);
        runs.all(|run| expect::holds(&run.judged))
    }

    /// What a person reads: plain text, at most 80 columns. Only a command that replays a run may
    /// be longer: it is one line, to be copied and found.
    #[must_use]
    pub fn table(&self) -> String {
        table::table(self)
    }

    /// What a program reads. Names are stable; units are suffixes, `_s` seconds, `_bytes` bytes,
    /// `_copies` multiples of the content, `_part` a part of a whole. A time that never came, and
    /// what there was nothing to measure of, is null.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json::document(self)
    }

    /// The completion curves of all policies, as [`curves`] draws them.
    #[must_use]
    pub fn picture(&self) -> String {
        let policies: Vec<(&str, &[Outcome])> =
            self.policies.iter().map(|it| (it.name.as_str(), it.outcomes.as_slice())).collect();
        curves(&self.plan.name, &policies)
    }

    /// What the runs of each policy come to, in their order.
    pub fn summaries(&self) -> impl Iterator<Item = (&str, &Summary)> {
        self.policies.iter().map(|policy| (policy.name.as_str(), &policy.summary))
    }

    /// The runs that did not hold, policy by policy.
    pub fn broken(&self) -> impl Iterator<Item = Broken<'_>> {
        self.policies.iter().flat_map(PolicyReport::both).filter_map(|(outcome, run)| {
            let missed = run.judged.iter().find(|judged| !judged.holds)?;
            Some(Broken {
                policy: &outcome.policy,
                seed: outcome.seed,
                what: missed.what,
                violation: outcome.violation.as_ref(),
                replay: &run.replay,
            })
        })
    }

    /// The seeds of all runs, in order.
    fn seeds(&self) -> Vec<u64> {
        let outcomes = self.policies.iter().flat_map(|policy| &policy.outcomes);
        let mut seeds: Vec<u64> = outcomes.map(|outcome| outcome.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Pieces of the content.
    fn pieces(&self) -> u64 {
        self.plan.content_bytes.div_ceil(u64::from(self.plan.piece_len.max(1)))
    }
}

impl PolicyReport {
    fn new(
        plan: &Plan,
        name: String,
        outcomes: Vec<Outcome>,
        replay: impl Fn(&Outcome) -> String,
    ) -> Self {
        let run = |outcome: &Outcome| {
            let stats = RunStats::of(outcome);
            let judged = judge(outcome, &stats, &plan.expect);
            RunReport { stats, judged, replay: replay(outcome) }
        };
        let runs: Vec<RunReport> = outcomes.iter().map(run).collect();
        let ended = outcomes.iter().zip(&runs).filter(|(outcome, _)| outcome.violation.is_none());
        let summary = Summary::of(ended.map(|(_, run)| &run.stats));
        Self { name, outcomes, runs, summary }
    }

    /// The runs with what is said of each.
    fn both(&self) -> impl Iterator<Item = (&Outcome, &RunReport)> {
        self.outcomes.iter().zip(&self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Report,
        made_up::{outcome, plan, swarm, violation},
    };

    #[test]
    fn a_report_holds_where_every_run_of_every_policy_does() {
        let plan = plan();
        let holds = |outcomes: Vec<_>| {
            let good = ("good".to_owned(), vec![outcome(1, &[10])]);
            Report::new(&plan, vec![good, ("b".to_owned(), outcomes)], |_| String::new()).holds()
        };
        assert!(holds(vec![outcome(1, &[10, 20]), outcome(2, &[10, 20])]));
        let mut late = outcome(2, &[10, 20]);
        late.hosts[1].complete = None;
        assert!(!holds(vec![outcome(1, &[10, 20]), late]));
        let mut broken = outcome(2, &[10, 20]);
        broken.violation = Some(violation());
        assert!(!holds(vec![broken]));
    }

    #[test]
    fn the_same_runs_give_the_same_report() {
        let made = || {
            let (plan, policies) = swarm(9);
            let report = Report::new(&plan, policies, |it| format!("again {}", it.seed));
            (report.table(), report.json().to_string(), report.picture())
        };
        assert_eq!(made(), made());
    }
}
