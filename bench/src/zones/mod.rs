//! Two zones of real nodes and one seeder: which bytes cross from zone to zone under a policy, how
//! long it takes until everyone has everything, and the same under another, in turn. Never here:
//! how a number is shown.

mod report;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::report::Report;
use self::report::{Sample, Setting};
use crate::{
    answer::{address, number, served_by},
    client::Programs,
    interrupt,
    machine::Machine,
    process::{Member, await_that, document, text_of, wait_all},
    source::{self, NAME, Source},
    space,
    swarm::{self, Swarm, ready_file},
};

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Nodes of each zone, one of the first zone's the seeder.
    pub(crate) nodes: usize,
    /// Bytes of the source.
    pub(crate) len: u64,
    /// Bytes of a piece.
    pub(crate) piece_len: u32,
    /// What each node may send, bytes a second.
    pub(crate) upload_bps: u64,
    /// Times that each policy has its turn.
    pub(crate) runs: u32,
    /// The policy that is told its zone.
    pub(crate) policy: String,
    /// The one it is compared with.
    pub(crate) against: String,
    /// Where everything is written.
    pub(crate) dir: PathBuf,
    /// The most that starting, downloading and comparing may each take.
    pub(crate) timeout: Duration,
    /// Where the programs are.
    pub(crate) bin_dir: Option<PathBuf>,
}

/// Where a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Zone {
    /// The seeder's.
    A,
    /// The other.
    B,
}

/// A policy in its turn.
#[derive(Clone, Copy, Debug)]
struct Turn<'a> {
    policy: &'a str,
    /// It has a parameter `zone`.
    knows_zones: bool,
}

/// A node that has nothing yet.
struct Leecher {
    node: Member,
    zone: Zone,
    state_dir: PathBuf,
}

struct Bench<'a> {
    plan: &'a Plan,
    programs: Programs,
    source: Source,
    work: &'a Path,
}

/// What a download said of itself at its end.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Served {
    /// Bytes from peers of the same zone.
    near_bytes: u64,
    /// Bytes from peers of the other.
    far_bytes: u64,
    /// Bytes received and thrown away, whosesoever.
    wasted_bytes: u64,
}

/// Measures everything. Says on stderr how it goes.
///
/// # Errors
/// Too little room, a program that is missing or fails, a copy that differs, a timeout, or
/// "interrupted". Every process is ended and every file removed.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    ensure!(plan.policy != plan.against, "--against: that is the policy itself");
    let programs = Programs::of_nodes(plan.bin_dir.as_deref())?;
    source::check(plan.len, plan.piece_len)?;
    let copies_len = plan.copies_len();
    space::ensure_room(&plan.dir, plan.len.saturating_add(space::warmth(copies_len)))?;
    let machine = Machine::here();
    let medium = space::medium(&plan.dir)?;
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&plan.dir)?;
    let source_dir = work.path().join("source");
    fs::create_dir(&source_dir)?;
    let source = Source::random(&source_dir, plan.len, plan.piece_len)?;
    let bench = Bench { plan, programs, source, work: work.path() };
    let turns = [
        Turn { policy: &plan.policy, knows_zones: true },
        Turn { policy: &plan.against, knows_zones: false },
    ];
    let mut samples = Vec::new();
    for run in 1..=plan.runs {
        for turn in turns {
            let sample = bench.sample(run, turn).with_context(|| turn.policy.to_owned())?;
            // A closed stderr is no reason to stop measuring.
            let _ = writeln!(io::stderr(), "run {run}/{}  {sample}", plan.runs);
            samples.push(sample);
        }
    }
    let setting = Setting {
        size_bytes: plan.len,
        piece_bytes: plan.piece_len,
        nodes_per_zone: plan.nodes,
        upload_bps: plan.upload_bps,
        medium,
    };
    let [policy, against] = turns.map(|turn| turn.policy.to_owned());
    Report::new(machine, setting, [policy, against], samples)
}

impl Plan {
    /// Bytes of all copies of a run.
    fn copies_len(&self) -> u64 {
        self.len.saturating_mul(2 * self.nodes as u64 - 1)
    }
}

