//! A command line, read: the command, how it is carried out, and what was typed of all that. Never
//! here: what holds where nothing was typed.

use std::{ffi::OsString, time::Duration};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, parser::ValueSource};

use crate::{
    cli::{Cli, Command, Format, Global},
    failure::Failure,
    methods::{self, Knows},
};

/// A command line.
pub(crate) struct Invocation {
    pub(crate) command: Command,
    /// Its words, `torrent list`.
    pub(crate) path: String,
    /// What holds for every command, the environment included.
    pub(crate) global: Global,
    /// How often to look, where that was asked for.
    pub(crate) watch: Option<Duration>,
    matches: ArgMatches,
}

impl Invocation {
    /// Reads a command line, its program name first.
    ///
    /// # Errors
    /// What clap has to say: help and version too.
    pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Cli::command().try_get_matches_from(args)?;
        let (mut path, mut deepest) = (Vec::new(), &matches);
        while let Some((name, deeper)) = deepest.subcommand() {
            path.push(name);
            deepest = deeper;
        }
        let watch = deepest.try_get_one("interval").ok().flatten().copied();
        let path = path.join(" ");
        let Cli { global, command } = Cli::from_arg_matches(&matches)?;
        Ok(Self { command, path, global, watch, matches })
    }

    /// Whether an option of every command stands on the line itself, not in the environment.
    pub(crate) fn typed(&self, id: &str) -> bool {
        self.matches.value_source(id) == Some(ValueSource::CommandLine)
    }

    /// Which formats the command has.
    pub(crate) fn knows(&self) -> Knows {
        methods::of_command(&self.path)
    }

    /// The format that the command writes where `wanted` is asked for. Only what was typed is refused:
    /// what holds for every command cannot fit each.
    ///
    /// # Errors
    /// A format was typed that the command does not have.
    pub(crate) fn format(&self, wanted: Format) -> Result<Format, Failure> {
        if self.knows().has(wanted) {
            return Ok(wanted);
        }
        if !self.typed("format") {
            return Ok(Format::Table);
        }
        let path = &self.path;
        Err(Failure::usage(match self.knows() {
            Knows::Text => format!("{path} prints text for people: it has no other format"),
            Knows::Names(_) | Knows::NoNames => {
                format!("{path} says nothing that identifies anything: it has no -o name")
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Invocation {
        Invocation::read(format!("shoalctl {line}").split(' ').map(OsString::from)).ok().unwrap()
    }

    #[test]
    fn what_was_typed_is_told_from_what_was_not() {
        let plain = read("ping 10.0.0.2 7000");
        assert!(!plain.typed("format") && !plain.typed("endpoint") && plain.watch.is_none());
        let own = read("node info -o json --endpoint unix:///x --watch");
        assert!(own.typed("format") && own.typed("endpoint"));
        assert_eq!((own.watch, own.path.as_str()), (Some(Duration::from_secs(2)), "node info"));
        assert_eq!(read("torrent show --watch 500ms").watch, Some(Duration::from_millis(500)));
        assert_eq!(read("policy set --watch a.lua").watch, None, "the node watches that file");
    }

    #[test]
    fn a_format_that_a_command_has_not_is_refused_only_where_it_was_typed() {
        assert!(read("ping 10.0.0.2 7000 -o name").format(Format::Name).is_err());
        assert_eq!(read("ping 10.0.0.2 7000").format(Format::Name).ok(), Some(Format::Table));
        assert_eq!(read("completions bash").format(Format::Json).ok(), Some(Format::Table));
        assert!(read("completions bash -o yaml").format(Format::Yaml).is_err());
        assert_eq!(read("jobs list -o name").format(Format::Name).ok(), Some(Format::Name));
    }
}
