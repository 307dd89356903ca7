//! The event hub: what happened, kept for whoever follows. A ring of the last events and a bell;
//! a subscriber is a place in the ring, so that a slow one costs nothing and is told so when the
//! ring has passed it.
//!
//! Never here: what an event means, or how it is sent.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use shoal_core::{
    ids::{InfoHash, PieceIndex, TorrentId},
    session::{
        notice::PeerNews,
        view::{JobView, QuestView, TorrentView},
    },
    time::Timestamp,
};
use tokio::sync::watch;

use super::settings::Settings;

/// Events kept for those who take up after a revision, and the most a subscriber may lag behind.
pub const EVENTS_KEPT: usize = 8192;
/// The most bytes of the events kept, as [`NodeEvent`] weighs them: all 8 192 of the usual kind, and
/// the last 400 of those that tell of 4 096 chunks.
pub const EVENTS_KEPT_LEN: usize = 16 * 1024 * 1024;
/// The longest message of an event, bytes of UTF-8.
pub const MESSAGE_LEN_MAX: usize = 512;

/// What kind of thing an event is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventKind {
    /// A torrent was added or removed, or changed its state.
    Torrent,
    /// Pieces were verified or lost.
    Chunk,
    /// A peer connected, disconnected, was snubbed, charged or banned.
    Peer,
    /// A tracker answered or failed; a peer joined or left our tracker.
    Tracker,
    /// The policy changed, failed, tripped or recovered.
    Policy,
    /// A job began, moved or ended.
    Job,
    /// A file was merged.
    Merge,
    /// The disk is full or failing, or a file changed under us.
    Disk,
    /// A setting changed: a limit, slots, labels, the log filter.
    Settings,
}

/// An event that is to be told. The hub gives it its revision and its time.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What kind of thing.
    pub kind: EventKind,
    /// What happened, for a program: `verified`, `connected`, … (node.proto, `Event.what`).
    pub what: &'static str,
    /// The torrent of this node that it is about.
    pub torrent: Option<TorrentId>,
    /// The info hash it is about.
    pub info_hash: Option<InfoHash>,
    /// For a person. Made one line, bounded and free of control characters by the hub.
    pub message: String,
    /// Details of that kind.
    pub detail: Detail,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct NodeEvent {
    /// Its revision: one more than that of the event before, from 1.
    pub revision: u64,
    /// When.
    pub at: SystemTime,
    /// What kind of thing.
    pub kind: EventKind,
    /// What happened, for a program.
    pub what: &'static str,
    /// The torrent of this node that it is about.
    pub torrent: Option<TorrentId>,
    /// The info hash it is about.
    pub info_hash: Option<InfoHash>,
    /// One line for a person, free of control characters.
    pub message: String,
    /// Details of that kind.
    pub detail: Detail,
    wire: OnceLock<Bytes>,
}

/// Details of an event.
#[derive(Clone, Debug)]
pub enum Detail {
    /// None.
    None,
    /// The torrent as it stands, and where its data is.
    Torrent(Box<TorrentView>, String),
    /// The magnet link as it stands.
    Quest(Box<QuestView>),
    /// Pieces that changed since the last such event of the torrent.
    Chunks(ChunkChange),
    /// The peer.
    Peer(PeerNews),
    /// The job as it stands at this time.
    Job(Box<JobView>, Timestamp),
    /// The settings as they stand.
    Settings(Box<Settings>),
}

/// Pieces that changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChunkChange {
    /// Now had, at most 4 096, in order.
    pub have: Vec<PieceIndex>,
    /// Lost, at most 4 096, in order.
    pub lost: Vec<PieceIndex>,
    /// Had in all.
    pub chunks_have: u32,
}

/// Where events are told and followed. Cheap to clone; any thread may tell one.
#[derive(Clone)]
pub struct EventHub(Arc<Inner>);

struct Inner {
    epoch: String,
    ring: Mutex<Ring>,
    /// The last revision. The bell of the subscribers.
    bell: watch::Sender<u64>,
}

struct Ring {
    events: VecDeque<Arc<NodeEvent>>,
    /// What they weigh together.
    len: usize,
    /// Of the last event; 0 before the first.
    revision: u64,
    capacity: usize,
    len_max: usize,
    closed: bool,
}

