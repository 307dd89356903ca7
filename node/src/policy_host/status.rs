//! What a policy may be, and what the node tells of those in force: plain values.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};
use shoal_core::{ids::InfoHash, policy::native::Native};

/// Whose downloads a policy decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// Those of every torrent that has no policy of its own.
    Node,
    /// Those of one torrent.
    Torrent(InfoHash),
}

impl Scope {
    /// The torrent, where it is one.
    #[must_use]
    pub fn torrent(self) -> Option<InfoHash> {
        match self {
            Self::Node => None,
            Self::Torrent(info_hash) => Some(info_hash),
        }
    }
}

/// A policy to be put in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PolicyChoice {
    /// A native one.
    Native(Native),
    /// A script.
    Script(ScriptChoice),
}

impl PolicyChoice {
    /// What to call it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Native(native) => native.name(),
            Self::Script(script) => &script.name,
        }
    }
}

impl From<Native> for PolicyChoice {
    fn from(native: Native) -> Self {
        Self::Native(native)
    }
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
    /// The file that is watched for changes of the source, absolute; none: none is.
    #[serde(default)]
    pub watched: Option<String>,
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

/// A policy in force, or in a shadow, and how it does.
#[derive(Clone, PartialEq, Debug)]
pub struct PolicyStatus {
    /// Its name: a native policy's, or the script's file name.
    pub name: String,
    /// What kind it is.
    pub kind: PolicyKind,
    /// Whose downloads it decides.
    pub scope: Scope,
    /// How it stands.
    pub state: PolicyState,
    /// Decisions it was asked for. A native without a shadow decides inside the engine and counts
    /// nothing.
    pub calls: u64,
    /// Decisions in which it chose a peer.
    pub chosen: u64,
    /// No opinion.
    pub abstained: u64,
    /// Nobody now, ask again.
    pub deferred: u64,
    /// Nobody now, although nothing was in flight for 2 s.
    pub starved: u64,
    /// Not asked: tripped, wedged or busy.
    pub bypassed: u64,
    /// Decisions that took longer than 500 µs.
    pub slow: u64,
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
    /// Calls of its event handlers, `order` and `slots`.
    pub events: u64,
    /// Events dropped because its queue was full.
    pub events_dropped: u64,
    /// How often its breaker tripped.
    pub trips: u64,
    /// When the breaker lets it try again.
    pub tripped_until: Option<SystemTime>,
    /// The functions it has.
    pub hooks: Vec<String>,
    /// The file that is watched.
    pub watched: Option<String>,
    /// Why the last attempt to replace it was refused.
    pub refused: Option<PolicyIssue>,
    /// What it counted.
    pub metrics: BTreeMap<String, f64>,
    /// Log lines beyond the limit.
    pub log_suppressed: u64,
    /// CPU time of the policy thread for all policies, microseconds.
    pub thread_cpu_us: u64,
    /// The version of the shape of its state; 0 for a native one.
    pub version: i64,
}

impl PolicyStatus {
    /// A native policy that decides inside the engine.
    #[must_use]
    pub fn natively(native: Native, scope: Scope) -> Self {
        Self {
            name: native.name().to_owned(),
            kind: PolicyKind::Native,
            scope,
            state: PolicyState::Active,
            calls: 0,
            chosen: 0,
            abstained: 0,
            deferred: 0,
            starved: 0,
            bypassed: 0,
            slow: 0,
            errors: BTreeMap::new(),
            fallbacks: 0,
            p50_us: 0,
            p99_us: 0,
            memory_bytes: 0,
            content_hash: String::new(),
            last_error: None,
            params: BTreeMap::new(),
            log: Vec::new(),
            description: native.description().to_owned(),
            events: 0,
            events_dropped: 0,
            trips: 0,
            tripped_until: None,
            hooks: Vec::new(),
            watched: None,
            refused: None,
            metrics: BTreeMap::new(),
            log_suppressed: 0,
            thread_cpu_us: 0,
            version: 0,
        }
    }
}

/// What a policy in the shadow would have done.
#[derive(Clone, PartialEq, Debug)]
pub struct ShadowStatus {
    /// As it stands.
    pub status: PolicyStatus,
    /// Decisions in which both named the same peer, or both none.
    pub agreed: u64,
    /// Decisions in which they did not.
    pub differed: u64,
    /// The last of these, newest last.
    pub differences: Vec<Difference>,
}

/// A decision in which the shadow differed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The chunk's name.
    pub chunk: String,
    /// Whom the policy in force chose: its address.
    pub chosen: Option<String>,
    /// Whom the shadow chose.
    pub shadow: Option<String>,
    /// The shadow's reason, or its error.
    pub reason: String,
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

impl PolicyRefusal {
    /// A refusal that no line of a script is to blame for.
    #[must_use]
    pub fn new(name: &str, kind: &'static str, message: &str, at: SystemTime) -> Self {
        let report = format!("policy '{name}' was not loaded: {message}");
        let issue = PolicyIssue {
            kind,
            file: name.to_owned(),
            line: 0,
            message: message.to_owned(),
            report: report.clone(),
            at,
            count: 1,
        };
        Self { errors: vec![issue], report }
    }
}
