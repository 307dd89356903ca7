//! New seeds of every plan, for as long as `SHOAL_SWEEP_S` says (5 s by default, 60 s in CI). What is
//! found is printed with the command that replays it, and becomes a named test in `seeds.rs`; that
//! one seed in a thousand fails is no reason to hold up a change that has nothing to do with it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the sweep goes by the clock; what it runs does not"
)]

use std::{
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use shoal_sim::{
    plan::{Plan, shipped},
    report::Report,
    run::{Options, Run},
};

/// More than one of so many runs fails: something is wrong with all of them.
const ONE_IN: usize = 20;

#[test]
fn new_seeds_of_every_plan_hold() {
    let seconds = env::var("SHOAL_SWEEP_S").map_or(5, |text| text.parse().expect("seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    // Seeds below 2^53 are numbers to every reader of JSON.
    let first = since.as_millis() as u64;
    let plans =
        shipped::all().map(|(name, text)| (name, Arc::new(Plan::read(text).unwrap().small())));
    let plans = plans.collect::<Vec<_>>();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while Instant::now() < end {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let (name, plan) = &plans[turn % plans.len()];
                    let seed = first + turn as u64;
                    found.lock().unwrap().extend(failure(name, plan, seed));
                }
            });
        }
    });
    let (runs, found) = (next.into_inner(), found.into_inner().unwrap());
    println!("{runs} runs of {} plans, from seed {first} on: {} failed", plans.len(), found.len());
    found.iter().for_each(|failure| println!("{failure}"));
    assert!(found.len() * ONE_IN <= runs, "{} of {runs} runs failed", found.len());
}

/// What went wrong in a run, and how to see it again.
fn failure(name: &str, plan: &Arc<Plan>, seed: u64) -> Option<String> {
    let options = Options { seed, ..Options::default() };
    let outcome = Run::new(plan, &options, |_| None).expect("a run").finish();
    let replay = format!("shoald sim {name} --small --seed {seed}");
    let violated = outcome.violation.as_ref().map(|v| format!("{}: {}", v.check, v.detail));
    let report = Report::new(plan, vec![(String::new(), vec![outcome])], |_| String::new());
    let what = violated.unwrap_or_else(|| "an expectation is not met".to_owned());
    (!report.holds()).then(|| format!("  {replay}\n    {what}"))
}
