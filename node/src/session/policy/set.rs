//! Putting policies in force: a native at once, a script once it passed its checks on the policy
//! thread, between two consultations. A failure anywhere keeps what was there.

use shoal_core::{
    ids::PolicyId,
    policy::{Hooks, native::Native},
    session::Chooser,
};

use super::{Chosen, Loading, SetReply, Why};
use crate::{
    policy_host::{
        Decided, Load, PolicyChoice, PolicyLoaded, PolicyRefusal, PolicySet, Role, Scope,
    },
    session::{
        handle::{SetPolicy, SetPolicyError},
        inbox::Reply,
        run::Shell,
    },
};

impl Shell {
    /// Sets what somebody asked for.
    pub(in crate::session) fn set_policy(&mut self, set: SetPolicy, reply: SetReply) {
        let SetPolicy { scope, role, choice } = set;
        match (role, choice) {
            (Role::Deciding, None) => self.set_none(scope, reply),
            (Role::Deciding, Some(choice)) => {
                let why = reply.map_or(Why::Restored, Why::Set);
                self.begin_policy(scope, choice, why);
            }
            (Role::Shadow, None) => self.end_shadow(scope, reply),
            (Role::Shadow, Some(choice)) => {
                if let Some(reply) = reply {
                    self.begin_shadow(scope, choice, Why::Shadow(reply));
                }
            }
        }
    }

    /// Begins to put a policy in force.
    pub(super) fn begin_policy(&mut self, scope: Scope, choice: PolicyChoice, why: Why) {
        let shadowed = self.policies.chosen.get(&scope).is_some_and(|own| own.shadow.is_some());
        if let PolicyChoice::Native(native) = choice
            && !shadowed
        {
            self.take_over(scope, choice, None);
            self.decide_natively(scope, native);
            return self.in_force_now(scope, Vec::new(), why);
        }
        let policy = PolicyId(self.policies.next());
        let after = self.policies.chosen.get(&scope).and_then(|own| own.seat).map(|seat| seat.0);
        let load = Load {
            token: self.policies.next(),
            policy,
            role: Role::Deciding,
            choice: choice.clone(),
            beside: None,
            after,
        };
        self.load_policy(load, Loading { scope, policy, choice, why });
    }

    /// Begins to run a policy in the shadow of what decides in a scope.
    fn begin_shadow(&mut self, scope: Scope, choice: PolicyChoice, why: Why) {
        let fresh = PolicyId(self.policies.next());
        let (seat, native) = match self.policies.chosen.get(&scope) {
            Some(Chosen { seat: Some((policy, _)), .. }) => (*policy, None),
            Some(Chosen { choice: PolicyChoice::Native(native), seat: None, .. }) => {
                (fresh, Some(*native))
            }
            // The node's default, which nobody chose.
            None if scope == Scope::Node => (fresh, Some(Native::default())),
            Some(_) | None => {
                let error = SetPolicyError::NothingToShadow;
                return answer(why.reply(), Err(error));
            }
        };
        let load = Load {
            token: self.policies.next(),
            policy: seat,
            role: Role::Shadow,
            choice: choice.clone(),
            beside: native,
            after: None,
        };
        self.load_policy(load, Loading { scope, policy: seat, choice, why });
    }

    fn load_policy(&mut self, load: Load, loading: Loading) {
        let token = load.token;
        match self.policies.host.load(load) {
            Ok(()) => drop(self.policies.loading.insert(token, loading)),
            Err(refusal) => self.refuse_policy(loading, refusal),
        }
    }

