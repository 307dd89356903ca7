//! What is simulated: a population, its links, what goes wrong, and what must hold. The types are
//! here; `read` (with `read_class` and `read_fault`) makes them of TOML within [`limits`],
//! `section` takes tables apart, `error` is what is wrong with one, `value` reads units, `small`
//! shrinks a plan, [`shipped`] lists the plans that come with shoal. Never here: how anything is
//! simulated.

mod error;
pub mod limits;
mod read;
mod read_class;
mod read_fault;
mod section;
pub mod shipped;
mod small;
#[cfg(test)]
mod tests;
mod value;

use std::{sync::Arc, time::Duration};

use shoal_core::config::Unchoke;

pub use error::PlanError;

/// A plan, checked: names that it uses are there, numbers are within bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its name, `[a-z0-9_]`, at most 64 characters.
    pub name: String,
    /// What it is about, one line.
    pub description: String,
    /// Bytes of the content that the swarm shares, one file.
    pub content_bytes: u64,
    /// Bytes of a piece, a power of two from 16 KiB to 16 MiB.
    pub piece_len: u32,
    /// Virtual time at which a run ends at the latest; who is not complete then, is not.
    pub limit: Duration,
    /// Where hosts are; never empty. A plan that names none has one, `main`.
    pub zones: Vec<Zone>,
    /// What lies between two zones; pairs that are not named are as near as the hosts of one.
    pub between: Vec<Between>,
    /// The population, by class; never empty.
    pub classes: Vec<Class>,
    /// The tracker.
    pub tracker: Tracker,
    /// What goes wrong, in the order of the file.
    pub faults: Vec<Fault>,
    /// What must hold at the end, beside the checks that always do.
    pub expect: Expect,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name, which its hosts have as label `zone`.
    pub name: Arc<str>,
}

/// The network between two zones, shared by all that passes.
#[derive(Clone, Debug, PartialEq)]
pub struct Between {
    /// Two indexes into [`Plan::zones`], the smaller first.
    pub zones: (usize, usize),
    /// Bytes a second in each direction; `None` is no limit.
    pub rate_bps: Option<u64>,
    /// One way, beside what the hosts' own links have.
    pub latency: Duration,
    /// What may wait before it, as the time it takes to pass.
    pub queue: Duration,
}

/// Hosts that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name, `[a-z0-9_]`.
    pub name: Arc<str>,
    /// How many hosts, 1 to 100 000 in all classes together.
    pub count: u32,
    /// Index into [`Plan::zones`]; where the class names several zones it was split.
    pub zone: usize,
    /// Its link.
    pub link: Link,
    /// The part of the pieces that it begins with, 0 to 1; 1 is a seed. Which ones is drawn for
    /// each.
    pub has: f64,
    /// When its hosts come.
    pub arrival: Arrival,
    /// When they go.
    pub stay: Stay,
    /// By whom its hosts choose peers; `None` is the plan's or the command's.
    pub policy: Option<PolicyName>,
    /// Whom they serve.
    pub unchoke: Unchoke,
    /// Most connections of a host.
    pub connections_max: usize,
    /// What its disks verify and write, bytes a second.
    pub disk_bps: u64,
    /// How they behave.
    pub conduct: Conduct,
}

/// The way from a host to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Payload that it can send, bytes a second, shared by its connections.
    pub up_bps: u64,
    /// Payload that it can receive, bytes a second, shared by its connections.
    pub down_bps: u64,
    /// From the host to the middle of its zone, one way: two hosts of a zone are twice as far
    /// apart.
    pub latency: Duration,
    /// The most that is added to the way of a message, drawn for each.
    pub jitter: Duration,
    /// What may wait before the link in each direction, as the time it takes to pass: whatever is
    /// sent by a host whose uplink is busy waits so long.
    pub queue: Duration,
}

/// When the hosts of a class come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// All at once.
    At(Duration),
    /// Spread evenly over the second time, from the first on.
    Over(Duration, Duration),
    /// One after the other from the first time on, at random intervals of this mean (Poisson).
    Every(Duration, Duration),
}

/// When the hosts of a class go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Not before the end.
    Forever,
    /// So long after they have everything.
    AfterComplete(Duration),
    /// So long after they came, complete or not: at random with this mean.
    ForAbout(Duration),
}

/// How a host treats the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Conduct {
    /// As shoal does.
    Honest,
    /// It chokes everybody.
    FreeRider,
    /// It claims to have every piece, and rejects requests for those it has not.
    Liar,
    /// It claims to have every piece and sends noise in place of this part of the blocks.
    Corrupter(f64),
    /// It sends no more than so many bytes a second to each peer.
    SlowLoris(u64),
    /// It breaks each of its connections after about this time.
    Flapper(Duration),
}

impl Conduct {
    /// Whether a host plays by the rules, and has a right to finish.
    #[must_use]
    pub fn is_honest(self) -> bool {
        matches!(self, Self::Honest)
    }
}

/// The name of a policy, as on the command line: `native:fastest`, `fastest` (native where there is
/// one), `fastest.lua`, or a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyName(pub String);

/// The tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracker {
    /// How often it asks peers to announce.
    pub interval: Duration,
    /// How soon they may at the earliest.
    pub min_interval: Duration,
    /// Peers in a reply, at most.
    pub numwant_max: u32,
    /// The way to it and back.
    pub round_trip: Duration,
}

/// Something that goes wrong for a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// When it begins.
    pub at: Duration,
    /// When it is mended; a crash: when the host is back. `None`: never.
    pub until: Option<Duration>,
    /// What.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// The tracker refuses connections.
    TrackerOutage,
    /// Nothing passes between two zones, indexes into [`Plan::zones`].
    Cut(usize, usize),
    /// The disks of so many hosts of a class (index) are full.
    DiskFull(usize, u32),
    /// They verify and write no more than so many bytes a second.
    SlowDisk(usize, u32, u64),
    /// The processes of so many hosts are killed.
    Crash(usize, u32),
    /// What so many hosts send is wrong in this part of the blocks, though they mean no harm.
    BadMemory(usize, u32, f64),
}

/// What must hold at the end. `None` is not looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// The part of the honest hosts that did not leave before their time, which must be complete.
    /// Default 1.
    pub complete: Option<f64>,
    /// The time from arrival to complete of 99 of 100 of them, at most.
    pub p99_max: Option<Duration>,
    /// What all seeds together send, in multiples of the content, at most.
    pub seed_copies_max: Option<f64>,
    /// Bytes that crossed between zones, in multiples of the content, at most.
    pub across_max: Option<f64>,
    /// Jain's index of what honest leechers uploaded, at least.
    pub jain_min: Option<f64>,
    /// Bytes received in vain, as a part of all received, at most.
    pub waste_max: Option<f64>,
    /// Adversaries that are banned by at least one host, as a part of all, at least.
    pub banned_min: Option<f64>,
    /// With slots: how much longer or shorter than the mean any peer may be unchoked by a seed, as
    /// a part of the mean.
    pub unchoke_spread_max: Option<f64>,
}
