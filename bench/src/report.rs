//! What a measurement found: every sample, their medians and spreads, and how far each contestant
//! is from the floor. As JSON, and as a table of 80 columns.

use std::fmt::{self, Write as _};

use bytesize::ByteSize;
use serde::Serialize;

use crate::{machine::Machine, space::Medium, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    setting: Setting,
    contestants: Vec<Contestant>,
    samples: Vec<Sample>,
}

/// What was transferred, and how.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    /// Bytes of each copy.
    pub(crate) size_bytes: u64,
    /// Bytes of a piece.
    pub(crate) piece_bytes: u32,
    /// Receivers at once.
    pub(crate) leechers: usize,
    /// Whether the source was of holes, but for the start of each piece.
    pub(crate) is_sparse: bool,
    /// Whether each side was a host of its own, else both on loopback.
    pub(crate) hosts: bool,
    /// Where source and copies lay.
    pub(crate) medium: Medium,
    /// The policy of shoal's leechers, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
}

/// One contestant in one run. Its copies are equal to the source, byte for byte.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// From 1.
    pub(crate) run: u32,
    /// Who.
    pub(crate) contestant: String,
    /// Seconds from the first receiver's start to the last one's end.
    pub(crate) wall_s: f64,
    /// Bytes of one copy ÷ 10⁶ ÷ `wall_s`.
    pub(crate) mb_per_s: f64,
    /// Seconds of processor time of the sender, from the receivers' start to their end, for each
    /// GiB received.
    pub(crate) sender_cpu_s_per_gib: f64,
    /// The same of all receivers together.
    pub(crate) receiver_cpu_s_per_gib: f64,
    /// Processor time of the thread that runs Lua ÷ that of sender and receivers together, where a
    /// policy was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy_cpu_share: Option<f64>,
    /// The most memory that the sender had resident at once, MiB.
    pub(crate) sender_peak_mib: f64,
    /// The same of the receiver that had most.
    pub(crate) receiver_peak_mib: f64,
}

/// All runs of one contestant.
#[derive(Clone, Debug, Serialize)]
struct Contestant {
    name: String,
    wall_s: Spread,
    mb_per_s: Spread,
    /// The floor's wall time ÷ that of this one in the same run; 1 is as quick as the floor.
    floor_ratio: Spread,
    sender_cpu_s_per_gib: Spread,
    receiver_cpu_s_per_gib: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_cpu_share: Option<Spread>,
    sender_peak_mib: Spread,
    receiver_peak_mib: Spread,
}

/// What the floor is called.
const FLOOR: &str = "floor";

impl Report {
    /// Sums up.
    pub(crate) fn new(machine: Machine, setting: Setting, samples: Vec<Sample>) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for sample in &samples {
            if !names.contains(&sample.contestant.as_str()) {
                names.push(&sample.contestant);
            }
        }
        let contestants = names.iter().filter_map(|name| Contestant::of(name, &samples)).collect();
        Self { machine, setting, contestants, samples }
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
        let size = ByteSize(setting.size_bytes);
        let piece = ByteSize(setting.piece_bytes.into());
        let runs = self.samples.iter().map(|sample| sample.run).max().unwrap_or(0);
        let source = if setting.is_sparse { "sparse: " } else { "" };
        let medium = setting.medium;
        let way = if setting.hosts { "veth" } else { "loopback" };
        writeln!(
            out,
            "{source}{size} to each of {} over {way}, {medium}, pieces of {piece}, runs: {runs}",
            setting.leechers
        )?;
        if let Some(policy) = &setting.policy {
            writeln!(out, "policy {policy}")?;
        }
        writeln!(out)?;
        writeln!(
            out,
            "{:<13}{:>18}{:>20}{:>13}{:>14}",
            "", "MB/s to each", "of the floor", "CPU s/GiB", "peak MiB"
        )?;
        writeln!(
            out,
            "{:<13}{:>18}{:>20}{:>13}{:>14}",
            "", "median (min-max)", "median (min-max)", "send  recv", "send   recv"
        )?;
        for it in &self.contestants {
            let (rate, ratio) = (it.mb_per_s, it.floor_ratio);
            let rate = format!("{:.0} ({:.0}-{:.0})", rate.median, rate.min, rate.max);
            let ratio = format!("{:.3} ({:.3}-{:.3})", ratio.median, ratio.min, ratio.max);
            let (send, recv) = (it.sender_cpu_s_per_gib.median, it.receiver_cpu_s_per_gib.median);
            let cpu = format!("{send:.2}  {recv:.2}");
            let (send, recv) = (it.sender_peak_mib.median, it.receiver_peak_mib.max);
            let peak = format!("{send:.0}  {recv:>5.0}");
            writeln!(out, "{:<13}{rate:>18}{ratio:>20}{cpu:>13}{peak:>14}", it.name)?;
        }
        for it in &self.contestants {
            let Some(share) = it.policy_cpu_share else { continue };
            let [median, min, max] = [share.median, share.min, share.max].map(|it| it * 100.0);
            write!(
                out,
                "{}: the policy's thread took {median:.2} ({min:.2}-{max:.2}) % ",
                it.name
            )?;
            writeln!(out, "of the CPU time")?;
        }
        Ok(())
    }
}

