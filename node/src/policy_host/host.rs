//! The door to the policy thread: consult, load, look, and notice that the thread does not answer.
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

use shoal_core::{
    ids::{RoundId, TorrentId},
    policy::{Answer, Consultation, Verdict, native::Native},
    time::Timestamp,
};

use super::{
    script,
    status::{
        PolicyChoice, PolicyIssue, PolicyKind, PolicyRefusal, PolicyState, PolicyStatus,
        ScriptChoice,
    },
    thread::{self, Ask, Beat, Loader, Seat, Shown, Tell, issue_of, lock, refusal},
};
use crate::clock::Clock;

/// A consultation that takes longer makes its thread count as wedged (policy.md §2).
pub const WEDGED_AFTER: Duration = Duration::from_secs(1);
/// A load that takes longer does: twice building a VM, its dry run, and as much again for a busy
/// machine, since budgets count CPU time.
pub const LOAD_WEDGED_AFTER: Duration = Duration::from_secs(5);
/// Asks that may wait for the thread. The engine has one consultation in flight; the rest are
/// loads.
const ASKS_MAX: usize = 16;
/// Threads that did not answer and are still there, at most; beyond it no script is loaded.
const ABANDONED_MAX: usize = 4;

/// What the policy thread has to say.
#[derive(Debug)]
pub enum PolicyNews {
    /// It answered. To be shown to [`PolicyHost::accept`] before it is believed.
    Answered {
        /// Which thread.
        generation: u64,
        /// What.
        answer: Answer,
    },
    /// A load ended. To be shown to [`PolicyHost::settle`].
    Loaded {
        /// Which thread.
        generation: u64,
        /// As given to [`PolicyHost::load`].
        token: u64,
        /// The warnings, or why not.
        result: Result<Vec<String>, PolicyRefusal>,
    },
    /// A decision failed in a way that was not told in the last ten seconds.
    Failed(PolicyIssue),
    /// The breaker tripped: the default decides for a while.
    Tripped,
    /// The breaker let it decide again.
    Recovered,
}

/// The policy of a node. Cheap to clone.
#[derive(Clone)]
pub struct PolicyHost(Arc<Inner>);

struct Inner {
    clock: Clock,
    loader: Loader,
    tell: Tell,
    state: Mutex<State>,
}

struct State {
    /// The policy in force where it is a native one.
    native: Option<Native>,
    /// The thread with the script in force.
    worker: Option<Worker>,
    /// A thread on which a first script is being loaded, beside a wedged one.
    candidate: Option<Worker>,
    generations: u64,
    wedged: bool,
    /// Consultations without an answer, and their chunks.
    pending: BTreeMap<RoundId, usize>,
    /// Loads without an end: the generation of their thread, and what.
    loads: BTreeMap<u64, (u64, ScriptChoice)>,
    /// Why the policy of the last run is not in force.
    not_restored: Option<PolicyIssue>,
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
    pub fn new(clock: Clock, tell: Arc<dyn Fn(PolicyNews) + Send + Sync>) -> Self {
        Self::with_loader(clock, script::loader(clock), tell)
    }

    pub(super) fn with_loader(clock: Clock, loader: Loader, tell: Tell) -> Self {
        let state = State {
            native: Some(Native::LowestUploaded),
            worker: None,
            candidate: None,
            generations: 0,
            wedged: false,
            pending: BTreeMap::new(),
            loads: BTreeMap::new(),
            not_restored: None,
            abandoned: Vec::new(),
            stopped: false,
        };
        Self(Arc::new(Inner { clock, loader, tell, state: Mutex::new(state) }))
    }

    /// Asks the script in force. An answer is told later ([`PolicyNews::Answered`]); one that is
    /// returned says that nobody was asked.
    ///
    /// # Errors
    /// The answer, every verdict [`Verdict::Bypassed`], where no script is in force or its thread
    /// is wedged or busy.
    pub fn consult(&self, consultation: Box<Consultation>) -> Result<(), Answer> {
        let (round, chunks) = (consultation.round, consultation.chunks.len());
        let mut state = self.state();
        let asked = match &state.worker {
            Some(worker) if !state.wedged && state.native.is_none() => {
                worker.asks.try_send(Ask::Consult(consultation)).is_ok()
            }
            Some(_) | None => false,
        };
        if !asked {
            return Err(bypassed(round, chunks));
        }
        state.pending.insert(round, chunks);
        Ok(())
    }

