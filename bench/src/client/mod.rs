//! The programs of a contest and what each is told: the two halves of the floor, shoald in its
//! roles, and other clients ([`foreign`]). Everything a client could do besides is turned off.
//! Never here: starting them.

mod foreign;
pub(crate) mod tracker;

use std::{
    env,
    ffi::OsString,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::{ValueEnum, builder::PossibleValue};

use self::foreign::{Foreign, Role};
use crate::{
    site::{Side, Site},
    source::{NAME, Source},
};

/// A BitTorrent client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Client {
    /// `shoald peer`
    Shoal,
    /// `aria2c`, from the path
    Aria2,
    /// Debian's `python3-libtorrent`
    Libtorrent,
    /// `rqbit`, from the path
    Rqbit,
    /// `transmission-daemon`, from the path; takes no peers on loopback
    Transmission,
}

/// Who is to take part beside shoal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum With {
    /// All others that are installed.
    All,
    /// This one.
    One(Client),
}

/// Who sends and who receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contest {
    /// The floor's two halves.
    Floor,
    /// A swarm around shoal's tracker.
    Swarm {
        /// The one that has everything.
        seeder: Client,
        /// Those that have nothing.
        leecher: Client,
    },
}

/// Where the programs are, and what is the same for all runs.
#[derive(Debug)]
pub(crate) struct Programs {
    shoald: PathBuf,
    shoalctl: PathBuf,
    bench: PathBuf,
    policy: Option<OsString>,
    site: Site,
}

/// A program to start, and how it says that it is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    /// The program and its arguments.
    pub(crate) argv: Vec<OsString>,
    /// The file that it makes then; none: it ends.
    pub(crate) done: Option<PathBuf>,
}

/// A `shoald peer` that stays until it is ended.
#[derive(Clone, Debug)]
pub(crate) struct Resident<'a> {
    /// Its folder; merged files go to `downloads` below it.
    pub(crate) state_dir: &'a Path,
    /// Where it writes its addresses.
    pub(crate) ready_file: &'a Path,
    /// What it is told besides.
    pub(crate) more: Vec<OsString>,
}

impl Contest {
    /// Whether `shoald` takes part, if only as the tracker.
    pub(crate) fn needs_shoald(self) -> bool {
        self != Self::Floor
    }

    /// The clients that take part.
    fn clients(self) -> impl Iterator<Item = Client> {
        let clients = match self {
            Self::Floor => None,
            Self::Swarm { seeder, leecher } => Some([seeder, leecher]),
        };
        clients.into_iter().flatten()
    }
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Floor => f.pad("floor"),
            Self::Swarm { seeder, leecher } if seeder == leecher => f.pad(leecher.name()),
            Self::Swarm { seeder, leecher } => {
                f.pad(&format!("{}>{}", seeder.name(), leecher.name()))
            }
        }
    }
}

impl Client {
    /// What tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shoal => "shoal",
            Self::Aria2 => "aria2",
            Self::Libtorrent => "libtorrent",
            Self::Rqbit => "rqbit",
            Self::Transmission => "transmission",
        }
    }
}

impl ValueEnum for With {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::All,
            Self::One(Client::Shoal),
            Self::One(Client::Aria2),
            Self::One(Client::Libtorrent),
            Self::One(Client::Rqbit),
            Self::One(Client::Transmission),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::All => {
                let help = "All others that are installed, but transmission, which has to be named";
                Some(PossibleValue::new("all").help(help))
            }
            Self::One(client) => client.to_possible_value(),
        }
    }
}

impl With {
    /// The clients that are meant. Transmission is not among all: its requests allow 8 MB/s.
    pub(crate) fn clients(self) -> Vec<Client> {
        match self {
            Self::One(client) => vec![client],
            Self::All => {
                let is_meant = |&client: &Client| client != Client::Transmission;
                installed().into_iter().filter(is_meant).collect()
            }
        }
    }
}

/// The clients besides shoal that can be run here.
pub(crate) fn installed() -> Vec<Client> {
    let all = Client::value_variants().iter().copied();
    all.filter(|&it| it != Client::Shoal && foreign::ensure_here(it).is_ok()).collect()
}

impl Programs {
    /// With `shoald` in `bin_dir`, else beside this program; the sides are at `site`.
    ///
    /// # Errors
    /// A program is not there, or cannot take part at this site.
    pub(crate) fn find(
        bin_dir: Option<&Path>,
        policy: Option<&str>,
        site: Site,
        contests: &[Contest],
    ) -> anyhow::Result<Self> {
        let policy = policy.map(OsString::from);
        let programs = Self { policy, site, ..Self::in_dir(bin_dir)? };
        if contests.iter().any(|contest| contest.needs_shoald()) {
            ensure_built(&programs.shoald, "shoal-node")?;
        }
        for client in contests.iter().flat_map(|contest| contest.clients()) {
            foreign::ensure_here(client)?;
            let is_loopback = matches!(programs.site, Site::Loopback);
            ensure!(
                !is_loopback || client != Client::Transmission,
                "transmission takes no peers on loopback: see --hosts"
            );
        }
        Ok(programs)
    }

