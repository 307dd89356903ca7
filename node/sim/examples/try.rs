use shoal_sim::{plan::*, policy::Policy, report::Report, run::*};
use std::{sync::Arc, time::Instant};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let text = shipped::find(&a[1])
        .map(str::to_owned)
        .unwrap_or_else(|| std::fs::read_to_string(&a[1]).unwrap());
    let plan = Plan::read(&text).unwrap();
    let plan = Arc::new(if a[2] == "small" { plan.small() } else { plan });
    let (from, to): (u64, u64) = (a[3].parse().unwrap(), a[4].parse().unwrap());
    let name = a.get(5).cloned().unwrap_or("lowest_uploaded".into());
    let host: Option<usize> = a.get(6).map(|h| h.parse().unwrap());
    let policy = Policy::find(&PolicyName(name.clone())).unwrap();
    let mut outcomes = vec![];
    for seed in from..to {
        let t = Instant::now();
        let words = if host.is_some() { Words::Of(host) } else { Words::None };
        let mut run = Run::new(
            &plan,
            &Options { seed, policy: policy.clone(), policy_name: name.clone(), words },
            |_| None,
        )
        .unwrap();
        while run.advance(u32::MAX) {}
        for l in run.tail() {
            println!("{}", l.chars().take(300).collect::<String>());
        }
        let o = run.outcome();
        println!(
            "seed {seed}: ended {:.1?} {} facts in {:.1?} {} {:?}",
            o.ended,
            o.facts,
            t.elapsed(),
            o.digest,
            o.violation
        );
        outcomes.push(o);
    }
    println!("{}", Report::new(&plan, vec![(name, outcomes)], |_| "x".into()).table());
    let rss = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", rss.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
