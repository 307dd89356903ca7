//! One decision run again without side effects, for a person who asks why. Never here: what the
//! engine left out before the policy was asked.

use std::{rc::Rc, time::Duration};

use mlua::Value;

use shoal_core::policy::{Consultation, Verdict};

use super::{
    Script,
    decide::{deferred_ms, has_nothing_in_flight},
};
use crate::{
    failure::Failure,
    loader::{Decision, Loader},
    sandbox::guarded,
    state,
    vm::{Scores, Vm},
};

/// A decision, and what led to it.
#[derive(Clone, PartialEq, Debug)]
pub struct Explanation {
    /// What the policy says.
    pub verdict: Verdict,
    /// What each candidate of the chunk got, in their order; `None` where one got nothing or has no
    /// free slot. Empty where the policy has no `score`.
    pub scores: Vec<Option<f64>>,
    /// The time that the decision took.
    pub spent: Duration,
    /// Why there is no decision, or why the download's `ctx.state` could not be copied: the decision
    /// then began with an empty one.
    pub failure: Option<Failure>,
}

impl Script {
    /// Decides the first chunk of a consultation in a fresh VM, with a copy of the download's state
    /// and with log and metrics muted. Nothing of the policy changes: no counter, no state, no
    /// breaker; a tripped policy is asked too. What is random comes out as it does after loading.
    pub fn explain(&mut self, consultation: &Consultation) -> Explanation {
        let mut explanation = Explanation {
            verdict: Verdict::Abstained,
            scores: Vec::new(),
            spent: Duration::ZERO,
            failure: None,
        };
        if consultation.chunks.is_empty() || !self.hooks.decides {
            return explanation;
        }
        let loader = self.loader.apart();
        loader.shared.live.borrow_mut().table = Some(consultation.clone());
        if loader.shared.live.borrow_mut().open(0) == 0 {
            return explanation;
        }
        match self.decided_apart(loader, consultation, &mut explanation) {
            Ok(decision) => explanation.verdict = self.verdict(decision, consultation),
            Err(failure) => {
                explanation.verdict = Verdict::Failed;
                explanation.failure = Some(*failure);
            }
        }
        explanation
    }

    fn decided_apart(
        &self,
        mut loader: Loader,
        consultation: &Consultation,
        explanation: &mut Explanation,
    ) -> Result<Decision, Box<Failure>> {
        let (mut vm, _) = loader.build(Scores::Kept).map_err(|errors| loader.first(errors))?;
        explanation.failure = self.copy_state(&mut vm, consultation).err().map(|f| *f);
        loader.refresh(&mut vm)?;
        let shared = Rc::clone(&loader.shared);
        let place = || shared.live.borrow().place(self.place, 0);
        let decision = loader.ask(&mut vm, 0, &place);
        explanation.spent = loader.meter.spent();
        let decision = decision?;
        let open: Vec<_> = loader.shared.live.borrow().open.iter().map(|c| c.peer).collect();
        let scores = guarded(|| vm.scores(open.len())).ok().flatten();
        if let Some(scores) = scores {
            let of = |peer| open.iter().position(|&p| p == peer).and_then(|at| scores[at]);
            let candidates = &consultation.chunks[0].candidates;
            explanation.scores = candidates.iter().map(|c| of(c.peer)).collect();
        }
        Ok(decision)
    }

    /// Copies the state of the consultation's download. `init` is not called for it again.
    fn copy_state(&self, vm: &mut Vm, consultation: &Consultation) -> Result<(), Box<Failure>> {
        let id = consultation.download.id;
        let Some(plain) = self.state_of(id)? else { return Ok(()) };
        if let Ok(Value::Table(table)) = guarded(|| state::put(&vm.sandbox.lua, &plain)) {
            vm.states.insert(id, table);
            vm.states.initialised(id);
        }
        Ok(())
    }

    fn verdict(&self, decision: Decision, consultation: &Consultation) -> Verdict {
        let starved = has_nothing_in_flight(consultation)
            && self.is_idle_too_long(consultation.torrent, consultation.now);
        match decision {
            Decision::Chosen { conn, reason, .. } => Verdict::Chosen { conn, reason },
            Decision::Abstained => Verdict::Abstained,
            Decision::Deferred(_) if starved => Verdict::Starved,
            Decision::Deferred(ms) => Verdict::Deferred { ms: deferred_ms(ms) },
        }
    }
}
