//! The policy thread: every policy of the node that is consulted, one ask after the other, each
//! bounded by the budget of the sandbox.
//!
//! Never here: whether the thread is late; the host looks at its [`Beat`] from outside.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::Duration,
};

use shoal_core::{
    ids::PolicyId,
    policy::{Answer, Consultation, Verdict, native::Native},
    time::Timestamp,
};
use shoal_policy::{state::KeptStates, status::Status};

use super::{
    ask::{Ask, Explained, Load, PolicyLoaded, PolicyNews, Role, Standing, Tell},
    beat::Beat,
    board::{Board, Outlets, Shown, issue_of},
    decider::{Decider, Loaded, Loader, Vitals},
    lock,
    mail::Mail,
    native,
    shadow::Comparison,
    status::{PolicyChoice, PolicyKind, PolicyRefusal},
};
use crate::clock::Clock;

/// The least time between two events about the same error, so that a script that fails in every
/// decision does not fill the event ring.
const ERROR_NEWS_EVERY: Duration = Duration::from_secs(10);
/// Events handled between two asks: decisions do not wait behind a full queue.
const EVENTS_BETWEEN: usize = 16;

/// What the thread and the host share.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) generation: u64,
    pub(super) clock: Clock,
    pub(super) loader: Loader,
    pub(super) tell: Tell,
    pub(super) beat: Arc<Beat>,
    pub(super) board: Board,
    pub(super) mail: Arc<Mail>,
}

/// The thread's body: ends once the host has dropped its side of the channel.
pub(super) fn run(seat: Seat, asks: &Receiver<Ask>) {
    let mut thread = Thread { seat, policies: BTreeMap::new() };
    loop {
        let ask = match asks.try_recv() {
            Ok(ask) => Some(ask),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) if thread.handle_mail() => None,
            Err(TryRecvError::Empty) => match asks.recv() {
                Ok(ask) => Some(ask),
                Err(_) => return,
            },
        };
        if let Some(ask) = ask {
            thread.handle(ask);
            thread.handle_mail();
        }
    }
}

struct Thread {
    seat: Seat,
    policies: BTreeMap<PolicyId, Seated>,
}

/// A policy on the thread.
struct Seated {
    name: String,
    decider: Box<dyn Decider>,
    news: News,
    shadow: Option<Box<Shadow>>,
}

struct Shadow {
    decider: Box<dyn Decider>,
    comparison: Comparison,
}

/// What was told of a policy.
#[derive(Default)]
struct News {
    vitals: Vitals,
    /// The error told last and when: its kind and its line.
    told: Option<(&'static str, u32, Timestamp)>,
    was_tripped: bool,
}

impl Thread {
    fn handle(&mut self, ask: Ask) {
        match ask {
            Ask::Consult(question) => self.consult(*question),
            Ask::Mail => {}
            Ask::Load(load) => self.load(&load),
            Ask::Drop(policy) => {
                self.policies.remove(&policy);
                lock(&self.seat.board).remove(&policy);
                self.seat.mail.forget(policy);
            }
            Ask::DropShadow(policy) => {
                if let Some(seated) = self.policies.get_mut(&policy) {
                    seated.shadow = None;
                }
            }
            Ask::Forget(torrent) => {
                for seated in self.policies.values_mut() {
                    seated.decider.forget(torrent);
                    if let Some(shadow) = &mut seated.shadow {
                        shadow.decider.forget(torrent);
                    }
                }
            }
            Ask::Reset(policy) => self.reset(policy),
            Ask::Explain(policy, question, reply) => self.explain(policy, &question, reply),
        }
    }

    fn consult(&mut self, question: Consultation) {
        self.begin(super::host::WEDGED_AFTER);
        let (policy, round, chunks) = (question.policy, question.round, question.chunks.len());
        let Some(seated) = self.policies.get_mut(&policy) else {
            return self.answered(Answer::all(round, chunks, &Verdict::Bypassed));
        };
        let again = seated.shadow.is_some().then(|| question.clone());
        let decider = &mut seated.decider;
        let Ok(answer) = catch_unwind(AssertUnwindSafe(|| decider.answer(question))) else {
            // Its insides may be half changed: it answers nothing more.
            tracing::error!(target: "policy", "the sandbox failed; the policy is off");
            self.policies.remove(&policy);
            return self.answered(Answer::all(round, chunks, &Verdict::Failed));
        };
        // Whoever has the answer finds it in the status.
        self.publish(policy);
        match again {
            None => self.answered(answer),
            Some(question) => {
                self.answered(answer.clone());
                self.compare(policy, &question, &answer);
                self.publish(policy);
            }
        }
        self.tell_news(policy);
    }

