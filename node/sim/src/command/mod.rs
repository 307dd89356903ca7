//! What is asked of the simulator, whoever asks: a plan, policies, seeds. A [`Command`] is a list of
//! independent [`Job`]s, and makes a report of what came of them.
//!
//! | file | what |
//! |---|---|
//! | [`args`] | the words of the command line |
//! | `read` | what these words mean |
//! | [`carry`] | a command line from its words to its exit code, with what a [`carry::Shell`] lends |
//! | [`entrant`] | a policy that takes part, and what it is called |
//! | [`tally`] | how far everything is |
//!
//! Never here: a file, a thread, a clock, a terminal. A shell has them.

pub mod args;
pub mod carry;
pub mod entrant;
mod read;
pub mod tally;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use self::entrant::Entrant;
use crate::{
    outcome::Outcome,
    plan::{Plan, PolicyName},
    policy::Policy,
    report::Report,
    run::{Options, Progress, Run, SetupError, Words},
};

/// The most seeds of a command.
pub const SEEDS_MAX: u32 = 1000;
/// The seeds of a comparison that does not say: the exact paired test needs so many to find anything.
pub const SEEDS_COMPARED: u32 = 9;
/// Steps of a run between two looks at what its caller wants, some ten milliseconds.
const STEPS: u32 = 2048;

/// Runs of a plan: each policy with each seed.
#[derive(Clone, Debug)]
pub struct Command {
    plan: Arc<Plan>,
    plan_words: String,
    size: Size,
    entrants: Vec<Entrant>,
    seeds: Vec<u64>,
    of_classes: Arc<BTreeMap<PolicyName, Policy>>,
    words: Words,
}

/// How large a plan is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// As it is written.
    Whole,
    /// [`Plan::small`].
    Small,
}

/// Why a command asks for nothing that could be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// So many seeds from that one on there are not.
    #[error("there are no {count} seeds from {first} on")]
    Seeds {
        /// The first.
        first: u64,
        /// How many.
        count: u32,
    },
    /// Two policies go by one name: a report could not tell them apart.
    #[error("policy {0} is named twice")]
    Twice(String),
}

impl Command {
    /// Of this plan, which commands that replay a run call `plan_words`: the name of a shipped one,
    /// or a path. Each of `entrants` is compared with the first.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn new(
        plan: &Plan,
        plan_words: &str,
        size: Size,
        entrants: Vec<Entrant>,
        (first, count): (u64, u32),
    ) -> Result<Self, CommandError> {
        let beyond = CommandError::Seeds { first, count };
        let last = first.checked_add(u64::from(count.max(1)) - 1).ok_or(beyond)?;
        for (place, entrant) in entrants.iter().enumerate() {
            if entrants[..place].iter().any(|other| other.name == entrant.name) {
                return Err(CommandError::Twice(entrant.name.clone()));
            }
        }
        let plan = match size {
            Size::Whole => plan.clone(),
            Size::Small => plan.small(),
        };
        Ok(Self {
            plan: Arc::new(plan),
            plan_words: plan_words.to_owned(),
            size,
            entrants,
            seeds: (first..=last).collect(),
            of_classes: Arc::default(),
            words: Words::None,
        })
    }

    /// With the policies that classes name and that are neither native nor shipped.
    #[must_use]
    pub fn with_files(mut self, files: BTreeMap<PolicyName, Policy>) -> Self {
        self.of_classes = Arc::new(files);
        self
    }

    /// With the last facts of some host in words.
    #[must_use]
    pub fn with_words(mut self, words: Words) -> Self {
        self.words = words;
        self
    }

    /// The plan as it is run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many runs it is.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.entrants.len() * self.seeds.len()
    }

    /// Every run, policy by policy, independent of each other.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        let job = |entrant: &Entrant, seed: u64| Job {
            plan: Arc::clone(&self.plan),
            options: Options {
                seed,
                policy: entrant.policy.clone(),
                policy_name: entrant.name.clone(),
                words: self.words,
            },
            of_classes: Arc::clone(&self.of_classes),
        };
        let each = self.entrants.iter();
        each.flat_map(|entrant| self.seeds.iter().map(move |&seed| job(entrant, seed))).collect()
    }

    /// What came of the jobs, in their order.
    #[must_use]
    pub fn report(&self, outcomes: Vec<Outcome>) -> Report<'_> {
        let mut outcomes = outcomes.into_iter();
        let policies = self.entrants.iter().map(|entrant| {
            let own = outcomes.by_ref().take(self.seeds.len()).collect();
            (entrant.name.clone(), own)
        });
        Report::new(&self.plan, policies.collect(), |outcome| self.replay(outcome))
    }

    /// The command line that does a run again: one line, quoted for a shell.
    fn replay(&self, outcome: &Outcome) -> String {
        let mut words = vec!["shoald".to_owned(), "sim".to_owned(), self.plan_words.clone()];
        if self.size == Size::Small {
            words.push("--small".to_owned());
        }
        words.extend(["--seed".to_owned(), outcome.seed.to_string()]);
        let entrant = self.entrants.iter().find(|entrant| entrant.name == outcome.policy);
        words.extend(entrant.iter().flat_map(|entrant| entrant.words()));
        // Words with a NUL, which no command line can have, come from no command line.
        let quoted = |word: &String| shlex::try_quote(word).map(|word| word.into_owned());
        words.iter().map(|word| quoted(word).unwrap_or_default()).collect::<Vec<_>>().join(" ")
    }
}

/// One run that is to be done. It may travel to another thread; the run itself stays where it began.
#[derive(Clone, Debug)]
pub struct Job {
    plan: Arc<Plan>,
    options: Options,
    of_classes: Arc<BTreeMap<PolicyName, Policy>>,
}

/// A run that came to its end.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What came of it.
    pub outcome: Outcome,
    /// Its last facts in words, oldest first, where they were wanted.
    pub tail: Vec<String>,
}

impl Job {
    /// Does it, and tells how far it is every some ten milliseconds; none where `each` wants no more
    /// of it.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn run(
        &self,
        mut each: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Option<Ran>, SetupError> {
        let files = |name: &PolicyName| self.of_classes.get(name).cloned();
        let mut run = Run::new(&self.plan, &self.options, files)?;
        while run.advance(STEPS) {
            if each(run.progress()).is_break() {
                return Ok(None);
            }
        }
        let tail = run.tail();
        Ok(Some(Ran { outcome: run.outcome(), tail }))
    }
}
