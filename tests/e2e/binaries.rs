//! The programs: where they are, and how a test runs them. `SHOALD_BIN` and
//! `SHOALCTL_BIN` name them; else they lie in the folder above this test's own executable, where
//! cargo puts them. Absent, the tests that need them say so and pass, unless
//! `SHOAL_REQUIRE_BINARIES=1`.

use std::{
    env,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

use crate::harness::{Host, until, within};

/// A program on disk.
pub struct Program(PathBuf);

/// A node in a process of its own.
pub struct Running {
    host: Host,
    child: Child,
}

impl Program {
    /// `shoald`, or none with a loud word.
    pub fn shoald() -> Option<Self> {
        Self::find("SHOALD_BIN", "shoald")
    }

    /// `shoalctl`, or none with a loud word.
    pub fn shoalctl() -> Option<Self> {
        Self::find("SHOALCTL_BIN", "shoalctl")
    }

    fn find(variable: &str, name: &str) -> Option<Self> {
        let beside = || Some(env::current_exe().ok()?.parent()?.parent()?.join(name));
        let path = env::var_os(variable).map(PathBuf::from).or_else(beside)?;
        if path.is_file() {
            return Some(Self(path));
        }
        let text = format!("SKIPPED: no {name} at {}; set {variable}", path.display());
        assert!(env::var_os("SHOAL_REQUIRE_BINARIES").is_none(), "{text}");
        eprintln!("{text}");
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The program, free of the environment's say and of anybody else's home.
    pub fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(self.path());
        let named = env::vars_os().map(|(name, _)| name);
        for name in named.filter(|name| name.to_string_lossy().starts_with("SHOAL_")) {
            command.env_remove(name);
        }
        command.env("HOME", home).env_remove("XDG_STATE_HOME").current_dir(home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, home: &Path, args: &[&str]) -> Output {
        let output = self.command(home).args(args).output();
        within(Duration::from_secs(60), &format!("end of {args:?}"), output).await.unwrap()
    }

    /// Starts a node in this role, on ports of its own, with its state in `state`.
    pub async fn node(&self, role: &str, state: &Path, args: &[&str]) -> Running {
        let home = state.parent().unwrap();
        let ready = state.with_extension("ready");
        let _ = std::fs::remove_file(&ready);
        let socket = format!("unix:{}", state.join("shoald.sock").display());
        let mut child = self
            .command(home)
            .arg(role)
            .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--control", &socket])
            .arg("--state-dir")
            .arg(state)
            .arg("--ready-file")
            .arg(&ready)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        until("the ready file", async || {
            if let Some(ended) = child.try_wait().unwrap() {
                panic!("shoald {role} {args:?} ended: {ended}");
            }
            std::fs::read(&ready).ok()
        })
        .await;
        Running { host: Host::attach(state).await, child }
    }
}

impl Running {
    /// Ends it at once, as a power cut would.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Makes it hang: its sockets stay, and nobody answers. The signal is on its way for a while.
    pub async fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id().unwrap());
        until("a frozen process", async || {
            let mut tasks = std::fs::read_dir(&tasks).unwrap();
            let stopped = |task: &Path| {
                let status = std::fs::read_to_string(task.join("status"));
                status.is_ok_and(|status| status.contains("State:\tT"))
            };
            tasks.all(|task| stopped(&task.unwrap().path())).then_some(())
        })
        .await;
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Asks it to end, and waits for that.
    pub async fn terminate(self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits for its end, and says with what it ended.
    pub async fn ended(mut self) -> Option<i32> {
        let ended = within(Duration::from_secs(20), "end of shoald", self.child.wait()).await;
        ended.unwrap().code()
    }

    /// The most memory it ever held, bytes.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Deref for Running {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

/// Ends of a program that are text.
pub fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
