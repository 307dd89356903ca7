//! What the rooms of a session count since the start. Every value is an atomic or behind a lock of
//! its own that is held for an addition: whoever reads waits for no room, and no room for a reader.
//! Counted once a job, an answer or a turn, never by block. What the session itself counts is in
//! [`Census`](shoal_core::session::census::Census).
//!
//! Never here: names and units as operators see them.

use std::time::Instant;

use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};
use shoal_core::{
    policy::{Answer, Verdict},
    session::event::AnnounceFailure,
    tracker::announce::AnnounceReply,
};

use super::run::Rooms;
use crate::net::{Net, NetMeter};

/// Counters by one label.
pub type By = Family<[(&'static str, &'static str); 1], Counter>;

/// Upper bounds of what disk jobs take, seconds: from the page cache to a disk that hangs.
const DISK_S: [f64; 9] = [0.000_1, 0.000_5, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 20.0];
/// Upper bounds of what decisions take, seconds: the budget of one is 10 ms.
const DECISION_S: [f64; 8] = [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_5, 0.002, 0.01, 0.1];

/// What the rooms of a session count. Cheap to clone: clones count together.
#[derive(Clone, Debug)]
pub struct Meters {
    /// Bytes of the peer sockets.
    pub net: NetMeter,
    /// The disk rooms, by name.
    pub rooms: [(&'static str, RoomMeter); 3],
    /// Announces of ours that ended, by `result`.
    pub announces: By,
    /// Troubles with disks, by `kind`.
    pub disk_troubles: By,
    /// 1 while the last commit to the state directory failed, else 0.
    pub commit_failed: Gauge,
    /// Seconds that decisions of scripts took.
    pub decisions: Histogram,
    /// How often the breaker of a policy tripped.
    pub policy_trips: Counter,
    /// How often the policy thread stopped answering.
    pub policy_wedges: Counter,
}

/// What a disk room counts.
#[derive(Clone, Debug)]
pub struct RoomMeter {
    /// Jobs that wait.
    pub waiting: Gauge,
    /// Seconds that jobs waited.
    pub waited: Histogram,
    /// Seconds that jobs took.
    pub worked: Histogram,
}

impl Default for RoomMeter {
    fn default() -> Self {
        let (waited, worked) = (Histogram::new(DISK_S), Histogram::new(DISK_S));
        Self { waiting: Gauge::default(), waited, worked }
    }
}

impl RoomMeter {
    /// Does a job that came then.
    pub(super) fn measure<T>(&self, came: Instant, job: impl FnOnce() -> T) -> T {
        self.waiting.dec();
        let began = Instant::now();
        self.waited.observe(began.saturating_duration_since(came).as_secs_f64());
        let result = job();
        self.worked.observe(began.elapsed().as_secs_f64());
        result
    }
}

impl Meters {
    pub(super) fn of(net: &Net, rooms: &Rooms) -> Self {
        let Rooms { pieces, files, store } = rooms;
        let meters = Self {
            net: net.meter(),
            rooms: [("pieces", pieces.meter()), ("files", files.meter()), ("store", store.meter())],
            announces: By::default(),
            disk_troubles: By::default(),
            commit_failed: Gauge::default(),
            decisions: Histogram::new(DECISION_S),
            policy_trips: Counter::default(),
            policy_wedges: Counter::default(),
        };
        // Shown as 0 before the first: an increase from nothing is none.
        for result in ["ok", "refused", "unreachable", "malformed"] {
            drop(meters.announces.get_or_create(&[("result", result)]));
        }
        for kind in ["disk_full", "io_error", "changed", "commit"] {
            drop(meters.disk_troubles.get_or_create(&[("kind", kind)]));
        }
        meters
    }

    pub(super) fn count_announce(&self, result: &Result<AnnounceReply, AnnounceFailure>) {
        let result = match result {
            Ok(_) => "ok",
            Err(AnnounceFailure::Refused { .. }) => "refused",
            Err(AnnounceFailure::Unreachable { .. }) => "unreachable",
            Err(AnnounceFailure::Malformed { .. }) => "malformed",
        };
        self.announces.get_or_create(&[("result", result)]).inc();
    }

    /// A torrent's disk is full, fails, or changed under us.
    pub(super) fn count_disk_trouble(&self, kind: &'static str) {
        self.disk_troubles.get_or_create(&[("kind", kind)]).inc();
    }

    /// A commit ended.
    pub(super) fn committed(&self, well: bool) {
        self.commit_failed.set(i64::from(!well));
        if !well {
            self.count_disk_trouble("commit");
        }
    }

    /// A script was asked, and answered.
    pub(super) fn count_answer(&self, answer: &Answer) {
        let asked = |verdict: &Verdict| !matches!(verdict, Verdict::Bypassed);
        for judged in answer.verdicts.iter().filter(|judged| asked(&judged.verdict)) {
            self.decisions.observe(f64::from(judged.spent_us) / 1e6);
        }
    }
}
