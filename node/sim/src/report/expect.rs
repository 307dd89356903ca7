//! Whether a run came to what its plan expects. Never here: the checks of every step, which are the
//! kernel's.

use crate::{outcome::Outcome, plan::Expect};

use super::{
    metric::{Metric, Unit},
    stats::RunStats,
    words,
};

/// Something that was expected of a run, and what came.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What: `checks`, `complete_part`, or the key of a measure.
    pub what: &'static str,
    /// The same, as a person reads it.
    pub(crate) label: &'static str,
    /// What was expected of it: `at most 1m00s`.
    pub limit: String,
    /// What came.
    pub found: String,
    /// Whether that holds. What there was nothing to measure of does not.
    pub holds: bool,
    /// The limit, in the unit of the measure; none for `checks`.
    pub(crate) limit_value: Option<f64>,
    /// What came, where it was measured. A time that never came is infinite.
    pub(crate) found_value: Option<f64>,
    /// How bad it is, to find the worst of several runs: more is worse.
    pub(crate) badness: f64,
}

/// On which side of the limit a value has to be.
#[derive(Clone, Copy)]
enum Side {
    AtMost,
    AtLeast,
}

/// Judges a run. Of one that a violation ended only that is said: what else was expected, it had no
/// time for. Else the first two are always there: that no check was violated, and that as many are
/// complete as should be: all, where the plan does not say.
#[must_use]
pub fn judge(outcome: &Outcome, stats: &RunStats, expect: &Expect) -> Vec<Judged> {
    let violated = outcome.violation.as_ref();
    let mut judged = vec![Judged {
        what: "checks",
        label: "checks",
        limit: "none violated".to_owned(),
        found: violated.map_or_else(|| "none".to_owned(), |it| format!("{} violated", it.check)),
        holds: violated.is_none(),
        limit_value: None,
        found_value: None,
        badness: if violated.is_some() { f64::INFINITY } else { f64::NEG_INFINITY },
    }];
    if violated.is_some() {
        return judged;
    }
    judged.push(complete(stats, expect));
    let p99 = expect.p99_max.map(|limit| limit.as_secs_f64());
    let measures = [
        (Metric::P99, p99, Side::AtMost),
        (Metric::SeedCopies, expect.seed_copies_max, Side::AtMost),
        (Metric::Across, expect.across_max, Side::AtMost),
        (Metric::Jain, expect.jain_min, Side::AtLeast),
        (Metric::Waste, expect.waste_max, Side::AtMost),
        (Metric::Banned, expect.banned_min, Side::AtLeast),
        (Metric::UnchokeSpread, expect.unchoke_spread_max, Side::AtMost),
    ];
    judged.extend(measures.into_iter().filter_map(|(metric, limit, side)| {
        let names = (metric.key(), metric.label());
        Some(measure(names, metric.unit(), metric.of(stats), (side, limit?)))
    }));
    judged
}

/// Whether a run holds that was judged so.
#[must_use]
pub fn holds(judged: &[Judged]) -> bool {
    judged.iter().all(|it| it.holds)
}

fn complete(stats: &RunStats, expect: &Expect) -> Judged {
    let limit = expect.complete.unwrap_or(1.0);
    let part = stats.fared.complete_part();
    // Where nobody should be complete, everybody is who should.
    let names = ("complete_part", "complete");
    let judged = measure(names, Unit::Part, Some(part.unwrap_or(1.0)), (Side::AtLeast, limit));
    let (complete, expected) = (stats.fared.complete, stats.fared.expected());
    let found = format!("{} of {}", words::whole(complete), words::whole(expected));
    Judged { found, ..judged }
}

