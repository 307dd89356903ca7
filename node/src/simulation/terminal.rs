//! `shoald sim`: files, threads, the clock and the terminal for a command of the simulator.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    process, thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shoal_sim::command::{
    args::SimArgs,
    carry::{End, Shell, carry_out},
    tally::Shown,
};

use crate::exit::Exit;

/// Redraws a second.
const DRAWS_PER_SECOND: u8 = 10;
/// Steps of the bar.
const BAR_LEN: u64 = 1000;

/// Runs it to its end. Ctrl-C ends the process at once.
#[must_use]
pub fn run(args: &SimArgs) -> Exit {
    let interrupted = || process::exit(Exit::Interrupted.number().into());
    if let Err(error) = ctrlc::set_handler(interrupted) {
        tracing::warn!(%error, "a signal ends the process by itself");
    }
    let style = ProgressStyle::with_template("{percent:>3}% {bar:16} {wide_msg}");
    let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
    let bar = ProgressBar::with_draw_target(Some(BAR_LEN), target);
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    match carry_out(args, &Terminal { began: Instant::now(), bar }) {
        End::Holds => Exit::Ok,
        End::Internal => Exit::Internal,
        End::Usage => Exit::Usage,
        End::NotFound => Exit::NotFound,
        End::NotAllowed => Exit::NotAllowed,
        End::Broken => Exit::Precondition,
        End::Invalid => Exit::Invalid,
    }
}

struct Terminal {
    began: Instant,
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
}

impl Shell for Terminal {
    fn is_file(&self, path: &str) -> bool {
        fs::metadata(path).is_ok_and(|found| found.is_file())
    }

    fn read(&self, path: &str, len_max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(len_max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        fs::write(path, text)
    }

    fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // A reader that has seen enough is no fault.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn say(&self, lines: &str) {
        // Nobody reads stderr: there is nowhere left to say so.
        let _ = writeln!(io::stderr(), "{lines}");
    }

    fn threads(&self) -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }

    fn together(&self, threads: usize, work: &(dyn Fn() + Sync)) {
        thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn show(&self, shown: Option<Shown>) {
        let Some(shown) = shown else { return self.bar.finish_and_clear() };
        self.bar.set_position((shown.part * BAR_LEN as f64) as u64);
        self.bar.set_message(shown.words());
    }
}
