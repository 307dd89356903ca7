//! The arguments of `shoalctl jobs`, `tracker`, `node`, `policy` and `events`. Never here: what a
//! command does.

use clap::{Args, Subcommand, ValueEnum};
use shoal::v1::EventKind;

use super::{Limit, Target};

/// A command about jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List running jobs, then ended ones
    List(Limit),
    /// End a running job; what was verified stays
    Cancel(CancelArgs),
}

/// Arguments of jobs cancel.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// The job's id, from jobs list
    pub id: u64,
}

/// A command about swarms.
#[derive(Debug, Subcommand)]
pub enum TrackerCommand {
    /// List the swarms
    Swarms(Limit),
    /// Show the peers of one swarm
    Peers(SwarmArgs),
}

/// Arguments of tracker peers.
#[derive(Args, Debug)]
pub struct SwarmArgs {
    /// Info hash or a prefix of it [default: the only swarm]
    pub hash: Option<String>,
    /// How many.
    #[command(flatten)]
    pub limit: Limit,
}

/// A command about the node.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Show version, roles, addresses and totals
    Info,
    /// End the node in order
    Shutdown,
}

/// Arguments of events.
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// Only this kind; repeatable
    #[arg(long = "kind", value_enum, value_name = "KIND", value_delimiter = ',')]
    pub kinds: Vec<Kind>,
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
    /// Take up after this revision, without a snapshot
    #[arg(long, value_name = "REV", requires = "epoch")]
    pub after: Option<u64>,
    /// The epoch that the revision belongs to
    #[arg(long, value_name = "E", requires = "after")]
    pub epoch: Option<String>,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// A torrent was added or removed, or changed its state.
    Torrent,
    /// Chunks were verified or lost.
    Chunk,
    /// A peer connected, disconnected or misbehaved.
    Peer,
    /// A tracker answered or failed.
    Tracker,
    /// The policy changed, failed or recovered.
    Policy,
    /// A job began, moved or ended.
    Job,
    /// A file was merged.
    Merge,
    /// The disk is full or failing.
    Disk,
    /// A limit, upload slots, labels or the log filter changed.
    Settings,
}

impl From<Kind> for EventKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Torrent => Self::Torrent,
            Kind::Chunk => Self::Chunk,
            Kind::Peer => Self::Peer,
            Kind::Tracker => Self::Tracker,
            Kind::Policy => Self::Policy,
            Kind::Job => Self::Job,
            Kind::Merge => Self::Merge,
            Kind::Disk => Self::Disk,
            Kind::Settings => Self::Settings,
        }
    }
}