    pub(super) fn on_loaded(
        &mut self,
        generation: u64,
        token: u64,
        result: Result<PolicyLoaded, PolicyRefusal>,
    ) {
        let settled = self.policies.host.settle(generation, token, result.is_ok());
        let Some(loading) = self.policies.loading.remove(&token) else { return };
        if !settled.awaited {
            return;
        }
        if settled.fresh_thread {
            self.load_others_again(loading.scope);
        }
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(refusal) => return self.refuse_policy(loading, refusal),
        };
        let Loading { scope, policy, choice, why } = loading;
        match why {
            Why::Set(_) | Why::Restored | Why::Changed | Why::Again => {
                self.take_over(scope, choice, Some((policy, loaded.hooks)));
                self.show_in_force(scope, Decided::OnThread(policy));
                self.choose_by_thread(scope);
                self.in_force_now(scope, loaded.warnings, why);
            }
            Why::Shadow(_) | Why::ShadowAgain => {
                self.shadow_begins(scope, policy, choice, loaded.hooks);
                let shadow = self.policies.host.shadow(scope).map(|shadow| shadow.status);
                let status = shadow.unwrap_or_else(|| self.policies.host.status(scope));
                self.tell_policy("set", scope, format!("{} runs in the shadow", status.name));
                answer(why.reply(), Ok(PolicySet { status, warnings: loaded.warnings }));
            }
        }
    }

    /// A policy takes a scope over: what was there before is let go, its shadow moves along.
    fn take_over(&mut self, scope: Scope, choice: PolicyChoice, seat: Option<(PolicyId, Hooks)>) {
        let watch = self.watch_file(scope, &choice);
        let before = self.policies.chosen.remove(&scope);
        let old = before.as_ref().and_then(|before| before.seat).map(|seat| seat.0);
        let shadow = before.and_then(|before| before.shadow);
        self.policies.chosen.insert(scope, Chosen { choice, seat, shadow: None, watch });
        if let Some(old) = old {
            self.policies.host.drop_policy(old);
        }
        if let Some((shadow, _)) = shadow {
            self.begin_shadow(scope, shadow, Why::ShadowAgain);
        }
    }

    fn shadow_begins(&mut self, scope: Scope, seat: PolicyId, choice: PolicyChoice, hooks: Hooks) {
        let default = || Chosen {
            choice: PolicyChoice::Native(Native::default()),
            seat: None,
            shadow: None,
            watch: None,
        };
        let own = self.policies.chosen.entry(scope).or_insert_with(default);
        let decides = Hooks { decides: true, ..Hooks::default() };
        own.seat.get_or_insert((seat, decides));
        own.shadow = Some((choice, hooks));
        self.show_in_force(scope, Decided::OnThread(seat));
        self.choose_by_thread(scope);
    }

    /// What is seated on the thread decides in a scope.
    fn choose_by_thread(&mut self, scope: Scope) {
        if let Some(own) = self.policies.chosen.get(&scope) {
            let chooser = chooser_of(own);
            self.put_in_force(scope, Some(chooser));
        }
    }

    /// A native decides inside the engine; nothing is on the thread for the scope.
    pub(super) fn decide_natively(&mut self, scope: Scope, native: Native) {
        if let Some(own) = self.policies.chosen.get_mut(&scope) {
            let seat = own.seat.take();
            own.shadow = None;
            if let Some((policy, _)) = seat {
                self.policies.host.drop_policy(policy);
            }
        }
        self.show_in_force(scope, Decided::Natively(native));
        self.put_in_force(scope, Some(Chooser::Native(native)));
    }

    /// A scope has no policy of its own any more.
    fn set_none(&mut self, scope: Scope, reply: SetReply) {
        match scope {
            Scope::Node => {
                let native = Native::default();
                let why = reply.map_or(Why::Restored, Why::Set);
                self.begin_policy(scope, PolicyChoice::Native(native), why);
            }
            Scope::Torrent(_) => {
                // One that was not restored is nowhere but in the host.
                let shown = self.policies.host.in_force(scope).is_some();
                let gone = self.policies.chosen.remove(&scope);
                if let Some((policy, _)) = gone.and_then(|gone| gone.seat) {
                    self.policies.host.drop_policy(policy);
                }
                if shown {
                    self.policies.host.withdraw(scope);
                    self.put_in_force(scope, None);
                    self.tell_policy("set", scope, "the node's policy decides again".to_owned());
                }
                let status = self.policies.host.status(scope);
                self.keep(scope, Some(PolicySet { status, warnings: Vec::new() }), reply);
            }
        }
    }

    fn end_shadow(&mut self, scope: Scope, reply: SetReply) {
        if let Some(own) = self.policies.chosen.get_mut(&scope)
            && own.shadow.take().is_some()
        {
            match (own.choice.clone(), own.seat) {
                (PolicyChoice::Native(native), _) => self.decide_natively(scope, native),
                (PolicyChoice::Script(_), Some((policy, _))) => {
                    self.policies.host.drop_shadow(policy);
                    self.choose_by_thread(scope);
                }
                (PolicyChoice::Script(_), None) => {}
            }
            self.tell_policy("set", scope, "nothing runs in the shadow".to_owned());
        }
        let status = self.policies.host.status(scope);
        answer(reply, Ok(PolicySet { status, warnings: Vec::new() }));
    }

    /// After a thread that did not answer was replaced: everything else that was there.
    fn load_others_again(&mut self, but: Scope) {
        let others = self.policies.chosen.iter_mut().filter(|(scope, _)| **scope != but);
        let others = others.filter_map(|(&scope, own)| {
            own.seat.take()?;
            own.shadow = None;
            Some((scope, own.choice.clone()))
        });
        for (scope, choice) in others.collect::<Vec<_>>() {
            self.begin_policy(scope, choice, Why::Again);
        }
    }

    /// A policy is in force: it is told, kept, and then answered.
    fn in_force_now(&mut self, scope: Scope, warnings: Vec<String>, why: Why) {
        let set = PolicySet { status: self.policies.host.status(scope), warnings };
        tracing::info!(policy = set.status.name, hash = set.status.content_hash, "policy in force");
        self.tell_policy("set", scope, format!("{} is in force", set.status.name));
        match why {
            Why::Set(reply) => self.keep(scope, Some(set), Some(reply)),
            Why::Changed => self.keep(scope, None, None),
            Why::Restored | Why::Again | Why::Shadow(_) | Why::ShadowAgain => {}
        }
    }

    /// A policy was refused: what was there stays, and whoever has to know is told.
    pub(super) fn refuse_policy(&mut self, loading: Loading, refusal: PolicyRefusal) {
        let Loading { scope, choice, why, .. } = loading;
        let name = choice.name();
        match why {
            Why::Set(reply) => {
                self.policies.host.refused(scope, refusal.errors.first().cloned());
                self.tell_policy("refused", scope, format!("{name} was refused"));
                answer(Some(reply), Err(SetPolicyError::Refused(refusal)));
            }
            Why::Shadow(reply) => answer(Some(reply), Err(SetPolicyError::Refused(refusal))),
            Why::Changed => {
                tracing::warn!(policy = name, report = refusal.report, "change refused");
                self.policies.host.refused(scope, refusal.errors.first().cloned());
                let message = format!("the change of {name} was refused: {}", refusal.report);
                self.tell_policy("refused", scope, message);
            }
            Why::Restored | Why::Again => {
                // The default decides, and the operator is told.
                tracing::error!(policy = name, report = refusal.report, "policy not restored");
                let message = format!("{name} was not put in force again: {}", refusal.report);
                self.not_restored(scope, refusal);
                self.tell_policy("error", scope, message);
            }
            Why::ShadowAgain => {
                let message = format!("{name} runs in the shadow no more: {}", refusal.report);
                self.tell_policy("error", scope, message);
            }
        }
    }

    fn not_restored(&mut self, scope: Scope, refusal: PolicyRefusal) {
        self.policies.chosen.remove(&scope);
        let native = Native::default();
        let mut in_force = crate::policy_host::InForce::from(Decided::Natively(native));
        in_force.not_restored = refusal.errors.into_iter().next();
        self.policies.host.put_in_force(scope, in_force);
        self.put_in_force(scope, Some(Chooser::Native(native)));
    }
}

/// By whom the session lets choose where this is chosen: a shadow is told what it has functions
/// for, too.
pub(super) fn chooser_of(own: &Chosen) -> Chooser {
    match (&own.choice, own.seat) {
        (_, Some((policy, hooks))) => {
            let shadow = own.shadow.as_ref().map(|(_, hooks)| *hooks).unwrap_or_default();
            Chooser::Consulted(policy, hooks.with_events_of(shadow))
        }
        (PolicyChoice::Native(native), None) => Chooser::Native(*native),
        // It is on its way to the thread.
        (PolicyChoice::Script(_), None) => Chooser::default(),
    }
}

impl Why {
    fn reply(self) -> SetReply {
        match self {
            Self::Set(reply) | Self::Shadow(reply) => Some(reply),
            Self::Restored | Self::Changed | Self::Again | Self::ShadowAgain => None,
        }
    }
}

/// Answers whoever waits.
pub(super) fn answer(reply: SetReply, result: Result<PolicySet, SetPolicyError>) {
    if let Some(reply) = reply {
        let reply: Reply<_> = reply;
        // A caller that went away needs no answer.
        drop(reply.send(result));
    }
}
