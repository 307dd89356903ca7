//! The ends of a run of `shoalctl`: input, output, talk, interrupts. Never here: what is written.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Cursor, IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::{failure::Failure, places::Places};

/// Longest line read from standard input, bytes.
const LINE_LEN_MAX: u64 = 64 * 1024;

/// Which ends are terminals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Questions can be asked.
    pub stdin: bool,
    /// Tables are cut to the width of the terminal.
    pub stdout: bool,
    /// Progress bars are drawn.
    pub stderr: bool,
}

/// Where a run reads and writes.
pub struct Io {
    pub(crate) stdin: Option<Box<dyn BufRead + Send>>,
    pub(crate) stdout: Box<dyn Write + Send>,
    pub(crate) stderr: Box<dyn Write + Send>,
    pub(crate) terminals: Terminals,
    pub(crate) interrupt: Arc<Notify>,
    pub(crate) places: Places,
}

impl Io {
    /// The process's own ends. Whoever catches Ctrl-C tells `interrupt` through `notify_waiters`.
    #[must_use]
    pub fn standard(interrupt: Arc<Notify>) -> Self {
        let terminals = Terminals {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        Self {
            stdin: Some(Box::new(BufReader::new(io::stdin()))),
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            terminals,
            interrupt,
            places: Places::of_user(),
        }
    }

    /// Ends made by the caller; none is a terminal, nothing interrupts, and no files of the user's
    /// are read.
    #[must_use]
    pub fn new(
        stdin: impl BufRead + Send + 'static,
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
    ) -> Self {
        Self {
            stdin: Some(Box::new(stdin)),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            terminals: Terminals::default(),
            interrupt: Arc::default(),
            places: Places::default(),
        }
    }

    /// Ends in memory: what `stdin` holds is read, and what is written can be read from the two
    /// buffers, standard output first.
    #[must_use]
    pub fn captured(stdin: &str) -> (Self, Buffer, Buffer) {
        let (stdout, stderr) = (Buffer::default(), Buffer::default());
        let stdin = Cursor::new(stdin.as_bytes().to_vec());
        (Self::new(stdin, stdout.clone(), stderr.clone()), stdout, stderr)
    }

    /// With other ends counting as terminals.
    #[must_use]
    pub fn with_terminals(self, terminals: Terminals) -> Self {
        Self { terminals, ..self }
    }

    /// With another source of interrupts.
    #[must_use]
    pub fn interrupted_by(self, interrupt: Arc<Notify>) -> Self {
        Self { interrupt, ..self }
    }

    /// With folders for configuration and state.
    #[must_use]
    pub fn with_places(self, places: Places) -> Self {
        Self { places, ..self }
    }

    /// Writes text to standard output, at once.
    ///
    /// # Errors
    /// Standard output fails, or nobody reads it.
    pub(crate) fn put(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout
            .write_all(text.as_bytes())
            .and_then(|()| self.stdout.flush())
            .map_err(|e| Failure::stdio(&e))
    }

    /// Reads a line without its end; `None` at the end of the input. An interrupted read gives the
    /// input up: later reads see its end.
    ///
    /// # Errors
    /// The input fails, is not UTF-8, or holds a line over 64 KiB.
    pub(crate) async fn read_line(&mut self) -> io::Result<Option<String>> {
        let Some(mut stdin) = self.stdin.take() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || {
            let mut line = Vec::new();
            let read = io::Read::take(&mut stdin, LINE_LEN_MAX + 1).read_until(b'\n', &mut line);
            (stdin, read.map(|_| line))
        });
        let (stdin, line) = read.await.map_err(io::Error::other)?;
        self.stdin = Some(stdin);
        let mut line = line?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.len() as u64 > LINE_LEN_MAX {
            return Err(io::Error::other(format!("a line is longer than {LINE_LEN_MAX} bytes")));
        }
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        String::from_utf8(line).map(Some).map_err(|_| io::Error::other("a line is not UTF-8"))
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("terminals", &self.terminals).finish_non_exhaustive()
    }
}

/// What was written, shared with whoever reads it.
#[derive(Clone, Debug, Default)]
pub struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    /// Everything written so far; what is not UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
