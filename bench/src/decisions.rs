//! What a decision of each policy costs, as the node measures it with its guards on. Never here:
//! the measuring.

use std::{
    fmt::{self, Write as _},
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::{
    answer::number,
    client::{Programs, Resident},
    interrupt,
    machine::Machine,
    process::{Member, answer_of, await_that, text_of},
    stats::Spread,
};

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Times that each policy is measured.
    pub(crate) runs: u32,
    /// Only these names or files; none: every native policy and every script that comes with the node.
    pub(crate) names: Vec<String>,
    /// Where the node has its folder.
    pub(crate) dir: PathBuf,
    /// The most that one command may take.
    pub(crate) timeout: Duration,
    /// Where the programs are.
    pub(crate) bin_dir: Option<PathBuf>,
}

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    runs: u32,
    rows: Vec<Row>,
}

/// One policy with so many candidates.
#[derive(Clone, Debug, Serialize)]
struct Row {
    policy: String,
    /// Candidates of each decision.
    candidates: u64,
    /// Decisions of all runs.
    decisions: u64,
    /// Medians of the runs, nanoseconds.
    p50_ns: Spread,
    /// 99th percentiles of the runs, nanoseconds.
    p99_ns: Spread,
}

/// One row of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Measured {
    policy: String,
    candidates: u64,
    decisions: u64,
    p50_ns: u64,
    p99_ns: u64,
}

/// Measures every policy, all of them in each run. Says on stderr how it goes.
///
/// # Errors
/// A program that is missing or fails, an answer that is none, a timeout, or "interrupted". The
/// node is ended and its folder removed.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let programs = Programs::of_nodes(plan.bin_dir.as_deref())?;
    let machine = Machine::here();
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&plan.dir)?;
    let (state_dir, ready_file) = (work.path().join("node"), work.path().join("ready"));
    fs::create_dir(&state_dir)?;
    let resident = Resident { state_dir: &state_dir, ready_file: &ready_file, more: Vec::new() };
    let argv = programs.resident(&resident);
    let mut node = Member::start("node", &argv, work.path().join("node.log"))?;
    await_that("its address", &mut node, plan.timeout, || text_of(&ready_file))?;
    let log = |name: &str| work.path().join(format!("{name}.log"));
    let names = match plan.names.is_empty() {
        false => plan.names.clone(),
        true => {
            let argv = programs.command(&state_dir, ["policy", "list"]);
            let names = names(&answer_of("policy list", &argv, log("list"), plan.timeout)?)?;
            // A file of that name in the working directory would be taken for it.
            let file = names.iter().find(|name| Path::new(name).exists());
            ensure!(file.is_none(), "there is a file {file:?} here; run this elsewhere");
            names
        }
    };
    let mut measured = Vec::new();
    for run in 1..=plan.runs {
        for name in &names {
            interrupt::check()?;
            node.ensure_running()?;
            let argv = programs.command(&state_dir, ["policy", "bench", name]);
            let title = format!("policy bench {name}");
            let answer = answer_of(&title, &argv, log("bench"), plan.timeout)?;
            measured.extend(rows(name, &answer).with_context(|| title)?);
            // A closed stderr is no reason to stop measuring.
            let _ = writeln!(io::stderr(), "run {run}/{}  {name}", plan.runs);
        }
    }
    Ok(Report::new(machine, plan.runs, &measured))
}

/// The native policies and those that come with the node.
fn names(list: &Value) -> anyhow::Result<Vec<String>> {
    let policies = list["policies"].as_array().context("no list of policies")?;
    let ours = |policy: &&Value| policy["kind"] != "POLICY_KIND_CUSTOM";
    let name = |policy: &Value| Some(policy["name"].as_str()?.to_owned());
    policies.iter().filter(ours).map(name).collect::<Option<_>>().context("a policy without a name")
}

fn rows(policy: &str, answer: &Value) -> anyhow::Result<Vec<Measured>> {
    let rows = answer["rows"].as_array().filter(|rows| !rows.is_empty()).context("no rows")?;
    let row = |row: &Value| {
        Ok(Measured {
            policy: policy.to_owned(),
            candidates: number(&row["candidates"])?,
            decisions: number(&row["decisions"])?,
            p50_ns: number(&row["p50Ns"])?,
            p99_ns: number(&row["p99Ns"])?,
        })
    };
    rows.iter().map(row).collect()
}

