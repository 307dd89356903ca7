//! A person at a prompt: line editing, history, completion of commands. Never here: commands.

use std::{
    fs, io,
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use clap::CommandFactory as _;
use rustyline::{
    Config, Context, Editor, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::FileHistory, validate::Validator,
};
use tokio::sync::oneshot;

use crate::cli::Cli;

/// Name of the history in the state folder.
const HISTORY_FILE: &str = "shoalctl_history";

/// Lines kept in the history.
const HISTORY_LINES_MAX: usize = 1000;

/// What a person entered.
pub(super) enum Entered {
    /// A line.
    Line(String),
    /// Ctrl-C: the line was given up.
    Abandoned,
    /// Ctrl-D.
    End,
}

/// A terminal, on a thread of its own: reading it blocks.
pub(super) struct Terminal {
    asks: SyncSender<Ask>,
}

struct Ask {
    prompt: String,
    answer: oneshot::Sender<io::Result<Entered>>,
}

impl Terminal {
    /// Takes the terminal over. The history is kept in `state_dir`, where there is one.
    pub(super) fn open(state_dir: Option<PathBuf>) -> io::Result<Self> {
        let (asks, inbox) = sync_channel(1);
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || serve(&inbox, state_dir))?;
        Ok(Self { asks })
    }

    /// Reads a line.
    pub(super) async fn ask(&mut self, prompt: &str) -> io::Result<Entered> {
        let gone = || io::Error::other("the terminal has gone");
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask { prompt: prompt.to_owned(), answer }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Answers until nobody asks.
fn serve(inbox: &Receiver<Ask>, state_dir: Option<PathBuf>) {
    let mut editor = open_editor();
    let history = state_dir.map(|dir| dir.join(HISTORY_FILE));
    if let (Ok(editor), Some(path)) = (&mut editor, &history) {
        // Without a history of earlier sessions the shell works all the same.
        let _ = editor.load_history(path);
    }
    for ask in inbox {
        let answer = match &mut editor {
            Ok(editor) => read(editor, &ask.prompt, history.as_deref()),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        if ask.answer.send(answer).is_err() {
            return;
        }
    }
}

fn open_editor() -> rustyline::Result<Editor<Commands, FileHistory>> {
    let config = Config::builder().max_history_size(HISTORY_LINES_MAX)?.build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Commands::all()));
    Ok(editor)
}

fn read(
    editor: &mut Editor<Commands, FileHistory>,
    prompt: &str,
    history: Option<&std::path::Path>,
) -> io::Result<Entered> {
    match editor.readline(prompt) {
        Ok(line) => {
            let added = editor.add_history_entry(line.as_str()).unwrap_or(false);
            if let Some(path) = history.filter(|_| added) {
                if let Some(dir) = path.parent() {
                    let _ = fs::create_dir_all(dir);
                }
                // A history that cannot be written is no reason to refuse the command.
                let _ = editor.append_history(path);
            }
            Ok(Entered::Line(line))
        }
        Err(ReadlineError::Interrupted) => Ok(Entered::Abandoned),
        Err(ReadlineError::Eof) => Ok(Entered::End),
        Err(ReadlineError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

/// Completes the names of commands, in whichever spelling was begun.
struct Commands {
    tree: clap::Command,
}

impl Commands {
    fn all() -> Self {
        Self { tree: Cli::command() }
    }

    /// Where the word under the cursor begins, and what it could become.
    fn candidates(&self, before: &str) -> (usize, Vec<String>) {
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let (done, begun) = before.split_at(start);
        let mut level = &self.tree;
        for word in done.split_whitespace() {
            match level.find_subcommand(word.strip_prefix('/').unwrap_or(word)) {
                Some(deeper) => level = deeper,
                None => return (start, Vec::new()),
            }
        }
        let slash = begun.strip_prefix('/').filter(|_| done.trim().is_empty());
        let mut names: Vec<String> = level
            .get_subcommands()
            .map(|command| match slash {
                Some(_) => format!("/{}", command.get_name().replace('-', "_")),
                None => command.get_name().to_owned(),
            })
            .collect();
        if done.trim().is_empty() && slash.is_none() {
            names.extend(["exit", "help", "quit"].map(str::to_owned));
        }
        names.retain(|name| name.starts_with(begun));
        names.sort();
        names.dedup();
        (start, names)
    }
}

impl Completer for Commands {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _ctx: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line.get(..pos).unwrap_or(line)))
    }
}

impl Hinter for Commands {
    type Hint = String;
}

impl Highlighter for Commands {}
impl Validator for Commands {}
impl Helper for Commands {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, start: usize, names: &[&str]) {
        let (at, found) = Commands::all().candidates(before);
        assert_eq!((at, found), (start, names.iter().map(|&n| n.to_owned()).collect()), "{before}");
    }

    #[test]
    fn commands_are_completed_in_the_spelling_begun() {
        check("see-c", 0, &["see-chunk-status", "see-connected"]);
        check("/see_c", 0, &["/see_chunk_status", "/see_connected"]);
        check("torrent re", 8, &["remove", "resume"]);
        check("ex", 0, &["exit"]);
        check("nothing re", 8, &[]);
    }
}
