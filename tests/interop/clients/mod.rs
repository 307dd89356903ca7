//! Foreign clients as members of a swarm: each is told torrents and a folder, to have or to fetch
//! them, and nothing besides what it does by default and what keeps it from looking elsewhere.
//! Encryption is as it comes. Never here: what is expected of them.

mod aria2;
mod libtorrent;
pub mod opentracker;
pub mod shoal;
mod transmission;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::process::{Child, Command};

use crate::net::{Place, say};

/// Where every client listens: each has an address of its own.
const PORT: u16 = 6881;
/// How much of what a program said is shown.
const SHOWN: usize = 4000;

/// A kind of client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Aria2,
    Transmission,
    Libtorrent,
}

/// What a client does with its torrents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Fetches them and goes on serving them.
    Leech,
    /// The same; what dials over µTP first does so.
    LeechByUtp,
    /// Has them.
    Seed,
}

/// What a client is started with.
pub struct Task<'a> {
    pub place: &'a Place,
    pub role: Role,
    /// Metainfo files.
    pub torrents: &'a [PathBuf],
    /// Where the payload is, or will be.
    pub data: &'a Path,
    /// Its own folder.
    pub home: &'a Path,
}

/// A client, or another program, that runs. Killed where it is dropped.
pub struct Client {
    child: Child,
    log: PathBuf,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Aria2 => "aria2",
            Self::Transmission => "Transmission",
            Self::Libtorrent => "libtorrent",
        }
    }

    /// Whether it can be run; said where it cannot, and with `SHOAL_REQUIRE_<NAME>=1` a failure.
    pub fn is_here(self) -> bool {
        match self {
            Self::Aria2 => is_here("ARIA2", "aria2c", &["--version"]),
            Self::Transmission => is_here("TRANSMISSION", "transmission-daemon", &["--version"]),
            Self::Libtorrent => is_here("LIBTORRENT", PYTHON, &["-c", "import libtorrent"]),
        }
    }

    /// Whether files without bytes are there once it is done: Transmission makes none.
    pub fn makes_empty_files(self) -> bool {
        self != Self::Transmission
    }

    /// Starts one.
    pub fn start(self, task: &Task<'_>) -> Client {
        for dir in [task.home, task.data] {
            fs::create_dir_all(dir).unwrap();
        }
        let command = match self {
            Self::Aria2 => aria2::command(task),
            Self::Transmission => transmission::command(task),
            Self::Libtorrent => libtorrent::command(task),
        };
        Client::start(command, &task.home.join("log"))
    }
}

/// Debian's interpreter: its module is for no other.
pub const PYTHON: &str = "/usr/bin/python3";

/// Whether a program can be run, or a loud word; with `SHOAL_REQUIRE_<name>=1` a failure.
pub fn is_here(name: &str, program: &str, args: &[&str]) -> bool {
    let variable = format!("SHOAL_REQUIRE_{name}");
    let output = std::process::Command::new(program).args(args).output();
    let is_here = output.is_ok_and(|output| output.status.success());
    let is_required = std::env::var_os(&variable).is_some_and(|value| value == "1");
    assert!(is_here || !is_required, "{variable} is set, and {program} cannot be run");
    if !is_here {
        say(&format!("skipped: {program} cannot be run"));
    }
    is_here
}

impl Client {
    /// Starts a program whose output goes into a file.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let output = fs::File::create(log).unwrap();
        command.stderr(output.try_clone().unwrap()).stdout(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// A panic where it has ended.
    #[track_caller]
    pub fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("it ended, {status}: {}", self.said());
        }
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The end of what it said.
    pub fn said(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let from = said.len().saturating_sub(SHOWN);
        String::from_utf8_lossy(&said[from..]).into_owned()
    }
}
