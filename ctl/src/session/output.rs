//! What a session writes: replies in the chosen format to standard output, talk to standard error.
//! Never here: the form of a document, or a table's.

use std::{io::Write as _, time::SystemTime};

use prost_types::Timestamp;
use serde_json::Value;

use super::Session;
use crate::{
    clean::{clean, clean_lines},
    cli::Format,
    failure::Failure,
    human,
    io::Io,
    methods::Knows,
    render::{self, Place, Reply},
};

/// Columns and lines of a terminal that does not tell.
const SIZE_DEFAULT: (usize, usize) = (80, 24);

/// To the upper left corner; clears the rest of a line; clears what is below.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const CLEAR_ALL: &str = "\x1b[2J";

/// How what is written stands among what was written before.
#[derive(Debug, Default)]
pub(super) enum Screen {
    /// It is the command's only look.
    #[default]
    Once,
    /// It is one look of many, each behind the other.
    Appended {
        /// Whether one was written.
        begun: bool,
    },
    /// It is one look of many, each in the place of the other: what was written so far of this one.
    Redrawn(String),
}

/// What a command without a node shows.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// For programs.
    pub(crate) value: Value,
    /// The list in it, a JSON pointer; empty where it is none.
    pub(crate) list: &'static str,
    /// Its identifiers.
    pub(crate) names: Vec<String>,
    /// For a person.
    pub(crate) text: String,
}

impl Shown {
    /// Writes it.
    ///
    /// # Errors
    /// Standard output fails.
    pub(crate) fn write(self, io: &mut Io, format: Format) -> Result<(), Failure> {
        let text = match format {
            Format::Table => clean_lines(&self.text),
            Format::Json | Format::Jsonl | Format::Yaml | Format::Name => {
                let how = (format, Place::Alone);
                render::value(&self.value, self.list, &self.names, how)
                    .map_err(Failure::internal)?
            }
        };
        io.put(&text)
    }
}