impl Bench<'_> {
    /// One swarm under one policy.
    fn sample(&self, run: u32, turn: Turn<'_>) -> anyhow::Result<Sample> {
        interrupt::check()?;
        let dir = tempfile::tempdir_in(self.work)?;
        let dir = dir.path();
        let within = self.plan.timeout;
        let Swarm { mut tracker, mut seeder, torrent } =
            Swarm::begin(&self.programs, &self.source, dir, within, &self.flags(Zone::A))?;
        let mut zones = BTreeMap::from([(peer_addr(dir, "seeder", &mut seeder, within)?, Zone::A)]);
        let mut leechers = self.leechers(dir, &torrent, turn)?;
        for (index, leecher) in leechers.iter_mut().enumerate() {
            let name = format!("leecher{index}");
            zones.insert(peer_addr(dir, &name, &mut leecher.node, within)?, leecher.zone);
        }
        space::warm(self.work, self.plan.copies_len())?;
        let start = Instant::now();
        let mut downloads = Vec::new();
        for (index, leecher) in leechers.iter().enumerate() {
            let argv = self.programs.command(&leecher.state_dir, ["auto-download"]);
            let log = dir.join(format!("download{index}.log"));
            downloads.push(Member::start(&format!("auto-download {index}"), &argv, log)?);
        }
        let times = wait_all(&mut downloads, start, within)?;
        for node in leechers.iter_mut().map(|leecher| &mut leecher.node) {
            node.ensure_running()?;
        }
        tracker.ensure_running()?;
        seeder.ensure_running()?;
        let mut served = Served::default();
        for (download, leecher) in downloads.iter().zip(&leechers) {
            let said = Served::of(&document(download)?, leecher.zone, &zones)?;
            served = served + said;
        }
        for leecher in &mut leechers {
            leecher.node.stop();
            self.source.compare(&leecher.state_dir.join("downloads").join(NAME))?;
        }
        Ok(Sample {
            run,
            policy: turn.policy.to_owned(),
            wall_s: times.iter().max().copied().unwrap_or_default().as_secs_f64(),
            first_wall_s: times.iter().min().copied().unwrap_or_default().as_secs_f64(),
            crossed_bytes: served.far_bytes,
            near_bytes: served.near_bytes,
            wasted_bytes: served.wasted_bytes,
        })
    }

    /// The others, which wait to be told to download.
    fn leechers(&self, dir: &Path, torrent: &Path, turn: Turn<'_>) -> anyhow::Result<Vec<Leecher>> {
        let nodes = self.plan.nodes;
        let zones = (1..nodes).map(|_| Zone::A).chain((0..nodes).map(|_| Zone::B));
        let leecher = |(index, zone): (usize, Zone)| {
            let name = format!("leecher{index}");
            let torrent = ["--torrent".into(), torrent.into()];
            let more = [&self.flags(zone)[..], &torrent, &turn.flags(zone)].concat();
            let node = swarm::node(&self.programs, dir, &name, more)?;
            Ok(Leecher { node, zone, state_dir: dir.join(name) })
        };
        zones.enumerate().map(leecher).collect()
    }

    /// What every node of a zone is told.
    fn flags(&self, zone: Zone) -> Vec<OsString> {
        let (zone, limit) = (format!("zone={zone}"), self.plan.upload_bps.to_string());
        vec!["--label".into(), zone.into(), "--upload-limit".into(), limit.into()]
    }
}

impl Turn<'_> {
    /// What a leecher is told of its policy.
    fn flags(self, zone: Zone) -> Vec<OsString> {
        let mut flags: Vec<OsString> = vec!["--policy".into(), self.policy.into()];
        if self.knows_zones {
            flags.extend(["--set".into(), format!("zone={zone}").into()]);
        }
        flags
    }
}

impl Served {
    /// From the last message of a download in `own` zone.
    ///
    /// # Errors
    /// It was not the last, or names a peer that is none of ours.
    fn of(message: &Value, own: Zone, zones: &BTreeMap<SocketAddr, Zone>) -> anyhow::Result<Self> {
        let mut served = Self::default();
        for (addr, bytes) in served_by(message)? {
            let zone = zones.get(&addr).with_context(|| format!("{addr} is none of ours"))?;
            match *zone == own {
                true => served.near_bytes += bytes,
                false => served.far_bytes += bytes,
            }
        }
        served.wasted_bytes = number(&message["wastedBytes"])?;
        Ok(served)
    }
}

impl std::ops::Add for Served {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            near_bytes: self.near_bytes + other.near_bytes,
            far_bytes: self.far_bytes + other.far_bytes,
            wasted_bytes: self.wasted_bytes + other.wasted_bytes,
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// Where a node listens for peers, once it serves.
fn peer_addr(
    dir: &Path,
    name: &str,
    node: &mut Member,
    within: Duration,
) -> anyhow::Result<SocketAddr> {
    let ready = await_that("its address", node, within, || text_of(&ready_file(dir, name)))?;
    address(&ready, "peer_address")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn zones() -> BTreeMap<SocketAddr, Zone> {
        let zones = [(1, Zone::A), (2, Zone::B), (3, Zone::B)];
        zones.map(|(port, zone)| (([127, 0, 0, 1], port).into(), zone)).into()
    }

    fn by(port: u16, bytes: &str) -> Value {
        json!({ "peer": { "ip": "127.0.0.1", "port": port }, "chunks": 1, "bytes": bytes })
    }

    #[test]
    fn bytes_are_counted_by_the_zone_they_come_from() {
        let served_by = [by(1, "70"), by(2, "20"), by(3, "10000000000")];
        let message =
            json!({ "complete": true, "wastedBytes": "5", "servedBy": served_by, "jobId": "1" });
        let served = |own| Served::of(&message, own, &zones()).unwrap();
        let a = Served { near_bytes: 70, far_bytes: 10_000_000_020, wasted_bytes: 5 };
        let b = Served { near_bytes: 10_000_000_020, far_bytes: 70, wasted_bytes: 5 };
        assert_eq!((served(Zone::A), served(Zone::B)), (a, b));
        assert_eq!((a + b).far_bytes, 10_000_000_090);
    }

    #[test]
    fn a_download_that_is_not_complete_or_comes_from_elsewhere_counts_for_nothing() {
        let check = |message: Value, cause: &str| {
            let error = Served::of(&message, Zone::A, &zones()).unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
        };
        check(json!({ "complete": false }), "not complete");
        check(json!({ "complete": true, "wastedBytes": "0" }), "nobody");
        let served_by = [by(9, "1")];
        let message = json!({ "complete": true, "wastedBytes": "0", "servedBy": served_by });
        check(message, "127.0.0.1:9 is none of ours");
    }

    #[test]
    fn only_the_policy_that_knows_zones_is_told_its_own() {
        let flags = |knows_zones| Turn { policy: "p.lua", knows_zones }.flags(Zone::B);
        assert_eq!(flags(true), ["--policy", "p.lua", "--set", "zone=b"]);
        assert_eq!(flags(false), ["--policy", "p.lua"]);
    }
}
