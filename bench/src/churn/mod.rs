//! A swarm that is never at rest: one seeder, leechers that come by a schedule, leave when they have
//! everything, or die before. Never here: how a number is shown.

mod report;
mod schedule;

use std::{
    collections::VecDeque,
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
use serde_json::Value;

use self::{
    report::{Report, Sample, Setting},
    schedule::{Arrival, Draw, draw},
};
use crate::{
    Every,
    answer::{last_document, number},
    client::Programs,
    interrupt,
    machine::Machine,
    process::{Member, answer_of, text_of},
    source::{self, NAME, Source},
    space,
    swarm::{self, Swarm},
};

/// What it is told.
#[derive(Args, Debug)]
pub(crate) struct ChurnArgs {
    #[command(flatten)]
    every: Every,
    /// Bytes of the file
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    size: ByteSize,
    /// Bytes of a piece, a power of two from 16KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "512KiB")]
    piece: ByteSize,
    /// Leechers in all
    #[arg(long, value_name = "COUNT", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=1000))]
    leechers: u16,
    /// Most leechers at once; one more waits until there is room
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once: u16,
    /// Seconds over which they come, the mean
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    within: u64,
    /// How likely each is to be killed before it has everything, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.25)]
    leave: f64,
    /// Most bytes a second that each node sends; 0 = no limit
    #[arg(long, value_name = "RATE", default_value = "40MB")]
    upload_limit: ByteSize,
    /// Where the schedule begins
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Policy of the leechers: a name, or a Lua file
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// Folder of shoald and shoalctl [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

struct Bench<'a> {
    args: &'a ChurnArgs,
    programs: Programs,
    source: Source,
    work: &'a Path,
    timeout: Duration,
}

/// A leecher that is there.
struct Leecher {
    node: Member,
    /// Its command to download; none until the node serves.
    download: Option<Member>,
    dir: PathBuf,
    came: Instant,
    leaves_at: Option<f64>,
}

/// What became of a leecher.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    /// It goes on.
    Here,
    /// It has everything, after so many seconds, and so many bytes thrown away.
    Complete { seconds: f64, wasted: u64 },
    /// It was killed with so many bytes.
    Left { bytes: u64 },
}

/// How often the swarm is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Measures everything and shows it. Says on stderr how it goes.
///
/// # Errors
/// Too little room, a program that is missing or fails, a copy that differs, a timeout, or
/// "interrupted". Every process is ended and every file removed.
pub(crate) fn run(args: &ChurnArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    ensure!((0.0..=1.0).contains(&args.leave), "--leave: {} is no probability", args.leave);
    let (len, piece_len) = (args.size.as_u64(), crate::piece_len(args.piece)?);
    ensure!(len > 0, "--size: there is nothing to transfer");
    let dir = args.every.dir.clone().unwrap_or_else(space::default_dir);
    let programs = Programs::of_nodes(args.bin_dir.as_deref())?;
    source::check(len, piece_len)?;
    // Each has the chunks and, for a moment, the merged file.
    let copies_len = len.saturating_mul(u64::from(args.at_once));
    space::ensure_room(&dir, len.saturating_add(space::warmth(copies_len)))?;
    let (machine, medium) = (Machine::here(), space::medium(&dir)?);
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&dir)?;
    let source_dir = work.path().join("source");
    fs::create_dir(&source_dir)?;
    let source = Source::random(&source_dir, len, piece_len)?;
    let timeout = Duration::from_secs(args.every.timeout);
    let bench = Bench { args, programs, source, work: work.path(), timeout };
    let mut samples = Vec::new();
    for run in 1..=args.every.runs {
        space::warm(work.path(), copies_len)?;
        let mut sample = bench.sample()?;
        sample.run = run;
        // A closed stderr is no reason to stop measuring.
        let _ = writeln!(io::stderr(), "run {run}/{}  {sample}", args.every.runs);
        samples.push(sample);
    }
    let setting = Setting {
        size_bytes: len,
        piece_bytes: piece_len,
        leechers: args.leechers,
        at_once: args.at_once,
        within_s: args.within,
        leave_probability: args.leave,
        upload_bps: args.upload_limit.as_u64(),
        seed: args.seed,
        policy: args.policy.clone(),
        medium,
    };
    let report = Report::new(machine, setting, samples).context("no run")?;
    crate::show(args.every.output, &report, Report::table)
}

