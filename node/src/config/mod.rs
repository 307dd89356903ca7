//! What a node is told: [`NodeConfig`], whose `Default`s are the truth, put together from flags,
//! environment and a TOML file, in this order of precedence. A key of the file is the flag's name;
//! role flags stand in the tables `[tracker]` and `[peer]`; `set` and `label` are tables. Unknown
//! keys are refused. Relative paths start at the working directory.

pub mod env;
pub mod layer;
pub mod value;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Serialize;
use shoal::client::SOCKET_PATH_LEN_MAX;
use shoal_core::{
    config::{Config, LABEL_LEN_MAX, LABELS_MAX},
    policy::Labels,
};

pub use env::Env;
use layer::{CommonLayer, Layer as _, PeerLayer, TrackerLayer};
use value::{ByteRate, ControlAddr, LogFormat, MetricsAddr, Pair, SeedSpec, Size, Unchoking};

/// The least buffer budget, bytes: four extents of the largest size.
pub const BUFFER_BUDGET_MIN: u64 = 4 << 20;
/// The least limit of a rate, bytes a second: below it a piece takes minutes, and a unit was
/// forgotten.
pub const RATE_MIN: u64 = 1 << 10;
/// The longest announce interval, seconds: a day.
pub const INTERVAL_MAX_S: u32 = 86_400;
/// The largest configuration file, bytes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// A node, told everything.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeConfig {
    /// Folder of the state.
    pub state_dir: PathBuf,
    /// Where the control surface listens.
    pub control: Vec<ControlAddr>,
    /// Certificate of the TCP control addresses; none = they speak no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of callers; none = callers need no certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca: Option<PathBuf>,
    /// Where metrics are told; none = nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsAddr>,
    /// Where to write the bound addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_file: Option<PathBuf>,
    /// The address that others are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<IpAddr>,
    /// Which log lines are written.
    pub log: String,
    /// How they look.
    pub log_format: LogFormat,
    /// The tracker role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracker: Option<TrackerConfig>,
    /// The peer role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerConfig>,
}

/// The tracker role, told everything.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrackerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it serves UDP beside HTTP.
    pub udp: bool,
    /// The torrents it is limited to; none = any.
    pub only: Vec<PathBuf>,
    /// Seconds between announces.
    pub interval: u32,
}

/// The peer role, told everything.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Folder of merged files.
    pub downloads: PathBuf,
    /// Folder of the chunk memory; none = in the downloads folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<PathBuf>,
    /// Folders from which may be shared over TCP.
    pub share_root: Vec<PathBuf>,
    /// Torrents to add: metainfo files and magnet links.
    pub torrent: Vec<PathBuf>,
    /// Torrents to seed.
    pub seed: Vec<SeedSpec>,
    /// Name or file of the policy; none = the one in force when the node last ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Download the torrents added.
    pub auto_download: bool,
    /// End once they are complete.
    pub exit_when_complete: bool,
    /// Most connections.
    pub connections: usize,
    /// Most connections of a torrent.
    pub connections_per_torrent: usize,
    /// Most dials under way.
    pub half_open: usize,
    /// Bytes of buffers.
    pub buffer_budget: Size,
    /// Payload sent to peers, bytes a second.
    pub upload_limit: ByteRate,
    /// Bytes received from peers, a second.
    pub download_limit: ByteRate,
    /// Use web seeds.
    pub web_seeds: bool,
    /// Let them be on loopback addresses.
    pub web_seeds_loopback: bool,
    /// Whose requests are served.
    pub unchoke: Unchoking,
    /// Look for peers on the local network; none = yes, unless `listen` is a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_discovery: Option<bool>,
    /// Parameters of the policy.
    pub set: BTreeMap<String, String>,
    /// Labels of the peer.
    pub label: Labels,
}

/// Why there is no configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {}: {cause}", .path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file holds something it must not.
    #[error("{}:{line}: {cause}", .path.display())]
    Toml {
        /// Its path.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the key's name.
        cause: String,
    },
    /// A variable does not hold what its flag takes.
    #[error("{name}: {cause}")]
    Env {
        /// The variable.
        name: String,
        /// What is wrong.
        cause: String,
    },
    /// A value that makes no sense.
    #[error("{key}: {cause}")]
    Value {
        /// The flag, without dashes.
        key: &'static str,
        /// What is wrong, and what to do.
        cause: String,
    },
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self { listen: any(7001), udp: true, only: Vec::new(), interval: 120 }
    }
}

