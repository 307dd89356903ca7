//! A script in the sandbox, as the policy thread runs it: its time is the thread's CPU time, its
//! log goes to `tracing` (target `policy`) and to the tail that the status shows.
//!
//! Never here: a wait, or the session.

use std::{sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use shoal_core::{
    ids::TorrentId,
    policy::{Answer, Consultation},
    time::Timestamp,
};
use shoal_policy::{
    budget::{Budget, Spend},
    failure::{Diagnostics, Failure},
    load::ScriptSource,
    script::Script,
    sink::{LogLevel, MetricOperation, Sink},
    status::Status,
};

use super::{
    status::{PolicyIssue, PolicyRefusal, ScriptChoice},
    thread::{Decider, Loaded, Loader, LogTail},
};
use crate::clock::Clock;

/// What makes scripts of choices.
pub(super) fn loader(clock: Clock) -> Loader {
    Arc::new(move |choice, log, now| load(choice, log, now, &clock))
}

fn load(
    choice: &ScriptChoice,
    log: &LogTail,
    now: Timestamp,
    clock: &Clock,
) -> Result<Loaded, PolicyRefusal> {
    let name = choice.name.strip_suffix(".lua").unwrap_or(&choice.name);
    let source = ScriptSource {
        name: name.to_owned(),
        file: choice.name.clone(),
        source: choice.source.clone().into_bytes(),
        settings: choice.params.clone(),
        seed: fastrand::u64(..),
    };
    let outlet = Box::new(Outlet { log: log.clone() });
    let script = source
        .load(Box::new(CpuTime::default()), outlet)
        .map_err(|diagnostics| refused(&diagnostics, now, clock))?;
    let params = script.params().iter();
    Ok(Loaded {
        warnings: script.warnings().iter().map(|warning| warning.to_string()).collect(),
        params: params.map(|param| (param.name.clone(), param.value.to_string())).collect(),
        description: script.description().to_owned(),
        decider: Box::new(Sandboxed(script)),
    })
}

struct Sandboxed(Script);

impl Decider for Sandboxed {
    fn answer(&mut self, consultation: Consultation) -> Answer {
        let verdicts = self.0.answer(&consultation);
        Answer { round: consultation.round, verdicts }
    }

    fn forget(&mut self, torrent: TorrentId) {
        self.0.forget(torrent);
    }

    fn status(&self) -> Status {
        self.0.status()
    }
}

/// The CPU time of this thread since a measurement began. Never wall time, which would trip an
/// innocent script on a busy machine.
#[derive(Debug, Default)]
struct CpuTime {
    allowance: Duration,
    start: Duration,
}

impl Budget for CpuTime {
    fn start(&mut self, allowance: Duration) {
        *self = Self { allowance, start: thread_time() };
    }

    fn charge(&mut self, _instructions: u64) -> Spend {
        if self.spent() > self.allowance { Spend::Exhausted } else { Spend::Within }
    }

    fn spent(&self) -> Duration {
        thread_time().saturating_sub(self.start)
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The way out of a script.
struct Outlet {
    log: LogTail,
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
        self.log.push(format!("{word}: {line}"));
    }

    fn metric(&mut self, operation: MetricOperation, name: &str, value: f64) {
        tracing::trace!(target: "policy", ?operation, name, value, "metric");
    }
}

fn refused(diagnostics: &Diagnostics, now: Timestamp, clock: &Clock) -> PolicyRefusal {
    let at = clock.wall(now);
    let issue = |failure: &Failure| PolicyIssue {
        kind: failure.kind.name(),
        file: failure.file.clone(),
        line: failure.line.unwrap_or(0),
        message: failure.message.clone(),
        report: failure.to_string(),
        at,
        count: 1,
    };
    PolicyRefusal {
        errors: diagnostics.errors.iter().map(issue).collect(),
        report: diagnostics.to_string(),
    }
}
