//! The door to the policy thread: consult, tell, load, and notice that the thread does not answer.
//!
//! Nothing here waits for the thread: the session's loop calls it. Never here: Lua.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use shoal_core::{
    ids::{PolicyId, RoundId, TorrentId},
    policy::{Answer, Consultation, Report, Verdict, native::Native},
    time::Timestamp,
};

use super::{
    ask::{Ask, Explained, Load, Tell},
    beat::Beat,
    board::Shown,
    decider::Loader,
    in_force::{Decided, InForce},
    lock,
    mail::Mail,
    script,
    status::{PolicyChoice, PolicyIssue, PolicyRefusal, PolicyStatus, Scope, ShadowStatus},
    thread::{self, Seat},
    view,
};
use crate::clock::Clock;

/// A consultation that takes longer makes its thread count as wedged (policy.md §2).
pub const WEDGED_AFTER: Duration = Duration::from_secs(1);
/// A load that takes longer does: twice building a VM, its dry run, and as much again for a busy
/// machine, since budgets count CPU time.
pub const LOAD_WEDGED_AFTER: Duration = Duration::from_secs(5);
/// Asks that may wait for the thread: a consultation a policy, and loads.
const ASKS_MAX: usize = 64;
/// Threads that did not answer and are still there, at most; beyond it no script is loaded.
const ABANDONED_MAX: usize = 4;

/// The policies of a node. Cheap to clone.
#[derive(Clone)]
pub struct PolicyHost(Arc<Inner>);

struct Inner {
    clock: Clock,
    loader: Loader,
    tell: Tell,
    state: Mutex<State>,
    events_dropped: Counter,
}

struct State {
    /// What decides, by scope.
    in_force: BTreeMap<Scope, InForce>,
    /// The thread with the policies that are consulted.
    worker: Option<Worker>,
    /// A thread on which a first policy is being loaded, beside a wedged one.
    candidate: Option<Worker>,
    generations: u64,
    wedged: bool,
    /// Consultations without an answer, and their chunks.
    pending: BTreeMap<RoundId, usize>,
    /// Loads without an end: the generation of their thread, and what.
    loads: BTreeMap<u64, (u64, PolicyChoice)>,
    /// CPU time of threads that are gone, microseconds.
    past_cpu_us: u64,
    /// Threads that were left behind.
    abandoned: Vec<JoinHandle<()>>,
    stopped: bool,
}

struct Worker {
    asks: SyncSender<Ask>,
    seat: Seat,
    thread: JoinHandle<()>,
}

impl PolicyHost {
    /// A host whose scripts run in the sandbox; the default native policy is in force. `tell` is
    /// called on the policy thread and may block.
    #[must_use]
    pub fn new(clock: Clock, tell: Tell) -> Self {
        Self::with_loader(clock, script::loader(clock), tell)
    }

    /// A host with another loader.
    pub(super) fn with_loader(clock: Clock, loader: Loader, tell: Tell) -> Self {
        let default = InForce::from(Decided::Natively(Native::default()));
        let state = State {
            in_force: BTreeMap::from([(Scope::Node, default)]),
            worker: None,
            candidate: None,
            generations: 0,
            wedged: false,
            pending: BTreeMap::new(),
            loads: BTreeMap::new(),
            past_cpu_us: 0,
            abandoned: Vec::new(),
            stopped: false,
        };
        let (state, events_dropped) = (Mutex::new(state), Counter::default());
        Self(Arc::new(Inner { clock, loader, tell, state, events_dropped }))
    }

    /// Asks a policy. An answer is told later ([`PolicyNews::Answered`]); one that is returned says
    /// that nobody was asked.
    ///
    /// # Errors
    /// The answer, every verdict [`Verdict::Bypassed`], where there is no thread, or it is wedged
    /// or busy.
    pub fn consult(&self, question: Box<Consultation>) -> Result<(), Answer> {
        let (round, chunks) = (question.round, question.chunks.len());
        let mut state = self.state();
        let asked = match &state.worker {
            Some(worker) if !state.wedged => worker.asks.try_send(Ask::Consult(question)).is_ok(),
            Some(_) | None => false,
        };
        if !asked {
            return Err(Answer::all(round, chunks, &Verdict::Bypassed));
        }
        state.pending.insert(round, chunks);
        Ok(())
    }

