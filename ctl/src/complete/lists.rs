//! Candidates from the lists of a node. Never here: which node.

use std::{collections::BTreeSet, net::IpAddr};

use shoal::{
    client::Connection,
    v1::{
        self, auth_service_client::AuthServiceClient, job_service_client::JobServiceClient,
        peer_service_client::PeerServiceClient, policy_service_client::PolicyServiceClient,
        torrent_service_client::TorrentServiceClient, tracker_service_client::TrackerServiceClient,
    },
};
use tonic::Status;

use super::ask::Found;
use crate::{clean::clean, grid::shorten_head, human};

/// Most columns of the name of a chunk.
const NAME_WIDTH: usize = 36;

/// Most candidates asked for.
const CANDIDATES_MAX: u32 = 500;

/// Whether no shell would take a text for more than one plain word.
fn is_plain(text: &str) -> bool {
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | ',' | '/' | '%');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(plain)
}

pub(super) async fn torrents(node: Connection) -> Result<Vec<Found>, Status> {
    let request = v1::ListTorrentsRequest { page_size: CANDIDATES_MAX, ..Default::default() };
    let reply = TorrentServiceClient::new(node).list_torrents(request).await?.into_inner();
    let found = |torrent: v1::Torrent| {
        let state = human::word(torrent.state().as_str_name(), "TORRENT_STATE_");
        let size = human::bytes(torrent.total_bytes);
        if is_plain(&torrent.name) {
            return Found { value: torrent.name, about: format!("{state}, {size}") };
        }
        let about = format!("{}, {state}, {size}", clean(&torrent.name));
        Found { value: human::short_id(&torrent.info_hash), about }
    };
    Ok(reply.torrents.into_iter().map(found).collect())
}

/// Where peers listen, and what they are: connected ones, then those of the peer set.
pub(super) async fn peers(
    node: Connection,
    torrent: String,
) -> Result<Vec<(String, u32, String)>, Status> {
    let mut client = PeerServiceClient::new(node);
    let request = v1::SeeConnectedRequest {
        torrent: torrent.clone(),
        page_size: CANDIDATES_MAX,
        ..Default::default()
    };
    let connected = client.see_connected(request).await?.into_inner().connections;
    let mut peers: Vec<(String, u32, String)> = connected
        .into_iter()
        .filter_map(|conn| conn.peer.map(|at| (at.ip, at.port, clean(&conn.client).into_owned())))
        .collect();
    let request =
        v1::SeePeerSetRequest { torrent, page_size: CANDIDATES_MAX, ..Default::default() };
    // No tracker may have answered yet.
    let set = client.see_peer_set(request).await.ok().and_then(|reply| reply.into_inner().set);
    for entry in set.unwrap_or_default().peers.into_iter().filter(|entry| !entry.is_self) {
        let Some(at) = entry.address else { continue };
        if !peers.iter().any(|(ip, port, _)| (ip, *port) == (&at.ip, at.port)) {
            peers.push((at.ip, at.port, "not connected".to_owned()));
        }
    }
    Ok(peers)
}

pub(super) fn ips(peers: &[(String, u32, String)]) -> Vec<Found> {
    let mut seen = BTreeSet::new();
    let fresh = |(ip, port, about): &(String, u32, String)| {
        let about = format!("port {port}, {about}");
        seen.insert(ip.clone()).then(|| Found { value: ip.clone(), about })
    };
    peers.iter().filter_map(fresh).collect()
}

pub(super) fn ports(peers: &[(String, u32, String)], of: Option<IpAddr>) -> Vec<Found> {
    peers
        .iter()
        .filter(|(ip, ..)| of.is_none() || ip.parse().ok() == of)
        .map(|(_, port, about)| Found { value: port.to_string(), about: about.clone() })
        .collect()
}

