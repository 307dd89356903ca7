//! One run of a plan with real nodes: who is started when and where, and what they say of it at the
//! end. Never here: more than one run.

use std::{
    ffi::OsString,
    iter,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    gauge::Ticks,
    network::{Network, Place},
    plan::Plan,
    report::{HostSample, Sample},
};
use crate::{
    answer::{address, number, served_by},
    client::{Programs, Resident, seed},
    interrupt,
    process::{Member, answer_of, await_that, document, text_of, wait_all},
    source::{NAME, Source},
    swarm::ready_file,
};

/// What all runs of a plan have in common.
pub(crate) struct Bench<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) plan: &'a Plan,
    pub(crate) source: &'a Source,
    /// How senders react to the network.
    pub(crate) congestion: &'a str,
    /// Each run has a folder of its own below it.
    pub(crate) work: &'a Path,
    /// The most that each step may take.
    pub(crate) timeout: Duration,
}

/// The nodes of a run.
struct Nodes {
    tracker: Member,
    /// The seeder's, then the leechers'.
    peers: Vec<Member>,
    /// The command to download of each leecher that came.
    downloads: Vec<Member>,
}

/// How often the swarm is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Bench<'_> {
    /// Does it once.
    ///
    /// # Errors
    /// A program fails or takes too long, a copy differs, or "interrupted".
    pub(crate) fn sample(&self, run: u32) -> anyhow::Result<Sample> {
        interrupt::check()?;
        let network = Network::make(self.plan, self.congestion)?;
        let dir = tempfile::tempdir_in(self.work)?;
        let dir = dir.path();
        let mut nodes = self.start(&network, dir)?;
        let (cpu_before_s, ticks, start) = (nodes.cpu_s()?, Ticks::now()?, Instant::now());
        self.download(&mut nodes, dir, start)?;
        let wall_s = start.elapsed().as_secs_f64();
        let busy_share = Ticks::now()?.busy_since(ticks);
        let cpu_s = nodes.cpu_s()? - cpu_before_s;
        let passed = network.passed()?;
        let mut hosts = Vec::new();
        let mut across_bytes = 0;
        for index in 0..nodes.peers.len() {
            let uploaded_bytes = self.uploaded(dir, index)?;
            let download = index.checked_sub(1).and_then(|leecher| nodes.downloads.get(leecher));
            let Some(download) = download else {
                hosts.push(HostSample { uploaded_bytes, ..HostSample::default() });
                continue;
            };
            let said = document(download)?;
            across_bytes += self.across(index, &said)?;
            hosts.push(HostSample {
                took_s: Some(number(&said["elapsedMs"])? as f64 / 1e3),
                wasted_bytes: number(&said["wastedBytes"])?,
                uploaded_bytes,
            });
        }
        for (index, peer) in nodes.peers.iter_mut().enumerate().skip(1) {
            peer.stop();
            self.source.compare(&state_dir(dir, index).join("downloads").join(NAME))?;
        }
        Ok(Sample { run, hosts, across_bytes, wall_s, cpu_s, busy_share, passed })
    }

    /// A tracker, the seeder that it knows, and leechers that wait to be told to download.
    fn start(&self, network: &Network, dir: &Path) -> anyhow::Result<Nodes> {
        let (within, place) = (self.timeout, Place::Tracker);
        let ready = dir.join("tracker.ready");
        let argv = self.programs.tracker_at(Network::ip(place), &dir.join("tracker"), &ready);
        let argv = network.enter(place, argv);
        let mut tracker = Member::start("tracker", &argv, dir.join("tracker.log"))?;
        let said = await_that("its address", &mut tracker, within, || text_of(&ready))?;
        let addr = address(&said, "tracker_address")?;
        let torrent = dir.join("payload.torrent");
        let metainfo = self.source.torrent(&format!("http://{addr}/announce"), &torrent)?;
        let seeder = self.node(network, dir, 0, &seed(self.source, &torrent))?;
        let argv = network.enter(place, self.programs.await_seeder(addr, metainfo.info_hash.0));
        let mut known = [Member::start("await-seeder", &argv, dir.join("known.log"))?];
        wait_all(&mut known, Instant::now(), within)?;
        let mut peers = vec![seeder];
        for index in 1..=self.plan.leechers.len() {
            peers.push(self.node(network, dir, index, &["--torrent".into(), (&torrent).into()])?);
        }
        for (index, peer) in peers.iter_mut().enumerate() {
            let ready = ready_file(dir, &name(index));
            await_that("serving", peer, within, || text_of(&ready))?;
        }
        Ok(Nodes { tracker, peers, downloads: Vec::new() })
    }

    fn node(
        &self,
        network: &Network,
        dir: &Path,
        index: usize,
        more: &[OsString],
    ) -> anyhow::Result<Member> {
        let (place, name) = (Place::Host(index), name(index));
        // Peers are to be known from the tracker and from each other, as in the simulator.
        let more = iter::once("--local-discovery=false".into()).chain(more.iter().cloned());
        let resident = Resident {
            state_dir: &state_dir(dir, index),
            ready_file: &ready_file(dir, &name),
            more: more.collect(),
        };
        let argv = self.programs.resident_at(Network::ip(place), &resident);
        Member::start(&name, &network.enter(place, argv), dir.join(format!("{name}.log")))
    }

    /// Tells each leecher to download when it is its time, until all have everything.
    fn download(&self, nodes: &mut Nodes, dir: &Path, start: Instant) -> anyhow::Result<()> {
        let mut to_come = self.plan.leechers.iter().enumerate().peekable();
        loop {
            interrupt::check()?;
            nodes.ensure_running()?;
            let due = |&(_, host): &(usize, &super::plan::Host)| host.arrives() <= start.elapsed();
            while let Some((leecher, _)) = to_come.next_if(due) {
                let argv = self.programs.command(&state_dir(dir, leecher + 1), ["auto-download"]);
                let log = dir.join(format!("download{leecher}.log"));
                nodes.downloads.push(Member::start("auto-download", &argv, log)?);
            }
            let mut running = to_come.len();
            for download in &mut nodes.downloads {
                running += usize::from(!download.is_done()?);
            }
            if running == 0 {
                return Ok(());
            }
            let waited = start.elapsed();
            ensure!(waited < self.timeout, "{running} leechers are not done after {waited:?}");
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Payload that a node sent.
    fn uploaded(&self, dir: &Path, index: usize) -> anyhow::Result<u64> {
        let argv = self.programs.command(&state_dir(dir, index), ["torrent", "list"]);
        let list = answer_of("torrent list", &argv, dir.join("list.log"), self.timeout)?;
        number(&list["torrents"][0]["uploadedBytes"])
    }

    /// Bytes of the content that a host got from another zone.
    fn across(&self, index: usize, said: &Value) -> anyhow::Result<u64> {
        let zones: Vec<_> = self.plan.hosts().map(|host| host.zone).collect();
        let mut across_bytes = 0;
        for (addr, bytes) in served_by(said)? {
            let is_it = |&host: &usize| Network::ip(Place::Host(host)) == addr.ip();
            let from = (0..zones.len()).find(is_it);
            let from = from.with_context(|| format!("{addr} is none of ours"))?;
            if zones[from] != zones[index] {
                across_bytes += bytes;
            }
        }
        Ok(across_bytes)
    }
}

impl Nodes {
    fn ensure_running(&mut self) -> anyhow::Result<()> {
        self.peers.iter_mut().chain([&mut self.tracker]).try_for_each(Member::ensure_running)
    }

    /// Processor time of all programs so far, seconds.
    fn cpu_s(&mut self) -> anyhow::Result<f64> {
        let all = self.peers.iter_mut().chain(&mut self.downloads).chain([&mut self.tracker]);
        all.map(|member| Ok(member.usage()?.cpu_s)).sum()
    }
}

/// What a node is called: the seeder is the first.
fn name(index: usize) -> String {
    format!("host{index}")
}

fn state_dir(dir: &Path, index: usize) -> PathBuf {
    dir.join(name(index))
}