    /// Tells a policy what happened.
    pub fn inform(&self, report: Box<Report>) {
        let state = self.state();
        let Some(worker) = state.worker.as_ref().filter(|_| !state.wedged) else { return };
        if worker.seat.mail.put(report) {
            // A full queue of asks means that the thread looks at its mail soon anyway.
            let _ = worker.asks.try_send(Ask::Mail);
        }
    }

    /// Whether an answer may be believed: it is the first one to its consultation, from the thread
    /// in force. A wedged thread that answers is wedged no more.
    #[must_use]
    pub fn accept(&self, generation: u64, answer: &Answer) -> Accepted {
        let mut state = self.state();
        let current = state.is_current(generation);
        let awaited = state.pending.remove(&answer.round).is_some();
        let recovered = current && std::mem::take(&mut state.wedged);
        Accepted { believed: current && awaited, recovered }
    }

    /// Whether advice may be believed: it is from the thread in force.
    #[must_use]
    pub fn is_current(&self, generation: u64) -> bool {
        self.state().is_current(generation)
    }

    /// Begins to load a policy; its end is told ([`PolicyNews::Loaded`]) with its token.
    ///
    /// # Errors
    /// [`PolicyRefusal`] where there is no thread for it.
    pub fn load(&self, load: Load) -> Result<(), PolicyRefusal> {
        let (token, choice) = (load.token, load.choice.clone());
        let mut state = self.state();
        let refused = |message: &str| Err(self.refusal(&choice, "load", message));
        if state.stopped {
            return refused("the node is shutting down");
        }
        // Beside a wedged thread a new one is tried; it takes its place if the policy loads.
        let beside = state.worker.is_none() || state.wedged;
        if beside && state.candidate.is_none() {
            let left = state.abandoned.iter().filter(|thread| !thread.is_finished()).count();
            if left >= ABANDONED_MAX {
                return refused("too many policy threads do not answer; restart the node");
            }
            match spawn(self.seat(state.generations + 1)) {
                Ok(worker) => state.candidate = Some(worker),
                Err(error) => return refused(&format!("no policy thread: {error}")),
            }
            state.generations += 1;
        }
        let worker = if beside { &state.candidate } else { &state.worker };
        let Some(worker) = worker else { return refused("there is no policy thread") };
        let generation = worker.seat.generation;
        match worker.asks.try_send(Ask::Load(Box::new(load))) {
            Ok(()) => {
                state.loads.insert(token, (generation, choice));
                Ok(())
            }
            Err(TrySendError::Full(_)) => refused("too many policies are being loaded"),
            Err(TrySendError::Disconnected(_)) => refused("the policy thread is gone"),
        }
    }

    /// Takes note of the end of a load.
    #[must_use]
    pub fn settle(&self, generation: u64, token: u64, loaded: bool) -> Settled {
        let mut state = self.state();
        let awaited = state.loads.remove(&token).is_some();
        let of_candidate =
            state.candidate.as_ref().is_some_and(|w| w.seat.generation == generation);
        let mut fresh_thread = false;
        if of_candidate && loaded {
            let fresh = state.candidate.take();
            let old = std::mem::replace(&mut state.worker, fresh);
            fresh_thread = old.is_some();
            if let Some(old) = old {
                state.past_cpu_us += old.seat.beat.cpu_us();
                state.abandoned.push(old.thread);
            }
            state.pending.clear();
            state.wedged = false;
        } else if of_candidate && !state.loads.values().any(|(of, _)| *of == generation) {
            state.abandon_candidate();
        }
        Settled { awaited, fresh_thread }
    }

    /// Says what decides in a scope.
    pub fn put_in_force(&self, scope: Scope, in_force: InForce) {
        self.state().in_force.insert(scope, in_force);
    }

    /// Nothing of its own decides in a scope any more.
    pub fn withdraw(&self, scope: Scope) {
        self.state().in_force.remove(&scope);
    }

    /// What decides in a scope; none where it has nothing of its own.
    #[must_use]
    pub fn in_force(&self, scope: Scope) -> Option<InForce> {
        self.state().in_force.get(&scope).cloned()
    }

    /// Says why the last attempt to replace a scope's policy was refused.
    pub fn refused(&self, scope: Scope, issue: Option<PolicyIssue>) {
        if let Some(in_force) = self.state().in_force.get_mut(&scope) {
            in_force.refused = issue;
        }
    }

