//! What the control surface cost and how long it took: every run, medians and spreads. As JSON, and
//! as a table of 80 columns.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::callers::Called;
use crate::{machine::Machine, space::Medium, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    machine: Machine,
    setting: Setting,
    rows: Vec<Row>,
    samples: Vec<Sample>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setting {
    /// Readers of events.
    pub(super) readers: u16,
    /// Bytes a second of the limited download.
    pub(super) rate_bps: u64,
    /// Seconds of each part.
    pub(super) seconds: u64,
    /// Bytes of the file.
    pub(super) size_bytes: u64,
    /// Bytes of a piece.
    pub(super) piece_bytes: u32,
    /// Milliseconds between two calls.
    pub(super) pause_ms: u64,
    /// Events while readers stand still.
    pub(super) storm: u32,
    /// Seconds that the disk stands still.
    pub(super) freeze_s: u64,
    /// Why it did not.
    pub(super) no_freeze: Option<String>,
    /// Where everything lay.
    pub(super) medium: Medium,
}

/// One run.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Sample {
    /// From 1.
    pub(super) run: u32,
    /// The node with readers and without, at the limited rate.
    pub(super) readers: Readers,
    /// Calls at the limited rate.
    pub(super) limited: Working,
    /// Calls at full speed.
    pub(super) full: Working,
    /// Readers that stand still.
    pub(super) stalled: Stalled,
    /// Calls while the disk stands still.
    pub(super) frozen: Option<Frozen>,
}

/// Processor time of the node, per cent of one core.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Readers {
    pub(super) cpu_without: f64,
    pub(super) cpu_with: f64,
    /// The difference of the two in the same run.
    pub(super) cpu_more: f64,
    /// Messages to all readers together.
    pub(super) messages_per_s: f64,
}

/// Calls to a node at work.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Working {
    /// 10⁶ bytes a second of its download; from its start to its copy at full speed.
    pub(super) mb_per_s: f64,
    pub(super) calls: Latency,
    pub(super) methods: BTreeMap<String, Latency>,
    /// Calls that failed.
    pub(super) failed: usize,
}

/// Readers that stand still while more happens than is kept.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Stalled {
    pub(super) readers: usize,
    /// Those that were told so when they read on.
    pub(super) cut_off: usize,
    /// Memory of the node, beside what it keeps without them.
    pub(super) grown_mib: f64,
}

/// Calls while the disk stands still.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Frozen {
    pub(super) failed: usize,
    pub(super) calls: Latency,
    pub(super) methods: BTreeMap<String, Latency>,
}

/// How long calls took, milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) calls: usize,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// One number in all runs that have it.
#[derive(Clone, Debug, Serialize)]
struct Row {
    name: &'static str,
    #[serde(skip)]
    digits: usize,
    /// None where no run has it.
    value: Option<Spread>,
}

/// Of times in milliseconds.
pub(super) fn percentiles(mut times: Vec<f64>) -> Latency {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100);
        times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    };
    Latency { calls: times.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
}