    /// Whether an answer may be believed: it is the first one to its consultation, from the thread
    /// in force. A wedged thread that answers is wedged no more.
    #[must_use]
    pub fn accept(&self, generation: u64, answer: &Answer) -> Accepted {
        let mut state = self.state();
        let current = state.worker.as_ref().is_some_and(|w| w.seat.generation == generation);
        let awaited = state.pending.remove(&answer.round).is_some();
        let recovered = current && std::mem::take(&mut state.wedged);
        Accepted { believed: current && awaited, recovered }
    }

    /// Begins to load a script; its end is told ([`PolicyNews::Loaded`]) with this token.
    ///
    /// # Errors
    /// [`PolicyRefusal`] where there is no thread for it.
    pub fn load(&self, token: u64, choice: ScriptChoice) -> Result<(), PolicyRefusal> {
        let mut state = self.state();
        let refused = |message: &str, seat: &Seat| Err(refusal(&choice, "load", message, seat));
        let spare = self.seat(state.generations + 1);
        if state.stopped {
            return refused("the node is shutting down", &spare);
        }
        // Beside a wedged thread a new one is tried; it takes its place if the script loads.
        let beside = state.worker.is_none() || state.wedged;
        if beside && state.candidate.is_none() {
            let left = state.abandoned.iter().filter(|thread| !thread.is_finished()).count();
            if left >= ABANDONED_MAX {
                return refused("too many policy threads do not answer; restart the node", &spare);
            }
            match spawn(spare.clone()) {
                Ok(worker) => state.candidate = Some(worker),
                Err(error) => return refused(&format!("no policy thread: {error}"), &spare),
            }
            state.generations += 1;
        }
        let worker = if beside { &state.candidate } else { &state.worker };
        let Some(worker) = worker else { return refused("there is no policy thread", &spare) };
        let generation = worker.seat.generation;
        match worker.asks.try_send(Ask::Load { token, choice: choice.clone() }) {
            Ok(()) => {
                state.loads.insert(token, (generation, choice));
                Ok(())
            }
            Err(TrySendError::Full(_)) => refused("too many policies are being loaded", &spare),
            Err(TrySendError::Disconnected(_)) => refused("the policy thread is gone", &spare),
        }
    }

    /// Takes note of the end of a load. `true` where it was still awaited; a script that loaded is
    /// in force then.
    #[must_use]
    pub fn settle(&self, generation: u64, token: u64, loaded: bool) -> bool {
        let mut state = self.state();
        let awaited = state.loads.remove(&token).is_some();
        let of_candidate =
            state.candidate.as_ref().is_some_and(|w| w.seat.generation == generation);
        if of_candidate && loaded {
            let fresh = state.candidate.take();
            let old = std::mem::replace(&mut state.worker, fresh);
            state.abandoned.extend(old.map(|old| old.thread));
            state.pending.clear();
            state.wedged = false;
        } else if of_candidate && !state.loads.values().any(|(of, _)| *of == generation) {
            state.abandon_candidate();
        }
        if loaded && awaited {
            state.native = None;
            state.not_restored = None;
        }
        awaited
    }

    /// Puts a native policy in force. The script is let go.
    pub fn use_native(&self, native: Native) {
        let mut state = self.state();
        state.native = Some(native);
        state.not_restored = None;
        if let Some(worker) = &state.worker {
            // A full queue only means that the memory is freed with the next load.
            let _ = worker.asks.try_send(Ask::Clear);
        }
    }

    /// Lets the script in force forget a torrent that is gone, and its `ctx.state`.
    pub fn forget(&self, torrent: TorrentId) {
        if let Some(worker) = &self.state().worker {
            // A full queue only means that a little memory is held until the next load.
            let _ = worker.asks.try_send(Ask::Forget(torrent));
        }
    }

    /// Says why the policy of the last run is not in force.
    pub fn not_restored(&self, issue: PolicyIssue) {
        self.state().not_restored = Some(issue);
    }

    /// Looks whether the thread still answers; to be called a few times a second. What was asked
    /// of a wedged one is answered here.
    #[must_use]
    pub fn check(&self, now: Timestamp) -> Checked {
        let mut state = self.state();
        let mut checked = Checked::default();
        let late = |worker: &Option<Worker>| {
            worker.as_ref().filter(|w| w.seat.beat.is_late(now)).map(|w| w.seat.clone())
        };
        if let Some(seat) = late(&state.worker)
            && !state.wedged
        {
            state.wedged = true;
            checked.wedged = state.native.is_none();
            let pending = std::mem::take(&mut state.pending);
            checked.bypassed = pending.into_iter().map(|(r, n)| bypassed(r, n)).collect();
            state.refuse_loads(&seat, &mut checked.refused);
        }
        if let Some(seat) = late(&state.candidate) {
            state.refuse_loads(&seat, &mut checked.refused);
            state.abandon_candidate();
        }
        checked
    }

