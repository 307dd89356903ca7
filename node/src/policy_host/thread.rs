//! The policy thread: one ask after the other, each bounded by the budget of the sandbox.
//!
//! Never here: whether the thread is late; the host looks at its [`Beat`] from outside.

use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::Receiver,
    },
    time::Duration,
};

use shoal_core::{
    ids::TorrentId,
    policy::{Answer, Consultation, Verdict},
    time::Timestamp,
};
use shoal_policy::status::Status;

use super::{
    host::PolicyNews,
    status::{PolicyIssue, PolicyRefusal, ScriptChoice, ScriptKind},
};
use crate::clock::Clock;

/// Lines of a script's log that are kept for its status.
pub(super) const LOG_LINES_KEPT: usize = 20;
/// The least time between two events about the same error, so that a script that fails in every
/// decision does not fill the event ring.
const ERROR_NEWS_EVERY: Duration = Duration::from_secs(10);

/// A loaded script. Lives and dies on the policy thread.
pub(super) trait Decider {
    /// One verdict a chunk, in order.
    fn answer(&mut self, consultation: Consultation) -> Answer;
    /// A torrent is gone.
    fn forget(&mut self, torrent: TorrentId);
    /// What it has done.
    fn status(&self) -> Status;
}

/// A script that passed its checks.
pub(super) struct Loaded {
    pub(super) decider: Box<dyn Decider>,
    pub(super) warnings: Vec<String>,
    pub(super) params: BTreeMap<String, String>,
    pub(super) description: String,
}

/// Makes a script of a choice, on the thread that will own it.
pub(super) type Loader =
    Arc<dyn Fn(&ScriptChoice, &LogTail, Timestamp) -> Result<Loaded, PolicyRefusal> + Send + Sync>;

/// Where the thread tells what came out. Called on the policy thread only; it may block.
pub(super) type Tell = Arc<dyn Fn(PolicyNews) + Send + Sync>;

/// What the thread is asked.
pub(super) enum Ask {
    /// For verdicts.
    Consult(Box<Consultation>),
    /// To put this script in force, if it passes its checks.
    Load {
        /// Repeated in the news.
        token: u64,
        /// What.
        choice: ScriptChoice,
    },
    /// To forget a torrent that is gone.
    Forget(TorrentId),
    /// To let go of its script.
    Clear,
}

/// What the thread shows of itself to those outside.
#[derive(Debug, Default)]
pub(super) struct Beat {
    /// When it began what it is at, microseconds plus one; 0 while it waits.
    began: AtomicU64,
    /// How long that may take before the thread counts as wedged, microseconds.
    allowed: AtomicU64,
}

impl Beat {
    fn begin(&self, now: Timestamp, allowed: Duration) {
        let allowed = u64::try_from(allowed.as_micros()).unwrap_or(u64::MAX);
        self.allowed.store(allowed, Ordering::Relaxed);
        self.began.store(now.0.saturating_add(1), Ordering::Release);
    }

    fn rest(&self) {
        self.began.store(0, Ordering::Release);
    }

    /// Whether the thread is at one thing for longer than that may take.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        let began = self.began.load(Ordering::Acquire);
        began != 0 && now.0.saturating_sub(began - 1) >= self.allowed.load(Ordering::Relaxed)
    }
}

/// The script in force as the outside sees it.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) kind: ScriptKind,
    pub(super) params: BTreeMap<String, String>,
    pub(super) description: String,
    pub(super) status: Status,
    pub(super) log: LogTail,
}

/// The last lines that a script logged.
#[derive(Clone, Debug, Default)]
pub(super) struct LogTail(Arc<Mutex<VecDeque<String>>>);

impl LogTail {
    pub(super) fn push(&self, line: String) {
        let mut lines = self.lock();
        if lines.len() >= LOG_LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread and the host share.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) generation: u64,
    pub(super) clock: Clock,
    pub(super) loader: Loader,
    pub(super) tell: Tell,
    pub(super) beat: Arc<Beat>,
    pub(super) shown: Arc<Mutex<Option<Shown>>>,
}

/// The thread's body: ends once the host has dropped its side of the channel.
pub(super) fn run(seat: Seat, asks: &Receiver<Ask>) {
    let mut thread = Thread { seat, script: None, told: None, was_tripped: false };
    while let Ok(ask) = asks.recv() {
        match ask {
            Ask::Consult(consultation) => thread.consult(*consultation),
            Ask::Load { token, choice } => thread.load(token, &choice),
            Ask::Forget(torrent) => {
                if let Some(script) = &mut thread.script {
                    script.forget(torrent);
                }
            }
            Ask::Clear => thread.clear(),
        }
    }
}

