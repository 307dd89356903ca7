//! How often a host speaks without being asked: to its peers of others, and to the tracker. Never
//! here: what it says.

use shoal_core::{
    config::PEX_EVERY,
    time::Timestamp,
    tracker::announce::{AnnounceRequest, ShoalStatus},
};

use super::{Check, Checks};

/// What a host said in the last announce that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Announced {
    at: Timestamp,
    /// It told its status, and did not only ask whether the tracker wants it.
    with_status: bool,
    /// Bytes that it lacked.
    left: u64,
    /// The least time to the next one, as the tracker said, seconds.
    min_interval_s: u32,
}

impl Announced {
    /// An announce that was answered.
    pub(crate) fn new(at: Timestamp, request: &AnnounceRequest, min_interval_s: u32) -> Self {
        Self { at, with_status: has_status(request), left: request.left, min_interval_s }
    }
}

impl Checks {
    /// A host tells a peer of others, as it did at `before`.
    pub(crate) fn gossiped(&mut self, now: Timestamp, host: usize, before: Option<Timestamp>) {
        let waited = before.map(|at| now.since(at));
        let holds = waited.is_none_or(|waited| waited >= PEX_EVERY);
        self.that(now, host, Check::Gossip, holds, || {
            format!("a peer is told of others again after {waited:?}")
        });
    }

    /// A host announces, as it did `before`. What happened to it may be told at once (BEP 3), and so
    /// may its status to a tracker that turned out to want it, and that it lacks nothing any more,
    /// which has no event where only a part was wanted.
    pub(crate) fn announces(
        &mut self,
        now: Timestamp,
        host: usize,
        request: &AnnounceRequest,
        before: Option<Announced>,
    ) {
        let Some(before) = before else { return };
        let waited = now.since(before.at);
        let is_due = waited.as_secs() >= u64::from(before.min_interval_s);
        let is_news = request.event.is_some()
            || (has_status(request) && !before.with_status)
            || (request.left == 0 && before.left > 0);
        self.that(now, host, Check::Announces, is_due || is_news, || {
            format!("it announces again after {waited:?}: {request:?}")
        });
    }
}

fn has_status(request: &AnnounceRequest) -> bool {
    request.shoal.as_ref().is_some_and(|status| *status != ShoalStatus::default())
}
