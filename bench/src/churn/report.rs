//! What a restless swarm did: every run, medians and spreads. As JSON, and as a table of 80 columns.

use std::fmt::{self, Write as _};

use bytesize::ByteSize;
use serde::Serialize;

use crate::{machine::Machine, space::Medium, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    machine: Machine,
    setting: Setting,
    p50_s: Spread,
    p90_s: Spread,
    max_s: Spread,
    seeder_copies: Spread,
    wasted_share: Spread,
    cpu_s_per_gib: Spread,
    samples: Vec<Sample>,
}

/// The swarm.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setting {
    /// Bytes of each copy.
    pub(super) size_bytes: u64,
    /// Bytes of a piece.
    pub(super) piece_bytes: u32,
    /// Leechers that came.
    pub(super) leechers: u16,
    /// Most of them at once.
    pub(super) at_once: u16,
    /// Seconds over which they were to come.
    pub(super) within_s: u64,
    /// How likely each was to leave early.
    pub(super) leave_probability: f64,
    /// What each node may send, bytes a second; 0 is no limit.
    pub(super) upload_bps: u64,
    /// Where the schedule began.
    pub(super) seed: u64,
    /// The leechers' policy, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    /// Where source and copies lay.
    pub(super) medium: Medium,
}

/// One run. Every complete copy is equal to the source, byte for byte.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Sample {
    /// From 1.
    pub(super) run: u32,
    /// Seconds from the first arrival to the last departure.
    pub(super) wall_s: f64,
    /// Seconds from the start of a leecher's process to its complete copy, in order of ends.
    pub(super) completion_s: Vec<f64>,
    /// Leechers that left early.
    pub(super) left: usize,
    /// The most leechers that were there at once.
    pub(super) at_once_max: usize,
    /// Verified bytes of all leechers: whole copies, and what those that left had.
    pub(super) received_bytes: u64,
    /// Bytes that the seeder sent.
    pub(super) seeder_bytes: u64,
    /// Bytes received and thrown away by those that have all.
    pub(super) wasted_bytes: u64,
    /// Processor time of seeder and leechers, seconds.
    pub(super) cpu_s: f64,
    /// Percentiles of `completion_s`.
    p50_s: f64,
    p90_s: f64,
    max_s: f64,
    /// `seeder_bytes` in copies of the file.
    seeder_copies: f64,
    /// `wasted_bytes` ÷ `received_bytes`.
    wasted_share: f64,
    /// `cpu_s` for each GiB of `received_bytes`.
    cpu_s_per_gib: f64,
}

impl Sample {
    /// Works out what follows from the counts.
    pub(super) fn finish(&mut self, file_len: u64) {
        let mut sorted = self.completion_s.clone();
        sorted.sort_by(f64::total_cmp);
        [self.p50_s, self.p90_s, self.max_s] = [0.5, 0.9, 1.0].map(|part| at(&sorted, part));
        let received = self.received_bytes.max(1) as f64;
        self.seeder_copies = self.seeder_bytes as f64 / file_len as f64;
        self.wasted_share = self.wasted_bytes as f64 / received;
        self.cpu_s_per_gib = self.cpu_s / (received / f64::from(1 << 30));
    }
}

/// The smallest value that so large a part of the sorted values does not exceed; 0 of none.
fn at(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

impl Report {
    /// Sums up; none without a run.
    pub(super) fn new(machine: Machine, setting: Setting, samples: Vec<Sample>) -> Option<Self> {
        let spread = |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(value));
        Some(Self {
            machine,
            setting,
            p50_s: spread(|sample| sample.p50_s)?,
            p90_s: spread(|sample| sample.p90_s)?,
            max_s: spread(|sample| sample.max_s)?,
            seeder_copies: spread(|sample| sample.seeder_copies)?,
            wasted_share: spread(|sample| sample.wasted_share)?,
            cpu_s_per_gib: spread(|sample| sample.cpu_s_per_gib)?,
            samples,
        })
    }

    /// As text of at most 80 columns.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        let setting = &self.setting;
        writeln!(out, "{}", self.machine)?;
        let (size, piece) = (ByteSize(setting.size_bytes), ByteSize(setting.piece_bytes.into()));
        let upload = match setting.upload_bps {
            0 => "as fast as it can".to_owned(),
            bps => format!("at most {:.1} MB/s", bps as f64 / 1e6),
        };
        writeln!(out, "{size}, pieces of {piece}, on {}; each sends {upload}", setting.medium)?;
        let left = self.samples.first().map_or(0, |sample| sample.left);
        let (count, within) = (setting.leechers, setting.within_s);
        writeln!(
            out,
            "{count} leechers over {within} s, {} at once, {left} leave early; runs: {}",
            setting.at_once,
            self.samples.len()
        )?;
        writeln!(out)?;
        writeln!(out, "{:<40}{:>28}", "", "median (min-max)")?;
        for (name, spread, digits) in [
            ("s until complete, median leecher", self.p50_s, 2),
            ("s until complete, 90th percentile", self.p90_s, 2),
            ("s until complete, slowest", self.max_s, 2),
            ("copies that the seeder sent", self.seeder_copies, 2),
            ("share of bytes thrown away", self.wasted_share, 4),
            ("CPU s/GiB, all nodes", self.cpu_s_per_gib, 2),
        ] {
            let Spread { median, min, max } = spread;
            let shown = format!("{median:.digits$} ({min:.digits$}-{max:.digits$})");
            writeln!(out, "{name:<40}{shown:>28}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6.1} s  {} complete, {} left; p50 {:.2} s, max {:.2} s; seeder {:.2} copies",
            self.wall_s,
            self.completion_s.len(),
            self.left,
            self.p50_s,
            self.max_s,
            self.seeder_copies
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let values: Vec<f64> = (1..=10).map(f64::from).collect();
        let found = [0.5, 0.9, 0.91, 1.0].map(|part| at(&values, part));
        assert_eq!(found, [5.0, 9.0, 10.0, 10.0]);
        assert!(at(&[], 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn the_sums_of_a_run_become_rates_and_keep_to_eighty_columns() {
        let mut sample = Sample {
            run: 1,
            completion_s: vec![3.0, 1.0, 2.0],
            left: 1,
            received_bytes: 2 << 30,
            seeder_bytes: 3 << 29,
            wasted_bytes: 1 << 30,
            cpu_s: 5.0,
            ..Sample::default()
        };
        sample.finish(1 << 29);
        let setting = Setting {
            size_bytes: 1 << 29,
            piece_bytes: 512 << 10,
            leechers: 1000,
            at_once: 64,
            within_s: 3000,
            leave_probability: 0.25,
            upload_bps: 1_000_000_000,
            seed: 1,
            policy: None,
            medium: Medium::Tmpfs,
        };
        let report = Report::new(Machine::here(), setting, vec![sample]).unwrap();
        let table = report.table();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        for shown in ["2.00 (", "3.00 (3.00", "0.5000 (", "2.50 ("] {
            assert!(table.contains(shown), "{shown}: {table}");
        }
    }
}
