//! The ready file: every bound address as JSON, for whoever started the node with ports of 0.

use std::{io::Write as _, net::SocketAddr, path::Path};

use serde::{Deserialize, Serialize};

use super::StartError;
use crate::rpc::context::Context;

/// What the ready file holds. Keys are only ever added.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The process id.
    pub pid: u32,
    /// The version of shoald.
    pub version: String,
    /// `tracker`, `peer`.
    pub roles: Vec<String>,
    /// Control addresses, `unix:PATH` or `IP:PORT`.
    pub control: Vec<String>,
    /// Whether its TCP control addresses speak TLS.
    pub control_tls: bool,
    /// Where it listens for peers, `IP:PORT`.
    pub peer_address: Option<String>,
    /// Its peer id, 40 hexadecimal digits.
    pub peer_id: Option<String>,
    /// Where its tracker listens, `IP:PORT`.
    pub tracker_address: Option<String>,
    /// The announce URL of its tracker.
    pub announce_url: Option<String>,
    /// The same over UDP.
    pub udp_announce_url: Option<String>,
    /// Where it tells metrics, `IP:PORT`.
    pub metrics_address: Option<String>,
}

/// Writes the file, all of it or nothing.
pub(super) fn write(
    path: &Path,
    context: &Context,
    tls: bool,
    metrics: Option<SocketAddr>,
) -> Result<(), StartError> {
    let facts = context.session.as_ref().map(|session| session.facts());
    let roles = [("tracker", context.tracker.is_some()), ("peer", facts.is_some())];
    let ready = Ready {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roles: roles.iter().filter(|(_, has)| *has).map(|(role, _)| (*role).to_owned()).collect(),
        control: context.control.clone(),
        control_tls: tls,
        peer_address: facts.map(|facts| facts.listen_addr.to_string()),
        peer_id: facts.map(|facts| facts.peer_id.to_string()),
        tracker_address: context.tracker.as_ref().map(|tracker| tracker.local_addr().to_string()),
        announce_url: context.announce_url.clone(),
        udp_announce_url: context.udp_announce_url(),
        metrics_address: metrics.map(|addr| addr.to_string()),
    };
    let failed = |cause| StartError::File { what: "--ready-file", path: path.to_owned(), cause };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let text = serde_json::to_vec_pretty(&ready).map_err(|error| failed(error.into()))?;
    file.write_all(&text).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
