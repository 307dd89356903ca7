//! The arguments of `shoalctl torrent`. Never here: what a command does.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{
    Limit,
    manner::{ListArgs, Wait, Watch},
    parse,
};

/// A command about torrents.
#[derive(Clone, Debug, Subcommand)]
pub enum TorrentCommand {
    /// Make a torrent of a file or folder on the node, and seed it
    Create(CreateArgs),
    /// Add a torrent from a metainfo file on this side, or from a magnet link
    Add(AddArgs),
    /// List the torrents
    List(ListArgs),
    /// Show one torrent with its files and trackers
    Show(ShowArgs),
    /// Say which files are wanted, also while it downloads
    Select(SelectArgs),
    /// Hash what is on disk again
    Verify(VerifyArgs),
    /// Stop its transfers
    Pause(Selector),
    /// Take a paused or failed torrent up again
    Resume(Selector),
    /// Forget a torrent; merged files stay
    Remove(RemoveArgs),
}

/// A torrent, named by position or by `--torrent`.
#[derive(Args, Clone, Debug)]
pub struct Selector {
    /// The torrent: its name, info hash or a prefix of that [default: the node's only one]
    #[arg(value_name = "NAME|HASH|PREFIX")]
    pub name: Option<String>,
    /// The same, as an option
    #[arg(long, value_name = "NAME|HASH|PREFIX", conflicts_with = "name")]
    pub torrent: Option<String>,
}

impl Selector {
    /// What was named.
    #[must_use]
    pub fn selected(&self) -> Option<&str> {
        self.name.as_deref().or(self.torrent.as_deref())
    }
}

/// Where padding files go.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Pad {
    /// Where that adds at most 2 %.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Arguments of torrent create.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// File or folder on the node; absolute, unless the endpoint is a Unix socket
    pub path: PathBuf,
    /// Its name [default: the last component of PATH]
    #[arg(long)]
    pub name: Option<String>,
    /// Bytes of a chunk, a power of two from 16KiB to 16MiB [default: 512KiB, more for over 100 000 chunks]
    #[arg(long, value_name = "SIZE", value_parser = parse::chunk_size)]
    pub chunk_size: Option<u32>,
    /// Where padding files go, so that a chunk never spans two files
    #[arg(long, value_enum, default_value = "auto")]
    pub pad: Pad,
    /// Peers come only from its trackers
    #[arg(long)]
    pub private: bool,
    /// Announce URL; with a comma: same tier; repeated: next tier
    #[arg(long = "tracker", value_name = "URL", value_parser = tier)]
    pub trackers: Vec<Tier>,
    /// HTTP server that has the content: of a folder the URL above it, of a file its own or the one
    /// above it, ending in '/'; repeatable
    #[arg(long = "web-seed", value_name = "URL")]
    pub web_seeds: Vec<String>,
    /// A comment for people
    #[arg(long)]
    pub comment: Option<String>,
    /// Write the metainfo file here, on this side
    #[arg(long, value_name = "FILE.torrent")]
    pub output: Option<PathBuf>,
    /// Replace FILE.torrent where it exists
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Only make the metainfo: do not add the torrent to the node
    #[arg(long)]
    pub no_seed: bool,
    /// Whether it is waited for.
    #[command(flatten)]
    pub wait: Wait,
}

/// A tier of trackers.
#[derive(Clone, Debug)]
pub struct Tier(pub Vec<String>);

fn tier(text: &str) -> Result<Tier, String> {
    parse::tier(text).map(Tier)
}

/// Arguments of torrent add.
#[derive(Args, Clone, Debug)]
pub struct AddArgs {
    /// Metainfo file on this side, or a magnet link in quotes
    #[arg(value_name = "FILE.torrent|MAGNET")]
    pub file: PathBuf,
    /// A peer's address, to be known at once; repeatable
    #[arg(long = "peer", value_name = "IP:PORT", value_parser = parse::peer)]
    pub peers: Vec<SocketAddr>,
    /// Whether the metadata of a magnet link is waited for.
    #[command(flatten)]
    pub wait: Wait,
    /// Data on the node to seed; absolute, unless the endpoint is a Unix socket
    #[arg(long, value_name = "DATA")]
    pub seed: Option<PathBuf>,
    /// Want only these files: '*.mkv', 'extras/**', '!**/*.nfo'; repeated: those too
    #[arg(long, value_name = "GLOB", conflicts_with = "seed")]
    pub files: Vec<String>,
}

/// Arguments of torrent select.
#[derive(Args, Clone, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["files", "all"])))]
pub struct SelectArgs {
    /// The torrent.
    #[command(flatten)]
    pub selector: Selector,
    /// Want only these files: '*.mkv', 'extras/**', '!**/*.nfo'; repeated: those too
    #[arg(long, value_name = "GLOB")]
    pub files: Vec<String>,
    /// Want every file
    #[arg(long)]
    pub all: bool,
}

/// Arguments of torrent verify.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// The torrent.
    #[command(flatten)]
    pub selector: Selector,
    /// Whether it is waited for.
    #[command(flatten)]
    pub wait: Wait,
}

/// Arguments of torrent show.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The torrent.
    #[command(flatten)]
    pub selector: Selector,
    /// How many files.
    #[command(flatten)]
    pub limit: Limit,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// Arguments of torrent remove.
#[derive(Args, Clone, Debug)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["name", "torrent"])))]
pub struct RemoveArgs {
    /// The torrent: its name, info hash or a prefix of that
    #[arg(value_name = "NAME|HASH|PREFIX")]
    pub name: Option<String>,
    /// The same, as an option
    #[arg(long, value_name = "NAME|HASH|PREFIX")]
    pub torrent: Option<String>,
    /// Delete merged files too; data given by --seed is never deleted
    #[arg(long)]
    pub delete_data: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
