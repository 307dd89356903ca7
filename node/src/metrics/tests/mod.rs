//! The page as a scraper sees it, and the answers of a node that starts, serves and ends.

mod deployed;
mod page;
mod probes;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use shoal::v1::{
    self as api, node_service_client::NodeServiceClient,
    torrent_service_client::TorrentServiceClient,
};

use super::{Metrics, vitals::Vitals};
use crate::{
    config::{NodeConfig, PeerConfig, TrackerConfig, value::MetricsAddr},
    node::Node,
};

/// An answer of the listener.
struct Got {
    status: u16,
    head: String,
    body: String,
}

/// Asks and reads to the end, as `curl` would.
async fn ask(addr: SocketAddr, request: &str) -> Got {
    let request = request.to_owned();
    let got = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        got
    });
    let got = got.await.unwrap();
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Got { status, head: head.to_lowercase(), body: body.to_owned() }
}

async fn get(addr: SocketAddr, path: &str, header: &str) -> Got {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
    ask(addr, &request).await
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A node in both roles that tells metrics.
async fn node(dir: &Path) -> Node {
    let mut config = NodeConfig::new(dir.join("node"));
    config.metrics = Some(MetricsAddr(loopback()));
    config.tracker = Some(TrackerConfig { listen: loopback(), ..TrackerConfig::default() });
    let base = PeerConfig::new(&config.state_dir);
    config.peer = Some(PeerConfig { listen: loopback(), ..base });
    Node::start(config).await.unwrap()
}

/// Lets the node make a torrent of so many bytes and seed it, and calls something that fails.
async fn use_it(node: &Node, dir: &Path, name: &str) {
    let path = dir.join(name);
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let channel = shoal::client::connect(&node.control()[0]).await.unwrap();
    let request = api::CreateTorrentRequest {
        path: path.display().to_string(),
        trackers: vec![api::TrackerTier { urls: vec![node.announce_url().unwrap().to_owned()] }],
        ..api::CreateTorrentRequest::default()
    };
    let mut torrents = TorrentServiceClient::new(channel.clone());
    let mut made = torrents.create_torrent(request).await.unwrap().into_inner();
    while made.message().await.unwrap().is_some() {}
    let torrent = "nobody".to_owned();
    let request = api::GetTorrentRequest { torrent, ..api::GetTorrentRequest::default() };
    torrents.get_torrent(request).await.unwrap_err();
    NodeServiceClient::new(channel).get_info(api::GetInfoRequest {}).await.unwrap();
}
