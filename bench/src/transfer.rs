//! Timing whole transfers: each run takes every contestant once, in the same order, over the same
//! path, so that what changes on the machine changes for all of them. Never here: how a number is
//! shown.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{
    answer::{address, number},
    calls::{self, Calls, Counter},
    client::{Client, Contest, Programs, Start},
    interrupt,
    machine::Machine,
    process::{Member, Usage, answer_of, await_that, text_of, wait_all},
    report::{Report, Sample, Setting},
    site::{Hosts, Site},
    source::{self, NAME, Source},
    space,
};

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Who takes part, the floor among them.
    pub(crate) contests: Vec<Contest>,
    /// Bytes of the source.
    pub(crate) len: u64,
    /// Bytes of a piece, each that is tried.
    pub(crate) piece_lens: Vec<u32>,
    /// Times that each takes part.
    pub(crate) runs: u32,
    /// Receivers at once.
    pub(crate) leechers: usize,
    /// Where everything is written.
    pub(crate) dir: PathBuf,
    /// Whether the source is of holes, but for the start of each piece.
    pub(crate) sparse: bool,
    /// The most that starting, transferring and comparing may each take.
    pub(crate) timeout: Duration,
    /// The policy of shoal's leechers.
    pub(crate) policy: Option<String>,
    /// Where `shoald` is.
    pub(crate) bin_dir: Option<PathBuf>,
    /// Whether each side is a host of its own.
    pub(crate) hosts: bool,
    /// Whether system calls are counted, in a transfer more of each contestant.
    pub(crate) counts_calls: bool,
}

/// One contestant, ready to be timed.
struct Stage {
    sender: Member,
    /// Kept running beside the sender; dropped after it.
    _tracker: Option<Member>,
    offer: Offer,
    dir: TempDir,
}

/// What receivers are told.
enum Offer {
    Addr(SocketAddr),
    Torrent(PathBuf),
}

/// The folder of a seeder's state, within that of its stage.
const SEEDER: &str = "seeder";
/// The most that a file system takes for a few bytes in a hole.
const PAGE_LEN: u64 = 4096;

/// A transfer that can be timed with one contestant after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench<'a> {
    /// What is started.
    pub(crate) programs: &'a Programs,
    /// What is transferred.
    pub(crate) source: &'a Source,
    /// Where everything is written.
    pub(crate) work: &'a Path,
    /// Receivers at once.
    pub(crate) leechers: usize,
    /// Whether a policy was named for shoal's leechers.
    pub(crate) has_policy: bool,
    /// The most that starting, transferring and comparing may each take.
    pub(crate) timeout: Duration,
}

/// Measures everything. Says on stderr how it goes.
///
/// # Errors
/// Too little room, a program that is missing or fails, a copy that differs, a timeout, or
/// "interrupted". Every process is ended and every file removed.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let site = if plan.hosts { Site::Hosts(Hosts::make()?) } else { Site::Loopback };
    let (bin_dir, policy) = (plan.bin_dir.as_deref(), plan.policy.as_deref());
    let programs = Programs::find(bin_dir, policy, site, &plan.contests)?;
    for &piece_len in &plan.piece_lens {
        source::check(plan.len, piece_len)?;
    }
    let copies_len = plan.len.saturating_mul(plan.leechers as u64);
    let source_len = if plan.sparse { plan.pages_len() } else { plan.len };
    space::ensure_room(&plan.dir, source_len.saturating_add(space::warmth(copies_len)))?;
    let no_calls = if plan.counts_calls { calls::missing() } else { None };
    let counts_calls = plan.counts_calls && no_calls.is_none();
    let machine = Machine::here();
    let medium = space::medium(&plan.dir)?;
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&plan.dir)?;
    let sources = plan.sources(work.path())?;
    let benches = sources.iter().map(|source| Bench {
        programs: &programs,
        source,
        work: work.path(),
        leechers: plan.leechers,
        has_policy: plan.policy.is_some(),
        timeout: plan.timeout,
    });
    let benches: Vec<Bench<'_>> = benches.collect();
    let turns = || benches.iter().flat_map(|it| plan.contests.iter().map(move |&who| (it, who)));
    let mut samples = Vec::new();
    for run in 1..=plan.runs {
        for (bench, contest) in turns() {
            let sample = bench.sample(run, contest).with_context(|| format!("{contest}"))?;
            // A closed stderr is no reason to stop measuring.
            let _ = writeln!(io::stderr(), "run {run}/{}  {sample}", plan.runs);
            samples.push(sample);
        }
    }
    let mut calls = Vec::new();
    for (bench, contest) in turns().filter(|_| counts_calls) {
        let counted = bench.calls(contest).with_context(|| format!("{contest}: system calls"))?;
        let _ = writeln!(io::stderr(), "system calls  {counted}");
        calls.push(counted);
    }
    let setting = Setting {
        size_bytes: plan.len,
        piece_bytes: plan.piece_lens.clone(),
        leechers: plan.leechers,
        is_sparse: plan.sparse,
        hosts: plan.hosts,
        medium,
        policy: plan.policy.clone(),
        no_calls,
    };
    Ok(Report::new(machine, setting, samples, &calls))
}

