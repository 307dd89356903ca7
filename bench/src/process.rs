//! The programs that are measured: started, watched, counted and ended. Each is one process, known
//! by its id; none outlives this one. Never here: which programs, or what they are told.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::{self, File},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{
        Pid, PidfdFlags, Signal, getppid, kill_process, pidfd_open, set_parent_process_death_signal,
    },
};
use serde_json::Value;

use crate::{answer::last_document, interrupt, machine};

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Member {
    name: String,
    child: Child,
    pidfd: OwnedFd,
    log: PathBuf,
    usage: Usage,
    threads: Option<Threads>,
    /// The file that it makes once it is done; none: it ends.
    done: Option<PathBuf>,
    ended: Option<ExitStatus>,
}

/// Threads of a name, and the processor time each had when it was last looked at.
#[derive(Debug)]
struct Threads {
    name: &'static str,
    cpu_ns: BTreeMap<OsString, u64>,
}

/// What a process cost so far.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of processor time, user and system, all threads. Counted in clock ticks of 10 ms.
    pub(crate) cpu_s: f64,
    /// The most memory resident at once, KiB: the kernel's own mark, looked at every
    /// [`LOOK_EVERY`], so that only what is claimed in the last moment goes unseen.
    pub(crate) peak_kib: u64,
    /// Seconds of processor time of the threads that are watched, in nanoseconds, up to the last
    /// look.
    pub(crate) thread_cpu_s: f64,
}

/// Arguments of the hidden sub-command that every member is started through.
#[derive(Args, Debug)]
pub(crate) struct Guarded {
    /// Become the program once this file is there.
    #[arg(long)]
    after: Option<PathBuf>,
    /// Process id of the one that starts it.
    parent: i32,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// How often members are looked at while they run.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a member may take to end once asked to.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How much of a failed member's output is shown, bytes from its end.
const LOG_SHOWN_LEN: usize = 2000;

impl Guarded {
    /// Becomes the program, to be killed when the parent dies, however that dies.
    ///
    /// # Errors
    /// The parent is gone already, or the program cannot be started.
    pub(crate) fn exec(self) -> anyhow::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Asked after the signal was ordered: a parent that died before would send none.
        let parent = getppid().map_or(0, Pid::as_raw_pid);
        ensure!(parent == self.parent, "process {} is gone", self.parent);
        while self.after.as_deref().is_some_and(|file| !file.exists()) {
            thread::sleep(LOOK_EVERY);
        }
        let (program, args) = self.program.split_first().context("no program")?;
        let error = Command::new(program).args(args).exec();
        Err(error).with_context(|| program.display().to_string())
    }
}

