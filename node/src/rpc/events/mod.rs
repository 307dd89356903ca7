//! `WatchEvents`: a snapshot, then every change; taken up where a reader left off; ended with a
//! reason, never silently. A reader is a place in the hub's ring: one that does not read costs
//! nothing but that, and is told so once the ring has passed it.
//!
//! - `service`: what is sent was encoded once, for all readers
//! - `message`: events as messages

mod message;
mod service;

use std::{collections::BTreeSet, collections::VecDeque, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use prost::Message as _;
use shoal::v1::{self as api, watch_events_response::Item};
use shoal_core::{ids::InfoHash, session::Session};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tonic::Status;

use self::message::{encoded, event_kind};
pub(super) use self::service::NodeRoutes;
use super::{
    context::{Context, Known},
    message::job,
    page,
    status::{Reason, Refusal},
    tracker,
};
use crate::session::event_hub::{ResumeError, Subscription, SubscriptionEnd};

/// Readers at once: each takes up to what its HTTP/2 stream may hold unsent, some 100 KiB.
pub const READERS_MAX: usize = 1024;
/// Silence after which a mark says that the reader is up to date.
const IDLE_AFTER: Duration = Duration::from_secs(10);
/// The most torrents, and the most jobs, of one message of a snapshot.
const SNAPSHOT_MAX: usize = 1000;
/// Bytes of the torrents of one message of a snapshot, and of its jobs.
const SNAPSHOT_LEN_MAX: usize = page::LIST_LEN_MAX / 2;

/// Replies on their way, encoded.
pub(super) type Encoded = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// What a reader wants to hear of.
#[derive(Clone, Debug, Default)]
struct Filter {
    torrent: Option<InfoHash>,
    /// None = all.
    kinds: BTreeSet<i32>,
}

/// A reader.
struct Reader {
    context: Context,
    filter: Filter,
    /// What is left of the snapshot.
    snapshot: VecDeque<Bytes>,
    subscription: Subscription,
    /// The last word was said.
    over: bool,
    _place: OwnedSemaphorePermit,
}

/// Begins to follow.
async fn watch(this: &Context, request: api::WatchEventsRequest) -> Result<Encoded, Refusal> {
    let filter = filter(this, &request).await?;
    let place = this.readers.clone().try_acquire_owned().map_err(|_| {
        let message = format!("{READERS_MAX} readers follow the events already");
        Refusal::new(Reason::TooManyReaders, message).with("limit", READERS_MAX)
    })?;
    let (snapshot, subscription) = match request.after_revision {
        Some(revision) => (VecDeque::new(), resume(this, &request.epoch, revision)?),
        None => {
            let (revision, snapshot) = snapshot(this, filter.torrent).await?;
            (snapshot, resume(this, this.events.epoch(), revision)?)
        }
    };
    let context = this.clone();
    let reader = Reader { context, filter, snapshot, subscription, over: false, _place: place };
    Ok(Box::pin(stream::unfold(reader, async |mut reader| Some((reader.next().await?, reader)))))
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
    this.events.resume_after(epoch, revision).map_err(|error| {
        let oldest = match error {
            ResumeError::OtherEpoch { oldest }
            | ResumeError::TooOld { oldest, .. }
            | ResumeError::Ahead { oldest, .. } => oldest,
        };
        Refusal::new(Reason::RevisionGone, error.to_string())
            .with("oldest", oldest)
            .with("last", this.events.revision())
            .with("epoch", this.events.epoch())
    })
}

/// How things stand, as the messages that say so, and the revision at which they do.
async fn snapshot(
    this: &Context,
    only: Option<InfoHash>,
) -> Result<(u64, VecDeque<Bytes>), Refusal> {
    let Some(session) = &this.session else {
        let revision = this.events.revision();
        return Ok((revision, sent(this, revision, pages(Vec::new(), Vec::new()))));
    };
    let events = this.events.clone();
    let look = move |session: &Session| (events.revision(), Known::all(session), session.jobs());
    let (revision, mut torrents, mut jobs) = session.query(look).await?;
    torrents.retain(|known| only.is_none_or(|only| only == known.info_hash()));
    jobs.retain(|view| view.ended.is_none() && (only.is_none() || view.info_hash == only));
    let now = session.facts().clock.now();
    let jobs = jobs.iter().map(|view| job(view, now)).collect();
    let pages = pages(this.messages(&torrents).await?, jobs);
    Ok((revision, sent(this, revision, pages)))
}

fn sent(this: &Context, revision: u64, pages: Vec<api::Snapshot>) -> VecDeque<Bytes> {
    pages.into_iter().map(|page| reply(this, revision, Item::Snapshot(page))).collect()
}

/// A snapshot in parts of bounded length, at least one.
fn pages(torrents: Vec<api::Torrent>, jobs: Vec<api::Job>) -> Vec<api::Snapshot> {
    let (mut torrents, mut jobs) = (torrents.into_iter().peekable(), jobs.into_iter().peekable());
    let mut pages = Vec::new();
    loop {
        let mut page = api::Snapshot {
            torrents: page::fill(&mut torrents, SNAPSHOT_MAX, SNAPSHOT_LEN_MAX),
            jobs: page::fill(&mut jobs, SNAPSHOT_MAX, SNAPSHOT_LEN_MAX),
            more: false,
        };
        page.more = torrents.peek().is_some() || jobs.peek().is_some();
        let more = page.more;
        pages.push(page);
        if !more {
            return pages;
        }
    }
}

impl Reader {
    /// What is to be sent next, once it is there; none behind the last word.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        if self.over {
            return None;
        }
        if let Some(page) = self.snapshot.pop_front() {
            return Some(Ok(page));
        }
        let event = timeout(IDLE_AFTER, wanted(&self.filter, &mut self.subscription));
        let end = tokio::select! {
            biased;
            () = self.context.ending.cancelled() => None,
            event = event => match event {
                Ok(Ok(event)) => return Some(Ok(event)),
                Ok(Err(end)) => Some(end),
                Err(_) => {
                    let revision = self.subscription.revision();
                    return Some(Ok(reply(&self.context, revision, Item::Idle(api::IdleMark {}))));
                }
            },
        };
        self.over = true;
        Some(Err(self.last_word(end)))
    }

    fn last_word(&self, end: Option<SubscriptionEnd>) -> Status {
        let refusal = match end {
            Some(SubscriptionEnd::Lagged { .. }) => {
                let message = "the reader was too slow for the stream; take up with a new snapshot";
                Refusal::new(Reason::SlowReader, message)
            }
            Some(SubscriptionEnd::Closed) | None => {
                Refusal::new(Reason::ShuttingDown, "the node is shutting down")
            }
        };
        let revision = self.subscription.revision();
        refusal.with("revision", revision).with("epoch", self.context.events.epoch()).into()
    }
}

