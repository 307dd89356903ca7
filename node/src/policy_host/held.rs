//! A host whose policies answer when a test says so, for tests of threads that do not answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use shoal_core::{
    ids::TorrentId,
    policy::{Advice, Answer, Consultation, Hooks, Report, Verdict},
};
use shoal_policy::{script::Explanation, state::KeptStates, status::Status};

use super::{
    PolicyHost,
    ask::{PolicyNews, Tell},
    decider::{Decider, Loaded, Loader, Vitals},
    lock,
};
use crate::clock::Clock;

/// How long a held policy waits for the test at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test holds in its hand.
pub(crate) struct Hold {
    go: Sender<()>,
    dies: Arc<AtomicBool>,
}

impl Hold {
    /// Lets one answer out.
    pub(crate) fn let_go(&self) {
        self.go.send(()).unwrap();
    }

    /// The next answer is the thread's last act.
    pub(crate) fn die(&self) {
        self.dies.store(true, Ordering::Relaxed);
        // It may wait already.
        let _ = self.go.send(());
    }
}

/// A host of held policies. A script that says `panic` does not load, one that says `free` answers
/// at once.
pub(crate) fn host(clock: Clock, tell: Tell) -> (PolicyHost, Hold) {
    let (go, gate) = channel();
    let gate = Arc::new(Mutex::new(gate));
    let loader: Loader = Arc::new(move |choice, _, _, _| {
        let gate = match choice.source.as_str() {
            "panic" => std::panic::resume_unwind(Box::new("a bug of ours")),
            "free" => None,
            _ => Some(gate.clone()),
        };
        Ok(Loaded {
            decider: Box::new(Held(gate)),
            hooks: Hooks { decides: true, ..Hooks::default() },
            functions: vec!["choose".to_owned()],
            warnings: vec!["odd".into()],
            params: BTreeMap::new(),
            description: String::new(),
            version: 1,
        })
    });
    let dies = Arc::new(AtomicBool::new(false));
    let dying = dies.clone();
    let tell: Tell = Arc::new(move |news| {
        let answered = matches!(news, PolicyNews::Answered { .. });
        if answered && dying.swap(false, Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("the thread is killed"));
        }
        tell(news);
    });
    (PolicyHost::with_loader(clock, loader, tell), Hold { go, dies })
}

struct Held(Option<Arc<Mutex<Receiver<()>>>>);

impl Decider for Held {
    fn answer(&mut self, question: Consultation) -> Answer {
        if let Some(gate) = &self.0 {
            let _ = lock(gate).recv_timeout(PATIENCE);
        }
        Answer::all(question.round, question.chunks.len(), &Verdict::Abstained)
    }

    fn report(&mut self, _report: &Report) -> Option<Advice> {
        None
    }

    fn explain(&mut self, _question: &Consultation) -> Option<Explanation> {
        None
    }

    fn keep(&mut self) -> KeptStates {
        KeptStates::default()
    }

    fn forget(&mut self, _torrent: TorrentId) {}

    fn reset(&mut self) {}

    fn vitals(&self) -> Vitals {
        Vitals::default()
    }

    fn status(&self) -> Status {
        Status { name: "held".into(), file: "held.lua".into(), ..Status::default() }
    }
}
