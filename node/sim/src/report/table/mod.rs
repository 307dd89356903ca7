//! What a person reads of a report, within 80 columns. Never here: what the numbers are.

mod comparison;
mod verdicts;

use crate::plan::Class;

use super::{
    PolicyReport, Report,
    layout::{Align, clean, fit, fit_end, labelled, rows},
    metric::Metric,
    spread::Spread,
    summary::GroupSummary,
    words,
};

/// Rows of classes, at most; a plan may have thousands.
const GROUPS_MAX: usize = 24;
/// Digests, at most; the document has all.
const DIGESTS_MAX: usize = 8;
/// Columns of the name of a policy in a heading.
const POLICY_MAX: usize = 60;
/// Columns of the name of a class and its zone.
const GROUP_MAX: usize = 24;

/// The whole.
pub(super) fn table(report: &Report<'_>) -> String {
    let mut page = heading(report);
    for policy in &report.policies {
        page.push('\n');
        page.push_str(&section(report, policy));
    }
    for comparison in &report.comparisons {
        page.push('\n');
        page.push_str(&comparison::section(comparison));
    }
    page
}

fn heading(report: &Report<'_>) -> String {
    let plan = report.plan;
    let content = format!(
        "{} in {} of {}",
        words::bytes(plan.content_bytes),
        words::many(report.pieces(), "piece"),
        words::bytes(u64::from(plan.piece_len)),
    );
    let mut page = format!("{}\n", fit(&clean(&plan.name), super::layout::WIDTH));
    if !plan.description.is_empty() {
        page.push_str(&labelled("about", &plan.description));
    }
    page.push_str(&labelled("hosts", &hosts(&plan.classes)));
    page.push_str(&labelled("content", &content));
    page.push_str(&labelled("seeds", &words::seeds(&report.seeds())));
    page
}

/// `105: 1 seed, 100 leechers, 4 adversaries`.
fn hosts(classes: &[Class]) -> String {
    let count = |which: &dyn Fn(&Class) -> bool| {
        classes.iter().filter(|it| which(it)).map(|it| u64::from(it.count)).sum::<u64>()
    };
    let honest = |class: &Class| class.conduct.is_honest();
    let kinds = [
        (count(&|it| honest(it) && it.has >= 1.0), "seed"),
        (count(&|it| honest(it) && it.has < 1.0), "leecher"),
        (count(&|it| !honest(it)), "adversary"),
    ];
    let said = |(number, noun): (u64, &str)| match (number, noun) {
        (0, _) => None,
        (2.., "adversary") => Some(format!("{} adversaries", words::whole(number))),
        (_, _) => Some(words::many(number, noun)),
    };
    let said: Vec<String> = kinds.into_iter().filter_map(said).collect();
    format!("{}: {}", words::whole(count(&|_| true)), said.join(", "))
}

fn section(report: &Report<'_>, policy: &PolicyReport) -> String {
    let mut page = format!("policy {}\n", fit_end(&clean(&policy.name), POLICY_MAX));
    let (all, ended) = (policy.runs.len(), policy.summary.runs);
    if ended < all {
        let said = format!("{ended} of {all} runs came to their end; numbers are of these");
        page.push_str(&labelled("runs", &said));
    }
    if ended > 0 {
        page.push_str(&measures(report, policy));
        if report.plan.classes.len() > 1 {
            page.push('\n');
            page.push_str(&groups(policy, Zones::of(report)));
        }
        page.push('\n');
        page.push_str(&decisions(policy));
    }
    page.push_str(&checks(policy));
    page.push_str(&digests(policy));
    page.push('\n');
    page.push_str(&verdicts::expectations(policy));
    page.push_str(&verdicts::violations(report, policy));
    page
}

/// One row a measure: its value, or over several seeds the median and the ends.
fn measures(report: &Report<'_>, policy: &PolicyReport) -> String {
    let several = policy.summary.runs > 1;
    let mut lines = Vec::new();
    if several {
        lines.push(["", "median", "least", "most"].map(str::to_owned).to_vec());
    }
    for (metric, spread) in &policy.summary.metrics {
        let telling = match metric {
            Metric::Incomplete | Metric::LeftEarly => spread.max > 0.0,
            Metric::Across => report.plan.zones.len() > 1,
            Metric::Complete
            | Metric::P50
            | Metric::P90
            | Metric::P99
            | Metric::Max
            | Metric::SeedCopies
            | Metric::Jain
            | Metric::Waste
            | Metric::Banned
            | Metric::UnchokeSpread => true,
        };
        if telling {
            let show = |value: f64| metric.unit().show(value);
            let mut line = vec![metric.label().to_owned(), show(spread.median)];
            if several {
                line.extend([show(spread.min), show(spread.max)]);
            }
            lines.push(line);
        }
    }
    let align = [Align::Left, Align::Right, Align::Right, Align::Right];
    rows(&lines, &align[..if several { 4 } else { 2 }])
}

/// Whether the zone of a class is worth a word.
#[derive(Clone, Copy)]
enum Zones {
    One,
    Several,
}

