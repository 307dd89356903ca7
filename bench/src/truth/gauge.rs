//! Gauges: whether a link lets through what it should, and how busy the machine is. Never here: what
//! follows from either.

use std::{
    fmt, fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    network::{Network, Place},
    swarm::Bench,
};
use crate::process::{Member, await_that, text_of, wait_all};

/// What one plain TCP connection carried over the narrowest way from the seeder to a leecher.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Way {
    /// The leecher, from 1.
    pub(crate) leecher: usize,
    /// Bytes a second that should arrive.
    pub(crate) planned_bps: u64,
    /// Bytes a second that did.
    pub(crate) measured_bps: f64,
}

/// How long the two transfers take by the plan, seconds. Their difference is the measurement: what
/// programs need to start, and what a bucket gives at once, is in both.
const TRANSFERS_S: [u64; 2] = [1, 4];
/// How long links are left alone before each, so that queues are empty and buckets full again.
const REST: Duration = Duration::from_millis(500);

/// Measures it.
///
/// # Errors
/// A program fails, or "interrupted".
pub(crate) fn way(bench: &Bench<'_>) -> anyhow::Result<Way> {
    let ways = bench.plan.leechers.iter().map(|&host| bench.plan.way_bps(host));
    let narrowest = (1..).zip(ways).min_by_key(|&(_, way_bps)| way_bps);
    let (leecher, planned_bps) = narrowest.context("no leecher")?;
    let network = Network::make(bench.plan, bench.congestion)?;
    let dir = tempfile::tempdir_in(bench.work)?;
    let ready_file = dir.path().join("sender.ready");
    let ip = Network::ip(Place::Host(0));
    let argv = bench.programs.floor_sender_at(ip, bench.source, &ready_file);
    let argv = network.enter(Place::Host(0), argv);
    let mut sender = Member::start("sender", &argv, dir.path().join("sender.log"))?;
    let within = bench.timeout;
    let ready = await_that("its address", &mut sender, within, || text_of(&ready_file))?;
    let addr: SocketAddr = ready.parse()?;
    let mut took_s = Vec::new();
    for seconds in TRANSFERS_S {
        thread::sleep(REST);
        let dir = tempfile::tempdir_in(dir.path())?;
        let (len, piece_bytes) = (planned_bps * seconds, bench.plan.piece_bytes);
        let argv = bench.programs.floor_receiver_of(len, piece_bytes, addr, dir.path());
        let argv = network.enter(Place::Host(leecher), argv);
        let start = Instant::now();
        let mut receiver = [Member::start("receiver", &argv, dir.path().join("log"))?];
        wait_all(&mut receiver, start, within)?;
        took_s.push(start.elapsed().as_secs_f64());
    }
    let [short, long] = TRANSFERS_S;
    let bytes = (planned_bps * (long - short)) as f64;
    let seconds = took_s.last().zip(took_s.first()).map(|(long, short)| long - short);
    Ok(Way { leecher, planned_bps, measured_bps: bytes / seconds.context("no transfer")? })
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (measured, planned) = (self.measured_bps / 1e6, self.planned_bps as f64 / 1e6);
        let leecher = self.leecher;
        write!(f, "one TCP connection to leecher {leecher}: {measured:.3} of {planned:.3} MB/s")
    }
}

/// Processor time of the whole machine since it started, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticks {
    busy: u64,
    all: u64,
}

impl Ticks {
    /// Until now.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn now() -> anyhow::Result<Self> {
        Self::of(&fs::read_to_string("/proc/stat")?).context("/proc/stat is not understood")
    }

    /// From the first line: user, nice, system, idle, waiting for a disk, two kinds of interrupts,
    /// stolen; what follows is in the first two already.
    fn of(stat: &str) -> Option<Self> {
        let mut fields = stat.lines().next()?.split_ascii_whitespace().skip(1).take(8);
        let mut ticks = [0; 8];
        for tick in &mut ticks {
            *tick = fields.next()?.parse().ok()?;
        }
        let all = ticks.iter().sum();
        let [_, _, _, idle, waiting, ..] = ticks;
        Some(Self { busy: all - idle - waiting, all })
    }

    /// The part of all processors that was busy since.
    pub(crate) fn busy_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.busy.saturating_sub(before.busy) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let before = Ticks::of("cpu  10 0 10 50 10 0 5 5 3 0\ncpu0 1\n").unwrap();
        let after = Ticks::of("cpu  30 0 20 80 20 0 15 25 9 0\n").unwrap();
        // 60 of 100.
        assert!((after.busy_since(before) - 0.6).abs() < 1e-9);
        assert_eq!(Ticks::of("cpu  1 2 3\n"), None);
    }
}
