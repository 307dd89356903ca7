//! The command line of `shoald`: from arguments, environment and file to what is to be run. Never
//! here: running it.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use shoal_sim::command::args::{self as sim, SimArgs};

use crate::{
    auth::cert::{CertOptions, DAYS_DEFAULT},
    config::{
        ConfigError, Env, NodeConfig,
        env::{layer, variable},
        layer::{CommonLayer, Layer, PeerLayer, TrackerLayer},
        read_file,
        value::Size,
    },
    dev::DevOptions,
    exit::Exit,
    man,
};

/// A BitTorrent-compatible file distribution node: tracker, peer, or both
#[derive(Parser, Debug)]
#[command(name = "shoald", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a tracker, a seeder and leechers in this process, and watch them
    Dev(DevArgs),
    /// Run a node in the tracker role
    Tracker(TrackerCommand),
    /// Run a node in the peer role
    Peer(Box<PeerCommand>),
    /// Run a node with the roles of a file: a table [tracker], a table [peer], or both
    Run(RunCommand),
    /// Make certificates for TLS: an authority of your own, and one of a node that it signed
    #[command(after_help = CERT_HELP)]
    Cert(CertArgs),
    /// Simulate a swarm in virtual time, with the same engine and the same policies
    #[command(after_help = sim::AFTER_HELP)]
    Sim(Box<SimArgs>),
    /// Print the manual page, or write those of every command
    Man(ManArgs),
}

/// Manual pages.
#[derive(Args, Debug)]
struct ManArgs {
    /// Write a page for each command into this folder, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

const CERT_HELP: &str = "The folder gets ca.crt (for callers: shoalctl --ca), ca.key (for nobody), \
    server.crt and server.key (for shoald: --tls-cert, --tls-key), and for each --client a pair of its \
    name (shoalctl --cert, --key; shoald --tls-client-ca ca.crt). An authority that is there already \
    is kept and signs again; what it signed before in the folder is replaced.";

/// Make certificates.
#[derive(Args, Debug)]
struct CertArgs {
    /// Folder for them, made where it is missing
    dir: PathBuf,
    /// Name or IP address by which callers reach the node, beside localhost, 127.0.0.1 and ::1;
    /// repeatable
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// A caller that gets a certificate too; repeatable
    #[arg(long = "client", value_name = "NAME")]
    clients: Vec<String>,
    /// Days for which they hold, 1-3650; an authority holds ten years
    #[arg(long, value_name = "DAYS", default_value_t = DAYS_DEFAULT, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
}

/// Share data among nodes on loopback, verify every copy, and say how it went.
#[derive(Args, Debug)]
struct DevArgs {
    /// File or folder to share [default: generated sample data]
    path: Option<PathBuf>,
    /// Leechers, 1-64
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    leechers: u16,
    /// Policy of every leecher: a name, or a Lua file
    #[arg(long, value_name = "NAME|FILE", default_value = "lowest_uploaded")]
    policy: String,
    /// Folder for the nodes, kept [default: a temporary one, removed]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// End once every copy is verified, instead of staying up
    #[arg(long)]
    exit: bool,
    /// Bytes of sample data
    #[arg(long, value_name = "SIZE", default_value = "256MiB", conflicts_with = "path")]
    size: Size,
    /// Which log lines go to stderr
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

#[derive(Args, Debug)]
struct TrackerCommand {
    #[command(flatten)]
    common: CommonLayer,
    #[command(flatten)]
    role: TrackerLayer,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Args, Debug)]
struct PeerCommand {
    #[command(flatten)]
    common: CommonLayer,
    #[command(flatten)]
    role: PeerLayer,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Args, Debug)]
struct RunCommand {
    /// TOML file: the flags as keys, those of a role in its table
    #[arg(long, value_name = "FILE", env = "SHOAL_CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    common: CommonLayer,
    /// Print the configuration in force as TOML and end
    #[arg(long)]
    print_config: bool,
}

#[derive(Args, Debug)]
struct FileArgs {
    /// TOML file that lies under the environment and the flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration in force as TOML and end
    #[arg(long)]
    print_config: bool,
}

/// What is to be run.
#[derive(Debug)]
pub enum Run {
    /// A node.
    Node(Box<NodeConfig>),
    /// `shoald dev`.
    Dev(DevOptions),
    /// `shoald cert`.
    Cert(CertOptions),
    /// `shoald sim`.
    Sim(Box<SimArgs>),
    /// Print this on stdout and end well.
    Print(String),
}

