//! What a measurement found: every sample, their medians and spreads, and how far each contestant
//! is from the floor and from shoal, run by run. As JSON; as text in `table`.

mod ratio;
mod table;

use std::fmt;

use serde::Serialize;

use self::ratio::{PieceRatio, ShoalRatio, same};
use crate::{calls::Calls, machine::Machine, space::Medium, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    setting: Setting,
    contestants: Vec<Contestant>,
    /// Where there were several piece lengths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pieces: Vec<PieceRatio>,
    samples: Vec<Sample>,
}

/// What was transferred, and how.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    /// Bytes of each copy.
    pub(crate) size_bytes: u64,
    /// Bytes of a piece, each that was tried.
    pub(crate) piece_bytes: Vec<u32>,
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
    /// Why system calls could not be counted, if they could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_calls: Option<String>,
}

/// One contestant in one run. Its copies are equal to the source, byte for byte.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// From 1.
    pub(crate) run: u32,
    /// Who.
    pub(crate) contestant: String,
    /// Bytes of a piece.
    pub(crate) piece_bytes: u32,
    /// Seconds from the first receiver's start to the last one's end; on a disk until that has
    /// everything.
    pub(crate) wall_s: f64,
    /// Of these, the seconds after the last one's end. On a disk only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flush_s: Option<f64>,
    /// Bytes of one copy ÷ 10⁶ ÷ `wall_s`.
    pub(crate) mb_per_s: f64,
    /// Seconds of processor time of the sender, from the receivers' start to their end, for each
    /// GiB received.
    pub(crate) sender_cpu_s_per_gib: f64,
    /// The same of all receivers together.
    pub(crate) receiver_cpu_s_per_gib: f64,
    /// Payload bytes that shoal's seeder sent ÷ those of one copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seeder_upload_ratio: Option<f64>,
    /// Processor time of the thread that runs Lua ÷ that of sender and receivers together, where a
    /// policy was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy_cpu_share: Option<f64>,
    /// The most memory that the sender had resident at once, MiB.
    pub(crate) sender_peak_mib: f64,
    /// The same of the receiver that had most.
    pub(crate) receiver_peak_mib: f64,
}

/// All runs of one contestant with one piece length.
#[derive(Clone, Debug, Serialize)]
struct Contestant {
    name: String,
    piece_bytes: u32,
    wall_s: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    flush_s: Option<Spread>,
    mb_per_s: Spread,
    /// The floor's wall time ÷ that of this one in the same run; 1 is as quick as the floor.
    floor_ratio: Spread,
    /// Shoal ÷ this one; of those that are not shoal.
    #[serde(skip_serializing_if = "Option::is_none")]
    shoal_ratio: Option<ShoalRatio>,
    sender_cpu_s_per_gib: Spread,
    receiver_cpu_s_per_gib: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    seeder_upload_ratio: Option<Spread>,
    /// From a pass of its own that is not timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Calls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_cpu_share: Option<Spread>,
    sender_peak_mib: Spread,
    receiver_peak_mib: Spread,
}

/// What the floor is called.
const FLOOR: &str = "floor";

impl Report {
    /// Sums up. The first contestant besides the floor is the one that the others are compared with.
    pub(crate) fn new(
        machine: Machine,
        setting: Setting,
        samples: Vec<Sample>,
        calls: &[Calls],
    ) -> Self {
        let mut rows: Vec<(&str, u32)> = Vec::new();
        for sample in &samples {
            let row = (sample.contestant.as_str(), sample.piece_bytes);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let shoal = rows.iter().map(|&(name, _)| name).find(|&name| name != FLOOR);
        let of_row =
            |&(name, piece): &(&str, u32)| Contestant::of(name, piece, shoal, &samples, calls);
        let mut contestants: Vec<Contestant> = rows.iter().filter_map(of_row).collect();
        contestants.sort_by_key(|it| it.piece_bytes);
        let pieces = PieceRatio::all(&samples);
        Self { machine, setting, contestants, pieces, samples }
    }

    /// As text of at most 80 columns.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = table::write(self, &mut text);
        text
    }
}

