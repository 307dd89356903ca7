//! A node that knows many torrents, most of them idle: how it starts, what it costs at rest, and how
//! many small downloads at once compare with one of the same bytes. Never here: how a number is
//! shown.

mod report;

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    slice, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytesize::ByteSize;
use clap::Args;

use self::report::{Report, Rest, Sample, Setting, Start, Work};
use crate::{
    Every,
    answer::address,
    client::{Programs, Resident, seed},
    interrupt,
    machine::Machine,
    process::{Member, answer_of, await_that, text_of},
    source::{self, Source},
    space,
    tracker::known,
};

/// What it is told.
#[derive(Args, Debug)]
pub(crate) struct ManyArgs {
    #[command(flatten)]
    every: Every,
    /// Torrents that the node seeds and nobody wants
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    idle: u16,
    /// Bytes of each of them
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    idle_size: ByteSize,
    /// Torrents that the node downloads at once
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    active: u16,
    /// Bytes of each of them
    #[arg(long, value_name = "SIZE", default_value = "4MiB")]
    active_size: ByteSize,
    /// Bytes of a piece, a power of two from 16KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    piece: ByteSize,
    /// Seconds over which the node is watched at rest
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    rest: u64,
    /// Folder of shoald and shoalctl [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// All that is shared.
struct Sources {
    idle: Vec<Source>,
    active: Vec<Source>,
    /// As many bytes as all of `active`.
    whole: Source,
}

/// A source, its torrent and the info hash.
struct Torrent<'a> {
    source: &'a Source,
    file: PathBuf,
    info_hash: [u8; 20],
}

struct Bench<'a> {
    args: &'a ManyArgs,
    programs: Programs,
    sources: &'a Sources,
    work: &'a Path,
    timeout: Duration,
}

/// The node that is measured, started anew again and again in the same folder.
struct Node<'a> {
    bench: &'a Bench<'a>,
    dir: &'a Path,
    name: &'static str,
}

/// Commands that are timed while the node is at rest.
const COMMANDS: usize = 100;
/// How long a node that just announced everything is left alone before it counts as at rest.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures everything and shows it. Says on stderr how it goes.
///
/// # Errors
/// Too little room, a program that is missing or fails, a copy that differs, a timeout, or
/// "interrupted". Every process is ended and every file removed.
pub(crate) fn run(args: &ManyArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let piece_len = crate::piece_len(args.piece)?;
    let (idle_len, active_len) = (args.idle_size.as_u64(), args.active_size.as_u64());
    ensure!(idle_len > 0 && active_len > 0, "a torrent of nothing");
    let whole_len = active_len.saturating_mul(args.active.into());
    for len in [idle_len, active_len, whole_len] {
        source::check(len, piece_len)?;
    }
    let dir = args.every.dir.clone().unwrap_or_else(space::default_dir);
    let programs = Programs::of_nodes(args.bin_dir.as_deref())?;
    // The sources, and copies of both kinds.
    let sources_len = idle_len.saturating_mul(args.idle.into()).saturating_add(2 * whole_len);
    space::ensure_room(&dir, sources_len.saturating_add(space::warmth(2 * whole_len)))?;
    let (machine, medium) = (Machine::here(), space::medium(&dir)?);
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&dir)?;
    let sources = Sources::make(args, work.path(), piece_len)?;
    let timeout = Duration::from_secs(args.every.timeout);
    let bench = Bench { args, programs, sources: &sources, work: work.path(), timeout };
    let mut samples = Vec::new();
    for run in 1..=args.every.runs {
        let sample = bench.sample(run)?;
        // A closed stderr is no reason to stop measuring.
        let _ = writeln!(io::stderr(), "run {run}/{}  {sample}", args.every.runs);
        samples.push(sample);
    }
    let setting = Setting {
        idle: args.idle,
        idle_size_bytes: idle_len,
        active: args.active,
        active_size_bytes: active_len,
        piece_bytes: piece_len,
        rest_s: args.rest,
        medium,
    };
    let report = Report::new(machine, setting, samples).context("no run")?;
    crate::show(args.every.output, &report, Report::table)
}

impl Sources {
    fn make(args: &ManyArgs, work: &Path, piece_len: u32) -> anyhow::Result<Self> {
        let dir = work.join("source");
        fs::create_dir(&dir)?;
        let several = |name: &str, count: u16, len: u64, first_seed: u64| {
            let make = |index: u16| {
                let seed = first_seed + u64::from(index);
                Source::named(&dir, &format!("{name}{index}.bin"), seed, len, piece_len)
            };
            (0..count).map(make).collect::<anyhow::Result<Vec<_>>>()
        };
        let active_len = args.active_size.as_u64();
        Ok(Self {
            idle: several("idle", args.idle, args.idle_size.as_u64(), 1 << 32)?,
            active: several("active", args.active, active_len, 1 << 33)?,
            whole: {
                let len = active_len * u64::from(args.active);
                Source::named(&dir, "whole.bin", 1 << 34, len, piece_len)?
            },
        })
    }
}

