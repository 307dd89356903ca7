//! Where a policy differs from the first one.

use crate::report::{
    compare::{Compared, Comparison, Finding, LEVEL, pairs_needed},
    layout::{Align, WIDTH, clean, fit, fit_end, labelled, rows},
    metric::Metric,
    words,
};

/// Columns of the name of a policy, where two are named in a line.
const POLICY_MAX: usize = 24;

/// A row a measure: what is found, in how many pairs, and the ratios or differences.
pub(super) fn section(comparison: &Comparison) -> String {
    let name = |policy: &str| fit_end(&clean(policy), POLICY_MAX);
    let heading = format!(
        "{} against {}, {} in both",
        name(&comparison.policy),
        name(&comparison.baseline),
        words::many(comparison.seeds.len() as u64, "seed"),
    );
    let mut lines = vec![["", "", "seeds", "how much"].map(str::to_owned).to_vec()];
    let telling = comparison
        .metrics
        .iter()
        .filter(|it| it.metric != Metric::Across || it.finding != Finding::Equal)
        .map(|it| vec![it.metric.label().to_owned(), it.words(), it.agreement(), it.range()]);
    lines.extend(telling);
    let mut page = format!("{}\n", fit(&heading, WIDTH));
    page.push_str(&rows(&lines, &[Align::Left; 4]));
    page.push_str(&labelled("method", &method(&comparison.metrics)));
    page
}

fn method(metrics: &[Compared]) -> String {
    let tested = metrics.iter().filter(|it| it.p.is_some()).count();
    let few = metrics.iter().any(|it| matches!(it.finding, Finding::TooFew(_)));
    let needed = if few {
        format!(" {} or more seeds could tell.", pairs_needed(tested))
    } else {
        String::new()
    };
    format!(
        "how much: the median, and from least to most, of ratios (for fairness and waste of \
         differences) with the same seed; exact signed-rank test, Holm over {}, level \
         {LEVEL}.{needed}",
        words::many(tested as u64, "measure")
    )
}
