//! The command line: every command and its arguments. Never here: what a command does.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValue};
use serde::{Deserialize, Serialize};

pub mod api;
pub mod context;
pub mod manner;
pub mod node;
pub(crate) mod parse;
pub mod peer;
pub mod policy;
pub mod settings;
pub mod token;
pub mod torrent;

use api::{CallArgs, DescribeArgs};
use context::ContextCommand;
use manner::LookArgs;
use node::{EventsArgs, JobsCommand, NodeCommand, TrackerCommand};
use peer::{
    AutoDownloadArgs, MergeChunksArgs, PeerArgs, PeerLookArgs, PeerSetArgs, RequestDownloadArgs,
    SeeChunkStatusArgs, SeeConnectedArgs, SeePeerSetArgs, SeeThisPeerInfoArgs,
};
use policy::PolicyCommand;
use settings::SettingsCommand;
use token::TokenCommand;
use torrent::TorrentCommand;

/// `shoalctl`: every command of a shoal node.
#[derive(Debug, Parser)]
#[command(
    name = "shoalctl",
    version,
    about = "Drives a shoal node: every command of it, from the shell",
    after_help = "Exit codes: 0 ok, 1 internal, 2 usage, 3 not found, 4 not allowed, 5 unreachable, \
                  6 deadline, 7 failed precondition or already exists, 8 invalid argument, \
                  9 unimplemented, 130 interrupted."
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The node: unix:///PATH, http://HOST:PORT or https://HOST:PORT
    /// [default: the socket of the default node]
    #[arg(
        long,
        global = true,
        env = "SHOAL_ENDPOINT",
        hide_env_values = true,
        value_name = "ENDPOINT"
    )]
    pub endpoint: Option<String>,
    /// A context of the configuration: see `shoalctl context` [default: the one in use]
    #[arg(
        long,
        global = true,
        env = "SHOAL_CONTEXT",
        hide_env_values = true,
        value_name = "CONTEXT"
    )]
    pub context: Option<String>,
    /// Who calls, and whom to trust.
    #[command(flatten)]
    pub access: Access,
    /// How replies are written; name is identifiers only, for xargs [default: table]
    #[arg(
        short = 'o',
        long = "format",
        global = true,
        env = "SHOAL_OUTPUT",
        hide_env_values = true,
        value_enum
    )]
    pub format: Option<Format>,
    /// Give up after this long, e.g. 30s, 2m [default: 30s a reply, none for streams and merges]
    #[arg(long, global = true, env = "SHOAL_TIMEOUT", hide_env_values = true, value_name = "D", value_parser = parse::duration)]
    pub timeout: Option<Duration>,
}

/// Who calls, and whom to trust.
#[derive(Args, Clone, Debug, Default)]
pub struct Access {
    /// File with the token that goes with every call, such as admin.token in the node's state folder
    /// [env: SHOAL_TOKEN_FILE; SHOAL_TOKEN holds the token itself]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Authority that signed the node's certificate, PEM [default: those that browsers trust]
    #[arg(long, global = true, env = "SHOAL_CA", hide_env_values = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate of the caller, PEM, for a node that asks for one
    #[arg(long, global = true, env = "SHOAL_CERT", hide_env_values = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, global = true, env = "SHOAL_KEY", hide_env_values = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// How replies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Table,
    /// Canonical proto JSON: a document a reply, a line a message of a stream.
    Json,
    /// The same, a line a message or item of a list.
    Jsonl,
    /// The same as YAML, several documents apart by `---`.
    Yaml,
    /// Identifiers only, one a line: info hashes, addresses of peers, job ids, names.
    Name,
}

// Derived, each value would have a paragraph in the help of every command.
impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Table, Self::Json, Self::Jsonl, Self::Yaml, Self::Name]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.word()))
    }
}

impl Format {
    /// As the command line and the file of contexts spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Yaml => "yaml",
            Self::Name => "name",
        }
    }

    /// Whether a program reads it as a whole, errors too.
    #[must_use]
    pub const fn is_document(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl | Self::Yaml)
    }

    /// Whether a person is to read it.
    #[must_use]
    pub const fn is_table(self) -> bool {
        matches!(self, Self::Table)
    }
}

/// Which torrent a command is about.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// The torrent: its name, info hash or a prefix of that [default: the node's only one]
    #[arg(long, value_name = "NAME|HASH|PREFIX")]
    pub torrent: Option<String>,
}

