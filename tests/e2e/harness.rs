//! Nodes in process: a [`Party`] of a tracker and peers in one temporary folder, each a [`Host`]
//! driven through the generated stubs and through `shoalctl` in process. Everything is bounded in
//! time and gone when the party is. Never here: what is expected of a node.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use sha1::{Digest as _, Sha1};
use shoal::{
    client::{Connect, Connection},
    v1::{
        self, job_service_client::JobServiceClient, node_service_client::NodeServiceClient,
        peer_service_client::PeerServiceClient, policy_service_client::PolicyServiceClient,
        torrent_service_client::TorrentServiceClient, tracker_service_client::TrackerServiceClient,
    },
};
use shoal_core::metainfo::{Content, CreateOptions, Metainfo, Pad, Plan};
use shoal_ctl::{Exit, Io};
use shoal_node::{
    config::{NodeConfig, PeerConfig, TrackerConfig, value::ControlAddr},
    node::Node,
};
use tempfile::TempDir;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

/// How long anything may take that should be quick.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a chunk of most torrents here.
pub const CHUNK: u32 = 64 * 1024;

/// What `future` comes to, or a panic that says what was waited for.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// Asks again, every few milliseconds, until there is an answer. For what no stream tells.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(PATIENCE, what, asked).await
}

/// Bytes that look random and are the same every time.
pub fn sample(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// A metainfo file of one file called `name`, made without a node.
pub fn metainfo(name: &str, data: &[u8], chunk: u32, trackers: &[&str]) -> Vec<u8> {
    let plan = Plan::new(CreateOptions {
        name: name.to_owned(),
        content: Content::Single { len: data.len() as u64 },
        piece_len: Some(chunk),
        pad: Pad::Never,
        private: false,
        trackers: trackers.iter().map(|url| vec![(*url).to_owned()]).collect(),
        web_seeds: Vec::new(),
        comment: None,
        created_unix: None,
    });
    let hashes: Vec<[u8; 20]> =
        data.chunks(chunk as usize).map(|piece| Sha1::digest(piece).into()).collect();
    plan.unwrap().finish(&hashes).unwrap()
}

/// The info hash of a metainfo file.
pub fn info_hash(metainfo: &[u8]) -> shoal_core::ids::InfoHash {
    Metainfo::parse(metainfo).unwrap().info_hash
}

/// A port on loopback where nobody listens.
pub fn dead_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Where a peer listens, as requests have it.
pub fn address(addr: SocketAddr) -> Option<v1::PeerAddress> {
    Some(v1::PeerAddress { ip: addr.ip().to_string(), port: addr.port().into() })
}

/// `Peer[ip,port]`.
pub fn sentence(addr: SocketAddr) -> String {
    format!("Peer[{},{}]", addr.ip(), addr.port())
}

/// The folder of a test, with a tracker in it.
pub struct Party {
    pub tracker: Host,
    pub dir: TempDir,
}

impl Party {
    /// A tracker that tracks everything.
    pub async fn new() -> Self {
        Self::with_tracker(|_| ()).await
    }

    /// A tracker told otherwise.
    pub async fn with_tracker(tell: impl FnOnce(&mut TrackerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = node_config(dir.path(), "tracker");
        let mut role = TrackerConfig { listen: loopback(), ..TrackerConfig::default() };
        tell(&mut role);
        config.tracker = Some(role);
        Self { tracker: Host::start(config).await, dir }
    }

    /// The announce URL of the tracker.
    pub async fn announce_url(&self) -> String {
        self.tracker.info().await.announce_url
    }

    /// The settings of a peer called `name`.
    pub fn peer_config(&self, name: &str) -> NodeConfig {
        let mut config = node_config(self.dir.path(), name);
        let mut role = PeerConfig::new(&config.state_dir);
        role.listen = loopback();
        role.share_root = vec![self.dir.path().to_owned()];
        config.peer = Some(role);
        config
    }

    /// A peer called `name`.
    pub async fn peer(&self, name: &str) -> Host {
        Host::start(self.peer_config(name)).await
    }

    /// A peer called `name`, told otherwise.
    pub async fn peer_with(&self, name: &str, tell: impl FnOnce(&mut PeerConfig)) -> Host {
        let mut config = self.peer_config(name);
        tell(config.peer.as_mut().unwrap());
        Host::start(config).await
    }

    /// Writes a file into the party's folder.
    pub fn write(&self, path: &str, data: &[u8]) -> PathBuf {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, data).unwrap();
        path
    }

    /// A seeder of `data` as the file `name`, connected to the tracker, and its metainfo.
    pub async fn seeder(&self, name: &str, data: &[u8]) -> (Host, Vec<u8>) {
        let path = self.write(&format!("data/{name}"), data);
        let seeder = self.peer("seeder").await;
        let metainfo = seeder.create(&path, &[self.announce_url().await]).await;
        seeder.connect_tracker().await;
        (seeder, metainfo)
    }

    /// A peer called `name` that has the torrent added, and nothing of it.
    pub async fn leecher(&self, name: &str, metainfo: &[u8]) -> Host {
        let leecher = self.peer(name).await;
        leecher.add(metainfo).await.unwrap();
        leecher
    }
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn node_config(dir: &Path, name: &str) -> NodeConfig {
    let mut config = NodeConfig::new(dir.join(name));
    config.control.push(ControlAddr::Tcp(loopback()));
    config
}

/// A node in process, and ways to it.
pub struct Host {
    pub config: NodeConfig,
    /// Where its peer role listens; without one the control address, else the tracker's.
    pub addr: SocketAddr,
    channel: Connection,
    socket: String,
    node: Option<Node>,
}

impl Host {
    /// Starts a node; stubs reach it over TCP, `shoalctl` over its Unix socket.
    pub async fn start(config: NodeConfig) -> Self {
        let node = within(PATIENCE, "start of a node", Node::start(config.clone())).await.unwrap();
        let host = Self::attach(&config.state_dir).await;
        Self { config, node: Some(node), ..host }
    }

    /// A node that runs already, in a process of its own; over its Unix socket where it has no other.
    pub async fn attach(state: &Path) -> Self {
        let socket = format!("unix://{}", state.join("shoald.sock").display());
        let over_unix = shoal::client::connect(&socket).await.unwrap();
        let info = NodeServiceClient::new(over_unix).get_info(v1::GetInfoRequest {}).await;
        let info = info.unwrap().into_inner();
        let tcp = info.control_addresses.iter().find(|addr| !addr.starts_with("unix:"));
        let how = Connect::to(tcp.unwrap_or(&socket)).token_file(state.join("admin.token"));
        let channel = how.connect().await.unwrap();
        let addr = [Some(&info.peer_address), tcp, Some(&info.tracker_address)];
        let addr = addr.into_iter().flatten().find(|addr| !addr.is_empty()).unwrap();
        let mut config = NodeConfig::new(state.to_owned());
        config.peer = Some(PeerConfig::new(state));
        Self { addr: addr.parse().unwrap(), config, channel, socket, node: None }
    }

    /// Ends the node in order.
    pub async fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            within(PATIENCE, "end of a node", node.shutdown()).await;
        }
    }

    /// Ends the node in order and starts it again, told the same but for its ports.
    pub async fn restart(mut self) -> Self {
        self.stop().await;
        Self::start(self.config).await
    }

    /// The way to it over TCP.
    pub fn channel(&self) -> Connection {
        self.channel.clone()
    }

    pub fn peer(&self) -> PeerServiceClient<Connection> {
        PeerServiceClient::new(self.channel.clone()).max_decoding_message_size(1 << 25)
    }

    pub fn torrents(&self) -> TorrentServiceClient<Connection> {
        TorrentServiceClient::new(self.channel.clone()).max_decoding_message_size(1 << 25)
    }

    pub fn jobs(&self) -> JobServiceClient<Connection> {
        JobServiceClient::new(self.channel.clone())
    }

    pub fn node(&self) -> NodeServiceClient<Connection> {
        NodeServiceClient::new(self.channel.clone())
    }

    pub fn policies(&self) -> PolicyServiceClient<Connection> {
        PolicyServiceClient::new(self.channel.clone())
    }

    pub fn swarms(&self) -> TrackerServiceClient<Connection> {
        TrackerServiceClient::new(self.channel.clone())
    }

    /// Where `shoalctl` reaches it.
    pub fn endpoint(&self) -> &str {
        &self.socket
    }

    /// Runs `shoalctl` against the node.
    pub async fn ctl(&self, args: &[&str]) -> Said {
        let (mut io, stdout, stderr) = Io::captured("");
        let line = ["shoalctl", "--endpoint", &self.socket].into_iter().chain(args.iter().copied());
        let run = Box::pin(shoal_ctl::run(line, &mut io));
        let exit = within(PATIENCE * 2, &format!("shoalctl {args:?}"), run).await;
        Said { exit, out: stdout.text(), err: stderr.text() }
    }

    pub async fn info(&self) -> v1::GetInfoResponse {
        self.node().get_info(v1::GetInfoRequest {}).await.unwrap().into_inner()
    }

    /// Makes a torrent of a path and seeds it.
    pub async fn create(&self, path: &Path, trackers: &[String]) -> Vec<u8> {
        let request = v1::CreateTorrentRequest {
            path: path.to_str().unwrap().to_owned(),
            chunk_size_bytes: CHUNK,
            trackers: trackers
                .iter()
                .map(|url| v1::TrackerTier { urls: vec![url.clone()] })
                .collect(),
            ..v1::CreateTorrentRequest::default()
        };
        let made = self.torrents().create_torrent(request).await.unwrap().into_inner();
        last(made).await.unwrap().metainfo
    }

    /// Adds a torrent to download.
    pub async fn add(&self, metainfo: &[u8]) -> Result<v1::Torrent, Status> {
        let source = v1::add_torrent_request::Source::Metainfo(metainfo.to_vec());
        let request = v1::AddTorrentRequest { source: Some(source), ..Default::default() };
        Ok(self.torrents().add_torrent(request).await?.into_inner().torrent.unwrap())
    }

    /// The node's only torrent.
    pub async fn torrent(&self) -> v1::Torrent {
        let request = v1::GetTorrentRequest::default();
        self.torrents().get_torrent(request).await.unwrap().into_inner().torrent.unwrap()
    }

    /// Connects the node's only torrent to its tracker.
    pub async fn connect_tracker(&self) -> v1::ConnectTrackerResponse {
        let request = v1::ConnectTrackerRequest::default();
        self.peer().connect_tracker(request).await.unwrap().into_inner()
    }

    /// Connects to a peer.
    pub async fn connect_peer(&self, addr: SocketAddr) -> v1::ConnectPeerResponse {
        let request = v1::ConnectPeerRequest { peer: address(addr), ..Default::default() };
        self.peer().connect_peer(request).await.unwrap().into_inner()
    }

    /// Downloads the node's only torrent.
    pub async fn auto_download(&self) -> Result<v1::AutoDownloadResponse, Status> {
        let request = v1::AutoDownloadRequest::default();
        let stream = self.peer().auto_download(request).await?.into_inner();
        within(PATIENCE * 2, "auto_download", last(stream)).await
    }

    /// Follows events of these kinds.
    pub async fn events(&self, kinds: &[v1::EventKind]) -> Events {
        let kinds = kinds.iter().map(|&kind| kind.into()).collect();
        let request = v1::WatchEventsRequest { kinds, ..Default::default() };
        Events(self.node().watch_events(request).await.unwrap().into_inner())
    }

    /// Where merged files go.
    pub fn downloads(&self) -> &Path {
        &self.config.peer.as_ref().unwrap().downloads
    }
}