impl Plan {
    /// The most that a source of holes takes: a page of each piece.
    fn pages_len(&self) -> u64 {
        self.len.div_ceil(self.shortest_piece().into()).saturating_mul(PAGE_LEN)
    }

    fn shortest_piece(&self) -> u32 {
        self.piece_lens.iter().copied().min().unwrap_or(u32::MAX)
    }

    /// One file, once in pieces of each length.
    fn sources(&self, work: &Path) -> anyhow::Result<Vec<Source>> {
        let dir = work.join("source");
        fs::create_dir(&dir)?;
        let make = if self.sparse { Source::sparse } else { Source::random };
        // Of holes the shortest pieces have to differ.
        let first = make(&dir, self.len, self.shortest_piece())?;
        if self.piece_lens.len() == 1 {
            return Ok(vec![first]);
        }
        self.piece_lens.iter().map(|&piece_len| first.in_pieces(piece_len)).collect()
    }
}

/// What the thread of a node is called on which all Lua runs.
const POLICY_THREAD: &str = "policy";

impl Bench<'_> {
    /// Whether its leechers ask a policy that was named.
    fn is_consulted(&self, contest: Contest) -> bool {
        match contest {
            Contest::Floor => false,
            Contest::Swarm { leecher, .. } => leecher == Client::Shoal && self.has_policy,
        }
    }

    /// One contestant, once.
    ///
    /// # Errors
    /// As of [`measure`].
    pub(crate) fn sample(&self, run: u32, contest: Contest) -> anyhow::Result<Sample> {
        let mut stage = self.stage(contest)?;
        let receivers = self.receivers(contest, &stage)?;
        // What earlier samples left to write is not this one's.
        space::flush(self.work)?;
        space::warm(self.work, self.received_len())?;
        let before = stage.sender.usage()?;
        let start = Instant::now();
        let mut members = self.start(None, contest, &stage, &receivers)?;
        let times = wait_all(&mut members, start, self.timeout)?;
        let sender = stage.sender.usage()?;
        let usages =
            members.iter_mut().map(Member::usage).collect::<anyhow::Result<Vec<Usage>>>()?;
        let flush_s = space::flush(self.work)?.map(|time| time.as_secs_f64());
        let uploaded = self.uploaded(contest, &stage)?;
        self.end(&mut stage, &mut members, &receivers)?;
        let gib = self.received_len() as f64 / f64::from(1 << 30);
        let received_cpu_s = usages.iter().map(|usage| usage.cpu_s).sum::<f64>();
        let all_cpu_s = sender.cpu_s - before.cpu_s + received_cpu_s;
        let policy_cpu_s = usages.iter().map(|usage| usage.thread_cpu_s).sum::<f64>();
        let last = times.iter().max().copied().unwrap_or_default().as_secs_f64();
        let wall_s = last + flush_s.unwrap_or(0.0);
        Ok(Sample {
            run,
            contestant: contest.to_string(),
            piece_bytes: self.source.piece_len(),
            wall_s,
            flush_s,
            mb_per_s: self.source.len() as f64 / 1e6 / wall_s,
            sender_cpu_s_per_gib: (sender.cpu_s - before.cpu_s) / gib,
            receiver_cpu_s_per_gib: received_cpu_s / gib,
            seeder_upload_ratio: uploaded.map(|sent| sent as f64 / self.source.len() as f64),
            policy_cpu_share: self.is_consulted(contest).then(|| policy_cpu_s / all_cpu_s),
            sender_peak_mib: mib(sender.peak_kib),
            receiver_peak_mib: usages.iter().map(|usage| mib(usage.peak_kib)).fold(0.0, f64::max),
        })
    }

    /// The system calls of one contestant. Counting slows it down, so nothing is timed.
    ///
    /// # Errors
    /// As of [`measure`], and `perf` fails.
    fn calls(&self, contest: Contest) -> anyhow::Result<Calls> {
        let mut stage = self.stage(contest)?;
        let receivers = self.receivers(contest, &stage)?;
        let path = |name: &str| stage.dir.path().join(name);
        let (go, sent, received) = (path("go"), path("sent"), path("received"));
        let mut members = self.start(Some(&go), contest, &stage, &receivers)?;
        let sent = Counter::attach(std::slice::from_ref(&stage.sender), &sent, self.timeout)?;
        let received = Counter::attach(&members, &received, self.timeout)?;
        fs::write(&go, "")?;
        wait_all(&mut members, Instant::now(), self.timeout)?;
        self.end(&mut stage, &mut members, &receivers)?;
        let mb = self.received_len() as f64 / 1e6;
        Ok(Calls {
            contestant: contest.to_string(),
            piece_bytes: self.source.piece_len(),
            sender_per_mb: sent.finish(self.timeout)? as f64 / mb,
            receiver_per_mb: received.finish(self.timeout)? as f64 / mb,
        })
    }

    /// Bytes of all copies.
    fn received_len(&self) -> u64 {
        self.source.len() * self.leechers as u64
    }

    fn receivers(&self, contest: Contest, stage: &Stage) -> anyhow::Result<Vec<(Start, PathBuf)>> {
        (0..self.leechers).map(|index| self.receiver(contest, stage, index)).collect()
    }

    /// Starts the receivers, to begin once the file is there.
    fn start(
        &self,
        file: Option<&Path>,
        contest: Contest,
        stage: &Stage,
        receivers: &[(Start, PathBuf)],
    ) -> anyhow::Result<Vec<Member>> {
        let mut members = Vec::new();
        for (index, (start, _)) in receivers.iter().enumerate() {
            let log = stage.dir.path().join(format!("receiver{index}.log"));
            let name = format!("{contest}: receiver");
            let mut member = Member::start_after(file, &name, &start.argv, log)?;
            member.done_by(start.done.clone());
            if self.is_consulted(contest) {
                member.watch_threads(POLICY_THREAD);
            }
            members.push(member);
        }
        Ok(members)
    }

    /// Payload bytes that the seeder sent, if it is one that says so.
    fn uploaded(&self, contest: Contest, stage: &Stage) -> anyhow::Result<Option<u64>> {
        let is_ours = match contest {
            Contest::Floor => false,
            Contest::Swarm { seeder, .. } => seeder == Client::Shoal,
        };
        if !is_ours || !self.programs.can_ask() {
            return Ok(None);
        }
        let argv = self.programs.command(&stage.dir.path().join(SEEDER), ["torrent", "list"]);
        let log = stage.dir.path().join("list.log");
        let answer = answer_of("shoalctl torrent list", &argv, log, self.timeout)?;
        number(&answer["torrents"][0]["uploadedBytes"]).map(Some)
    }

    /// Ends everybody and compares the copies.
    fn end(
        &self,
        stage: &mut Stage,
        members: &mut [Member],
        receivers: &[(Start, PathBuf)],
    ) -> anyhow::Result<()> {
        stage.sender.ensure_running()?;
        members.iter_mut().for_each(Member::stop);
        stage.sender.stop();
        for (_, dir) in receivers {
            self.source.compare(&dir.join(NAME))?;
        }
        Ok(())
    }

    /// Starts the sender and waits until a receiver would find it.
    fn stage(&self, contest: Contest) -> anyhow::Result<Stage> {
        interrupt::check()?;
        let dir = tempfile::tempdir_in(self.work)?;
        let path = |name: &str| dir.path().join(name);
        let within = self.timeout;
        let ready_file = path("ready");
        match contest {
            Contest::Floor => {
                let argv = self.programs.floor_sender(self.source, &ready_file);
                let mut sender = Member::start("floor: sender", &argv, path("sender.log"))?;
                let addr = await_that("its address", &mut sender, within, || text_of(&ready_file))?;
                Ok(Stage { sender, _tracker: None, offer: Offer::Addr(addr.parse()?), dir })
            }
            Contest::Swarm { seeder, .. } => {
                let argv = self.programs.tracker(&path("tracker"), &ready_file);
                let mut tracker = Member::start("tracker", &argv, path("tracker.log"))?;
                let ready =
                    await_that("its address", &mut tracker, within, || text_of(&ready_file))?;
                let addr = address(&ready, "tracker_address")?;
                let torrent = path("payload.torrent");
                let announce = format!("http://{addr}/announce");
                let info_hash = self.source.torrent(&announce, &torrent)?.info_hash;
                let state_dir = path(SEEDER);
                let argv = self.programs.seeder(seeder, self.source, &torrent, &state_dir)?;
                let log = path("sender.log");
                let mut sender = Member::start(&format!("{contest}: seeder"), &argv, log)?;
                let argv = self.programs.await_seeder(addr, info_hash.0);
                let mut known = Member::start("await-seeder", &argv, path("await-seeder.log"))?;
                await_that("seeding", &mut sender, within, || match known.is_done() {
                    Ok(false) => None,
                    Ok(true) => Some(Ok(())),
                    Err(error) => Some(Err(error)),
                })??;
                let offer = Offer::Torrent(torrent);
                Ok(Stage { sender, _tracker: Some(tracker), offer, dir })
            }
        }
    }

    /// A receiver: what to start, and the folder that will hold its copy.
    fn receiver(
        &self,
        contest: Contest,
        stage: &Stage,
        index: usize,
    ) -> anyhow::Result<(Start, PathBuf)> {
        let dir = stage.dir.path().join(format!("copy{index}"));
        fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let start = match (&stage.offer, contest) {
            (Offer::Addr(addr), _) => self.programs.floor_receiver(self.source, *addr, &dir),
            (Offer::Torrent(torrent), Contest::Swarm { leecher, .. }) => {
                let state_dir = stage.dir.path().join(format!("leecher{index}"));
                self.programs.leecher(leecher, torrent, &dir, &state_dir)?
            }
            (Offer::Torrent(_), Contest::Floor) => anyhow::bail!("the floor knows no torrents"),
        };
        Ok((start, dir))
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
