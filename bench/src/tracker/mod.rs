//! How many announces a second a tracker answers and what a peer costs it, beside aquatic's trackers
//! under the same load, in turn; or under aquatic's own load testers. Never here: how a number is
//! shown.

mod contestant;
mod http;
mod load;
mod report;
mod tester;
mod udp;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;
use clap::{Args, ValueEnum};

pub(crate) use self::udp::known;
use self::{
    contestant::{Aquatic, Running, Way, Who, start},
    load::{Goal, Load, Outcome},
    report::{Report, Sample, Setting},
    tester::Test,
};
use crate::{
    Every,
    client::{Client, Contest, Programs},
    interrupt,
    machine::Machine,
    site::Site,
    space,
};

/// What it is told.
#[derive(Args, Debug)]
pub(crate) struct TrackerArgs {
    #[command(flatten)]
    every: Every,
    /// Torrents
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    torrents: u32,
    /// Peers of each torrent, each of a foreign client
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=load::PEERS_MAX as i64))]
    peers: u32,
    /// Peers that each announce wants
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=200))]
    numwant: u32,
    /// How the tracker is asked; repeatable [default: all]
    #[arg(long, value_enum)]
    way: Vec<Way>,
    /// Seconds of announces, after every peer has announced once
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Sockets that UDP is sent from
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    sockets: u16,
    /// Packets under way on each socket
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    window: u16,
    /// HTTP connections at once
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
    /// Requests under way on each connection of `piped`
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    pipeline: u16,
    /// Whose load
    #[arg(long, value_enum, default_value = "own")]
    tester: Tester,
    /// Folder of aquatic's programs [default: the path]
    #[arg(long, value_name = "DIR")]
    aquatic_dir: Option<PathBuf>,
    /// Folder of shoald [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// Whose load a tracker is put under.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Tester {
    /// Ours: every answer checked, memory too
    Own,
    /// `aquatic_udp_load_test` and `aquatic_http_load_test`
    Aquatic,
}

struct Bench<'a> {
    args: &'a TrackerArgs,
    programs: Programs,
    aquatic: Aquatic,
    load: Load,
    work: &'a Path,
    timeout: Duration,
}

/// Measures everything and shows it. Says on stderr how it goes.
///
/// # Errors
/// A program that is missing or fails, an answer that is none, a timeout, or "interrupted". Every
/// process is ended and every file removed.
pub(crate) fn run(args: &TrackerArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let dir = args.every.dir.clone().unwrap_or_else(space::default_dir);
    let shoal = Contest::Swarm { seeder: Client::Shoal, leecher: Client::Shoal };
    let programs = Programs::find(args.bin_dir.as_deref(), None, Site::Loopback, &[shoal])?;
    let aquatic = Aquatic::find(args.aquatic_dir.as_deref());
    let machine = Machine::here();
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&dir)?;
    let load = Load::new(args.torrents, args.peers, args.numwant);
    let timeout = Duration::from_secs(args.every.timeout);
    let bench = Bench { args, programs, aquatic, load, work: work.path(), timeout };
    let rows = bench.rows()?;
    let mut samples = Vec::new();
    for run in 1..=args.every.runs {
        for &(way, who) in &rows {
            let sample = bench.sample(run, way, who);
            let sample = sample.map_err(|error| error.context(format!("{}: {who}", way.name())))?;
            // A closed stderr is no reason to stop measuring.
            let _ = writeln!(io::stderr(), "run {run}/{}  {sample}", args.every.runs);
            samples.push(sample);
        }
    }
    let setting = Setting {
        tester: args.tester.name(),
        torrents: args.torrents,
        peers_per_torrent: args.peers,
        numwant: args.numwant,
        seconds: args.seconds,
        sockets: args.sockets,
        window: args.window,
        connections: args.connections,
        pipeline: args.pipeline,
    };
    crate::show(args.every.output, &Report::new(machine, setting, &rows, samples), Report::table)
}

impl Tester {
    fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Aquatic => "aquatic",
        }
    }
}

