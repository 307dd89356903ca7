//! Options that say how a command is carried out: once or again and again, with or without waiting.
//! Never here: what it does.

use std::time::Duration;

use clap::Args;

use super::{Limit, Target, parse};

/// Whether a look is repeated.
#[derive(Args, Clone, Copy, Debug)]
pub struct Watch {
    /// Look again every INTERVAL [default: 2s], until Ctrl-C
    #[arg(
        id = "interval",
        long = "watch",
        value_name = "INTERVAL",
        num_args = 0..=1,
        default_missing_value = "2s",
        value_parser = parse::interval
    )]
    pub interval: Option<Duration>,
}

/// Whether the work that a command begins is waited for.
#[derive(Args, Clone, Copy, Debug)]
pub struct Wait {
    /// Wait until the work is done: the default
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return as soon as the work has begun
    #[arg(long)]
    pub no_wait: bool,
}

/// Arguments of a look at one torrent.
#[derive(Args, Clone, Debug)]
pub struct LookArgs {
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// Arguments of a list.
#[derive(Args, Clone, Copy, Debug)]
pub struct ListArgs {
    /// How many.
    #[command(flatten)]
    pub limit: Limit,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}
