//! How a policy fails, as its author sees it: kind, file, line, message, the source around it and
//! where it was called from. Never here: what is done about it.

use std::fmt;

use crate::{sandbox, sink::sanitised};

/// The longest message of a failure, bytes.
const MESSAGE_LEN_MAX: usize = 400;
/// The longest source line shown, bytes.
const LINE_LEN_MAX: usize = 160;
/// The most frames of a traceback that are kept.
const FRAMES_MAX: usize = 12;

/// What kind of failure it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FailureKind {
    /// The source is longer than [`crate::budget::SOURCE_LEN_MAX`].
    Size,
    /// It does not compile.
    Syntax,
    /// The policy table has the wrong shape.
    Shape,
    /// A parameter is declared or set wrongly.
    Param,
    /// It requires what this node does not have.
    Requires,
    /// It raised an error.
    Runtime,
    /// It ran longer than its budget.
    Budget,
    /// It needed more than [`crate::budget::MEMORY_MAX`].
    Memory,
    /// It returned what the contract does not know.
    Contract,
}

impl FailureKind {
    /// Its name in counters and replies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Syntax => "syntax",
            Self::Shape => "shape",
            Self::Param => "param",
            Self::Requires => "requires",
            Self::Runtime => "runtime",
            Self::Budget => "budget",
            Self::Memory => "memory",
            Self::Contract => "contract",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One failure of a policy. Every text in it is without control characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// The file, as the operator knows it: `scripts/fast.lua`.
    pub file: String,
    /// The line in it, from 1, where one is known.
    pub line: Option<u32>,
    /// Where in that line, in characters from 1, where it is known.
    pub column: Option<u32>,
    /// What went wrong.
    pub message: String,
    /// The line, the one before and the one after.
    pub excerpt: Vec<SourceLine>,
    /// What was running: `choose(ctx, peers), torrent 3f9a…, chunk 118, 41 candidates`.
    pub place: String,
    /// The policy's own frames, the innermost first: `scripts/fast.lua:14: in local 'best'`.
    pub traceback: Vec<String>,
}

/// A line of source in a [`Failure`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceLine {
    /// Its number, from 1.
    pub number: u32,
    /// Its text, cut at 160 bytes.
    pub text: String,
    /// It is the line that failed.
    pub failed: bool,
}

impl fmt::Display for Failure {
    /// Several lines, each indented by two, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)?;
        let width = self.excerpt.iter().map(|l| l.number.to_string().len()).max().unwrap_or(0);
        for line in &self.excerpt {
            let marker = if line.failed { '>' } else { ' ' };
            write!(f, "\n  {marker} {:width$} | {}", line.number, line.text)?;
            if let Some((before, marked)) = self.marked(line) {
                write!(f, "\n    {:width$} | {:before$}{}", "", "", "^".repeat(marked))?;
            }
        }
        if !self.place.is_empty() {
            write!(f, "\n  in {}", self.place)?;
        }
        Ok(())
    }
}

impl Failure {
    /// How many characters stand before what is marked in a line, and how many are marked.
    fn marked(&self, line: &SourceLine) -> Option<(usize, usize)> {
        let before = usize::try_from(self.column.filter(|_| line.failed)?).ok()?.checked_sub(1)?;
        let mut rest = line.text.chars().skip(before).peekable();
        rest.peek()?;
        Some((before, rest.take_while(|&c| is_of_word(c)).count().max(1)))
    }
}

