//! What happened, on its way to the policies: a bounded queue for each, the oldest dropped first and
//! counted (policy.md §2). Whoever puts in never waits. Never here: a handler.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use prometheus_client::metrics::counter::Counter;
use shoal_core::{ids::PolicyId, policy::Report};

use super::lock;

/// The most events that wait for one policy.
pub(super) const EVENTS_MAX: usize = 1024;

/// The queues of the policies of one thread.
#[derive(Debug, Default)]
pub(super) struct Mail {
    queues: Mutex<BTreeMap<PolicyId, Queue>>,
    /// Events dropped since the node started, whatever became of their policies.
    dropped: Counter,
}

#[derive(Debug, Default)]
struct Queue {
    reports: VecDeque<Box<Report>>,
    dropped: u64,
}

impl Mail {
    /// Empty queues that add what they drop to this counter.
    pub(super) fn counting(dropped: Counter) -> Self {
        Self { dropped, ..Self::default() }
    }

    /// Puts an event in. Tells whether nothing waited for any policy before.
    pub(super) fn put(&self, report: Box<Report>) -> bool {
        let mut queues = lock(&self.queues);
        let was_empty = queues.values().all(|queue| queue.reports.is_empty());
        let queue = queues.entry(report.policy).or_default();
        if queue.reports.len() >= EVENTS_MAX {
            queue.reports.pop_front();
            queue.dropped += 1;
            self.dropped.inc();
        }
        queue.reports.push_back(report);
        was_empty
    }

    /// The oldest event of the policy that has most waiting.
    pub(super) fn take(&self) -> Option<Box<Report>> {
        let mut queues = lock(&self.queues);
        queues.values_mut().max_by_key(|queue| queue.reports.len())?.reports.pop_front()
    }

    /// How many events of a policy were dropped.
    pub(super) fn dropped(&self, policy: PolicyId) -> u64 {
        lock(&self.queues).get(&policy).map_or(0, |queue| queue.dropped)
    }

    /// A policy is gone, and what waited for it.
    pub(super) fn forget(&self, policy: PolicyId) {
        lock(&self.queues).remove(&policy);
    }
}

#[cfg(test)]
mod tests {
    use shoal_core::{
        ids::{InfoHash, TorrentId},
        policy::{DownloadView, Happening},
        time::Timestamp,
    };

    use super::*;

    fn report(policy: u64, at: u64) -> Box<Report> {
        let download = DownloadView {
            id: InfoHash([0; 20]),
            name: String::new(),
            total: 0,
            done: 0,
            rate_bps: 0,
            endgame: false,
            elapsed_ms: 0,
        };
        let (policy, torrent, now) = (PolicyId(policy), TorrentId(1), Timestamp(at));
        Box::new(Report { policy, torrent, now, download, what: Happening::Finished })
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_them() {
        let mail = Mail::default();
        assert!(mail.put(report(1, 0)), "it was empty");
        for at in 1..EVENTS_MAX as u64 + 2 {
            assert!(!mail.put(report(1, at)));
        }
        mail.put(report(2, 9));
        assert_eq!((mail.dropped(PolicyId(1)), mail.dropped(PolicyId(2))), (2, 0));
        assert_eq!(mail.dropped.get(), 2);
        assert_eq!(mail.take().map(|report| report.now), Some(Timestamp(2)));
        mail.forget(PolicyId(1));
        assert_eq!(mail.take().map(|report| report.policy), Some(PolicyId(2)));
        assert!(mail.take().is_none());
    }
}