/// How much of a list is shown.
#[derive(Args, Clone, Copy, Debug)]
pub struct Limit {
    /// Show at most this many [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

/// A command.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Announce this peer and its chunks to the tracker; receive the peer set
    #[command(alias = "connect_tracker")]
    ConnectTracker(Target),
    /// Ask the tracker for the peer set now
    #[command(alias = "get_peer_set")]
    GetPeerSet(PeerSetArgs),
    /// Announce the current status now
    #[command(alias = "update_status_to_tracker")]
    UpdateStatusToTracker(Target),
    /// Leave the tracker; transfers with peers go on
    #[command(alias = "disconnect_tracker")]
    DisconnectTracker(Target),
    /// Leave the torrent: tracker, peers and jobs; files and chunks stay
    #[command(alias = "quit_torrent")]
    QuitTorrent(Target),
    /// Connect to a peer
    #[command(alias = "connect_peer")]
    ConnectPeer(PeerArgs),
    /// Measure the round trip to a connected peer
    Ping(PeerLookArgs),
    /// Download one chunk from one connected peer
    #[command(aliases = ["request_download", "download-request", "download_request"])]
    RequestDownload(RequestDownloadArgs),
    /// Close the connection to a peer
    #[command(alias = "disconnect_peer")]
    DisconnectPeer(PeerArgs),
    /// Is this peer connected to the tracker?
    #[command(alias = "check_tracker_connected")]
    CheckTrackerConnected(LookArgs),
    /// Is that peer connected?
    #[command(alias = "check_target_peer_connected")]
    CheckTargetPeerConnected(PeerLookArgs),
    /// Show this peer: address, chunks had and missing, totals, labels
    #[command(alias = "see_this_peer_info")]
    SeeThisPeerInfo(SeeThisPeerInfoArgs),
    /// Show the last peer set, without asking the tracker
    #[command(alias = "see_peer_set")]
    SeePeerSet(SeePeerSetArgs),
    /// Show every peer connection
    #[command(
        alias = "see_connected",
        after_help = "Flags: > dialled by us, < dialled by it; its address is from O an operator, \
                      T a tracker, L the local network, P another peer, W the metainfo (a web seed); I we are interested, \
                      C it chokes us, i it is interested, c we choke it, S snubbed, x speaks the shoal extension."
    )]
    SeeConnected(SeeConnectedArgs),
    /// Show each chunk: 1 had, 0 missing
    #[command(alias = "see_chunk_status")]
    SeeChunkStatus(SeeChunkStatusArgs),
    /// Merge the chunks of a file, or of every file, into the downloads folder
    #[command(alias = "merge_chunks")]
    MergeChunks(MergeChunksArgs),
    /// Download every chunk from the peers that the policy picks, and merge
    #[command(alias = "auto_download")]
    AutoDownload(AutoDownloadArgs),
    /// Create, add, list, show, verify, pause, resume, remove torrents
    #[command(subcommand)]
    Torrent(TorrentCommand),
    /// List and cancel jobs
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Look at the swarms of a node in the tracker role
    #[command(subcommand)]
    Tracker(TrackerCommand),
    /// Look at the node, or end it
    #[command(subcommand)]
    Node(NodeCommand),
    /// Show and change limits, slots, labels and the log filter while the node runs
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Make, list and revoke the tokens that calls over TCP need
    #[command(subcommand)]
    Token(TokenCommand),
    /// Write, check, test, set and watch the policy that picks the peer for each chunk
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Keep nodes under names, and say which is meant where none is named
    #[command(subcommand)]
    Context(ContextCommand),
    /// Call any method of the API with a request in JSON
    #[command(
        after_help = "Writes the reply as JSON, a stream as a line a message, or as -o says. The \
                      node tells its methods itself, by reflection.\n\nshoalctl describe METHOD \
                      --template prints a request to fill in."
    )]
    Call(CallArgs),
    /// Explain the API: its services, a method, a message
    Describe(DescribeArgs),
    /// Follow what happens on the node
    Events(EventsArgs),
    /// Show torrents, chunks, peers and decisions on a screen that keeps up
    #[command(
        after_help = "Keys: q quit, ? help. Where standard input or output is no terminal, or \
                            with --once, one frame is printed as plain text, COLUMNS x LINES large \
                            (80 x 24 where nothing says). NO_COLOR is honoured. An interval asks the \
                            node for at most 7 calls."
    )]
    Top(TopArgs),
    /// Take commands from a prompt or from standard input, also as /request_download IP PORT CHUNK
    Shell(Target),
    /// Print a completion script: commands, options, and what the node has
    #[command(after_help = "bash: source <(shoalctl completions bash), in ~/.bashrc\n\
                      zsh:  source <(shoalctl completions zsh), in ~/.zshrc behind compinit\n\
                      fish: shoalctl completions fish | source, in ~/.config/fish/config.fish")]
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of every command
    Man(ManArgs),
}

/// Arguments of top.
#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    /// The torrent that is chosen first.
    #[command(flatten)]
    pub target: Target,
    /// How often the node is asked, 100ms or longer
    #[arg(long = "interval", value_name = "D", default_value = "1s", value_parser = parse::interval)]
    pub every: Duration,
    /// Print one frame and end
    #[arg(long)]
    pub once: bool,
}

/// Arguments of completions.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell that reads the script
    #[arg(value_enum)]
    pub shell: CompletionShell,
    /// A script that knows commands and options only, and never asks shoalctl
    #[arg(long)]
    pub r#static: bool,
}

/// Arguments of man.
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// Write a page for each command into this folder, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A shell that completions can be made for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CompletionShell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn both_spellings_are_the_same_command() {
        for spelling in ["request-download", "request_download"] {
            let line = ["shoalctl", spelling, "10.0.0.2", "7000", "file1.webm.part3"];
            let Command::RequestDownload(args) = Cli::try_parse_from(line).unwrap().command else {
                panic!("{spelling} is another command");
            };
            assert_eq!(args.peer.port, 7000);
            assert_eq!(args.chunk, "file1.webm.part3");
        }
    }

    #[test]
    fn a_wrong_address_names_the_argument() {
        for (line, argument) in [
            (["shoalctl", "ping", "10.0.0.300", "7000"], "<IP>"),
            (["shoalctl", "ping", "localhost", "7000"], "<IP>"),
            (["shoalctl", "ping", "10.0.0.2", "0"], "<PORT>"),
            (["shoalctl", "ping", "10.0.0.2", "65536"], "<PORT>"),
            (["shoalctl", "ping", "10.0.0.2", "http"], "<PORT>"),
        ] {
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(argument), "{error}");
        }
        let line = ["shoalctl", "ping", "[2001:db8::1]", "65535"];
        assert!(Cli::try_parse_from(line).is_ok());
    }
}
