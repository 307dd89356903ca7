//! What is awaited, and until when: a closed set of timers with one wake-up.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::{AnnounceId, CommandId, ConnId, JobId, RoundId, TorrentId},
    time::Timestamp,
};

/// A timer. Each exists at most once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Rates, snubs, take-overs, statuses: while there are connections or jobs.
    Tick,
    /// A request of a quest, or the hello of one of its peers, is overdue; or a peer may be asked again.
    Metadata(TorrentId),
    /// A torrent's next announce.
    Announce(TorrentId),
    /// An announce is overdue.
    AnnounceDeadline(TorrentId, AnnounceId),
    /// A dial is overdue.
    Dial(ConnId),
    /// A peer takes its time to say what it has.
    Introduction(ConnId),
    /// A torrent may dial somebody again.
    Redial(TorrentId),
    /// Peers of a torrent may be told of each other.
    Gossip(TorrentId),
    /// Torrents are announced on the local network.
    LocalAnnounce,
    /// A consultation is overdue.
    Round(RoundId),
    /// A deferred consultation may be made.
    Deferred(TorrentId),
    /// A ping is overdue.
    Ping(CommandId),
    /// A `request_download` is overdue.
    Request(JobId),
    /// A full disk is tried again.
    DiskRetry(TorrentId),
    /// The shutdown is overdue.
    Shutdown,
}

/// The timers set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    at: BTreeMap<Timer, Timestamp>,
    queue: BTreeSet<(Timestamp, Timer)>,
}

impl Timers {
    /// Sets a timer, in place of what it was set to.
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        if self.at.get(&timer).copied().unwrap_or(Timestamp::NEVER) == at {
            return;
        }
        self.clear(timer);
        if at != Timestamp::NEVER {
            self.at.insert(timer, at);
            self.queue.insert((at, timer));
        }
    }

    /// Sets a timer, unless it is set to an earlier time.
    pub(crate) fn set_sooner(&mut self, timer: Timer, at: Timestamp) {
        if self.at.get(&timer).is_none_or(|set| at < *set) {
            self.set(timer, at);
        }
    }

    /// Stops a timer.
    pub(crate) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.queue.remove(&(at, timer));
        }
    }

    /// Whether a timer is set.
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.at.contains_key(&timer)
    }

    /// Takes out a timer that is due.
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<Timer> {
        let &(at, timer) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }

    /// When the next is due.
    pub(crate) fn next(&self) -> Timestamp {
        self.queue.first().map_or(Timestamp::NEVER, |&(at, _)| at)
    }
}
