//! What a policy is told and asked beside decisions: `on.*`, `order` and `slots`. Never here: what
//! is done with its advice.

use shoal_core::policy::{Advice, Happening, PeerView, Report};

use super::Script;
use crate::{breaker::Admission, failure::Failure, loader::At, shape::Event, status::During};

/// What a report is to be followed by.
struct Due<'a> {
    event: Option<Event>,
    order: bool,
    /// The peers whose `slots` are asked for.
    slots: &'a [PeerView],
}

impl Script {
    /// Tells the policy what happened, and asks for `order` and `slots` where a happening asks for
    /// them. `None` where nothing was asked for, or nothing came of it.
    ///
    /// Whatever the script does, this returns; it may take [`crate::budget::LOAD_BUDGET`] where a
    /// download is new or a VM is built anew, [`crate::budget::EVENT_BUDGET`] for the event and for
    /// `order`, each, and [`crate::budget::SLOTS_BUDGET`] for `slots`. While its breaker is tripped
    /// a policy is told nothing.
    pub fn report(&mut self, report: &Report) -> Option<Advice> {
        let due = self.due(&report.what);
        if due.event.is_none() && !due.order && due.slots.is_empty() {
            return None;
        }
        self.loader.shared.outlet.borrow_mut().advance(report.now);
        if !self.hears(report) {
            return None;
        }
        self.remember(report.torrent, report.download.id);
        let mut advice = Advice {
            policy: report.policy,
            torrent: report.torrent,
            order: None,
            slots: Vec::new(),
        };
        let mut advised = false;
        let mut succeeded = true;
        for step in [Step::Begin, Step::Event, Step::Order, Step::Slots] {
            match self.step(step, report, &due, &mut advice) {
                Ok(asked) => advised |= asked,
                Err(failure) => {
                    succeeded = false;
                    self.counters.event_errors += 1;
                    self.fail(*failure, During::Event, report.now);
                    // Without its VM, or its `init`, nothing more is to be had of it.
                    if self.vm.is_none() || step == Step::Begin {
                        break;
                    }
                }
            }
        }
        if succeeded && !self.hooks.decides {
            self.breaker.succeeded();
        }
        let said = advised || !advice.slots.is_empty();
        said.then_some(advice)
    }

    fn due<'a>(&self, what: &'a Happening) -> Due<'a> {
        let hooks = self.hooks;
        let event = Event::of(what).filter(|event| match event {
            Event::ChunkDone => hooks.chunk_done,
            Event::ChunkFailed => hooks.chunk_failed,
            Event::Finished => hooks.finished,
            Event::PeerAdded => hooks.peer_added,
            Event::PeerRemoved => hooks.peer_removed,
            Event::Tick => hooks.tick,
        });
        let (order, peers) = match what {
            Happening::Phase { peers } | Happening::Tick { peers } => (hooks.order, &peers[..]),
            Happening::PeerAdded { peer } => (false, std::slice::from_ref(peer)),
            Happening::ChunkDone { .. }
            | Happening::ChunkFailed { .. }
            | Happening::PeerRemoved { .. }
            | Happening::Finished => (false, &[][..]),
        };
        Due { event, order, slots: if hooks.slots { peers } else { &[] } }
    }

    /// Whether the breaker lets an event through. The one probe after a trip is a decision, where
    /// the policy makes any: an event that goes well says nothing of them.
    fn hears(&self, report: &Report) -> bool {
        match self.breaker.admit(report.now) {
            Admission::Ask => true,
            Admission::Probe => !self.hooks.decides,
            Admission::Bypass => false,
        }
    }

    /// Takes one step of a report. Tells whether it brought advice.
    fn step(
        &mut self,
        step: Step,
        report: &Report,
        due: &Due<'_>,
        advice: &mut Advice,
    ) -> Result<bool, Box<Failure>> {
        self.ready()?;
        let Some(vm) = &mut self.vm else { return Ok(false) };
        let at = At { id: report.download.id, what: &report.what, before: "" };
        match step {
            Step::Begin => {
                self.loader.begin(vm, &report.download, report.now)?;
                self.loader.happened(vm, &report.what)?;
            }
            Step::Event => {
                let Some(event) = due.event else { return Ok(false) };
                self.counters.events += 1;
                self.loader.tell(vm, event, &at)?;
            }
            Step::Order if due.order => {
                self.counters.events += 1;
                advice.order = Some(self.loader.order(vm, &at)?);
                return Ok(true);
            }
            Step::Slots if !due.slots.is_empty() => {
                self.counters.events += due.slots.len() as u64;
                self.loader.slots(vm, due.slots, &at, &mut advice.slots)?;
                return Ok(true);
            }
            Step::Order | Step::Slots => {}
        }
        Ok(false)
    }
}

/// The steps of a report, in order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Puts the download and what happened before the policy.
    Begin,
    Event,
    Order,
    Slots,
}
