//! The pulse of the policy thread: what it is at and for how long, looked at from outside. Never
//! here: what follows where it is late.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use shoal_core::time::Timestamp;

use super::script::thread_time;

/// What the thread shows of itself to those outside.
#[derive(Debug, Default)]
pub(super) struct Beat {
    /// When it began what it is at, microseconds plus one; 0 while it waits.
    began: AtomicU64,
    /// How long that may take before the thread counts as wedged, microseconds.
    allowed: AtomicU64,
    /// CPU time it has used, microseconds.
    cpu_us: AtomicU64,
}

impl Beat {
    /// The thread begins something that may take so long.
    pub(super) fn begin(&self, now: Timestamp, allowed: Duration) {
        let allowed = u64::try_from(allowed.as_micros()).unwrap_or(u64::MAX);
        self.allowed.store(allowed, Ordering::Relaxed);
        self.began.store(now.0.saturating_add(1), Ordering::Release);
    }

    /// The thread is done with it.
    pub(super) fn rest(&self) {
        self.began.store(0, Ordering::Release);
    }

    /// Whether the thread is at one thing for longer than that may take.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        let began = self.began.load(Ordering::Acquire);
        began != 0 && now.0.saturating_sub(began - 1) >= self.allowed.load(Ordering::Relaxed)
    }

    /// CPU time the thread has used, microseconds.
    pub(super) fn cpu_us(&self) -> u64 {
        self.cpu_us.load(Ordering::Relaxed)
    }

    /// Notes the CPU time that this thread has used.
    pub(super) fn note_cpu(&self) {
        let spent = u64::try_from(thread_time().as_micros()).unwrap_or(u64::MAX);
        self.cpu_us.store(spent, Ordering::Relaxed);
    }
}
