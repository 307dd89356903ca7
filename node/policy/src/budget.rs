//! What a policy may spend: limits of time and memory, and who measures the time. Never here: a
//! clock; the caller brings the measure.

use std::time::Duration;

/// The longest source, bytes.
pub const SOURCE_LEN_MAX: usize = 256 * 1024;
/// What running the top level may take, and `init`, each.
pub const LOAD_BUDGET: Duration = Duration::from_millis(250);
/// What one decision may take.
pub const DECISION_BUDGET: Duration = Duration::from_millis(5);
/// What one event may take, and one `order`.
pub const EVENT_BUDGET: Duration = Duration::from_millis(1);
/// What the `slots` of all peers of one report may take together.
pub const SLOTS_BUDGET: Duration = Duration::from_millis(5);
/// A decision that takes longer is counted as slow.
pub const DECISION_SLOW: Duration = Duration::from_micros(500);
/// What a policy may hold over the empty VM, bytes.
pub const MEMORY_MAX: usize = 16 * 1024 * 1024;
/// What `ctx.state` of one download may have when it is kept ([`crate::state::Plain::size`]).
pub const STATE_SIZE_MAX: usize = 64 * 1024;
/// How deep tables in `ctx.state` may nest when it is kept; `ctx.state` itself is the first.
pub const STATE_DEPTH_MAX: usize = 16;
/// The budget is looked at after every so many instructions of the VM. That there is a hook at all
/// costs 1.5 times; how often it looks matters little: a loop over 50 candidates takes 5.5 µs at 256
/// and 5.3 at 2048.
pub const HOOK_INSTRUCTIONS: u32 = 256;

/// A measure of the time a policy spends. The node passes in the CPU time of its policy thread;
/// tests and simulations count instructions ([`InstructionBudget`]). Never wall time, which would
/// trip an innocent script on a busy machine and make a simulation differ from run to run.
pub trait Budget {
    /// Begins a measurement; until the next one `allowance` may be spent.
    fn start(&mut self, allowance: Duration);

    /// Takes note of so many instructions, and tells whether the allowance is spent. A measure of
    /// real time may ignore the number. Instructions weigh more the more memory the VM holds, so
    /// that the work hidden in one instruction (joining long strings) is counted too.
    fn charge(&mut self, instructions: u64) -> Spend;

    /// The time spent since [`Budget::start`].
    fn spent(&self) -> Duration;
}

/// Whether an allowance is spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spend {
    /// Something is left.
    Within,
    /// Nothing is left: the script is stopped.
    Exhausted,
}

/// A budget that counts instructions, [`Self::NANOS_PER_INSTRUCTION`] each: the same on every
/// machine and in every run.
#[derive(Clone, Copy, Debug, Default)]
pub struct InstructionBudget {
    allowance: Duration,
    instructions: u64,
}

impl InstructionBudget {
    /// What an instruction is taken to cost, nanoseconds. Source: 100 million guarded instructions
    /// a second, the order of a Lua 5.4 VM on a slow core.
    pub const NANOS_PER_INSTRUCTION: u64 = 10;
}

impl Budget for InstructionBudget {
    fn start(&mut self, allowance: Duration) {
        *self = Self { allowance, instructions: 0 };
    }

    fn charge(&mut self, instructions: u64) -> Spend {
        self.instructions = self.instructions.saturating_add(instructions);
        if self.spent() > self.allowance { Spend::Exhausted } else { Spend::Within }
    }

    fn spent(&self) -> Duration {
        let nanos = self.instructions.saturating_mul(Self::NANOS_PER_INSTRUCTION);
        Duration::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_spent_up_to_the_allowance_and_not_beyond() {
        let mut budget = InstructionBudget::default();
        budget.start(Duration::from_micros(10));
        assert_eq!(budget.charge(999), Spend::Within, "below");
        assert_eq!(budget.charge(1), Spend::Within, "at");
        assert_eq!(budget.charge(1), Spend::Exhausted, "above");
        budget.start(Duration::from_micros(10));
        assert_eq!(budget.charge(1000), Spend::Within, "a new measurement");
    }
}
