//! How shoal did with each client: every sample, medians, and the ratio to that client against
//! itself, run by run. As JSON, and as a table of 80 columns.

use std::fmt::{self, Write as _};

use bytesize::ByteSize;
use serde::Serialize;

use super::contests;
use crate::{client::Client, machine::Machine, report::Sample, space::Medium, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    setting: Setting,
    pairs: Vec<Pair>,
    samples: Vec<Sample>,
}

/// What was transferred, and how.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    /// Bytes of the copy.
    pub(crate) size_bytes: u64,
    /// The same where Transmission took part.
    pub(crate) transmission_size_bytes: u64,
    /// Bytes of a piece.
    pub(crate) piece_bytes: u32,
    /// Where source and copies lay.
    pub(crate) medium: Medium,
}

/// All runs of one seeder with one leecher.
#[derive(Clone, Debug, Serialize)]
struct Pair {
    name: String,
    mb_per_s: Spread,
    /// The wall time of the client against itself ÷ that of this pair in the same run; above 1 is
    /// quicker than the client by itself.
    itself_ratio: Spread,
}

impl Report {
    /// Sums up.
    pub(crate) fn new(
        machine: Machine,
        setting: Setting,
        clients: &[Client],
        samples: Vec<Sample>,
    ) -> Self {
        let pairs = clients.iter().flat_map(|&client| {
            let samples = &samples;
            let [itself, ..] = contests(client);
            contests(client)
                .into_iter()
                .filter_map(move |it| Pair::of(&it.to_string(), &itself.to_string(), samples))
        });
        Self { machine, setting, pairs: pairs.collect(), samples }
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
        let small = ByteSize(setting.transmission_size_bytes);
        writeln!(out, "{size}, with transmission {small}, pieces of {piece}; veth, {medium}")?;
        writeln!(out, "seeder>leecher; runs: {runs}")?;
        writeln!(out)?;
        writeln!(out, "{:<24}{:>24}{:>30}", "", "MB/s", "of the client itself")?;
        writeln!(out, "{:<24}{:>24}{:>30}", "", "median (min-max)", "median (min-max)")?;
        for it in &self.pairs {
            let (rate, ratio) = (it.mb_per_s, it.itself_ratio);
            let rate = format!("{:.0} ({:.0}-{:.0})", rate.median, rate.min, rate.max);
            let ratio = format!("{:.3} ({:.3}-{:.3})", ratio.median, ratio.min, ratio.max);
            writeln!(out, "{:<24}{rate:>24}{ratio:>30}", it.name)?;
        }
        Ok(())
    }
}

impl Pair {
    fn of(name: &str, itself: &str, samples: &[Sample]) -> Option<Self> {
        let mine = || samples.iter().filter(|sample| sample.contestant == name);
        let ratio = |sample: &Sample| {
            let same = |it: &&Sample| it.run == sample.run && it.contestant == itself;
            Some(samples.iter().find(same)?.wall_s / sample.wall_s)
        };
        Some(Self {
            name: name.to_owned(),
            mb_per_s: Spread::of(mine().map(|sample| sample.mb_per_s))?,
            itself_ratio: Spread::of(mine().filter_map(ratio))?,
        })
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
            piece_bytes: 512 << 10,
            flush_s: None,
            seeder_upload_ratio: None,
            mb_per_s: 1000.0 / wall_s,
            sender_cpu_s_per_gib: 1.0,
            receiver_cpu_s_per_gib: 10.0,
            policy_cpu_share: None,
            sender_peak_mib: 1.0,
            receiver_peak_mib: 1.0,
        }
    }

    #[test]
    fn each_pair_is_compared_with_the_client_itself_in_the_same_run() {
        let setting = Setting {
            size_bytes: 1 << 30,
            transmission_size_bytes: 128 << 20,
            piece_bytes: 512 << 10,
            medium: Medium::Tmpfs,
        };
        let samples = [
            (1, "transmission", 10.0),
            (1, "transmission>shoal", 20.0),
            (1, "shoal>transmission", 5.0),
            (2, "transmission", 8.0),
            (2, "transmission>shoal", 4.0),
            (2, "shoal>transmission", 8.0),
        ];
        let samples = samples.map(|(run, who, wall_s)| sample(run, who, wall_s)).to_vec();
        let report = Report::new(Machine::here(), setting, &[Client::Transmission], samples);
        let ratios = report.pairs.iter().map(|pair| (pair.name.as_str(), pair.itself_ratio.median));
        let expected =
            [("transmission", 1.0), ("transmission>shoal", 1.25), ("shoal>transmission", 1.5)];
        assert_eq!(ratios.collect::<Vec<_>>(), expected);
        for line in report.table().lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        assert!(report.table().contains("1.250 (0.500-2.000)"), "{}", report.table());
    }
}