impl Zones {
    fn of(report: &Report<'_>) -> Self {
        if report.plan.zones.len() > 1 { Self::Several } else { Self::One }
    }
}

/// One row a class, and a zone where there are several: medians over seeds.
fn groups(policy: &PolicyReport, zones: Zones) -> String {
    let titles = ["class", "hosts", "complete", "p50", "p99", "last", "sent each"];
    let mut lines = vec![titles.map(str::to_owned).to_vec()];
    let groups = &policy.summary.groups;
    lines.extend(groups.iter().take(GROUPS_MAX).map(|it| group(it, zones)));
    let mut align = [Align::Right; 7];
    align[0] = Align::Left;
    let mut page = rows(&lines, &align);
    if groups.len() > GROUPS_MAX {
        page.push_str(&labelled("…", &format!("and {} more", groups.len() - GROUPS_MAX)));
    }
    page
}

fn group(group: &GroupSummary, zones: Zones) -> Vec<String> {
    let median = |spread: Option<Spread>, show: &dyn Fn(f64) -> String| {
        spread.map_or_else(|| words::NONE.to_owned(), |it| show(it.median))
    };
    let time = |metric: Metric| median(group.times.get(&metric).copied(), &words::seconds);
    let name = match zones {
        Zones::One => clean(&group.class),
        Zones::Several => clean(&format!("{} in {}", group.class, group.zone)),
    };
    vec![
        fit(&name, GROUP_MAX),
        median(group.hosts, &words::count),
        median(group.complete_part, &words::percent),
        time(Metric::P50),
        time(Metric::P99),
        time(Metric::Max),
        median(group.sent_copies, &words::copies),
    ]
}

fn decisions(policy: &PolicyReport) -> String {
    let said: Vec<String> = policy
        .summary
        .decisions
        .iter()
        .map(|(kind, spread)| format!("{} {kind}", words::count(spread.median)))
        .collect();
    let said = if said.is_empty() { "none".to_owned() } else { said.join(", ") };
    labelled("decisions", &said)
}

/// The checks that were on in any run, and how many times anything was checked in all.
fn checks(policy: &PolicyReport) -> String {
    let mut on: Vec<&str> = policy.outcomes.iter().flat_map(|it| it.checks.clone()).collect();
    on.sort_unstable();
    on.dedup();
    if on.is_empty() {
        return labelled("checks", "none were on");
    }
    let times = policy.outcomes.iter().fold(0_u64, |sum, it| sum.saturating_add(it.checked));
    labelled("checks", &format!("{} times: {}", words::whole(times), on.join(", ")))
}