impl PeerConfig {
    /// The defaults, with the downloads in `state_dir`.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        let core = Config::default();
        Self {
            listen: any(7000),
            downloads: state_dir.join("downloads"),
            chunks: None,
            share_root: Vec::new(),
            torrent: Vec::new(),
            seed: Vec::new(),
            policy: None,
            auto_download: false,
            exit_when_complete: false,
            connections: core.connections_max,
            connections_per_torrent: core.connections_per_torrent_max,
            half_open: core.half_open_max,
            buffer_budget: Size(core.buffer_budget_bytes),
            upload_limit: ByteRate(0),
            download_limit: ByteRate(0),
            web_seeds: core.web_seeds,
            web_seeds_loopback: false,
            unchoke: Unchoking(core.unchoke),
            local_discovery: None,
            set: BTreeMap::new(),
            label: Labels::new(),
        }
    }

    /// Whether peers on the local network are looked for. On loopback there are none but those of
    /// other nodes under test.
    #[must_use]
    pub fn discovers(&self) -> bool {
        self.local_discovery.unwrap_or(!self.listen.ip().is_loopback())
    }

    /// The tunables of the core that are told here, the others at their defaults.
    #[must_use]
    pub fn core(&self) -> Config {
        Config {
            connections_max: self.connections,
            connections_per_torrent_max: self.connections_per_torrent,
            half_open_max: self.half_open,
            buffer_budget_bytes: self.buffer_budget.0,
            web_seeds: self.web_seeds,
            unchoke: self.unchoke.0,
            local_discovery: self.discovers(),
            ..Config::default()
        }
    }
}

impl NodeConfig {
    /// A node without a role, its control socket in `state_dir`.
    #[must_use]
    pub fn new(state_dir: PathBuf) -> Self {
        Self {
            control: vec![ControlAddr::Unix(state_dir.join("shoald.sock"))],
            state_dir,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            metrics: None,
            ready_file: None,
            advertise: None,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            tracker: None,
            peer: None,
        }
    }

    /// From layers already merged: a role is there where its layer is.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a value that makes no sense.
    pub fn resolve(layer: CommonLayer, env: &Env) -> Result<Self, ConfigError> {
        let CommonLayer {
            state_dir,
            control,
            tls_cert,
            tls_key,
            tls_client_ca,
            metrics,
            ready_file,
            advertise,
            log,
            log_format,
            tracker,
            peer,
        } = layer;
        let folder = if peer.is_some() { "shoal" } else { "shoal-tracker" };
        let state_dir = match state_dir {
            Some(dir) => dir,
            None => default_state_dir(env, folder)?,
        };
        let mut config = Self::new(state_dir);
        config.control = control.over(config.control);
        config.tls_cert = tls_cert;
        config.tls_key = tls_key;
        config.tls_client_ca = tls_client_ca;
        config.metrics = metrics;
        config.ready_file = ready_file;
        config.advertise = advertise;
        config.log = log.unwrap_or(config.log);
        config.log_format = log_format.unwrap_or_default();
        config.tracker = tracker.map(TrackerConfig::resolve);
        config.peer = peer.map(|peer| PeerConfig::resolve(peer, &config.state_dir));
        config.check()?;
        Ok(config)
    }

    /// As a file that [`read_file`] takes.
    ///
    /// # Errors
    /// Where a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }

    /// Refuses what makes no sense, naming the key.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.tracker.is_none() && self.peer.is_none() {
            let cause = "the node has no role: add a table [tracker] or [peer]".to_owned();
            return Err(ConfigError::Value { key: "config", cause });
        }
        if self.advertise.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
            return refuse("advertise", "is no address that anyone can connect to");
        }
        self.check_tls()?;
        self.control.iter().try_for_each(|addr| check_control(addr, self.tls_cert.is_some()))?;
        if let Some(tracker) = &self.tracker
            && !(1..=INTERVAL_MAX_S).contains(&tracker.interval)
        {
            return refuse("interval", format!("{} is not 1-{INTERVAL_MAX_S} s", tracker.interval));
        }
        self.peer.as_ref().map_or(Ok(()), PeerConfig::check)
    }

    fn check_tls(&self) -> Result<(), ConfigError> {
        match (&self.tls_cert, &self.tls_key, &self.tls_client_ca) {
            (Some(_), None, _) => refuse("tls-cert", "needs its key: name it with --tls-key"),
            (None, Some(_), _) => {
                refuse("tls-key", "needs its certificate: name it with --tls-cert")
            }
            (None, None, Some(_)) => {
                refuse("tls-client-ca", "needs TLS: name --tls-cert and --tls-key")
            }
            (Some(_), Some(_), _) | (None, None, None) => Ok(()),
        }
    }
}

impl TrackerConfig {
    fn resolve(layer: TrackerLayer) -> Self {
        let mut config = Self { only: layer.only, ..Self::default() };
        config.listen = layer.listen.unwrap_or(config.listen);
        config.udp = layer.udp.unwrap_or(config.udp);
        config.interval = layer.interval.unwrap_or(config.interval);
        config
    }
}

