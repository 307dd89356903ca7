//! A loaded policy: it answers consultations decision by decision, and whatever its script does it
//! answers. Never here: how a source becomes a policy, or what a VM holds.

use std::{collections::BTreeMap, time::Duration};

use sha1::{Digest, Sha1};

use shoal_core::{
    ids::TorrentId,
    policy::{Consultation, Verdict},
    time::Timestamp,
};

use crate::{
    breaker::{Admission, Breaker, Fault},
    budget::{DECISION_SLOW, MEMORY_MAX},
    failure::{Failure, FailureKind},
    load::{CHOOSE, Decision, Loader, SCORE},
    params::Param,
    sandbox::guarded,
    shape::{Entry, Shape},
    status::{Counters, LastError, Status},
    vm::Vm,
};

/// How long a policy may ask to wait, milliseconds.
const DEFER_MS: std::ops::RangeInclusive<f64> = 10.0..=1000.0;
/// How long it waits where it names no time, milliseconds.
const DEFER_MS_DEFAULT: f64 = 50.0;
/// A download with nothing in flight for so long is not made to wait any longer.
const STARVED_AFTER: Duration = Duration::from_secs(2);
/// The most downloads whose idleness is remembered.
const IDLE_MAX: usize = 256;

/// A policy in its own VM. Not `Send`: it lives on the thread that loaded it
/// ([`crate::load::ScriptSource`] is what travels).
pub struct Script {
    loader: Loader,
    /// `None` after an error that a VM does not survive: the next decision builds another.
    vm: Option<Vm>,
    /// The tables say what the consultation under way says.
    fresh: bool,
    declared_name: Option<String>,
    description: String,
    version: i64,
    params: Vec<Param>,
    warnings: Vec<Failure>,
    place: &'static str,
    hash: String,
    breaker: Breaker,
    counters: Counters,
    last_error: Option<LastError>,
    /// Since when nothing is in flight for a download that was consulted for.
    idle: BTreeMap<TorrentId, Timestamp>,
}

impl Script {
    pub(crate) fn new(loader: Loader, vm: Vm, shape: Shape, warnings: Vec<Failure>) -> Self {
        let hash = hex::encode(Sha1::digest(&loader.source.source));
        Self {
            loader,
            vm: Some(vm),
            fresh: false,
            declared_name: shape.name,
            description: shape.description,
            version: shape.version,
            params: shape.params,
            warnings,
            place: if matches!(shape.entry, Entry::Score(_)) { SCORE } else { CHOOSE },
            hash,
            breaker: Breaker::default(),
            counters: Counters::default(),
            last_error: None,
            idle: BTreeMap::new(),
        }
    }

