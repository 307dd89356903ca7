//! What the policy thread shows of its policies to those outside. Never here: its plain values,
//! which `view` makes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use shoal_core::ids::PolicyId;
use shoal_policy::status::Status;

use super::{
    lock,
    script::Metrics,
    shadow::Comparison,
    status::{PolicyIssue, PolicyKind},
};
use crate::clock::Clock;

/// Lines of a script's log that are kept for its status.
const LOG_LINES_KEPT: usize = 20;

/// A policy on the thread as the outside sees it.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) kind: PolicyKind,
    pub(super) params: BTreeMap<String, String>,
    pub(super) description: String,
    pub(super) functions: Vec<String>,
    pub(super) version: i64,
    pub(super) status: Status,
    pub(super) outlets: Outlets,
    /// What runs in its shadow, and how that compares.
    pub(super) shadow: Option<Box<(Shown, Comparison)>>,
}

/// What the thread shows of its policies.
pub(super) type Board = Arc<Mutex<BTreeMap<PolicyId, Shown>>>;

/// Where the words of a policy go.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlets {
    pub(super) log: LogTail,
    pub(super) metrics: Metrics,
}

/// The last lines that a script logged.
#[derive(Clone, Debug, Default)]
pub(super) struct LogTail(Arc<Mutex<VecDeque<String>>>);

impl LogTail {
    pub(super) fn push(&self, line: String) {
        let mut lines = lock(&self.0);
        if lines.len() >= LOG_LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        lock(&self.0).iter().cloned().collect()
    }
}

/// The last error of a script, as the outside sees it.
pub(super) fn issue_of(status: &Status, clock: &Clock) -> Option<PolicyIssue> {
    let error = status.last_error.as_ref()?;
    Some(PolicyIssue {
        kind: error.failure.kind.name(),
        file: error.failure.file.clone(),
        line: error.failure.line.unwrap_or(0),
        message: error.failure.message.clone(),
        report: status.report().unwrap_or_default(),
        at: clock.wall(error.last),
        count: error.count,
    })
}
