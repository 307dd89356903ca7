//! `shoalctl`, callable in process: arguments and ends in, an exit code out. Never here: anything of
//! the node but its stubs.
//!
//! ```text
//! let (mut io, stdout, stderr) = Io::captured("");
//! let exit = shoal_ctl::run(["shoalctl", "--endpoint", endpoint, "node", "info"], &mut io).await;
//! ```

use std::{env, ffi::OsString, io::Write as _, path::PathBuf};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

mod clean;
pub mod cli;
mod commands;
mod connect;
pub mod exit;
mod failure;
mod grid;
mod human;
mod io;
mod json;
mod pages;
mod progress;
mod session;
mod shell;

pub use exit::Exit;
pub use io::{Buffer, Io, Terminals};

use cli::{Cli, Command, CompletionShell, Format, policy::PolicyCommand};
use failure::Failure;
use session::Session;

/// Carries out one command line, its program name first, and says how it ended. Ctrl-C is whatever
/// `io` says it is; a reader of standard output that went away ends the run quietly.
pub async fn run<I, T>(args: I, io: &mut Io) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, format_asked(&args), io),
    };
    let format = cli.global.format.unwrap_or(Format::Table);
    // The first two need no node.
    let ended = if let Command::Completions(args) = cli.command {
        completions(args.shell, io).map(|()| Exit::Ok)
    } else if let Command::Policy(PolicyCommand::Init(args)) = cli.command {
        commands::policy::init(io, format, &args).map(|()| Exit::Ok)
    } else {
        Box::pin(with_node(cli, format, io)).await
    };
    ended.unwrap_or_else(|failure| tell(&failure, format, io))
}

async fn with_node(cli: Cli, format: Format, io: &mut Io) -> Result<Exit, Failure> {
    let timeout = cli.global.timeout;
    let endpoint = match cli.global.endpoint {
        Some(endpoint) => endpoint,
        None => default_endpoint()?,
    };
    let how = connect::how(&endpoint, &cli.global.access)?;
    let interrupt = std::sync::Arc::clone(&io.interrupt);
    let connect = async {
        let connect = how.connect();
        match timeout {
            Some(limit) => tokio::time::timeout(limit, connect)
                .await
                .map_err(|_| Failure::deadline(limit))?
                .map_err(|e| Failure::connect(&e)),
            None => connect.await.map_err(|e| Failure::connect(&e)),
        }
    };
    let channel = tokio::select! {
        channel = connect => channel?,
        () = interrupt.notified() => return Err(Failure::interrupted(None)),
    };
    let over_unix = endpoint.starts_with("unix:");
    let mut session = Session::new(io, format, channel, over_unix, timeout);
    if let Command::Shell(target) = cli.command {
        session.torrent = target.torrent;
        return shell::serve(&mut session, timeout).await;
    }
    one(&mut session, cli.command).await.map(|()| Exit::Ok)
}

/// Carries a command out, unless it is interrupted.
async fn one(session: &mut Session<'_>, command: Command) -> Result<(), Failure> {
    let interrupt = std::sync::Arc::clone(&session.io.interrupt);
    let done = tokio::select! {
        done = Box::pin(commands::carry_out(session, command)) => Some(done),
        () = interrupt.notified() => None,
    };
    done.unwrap_or_else(|| Err(Failure::interrupted(session.interrupt_note.as_deref())))
}

/// Writes a failure to standard error and returns its exit code.
fn tell(failure: &Failure, format: Format, io: &mut Io) -> Exit {
    let Failure::Report(report) = failure else { return Exit::Ok };
    let text = match format {
        Format::Table => report.text(),
        Format::Json => report.json(),
    };
    // Where nobody listens, the exit code still tells.
    let _ = io.stderr.write_all(text.as_bytes());
    let _ = io.stderr.flush();
    report.exit
}

/// Writes what clap has to say: help and version are data, a wrong command line is a failure.
fn explain(error: &clap::Error, format: Format, io: &mut Io) -> Exit {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = io.stdout.write_all(text.as_bytes()).and_then(|()| io.stdout.flush());
        return Exit::Ok;
    }
    let text = match format {
        Format::Table => text,
        Format::Json => {
            let first = text.lines().next().unwrap_or_default();
            failure::usage_json(first.strip_prefix("error: ").unwrap_or(first))
        }
    };
    let _ = io.stderr.write_all(text.as_bytes()).and_then(|()| io.stderr.flush());
    Exit::Usage
}

/// The format that a command line asks for which cannot be parsed whole.
fn format_asked(args: &[OsString]) -> Format {
    let mut words = args.iter().map(|word| word.to_string_lossy()).peekable();
    let mut asked = env::var("SHOAL_OUTPUT").ok();
    while let Some(word) = words.next() {
        if matches!(&*word, "-o" | "--format") {
            asked = words.peek().map(|value| value.clone().into_owned());
        } else if let Some(value) =
            word.strip_prefix("--format=").or_else(|| word.strip_prefix("-o"))
        {
            asked = Some(value.trim_start_matches('=').to_owned());
        }
    }
    if asked.as_deref() == Some("json") { Format::Json } else { Format::Table }
}

fn completions(shell: CompletionShell, io: &mut Io) -> Result<(), Failure> {
    use clap_complete::Shell;
    let shell = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "shoalctl", &mut script);
    io.stdout.write_all(&script).and_then(|()| io.stdout.flush()).map_err(|e| Failure::stdio(&e))
}

fn default_endpoint() -> Result<String, Failure> {
    let dir = state_dir().ok_or_else(|| {
        Failure::usage("neither XDG_STATE_HOME nor HOME is set: --endpoint names the node")
    })?;
    let socket = dir.join("shoald.sock").into_os_string().into_string().map_err(|path| {
        Failure::usage(format!("the path '{}' is not UTF-8", PathBuf::from(path).display()))
    })?;
    Ok(format!("unix://{socket}"))
}

/// Where the default node keeps its state: `$XDG_STATE_HOME/shoal`, or `~/.local/state/shoal`.
fn state_dir() -> Option<PathBuf> {
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("shoal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_found_on_a_line_that_does_not_parse() {
        let asked =
            |words: &[&str]| format_asked(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked(&["shoalctl", "-o", "json", "png"]), Format::Json);
        assert_eq!(asked(&["shoalctl", "png", "-ojson"]), Format::Json);
        assert_eq!(asked(&["shoalctl", "--format=json"]), Format::Json);
        assert_eq!(asked(&["shoalctl", "-o", "table"]), Format::Table);
    }
}