struct Thread {
    seat: Seat,
    script: Option<Box<dyn Decider>>,
    /// The error told last and when: its kind and its line.
    told: Option<(&'static str, u32, Timestamp)>,
    was_tripped: bool,
}

impl Thread {
    fn consult(&mut self, consultation: Consultation) {
        let now = self.seat.clock.now();
        self.seat.beat.begin(now, super::host::WEDGED_AFTER);
        let (round, chunks) = (consultation.round, consultation.chunks.len());
        let all = |verdict: Verdict| Answer { round, verdicts: vec![verdict; chunks] };
        let answer = match &mut self.script {
            None => all(Verdict::Bypassed),
            Some(script) => {
                match catch_unwind(AssertUnwindSafe(|| script.answer(consultation))) {
                    Ok(answer) => answer,
                    Err(_) => {
                        // Its insides may be half changed: it answers nothing more.
                        tracing::error!(target: "policy", "the sandbox failed; the script is off");
                        self.script = None;
                        all(Verdict::Failed)
                    }
                }
            }
        };
        let news = self.publish();
        self.seat.beat.rest();
        (self.seat.tell)(PolicyNews::Answered { generation: self.seat.generation, answer });
        news.into_iter().for_each(|news| (self.seat.tell)(news));
    }

    fn load(&mut self, token: u64, choice: &ScriptChoice) {
        let now = self.seat.clock.now();
        self.seat.beat.begin(now, super::host::LOAD_WEDGED_AFTER);
        let log = LogTail::default();
        let loaded = catch_unwind(AssertUnwindSafe(|| (self.seat.loader)(choice, &log, now)))
            .unwrap_or_else(|_| Err(refusal(choice, "load", "the sandbox failed", &self.seat)));
        let result = loaded.map(|loaded| {
            let shown = Shown {
                name: choice.name.clone(),
                kind: choice.kind,
                params: loaded.params,
                description: loaded.description,
                status: loaded.decider.status(),
                log,
            };
            *lock(&self.seat.shown) = Some(shown);
            self.script = Some(loaded.decider);
            (self.told, self.was_tripped) = (None, false);
            loaded.warnings
        });
        self.seat.beat.rest();
        let generation = self.seat.generation;
        (self.seat.tell)(PolicyNews::Loaded { generation, token, result });
    }

    fn clear(&mut self) {
        self.script = None;
        *lock(&self.seat.shown) = None;
    }

    /// Shows how the script stands, and says what is new about it.
    fn publish(&mut self) -> Vec<PolicyNews> {
        let Some(script) = &self.script else { return Vec::new() };
        let status = script.status();
        let now = self.seat.clock.now();
        let mut news = Vec::new();
        if let Some(issue) = issue_of(&status, &self.seat.clock) {
            let repeated = self.told.is_some_and(|(kind, line, at)| {
                (kind, line) == (issue.kind, issue.line) && now.since(at) < ERROR_NEWS_EVERY
            });
            let latest = status.last_error.as_ref().map_or(Timestamp(0), |error| error.last);
            let newer = self.told.is_none_or(|(_, _, at)| latest >= at);
            if newer && !repeated {
                self.told = Some((issue.kind, issue.line, now));
                news.push(PolicyNews::Failed(issue));
            }
        }
        let tripped = status.tripped_until.is_some();
        match (self.was_tripped, tripped) {
            (false, true) => news.push(PolicyNews::Tripped),
            (true, false) => news.push(PolicyNews::Recovered),
            (false, false) | (true, true) => {}
        }
        self.was_tripped = tripped;
        if let Some(shown) = &mut *lock(&self.seat.shown) {
            shown.status = status;
        }
        news
    }
}

/// The last error of a script, as the outside sees it.
pub(super) fn issue_of(status: &Status, clock: &Clock) -> Option<PolicyIssue> {
    let error = status.last_error.as_ref()?;
    Some(PolicyIssue {
        kind: error.failure.kind.name(),
        file: error.failure.file.clone(),
        line: error.failure.line.unwrap_or(0),
        message: error.failure.message.clone(),
        report: status.report().unwrap_or_default(),
        at: clock.wall(error.last),
        count: error.count,
    })
}

/// A refusal that no script is to blame for.
pub(super) fn refusal(
    choice: &ScriptChoice,
    kind: &'static str,
    message: &str,
    seat: &Seat,
) -> PolicyRefusal {
    let report = format!("policy '{}' was not loaded: {message}", choice.name);
    let issue = PolicyIssue {
        kind,
        file: choice.name.clone(),
        line: 0,
        message: message.to_owned(),
        report: report.clone(),
        at: seat.clock.wall(seat.clock.now()),
        count: 1,
    };
    PolicyRefusal { errors: vec![issue], report }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