pub(super) async fn chunks(node: Connection, torrent: String) -> Result<Vec<Found>, Status> {
    let request =
        v1::SeeChunkStatusRequest { torrent, page_size: CANDIDATES_MAX, ..Default::default() };
    let reply = PeerServiceClient::new(node).see_chunk_status(request).await?.into_inner();
    let found = |chunk: v1::ChunkStatus| {
        let name = chunk.names.first().cloned().unwrap_or_default();
        let state = clean(&chunk.state).into_owned();
        if is_plain(&name) {
            return Found { value: name, about: state };
        }
        // Chunks of a file differ at the end.
        let name = shorten_head(&clean(&name), NAME_WIDTH);
        Found { value: format!("@{}", chunk.index), about: format!("{name}, {state}") }
    };
    // What is here already is seldom asked for.
    let (have, missing): (Vec<_>, Vec<_>) = reply.chunks.into_iter().partition(|chunk| chunk.have);
    let asked = if missing.is_empty() { have } else { missing };
    Ok(asked.into_iter().map(found).collect())
}

pub(super) async fn files(node: Connection, torrent: String) -> Result<Vec<Found>, Status> {
    let request =
        v1::GetTorrentRequest { torrent, page_size: CANDIDATES_MAX, ..Default::default() };
    let reply = TorrentServiceClient::new(node).get_torrent(request).await?.into_inner();
    let found = |file: v1::TorrentFile| Found {
        about: format!("{} of {} chunks", file.chunks_have, file.chunks),
        value: file.path,
    };
    Ok(reply.files.into_iter().filter(|file| is_plain(&file.path)).map(found).collect())
}

pub(super) async fn jobs(node: Connection) -> Result<Vec<Found>, Status> {
    let request = v1::ListJobsRequest { page_size: CANDIDATES_MAX, ..Default::default() };
    let reply = JobServiceClient::new(node).list_jobs(request).await?.into_inner();
    let found = |job: v1::Job| Found {
        value: job.id.to_string(),
        about: format!(
            "{} {}, {}",
            human::word(job.kind().as_str_name(), "JOB_KIND_"),
            clean(&job.torrent_name),
            human::word(job.state().as_str_name(), "JOB_STATE_")
        ),
    };
    // Ended ones are neither cancelled nor waited for.
    let at_work = |job: &v1::Job| job.state() == v1::JobState::Running;
    Ok(reply.jobs.into_iter().filter(at_work).map(found).collect())
}

pub(super) async fn swarms(node: Connection) -> Result<Vec<Found>, Status> {
    let request = v1::ListSwarmsRequest { page_size: CANDIDATES_MAX, ..Default::default() };
    let reply = TrackerServiceClient::new(node).list_swarms(request).await?.into_inner();
    let found = |swarm: v1::Swarm| Found {
        value: human::short_id(&swarm.info_hash),
        about: format!("{} seeders, {} leechers", swarm.seeders, swarm.leechers),
    };
    Ok(reply.swarms.into_iter().map(found).collect())
}

pub(super) async fn policies(node: Connection) -> Result<Vec<Found>, Status> {
    let request = v1::ListPoliciesRequest { page_size: CANDIDATES_MAX, ..Default::default() };
    let reply = PolicyServiceClient::new(node).list_policies(request).await?.into_inner();
    let found = |policy: v1::PolicyInfo| Found {
        value: policy.name,
        about: clean(&policy.description).into(),
    };
    Ok(reply.policies.into_iter().filter(|policy| is_plain(&policy.name)).map(found).collect())
}

pub(super) async fn tokens(node: Connection) -> Result<Vec<Found>, Status> {
    let request = v1::ListTokensRequest { page_size: CANDIDATES_MAX, ..Default::default() };
    let reply = AuthServiceClient::new(node).list_tokens(request).await?.into_inner();
    let found = |token: v1::Token| Found { about: token.id, value: token.name };
    Ok(reply.tokens.into_iter().filter(|token| is_plain(&token.name)).map(found).collect())
}