/// The last message of a stream that ends well.
pub async fn last<T>(mut stream: Streaming<T>) -> Result<T, Status> {
    let mut last = None;
    while let Some(message) = stream.message().await? {
        last = Some(message);
    }
    Ok(last.expect("a stream ends with a message"))
}

/// A stream of events.
pub struct Events(pub Streaming<v1::WatchEventsResponse>);

impl Events {
    /// The next message.
    pub async fn next(&mut self) -> v1::WatchEventsResponse {
        within(PATIENCE, "an event", self.0.message()).await.unwrap().expect("the stream goes on")
    }

    /// The next event that fits.
    pub async fn until(&mut self, fits: impl Fn(&v1::Event) -> bool) -> v1::Event {
        loop {
            if let Some(v1::watch_events_response::Item::Event(event)) = self.next().await.item
                && fits(&event)
            {
                return event;
            }
        }
    }

    /// The next event of which `what` is this.
    pub async fn what(&mut self, what: &str) -> v1::Event {
        self.until(|event| event.what == what).await
    }
}

/// What a run of `shoalctl` said.
#[derive(Debug)]
pub struct Said {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

impl Said {
    /// It ended well; its standard output. Standard error may hold talk.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.exit, Exit::Ok, "{self:?}");
        self.out
    }
}

/// Why a call was refused: code, `ErrorInfo.reason`, message.
pub fn refusal(status: &Status) -> (Code, String, String) {
    let details = status.get_error_details();
    let info = details.error_info();
    assert!(info.is_some_and(|info| info.domain == shoal::ERROR_DOMAIN), "{status:?}");
    let reason = info.map(|info| info.reason.clone()).unwrap_or_default();
    (status.code(), reason, status.message().to_owned())
}
