//! The policies of the node: which decides in which scope, what runs in a shadow, how they stand.
//!
//! | file | what |
//! |---|---|
//! | `set` | putting in force: checks, swap, replies |
//! | `keep` | what is in force again after a restart |
//! | `files` | watched files |
//!
//! Never here: a verdict, or the thread that gives it.

mod files;
mod keep;
mod set;

use std::collections::BTreeMap;

use shoal_core::{
    ids::{InfoHash, PolicyId, TorrentId},
    policy::Hooks,
    session::{Event, command::Command},
    time::Timestamp,
};

use super::{
    event_hub::{Detail, EventKind, NewEvent},
    handle::{SetPolicy, SetPolicyError},
    inbox::Reply,
    run::{ReplyTo, Shell},
};
use crate::policy_host::{
    Decided, PolicyChoice, PolicyHost, PolicyIssue, PolicyNews, PolicySet, Scope, Standing,
    watch::FileWatch,
};

pub(super) use keep::kept;

/// The policies in force and those on their way.
pub(super) struct Policies {
    pub(super) host: PolicyHost,
    /// What each scope has of its own. The node has the default where nothing is here.
    chosen: BTreeMap<Scope, Chosen>,
    /// Loads under way, by token.
    loading: BTreeMap<u64, Loading>,
    /// Policies in force that are being kept, and who waits for that, by token.
    saving: BTreeMap<u64, (PolicySet, SetReply)>,
    /// The last token, and the last policy id.
    sequence: u64,
}

/// Who set a policy; nobody where it is restored or reloaded.
type SetReply = Option<Reply<Result<PolicySet, SetPolicyError>>>;

/// What a scope has of its own.
struct Chosen {
    choice: PolicyChoice,
    /// Where it is on the thread, and what it has.
    seat: Option<(PolicyId, Hooks)>,
    shadow: Option<(PolicyChoice, Hooks)>,
    /// The watch of its file.
    watch: Option<FileWatch>,
}

/// A load under way.
struct Loading {
    scope: Scope,
    policy: PolicyId,
    choice: PolicyChoice,
    why: Why,
}

/// Why a policy is loaded.
enum Why {
    /// Somebody set it.
    Set(Reply<Result<PolicySet, SetPolicyError>>),
    /// Somebody set it in the shadow.
    Shadow(Reply<Result<PolicySet, SetPolicyError>>),
    /// It was in force when the node last ran.
    Restored,
    /// Its file changed.
    Changed,
    /// Its thread did not answer, and there is a new one; or it ran in the shadow of one that was
    /// set anew.
    Again,
    /// The same, of a shadow.
    ShadowAgain,
}

