//! What a program reads of a report: one document an invocation, with stable names and units as
//! suffixes. Hosts are columns and rows, for a swarm has thousands. Never here: what the numbers
//! are.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use crate::outcome::{HostOutcome, Outcome, Violation};

use super::{
    PolicyReport, Report, RunReport,
    compare::{Compared, Comparison, Finding},
    expect::{self, Judged},
    metric::{Metric, Unit},
    spread::Spread,
    stats::{Fared, GroupStats, RunStats, Times},
    summary::{GroupSummary, Summary},
};

/// The whole.
pub(super) fn document(report: &Report<'_>) -> Value {
    let plan = report.plan;
    json!({
        "plan": {
            "name": plan.name,
            "description": plan.description,
            "content_bytes": plan.content_bytes,
            "piece_len_bytes": plan.piece_len,
            "pieces": report.pieces(),
            "hosts": plan.classes.iter().map(|it| u64::from(it.count)).sum::<u64>(),
            "zones": plan.zones.iter().map(|it| &*it.name).collect::<Vec<_>>(),
            "limit_s": plan.limit.as_secs_f64(),
        },
        "seeds": report.seeds(),
        "holds": report.holds(),
        "policies": report.policies.iter().map(policy).collect::<Vec<_>>(),
        "comparison": report.comparisons.iter().map(comparison).collect::<Vec<_>>(),
    })
}

fn policy(policy: &PolicyReport) -> Value {
    json!({
        "policy": policy.name,
        "runs": policy.both().map(|(outcome, it)| run(outcome, it)).collect::<Vec<_>>(),
        "summary": summary(&policy.summary),
    })
}

fn run(outcome: &Outcome, run: &RunReport) -> Value {
    json!({
        "seed": outcome.seed,
        "digest": outcome.digest,
        "ended_s": outcome.ended.as_secs_f64(),
        "facts": outcome.facts,
        "holds": expect::holds(&run.judged),
        "stats": stats(&run.stats),
        "expectations": run.judged.iter().map(judged).collect::<Vec<_>>(),
        "checks": outcome.checks,
        "checked": outcome.checked,
        "violation": outcome.violation.as_ref().map(violation),
        "replay": run.replay,
        "hosts": hosts(&outcome.hosts),
    })
}

fn stats(stats: &RunStats) -> Value {
    let value = |metric: Metric| match metric.unit() {
        Unit::Hosts => json!(metric.of(stats).map(|hosts| hosts as u64)),
        Unit::Seconds | Unit::Copies | Unit::Index | Unit::Part => json!(metric.of(stats)),
    };
    let mut object: Map<String, Value> =
        Metric::ALL.into_iter().map(|it| (it.key().to_owned(), value(it))).collect();
    object.insert("decisions".to_owned(), json!(stats.decisions));
    object.insert("classes".to_owned(), stats.groups.iter().map(group).collect());
    Value::Object(object)
}

fn group(group: &GroupStats) -> Value {
    let Fared { complete, incomplete, left_early } = group.fared;
    let time = |metric: Metric| group.times.and_then(|times: Times| metric.of_times(Some(times)));
    json!({
        "class": &*group.class,
        "zone": &*group.zone,
        "hosts": group.hosts,
        "complete": complete,
        "incomplete": incomplete,
        "left_early": left_early,
        "p50_s": time(Metric::P50),
        "p90_s": time(Metric::P90),
        "p99_s": time(Metric::P99),
        "max_s": time(Metric::Max),
        "sent_copies": group.sent_copies,
    })
}

fn judged(judged: &Judged) -> Value {
    json!({
        "what": judged.what,
        "limit": judged.limit,
        "found": judged.found,
        "limit_value": judged.limit_value,
        "found_value": judged.found_value,
        "holds": judged.holds,
    })
}

fn violation(violation: &Violation) -> Value {
    json!({
        "at_s": violation.at.as_secs_f64(),
        "at_us": u64::try_from(violation.at.as_micros()).unwrap_or(u64::MAX),
        "host": violation.host,
        "check": violation.check,
        "detail": violation.detail,
    })
}

fn hosts(hosts: &[HostOutcome]) -> Value {
    let seconds = |time: Option<Duration>| time.as_ref().map(Duration::as_secs_f64);
    let row = |host: &HostOutcome| {
        json!([
            &*host.class,
            &*host.zone,
            host.honest,
            host.seed,
            host.came.as_secs_f64(),
            seconds(host.complete),
            seconds(host.left),
            host.uploaded_bytes,
            host.downloaded_bytes,
            host.wasted_bytes,
            host.banned_by,
            host.unchoke_spread,
        ])
    };
    json!({ "columns": HOST_COLUMNS, "rows": hosts.iter().map(row).collect::<Vec<_>>() })
}

/// The cells of a host's row, in their order.
const HOST_COLUMNS: [&str; 12] = [
    "class",
    "zone",
    "honest",
    "seed",
    "came_s",
    "complete_s",
    "left_s",
    "uploaded_bytes",
    "downloaded_bytes",
    "wasted_bytes",
    "banned_by",
    "unchoke_spread_part",
];

fn summary(summary: &Summary) -> Value {
    let mut object: Map<String, Value> = Metric::ALL
        .into_iter()
        .map(|it| (it.key().to_owned(), spread(summary.metrics.get(&it).copied())))
        .collect();
    let decisions: BTreeMap<&str, Value> =
        summary.decisions.iter().map(|(kind, it)| (*kind, spread(Some(*it)))).collect();
    object.insert("runs".to_owned(), json!(summary.runs));
    object.insert("decisions".to_owned(), json!(decisions));
    object.insert("classes".to_owned(), summary.groups.iter().map(group_summary).collect());
    Value::Object(object)
}

