//! A plan made small, for checks that have to be quick. Never here: what a plan means.

use std::time::Duration;

use super::{
    Arrival, Class, FaultKind, Plan, Stay,
    limits::{INSTANT, LIMIT_MAX, RATE_BPS_MIN, SMALL_HOSTS, SMALL_PIECES},
};

/// A part of a whole, exact: `of` is never 0.
#[derive(Clone, Copy)]
struct Ratio {
    part: u64,
    of: u64,
}

impl Plan {
    /// The same plan with at most [`SMALL_HOSTS`] hosts and [`SMALL_PIECES`] pieces, so that a run
    /// costs a second. A plan that is small already is left as it is.
    ///
    /// * Each class keeps one host; the rest of the forty are shared in proportion to the other
    ///   hosts of each, rounded down. A plan of more than forty classes keeps one of each.
    /// * Pieces are dropped from the end of the content; their length, the links, the disks and the
    ///   connections of a host stay. A transfer is as much shorter as there are fewer pieces, and
    ///   passes through the same states at the same rates.
    /// * So do the times at which faults begin and end, hosts come, and go: they are multiplied by
    ///   the part of the pieces that is left, at least 1 us. Random arrivals are spread so that the
    ///   fewer hosts take the same part of the transfer to come.
    /// * The rate between two zones is multiplied by the part of the hosts that is left: as many
    ///   share it.
    /// * A fault befalls its part of the class, rounded down, and at least one host.
    /// * The limit, the tracker, the conduct of hosts and what must hold stay. Constants of the
    ///   engine stay too: a fault that is to outlast them (20 s until a silent peer is snubbed,
    ///   180 s until it is left) still does only in a plan of no more pieces than a small one has.
    #[must_use]
    pub fn small(&self) -> Self {
        let mut small = self.clone();
        let (hosts, pieces) = (self.hosts(), self.pieces());
        if pieces > SMALL_PIECES {
            small.content_bytes = u64::from(SMALL_PIECES) * u64::from(self.piece_len);
        }
        let time = Ratio::new(pieces.min(SMALL_PIECES), pieces);
        if hosts > SMALL_HOSTS {
            let kinds = u32::try_from(self.classes.len()).unwrap_or(u32::MAX);
            let share = Ratio::new(SMALL_HOSTS.saturating_sub(kinds), hosts.saturating_sub(kinds));
            for class in &mut small.classes {
                class.count = 1 + share.of_count(class.count.saturating_sub(1));
            }
        }
        let crowd = Ratio::new(small.hosts(), hosts);
        for between in &mut small.between {
            between.rate_bps = between.rate_bps.map(|bps| crowd.of_rate(bps));
        }
        for (class, whole) in small.classes.iter_mut().zip(&self.classes) {
            class.arrival = arrival(class, whole, time);
            class.stay = match class.stay {
                Stay::Forever => Stay::Forever,
                Stay::AfterComplete(after) => Stay::AfterComplete(time.of_time(after)),
                Stay::ForAbout(about) => Stay::ForAbout(time.of_time(about).max(INSTANT)),
            };
        }
        let counts = small.classes.iter().zip(&self.classes);
        let befallen =
            counts.map(|(class, whole)| Ratio::new(class.count, whole.count)).collect::<Vec<_>>();
        for fault in &mut small.faults {
            fault.at = time.of_time(fault.at);
            fault.until = fault.until.map(|until| time.of_time(until).max(fault.at + INSTANT));
            fault.kind = befalls(fault.kind, |class, hosts| {
                befallen.get(class).map_or(hosts, |part| part.of_count(hosts).max(1))
            });
        }
        small
    }
}

impl Ratio {
    fn new(part: u32, of: u32) -> Self {
        Self { part: part.into(), of: u64::from(of).max(1) }
    }

    /// So much of a number of hosts; never more than there are.
    fn of_count(self, count: u32) -> u32 {
        let share = u64::from(count) * self.part / self.of;
        u32::try_from(share).unwrap_or(count).min(count)
    }

    fn of_rate(self, bps: u64) -> u64 {
        let share = u128::from(bps) * u128::from(self.part) / u128::from(self.of);
        u64::try_from(share).unwrap_or(u64::MAX).max(RATE_BPS_MIN)
    }

    fn of_time(self, time: Duration) -> Duration {
        let nanos = time.as_nanos() * u128::from(self.part) / u128::from(self.of);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(LIMIT_MAX)
    }
}

/// When the hosts of a class come that was `whole`, in so much of the time.
fn arrival(class: &Class, whole: &Class, time: Ratio) -> Arrival {
    match class.arrival {
        Arrival::At(at) => Arrival::At(time.of_time(at)),
        Arrival::Over(from, over) => {
            Arrival::Over(time.of_time(from), time.of_time(over).max(INSTANT))
        }
        Arrival::Every(from, every) => {
            let rarer = Ratio {
                part: time.part * u64::from(whole.count),
                of: time.of * u64::from(class.count.max(1)),
            };
            Arrival::Every(time.of_time(from), rarer.of_time(every).max(INSTANT))
        }
    }
}

/// The same fault, for as many hosts of each class as `hosts` says.
fn befalls(kind: FaultKind, hosts: impl Fn(usize, u32) -> u32) -> FaultKind {
    match kind {
        FaultKind::TrackerOutage | FaultKind::Cut(..) => kind,
        FaultKind::DiskFull(class, count) => FaultKind::DiskFull(class, hosts(class, count)),
        FaultKind::SlowDisk(class, count, bps) => {
            FaultKind::SlowDisk(class, hosts(class, count), bps)
        }
        FaultKind::Crash(class, count) => FaultKind::Crash(class, hosts(class, count)),
        FaultKind::BadMemory(class, count, part) => {
            FaultKind::BadMemory(class, hosts(class, count), part)
        }
    }
}
