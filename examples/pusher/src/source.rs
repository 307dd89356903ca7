//! The source node: a torrent of the release, seeded and announced.

use std::path::{Path, PathBuf};

use shoal::client::Connection;
use shoal::v1::{
    self, node_service_client::NodeServiceClient, peer_service_client::PeerServiceClient,
    torrent_service_client::TorrentServiceClient,
};
use tonic::Streaming;

use crate::{
    args::Args,
    call::{Failure, answer, within},
    say,
};

/// What is distributed.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) name: String,
    /// 40 lowercase hexadecimal digits.
    pub(crate) info_hash: String,
    pub(crate) bytes: u64,
    pub(crate) metainfo: Vec<u8>,
    /// Peers that are known without a tracker.
    pub(crate) peers: Vec<v1::PeerAddress>,
}

/// Makes the release on the source node and seeds it. Made before: it is taken up.
pub(crate) async fn release(args: &Args) -> Result<Release, Failure> {
    let connection = args.connect(&args.source).await?;
    let mut node = NodeServiceClient::new(connection.clone());
    let info = answer(node.get_info(v1::GetInfoRequest {})).await?;
    let tracker = args.tracker.clone().or(Some(info.announce_url).filter(|url| !url.is_empty()));
    let peers = source_peer(args, &info.peer_address);
    if tracker.is_none() && peers.is_none() {
        let message = "nobody could find the source: name a tracker with --tracker, or the source's \
                       peer port with --source-peer";
        return Err(Failure::usage(message));
    }
    let request = v1::CreateTorrentRequest {
        path: absolute(args)?,
        name: args.name.clone().unwrap_or_default(),
        trackers: tracker.iter().map(|url| v1::TrackerTier { urls: vec![url.clone()] }).collect(),
        ..v1::CreateTorrentRequest::default()
    };
    let made = create(&connection, request, args).await?;
    let request = v1::GetTorrentRequest { torrent: made.info_hash.clone(), ..Default::default() };
    let torrent = answer(client(&connection).get_torrent(request)).await?;
    let torrent = torrent.torrent.ok_or_else(|| Failure::broken_promise("torrent"))?;
    if tracker.is_some() {
        let request = v1::ConnectTrackerRequest { torrent: made.info_hash.clone() };
        answer(PeerServiceClient::new(connection).connect_tracker(request)).await?;
    }
    Ok(Release {
        name: torrent.name,
        info_hash: made.info_hash,
        bytes: torrent.total_bytes,
        metainfo: made.metainfo,
        peers: peers.into_iter().collect(),
    })
}

/// Where targets reach the source, as far as anybody said. A node that listens on all addresses
/// does not know which of them others see.
fn source_peer(args: &Args, listens: &str) -> Option<v1::PeerAddress> {
    let listens = listens.parse::<std::net::SocketAddr>().ok();
    let addr = args.source_peer.or(listens.filter(|addr| !addr.ip().is_unspecified()))?;
    Some(v1::PeerAddress { ip: addr.ip().to_string(), port: addr.port().into() })
}

/// The path as the source node sees it: over its Unix socket, paths of this machine are its own.
fn absolute(args: &Args) -> Result<String, Failure> {
    let bad = |cause: String| Failure::usage(format!("{}: {cause}", args.path.display()));
    let path: PathBuf = if args.source.endpoint.starts_with("unix:") {
        args.path.canonicalize().map_err(|error| bad(error.to_string()))?
    } else {
        args.path.clone()
    };
    if !path.is_absolute() {
        return Err(bad("is no absolute path on the source node".to_owned()));
    }
    utf8(&path).ok_or_else(|| bad("is no UTF-8".to_owned()))
}

fn utf8(path: &Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}

/// Makes the torrent and seeds it; where the node has it already, only its metainfo is made again.
async fn create(
    connection: &Connection,
    request: v1::CreateTorrentRequest,
    args: &Args,
) -> Result<v1::CreateTorrentResponse, Failure> {
    let again = v1::CreateTorrentRequest { no_seed: true, ..request.clone() };
    match created(connection, request, args).await {
        Err(failure) if failure.reason == "TORRENT_EXISTS" => {
            created(connection, again, args).await
        }
        made => made,
    }
}

async fn created(
    connection: &Connection,
    request: v1::CreateTorrentRequest,
    args: &Args,
) -> Result<v1::CreateTorrentResponse, Failure> {
    let mut stream = answer(client(connection).create_torrent(request)).await?;
    let mut told = 0;
    while let Some(message) = next(&mut stream, args).await? {
        if !message.metainfo.is_empty() {
            return Ok(message);
        }
        let progress = message.progress.unwrap_or_default();
        let percent = 100 * progress.done_bytes / progress.total_bytes.max(1);
        if percent >= told + 10 {
            told = percent;
            say(&format!("{}: hashing, {percent} %", args.source.endpoint));
        }
    }
    Err(Failure::broken_promise("metainfo"))
}

/// The next message of a stream; a node that says nothing for too long is not waited for.
pub(crate) async fn next<T>(stream: &mut Streaming<T>, args: &Args) -> Result<Option<T>, Failure> {
    within(args.patience, stream.message()).await
}

pub(crate) fn client(connection: &Connection) -> TorrentServiceClient<Connection> {
    // A message that carries a metainfo file is larger than clients take unless told.
    TorrentServiceClient::new(connection.clone())
        .max_decoding_message_size(shoal::client::REPLY_LEN_MAX)
}
