//! One run of a plan, from outside: begun, advanced, told of. Never here: what happens in it.

use std::{sync::Arc, time::Duration};

use shoal_policy::failure::Diagnostics;

use crate::{
    outcome::Outcome,
    plan::{Plan, PolicyName},
    policy::Policy,
    world::{Setting, Step, World, host::Record, since_origin},
};

pub use crate::trace::Words;

/// What a run is told beside its plan.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// The policy of the classes that name none.
    pub policy: Policy,
    /// What it is called in reports.
    pub policy_name: String,
    /// Whose last facts are kept in words.
    pub words: Words,
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A class names a policy that is not there.
    #[error("class '{class}': unknown policy '{policy}'{hint}")]
    UnknownPolicy {
        /// The class.
        class: String,
        /// What it names.
        policy: String,
        /// What may have been meant.
        hint: String,
    },
    /// The sandbox refused a script.
    #[error("{0}")]
    Script(Box<Diagnostics>),
}

/// A run under way.
pub struct Run {
    world: World,
    seed: u64,
    policy: String,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// Virtual time.
    pub at: Duration,
    /// Facts that sessions were handed.
    pub facts: u64,
    /// The part of everything that hosts have, 0 to 1; one that is complete has all of its own,
    /// whatever it received.
    pub part: f64,
}

impl Run {
    /// Begins a run. `files` finds the policies of classes that are neither native nor shipped.
    ///
    /// # Errors
    /// [`SetupError`], for the policies.
    pub fn new(
        plan: &Arc<Plan>,
        options: &Options,
        files: impl Fn(&PolicyName) -> Option<Policy>,
    ) -> Result<Self, SetupError> {
        let mut policies = Vec::with_capacity(plan.classes.len());
        for class in &plan.classes {
            let policy = match &class.policy {
                None => options.policy.clone(),
                Some(name) => files(name).or_else(|| Policy::find(name)).ok_or_else(|| {
                    let (class, policy) = (class.name.to_string(), name.0.clone());
                    let hint = crate::policy::hint(&policy);
                    SetupError::UnknownPolicy { class, policy, hint }
                })?,
            };
            let zone = &plan.zones[class.zone].name;
            policies.push(policy.of_zone(zone).map_err(SetupError::Script)?);
        }
        let setting = Setting { seed: options.seed, policies, words: options.words };
        let world = World::new(Arc::clone(plan), setting);
        Ok(Self { world, seed: options.seed, policy: options.policy_name.clone() })
    }

    /// Lets so many things happen; false once the run is over.
    pub fn advance(&mut self, steps: u32) -> bool {
        self.world.run(steps) == Step::On
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (hosts, content) = (&self.world.hosts, self.world.plan.content_bytes.max(1));
        let has = |record: &Record| match record.complete {
            Some(_) => 1.0,
            None => (record.downloaded as f64 / content as f64).min(1.0),
        };
        let parts: f64 = hosts.iter().map(|host| has(&host.record)).sum();
        Progress {
            at: since_origin(self.world.now),
            facts: self.world.trace.facts(),
            part: parts / hosts.len().max(1) as f64,
        }
    }

    /// The last facts in words, oldest first, where they were wanted.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        self.world.trace.tail()
    }

    /// What came of it.
    #[must_use]
    pub fn outcome(mut self) -> Outcome {
        self.world.outcome(&self.policy, self.seed)
    }

    /// Runs to the end.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        while self.advance(u32::MAX) {}
        self.outcome()
    }
}
