//! What trackers did under a load: every run, medians and spreads, and how each of shoal's compares
//! with aquatic's in the same run. As JSON, and as a table of 80 columns.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::contestant::{Way, Who};
use crate::{machine::Machine, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    machine: Machine,
    setting: Setting,
    rows: Vec<Row>,
    samples: Vec<Sample>,
}

/// The load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setting {
    /// Whose.
    pub(super) tester: &'static str,
    /// Torrents.
    pub(super) torrents: u32,
    /// Peers of each.
    pub(super) peers_per_torrent: u32,
    /// Peers that each announce wants; of our load.
    pub(super) numwant: u32,
    /// Seconds that are timed.
    pub(super) seconds: u64,
    /// Sockets of UDP; of our load.
    pub(super) sockets: u16,
    /// Packets under way on each; of our load.
    pub(super) window: u16,
    /// HTTP connections.
    pub(super) connections: u16,
    /// Requests under way on each connection of `piped`; of our load.
    pub(super) pipeline: u16,
}

/// One tracker, asked in one way, in one run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    /// From 1.
    pub(super) run: u32,
    pub(super) way: Way,
    pub(super) who: Who,
    /// Announces answered a second, once it knows everybody; of aquatic's tester: answers of all
    /// kinds.
    pub(super) answers_per_s: f64,
    /// Announces answered a second while it came to know everybody.
    pub(super) first_per_s: Option<f64>,
    /// Microseconds of the tracker's processor time for each of the timed answers.
    pub(super) cpu_us: Option<f64>,
    /// Peers in each of the timed answers, the mean.
    pub(super) peers_per_answer: Option<f64>,
    /// Requests without an answer, sent anew.
    pub(super) lost: Option<u64>,
    /// Peers that it said it knew.
    pub(super) known_peers: Option<u64>,
    /// What became resident while it came to know them ÷ their number, bytes.
    pub(super) bytes_per_peer: Option<f64>,
}

/// One tracker, asked in one way, in all runs.
#[derive(Clone, Debug, Serialize)]
struct Row {
    way: Way,
    who: Who,
    answers_per_s: Spread,
    /// Its answers a second ÷ aquatic's in the same run.
    aquatic_ratio: Option<Spread>,
    first_per_s: Option<Spread>,
    cpu_us: Option<Spread>,
    bytes_per_peer: Option<Spread>,
    known_peers: Option<Spread>,
}

impl Sample {
    /// Of nothing yet.
    pub(super) fn empty(way: Way) -> Self {
        Self {
            run: 0,
            way,
            who: Who::Shoal,
            answers_per_s: 0.0,
            first_per_s: None,
            cpu_us: None,
            peers_per_answer: None,
            lost: None,
            known_peers: None,
            bytes_per_peer: None,
        }
    }
}

impl Report {
    /// Sums up.
    pub(super) fn new(
        machine: Machine,
        setting: Setting,
        rows: &[(Way, Who)],
        samples: Vec<Sample>,
    ) -> Self {
        let rows = rows.iter().filter_map(|&(way, who)| Row::of(way, who, &samples)).collect();
        Self { machine, setting, rows, samples }
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
        let runs = self.samples.iter().map(|sample| sample.run).max().unwrap_or(0);
        let (torrents, peers) = (setting.torrents, setting.peers_per_torrent);
        write!(out, "{torrents} torrents x {peers} peers, {} s, runs: {runs}; ", setting.seconds)?;
        writeln!(out, "load: {}", setting.tester)?;
        writeln!(out)?;
        let heads = ["answers/s", "of aquatic", "CPU us", "first/s", "B/peer"];
        Self::line(out, "", heads.map(str::to_owned))?;
        let kinds = ["median (min-max)", "median", "an answer", "median", "median"];
        Self::line(out, "", kinds.map(str::to_owned))?;
        for row in &self.rows {
            let answers = row.answers_per_s;
            let show = |spread: Option<Spread>, digits: usize| {
                spread.map_or("-".to_owned(), |it| format!("{:.digits$}", it.median))
            };
            let cells = [
                format!("{:.0} ({:.0}-{:.0})", answers.median, answers.min, answers.max),
                show(row.aquatic_ratio, 2),
                show(row.cpu_us, 2),
                show(row.first_per_s, 0),
                show(row.bytes_per_peer, 0),
            ];
            Self::line(out, &format!("{} {}", row.way.name(), row.who), cells)?;
        }
        let all = u64::from(torrents) * u64::from(peers);
        for row in &self.rows {
            let Some(known) = row.known_peers.filter(|known| known.min < all as f64) else {
                continue;
            };
            writeln!(out, "{} {}: knew {} of {all} peers", row.way.name(), row.who, known.min)?;
        }
        Ok(())
    }

