//! Events as messages, and as the bytes that are sent of them. Pure.

use bytes::Bytes;
use prost::Message as _;
use shoal::v1::{self as api, event::Detail as Message, watch_events_response::Item};

use super::super::{
    field::address,
    message::{job, quest, timestamp, torrent},
    settings,
};
use crate::session::event_hub::{ChunkChange, Detail, EventKind, NodeEvent};

/// The reply that tells of an event: encoded for the first reader, the same bytes for all others.
pub(super) fn encoded(event: &NodeEvent, epoch: &str) -> Bytes {
    event.wire(|event| {
        let item = Some(Item::Event(message(event)));
        let epoch = epoch.to_owned();
        let reply = api::WatchEventsResponse { epoch, revision: event.revision, item };
        reply.encode_to_vec().into()
    })
}

fn message(event: &NodeEvent) -> api::Event {
    let detail = match &event.detail {
        Detail::None => None,
        Detail::Torrent(view, location) => Some(Message::Torrent(torrent(view, location.clone()))),
        Detail::Quest(view) => Some(Message::Torrent(quest(view))),
        Detail::Chunks(change) => Some(Message::Chunks(chunks(change))),
        Detail::Peer(news) => Some(Message::Peer(api::PeerChange {
            peer: Some(address(news.addr)),
            peer_id: news.peer_id.to_string(),
            reason: news.reason.clone(),
        })),
        Detail::Job(view, now) => Some(Message::Job(job(view, *now))),
        Detail::Settings(settings) => Some(Message::Settings(settings::message(settings))),
    };
    api::Event {
        kind: event_kind(event.kind).into(),
        at: Some(timestamp(event.at)),
        info_hash: event.info_hash.map(|hash| hash.to_string()).unwrap_or_default(),
        message: event.message.clone(),
        what: event.what.to_owned(),
        detail,
    }
}

fn chunks(change: &ChunkChange) -> api::ChunkChange {
    api::ChunkChange {
        have: change.have.iter().map(|piece| piece.0).collect(),
        lost: change.lost.iter().map(|piece| piece.0).collect(),
        chunks_have: change.chunks_have,
    }
}

pub(super) fn event_kind(kind: EventKind) -> api::EventKind {
    match kind {
        EventKind::Torrent => api::EventKind::Torrent,
        EventKind::Chunk => api::EventKind::Chunk,
        EventKind::Peer => api::EventKind::Peer,
        EventKind::Tracker => api::EventKind::Tracker,
        EventKind::Policy => api::EventKind::Policy,
        EventKind::Job => api::EventKind::Job,
        EventKind::Merge => api::EventKind::Merge,
        EventKind::Disk => api::EventKind::Disk,
        EventKind::Settings => api::EventKind::Settings,
    }
}
