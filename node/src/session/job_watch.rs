//! Who follows which job: a bell for each, rung on its progress and its end.
//!
//! Never here: how a job stands; that is asked of the session.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shoal_core::ids::JobId;
use tokio::sync::watch;

/// The value behind a job's bell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JobBeat {
    /// Rises with every news of the job.
    pub news: u64,
    /// It has ended; nothing more will come.
    pub ended: bool,
}

/// The bells of the jobs that somebody follows.
#[derive(Clone, Debug, Default)]
pub(super) struct JobWatches(Arc<Mutex<BTreeMap<JobId, watch::Sender<JobBeat>>>>);

impl JobWatches {
    /// A bell for this job.
    pub(super) fn watch(&self, job: JobId) -> watch::Receiver<JobBeat> {
        let mut bells = self.bells();
        // Bounded by those who follow: nobody else's bells are kept.
        bells.retain(|_, bell| bell.receiver_count() > 0);
        bells.entry(job).or_insert_with(|| watch::channel(JobBeat::default()).0).subscribe()
    }

    /// The job got on.
    pub(super) fn progressed(&self, job: JobId) {
        if let Some(bell) = self.bells().get(&job) {
            bell.send_modify(|beat| beat.news += 1);
        }
    }

    /// The job ended.
    pub(super) fn ended(&self, job: JobId) {
        if let Some(bell) = self.bells().remove(&job) {
            bell.send_modify(|beat| *beat = JobBeat { news: beat.news + 1, ended: true });
        }
    }

    /// The session ends: those who follow learn it by a closed channel.
    pub(super) fn close(&self) {
        self.bells().clear();
    }

    fn bells(&self) -> MutexGuard<'_, BTreeMap<JobId, watch::Sender<JobBeat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_hears_of_progress_and_the_end() {
        let watches = JobWatches::default();
        let mut bell = watches.watch(JobId(1));
        let other = watches.watch(JobId(2));
        watches.progressed(JobId(1));
        bell.changed().await.unwrap();
        assert_eq!(*bell.borrow_and_update(), JobBeat { news: 1, ended: false });
        watches.ended(JobId(1));
        assert!(bell.changed().await.is_ok(), "the last value is seen before the close");
        assert_eq!(*bell.borrow_and_update(), JobBeat { news: 2, ended: true });
        assert!(bell.changed().await.is_err());
        assert!(!other.has_changed().unwrap());
    }

    #[test]
    fn bells_that_nobody_hears_are_not_kept() {
        let watches = JobWatches::default();
        for job in 0..100 {
            drop(watches.watch(JobId(job)));
        }
        assert_eq!(watches.bells().len(), 1);
    }
}
