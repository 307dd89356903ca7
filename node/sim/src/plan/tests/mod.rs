//! What is read of a plan, what is refused and how, and what a small plan keeps.

mod bounds;
mod errors;
mod small;

use std::time::Duration;

use shoal_core::config::{Config, Unchoke};

use super::{read, read_class, read_fault, shipped, *};

/// The least that is a plan.
const LEAST: &str = r#"
name = "least"
content = "1MiB"
[[class]]
name = "seed"
count = 1
has = 1
"#;

/// A plan with every table, to be changed; its leechers are in both zones.
const FULL: &str = r#"
name = "full"
description = "everything"
content = "512MiB"
piece = "256KiB"
limit = "10m"
[link]
up = "20MB/s"
[[zone]]
name = "a"
[[zone]]
name = "b-1"
[[between]]
zones = ["b-1", "a"]
rate = "20MB/s"
latency = "20ms"
[tracker]
interval = "100s"
[[class]]
name = "seed"
count = 2
zone = "a"
has = 1
[[class]]
name = "leecher"
count = 101
zones = ["a", "b-1"]
up = "10MB/s"
has = "50%"
arrive = { from = "1s", over = "10s" }
stay = { after_complete = "30s" }
policy = "zone_aware"
unchoke = 4
connections = 30
disk = "500MB/s"
conduct = "honest"
[[fault]]
kind = "crash"
class = "leecher"
hosts = 5
at = "20s"
until = "40s"
[expect]
p99_max = "120s"
across_max = 3
"#;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn full() -> Plan {
    Plan::read(FULL).unwrap()
}

/// Reads [`FULL`] with one text in place of another.
fn changed(old: &str, new: &str) -> Result<Plan, PlanError> {
    assert!(FULL.contains(old), "{old}");
    Plan::read(&FULL.replacen(old, new, 1))
}

#[test]
fn a_short_plan_has_every_default() {
    let plan = Plan::read(LEAST).unwrap();
    let seed = Class {
        name: "seed".into(),
        count: 1,
        zone: 0,
        link: Link {
            up_bps: 20_000_000,
            down_bps: 100_000_000,
            latency: Duration::from_millis(1),
            jitter: Duration::from_micros(200),
            queue: Duration::from_millis(50),
        },
        has: 1.0,
        arrival: Arrival::At(Duration::ZERO),
        stay: Stay::Forever,
        policy: None,
        unchoke: Unchoke::All,
        connections_max: Config::default().connections_per_torrent_max,
        disk_bps: 1_000_000_000,
        conduct: Conduct::Honest,
    };
    let expected = Plan {
        name: "least".into(),
        description: String::new(),
        content_bytes: 1 << 20,
        piece_len: 512 << 10,
        limit: secs(3600),
        zones: vec![Zone { name: "main".into() }],
        between: Vec::new(),
        classes: vec![seed],
        tracker: Tracker {
            interval: secs(120),
            min_interval: secs(30),
            numwant_max: 200,
            round_trip: Duration::from_millis(2),
        },
        faults: Vec::new(),
        expect: Expect { complete: Some(1.0), ..Expect::default() },
    };
    assert_eq!(plan, expected);
}

#[test]
fn every_key_is_read() {
    let plan = full();
    assert_eq!((plan.content_bytes, plan.piece_len, plan.pieces()), (512 << 20, 256 << 10, 2048));
    let between = Between {
        zones: (0, 1),
        rate_bps: Some(20_000_000),
        latency: Duration::from_millis(20),
        queue: Duration::from_millis(50),
    };
    assert_eq!(plan.between, [between]);
    assert_eq!((plan.tracker.interval, plan.tracker.min_interval), (secs(100), secs(30)));
    let leecher = &plan.classes[1];
    assert_eq!(leecher.link.up_bps, 10_000_000);
    assert_eq!(leecher.link.down_bps, 100_000_000);
    assert_eq!(leecher.has, 0.5);
    assert_eq!(leecher.arrival, Arrival::Over(secs(1), secs(10)));
    assert_eq!(leecher.stay, Stay::AfterComplete(secs(30)));
    assert_eq!(leecher.policy, Some(PolicyName("zone_aware".into())));
    assert_eq!((leecher.unchoke, leecher.connections_max), (Unchoke::Slots(4), 30));
    assert_eq!(leecher.disk_bps, 500_000_000);
    assert_eq!((plan.expect.p99_max, plan.expect.across_max), (Some(secs(120)), Some(3.0)));
}