    /// The policy's name, as the operator gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.loader.source.name
    }

    /// The name that its table gives it.
    #[must_use]
    pub fn declared_name(&self) -> Option<&str> {
        self.declared_name.as_deref()
    }

    /// What the policy says of itself; empty where it says nothing.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The version of the shape of its state; 1 where it names none.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Its parameters and their values, in order of name.
    #[must_use]
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// What was found when it was loaded and did not keep it from being loaded.
    #[must_use]
    pub fn warnings(&self) -> &[Failure] {
        &self.warnings
    }

    /// Answers a consultation: one verdict a chunk, in order. Each is applied to a copy of the
    /// table before the next is made; where the verdict leaves the choice to the default policy,
    /// the default's choice is applied, so that the copy says what the engine will do.
    ///
    /// Whatever the script does, this returns; it may take [`crate::budget::LOAD_BUDGET`] where a
    /// download is new or a VM is built anew, and [`crate::budget::DECISION_BUDGET`] a chunk.
    pub fn answer(&mut self, consultation: &Consultation) -> Vec<Verdict> {
        self.loader.shared.outlet.borrow_mut().advance(consultation.now);
        self.loader.shared.live.borrow_mut().table = Some(consultation.clone());
        self.fresh = false;
        self.note_idle(consultation);
        let verdicts =
            (0..consultation.chunks.len()).map(|chunk| self.decide(consultation, chunk)).collect();
        self.loader.shared.live.borrow_mut().table = None;
        verdicts
    }

    /// Forgets a download that is gone, and its `ctx.state`.
    pub fn forget(&mut self, torrent: TorrentId) {
        self.idle.remove(&torrent);
        if let Some(vm) = &mut self.vm {
            vm.forget(torrent);
        }
    }

    /// Closes the breaker and forgets the last error; the counters stay.
    pub fn reset(&mut self) {
        self.breaker.reset();
        self.last_error = None;
    }

    /// What it is and has done.
    #[must_use]
    pub fn status(&self) -> Status {
        let memory = self.vm.as_ref().map_or(0, |vm| vm.sandbox.memory());
        Status {
            name: self.loader.source.name.clone(),
            file: self.loader.source.file.clone(),
            hash: self.hash.clone(),
            counters: self.counters.clone(),
            tripped_until: self.breaker.tripped_until(),
            trips: self.breaker.trips(),
            memory_bytes: memory as u64,
            log_lines_suppressed: self.loader.shared.outlet.borrow().suppressed(),
            last_error: self.last_error.clone(),
        }
    }

    fn decide(&mut self, consultation: &Consultation, chunk: usize) -> Verdict {
        if self.open(chunk) == 0 {
            return Verdict::Abstained;
        }
        let now = consultation.now;
        if self.breaker.admit(now) == Admission::Bypass {
            self.counters.bypassed += 1;
            self.apply_default(chunk);
            return Verdict::Bypassed;
        }
        self.counters.calls += 1;
        match self.consult(consultation, chunk) {
            Ok(decision) => {
                self.breaker.succeeded();
                self.settle(consultation, chunk, decision)
            }
            Err(failure) => {
                self.fail(*failure, now);
                self.apply_default(chunk);
                Verdict::Failed
            }
        }
    }

    /// Notes the open candidates of a chunk, and counts them.
    fn open(&self, chunk: usize) -> usize {
        let live = &mut *self.loader.shared.live.borrow_mut();
        live.open.clear();
        if let Some(table) = &live.table {
            live.open.extend(table.open_candidates(chunk));
        }
        live.open.len()
    }

    fn consult(
        &mut self,
        consultation: &Consultation,
        chunk: usize,
    ) -> Result<Decision, Box<Failure>> {
        if self.vm.is_none() {
            let (vm, _) = self.loader.build().map_err(|errors| self.loader.first(errors))?;
            self.vm = Some(vm);
            self.fresh = false;
            self.counters.rebuilt += 1;
        }
        let Some(vm) = &mut self.vm else { return Ok(Decision::Abstained) };
        if !vm.decides() {
            return Ok(Decision::Abstained);
        }
        if !self.fresh {
            self.loader.refresh(vm)?;
            self.fresh = true;
        }
        let count = self.loader.shared.live.borrow().open.len();
        let entry = self.place;
        let place = || {
            let torrent = &consultation.download.id.to_string()[..8];
            let piece = consultation.chunks[chunk].piece.0;
            let noun = if count == 1 { "candidate" } else { "candidates" };
            format!("{entry}, torrent {torrent}…, chunk {piece}, {count} {noun}")
        };
        let decision = self.loader.ask(vm, chunk, &place);
        let spent = self.loader.meter.spent();
        self.counters.latency.record(spent);
        self.counters.slow += u64::from(spent > DECISION_SLOW);
        decision
    }

    fn settle(&mut self, consultation: &Consultation, chunk: usize, decision: Decision) -> Verdict {
        match decision {
            Decision::Chosen { peer, reason } => {
                self.counters.chosen += 1;
                self.apply(chunk, peer);
                Verdict::Chosen { conn: consultation.peers[peer].conn, reason }
            }
            Decision::Abstained => {
                self.counters.abstained += 1;
                self.apply_default(chunk);
                Verdict::Abstained
            }
            Decision::Deferred(_) if self.is_starved(consultation) => {
                self.counters.starved += 1;
                self.apply_default(chunk);
                Verdict::Abstained
            }
            Decision::Deferred(ms) => {
                self.counters.deferred += 1;
                let ms = ms.unwrap_or(DEFER_MS_DEFAULT);
                Verdict::Deferred { ms: ms.clamp(*DEFER_MS.start(), *DEFER_MS.end()) as u32 }
            }
        }
    }

    fn fail(&mut self, failure: Failure, now: Timestamp) {
        self.counters.errors.count(failure.kind);
        let exhausted = matches!(failure.kind, FailureKind::Budget | FailureKind::Memory);
        self.breaker.failed(now, if exhausted { Fault::Exhausted } else { Fault::Error });
        let full = self.vm.as_ref().is_some_and(|vm| vm.sandbox.memory() > MEMORY_MAX / 2);
        if exhausted || full {
            self.vm = None;
        }
        self.last_error = Some(LastError::after(self.last_error.take(), failure, now));
    }

    fn apply_default(&mut self, chunk: usize) {
        if let Some(peer) = self.loader.default() {
            self.apply(chunk, peer);
        }
    }

    /// Applies a choice to the copy of the table and to the policy's tables.
    fn apply(&mut self, chunk: usize, peer: usize) {
        let mut live = self.loader.shared.live.borrow_mut();
        let Some(table) = &mut live.table else { return };
        table.apply(chunk, peer);
        self.idle.remove(&table.torrent);
        let Some(vm) = self.vm.as_mut().filter(|_| self.fresh) else { return };
        self.loader.meter.start(DECISION_SLOW);
        if guarded(|| vm.changed(peer, &table.peers[peer])).is_err() {
            // Only memory can fail here; the next decision begins in an empty VM.
            self.vm = None;
        }
    }

    fn note_idle(&mut self, consultation: &Consultation) {
        if consultation.peers.iter().any(|peer| peer.inflight > 0) {
            self.idle.remove(&consultation.torrent);
            return;
        }
        if self.idle.len() >= IDLE_MAX {
            self.idle.pop_first();
        }
        self.idle.entry(consultation.torrent).or_insert(consultation.now);
    }

    fn is_starved(&self, consultation: &Consultation) -> bool {
        let since = self.idle.get(&consultation.torrent);
        let nothing_chosen = self
            .loader
            .shared
            .live
            .borrow()
            .table
            .as_ref()
            .is_some_and(|table| table.peers.iter().all(|peer| peer.inflight == 0));
        nothing_chosen && since.is_some_and(|&since| consultation.now.since(since) >= STARVED_AFTER)
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("name", &self.name()).field("hash", &self.hash).finish()
    }
}
