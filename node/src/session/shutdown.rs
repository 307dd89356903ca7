//! The end of a session, in order: trackers told, connections closed, data committed, rooms ended.
//!
//! Never here: when a node ends.

/// How the end went.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShutdownReport {
    /// What did not finish in its time, one sentence each; empty where all went well.
    pub unfinished: Vec<String>,
}
