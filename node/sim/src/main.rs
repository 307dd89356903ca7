//! `shoal-sim`: `shoald sim` alone. Lends the command what a pure crate has not: files, threads, a
//! clock, a terminal. Never here: what is simulated.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the crate is pure, its program lends it the world"
)]

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    process::{self, ExitCode},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mimalloc::MiMalloc;
use shoal_sim::command::{
    args::{AFTER_HELP, SimArgs},
    carry::{Shell, carry_out},
    tally::Shown,
};

/// Sessions allocate and free small things all the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Ended by Ctrl-C, as `shoald` and `shoalctl` end.
const INTERRUPTED: i32 = 130;
/// Redraws a second.
const DRAWS_PER_SECOND: u8 = 10;

/// Run a plan in virtual time, on real sessions and policies, and say what came of it
#[derive(Parser, Debug)]
#[command(name = "shoal-sim", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    args: SimArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = ctrlc::set_handler(|| process::exit(INTERRUPTED)) {
        // The signal ends the program all the same.
        let _ = writeln!(io::stderr(), "warning: signals: {error}");
    }
    let world = World { began: Instant::now(), bar: bar() };
    ExitCode::from(carry_out(&cli.args, &world) as u8)
}

/// What is outside.
struct World {
    began: Instant,
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{percent:>3}% {bar:16} {wide_msg}");
    let bar = ProgressBar::with_draw_target(
        Some(1000),
        ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
    );
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Shell for World {
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
        self.bar.set_position((shown.part * 1000.0) as u64);
        self.bar.set_message(shown.words());
    }
}
