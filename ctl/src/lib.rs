//! `shoalctl`, callable in process: arguments and ends in, an exit code out. Never here: anything of
//! the node but its stubs.
//!
//! ```text
//! let (mut io, stdout, stderr) = Io::captured("");
//! let exit = shoal_ctl::run(["shoalctl", "--endpoint", endpoint, "node", "info"], &mut io).await;
//! ```

use std::{env, ffi::OsString, io::Write as _};

use clap::{ValueEnum as _, error::ErrorKind};
use shoal::client::Connection;

mod api;
mod clean;
pub mod cli;
mod commands;
pub mod complete;
mod confirm;
mod connect;
mod contexts;
pub mod exit;
mod failure;
mod files;
mod grid;
mod human;
mod invocation;
mod io;
pub mod methods;
mod pages;
mod places;
mod progress;
mod render;
mod session;
mod settle;
mod shell;
mod top;
mod watch;

pub use exit::Exit;
pub use io::{Buffer, Io, Terminals};
pub use places::Places;

use cli::{Command, Format};
use failure::Failure;
use invocation::Invocation;
use session::Session;
use settle::{Settled, settle};

/// Carries out one command line, its program name first, and says how it ended. Ctrl-C is whatever
/// `io` says it is; a reader of standard output that went away ends the run quietly.
pub async fn run<I, T>(args: I, io: &mut Io) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let invocation = match Invocation::read(args.iter().cloned()) {
        Ok(invocation) => invocation,
        Err(error) => return explain(&error, format_asked(&args), io),
    };
    let settled = match settle(&invocation.global, &io.places) {
        Ok(settled) => settled,
        Err(failure) => {
            return tell(&failure, invocation.global.format.unwrap_or(Format::Table), io);
        }
    };
    let wanted = settled.format.unwrap_or(Format::Table);
    let ended = Box::pin(carry_out(invocation, &settled, io)).await;
    ended.unwrap_or_else(|failure| tell(&failure, wanted, io))
}

async fn carry_out(
    invocation: Invocation,
    settled: &Settled,
    io: &mut Io,
) -> Result<Exit, Failure> {
    let format = invocation.format(settled.format.unwrap_or(Format::Table))?;
    if let Some(done) = commands::local::carry_out(io, format, &invocation.command) {
        return done.map(|()| Exit::Ok);
    }
    if let Some(note) = settled.note.as_deref().filter(|_| !format.is_document()) {
        // Where nobody listens, the command is carried out all the same.
        let _ = writeln!(io.stderr, "{}", clean::clean(note));
    }
    let channel = match (reach(settled, io).await, &invocation.command) {
        (Ok(channel), _) => channel,
        (Err(failure), Command::Describe(args)) if failure.is_unreachable() => {
            return commands::describe::built_in(io, format, args).map(|()| Exit::Ok);
        }
        (Err(failure), _) => return Err(failure),
    };
    let mut session = Session::new(io, channel, settled);
    if let Command::Shell(target) = invocation.command {
        session.torrent = target.torrent.or(session.torrent);
        return shell::serve(&mut session, settled.timeout).await;
    }
    session.begin(format, invocation.knows(), settled.timeout);
    one(&mut session, invocation).await.map(|()| Exit::Ok)
}

async fn reach(settled: &Settled, io: &Io) -> Result<Connection, Failure> {
    let how = connect::how(&settled.endpoint, &settled.access, settled.token_file.as_deref())?;
    let interrupt = std::sync::Arc::clone(&io.interrupt);
    let connect = async {
        let connect = how.connect();
        match settled.timeout {
            Some(limit) => tokio::time::timeout(limit, connect)
                .await
                .map_err(|_| Failure::deadline(limit))?
                .map_err(|e| Failure::connect(&e)),
            None => connect.await.map_err(|e| Failure::connect(&e)),
        }
    };
    tokio::select! {
        channel = connect => channel,
        () = interrupt.notified() => Err(Failure::interrupted(None)),
    }
}

/// Carries a command out, once or again and again, unless it is interrupted.
async fn one(session: &mut Session<'_>, invocation: Invocation) -> Result<(), Failure> {
    let interrupt = std::sync::Arc::clone(&session.io.interrupt);
    let Invocation { command, watch, .. } = invocation;
    let work = async {
        match watch {
            Some(every) => watch::look(session, every, &command).await,
            None => Box::pin(commands::carry_out(session, command)).await,
        }
    };
    let done = tokio::select! {
        done = work => Some(done),
        () = interrupt.notified() => None,
    };
    done.unwrap_or_else(|| Err(Failure::interrupted(session.interrupt_note.as_deref())))
}

/// Writes a failure to standard error and returns its exit code.
fn tell(failure: &Failure, format: Format, io: &mut Io) -> Exit {
    let Failure::Report(report) = failure else { return Exit::Ok };
    let text = if format.is_document() { report.json() } else { report.text() };
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
    let text = if format.is_document() {
        let first = text.lines().next().unwrap_or_default();
        failure::usage_json(first.strip_prefix("error: ").unwrap_or(first))
    } else {
        text
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
    asked.and_then(|asked| Format::from_str(&asked, true).ok()).unwrap_or(Format::Table)
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
        assert_eq!(asked(&["shoalctl", "-o", "yaml"]), Format::Yaml);
        assert_eq!(asked(&["shoalctl", "-o", "table"]), Format::Table);
        assert_eq!(asked(&["shoalctl", "-o", "xml"]), Format::Table);
    }
}