/// Why nothing is run: what to print on stderr, and how to end.
#[derive(Debug)]
pub struct Usage {
    /// One or more lines.
    pub text: String,
    /// How to end.
    pub exit: Exit,
}

/// Reads the command line.
///
/// # Errors
/// [`Usage`] for arguments, variables and files that cannot be understood.
pub fn read(args: impl IntoIterator<Item = OsString>, env: &Env) -> Result<Run, Usage> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            return Err(Usage { text: error.render().to_string(), exit: Exit::Usage });
        }
        Err(help) => return Ok(Run::Print(help.render().to_string())),
    };
    let cli = Cli::from_arg_matches(&matches);
    let cli = cli.map_err(|error| Usage { text: error.to_string(), exit: Exit::Usage })?;
    match cli.command {
        Command::Dev(args) => Ok(Run::Dev(args.options())),
        Command::Tracker(args) => args.run(env),
        Command::Peer(args) => args.run(env),
        Command::Run(args) => args.run(env),
        Command::Cert(args) => Ok(Run::Cert(args.options())),
        Command::Sim(args) => Ok(Run::Sim(args)),
        Command::Man(args) => args.run(),
    }
}

/// The command with the environment's variables in its help.
#[must_use]
pub fn command() -> clap::Command {
    let with_variable = |arg: clap::Arg| match (arg.get_long(), arg.get_help()) {
        (Some("config" | "print-config" | "help" | "version") | None, _) | (_, None) => arg,
        (Some(_), Some(help)) => {
            let help = format!("{help} [env: {}]", variable(&arg));
            arg.help(help)
        }
    };
    let nodes = ["tracker", "peer", "run"];
    nodes.into_iter().fold(Cli::command(), |command, name| {
        command.mut_subcommand(name, |sub| sub.mut_args(with_variable))
    })
}

impl DevArgs {
    fn options(self) -> DevOptions {
        DevOptions {
            path: self.path,
            leechers: self.leechers.into(),
            policy: self.policy,
            dir: self.dir,
            exit: self.exit,
            size: self.size.0,
            log: self.log,
        }
    }
}

impl ManArgs {
    fn run(self) -> Result<Run, Usage> {
        let failed = |text: String| Usage { text, exit: Exit::Internal };
        let Some(dir) = self.dir else {
            let page = man::page(command());
            return page.map(Run::Print).map_err(|e| failed(format!("the manual page: {e}")));
        };
        man::write(command(), &dir).map_err(|e| failed(format!("{}: {e}", dir.display())))?;
        Ok(Run::Print(format!("the manual pages are in {}\n", dir.display())))
    }
}

impl CertArgs {
    fn options(self) -> CertOptions {
        let Self { dir, hosts, clients, days } = self;
        CertOptions { dir, hosts, clients, days }
    }
}

impl TrackerCommand {
    fn run(self, env: &Env) -> Result<Run, Usage> {
        let mut below = self.file.read()?;
        if below.peer.take().is_some() {
            return Err(other_role("peer"));
        }
        let role = self.role.over(layer(env)?).over(below.tracker.take().unwrap_or_default());
        let common = self.common.over(layer(env)?).over(below);
        finish(CommonLayer { tracker: Some(role), ..common }, env, self.file.print_config)
    }
}

impl PeerCommand {
    fn run(self, env: &Env) -> Result<Run, Usage> {
        let mut below = self.file.read()?;
        if below.tracker.take().is_some() {
            return Err(other_role("tracker"));
        }
        let role = self.role.over(layer(env)?).over(below.peer.take().unwrap_or_default());
        let common = self.common.over(layer(env)?).over(below);
        finish(CommonLayer { peer: Some(role), ..common }, env, self.file.print_config)
    }
}

impl RunCommand {
    fn run(self, env: &Env) -> Result<Run, Usage> {
        let mut below = read_file(&self.config)?;
        let tracker = match below.tracker.take() {
            Some(role) => Some(layer::<TrackerLayer>(env)?.over(role)),
            None => None,
        };
        let peer = match below.peer.take() {
            Some(role) => Some(layer::<PeerLayer>(env)?.over(role)),
            None => None,
        };
        let common = self.common.over(layer(env)?).over(below);
        finish(CommonLayer { tracker, peer, ..common }, env, self.print_config)
    }
}

impl FileArgs {
    fn read(&self) -> Result<CommonLayer, ConfigError> {
        self.config.as_deref().map_or_else(|| Ok(CommonLayer::default()), read_file)
    }
}

impl From<ConfigError> for Usage {
    fn from(error: ConfigError) -> Self {
        Self { text: error.to_string(), exit: Exit::Usage }
    }
}

