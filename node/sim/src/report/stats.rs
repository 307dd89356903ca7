//! What a run comes to in numbers. Never here: several runs ([`super::summary`]), or text.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::outcome::{HostOutcome, Outcome};

/// What a run comes to. A *leecher* came without everything; one *left early* that went for good
/// before it had everything, by its own doing. The others should be complete at the end, and times
/// are of them.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStats {
    /// Honest leechers, by how they fared.
    pub fared: Fared,
    /// How long honest leechers took; none, where none should be complete.
    pub times: Option<Times>,
    /// Jain's index of the payload that honest leechers sent, those that left early too: 1 where
    /// all sent the same, one over their number where one sent everything. None, where nobody sent
    /// anything. Source: Jain, Chiu and Hawe, DEC-TR-301, 1984.
    pub jain: Option<f64>,
    /// What all honest seeds together sent, in multiples of the content: what a swarm costs its
    /// origin.
    pub seed_copies: f64,
    /// What went from one zone to another, in multiples of the content.
    pub across_copies: f64,
    /// What was received in vain, as a part of all that was received, by anybody; 0 where nothing
    /// was.
    pub waste_part: f64,
    /// Adversaries that at least one host banned, as a part of all; none, where there are none.
    pub banned_part: Option<f64>,
    /// The largest [`HostOutcome::unchoke_spread`] of an honest seed; none, where none has one.
    pub unchoke_spread: Option<f64>,
    /// Decisions by what came of them.
    pub decisions: BTreeMap<&'static str, u64>,
    /// Each class in each zone, in the order of the population.
    pub groups: Vec<GroupStats>,
}

/// How many of some leechers …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fared {
    /// … have everything.
    pub complete: u64,
    /// … should have it, and have not.
    pub incomplete: u64,
    /// … left before they had it.
    pub left_early: u64,
}

/// Percentiles by nearest rank of the time from arrival to complete. Who should be complete and is
/// not counts as slower than everybody who is, so that a policy gains nothing by giving up on the
/// slow; `None` is a rank among these: it never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Half of the leechers were as fast.
    pub p50: Option<Duration>,
    /// 90 of 100 were.
    pub p90: Option<Duration>,
    /// 99 of 100 were.
    pub p99: Option<Duration>,
    /// All were.
    pub max: Option<Duration>,
}

/// The hosts of one class in one zone.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStats {
    /// The name of the class.
    pub class: Arc<str>,
    /// The name of the zone.
    pub zone: Arc<str>,
    /// How many came.
    pub hosts: u64,
    /// Its leechers, honest or not, by how they fared.
    pub fared: Fared,
    /// How long they took.
    pub times: Option<Times>,
    /// What a host sent, the mean, in multiples of the content.
    pub sent_copies: f64,
}

impl RunStats {
    /// Of a run.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let hosts = &outcome.hosts;
        let peers: Vec<&HostOutcome> = hosts.iter().filter(|it| it.honest && !it.seed).collect();
        let adversaries: Vec<&HostOutcome> = hosts.iter().filter(|it| !it.honest).collect();
        let banned = adversaries.iter().filter(|it| it.banned_by > 0).count() as u64;
        let seeds: Vec<&HostOutcome> = hosts.iter().filter(|it| it.honest && it.seed).collect();
        let sent_by_seeds = sum(seeds.iter().map(|it| it.uploaded_bytes));
        let received = sum(hosts.iter().map(|it| it.downloaded_bytes));
        let wasted = sum(hosts.iter().map(|it| it.wasted_bytes));
        Self {
            fared: Fared::of(peers.iter().copied()),
            times: Times::of_hosts(peers.iter().copied()),
            jain: jain(peers.iter().map(|it| it.uploaded_bytes)),
            seed_copies: copies(sent_by_seeds, outcome.content_bytes),
            across_copies: copies(u128::from(outcome.across_bytes), outcome.content_bytes),
            waste_part: part(wasted, received).unwrap_or(0.0),
            banned_part: part(u128::from(banned), adversaries.len() as u128),
            unchoke_spread: seeds.iter().filter_map(|it| it.unchoke_spread).max_by(f64::total_cmp),
            decisions: outcome.decisions.clone(),
            groups: groups(outcome),
        }
    }
}