fn group_summary(group: &GroupSummary) -> Value {
    let time = |metric: Metric| spread(group.times.get(&metric).copied());
    json!({
        "class": &*group.class,
        "zone": &*group.zone,
        "hosts": spread(group.hosts),
        "complete_part": spread(group.complete_part),
        "p50_s": time(Metric::P50),
        "p90_s": time(Metric::P90),
        "p99_s": time(Metric::P99),
        "max_s": time(Metric::Max),
        "sent_copies": spread(group.sent_copies),
    })
}

fn spread(spread: Option<Spread>) -> Value {
    spread.map_or(
        Value::Null,
        |it| json!({ "median": it.median, "min": it.min, "max": it.max, "count": it.count }),
    )
}

fn comparison(comparison: &Comparison) -> Value {
    json!({
        "policy": comparison.policy,
        "baseline": comparison.baseline,
        "seeds": comparison.seeds,
        "metrics": comparison.metrics.iter().map(compared).collect::<Vec<_>>(),
    })
}

fn compared(compared: &Compared) -> Value {
    let (finding, needed) = match compared.finding {
        Finding::Unmeasured => ("unmeasured", None),
        Finding::Equal => ("equal", None),
        Finding::TooFew(needed) => ("too_few_seeds", Some(needed)),
        Finding::Noise => ("noise", None),
        Finding::Lower => ("lower", None),
        Finding::Higher => ("higher", None),
    };
    json!({
        "metric": compared.metric.key(),
        "effect_kind": compared.effect_kind(),
        "effect": spread(compared.effect),
        "less_is_better": compared.metric.less_is_better(),
        "lower": compared.lower,
        "higher": compared.higher,
        "p_value": compared.p,
        "p_value_holm": compared.p_holm,
        "finding": finding,
        "seeds_needed": needed,
        "words": compared.words(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up::{outcome, plan, swarm, violation};

    fn parsed(report: &Report<'_>) -> Value {
        serde_json::from_str(&report.json().to_string()).unwrap()
    }

    #[test]
    fn a_program_finds_every_number_by_its_name() {
        let mut run = outcome(7, &[10, 20, 30, 40]);
        run.hosts[4].complete = None;
        let plan = plan();
        let report = Report::new(&plan, vec![("p".to_owned(), vec![run])], |_| "again".to_owned());
        let document = parsed(&report);
        let check = |pointer: &str, expected: Value| {
            assert_eq!(document.pointer(pointer), Some(&expected), "{pointer} in {document:#}");
        };
        check("/plan/name", json!("made_up"));
        check("/plan/pieces", json!(40));
        check("/seeds", json!([7]));
        check("/holds", json!(false));
        check("/comparison", json!([]));
        check("/policies/0/policy", json!("p"));
        check("/policies/0/runs/0/digest", json!("00000000000000000000000000000007"));
        check("/policies/0/runs/0/replay", json!("again"));
        check("/policies/0/runs/0/stats/complete", json!(3));
        check("/policies/0/runs/0/stats/p50_s", json!(20.0));
        check("/policies/0/runs/0/stats/p99_s", Value::Null);
        check("/policies/0/runs/0/stats/seed_copies", json!(1.5));
        check("/policies/0/runs/0/stats/banned_part", Value::Null);
        check("/policies/0/runs/0/stats/decisions/native", json!(1200));
        check("/policies/0/runs/0/stats/classes/1/incomplete", json!(1));
        check("/policies/0/runs/0/expectations/1/what", json!("complete_part"));
        check("/policies/0/runs/0/expectations/1/found", json!("3 of 4"));
        check("/policies/0/runs/0/expectations/1/found_value", json!(0.75));
        check("/policies/0/runs/0/violation", Value::Null);
        check("/policies/0/summary/p50_s/median", json!(20.0));
        check("/policies/0/summary/max_s/median", Value::Null);
        check("/policies/0/runs/0/hosts/rows/1/5", json!(10.0));
        check("/policies/0/runs/0/hosts/rows/4/5", Value::Null);
        let rows = document.pointer("/policies/0/runs/0/hosts/rows").and_then(Value::as_array);
        assert!(rows.unwrap().iter().all(|it| it.as_array().unwrap().len() == HOST_COLUMNS.len()));
    }

    #[test]
    fn violations_and_comparisons_are_told() {
        let (plan, mut policies) = swarm(9);
        policies[1].1[8].violation = Some(violation());
        let document = parsed(&Report::new(&plan, policies, |_| String::new()));
        let check = |pointer: &str, expected: Value| {
            assert_eq!(document.pointer(pointer), Some(&expected), "{pointer}");
        };
        check("/policies/1/runs/8/violation/check", json!("one_lease"));
        check("/policies/1/runs/8/violation/at_us", json!(12_345_678));
        check("/policies/1/summary/runs", json!(8));
        check("/comparison/0/baseline", json!("native:lowest_uploaded"));
        check("/comparison/0/seeds", json!([1, 2, 3, 4, 5, 6, 7, 8]));
        check("/comparison/0/metrics/0/metric", json!("p50_s"));
        check("/comparison/0/metrics/0/finding", json!("lower"));
        check("/comparison/0/metrics/0/effect_kind", json!("ratio"));
    }
}