impl Report {
    fn new(machine: Machine, runs: u32, measured: &[Measured]) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for it in measured {
            let same =
                |policy: &str, candidates| policy == it.policy && candidates == it.candidates;
            if rows.iter().any(|row| same(&row.policy, row.candidates)) {
                continue;
            }
            let all = || measured.iter().filter(|it| same(&it.policy, it.candidates));
            let p50_ns = Spread::of(all().map(|it| it.p50_ns as f64));
            let p99_ns = Spread::of(all().map(|it| it.p99_ns as f64));
            if let Some((p50_ns, p99_ns)) = p50_ns.zip(p99_ns) {
                let decisions = all().map(|it| it.decisions).sum();
                let (policy, candidates) = (it.policy.clone(), it.candidates);
                rows.push(Row { policy, candidates, decisions, p50_ns, p99_ns });
            }
        }
        Self { machine, runs, rows }
    }

    /// As text of at most 80 columns.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{}", self.machine)?;
        writeln!(out, "us a decision, guards on; runs: {}, their median (min-max)", self.runs)?;
        writeln!(out)?;
        writeln!(out, "{:<24}{:>10}{:>22}{:>22}", "", "candidates", "median", "99th percentile")?;
        let mut last = "";
        for row in &self.rows {
            let name = if row.policy == last { "" } else { &row.policy };
            last = &row.policy;
            let name: String = name.chars().take(NAME_WIDTH).collect();
            let show = |ns: Spread| {
                let [median, min, max] = [ns.median, ns.min, ns.max].map(|ns| ns / 1e3);
                format!("{median:.2} ({min:.2}-{max:.2})")
            };
            let (p50, p99) = (show(row.p50_ns), show(row.p99_ns));
            writeln!(out, "{name:<24}{:>10}{p50:>22}{p99:>22}", row.candidates)?;
        }
        Ok(())
    }
}

/// The most of a policy's name that is shown.
const NAME_WIDTH: usize = 23;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(p50_ns: &str) -> Value {
        json!({ "rows": [
            { "candidates": 8, "decisions": 1000, "p50Ns": p50_ns, "p99Ns": "900" },
            { "candidates": 200, "decisions": 100, "p50Ns": "2500", "p99Ns": "9000" },
        ] })
    }

    #[test]
    fn natives_and_shipped_scripts_are_measured_and_nobody_elses() {
        let list = json!({ "policies": [
            { "name": "random", "kind": "POLICY_KIND_NATIVE", "active": true },
            { "name": "zone_aware.lua", "kind": "POLICY_KIND_SHIPPED" },
            { "name": "mine.lua", "kind": "POLICY_KIND_CUSTOM" },
        ] });
        assert_eq!(names(&list).unwrap(), ["random", "zone_aware.lua"]);
        assert!(names(&json!({})).is_err());
    }

    #[test]
    fn rows_of_a_policy_are_gathered_over_the_runs() {
        let mut measured = Vec::new();
        for p50_ns in ["500", "300", "400"] {
            measured.extend(rows("random", &answer(p50_ns)).unwrap());
            measured.extend(rows("zone_aware.lua", &answer(p50_ns)).unwrap());
        }
        let report = Report::new(Machine::here(), 3, &measured);
        let found: Vec<_> =
            report.rows.iter().map(|row| (row.policy.as_str(), row.candidates)).collect();
        let expected =
            [("random", 8), ("random", 200), ("zone_aware.lua", 8), ("zone_aware.lua", 200)];
        assert_eq!(found, expected);
        let first = &report.rows[0];
        let spread = Spread { median: 400.0, min: 300.0, max: 500.0 };
        assert_eq!((first.decisions, first.p50_ns), (3000, spread));
        let table = report.table();
        assert!(table.contains("0.40 (0.30-0.50)") && table.contains("9.00"), "{table}");
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
    }

    #[test]
    fn an_answer_without_rows_or_numbers_is_none() {
        for bad in [
            json!({}),
            json!({ "rows": [] }),
            json!({ "rows": [{ "candidates": 8, "decisions": 1, "p50Ns": "fast", "p99Ns": "1" }] }),
            json!({ "rows": [{ "candidates": 8, "decisions": 1, "p50Ns": "1" }] }),
        ] {
            assert!(rows("random", &bad).is_err(), "{bad}");
        }
    }
}