fn digests(policy: &PolicyReport) -> String {
    let mut page = String::new();
    let several = policy.outcomes.len() > 1;
    for (place, outcome) in policy.outcomes.iter().take(DIGESTS_MAX).enumerate() {
        let label = if place == 0 { "digest" } else { "" };
        let seed = if several { format!("  seed {}", outcome.seed) } else { String::new() };
        page.push_str(&labelled(label, &format!("{}{seed}", outcome.digest)));
    }
    if policy.outcomes.len() > DIGESTS_MAX {
        let rest = policy.outcomes.len() - DIGESTS_MAX;
        page.push_str(&labelled("", &format!("and {rest} more, in the JSON document")));
    }
    page
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::{
        outcome::Outcome,
        plan::Plan,
        report::{
            layout::WIDTH,
            made_up::{outcome, plan, swarm, violation},
        },
    };

    const REPLAY: &str = "shoald sim made_up --policy native:fastest --seed";

    fn page(plan: &Plan, policies: Vec<(String, Vec<Outcome>)>) -> String {
        Report::new(plan, policies, |outcome| format!("{REPLAY} {}", outcome.seed)).table()
    }

    fn one(outcomes: Vec<Outcome>) -> Vec<(String, Vec<Outcome>)> {
        vec![("native:fastest".to_owned(), outcomes)]
    }

    fn assert_narrow(page: &str) {
        for line in page.lines().filter(|line| !line.contains(REPLAY)) {
            assert!(line.width() <= WIDTH, "{} columns: {line}", line.width());
            assert_eq!(line, line.trim_end());
        }
    }

    #[test]
    fn one_run_is_told_in_whole() {
        let page = page(&plan(), one(vec![outcome(7, &[10, 20, 30, 40])]));
        let expected = "\
made_up
  about      A seed and a few leechers, all at once
  hosts      5: 1 seed, 4 leechers
  content    10.0 MiB in 40 pieces of 256.0 KiB
  seeds      7

policy native:fastest
  complete              4
  time, p50        20.0 s
  time, p90        40.0 s
  time, p99        40.0 s
  time, last       40.0 s
  seeds sent        1.50×
  fairness (Jain)   0.833
  waste             2.50%

  class    hosts  complete     p50     p99    last  sent each
  seed         1         -       -       -       -      1.50×
  leecher      4      100%  20.0 s  40.0 s  40.0 s     0.250×

  decisions  1 200 native, 3 rescued
  checks     987 654 times: counters, deadlines_forward, one_lease, one_state
  digest     00000000000000000000000000000007

  expected                 found
  checks    none violated  none    ok
  complete  at least 100%  4 of 4  ok
";
        assert_eq!(page, expected, "\n{page}");
    }

    #[test]
    fn several_seeds_and_policies_are_summed_up_and_compared() {
        let (plan, mut policies) = swarm(9);
        policies[0].1[2].hosts[9].complete = None;
        let page = page(&plan, policies);
        assert_narrow(&page);
        for text in [
            "  seeds      1 to 9",
            "median",
            "leecher in far",
            "NOT MET with 1 of 9 seeds",
            "39 of 40",
            "  not met with seed 3, again by\n    shoald sim made_up",
            "scripts/two_choices.lua against native:lowest_uploaded, 9 seeds in both",
            "faster",
            "9 of 9 ",
            "equal",
            "Holm over",
        ] {
            assert!(page.contains(text), "{text} is not in\n{page}");
        }
    }

    #[test]
    fn a_violation_says_everything_and_how_to_see_it_again() {
        let mut bad = outcome(2, &[10, 20]);
        bad.violation = Some(violation());
        let page = page(&plan(), one(vec![outcome(1, &[10, 20]), bad]));
        assert_narrow(&page);
        let expected = "
VIOLATED one_lease
  seed       2
  plan       made_up
  policy     native:fastest
  at         12.345678 s of virtual time
  host       1, leecher in main
  seen       extent 3 of piece 17 is leased to c4 and to c9 outside endgame
  again by
    shoald sim made_up --policy native:fastest --seed 2
";
        assert!(page.ends_with(expected), "{page}");
        assert!(page.contains("1 of 2 runs came to their end"), "{page}");
        assert!(page.contains("one_lease violated  NOT MET with 1 of 2 seeds"), "{page}");
    }

    #[test]
    fn a_run_that_was_ended_has_no_numbers_and_many_violations_are_counted() {
        let broken = |seed| {
            let mut bad = outcome(seed, &[10]);
            bad.violation = Some(violation());
            bad
        };
        let page = page(&plan(), one((1..=9).map(broken).collect()));
        assert!(!page.contains("p50"), "{page}");
        assert_eq!(page.matches("VIOLATED").count(), 3);
        assert!(page.contains("with these seeds too: 4 to 9"), "{page}");
    }

    #[test]
    fn hostile_names_and_huge_numbers_stay_within_the_width() {
        let long = "w\u{202e}本\x1b[2J".repeat(40);
        let mut plan = plan();
        plan.name = long.clone();
        plan.description = long.clone();
        plan.content_bytes = u64::MAX;
        plan.piece_len = 0;
        plan.expect.p99_max = Some(Duration::MAX);
        plan.expect.seed_copies_max = Some(f64::MAX);
        plan.expect.jain_min = Some(-f64::MAX);
        plan.zones.push(crate::plan::Zone { name: Arc::from(long.as_str()) });
        let mut runs: Vec<Outcome> = (0..12).map(|it| outcome(u64::MAX - it, &[10, 20])).collect();
        for run in &mut runs {
            run.policy = long.clone();
            run.digest = long.clone();
            run.checked = u64::MAX;
            run.across_bytes = u64::MAX;
            run.decisions = [("chosen", u64::MAX), ("abstained", u64::MAX)].into();
            for (place, host) in run.hosts.iter_mut().enumerate() {
                host.class = Arc::from(format!("{long}{place}"));
                host.zone = Arc::from(long.as_str());
                host.uploaded_bytes = u64::MAX;
                host.complete = Some(Duration::MAX);
            }
        }
        runs[0].violation = Some(violation());
        runs[0].violation.as_mut().unwrap().detail = long.repeat(9);
        let page = page(&plan, vec![(long.clone(), runs.clone()), (long, runs)]);
        assert_narrow(&page);
        assert!(!page.contains('\x1b') && !page.contains('\u{202e}'));
    }

    #[test]
    fn many_classes_and_digests_are_cut_and_counted() {
        let cut = |classes: usize, seeds: u64| {
            let mut run = outcome(1, &vec![10; classes - 1]);
            for (place, host) in run.hosts.iter_mut().enumerate() {
                host.class = Arc::from(format!("c{place}"));
            }
            let runs = (0..seeds).map(|seed| Outcome { seed, ..run.clone() }).collect();
            let page = page(&plan(), one(runs));
            (page.contains("…          and 1 more"), page.contains("and 1 more, in the JSON"))
        };
        assert_eq!(cut(GROUPS_MAX - 1, DIGESTS_MAX as u64 - 1), (false, false));
        assert_eq!(cut(GROUPS_MAX, DIGESTS_MAX as u64), (false, false));
        assert_eq!(cut(GROUPS_MAX + 1, DIGESTS_MAX as u64 + 1), (true, true));
    }

    #[test]
    fn no_runs_are_no_panic() {
        assert_narrow(&page(&plan(), Vec::new()));
        assert_narrow(&page(&plan(), one(Vec::new())));
    }
}