    /// The policy in force and how it does.
    #[must_use]
    pub fn status(&self) -> PolicyStatus {
        let state = self.state();
        let shown = state.worker.as_ref().and_then(|worker| lock(&worker.seat.shown).clone());
        match (state.native, shown) {
            (None, Some(shown)) => self.of_script(&shown, state.wedged),
            (native, _) => {
                of_native(native.unwrap_or(Native::LowestUploaded), state.not_restored.clone())
            }
        }
    }

    /// Ends the threads once they have answered what they were asked. They are to be joined by
    /// somebody who may wait.
    #[must_use]
    pub fn stop(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.state();
        state.stopped = true;
        state.native = Some(Native::LowestUploaded);
        let workers = [state.worker.take(), state.candidate.take()];
        let mut threads = std::mem::take(&mut state.abandoned);
        threads.extend(workers.into_iter().flatten().map(|worker| worker.thread));
        threads
    }

    fn of_script(&self, shown: &Shown, wedged: bool) -> PolicyStatus {
        let status = &shown.status;
        let counters = &status.counters;
        let errors = [
            ("runtime", counters.errors.runtime),
            ("budget", counters.errors.budget),
            ("memory", counters.errors.memory),
            ("contract", counters.errors.contract),
            ("load", counters.errors.load),
        ];
        let micros =
            |q| u64::try_from(counters.latency.quantile(q).as_micros()).unwrap_or(u64::MAX);
        PolicyStatus {
            name: shown.name.clone(),
            kind: PolicyKind::Script(shown.kind),
            state: match (wedged, status.tripped_until) {
                (true, _) => PolicyState::Wedged,
                (false, Some(_)) => PolicyState::Tripped,
                (false, None) => PolicyState::Active,
            },
            calls: counters.calls,
            chosen: counters.chosen,
            abstained: counters.abstained,
            deferred: counters.deferred,
            errors: errors.into_iter().filter(|(_, count)| *count > 0).collect(),
            fallbacks: counters.fallbacks(),
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            memory_bytes: status.memory_bytes,
            content_hash: status.hash.clone(),
            last_error: issue_of(status, &self.0.clock),
            params: shown.params.clone(),
            log: shown.log.lines(),
            description: shown.description.clone(),
        }
    }

    fn seat(&self, generation: u64) -> Seat {
        Seat {
            generation,
            clock: self.0.clock,
            loader: self.0.loader.clone(),
            tell: self.0.tell.clone(),
            beat: Arc::new(Beat::default()),
            shown: Arc::default(),
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

/// What a look at the threads found.
#[derive(Debug, Default)]
pub struct Checked {
    /// The script in force has just become unreachable.
    pub wedged: bool,
    /// Answers in the stead of a thread that gives none.
    pub bypassed: Vec<Answer>,
    /// Loads that will have no end, by token.
    pub refused: Vec<(u64, PolicyRefusal)>,
}

impl State {
    fn refuse_loads(&mut self, seat: &Seat, refused: &mut Vec<(u64, PolicyRefusal)>) {
        self.loads.retain(|token, (generation, choice)| {
            if *generation != seat.generation {
                return true;
            }
            let message = "the policy thread does not answer; set it again for a new thread";
            refused.push((*token, refusal(choice, "wedged", message, seat)));
            false
        });
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

fn bypassed(round: RoundId, chunks: usize) -> Answer {
    Answer { round, verdicts: vec![Verdict::Bypassed; chunks] }
}

fn of_native(native: Native, last_error: Option<PolicyIssue>) -> PolicyStatus {
    PolicyStatus {
        name: native.name().to_owned(),
        kind: PolicyKind::Native,
        state: PolicyState::Active,
        calls: 0,
        chosen: 0,
        abstained: 0,
        deferred: 0,
        errors: BTreeMap::new(),
        fallbacks: 0,
        p50_us: 0,
        p99_us: 0,
        memory_bytes: 0,
        content_hash: String::new(),
        last_error,
        params: BTreeMap::new(),
        log: Vec::new(),
        description: native.description().to_owned(),
    }
}

impl From<Native> for PolicyChoice {
    fn from(native: Native) -> Self {
        Self::Native(native)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