impl Bench<'_> {
    fn sample(&self, run: u32) -> anyhow::Result<Sample> {
        interrupt::check()?;
        let dir = tempfile::tempdir_in(self.work)?;
        let dir = dir.path();
        let ready_file = dir.join("tracker.ready");
        let argv = self.programs.tracker(&dir.join("tracker"), &ready_file);
        let mut member = Member::start("tracker", &argv, dir.join("tracker.log"))?;
        let ready = await_that("its address", &mut member, self.timeout, || text_of(&ready_file))?;
        let tracker = address(&ready, "tracker_address")?;
        let announce = format!("http://{tracker}/announce");
        let idle = torrents(&self.sources.idle, &announce, dir)?;
        let active = torrents(&self.sources.active, &announce, dir)?;
        let whole = torrents(slice::from_ref(&self.sources.whole), &announce, dir)?;
        let holder = Node { bench: self, dir, name: "holder" };
        let held = active.iter().chain(&whole);
        let (holder, _) = holder.start(seeds(held.clone()), tracker, held)?;
        let sample = self.phases(run, dir, tracker, &idle, &active, &whole)?;
        drop(holder);
        member.ensure_running()?;
        Ok(sample)
    }

    /// One start of the node after the other, each with what it is for.
    fn phases(
        &self,
        run: u32,
        dir: &Path,
        tracker: SocketAddr,
        idle: &[Torrent<'_>],
        active: &[Torrent<'_>],
        whole: &[Torrent<'_>],
    ) -> anyhow::Result<Sample> {
        let empty = Node { bench: self, dir, name: "empty" };
        let (member, empty) = empty.start(Vec::new(), tracker, [])?;
        drop(member);
        let node = Node { bench: self, dir, name: "node" };
        let (mut member, first) = node.start(seeds(idle), tracker, idle)?;
        node.is_connected(&mut member)?;
        let start = Instant::now();
        // Killed before it kept what it was told it would not start as it is to.
        ensure!(member.stop_within(self.timeout), "the node did not end");
        let stop_s = start.elapsed().as_secs_f64();
        let hashes: Vec<_> = idle.iter().map(|torrent| torrent.info_hash).collect();
        let still_known = known(tracker, &hashes)?;
        let (mut member, again) = node.start(Vec::new(), tracker, idle)?;
        let rest = node.rest(&mut member)?;
        ensure!(member.stop_within(self.timeout), "the node did not end");
        let active = node.work(active, tracker, idle)?;
        let whole = node.work(whole, tracker, idle)?;
        Ok(Sample {
            run,
            empty_ready_s: empty.ready_s,
            first,
            stop_s,
            still_known,
            again,
            rest,
            active,
            whole,
            ratio: whole.wall_s / active.wall_s,
        })
    }
}

impl Node<'_> {
    /// Starts it, and waits until the tracker knows it for all `torrents`.
    fn start<'t>(
        &self,
        more: Vec<OsString>,
        tracker: SocketAddr,
        torrents: impl IntoIterator<Item = &'t Torrent<'t>>,
    ) -> anyhow::Result<(Member, Start)> {
        let hashes: Vec<_> = torrents.into_iter().map(|torrent| torrent.info_hash).collect();
        let ready_file = self.dir.join(format!("{}.ready", self.name));
        // It is made anew by every start.
        let _ = fs::remove_file(&ready_file);
        let state_dir = self.dir.join(self.name);
        let resident = Resident { state_dir: &state_dir, ready_file: &ready_file, more };
        let argv = self.bench.programs.resident(&resident);
        let (start, within) = (Instant::now(), self.bench.timeout);
        let mut member =
            Member::start(self.name, &argv, self.dir.join(format!("{}.log", self.name)))?;
        await_that("its address", &mut member, within, || text_of(&ready_file))?;
        let ready_s = start.elapsed().as_secs_f64();
        let count = hashes.len() as u64;
        let all = || (known(tracker, &hashes).ok()? >= count).then_some(());
        await_that("announcing its torrents", &mut member, within, all)?;
        Ok((member, Start { ready_s, known_s: start.elapsed().as_secs_f64() }))
    }

    /// Waits until it has taken the tracker's answers in: what it said until then survives its end.
    fn is_connected(&self, member: &mut Member) -> anyhow::Result<()> {
        let args = ["torrent", "list"];
        let argv = self.bench.programs.command(&self.dir.join(self.name), args);
        let log = || self.dir.join("list.log");
        let all = || {
            let list = answer_of("torrent list", &argv, log(), self.bench.timeout).ok()?;
            let torrents = list["torrents"].as_array()?;
            torrents.iter().all(|torrent| torrent["trackerConnected"] == true).then_some(())
        };
        await_that("its tracker's answers", member, self.bench.timeout, all)
    }

    /// Watches it while nobody wants anything.
    fn rest(&self, member: &mut Member) -> anyhow::Result<Rest> {
        thread::sleep(SETTLE);
        let before = member.usage()?.cpu_s;
        let end = Instant::now() + Duration::from_secs(self.bench.args.rest);
        let start = Instant::now();
        while Instant::now() < end {
            interrupt::check()?;
            member.ensure_running()?;
            thread::sleep(Duration::from_millis(100));
        }
        let cpu_s = member.usage()?.cpu_s - before;
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        let (threads, files) = member.threads_and_files()?;
        let resident_mib = member.resident_kib()? as f64 / 1024.0;
        let commands =
            (0..COMMANDS).map(|_| self.command()).collect::<anyhow::Result<Vec<f64>>>()?;
        let [p50_ms, p99_ms] = report::percentiles(commands);
        Ok(Rest { resident_mib, threads, files, cpu_s_per_min: cpu_s / minutes, p50_ms, p99_ms })
    }

    /// Starts it with downloads that begin at once, and asks it things until every copy is there.
    fn work(
        &self,
        torrents: &[Torrent<'_>],
        tracker: SocketAddr,
        idle: &[Torrent<'_>],
    ) -> anyhow::Result<Work> {
        let len: u64 = torrents.iter().map(|torrent| torrent.source.len()).sum();
        space::warm(self.bench.work, len)?;
        let files = torrents.iter().flat_map(|it| ["--torrent".into(), it.file.clone().into()]);
        let more = files.chain(["--auto-download".into()]).collect();
        let start = Instant::now();
        let (mut member, _) = self.start(more, tracker, [])?;
        let mut commands = Vec::new();
        let downloads = self.dir.join(self.name).join("downloads");
        let copy = |torrent: &Torrent<'_>| downloads.join(torrent.source.name());
        let is_there = |torrent: &Torrent<'_>| {
            fs::metadata(copy(torrent)).is_ok_and(|copy| copy.len() == torrent.source.len())
        };
        // Those that are there stay there, so that only the next one has to be looked for.
        let mut left = torrents;
        while let [next, rest @ ..] = left {
            if is_there(next) {
                left = rest;
                continue;
            }
            interrupt::check()?;
            member.ensure_running()?;
            ensure!(start.elapsed() < self.bench.timeout, "{} is not there", next.source.name());
            commands.push(self.command()?);
        }
        let wall_s = start.elapsed().as_secs_f64();
        let usage = member.usage()?;
        // What was idle is still served.
        let hashes: Vec<_> = idle.iter().map(|torrent| torrent.info_hash).collect();
        let all = || (known(tracker, &hashes).ok()? >= hashes.len() as u64).then_some(());
        await_that("idle torrents", &mut member, self.bench.timeout, all)?;
        ensure!(member.stop_within(self.bench.timeout), "the node did not end");
        for torrent in torrents {
            torrent.source.compare(&copy(torrent))?;
            fs::remove_file(copy(torrent))?;
        }
        let [p50_ms, p99_ms] = report::percentiles(commands);
        Ok(Work {
            wall_s,
            mb_per_s: len as f64 / 1e6 / wall_s,
            cpu_s: usage.cpu_s,
            peak_mib: usage.peak_kib as f64 / 1024.0,
            p50_ms,
            p99_ms,
        })
    }

    /// Milliseconds of a command to it, from the start of its process to its end.
    fn command(&self) -> anyhow::Result<f64> {
        let argv = self.bench.programs.command(&self.dir.join(self.name), ["node", "info"]);
        let start = Instant::now();
        answer_of("node info", &argv, self.dir.join("command.log"), self.bench.timeout)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

/// Writes the torrents of these sources into `dir`.
fn torrents<'a>(
    sources: &'a [Source],
    announce: &str,
    dir: &Path,
) -> anyhow::Result<Vec<Torrent<'a>>> {
    let torrent = |source: &'a Source| {
        let file = dir.join(format!("{}.torrent", source.name()));
        let info_hash = source.torrent(announce, &file)?.info_hash.0;
        Ok(Torrent { source, file, info_hash })
    };
    sources.iter().map(torrent).collect()
}

/// What a node is told to seed them.
fn seeds<'t>(torrents: impl IntoIterator<Item = &'t Torrent<'t>>) -> Vec<OsString> {
    torrents.into_iter().flat_map(|it| seed(it.source, &it.file)).collect()
}
