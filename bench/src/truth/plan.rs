//! The swarms that are measured: who is there, on what links, and when. The simulator's plans of the
//! same names, `node/sim/plans/truth_*.toml`, have the same numbers. Never here: how a host is made.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// A swarm by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Name {
    /// All at once, on equal links
    Crowd,
    /// One after the other, each on a faster link than the one before
    Ladder,
    /// Two zones with a slow link between
    Zones,
}

/// A swarm.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Plan {
    /// Its name.
    pub(crate) name: &'static str,
    /// Bytes of the content.
    pub(crate) content_bytes: u64,
    /// Bytes of a piece.
    pub(crate) piece_bytes: u32,
    /// The seeder's link and zone.
    pub(crate) seeder: Host,
    /// Those that have nothing, in the order of their arrival.
    pub(crate) leechers: Vec<Host>,
    /// Payload that passes between the zones, bytes a second in each direction. None: there is one
    /// zone.
    pub(crate) between_bps: Option<u64>,
}

/// A host.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Host {
    /// Where it is.
    pub(crate) zone: Zone,
    /// Payload that it can send, bytes a second.
    pub(crate) up_bps: u64,
    /// Payload that it can receive, bytes a second.
    pub(crate) down_bps: u64,
    /// When it comes, seconds from the start.
    pub(crate) arrives_s: u64,
}

/// A place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Zone {
    /// The seeder's.
    A,
    /// The other.
    B,
}

const MB: u64 = 1_000_000;
/// Bytes of a piece of every swarm.
const PIECE_BYTES: u32 = 256 << 10;
/// The link of those that are alike.
const EQUAL: Host = Host { zone: Zone::A, up_bps: 4 * MB, down_bps: 16 * MB, arrives_s: 0 };
/// Up and down of the ladder's leechers, kB/s.
const LADDER: [(u64, u64); 8] = [
    (1_000, 3_000),
    (1_500, 4_000),
    (2_000, 6_000),
    (3_000, 8_000),
    (4_000, 10_000),
    (5_000, 12_000),
    (6_000, 16_000),
    (8_000, 16_000),
];

impl Name {
    /// What it stands for.
    pub(crate) fn plan(self) -> Plan {
        let crowd = Plan {
            name: "truth_crowd",
            content_bytes: 128 << 20,
            piece_bytes: PIECE_BYTES,
            seeder: EQUAL,
            leechers: vec![EQUAL; 8],
            between_bps: None,
        };
        match self {
            Self::Crowd => crowd,
            Self::Ladder => {
                let rung = |(arrives_s, (up, down)): (u64, (u64, u64))| Host {
                    up_bps: up * 1_000,
                    down_bps: down * 1_000,
                    arrives_s,
                    ..EQUAL
                };
                let leechers = (0..).step_by(2).zip(LADDER).map(rung).collect();
                let seeder = Host { up_bps: 6 * MB, ..EQUAL };
                Plan { name: "truth_ladder", seeder, leechers, ..crowd }
            }
            Self::Zones => {
                let zones = [Zone::A, Zone::B].into_iter().flat_map(|zone| [zone; 4]);
                Plan {
                    name: "truth_zones",
                    content_bytes: 64 << 20,
                    leechers: zones.map(|zone| Host { zone, ..EQUAL }).collect(),
                    between_bps: Some(2 * MB),
                    ..crowd
                }
            }
        }
    }
}

impl Plan {
    /// Everyone, the seeder first.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = Host> {
        std::iter::once(self.seeder).chain(self.leechers.iter().copied())
    }

    /// What the way from the seeder to a leecher lets through, bytes a second of payload.
    pub(crate) fn way_bps(&self, to: Host) -> u64 {
        let ends = self.seeder.up_bps.min(to.down_bps);
        let crosses = self.seeder.zone != to.zone;
        ends.min(self.between_bps.filter(|_| crosses).unwrap_or(u64::MAX))
    }
}

impl Host {
    /// When it comes, from the start.
    pub(crate) fn arrives(self) -> Duration {
        Duration::from_secs(self.arrives_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_swarm_is_one_seeder_and_eight_leechers_of_its_kind() {
        for name in Name::value_variants() {
            let plan = name.plan();
            let value = name.to_possible_value().unwrap();
            let file = format!("truth_{}", value.get_name());
            assert_eq!((plan.name, plan.leechers.len()), (file.as_str(), 8));
            assert!(plan.leechers.is_sorted_by_key(|host| host.arrives_s), "{plan:?}");
            let has_far = plan.hosts().any(|host| host.zone == Zone::B);
            assert_eq!(has_far, plan.between_bps.is_some(), "{plan:?}");
        }
    }

    #[test]
    fn a_way_is_as_wide_as_its_narrowest_part() {
        let ways = |name: Name| {
            let plan = name.plan();
            plan.leechers.iter().map(|&host| plan.way_bps(host) / 1_000).collect::<Vec<u64>>()
        };
        assert_eq!(ways(Name::Crowd), [4_000; 8]);
        assert_eq!(ways(Name::Ladder)[..4], [3_000, 4_000, 6_000, 6_000]);
        assert_eq!(ways(Name::Zones)[3..5], [4_000, 2_000]);
    }
}
