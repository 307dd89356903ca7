//! What a comparison says in words. Never here: how it is found.

use crate::report::{metric::Unit, words};

use super::{Compared, Finding};

impl Compared {
    /// What is found: `12% faster`, `no difference beyond noise`.
    #[must_use]
    pub fn words(&self) -> String {
        match self.finding {
            Finding::Unmeasured => "nothing to measure".to_owned(),
            Finding::Equal => "equal".to_owned(),
            Finding::TooFew(_) => "too few seeds to tell".to_owned(),
            Finding::Noise => "no difference beyond noise".to_owned(),
            Finding::Lower | Finding::Higher => self.difference(),
        }
    }

    /// In how many pairs the policy is on the median's side: `8 of 8`.
    #[must_use]
    pub fn agreement(&self) -> String {
        let median = self.effect.map_or(f64::NAN, |it| it.median);
        let agree = match self.finding {
            Finding::Unmeasured => return words::NONE.to_owned(),
            Finding::Equal => self.pairs(),
            Finding::TooFew(_) | Finding::Noise | Finding::Lower | Finding::Higher => {
                if median < self.neutral() {
                    self.lower
                } else if median > self.neutral() {
                    self.higher
                } else {
                    self.pairs() - self.lower - self.higher
                }
            }
        };
        format!("{agree} of {}", self.pairs())
    }

    /// The median and the ends of ratios or differences: `0.883 (0.850 to 0.931)`; only the median,
    /// where they are the same.
    #[must_use]
    pub fn range(&self) -> String {
        let Some(effect) = self.effect else { return words::NONE.to_owned() };
        let show = |value: f64| match self.metric.unit() {
            Unit::Seconds | Unit::Copies => times(value),
            Unit::Hosts | Unit::Index | Unit::Part => signed(value),
        };
        let median = show(effect.median);
        if effect.min.total_cmp(&effect.max).is_eq() {
            return median;
        }
        format!("{median} ({} to {})", show(effect.min), show(effect.max))
    }

    /// What [`Compared::effect`] is of.
    #[must_use]
    pub fn effect_kind(&self) -> &'static str {
        match self.metric.unit() {
            Unit::Seconds | Unit::Copies => "ratio",
            Unit::Hosts | Unit::Index | Unit::Part => "difference",
        }
    }

    fn difference(&self) -> String {
        let median = self.effect.map_or(f64::NAN, |it| it.median);
        match self.metric.unit() {
            Unit::Seconds => time(median),
            Unit::Copies => amount(median),
            Unit::Index if median > 0.0 => format!("{} fairer", words::short(median)),
            Unit::Index => format!("{} less fair", words::short(median.abs())),
            Unit::Part | Unit::Hosts => {
                let points = words::short(median.abs() * 100.0);
                format!("{points} points {}", if median > 0.0 { "higher" } else { "lower" })
            }
        }
    }
}

fn time(ratio: f64) -> String {
    match ratio {
        0.0 => "complete, the other never".to_owned(),
        0.0..0.5 => format!("{} times as fast", times(ratio.recip())),
        0.5..1.0 => format!("{} faster", relative(1.0 - ratio)),
        1.0..=2.0 => format!("{} slower", relative(ratio - 1.0)),
        _ if ratio.is_finite() => format!("{} times as long", times(ratio)),
        _ => "never, the other complete".to_owned(),
    }
}

fn amount(ratio: f64) -> String {
    match ratio {
        0.0 => "none, the other some".to_owned(),
        0.0..0.5 => format!("{} times less", times(ratio.recip())),
        0.5..1.0 => format!("{} less", relative(1.0 - ratio)),
        1.0..=2.0 => format!("{} more", relative(ratio - 1.0)),
        _ if ratio.is_finite() => format!("{} times as much", times(ratio)),
        _ => "some, the other none".to_owned(),
    }
}

/// A relative difference with two significant digits: `12%`, `3.4%`, `0.5%`.
fn relative(part: f64) -> String {
    match part * 100.0 {
        percent @ 9.95.. => format!("{percent:.0}%"),
        percent @ 0.05.. => format!("{percent:.1}%"),
        _ => "<0.1%".to_owned(),
    }
}

/// A difference: `+0.012`, `-2.5e-5`, `0`.
fn signed(difference: f64) -> String {
    match difference {
        0.0 => "0".to_owned(),
        _ if difference.abs() < 0.001 => format!("{difference:+.1e}"),
        _ => format!("{difference:+.3}"),
    }
}

/// A ratio: `0.883`, `3.10`, `inf`.
fn times(ratio: f64) -> String {
    if ratio.is_finite() { words::short(ratio) } else { "inf".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{metric::Metric, spread::Spread};

    fn compared(metric: Metric, finding: Finding, effects: &[f64]) -> Compared {
        let effect = Spread::of(effects.iter().copied());
        let neutral = if metric == Metric::P50 { 1.0 } else { 0.0 };
        let lower = effects.iter().filter(|it| **it < neutral).count();
        let higher = effects.iter().filter(|it| **it > neutral).count();
        Compared { metric, effect, lower, higher, p: None, p_holm: None, finding }
    }

    #[test]
    fn times_are_faster_or_slower() {
        for (ratio, text) in [
            (0.0, "complete, the other never"),
            (0.25, "4.00 times as fast"),
            (0.88, "12% faster"),
            (0.966, "3.4% faster"),
            (0.9999, "<0.1% faster"),
            (1.12, "12% slower"),
            (3.1, "3.10 times as long"),
            (f64::INFINITY, "never, the other complete"),
        ] {
            assert_eq!(time(ratio), text);
        }
        assert_eq!(amount(1.3), "30% more");
        assert_eq!(amount(0.2), "5.00 times less");
    }

    #[test]
    fn words_agreement_and_range_are_of_the_median() {
        let faster = compared(Metric::P50, Finding::Lower, &[0.85, 0.88, 1.02]);
        assert_eq!(faster.words(), "12% faster");
        assert_eq!(faster.agreement(), "2 of 3");
        assert_eq!(faster.range(), "0.880 (0.850 to 1.02)");
        let fairer = compared(Metric::Jain, Finding::Higher, &[0.05]);
        assert_eq!(fairer.words(), "0.0500 fairer");
        let wasting = compared(Metric::Waste, Finding::Higher, &[0.012]);
        assert_eq!(wasting.words(), "1.20 points higher");
        assert_eq!(wasting.range(), "+0.012");
        let noise = compared(Metric::P50, Finding::Noise, &[0.9, 1.1, 1.2]);
        assert_eq!(noise.words(), "no difference beyond noise");
        assert_eq!(noise.agreement(), "2 of 3");
        let unmeasured = compared(Metric::Jain, Finding::Unmeasured, &[]);
        assert_eq!((unmeasured.agreement(), unmeasured.range()), ("-".into(), "-".into()));
    }
}
