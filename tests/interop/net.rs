//! Where the programs of a test run, each at an address of its own: in network namespaces on one
//! bridge where root makes them, else at aliases of loopback. The names of namespaces begin with the
//! id of the process that made them: it deletes them at its end, and the next one those of a process
//! that was killed. Never here: what the programs are.

use std::{
    cell::Cell,
    ffi::OsStr,
    fs::File,
    io::Write as _,
    net::Ipv4Addr,
    os::fd::AsFd as _,
    path::Path,
    process::{Command as Blocking, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use shoal_core::{
    ids::InfoHash,
    tracker::{
        announce::{AnnounceReply, AnnounceRequest},
        scrape::ScrapeReply,
    },
};
use shoal_node::announce::{AnnounceError, Announcer, AnnouncerConfig};
use tokio::{
    process::Command,
    sync::{Semaphore, SemaphorePermit, oneshot},
};

/// How many nets there are at once: two cores stand no more.
static SEATS: Semaphore = Semaphore::const_new(2);
/// Nets made so far.
static MADE: AtomicU32 = AtomicU32::new(0);
/// What the names of our namespaces begin with.
const PREFIX: &str = "shoal-";
/// The most hosts of a net.
const HOSTS: u8 = 15;
/// Where iproute2 may be besides.
const SYSTEM_PATHS: &str = "/usr/sbin:/sbin";
/// How long a tracker may take to answer a scrape.
const SCRAPE: Duration = Duration::from_secs(5);

/// A network. Gone when it is dropped.
pub struct Net {
    /// What the names of its namespaces begin with; none where it lies on loopback.
    namespaces: Option<String>,
    /// Which of the nets of this process it is.
    index: u32,
    hosts: Cell<u8>,
    _seat: SemaphorePermit<'static>,
}

/// A host of a network.
#[derive(Clone)]
pub struct Place {
    pub ip: Ipv4Addr,
    namespace: Option<String>,
}

/// Whether a test runs as root.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A word past the capture of the test harness: what is left out is to be seen.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Net {
    /// A network without hosts. With `SHOAL_REQUIRE_NAMESPACES=1` one of namespaces.
    pub async fn new() -> Self {
        static SWEEP: Once = Once::new();
        let seat = SEATS.acquire().await.unwrap();
        let index = MADE.fetch_add(1, Ordering::Relaxed);
        let mut net = Self { namespaces: None, index, hosts: Cell::new(0), _seat: seat };
        let required = std::env::var_os("SHOAL_REQUIRE_NAMESPACES").is_some_and(|is| is == "1");
        assert!(is_root() || !required, "SHOAL_REQUIRE_NAMESPACES is set, and this is not root");
        if is_root() {
            SWEEP.call_once(sweep);
            let name = format!("{PREFIX}{}-{index}", std::process::id());
            match ip(&["netns", "add", &hub(&name)]) {
                Ok(()) => net.build_bridge(name),
                Err(error) => {
                    let text = format!("no network namespaces: {error}");
                    assert!(!required, "SHOAL_REQUIRE_NAMESPACES is set, and there are {text}");
                    say(&format!("{text}; on loopback instead"));
                }
            }
        }
        net
    }

    fn build_bridge(&mut self, name: String) {
        let hub = hub(&name);
        self.namespaces = Some(name);
        must(&["-n", &hub, "link", "add", "bridge", "type", "bridge"]);
        must(&["-n", &hub, "link", "set", "bridge", "up"]);
    }

    /// Whether its hosts have addresses that are not loopback.
    pub fn is_real(&self) -> bool {
        self.namespaces.is_some()
    }

    /// One more host.
    pub fn host(&self) -> Place {
        let host = self.hosts.get() + 1;
        assert!(host <= HOSTS, "more hosts than a net has");
        self.hosts.set(host);
        let Some(name) = &self.namespaces else {
            let process = std::process::id().to_le_bytes();
            let base = u8::try_from(self.index % 16).unwrap() * (HOSTS + 1);
            let ip = Ipv4Addr::new(127, process[1].clamp(1, 254), process[0], base + host);
            return Place { ip, namespace: None };
        };
        let (ip, hub, space) =
            (Ipv4Addr::new(10, 77, 0, host), hub(name), format!("{name}-{host}"));
        let (port, prefixed) = (format!("port{host}"), format!("{ip}/24"));
        must(&["netns", "add", &space]);
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", &space];
        must(&[&["link", "add", &port, "netns", &hub][..], &pair].concat());
        must(&["-n", &hub, "link", "set", &port, "master", "bridge", "up"]);
        must(&["-n", &space, "address", "add", &prefixed, "dev", "eth0"]);
        must(&["-n", &space, "link", "set", "eth0", "up"]);
        must(&["-n", &space, "link", "set", "lo", "up"]);
        // A client that looks for the way out finds its own address.
        must(&["-n", &space, "route", "add", "default", "via", &ip.to_string(), "dev", "eth0"]);
        Place { ip, namespace: Some(space) }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let Some(name) = &self.namespaces else { return };
        let hosts = (1..=self.hosts.get()).map(|host| format!("{name}-{host}"));
        for space in hosts.chain([hub(name)]) {
            if let Err(error) = ip(&["netns", "delete", &space]) {
                say(&format!("the namespace {space} stays: {error}"));
            }
        }
    }
}

impl Place {
    /// A program there, with nothing of the environment, at home in `home`. It does not outlive the
    /// thread that starts it, nor what is returned.
    pub fn command(&self, program: impl AsRef<OsStr>, home: &Path) -> Command {
        self.command_as(None, program, home)
    }

    /// The same, as another user where this is root.
    pub fn command_as(
        &self,
        user: Option<u32>,
        program: impl AsRef<OsStr>,
        home: &Path,
    ) -> Command {
        let mut line: Vec<String> = Vec::new();
        if let Some(namespace) = &self.namespace {
            line.extend(["ip", "netns", "exec", namespace].map(str::to_owned));
        }
        line.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        if let Some(user) = user.filter(|_| is_root()) {
            line.push("--clear-groups".to_owned());
            line.extend([format!("--reuid={user}"), format!("--regid={user}")]);
        }
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).arg(program);
        command.env_clear().env("PATH", path()).env("HOME", home).env("LC_ALL", "C.UTF-8");
        command.current_dir(home).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What the tracker of an announce URL counts, as it is asked from here.
    pub async fn scrape(&self, url: &str, hashes: &[InfoHash]) -> Result<ScrapeReply, String> {
        let (url, hashes) = (url.to_owned(), hashes.to_vec());
        self.ask_from_here(async move |announcer| announcer.scrape(&url, &hashes).await).await
    }

    /// Announces from here.
    pub async fn announce(
        &self,
        url: &str,
        request: AnnounceRequest,
    ) -> Result<AnnounceReply, String> {
        let url = url.to_owned();
        self.ask_from_here(async move |announcer| announcer.announce(&url, &request).await).await
    }

    async fn ask_from_here<T: Send + 'static>(
        &self,
        ask: impl AsyncFnOnce(Announcer) -> Result<T, AnnounceError> + Send + 'static,
    ) -> Result<T, String> {
        let namespace = self.namespace.clone();
        let (tell, told) = oneshot::channel();
        // A thread of its own: it never comes back from the namespace.
        thread::spawn(move || {
            let _ = tell.send(ask_in(namespace.as_deref(), ask));
        });
        told.await.map_err(|_| "the thread that asks panicked".to_owned())?
    }
}

