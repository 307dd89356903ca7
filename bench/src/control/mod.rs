//! What the control surface costs a node that downloads, and how long its answers take: readers of
//! events, unary calls at a limited rate and at full speed, and while the node's disk stands still.
//! Never here: how a number is shown.

pub(crate) mod callers;
mod freeze;
mod report;

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytesize::ByteSize;
use clap::Args;
use serde::de::DeserializeOwned;

use self::{
    callers::{Called, Watched},
    freeze::Disk,
    report::{Frozen, Readers, Report, Sample, Setting, Stalled, Working},
};
use crate::{
    Every,
    client::{Programs, Resident},
    interrupt,
    machine::Machine,
    process::{Member, await_that, document, text_of, wait_all},
    source::{self, NAME, Source},
    space,
    swarm::Swarm,
};

/// What it is told.
#[derive(Args, Debug)]
pub(crate) struct ControlArgs {
    #[command(flatten)]
    every: Every,
    /// Readers of events, each on a connection of its own
    #[arg(long, value_name = "COUNT", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1000))]
    readers: u16,
    /// Bytes a second at which the node downloads while that is limited
    #[arg(long, value_name = "RATE", default_value = "100MB")]
    rate: ByteSize,
    /// Seconds that each part of a run is watched
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Bytes of the file, most of them holes; has to last for three such parts at the rate
    #[arg(long, value_name = "SIZE", default_value = "3GiB")]
    size: ByteSize,
    /// Bytes of a piece, a power of two from 16KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "512KiB")]
    piece: ByteSize,
    /// Milliseconds between two calls
    #[arg(long, value_name = "MS", default_value_t = 2)]
    pause: u64,
    /// Events while readers stand still: a node keeps 8192, and up to 2 MiB of them wait at the other
    /// end of each stream
    #[arg(long, value_name = "COUNT", default_value_t = 40_000)]
    storm: u32,
    /// Readers that stand still
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    stalled: u16,
    /// Seconds that the disk stands still, a loop-mounted ext4; takes root, and is left out without
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=30))]
    freeze: u64,
    /// Folder of shoald and shoalctl [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

struct Bench<'a> {
    args: &'a ControlArgs,
    programs: Programs,
    source: Source,
    work: &'a Path,
    timeout: Duration,
}

/// A node that downloads, and where it is.
struct Node {
    member: Member,
    state_dir: PathBuf,
}

/// What a node needs until it is at work after it serves.
const SETTLE: Duration = Duration::from_secs(1);

/// Measures everything and shows it. Says on stderr how it goes.
///
/// # Errors
/// Too little room, a program that is missing or fails, a timeout, or "interrupted". Every process
/// is ended and every file removed.
pub(crate) fn run(args: &ControlArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let piece_len = crate::piece_len(args.piece)?;
    source::check(args.size.as_u64(), piece_len)?;
    let dir = args.every.dir.clone().unwrap_or_else(space::default_dir);
    space::ensure_room(&dir, args.size.as_u64().saturating_mul(2))?;
    let (machine, medium) = (Machine::here(), space::medium(&dir)?);
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&dir)?;
    let sources = work.path().join("source");
    fs::create_dir(&sources)?;
    let bench = Bench {
        args,
        programs: Programs::of_nodes(args.bin_dir.as_deref())?,
        source: Source::sparse(&sources, args.size.as_u64(), piece_len)?,
        work: work.path(),
        timeout: Duration::from_secs(args.every.timeout),
    };
    let no_freeze = freeze::why_not();
    let mut samples = Vec::new();
    for run in 1..=args.every.runs {
        let sample = bench.sample(run, no_freeze.is_none())?;
        // A closed stderr is no reason to stop measuring.
        let _ = writeln!(io::stderr(), "run {run}/{}  {sample}", args.every.runs);
        samples.push(sample);
    }
    let setting = Setting {
        readers: args.readers,
        rate_bps: args.rate.as_u64(),
        seconds: args.seconds,
        size_bytes: args.size.as_u64(),
        piece_bytes: piece_len,
        pause_ms: args.pause,
        storm: args.storm,
        freeze_s: args.freeze,
        no_freeze,
        medium,
    };
    let report = Report::new(machine, setting, samples).context("no run")?;
    crate::show(args.every.output, &report, Report::table)
}