    /// With `shoald` and `shoalctl` in `bin_dir`, else beside this program; all on loopback.
    ///
    /// # Errors
    /// One of them is not there.
    pub(crate) fn of_nodes(bin_dir: Option<&Path>) -> anyhow::Result<Self> {
        let programs = Self::in_dir(bin_dir)?;
        ensure_built(&programs.shoald, "shoal-node")?;
        ensure_built(&programs.shoalctl, "shoal-ctl")?;
        Ok(programs)
    }

    fn in_dir(bin_dir: Option<&Path>) -> anyhow::Result<Self> {
        let bench = env::current_exe()?;
        let bin_dir = bin_dir.or_else(|| bench.parent()).context("no folder of the programs")?;
        let [shoald, shoalctl] = ["shoald", "shoalctl"].map(|name| bin_dir.join(name));
        Ok(Self { shoald, shoalctl, bench, policy: None, site: Site::Loopback })
    }

    /// The floor's sender, which writes its address to `ready_file`.
    pub(crate) fn floor_sender(&self, source: &Source, ready_file: &Path) -> Vec<OsString> {
        let argv = self.floor_sender_at(self.site.ip(Side::Sender), source, ready_file);
        self.site.enter(Side::Sender, argv)
    }

    /// The same at an address of the caller's.
    pub(crate) fn floor_sender_at(
        &self,
        ip: Ipv4Addr,
        source: &Source,
        ready_file: &Path,
    ) -> Vec<OsString> {
        let ip = ip.to_string();
        argv(&self.bench, [&"floor-send" as &dyn Arg, &ip, &source.path(), &ready_file])
    }

    /// A receiver of the floor, into `dir`.
    pub(crate) fn floor_receiver(&self, source: &Source, addr: SocketAddr, dir: &Path) -> Start {
        let argv = self.floor_receiver_of(source.len(), source.piece_len(), addr, dir);
        Start { argv: self.site.enter(Side::Receiver, argv), done: None }
    }

    /// The same of the first `len` bytes, wherever the caller has it run.
    pub(crate) fn floor_receiver_of(
        &self,
        len: u64,
        piece_len: u32,
        addr: SocketAddr,
        dir: &Path,
    ) -> Vec<OsString> {
        let (len, piece_len) = (len.to_string(), piece_len.to_string());
        let copy = dir.join(NAME);
        let addr = addr.to_string();
        argv(&self.bench, [&"floor-receive" as &dyn Arg, &addr, &copy, &len, &piece_len])
    }

    /// A tracker, which writes its address to `ready_file`.
    pub(crate) fn tracker(&self, state_dir: &Path, ready_file: &Path) -> Vec<OsString> {
        let argv = self.tracker_at(self.site.ip(Side::Sender), state_dir, ready_file);
        self.site.enter(Side::Sender, argv)
    }

    /// The same at an address of the caller's.
    pub(crate) fn tracker_at(
        &self,
        ip: Ipv4Addr,
        state_dir: &Path,
        ready_file: &Path,
    ) -> Vec<OsString> {
        let listen = format!("{ip}:0");
        let mut argv = argv(
            &self.shoald,
            [&"tracker" as &dyn Arg, &"--listen", &listen, &"--ready-file", &ready_file],
        );
        argv.extend(common(ip, state_dir));
        argv
    }

    /// A program that ends once the tracker knows a seeder of the torrent.
    pub(crate) fn await_seeder(&self, tracker: SocketAddr, info_hash: [u8; 20]) -> Vec<OsString> {
        let hash: String = info_hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let argv = argv(&self.bench, [&"await-seeder" as &dyn Arg, &tracker.to_string(), &hash]);
        self.site.enter(Side::Sender, argv)
    }

