//! A command line of the simulator from its words to its exit code: what is printed, what is said,
//! how it ends. A [`Shell`] lends what this crate has not: files, threads, a clock, a terminal.

use std::{
    io,
    ops::ControlFlow,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    Command, Job, Ran,
    args::{Format, SimArgs},
    read,
    tally::{Shown, Tally},
};
use crate::{
    plan::{Plan, shipped},
    report::{
        layout::{Align, rows, wrap},
        words,
    },
    run::SetupError,
};

/// Columns of a plan's description in the list.
const ABOUT_MAX: usize = 46;
/// Runs whose last facts are told, at most.
const TAILS_MAX: usize = 3;

/// What a program lends to a command: the world outside.
pub trait Shell: Sync {
    /// Whether a path is that of a file.
    fn is_file(&self, path: &str) -> bool;
    /// What is in a file, at most so many bytes of it.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &str, len_max: usize) -> io::Result<Vec<u8>>;
    /// Writes a file.
    ///
    /// # Errors
    /// As the system says.
    fn write(&self, path: &str, text: &str) -> io::Result<()>;
    /// Writes to standard output. A reader that went away is no error.
    ///
    /// # Errors
    /// As the system says.
    fn print(&self, text: &str) -> io::Result<()>;
    /// Says lines on standard error.
    fn say(&self, lines: &str);
    /// Threads that it would use.
    fn threads(&self) -> usize;
    /// Does the same work on so many threads, and comes back when all of them are done.
    fn together(&self, threads: usize, work: &(dyn Fn() + Sync));
    /// Real time since it began.
    fn elapsed(&self) -> Duration;
    /// Shows how far everything is; `None`: nothing any more.
    fn show(&self, shown: Option<Shown>);
}

/// How a command ended: the numbers are the exit codes of `shoald`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum End {
    /// Everything held.
    Holds = 0,
    /// A fault of ours or of the machine.
    Internal = 1,
    /// Words that do not fit together.
    Usage = 2,
    /// No such plan, policy or file.
    NotFound = 3,
    /// A file that may not be read or written.
    NotAllowed = 4,
    /// A check was violated, or what was expected was not met.
    Broken = 7,
    /// A bad plan or policy.
    Invalid = 8,
}

/// Why nothing came of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    end: End,
    text: String,
}

impl Problem {
    pub(super) fn new(end: End, text: impl Into<String>) -> Self {
        Self { end, text: text.into() }
    }
}

impl From<SetupError> for Problem {
    fn from(error: SetupError) -> Self {
        Self::new(End::Invalid, error.to_string())
    }
}

/// Carries a command line out.
pub fn carry_out(args: &SimArgs, shell: &dyn Shell) -> End {
    let ended = match &args.plan {
        // Words without a plan were refused, but for `--list`.
        None => print(&list(), shell).map(|()| End::Holds),
        Some(named) if args.show => {
            read::plan_text(named, shell).and_then(|text| print(&text, shell)).map(|()| End::Holds)
        }
        Some(named) => read::command(args, named, shell).and_then(|it| simulate(args, &it, shell)),
    };
    ended.unwrap_or_else(|problem| {
        shell.say(&format!("error: {}", problem.text));
        problem.end
    })
}

fn simulate(args: &SimArgs, command: &Command, shell: &dyn Shell) -> Result<End, Problem> {
    let threads = args.threads.map_or_else(|| shell.threads(), usize::from);
    let ran = all(&command.jobs(), threads, shell);
    shell.show(None);
    let ran = ran?;
    let facts = ran.iter().fold(0_u64, |sum, ran| sum.saturating_add(ran.outcome.facts));
    let told = tails(args, &ran);
    let report = command.report(ran.into_iter().map(|ran| ran.outcome).collect());
    print(&text(args.format, &report), shell)?;
    if let Some(path) = &args.picture {
        let written = shell.write(path, &report.picture());
        written.map_err(|error| Problem::file(path, &error))?;
    }
    told.iter().for_each(|lines| shell.say(lines));
    shell.say(&pace(command.runs(), facts, shell.elapsed()));
    let broken: Vec<_> = report.broken().collect();
    let Some(first) = broken.first() else { return Ok(End::Holds) };
    let runs = words::many(command.runs() as u64, "run");
    shell.say(&format!("error: {} of {runs} did not hold; again by", broken.len()));
    shell.say(&format!("  {}", first.replay));
    Ok(End::Broken)
}