impl Bench<'_> {
    fn sample(&self, run: u32, freezes: bool) -> anyhow::Result<Sample> {
        interrupt::check()?;
        let dir = tempfile::tempdir_in(self.work)?;
        let dir = dir.path();
        let mut swarm = Swarm::begin(&self.programs, &self.source, dir, self.timeout, &[])?;
        let (limited, readers) = self.limited(run, dir, &swarm)?;
        let (full, stalled) = self.full(dir, &swarm)?;
        let frozen = if freezes { Some(self.frozen(dir, &swarm)?) } else { None };
        swarm.tracker.ensure_running()?;
        swarm.seeder.ensure_running()?;
        Ok(Sample { run, readers, limited, full, stalled, frozen })
    }

    /// At the limited rate: calls, and the node's processor time with readers and without, in turn
    /// first.
    fn limited(&self, run: u32, dir: &Path, swarm: &Swarm) -> anyhow::Result<(Working, Readers)> {
        let mut node = self.node(dir, dir.join("limited"), swarm, Some(self.args.rate))?;
        let calls: Called = self.ask(&node, dir, "calls", self.args.seconds)?;
        let (with, without) = if run.is_multiple_of(2) {
            let without = self.cpu(&mut node)?;
            (self.with_readers(&mut node, dir)?, without)
        } else {
            let with = self.with_readers(&mut node, dir)?;
            (with, self.cpu(&mut node)?)
        };
        let ((with, watched), seconds) = (with, self.args.seconds as f64);
        ensure!(
            !self.is_complete(&node.state_dir),
            "--size: the file did not last for {seconds} s thrice"
        );
        ensure!(watched.lost + watched.cut_off == 0, "readers lost their streams: {watched:?}");
        let readers = Readers {
            cpu_without: without,
            cpu_with: with,
            cpu_more: with - without,
            messages_per_s: watched.messages as f64 / seconds,
        };
        let mb_per_s = self.args.rate.as_u64() as f64 / 1e6;
        Ok((Working::new(mb_per_s, calls), readers))
    }

    fn with_readers(&self, node: &mut Node, dir: &Path) -> anyhow::Result<(f64, Watched)> {
        let mut readers = self.readers(node, dir, "readers", self.args.readers, None)?;
        let cpu = self.cpu(node)?;
        readers.stop();
        Ok((cpu, answer(&readers)?))
    }

    /// At full speed: calls all the time until the copy is there. Then readers that stand still
    /// while much happens.
    fn full(&self, dir: &Path, swarm: &Swarm) -> anyhow::Result<(Working, Stalled)> {
        space::warm(self.work, self.source.len())?;
        let start = Instant::now();
        let mut node = self.node(dir, dir.join("full"), swarm, None)?;
        let mut caller = self.caller(&node, dir, "calls-full", self.args.every.timeout)?;
        let complete = || self.is_complete(&node.state_dir).then_some(());
        await_that("its copy", &mut node.member, self.timeout, complete)?;
        let wall_s = start.elapsed().as_secs_f64();
        caller.stop();
        let calls: Called = answer(&caller)?;
        let mb_per_s = self.source.len() as f64 / 1e6 / wall_s;
        Ok((Working::new(mb_per_s, calls), self.stalled(&node, dir)?))
    }

    fn stalled(&self, node: &Node, dir: &Path) -> anyhow::Result<Stalled> {
        // Once for what the node keeps anyhow.
        self.storm(node, dir)?;
        let before = node.member.resident_kib()?;
        let count = self.args.stalled;
        let mut readers = self.readers(node, dir, "stalled", count, Some("--stall"))?;
        self.storm(node, dir)?;
        let after = node.member.resident_kib()?;
        readers.stop();
        let watched: Watched = answer(&readers)?;
        Ok(Stalled {
            readers: count.into(),
            cut_off: watched.cut_off,
            grown_mib: (after as f64 - before as f64) / 1024.0,
        })
    }

    fn storm(&self, node: &Node, dir: &Path) -> anyhow::Result<()> {
        let argv =
            own(["control-storm".into(), endpoint(node), self.args.storm.to_string().into()])?;
        let mut storm = [Member::start("storm", &argv, dir.join("storm.log"))?];
        wait_all(&mut storm, Instant::now(), self.timeout).map(drop)
    }

    /// While the disk stands still under everything that the node keeps.
    fn frozen(&self, dir: &Path, swarm: &Swarm) -> anyhow::Result<Frozen> {
        let disk = Disk::mount(dir, self.source.len() * 5 / 4)?;
        let mut node = self.node(dir, disk.path().join("frozen"), swarm, Some(self.args.rate))?;
        let stall = Duration::from_secs(self.args.freeze);
        let mut caller = self.caller(&node, dir, "calls-frozen", self.args.every.timeout)?;
        // Some calls before and behind it: the first has to be on its way when it begins.
        thread::sleep(SETTLE / 2);
        disk.freeze(stall)?;
        thread::sleep(SETTLE / 2);
        caller.stop();
        let called: Called = answer(&caller)?;
        node.member.ensure_running()?;
        node.member.stop();
        Ok(Frozen { failed: called.failed, calls: called.all, methods: called.methods })
    }

    /// Starts a node that downloads, and waits until it is at work.
    fn node(
        &self,
        dir: &Path,
        state_dir: PathBuf,
        swarm: &Swarm,
        limit: Option<ByteSize>,
    ) -> anyhow::Result<Node> {
        let name = state_dir.file_name().context("a folder")?.to_string_lossy().into_owned();
        let ready_file = dir.join(format!("{name}.ready"));
        let mut more: Vec<OsString> =
            vec!["--torrent".into(), swarm.torrent.clone().into(), "--auto-download".into()];
        if let Some(limit) = limit {
            more.extend(["--download-limit".into(), limit.as_u64().to_string().into()]);
        }
        let resident = Resident { state_dir: &state_dir, ready_file: &ready_file, more };
        let argv = self.programs.resident(&resident);
        let mut member = Member::start(&name, &argv, dir.join(format!("{name}.log")))?;
        await_that("its address", &mut member, self.timeout, || text_of(&ready_file))?;
        if limit.is_some() {
            thread::sleep(SETTLE);
        }
        Ok(Node { member, state_dir })
    }

    /// The part of a core that the node takes over the time of one part, per cent.
    fn cpu(&self, node: &mut Node) -> anyhow::Result<f64> {
        let (start, before) = (Instant::now(), node.member.usage()?.cpu_s);
        let end = start + Duration::from_secs(self.args.seconds);
        while Instant::now() < end {
            interrupt::check()?;
            node.member.ensure_running()?;
            thread::sleep(Duration::from_millis(100));
        }
        let cpu_s = node.member.usage()?.cpu_s - before;
        Ok(100.0 * cpu_s / start.elapsed().as_secs_f64())
    }

    fn readers(
        &self,
        node: &Node,
        dir: &Path,
        name: &str,
        count: u16,
        more: Option<&str>,
    ) -> anyhow::Result<Member> {
        let ready = dir.join(format!("{name}.ready"));
        let words = ["control-watch".into(), endpoint(node), count.to_string().into()];
        let mut argv = own(words)?;
        argv.push(ready.clone().into());
        argv.extend(more.map(OsString::from));
        let mut readers = Member::start(name, &argv, dir.join(format!("{name}.log")))?;
        await_that("its streams", &mut readers, self.timeout, || text_of(&ready))?;
        Ok(readers)
    }

    fn caller(&self, node: &Node, dir: &Path, name: &str, seconds: u64) -> anyhow::Result<Member> {
        let (seconds, pause) = (seconds.to_string(), self.args.pause.to_string());
        let argv = own(["control-call".into(), endpoint(node), seconds.into(), pause.into()])?;
        Member::start(name, &argv, dir.join(format!("{name}.log")))
    }

    fn ask(&self, node: &Node, dir: &Path, name: &str, seconds: u64) -> anyhow::Result<Called> {
        let mut caller = [self.caller(node, dir, name, seconds)?];
        wait_all(&mut caller, Instant::now(), self.timeout)?;
        answer(&caller[0])
    }

    /// Whether the merged copy of a node is there.
    fn is_complete(&self, state_dir: &Path) -> bool {
        let copy = fs::metadata(state_dir.join("downloads").join(NAME));
        copy.is_ok_and(|copy| copy.len() == self.source.len())
    }
}

/// What a process said at its end.
fn answer<T: DeserializeOwned>(member: &Member) -> anyhow::Result<T> {
    Ok(serde_json::from_value(document(member)?)?)
}

/// This program with these words.
fn own<const N: usize>(words: [OsString; N]) -> anyhow::Result<Vec<OsString>> {
    let program = std::env::current_exe()?.into_os_string();
    Ok([program].into_iter().chain(words).collect())
}

fn endpoint(node: &Node) -> OsString {
    let mut endpoint = OsString::from("unix://");
    endpoint.push(node.state_dir.join("shoald.sock"));
    endpoint
}