    /// Lets go of a policy.
    pub fn drop_policy(&self, policy: PolicyId) {
        self.ask(Ask::Drop(policy));
    }

    /// Lets go of a policy's shadow.
    pub fn drop_shadow(&self, policy: PolicyId) {
        // At once for those who look, whenever the thread comes to it.
        if let Some(worker) = &self.state().worker
            && let Some(shown) = lock(&worker.seat.board).get_mut(&policy)
        {
            shown.shadow = None;
        }
        self.ask(Ask::DropShadow(policy));
    }

    /// Lets the policies forget a torrent that is gone, and its `ctx.state`.
    pub fn forget(&self, torrent: TorrentId) {
        self.ask(Ask::Forget(torrent));
    }

    /// Lets a policy begin anew. False where its thread does not answer.
    #[must_use]
    pub fn reset(&self, policy: PolicyId) -> bool {
        !self.state().wedged && self.ask(Ask::Reset(policy))
    }

    /// Lets a policy decide one chunk without side effects. `reply` is called on the policy thread,
    /// or dropped where that does not answer.
    pub fn explain(&self, policy: PolicyId, question: Box<Consultation>, reply: Explained) {
        if !self.state().wedged {
            self.ask(Ask::Explain(policy, question, reply));
        }
    }

    /// Looks whether the thread still answers; to be called a few times a second. What was asked
    /// of a wedged one is answered here.
    #[must_use]
    pub fn check(&self, now: Timestamp) -> Checked {
        let mut state = self.state();
        let mut checked = Checked::default();
        let stopped = state.stopped;
        let late = |worker: &Option<Worker>| {
            let dead = |w: &&Worker| w.seat.beat.is_late(now) || w.thread.is_finished();
            worker.as_ref().filter(dead).map(|w| w.seat.clone())
        };
        if let Some(seat) = late(&state.worker)
            && !state.wedged
            && !stopped
        {
            state.wedged = true;
            checked.wedged = true;
            let pending = std::mem::take(&mut state.pending);
            checked.bypassed = pending
                .into_iter()
                .map(|(round, chunks)| Answer::all(round, chunks, &Verdict::Bypassed))
                .collect();
            checked.refused.extend(self.refused_loads(&mut state, &seat));
        }
        if let Some(seat) = late(&state.candidate) {
            checked.refused.extend(self.refused_loads(&mut state, &seat));
            state.abandon_candidate();
        }
        checked
    }

    /// The policy of a scope and how it does: the node's where the scope has none of its own.
    #[must_use]
    pub fn status(&self, scope: Scope) -> PolicyStatus {
        let state = self.state();
        let own = state.in_force.get(&scope).map(|in_force| (scope, in_force));
        let (scope, in_force) = own
            .or_else(|| state.in_force.get(&Scope::Node).map(|node| (Scope::Node, node)))
            .unzip();
        let native = InForce::from(Decided::Natively(Native::default()));
        let in_force = in_force.unwrap_or(&native);
        let cpu_us = state.cpu_us();
        let scope = scope.unwrap_or(Scope::Node);
        match in_force.by {
            Decided::Natively(native) => view::of_native(native, scope, in_force, cpu_us),
            Decided::OnThread(policy) => match state.shown(policy) {
                Some((shown, dropped)) => {
                    let facts = view::Facts { scope, wedged: state.wedged, dropped, cpu_us };
                    view::of_shown(&shown, &facts, in_force, &self.0.clock)
                }
                None => view::of_native(Native::default(), scope, in_force, cpu_us),
            },
        }
    }

    /// What runs in the shadow of a scope's own policy.
    #[must_use]
    pub fn shadow(&self, scope: Scope) -> Option<ShadowStatus> {
        let state = self.state();
        let Decided::OnThread(policy) = state.in_force.get(&scope)?.by else { return None };
        let (shown, _) = state.shown(policy)?;
        let facts = view::Facts { scope, wedged: state.wedged, dropped: 0, cpu_us: state.cpu_us() };
        view::of_shadow(shown.shadow.as_deref()?, &facts, &self.0.clock).into()
    }

