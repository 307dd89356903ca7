//! `WatchEvents`: a snapshot, then every change; taken up where a reader left off; ended with a
//! reason, never silently.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shoal::v1::{self as api, watch_events_response::Item};
use shoal_core::{ids::InfoHash, session::Session};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    context::{Context, Known},
    field::address,
    follow::{REPLIES_MAX, Replies},
    message::{job, quest, timestamp, torrent},
    page,
    status::{Reason, Refusal},
    tracker,
};
use crate::session::event_hub::{
    ChunkChange, Detail, EventKind, NodeEvent, ResumeError, Subscription, SubscriptionEnd,
};

/// Silence after which a mark says that the reader is up to date.
const IDLE_AFTER: Duration = Duration::from_secs(10);
/// How long the last word of a stream may wait for its reader.
const FAREWELL: Duration = Duration::from_secs(1);
/// The most torrents, and the most jobs, of a snapshot.
const SNAPSHOT_MAX: usize = 1000;
/// Bytes of the torrents of a snapshot, and of its jobs.
const SNAPSHOT_LEN_MAX: usize = page::LIST_LEN_MAX / 2;

type Sender = mpsc::Sender<Result<api::WatchEventsResponse, Status>>;

/// What a reader wants to hear of.
#[derive(Clone, Debug, Default)]
struct Filter {
    torrent: Option<InfoHash>,
    /// None = all.
    kinds: BTreeSet<i32>,
}

/// Begins to follow.
pub(super) async fn watch(
    this: &Context,
    request: api::WatchEventsRequest,
) -> Result<Replies<api::WatchEventsResponse>, Refusal> {
    let filter = filter(this, &request).await?;
    let (replies, stream) = mpsc::channel(REPLIES_MAX);
    let subscription = match request.after_revision {
        Some(revision) => resume(this, &request.epoch, revision)?,
        None => {
            let (revision, snapshot) = snapshot(this, filter.torrent).await?;
            let first = message(this, revision, Item::Snapshot(snapshot));
            // The channel is new and holds more than one.
            let _ = replies.try_send(Ok(first));
            resume(this, this.events.epoch(), revision)?
        }
    };
    tokio::spawn(run(this.clone(), filter, subscription, replies));
    Ok(ReceiverStream::new(stream))
}

async fn filter(this: &Context, request: &api::WatchEventsRequest) -> Result<Filter, Refusal> {
    for &kind in &request.kinds {
        match api::EventKind::try_from(kind) {
            Ok(api::EventKind::Unspecified) | Err(_) => {
                return Err(Refusal::field("kinds", format!("{kind} is no kind of event")));
            }
            Ok(_) => {}
        }
    }
    let torrent = match (request.torrent.as_str(), &this.tracker, &this.session) {
        ("", _, _) => None,
        (selector, Some(tracker), None) => Some(tracker::select(tracker, selector)?),
        (selector, _, _) => Some(this.find(selector.to_owned()).await?.info_hash()),
    };
    Ok(Filter { torrent, kinds: request.kinds.iter().copied().collect() })
}

fn resume(this: &Context, epoch: &str, revision: u64) -> Result<Subscription, Refusal> {
    let current = this.events.epoch().to_owned();
    this.events.resume_after(epoch, revision).map_err(|error| {
        let refusal = Refusal::new(Reason::RevisionGone, error.to_string()).with("epoch", current);
        match error {
            ResumeError::OtherEpoch => refusal,
            ResumeError::TooOld { oldest, .. } => refusal.with("oldest", oldest),
            ResumeError::Ahead { last, .. } => refusal.with("last", last),
        }
    })
}

/// How things stand, and the revision at which they do.
async fn snapshot(this: &Context, only: Option<InfoHash>) -> Result<(u64, api::Snapshot), Refusal> {
    let Some(session) = &this.session else {
        return Ok((this.events.revision(), api::Snapshot::default()));
    };
    let events = this.events.clone();
    let look = move |session: &Session| (events.revision(), Known::all(session), session.jobs());
    let (revision, torrents, jobs) = session.query(look).await?;
    let wanted = |hash: Option<InfoHash>| only.is_none() || only == hash;
    let torrents = torrents.iter().filter(|known| wanted(Some(known.info_hash())));
    let mut messages = Vec::new();
    for known in torrents.take(SNAPSHOT_MAX) {
        messages.push(this.message(known).await?);
    }
    let now = session.facts().clock.now();
    let jobs = jobs.iter().filter(|view| view.ended.is_none() && wanted(view.info_hash));
    let mut jobs = jobs.map(|view| job(view, now)).peekable();
    let torrents = page::fill(&mut messages.into_iter().peekable(), SNAPSHOT_MAX, SNAPSHOT_LEN_MAX);
    let jobs = page::fill(&mut jobs, SNAPSHOT_MAX, SNAPSHOT_LEN_MAX);
    Ok((revision, api::Snapshot { torrents, jobs }))
}

