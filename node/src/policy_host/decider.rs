//! A policy as the thread holds it. Never here: who is asked when.

use std::{collections::BTreeMap, sync::Arc};

use shoal_core::{
    ids::TorrentId,
    policy::{Advice, Answer, Consultation, Hooks, Report},
    time::Timestamp,
};
use shoal_policy::{script::Explanation, state::KeptStates, status::Status};

use super::{
    board::Outlets,
    status::{PolicyRefusal, ScriptChoice},
};

/// A loaded policy. Lives and dies on the policy thread.
pub(super) trait Decider {
    /// One verdict a chunk, in order.
    fn answer(&mut self, question: Consultation) -> Answer;
    /// Something happened.
    fn report(&mut self, report: &Report) -> Option<Advice>;
    /// One decision without side effects; none of a native policy.
    fn explain(&mut self, question: &Consultation) -> Option<Explanation>;
    /// Its state, for its successor.
    fn keep(&mut self) -> KeptStates;
    /// A torrent is gone.
    fn forget(&mut self, torrent: TorrentId);
    /// It begins anew.
    fn reset(&mut self);
    /// Errors so far, and whether it is tripped: what is looked at after every answer.
    fn vitals(&self) -> Vitals;
    /// What it has done.
    fn status(&self) -> Status;
}

/// A policy that passed its checks.
pub(super) struct Loaded {
    pub(super) decider: Box<dyn Decider>,
    pub(super) hooks: Hooks,
    pub(super) functions: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) params: BTreeMap<String, String>,
    pub(super) description: String,
    pub(super) version: i64,
}

/// Makes a script of a choice, on the thread that will own it.
pub(super) type Loader = Arc<
    dyn Fn(&ScriptChoice, KeptStates, &Outlets, Timestamp) -> Result<Loaded, PolicyRefusal>
        + Send
        + Sync,
>;

/// What is looked at after every answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Vitals {
    /// Errors so far.
    pub(super) errors: u64,
    /// The breaker is open.
    pub(super) tripped: bool,
}