    /// The scopes that have a policy of their own, the node first.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        self.state().in_force.keys().copied().collect()
    }

    /// Events that policies were not told because their queues were full.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        self.0.events_dropped.get()
    }

    /// CPU time of the policy threads.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        Duration::from_micros(self.state().cpu_us())
    }

    /// The names of the policies on the thread.
    #[must_use]
    pub fn names(&self) -> BTreeMap<PolicyId, String> {
        let state = self.state();
        let Some(worker) = &state.worker else { return BTreeMap::new() };
        let board = lock(&worker.seat.board);
        board.iter().map(|(&policy, shown)| (policy, shown.name.clone())).collect()
    }

    /// Ends the threads once they have answered what they were asked. They are to be joined by
    /// somebody who may wait.
    #[must_use]
    pub fn stop(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.state();
        state.stopped = true;
        let workers = [state.worker.take(), state.candidate.take()];
        let mut threads = std::mem::take(&mut state.abandoned);
        threads.extend(workers.into_iter().flatten().map(|worker| worker.thread));
        threads
    }

    /// The loads of a thread that will have no end.
    fn refused_loads(&self, state: &mut State, seat: &Seat) -> Vec<(u64, PolicyRefusal)> {
        let message = "the policy thread does not answer; set it again for a new thread";
        let of_thread =
            |_: &u64, (generation, _): &mut (u64, PolicyChoice)| *generation == seat.generation;
        let ended = state.loads.extract_if(.., of_thread);
        ended
            .map(|(token, (_, choice))| (token, self.refusal(&choice, "wedged", message)))
            .collect()
    }

    fn refusal(&self, choice: &PolicyChoice, kind: &'static str, message: &str) -> PolicyRefusal {
        PolicyRefusal::new(choice.name(), kind, message, self.0.clock.wall(self.0.clock.now()))
    }

    /// Asks the thread in force; false where it cannot take it.
    fn ask(&self, ask: Ask) -> bool {
        let state = self.state();
        // A full queue only means that some memory is held for longer.
        state.worker.as_ref().is_some_and(|worker| worker.asks.try_send(ask).is_ok())
    }

    fn seat(&self, generation: u64) -> Seat {
        Seat {
            generation,
            clock: self.0.clock,
            loader: self.0.loader.clone(),
            tell: self.0.tell.clone(),
            beat: Arc::new(Beat::default()),
            board: Arc::default(),
            mail: Arc::new(Mail::counting(self.0.events_dropped.clone())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl std::fmt::Debug for PolicyHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyHost").finish_non_exhaustive()
    }
}

/// What became of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// It is for the session.
    pub believed: bool,
    /// The thread was wedged and is no more.
    pub recovered: bool,
}

/// What became of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// It was still awaited.
    pub awaited: bool,
    /// It began a new thread in the place of one that did not answer: the other policies have to be
    /// loaded there again.
    pub fresh_thread: bool,
}

/// What a look at the threads found.
#[derive(Debug, Default)]
pub struct Checked {
    /// The thread has just become unreachable.
    pub wedged: bool,
    /// Answers in the stead of a thread that gives none.
    pub bypassed: Vec<Answer>,
    /// Loads that will have no end, by token.
    pub refused: Vec<(u64, PolicyRefusal)>,
}

impl State {
    fn is_current(&self, generation: u64) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.seat.generation == generation)
    }

    fn shown(&self, policy: PolicyId) -> Option<(Shown, u64)> {
        let seat = &self.worker.as_ref()?.seat;
        let shown = lock(&seat.board).get(&policy).cloned()?;
        Some((shown, seat.mail.dropped(policy)))
    }

    fn cpu_us(&self) -> u64 {
        self.past_cpu_us + self.worker.as_ref().map_or(0, |worker| worker.seat.beat.cpu_us())
    }

    /// Lets go of a thread: it ends by itself once it looks up.
    fn abandon_candidate(&mut self) {
        self.abandoned.retain(|thread| !thread.is_finished());
        self.abandoned.extend(self.candidate.take().map(|worker| worker.thread));
    }
}

fn spawn(seat: Seat) -> std::io::Result<Worker> {
    let (asks, inbox) = sync_channel(ASKS_MAX);
    let own = seat.clone();
    let thread = std::thread::Builder::new()
        .name("policy".into())
        .spawn(move || thread::run(own, &inbox))?;
    Ok(Worker { asks, seat, thread })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