/// What is shown: its name, the digits behind the point, and where it stands.
type Shown = (&'static str, usize, fn(&Sample) -> Option<f64>);

const SHOWN: [Shown; 19] = [
    ("node, % of a core: without readers", 1, |it| Some(it.readers.cpu_without)),
    ("  with readers", 1, |it| Some(it.readers.cpu_with)),
    ("  more with than without", 1, |it| Some(it.readers.cpu_more)),
    ("  messages/s to all of them", 0, |it| Some(it.readers.messages_per_s)),
    ("call at the limited rate: median ms", 2, |it| Some(it.limited.calls.p50_ms)),
    ("  99th percentile ms", 2, |it| Some(it.limited.calls.p99_ms)),
    ("  longest ms", 2, |it| Some(it.limited.calls.max_ms)),
    ("call at full speed: median ms", 2, |it| Some(it.full.calls.p50_ms)),
    ("  99th percentile ms", 2, |it| Some(it.full.calls.p99_ms)),
    ("  longest ms", 2, |it| Some(it.full.calls.max_ms)),
    ("  MB/s, start-up and merge included", 0, |it| Some(it.full.mb_per_s)),
    ("call while the disk stands still: median ms", 2, |it| Some(it.frozen.as_ref()?.calls.p50_ms)),
    ("  99th percentile ms", 2, |it| Some(it.frozen.as_ref()?.calls.p99_ms)),
    ("  longest ms", 2, |it| Some(it.frozen.as_ref()?.calls.max_ms)),
    ("calls that failed", 0, |it| {
        let frozen = it.frozen.as_ref().map_or(0, |frozen| frozen.failed);
        Some((it.limited.failed + it.full.failed + frozen) as f64)
    }),
    ("readers that stand still", 0, |it| Some(it.stalled.readers as f64)),
    ("  cut off", 0, |it| Some(it.stalled.cut_off as f64)),
    ("  the node grew by MiB", 1, |it| Some(it.stalled.grown_mib)),
    ("calls in a run", 0, |it| Some((it.limited.calls.calls + it.full.calls.calls) as f64)),
];

impl Working {
    pub(super) fn new(mb_per_s: f64, called: Called) -> Self {
        let Called { all: calls, methods, failed } = called;
        Self { mb_per_s, calls, methods, failed }
    }
}

impl Report {
    /// Sums up; none without a run.
    pub(super) fn new(machine: Machine, setting: Setting, samples: Vec<Sample>) -> Option<Self> {
        samples.first()?;
        let row = |(name, digits, value): Shown| Row {
            name,
            digits,
            value: Spread::of(samples.iter().filter_map(value)),
        };
        Some(Self { machine, setting, rows: SHOWN.into_iter().map(row).collect(), samples })
    }

    /// As text of at most 80 columns.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        let Setting { readers, seconds, medium, freeze_s, .. } = self.setting;
        writeln!(out, "{}", self.machine)?;
        let (rate, size) = (ByteSize(self.setting.rate_bps), ByteSize(self.setting.size_bytes));
        writeln!(out, "{readers} readers, limited to {rate}/s, parts of {seconds} s, {size}")?;
        writeln!(out, "disk still for {freeze_s} s; on {medium}; runs: {}", self.samples.len())?;
        if let Some(why) = &self.setting.no_freeze {
            writeln!(out, "no disk stood still: {why}")?;
        }
        writeln!(out)?;
        writeln!(out, "{:<44}{:>34}", "", "median (min-max)")?;
        for row in &self.rows {
            let digits = row.digits;
            let shown = match row.value {
                Some(Spread { median, min, max }) => {
                    format!("{median:.digits$} ({min:.digits$}-{max:.digits$})")
                }
                None => "-".to_owned(),
            };
            writeln!(out, "{:<44}{shown:>34}", row.name)?;
        }
        Ok(())
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Readers { cpu_more, messages_per_s, .. } = self.readers;
        write!(f, "readers {cpu_more:+.1} % ({messages_per_s:.0}/s); p99 ")?;
        write!(f, "{:.1}, full {:.1}", self.limited.calls.p99_ms, self.full.calls.p99_ms)?;
        if let Some(frozen) = &self.frozen {
            write!(f, ", frozen at most {:.1}", frozen.calls.max_ms)?;
        }
        let Stalled { readers, cut_off, grown_mib } = self.stalled;
        write!(f, " ms; cut off {cut_off}/{readers}, {grown_mib:+.1} MiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_there() {
        let Latency { calls, p50_ms, p99_ms, max_ms } =
            percentiles((1..=200).rev().map(f64::from).collect());
        assert_eq!((calls, [p50_ms, p99_ms, max_ms]), (200, [100.0, 198.0, 200.0]));
        assert_eq!(percentiles(Vec::new()).max_ms.to_bits(), 0);
    }

    #[test]
    fn a_table_has_eighty_columns_at_most_and_says_what_is_missing() {
        let setting = Setting {
            readers: 1000,
            rate_bps: 100_000_000,
            seconds: 600,
            size_bytes: 3 << 30,
            piece_bytes: 512 << 10,
            pause_ms: 2,
            storm: 10_000,
            freeze_s: 30,
            no_freeze: Some("needs root".to_owned()),
            medium: Medium::Tmpfs,
        };
        let sample = |run: u32| {
            let readers = Readers { cpu_more: f64::from(run) * 12345.6, ..Readers::default() };
            Sample { run, readers, ..Sample::default() }
        };
        let report = Report::new(Machine::here(), setting, (1..=3).map(sample).collect()).unwrap();
        let table = report.table();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        assert!(table.contains("24691.2 (12345.6-37036.8)"), "{table}");
        assert!(table.contains("needs root"), "{table}");
    }
}