    fn answered(&self, answer: Answer) {
        self.seat.beat.rest();
        (self.seat.tell)(PolicyNews::Answered { generation: self.seat.generation, answer });
    }

    /// Asks the shadow the same, after the answer went out.
    fn compare(&mut self, policy: PolicyId, question: &Consultation, answer: &Answer) {
        self.begin(super::host::WEDGED_AFTER);
        let Some(seated) = self.policies.get_mut(&policy) else { return };
        let Some(shadow) = &mut seated.shadow else { return };
        let decider = &mut shadow.decider;
        let asked = question.clone();
        match catch_unwind(AssertUnwindSafe(|| decider.answer(asked))) {
            Ok(theirs) => shadow.comparison.add(question, &answer.verdicts, &theirs.verdicts),
            Err(_) => {
                tracing::error!(target: "policy", "the sandbox failed; the shadow is off");
                seated.shadow = None;
            }
        }
        self.seat.beat.rest();
    }

    /// Handles some of what waits in the mail. Tells whether there was anything.
    fn handle_mail(&mut self) -> bool {
        for handled in 0..EVENTS_BETWEEN {
            let Some(report) = self.seat.mail.take() else { return handled > 0 };
            self.begin(super::host::WEDGED_AFTER);
            let policy = report.policy;
            if let Some(seated) = self.policies.get_mut(&policy) {
                let told = catch_unwind(AssertUnwindSafe(|| {
                    if let Some(shadow) = &mut seated.shadow {
                        shadow.decider.report(&report);
                    }
                    seated.decider.report(&report)
                }));
                match told {
                    Ok(None) => {}
                    Ok(Some(advice)) => (self.seat.tell)(PolicyNews::Advised {
                        generation: self.seat.generation,
                        advice,
                    }),
                    Err(_) => {
                        tracing::error!(target: "policy", "the sandbox failed; the policy is off");
                        self.policies.remove(&policy);
                    }
                }
                self.publish(policy);
                self.tell_news(policy);
            }
            self.seat.beat.rest();
        }
        true
    }

    fn load(&mut self, load: &Load) {
        self.begin(super::host::LOAD_WEDGED_AFTER);
        let (token, generation) = (load.token, self.seat.generation);
        let taken = catch_unwind(AssertUnwindSafe(|| self.take_in(load)));
        let result =
            taken.unwrap_or_else(|_| Err(self.refusal(&load.choice, "the sandbox failed")));
        self.seat.beat.rest();
        (self.seat.tell)(PolicyNews::Loaded { generation, token, result });
    }

    fn take_in(&mut self, load: &Load) -> Result<PolicyLoaded, PolicyRefusal> {
        let outlets = Outlets::default();
        let kept = self.kept_for(load);
        let (loaded, kind) = match &load.choice {
            PolicyChoice::Native(native) => (native::load(*native), PolicyKind::Native),
            PolicyChoice::Script(script) => {
                let now = self.seat.clock.now();
                let loaded = (self.seat.loader)(script, kept, &outlets, now)?;
                (loaded, PolicyKind::Script(script.kind))
            }
        };
        let Loaded { decider, hooks, functions, warnings, params, description, version } = loaded;
        let (name, status) = (load.choice.name().to_owned(), decider.status());
        let shown = Shown {
            name: name.clone(),
            kind,
            params,
            description,
            functions,
            version,
            status,
            outlets,
            shadow: None,
        };
        let mut board = lock(&self.seat.board);
        match load.role {
            Role::Deciding => {
                board.insert(load.policy, shown);
                let seated = Seated { name, decider, news: News::default(), shadow: None };
                self.policies.insert(load.policy, seated);
            }
            Role::Shadow => {
                if let Some(native) = load.beside {
                    let (seated, shown) = seat_native(native);
                    self.policies.insert(load.policy, seated);
                    board.insert(load.policy, shown);
                }
                let beside = (self.policies.get_mut(&load.policy), board.get_mut(&load.policy));
                let (Some(seated), Some(beside)) = beside else {
                    let message = "the policy beside which it was to run is gone";
                    return Err(self.refusal(&load.choice, message));
                };
                let comparison = Comparison::default();
                beside.shadow = Some(Box::new((shown, comparison.clone())));
                seated.shadow = Some(Box::new(Shadow { decider, comparison }));
            }
        }
        Ok(PolicyLoaded { hooks, warnings })
    }

