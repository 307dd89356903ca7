//! What real nodes did: every run, and medians over runs. As JSON, and as a table of 80 columns.

use std::fmt::{self, Write as _};

use bytesize::ByteSize;
use serde::Serialize;

use super::{gauge::Way, network::Passed, plan::Plan};
use crate::{machine::Machine, space::Medium, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) setting: Setting,
    pub(crate) swarms: Vec<Measured>,
}

/// What is the same for all swarms.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    /// Runs of each.
    pub(crate) runs: u32,
    /// How senders react to the network.
    pub(crate) congestion: String,
    /// Where source and copies lay.
    pub(crate) medium: Medium,
}

/// All runs of a plan.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    plan: Plan,
    way: Way,
    summary: Summary,
    samples: Vec<Sample>,
}

/// Over all runs. Seconds are from a leecher's order to download to the last of its bytes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
struct Summary {
    /// The median of the leechers.
    p50_s: Spread,
    /// The last of them.
    max_s: Spread,
    /// Their mean.
    mean_s: Spread,
    /// Payload that the seeder sent ÷ the content.
    seeder_copies: Spread,
    /// Bytes of the content that crossed between zones ÷ the content.
    across_copies: Spread,
    /// Bytes thrown away ÷ bytes of all copies.
    wasted_share: Spread,
    /// How evenly leechers sent: Jain's index of their payload, 1 if all the same, 1/8 if one did all.
    jain: Spread,
    /// Bytes on the wire ÷ payload, of what hosts sent.
    wire_ratio: Spread,
    /// Processor time of all programs ÷ that of all cores, from the first order to the last end.
    cpu_share: Spread,
    /// The same of the whole machine, whoever it was.
    busy_share: Spread,
}

/// A run. Its copies are equal to the source, byte for byte.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// From 1.
    pub(crate) run: u32,
    /// The seeder, then the leechers in the order of the plan.
    pub(crate) hosts: Vec<HostSample>,
    /// Bytes of the content that came from a peer of the other zone.
    pub(crate) across_bytes: u64,
    /// Seconds from the first order to download until all had everything.
    pub(crate) wall_s: f64,
    /// Processor time of all programs in between.
    pub(crate) cpu_s: f64,
    /// The part of all cores that was busy, with whatever.
    pub(crate) busy_share: f64,
    /// What links carried and dropped.
    pub(crate) passed: Passed,
}

/// A host in a run.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct HostSample {
    /// A leecher's seconds from the order to download to its copy in place, by its own clock.
    pub(crate) took_s: Option<f64>,
    /// Payload that it sent.
    pub(crate) uploaded_bytes: u64,
    /// Payload that it received and threw away.
    pub(crate) wasted_bytes: u64,
}

impl Sample {
    /// The leechers' seconds, the quickest first.
    fn took_s(&self) -> Vec<f64> {
        let mut took_s: Vec<f64> = self.hosts.iter().filter_map(|host| host.took_s).collect();
        took_s.sort_by(f64::total_cmp);
        took_s
    }

    fn uploaded_bytes(&self) -> u64 {
        self.hosts.iter().map(|host| host.uploaded_bytes).sum()
    }
}

impl Measured {
    /// Sums up; nothing without a run.
    pub(crate) fn new(plan: Plan, way: Way, samples: Vec<Sample>) -> Option<Self> {
        let content = plan.content_bytes as f64;
        let cores = Machine::here().cores.max(1) as f64;
        let over =
            |value: &dyn Fn(&Sample) -> Option<f64>| Spread::of(samples.iter().filter_map(value));
        let times = |of: &dyn Fn(Spread, &[f64]) -> f64| {
            over(&|sample| {
                let took_s = sample.took_s();
                Some(of(Spread::of(took_s.iter().copied())?, &took_s))
            })
        };
        let wasted =
            |sample: &Sample| sample.hosts.iter().map(|host| host.wasted_bytes).sum::<u64>();
        let copies = content * plan.leechers.len() as f64;
        let wire = |it: &Sample| it.passed.sent_bytes as f64 / it.uploaded_bytes() as f64;
        let summary = Summary {
            p50_s: times(&|spread, _| spread.median)?,
            max_s: times(&|spread, _| spread.max)?,
            mean_s: times(&|_, all| all.iter().sum::<f64>() / all.len() as f64)?,
            seeder_copies: over(&|it| Some(it.hosts.first()?.uploaded_bytes as f64 / content))?,
            across_copies: over(&|it| Some(it.across_bytes as f64 / content))?,
            wasted_share: over(&|it| Some(wasted(it) as f64 / copies))?,
            jain: over(&|it| jain(it.hosts.get(1..)?))?,
            wire_ratio: over(&|it| Some(wire(it)))?,
            cpu_share: over(&|it| Some(it.cpu_s / it.wall_s / cores))?,
            busy_share: over(&|it| Some(it.busy_share))?,
        };
        Some(Self { plan, way, summary, samples })
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        let plan = &self.plan;
        let (size, piece) = (ByteSize(plan.content_bytes), ByteSize(plan.piece_bytes.into()));
        writeln!(out)?;
        writeln!(
            out,
            "{}: 1 + {} hosts, {size} in pieces of {piece}",
            plan.name,
            plan.leechers.len()
        )?;
        writeln!(out, "{}", self.way)?;
        writeln!(out, "{:<34}{:>26}", "", "median (min-max)")?;
        let it = &self.summary;
        let rows = [
            ("s until complete: median", it.p50_s, 2),
            ("s until complete: last", it.max_s, 2),
            ("s until complete: mean", it.mean_s, 2),
            ("copies that the seeder sent", it.seeder_copies, 3),
            ("copies across zones", it.across_copies, 3),
            ("share thrown away", it.wasted_share, 4),
            ("fairness of what leechers sent", it.jain, 3),
            ("on the wire / payload", it.wire_ratio, 4),
            ("CPU share of the nodes", it.cpu_share, 3),
            ("CPU share of the machine", it.busy_share, 3),
        ];
        for (label, Spread { median, min, max }, digits) in rows {
            let value = format!("{median:.digits$} ({min:.digits$}-{max:.digits$})");
            writeln!(out, "{label:<34}{value:>26}")?;
        }
        for sample in &self.samples {
            let took_s: String = sample.took_s().iter().map(|s| format!("{s:>8.2}")).collect();
            writeln!(out, "run {:<4}{took_s}", sample.run)?;
        }
        Ok(())
    }
}

