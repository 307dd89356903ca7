//! What held and what did not, with the one command that shows it again.

use std::collections::BTreeMap;

use crate::{
    outcome::{Outcome, Violation},
    report::{
        PolicyReport, Report, RunReport,
        expect::{self, Judged},
        layout::{Align, clean, labelled, rows},
        words,
    },
};

/// Violations that are told in full; of more, how many.
const VIOLATIONS_MAX: usize = 3;

/// What was expected: over several seeds the worst that came, and in how many it does not hold.
pub(super) fn expectations(policy: &PolicyReport) -> String {
    let mut worst: BTreeMap<&str, (&Judged, usize, usize)> = BTreeMap::new();
    let mut order = Vec::new();
    for judged in policy.runs.iter().flat_map(|run| &run.judged) {
        let (seen, failed, all) = worst.entry(judged.what).or_insert_with(|| {
            order.push(judged.what);
            (judged, 0, 0)
        });
        *all += 1;
        *failed += usize::from(!judged.holds);
        if judged.badness > seen.badness {
            *seen = judged;
        }
    }
    let mut lines = vec![["expected", "", "found", ""].map(str::to_owned).to_vec()];
    for (judged, failed, all) in order.iter().filter_map(|what| worst.get(what)) {
        let verdict = match (failed, all) {
            (0, _) => "ok".to_owned(),
            (_, 1) => "NOT MET".to_owned(),
            (_, _) => format!("NOT MET with {failed} of {all} seeds"),
        };
        lines.push(vec![
            judged.label.to_owned(),
            judged.limit.clone(),
            judged.found.clone(),
            verdict,
        ]);
    }
    let mut page = rows(&lines, &[Align::Left; 4]);
    let unmet = |(outcome, run): &(&Outcome, &RunReport)| {
        outcome.violation.is_none() && !expect::holds(&run.judged)
    };
    if let Some((outcome, run)) = policy.both().find(unmet) {
        page.push_str(&format!("\n  not met with seed {}, again by\n", outcome.seed));
        page.push_str(&command(&run.replay));
    }
    page
}

/// The violations, each with everything that is known.
pub(super) fn violations(report: &Report<'_>, policy: &PolicyReport) -> String {
    let mut page = String::new();
    let violated = || policy.both().filter_map(|(it, run)| Some((it, run, it.violation.as_ref()?)));
    for (outcome, run, violation) in violated().take(VIOLATIONS_MAX) {
        page.push_str(&told(report, outcome, violation));
        page.push_str("  again by\n");
        page.push_str(&command(&run.replay));
    }
    let rest: Vec<u64> = violated().skip(VIOLATIONS_MAX).map(|(it, _, _)| it.seed).collect();
    if !rest.is_empty() {
        let said = format!("a check was violated with these seeds too: {}", words::seeds(&rest));
        page.push('\n');
        page.push_str(&labelled("more", &said));
    }
    page
}

fn told(report: &Report<'_>, outcome: &Outcome, violation: &Violation) -> String {
    let host = match violation.host {
        None => "none: the whole".to_owned(),
        Some(place) => match outcome.hosts.get(place) {
            Some(host) => format!("{place}, {} in {}", host.class, host.zone),
            None => place.to_string(),
        },
    };
    let seed = outcome.seed.to_string();
    let said = [
        ("seed", seed.as_str()),
        ("plan", &report.plan.name),
        ("policy", &outcome.policy),
        ("at", &format!("{} of virtual time", words::moment(violation.at))),
        ("host", &host),
        ("seen", &violation.detail),
    ];
    let mut page = format!("\nVIOLATED {}\n", violation.check);
    page.extend(said.map(|(label, text)| labelled(label, text)));
    page
}

/// A command on a line of its own, never broken: it is copied.
fn command(replay: &str) -> String {
    format!("    {}\n", clean(replay))
}
