//! What the peer sockets report, and the outbox in which a connection gathers it. Never here: what
//! follows from it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use shoal_core::{
    ids::{ConnId, LeaseId, PieceIndex, TorrentId},
    session::{Event, event::LeaseEnd, fault::CloseCause},
    wire::Message,
};
use tokio::sync::mpsc;

use super::buffer::ExtentBuffer;

/// A fact about peers, with the memory that travels with it.
///
/// Of one connection they come in order: `Incoming` or `Dialled` first, `Closed` last, after a
/// [`LeaseEnded`](Self::LeaseEnded) for every lease. A failed dial is one `DialFailed`.
#[derive(Debug)]
pub enum NetEvent {
    /// Anything without a buffer, for the core as it stands.
    Core(Event),
    /// [`Event::ExtentReceived`], and the buffer, which is full.
    ExtentReceived {
        /// From whom.
        conn: ConnId,
        /// Which.
        lease: LeaseId,
        /// All bytes of the extent.
        buffer: ExtentBuffer,
    },
    /// [`Event::LeaseEnded`], and the buffer with what is in it.
    LeaseEnded {
        /// Whose.
        conn: ConnId,
        /// Which.
        lease: LeaseId,
        /// For the next lease of the extent; [`ExtentBuffer::filled_bytes`] is `filled`.
        buffer: ExtentBuffer,
        /// Why it ended.
        end: LeaseEnd,
    },
    /// A file is not what it was when its pieces were verified, or cannot be read.
    SourceChanged {
        /// The torrent.
        torrent: TorrentId,
        /// The piece that was to be served.
        piece: PieceIndex,
        /// What happened, for a person.
        cause: String,
    },
}

/// Reports of a connection on their way to the session: gathered during a turn, sent at its end.
#[derive(Debug)]
pub(super) struct Outbox {
    conn: ConnId,
    queue: VecDeque<NetEvent>,
    wasted: u64,
    uploaded: u64,
    totals_at: Instant,
}

/// Beyond this many unsent reports a connection stops reading until the session has caught up. The
/// session never waits for a connection, so this ends.
const UNSENT_MAX: usize = 256;
/// Progress is reported at most this often, or every [`REPORT_BYTES`] (§5 of the design).
pub(crate) const REPORT_EVERY: Duration = Duration::from_millis(200);
/// Progress is reported whenever it is this many bytes.
pub(crate) const REPORT_BYTES: u64 = 256 * 1024;

impl Outbox {
    pub(super) fn new(conn: ConnId, now: Instant) -> Self {
        Self { conn, queue: VecDeque::new(), wasted: 0, uploaded: 0, totals_at: now }
    }

    pub(super) fn push(&mut self, event: NetEvent) {
        self.queue.push_back(event);
    }

    pub(super) fn message(&mut self, message: Message) {
        self.push(NetEvent::Core(Event::MessageReceived { conn: self.conn, message }));
    }

    pub(super) fn wasted(&mut self, bytes: u64) {
        self.wasted += bytes;
    }

    pub(super) fn uploaded(&mut self, bytes: u64) {
        self.uploaded += bytes;
    }

    /// Uploaded bytes that are not reported yet.
    pub(super) fn unreported_uploads(&self) -> u64 {
        self.uploaded
    }

    /// Whether the session is so far behind that reading has to stop.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= UNSENT_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When totals have to be reported, where there are any.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.wasted + self.uploaded > 0).then(|| self.totals_at + REPORT_EVERY)
    }

    /// Queues the totals if they are large enough or old enough.
    pub(super) fn tally(&mut self, now: Instant) {
        let total = self.wasted + self.uploaded;
        if total >= REPORT_BYTES || self.due().is_some_and(|due| due <= now) {
            self.tally_all(now);
        }
    }

    /// Queues the totals.
    pub(super) fn tally_all(&mut self, now: Instant) {
        let conn = self.conn;
        let wasted = std::mem::take(&mut self.wasted);
        if wasted > 0 {
            self.push(NetEvent::Core(Event::Wasted { conn, bytes: wasted }));
        }
        let uploaded = std::mem::take(&mut self.uploaded);
        if uploaded > 0 {
            self.push(NetEvent::Core(Event::Uploaded { conn, bytes: uploaded }));
        }
        self.totals_at = now;
    }

    /// Queues the last report of the connection.
    pub(super) fn closed(&mut self, cause: CloseCause) {
        self.push(NetEvent::Core(Event::Closed { conn: self.conn, cause }));
    }

    /// Sends as much as the session's inbox takes. `false` where there is no session any more.
    pub(super) fn flush(&mut self, room: &mut Room) -> bool {
        while let Some(event) = self.queue.pop_front() {
            if let Some(permit) = room.permit.take() {
                permit.send(event);
                continue;
            }
            match room.inbox.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.queue.push_front(event);
                    return true;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
        }
        // A place in the queue for room would keep others waiting.
        room.waiting = None;
        true
    }

    /// Sends everything, waiting for the session.
    pub(super) async fn drain(mut self, inbox: &mpsc::Sender<NetEvent>) {
        while let Some(event) = self.queue.pop_front() {
            if inbox.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Waits for room in the session's inbox, and keeps it until it is used: room that was given back
/// would go to the next in the queue, and two connections could pass it on for ever.
pub(super) struct Room {
    inbox: mpsc::Sender<NetEvent>,
    permit: Option<Permit>,
    waiting: Option<Pin<Box<dyn Future<Output = Option<Permit>> + Send>>>,
}

type Permit = mpsc::OwnedPermit<NetEvent>;

impl Room {
    pub(super) fn new(inbox: mpsc::Sender<NetEvent>) -> Self {
        Self { inbox, permit: None, waiting: None }
    }

    /// Ready when an event can be sent, or nobody receives any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let inbox = &self.inbox;
        let waiting = self.waiting.get_or_insert_with(|| {
            let inbox = inbox.clone();
            Box::pin(async move { inbox.reserve_owned().await.ok() })
        });
        let Poll::Ready(permit) = waiting.as_mut().poll(cx) else { return Poll::Pending };
        self.permit = permit;
        self.waiting = None;
        Poll::Ready(())
    }
}
