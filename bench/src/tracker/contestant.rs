//! The trackers that are measured, each a process of its own: shoal's, and aquatic's where it is
//! installed. Never here: what they are asked.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use serde::Serialize;

use super::udp;
use crate::{
    answer::address,
    client::Programs,
    process::{Member, await_that, text_of},
};

/// Whose tracker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Who {
    /// `shoald tracker`
    Shoal,
    /// `aquatic_udp` or `aquatic_http`
    Aquatic,
}

/// How it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Way {
    /// UDP
    Udp,
    /// HTTP, one request under way on each connection
    Http,
    /// HTTP, several requests under way on each connection
    Piped,
    /// HTTP, a connection for each request
    Close,
}

/// Aquatic's programs.
#[derive(Debug)]
pub(super) struct Aquatic {
    dirs: Vec<PathBuf>,
}

/// A tracker that runs.
pub(super) struct Running {
    pub(super) member: Member,
    pub(super) addr: SocketAddr,
}

impl Way {
    /// Aquatic's program for it.
    pub(super) fn aquatic(self) -> &'static str {
        match self {
            Self::Udp => "aquatic_udp",
            Self::Http | Self::Piped | Self::Close => "aquatic_http",
        }
    }

    /// What tables call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Http => "http",
            Self::Piped => "http piped",
            Self::Close => "http close",
        }
    }

    /// Whether a tracker can be asked so: aquatic answers one request at a time.
    pub(super) fn suits(self, who: Who) -> bool {
        match who {
            Who::Shoal => true,
            Who::Aquatic => self != Self::Piped,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shoal => "shoal",
            Self::Aquatic => "aquatic",
        })
    }
}

impl Aquatic {
    /// In this folder, else wherever the path leads.
    pub(super) fn find(dir: Option<&Path>) -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self { dirs: dir.map_or_else(|| env::split_paths(&path).collect(), |dir| vec![dir.into()]) }
    }

    /// A program of aquatic, if it is installed.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        self.dirs.iter().map(|dir| dir.join(name)).find(|program| program.is_file())
    }

    /// What to start so that a program of aquatic follows its own defaults but for these settings.
    ///
    /// # Errors
    /// It is not there, or has no such settings.
    pub(super) fn argv(
        &self,
        name: &str,
        settings: &[Setting<'_>],
        config: &Path,
    ) -> anyhow::Result<Vec<OsString>> {
        let program = self.program(name).with_context(|| format!("{name} is not installed"))?;
        let output = Command::new(&program).arg("-p").output().with_context(|| name.to_owned())?;
        let text = String::from_utf8(output.stdout).context("settings that are no text")?;
        fs::write(config, set(&text, settings).with_context(|| name.to_owned())?)?;
        Ok(vec![program.into(), "-c".into(), config.into()])
    }
}

/// Starts a tracker with one worker and waits until it answers.
///
/// # Errors
/// It is not there, or does not answer `within`.
pub(super) fn start(
    who: Who,
    way: Way,
    programs: &Programs,
    aquatic: &Aquatic,
    dir: &Path,
    within: Duration,
) -> anyhow::Result<Running> {
    let log = dir.join("tracker.log");
    match who {
        Who::Shoal => {
            let ready_file = dir.join("ready");
            let argv = programs.tracker(&dir.join("tracker"), &ready_file);
            let mut member = Member::start("shoald tracker", &argv, log)?;
            let ready = await_that("its address", &mut member, within, || text_of(&ready_file))?;
            Ok(Running { addr: address(&ready, "tracker_address")?, member })
        }
        Who::Aquatic => {
            let addr = free_addr()?;
            let listen = format!("{:?}", addr.to_string());
            let settings = [("", "socket_workers", "1"), ("network", "address", &listen)];
            let argv = aquatic.argv(way.aquatic(), &settings, &dir.join("tracker.toml"))?;
            let mut member = Member::start(way.aquatic(), &argv, log)?;
            let answers = || match way {
                Way::Udp => udp::connect(addr).is_ok(),
                Way::Http | Way::Piped | Way::Close => TcpStream::connect(addr).is_ok(),
            };
            await_that("an answer", &mut member, within, || answers().then_some(()))?;
            Ok(Running { member, addr })
        }
    }
}

/// An address that nobody has, for a program that cannot choose one itself.
fn free_addr() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    // The same port, for both kinds of trackers.
    UdpSocket::bind(addr)?;
    Ok(addr)
}

/// Section ("" before the first), key and value of a setting.
pub(super) type Setting<'a> = (&'a str, &'a str, &'a str);

/// A TOML text with other values for keys that it has.
///
/// # Errors
/// It does not have one of them.
fn set(text: &str, settings: &[Setting<'_>]) -> anyhow::Result<String> {
    let mut left = settings.to_vec();
    let (mut section, mut out) = ("", String::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        let key = line.split_once('=').map(|(key, _)| key.trim());
        match left.iter().position(|(there, name, _)| *there == section && Some(*name) == key) {
            Some(at) => {
                let (_, name, value) = left.swap_remove(at);
                out.push_str(&format!("{name} = {value}"));
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    ensure!(left.is_empty(), "it has no settings {left:?}");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_changed_in_their_section_only() {
        let text =
            "workers = 0\n# address = 1\n[network]\naddress = \"a\"\n[metrics]\naddress = 2\n";
        let changed = set(text, &[("network", "address", "\"b\""), ("", "workers", "1")]).unwrap();
        let expected =
            "workers = 1\n# address = 1\n[network]\naddress = \"b\"\n[metrics]\naddress = 2\n";
        assert_eq!(changed, expected);
        let error = set(text, &[("network", "workers", "1")]).unwrap_err().to_string();
        assert!(error.contains("workers"), "{error}");
    }

    #[test]
    fn a_program_is_found_in_the_folder_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let aquatic = Aquatic::find(Some(dir.path()));
        assert_eq!(aquatic.program("aquatic_udp"), None);
        fs::write(dir.path().join("aquatic_udp"), "").unwrap();
        assert_eq!(aquatic.program("aquatic_udp"), Some(dir.path().join("aquatic_udp")));
    }
}
