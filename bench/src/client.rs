//! The programs of a contest and what each is told: the two halves of the floor, shoald in its
//! roles, and other clients. Everything on loopback, everything a client could do besides turned
//! off. Never here: starting them.

use std::{
    env,
    ffi::OsString,
    fmt,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;

use crate::source::{NAME, Source};

/// A BitTorrent client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Client {
    /// `shoald peer`
    Shoal,
    /// `aria2c`, from the path
    Aria2,
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
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    shoald: PathBuf,
    shoalctl: PathBuf,
    bench: PathBuf,
    policy: Option<OsString>,
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

/// How long the tracker may take to answer a scrape.
const SCRAPE_WITHIN: Duration = Duration::from_secs(2);
/// The most that is read of its answer, bytes.
const SCRAPE_LEN_MAX: u64 = 16 << 10;

impl Contest {
    /// Whether `shoald` takes part, if only as the tracker.
    pub(crate) fn needs_shoald(self) -> bool {
        self != Self::Floor
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
    fn name(self) -> &'static str {
        match self {
            Self::Shoal => "shoal",
            Self::Aria2 => "aria2",
        }
    }
}

impl Programs {
    /// With `shoald` in `bin_dir`, else beside this program.
    ///
    /// # Errors
    /// One of them is not there.
    pub(crate) fn find(
        bin_dir: Option<&Path>,
        policy: Option<&str>,
        contests: &[Contest],
    ) -> anyhow::Result<Self> {
        let policy = policy.map(OsString::from);
        let programs = Self { policy, ..Self::in_dir(bin_dir)? };
        if contests.iter().any(|contest| contest.needs_shoald()) {
            ensure_built(&programs.shoald, "shoal-node")?;
        }
        Ok(programs)
    }

    /// With `shoald` and `shoalctl` in `bin_dir`, else beside this program.
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
        Ok(Self { shoald, shoalctl, bench, policy: None })
    }

    /// The floor's sender, which writes its address to `ready_file`.
    pub(crate) fn floor_sender(&self, source: &Source, ready_file: &Path) -> Vec<OsString> {
        argv(&self.bench, [&"floor-send" as &dyn Arg, &source.path(), &ready_file])
    }

    /// A receiver of the floor, into `dir`.
    pub(crate) fn floor_receiver(
        &self,
        source: &Source,
        addr: SocketAddr,
        dir: &Path,
    ) -> Vec<OsString> {
        let (len, piece_len) = (source.len().to_string(), source.piece_len().to_string());
        let copy = dir.join(NAME);
        argv(
            &self.bench,
            [&"floor-receive" as &dyn Arg, &addr.to_string(), &copy, &len, &piece_len],
        )
    }

    /// A tracker, which writes its address to `ready_file`.
    pub(crate) fn tracker(&self, state_dir: &Path, ready_file: &Path) -> Vec<OsString> {
        let mut argv = argv(
            &self.shoald,
            [&"tracker" as &dyn Arg, &"--listen", &"127.0.0.1:0", &"--ready-file", &ready_file],
        );
        argv.extend(common(state_dir));
        argv
    }

    /// A peer that has the source.
    pub(crate) fn seeder(
        &self,
        client: Client,
        source: &Source,
        torrent: &Path,
        state_dir: &Path,
    ) -> Vec<OsString> {
        match client {
            Client::Shoal => {
                let downloads = state_dir.join("downloads");
                let [flag, seed] = seed(source, torrent);
                self.peer(state_dir, &downloads, [&flag as &dyn Arg, &seed])
            }
            Client::Aria2 => {
                // What it is told to be true is true, so that it does not hash before it seeds.
                let seeding = ["--seed-ratio=0.0", "--bt-seed-unverified=true"];
                aria2(source.dir(), torrent, seeding)
            }
        }
    }

    /// A peer that downloads into `dir` and ends once it has everything.
    pub(crate) fn leecher(
        &self,
        client: Client,
        torrent: &Path,
        dir: &Path,
        state_dir: &Path,
    ) -> Vec<OsString> {
        match client {
            Client::Shoal => {
                let job: [&dyn Arg; 4] =
                    [&"--torrent", &torrent, &"--auto-download", &"--exit-when-complete"];
                let mut argv = self.peer(state_dir, dir, job);
                if let Some(policy) = &self.policy {
                    argv.extend(["--policy".into(), policy.clone()]);
                }
                argv
            }
            Client::Aria2 => aria2(dir, torrent, ["--seed-time=0"]),
        }
    }

    /// A peer that stays.
    pub(crate) fn resident(&self, node: &Resident<'_>) -> Vec<OsString> {
        let downloads = node.state_dir.join("downloads");
        let ready: [&dyn Arg; 2] = [&"--ready-file", &node.ready_file];
        let mut argv = self.peer(node.state_dir, &downloads, ready);
        argv.extend(node.more.iter().cloned());
        argv
    }

    /// A command to the node of `state_dir`, answered as JSON.
    pub(crate) fn command<const N: usize>(
        &self,
        state_dir: &Path,
        words: [&str; N],
    ) -> Vec<OsString> {
        let mut endpoint = OsString::from("unix://");
        endpoint.push(state_dir.join("shoald.sock"));
        let mut argv =
            argv(&self.shoalctl, [&"--endpoint" as &dyn Arg, &endpoint, &"--format", &"json"]);
        argv.extend(words.map(OsString::from));
        argv
    }

    fn peer<const N: usize>(
        &self,
        state_dir: &Path,
        downloads: &Path,
        job: [&dyn Arg; N],
    ) -> Vec<OsString> {
        let role: [&dyn Arg; 5] =
            [&"peer", &"--listen", &"127.0.0.1:0", &"--downloads", &downloads];
        let mut argv = argv(&self.shoald, role);
        argv.extend(common(state_dir));
        argv.extend(job.iter().map(|arg| arg.os()));
        argv
    }
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

/// Asks the tracker at `announce` whether it knows a seeder of the torrent. Not reached is no.
pub(crate) fn has_seeder(tracker: SocketAddr, info_hash: [u8; 20]) -> bool {
    // Without the deadline of a connection a tracker that hangs would hang us.
    scrape(tracker, info_hash).is_ok_and(|answer| seeders(&answer) > 0)
}

fn scrape(tracker: SocketAddr, info_hash: [u8; 20]) -> std::io::Result<Vec<u8>> {
    let hash: String = info_hash.iter().map(|byte| format!("%{byte:02x}")).collect();
    let mut stream = TcpStream::connect_timeout(&tracker, SCRAPE_WITHIN)?;
    stream.set_read_timeout(Some(SCRAPE_WITHIN))?;
    stream.set_write_timeout(Some(SCRAPE_WITHIN))?;
    let head = format!(
        "GET /scrape?info_hash={hash} HTTP/1.1\r\nHost: {tracker}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(SCRAPE_LEN_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The count of seeders in the answer to a scrape of one torrent (BEP 48), 0 where it has none.
fn seeders(answer: &[u8]) -> u64 {
    let key = b"8:completei";
    let Some(at) = answer.windows(key.len()).position(|window| window == key) else { return 0 };
    let digits = answer[at + key.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |count: u64, digit| {
        count.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}

fn common(state_dir: &Path) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["--state-dir".into(), state_dir.into()];
    argv.extend(["--advertise", "127.0.0.1", "--log", "warn"].map(OsString::from));
    argv
}

fn aria2<const N: usize>(dir: &Path, torrent: &Path, job: [&str; N]) -> Vec<OsString> {
    let off = [
        "--no-conf",
        "--interface=127.0.0.1",
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
    let mut argv: Vec<OsString> = vec!["aria2c".into()];
    argv.extend(off.iter().chain(&on).chain(&job).map(OsString::from));
    argv.extend(["--dir".into(), dir.into(), torrent.into()]);
    argv
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
    fn seeders_are_counted_from_a_scrape() {
        let check = |answer: &[u8], expected| assert_eq!(seeders(answer), expected);
        check(b"HTTP/1.1 200 OK\r\n\r\nd5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei12e", 12);
        check(b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei0e10:incompletei3eeee", 0);
        check(b"d14:failure reason7:no suche", 0);
        check(b"8:completei99999999999999999999999e", u64::MAX);
    }

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
        let find = |contest| Programs::find(Some(dir.path()), None, &[contest]);
        assert!(find(swarm).unwrap_err().to_string().contains("shoald is not there"));
        assert!(find(Contest::Floor).is_ok());
        std::fs::write(dir.path().join("shoald"), "").unwrap();
        let error = Programs::of_nodes(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("shoalctl is not there"), "{error}");
    }
}
