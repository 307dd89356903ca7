//! What a test has spent: its own instructions and those of its policies, in one purse. Never here:
//! a clock.

use std::{cell::Cell, rc::Rc, time::Duration};

use crate::budget::{Budget, InstructionBudget, Spend};

/// The virtual time that a test and its policies have spent.
#[derive(Clone, Debug, Default)]
pub(super) struct Purse(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    spent_ns: Cell<u64>,
    allowance: Cell<Duration>,
}

impl Purse {
    /// Begins a measurement.
    pub(super) fn start(&self, allowance: Duration) {
        self.0.spent_ns.set(0);
        self.0.allowance.set(allowance);
    }

    /// Takes note of work that no instruction counter sees.
    pub(super) fn pay(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.spent_ns.set(self.0.spent_ns.get().saturating_add(nanos));
    }

    pub(super) fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.spent_ns.get())
    }

    pub(super) fn allowance(&self) -> Duration {
        self.0.allowance.get()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spent() > self.allowance()
    }

    fn count(&self, instructions: u64) {
        let nanos = instructions.saturating_mul(InstructionBudget::NANOS_PER_INSTRUCTION);
        self.pay(Duration::from_nanos(nanos));
    }
}

/// The budget of the test code: everything that went out of the purse.
#[derive(Debug)]
pub(super) struct TestBudget(pub(super) Purse);

impl Budget for TestBudget {
    fn start(&mut self, allowance: Duration) {
        self.0.start(allowance);
    }

    fn charge(&mut self, instructions: u64) -> Spend {
        self.0.count(instructions);
        if self.0.is_empty() { Spend::Exhausted } else { Spend::Within }
    }

    fn spent(&self) -> Duration {
        self.0.spent()
    }
}

/// The budget of a policy under test: that of any policy, and what it spends goes out of the purse.
#[derive(Debug)]
pub(super) struct PolicyBudget {
    own: InstructionBudget,
    purse: Purse,
}

impl PolicyBudget {
    pub(super) fn new(purse: Purse) -> Self {
        Self { own: InstructionBudget::default(), purse }
    }
}

impl Budget for PolicyBudget {
    fn start(&mut self, allowance: Duration) {
        self.own.start(allowance);
    }

    fn charge(&mut self, instructions: u64) -> Spend {
        self.purse.count(instructions);
        self.own.charge(instructions)
    }

    fn spent(&self) -> Duration {
        self.own.spent()
    }
}
