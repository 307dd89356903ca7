//! The threads that may wait for a disk: rooms with a queue and a few named threads each.
//!
//! | room | threads | what |
//! |---|---|---|
//! | `pieces` | one a core, and one | verify and write received pieces; in the background, check pieces on disk |
//! | `files` | two | read metainfo, open, merge, remove: what may take long for one torrent |
//! | `store` | one | commits, records, totals, looks at files: what must keep its order |
//!
//! A creation has a thread of its own. Never here: what the jobs do.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Instant,
};

use super::meters::RoomMeter;

/// Jobs that may wait in a room. Writes are bounded far below by the buffer budget (64 MiB of
/// 16 KiB pieces are 4 096); additions by their callers.
const QUEUE_LEN_MAX: usize = 16 * 1024;

/// Work that is done once.
pub(super) type Job = Box<dyn FnOnce() + Send>;
/// Work in steps, between which it gives way to jobs; several threads may be at a step each.
pub(super) type Background = Arc<dyn Fn() -> Step + Send + Sync>;

/// Whether background work goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// There is more to do.
    More,
    /// There is nothing left to begin; steps of other threads may still be under way.
    Done,
}

/// The room takes no more: it is full or closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the disk threads take no more work")]
pub(super) struct Refused;

/// A queue and the threads that work it off.
pub(super) struct Room {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
    meter: RoomMeter,
    /// The most threads at jobs, and the most at background work: all but one. That one is there
    /// so that a job never waits for a check, and works while nothing is checked as little as if
    /// it were not there.
    share_max: usize,
}

#[derive(Default)]
struct Queue {
    /// Each with when it came.
    jobs: VecDeque<(Instant, Job)>,
    background: VecDeque<Background>,
    /// Threads at jobs.
    at_jobs: usize,
    /// Threads at background work.
    in_background: usize,
    closed: bool,
}

