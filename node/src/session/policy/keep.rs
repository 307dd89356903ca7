//! What is in force is kept, and in force again after a restart. Shadows are not: they are trials.

use serde::{Deserialize, Serialize};
use shoal_core::ids::InfoHash;

use super::{SetReply, set::answer};
use crate::{
    disk::Store,
    policy_host::{PolicyChoice, PolicySet, Scope, ScriptChoice},
    session::{
        handle::{SetPolicy, SetPolicyError},
        inbox::Input,
        run::Shell,
    },
};

/// The name under which the store keeps the node's policy.
const IN_FORCE: &str = "in_force";
/// How the names begin under which it keeps those of torrents; the info hash follows.
const OF_TORRENT: &str = "torrent/";

/// A policy as the store keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Native(String),
    Script(ScriptChoice),
}

/// The policies that were in force when the node last ran.
pub(in crate::session) fn kept(store: &Store) -> Vec<SetPolicy> {
    let policies = store.policies().inspect_err(|error| {
        tracing::error!(%error, "the kept policies cannot be read");
    });
    let read = |(name, value): (String, Vec<u8>)| {
        let scope = scope_of(&name)?;
        Some(SetPolicy::deciding(scope, Some(choice_of(&name, &value)?)))
    };
    policies.unwrap_or_default().into_iter().filter_map(read).collect()
}

fn choice_of(name: &str, value: &[u8]) -> Option<PolicyChoice> {
    match serde_json::from_slice(value) {
        Ok(Kept::Script(choice)) => Some(PolicyChoice::Script(choice)),
        Ok(Kept::Native(native)) => match native.parse() {
            Ok(native) => Some(PolicyChoice::Native(native)),
            Err(_) => {
                tracing::error!(name, native, "the kept policy is none of this version");
                None
            }
        },
        Err(error) => {
            tracing::error!(name, %error, "the kept policy makes no sense");
            None
        }
    }
}

fn name_of(scope: Scope) -> String {
    match scope {
        Scope::Node => IN_FORCE.to_owned(),
        Scope::Torrent(info_hash) => format!("{OF_TORRENT}{info_hash}"),
    }
}

fn scope_of(name: &str) -> Option<Scope> {
    if name == IN_FORCE {
        return Some(Scope::Node);
    }
    let info_hash: InfoHash = name.strip_prefix(OF_TORRENT)?.parse().ok()?;
    Some(Scope::Torrent(info_hash))
}

impl Shell {
    /// Keeps what a scope has of its own, or that it has nothing; then answers with `set`.
    pub(super) fn keep(&mut self, scope: Scope, set: Option<PolicySet>, reply: SetReply) {
        let kept = self.policies.chosen.get(&scope).map(|own| match &own.choice {
            PolicyChoice::Native(native) => Kept::Native(native.name().to_owned()),
            PolicyChoice::Script(script) => Kept::Script(script.clone()),
        });
        let value = match kept.map(|kept| serde_json::to_vec(&kept)).transpose() {
            Ok(value) => value,
            Err(error) => return answer(reply, Err(SetPolicyError::NotSaved(error.to_string()))),
        };
        let token = self.policies.next();
        if let Some(set) = set {
            self.policies.saving.insert(token, (set, reply));
        }
        let (store, inbox) = (self.store.clone(), self.inbox.clone());
        self.in_store(move || {
            let name = name_of(scope);
            let result = match value {
                Some(value) => store.put_policy(&name, &value),
                None => store.remove_policy(&name),
            };
            let result = result.map_err(|error| error.to_string());
            inbox.tell(Input::PolicySaved { token, result });
        });
    }

    pub(in crate::session) fn on_policy_saved(&mut self, token: u64, result: Result<(), String>) {
        if let Err(error) = &result {
            tracing::error!(error, "the policy in force was not kept for the next start");
        }
        if let Some((set, reply)) = self.policies.saving.remove(&token) {
            answer(reply, result.map(|()| set).map_err(SetPolicyError::NotSaved));
        }
    }
}
