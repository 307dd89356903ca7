//! A script in the sandbox, as the policy thread runs it: its time is the thread's CPU time, its
//! log goes to `tracing` (target `policy`) and to the tail that the status shows, its metrics are
//! summed up for the status.
//!
//! Never here: a wait, or the session.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use rustix::time::{ClockId, clock_gettime};
use shoal_core::{
    ids::TorrentId,
    policy::{Advice, Answer, Consultation, Report},
    time::Timestamp,
};
use shoal_policy::{
    budget::{Budget, Spend},
    failure::{Diagnostics, Failure},
    load::ScriptSource,
    script::{Explanation, Script},
    sink::{LogLevel, MetricOperation, Sink},
    state::KeptStates,
    status::Status,
};

use super::{
    board::Outlets,
    decider::{Decider, Loaded, Loader, Vitals},
    lock,
    status::{PolicyIssue, PolicyRefusal, ScriptChoice},
};
use crate::clock::Clock;

/// What makes scripts of choices.
pub(super) fn loader(clock: Clock) -> Loader {
    Arc::new(move |choice, kept, outlets, now| load(choice, kept, outlets, now, &clock))
}

/// A script's source as the sandbox takes it.
pub(super) fn source(choice: &ScriptChoice) -> ScriptSource {
    let name = choice.name.strip_suffix(".lua").unwrap_or(&choice.name);
    ScriptSource {
        settings: choice.params.clone(),
        seed: fastrand::u64(..),
        ..ScriptSource::new(name, &choice.name, choice.source.as_bytes())
    }
}

fn load(
    choice: &ScriptChoice,
    kept: KeptStates,
    outlets: &Outlets,
    now: Timestamp,
    clock: &Clock,
) -> Result<Loaded, PolicyRefusal> {
    let source = ScriptSource { kept, ..source(choice) };
    let outlet = Box::new(Outlet { outlets: outlets.clone() });
    let script = source
        .load(Box::new(CpuTime::default()), outlet)
        .map_err(|diagnostics| refused(&diagnostics, now, clock))?;
    let params = script.params().iter();
    Ok(Loaded {
        warnings: script.warnings().iter().map(|warning| warning.to_string()).collect(),
        params: params.map(|param| (param.name.clone(), param.value.to_string())).collect(),
        description: script.description().to_owned(),
        hooks: script.hooks(),
        functions: script.functions(),
        version: script.version(),
        decider: Box::new(Sandboxed(script)),
    })
}

struct Sandboxed(Script);

impl Decider for Sandboxed {
    fn answer(&mut self, question: Consultation) -> Answer {
        let round = question.round;
        Answer { round, verdicts: self.0.answer(question) }
    }

    fn report(&mut self, report: &Report) -> Option<Advice> {
        self.0.report(report)
    }

    fn explain(&mut self, question: &Consultation) -> Option<Explanation> {
        Some(self.0.explain(question))
    }

    fn keep(&mut self) -> KeptStates {
        let (kept, lost) = self.0.keep();
        for failure in lost {
            tracing::warn!(target: "policy", "ctx.state was not kept:\n{failure}");
        }
        kept
    }

    fn forget(&mut self, torrent: TorrentId) {
        self.0.forget(torrent);
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn vitals(&self) -> Vitals {
        let (errors, tripped) = self.0.vitals();
        Vitals { errors, tripped }
    }

    fn status(&self) -> Status {
        self.0.status()
    }
}

/// The CPU time of this thread since a measurement began. Never wall time, which would trip an
/// innocent script on a busy machine. But reading it is a system call, dearer than most decisions;
/// and no thread uses more CPU time than time passes. So half of an allowance is given by the cheap
/// clock, and only what lasts longer is measured by the dear one, up to the other half: a script
/// never gets more than its allowance, and on a busy machine at least half of it.
#[derive(Debug)]
pub(super) struct CpuTime {
    allowance: Duration,
    began: Instant,
    /// CPU time of the thread when half of the allowance had passed.
    halfway: Option<Duration>,
}

impl Default for CpuTime {
    fn default() -> Self {
        Self { allowance: Duration::ZERO, began: Instant::now(), halfway: None }
    }
}

impl Budget for CpuTime {
    fn start(&mut self, allowance: Duration) {
        *self = Self { allowance, began: Instant::now(), halfway: None };
    }

    fn charge(&mut self, _instructions: u64) -> Spend {
        if self.halfway.is_none() && self.began.elapsed() < self.allowance / 2 {
            return Spend::Within;
        }
        let now = thread_time();
        let halfway = *self.halfway.get_or_insert(now);
        if now.saturating_sub(halfway) <= self.allowance / 2 {
            Spend::Within
        } else {
            Spend::Exhausted
        }
    }

    fn spent(&self) -> Duration {
        match self.halfway {
            None => self.began.elapsed(),
            Some(halfway) => self.allowance / 2 + thread_time().saturating_sub(halfway),
        }
    }
}

/// CPU time that this thread has used.
pub(super) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What a policy counted, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics(Arc<Mutex<BTreeMap<String, Metric>>>);

#[derive(Clone, Copy, Debug)]
struct Metric {
    /// What it adds up to, or was set to last.
    value: f64,
    /// Samples of a distribution, whose mean is shown; 0 of a counter or a gauge.
    samples: u64,
}

impl Metrics {
    fn note(&self, operation: MetricOperation, name: &str, value: f64) {
        let mut metrics = lock(&self.0);
        let metric = metrics.entry(name.to_owned()).or_insert(Metric { value: 0.0, samples: 0 });
        match operation {
            MetricOperation::Inc => metric.value += value,
            MetricOperation::Set => metric.value = value,
            MetricOperation::Observe => {
                metric.value += value;
                metric.samples += 1;
            }
        }
    }

    /// Each metric's sum, last value or mean.
    pub(super) fn read(&self) -> BTreeMap<String, f64> {
        let mean = |metric: &Metric| metric.value / metric.samples.max(1) as f64;
        lock(&self.0).iter().map(|(name, metric)| (name.clone(), mean(metric))).collect()
    }
}

/// The way out of a script.
struct Outlet {
    outlets: Outlets,
}

impl Sink for Outlet {
    fn log(&mut self, level: LogLevel, line: &str) {
        let word = match level {
            LogLevel::Debug => {
                tracing::debug!(target: "policy", "{line}");
                "debug"
            }
            LogLevel::Info => {
                tracing::info!(target: "policy", "{line}");
                "info"
            }
            LogLevel::Warn => {
                tracing::warn!(target: "policy", "{line}");
                "warn"
            }
            LogLevel::Error => {
                tracing::error!(target: "policy", "{line}");
                "error"
            }
        };
        self.outlets.log.push(format!("{word}: {line}"));
    }

    fn metric(&mut self, operation: MetricOperation, name: &str, value: f64) {
        tracing::trace!(target: "policy", ?operation, name, value, "metric");
        self.outlets.metrics.note(operation, name, value);
    }
}

fn refused(diagnostics: &Diagnostics, now: Timestamp, clock: &Clock) -> PolicyRefusal {
    let at = clock.wall(now);
    PolicyRefusal {
        errors: diagnostics.errors.iter().map(|failure| issue(failure, at)).collect(),
        report: diagnostics.to_string(),
    }
}

/// A failure as the outside sees it.
#[must_use]
pub fn issue(failure: &Failure, at: SystemTime) -> PolicyIssue {
    PolicyIssue {
        kind: failure.kind.name(),
        file: failure.file.clone(),
        line: failure.line.unwrap_or(0),
        message: failure.message.clone(),
        report: failure.to_string(),
        at,
        count: 1,
    }
}
