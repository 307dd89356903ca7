//! The place where a node simulates for its callers: one command at a time, on threads of its own
//! that yield to everything else, given up as soon as nobody wants it. Never here: a torrent, or
//! anything that a download notices.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustix::process::setpriority_process;
use shoal_sim::{
    command::{
        Command, Job,
        tally::{Shown, Tally},
    },
    outcome::Outcome,
    run::SetupError,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

/// Niceness of the threads: they take what transfers leave of the processors.
const NICENESS: i32 = 10;

/// The place. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Place(Arc<Semaphore>);

impl Default for Place {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Why nothing is simulated.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Another command is there.
    #[error("the node simulates already, one call at a time; try again later, or use `shoald sim`")]
    Busy,
    /// The system gives no thread.
    #[error("no thread for the simulation: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// A policy does not load, or is not there.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A thread died, or the command was given up.
    #[error("the simulation was lost")]
    Lost,
}

/// A command at work. Dropping it gives the work up, within some ten milliseconds.
#[derive(Debug)]
pub struct Working {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<Result<Vec<Outcome>, SetupError>>,
}

#[derive(Debug)]
struct Shared {
    jobs: Vec<Job>,
    next: AtomicUsize,
    given_up: CancellationToken,
    board: Mutex<Board>,
}

#[derive(Debug)]
struct Board {
    tally: Tally,
    outcomes: Vec<Option<Outcome>>,
    end: Option<oneshot::Sender<Result<Vec<Outcome>, SetupError>>>,
    /// Back before the end of the last run is told: who hears of it may begin the next at once. Where
    /// the work is given up, back when the last thread is done.
    permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Begins the runs of a command, so many at a time at most.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn begin(&self, command: &Command, threads_max: usize) -> Result<Working, PlaceError> {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(|_| PlaceError::Busy)?;
        let jobs = command.jobs();
        let (end, ended) = oneshot::channel();
        let (tally, outcomes) = (Tally::new(jobs.len()), jobs.iter().map(|_| None).collect());
        // One processor is left to the node, where there are several.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores - 1).min(threads_max).clamp(1, jobs.len().max(1));
        let shared = Arc::new(Shared {
            jobs,
            next: AtomicUsize::new(0),
            given_up: CancellationToken::new(),
            board: Mutex::new(Board { tally, outcomes, end: Some(end), permit: Some(permit) }),
        });
        // Made first: where a thread is refused, those that began give up.
        let working = Working { shared, ended };
        for _ in 0..threads {
            let shared = Arc::clone(&working.shared);
            thread::Builder::new().name("shoal-sim".into()).spawn(move || shared.work())?;
        }
        Ok(working)
    }
}

impl Working {
    /// How far it is.
    #[must_use]
    pub fn shown(&self) -> Shown {
        self.shared.board().tally.shown()
    }

    /// What came of the jobs of the command, in their order. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn ended(&mut self) -> Result<Vec<Outcome>, Failed> {
        match (&mut self.ended).await {
            Ok(ended) => Ok(ended?),
            Err(_) => Err(Failed::Lost),
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.shared.given_up.cancel();
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One job after the other, as long as there are any.
    fn work(&self) {
        // Where it may not be nice, it is not: the system shares processors all the same.
        let _ = setpriority_process(None, NICENESS);
        let _lost = Lost(self);
        while !self.given_up.is_cancelled() {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.jobs.get(index) else { return };
            let ran = job.run(|progress| {
                self.board().tally.note(index, progress);
                match self.given_up.is_cancelled() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            match ran {
                Ok(Some(ran)) => self.board().done(index, ran.outcome),
                Ok(None) => return,
                Err(error) => {
                    self.board().tell(Err(error));
                    self.given_up.cancel();
                }
            }
        }
    }
}

impl Board {
    fn done(&mut self, index: usize, outcome: Outcome) {
        self.tally.done(index, outcome.facts, outcome.ended);
        if let Some(place) = self.outcomes.get_mut(index) {
            *place = Some(outcome);
        }
        if self.outcomes.iter().all(Option::is_some) {
            let outcomes = std::mem::take(&mut self.outcomes).into_iter().flatten().collect();
            self.permit = None;
            self.tell(Ok(outcomes));
        }
    }

    fn tell(&mut self, result: Result<Vec<Outcome>, SetupError>) {
        if let Some(end) = self.end.take() {
            // A caller that went away needs no answer.
            drop(end.send(result));
        }
    }
}

/// A thread that dies of a bug takes the others along, and tells that nothing will come: what it had
/// begun would be missing.
struct Lost<'a>(&'a Shared);

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.given_up.cancel();
            self.0.board().end = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shoal_sim::{
        command::{Size, entrant::Entrant},
        plan::{Plan, shipped},
    };
    use tokio::time::{sleep, timeout};

    use super::*;

    fn command(plan: &str, size: Size, seeds: u32) -> Command {
        let plan = Plan::read(shipped::find(plan).unwrap()).unwrap();
        Command::new(&plan, "it", size, vec![Entrant::default()], (1, seeds)).unwrap()
    }

    #[tokio::test]
    async fn outcomes_come_in_the_order_of_the_jobs() {
        let command = command("baseline", Size::Small, 3);
        let place = Place::default();
        let mut working = place.begin(&command, 4).unwrap();
        let outcomes = working.ended().await.unwrap();
        assert_eq!(outcomes.iter().map(|it| it.seed).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(working.shown().done, 3);
        assert!(place.begin(&command, 4).is_ok(), "who hears of the end may begin the next");
    }

    #[tokio::test]
    async fn one_at_a_time_and_what_nobody_wants_is_given_up() {
        let large = command("thousands", Size::Whole, 4);
        let place = Place::default();
        let working = place.begin(&large, 4).unwrap();
        assert!(matches!(place.begin(&large, 4), Err(PlaceError::Busy)));
        drop(working);
        let free = async {
            while place.begin(&large, 4).is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), free).await.unwrap();
    }
}