fn finish(merged: CommonLayer, env: &Env, print: bool) -> Result<Run, Usage> {
    let config = NodeConfig::resolve(merged, env)?;
    if !print {
        return Ok(Run::Node(Box::new(config)));
    }
    let text = config.to_toml().map_err(|error| Usage {
        text: format!("the configuration cannot be printed: {error}"),
        exit: Exit::Internal,
    })?;
    Ok(Run::Print(text))
}

fn other_role(role: &str) -> Usage {
    let text = format!("the file has a table [{role}]; use `shoald run --config FILE`");
    Usage { text, exit: Exit::Usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], env: &[(&str, &str)]) -> Result<Run, Usage> {
        let args = std::iter::once("shoald").chain(args.iter().copied()).map(OsString::from);
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(*value)));
        read(args, &env.collect())
    }

    fn node(args: &[&str], env: &[(&str, &str)]) -> NodeConfig {
        match run(args, env) {
            Ok(Run::Node(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_is_well_formed_and_its_help_names_the_variables() {
        command().debug_assert();
        let Ok(Run::Print(help)) = run(&["peer", "--help"], &[]) else { panic!("no help") };
        for name in ["SHOAL_STATE_DIR", "SHOAL_PEER_LISTEN", "SHOAL_BUFFER_BUDGET", "SHOAL_LABEL"] {
            assert!(help.contains(name), "{name}");
        }
    }

    #[test]
    fn a_flag_beats_a_variable_on_the_command_line() {
        let env = [("SHOAL_PEER_LISTEN", "127.0.0.1:1"), ("SHOAL_DOWNLOADS", "/d"), ("HOME", "/h")];
        let args = ["peer", "--listen", "127.0.0.1:2", "--auto-download", "--label", "zone=a"];
        let config = node(&args, &env);
        let peer = config.peer.unwrap();
        assert_eq!(peer.listen, "127.0.0.1:2".parse().unwrap());
        assert_eq!(peer.downloads, PathBuf::from("/d"));
        assert!(peer.auto_download && config.tracker.is_none());
        assert_eq!(peer.label["zone"], "a");
    }

    #[test]
    fn switches_can_be_turned_off_again() {
        let env = [("SHOAL_AUTO_DOWNLOAD", "true"), ("HOME", "/h")];
        assert!(node(&["peer"], &env).peer.unwrap().auto_download);
        assert!(!node(&["peer", "--auto-download=false"], &env).peer.unwrap().auto_download);
    }

    #[test]
    fn a_file_gives_both_roles_and_is_refused_to_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("shoal.toml");
        std::fs::write(&file, "state-dir = '/s'\n[tracker]\ninterval = 9\n[peer]\n").unwrap();
        let file = file.to_str().unwrap();
        let env = [("SHOAL_INTERVAL", "8"), ("SHOAL_LOG", "debug")];
        let config = node(&["run", "--config", file, "--log", "trace"], &env);
        assert_eq!((config.tracker.unwrap().interval, config.log.as_str()), (8, "trace"));
        assert!(config.peer.is_some());
        let refused = run(&["tracker", "--config", file], &[]).unwrap_err();
        assert!(refused.text.contains("shoald run"), "{}", refused.text);
    }

    #[test]
    fn printing_shows_what_is_in_force() {
        let Ok(Run::Print(text)) = run(&["tracker", "--print-config", "--state-dir", "/s"], &[])
        else {
            panic!("nothing printed")
        };
        assert!(text.contains("state-dir = \"/s\"") && text.contains("[tracker]"), "{text}");
    }

    #[test]
    fn manual_pages_tell_what_the_help_tells() {
        let Ok(Run::Print(page)) = run(&["man"], &[]) else { panic!("no page") };
        assert!(page.contains(".TH shoald 1"), "{page}");
        let dir = tempfile::tempdir().unwrap();
        let pages = dir.path().join("man1");
        assert!(matches!(run(&["man", "--dir", pages.to_str().unwrap()], &[]), Ok(Run::Print(_))));
        let peer = std::fs::read_to_string(pages.join("shoald-peer.1")).unwrap();
        assert!(peer.contains("SHOAL_PEER_LISTEN"), "{peer}");
    }

    #[test]
    fn what_cannot_be_understood_ends_with_two() {
        for args in
            [&["peer", "--listen", "7000"][..], &["swim"], &["run"], &["dev", "--leechers", "0"]]
        {
            assert_eq!(run(args, &[("HOME", "/h")]).unwrap_err().exit, Exit::Usage, "{args:?}");
        }
    }
}
