//! What decisions cost, everything included. Never here: a clock; the caller brings it.

use std::time::Duration;

use shoal_core::policy::Consultation;

use crate::{
    budget::Budget,
    failure::Diagnostics,
    load::ScriptSource,
    sink::NoSink,
    synthetic::{self, Known},
};

/// Of how many peers in a hundred the numbers change between two decisions.
const CHANGED_PERCENT: usize = 10;

/// A made-up consultation of one chunk over so many candidates, at most
/// [`shoal_core::config::CANDIDATES_MAX`].
#[must_use]
pub fn question(candidates: usize) -> Consultation {
    synthetic::consultation(candidates, Known::All)
}

/// Loads a policy and has it decide `runs` chunks, one a consultation, over `candidates` made-up
/// peers (at most [`shoal_core::config::CANDIDATES_MAX`]), a tenth of whose numbers changed since
/// the last. Gives what each took by `elapsed`, the caller's clock: all from the consultation to the
/// verdict, that is patching the tables, presenting the candidates, the call, and applying the
/// verdict. Making up the consultation is not in it.
///
/// # Errors
/// The policy could not be loaded.
pub fn decisions(
    source: ScriptSource,
    budget: Box<dyn Budget>,
    elapsed: &mut dyn FnMut() -> Duration,
    candidates: usize,
    runs: usize,
) -> Result<Vec<Duration>, Diagnostics> {
    let mut script = source.load(budget, Box::new(NoSink))?;
    let mut table = question(candidates);
    let count = table.peers.len();
    let mut durations = Vec::with_capacity(runs);
    for run in 0..runs {
        let changed = (count * CHANGED_PERCENT).div_ceil(100);
        for n in 0..changed {
            let peer = &mut table.peers[(run * changed + n) % count.max(1)];
            peer.uploaded += 16 * 1024 * (1 + n as u64 % 7);
            peer.rate_bps = peer.rate_bps * 7 / 8 + 100_000;
            peer.inflight = (peer.inflight + 1) % peer.slots;
        }
        // A millisecond later; nothing is said twice, so that no limit on log lines comes into it.
        table.now = table.now + Duration::from_millis(1);
        table.download.elapsed_ms += 1;
        let asked = table.clone();
        // A busy machine must not have the policy bypassed: that would be measured instead.
        script.close_breaker();
        let begun = elapsed();
        let verdicts = script.answer(asked);
        durations.push(elapsed().saturating_sub(begun));
        drop(verdicts);
    }
    Ok(durations)
}
