//! Trials: Lua test files that put a policy before made-up swarms on a virtual clock.
//!
//! ```lua
//! policy "zone_aware"
//! test("stays in the zone", function()
//!   local s = swarm{ peers = { { name = "near", labels = { zone = "a" } }, { name = "far" } } }
//!   expect(s.choose().peer, "near")
//! end)
//! ```
//!
//! The test code has a sandbox of its own, the same as a policy's; each swarm loads the policy anew.
//! Whatever a file does, [`run`] returns: time is a count of instructions, test code and policies
//! together. Never here: files, or how results are shown.

mod bench;
mod expect;
mod purse;
mod read;
mod swarm;
mod verbs;

use std::time::Duration;

use crate::{
    budget::SOURCE_LEN_MAX, failure::Failure, load::ScriptSource, sink::sanitised,
    trial::bench::Bench,
};

/// The most tests of a file.
pub const TESTS_MAX: usize = 256;
/// The most swarms of a test.
pub const SWARMS_MAX: usize = 64;
/// The longest name of a test, bytes.
pub const NAME_LEN_MAX: usize = 200;

/// A Lua test file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrialFile {
    /// Its name, for messages: `scripts/tests/zone_aware.lua`.
    pub name: String,
    /// Lua; at most [`SOURCE_LEN_MAX`] bytes.
    pub source: String,
}

/// What trials may take, in virtual time: instructions of the test code and of the policies in it,
/// as [`crate::budget::InstructionBudget`] counts them, and a little for each call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrialLimits {
    /// One test (default 2 s).
    pub test: Duration,
    /// A file with all its tests (default 20 s).
    pub file: Duration,
}

impl Default for TrialLimits {
    fn default() -> Self {
        Self { test: Duration::from_secs(2), file: Duration::from_secs(20) }
    }
}

/// What one test said. Every text in it is without control characters other than the newlines of
/// the report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrialResult {
    /// The file.
    pub file: String,
    /// The test; the file itself where that does not load.
    pub name: String,
    /// It held.
    pub passed: bool,
    /// What did not hold, one line; empty where it passed.
    pub message: String,
    /// The line in the test file, from 1, where one is known.
    pub line: Option<u32>,
    /// Source lines, and what the policy itself reported; empty where it passed.
    pub report: String,
    /// The virtual time it took.
    pub spent: Duration,
}

/// Runs the tests of a file, in order. The policy is `policy`, or, where none is given, the shipped
/// script that the file names with `policy "…"`.
///
/// A file that cannot be run (it does not compile, its top level fails, it has no test) is one
/// failed result with the file's name.
#[must_use]
pub fn run(policy: Option<&ScriptSource>, file: &TrialFile) -> Vec<TrialResult> {
    run_within(TrialLimits::default(), policy, file)
}

/// [`run`] with other limits.
#[must_use]
pub fn run_within(
    limits: TrialLimits,
    policy: Option<&ScriptSource>,
    file: &TrialFile,
) -> Vec<TrialResult> {
    let shown = TrialFile {
        name: sanitised(file.name.as_bytes(), NAME_LEN_MAX),
        source: file.source.clone(),
    };
    let mut results = Vec::new();
    if file.source.len() > SOURCE_LEN_MAX {
        let len = file.source.len();
        let message = format!("the file has {len} bytes; at most {SOURCE_LEN_MAX}");
        return vec![whole(&shown, message, None)];
    }
    let mut left = limits.file;
    let mut bench = match Bench::open(policy, &shown, limits.test.min(left)) {
        Ok(bench) => bench,
        Err(failure) => return vec![of_file(&shown, &failure)],
    };
    let names = bench.names();
    if names.is_empty() {
        return vec![whole(
            &shown,
            "it has no test: test(\"name\", function() … end)".into(),
            None,
        )];
    }
    left = left.saturating_sub(bench.spent());
    for (index, name) in names.iter().enumerate() {
        if left.is_zero() {
            let message = format!("the file's tests took {} ms together", limits.file.as_millis());
            let name = name.clone();
            results.push(TrialResult { name, ..whole(&shown, message, None) });
            continue;
        }
        if bench.is_broken() {
            // A VM that ran out of its budget or memory is not used again.
            bench = match Bench::open(policy, &shown, limits.test.min(left)) {
                Ok(bench) => bench,
                Err(failure) => {
                    results.push(of_file(&shown, &failure));
                    return results;
                }
            };
            left = left.saturating_sub(bench.spent());
        }
        let result = bench.test(index, name, limits.test.min(left));
        left = left.saturating_sub(result.spent);
        results.push(result);
    }
    results
}

fn of_file(file: &TrialFile, failure: &Failure) -> TrialResult {
    let report = format!("{} could not be run\n{failure}", file.name);
    TrialResult { report, ..whole(file, failure.message.clone(), failure.line) }
}

fn whole(file: &TrialFile, message: String, line: Option<u32>) -> TrialResult {
    let name = file.name.clone();
    let report = format!("{name}: {message}");
    let spent = Duration::ZERO;
    TrialResult { file: name.clone(), name, passed: false, message, line, report, spent }
}
