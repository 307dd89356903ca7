//! What a swarm of real nodes does on known links: the measurement that the simulator's word is
//! compared with. Each node is a process in a network namespace of its own, and what limits it is
//! the kernel's doing, not the node's. Never here: how a number is shown.

mod gauge;
mod network;
mod plan;
mod report;
mod swarm;

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};

use self::{
    plan::{Name, Plan},
    report::{Measured, Report, Setting},
    swarm::Bench,
};
use crate::{Output, client::Programs, interrupt, machine::Machine, source, source::Source, space};

/// What it is told.
#[derive(Args, Debug)]
pub(crate) struct TruthArgs {
    /// Only this swarm; repeatable [default: all]
    #[arg(long, value_enum)]
    plan: Vec<Name>,
    /// Runs of each swarm
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// How senders react to the network, a module of the kernel
    #[arg(long, value_name = "NAME", default_value = "cubic")]
    congestion: String,
    /// Folder of a temporary folder for all files [default: /dev/shm, else the system's]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Most seconds for one step of one run
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// How the result looks
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Folder of shoald and shoalctl [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// Measures everything and shows it. Says on stderr how it goes.
///
/// # Errors
/// No root, too little room, a program that is missing or fails, a copy that differs, a timeout, or
/// "interrupted". Every process is ended, every file and namespace removed.
pub(crate) fn run(args: &TruthArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let programs = Programs::of_nodes(args.bin_dir.as_deref())?;
    let names = if args.plan.is_empty() { Name::value_variants() } else { &args.plan };
    let dir = args.dir.clone().unwrap_or_else(space::default_dir);
    let (machine, medium) = (Machine::here(), space::medium(&dir)?);
    let mut swarms = Vec::new();
    for name in names {
        let plan = name.plan()?;
        let context = plan.name.clone();
        swarms.push(measure(args, &programs, &dir, plan).context(context)?);
    }
    let setting = Setting { runs: args.runs, congestion: args.congestion.clone(), medium };
    let report = Report { machine, setting, swarms };
    crate::show(args.output, &report, Report::table)
}

/// All runs of a plan.
fn measure(
    args: &TruthArgs,
    programs: &Programs,
    dir: &std::path::Path,
    plan: Plan,
) -> anyhow::Result<Measured> {
    let copies_len = plan.content_bytes.saturating_mul(plan.leechers.len() as u64);
    source::check(plan.content_bytes, plan.piece_bytes)?;
    space::ensure_room(dir, plan.content_bytes.saturating_add(space::warmth(copies_len)))?;
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(dir)?;
    let source_dir = work.path().join("source");
    fs::create_dir(&source_dir)?;
    let source = Source::random(&source_dir, plan.content_bytes, plan.piece_bytes)?;
    let timeout = Duration::from_secs(args.timeout);
    let bench = Bench {
        programs,
        plan: &plan,
        source: &source,
        congestion: &args.congestion,
        work: work.path(),
        timeout,
    };
    let way = gauge::way(&bench)?;
    // A closed stderr is no reason to stop measuring.
    let _ = writeln!(io::stderr(), "{}  {way}", plan.name);
    let mut samples = Vec::new();
    for run in 1..=args.runs {
        space::warm(work.path(), copies_len)?;
        let sample = bench.sample(run)?;
        let _ = writeln!(io::stderr(), "{}  run {run}/{}  {sample}", plan.name, args.runs);
        samples.push(sample);
    }
    drop(work);
    Measured::new(plan, way, samples).context("no run")
}
