//! The policy in force: set, kept, restored, watched.
//!
//! Never here: a verdict, or the thread that gives it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shoal_core::{
    policy::native::Native,
    session::{Chooser, Event, command::Command},
    time::Timestamp,
};

use super::{
    event_hub::{Detail, EventKind},
    handle::SetPolicyError,
    inbox::{Input, Reply},
    run::{ReplyTo, Shell},
};
use crate::{
    disk::Store,
    policy_host::{
        PolicyChoice, PolicyHost, PolicyIssue, PolicyNews, PolicyRefusal, PolicySet, ScriptChoice,
    },
};

/// The name under which the store keeps the policy in force.
const IN_FORCE: &str = "in_force";

/// The policy in force and those on their way.
pub(super) struct Policies {
    pub(super) host: PolicyHost,
    /// Loads under way, by token.
    loading: BTreeMap<u64, Loading>,
    /// Policies in force that are being kept, and who waits for that, by token.
    saving: BTreeMap<u64, (PolicySet, SetReply)>,
    tokens: u64,
    scripted: bool,
}

/// Who set a policy; nobody where it is restored.
type SetReply = Option<Reply<Result<PolicySet, SetPolicyError>>>;

struct Loading {
    choice: ScriptChoice,
    reply: SetReply,
}

/// A policy as the store keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Native(String),
    Script(ScriptChoice),
}

impl Policies {
    pub(super) fn new(host: PolicyHost) -> Self {
        let (loading, saving) = (BTreeMap::new(), BTreeMap::new());
        Self { host, loading, saving, tokens: 0, scripted: false }
    }

    /// Whether the policy thread has to be looked at.
    pub(super) fn is_watched(&self) -> bool {
        self.scripted || !self.loading.is_empty()
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }
}

/// The policy that was in force when the node last ran; none where none was set.
pub(super) fn kept(store: &Store) -> Option<PolicyChoice> {
    let policies = store.policies().inspect_err(|error| {
        tracing::error!(%error, "the kept policy cannot be read");
    });
    let (_, value) = policies.ok()?.into_iter().find(|(name, _)| name == IN_FORCE)?;
    match serde_json::from_slice(&value) {
        Ok(Kept::Script(choice)) => Some(PolicyChoice::Script(choice)),
        Ok(Kept::Native(name)) => match name.parse() {
            Ok(native) => Some(PolicyChoice::Native(native)),
            Err(_) => {
                tracing::error!(name, "the kept policy is none of this version");
                None
            }
        },
        Err(error) => {
            tracing::error!(%error, "the kept policy makes no sense");
            None
        }
    }
}

impl Shell {
    pub(super) fn set_policy(&mut self, choice: PolicyChoice, reply: SetReply) {
        match choice {
            PolicyChoice::Native(native) => {
                self.policies.host.use_native(native);
                self.policies.scripted = false;
                self.put_in_force(Chooser::Native(native));
                let restored = reply.is_none();
                let kept = Kept::Native(native.name().to_owned());
                self.on_set(Vec::new(), (!restored).then_some(&kept), reply);
            }
            PolicyChoice::Script(choice) => {
                let token = self.policies.token();
                match self.policies.host.load(token, choice.clone()) {
                    Ok(()) => drop(self.policies.loading.insert(token, Loading { choice, reply })),
                    Err(refusal) => self.refuse_policy(&choice, refusal, reply),
                }
            }
        }
    }

    pub(super) fn on_policy(&mut self, news: PolicyNews) {
        match news {
            PolicyNews::Answered { generation, answer } => {
                let accepted = self.policies.host.accept(generation, &answer);
                if accepted.recovered {
                    self.tell_policy("recovered", "the policy thread answers again".to_owned());
                }
                if accepted.believed {
                    self.feed(Event::PolicyAnswered(answer));
                }
            }
            PolicyNews::Loaded { generation, token, result } => {
                self.on_loaded(generation, token, result);
            }
            PolicyNews::Failed(issue) => self.on_policy_failed(&issue),
            PolicyNews::Tripped => {
                let message = "the policy fails too often; the default decides for a while";
                self.tell_policy("tripped", message.to_owned());
            }
            PolicyNews::Recovered => {
                self.tell_policy("recovered", "the policy decides again".to_owned());
            }
        }
    }

