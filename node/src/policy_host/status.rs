//! What a policy may be, and what the node tells of the one in force: plain values.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};
use shoal_core::policy::native::Native;

/// A policy to be put in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PolicyChoice {
    /// A native one.
    Native(Native),
    /// A script.
    Script(ScriptChoice),
}

/// A script to be put in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScriptChoice {
    /// What to call it: its file name, `fast.lua`.
    pub name: String,
    /// Whose it is.
    pub kind: ScriptKind,
    /// Lua source.
    pub source: String,
    /// Parameters, as text.
    pub params: BTreeMap<String, String>,
}

/// Whose script a policy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptKind {
    /// It comes with shoal.
    Shipped,
    /// The operator's own.
    Custom,
}

/// What kind a policy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyKind {
    /// Built in, in Rust.
    Native,
    /// A script.
    Script(ScriptKind),
}

/// How a policy stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyState {
    /// It decides.
    Active,
    /// Too many errors: the default decides for a while.
    Tripped,
    /// Its thread does not answer: the default decides.
    Wedged,
}

/// The policy in force and how it does.
#[derive(Clone, PartialEq, Debug)]
pub struct PolicyStatus {
    /// Its name: a native policy's, or the script's file name.
    pub name: String,
    /// What kind it is.
    pub kind: PolicyKind,
    /// How it stands.
    pub state: PolicyState,
    /// Decisions it was asked for. Natives decide inside the engine and count nothing.
    pub calls: u64,
    /// Decisions in which it chose a peer.
    pub chosen: u64,
    /// No opinion.
    pub abstained: u64,
    /// Nobody now, ask again.
    pub deferred: u64,
    /// Errors by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Decisions that the default made in its stead, abstentions apart.
    pub fallbacks: u64,
    /// Median time of a decision, microseconds.
    pub p50_us: u64,
    /// 99th percentile, microseconds.
    pub p99_us: u64,
    /// Bytes its Lua state holds; 0 for a native one.
    pub memory_bytes: u64,
    /// SHA-1 of its source, 40 hexadecimal digits; empty for a native one.
    pub content_hash: String,
    /// Its last error; also why a policy of the last run was not put in force at the start.
    pub last_error: Option<PolicyIssue>,
    /// Parameters in force, as text.
    pub params: BTreeMap<String, String>,
    /// Lines it logged last, newest last, at most 20, free of control characters.
    pub log: Vec<String>,
    /// What it says of itself.
    pub description: String,
}

/// An error or a warning of a policy, as its author should see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyIssue {
    /// `syntax`, `runtime`, `budget`, `memory`, `contract`, …
    pub kind: &'static str,
    /// The script's name.
    pub file: String,
    /// Line, from 1; 0 where unknown.
    pub line: u32,
    /// One line.
    pub message: String,
    /// The whole report: source lines, the call, the torrent, the chunk.
    pub report: String,
    /// When it happened last.
    pub at: SystemTime,
    /// How often the same happened since the policy was set.
    pub count: u64,
}

/// A policy was put in force.
#[derive(Clone, PartialEq, Debug)]
pub struct PolicySet {
    /// As it stands.
    pub status: PolicyStatus,
    /// Things that were odd but no reason to refuse, one text each.
    pub warnings: Vec<String>,
}

/// A policy was checked and refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{report}")]
pub struct PolicyRefusal {
    /// What is wrong with it; never empty.
    pub errors: Vec<PolicyIssue>,
    /// The whole report, several lines.
    pub report: String,
}
