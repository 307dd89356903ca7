use shoal_core::config::Unchoke;
use shoal_sim::{plan::*, policy::Policy, run::*};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let leechers: u32 = a[1].parse().unwrap();
    let pieces: u64 = a[2].parse().unwrap();
    let seed: u64 = a[3].parse().unwrap();
    let conns: usize = a.get(4).map_or(30, |s| s.parse().unwrap());
    let policy =
        a.get(5).map_or(Policy::default(), |p| Policy::find(&PolicyName(p.clone())).unwrap());
    let link = Link {
        up_bps: 20_000_000,
        down_bps: 100_000_000,
        latency: Duration::from_millis(1),
        jitter: Duration::from_micros(200),
    };
    let class = |name: &str, count, has| Class {
        name: name.into(),
        count,
        zone: 0,
        link,
        has,
        arrival: Arrival::At(Duration::ZERO),
        stay: Stay::Forever,
        policy: None,
        unchoke: Unchoke::All,
        connections_max: conns,
        disk_bps: 1_000_000_000,
        conduct: Conduct::Honest,
    };
    let plan = Plan {
        name: "try".into(),
        description: String::new(),
        content_bytes: pieces * 262_144,
        piece_len: 262_144,
        limit: Duration::from_secs(3600),
        zones: vec![Zone { name: "main".into() }],
        between: vec![],
        classes: vec![class("seed", 1, 1.0), class("leecher", leechers, 0.0)],
        tracker: Tracker {
            interval: Duration::from_secs(120),
            min_interval: Duration::from_secs(30),
            numwant_max: 200,
            round_trip: Duration::from_millis(2),
        },
        faults: vec![],
        expect: Expect::default(),
    };
    let t = Instant::now();
    let run = Run::new(
        &Arc::new(plan),
        &Options { seed, policy, policy_name: "x".into(), words: Words::default() },
        |_| None,
    )
    .unwrap();
    let o = run.finish();
    let mut times: Vec<f64> =
        o.hosts.iter().filter_map(|h| h.took()).map(|d| d.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    let s = &o.hosts[0];
    println!(
        "{} complete of {}, first {:?} p50 {:?} last {:?}; seed {:.2} copies; facts {} in {:.1?} ({:.0}/s); ended {:?}; {} ; {:?}; {:?} checked {}",
        times.len(),
        leechers,
        times.first(),
        times.get(times.len() / 2),
        times.last(),
        s.uploaded_bytes as f64 / o.content_bytes as f64,
        o.facts,
        t.elapsed(),
        o.facts as f64 / t.elapsed().as_secs_f64(),
        o.ended,
        o.digest,
        o.decisions,
        o.violation,
        o.checked
    );
    let rss = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", rss.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
