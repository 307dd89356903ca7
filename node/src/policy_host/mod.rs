//! The policy host: one thread on which every script lives, consulted through a bounded channel.
//!
//! | file | what |
//! |---|---|
//! | `status` | what a policy may be, and what is told of the one in force |
//! | `host` | the door: consult, load, look, notice a wedged thread |
//! | `thread` | the thread: one ask after the other |
//! | `script` | the sandbox as the thread uses it: its budget, its way out |
//!
//! A policy may be wrong, slow, hostile or dead; whoever consults never waits here. Never here:
//! what follows from a verdict.

pub mod host;
pub mod script;
pub mod status;
mod thread;

pub use host::{PolicyHost, PolicyNews};
pub use status::{
    PolicyChoice, PolicyIssue, PolicyKind, PolicyRefusal, PolicySet, PolicyState, PolicyStatus,
    ScriptChoice, ScriptKind,
};