impl Report {
    /// As text of at most 80 columns.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        let Setting { runs, congestion, medium } = &self.setting;
        writeln!(out, "{}", self.machine)?;
        writeln!(out, "each node on a host of its own; {congestion}, on {medium}; runs: {runs}")?;
        self.swarms.iter().try_for_each(|swarm| swarm.write_table(out))
    }
}

/// Jain's index: the square of the sum ÷ the sum of squares ÷ how many. None without a byte.
fn jain(hosts: &[HostSample]) -> Option<f64> {
    let sent = hosts.iter().map(|host| host.uploaded_bytes as f64);
    let squares: f64 = sent.clone().map(|bytes| bytes * bytes).sum();
    let sum: f64 = sent.sum();
    (squares > 0.0).then(|| sum * sum / squares / hosts.len() as f64)
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Spread { median, min, max }) = Spread::of(self.took_s()) else { return Ok(()) };
        let busy = self.busy_share * 100.0;
        write!(f, "{median:.2} s ({min:.2}-{max:.2}), {:.1} s of CPU, {busy:.0} % busy", self.cpu_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::plan::Name;

    fn sample(run: u32, took_s: [f64; 8]) -> Sample {
        let leecher = |took_s| HostSample {
            took_s: Some(took_s),
            uploaded_bytes: 50_000_000,
            wasted_bytes: 1 << 20,
        };
        let seeder = HostSample { uploaded_bytes: 192 << 20, ..HostSample::default() };
        let uploaded_bytes = (192 << 20) + 8 * 50_000_000;
        Sample {
            run,
            hosts: [seeder].into_iter().chain(took_s.map(leecher)).collect(),
            across_bytes: 32 << 20,
            wall_s: 50.0,
            cpu_s: 10.0,
            busy_share: 0.25,
            passed: Passed { sent_bytes: uploaded_bytes * 2, dropped: 0 },
        }
    }

    fn report(samples: Vec<Sample>) -> Option<Report> {
        let way = Way { leecher: 1, planned_bps: 4_000_000, measured_bps: 3_990_000.0 };
        let measured = Measured::new(Name::Crowd.plan().ok()?, way, samples)?;
        let setting = Setting { runs: 2, congestion: "cubic".to_owned(), medium: Medium::Tmpfs };
        Some(Report { machine: Machine::here(), setting, swarms: vec![measured] })
    }

    #[test]
    fn each_run_counts_as_one() {
        let samples = vec![
            sample(1, [8.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1.0]),
            sample(2, [20.0; 8]),
            sample(3, [40.0; 8]),
        ];
        let report = report(samples).unwrap();
        let summary = report.swarms[0].summary;
        let check = |spread: Spread, expected: [f64; 3]| {
            assert_eq!([spread.median, spread.min, spread.max], expected);
        };
        check(summary.p50_s, [20.0, 4.5, 40.0]);
        check(summary.max_s, [20.0, 8.0, 40.0]);
        check(summary.mean_s, [20.0, 4.5, 40.0]);
        check(summary.seeder_copies, [1.5; 3]);
        check(summary.across_copies, [0.25; 3]);
        check(summary.wasted_share, [1.0 / 128.0; 3]);
        check(summary.wire_ratio, [2.0; 3]);
        check(summary.busy_share, [0.25; 3]);
        check(summary.jain, [1.0; 3]);
        let table = report.table();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        for shown in ["20.00 (4.50-40.00)", "1.500 (1.500-1.500)", "    1.00    2.00    3.00"] {
            assert!(table.contains(shown), "{shown}: {table}");
        }
    }

    #[test]
    fn fairness_falls_where_one_sends_for_all() {
        let hosts = |sent: [u64; 4]| {
            sent.map(|uploaded_bytes| HostSample { uploaded_bytes, ..HostSample::default() })
        };
        assert_eq!(jain(&hosts([7; 4])), Some(1.0));
        assert_eq!(jain(&hosts([0, 9, 0, 0])), Some(0.25));
        assert_eq!(jain(&hosts([0; 4])), None);
    }

    #[test]
    fn without_a_run_there_is_no_result() {
        assert!(report(Vec::new()).is_none());
    }
}
