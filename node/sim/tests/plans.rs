//! Every shipped plan at small size and fixed seeds: nothing is violated, what it expects holds, and
//! the same seed takes the same way.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use shoal_sim::{
    outcome::Outcome,
    plan::{Plan, shipped},
    policy::Policy,
    report::Report,
    run::{Options, Run},
};

/// Of every plan.
const SEEDS: [u64; 2] = [1, 2];

fn small(text: &str) -> Arc<Plan> {
    Arc::new(Plan::read(text).expect("a shipped plan").small())
}

fn run(plan: &Arc<Plan>, seed: u64) -> Outcome {
    let policy = Policy::default();
    let options =
        Options { seed, policy, policy_name: "lowest_uploaded".into(), ..Options::default() };
    Run::new(plan, &options, |_| None).expect("a run").finish()
}

#[test]
fn every_plan_holds_with_its_fixed_seeds() {
    let left = Mutex::new(shipped::all().collect::<Vec<_>>());
    let next = || left.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((name, text)) = next() {
                    holds(name, text);
                }
            });
        }
    });
}

fn holds(name: &str, text: &str) {
    let plan = small(text);
    let outcomes = SEEDS.map(|seed| run(&plan, seed)).to_vec();
    for outcome in &outcomes {
        assert_eq!(outcome.violation, None, "{name}, seed {}", outcome.seed);
    }
    let replay = |outcome: &Outcome| format!("shoald sim {name} --small --seed {}", outcome.seed);
    let report = Report::new(&plan, vec![("lowest_uploaded".into(), outcomes)], replay);
    assert!(report.holds(), "{}", report.table());
}

#[test]
fn the_same_seed_takes_the_same_way_and_another_one_does_not() {
    for name in ["disk_full", "corrupters"] {
        let plan = small(shipped::find(name).expect("a shipped plan"));
        let (first, again, other) = (run(&plan, 7), run(&plan, 7), run(&plan, 8));
        assert_eq!(first, again, "{name}");
        assert_ne!(first.digest, other.digest, "{name}");
    }
}
