//! The swarms that are measured: who is there, on what links, and when, from the simulator's own plans,
//! `node/sim/plans/truth_*.toml`. Never here: how a host is made.

use std::{iter, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;
use shoal_core::config::Unchoke;
use shoal_sim::plan::{self, Arrival, Conduct, Stay, shipped};

use super::network::QUEUE;

/// The most leechers of a plan, for each is a process and a namespace.
const LEECHERS_MAX: usize = 64;

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
    pub(crate) name: String,
    /// Bytes of the content.
    pub(crate) content_bytes: u64,
    /// Bytes of a piece.
    pub(crate) piece_bytes: u32,
    /// The seeder's link and zone.
    pub(crate) seeder: Host,
    /// Those that have nothing, in the order of their arrival.
    pub(crate) leechers: Vec<Host>,
    /// There is a second zone.
    pub(crate) has_far: bool,
    /// Payload that passes between the zones, bytes a second in each direction. None: no limit.
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
    pub(crate) arrives_s: f64,
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

impl Name {
    /// The shipped plan of this name.
    ///
    /// # Errors
    /// There is none, or it is more than hosts in this kernel can be.
    pub(crate) fn plan(self) -> anyhow::Result<Plan> {
        let name = match self {
            Self::Crowd => "truth_crowd",
            Self::Ladder => "truth_ladder",
            Self::Zones => "truth_zones",
        };
        let text = shipped::find(name).with_context(|| format!("no plan {name}"))?;
        Plan::of(plan::Plan::read(text)?).with_context(|| format!("the plan {name}"))
    }
}

impl Plan {
    /// Of the simulator's, as far as links and times go: latency is what the kernel takes.
    ///
    /// # Errors
    /// There is no one seed, or something that real nodes are not made to do here.
    fn of(plan: plan::Plan) -> anyhow::Result<Self> {
        ensure!(plan.zones.len() <= 2, "more than two zones");
        ensure!(plan.faults.is_empty(), "faults");
        let (mut seeders, mut leechers) = (Vec::new(), Vec::new());
        for class in &plan.classes {
            let host = Host::of(class).with_context(|| format!("class {}", class.name))?;
            let all = if class.has < 1.0 { &mut leechers } else { &mut seeders };
            all.extend(iter::repeat_n(host, class.count.try_into()?));
        }
        let &[seeder] = &seeders[..] else { bail!("{} seeds, not one", seeders.len()) };
        ensure!(
            seeder.arrives_s <= 0.0 && seeder.zone == Zone::A,
            "the seed is not where all begins"
        );
        ensure!((1..=LEECHERS_MAX).contains(&leechers.len()), "{} leechers", leechers.len());
        leechers.sort_by(|a, b| a.arrives_s.total_cmp(&b.arrives_s));
        Ok(Self {
            name: plan.name,
            content_bytes: plan.content_bytes,
            piece_bytes: plan.piece_len,
            seeder,
            leechers,
            has_far: plan.zones.len() == 2,
            between_bps: plan.between.first().and_then(|between| between.rate_bps),
        })
    }

    /// Everyone, the seeder first.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = Host> {
        iter::once(self.seeder).chain(self.leechers.iter().copied())
    }

    /// What the way from the seeder to a leecher lets through, bytes a second of payload.
    pub(crate) fn way_bps(&self, to: Host) -> u64 {
        let ends = self.seeder.up_bps.min(to.down_bps);
        let crosses = self.seeder.zone != to.zone;
        ends.min(self.between_bps.filter(|_| crosses).unwrap_or(u64::MAX))
    }
}

impl Host {
    /// Of a class, each of its hosts.
    fn of(class: &plan::Class) -> anyhow::Result<Self> {
        let Arrival::At(arrives) = class.arrival else { bail!("comes by chance") };
        ensure!(class.has <= 0.0 || class.has >= 1.0, "has a part");
        ensure!(class.stay == Stay::Forever, "leaves");
        ensure!(class.conduct == Conduct::Honest, "plays by rules of its own");
        ensure!(class.unchoke == Unchoke::All && class.policy.is_none(), "chooses by its own");
        ensure!(class.link.queue == QUEUE, "a queue other than {QUEUE:?}");
        let zone = if class.zone == 0 { Zone::A } else { Zone::B };
        let (up_bps, down_bps) = (class.link.up_bps, class.link.down_bps);
        Ok(Self { zone, up_bps, down_bps, arrives_s: arrives.as_secs_f64() })
    }

    /// When it comes, from the start.
    pub(crate) fn arrives(self) -> Duration {
        Duration::from_secs_f64(self.arrives_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shipped_swarm_is_one_seeder_and_eight_leechers_of_its_kind() {
        for name in Name::value_variants() {
            let plan = name.plan().unwrap();
            assert_eq!(plan.leechers.len(), 8, "{}", plan.name);
            assert!(plan.leechers.is_sorted_by_key(|host| host.arrives()), "{plan:?}");
            let has_far = plan.hosts().any(|host| host.zone == Zone::B);
            assert_eq!((has_far, plan.has_far), (plan.between_bps.is_some(), has_far), "{plan:?}");
        }
        let last = Name::Ladder.plan().unwrap().leechers[7];
        assert_eq!((last.arrives(), last.up_bps), (Duration::from_secs(14), 8_000_000));
    }

    #[test]
    fn a_way_is_as_wide_as_its_narrowest_part() {
        let ways = |name: Name| {
            let plan = name.plan().unwrap();
            plan.leechers.iter().map(|&host| plan.way_bps(host) / 1_000).collect::<Vec<u64>>()
        };
        assert_eq!(ways(Name::Crowd), [4_000; 8]);
        assert_eq!(ways(Name::Ladder)[..4], [3_000, 4_000, 6_000, 6_000]);
        assert_eq!(ways(Name::Zones)[3..5], [4_000, 2_000]);
    }

    #[test]
    fn what_real_nodes_are_not_made_to_do_is_refused() {
        let check = |more: &str, cause: &str| {
            let seed = "[[class]]\nname = \"seed\"\ncount = 1\nhas = 1\n";
            let leecher = format!("[[class]]\nname = \"leecher\"\ncount = 2\n{more}\n");
            let head = "name = \"x\"\ncontent = \"1MiB\"\n[link]\nqueue = \"25ms\"\n";
            let text = format!("{head}{seed}{leecher}");
            let error = Plan::of(plan::Plan::read(&text).unwrap()).err();
            let error = error.map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(cause) && error.is_empty() == cause.is_empty(), "{error}");
        };
        check("", "");
        check("has = 1", "3 seeds");
        check("has = 0.5", "has a part");
        check("arrive = { every = \"1s\" }", "comes by chance");
        check("stay = { about = \"9s\" }", "leaves");
        check("conduct = \"liar\"", "rules of its own");
        check("queue = \"1s\"", "a queue other than 25ms");
        check("unchoke = 4", "chooses");
    }
}
