//! Other clients, and what each is told: one torrent, everything besides it turned off. Never here:
//! starting them.

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{Client, Start};

/// Drives libtorrent, which is no program.
const LIBTORRENT: &str = include_str!("libtorrent.py");
/// The interpreter that Debian's module of libtorrent is for.
const PYTHON: &str = "/usr/bin/python3";
/// Where Transmission listens.
const TRANSMISSION_PORT: u16 = 51413;

/// A client as it takes part once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign<'a> {
    /// Where it listens, and where it dials from.
    pub(super) ip: Ipv4Addr,
    /// The metainfo file.
    pub(super) torrent: &'a Path,
    /// Where the torrent's file is, or is to be.
    pub(super) dir: &'a Path,
    /// Its own folder.
    pub(super) state_dir: &'a Path,
    /// What it does.
    pub(super) role: Role,
}

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// It has everything.
    Seed,
    /// It has nothing.
    Leech,
}

impl Foreign<'_> {
    /// aria2, which calls a script that makes a file once it is done: its end takes seconds more.
    ///
    /// # Errors
    /// The script cannot be written.
    pub(super) fn aria2(self) -> anyhow::Result<Start> {
        let off = [
            "--no-conf",
            "--enable-dht=false",
            "--enable-dht6=false",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
            "--file-allocation=none",
            "--console-log-level=warn",
            "--summary-interval=0",
        ];
        // As much room as shoal has, and no limit to its peers.
        let on = ["--bt-max-peers=0", "--disk-cache=64M", "--listen-port=51413-51999"];
        fs::create_dir_all(self.state_dir)?;
        let mut argv: Vec<OsString> = vec!["aria2c".into(), "--seed-ratio=0.0".into()];
        argv.extend(off.iter().chain(&on).map(OsString::from));
        let done = self.done();
        argv.push(match &done {
            // What it is told to be true is true, so that it does not hash before it seeds.
            None => "--bt-seed-unverified=true".into(),
            Some(done) => {
                let script = self.done_script(done)?.into_os_string();
                [OsString::from("--on-bt-download-complete="), script].into_iter().collect()
            }
        });
        argv.push(format!("--interface={}", self.ip).into());
        argv.extend(["--dir".into(), self.dir.into(), self.torrent.into()]);
        Ok(Start { argv, done })
    }

    /// libtorrent in a script that makes a file once it is done.
    ///
    /// # Errors
    /// The script cannot be written.
    pub(super) fn libtorrent(self) -> anyhow::Result<Start> {
        fs::create_dir_all(self.state_dir)?;
        let script = self.state_dir.join("drive.py");
        fs::write(&script, LIBTORRENT)?;
        let mut argv: Vec<OsString> = vec![PYTHON.into(), script.into()];
        argv.extend([self.ip.to_string().into(), self.torrent.into(), self.dir.into()]);
        let done = self.done();
        argv.push(match self.role {
            Role::Seed => "seed".into(),
            Role::Leech => "leech".into(),
        });
        argv.extend(done.clone().map(OsString::from));
        Ok(Start { argv, done })
    }

    /// rqbit, which ends once it is done, and where it has everything hashes it and stays.
    ///
    /// # Errors
    /// No port is free.
    pub(super) fn rqbit(self) -> anyhow::Result<Start> {
        let off = ["--disable-dht", "--disable-lsd", "--disable-upnp-port-forward", "--ipv4-only"];
        let mut argv: Vec<OsString> = vec!["rqbit".into(), "-v".into(), "warn".into()];
        argv.extend(off.map(OsString::from));
        // To the tracker it names 4240 unless told, whatever port it was given. One that is free
        // here is free in a namespace, where nobody else listens.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port().to_string();
        let ip = self.ip.to_string();
        argv.extend(["--listen-ip", &ip, "--listen-port", &port].map(OsString::from));
        argv.extend(["--announce-port", &port].map(OsString::from));
        argv.extend(["download", "--disable-http-api"].map(OsString::from));
        argv.push(match self.role {
            // It takes up what is there only where it may write to it.
            Role::Seed => "--overwrite".into(),
            Role::Leech => "--exit-on-finish".into(),
        });
        argv.extend(["--output-folder".into(), self.dir.into(), self.torrent.into()]);
        Ok(Start { argv, done: None })
    }

    /// Transmission, which takes up what lies in its folder of torrents, and calls a script that
    /// makes a file once it is done.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub(super) fn transmission(self) -> anyhow::Result<Start> {
        let torrents = self.state_dir.join("torrents");
        fs::create_dir_all(&torrents)?;
        fs::copy(self.torrent, torrents.join("the.torrent"))?;
        let done = self.done();
        let script = done.as_deref().map(|done| self.done_script(done)).transpose()?;
        let settings = json!({
            "bind-address-ipv4": self.ip.to_string(),
            "peer-port": TRANSMISSION_PORT,
            "download-dir": self.dir,
            "rpc-enabled": false,
            "dht-enabled": false,
            "lpd-enabled": false,
            "pex-enabled": false,
            "utp-enabled": false,
            "port-forwarding-enabled": false,
            "incomplete-dir-enabled": false,
            "preallocation": 0,
            "cache-size-mb": 64,
            "peer-limit-global": 500,
            "peer-limit-per-torrent": 500,
            "script-torrent-done-enabled": script.is_some(),
            "script-torrent-done-filename": script,
        });
        fs::write(self.state_dir.join("settings.json"), settings.to_string())?;
        let mut argv = ["transmission-daemon", "--foreground", "--log-error"].map(OsString::from);
        let argv = argv.iter_mut().map(std::mem::take);
        let home = ["--config-dir".into(), self.state_dir.into()];
        Ok(Start { argv: argv.chain(home).collect(), done })
    }

    /// Writes the script that makes the file.
    fn done_script(&self, done: &Path) -> anyhow::Result<PathBuf> {
        let script = self.state_dir.join("done.sh");
        fs::write(&script, format!("#!/bin/sh\n: > '{}'\n", done.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }

    /// The file that says that it is done, where that is waited for.
    fn done(&self) -> Option<PathBuf> {
        match self.role {
            Role::Seed => None,
            Role::Leech => Some(self.state_dir.join("done")),
        }
    }
}

/// Whether a client can be run here; says how to get it where not.
///
/// # Errors
/// It cannot.
pub(super) fn ensure_here(client: Client) -> anyhow::Result<()> {
    let (program, args, package): (_, &[&str], _) = match client {
        Client::Shoal => return Ok(()),
        Client::Aria2 => ("aria2c", &["--version"], "aria2"),
        Client::Libtorrent => (PYTHON, &["-c", "import libtorrent"], "python3-libtorrent"),
        Client::Rqbit => ("rqbit", &["--version"], "rqbit, of crates.io,"),
        Client::Transmission => ("transmission-daemon", &["--version"], "transmission-daemon"),
    };
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("{program}: is {package} installed?"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}: install {package}", error.trim_end());
    Ok(())
}
