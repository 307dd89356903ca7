//! The policy host: one thread on which every script lives, consulted through a bounded channel.
//!
//! | file | what |
//! |---|---|
//! | `status`, `in_force` | what a policy may be, what decides where, what is told of it |
//! | `host` | the door: consult, tell, load, look, notice a wedged thread |
//! | `ask` | what the thread is asked, and what it has to say |
//! | `thread` | the thread: one ask after the other |
//! | `mail` | what happened, on its way to the thread |
//! | `decider`, `script`, `native` | policies as the thread holds them: budget, way out |
//! | `shadow` | a second policy beside one in force, compared |
//! | `beat`, `board` | what the thread shows of itself and of its policies |
//! | `view` | the same as plain values |
//! | `watch` | files that are watched for changes |
//! | `workbench` | policies that are checked, tested and measured, beside those in force |
//!
//! A policy may be wrong, slow, hostile or dead; whoever consults never waits here. Never here:
//! what follows from a verdict.

mod ask;
mod beat;
mod board;
mod decider;
#[cfg(test)]
pub(crate) mod held;
pub mod host;
mod in_force;
mod mail;
mod native;
pub mod script;
mod shadow;
pub mod status;
mod thread;
mod view;
pub mod watch;
pub mod workbench;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use ask::{Load, PolicyLoaded, PolicyNews, Role, Standing, Tell};
pub use host::PolicyHost;
pub use in_force::{Decided, InForce};
pub use status::{
    Difference, PolicyChoice, PolicyIssue, PolicyKind, PolicyRefusal, PolicySet, PolicyState,
    PolicyStatus, Scope, ScriptChoice, ScriptKind, ShadowStatus,
};

/// What a mutex holds, whoever died while holding it: each is left whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
