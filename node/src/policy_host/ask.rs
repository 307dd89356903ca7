//! What the policy thread is asked, and what it has to say. Never here: how it is done.

use std::sync::Arc;

use shoal_core::{
    ids::{PolicyId, TorrentId},
    policy::{Advice, Answer, Consultation, Hooks, native::Native},
};
use shoal_policy::script::Explanation;

use super::status::{PolicyChoice, PolicyIssue, PolicyRefusal};

/// What the thread is asked.
pub(super) enum Ask {
    /// For verdicts.
    Consult(Box<Consultation>),
    /// To look at the mail.
    Mail,
    /// To take this policy in, if it passes its checks.
    Load(Box<Load>),
    /// To let go of a policy, and of its shadow.
    Drop(PolicyId),
    /// To let go of a policy's shadow.
    DropShadow(PolicyId),
    /// To forget a torrent that is gone.
    Forget(TorrentId),
    /// To begin a policy anew.
    Reset(PolicyId),
    /// To decide one chunk without side effects.
    Explain(PolicyId, Box<Consultation>, Explained),
}

/// A policy to be loaded.
#[derive(Clone, Debug)]
pub struct Load {
    /// Repeated in the news.
    pub token: u64,
    /// Its id from then on; of a shadow, the id of the policy beside which it runs.
    pub policy: PolicyId,
    /// What it is to be.
    pub role: Role,
    /// What.
    pub choice: PolicyChoice,
    /// Of a shadow: the native that is put on the thread for its sake.
    pub beside: Option<Native>,
    /// The policy whose `ctx.state` it takes over, where that has the same name.
    pub after: Option<PolicyId>,
}

/// What a policy is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It decides.
    Deciding,
    /// It is only compared.
    Shadow,
}

/// Takes an explanation.
pub(super) type Explained = Box<dyn FnOnce(Option<Explanation>) + Send>;

/// What the policy thread has to say.
#[derive(Debug)]
pub enum PolicyNews {
    /// It answered. To be shown to [`PolicyHost::accept`](super::PolicyHost::accept) before it is believed.
    Answered {
        /// Which thread.
        generation: u64,
        /// What.
        answer: Answer,
    },
    /// A policy has advice.
    Advised {
        /// Which thread.
        generation: u64,
        /// What.
        advice: Advice,
    },
    /// A load ended. To be shown to [`PolicyHost::settle`](super::PolicyHost::settle).
    Loaded {
        /// Which thread.
        generation: u64,
        /// As given to [`PolicyHost::load`](super::PolicyHost::load).
        token: u64,
        /// What it has, or why not.
        result: Result<PolicyLoaded, PolicyRefusal>,
    },
    /// How a policy stands changed.
    Standing {
        /// Which.
        policy: PolicyId,
        /// What is new.
        what: Standing,
    },
}

/// A policy was taken in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyLoaded {
    /// Which functions it has.
    pub hooks: Hooks,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

/// What is new about how a policy stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Standing {
    /// A decision or an event failed in a way that was not told in the last ten seconds.
    Failed(PolicyIssue),
    /// The breaker tripped: the default decides for a while.
    Tripped,
    /// The breaker let it decide again.
    Recovered,
}

/// Where the thread tells what came out. Called on the policy thread only; it may block.
pub type Tell = Arc<dyn Fn(PolicyNews) + Send + Sync>;