impl Bench<'_> {
    /// Who is asked how, in turn.
    fn rows(&self) -> anyhow::Result<Vec<(Way, Who)>> {
        let all = Way::value_variants();
        let ways = if self.args.way.is_empty() { all } else { &self.args.way };
        let rows = ways.iter().flat_map(|&way| [(way, Who::Shoal), (way, Who::Aquatic)]);
        let has = |name: &str| self.aquatic.program(name).is_some();
        let mut rows: Vec<_> = rows.filter(|(way, who)| way.suits(*who)).collect();
        rows.retain(|(way, who)| *who == Who::Shoal || has(way.aquatic()));
        if self.args.tester == Tester::Aquatic {
            rows.retain(|(way, _)| *way != Way::Piped && has(tester::program(*way)));
            ensure!(
                !rows.is_empty(),
                "aquatic's load testers are not installed: see --aquatic-dir"
            );
        }
        Ok(rows)
    }

    fn sample(&self, run: u32, way: Way, who: Who) -> anyhow::Result<Sample> {
        interrupt::check()?;
        let dir = tempfile::tempdir_in(self.work)?;
        let (programs, aquatic) = (&self.programs, &self.aquatic);
        let mut tracker = start(who, way, programs, aquatic, dir.path(), self.timeout)?;
        let sample = match self.args.tester {
            Tester::Own => self.own(&mut tracker, way),
            Tester::Aquatic => self.foreign(&mut tracker, way, dir.path()),
        };
        // Why it ended says more than that it does not answer.
        tracker.member.ensure_running()?;
        Ok(Sample { run, way, who, ..sample? })
    }

    /// Everybody announces once, which is what memory is for; then the time runs.
    fn own(&self, tracker: &mut Running, way: Way) -> anyhow::Result<Sample> {
        let hashes = self.load.info_hashes();
        self.known(tracker.addr, way, &hashes[..1])?;
        let before = tracker.member.resident_kib()?;
        let filled = self.drive(tracker.addr, way, Goal::Once)?;
        let after = tracker.member.resident_kib()?;
        let known = self.known(tracker.addr, way, hashes)?;
        ensure!(known > 0, "the tracker knows nobody");
        let before_cpu_s = tracker.member.usage()?.cpu_s;
        let goal = Goal::For(Duration::from_secs(self.args.seconds));
        let timed = self.drive(tracker.addr, way, goal)?;
        let cpu_s = tracker.member.usage()?.cpu_s - before_cpu_s;
        let wants_some = self.load.numwant() > 0 && self.args.peers > 1;
        ensure!(timed.peers > 0 || !wants_some, "no answer holds a peer");
        let answers = timed.answers.max(1) as f64;
        Ok(Sample {
            answers_per_s: per_s(timed),
            first_per_s: Some(per_s(filled)),
            cpu_us: Some(cpu_s * 1e6 / answers),
            peers_per_answer: Some(timed.peers as f64 / answers),
            lost: Some(filled.lost + timed.lost),
            known_peers: Some(known),
            bytes_per_peer: Some(after.saturating_sub(before) as f64 * 1024.0 / known as f64),
            ..Sample::empty(way)
        })
    }

    fn foreign(&self, tracker: &mut Running, way: Way, dir: &Path) -> anyhow::Result<Sample> {
        let test = Test {
            torrents: self.args.torrents,
            peers: self.load.len(),
            connections: self.args.connections,
            seconds: self.args.seconds,
        };
        let before_cpu_s = tracker.member.usage()?.cpu_s;
        let verdict = tester::run(&self.aquatic, way, tracker.addr, test, dir, self.timeout)?;
        let cpu_s = tracker.member.usage()?.cpu_s - before_cpu_s;
        let answers = verdict.answers_per_s * test.seconds.next_multiple_of(tester::STEP_S) as f64;
        Ok(Sample {
            answers_per_s: verdict.answers_per_s,
            cpu_us: Some(cpu_s * 1e6 / answers.max(1.0)),
            ..Sample::empty(way)
        })
    }

    fn drive(&self, tracker: SocketAddr, way: Way, goal: Goal) -> anyhow::Result<Outcome> {
        let args = self.args;
        let connections = args.connections;
        let http = |pipeline, closes| {
            let shape = http::Shape { connections, pipeline, closes };
            http::drive(&self.load, tracker, shape, goal)
        };
        match way {
            Way::Udp => {
                let shape = udp::Shape { sockets: args.sockets, window: args.window };
                udp::drive(&self.load, tracker, shape, goal)
            }
            Way::Http => http(1, false),
            Way::Piped => http(args.pipeline, false),
            // Where everybody has to announce first, no connection is wasted on it.
            Way::Close => http(1, goal != Goal::Once),
        }
    }

    fn known(&self, tracker: SocketAddr, way: Way, hashes: &[[u8; 20]]) -> anyhow::Result<u64> {
        match way {
            Way::Udp => known(tracker, hashes),
            Way::Http | Way::Piped | Way::Close => http::known(tracker, hashes),
        }
    }
}

fn per_s(outcome: Outcome) -> f64 {
    outcome.answers as f64 / outcome.wall.as_secs_f64()
}