fn measure(
    (what, label): (&'static str, &'static str),
    unit: Unit,
    value: Option<f64>,
    (side, limit): (Side, f64),
) -> Judged {
    let (word, sign) = match side {
        Side::AtMost => ("at most", 1.0),
        Side::AtLeast => ("at least", -1.0),
    };
    let holds = value.is_some_and(|value| match side {
        Side::AtMost => value <= limit,
        Side::AtLeast => value >= limit,
    });
    let found = match value {
        None => "nothing to measure".to_owned(),
        Some(value) if !holds && unit.show(value) == unit.show(limit) => match side {
            Side::AtMost => format!("just above ({value:e})"),
            Side::AtLeast => format!("just below ({value:e})"),
        },
        Some(value) => unit.show(value),
    };
    Judged {
        what,
        label,
        limit: format!("{word} {}", unit.show(limit)),
        found,
        holds,
        limit_value: Some(limit),
        found_value: value,
        badness: value.map_or(f64::INFINITY, |value| sign * value),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::made_up::{outcome, violation};

    fn run(outcome: &Outcome, expect: &Expect) -> Vec<Judged> {
        judge(outcome, &RunStats::of(outcome), expect)
    }

    /// What was judged, and whether it holds.
    fn seen(judged: &[Judged]) -> Vec<(&str, &str, bool)> {
        judged.iter().map(|it| (it.what, it.found.as_str(), it.holds)).collect()
    }

    #[test]
    fn all_must_be_complete_where_the_plan_does_not_say() {
        let mut made = outcome(1, &[10, 20, 30, 40]);
        assert!(holds(&run(&made, &Expect::default())));
        made.hosts[4].complete = None;
        let judged = run(&made, &Expect::default());
        assert_eq!(seen(&judged), [("checks", "none", true), ("complete_part", "3 of 4", false)]);
        assert!(holds(&run(&made, &Expect { complete: Some(0.75), ..Expect::default() })));
        assert!(!holds(&run(&made, &Expect { complete: Some(0.76), ..Expect::default() })));
        made.hosts[4].left = Some(Duration::from_secs(5));
        assert!(holds(&run(&made, &Expect::default())));
    }

    #[test]
    fn each_limit_holds_at_it_and_not_beyond() {
        let mut made = outcome(1, &[10, 20, 30, 40]);
        made.hosts[0].unchoke_spread = Some(0.5);
        made.hosts.push(crate::outcome::HostOutcome {
            honest: false,
            banned_by: 1,
            downloaded_bytes: 0,
            ..crate::report::made_up::host("liar", None, 0)
        });
        let just = Expect {
            complete: Some(1.0),
            p99_max: Some(Duration::from_secs(40)),
            seed_copies_max: Some(1.5),
            across_max: Some(0.5),
            jain_min: Some(100.0 / 120.0),
            waste_max: Some(0.025),
            banned_min: Some(1.0),
            unchoke_spread_max: Some(0.5),
        };
        assert!(holds(&run(&made, &just)), "{:?}", run(&made, &just));
        let beyond = Expect {
            complete: Some(1.01),
            p99_max: Some(Duration::from_millis(39_999)),
            seed_copies_max: Some(1.499),
            across_max: Some(0.499),
            jain_min: Some(0.834),
            waste_max: Some(0.0249),
            banned_min: Some(1.01),
            unchoke_spread_max: Some(0.499),
        };
        let judged = run(&made, &beyond);
        assert_eq!(judged.len(), 9);
        assert!(judged.iter().skip(1).all(|it| !it.holds), "{judged:?}");
    }

    #[test]
    fn what_cannot_be_measured_does_not_hold() {
        let expect = Expect {
            p99_max: Some(Duration::from_secs(1)),
            jain_min: Some(0.0),
            banned_min: Some(0.0),
            unchoke_spread_max: Some(9.0),
            ..Expect::default()
        };
        let judged = run(&outcome(1, &[]), &expect);
        assert!(judged[1].holds, "nobody should be complete");
        assert!(judged[2..].iter().all(|it| !it.holds && it.found == "nothing to measure"));
        assert_eq!(judged.len(), 6);
    }

    #[test]
    fn a_violation_is_all_that_is_said() {
        let mut made = outcome(1, &[10]);
        made.violation = Some(violation());
        let judged = run(&made, &Expect { jain_min: Some(2.0), ..Expect::default() });
        assert_eq!(seen(&judged), [("checks", "one_lease violated", false)]);
    }

    #[test]
    fn what_rounds_to_its_limit_says_that_it_is_beyond() {
        let made = outcome(1, &[60]);
        let expect = Expect { p99_max: Some(Duration::from_millis(59_999)), ..Expect::default() };
        let judged = run(&made, &expect);
        assert_eq!((judged[2].limit.as_str(), judged[2].holds), ("at most 60.0 s", false));
        let expect = Expect { seed_copies_max: Some(1.499_99), ..Expect::default() };
        let judged = run(&made, &expect);
        assert_eq!(judged[2].found, "just above (1.5e0)");
    }
}