impl Member {
    /// Starts a program, its output going to `log`, without our settings of shoal. To be called
    /// from the main thread: the guard watches the thread that started it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(name: &str, argv: &[OsString], log: PathBuf) -> anyhow::Result<Self> {
        Self::start_after(None, name, argv, log)
    }

    /// As [`Member::start`], but the process becomes the program only once the file is there.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start_after(
        file: Option<&Path>,
        name: &str,
        argv: &[OsString],
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(env::current_exe()?);
        command.arg("guarded");
        if let Some(file) = file {
            command.arg("--after").arg(file);
        }
        command.arg(std::process::id().to_string()).arg("--").args(argv);
        let settings = env::vars_os().map(|(name, _)| name);
        for setting in settings.filter(|name| name.as_encoded_bytes().starts_with(b"SHOAL_")) {
            command.env_remove(setting);
        }
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Self::of(name, command, log)
    }

    fn of(name: &str, mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        match pidfd_open(pid(&child), PidfdFlags::empty()) {
            Ok(pidfd) => {
                let (name, usage) = (name.to_owned(), Usage::default());
                Ok(Self { name, child, pidfd, log, usage, threads: None, done: None, ended: None })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error).context("opening a process")
            }
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Counts the threads called `name` apart from now on.
    pub(crate) fn watch_threads(&mut self, name: &'static str) {
        self.threads = Some(Threads { name, cpu_ns: BTreeMap::new() });
    }

    /// It is done once it made this file, and stays.
    pub(crate) fn done_by(&mut self, file: Option<PathBuf>) {
        self.done = file;
    }

    /// What it cost so far, or in all once it ended.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn usage(&mut self) -> anyhow::Result<Usage> {
        if self.ended.is_none() {
            let dir = PathBuf::from(format!("/proc/{}", self.child.id()));
            let stat = fs::read_to_string(dir.join("stat"))?;
            self.usage.cpu_s = cpu_seconds(&stat).context("/proc/PID/stat is not understood")?;
            // Of a process that ended nothing is resident: the last mark seen holds.
            let status = fs::read_to_string(dir.join("status"))?;
            let peak = machine::kib(&status, "VmHWM").unwrap_or(0);
            self.usage.peak_kib = self.usage.peak_kib.max(peak);
            if let Some(threads) = &mut self.threads {
                threads.look(&dir.join("task"));
                self.usage.thread_cpu_s = threads.cpu_ns.values().sum::<u64>() as f64 / 1e9;
            }
        }
        Ok(self.usage)
    }

    /// The memory that it has resident now, KiB.
    ///
    /// # Errors
    /// It ended.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        machine::kib(&status, "VmRSS").context("nothing is resident: it ended")
    }

    /// Its threads and its open files.
    ///
    /// # Errors
    /// It ended.
    pub(crate) fn threads_and_files(&self) -> anyhow::Result<(usize, usize)> {
        let count = |of: &str| -> anyhow::Result<usize> {
            Ok(fs::read_dir(format!("/proc/{}/{of}", self.child.id()))?.count())
        };
        Ok((count("task")?, count("fd")?))
    }

    /// Ends it as a crash or a power cut does.
    pub(crate) fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    /// Whether it ended. What it cost is taken before the kernel forgets it.
    fn look(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            let at_once = Timespec::default();
            let readable = poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&at_once))?;
            self.usage()?;
            if readable > 0 {
                self.ended = Some(self.child.wait()?);
            }
        }
        Ok(self.ended)
    }

    /// Whether it did what it was started for.
    ///
    /// # Errors
    /// It ended, badly or before it was done.
    pub(crate) fn is_done(&mut self) -> anyhow::Result<bool> {
        let done = self.done.as_deref().is_some_and(Path::exists);
        match self.look()? {
            Some(status) if status.success() && (done || self.done.is_none()) => Ok(true),
            Some(status) => bail!(self.complaint(&format!("failed ({status})"))),
            None => Ok(done),
        }
    }

    /// An error, with the end of its output, if it ended.
    ///
    /// # Errors
    /// It ended.
    pub(crate) fn ensure_running(&mut self) -> anyhow::Result<()> {
        match self.look()? {
            None => Ok(()),
            Some(status) => bail!(self.complaint(&format!("ended early ({status})"))),
        }
    }

    /// Asks it to end, insists after [`STOP_WITHIN`], and waits for it.
    pub(crate) fn stop(&mut self) {
        self.stop_within(STOP_WITHIN);
    }

    /// Asks it to end, insists after `patience`, and waits for it. Whether it ended by itself.
    pub(crate) fn stop_within(&mut self, patience: Duration) -> bool {
        if self.ended.is_some() {
            return true;
        }
        // It is ours and not waited for yet, so that the id is still its own.
        let _ = kill_process(pid(&self.child), Signal::TERM);
        let patience = Timespec::try_from(patience).ok();
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let ends = matches!(poll(&mut fds, patience.as_ref()), Ok(1..));
        if !ends {
            let _ = self.child.kill();
        }
        self.ended = self.child.wait().ok();
        ends
    }

    fn complaint(&self, what: &str) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_SHOWN_LEN)..]);
        format!("{} {what}; its output ends:\n{}", self.name, tail.trim_end())
    }
}

