//! How fast a node hashes: creating a torrent and verifying one, beside the processor's own speed on
//! one core. Never here: the node's hashing.

use std::{
    fmt::{self, Write as _},
    fs, hint,
    io::{self, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytesize::ByteSize;
use serde::Serialize;
use sha1::{Digest as _, Sha1};

use crate::{
    client::{Programs, Resident},
    interrupt,
    machine::Machine,
    process::{Member, answer_of, await_that, text_of, wait_all},
    source::{self, Source},
    space::{self, Medium},
    stats::Spread,
};

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Bytes of the source.
    pub(crate) len: u64,
    /// Bytes of a piece.
    pub(crate) piece_len: u32,
    /// Times that each is measured.
    pub(crate) runs: u32,
    /// Where everything is written.
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
    size_bytes: u64,
    piece_bytes: u32,
    medium: Medium,
    runs: u32,
    /// SHA-1 on one core, of bytes that lie in its cache, 10⁹ bytes a second.
    core_gb_per_s: Spread,
    rows: Vec<Row>,
    samples: Vec<Sample>,
}

/// One kind of work in all runs.
#[derive(Clone, Debug, Serialize)]
struct Row {
    work: Work,
    gb_per_s: Spread,
    /// `gb_per_s` ÷ (cores × that of one core in the same run).
    core_ratio: Spread,
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Work {
    /// Makes a metainfo file.
    Create,
    /// Hashes what is on disk again.
    Verify,
}

/// One run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
struct Sample {
    /// From 1.
    run: u32,
    core_gb_per_s: f64,
    create_gb_per_s: f64,
    verify_gb_per_s: f64,
}

/// Bytes that one core hashes to show its speed, at this many a time.
const CORE_LEN: usize = 1 << 30;
const CORE_BLOCK_LEN: usize = 256 << 10;
/// How often the node is asked how its seed stands.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A node that has the source.
struct Bench<'a> {
    plan: &'a Plan,
    programs: Programs,
    source: Source,
    work: &'a Path,
    state_dir: PathBuf,
    node: Member,
}

/// Measures everything. Says on stderr how it goes.
///
/// # Errors
/// Too little room, a program that is missing or fails, a timeout, or "interrupted". The node is
/// ended and every file removed.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let programs = Programs::of_nodes(plan.bin_dir.as_deref())?;
    source::check(plan.len, plan.piece_len)?;
    space::ensure_room(&plan.dir, plan.len)?;
    let (machine, medium) = (Machine::here(), space::medium(&plan.dir)?);
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&plan.dir)?;
    let (source_dir, state_dir) = (work.path().join("source"), work.path().join("node"));
    fs::create_dir(&source_dir)?;
    let source = Source::random(&source_dir, plan.len, plan.piece_len)?;
    let ready_file = work.path().join("ready");
    let resident = Resident { state_dir: &state_dir, ready_file: &ready_file, more: Vec::new() };
    let argv = programs.resident(&resident);
    let mut node = Member::start("node", &argv, work.path().join("node.log"))?;
    await_that("its address", &mut node, plan.timeout, || text_of(&ready_file))?;
    let mut bench = Bench { plan, programs, source, work: work.path(), state_dir, node };
    // The one that is verified from here on.
    bench.create(&[])?;
    bench.until_checked()?;
    let mut samples = Vec::new();
    for run in 1..=plan.runs {
        let sample = bench.sample(run)?;
        // A closed stderr is no reason to stop measuring.
        let _ = writeln!(io::stderr(), "run {run}/{}  {sample}", plan.runs);
        samples.push(sample);
    }
    let (size_bytes, piece_bytes) = (plan.len, plan.piece_len);
    Report::new(machine, (size_bytes, piece_bytes, medium), samples).context("no run")
}

impl Bench<'_> {
    fn sample(&mut self, run: u32) -> anyhow::Result<Sample> {
        interrupt::check()?;
        self.node.ensure_running()?;
        let core_gb_per_s = core_speed();
        let create = self.create(&["--no-seed"])?;
        let verify = self.time("verify", &["torrent", "verify"])?;
        let [create_gb_per_s, verify_gb_per_s] =
            [create, verify].map(|time| self.plan.len as f64 / 1e9 / time.as_secs_f64());
        Ok(Sample { run, core_gb_per_s, create_gb_per_s, verify_gb_per_s })
    }

    fn create(&self, more: &[&str]) -> anyhow::Result<Duration> {
        let path = self.source.path();
        let path = path.to_str().context("the folder's name is no text")?;
        let chunk = self.plan.piece_len.to_string();
        let words = ["torrent", "create", path, "--chunk-size", &chunk];
        self.time("create", &[&words, more].concat())
    }

    /// Waits until the node has looked at its seed.
    fn until_checked(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        let argv = self.programs.command(&self.state_dir, ["torrent", "list"]);
        loop {
            let log = self.work.join("list.log");
            let list = answer_of("torrent list", &argv, log, self.plan.timeout)?;
            if list["torrents"][0]["state"] == "TORRENT_STATE_SEEDING" {
                return Ok(());
            }
            ensure!(start.elapsed() < self.plan.timeout, "the seed is not checked: {list}");
            thread::sleep(LOOK_EVERY);
        }
    }

    /// How long a command takes.
    fn time(&self, name: &str, words: &[&str]) -> anyhow::Result<Duration> {
        let argv = self.programs.command(&self.state_dir, words.iter().copied());
        let start = Instant::now();
        let log = self.work.join(format!("{name}.log"));
        let mut members = [Member::start(name, &argv, log)?];
        let times = wait_all(&mut members, start, self.plan.timeout)?;
        times.first().copied().context("nothing was timed")
    }
}