impl Fared {
    fn of<'a>(leechers: impl Iterator<Item = &'a HostOutcome>) -> Self {
        let mut fared = Self::default();
        for host in leechers {
            let counter = match (host.complete, host.left) {
                (Some(_), _) => &mut fared.complete,
                (None, Some(_)) => &mut fared.left_early,
                (None, None) => &mut fared.incomplete,
            };
            *counter += 1;
        }
        fared
    }

    /// Those that should be complete.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.complete + self.incomplete
    }

    /// The complete ones, as a part of those that should be; none, where none should.
    #[must_use]
    pub fn complete_part(&self) -> Option<f64> {
        part(u128::from(self.complete), u128::from(self.expected()))
    }
}

impl Times {
    fn of_hosts<'a>(leechers: impl Iterator<Item = &'a HostOutcome> + Clone) -> Option<Self> {
        let mut took: Vec<Duration> = leechers.clone().filter_map(HostOutcome::took).collect();
        took.sort_unstable();
        let expected = usize::try_from(Fared::of(leechers).expected()).unwrap_or(usize::MAX);
        Self::of(&took, expected)
    }

    /// Of these times, in order, among so many leechers. None among none.
    #[must_use]
    pub fn of(took: &[Duration], among: usize) -> Option<Self> {
        let rank = |percent: usize| {
            let rank = among.saturating_mul(percent).div_ceil(100);
            took.get(rank.saturating_sub(1)).copied()
        };
        (among > 0).then(|| Self { p50: rank(50), p90: rank(90), p99: rank(99), max: rank(100) })
    }
}

fn groups(outcome: &Outcome) -> Vec<GroupStats> {
    let mut members: Vec<Vec<&HostOutcome>> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for host in &outcome.hosts {
        let place = *places.entry((&host.class, &host.zone)).or_insert(members.len());
        match members.get_mut(place) {
            Some(group) => group.push(host),
            None => members.push(vec![host]),
        }
    }
    members.iter().filter_map(|hosts| group(hosts, outcome.content_bytes)).collect()
}

fn group(hosts: &[&HostOutcome], content_bytes: u64) -> Option<GroupStats> {
    let first = hosts.first()?;
    let leechers = hosts.iter().copied().filter(|it| !it.seed);
    let sent = copies(sum(hosts.iter().map(|it| it.uploaded_bytes)), content_bytes);
    Some(GroupStats {
        class: Arc::clone(&first.class),
        zone: Arc::clone(&first.zone),
        hosts: hosts.len() as u64,
        fared: Fared::of(leechers.clone()),
        times: Times::of_hosts(leechers),
        sent_copies: sent / hosts.len() as f64,
    })
}

/// Source: Jain, Chiu and Hawe, DEC-TR-301, 1984.
fn jain(values: impl Iterator<Item = u64> + Clone) -> Option<f64> {
    let count = values.clone().count() as f64;
    let total = values.clone().map(|it| it as f64).sum::<f64>();
    let squares = values.map(|it| it as f64 * it as f64).sum::<f64>();
    (squares > 0.0).then(|| total * total / (count * squares))
}

fn sum(bytes: impl Iterator<Item = u64>) -> u128 {
    bytes.map(u128::from).sum()
}

fn copies(bytes: u128, content_bytes: u64) -> f64 {
    bytes as f64 / content_bytes.max(1) as f64
}

