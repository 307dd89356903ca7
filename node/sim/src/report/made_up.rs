//! Runs that nobody ran, for the tests of this room.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shoal_core::config::Unchoke;

use crate::{
    outcome::{HostOutcome, Outcome, Violation},
    plan::{Arrival, Class, Conduct, Expect, Link, Plan, Stay, Tracker, Zone},
};

/// Bytes of a mebibyte.
pub(crate) const MIB: u64 = 1 << 20;

/// A host that came at zero and took so many seconds.
pub(crate) fn host(class: &str, took_s: Option<u64>, uploaded_bytes: u64) -> HostOutcome {
    HostOutcome {
        class: Arc::from(class),
        zone: Arc::from("main"),
        honest: true,
        seed: false,
        came: Duration::ZERO,
        complete: took_s.map(Duration::from_secs),
        left: None,
        uploaded_bytes,
        downloaded_bytes: 10 * MIB,
        wasted_bytes: 0,
        banned_by: 0,
        unchoke_spread: None,
    }
}

/// A seed that sent 15 MiB.
pub(crate) fn seed() -> HostOutcome {
    HostOutcome { seed: true, downloaded_bytes: 0, ..host("seed", Some(0), 15 * MIB) }
}

/// A seed and leechers that took so many seconds, the first sent 1 MiB, the second 2, …; of 10 MiB.
pub(crate) fn outcome(run_seed: u64, took_s: &[u64]) -> Outcome {
    let mut hosts = vec![seed()];
    hosts.extend((1..).zip(took_s).map(|(place, took)| host("leecher", Some(*took), place * MIB)));
    if let Some(first) = hosts.get_mut(1) {
        first.wasted_bytes = MIB;
    }
    Outcome {
        plan: "made_up".to_owned(),
        seed: run_seed,
        policy: "native:fastest".to_owned(),
        content_bytes: 10 * MIB,
        pieces: 40,
        digest: format!("{run_seed:032x}"),
        ended: Duration::from_secs(took_s.iter().copied().max().unwrap_or(0)),
        facts: 12_345,
        hosts,
        across_bytes: 5 * MIB,
        decisions: BTreeMap::from([("native", 1_200), ("rescued", 3)]),
        checks: vec!["one_state", "one_lease", "counters", "deadlines_forward"],
        checked: 987_654,
        violation: None,
    }
}

/// A check that did not hold at 12.345678 s.
pub(crate) fn violation() -> Violation {
    Violation {
        at: Duration::from_micros(12_345_678),
        host: Some(1),
        check: "one_lease",
        detail: "extent 3 of piece 17 is leased to c4 and to c9 outside endgame".to_owned(),
    }
}

/// The plan of [`outcome`].
pub(crate) fn plan() -> Plan {
    Plan {
        name: "made_up".to_owned(),
        description: "A seed and a few leechers, all at once".to_owned(),
        content_bytes: 10 * MIB,
        piece_len: 262_144,
        limit: Duration::from_secs(600),
        zones: vec![Zone { name: Arc::from("main") }],
        between: Vec::new(),
        classes: vec![class("seed", 1, 1.0), class("leecher", 4, 0.0)],
        tracker: Tracker {
            interval: Duration::from_secs(1800),
            min_interval: Duration::from_secs(60),
            numwant_max: 50,
            round_trip: Duration::from_millis(40),
        },
        faults: Vec::new(),
        expect: Expect::default(),
    }
}

fn class(name: &str, count: u32, has: f64) -> Class {
    Class {
        name: Arc::from(name),
        count,
        zone: 0,
        link: Link {
            up_bps: MIB,
            down_bps: MIB,
            latency: Duration::from_millis(10),
            jitter: Duration::ZERO,
            queue: Duration::ZERO,
        },
        has,
        arrival: Arrival::At(Duration::ZERO),
        stay: Stay::Forever,
        policy: None,
        unchoke: Unchoke::default(),
        connections_max: 30,
        disk_bps: 100 * MIB,
        conduct: Conduct::Honest,
    }
}

/// Runs of two policies with seeds 1 to `seeds`, of forty leechers in two zones, with adversaries:
/// numbers as of a real swarm. The second policy is the quicker one by an eighth.
pub(crate) fn swarm(seeds: u64) -> (Plan, Vec<(String, Vec<Outcome>)>) {
    let mut plan = plan();
    plan.name = "two_zones".to_owned();
    plan.description = "Forty leechers in two zones come at once to one seed, four of their \
                        neighbours send noise"
        .to_owned();
    plan.zones = vec![Zone { name: Arc::from("main") }, Zone { name: Arc::from("far") }];
    plan.classes = vec![
        class("seed", 1, 1.0),
        class("leecher", 20, 0.0),
        Class { zone: 1, ..class("leecher", 20, 0.0) },
        Class { conduct: Conduct::Corrupter(0.1), ..class("corrupter", 4, 1.0) },
    ];
    plan.expect = Expect {
        p99_max: Some(Duration::from_secs(70)),
        seed_copies_max: Some(1.6),
        waste_max: Some(0.05),
        banned_min: Some(1.0),
        ..Expect::default()
    };
    let runs = |part: u64| (1..=seeds).map(|seed| run_of_swarm(seed, part)).collect();
    let policies = vec![
        ("native:lowest_uploaded".to_owned(), runs(8)),
        ("scripts/two_choices.lua".to_owned(), runs(7)),
    ];
    (plan, policies)
}

fn run_of_swarm(run_seed: u64, part: u64) -> Outcome {
    // A sequence that looks drawn.
    let noise = |place: u64| (place * 7919 + run_seed * 104_729) % 101;
    let mut run = outcome(run_seed, &[]);
    for place in 0..40 {
        let took_ms = (30_000 + place * 700 + noise(place) * 60) * part / 8;
        let mut peer = host("leecher", None, (8 + noise(place + 50) / 20) * MIB);
        peer.zone = Arc::from(if place < 20 { "main" } else { "far" });
        peer.came = Duration::from_millis(2_000 + noise(place) * 10);
        peer.complete = Some(peer.came + Duration::from_millis(took_ms));
        peer.wasted_bytes = noise(place) * 3_000;
        run.hosts.push(peer);
    }
    for _ in 0..4 {
        let corrupter = host("corrupter", Some(0), 200_000);
        let banned_by = 3;
        run.hosts.push(HostOutcome { honest: false, seed: true, banned_by, ..corrupter });
    }
    run.across_bytes = (12 + noise(3) / 10) * MIB;
    run
}
