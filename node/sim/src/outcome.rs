//! What came of a run: plain values, from which reports are made.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What came of one run of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The plan's name.
    pub plan: String,
    /// The seed.
    pub seed: u64,
    /// The policy of the classes that name none, as it was asked for.
    pub policy: String,
    /// Bytes of the content.
    pub content_bytes: u64,
    /// Pieces of it.
    pub pieces: u32,
    /// The digest of everything that happened, 32 hexadecimal digits: the same for the same seed,
    /// plan, policy and version of shoal.
    pub digest: String,
    /// Virtual time at which it ended.
    pub ended: Duration,
    /// Facts that sessions were handed.
    pub facts: u64,
    /// Every host that came, in the order of the population.
    pub hosts: Vec<HostOutcome>,
    /// Payload bytes that went from one zone to another.
    pub across_bytes: u64,
    /// Decisions about whom to ask, by what came of them: `native`, `chosen`, `abstained`, ….
    pub decisions: BTreeMap<&'static str, u64>,
    /// The checks that were on.
    pub checks: Vec<&'static str>,
    /// How many times anything was checked.
    pub checked: u64,
    /// What was violated, if anything: the run ended there.
    pub violation: Option<Violation>,
}

/// What came of one host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostOutcome {
    /// The name of its class.
    pub class: Arc<str>,
    /// The name of its zone.
    pub zone: Arc<str>,
    /// It plays by the rules.
    pub honest: bool,
    /// It had everything when it came.
    pub seed: bool,
    /// When it came.
    pub came: Duration,
    /// When it had everything; a seed: when it came.
    pub complete: Option<Duration>,
    /// When it left for good.
    pub left: Option<Duration>,
    /// Payload that it sent, bytes.
    pub uploaded_bytes: u64,
    /// Payload that it received, bytes.
    pub downloaded_bytes: u64,
    /// Of these, in vain.
    pub wasted_bytes: u64,
    /// Hosts that banned it.
    pub banned_by: u32,
    /// With slots, a seed: for how long it unchoked each peer that was there all the time, as the
    /// largest distance from the mean, a part of the mean.
    pub unchoke_spread: Option<f64>,
}

/// A check that did not hold: our own mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Virtual time.
    pub at: Duration,
    /// The host, as an index into the population; none: the whole.
    pub host: Option<usize>,
    /// The check, as in [`Outcome::checks`].
    pub check: &'static str,
    /// What was seen.
    pub detail: String,
}

impl HostOutcome {
    /// From its arrival until it had everything; none for a seed, or where it never had.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.complete.filter(|_| !self.seed).map(|at| at.saturating_sub(self.came))
    }
}
