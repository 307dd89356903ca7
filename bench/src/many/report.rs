//! What a node with many torrents did: every run, medians and spreads. As JSON, and as a table of 80
//! columns.

use std::fmt::{self, Write as _};

use bytesize::ByteSize;
use serde::Serialize;

use crate::{machine::Machine, space::Medium, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    machine: Machine,
    setting: Setting,
    rows: Vec<Row>,
    samples: Vec<Sample>,
}

/// The torrents.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setting {
    /// Torrents that nobody wants.
    pub(super) idle: u16,
    /// Bytes of each.
    pub(super) idle_size_bytes: u64,
    /// Torrents downloaded at once.
    pub(super) active: u16,
    /// Bytes of each.
    pub(super) active_size_bytes: u64,
    /// Bytes of a piece.
    pub(super) piece_bytes: u32,
    /// Seconds that the node was watched at rest.
    pub(super) rest_s: u64,
    /// Where everything lay.
    pub(super) medium: Medium,
}

/// One run. Every copy is equal to its source, byte for byte.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Sample {
    /// From 1.
    pub(super) run: u32,
    /// Seconds until a node without a torrent serves.
    pub(super) empty_ready_s: f64,
    /// The start at which it is told of the idle torrents.
    pub(super) first: Start,
    /// Seconds until it ended after that.
    pub(super) stop_s: f64,
    /// Torrents for which the tracker still knew it then: those for which it did not say that it
    /// leaves.
    pub(super) still_known: u64,
    /// The start at which it knows them.
    pub(super) again: Start,
    /// At rest after that.
    pub(super) rest: Rest,
    /// The active torrents, all at once, beside the idle ones.
    pub(super) active: Work,
    /// The same bytes as one torrent, beside the idle ones.
    pub(super) whole: Work,
    /// Seconds of `whole` ÷ those of `active`.
    pub(super) ratio: f64,
}

/// A start, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Start {
    /// Until it serves.
    pub(super) ready_s: f64,
    /// Until the tracker knows it for every torrent.
    pub(super) known_s: f64,
}

/// The node while nobody wants anything.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Rest {
    pub(super) resident_mib: f64,
    pub(super) threads: usize,
    /// Open file descriptors.
    pub(super) files: usize,
    /// Seconds of processor time a minute.
    pub(super) cpu_s_per_min: f64,
    /// `shoalctl node info`, from the start of its process to its end, milliseconds.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// The node while it downloads.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Work {
    /// Seconds from its start to the last copy.
    pub(super) wall_s: f64,
    /// 10⁶ bytes a second, of all torrents together.
    pub(super) mb_per_s: f64,
    /// Processor time from its start to the last copy, seconds.
    pub(super) cpu_s: f64,
    /// The most memory resident at once.
    pub(super) peak_mib: f64,
    /// As of [`Rest`], one command after the other all the time.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// One number in all runs.
#[derive(Clone, Debug, Serialize)]
struct Row {
    name: &'static str,
    #[serde(skip)]
    digits: usize,
    value: Spread,
}

/// The median and the 99th percentile; 0 of none.
pub(super) fn percentiles(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    [50, 99].map(|percent| {
        let rank = (values.len() * percent).div_ceil(100);
        values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    })
}

/// What is shown: its name, the digits behind the point, and where it stands.
type Shown = (&'static str, usize, fn(&Sample) -> f64);

const SHOWN: [Shown; 22] = [
    ("start of a node without torrents, s", 3, |it| it.empty_ready_s),
    ("first start with the idle torrents, s", 3, |it| it.first.ready_s),
    ("  until the tracker knows them all, s", 3, |it| it.first.known_s),
    ("  end after that, s", 3, |it| it.stop_s),
    ("  torrents not left at the tracker", 0, |it| it.still_known as f64),
    ("start that knows them, s", 3, |it| it.again.ready_s),
    ("  until the tracker knows them all, s", 3, |it| it.again.known_s),
    ("at rest: resident MiB", 1, |it| it.rest.resident_mib),
    ("  threads", 0, |it| it.rest.threads as f64),
    ("  open files", 0, |it| it.rest.files as f64),
    ("  CPU s a minute", 2, |it| it.rest.cpu_s_per_min),
    ("  a command, median ms", 1, |it| it.rest.p50_ms),
    ("  a command, 99th percentile ms", 1, |it| it.rest.p99_ms),
    ("active torrents, start-up included: s", 2, |it| it.active.wall_s),
    ("  MB/s", 0, |it| it.active.mb_per_s),
    ("  CPU s", 2, |it| it.active.cpu_s),
    ("  peak MiB", 1, |it| it.active.peak_mib),
    ("  a command, median ms", 1, |it| it.active.p50_ms),
    ("  a command, 99th percentile ms", 1, |it| it.active.p99_ms),
    ("the same bytes as one torrent: MB/s", 0, |it| it.whole.mb_per_s),
    ("  CPU s", 2, |it| it.whole.cpu_s),
    ("  active torrents of one torrent's speed", 3, |it| it.ratio),
];

impl Report {
    /// Sums up; none without a run.
    pub(super) fn new(machine: Machine, setting: Setting, samples: Vec<Sample>) -> Option<Self> {
        let row = |(name, digits, value): Shown| {
            Some(Row { name, digits, value: Spread::of(samples.iter().map(value))? })
        };
        let rows = SHOWN.into_iter().map(row).collect::<Option<_>>()?;
        Some(Self { machine, setting, rows, samples })
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
        let size = |bytes: u64| ByteSize(bytes);
        write!(out, "{} idle x {}, ", setting.idle, size(setting.idle_size_bytes))?;
        write!(out, "{} active x {}, ", setting.active, size(setting.active_size_bytes))?;
        let (medium, runs) = (setting.medium, self.samples.len());
        writeln!(out, "on {medium}; runs: {runs}")?;
        writeln!(out)?;
        writeln!(out, "{:<44}{:>34}", "", "median (min-max)")?;
        for row in &self.rows {
            let (Spread { median, min, max }, digits) = (row.value, row.digits);
            let shown = format!("{median:.digits$} ({min:.digits$}-{max:.digits$})");
            writeln!(out, "{:<44}{shown:>34}", row.name)?;
        }
        Ok(())
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "start {:.2} s, again {:.2} s; {:.0} MiB, CPU {:.2} s/min; {:.0} MB/s, as one {:.0}",
            self.first.ready_s,
            self.again.ready_s,
            self.rest.resident_mib,
            self.rest.cpu_s_per_min,
            self.active.mb_per_s,
            self.whole.mb_per_s
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentiles(values), [100.0, 198.0]);
        assert_eq!(percentiles(vec![7.0]), [7.0, 7.0]);
        assert_eq!(percentiles(Vec::new()), [0.0, 0.0]);
    }

    #[test]
    fn every_number_has_its_row_of_eighty_columns_at_most() {
        let setting = Setting {
            idle: 10_000,
            idle_size_bytes: 64 << 10,
            active: 1000,
            active_size_bytes: 4 << 20,
            piece_bytes: 256 << 10,
            rest_s: 10,
            medium: Medium::Tmpfs,
        };
        let sample = |run: u32| Sample { run, stop_s: f64::from(run) * 100.5, ..Sample::default() };
        let report = Report::new(Machine::here(), setting, (1..=3).map(sample).collect()).unwrap();
        let table = report.table();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        assert!(table.contains("201.000 (100.500-301.500)"), "{table}");
    }
}
