//! Stubs of `shoal.v1`, generated from `proto/shoal/v1/*.proto`, and a way to a node.
//!
//! [`v1`] holds the messages, the clients and the server traits; [`client::Connect`] makes a connection
//! to a node from an endpoint such as `unix:///run/shoal/shoald.sock` or `https://10.0.0.1:7002`, a token
//! and certificates; [`watch::watch_with_resume`] follows its events over whatever happens to the
//! connection. What the calls mean, with their units, is in `docs/api.md`; what every client has
//! to know, in `docs/integrating.md`; a whole service to copy, in `examples/pusher`.
//!
//! # A call
//!
//! A connection is cheap to clone and restores itself; a client of a service is made where it is used.
//! Lists come in pages.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let mut config = shoal_node::config::NodeConfig::new(dir.path().to_owned());
//! # let mut peer = shoal_node::config::PeerConfig::new(dir.path());
//! # peer.listen = "127.0.0.1:0".parse()?;
//! # config.peer = Some(peer);
//! # let node = shoal_node::node::Node::start(config).await?;
//! # let endpoint = format!("unix://{}/shoald.sock", dir.path().display());
//! use shoal::v1::{ListTorrentsRequest, torrent_service_client::TorrentServiceClient};
//!
//! let connection = shoal::client::Connect::to(&endpoint).connect().await?;
//! let mut torrents = TorrentServiceClient::new(connection);
//! let mut request = ListTorrentsRequest::default();
//! loop {
//!     let page = torrents.list_torrents(request.clone()).await?.into_inner();
//!     for torrent in page.torrents {
//!         println!("{} {:?}", torrent.name, torrent.state());
//!     }
//!     if page.next_page_token.is_empty() {
//!         break;
//!     }
//!     request.page_token = page.next_page_token;
//! }
//! # node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Work that takes a while
//!
//! It is a job of the node, and its call answers with a stream that follows it. Dropping the stream
//! ends nothing; calling again joins the job at work.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let mut config = shoal_node::config::NodeConfig::new(dir.path().to_owned());
//! # let mut peer = shoal_node::config::PeerConfig::new(dir.path());
//! # peer.listen = "127.0.0.1:0".parse()?;
//! # config.peer = Some(peer);
//! # let node = shoal_node::node::Node::start(config).await?;
//! # let endpoint = format!("unix://{}/shoald.sock", dir.path().display());
//! use shoal::v1::{
//!     AutoDownloadRequest, CreateTorrentRequest, peer_service_client::PeerServiceClient,
//!     torrent_service_client::TorrentServiceClient,
//! };
//!
//! let connection = shoal::client::Connect::to(&endpoint).connect().await?;
//! // The last message carries the metainfo file: more than clients take unless told.
//! let mut torrents = TorrentServiceClient::new(connection.clone())
//!     .max_decoding_message_size(shoal::client::REPLY_LEN_MAX);
//! # std::fs::write(dir.path().join("image.bin"), [7; 100_000])?;
//! # let path = dir.path().join("image.bin").to_str().ok_or("a path")?.to_owned();
//! let request = CreateTorrentRequest { path, ..Default::default() };
//! let mut made = torrents.create_torrent(request).await?.into_inner();
//! let mut info_hash = String::new();
//! while let Some(message) = made.message().await? {
//!     let progress = message.progress.unwrap_or_default();
//!     println!("{} of {} bytes", progress.done_bytes, progress.total_bytes);
//!     info_hash = message.info_hash;
//! }
//!
//! let request = AutoDownloadRequest { torrent: info_hash, ..Default::default() };
//! let mut job = PeerServiceClient::new(connection).auto_download(request).await?.into_inner();
//! while let Some(message) = job.message().await? {
//!     if message.complete {
//!         println!("here they are: {:?}", message.paths);
//!     }
//! }
//! # node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Events
//!
//! Everything as it stands, then every change, whatever happens to the connection.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let mut config = shoal_node::config::NodeConfig::new(dir.path().to_owned());
//! # let mut peer = shoal_node::config::PeerConfig::new(dir.path());
//! # peer.listen = "127.0.0.1:0".parse()?;
//! # config.peer = Some(peer);
//! # let node = shoal_node::node::Node::start(config).await?;
//! # let endpoint = format!("unix://{}/shoald.sock", dir.path().display());
//! use shoal::{
//!     client::Connect,
//!     v1::WatchEventsRequest,
//!     watch::{News, watch_with_resume},
//! };
//!
//! let connect = || Connect::to(&endpoint).connect();
//! let mut watch = watch_with_resume(connect, WatchEventsRequest::default());
//! # let mut heard = 0;
//! loop {
//!     match watch.next().await? {
//!         // At the begin, and wherever events were missed: what was known is to be forgotten.
//!         News::Snapshot { snapshot, .. } => println!("{} torrents", snapshot.torrents.len()),
//!         News::Event(event) => println!("{}: {}", event.what, event.message),
//!         News::Idle => {}
//!         News::Lost { cause, pause } => eprintln!("{cause}; again in {pause:?}"),
//!     }
//! #   heard += 1;
//! #   if heard == 1 { break }
//! }
//! # node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! A refusal carries a `google.rpc.ErrorInfo` of domain [`ERROR_DOMAIN`]. Its reason is the contract,
//! the message is for people. A status without one was not made by a node: the connection broke.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let mut config = shoal_node::config::NodeConfig::new(dir.path().to_owned());
//! # let mut peer = shoal_node::config::PeerConfig::new(dir.path());
//! # peer.listen = "127.0.0.1:0".parse()?;
//! # config.peer = Some(peer);
//! # let node = shoal_node::node::Node::start(config).await?;
//! # let endpoint = format!("unix://{}/shoald.sock", dir.path().display());
//! use shoal::v1::{GetTorrentRequest, torrent_service_client::TorrentServiceClient};
//! use tonic_types::StatusExt as _;
//!
//! let connection = shoal::client::Connect::to(&endpoint).connect().await?;
//! let request = GetTorrentRequest { torrent: "none such".to_owned(), ..Default::default() };
//! let status = TorrentServiceClient::new(connection).get_torrent(request).await.unwrap_err();
//! let info = status.get_details_error_info().ok_or("the connection broke")?;
//! assert_eq!((info.domain.as_str(), info.reason.as_str()), (shoal::ERROR_DOMAIN, "UNKNOWN_TORRENT"));
//! # node.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod client;
pub mod watch;

/// The package `shoal.v1`: every message, client and server trait.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("shoal.v1");

    /// The encoded `FileDescriptorSet` of the package and its imports, without comments.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shoal.v1.bin"));

    /// The same with comments, for whoever explains the API.
    pub const DESCRIPTOR_SET_COMMENTED: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/shoal.v1.commented.bin"));
}

#[cfg(test)]
mod baseline;

/// The `domain` of every `google.rpc.ErrorInfo` that a node sends.
pub const ERROR_DOMAIN: &str = "shoal";