/// What one core hashes, 10⁹ bytes a second.
fn core_speed() -> f64 {
    let block = vec![1; CORE_BLOCK_LEN];
    let start = Instant::now();
    let mut hasher = Sha1::new();
    for _ in 0..CORE_LEN / CORE_BLOCK_LEN {
        hasher.update(hint::black_box(&block));
    }
    hint::black_box(hasher.finalize());
    CORE_LEN as f64 / 1e9 / start.elapsed().as_secs_f64()
}

impl Report {
    fn new(
        machine: Machine,
        (size_bytes, piece_bytes, medium): (u64, u32, Medium),
        samples: Vec<Sample>,
    ) -> Option<Self> {
        let cores = machine.cores as f64;
        let row = |work, speed: fn(&Sample) -> f64| {
            let ratio = |sample| speed(sample) / (cores * sample.core_gb_per_s);
            Some(Row {
                work,
                gb_per_s: Spread::of(samples.iter().map(speed))?,
                core_ratio: Spread::of(samples.iter().map(ratio))?,
            })
        };
        let rows = vec![
            row(Work::Create, |sample| sample.create_gb_per_s)?,
            row(Work::Verify, |sample| sample.verify_gb_per_s)?,
        ];
        let core_gb_per_s = Spread::of(samples.iter().map(|sample| sample.core_gb_per_s))?;
        let runs = samples.iter().map(|sample| sample.run).max().unwrap_or(0);
        Some(Self { machine, size_bytes, piece_bytes, medium, runs, core_gb_per_s, rows, samples })
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
        let medium = self.medium;
        let (size, piece) = (ByteSize(self.size_bytes), ByteSize(self.piece_bytes.into()));
        writeln!(out, "{size} on {medium}, pieces of {piece}, runs: {}", self.runs)?;
        writeln!(out)?;
        writeln!(out, "{:<16}{:>26}{:>32}", "", "GB/s", "of all cores' SHA-1")?;
        writeln!(out, "{:<16}{:>26}{:>32}", "", "median (min-max)", "median (min-max)")?;
        let spread = |it: Spread, digits: usize| {
            format!("{:.digits$} ({:.digits$}-{:.digits$})", it.median, it.min, it.max)
        };
        writeln!(out, "{:<16}{:>26}", "SHA-1, one core", spread(self.core_gb_per_s, 2))?;
        for row in &self.rows {
            let name = match row.work {
                Work::Create => "create",
                Work::Verify => "verify",
            };
            let (speed, ratio) = (spread(row.gb_per_s, 2), spread(row.core_ratio, 3));
            writeln!(out, "{name:<16}{speed:>26}{ratio:>32}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core_gb_per_s, create_gb_per_s, verify_gb_per_s, .. } = self;
        write!(
            f,
            "one core {core_gb_per_s:.2}, create {create_gb_per_s:.2}, verify {verify_gb_per_s:.2} GB/s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_is_compared_with_the_cores_of_that_run() {
        let machine = Machine { cores: 2, ..Machine::here() };
        let sample = |run, core_gb_per_s, verify_gb_per_s| Sample {
            run,
            core_gb_per_s,
            create_gb_per_s: 1.0,
            verify_gb_per_s,
        };
        let samples = vec![sample(1, 2.0, 3.0), sample(2, 1.0, 1.0), sample(3, 1.0, 2.0)];
        let report = Report::new(machine, (1 << 32, 1 << 19, Medium::Tmpfs), samples).unwrap();
        let ratio = report.rows[1].core_ratio;
        assert_eq!(ratio, Spread { median: 0.75, min: 0.5, max: 1.0 });
        let table = report.table();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        assert!(table.contains("0.750 (0.500-1.000)"), "{table}");
    }

    #[test]
    fn one_core_hashes() {
        assert!(core_speed() > 0.0);
    }
}
