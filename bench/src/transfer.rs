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
    answer::address,
    client::{Client, Contest, Programs, Start},
    interrupt,
    machine::Machine,
    process::{Member, Usage, await_that, text_of, wait_all},
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
    /// Bytes of a piece.
    pub(crate) piece_len: u32,
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
    source::check(plan.len, plan.piece_len)?;
    let copies_len = plan.len.saturating_mul(plan.leechers as u64);
    // A page of each piece at most.
    let pages_len = plan.len.div_ceil(u64::from(plan.piece_len)).saturating_mul(PAGE_LEN);
    let source_len = if plan.sparse { pages_len } else { plan.len };
    space::ensure_room(&plan.dir, source_len.saturating_add(space::warmth(copies_len)))?;
    let machine = Machine::here();
    let medium = space::medium(&plan.dir)?;
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&plan.dir)?;
    let source_dir = work.path().join("source");
    fs::create_dir(&source_dir)?;
    let make = if plan.sparse { Source::sparse } else { Source::random };
    let source = make(&source_dir, plan.len, plan.piece_len)?;
    let bench = Bench {
        programs: &programs,
        source: &source,
        work: work.path(),
        leechers: plan.leechers,
        has_policy: plan.policy.is_some(),
        timeout: plan.timeout,
    };
    let mut samples = Vec::new();
    for run in 1..=plan.runs {
        for &contest in &plan.contests {
            let sample = bench.sample(run, contest).with_context(|| format!("{contest}"))?;
            // A closed stderr is no reason to stop measuring.
            let _ = writeln!(io::stderr(), "run {run}/{}  {sample}", plan.runs);
            samples.push(sample);
        }
    }
    let setting = Setting {
        size_bytes: plan.len,
        piece_bytes: plan.piece_len,
        leechers: plan.leechers,
        is_sparse: plan.sparse,
        hosts: plan.hosts,
        medium,
        policy: plan.policy.clone(),
    };
    Ok(Report::new(machine, setting, samples))
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
        let receivers = (0..self.leechers)
            .map(|index| self.receiver(contest, &stage, index))
            .collect::<anyhow::Result<Vec<_>>>()?;
        space::warm(self.work, self.source.len() * self.leechers as u64)?;
        let before = stage.sender.usage()?;
        let start = Instant::now();
        let mut members = Vec::new();
        for (index, (start, _)) in receivers.iter().enumerate() {
            let log = stage.dir.path().join(format!("receiver{index}.log"));
            let mut member = Member::start(&format!("{contest}: receiver"), &start.argv, log)?;
            member.done_by(start.done.clone());
            if self.is_consulted(contest) {
                member.watch_threads(POLICY_THREAD);
            }
            members.push(member);
        }
        let times = wait_all(&mut members, start, self.timeout)?;
        let sender = stage.sender.usage()?;
        let usages =
            members.iter_mut().map(Member::usage).collect::<anyhow::Result<Vec<Usage>>>()?;
        stage.sender.ensure_running()?;
        members.iter_mut().for_each(Member::stop);
        stage.sender.stop();
        for (_, dir) in &receivers {
            self.source.compare(&dir.join(NAME))?;
        }
        let gib = (self.source.len() * self.leechers as u64) as f64 / f64::from(1 << 30);
        let received_cpu_s = usages.iter().map(|usage| usage.cpu_s).sum::<f64>();
        let all_cpu_s = sender.cpu_s - before.cpu_s + received_cpu_s;
        let policy_cpu_s = usages.iter().map(|usage| usage.thread_cpu_s).sum::<f64>();
        let wall_s = times.iter().max().copied().unwrap_or_default().as_secs_f64();
        Ok(Sample {
            run,
            contestant: contest.to_string(),
            wall_s,
            mb_per_s: self.source.len() as f64 / 1e6 / wall_s,
            sender_cpu_s_per_gib: (sender.cpu_s - before.cpu_s) / gib,
            receiver_cpu_s_per_gib: received_cpu_s / gib,
            policy_cpu_share: self.is_consulted(contest).then(|| policy_cpu_s / all_cpu_s),
            sender_peak_mib: mib(sender.peak_kib),
            receiver_peak_mib: usages.iter().map(|usage| mib(usage.peak_kib)).fold(0.0, f64::max),
        })
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
                let state_dir = path("seeder");
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
        fs::create_dir(&dir)?;
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
