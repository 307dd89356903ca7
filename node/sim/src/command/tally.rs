//! How far the runs of a command are, in all. Never here: how that is drawn.

use std::time::Duration;

use crate::{report::words, run::Progress};

/// How far each run is.
#[derive(Clone, Debug)]
pub struct Tally {
    runs: Vec<At>,
}

/// How far all of them are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shown {
    /// Runs that came to their end.
    pub done: usize,
    /// Runs there are.
    pub runs: usize,
    /// The part of all that is done, by what hosts have; 0 to 1.
    pub part: f64,
    /// Virtual time that passed, of all runs together.
    pub virtual_time: Duration,
    /// Facts that sessions were handed in all runs.
    pub facts: u64,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Waiting,
    Running(Progress),
    Done(Progress),
}

impl Tally {
    /// Of so many runs, none of which has begun.
    #[must_use]
    pub fn new(runs: usize) -> Self {
        Self { runs: vec![At::Waiting; runs] }
    }

    /// A run is so far.
    pub fn note(&mut self, run: usize, progress: Progress) {
        if let Some(at) = self.runs.get_mut(run) {
            *at = At::Running(progress);
        }
    }

    /// A run came to its end, with so many facts, after so much virtual time.
    pub fn done(&mut self, run: usize, facts: u64, at: Duration) {
        if let Some(place) = self.runs.get_mut(run) {
            *place = At::Done(Progress { at, facts, part: 1.0 });
        }
    }

    /// How far all of them are.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let mut shown = Shown {
            done: 0,
            runs: self.runs.len(),
            part: 0.0,
            virtual_time: Duration::ZERO,
            facts: 0,
        };
        let mut parts = 0.0;
        for at in &self.runs {
            let progress = match at {
                At::Waiting => continue,
                At::Running(progress) => {
                    parts += progress.part;
                    progress
                }
                At::Done(progress) => {
                    (shown.done, parts) = (shown.done + 1, parts + 1.0);
                    progress
                }
            };
            shown.virtual_time = shown.virtual_time.saturating_add(progress.at);
            shown.facts = shown.facts.saturating_add(progress.facts);
        }
        shown.part = parts / self.runs.len().max(1) as f64;
        shown
    }
}

impl Shown {
    /// What stands beside a bar: `3 of 9 runs, 1m10s of virtual time, 1 200 000 facts`.
    #[must_use]
    pub fn words(&self) -> String {
        let time = words::seconds(self.virtual_time.as_secs_f64());
        let facts = words::whole(self.facts);
        format!(
            "{} of {}, {time} of virtual time, {facts} facts",
            self.done,
            words::many(self.runs as u64, "run")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_added_up() {
        let mut tally = Tally::new(4);
        let at = |seconds| Duration::from_secs(seconds);
        tally.note(1, Progress { at: at(3), facts: 50, part: 0.25 });
        tally.note(0, Progress { at: at(2), facts: 10, part: 0.25 });
        tally.done(0, 100, at(10));
        tally.note(9, Progress { at: at(2), facts: 10, part: 0.25 });
        let shown = tally.shown();
        assert_eq!((shown.done, shown.runs, shown.facts), (1, 4, 150));
        assert!((shown.part - 1.25 / 4.0).abs() < 1e-9);
        assert_eq!(shown.words(), "1 of 4 runs, 13.0 s of virtual time, 150 facts");
        assert_eq!(Tally::new(0).shown().runs, 0);
    }
}
