//! The seventeen commands, over gRPC and through `shoalctl`: what each says when it works, and each
//! way in which it can be refused. Never here: whole downloads.

mod look;
mod merge;
mod peers;
mod roles;
mod selectors;
mod states;
mod tracker;
mod transfer;

use std::net::SocketAddr;

use shoal::v1;
use shoal_ctl::Exit;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Host, address, last, refusal};

/// The commands, in the order of the specification.
const COMMANDS: [&str; 17] = [
    "connect-tracker",
    "get-peer-set",
    "update-status-to-tracker",
    "disconnect-tracker",
    "quit-torrent",
    "connect-peer",
    "ping",
    "request-download",
    "disconnect-peer",
    "check-tracker-connected",
    "check-target-peer-connected",
    "see-this-peer-info",
    "see-peer-set",
    "see-connected",
    "see-chunk-status",
    "merge-chunks",
    "auto-download",
];

/// The commands of one peer.
const OF_PEERS: [&str; 4] = ["connect-peer", "ping", "request-download", "disconnect-peer"];

/// What a command is asked about.
#[derive(Clone, Debug)]
pub struct Ask {
    torrent: String,
    peer: Option<v1::PeerAddress>,
    chunk: String,
    file: String,
    available_only: bool,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            torrent: String::new(),
            peer: address("127.0.0.1:9".parse().unwrap()),
            chunk: "@0".to_owned(),
            file: String::new(),
            available_only: false,
        }
    }
}

impl Ask {
    fn torrent(selector: &str) -> Self {
        Self { torrent: selector.to_owned(), ..Self::default() }
    }

    pub fn peer(addr: SocketAddr) -> Self {
        Self { peer: address(addr), ..Self::default() }
    }

    pub fn chunk(addr: SocketAddr, chunk: &str) -> Self {
        Self { chunk: chunk.to_owned(), ..Self::peer(addr) }
    }

    fn file(path: &str) -> Self {
        Self { file: path.to_owned(), ..Self::default() }
    }

    /// Carries a command out over gRPC; a stream to its end.
    pub async fn call(self, host: &Host, command: &str) -> Result<(), Status> {
        let Self { torrent, peer, chunk, file, available_only } = self;
        let mut to = host.peer();
        let paged = (false, 0, String::new());
        match command {
            "connect-tracker" => {
                to.connect_tracker(v1::ConnectTrackerRequest { torrent }).await.map(drop)
            }
            "get-peer-set" => {
                let (with_bitfields, page_size, page_token) = paged;
                let request =
                    v1::GetPeerSetRequest { torrent, with_bitfields, page_size, page_token };
                to.get_peer_set(request).await.map(drop)
            }
            "update-status-to-tracker" => {
                let request = v1::UpdateStatusToTrackerRequest { torrent };
                to.update_status_to_tracker(request).await.map(drop)
            }
            "disconnect-tracker" => {
                to.disconnect_tracker(v1::DisconnectTrackerRequest { torrent }).await.map(drop)
            }
            "quit-torrent" => to.quit_torrent(v1::QuitTorrentRequest { torrent }).await.map(drop),
            "connect-peer" => {
                to.connect_peer(v1::ConnectPeerRequest { torrent, peer }).await.map(drop)
            }
            "ping" => to.ping(v1::PingRequest { torrent, peer }).await.map(drop),
            "request-download" => {
                let request = v1::RequestDownloadRequest { torrent, peer, chunk };
                last(to.request_download(request).await?.into_inner()).await.map(drop)
            }
            "disconnect-peer" => {
                to.disconnect_peer(v1::DisconnectPeerRequest { torrent, peer }).await.map(drop)
            }
            "check-tracker-connected" => {
                let request = v1::CheckTrackerConnectedRequest { torrent };
                to.check_tracker_connected(request).await.map(drop)
            }
            "check-target-peer-connected" => {
                let request = v1::CheckTargetPeerConnectedRequest { torrent, peer };
                to.check_target_peer_connected(request).await.map(drop)
            }
            "see-this-peer-info" => {
                let request = v1::SeeThisPeerInfoRequest { torrent, names_max: 0 };
                to.see_this_peer_info(request).await.map(drop)
            }
            "see-peer-set" => {
                let (with_bitfields, page_size, page_token) = paged;
                let request =
                    v1::SeePeerSetRequest { torrent, with_bitfields, page_size, page_token };
                to.see_peer_set(request).await.map(drop)
            }
            "see-connected" => {
                let (_, page_size, page_token) = paged;
                let request = v1::SeeConnectedRequest { torrent, page_size, page_token };
                to.see_connected(request).await.map(drop)
            }
            "see-chunk-status" => {
                let (_, page_size, page_token) = paged;
                let request = v1::SeeChunkStatusRequest { torrent, page_size, page_token };
                to.see_chunk_status(request).await.map(drop)
            }
            "merge-chunks" => {
                to.merge_chunks(v1::MergeChunksRequest { torrent, file }).await.map(drop)
            }
            "auto-download" => {
                let request = v1::AutoDownloadRequest { torrent, available_only };
                last(to.auto_download(request).await?.into_inner()).await.map(drop)
            }
            _ => unreachable!("{command} is no command"),
        }
    }

