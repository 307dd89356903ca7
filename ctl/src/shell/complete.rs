//! What a word at the prompt could become: commands in the spelling that was begun, options, and what
//! the node has. Never here: the terminal.

use std::{ffi::OsString, sync::Arc};

use clap::{Command, CommandFactory as _};
use clap_complete::engine::{self, CompletionCandidate};
use rustyline::completion::Pair;
use shoal::client::Connection;
use unicode_width::UnicodeWidthStr as _;

use crate::{
    cli::Cli,
    complete::{Asker, Reach, tree},
    grid::shorten,
    places::Places,
};

/// Most columns of what stands beside a candidate.
const ABOUT_WIDTH: usize = 48;

/// Options that a shell takes where it starts, and nowhere else.
const ELSEWHERE: [&str; 6] = ["--endpoint", "--context", "--token-file", "--ca", "--cert", "--key"];

/// Knows what could stand at the prompt.
pub(super) struct Candidates {
    pub(super) connection: Connection,
    pub(super) places: Places,
    /// The torrent where a line names none.
    pub(super) torrent: Option<String>,
}

impl Candidates {
    /// Where the word under the cursor begins, and what it could become.
    pub(super) fn of(&self, before: &str) -> (usize, Vec<Pair>) {
        let start = before.trim_end_matches(|c: char| !c.is_whitespace()).len();
        let (done, begun) = before.split_at(start);
        if done.trim().is_empty() {
            return (start, commands(begun));
        }
        let Some(mut words) = shlex::split(done) else { return (start, Vec::new()) };
        if let Some(first) = words.first_mut() {
            *first = first.trim_start_matches('/').to_owned();
        }
        words.push(begun.to_owned());
        let words: Vec<OsString> =
            std::iter::once("shoalctl".to_owned()).chain(words).map(OsString::from).collect();
        (start, pairs(&self.complete(words)))
    }

    fn complete(&self, words: Vec<OsString>) -> Vec<CompletionCandidate> {
        let index = words.len() - 1;
        let asker = Asker::new(Reach::There {
            connection: self.connection.clone(),
            words: words.clone(),
            places: self.places.clone(),
            torrent: self.torrent.clone(),
        });
        let mut tree = tree(&Arc::new(asker));
        let current_dir = std::env::current_dir().ok();
        let mut found =
            engine::complete(&mut tree, words, index, current_dir.as_deref()).unwrap_or_default();
        found.retain(|candidate| !ELSEWHERE.iter().any(|option| *option == candidate.get_value()));
        found
    }
}

/// The commands that begin so, with the specification's slash and underscores where those were begun.
fn commands(begun: &str) -> Vec<Pair> {
    let slash = begun.starts_with('/');
    let spell = |command: &Command| match slash {
        true => format!("/{}", command.get_name().replace('-', "_")),
        false => command.get_name().to_owned(),
    };
    let tree = Cli::command();
    let mut found: Vec<(String, String)> = tree
        .get_subcommands()
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            (spell(command), about)
        })
        .filter(|(name, _)| !matches!(name.trim_start_matches('/'), "shell"))
        .collect();
    if !slash {
        for (name, about) in [("exit", "Leave"), ("quit", "Leave"), ("help", "Explain commands")] {
            found.push((name.to_owned(), about.to_owned()));
        }
    }
    found.retain(|(name, _)| name.starts_with(begun));
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    aligned(found)
}

fn pairs(candidates: &[CompletionCandidate]) -> Vec<Pair> {
    let text = |candidate: &CompletionCandidate| {
        let value = candidate.get_value().to_string_lossy().into_owned();
        let about = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        (value, about)
    };
    aligned(candidates.iter().map(text).collect())
}

/// Each with what it is beside it, under one another; a word that needs quotes gets them.
fn aligned(found: Vec<(String, String)>) -> Vec<Pair> {
    let widest = found.iter().map(|(value, _)| value.width()).max().unwrap_or(0);
    let pair = |(value, about): (String, String)| {
        let about = shorten(about.lines().next().unwrap_or_default(), ABOUT_WIDTH);
        let space = " ".repeat(widest.saturating_sub(value.width()));
        let display = format!("{value}{space}  {about}").trim_end().to_owned();
        let replacement =
            shlex::try_quote(&value).map_or_else(|_| value.clone(), std::borrow::Cow::into_owned);
        Pair { display, replacement }
    };
    found.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, names: &[&str]) {
        let found: Vec<String> =
            commands(before).into_iter().map(|pair| pair.replacement).collect();
        assert_eq!(found, names, "{before}");
    }

    #[test]
    fn commands_are_completed_in_the_spelling_begun() {
        check("see-c", &["see-chunk-status", "see-connected"]);
        check("/see_c", &["/see_chunk_status", "/see_connected"]);
        check("ex", &["exit"]);
        check("nothing", &[]);
    }

    #[test]
    fn what_a_word_is_stands_beside_it() {
        let found =
            vec![("a b".to_owned(), "one\ntwo".to_owned()), ("abcdef".to_owned(), "x".repeat(100))];
        let pairs = aligned(found);
        assert_eq!(
            (pairs[0].display.as_str(), pairs[0].replacement.as_str()),
            ("a b     one", "'a b'")
        );
        assert!(pairs[1].display.ends_with('…'), "{}", pairs[1].display);
    }
}
