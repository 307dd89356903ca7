//! Policies that are tried beside those in force: checked, tested, measured. Each in VMs of its own,
//! on a thread of its own, one at a time. Never here: anything that a download notices.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use shoal_core::{
    policy::native::{Cursor, Native},
    rng::Rng,
};
use shoal_policy::{
    failure::{Diagnostics, Failure},
    measure,
    params::Param,
    sink::NoSink,
    trial::{self, TrialFile, TrialLimits, TrialResult},
};
use tokio::sync::{Semaphore, oneshot};

use super::{
    script::{CpuTime, issue, source},
    status::{PolicyChoice, PolicyIssue, ScriptChoice},
};

/// The numbers of candidates that are measured (policy.md §5).
pub const BENCH_CANDIDATES: [usize; 3] = [8, 50, 200];
/// What the tests of one call may take together, in virtual time.
const TESTS_SPAN: Duration = Duration::from_secs(30);
/// Decisions measured with each.
const BENCH_DECISIONS: usize = 10_000;

/// The place where policies are tried. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workbench(Arc<Semaphore>);

impl Default for Workbench {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The system gives no thread, or the work failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the workbench failed: {0}")]
pub struct WorkbenchError(String);

impl Workbench {
    /// Does work there, after what others wanted done.
    ///
    /// # Errors
    /// [`WorkbenchError`].
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, WorkbenchError> {
        let failed = |error: &dyn std::fmt::Display| WorkbenchError(error.to_string());
        let permit = self.0.clone().acquire_owned().await.map_err(|error| failed(&error))?;
        let (reply, answer) = oneshot::channel();
        let body = move || {
            // A caller that went away needs no answer.
            drop(reply.send(work()));
            drop(permit);
        };
        let thread = std::thread::Builder::new().name("policy-bench".into());
        thread.spawn(body).map_err(|error| failed(&error))?;
        answer.await.map_err(|error| failed(&error))
    }
}

/// What a check found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Checked {
    /// Why the policy would not be put in force.
    pub errors: Vec<PolicyIssue>,
    /// What is odd about it.
    pub warnings: Vec<PolicyIssue>,
    /// The name it gives itself.
    pub declared_name: String,
    /// What it says of itself.
    pub description: String,
    /// The functions it has.
    pub functions: Vec<String>,
    /// Its parameters.
    pub params: Vec<Param>,
}

/// Checks a policy as if it were to be put in force.
#[must_use]
pub fn check(choice: &PolicyChoice) -> Checked {
    let script = match choice {
        PolicyChoice::Native(native) => {
            let (declared_name, description) = (native.name(), native.description());
            return Checked {
                declared_name: declared_name.to_owned(),
                description: description.to_owned(),
                ..Checked::default()
            };
        }
        PolicyChoice::Script(script) => script,
    };
    match source(script).load(Box::new(CpuTime::default()), Box::new(NoSink)) {
        Ok(script) => Checked {
            errors: Vec::new(),
            warnings: issues(script.warnings()),
            declared_name: script.declared_name().unwrap_or_default().to_owned(),
            description: script.description().to_owned(),
            functions: script.functions(),
            params: script.params().to_vec(),
        },
        Err(Diagnostics { errors, warnings, .. }) => {
            Checked { errors: issues(&errors), warnings: issues(&warnings), ..Checked::default() }
        }
    }
}

/// Runs test files against a policy; none: each names its own. What is left of [`TESTS_SPAN`] bounds
/// each file: one call does not hold the bench for long.
#[must_use]
pub fn test(policy: Option<&ScriptChoice>, files: &[TrialFile]) -> Vec<TrialResult> {
    let policy = policy.map(source);
    let mut left = TESTS_SPAN;
    let mut results = Vec::new();
    for file in files {
        let limits = TrialLimits::default();
        let limits = TrialLimits { file: limits.file.min(left), ..limits };
        let said = trial::run_within(limits, policy.as_ref(), file);
        left = said.iter().fold(left, |left, result| left.saturating_sub(result.spent));
        results.extend(said);
    }
    results
}

/// What a decision costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BenchRow {
    /// Candidates of each decision.
    pub candidates: usize,
    /// Decisions made.
    pub decisions: usize,
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

/// Measures a policy.
///
/// # Errors
/// Where the policy does not load.
pub fn bench(choice: &PolicyChoice) -> Result<Vec<BenchRow>, Vec<PolicyIssue>> {
    BENCH_CANDIDATES.into_iter().map(|candidates| row(choice, candidates)).collect()
}

fn row(choice: &PolicyChoice, candidates: usize) -> Result<BenchRow, Vec<PolicyIssue>> {
    let mut spans = match choice {
        PolicyChoice::Native(native) => natively(*native, candidates),
        PolicyChoice::Script(script) => {
            let began = Instant::now();
            let mut elapsed = || began.elapsed();
            let budget = Box::new(CpuTime::default());
            measure::decisions(source(script), budget, &mut elapsed, candidates, BENCH_DECISIONS)
                .map_err(|diagnostics| issues(&diagnostics.errors))?
        }
    };
    spans.sort_unstable();
    let quantile = |q: usize| spans.get(spans.len() * q / 100).copied().unwrap_or_default();
    let (p50, p99) = (quantile(50), quantile(99));
    Ok(BenchRow { candidates, decisions: spans.len(), p50, p99 })
}

/// A native's decisions, over the same made-up candidates.
fn natively(native: Native, candidates: usize) -> Vec<Duration> {
    let (mut rng, mut cursor) = (Rng::new(1), Cursor::default());
    let question = measure::question(candidates);
    let open = &question.chunks[0].candidates;
    let decide = |_| {
        let began = Instant::now();
        let chosen = native.choose(&question.peers, open, &mut rng, &mut cursor);
        let spent = began.elapsed();
        std::hint::black_box(chosen);
        spent
    };
    (0..BENCH_DECISIONS).map(decide).collect()
}

fn issues(failures: &[Failure]) -> Vec<PolicyIssue> {
    let at = SystemTime::now();
    failures.iter().map(|failure| issue(failure, at)).collect()
}