fn part(of: u128, all: u128) -> Option<f64> {
    (all > 0).then(|| of as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up::{MIB, host, outcome, seed};

    fn s(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let took: Vec<Duration> = (1..=200).map(Duration::from_secs).collect();
        let times = Times::of(&took, 200).unwrap();
        assert_eq!([times.p50, times.p90, times.p99, times.max], [s(100), s(180), s(198), s(200)]);
        let times = Times::of(&took[..3], 3).unwrap();
        assert_eq!([times.p50, times.p90, times.p99, times.max], [s(2), s(3), s(3), s(3)]);
        assert_eq!(Times::of(&[], 0), None);
    }

    #[test]
    fn who_is_not_complete_counts_as_the_slowest() {
        let took: Vec<Duration> = (1..=9).map(Duration::from_secs).collect();
        let times = Times::of(&took, 10).unwrap();
        assert_eq!([times.p50, times.p90, times.p99, times.max], [s(5), s(9), None, None]);
        assert_eq!(Times::of(&[], 3).unwrap().p50, None);
    }

    #[test]
    fn a_run_comes_to_the_numbers_worked_out_by_hand() {
        let mut run = outcome(7, &[10, 20, 30, 40]);
        // Sent 1, 2, 3 and 4 MiB: 100 / (4 * 30).
        let stats = RunStats::of(&run);
        assert!((stats.jain.unwrap() - 100.0 / 120.0).abs() < 1e-12);
        assert_eq!(stats.fared, Fared { complete: 4, incomplete: 0, left_early: 0 });
        assert_eq!(stats.times.unwrap().p50, s(20));
        // The seed sent 15 MiB of a content of 10, 5 MiB went across, 1 of 40 MiB was wasted.
        assert!((stats.seed_copies - 1.5).abs() < 1e-12);
        assert!((stats.across_copies - 0.5).abs() < 1e-12);
        assert!((stats.waste_part - 0.025).abs() < 1e-12);
        assert_eq!((stats.banned_part, stats.unchoke_spread), (None, None));

        run.hosts[2].complete = None;
        run.hosts[3].complete = None;
        run.hosts[3].left = s(5);
        let stats = RunStats::of(&run);
        assert_eq!(stats.fared, Fared { complete: 2, incomplete: 1, left_early: 1 });
        assert_eq!(stats.fared.complete_part(), Some(2.0 / 3.0));
        assert_eq!(stats.times.unwrap().p50, s(40), "two of three, the third never");
        assert_eq!(stats.times.unwrap().p90, None);
    }

    #[test]
    fn adversaries_are_no_leechers_but_are_banned() {
        let mut run = outcome(7, &[10, 20]);
        for banned_by in [0, 3, 1] {
            let adversary = host("corrupter", None, 50);
            run.hosts.push(HostOutcome { honest: false, banned_by, ..adversary });
        }
        run.hosts.push(HostOutcome { honest: false, banned_by: 9, class: "liar".into(), ..seed() });
        run.hosts.push(HostOutcome { unchoke_spread: Some(0.4), ..seed() });
        run.hosts.push(HostOutcome { unchoke_spread: Some(0.1), ..seed() });
        let stats = RunStats::of(&run);
        assert_eq!(stats.fared.expected(), 2);
        assert_eq!(stats.banned_part, Some(0.75));
        assert_eq!(stats.unchoke_spread, Some(0.4));
        assert!((stats.seed_copies - 4.5).abs() < 1e-12, "three honest seeds");
        let seen: Vec<(&str, u64, u64)> =
            stats.groups.iter().map(|it| (&*it.class, it.hosts, it.fared.incomplete)).collect();
        assert_eq!(seen, [("seed", 3, 0), ("leecher", 2, 0), ("corrupter", 3, 3), ("liar", 1, 0)]);
    }

    #[test]
    fn classes_are_told_apart_by_zone() {
        let mut run = outcome(7, &[10, 20, 30]);
        run.hosts[3].zone = "far".into();
        let stats = RunStats::of(&run);
        let seen: Vec<(&str, &str, f64)> =
            stats.groups.iter().map(|it| (&*it.class, &*it.zone, it.sent_copies)).collect();
        assert_eq!(
            seen,
            [("seed", "main", 1.5), ("leecher", "main", 0.15), ("leecher", "far", 0.3)]
        );
        assert_eq!(stats.groups[2].times.unwrap().max, s(30));
    }

    #[test]
    fn nothing_sent_is_no_fairness_and_counters_do_not_overflow() {
        assert_eq!(jain([0, 0].into_iter()), None);
        assert_eq!(jain([].into_iter()), None);
        assert_eq!(jain([MIB, MIB].into_iter()), Some(1.0));
        assert_eq!(jain([MIB, 0, 0, 0].into_iter()), Some(0.25));
        let mut run = outcome(7, &[]);
        run.content_bytes = 0;
        run.hosts =
            vec![HostOutcome { uploaded_bytes: u64::MAX, downloaded_bytes: u64::MAX, ..seed() }; 9];
        assert!(RunStats::of(&run).seed_copies > 1e20);
    }
}
