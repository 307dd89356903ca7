//! What of one run is divided by what of the same run. Never here: how a ratio is shown.

use serde::Serialize;

use super::Sample;
use crate::stats::Spread;

/// Shoal ÷ another contestant, run by run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ShoalRatio {
    /// Of bytes a second to each; above 1 shoal is quicker.
    pub(super) speed: Spread,
    /// Of the seconds to the last receiver's end; below 1 shoal is quicker.
    pub(super) wall: Spread,
    /// Of the sender's processor time; below 1 shoal takes less, here and below. None where it was
    /// too short to be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sender_cpu: Option<Spread>,
    /// Of the receivers' processor time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receiver_cpu: Option<Spread>,
    /// Of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<Spread>,
}

/// What the piece length does to the speed of one contestant.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PieceRatio {
    pub(super) name: String,
    /// Bytes a second with the slowest piece length ÷ those with the fastest, run by run, so that
    /// noise makes it smaller.
    pub(super) slowest_to_fastest: Spread,
    /// The smallest median of bytes a second ÷ the largest, which noise moves less.
    pub(super) medians_ratio: f64,
    /// The piece length of the smallest median of bytes a second.
    pub(super) slowest_piece_bytes: u32,
    /// The piece length of the largest.
    pub(super) fastest_piece_bytes: u32,
}

impl ShoalRatio {
    /// What `shoal` had in the run of each of `mine`, ÷ that.
    pub(super) fn of<'a>(
        shoal: &str,
        mine: impl Iterator<Item = &'a Sample>,
        samples: &[Sample],
    ) -> Option<Self> {
        let pairs: Vec<_> = mine.filter_map(|it| Some((same(samples, it, shoal)?, it))).collect();
        let ratio = |value: fn(&Sample) -> f64| {
            let ratios = pairs.iter().map(|(shoal, it)| value(shoal) / value(it));
            Spread::of(ratios.filter(|ratio| ratio.is_finite()))
        };
        Some(Self {
            speed: ratio(|it| it.mb_per_s)?,
            wall: ratio(|it| it.wall_s)?,
            sender_cpu: ratio(|it| it.sender_cpu_s_per_gib),
            receiver_cpu: ratio(|it| it.receiver_cpu_s_per_gib),
            cpu: ratio(|it| it.sender_cpu_s_per_gib + it.receiver_cpu_s_per_gib),
        })
    }
}

impl PieceRatio {
    /// Of each contestant that had several piece lengths.
    pub(super) fn all(samples: &[Sample]) -> Vec<Self> {
        let mut names: Vec<&str> = Vec::new();
        for sample in samples {
            if !names.contains(&&*sample.contestant) {
                names.push(&sample.contestant);
            }
        }
        names.into_iter().filter_map(|name| Self::of(name, samples)).collect()
    }

    fn of(name: &str, samples: &[Sample]) -> Option<Self> {
        let mine: Vec<&Sample> = samples.iter().filter(|it| it.contestant == name).collect();
        let mut pieces: Vec<u32> = mine.iter().map(|it| it.piece_bytes).collect();
        pieces.sort_unstable();
        pieces.dedup();
        if pieces.len() < 2 {
            return None;
        }
        let mut runs: Vec<u32> = mine.iter().map(|it| it.run).collect();
        runs.sort_unstable();
        runs.dedup();
        let of_run = |run: u32| {
            let speeds = mine.iter().filter(|it| it.run == run).map(|it| it.mb_per_s);
            Spread::of(speeds).map(|it| it.min / it.max)
        };
        let median = |piece: u32| {
            let speeds = mine.iter().filter(|it| it.piece_bytes == piece).map(|it| it.mb_per_s);
            Spread::of(speeds).map_or(0.0, |it| it.median)
        };
        pieces.sort_by(|&a, &b| median(a).total_cmp(&median(b)));
        let (slowest, fastest) = (*pieces.first()?, *pieces.last()?);
        Some(Self {
            name: name.to_owned(),
            medians_ratio: median(slowest) / median(fastest),
            slowest_to_fastest: Spread::of(runs.into_iter().filter_map(of_run))?,
            slowest_piece_bytes: slowest,
            fastest_piece_bytes: fastest,
        })
    }
}

/// The sample of `contestant` in the same run, with the same piece length.
pub(super) fn same<'a>(
    samples: &'a [Sample],
    sample: &Sample,
    contestant: &str,
) -> Option<&'a Sample> {
    let key = (sample.run, sample.piece_bytes);
    samples.iter().find(|it| (it.run, it.piece_bytes) == key && it.contestant == contestant)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sample, *};

    #[test]
    fn shoal_is_divided_by_the_other_of_the_same_run() {
        let mut samples: Vec<Sample> =
            [(1, "shoal", 2.0), (1, "aria2", 4.0), (2, "shoal", 10.0), (2, "aria2", 5.0)]
                .map(|(run, who, wall_s)| sample(run, who, wall_s))
                .to_vec();
        samples[1].receiver_cpu_s_per_gib = 21.0;
        samples[1].sender_cpu_s_per_gib = 0.0;
        let mine = samples.iter().filter(|it| it.contestant == "aria2");
        let ratio = ShoalRatio::of("shoal", mine, &samples).unwrap();
        let ends = |it: Spread| (it.min, it.max);
        assert_eq!(ends(ratio.speed), (0.5, 2.0));
        assert_eq!(ends(ratio.wall), (0.5, 2.0));
        assert_eq!(ends(ratio.sender_cpu.unwrap()), (1.0, 1.0), "no time was counted in run 1");
        assert_eq!(ends(ratio.cpu.unwrap()), (11.0 / 21.0, 1.0));
    }

    #[test]
    fn the_slowest_piece_length_is_found_in_each_run() {
        let with =
            |run, piece_bytes, wall_s| Sample { piece_bytes, ..sample(run, "shoal", wall_s) };
        let samples = [with(1, 64, 4.0), with(1, 128, 2.0), with(1, 256, 3.0)];
        let [found] = &PieceRatio::all(&samples)[..] else { panic!("not one") };
        assert_eq!(found.slowest_to_fastest, Spread { median: 0.5, min: 0.5, max: 0.5 });
        assert_eq!(found.medians_ratio.to_bits(), 0.5_f64.to_bits());
        assert_eq!((found.slowest_piece_bytes, found.fastest_piece_bytes), (64, 128));
        assert!(PieceRatio::all(&samples[..1]).is_empty());
    }
}