impl Contestant {
    fn of(name: &str, samples: &[Sample]) -> Option<Self> {
        let mine = || samples.iter().filter(|sample| sample.contestant == name);
        let spread = |value: fn(&Sample) -> f64| Spread::of(mine().map(value));
        let ratio = |sample: &Sample| {
            let floor = samples.iter().find(|it| it.run == sample.run && it.contestant == FLOOR)?;
            Some(floor.wall_s / sample.wall_s)
        };
        Some(Self {
            name: name.to_owned(),
            wall_s: spread(|sample| sample.wall_s)?,
            mb_per_s: spread(|sample| sample.mb_per_s)?,
            floor_ratio: Spread::of(mine().filter_map(ratio))?,
            sender_cpu_s_per_gib: spread(|sample| sample.sender_cpu_s_per_gib)?,
            receiver_cpu_s_per_gib: spread(|sample| sample.receiver_cpu_s_per_gib)?,
            policy_cpu_share: Spread::of(mine().filter_map(|sample| sample.policy_cpu_share)),
            sender_peak_mib: spread(|sample| sample.sender_peak_mib)?,
            receiver_peak_mib: spread(|sample| sample.receiver_peak_mib)?,
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<18}{:>7.3} s {:>6.0} MB/s  CPU {:.2}+{:.2} s/GiB  peak {:.0}+{:.0} MiB",
            self.contestant,
            self.wall_s,
            self.mb_per_s,
            self.sender_cpu_s_per_gib,
            self.receiver_cpu_s_per_gib,
            self.sender_peak_mib,
            self.receiver_peak_mib
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(run: u32, contestant: &str, wall_s: f64) -> Sample {
        Sample {
            run,
            contestant: contestant.to_owned(),
            wall_s,
            mb_per_s: 12_345.6 / wall_s,
            sender_cpu_s_per_gib: 1.0,
            receiver_cpu_s_per_gib: 10.0,
            policy_cpu_share: (contestant != FLOOR).then_some(0.0123),
            sender_peak_mib: 2000.0,
            receiver_peak_mib: 20_000.0,
        }
    }

    fn report(samples: Vec<Sample>) -> Report {
        let machine = Machine {
            cpu: "A Processor of a Very Long Name ".repeat(9),
            cores: 128,
            memory_mib: 1_000_000,
            kernel: "Linux 6.0".to_owned(),
            is_virtual: true,
            load_before: 0.5,
        };
        let setting = Setting {
            size_bytes: 2 << 30,
            piece_bytes: 512 << 10,
            leechers: 64,
            is_sparse: true,
            hosts: false,
            medium: Medium::Tmpfs,
            policy: Some("rarest".to_owned()),
        };
        Report::new(machine, setting, samples)
    }

    #[test]
    fn each_run_is_compared_with_the_floor_of_that_run() {
        let samples = [(1, "floor", 1.0), (1, "shoal", 2.0), (2, "floor", 3.0), (2, "shoal", 12.0)];
        let report = report(samples.map(|(run, who, wall_s)| sample(run, who, wall_s)).to_vec());
        let names: Vec<_> = report.contestants.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["floor", "shoal"]);
        let [floor, shoal] = [0, 1].map(|at| report.contestants[at].floor_ratio);
        assert_eq!(floor, Spread { median: 1.0, min: 1.0, max: 1.0 });
        assert_eq!(shoal, Spread { median: 0.375, min: 0.25, max: 0.5 });
    }

    #[test]
    fn the_table_keeps_to_eighty_columns() {
        let table = report(vec![sample(1, "floor", 1.0), sample(1, "aria2>shoal", 2.0)]).table();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        assert!(table.contains("0.500 (0.500-0.500)"), "{table}");
        assert!(
            table.contains("aria2>shoal: the policy's thread took 1.23 (1.23-1.23) %"),
            "{table}"
        );
        assert_eq!(table.matches("thread").count(), 1, "{table}");
    }
}