impl Bench<'_> {
    fn sample(&self) -> anyhow::Result<Sample> {
        interrupt::check()?;
        let dir = tempfile::tempdir_in(self.work)?;
        let dir = dir.path();
        let Swarm { mut tracker, mut seeder, torrent } =
            Swarm::begin(&self.programs, &self.source, dir, self.timeout, &self.flags())?;
        let mut to_come = VecDeque::from(draw(Draw {
            count: self.args.leechers.into(),
            within: Duration::from_secs(self.args.within),
            leave_probability: self.args.leave,
            seed: self.args.seed,
        }));
        let before_cpu_s = seeder.usage()?.cpu_s;
        let (mut sample, mut here) = (Sample::default(), Vec::new());
        let start = Instant::now();
        while !(to_come.is_empty() && here.is_empty()) {
            interrupt::check()?;
            tracker.ensure_running()?;
            seeder.ensure_running()?;
            let due = |arrival: &Arrival| arrival.at <= start.elapsed();
            while here.len() < self.args.at_once.into() && to_come.front().is_some_and(due) {
                let Some(arrival) = to_come.pop_front() else { break };
                let number = usize::from(self.args.leechers) - to_come.len();
                here.push(self.arrive(dir, number, arrival, &torrent)?);
            }
            sample.at_once_max = sample.at_once_max.max(here.len());
            let mut stay = Vec::new();
            for mut leecher in here {
                match self.look(&mut leecher)? {
                    Fate::Here => stay.push(leecher),
                    fate @ (Fate::Complete { .. } | Fate::Left { .. }) => {
                        self.depart(leecher, fate, &mut sample)?;
                    }
                }
            }
            here = stay;
            thread::sleep(LOOK_EVERY);
        }
        sample.wall_s = start.elapsed().as_secs_f64();
        let list = self.list(dir, "seeder")?;
        sample.seeder_bytes = number(&list["torrents"][0]["uploadedBytes"])?;
        sample.cpu_s += seeder.usage()?.cpu_s - before_cpu_s;
        sample.finish(self.source.len());
        Ok(sample)
    }

    /// What every node is told.
    fn flags(&self) -> Vec<OsString> {
        let limit = self.args.upload_limit.as_u64().to_string();
        vec!["--upload-limit".into(), limit.into()]
    }

    fn arrive(
        &self,
        dir: &Path,
        number: usize,
        arrival: Arrival,
        torrent: &Path,
    ) -> anyhow::Result<Leecher> {
        let dir = dir.join(format!("leecher{number}"));
        fs::create_dir(&dir)?;
        let mut more = self.flags();
        more.extend(["--torrent".into(), torrent.into()]);
        if let Some(policy) = &self.args.policy {
            more.extend(["--policy".into(), policy.into()]);
        }
        let came = Instant::now();
        let node = swarm::node(&self.programs, &dir, "node", more)?;
        Ok(Leecher { node, download: None, dir, came, leaves_at: arrival.leaves_at })
    }

    /// What became of a leecher since the last look.
    fn look(&self, leecher: &mut Leecher) -> anyhow::Result<Fate> {
        leecher.node.ensure_running()?;
        let (dir, log) = (&leecher.dir, leecher.dir.join("download.log"));
        let Some(download) = &mut leecher.download else {
            if text_of(&dir.join("node.ready")).is_some() {
                let argv = self.programs.command(&dir.join("node"), ["auto-download"]);
                leecher.download = Some(Member::start("auto-download", &argv, log)?);
            }
            return Ok(Fate::Here);
        };
        let is_done = download.is_done()?;
        let seconds = leecher.came.elapsed().as_secs_f64();
        ensure!(seconds < self.timeout.as_secs_f64(), "a leecher is not done after {seconds} s");
        let said = text_of(&log).and_then(|text| last_document(&text)).unwrap_or_default();
        fate(&said, is_done, seconds, leecher.leaves_at)
    }

    /// Ends a leecher, and makes sure of its copy.
    fn depart(&self, mut leecher: Leecher, fate: Fate, sample: &mut Sample) -> anyhow::Result<()> {
        sample.cpu_s += leecher.node.usage()?.cpu_s;
        match fate {
            Fate::Here => {}
            Fate::Complete { seconds, wasted } => {
                leecher.node.stop();
                self.source.compare(&leecher.dir.join("node").join("downloads").join(NAME))?;
                sample.completion_s.push(seconds);
                sample.wasted_bytes += wasted;
                sample.received_bytes += self.source.len();
            }
            Fate::Left { bytes } => {
                leecher.node.kill();
                sample.left += 1;
                sample.received_bytes += bytes;
            }
        }
        drop(leecher.download);
        fs::remove_dir_all(&leecher.dir)?;
        Ok(())
    }

    fn list(&self, dir: &Path, name: &str) -> anyhow::Result<Value> {
        let argv = self.programs.command(&dir.join(name), ["torrent", "list"]);
        answer_of("torrent list", &argv, dir.join("list.log"), self.timeout)
    }
}

/// What a download's last message means for its leecher.
fn fate(said: &Value, is_done: bool, seconds: f64, leaves_at: Option<f64>) -> anyhow::Result<Fate> {
    if is_done {
        ensure!(said["complete"] == true, "the download is not complete: {said}");
        return Ok(Fate::Complete { seconds, wasted: number(&said["wastedBytes"])? });
    }
    let progress = &said["progress"];
    let Some(leaves_at) = leaves_at.filter(|_| progress.is_object()) else { return Ok(Fate::Here) };
    let bytes = number(&progress["doneBytes"])?;
    let part = bytes as f64 / number(&progress["totalBytes"])?.max(1) as f64;
    // One that has everything already is not killed for being seen late.
    let leaves = part >= leaves_at && part < 1.0;
    Ok(if leaves { Fate::Left { bytes } } else { Fate::Here })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_leecher_leaves_at_its_part_and_not_once_it_has_everything() {
        let said = |done: &str, complete| {
            json!({
                "progress": { "doneBytes": done, "totalBytes": "100" },
                "complete": complete,
                "wastedBytes": "7",
            })
        };
        let check = |said: Value, is_done, leaves_at, expected| {
            assert_eq!(fate(&said, is_done, 2.0, leaves_at).unwrap(), expected, "{said}");
        };
        check(Value::Null, false, Some(0.5), Fate::Here);
        check(said("49", false), false, Some(0.5), Fate::Here);
        check(said("51", false), false, Some(0.5), Fate::Left { bytes: 51 });
        check(said("51", false), false, None, Fate::Here);
        check(said("100", false), false, Some(0.5), Fate::Here);
        let complete = Fate::Complete { seconds: 2.0, wasted: 7 };
        check(said("100", true), true, Some(0.5), complete);
        assert!(fate(&said("99", false), true, 2.0, None).is_err());
    }
}
