//! What two policies did in two zones: every run, medians, and the ratio of one to the other. As
//! JSON, and as a table of 80 columns.

use std::fmt::{self, Write as _};

use anyhow::Context as _;
use bytesize::ByteSize;
use serde::Serialize;

use crate::{machine::Machine, space::Medium, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    setting: Setting,
    /// The policy that knows zones, then the one it is compared with.
    policies: [Policy; 2],
    /// The first one's median of bytes that crossed ÷ the second one's.
    crossed_ratio: f64,
    /// The first one's median of seconds ÷ the second one's.
    wall_ratio: f64,
    samples: Vec<Sample>,
}

/// The swarm.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    /// Bytes of each copy.
    pub(crate) size_bytes: u64,
    /// Bytes of a piece.
    pub(crate) piece_bytes: u32,
    /// Nodes of each zone; one of the first zone's has everything from the start.
    pub(crate) nodes_per_zone: usize,
    /// What each node may send, bytes a second.
    pub(crate) upload_bps: u64,
    /// Where source and copies lay.
    pub(crate) medium: Medium,
}

/// One policy in one run. Its copies are equal to the source, byte for byte.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// From 1.
    pub(crate) run: u32,
    /// Which.
    pub(crate) policy: String,
    /// Seconds from the first command to download to the end of the last download.
    pub(crate) wall_s: f64,
    /// The same to the end of the first download.
    pub(crate) first_wall_s: f64,
    /// Verified bytes that came from a peer of the other zone, all nodes together.
    pub(crate) crossed_bytes: u64,
    /// Verified bytes that came from a peer of the same zone.
    pub(crate) near_bytes: u64,
    /// Bytes received and thrown away.
    pub(crate) wasted_bytes: u64,
}

/// All runs of one policy.
#[derive(Clone, Debug, Serialize)]
struct Policy {
    name: String,
    crossed_bytes: Spread,
    wall_s: Spread,
}

impl Report {
    /// Sums up.
    ///
    /// # Errors
    /// A policy without a run.
    pub(crate) fn new(
        machine: Machine,
        setting: Setting,
        names: [String; 2],
        samples: Vec<Sample>,
    ) -> anyhow::Result<Self> {
        let [policy, against] = names.map(|name| Policy::of(name, &samples));
        let (policy, against) = policy.zip(against).context("a policy without a run")?;
        Ok(Self {
            machine,
            setting,
            crossed_ratio: policy.crossed_bytes.median / against.crossed_bytes.median,
            wall_ratio: policy.wall_s.median / against.wall_s.median,
            policies: [policy, against],
            samples,
        })
    }

    /// As text of at most 80 columns.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        let (machine, setting) = (&self.machine, &self.setting);
        writeln!(out, "{machine}")?;
        let runs = self.samples.iter().map(|sample| sample.run).max().unwrap_or(0);
        let medium = setting.medium;
        let (size, piece) = (ByteSize(setting.size_bytes), ByteSize(setting.piece_bytes.into()));
        let nodes = setting.nodes_per_zone;
        writeln!(out, "{nodes} + {nodes} nodes, 1 seeder; {size}, pieces of {piece}, on {medium}")?;
        let upload = setting.upload_bps as f64 / 1e6;
        writeln!(out, "each sends at most {upload:.1} MB/s; runs: {runs}")?;
        writeln!(out)?;
        writeln!(out, "{:<24}{:>28}{:>26}", "", "MB across zones", "s until all have all")?;
        writeln!(out, "{:<24}{:>28}{:>26}", "", "median (min-max)", "median (min-max)")?;
        for policy in &self.policies {
            let (crossed, wall) = (policy.crossed_bytes, policy.wall_s);
            let [median, min, max] = [crossed.median, crossed.min, crossed.max].map(|it| it / 1e6);
            let crossed = format!("{median:.0} ({min:.0}-{max:.0})");
            let wall = format!("{:.2} ({:.2}-{:.2})", wall.median, wall.min, wall.max);
            let name: String = policy.name.chars().take(NAME_WIDTH).collect();
            writeln!(out, "{name:<24}{crossed:>28}{wall:>26}")?;
        }
        let ratios = (format!("{:.3}", self.crossed_ratio), format!("{:.3}", self.wall_ratio));
        writeln!(out, "{:<24}{:>28}{:>26}", "ratio of medians", ratios.0, ratios.1)
    }
}

impl Policy {
    fn of(name: String, samples: &[Sample]) -> Option<Self> {
        let mine = || samples.iter().filter(|sample| sample.policy == name);
        Some(Self {
            crossed_bytes: Spread::of(mine().map(|sample| sample.crossed_bytes as f64))?,
            wall_s: Spread::of(mine().map(|sample| sample.wall_s))?,
            name,
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [crossed, near, wasted] =
            [self.crossed_bytes, self.near_bytes, self.wasted_bytes].map(|it| it as f64 / 1e6);
        write!(
            f,
            "{:<20}{:>7.2} s (first {:.2})  {crossed:.0} of {:.0} MB crossed, {wasted:.0} wasted",
            self.policy,
            self.wall_s,
            self.first_wall_s,
            crossed + near
        )
    }
}

/// The most of a policy's name that is shown.
const NAME_WIDTH: usize = 23;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(run: u32, policy: &str, wall_s: f64, crossed_bytes: u64) -> Sample {
        Sample {
            run,
            policy: policy.to_owned(),
            wall_s,
            first_wall_s: wall_s / 2.0,
            crossed_bytes,
            near_bytes: 1,
            wasted_bytes: 0,
        }
    }

    fn report(samples: Vec<Sample>) -> anyhow::Result<Report> {
        let setting = Setting {
            size_bytes: 200 << 20,
            piece_bytes: 512 << 10,
            nodes_per_zone: 4,
            upload_bps: 20_000_000,
            medium: Medium::Tmpfs,
        };
        let names = ["zone_aware.lua", "lowest_uploaded"].map(str::to_owned);
        Report::new(Machine::here(), setting, names, samples)
    }

    #[test]
    fn medians_are_compared() {
        let samples = vec![
            sample(1, "zone_aware.lua", 12.0, 300_000_000),
            sample(1, "lowest_uploaded", 10.0, 900_000_000),
            sample(2, "zone_aware.lua", 11.0, 100_000_000),
            sample(2, "lowest_uploaded", 10.0, 1_000_000_000),
            sample(3, "zone_aware.lua", 90.0, 200_000_000),
            sample(3, "lowest_uploaded", 8.0, 800_000_000),
        ];
        let report = report(samples).unwrap();
        assert!((report.crossed_ratio - 2.0 / 9.0).abs() < 1e-9, "{}", report.crossed_ratio);
        assert!((report.wall_ratio - 1.2).abs() < 1e-9, "{}", report.wall_ratio);
        let table = report.table();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        for shown in ["200 (100-300)", "900 (800-1000)", "12.00 (11.00-90.00)", "0.222", "1.200"] {
            assert!(table.contains(shown), "{shown}: {table}");
        }
    }

    #[test]
    fn a_policy_without_a_run_is_no_result() {
        assert!(report(vec![sample(1, "zone_aware.lua", 1.0, 1)]).is_err());
    }
}
