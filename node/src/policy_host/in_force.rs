//! What decides in a scope, and what is known of it beside what the thread shows.

use shoal_core::{ids::PolicyId, policy::native::Native};

use super::status::PolicyIssue;

/// What decides in a scope.
#[derive(Clone, Debug)]
pub struct InForce {
    /// By whom: natives without a shadow decide inside the engine.
    pub by: Decided,
    /// Why the policy of the last run is not in force.
    pub not_restored: Option<PolicyIssue>,
    /// The file that is watched.
    pub watched: Option<String>,
    /// Why the last attempt to replace it was refused.
    pub refused: Option<PolicyIssue>,
}

/// Where a policy decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decided {
    /// Inside the engine.
    Natively(Native),
    /// On the policy thread.
    OnThread(PolicyId),
}

impl From<Decided> for InForce {
    fn from(by: Decided) -> Self {
        Self { by, not_restored: None, watched: None, refused: None }
    }
}
