//! A policy as the outside sees it: what the thread shows, put into plain values. Never here: the
//! thread.

use std::collections::BTreeMap;

use shoal_core::policy::native::Native;
use shoal_policy::status::Counters;

use super::{
    board::{Shown, issue_of},
    in_force::{Decided, InForce},
    shadow::Comparison,
    status::{PolicyState, PolicyStatus, Scope, ShadowStatus},
};
use crate::clock::Clock;

/// What the thread does not say of a policy itself.
pub(super) struct Facts {
    /// Whose downloads it decides.
    pub(super) scope: Scope,
    /// The thread does not answer.
    pub(super) wedged: bool,
    /// Events of the policy that were dropped.
    pub(super) dropped: u64,
    /// CPU time of the thread, microseconds.
    pub(super) cpu_us: u64,
}

/// A policy on the thread.
pub(super) fn of_shown(
    shown: &Shown,
    facts: &Facts,
    in_force: &InForce,
    clock: &Clock,
) -> PolicyStatus {
    let (status, counters) = (&shown.status, &shown.status.counters);
    let micros = |q| u64::try_from(counters.latency.quantile(q).as_micros()).unwrap_or(u64::MAX);
    PolicyStatus {
        name: shown.name.clone(),
        kind: shown.kind,
        scope: facts.scope,
        state: match (facts.wedged, status.tripped_until) {
            (true, _) => PolicyState::Wedged,
            (false, Some(_)) => PolicyState::Tripped,
            (false, None) => PolicyState::Active,
        },
        calls: counters.calls,
        chosen: counters.chosen,
        abstained: counters.abstained,
        deferred: counters.deferred,
        starved: counters.starved,
        bypassed: counters.bypassed,
        slow: counters.slow,
        errors: errors(counters),
        fallbacks: counters.fallbacks(),
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        memory_bytes: status.memory_bytes,
        content_hash: status.hash.clone(),
        last_error: issue_of(status, clock).or_else(|| in_force.not_restored.clone()),
        params: shown.params.clone(),
        log: shown.outlets.log.lines(),
        description: shown.description.clone(),
        events: counters.events,
        events_dropped: facts.dropped,
        trips: status.trips,
        tripped_until: status.tripped_until.map(|until| clock.wall(until)),
        hooks: shown.functions.clone(),
        watched: in_force.watched.clone(),
        refused: in_force.refused.clone(),
        metrics: shown.outlets.metrics.read(),
        log_suppressed: status.log_lines_suppressed,
        thread_cpu_us: facts.cpu_us,
        version: shown.version,
    }
}

/// A shadow on the thread.
pub(super) fn of_shadow(
    (shown, comparison): &(Shown, Comparison),
    facts: &Facts,
    clock: &Clock,
) -> ShadowStatus {
    let own = InForce::from(Decided::Natively(Native::default()));
    ShadowStatus {
        status: of_shown(shown, facts, &own, clock),
        agreed: comparison.agreed,
        differed: comparison.differed,
        differences: comparison.differences.iter().cloned().collect(),
    }
}

/// A native policy that decides inside the engine.
pub(super) fn of_native(
    native: Native,
    scope: Scope,
    in_force: &InForce,
    cpu_us: u64,
) -> PolicyStatus {
    PolicyStatus {
        last_error: in_force.not_restored.clone(),
        refused: in_force.refused.clone(),
        thread_cpu_us: cpu_us,
        ..PolicyStatus::natively(native, scope)
    }
}

fn errors(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let errors = [
        ("runtime", counters.errors.runtime),
        ("budget", counters.errors.budget),
        ("memory", counters.errors.memory),
        ("contract", counters.errors.contract),
        ("load", counters.errors.load),
    ];
    errors.into_iter().filter(|(_, count)| *count > 0).collect()
}