impl Policies {
    pub(super) fn new(host: PolicyHost) -> Self {
        Self {
            host,
            chosen: BTreeMap::new(),
            loading: BTreeMap::new(),
            saving: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Whether the policy thread has to be looked at.
    pub(super) fn is_watched(&self) -> bool {
        !self.loading.is_empty() || self.chosen.values().any(|chosen| chosen.seat.is_some())
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn scope_of(&self, policy: PolicyId) -> Option<Scope> {
        let seated = |chosen: &Chosen| chosen.seat.is_some_and(|(seat, _)| seat == policy);
        self.chosen.iter().find(|(_, chosen)| seated(chosen)).map(|(&scope, _)| scope)
    }
}

impl Shell {
    pub(super) fn on_policy(&mut self, news: PolicyNews) {
        match news {
            PolicyNews::Answered { generation, answer } => {
                let accepted = self.policies.host.accept(generation, &answer);
                if accepted.recovered {
                    let message = "the policy thread answers again".to_owned();
                    self.tell_policy("recovered", Scope::Node, message);
                }
                if accepted.believed {
                    self.meters.count_answer(&answer);
                    self.feed(Event::PolicyAnswered(answer));
                }
            }
            PolicyNews::Advised { generation, advice } => {
                if self.policies.host.is_current(generation) {
                    self.feed(Event::PolicyAdvised(advice));
                }
            }
            PolicyNews::Loaded { generation, token, result } => {
                self.on_loaded(generation, token, result);
            }
            PolicyNews::Standing { policy, what } => {
                if let Some(scope) = self.policies.scope_of(policy) {
                    self.on_standing(scope, what);
                }
            }
        }
    }

    fn on_standing(&mut self, scope: Scope, what: Standing) {
        match what {
            Standing::Failed(issue) => self.on_policy_failed(scope, &issue),
            Standing::Tripped => {
                self.meters.policy_trips.inc();
                let message = "the policy fails too often; the default decides for a while";
                self.tell_policy("tripped", scope, message.to_owned());
            }
            Standing::Recovered => {
                self.tell_policy("recovered", scope, "the policy decides again".to_owned());
            }
        }
    }

    /// Begins a policy anew: what it remembers is gone, and a thread that does not answer is
    /// replaced.
    pub(super) fn reset_policy(
        &mut self,
        scope: Scope,
        reply: Reply<Result<PolicySet, SetPolicyError>>,
    ) {
        let own = self.policies.chosen.get(&scope);
        let on_thread = own.and_then(|chosen| Some((chosen.choice.clone(), chosen.seat?.0)));
        match on_thread {
            // A native inside the engine remembers nothing.
            None => {
                let status = self.policies.host.status(scope);
                drop(reply.send(Ok(PolicySet { status, warnings: Vec::new() })));
            }
            Some((choice, policy)) => {
                if self.policies.host.reset(policy) {
                    self.tell_policy("reset", scope, format!("{} began anew", choice.name()));
                    let status = self.policies.host.status(scope);
                    drop(reply.send(Ok(PolicySet { status, warnings: Vec::new() })));
                } else {
                    self.set_policy(SetPolicy::deciding(scope, Some(choice)), Some(reply));
                }
            }
        }
    }

    /// A torrent arrived: a policy of its own that was kept decides it.
    pub(super) fn policy_for_arrival(&mut self, info_hash: InfoHash) {
        let scope = Scope::Torrent(info_hash);
        if let Some(chosen) = self.policies.chosen.get(&scope) {
            let chooser = set::chooser_of(chosen);
            self.put_in_force(scope, Some(chooser));
        }
    }

    /// A torrent is gone, and with it a policy of its own.
    pub(super) fn forget_policy_of(&mut self, torrent: TorrentId, info_hash: InfoHash) {
        self.policies.host.forget(torrent);
        let scope = Scope::Torrent(info_hash);
        if let Some(gone) = self.policies.chosen.remove(&scope) {
            self.policies.host.withdraw(scope);
            if let Some((policy, _)) = gone.seat {
                self.policies.host.drop_policy(policy);
            }
            self.keep(scope, None, None);
        }
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
            if let Some(loading) = self.policies.loading.remove(&token) {
                self.refuse_policy(loading, refusal);
            }
        }
    }

    /// Natives that were consulted for a shadow's sake decide inside the engine again.
    fn on_wedged(&mut self) {
        tracing::error!("the policy thread does not answer; the default policy decides");
        self.meters.policy_wedges.inc();
        let natives = self.policies.chosen.iter().filter_map(|(&scope, chosen)| {
            let PolicyChoice::Native(native) = chosen.choice else { return None };
            chosen.seat.map(|_| (scope, native))
        });
        for (scope, native) in natives.collect::<Vec<_>>() {
            self.decide_natively(scope, native);
        }
        let message =
            "the policy thread does not answer; the default decides until a policy is set or reset";
        self.tell_policy("wedged", Scope::Node, message.to_owned());
    }

    fn on_policy_failed(&mut self, scope: Scope, issue: &PolicyIssue) {
        tracing::warn!(target: "policy", kind = issue.kind, "{}", issue.report);
        let message = format!("{}:{}: {}", issue.file, issue.line, issue.message);
        self.tell_policy("error", scope, message);
    }

    /// Tells the session by whom peers are chosen in a scope; none: as for the node, or by the
    /// default.
    fn put_in_force(&mut self, scope: Scope, chooser: Option<shoal_core::session::Chooser>) {
        let torrent = match scope {
            Scope::Node => None,
            Scope::Torrent(info_hash) => match self.session.by_hash(&info_hash) {
                Some(torrent) => Some(torrent),
                // It comes into force when the torrent arrives.
                None => return,
            },
        };
        self.issue(Command::SetChooser(torrent, chooser), ReplyTo::Nobody);
    }

    fn tell_policy(&self, what: &'static str, scope: Scope, message: String) {
        let info_hash = scope.torrent();
        self.events.emit(NewEvent {
            kind: EventKind::Policy,
            what,
            torrent: info_hash.and_then(|info_hash| self.session.by_hash(&info_hash)),
            info_hash,
            message,
            detail: Detail::None,
        });
    }

    /// What decides in a scope, for the host's status.
    fn show_in_force(&self, scope: Scope, by: Decided) {
        let mut in_force = crate::policy_host::InForce::from(by);
        if let Some(PolicyChoice::Script(script)) =
            self.policies.chosen.get(&scope).map(|chosen| &chosen.choice)
        {
            in_force.watched.clone_from(&script.watched);
        }
        self.policies.host.put_in_force(scope, in_force);
    }
}