impl Session<'_> {
    /// Columns that a table may take; `None` where output is no terminal and nothing is cut.
    pub(crate) fn width(&self) -> Option<usize> {
        self.io.terminals.stdout.then(|| size().0)
    }

    /// Writes a reply: as a document, or what `text` makes of it.
    pub(crate) fn reply<R: Reply>(
        &mut self,
        reply: &R,
        text: impl FnOnce(&R, Option<usize>) -> String,
    ) -> Result<(), Failure> {
        if self.format.is_table() {
            let text = text(reply, self.width());
            return self.write(&text);
        }
        let place = match self.screen {
            Screen::Once => Place::Alone,
            Screen::Appended { .. } | Screen::Redrawn(_) => Place::Among,
        };
        self.document(reply, place)
    }

    /// Writes a reply: as a document, or its sentence.
    pub(crate) fn sentence<R: Reply>(&mut self, reply: &R, message: &str) -> Result<(), Failure> {
        self.reply(reply, |_, _| format!("{}\n", clean(message)))
    }

    /// Writes a message of a stream as a document; a table, and identifiers, come with the last.
    pub(crate) fn step<R: Reply>(&mut self, message: &R) -> Result<(), Failure> {
        match self.format {
            Format::Json | Format::Jsonl | Format::Yaml => self.document(message, Place::Among),
            Format::Table | Format::Name => Ok(()),
        }
    }

    /// Writes what came of a stream, whose messages were written as they came: a table, or
    /// identifiers.
    pub(crate) fn finish<R: Reply>(
        &mut self,
        last: &R,
        text: impl FnOnce(&R, Option<usize>) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Name => self.reply(last, text),
            Format::Json | Format::Jsonl | Format::Yaml => Ok(()),
        }
    }

    /// Writes a JSON document that the node made.
    pub(crate) fn made(&mut self, json: &str) -> Result<(), Failure> {
        let how = (self.format, Place::Alone);
        let text = match self.format {
            Format::Json => format!("{}\n", crate::clean::escape_json(json.trim_end())),
            Format::Table | Format::Jsonl | Format::Yaml | Format::Name => {
                let value: Value = serde_json::from_str(json)
                    .map_err(|e| Failure::internal(format!("the node's document: {e}")))?;
                render::value(&value, "", &[], how).map_err(Failure::internal)?
            }
        };
        self.put(&text)
    }

    /// Writes text for a person to standard output; every character in it is made harmless.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.put(&clean_lines(text))
    }

    fn document<R: Reply>(&mut self, reply: &R, place: Place) -> Result<(), Failure> {
        let message = render::dynamic(reply).map_err(Failure::internal)?;
        let knows = self.knows;
        self.message(&message, knows, place)
    }

    /// Writes a message of any kind in any format but a table.
    pub(crate) fn message(
        &mut self,
        message: &prost_reflect::DynamicMessage,
        knows: Knows,
        place: Place,
    ) -> Result<(), Failure> {
        let text = render::message(message, self.format, knows, place);
        self.put(&text.map_err(Failure::internal)?)
    }

    fn put(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.screen {
            Screen::Redrawn(frame) => {
                frame.push_str(text);
                return Ok(());
            }
            Screen::Appended { begun } => {
                // Tables would run into one another.
                if std::mem::replace(begun, true) && self.format.is_table() {
                    self.io.put("\n")?;
                }
            }
            Screen::Once => {}
        }
        self.io.put(text)
    }

    /// Says a line on standard error beside a table; documents speak for themselves.
    pub(crate) fn say(&mut self, line: &str) {
        if !self.format.is_table() {
            return;
        }
        if let Screen::Redrawn(frame) = &mut self.screen {
            frame.push_str(&format!("{}\n", clean(line)));
            return;
        }
        self.ask(line);
    }

    /// Puts a line to a person. Nobody listening there is no failure of the command.
    pub(crate) fn ask(&mut self, line: &str) {
        let _ = writeln!(self.io.stderr, "{}", clean(line));
        let _ = self.io.stderr.flush();
    }

    /// A bar can be drawn: standard error is a terminal and no document is written.
    pub(crate) fn draws_bars(&self) -> bool {
        self.io.terminals.stderr && !self.format.is_document()
    }

    /// Begins one look of many.
    pub(crate) fn look_again(&mut self) -> Result<(), Failure> {
        match &mut self.screen {
            Screen::Appended { .. } => {}
            Screen::Redrawn(frame) => frame.clear(),
            Screen::Once if self.io.terminals.stdout && self.format.is_table() => {
                self.io.put(&format!("{CLEAR_ALL}{HOME}"))?;
                self.screen = Screen::Redrawn(String::new());
            }
            Screen::Once => self.screen = Screen::Appended { begun: false },
        }
        self.restart_clock();
        Ok(())
    }

    /// Ends a look that takes the place of the one before: shows it, with `foot` below. What does not
    /// fit is counted.
    pub(crate) fn redraw(&mut self, foot: &str) -> Result<(), Failure> {
        let Screen::Redrawn(frame) = &mut self.screen else { return Ok(()) };
        let text = drawn(frame, foot, size());
        frame.clear();
        self.io.put(&text)
    }
}

/// A look as it is sent to a terminal: it never scrolls.
fn drawn(frame: &str, foot: &str, (width, height): (usize, usize)) -> String {
    let lines: Vec<&str> = frame.lines().collect();
    let room = height.saturating_sub(3).max(1);
    let mut text = HOME.to_owned();
    let shown = if lines.len() > room { room - 1 } else { lines.len() };
    for line in &lines[..shown] {
        text.push_str(&format!("{}{CLEAR_LINE}\n", crate::grid::shorten(line, width)));
    }
    if shown < lines.len() {
        let more = human::count((lines.len() - shown) as u64, "more line");
        text.push_str(&format!("… {more}{CLEAR_LINE}\n"));
    }
    let now = human::time(Some(&Timestamp::from(SystemTime::now())));
    let foot = crate::grid::shorten(&format!("{now}  {foot}"), width);
    text.push_str(&format!("{CLEAR_LINE}\n{foot}{CLEAR_LINE}\n{CLEAR_BELOW}"));
    text
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    terminal_size::terminal_size()
        .map(|(width, height)| (usize::from(width.0), usize::from(height.0)))
        .filter(|(width, height)| *width > 0 && *height > 0)
        .unwrap_or(SIZE_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_never_scrolls_and_tells_what_is_left_out() {
        let frame = "one\ntwo\nthree\nfour\n";
        let text = drawn(frame, "every 2 s", (80, 7));
        assert!(text.contains("four") && !text.contains("more"), "{text:?}");
        let text = drawn(frame, "every 2 s", (80, 6));
        assert!(text.contains("two\x1b[K\n… 2 more lines\x1b[K\n"), "{text:?}");
        assert_eq!(text.matches('\n').count(), 5, "{text:?}");
        let text = drawn(frame, "", (3, 1));
        assert!(text.contains("… 4 more lines"), "{text:?}");
    }
}