    /// A peer that has the source.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub(crate) fn seeder(
        &self,
        client: Client,
        source: &Source,
        torrent: &Path,
        state_dir: &Path,
    ) -> anyhow::Result<Vec<OsString>> {
        let (ip, dir) = (self.site.ip(Side::Sender), source.dir());
        let foreign = Foreign { ip, torrent, dir, state_dir, role: Role::Seed };
        let start = match client {
            Client::Shoal => {
                let downloads = state_dir.join("downloads");
                let [flag, seed] = seed(source, torrent);
                let job = [&flag as &dyn Arg, &seed];
                let argv = self.peer(ip, state_dir, &downloads, job);
                Start { argv, done: None }
            }
            Client::Aria2 => foreign.aria2()?,
            Client::Libtorrent => foreign.libtorrent()?,
            Client::Rqbit => foreign.rqbit()?,
            Client::Transmission => foreign.transmission()?,
        };
        Ok(self.site.enter(Side::Sender, start.argv))
    }

    /// A peer that downloads into `dir` and is done once it has everything.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub(crate) fn leecher(
        &self,
        client: Client,
        torrent: &Path,
        dir: &Path,
        state_dir: &Path,
    ) -> anyhow::Result<Start> {
        let ip = self.site.ip(Side::Receiver);
        let foreign = Foreign { ip, torrent, dir, state_dir, role: Role::Leech };
        let Start { argv, done } = match client {
            Client::Shoal => {
                let job: [&dyn Arg; 4] =
                    [&"--torrent", &torrent, &"--auto-download", &"--exit-when-complete"];
                let mut argv = self.peer(ip, state_dir, dir, job);
                if let Some(policy) = &self.policy {
                    argv.extend(["--policy".into(), policy.clone()]);
                }
                Start { argv, done: None }
            }
            Client::Aria2 => foreign.aria2()?,
            Client::Libtorrent => foreign.libtorrent()?,
            Client::Rqbit => foreign.rqbit()?,
            Client::Transmission => foreign.transmission()?,
        };
        Ok(Start { argv: self.site.enter(Side::Receiver, argv), done })
    }

    /// A peer that stays.
    pub(crate) fn resident(&self, node: &Resident<'_>) -> Vec<OsString> {
        self.resident_at(self.site.ip(Side::Sender), node)
    }

    /// The same at an address of the caller's.
    pub(crate) fn resident_at(&self, ip: Ipv4Addr, node: &Resident<'_>) -> Vec<OsString> {
        let downloads = node.state_dir.join("downloads");
        let ready: [&dyn Arg; 2] = [&"--ready-file", &node.ready_file];
        let mut argv = self.peer(ip, node.state_dir, &downloads, ready);
        argv.extend(node.more.iter().cloned());
        argv
    }

    /// Whether nodes can be asked: whether `shoalctl` is there.
    pub(crate) fn can_ask(&self) -> bool {
        self.shoalctl.is_file()
    }

    /// A command to the node of `state_dir`, answered as JSON.
    pub(crate) fn command<'a>(
        &self,
        state_dir: &Path,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Vec<OsString> {
        let mut endpoint = OsString::from("unix://");
        endpoint.push(state_dir.join("shoald.sock"));
        let mut argv =
            argv(&self.shoalctl, [&"--endpoint" as &dyn Arg, &endpoint, &"--format", &"json"]);
        argv.extend(words.into_iter().map(OsString::from));
        argv
    }

    fn peer<const N: usize>(
        &self,
        ip: Ipv4Addr,
        state_dir: &Path,
        downloads: &Path,
        job: [&dyn Arg; N],
    ) -> Vec<OsString> {
        let listen = format!("{ip}:0");
        let role: [&dyn Arg; 5] = [&"peer", &"--listen", &listen, &"--downloads", &downloads];
        let mut argv = argv(&self.shoald, role);
        argv.extend(common(ip, state_dir));
        argv.extend(job.iter().map(|arg| arg.os()));
        argv
    }
}

/// What every node is told.
fn common(ip: Ipv4Addr, state_dir: &Path) -> Vec<OsString> {
    let advertise = ip.to_string();
    let mut common: Vec<OsString> = vec!["--state-dir".into(), state_dir.into()];
    common.extend(["--advertise", &advertise, "--log", "warn"].map(OsString::from));
    common
}

/// What a peer is told to seed the source.
pub(crate) fn seed(source: &Source, torrent: &Path) -> [OsString; 2] {
    let mut seed = torrent.as_os_str().to_owned();
    seed.push("=");
    seed.push(source.path());
    ["--seed".into(), seed]
}

fn ensure_built(program: &Path, package: &str) -> anyhow::Result<()> {
    ensure!(
        program.is_file(),
        "{} is not there: build it with `cargo build --release -p {package}`, or see --bin-dir",
        program.display()
    );
    Ok(())
}

/// What can stand on a command line, so that texts and paths may stand in one list.
trait Arg {
    fn os(&self) -> OsString;
}

impl<T: AsRef<std::ffi::OsStr>> Arg for T {
    fn os(&self) -> OsString {
        self.as_ref().to_owned()
    }
}

fn argv<const N: usize>(program: &Path, args: [&dyn Arg; N]) -> Vec<OsString> {
    std::iter::once(program.into()).chain(args.iter().map(|arg| arg.os())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contest_is_called_by_its_clients() {
        let swarm = |seeder, leecher| Contest::Swarm { seeder, leecher }.to_string();
        assert_eq!(swarm(Client::Shoal, Client::Shoal), "shoal");
        assert_eq!(swarm(Client::Aria2, Client::Shoal), "aria2>shoal");
        assert_eq!(format!("{:<6}|", Contest::Floor), "floor |");
    }

    #[test]
    fn a_missing_program_is_named_before_anything_starts() {
        let dir = tempfile::tempdir().unwrap();
        let swarm = Contest::Swarm { seeder: Client::Shoal, leecher: Client::Shoal };
        let find = |contest| Programs::find(Some(dir.path()), None, Site::Loopback, &[contest]);
        assert!(find(swarm).unwrap_err().to_string().contains("shoald is not there"));
        assert!(find(Contest::Floor).is_ok());
        std::fs::write(dir.path().join("shoald"), "").unwrap();
        let error = Programs::of_nodes(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("shoalctl is not there"), "{error}");
    }
}