async fn run(this: Context, filter: Filter, mut subscription: Subscription, replies: Sender) {
    let end = tokio::select! {
        biased;
        // Nobody reads any more.
        () = replies.closed() => return,
        () = this.ending.cancelled() => None,
        end = pass_on(&this, &filter, &mut subscription, &replies) => end,
    };
    let (revision, epoch) = (subscription.revision(), this.events.epoch());
    let refusal = match end {
        Some(SubscriptionEnd::Lagged { .. }) => {
            let message = "the reader was too slow for the stream; take up with a new snapshot";
            Refusal::new(Reason::SlowReader, message)
        }
        Some(SubscriptionEnd::Closed) | None => {
            Refusal::new(Reason::ShuttingDown, "the node is shutting down")
        }
    };
    let refusal = refusal.with("revision", revision).with("epoch", epoch);
    // A reader that does not read misses it.
    let _ = timeout(FAREWELL, replies.send(Err(refusal.into()))).await;
}

/// Sends event after event, until there are no more. None where the reader went away.
async fn pass_on(
    this: &Context,
    filter: &Filter,
    subscription: &mut Subscription,
    replies: &Sender,
) -> Option<SubscriptionEnd> {
    loop {
        let item = match timeout(IDLE_AFTER, wanted(filter, subscription)).await {
            Ok(Ok(event)) => Item::Event(event_message(this, &event).await),
            Ok(Err(end)) => return Some(end),
            Err(_) => Item::Idle(api::IdleMark {}),
        };
        let message = message(this, subscription.revision(), item);
        if replies.send(Ok(message)).await.is_err() {
            return None;
        }
    }
}

/// The next event that the reader wants. Dropping the future loses nothing.
async fn wanted(
    filter: &Filter,
    subscription: &mut Subscription,
) -> Result<Arc<NodeEvent>, SubscriptionEnd> {
    loop {
        let event = subscription.next().await?;
        let kind: i32 = event_kind(event.kind).into();
        let of_kind = filter.kinds.is_empty() || filter.kinds.contains(&kind);
        if of_kind && (filter.torrent.is_none() || filter.torrent == event.info_hash) {
            return Ok(event);
        }
    }
}

fn message(this: &Context, revision: u64, item: Item) -> api::WatchEventsResponse {
    let epoch = this.events.epoch().to_owned();
    api::WatchEventsResponse { epoch, revision, item: Some(item) }
}

async fn event_message(this: &Context, event: &NodeEvent) -> api::Event {
    use api::event::Detail as Message;
    let detail = match &event.detail {
        Detail::None => None,
        Detail::Torrent(view) => {
            // A torrent that was just removed has no place.
            let location = this.location(view.id).await.unwrap_or_default();
            Some(Message::Torrent(torrent(view, location)))
        }
        Detail::Quest(view) => Some(Message::Torrent(quest(view))),
        Detail::Chunks(change) => Some(Message::Chunks(chunks(change))),
        Detail::Peer(news) => Some(Message::Peer(api::PeerChange {
            peer: Some(address(news.addr)),
            peer_id: news.peer_id.to_string(),
            reason: news.reason.clone(),
        })),
        Detail::Job(view) => {
            let now = this.session.as_ref().map(|session| session.facts().clock.now());
            Some(Message::Job(job(view, now.unwrap_or(view.began))))
        }
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

fn event_kind(kind: EventKind) -> api::EventKind {
    match kind {
        EventKind::Torrent => api::EventKind::Torrent,
        EventKind::Chunk => api::EventKind::Chunk,
        EventKind::Peer => api::EventKind::Peer,
        EventKind::Tracker => api::EventKind::Tracker,
        EventKind::Policy => api::EventKind::Policy,
        EventKind::Job => api::EventKind::Job,
        EventKind::Merge => api::EventKind::Merge,
        EventKind::Disk => api::EventKind::Disk,
    }
}