/// A reader of the events.
pub struct Subscription {
    hub: Arc<Inner>,
    bell: watch::Receiver<u64>,
    /// The revision of the next event to be read.
    next: u64,
}

/// Why there is no next event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubscriptionEnd {
    /// The reader is more events behind than are kept.
    #[error("the reader fell {missed} events behind what is kept")]
    Lagged {
        /// Events that are gone.
        missed: u64,
    },
    /// The node has shut down; every event was read.
    #[error("the node has shut down")]
    Closed,
}

/// Why a reader cannot take up where it left off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResumeError {
    /// The node was started anew.
    #[error("the revision belongs to another epoch")]
    OtherEpoch {
        /// The oldest revision that is kept of this epoch.
        oldest: u64,
    },
    /// The events after it are no longer kept.
    #[error("the events after revision {asked} are gone; the oldest kept is {oldest}")]
    TooOld {
        /// What was asked for.
        asked: u64,
        /// The oldest revision that is kept.
        oldest: u64,
    },
    /// It has not happened yet.
    #[error("revision {asked} lies ahead of the last, {last}")]
    Ahead {
        /// What was asked for.
        asked: u64,
        /// The last revision.
        last: u64,
        /// The oldest that is kept.
        oldest: u64,
    },
}

impl EventHub {
    /// A hub of this epoch, which keeps [`EVENTS_KEPT`] events.
    #[must_use]
    pub fn new(epoch: String) -> Self {
        Self::with_capacity(epoch, EVENTS_KEPT, EVENTS_KEPT_LEN)
    }

    fn with_capacity(epoch: String, capacity: usize, len_max: usize) -> Self {
        let events = VecDeque::new();
        let ring = Ring { events, len: 0, revision: 0, capacity, len_max, closed: false };
        let (bell, _) = watch::channel(0);
        Self(Arc::new(Inner { epoch, ring: Mutex::new(ring), bell }))
    }

    /// Random at each start of the node.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// The revision of the last event; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.ring().revision
    }

    /// Tells an event. Never blocks; after the end of the node it is dropped.
    pub fn emit(&self, event: NewEvent) {
        let NewEvent { kind, what, torrent, info_hash, message, detail } = event;
        let message = one_line(&message);
        let at = SystemTime::now();
        let mut ring = self.0.ring();
        if ring.closed {
            return;
        }
        ring.revision += 1;
        let revision = ring.revision;
        let wire = OnceLock::new();
        let event =
            NodeEvent { revision, at, kind, what, torrent, info_hash, message, detail, wire };
        ring.push(event);
        drop(ring);
        self.0.bell.send_replace(revision);
    }

    /// Follows the events from here on. For a snapshot that fits: read [`Self::revision`] in the
    /// same [`query`](super::SessionHandle::query) as the snapshot and take up after it.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        let bell = self.0.bell.subscribe();
        let next = self.0.ring().revision + 1;
        Subscription { hub: self.0.clone(), bell, next }
    }

    /// Follows the events after `revision` of `epoch`.
    ///
    /// # Errors
    /// [`ResumeError`] where some of them are not there to be read.
    pub fn resume_after(&self, epoch: &str, revision: u64) -> Result<Subscription, ResumeError> {
        let bell = self.0.bell.subscribe();
        let ring = self.0.ring();
        if epoch != self.0.epoch {
            return Err(ResumeError::OtherEpoch { oldest: ring.oldest() });
        }
        if revision > ring.revision {
            let (last, oldest) = (ring.revision, ring.oldest());
            return Err(ResumeError::Ahead { asked: revision, last, oldest });
        }
        let oldest = ring.oldest();
        if revision + 1 < oldest {
            return Err(ResumeError::TooOld { asked: revision, oldest });
        }
        drop(ring);
        Ok(Subscription { hub: self.0.clone(), bell, next: revision + 1 })
    }

    /// Ends every subscription once it has read what there is.
    pub(super) fn close(&self) {
        let revision = {
            let mut ring = self.0.ring();
            ring.closed = true;
            ring.revision
        };
        self.0.bell.send_replace(revision);
    }
}

impl fmt::Debug for EventHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventHub").field("epoch", &self.0.epoch).finish_non_exhaustive()
    }
}

