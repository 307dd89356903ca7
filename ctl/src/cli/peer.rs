//! The arguments of the specification's commands. Never here: what a command does.

use std::net::IpAddr;

use clap::Args;

use super::{
    Limit, Target,
    manner::{Wait, Watch},
    parse,
};

/// A peer of a torrent.
#[derive(Args, Clone, Debug)]
pub struct PeerArgs {
    /// IP address where the peer listens
    #[arg(value_parser = parse::ip)]
    pub ip: IpAddr,
    /// Port where the peer listens, 1-65535
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
}

/// A look at a peer of a torrent.
#[derive(Args, Clone, Debug)]
pub struct PeerLookArgs {
    /// The peer.
    #[command(flatten)]
    pub peer: PeerArgs,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// Arguments of see-peer-set.
#[derive(Args, Clone, Debug)]
pub struct SeePeerSetArgs {
    /// What of it.
    #[command(flatten)]
    pub set: PeerSetArgs,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// Arguments of get-peer-set, and of see-peer-set among others.
#[derive(Args, Clone, Debug)]
pub struct PeerSetArgs {
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
    /// Show which chunks each peer has
    #[arg(long)]
    pub with_bitfields: bool,
    /// How many.
    #[command(flatten)]
    pub limit: Limit,
}

/// Arguments of request-download.
#[derive(Args, Clone, Debug)]
pub struct RequestDownloadArgs {
    /// The peer.
    #[command(flatten)]
    pub peer: PeerArgs,
    /// The chunk: its name, file1.webm.part3, or @INDEX
    pub chunk: String,
    /// Whether it is waited for.
    #[command(flatten)]
    pub wait: Wait,
}

/// Arguments of see-this-peer-info.
#[derive(Args, Clone, Debug)]
pub struct SeeThisPeerInfoArgs {
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
    /// Most chunk names in each of the two lists, 1-1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub names: u32,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// Arguments of see-connected.
#[derive(Args, Clone, Debug)]
pub struct SeeConnectedArgs {
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
    /// How many.
    #[command(flatten)]
    pub limit: Limit,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// Arguments of see-chunk-status.
#[derive(Args, Clone, Debug)]
pub struct SeeChunkStatusArgs {
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
    /// Show at most this many chunks, the first
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// Arguments of merge-chunks.
#[derive(Args, Clone, Debug)]
pub struct MergeChunksArgs {
    /// The file's path in the torrent [default: every file]
    #[arg(value_name = "FILE-IN-TORRENT")]
    pub file: Option<String>,
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of auto-download.
#[derive(Args, Clone, Debug)]
pub struct AutoDownloadArgs {
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
    /// Do not wait for chunks that nobody has: merge the complete files and fail
    #[arg(long)]
    pub available_only: bool,
    /// Whether it is waited for.
    #[command(flatten)]
    pub wait: Wait,
}
