//! What a decision costs, everything included, guards on: medians over 8, 50 and 200 candidates, a
//! tenth of whose numbers changed since the last decision.
//!
//! `cargo run --release -p shoal-policy --example cost [-- NAME [CANDIDATES]]`

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a measurement needs a clock, and says what it found"
)]

use std::time::{Duration, Instant};

use shoal_policy::{
    budget::{Budget, Spend},
    load::ScriptSource,
    measure,
};

/// Decisions of each measurement.
const RUNS: usize = 20_000;
/// Numbers of candidates.
const CANDIDATES: [usize; 3] = [8, 50, 200];

const FOUR_FIELDS: &str = "return function(ctx, peers)
  local best, least = nil, math.huge
  for i = 1, #peers do
    local p = peers[i]
    local cost = (p.inflight + 1) / (p.rate + 1) + p.uploaded * 1e-12 + p.failures
    if cost < least then best, least = i, cost end
  end
  return best
end";

const SCORE_TWO_FIELDS: &str = "return { api = 1, score = function(ctx, peer)
  return peer.rate / (peer.inflight + 1)
end }";

const ARGMIN: &str = "return function(ctx, peers) return shoal.argmin(peers, 'uploaded') end";

const ARGMIN_OF_SOME: &str = "return function(ctx, peers)
  local some = {}
  for i = 1, #peers, 2 do some[#some + 1] = peers[i] end
  return some[shoal.argmin(some, 'uploaded')]
end";

const NOTHING: &str = "return function(ctx, peers) return 1 end";

/// How many times its allowance a call may take: wall time goes on while others have the processor.
const PATIENCE: u32 = 100;

/// Wall time, which is cheap to read.
struct Wall {
    begun: Instant,
    allowance: Duration,
}

impl Budget for Wall {
    fn start(&mut self, allowance: Duration) {
        *self = Self { begun: Instant::now(), allowance };
    }

    fn charge(&mut self, _instructions: u64) -> Spend {
        if self.spent() > PATIENCE * self.allowance { Spend::Exhausted } else { Spend::Within }
    }

    fn spent(&self) -> Duration {
        self.begun.elapsed()
    }
}

fn main() {
    let mirror = include_str!("../../../scripts/lowest_uploaded.lua");
    println!("microseconds a decision: median (90th percentile), at 8 / 50 / 200 candidates");
    let mut args = std::env::args().skip(1);
    let (only, count) = (args.next(), args.next().and_then(|count| count.parse().ok()));
    for (name, lua) in [
        ("returns 1", NOTHING),
        ("loop over 4 fields", FOUR_FIELDS),
        ("score of 2 fields", SCORE_TWO_FIELDS),
        ("argmin('uploaded')", ARGMIN),
        ("argmin of every other", ARGMIN_OF_SOME),
        ("lowest_uploaded.lua", mirror),
    ] {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let counts = count.map_or(CANDIDATES.to_vec(), |count| vec![count]);
        let cells: Vec<_> = counts.iter().map(|&count| measured(lua, count)).collect();
        println!("{name:24} {}", cells.join("  "));
    }
}

fn measured(lua: &str, candidates: usize) -> String {
    let source = ScriptSource::new("cost", "cost.lua", lua.as_bytes());
    let begun = Instant::now();
    let budget = Wall { begun, allowance: Duration::ZERO };
    let mut elapsed = || begun.elapsed();
    match measure::decisions(source, Box::new(budget), &mut elapsed, candidates, RUNS) {
        Ok(mut durations) => {
            durations.sort_unstable();
            let at = |share: usize| durations[durations.len() * share / 100].as_secs_f64() * 1e6;
            format!("{:7.2} ({:7.2})", at(50), at(90))
        }
        Err(diagnostics) => diagnostics.to_string(),
    }
}