    /// The same as words for `shoalctl`.
    fn line(&self, command: &str) -> Vec<String> {
        let mut line = vec![command.to_owned()];
        if OF_PEERS.contains(&command) || command == "check-target-peer-connected" {
            let peer = self.peer.clone().unwrap_or_default();
            line.extend([peer.ip, peer.port.to_string()]);
        }
        match command {
            "request-download" => line.push(self.chunk.clone()),
            "merge-chunks" if !self.file.is_empty() => line.push(self.file.clone()),
            "auto-download" if self.available_only => line.push("--available-only".to_owned()),
            _ => {}
        }
        if !self.torrent.is_empty() {
            line.extend(["--torrent".to_owned(), self.torrent.clone()]);
        }
        line
    }
}

/// A refusal, the same over gRPC and through `shoalctl`.
#[derive(Debug)]
pub struct Refused {
    message: String,
    metadata: std::collections::HashMap<String, String>,
}

/// Asks for what has to be refused, both ways, and holds code, reason, the line on standard error
/// and the exit code against each other.
pub async fn refused(host: &Host, command: &str, ask: &Ask, code: Code, reason: &str) -> Refused {
    let refused = refused_over_grpc(host, command, ask, code, reason).await;
    refused_through_shoalctl(host, command, ask, code, &refused).await;
    refused
}

/// The first half of [`refused`], for what has to be set up again between the two.
async fn refused_over_grpc(
    host: &Host,
    command: &str,
    ask: &Ask,
    code: Code,
    reason: &str,
) -> Refused {
    let status = match ask.clone().call(host, command).await {
        Ok(()) => panic!("{command} {ask:?}: not refused with {reason}"),
        Err(status) => status,
    };
    let (got, why, message) = refusal(&status);
    assert_eq!((got, why.as_str()), (code, reason), "{command} {ask:?}: {message}");
    assert!(!message.contains('\n'), "{message}");
    let metadata = status.get_error_details().error_info().unwrap().metadata.clone();
    Refused { message, metadata }
}

/// The second half of [`refused`]: what `shoalctl` says of the same refusal.
async fn refused_through_shoalctl(
    host: &Host,
    command: &str,
    ask: &Ask,
    code: Code,
    refused: &Refused,
) {
    let line = ask.line(command);
    let words: Vec<&str> = line.iter().map(String::as_str).collect();
    let said = host.ctl(&words).await;
    assert_eq!(said.exit, Exit::of(code), "{line:?}: {said:?}");
    assert_eq!(said.out, "", "{line:?}");
    let Refused { message, metadata } = refused;
    let hint = metadata.get("suggestion").filter(|near| !message.contains(near.as_str()));
    let hint = hint.map(|near| format!("hint: did you mean '{near}'?\n")).unwrap_or_default();
    assert_eq!(said.err, format!("shoalctl: {message}\n{hint}"), "{line:?}");
}