/// Does all jobs, on so many threads at most, and gives what came of them in their order.
fn all(jobs: &[Job], threads: usize, shell: &dyn Shell) -> Result<Vec<Ran>, Problem> {
    let places: Vec<OnceLock<Result<Ran, SetupError>>> =
        jobs.iter().map(|_| OnceLock::new()).collect();
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::new(jobs.len())));
    let noted = |note: &dyn Fn(&mut Tally)| {
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut tally);
        shell.show(Some(tally.shown()));
    };
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let (Some(job), Some(place)) = (jobs.get(index), places.get(index)) else { return };
            let ran = job.run(|progress| {
                noted(&|tally| tally.note(index, progress));
                ControlFlow::Continue(())
            });
            match &ran {
                Ok(Some(Ran { outcome, .. })) => {
                    noted(&|tally| tally.done(index, outcome.facts, outcome.ended));
                }
                Ok(None) => {}
                // The others would fail as well.
                Err(_) => next.store(jobs.len(), Ordering::Relaxed),
            }
            if let Some(ran) = ran.transpose() {
                // Nobody else has this index.
                let _ = place.set(ran);
            }
        }
    };
    shell.together(threads.clamp(1, jobs.len().max(1)), &work);
    let mut ran = Vec::with_capacity(jobs.len());
    let (good, bad): (Vec<_>, Vec<_>) =
        places.into_iter().filter_map(OnceLock::into_inner).partition(Result::is_ok);
    if let Some(Err(error)) = bad.into_iter().next() {
        return Err(error.into());
    }
    ran.extend(good.into_iter().flatten());
    match ran.len() == jobs.len() {
        true => Ok(ran),
        false => Err(Problem::new(End::Internal, "a thread was lost")),
    }
}

fn text(format: Format, report: &crate::report::Report<'_>) -> String {
    match format {
        Format::Table => report.table(),
        Format::Json => format!("{}\n", report.json()),
    }
}

/// The last facts of the first runs that a violation ended, where they were wanted.
fn tails(args: &SimArgs, ran: &[Ran]) -> Vec<String> {
    if args.trace.is_none() {
        return Vec::new();
    }
    let violated = ran.iter().filter(|ran| ran.outcome.violation.is_some());
    let told = violated.take(TAILS_MAX).map(|ran| {
        let (seed, policy) = (ran.outcome.seed, &ran.outcome.policy);
        let lines = ran.tail.iter().map(|line| format!("\n  {line}")).collect::<String>();
        let lines = if lines.is_empty() { "\n  none".to_owned() } else { lines };
        format!("last facts with seed {seed}, policy {policy}:{lines}")
    });
    let told: Vec<String> = told.collect();
    match told.is_empty() {
        true => vec!["no check was violated: there are no facts to tell".to_owned()],
        false => told,
    }
}

/// `9 runs, 1 200 000 facts in 2.4 s: 500 000 a second`.
fn pace(runs: usize, facts: u64, elapsed: Duration) -> String {
    let rate = facts as f64 / elapsed.as_secs_f64().max(1e-6);
    format!(
        "{}, {} facts in {}: {} a second",
        words::many(runs as u64, "run"),
        words::whole(facts),
        words::seconds(elapsed.as_secs_f64()),
        words::whole(rate as u64)
    )
}

fn print(text: &str, shell: &dyn Shell) -> Result<(), Problem> {
    let failed = |error: io::Error| Problem::new(End::Internal, format!("stdout: {error}"));
    shell.print(text).map_err(failed)
}

/// The shipped plans, 80 columns.
fn list() -> String {
    let mut lines = vec![["PLAN", "HOSTS", "PIECES", "ABOUT"].map(str::to_owned).to_vec()];
    for (name, text) in shipped::all() {
        let Ok(plan) = Plan::read(text) else { continue };
        let hosts: u64 = plan.classes.iter().map(|class| u64::from(class.count)).sum();
        let pieces = plan.content_bytes.div_ceil(u64::from(plan.piece_len));
        let mut cells = [name.to_owned(), words::whole(hosts), words::whole(pieces)];
        for about in wrap(&plan.description, ABOUT_MAX) {
            lines.push(cells.into_iter().chain([about]).collect());
            cells = Default::default();
        }
    }
    rows(&lines, &[Align::Left, Align::Right, Align::Right, Align::Left])
}
