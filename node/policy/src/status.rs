//! What a policy has done so far: counters, latencies, the last error. Never here: decisions.

use std::{fmt, time::Duration};

use shoal_core::time::Timestamp;

use crate::failure::{Failure, FailureKind};

/// The counters of a policy since it was loaded.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Counters {
    /// Decisions that the script was asked.
    pub calls: u64,
    /// It chose a peer.
    pub chosen: u64,
    /// It had no opinion; the default decided.
    pub abstained: u64,
    /// It asked to wait.
    pub deferred: u64,
    /// It asked to wait although nothing was in flight for 2 s; the default decided.
    pub starved: u64,
    /// It was not asked: the breaker was tripped.
    pub bypassed: u64,
    /// Decisions that took longer than [`crate::budget::DECISION_SLOW`].
    pub slow: u64,
    /// Functions other than the one that decides that were called: of events, `order`, `slots`.
    pub events: u64,
    /// Those of [`Self::errors`] that came up there: no decision fell back on the default.
    pub event_errors: u64,
    /// Times that its VM was built anew after an error of budget or memory.
    pub rebuilt: u64,
    /// It failed, by kind.
    pub errors: Errors,
    /// What its decisions took.
    pub latency: Latency,
}

impl Counters {
    /// Decisions that the default made although the policy had not abstained.
    #[must_use]
    pub fn fallbacks(&self) -> u64 {
        let failed = self.errors.total().saturating_sub(self.event_errors);
        failed + self.bypassed + self.starved
    }
}

/// Failed calls by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Errors {
    /// It raised an error.
    pub runtime: u64,
    /// It ran out of time.
    pub budget: u64,
    /// It ran out of memory.
    pub memory: u64,
    /// It returned what the contract does not know.
    pub contract: u64,
    /// It could not be loaded again after an error of budget or memory.
    pub load: u64,
}

impl Errors {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.runtime + self.budget + self.memory + self.contract + self.load
    }

    pub(crate) fn count(&mut self, kind: FailureKind) {
        let counter = match kind {
            FailureKind::Runtime => &mut self.runtime,
            FailureKind::Budget => &mut self.budget,
            FailureKind::Memory => &mut self.memory,
            FailureKind::Contract => &mut self.contract,
            FailureKind::Size
            | FailureKind::Syntax
            | FailureKind::Shape
            | FailureKind::Param
            | FailureKind::Requires => &mut self.load,
        };
        *counter += 1;
    }
}

/// A histogram of durations in octaves of nanoseconds, each in four parts: within 25 %.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latency {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: vec![0; 4 * 40], total: 0 }
    }
}

impl Latency {
    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(4);
        let octave = nanos.ilog2();
        let part = (nanos >> (octave - 2)) & 3;
        let index = (4 * (octave as usize - 2) + part as usize).min(self.counts.len() - 1);
        self.counts[index] += 1;
        self.total += 1;
    }

    /// The duration below which the share `q` of all lies, `q` in 0–1; zero where there is none.
    /// The upper end of its part of the histogram.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Duration {
        let rank = (q.clamp(0.0, 1.0) * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= rank {
                let (octave, part) = (index / 4, index as u64 % 4);
                return Duration::from_nanos((5 + part) << octave);
            }
        }
        Duration::ZERO
    }
}

/// The last error of a policy, and how often it came in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastError {
    /// The error, as it came first.
    pub failure: Failure,
    /// What it ended.
    pub during: During,
    /// How often it came since `first`: the same kind at the same line.
    pub count: u64,
    /// When it came first.
    pub first: Timestamp,
    /// When it came last.
    pub last: Timestamp,
}

/// What a policy was doing when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum During {
    /// It decided: the default did instead.
    Decision,
    /// It was told of an event, or asked for `order` or `slots`: nothing came of it.
    Event,
}

impl LastError {
    /// The last error after `failure`: one more of the same, or a new one.
    pub(crate) fn after(
        before: Option<Self>,
        failure: Failure,
        during: During,
        now: Timestamp,
    ) -> Self {
        let same = before.filter(|before| {
            (before.failure.kind, before.failure.line, before.during)
                == (failure.kind, failure.line, during)
        });
        match same {
            Some(before) => Self { count: before.count + 1, last: now, ..before },
            None => Self { failure, during, count: 1, first: now, last: now },
        }
    }
}

/// What a policy is and has done.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its file, as the operator knows it.
    pub file: String,
    /// SHA-1 of its source, hexadecimal.
    pub hash: String,
    /// The names of its functions: `choose`, `order`, `on.tick`.
    pub functions: Vec<String>,
    /// The version of the shape of its state.
    pub version: i64,
    /// What it did.
    pub counters: Counters,
    /// Until when it is bypassed, where its breaker tripped.
    pub tripped_until: Option<Timestamp>,
    /// How often its breaker tripped.
    pub trips: u64,
    /// What its VM holds over an empty one, bytes.
    pub memory_bytes: u64,
    /// Log lines beyond the limit.
    pub log_lines_suppressed: u64,
    /// The last error.
    pub last_error: Option<LastError>,
}

impl Status {
    /// The last error as a person sees it.
    #[must_use]
    pub fn report(&self) -> Option<String> {
        let error = self.last_error.as_ref()?;
        Some(Report { name: &self.name, error }.to_string())
    }
}

struct Report<'a> {
    name: &'a str,
    error: &'a LastError,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LastError { failure, during, count, first, last } = self.error;
        write!(f, "policy '{}' failed", self.name)?;
        match during {
            During::Decision => f.write_str("; the default policy decided instead")?,
            During::Event => f.write_str(" outside a decision")?,
        }
        if *count > 1 {
            write!(f, " (1st of {count} in {} s)", last.since(*first).as_secs())?;
        }
        write!(f, "\n{failure}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_a_quarter() {
        let mut latency = Latency::default();
        for micros in 1..=1000 {
            latency.record(Duration::from_micros(micros));
        }
        for (q, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0), (0.001, 1.0)] {
            let found = latency.quantile(q).as_secs_f64() * 1e6;
            assert!((micros..=micros * 1.25).contains(&found), "{q}: {found} for {micros}");
        }
        assert_eq!(Latency::default().quantile(0.5), Duration::ZERO);
        latency.record(Duration::MAX);
        latency.record(Duration::ZERO);
    }
}