fn ask_in<T>(
    namespace: Option<&str>,
    ask: impl AsyncFnOnce(Announcer) -> Result<T, AnnounceError>,
) -> Result<T, String> {
    if let Some(name) = namespace {
        let space = File::open(Path::new("/run/netns").join(name)).map_err(|e| e.to_string())?;
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| error.to_string())?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let config = AnnouncerConfig { timeout: SCRAPE, ..AnnouncerConfig::default() };
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let announcer = Announcer::new(config).map_err(|error| error.to_string())?;
        ask(announcer).await.map_err(|error| error.to_string())
    })
}

fn hub(name: &str) -> String {
    format!("{name}-hub")
}

fn path() -> String {
    format!("{}:{SYSTEM_PATHS}", std::env::var("PATH").unwrap_or_default())
}

/// Runs `ip`.
fn ip(args: &[&str]) -> Result<(), String> {
    let output = Blocking::new("ip").args(args).env("PATH", path()).output();
    let output = output.map_err(|error| format!("ip cannot be run: {error}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| error.trim().to_owned())
}

#[track_caller]
fn must(args: &[&str]) {
    if let Err(error) = ip(args) {
        panic!("ip {}: {error}", args.join(" "));
    }
}

/// Deletes the namespaces of processes that are gone.
fn sweep() {
    let Ok(output) = Blocking::new("ip").args(["netns", "list"]).env("PATH", path()).output()
    else {
        return;
    };
    let list = String::from_utf8_lossy(&output.stdout);
    for space in list.lines().filter_map(|line| line.split_whitespace().next()) {
        let rest = space.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        let maker = rest.and_then(|(maker, _)| maker.parse::<u32>().ok());
        if maker.is_some_and(|maker| !Path::new(&format!("/proc/{maker}")).exists()) {
            let _ = ip(&["netns", "delete", space]);
        }
    }
}