    /// The state that a policy takes over: of one with the same name.
    fn kept_for(&mut self, load: &Load) -> KeptStates {
        let before = load.after.and_then(|after| self.policies.get_mut(&after));
        let before = before.filter(|before| before.name == load.choice.name());
        before.map(|before| before.decider.keep()).unwrap_or_default()
    }

    fn reset(&mut self, policy: PolicyId) {
        if let Some(seated) = self.policies.get_mut(&policy) {
            seated.decider.reset();
            seated.news = News::default();
            if let Some(shadow) = &mut seated.shadow {
                shadow.decider.reset();
                shadow.comparison = Comparison::default();
            }
            self.publish(policy);
        }
    }

    fn explain(&mut self, policy: PolicyId, question: &Consultation, reply: Explained) {
        self.begin(super::host::WEDGED_AFTER);
        let explained = self.policies.get_mut(&policy).and_then(|seated| {
            let decider = &mut seated.decider;
            catch_unwind(AssertUnwindSafe(|| decider.explain(question))).unwrap_or_default()
        });
        self.seat.beat.rest();
        reply(explained);
    }

    /// A refusal that no script is to blame for.
    fn refusal(&self, choice: &PolicyChoice, message: &str) -> PolicyRefusal {
        let clock = &self.seat.clock;
        PolicyRefusal::new(choice.name(), "load", message, clock.wall(clock.now()))
    }

    fn begin(&self, allowed: Duration) {
        self.seat.beat.begin(self.seat.clock.now(), allowed);
    }

    /// Shows how a policy stands.
    fn publish(&self, policy: PolicyId) {
        self.seat.beat.note_cpu();
        let mut board = lock(&self.seat.board);
        let Some(seated) = self.policies.get(&policy) else { return };
        let Some(shown) = board.get_mut(&policy) else { return };
        shown.status = seated.decider.status();
        if let (Some(shadow), Some(shown)) = (&seated.shadow, &mut shown.shadow) {
            shown.0.status = shadow.decider.status();
            shown.1 = shadow.comparison.clone();
        }
    }

    /// Says what is new about a policy.
    fn tell_news(&mut self, policy: PolicyId) {
        let Some(seated) = self.policies.get_mut(&policy) else { return };
        let vitals = seated.decider.vitals();
        if std::mem::replace(&mut seated.news.vitals, vitals) == vitals {
            return;
        }
        let status = seated.decider.status();
        let now = self.seat.clock.now();
        let news = seated.news.of(&status, now, &self.seat.clock);
        news.into_iter().for_each(|what| (self.seat.tell)(PolicyNews::Standing { policy, what }));
    }
}

/// A native policy on the thread.
fn seat_native(native: Native) -> (Seated, Shown) {
    let Loaded { decider, functions, params, description, version, .. } = native::load(native);
    let (name, status) = (native.name().to_owned(), decider.status());
    let shown = Shown {
        name: name.clone(),
        kind: PolicyKind::Native,
        params,
        description,
        functions,
        version,
        status,
        outlets: Outlets::default(),
        shadow: None,
    };
    (Seated { name, decider, news: News::default(), shadow: None }, shown)
}

impl News {
    /// What is new, and worth telling.
    fn of(&mut self, status: &Status, now: Timestamp, clock: &Clock) -> Vec<Standing> {
        let mut news = Vec::new();
        if let Some(issue) = issue_of(status, clock) {
            let repeated = self.told.is_some_and(|(kind, line, at)| {
                (kind, line) == (issue.kind, issue.line) && now.since(at) < ERROR_NEWS_EVERY
            });
            let latest = status.last_error.as_ref().map_or(Timestamp(0), |error| error.last);
            let newer = self.told.is_none_or(|(_, _, at)| latest >= at);
            if newer && !repeated {
                self.told = Some((issue.kind, issue.line, now));
                news.push(Standing::Failed(issue));
            }
        }
        let tripped = status.tripped_until.is_some();
        match (self.was_tripped, tripped) {
            (false, true) => news.push(Standing::Tripped),
            (true, false) => news.push(Standing::Recovered),
            (false, false) | (true, true) => {}
        }
        self.was_tripped = tripped;
        news
    }
}