/// Why a policy was not loaded, and what to look at in one that was.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diagnostics {
    /// The policy's name.
    pub policy: String,
    /// Empty where it was loaded.
    pub errors: Vec<Failure>,
    /// What does not keep it from being loaded.
    pub warnings: Vec<Failure>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.errors.is_empty() {
            write!(f, "policy '{}' was loaded", self.policy)?;
        } else {
            write!(f, "policy '{}' was not loaded", self.policy)?;
        }
        for error in &self.errors {
            write!(f, "\n{error}")?;
        }
        for warning in &self.warnings {
            write!(f, "\n  warning:\n{warning}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A script's text and its name, to point into.
#[derive(Clone, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) file: &'a str,
    pub(crate) source: &'a [u8],
}

impl Text<'_> {
    /// A failure at `line`, or at none.
    pub(crate) fn failure(
        &self,
        kind: FailureKind,
        line: Option<u32>,
        message: &str,
        place: &str,
    ) -> Failure {
        let failed = line.and_then(|line| self.numbered().find(|(number, _)| *number == line));
        Failure {
            kind,
            file: sanitised(self.file.as_bytes(), LINE_LEN_MAX),
            line,
            column: failed.and_then(|(_, line)| column(&line, message)),
            message: sanitised(message.as_bytes(), MESSAGE_LEN_MAX),
            excerpt: line.map(|line| self.excerpt(line)).unwrap_or_default(),
            place: place.to_owned(),
            traceback: Vec::new(),
        }
    }

    /// What Lua said, as a failure. `entry` is where the function that was called stands: a tail
    /// call leaves no frame behind, so the line is looked for there.
    pub(crate) fn raised(
        &self,
        error: &mlua::Error,
        place: &str,
        entry: Option<(u32, u32)>,
    ) -> Failure {
        let raised = Raised::of(error);
        let line = raised.line.or_else(|| self.guess(&raised.message, entry?));
        let mut failure = self.failure(raised.kind, line, &raised.message, place);
        let named = |frame: &String| {
            let frame = frame.replace(sandbox::POLICY_CHUNK_PREFIX, &format!("{}:", self.file));
            sanitised(frame.as_bytes(), LINE_LEN_MAX)
        };
        failure.traceback = raised.frames.iter().take(FRAMES_MAX).map(named).collect();
        failure
    }

    /// The line that assigns to `key`: `key =`. A guess, for the shape has no line numbers.
    pub(crate) fn line_of_key(&self, key: &str) -> Option<u32> {
        self.numbered().find_map(|(number, line)| {
            let at = word(&line, key)?;
            let rest = line[at + key.len()..].trim_start();
            (rest.starts_with('=') && !rest.starts_with("==")).then_some(number)
        })
    }

    /// The line within the entry function that has the name quoted in the message, else its first.
    fn guess(&self, message: &str, (first, last): (u32, u32)) -> Option<u32> {
        let quoted = message.split('\'').nth(1).filter(|name| !name.is_empty());
        let inside = |number: &u32| (first..=last.max(first)).contains(number);
        let named = quoted.and_then(|name| {
            let mut lines = self.numbered().filter(|(number, _)| inside(number));
            lines.find_map(|(number, line)| word(&line, name).map(|_| number))
        });
        named.or((first > 0).then_some(first))
    }

    fn excerpt(&self, line: u32) -> Vec<SourceLine> {
        let near = line.saturating_sub(1)..=line.saturating_add(1);
        let lines = self.numbered().filter(|(number, _)| near.contains(number));
        lines
            .map(|(number, text)| SourceLine {
                number,
                text: sanitised(text.trim_end().as_bytes(), LINE_LEN_MAX),
                failed: number == line,
            })
            .collect()
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, String)> + '_ {
        let lines = self.source.split(|&b| b == b'\n');
        (1..).zip(lines.map(|line| String::from_utf8_lossy(line).into_owned()))
    }
}

/// Where `name` stands in `line` as a whole word, the first time.
fn word(line: &str, name: &str) -> Option<usize> {
    words(line, name).next()
}

fn words<'a>(line: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(name).map(|(at, _)| at).filter(move |&at| {
        !line[..at].chars().next_back().is_some_and(is_of_word)
            && !line[at + name.len()..].chars().next().is_some_and(is_of_word)
    })
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where in its line, in characters from 1, what the message quotes first stands: a field behind its
/// dot, a name as a whole word, a sign where there is only one of it.
fn column(line: &str, message: &str) -> Option<u32> {
    let quoted = message.split('\'').nth(1).filter(|quoted| !quoted.is_empty())?;
    let at = if quoted.chars().all(is_of_word) {
        let behind_dot = |&at: &usize| line[..at].ends_with(['.', ':', '\'', '"']);
        let field = message.contains("field") || message.contains(" has no '");
        let fields = words(line, quoted).find(behind_dot).filter(|_| field);
        fields.or_else(|| word(line, quoted))?
    } else {
        let mut found = line.match_indices(quoted).map(|(at, _)| at);
        found.next().filter(|_| found.next().is_none())?
    };
    u32::try_from(line[..at].chars().count() + 1).ok()
}

/// What an error of the VM says.
struct Raised {
    kind: FailureKind,
    message: String,
    line: Option<u32>,
    frames: Vec<String>,
}

impl Raised {
    fn of(error: &mlua::Error) -> Self {
        let (kind, text, outer) = flattened(error);
        let (message, inner) = match text.rfind("\nstack traceback:") {
            Some(at) => (text[..at].to_owned(), text[at..].to_owned()),
            None => (text, String::new()),
        };
        let trace = format!("{inner}\n{outer}");
        let frames: Vec<String> = trace
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with(sandbox::POLICY_CHUNK_PREFIX))
            .map(str::to_owned)
            .collect();
        let (position, message) = positioned(&message);
        let message =
            if message.is_empty() { "an error without a message".to_owned() } else { message };
        let line = position.or_else(|| frames.first().and_then(|frame| positioned(frame).0));
        Self { kind, message, line, frames }
    }
}