#[test]
fn a_class_of_several_zones_is_split_and_its_faults_with_it() {
    let plan = full();
    let split = plan.classes.iter().map(|class| (&*class.name, class.zone, class.count));
    let expected = [("seed", 0, 2), ("leecher", 0, 51), ("leecher", 1, 50)];
    assert_eq!(split.collect::<Vec<_>>(), expected);
    let crash = |kind| Fault { at: secs(20), until: Some(secs(40)), kind };
    assert_eq!(plan.faults, [crash(FaultKind::Crash(1, 3)), crash(FaultKind::Crash(2, 2))]);
    let all = changed("hosts = 5\n", "").unwrap();
    let befallen = all.faults.iter().map(|fault| fault.kind).collect::<Vec<_>>();
    assert_eq!(befallen, [FaultKind::Crash(1, 51), FaultKind::Crash(2, 50)]);
    let one = changed("hosts = 5", "hosts = 1").unwrap();
    assert_eq!(one.faults, [crash(FaultKind::Crash(1, 1))]);
}

#[test]
fn each_conduct_arrival_stay_and_fault_has_its_words() {
    let conduct = |text: &str| changed("\"honest\"", text).unwrap().classes[1].conduct;
    assert_eq!(conduct("\"free_rider\""), Conduct::FreeRider);
    assert_eq!(conduct("\"liar\""), Conduct::Liar);
    assert_eq!(conduct("{ corrupter = \"10%\" }"), Conduct::Corrupter(0.1));
    assert_eq!(conduct("{ slow_loris = \"1KiB/s\" }"), Conduct::SlowLoris(1024));
    assert_eq!(conduct("{ flapper = \"5s\" }"), Conduct::Flapper(secs(5)));
    let arrival =
        |text: &str| changed("{ from = \"1s\", over = \"10s\" }", text).unwrap().classes[1].arrival;
    assert_eq!(arrival("\"5s\""), Arrival::At(secs(5)));
    assert_eq!(arrival("{ over = \"5s\" }"), Arrival::Over(secs(0), secs(5)));
    assert_eq!(arrival("{ every = \"2s\", from = \"3s\" }"), Arrival::Every(secs(3), secs(2)));
    let stay = |text: &str| changed("{ after_complete = \"30s\" }", text).unwrap().classes[1].stay;
    assert_eq!(stay("\"forever\""), Stay::Forever);
    assert_eq!(stay("{ about = \"1m\" }"), Stay::ForAbout(secs(60)));
    let seeds = "class = \"seed\"\nhosts = 1";
    let fault = |text: &str| {
        changed("kind = \"crash\"\nclass = \"leecher\"\nhosts = 5", text).unwrap().faults[0].kind
    };
    assert_eq!(fault("kind = \"tracker_outage\""), FaultKind::TrackerOutage);
    assert_eq!(fault("kind = \"cut\"\nzones = [\"b-1\", \"a\"]"), FaultKind::Cut(0, 1));
    assert_eq!(fault(&format!("kind = \"disk_full\"\n{seeds}")), FaultKind::DiskFull(0, 1));
    let slow = format!("kind = \"slow_disk\"\n{seeds}\nrate = \"1MB/s\"");
    assert_eq!(fault(&slow), FaultKind::SlowDisk(0, 1, 1_000_000));
    let bad = format!("kind = \"bad_memory\"\n{seeds}\npart = 0.5");
    assert_eq!(fault(&bad), FaultKind::BadMemory(0, 1, 0.5));
}

#[test]
fn every_shipped_plan_reads_has_its_name_and_says_what_it_shows() {
    assert_eq!(shipped::all().count(), 13);
    for (name, text) in shipped::all() {
        let plan = Plan::read(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(plan.name, name);
        assert!(!plan.description.is_empty(), "{name}");
        for part in ["# The idea: ", "# It shows: ", "# What must hold: "] {
            assert!(text.contains(part), "{name}: {part}");
        }
        assert!(plan.expect.p99_max.is_some_and(|most| most < plan.limit), "{name}");
        assert_eq!(shipped::find(name), Some(text));
    }
    assert_eq!(shipped::find("base"), None);
}

#[test]
fn the_manual_has_a_line_for_every_key_and_every_plan() {
    let manual = include_str!("../../../plans/README.md");
    let tables = [
        read::PLAN_KEYS,
        read::LINK_KEYS,
        read::ZONE_KEYS,
        read::BETWEEN_KEYS,
        read::TRACKER_KEYS,
        read::EXPECT_KEYS,
        read_class::CLASS_KEYS,
        read_class::ARRIVE_KEYS,
        read_class::STAY_KEYS,
        read_class::CONDUCTS,
        read_fault::FAULT_KEYS,
    ];
    for key in tables.into_iter().flatten() {
        assert!(manual.contains(&format!("`{key}`")), "{key}");
    }
    for (kind, keys) in read_fault::KINDS {
        assert!(manual.contains(&format!("`{kind}`")), "{kind}");
        assert!(keys.iter().all(|key| read_fault::FAULT_KEYS.contains(key)), "{kind}");
    }
    for (name, _) in shipped::all() {
        assert!(manual.contains(&format!("[`{name}`]({name}.toml)")), "{name}");
    }
}
