//! Consultations: one decision a chunk, each applied before the next. Never here: what a script may
//! return, or how it is called.

use std::time::Duration;

use shoal_core::{
    ids::TorrentId,
    policy::{Consultation, Judged, Verdict},
    time::Timestamp,
};

use super::{DOWNLOADS_MAX, Script};
use crate::{
    breaker::Admission, budget::DECISION_SLOW, failure::Failure, loader::Decision, status::During,
};

/// How long a policy may ask to wait, milliseconds.
const DEFER_MS: std::ops::RangeInclusive<f64> = 10.0..=1000.0;
/// How long it waits where it names no time, milliseconds.
const DEFER_MS_DEFAULT: f64 = 50.0;
/// A download with nothing in flight for so long is not made to wait any longer.
const STARVED_AFTER: Duration = Duration::from_secs(2);

impl Script {
    /// Answers a consultation: one verdict a chunk, in order. Each is applied to the table before
    /// the next is made; where the verdict leaves the choice to the default policy, the default's
    /// choice is applied, so that the table says what the engine will do.
    ///
    /// Whatever the script does, this returns; it may take [`crate::budget::LOAD_BUDGET`] where a
    /// download is new or a VM is built anew, and [`crate::budget::DECISION_BUDGET`] a chunk.
    pub fn answer(&mut self, consultation: Consultation) -> Vec<Judged> {
        let (now, torrent) = (consultation.now, consultation.torrent);
        let chunks = consultation.chunks.len();
        self.loader.shared.outlet.borrow_mut().advance(now);
        self.remember(torrent, consultation.download.id);
        self.note_idle(&consultation);
        self.loader.shared.live.borrow_mut().table = Some(consultation);
        self.fresh = false;
        let judge = |chunk| {
            self.spent = Duration::ZERO;
            let verdict = self.decide(torrent, now, chunk);
            let spent_us = u32::try_from(self.spent.as_micros()).unwrap_or(u32::MAX);
            Judged { verdict, spent_us }
        };
        let verdicts = (0..chunks).map(judge).collect();
        self.loader.shared.live.borrow_mut().table = None;
        verdicts
    }

    fn decide(&mut self, torrent: TorrentId, now: Timestamp, chunk: usize) -> Verdict {
        if self.loader.shared.live.borrow_mut().open(chunk) == 0 {
            return Verdict::Abstained;
        }
        if self.breaker.admit(now) == Admission::Bypass {
            self.counters.bypassed += 1;
            self.apply_default(chunk);
            return Verdict::Bypassed;
        }
        self.counters.calls += 1;
        match self.consult(chunk) {
            Ok(decision) => {
                self.breaker.succeeded();
                self.settle(torrent, now, chunk, decision)
            }
            Err(failure) => {
                self.fail(*failure, During::Decision, now);
                self.apply_default(chunk);
                Verdict::Failed
            }
        }
    }

    fn consult(&mut self, chunk: usize) -> Result<Decision, Box<Failure>> {
        if !self.hooks.decides {
            return Ok(Decision::Abstained);
        }
        self.ready()?;
        let Some(vm) = &mut self.vm else { return Ok(Decision::Abstained) };
        if !self.fresh {
            self.loader.refresh(vm)?;
            self.fresh = true;
        }
        let (loader, entry) = (&self.loader, self.place);
        let place = || loader.shared.live.borrow().place(entry, chunk);
        let decision = loader.ask(vm, chunk, &place);
        let spent = loader.meter.spent();
        self.spent = spent;
        self.counters.latency.record(spent);
        self.counters.slow += u64::from(spent > DECISION_SLOW);
        decision
    }

    fn settle(
        &mut self,
        torrent: TorrentId,
        now: Timestamp,
        chunk: usize,
        decision: Decision,
    ) -> Verdict {
        match decision {
            Decision::Chosen { peer, conn, reason } => {
                self.counters.chosen += 1;
                self.apply(chunk, peer);
                Verdict::Chosen { conn, reason }
            }
            Decision::Abstained => {
                self.counters.abstained += 1;
                self.apply_default(chunk);
                Verdict::Abstained
            }
            Decision::Deferred(_) if self.is_starved(torrent, now) => {
                self.counters.starved += 1;
                self.apply_default(chunk);
                Verdict::Starved
            }
            Decision::Deferred(ms) => {
                self.counters.deferred += 1;
                Verdict::Deferred { ms: deferred_ms(ms) }
            }
        }
    }

    fn apply_default(&mut self, chunk: usize) {
        if let Some(peer) = self.loader.default() {
            self.apply(chunk, peer);
        }
    }

    /// Applies a choice to the table and to the policy's tables.
    fn apply(&mut self, chunk: usize, peer: usize) {
        let mut live = self.loader.shared.live.borrow_mut();
        let Some(table) = &mut live.table else { return };
        table.apply(chunk, peer);
        self.idle.remove(&table.torrent);
        if let Some(vm) = self.vm.as_mut().filter(|_| self.fresh) {
            vm.changed(peer, &table.peers[peer]);
        }
    }

    fn note_idle(&mut self, consultation: &Consultation) {
        if consultation.peers.iter().any(|peer| peer.inflight > 0) {
            self.idle.remove(&consultation.torrent);
            return;
        }
        if self.idle.len() >= DOWNLOADS_MAX {
            self.idle.pop_first();
        }
        self.idle.entry(consultation.torrent).or_insert(consultation.now);
    }

    fn is_starved(&self, torrent: TorrentId, now: Timestamp) -> bool {
        let live = self.loader.shared.live.borrow();
        let nothing_chosen = live.table.as_ref().is_some_and(has_nothing_in_flight);
        nothing_chosen && self.is_idle_too_long(torrent, now)
    }

    /// Nothing has been in flight for so long that the download is not made to wait.
    pub(super) fn is_idle_too_long(&self, torrent: TorrentId, now: Timestamp) -> bool {
        self.idle.get(&torrent).is_some_and(|&since| now.since(since) >= STARVED_AFTER)
    }
}

/// Nothing of the table is in flight.
pub(super) fn has_nothing_in_flight(table: &Consultation) -> bool {
    table.peers.iter().all(|peer| peer.inflight == 0)
}

/// How long to wait where a policy named this many milliseconds.
pub(super) fn deferred_ms(named: Option<f64>) -> u32 {
    named.unwrap_or(DEFER_MS_DEFAULT).clamp(*DEFER_MS.start(), *DEFER_MS.end()) as u32
}
