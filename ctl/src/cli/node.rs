//! The arguments of `shoalctl jobs`, `tracker`, `node`, `policy` and `events`. Never here: what a
//! command does.

use clap::{Args, Subcommand, ValueEnum};
use shoal::v1::EventKind;

use super::{
    Limit, Target,
    manner::{ListArgs, Watch},
};

/// A command about jobs.
#[derive(Clone, Debug, Subcommand)]
pub enum JobsCommand {
    /// List running jobs, then ended ones
    List(ListArgs),
    /// Wait until jobs have ended
    #[command(
        after_help = "Exit code: 0 every job ended well, 7 one failed or was cancelled, 3 one \
                            is not known, else as for every command."
    )]
    Wait(WaitArgs),
    /// End a running job; what was verified stays
    Cancel(CancelArgs),
}

/// Arguments of jobs wait.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// The jobs' ids, from jobs list
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<u64>,
}

/// Arguments of jobs cancel.
#[derive(Args, Clone, Debug)]
pub struct CancelArgs {
    /// The job's id, from jobs list
    pub id: u64,
}

/// A command about swarms.
#[derive(Clone, Debug, Subcommand)]
pub enum TrackerCommand {
    /// List the swarms
    Swarms(ListArgs),
    /// Show the peers of one swarm
    Peers(SwarmArgs),
}

/// Arguments of tracker peers.
#[derive(Args, Clone, Debug)]
pub struct SwarmArgs {
    /// Info hash or a prefix of it [default: the only swarm]
    pub hash: Option<String>,
    /// How many.
    #[command(flatten)]
    pub limit: Limit,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// A command about the node.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeCommand {
    /// Show version, roles, addresses and totals
    Info(Watch),
    /// End the node in order
    Shutdown(ShutdownArgs),
}

/// Arguments of node shutdown.
#[derive(Args, Clone, Copy, Debug)]
pub struct ShutdownArgs {
    /// Wait until the node has gone
    #[arg(long)]
    pub wait: bool,
}

/// Arguments of events.
#[derive(Args, Clone, Debug)]
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