impl Threads {
    /// Looks for them until there are any, then at those. One that ended keeps its time.
    fn look(&mut self, tasks: &Path) {
        if self.cpu_ns.is_empty() {
            let named = |task: &fs::DirEntry| {
                let name = fs::read_to_string(task.path().join("comm"));
                name.is_ok_and(|name| name.trim_end() == self.name)
            };
            let tasks = fs::read_dir(tasks).into_iter().flatten().flatten();
            self.cpu_ns = tasks.filter(named).map(|task| (task.file_name(), 0)).collect();
        }
        for (task, cpu_ns) in &mut self.cpu_ns {
            let stat = fs::read_to_string(tasks.join(task).join("schedstat")).unwrap_or_default();
            let ran = stat.split(' ').next().and_then(|ns| ns.parse().ok());
            *cpu_ns = ran.unwrap_or(*cpu_ns);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until every member is done: the time from `start` to that of each, in their order.
///
/// # Errors
/// One fails, is not done `within`, or "interrupted".
pub(crate) fn wait_all(
    members: &mut [Member],
    start: Instant,
    within: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = vec![None; members.len()];
    let tick = Timespec::try_from(LOOK_EVERY)?;
    while times.contains(&None) {
        interrupt::check()?;
        let running = members.iter().zip(&times).filter(|(_, time)| time.is_none());
        let mut fds: Vec<_> =
            running.map(|(member, _)| PollFd::new(&member.pidfd, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let now = start.elapsed();
        for (member, time) in members.iter_mut().zip(&mut times).filter(|(_, time)| time.is_none())
        {
            if member.is_done()? {
                *time = Some(now);
            } else if now > within {
                bail!(member.complaint(&format!("is not done after {within:?}")));
            }
        }
    }
    Ok(times.into_iter().flatten().collect())
}

/// Waits until `done` gives something while `member` runs.
///
/// # Errors
/// The member ends, it takes longer than `within`, or "interrupted"; `what` names it.
pub(crate) fn await_that<T>(
    what: &str,
    member: &mut Member,
    within: Duration,
    mut done: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(result) = done() {
            return Ok(result);
        }
        interrupt::check()?;
        member.ensure_running()?;
        if start.elapsed() > within {
            bail!(member.complaint(&format!("{what}: not after {within:?}")));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Runs a program that answers with JSON: the last document of its output.
///
/// # Errors
/// It fails, takes longer than `within`, or answers with something else; `name` names it.
pub(crate) fn answer_of(
    name: &str,
    argv: &[OsString],
    log: PathBuf,
    within: Duration,
) -> anyhow::Result<Value> {
    let mut members = [Member::start(name, argv, log)?];
    wait_all(&mut members, Instant::now(), within)?;
    document(&members[0])
}

/// The last document that a program wrote.
///
/// # Errors
/// It wrote none; names it.
pub(crate) fn document(member: &Member) -> anyhow::Result<Value> {
    let text = fs::read_to_string(&member.log)?;
    last_document(&text).with_context(|| member.complaint("answered without JSON"))
}

/// The content of a file once it is there.
pub(crate) fn text_of(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().filter(|text| !text.is_empty())
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// User and system time in `/proc/PID/stat`, whose second field, the name, may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut ticks = after_name.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (ticks.next()?.parse().ok()?, ticks.next()?.parse().ok()?);
    Some((user + system) / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(dir: &tempfile::TempDir, script: &str) -> Member {
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(File::create(&log).unwrap());
        Member::of("shell", command, log).unwrap()
    }

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b 9) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 1 0 1 1 1";
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_seconds(stat), Some(200.0 / per_second));
        assert_eq!(cpu_seconds("7 (sh"), None);
    }

    #[test]
    fn what_an_ended_process_cost_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let mut members = [shell(&dir, work)];
        wait_all(&mut members, Instant::now(), SOON).unwrap();
        let usage = members[0].usage().unwrap();
        assert!(usage.cpu_s > 0.0 && usage.peak_kib > 0, "{usage:?}");
    }

    #[test]
    fn a_thread_is_counted_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exec sleep 1000";
        for (name, expected) in [("sh", true), ("policy", false)] {
            let mut member = shell(&dir, work);
            member.watch_threads(name);
            let mut busy = || {
                let usage = member.usage().unwrap();
                (usage.cpu_s > 0.05).then_some(usage.thread_cpu_s > 0.0)
            };
            let counted = std::iter::repeat_with(|| {
                thread::sleep(LOOK_EVERY);
                busy()
            });
            assert_eq!(counted.flatten().next(), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_failure_shows_what_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut members = [shell(&dir, "echo the reason; exit 3")];
        let error = wait_all(&mut members, Instant::now(), SOON).unwrap_err().to_string();
        assert!(error.contains("3") && error.contains("the reason"), "{error}");
    }

    #[test]
    fn nothing_runs_beyond_its_time_or_its_member() {
        let dir = tempfile::tempdir().unwrap();
        let mut members = [shell(&dir, "exec sleep 1000")];
        let pid = members[0].child.id();
        assert!(wait_all(&mut members, Instant::now(), Duration::ZERO).is_err());
        drop(members);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