    fn line(out: &mut String, name: &str, cells: [String; 5]) -> fmt::Result {
        let [answers, ratio, cpu, first, bytes] = cells;
        writeln!(out, "{name:<18}{answers:>24}{ratio:>11}{cpu:>10}{first:>9}{bytes:>8}")
    }
}

impl Row {
    fn of(way: Way, who: Who, samples: &[Sample]) -> Option<Self> {
        let of = move |who| samples.iter().filter(move |it| it.way == way && it.who == who);
        let spread = |value: fn(&Sample) -> Option<f64>| Spread::of(of(who).filter_map(value));
        let ratio = |sample: &Sample| {
            let other = of(Who::Aquatic).find(|other| other.run == sample.run)?;
            Some(sample.answers_per_s / other.answers_per_s)
        };
        Some(Self {
            way,
            who,
            answers_per_s: spread(|sample| Some(sample.answers_per_s))?,
            aquatic_ratio: Spread::of(of(who).filter_map(ratio)),
            first_per_s: spread(|sample| sample.first_per_s),
            cpu_us: spread(|sample| sample.cpu_us),
            bytes_per_peer: spread(|sample| sample.bytes_per_peer),
            known_peers: spread(|sample| sample.known_peers.map(|known| known as f64)),
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<11}{:<8}{:>9.0} answers/s", self.way.name(), self.who, self.answers_per_s)?;
        if let Some(cpu_us) = self.cpu_us {
            write!(f, "  CPU {cpu_us:.2} us")?;
        }
        if let (Some(bytes), Some(known)) = (self.bytes_per_peer, self.known_peers) {
            write!(f, "  {bytes:.0} B/peer of {known}")?;
        }
        if let (Some(peers), Some(lost)) = (self.peers_per_answer, self.lost) {
            write!(f, "  {peers:.1} peers each, {lost} lost")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(run: u32, who: Who, answers_per_s: f64) -> Sample {
        let (bytes_per_peer, known_peers) = (Some(1234.0), Some(500_000));
        let (first_per_s, cpu_us) = (Some(100_000.0), Some(100.0));
        let more = Sample {
            bytes_per_peer,
            known_peers,
            first_per_s,
            cpu_us,
            ..Sample::empty(Way::Close)
        };
        Sample { run, who, answers_per_s, ..more }
    }

    #[test]
    fn each_run_is_compared_with_aquatic_in_that_run() {
        let setting = Setting {
            tester: "aquatic",
            torrents: 1_000_000,
            peers_per_torrent: 60_000,
            numwant: 200,
            seconds: 600,
            sockets: 64,
            window: 4096,
            connections: 512,
            pipeline: 256,
        };
        let samples = [(1, 2e5, 1e5), (2, 3e5, 4e5), (3, 1e5, 1e5)];
        let samples = samples.map(|(run, shoal, aquatic)| {
            [sample(run, Who::Shoal, shoal), sample(run, Who::Aquatic, aquatic)]
        });
        let rows = [(Way::Close, Who::Shoal), (Way::Close, Who::Aquatic), (Way::Udp, Who::Shoal)];
        let report = Report::new(Machine::here(), setting, &rows, samples.concat());
        assert_eq!(report.rows.len(), 2);
        let ratio = Spread { median: 1.0, min: 0.75, max: 2.0 };
        assert_eq!(report.rows[0].aquatic_ratio, Some(ratio));
        let table = report.table();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        for shown in ["200000 (100000-300000)", "http close aquatic", "knew 500000 of"] {
            assert!(table.contains(shown), "{shown}: {table}");
        }
    }
}
