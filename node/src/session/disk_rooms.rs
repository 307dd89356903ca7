//! The threads that may wait for a disk: rooms with a queue and a few named threads each.
//!
//! | room | threads | what |
//! |---|---|---|
//! | `pieces` | one a core | verify and write received pieces; in the background, check pieces on disk |
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
};

/// Jobs that may wait in a room. Writes are bounded far below by the buffer budget (64 MiB of
/// 16 KiB pieces are 4 096); additions by their callers.
const QUEUE_LEN_MAX: usize = 16 * 1024;

/// Work that is done once.
pub(super) type Job = Box<dyn FnOnce() + Send>;
/// Work in steps, between which it gives way to jobs.
pub(super) type Background = Box<dyn FnMut() -> Step + Send>;

/// Whether background work goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// There is more to do.
    More,
    /// It is done.
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
    /// The most threads at background work at once: one is always left for jobs where there are
    /// several.
    background_max: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    background: VecDeque<Background>,
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
            background_max: (threads - 1).max(1),
        });
        let spawn = |n: usize| {
            let shared = shared.clone();
            let name = format!("{name}-{n}");
            std::thread::Builder::new().name(name).spawn(move || shared.work())
        };
        let threads = (0..threads).map(spawn).collect::<io::Result<_>>()?;
        Ok(Self { shared, threads })
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
        queue.jobs.push_back(Box::new(job));
        drop(queue);
        self.shared.bell.notify_one();
        Ok(())
    }

    /// Whether the next job will be taken. Holds until then for whoever alone submits and closes.
    pub(super) fn has_room(&self) -> bool {
        let queue = self.shared.queue();
        !queue.closed && queue.jobs.len() < QUEUE_LEN_MAX
    }

    /// Queues background work. Works take turns, a step each.
    ///
    /// # Errors
    /// [`Refused`]; the work was dropped.
    pub(super) fn in_background(
        &self,
        work: impl FnMut() -> Step + Send + 'static,
    ) -> Result<(), Refused> {
        let mut queue = self.shared.queue();
        if queue.closed || queue.background.len() >= QUEUE_LEN_MAX {
            return Err(Refused);
        }
        queue.background.push_back(Box::new(work));
        drop(queue);
        self.shared.bell.notify_one();
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
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                run("job", job);
                queue = self.queue();
            } else if let Some(mut work) = self.next_background(&mut queue) {
                drop(queue);
                let step = run("background work", &mut work).unwrap_or(Step::Done);
                queue = self.queue();
                queue.in_background -= 1;
                if step == Step::More && !queue.closed {
                    queue.background.push_back(work);
                }
            } else if queue.closed {
                return;
            } else {
                queue = self.bell.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn next_background(&self, queue: &mut Queue) -> Option<Background> {
        if queue.in_background >= self.background_max {
            return None;
        }
        let work = queue.background.pop_front()?;
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
    use std::sync::mpsc::channel;

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
        let mut steps = 0;
        room.in_background(move || {
            steps += 1;
            out.send(format!("step {steps}")).unwrap();
            if steps < 2 { Step::More } else { Step::Done }
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

    #[test]
    fn endless_background_work_leaves_a_thread_for_jobs() {
        let room = Room::new("test", 2).unwrap();
        let (go, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        room.in_background(move || {
            gate.lock().unwrap().recv().unwrap();
            Step::Done
        })
        .unwrap();
        room.in_background(|| Step::Done).unwrap();
        let (told, heard) = channel();
        room.submit(move || told.send(1).unwrap()).unwrap();
        assert_eq!(heard.recv(), Ok(1));
        go.send(()).unwrap();
        join(room);
    }
}