/// The kind, the message with what traceback Lua put behind it, and the callback's traceback.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's and grows")]
fn flattened(error: &mlua::Error) -> (FailureKind, String, String) {
    match error {
        mlua::Error::SyntaxError { message, .. } => {
            (FailureKind::Syntax, message.clone(), String::new())
        }
        mlua::Error::RuntimeError(message) => {
            (FailureKind::Runtime, message.clone(), String::new())
        }
        mlua::Error::MemoryError(_) => {
            let message = "it needs more than its 16 MiB of memory".to_owned();
            (FailureKind::Memory, message, String::new())
        }
        mlua::Error::CallbackError { traceback, cause } => {
            let (kind, message, inner) = flattened(cause);
            (kind, message, format!("{inner}\n{traceback}"))
        }
        mlua::Error::WithContext { cause, .. } => flattened(cause),
        other => (FailureKind::Runtime, other.to_string(), String::new()),
    }
}

/// Takes `policy:14: ` or `shoal:200: ` off the front; the former is a line of the script.
fn positioned(message: &str) -> (Option<u32>, String) {
    for (prefix, ours) in
        [(sandbox::POLICY_CHUNK_PREFIX, false), (sandbox::SANDBOX_CHUNK_PREFIX, true)]
    {
        let Some(rest) = message.strip_prefix(prefix) else { continue };
        let Some((number, rest)) = rest.split_once(':') else { continue };
        let Ok(number) = number.parse() else { continue };
        return ((!ours).then_some(number), rest.trim_start().to_owned());
    }
    (None, message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &[u8] = b"local x = 1\nreturn function(ctx, peers)\n  return peers.foo\nend\n";

    #[test]
    fn a_failure_shows_its_line_between_its_neighbours() {
        let text = Text { file: "scripts/x.lua", source: SOURCE };
        let failure = text.failure(FailureKind::Runtime, Some(3), "no 'foo'", "choose(ctx, peers)");
        let shown = "  scripts/x.lua:3: no 'foo'\n    2 | return function(ctx, peers)\n  \
                     > 3 |   return peers.foo\n      |                ^^^\n    4 | end\n  \
                     in choose(ctx, peers)";
        assert_eq!(failure.to_string(), shown);
    }

    #[test]
    fn the_line_is_the_innermost_of_the_script() {
        let text = Text { file: "x.lua", source: SOURCE };
        let message = "shoal:7: bad\nstack traceback:\n\t[C]: in ?\n\tshoal:7: in function \
                       'f'\n\tpolicy:3: in function <policy:2>\n\tpolicy:9: in main chunk";
        let failure = text.raised(&mlua::Error::RuntimeError(message.into()), "", None);
        assert_eq!((failure.line, failure.message.as_str()), (Some(3), "bad"));
        assert_eq!(failure.traceback, ["x.lua:3: in function <x.lua:2>", "x.lua:9: in main chunk"]);
    }

    #[test]
    fn a_line_lost_to_a_tail_call_is_looked_for_by_name() {
        let text = Text { file: "x.lua", source: SOURCE };
        let error = mlua::Error::RuntimeError("there is no 'foo'".into());
        assert_eq!(text.raised(&error, "", Some((2, 4))).line, Some(3));
        let error = mlua::Error::RuntimeError("there is no 'bar'".into());
        assert_eq!(text.raised(&error, "", Some((2, 4))).line, Some(2));
    }

    #[test]
    fn what_a_message_quotes_is_marked_where_it_is_meant() {
        for (line, message, expected) in [
            ("local uplaoded = p.uplaoded", "peer has no field 'uplaoded'", Some(20)),
            ("local x = p['uplaoded']", "peer has no field 'uplaoded'", Some(14)),
            ("é = shaol.x", "there is no variable 'shaol'", Some(5)),
            ("local uplaoded_2 = p", "peer has no field 'uplaoded'", None),
            ("  return x.id", "attempt to index a nil value (local 'x')", Some(10)),
            ("x = math.mx(mx)", "math has no 'mx' — did you mean 'max'?", Some(10)),
            ("api == 1", "unexpected symbol near '=='", Some(5)),
            ("a = = 1", "unexpected symbol near '='", None),
            ("return 5", "returned 5 (an integer)", None),
            ("return ''", "there is no ''", None),
        ] {
            assert_eq!(column(line, message), expected, "{line}: {message}");
        }
    }

    #[test]
    fn a_mark_beyond_what_is_shown_of_a_line_is_left_out() {
        let source = format!("{}x.foo", " ".repeat(200));
        let text = Text { file: "x.lua", source: source.as_bytes() };
        let failure = text.failure(FailureKind::Runtime, Some(1), "no field 'foo'", "");
        assert_eq!(failure.column, Some(203));
        assert!(!failure.to_string().contains('^'));
    }

    #[test]
    fn the_line_of_a_key_is_where_it_is_assigned() {
        let source = b"-- chose = x\nif chose == 1 then end\nreturn {\n  chosen = 2, chose = 3 }";
        let text = Text { file: "x.lua", source };
        assert_eq!(text.line_of_key("chosen"), Some(4));
        assert_eq!(text.line_of_key("absent"), None);
    }
}
