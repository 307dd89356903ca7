//! What may be said of a node: one structure for flags, variables and the file, every value
//! optional. Never here: defaults ([`super::NodeConfig`]).

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use serde::Deserialize;

use super::value::{
    ByteRate, ControlAddr, LogFormat, MetricsAddr, Pair, SeedSpec, Size, Unchoking, pairs,
};

/// What every node can be told. In the file: the keys outside any table.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CommonLayer {
    /// Folder of the node's state [default: $XDG_STATE_HOME/shoal; shoal-tracker for `shoald tracker`]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where the control surface listens: unix:PATH or IP:PORT, which needs --tls-cert beyond
    /// loopback, and where callers need a token; repeatable
    /// [default: unix:<state-dir>/shoald.sock]
    #[arg(long, value_name = "ADDR")]
    pub control: Vec<ControlAddr>,
    /// Certificate of the TCP control addresses, PEM, with those between it and its authority behind
    /// it: they speak TLS then [default: none; `shoald cert` makes one]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of callers, PEM: who calls over TCP has to have a certificate signed by one of
    /// them, beside a token [default: no certificate is asked for]
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served over HTTP, to whoever can connect: a port of
    /// loopback, or IP:PORT; port 0 = any [default: nowhere]
    #[arg(long, value_name = "IP:PORT")]
    pub metrics: Option<MetricsAddr>,
    /// JSON file of every bound address, written once the node serves
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// The address that trackers and their peers are given [default: what the tracker sees]
    #[arg(long, value_name = "IP")]
    pub advertise: Option<IpAddr>,
    /// Which log lines go to stderr, as `warn,shoal_node=debug` [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// The table of the tracker role; it is there, so the node has the role.
    #[arg(skip)]
    pub tracker: Option<TrackerLayer>,
    /// The table of the peer role.
    #[arg(skip)]
    pub peer: Option<PeerLayer>,
}

/// What the tracker role can be told. In the file: the table `[tracker]`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TrackerLayer {
    /// Where the tracker listens, HTTP and UDP; port 0 = any [default: 0.0.0.0:7001]
    #[arg(long, value_name = "IP:PORT", id = "tracker-listen")]
    pub listen: Option<SocketAddr>,
    /// Serve UDP announces too, at the same address and port [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub udp: Option<bool>,
    /// Track only this torrent; repeatable
    #[arg(long, value_name = "FILE.torrent")]
    pub only: Vec<PathBuf>,
    /// Seconds between two announces of a peer, 1-86400 [default: 120]
    #[arg(long, value_name = "SECONDS")]
    pub interval: Option<u32>,
}

/// What the peer role can be told. In the file: the table `[peer]`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PeerLayer {
    /// Where peers connect to; port 0 = any [default: 0.0.0.0:7000]
    #[arg(long, value_name = "IP:PORT", id = "peer-listen")]
    pub listen: Option<SocketAddr>,
    /// Folder of merged files [default: <state-dir>/downloads]
    #[arg(long, value_name = "DIR")]
    pub downloads: Option<PathBuf>,
    /// Folder of the chunk memory [default: <downloads>/.shoal]
    #[arg(long, value_name = "DIR")]
    pub chunks: Option<PathBuf>,
    /// Folder from which torrents may be made and seeded by callers with a token, beside the downloads folder and
    /// the folders of --seed; repeatable
    #[arg(long, value_name = "DIR")]
    pub share_root: Vec<PathBuf>,
    /// Add this torrent, or this magnet link; repeatable
    #[arg(long, value_name = "FILE.torrent|MAGNET")]
    pub torrent: Vec<PathBuf>,
    /// Add this torrent, seed it from DATA and connect to its tracker; repeatable
    #[arg(long, value_name = "FILE.torrent=DATA")]
    pub seed: Vec<SeedSpec>,
    /// Policy that picks the peer for each chunk: a name, or a Lua file
    /// [default: the one of the last run, at first lowest_uploaded]
    #[arg(long, value_name = "NAME|FILE")]
    pub policy: Option<String>,
    /// Download every --torrent
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub auto_download: Option<bool>,
    /// End once every --torrent is downloaded and merged; 0 only if all are
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub exit_when_complete: Option<bool>,
    /// Most peer connections of the node [default: 1024]
    #[arg(long, value_name = "COUNT")]
    pub connections: Option<usize>,
    /// Most peer connections of one torrent [default: 256]
    #[arg(long, value_name = "COUNT")]
    pub connections_per_torrent: Option<usize>,
    /// Most dials under way [default: 64]
    #[arg(long, value_name = "COUNT")]
    pub half_open: Option<usize>,
    /// Memory for chunks being fetched, at least 4MiB [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub buffer_budget: Option<Size>,
    /// Most bytes a second that the node sends to peers, as 20MB; 0 = no limit [default: 0]
    #[arg(long, value_name = "RATE")]
    pub upload_limit: Option<ByteRate>,
    /// Most bytes a second that the node receives from peers, as 512KiB; 0 = no limit [default: 0]
    #[arg(long, value_name = "RATE")]
    pub download_limit: Option<ByteRate>,
    /// Download from the HTTP servers that a torrent names, where no peer has a chunk or a free slot
    /// for it soon; servers may be in private networks, not on this machine, its link or at a
    /// cloud's metadata [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub web_seeds: Option<bool>,
    /// Let web seeds be on loopback addresses too: whoever made a torrent makes the node send
    /// requests there [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub web_seeds_loopback: Option<bool>,
    /// Whose requests are served: all, or so many peers of each torrent, by order of their rates
    /// [default: all]
    #[arg(long, value_name = "all|N")]
    pub unchoke: Option<Unchoking>,
    /// Look for peers on the local network by multicast, and let them find this node (BEP 14)
    /// [default: true, unless --listen is a loopback address]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub local_discovery: Option<bool>,
    /// Parameter of the policy; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    #[serde(deserialize_with = "pairs")]
    pub set: Vec<Pair>,
    /// Label of this peer, at most 16 of 64 bytes; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    #[serde(deserialize_with = "pairs")]
    pub label: Vec<Pair>,
}

/// A layer of values that lies over another.
pub trait Layer: Sized {
    /// `self` where it says something, else `below`.
    #[must_use]
    fn over(self, below: Self) -> Self;
}

impl<T> Layer for Option<T> {
    fn over(self, below: Self) -> Self {
        self.or(below)
    }
}

impl<T> Layer for Vec<T> {
    fn over(self, below: Self) -> Self {
        if self.is_empty() { below } else { self }
    }
}

macro_rules! layer {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl Layer for $name {
            fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.over(below.$field)),+ }
            }
        }
    };
}

layer!(CommonLayer {
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
});
layer!(TrackerLayer { listen, udp, only, interval });
layer!(PeerLayer {
    listen,
    downloads,
    chunks,
    share_root,
    torrent,
    seed,
    policy,
    auto_download,
    exit_when_complete,
    connections,
    connections_per_torrent,
    half_open,
    buffer_budget,
    upload_limit,
    download_limit,
    web_seeds,
    web_seeds_loopback,
    unchoke,
    local_discovery,
    set,
    label,
});