impl Room {
    /// A room of this many threads.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub(super) fn new(name: &str, threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            bell: Condvar::new(),
            meter: RoomMeter::default(),
            share_max: (threads - 1).max(1),
        });
        let spawn = |n: usize| {
            let shared = shared.clone();
            let name = format!("{name}-{n}");
            std::thread::Builder::new().name(name).spawn(move || shared.work())
        };
        let threads = (0..threads).map(spawn).collect::<io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// What it counts of its jobs.
    pub(super) fn meter(&self) -> RoomMeter {
        self.shared.meter.clone()
    }

    /// Queues a job. Never blocks for longer than another thread takes to queue one.
    ///
    /// # Errors
    /// [`Refused`]; the job was dropped.
    pub(super) fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        let mut queue = self.shared.queue();
        if queue.closed || queue.jobs.len() >= QUEUE_LEN_MAX {
            return Err(Refused);
        }
        queue.jobs.push_back((Instant::now(), Box::new(job)));
        self.shared.meter.waiting.inc();
        drop(queue);
        self.shared.bell.notify_one();
        Ok(())
    }

    /// Whether the next job will be taken. Holds until then for whoever alone submits and closes.
    pub(super) fn has_room(&self) -> bool {
        let queue = self.shared.queue();
        !queue.closed && queue.jobs.len() < QUEUE_LEN_MAX
    }

    /// Queues background work. As many threads as are free are at it, and works take turns, a step
    /// each. It is dropped once it is [`Step::Done`] and its last step has ended.
    ///
    /// # Errors
    /// [`Refused`]; the work was dropped.
    pub(super) fn in_background(
        &self,
        work: impl Fn() -> Step + Send + Sync + 'static,
    ) -> Result<(), Refused> {
        let mut queue = self.shared.queue();
        if queue.closed || queue.background.len() >= QUEUE_LEN_MAX {
            return Err(Refused);
        }
        queue.background.push_back(Arc::new(work));
        drop(queue);
        self.shared.bell.notify_all();
        Ok(())
    }

    /// Takes no more work, drops what is in the background, and gives the threads, which end once
    /// the queued jobs are done, to be joined by somebody who may wait.
    pub(super) fn close(&mut self) -> Vec<JoinHandle<()>> {
        {
            let mut queue = self.shared.queue();
            queue.closed = true;
            queue.background.clear();
        }
        self.shared.bell.notify_all();
        std::mem::take(&mut self.threads)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The threads end by themselves.
        drop(self.close());
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing under the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.queue();
        loop {
            if let Some((came, job)) = self.next_job(&mut queue) {
                drop(queue);
                self.meter.measure(came, || run("job", job));
                queue = self.queue();
                queue.at_jobs -= 1;
            } else if let Some(work) = self.next_background(&mut queue) {
                drop(queue);
                let step = run("background work", &*work).unwrap_or(Step::Done);
                queue = self.queue();
                queue.in_background -= 1;
                if step == Step::Done {
                    queue.background.retain(|other| !Arc::ptr_eq(other, &work));
                }
            } else if queue.closed {
                // Jobs that are left are with the threads that are at one.
                return;
            } else {
                queue = self.bell.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn next_job(&self, queue: &mut Queue) -> Option<(Instant, Job)> {
        if queue.at_jobs >= self.share_max {
            return None;
        }
        let job = queue.jobs.pop_front()?;
        queue.at_jobs += 1;
        Some(job)
    }

    /// The next work, which stays in the queue for others.
    fn next_background(&self, queue: &mut Queue) -> Option<Background> {
        if queue.in_background >= self.share_max {
            return None;
        }
        let work = queue.background.pop_front()?;
        queue.background.push_back(work.clone());
        queue.in_background += 1;
        Some(work)
    }
}

/// Runs work that must not take the thread down. What it was to report is reported by guards that
/// the work holds.
fn run<T>(what: &str, work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        tracing::error!(what, "a disk thread's work failed; this is a bug");
    }
    result.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel},
    };

    use super::*;

    fn join(mut room: Room) {
        room.close().into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn jobs_go_before_background_work() {
        let room = Room::new("test", 1).unwrap();
        let (go, gate) = channel::<()>();
        let (told, heard) = channel();
        let out = told.clone();
        // Holds the only thread until everything is queued.
        room.submit(move || gate.recv().unwrap()).unwrap();
        let steps = AtomicU32::new(0);
        room.in_background(move || {
            let step = steps.fetch_add(1, Ordering::Relaxed) + 1;
            out.send(format!("step {step}")).unwrap();
            if step < 2 { Step::More } else { Step::Done }
        })
        .unwrap();
        room.submit(move || told.send("job".to_owned()).unwrap()).unwrap();
        go.send(()).unwrap();
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["job", "step 1", "step 2"]);
        join(room);
    }

    #[test]
    fn a_job_that_panics_takes_nothing_with_it() {
        let room = Room::new("test", 1).unwrap();
        let (told, heard) = channel();
        room.submit(|| std::panic::resume_unwind(Box::new("a bug"))).unwrap();
        room.in_background(|| std::panic::resume_unwind(Box::new("a bug"))).unwrap();
        room.submit(move || told.send(1).unwrap()).unwrap();
        assert_eq!(heard.recv(), Ok(1));
        join(room);
    }

    #[test]
    fn a_closed_room_finishes_its_jobs_and_takes_no_more() {
        let mut room = Room::new("test", 2).unwrap();
        let (told, heard) = channel();
        for n in 0..100 {
            let told = told.clone();
            room.submit(move || told.send(n).unwrap()).unwrap();
        }
        let threads = room.close();
        assert_eq!(room.submit(|| ()), Err(Refused));
        assert_eq!(room.in_background(|| Step::More), Err(Refused));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(told);
        assert_eq!(heard.iter().count(), 100);
    }

    /// Background work whose steps each wait for a word; where steps begin, and the words.
    fn stubborn(room: &Room) -> (Receiver<()>, Sender<Step>) {
        let (begin, begun) = channel();
        let (word, words) = channel();
        let words = Mutex::new(words);
        room.in_background(move || {
            begin.send(()).unwrap();
            // A word at a time, so that each step that began gets one.
            words.lock().unwrap().recv().unwrap()
        })
        .unwrap();
        (begun, word)
    }

    #[test]
    fn a_job_never_waits_for_background_work_that_has_all_it_may_have() {
        let room = Room::new("test", 3).unwrap();
        let (begun, word) = stubborn(&room);
        // Both threads that it may have are at a step, and neither ends.
        begun.recv().unwrap();
        begun.recv().unwrap();
        let (told, heard) = channel();
        room.submit(move || told.send(1).unwrap()).unwrap();
        assert_eq!(heard.recv(), Ok(1));
        assert!(begun.try_recv().is_err(), "the third thread is for jobs");
        word.send(Step::Done).unwrap();
        word.send(Step::Done).unwrap();
        join(room);
    }

    #[test]
    fn several_threads_are_at_one_work_and_works_take_turns() {
        let room = Room::new("test", 3).unwrap();
        let (first, word) = stubborn(&room);
        first.recv().unwrap();
        first.recv().unwrap();
        let (second, other_word) = stubborn(&room);
        // The thread that is free again goes on where the turn is: at the first, then at the other,
        // though the first has more.
        word.send(Step::More).unwrap();
        first.recv().unwrap();
        word.send(Step::More).unwrap();
        second.recv().unwrap();
        other_word.send(Step::Done).unwrap();
        first.recv().unwrap();
        assert!(second.try_recv().is_err(), "what is done is not begun again");
        word.send(Step::Done).unwrap();
        word.send(Step::Done).unwrap();
        join(room);
    }

    #[test]
    fn jobs_have_one_thread_less_than_there_are() {
        let room = Room::new("test", 3).unwrap();
        let (begin, begun) = channel();
        let (go, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..3 {
            let (begin, gate) = (begin.clone(), gate.clone());
            let job = move || {
                begin.send(()).unwrap();
                gate.lock().unwrap().recv().unwrap();
            };
            room.submit(job).unwrap();
        }
        begun.recv().unwrap();
        begun.recv().unwrap();
        assert!(begun.try_recv().is_err());
        // Only another one's end begins it.
        go.send(()).unwrap();
        begun.recv().unwrap();
        go.send(()).unwrap();
        go.send(()).unwrap();
        join(room);
    }
}
