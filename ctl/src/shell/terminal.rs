//! A person at a prompt: line editing, history, completion of commands. Never here: commands.

use std::{
    fs, io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use rustyline::{
    CompletionType, Config, Context, Editor, Helper,
    completion::{Completer, Pair},
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::FileHistory,
    validate::Validator,
};
use tokio::sync::oneshot;

use super::complete::Candidates;

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
    /// Takes the terminal over. The history is kept in the folder of state, where there is one.
    pub(super) fn open(candidates: Candidates) -> io::Result<Self> {
        let (asks, inbox) = sync_channel(1);
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || serve(&inbox, candidates))?;
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
fn serve(inbox: &Receiver<Ask>, candidates: Candidates) {
    let history = candidates.places.state.as_ref().map(|dir| dir.join(HISTORY_FILE));
    let mut editor = open_editor(candidates);
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

fn open_editor(candidates: Candidates) -> rustyline::Result<Editor<AtPrompt, FileHistory>> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)?
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(AtPrompt(candidates)));
    Ok(editor)
}

fn read(
    editor: &mut Editor<AtPrompt, FileHistory>,
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

/// Asks what a word could become.
struct AtPrompt(Candidates);

impl Completer for AtPrompt {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _ctx: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(self.0.of(line.get(..pos).unwrap_or(line)))
    }
}

impl Hinter for AtPrompt {
    type Hint = String;
}

impl Highlighter for AtPrompt {}
impl Validator for AtPrompt {}
impl Helper for AtPrompt {}