impl PeerConfig {
    fn resolve(layer: PeerLayer, state_dir: &Path) -> Self {
        let base = Self::new(state_dir);
        let mut config = Self {
            listen: layer.listen.unwrap_or(base.listen),
            downloads: layer.downloads.unwrap_or(base.downloads),
            chunks: layer.chunks,
            share_root: layer.share_root,
            torrent: layer.torrent,
            seed: layer.seed,
            policy: layer.policy,
            auto_download: layer.auto_download.unwrap_or(base.auto_download),
            exit_when_complete: layer.exit_when_complete.unwrap_or(base.exit_when_complete),
            connections: layer.connections.unwrap_or(base.connections),
            connections_per_torrent: layer
                .connections_per_torrent
                .unwrap_or(base.connections_per_torrent),
            half_open: layer.half_open.unwrap_or(base.half_open),
            buffer_budget: layer.buffer_budget.unwrap_or(base.buffer_budget),
            upload_limit: layer.upload_limit.unwrap_or(base.upload_limit),
            download_limit: layer.download_limit.unwrap_or(base.download_limit),
            web_seeds: layer.web_seeds.unwrap_or(base.web_seeds),
            web_seeds_loopback: layer.web_seeds_loopback.unwrap_or(base.web_seeds_loopback),
            unchoke: layer.unchoke.unwrap_or(base.unchoke),
            local_discovery: layer.local_discovery,
            set: table(layer.set),
            label: table(layer.label),
        };
        config.local_discovery = Some(config.discovers());
        config
    }

    fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("connections", self.connections),
            ("connections-per-torrent", self.connections_per_torrent),
            ("half-open", self.half_open),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return refuse(key, "0 would let nobody in");
        }
        if self.buffer_budget.0 < BUFFER_BUDGET_MIN {
            return refuse("buffer-budget", format!("{} is below 4MiB", self.buffer_budget));
        }
        let rates = [("upload-limit", self.upload_limit), ("download-limit", self.download_limit)];
        if let Some((key, rate)) =
            rates.into_iter().find(|(_, rate)| (1..RATE_MIN).contains(&rate.0))
        {
            return refuse(key, format!("{rate} bytes a second is below 1KiB; 0 is no limit"));
        }
        check_labels(&self.label).or_else(|cause| refuse("label", cause))?;
        if self.policy.is_none() && !self.set.is_empty() {
            return refuse("set", "parameters without a policy; name it with --policy");
        }
        if self.exit_when_complete && !self.auto_download {
            return refuse(
                "exit-when-complete",
                "needs auto-download: nothing would be downloaded",
            );
        }
        Ok(())
    }
}

/// Whether a peer may have these labels.
///
/// # Errors
/// What is wrong with them.
pub fn check_labels(labels: &Labels) -> Result<(), String> {
    if labels.len() > LABELS_MAX {
        return Err(format!("{} labels, above {LABELS_MAX}", labels.len()));
    }
    let too_long = |(key, value): &(&String, &String)| {
        key.len() > LABEL_LEN_MAX || value.len() > LABEL_LEN_MAX
    };
    match labels.iter().find(too_long) {
        Some((key, value)) => {
            Err(format!("'{key}={value}' has more than {LABEL_LEN_MAX} bytes a side"))
        }
        None => Ok(()),
    }
}

/// Reads a configuration file.
///
/// # Errors
/// [`ConfigError::File`] where it cannot be read, [`ConfigError::Toml`] with the line and the key.
pub fn read_file(path: &Path) -> Result<CommonLayer, ConfigError> {
    let file = |cause: String| ConfigError::File { path: path.to_owned(), cause };
    let len = fs::metadata(path).map_err(|error| file(error.to_string()))?.len();
    if len > FILE_LEN_MAX {
        return Err(file(format!("{len} bytes, above {FILE_LEN_MAX}")));
    }
    let text = fs::read_to_string(path).map_err(|error| file(error.to_string()))?;
    parse_file(path, &text)
}

fn parse_file(path: &Path, text: &str) -> Result<CommonLayer, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let line = text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        let cause = error.message().replace('\n', " ");
        ConfigError::Toml { path: path.to_owned(), line, cause }
    })
}

fn check_control(addr: &ControlAddr, tls: bool) -> Result<(), ConfigError> {
    match addr {
        ControlAddr::Unix(path) if path.as_os_str().len() > SOCKET_PATH_LEN_MAX => refuse(
            "control",
            format!(
                "socket path '{}' is {} bytes, above the system's {SOCKET_PATH_LEN_MAX}; choose a \
                 shorter one, or a shorter --state-dir",
                path.display(),
                path.as_os_str().len()
            ),
        ),
        ControlAddr::Tcp(addr) if !addr.ip().is_loopback() && !tls => refuse(
            "control",
            format!(
                "{addr} is reached from other machines, and tokens would cross the network in the \
                 open: name --tls-cert and --tls-key (`shoald cert` makes them), or a loopback address"
            ),
        ),
        ControlAddr::Unix(_) | ControlAddr::Tcp(_) => Ok(()),
    }
}

fn default_state_dir(env: &Env, folder: &str) -> Result<PathBuf, ConfigError> {
    let absolute = |name: &str| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(absolute("HOME")?.join(".local/state"));
    match absolute("XDG_STATE_HOME").or_else(home) {
        Some(base) => Ok(base.join(folder)),
        None => refuse("state-dir", "neither XDG_STATE_HOME nor HOME is set; name a folder"),
    }
}

fn refuse<T>(key: &'static str, cause: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value { key, cause: cause.into() })
}

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

fn table(pairs: Vec<Pair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|Pair { key, value }| (key, value)).collect()
}

#[cfg(test)]
mod tests;