/// The next event that the reader wants, encoded. Dropping the future loses nothing.
async fn wanted(
    filter: &Filter,
    subscription: &mut Subscription,
) -> Result<Bytes, SubscriptionEnd> {
    loop {
        let event = subscription.next().await?;
        let kind: i32 = event_kind(event.kind).into();
        let of_kind = filter.kinds.is_empty() || filter.kinds.contains(&kind);
        if of_kind && (filter.torrent.is_none() || filter.torrent == event.info_hash) {
            return Ok(encoded(&event, subscription.epoch()));
        }
    }
}

fn reply(this: &Context, revision: u64, item: Item) -> Bytes {
    let epoch = this.events.epoch().to_owned();
    api::WatchEventsResponse { epoch, revision, item: Some(item) }.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torrents(count: usize, name_len: usize) -> Vec<api::Torrent> {
        let torrent = api::Torrent { name: "x".repeat(name_len), ..Default::default() };
        vec![torrent; count]
    }

    fn parts(torrents: Vec<api::Torrent>, jobs: usize) -> Vec<(usize, usize, bool)> {
        let pages = pages(torrents, vec![api::Job { id: 1, ..Default::default() }; jobs]);
        assert!(pages.iter().all(|page| page.encoded_len() < 4 << 20));
        pages.iter().map(|page| (page.torrents.len(), page.jobs.len(), page.more)).collect()
    }

    #[test]
    fn a_snapshot_comes_in_as_many_parts_as_it_needs() {
        assert_eq!(parts(Vec::new(), 0), [(0, 0, false)]);
        assert_eq!(parts(torrents(1000, 9), 3), [(1000, 3, false)]);
        let many = [(1000, 1000, true), (1000, 1, true), (1, 0, false)];
        assert_eq!(parts(torrents(2001, 9), 1001), many);
        let long = parts(torrents(20, 200_000), 0);
        assert!(long.len() > 1 && long.iter().map(|part| part.0).sum::<usize>() == 20, "{long:?}");
        assert!(long.iter().rev().skip(1).all(|part| part.2) && !long.last().unwrap().2);
    }
}