impl Contestant {
    fn of(
        name: &str,
        piece_bytes: u32,
        shoal: Option<&str>,
        samples: &[Sample],
        calls: &[Calls],
    ) -> Option<Self> {
        let is_mine =
            |sample: &&Sample| sample.contestant == name && sample.piece_bytes == piece_bytes;
        let mine = || samples.iter().filter(is_mine);
        let spread = |value: fn(&Sample) -> f64| Spread::of(mine().map(value));
        let some = |value: fn(&Sample) -> Option<f64>| Spread::of(mine().filter_map(value));
        let to_floor = |it: &Sample| Some(same(samples, it, FLOOR)?.wall_s / it.wall_s);
        let others = shoal.filter(|&shoal| name != shoal && name != FLOOR);
        let counted = |it: &&Calls| it.contestant == name && it.piece_bytes == piece_bytes;
        Some(Self {
            name: name.to_owned(),
            piece_bytes,
            wall_s: spread(|sample| sample.wall_s)?,
            flush_s: some(|sample| sample.flush_s),
            mb_per_s: spread(|sample| sample.mb_per_s)?,
            floor_ratio: Spread::of(mine().filter_map(to_floor))?,
            shoal_ratio: others.and_then(|shoal| ShoalRatio::of(shoal, mine(), samples)),
            sender_cpu_s_per_gib: spread(|sample| sample.sender_cpu_s_per_gib)?,
            receiver_cpu_s_per_gib: spread(|sample| sample.receiver_cpu_s_per_gib)?,
            seeder_upload_ratio: some(|sample| sample.seeder_upload_ratio),
            calls: calls.iter().find(counted).cloned(),
            policy_cpu_share: some(|sample| sample.policy_cpu_share),
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

    /// A sample with pieces of 512 KiB.
    pub(super) fn sample(run: u32, contestant: &str, wall_s: f64) -> Sample {
        Sample {
            run,
            contestant: contestant.to_owned(),
            piece_bytes: 512 << 10,
            wall_s,
            flush_s: None,
            mb_per_s: 12_345.6 / wall_s,
            sender_cpu_s_per_gib: 1.0,
            receiver_cpu_s_per_gib: 10.0,
            seeder_upload_ratio: None,
            policy_cpu_share: (contestant != FLOOR).then_some(0.0123),
            sender_peak_mib: 2000.0,
            receiver_peak_mib: 20_000.0,
        }
    }

    pub(super) fn report(samples: Vec<Sample>, calls: &[Calls]) -> Report {
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
            piece_bytes: vec![512 << 10, 16 << 20],
            leechers: 64,
            is_sparse: true,
            hosts: false,
            medium: Medium::Disk,
            policy: Some("rarest".to_owned()),
            no_calls: None,
        };
        Report::new(machine, setting, samples, calls)
    }

    #[test]
    fn each_run_is_compared_with_the_floor_of_that_run() {
        let samples = [(1, "floor", 1.0), (1, "shoal", 2.0), (2, "floor", 3.0), (2, "shoal", 12.0)];
        let samples = samples.map(|(run, who, wall_s)| sample(run, who, wall_s)).to_vec();
        let report = report(samples, &[]);
        let names: Vec<_> = report.contestants.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["floor", "shoal"]);
        let [floor, shoal] = [0, 1].map(|at| report.contestants[at].floor_ratio);
        assert_eq!(floor, Spread { median: 1.0, min: 1.0, max: 1.0 });
        assert_eq!(shoal, Spread { median: 0.375, min: 0.25, max: 0.5 });
        assert!(report.contestants.iter().all(|it| it.shoal_ratio.is_none()));
    }

    #[test]
    fn each_piece_length_has_rows_of_its_own() {
        let mut samples = vec![sample(1, "floor", 1.0), sample(1, "shoal", 2.0)];
        let large = samples.iter().cloned().map(|it| Sample { piece_bytes: 16 << 20, ..it });
        samples.extend(large.collect::<Vec<_>>());
        samples[2].wall_s = 8.0;
        let report = report(samples, &[]);
        let rows = report.contestants.iter().map(|it| (&*it.name, it.floor_ratio.median));
        let expected = [("floor", 1.0), ("shoal", 0.5), ("floor", 1.0), ("shoal", 4.0)];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
}
