//! Completion: the tree of commands with candidates for what a node, a file or the API knows. Never
//! here: how a shell is told.

use std::{ffi::OsStr, path::Path, sync::Arc};

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _,
};

use crate::cli::Cli;

mod ask;
mod env;
mod lists;

pub(crate) use ask::{Asker, Reach};
pub use env::{complete, registration};

/// What the value of an argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A torrent of the node.
    Torrent,
    /// The address of a peer.
    Ip,
    /// The port of the peer at the address before it.
    Port,
    /// A chunk of the torrent.
    Chunk,
    /// A file of the torrent.
    File,
    /// A job.
    Job,
    /// A swarm of the tracker.
    Swarm,
    /// A policy of the node, or a file.
    Policy,
    /// A token of the node.
    Token,
    /// A context.
    Context,
    /// A method of the API.
    Method,
    /// A service, method or message of the API.
    Symbol,
}

/// The tree of commands, whose values `asker` knows candidates for.
pub(crate) fn tree(asker: &Arc<Asker>) -> Command {
    attach(Cli::command(), asker)
}

fn attach(command: Command, asker: &Arc<Asker>) -> Command {
    command
        .mut_args(|arg| match what(&arg) {
            Some(what) => {
                let asker = Arc::clone(asker);
                arg.add(ArgValueCompleter::new(move |begun: &OsStr| {
                    candidates(&asker, what, begun)
                }))
            }
            None => arg,
        })
        .mut_subcommands(|deeper| attach(deeper, asker))
}

/// What an argument names, by how the help calls its value.
fn what(arg: &Arg) -> Option<What> {
    let called = arg.get_value_names()?.first()?;
    Some(match called.as_str() {
        "NAME|HASH|PREFIX" => What::Torrent,
        "IP" => What::Ip,
        "PORT" => What::Port,
        "CHUNK" => What::Chunk,
        "FILE-IN-TORRENT" => What::File,
        "ID" => What::Job,
        "HASH" => What::Swarm,
        "NAME|FILE.lua" | "NAME|native:NAME|FILE.lua" | "POLICY" => What::Policy,
        "ID|NAME" => What::Token,
        "CONTEXT" => What::Context,
        "METHOD" => What::Method,
        "SERVICE|METHOD|MESSAGE" => What::Symbol,
        _ => return None,
    })
}

fn candidates(asker: &Asker, what: What, begun: &OsStr) -> Vec<CompletionCandidate> {
    let prefix = begun.to_string_lossy();
    let mut found: Vec<CompletionCandidate> = asker
        .ask(what)
        .into_iter()
        .filter(|found| found.value.starts_with(&*prefix))
        .map(|found| CompletionCandidate::new(found.value).help(help(&found.about)))
        .collect();
    if what == What::Policy {
        let lua = |path: &Path| path.extension().is_some_and(|extension| extension == "lua");
        found.extend(PathCompleter::any().filter(lua).complete(begun));
    }
    found
}

fn help(about: &str) -> Option<clap::builder::StyledStr> {
    (!about.is_empty()).then(|| about.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_names_something_is_known_by_its_name_in_the_help() {
        let mut open = vec![Cli::command()];
        let mut known = Vec::new();
        while let Some(mut command) = open.pop() {
            command.build();
            known.extend(command.get_arguments().filter_map(what));
            open.extend(command.get_subcommands().cloned());
        }
        for what in [
            What::Torrent,
            What::Ip,
            What::Port,
            What::Chunk,
            What::File,
            What::Job,
            What::Swarm,
            What::Policy,
            What::Token,
            What::Context,
            What::Method,
            What::Symbol,
        ] {
            assert!(known.contains(&what), "{what:?} stands in no command");
        }
    }
}