    fn on_loaded(
        &mut self,
        generation: u64,
        token: u64,
        result: Result<Vec<String>, PolicyRefusal>,
    ) {
        let awaited = self.policies.host.settle(generation, token, result.is_ok());
        let Some(Loading { choice, reply }) = self.policies.loading.remove(&token) else { return };
        if !awaited {
            return;
        }
        match result {
            Ok(warnings) => {
                self.policies.scripted = true;
                self.put_in_force(Chooser::Consulted);
                let restored = reply.is_none();
                let kept = Kept::Script(choice);
                self.on_set(warnings, (!restored).then_some(&kept), reply);
            }
            Err(refusal) => self.refuse_policy(&choice, refusal, reply),
        }
    }

    fn put_in_force(&mut self, chooser: Chooser) {
        self.issue(Command::SetChooser(chooser), ReplyTo::Nobody);
    }

    /// A policy is in force: it is told, kept, and then answered.
    fn on_set(&mut self, warnings: Vec<String>, kept: Option<&Kept>, reply: SetReply) {
        let set = PolicySet { status: self.policies.host.status(), warnings };
        tracing::info!(policy = set.status.name, hash = set.status.content_hash, "policy in force");
        self.tell_policy("set", format!("{} is in force", set.status.name));
        let Some(kept) = kept else { return };
        let value = match serde_json::to_vec(kept) {
            Ok(value) => value,
            Err(error) => return answer(reply, Err(SetPolicyError::NotSaved(error.to_string()))),
        };
        let token = self.policies.token();
        self.policies.saving.insert(token, (set, reply));
        let (store, inbox) = (self.store.clone(), self.inbox.clone());
        self.in_store(move || {
            let result = store.put_policy(IN_FORCE, &value).map_err(|error| error.to_string());
            inbox.tell(Input::PolicySaved { token, result });
        });
    }

    pub(super) fn on_policy_saved(&mut self, token: u64, result: Result<(), String>) {
        let Some((set, reply)) = self.policies.saving.remove(&token) else { return };
        answer(reply, result.map(|()| set).map_err(SetPolicyError::NotSaved));
    }

    fn refuse_policy(&mut self, choice: &ScriptChoice, refusal: PolicyRefusal, reply: SetReply) {
        if reply.is_some() {
            answer(reply, Err(SetPolicyError::Refused(refusal)));
            return;
        }
        // The policy of the last run: the default stays in force, and the operator is told.
        tracing::error!(policy = choice.name, report = refusal.report, "policy not restored");
        let message = format!("{} was not put in force again: {}", choice.name, refusal.report);
        self.tell_policy("error", message);
        if let Some(issue) = refusal.errors.into_iter().next() {
            self.policies.host.not_restored(issue);
        }
        self.put_in_force(Chooser::Native(Native::default()));
    }

    /// Looks whether the policy thread still answers.
    pub(super) fn check_policy(&mut self, now: Timestamp) {
        let checked = self.policies.host.check(now);
        if checked.wedged {
            self.on_wedged();
        }
        for answer in checked.bypassed {
            self.feed(Event::PolicyAnswered(answer));
        }
        for (token, refusal) in checked.refused {
            if let Some(Loading { choice, reply }) = self.policies.loading.remove(&token) {
                self.refuse_policy(&choice, refusal, reply);
            }
        }
    }

    fn on_wedged(&mut self) {
        tracing::error!("the policy thread does not answer; the default policy decides");
        let message =
            "the policy thread does not answer; the default decides until a policy is set";
        self.tell_policy("error", message.to_owned());
    }

    fn on_policy_failed(&mut self, issue: &PolicyIssue) {
        tracing::warn!(target: "policy", kind = issue.kind, "{}", issue.report);
        let message = format!("{}:{}: {}", issue.file, issue.line, issue.message);
        self.tell_policy("error", message);
    }

    fn tell_policy(&self, what: &'static str, message: String) {
        self.tell_with(EventKind::Policy, what, None, message, Detail::None);
    }
}

fn answer(reply: SetReply, result: Result<PolicySet, SetPolicyError>) {
    if let Some(reply) = reply {
        // A caller that went away needs no answer.
        drop(reply.send(result));
    }
}
