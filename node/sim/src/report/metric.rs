//! The measures of a run, each with its name in documents, its words in tables and its unit.

use std::time::Duration;

use super::{
    stats::{RunStats, Times},
    words,
};

/// A measure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Honest leechers that have everything.
    Complete,
    /// Those that should, and have not.
    Incomplete,
    /// Those that left before.
    LeftEarly,
    /// Time to complete of half of them.
    P50,
    /// Of 90 of 100.
    P90,
    /// Of 99 of 100.
    P99,
    /// Of all.
    Max,
    /// What seeds sent.
    SeedCopies,
    /// What went between zones.
    Across,
    /// Jain's index of what leechers sent.
    Jain,
    /// The part received in vain.
    Waste,
    /// The part of the adversaries that was banned.
    Banned,
    /// How unevenly a seed unchoked.
    UnchokeSpread,
}

/// What a measure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Hosts.
    Hosts,
    /// Seconds; infinite is a time that never came.
    Seconds,
    /// Multiples of the content.
    Copies,
    /// An index from 0 to 1, of which more is better.
    Index,
    /// A part of a whole, of which less is better where policies are compared.
    Part,
}

impl Metric {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 13] = [
        Self::Complete,
        Self::Incomplete,
        Self::LeftEarly,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Max,
        Self::SeedCopies,
        Self::Across,
        Self::Jain,
        Self::Waste,
        Self::Banned,
        Self::UnchokeSpread,
    ];

    /// Those by which policies are compared. Fixed before any was.
    pub const COMPARED: [Self; 7] =
        [Self::P50, Self::P99, Self::Max, Self::SeedCopies, Self::Across, Self::Jain, Self::Waste];

    /// Its name in documents, with its unit.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::LeftEarly => "left_early",
            Self::P50 => "p50_s",
            Self::P90 => "p90_s",
            Self::P99 => "p99_s",
            Self::Max => "max_s",
            Self::SeedCopies => "seed_copies",
            Self::Across => "across_copies",
            Self::Jain => "jain_index",
            Self::Waste => "waste_part",
            Self::Banned => "banned_part",
            Self::UnchokeSpread => "unchoke_spread_part",
        }
    }

    /// What a person reads.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "not complete",
            Self::LeftEarly => "left early",
            Self::P50 => "time, p50",
            Self::P90 => "time, p90",
            Self::P99 => "time, p99",
            Self::Max => "time, last",
            Self::SeedCopies => "seeds sent",
            Self::Across => "across zones",
            Self::Jain => "fairness (Jain)",
            Self::Waste => "waste",
            Self::Banned => "banned",
            Self::UnchokeSpread => "unchoke spread",
        }
    }

    /// What it counts.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Complete | Self::Incomplete | Self::LeftEarly => Unit::Hosts,
            Self::P50 | Self::P90 | Self::P99 | Self::Max => Unit::Seconds,
            Self::SeedCopies | Self::Across => Unit::Copies,
            Self::Jain => Unit::Index,
            Self::Waste | Self::Banned | Self::UnchokeSpread => Unit::Part,
        }
    }

    /// Whether less of it is better.
    #[must_use]
    pub fn less_is_better(self) -> bool {
        match self {
            Self::Incomplete
            | Self::LeftEarly
            | Self::P50
            | Self::P90
            | Self::P99
            | Self::Max
            | Self::SeedCopies
            | Self::Across
            | Self::Waste
            | Self::UnchokeSpread => true,
            Self::Complete | Self::Jain | Self::Banned => false,
        }
    }

    /// Its value; none, where there is nothing to measure. A time that never came is infinite.
    #[must_use]
    pub fn of(self, stats: &RunStats) -> Option<f64> {
        match self {
            Self::Complete => Some(stats.fared.complete as f64),
            Self::Incomplete => Some(stats.fared.incomplete as f64),
            Self::LeftEarly => Some(stats.fared.left_early as f64),
            Self::P50 | Self::P90 | Self::P99 | Self::Max => self.of_times(stats.times),
            Self::SeedCopies => Some(stats.seed_copies),
            Self::Across => Some(stats.across_copies),
            Self::Jain => stats.jain,
            Self::Waste => Some(stats.waste_part),
            Self::Banned => stats.banned_part,
            Self::UnchokeSpread => stats.unchoke_spread,
        }
    }

    /// Its value, where it is one of times.
    pub(crate) fn of_times(self, times: Option<Times>) -> Option<f64> {
        let times = times?;
        let time = match self {
            Self::P50 => times.p50,
            Self::P90 => times.p90,
            Self::P99 => times.p99,
            Self::Max => times.max,
            Self::Complete
            | Self::Incomplete
            | Self::LeftEarly
            | Self::SeedCopies
            | Self::Across
            | Self::Jain
            | Self::Waste
            | Self::Banned
            | Self::UnchokeSpread => return None,
        };
        Some(time.as_ref().map_or(f64::INFINITY, Duration::as_secs_f64))
    }
}

impl Unit {
    /// A value, as a person reads it.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Hosts => words::count(value),
            Self::Seconds => words::seconds(value),
            Self::Copies => words::copies(value),
            Self::Index => words::index(value),
            Self::Part => words::percent(value),
        }
    }
}