impl Subscription {
    /// The next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`SubscriptionEnd`]; every later call says the same.
    pub async fn next(&mut self) -> Result<Arc<NodeEvent>, SubscriptionEnd> {
        loop {
            self.bell.borrow_and_update();
            if let Some(result) = self.try_next() {
                return result;
            }
            if self.bell.changed().await.is_err() {
                return Err(SubscriptionEnd::Closed);
            }
        }
    }

    /// The next event where there is one already.
    pub fn try_next(&mut self) -> Option<Result<Arc<NodeEvent>, SubscriptionEnd>> {
        let ring = self.hub.ring();
        let oldest = ring.oldest();
        if self.next < oldest {
            return Some(Err(SubscriptionEnd::Lagged { missed: oldest - self.next }));
        }
        let index = usize::try_from(self.next - oldest).unwrap_or(usize::MAX);
        match ring.events.get(index) {
            Some(event) => {
                self.next += 1;
                Some(Ok(event.clone()))
            }
            None if ring.closed => Some(Err(SubscriptionEnd::Closed)),
            None => None,
        }
    }

    /// The epoch of what it reads.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.hub.epoch
    }

    /// The revision of the last event read, or after which it began.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.next - 1
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Inner {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing under the lock can leave the ring half changed.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeEvent {
    /// What is sent of it, made by the first who asks and the same for all others.
    pub fn wire(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.wire.get_or_init(|| encode(self)).clone()
    }

    /// About what it takes of memory, bytes, with what is sent of it.
    fn weight(&self) -> usize {
        let chunks = match &self.detail {
            Detail::Chunks(change) => change.have.len() + change.lost.len(),
            Detail::None
            | Detail::Torrent(..)
            | Detail::Quest(_)
            | Detail::Peer(_)
            | Detail::Job(..)
            | Detail::Settings(_) => 0,
        };
        EVENT_WEIGHT + 2 * self.message.len() + CHUNK_WEIGHT * chunks
    }
}

impl Ring {
    /// Keeps an event, and lets go of the oldest beyond the limits.
    fn push(&mut self, event: NodeEvent) {
        self.len += event.weight();
        self.events.push_back(Arc::new(event));
        // The last one stays, whatever it weighs: a subscriber may be about to read it.
        while self.events.len() > 1
            && (self.events.len() > self.capacity || self.len > self.len_max)
            && let Some(oldest) = self.events.pop_front()
        {
            self.len -= oldest.weight();
        }
    }

    /// The revision of the oldest event that is kept, or of the next where none is.
    fn oldest(&self) -> u64 {
        self.revision + 1 - self.events.len() as u64
    }
}

/// What an event takes without its message and its chunks: the views of it are about so large.
const EVENT_WEIGHT: usize = 1024;
/// A chunk's index, and up to five bytes of it on the wire.
const CHUNK_WEIGHT: usize = 9;

/// One line of at most [`MESSAGE_LEN_MAX`] bytes without control characters and without those
/// that turn the direction of the text around.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MESSAGE_LEN_MAX));
    for c in text.chars() {
        let c = match c {
            '\n' | '\r' | '\t' => ' ',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
            c if c.is_control() => '?',
            c => c,
        };
        if line.len() + c.len_utf8() > MESSAGE_LEN_MAX {
            break;
        }
        line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> NewEvent {
        NewEvent {
            kind: EventKind::Torrent,
            what: "added",
            torrent: None,
            info_hash: None,
            message: message.to_owned(),
            detail: Detail::None,
        }
    }

    fn read(subscription: &mut Subscription) -> Vec<u64> {
        std::iter::from_fn(|| subscription.try_next())
            .map_while(Result::ok)
            .map(|event| event.revision)
            .collect()
    }

    #[test]
    fn a_subscriber_sees_what_happens_after_it_came() {
        let hub = EventHub::new("e".into());
        hub.emit(event("before"));
        let mut subscription = hub.subscribe();
        assert!(subscription.try_next().is_none());
        hub.emit(event("after"));
        assert_eq!(read(&mut subscription), [2]);
        assert_eq!((subscription.revision(), hub.revision()), (2, 2));
    }

    #[test]
    fn a_reader_takes_up_where_it_left_off_while_the_events_are_kept() {
        let hub = EventHub::with_capacity("e".into(), 4, usize::MAX);
        for n in 0..10 {
            hub.emit(event(&n.to_string()));
        }
        assert_eq!(read(&mut hub.resume_after("e", 10).unwrap()), [0; 0], "at the last");
        assert_eq!(read(&mut hub.resume_after("e", 6).unwrap()), [7, 8, 9, 10], "at the oldest");
        let too_old = hub.resume_after("e", 5).unwrap_err();
        assert_eq!(too_old, ResumeError::TooOld { asked: 5, oldest: 7 });
        let ahead = hub.resume_after("e", 11).unwrap_err();
        assert_eq!(ahead, ResumeError::Ahead { asked: 11, last: 10, oldest: 7 });
        let other = hub.resume_after("f", 10).unwrap_err();
        assert_eq!(other, ResumeError::OtherEpoch { oldest: 7 });
    }

    #[test]
    fn large_events_push_out_old_ones_before_there_are_many() {
        let of_chunks = |count: u32| {
            let have = (0..count).map(PieceIndex).collect();
            let change = ChunkChange { have, ..ChunkChange::default() };
            NewEvent { detail: Detail::Chunks(change), ..event("") }
        };
        let one = EVENT_WEIGHT + 4096 * CHUNK_WEIGHT;
        let hub = EventHub::with_capacity("e".into(), EVENTS_KEPT, 3 * one);
        for _ in 0..4 {
            hub.emit(of_chunks(4096));
        }
        assert_eq!(read(&mut hub.resume_after("e", 1).unwrap()), [2, 3, 4]);
        hub.emit(event(""));
        let gone = hub.resume_after("e", 1).unwrap_err();
        assert_eq!(gone, ResumeError::TooOld { asked: 1, oldest: 3 });
        hub.emit(of_chunks(10 * 4096));
        assert_eq!(read(&mut hub.resume_after("e", 5).unwrap()), [6], "the last one stays");
        hub.emit(event(""));
        assert_eq!(read(&mut hub.resume_after("e", 6).unwrap()), [7], "and goes with the next");
    }

    #[test]
    fn what_is_sent_of_an_event_is_made_once() {
        let hub = EventHub::new("e".into());
        let (mut first, mut second) = (hub.subscribe(), hub.subscribe());
        hub.emit(event(""));
        let made = first.try_next().unwrap().unwrap().wire(|_| Bytes::from_static(b"once"));
        let again = second.try_next().unwrap().unwrap().wire(|_| Bytes::from_static(b"twice"));
        assert_eq!((&made[..], made.as_ptr()), (&b"once"[..], again.as_ptr()));
    }

    #[test]
    fn a_reader_that_the_ring_has_passed_is_told_and_stays_told() {
        let hub = EventHub::with_capacity("e".into(), 4, usize::MAX);
        let mut subscription = hub.subscribe();
        for _ in 0..4 {
            hub.emit(event(""));
        }
        assert!(matches!(subscription.try_next(), Some(Ok(_))), "as far behind as is kept");
        hub.emit(event(""));
        assert!(matches!(subscription.try_next(), Some(Ok(_))));
        for _ in 0..4 {
            hub.emit(event(""));
        }
        for _ in 0..2 {
            let lagged = SubscriptionEnd::Lagged { missed: 3 };
            assert_eq!(subscription.try_next().unwrap().unwrap_err(), lagged);
        }
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_and_ends_after_the_last_event() {
        let hub = EventHub::new("e".into());
        let mut subscription = hub.subscribe();
        let reader = tokio::spawn(async move {
            let first = subscription.next().await.map(|event| event.message.clone());
            (first, subscription.next().await.map(|event| event.revision))
        });
        tokio::task::yield_now().await;
        hub.emit(event("one\nline\u{1b}[31m"));
        hub.close();
        hub.emit(event("too late"));
        let (first, second) = reader.await.unwrap();
        assert_eq!(first.unwrap(), "one line?[31m");
        assert_eq!(second.unwrap_err(), SubscriptionEnd::Closed);
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(one_line(&"é".repeat(400)).len(), MESSAGE_LEN_MAX);
        assert_eq!(one_line(&format!("a{}", "é".repeat(400))).len(), MESSAGE_LEN_MAX - 1);
        assert_eq!(one_line("a\u{202e}b"), "a?b");
    }
}
