//! Events of a node that outlast its connections: [`watch_with_resume`]. Never here: what an event
//! means.

use std::{
    fmt,
    future::Future,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep_until};
use tonic::{
    Code, Status, Streaming,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, Bytes, StdError},
};
use tonic_types::StatusExt as _;

use crate::{
    ERROR_DOMAIN,
    client::REPLY_LEN_MAX,
    v1::{
        self, WatchEventsRequest, WatchEventsResponse, node_service_client::NodeServiceClient,
        watch_events_response::Item,
    },
};

/// The pause before the second try; about doubled with each, up to [`PAUSE_MAX`].
pub const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
pub const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What [`Watch::next`] tells.
#[derive(Clone, Debug)]
pub enum News {
    /// Everything as it stands, whole: what was known before is to be forgotten. The first news,
    /// unless the request said where to take up, and again wherever events were missed.
    Snapshot {
        /// The torrents and the running jobs, of all messages of the snapshot.
        snapshot: v1::Snapshot,
        /// Why there is another one; none at the first.
        gap: Option<Gap>,
    },
    /// Something happened.
    Event(Box<v1::Event>),
    /// Nothing happened for ten seconds: what is known is up to date.
    Idle,
    /// The stream is gone. It is taken up again after the pause; nothing has to be done, and nothing
    /// is missed unless a snapshot with a [`Gap`] follows.
    Lost {
        /// Why.
        cause: Status,
        /// Until the next try.
        pause: Duration,
    },
}

/// Why events were missed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    /// The node was started anew, and begins to count anew.
    Restarted,
    /// It no longer keeps what followed: the reader was away for too long, or too slow.
    Missed {
        /// The last revision that was read.
        after: u64,
        /// The oldest that the node keeps.
        oldest: u64,
    },
}

/// Where a reader is. Kept and put into a [`WatchEventsRequest`] (`epoch`, `after_revision`), it lets
/// another process take up here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// Of the node's start.
    pub epoch: String,
    /// Of the last message that was read.
    pub revision: u64,
}

/// A reader of events that connects again and again. Made by [`watch_with_resume`].
pub struct Watch<C> {
    connect: C,
    request: WatchEventsRequest,
    position: Option<Position>,
    stream: Option<Streaming<WatchEventsResponse>>,
    /// What came of a snapshot of which more follows.
    partial: Option<v1::Snapshot>,
    gap: Option<Gap>,
    /// No try before that.
    rest_until: Option<Instant>,
    /// Tries in a row that led to no message.
    failures: u32,
}

/// Follows the events of a node, over whatever happens to its connections.
///
/// `connect` makes a connection, and is called again whenever the stream is lost: with
/// [`Connect`](crate::client::Connect), or with a clone of a channel that connects by itself. The stream is taken up where it was lost; where the node no
/// longer keeps what followed, or was started anew, a snapshot begins it anew and says so.
///
/// `request` says of what to hear. With its `epoch` and `after_revision` the first try takes up there.
///
/// Tries go on for ever, the pauses between them growing from [`PAUSE_MIN`] to [`PAUSE_MAX`]: dropping
/// the [`Watch`] ends them.
///
/// ```no_run
/// use shoal::{client::Connect, v1, watch::{News, watch_with_resume}};
///
/// # async fn follow() -> Result<(), tonic::Status> {
/// let request = v1::WatchEventsRequest {
///     kinds: vec![v1::EventKind::Torrent.into(), v1::EventKind::Merge.into()],
///     ..Default::default()
/// };
/// let to_node = || Connect::to("unix:///run/shoal/shoald.sock").connect();
/// let mut watch = watch_with_resume(to_node, request);
/// loop {
///     match watch.next().await? {
///         News::Snapshot { snapshot, gap } => println!("{} torrents {gap:?}", snapshot.torrents.len()),
///         News::Event(event) => println!("{} {}", event.what, event.message),
///         News::Idle => {}
///         News::Lost { cause, pause } => eprintln!("{cause}; again in {pause:?}"),
///     }
/// }
/// # }
/// ```
#[must_use]
pub fn watch_with_resume<C>(connect: C, request: WatchEventsRequest) -> Watch<C> {
    let epoch = request.epoch.clone();
    let position = request.after_revision.map(|revision| Position { epoch, revision });
    Watch {
        connect,
        request,
        position,
        stream: None,
        partial: None,
        gap: None,
        rest_until: None,
        failures: 0,
    }
}

impl<C, F, S, E> Watch<C>
where
    C: FnMut() -> F,
    F: Future<Output = Result<S, E>>,
    S: GrpcService<Body>,
    S::Error: Into<StdError>,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    E: fmt::Display,
{
    /// What happens next. Waits for ever where nothing does. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What another try cannot change: the request is malformed, its torrent is unknown, the caller
    /// is not allowed to, the node has no such method. Everything else is [`News::Lost`].
    pub async fn next(&mut self) -> Result<News, Status> {
        loop {
            if let Some(until) = self.rest_until {
                sleep_until(until).await;
                self.rest_until = None;
            }
            let message = match &mut self.stream {
                Some(stream) => stream.message().await,
                None => match self.open().await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        continue;
                    }
                    Err(cause) => Err(cause),
                },
            };
            let news = match message {
                Ok(Some(message)) => self.read(message),
                // A node never ends the stream so; what stands between may.
                Ok(None) => Some(self.lost(Status::unavailable("the stream ended"))),
                Err(cause) if cause.code() == Code::OutOfRange && self.position.is_some() => {
                    self.begin_anew(&cause);
                    None
                }
                Err(cause) if is_final(cause.code()) => return Err(cause),
                Err(cause) => Some(self.lost(cause)),
            };
            if let Some(news) = news {
                return Ok(news);
            }
        }
    }

    /// The same as a stream, which ends behind an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<News, Status>> {
        stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            let news = watch.next().await;
            let watch = news.is_ok().then_some(watch);
            Some((news, watch))
        })
    }

    async fn open(&mut self) -> Result<Streaming<WatchEventsResponse>, Status> {
        let channel = (self.connect)().await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = NodeServiceClient::new(channel).max_decoding_message_size(REPLY_LEN_MAX);
        let mut request = self.request.clone();
        request.after_revision = self.position.as_ref().map(|position| position.revision);
        request.epoch = self.position.as_ref().map(|it| it.epoch.clone()).unwrap_or_default();
        Ok(client.watch_events(request).await?.into_inner())
    }
}

impl<C> Watch<C> {
    /// Where the reader is; none before anything was read.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// What a message says. None: more has to come first.
    fn read(&mut self, message: WatchEventsResponse) -> Option<News> {
        self.failures = 0;
        let WatchEventsResponse { epoch, revision, item } = message;
        let news = match item {
            Some(Item::Snapshot(part)) => {
                let more = part.more;
                let whole = self.partial.get_or_insert_default();
                whole.torrents.extend(part.torrents);
                whole.jobs.extend(part.jobs);
                if more {
                    // Not taken up here: a snapshot is read whole or not at all.
                    return None;
                }
                let snapshot = self.partial.take().unwrap_or_default();
                Some(News::Snapshot { snapshot, gap: self.gap.take() })
            }
            Some(Item::Event(event)) => Some(News::Event(Box::new(event))),
            Some(Item::Idle(_)) => Some(News::Idle),
            // Of a later version.
            None => None,
        };
        self.position = Some(Position { epoch, revision });
        news
    }

    fn lost(&mut self, cause: Status) -> News {
        (self.stream, self.partial) = (None, None);
        let pause = pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.rest_until = Some(Instant::now() + pause);
        News::Lost { cause, pause }
    }

    /// What follows the position is gone.
    fn begin_anew(&mut self, cause: &Status) {
        (self.stream, self.partial) = (None, None);
        let Some(position) = self.position.take() else { return };
        let details = cause.get_error_details();
        let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let metadata = |key: &str| info.and_then(|info| info.metadata.get(key));
        let same_epoch = metadata("epoch").is_some_and(|epoch| *epoch == position.epoch);
        let oldest = metadata("oldest").and_then(|oldest| oldest.parse().ok());
        self.gap = Some(match oldest {
            Some(oldest) if same_epoch => Gap::Missed { after: position.revision, oldest },
            Some(_) | None => Gap::Restarted,
        });
    }
}

impl<C> fmt::Debug for Watch<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("position", &self.position).finish_non_exhaustive()
    }
}

/// Whether another try would end the same way.
fn is_final(code: Code) -> bool {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Unauthenticated
        | Code::OutOfRange => true,
        // Also of what stands between: a proxy that restarts, a connection that breaks.
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => false,
    }
}

/// The pause after so many tries in a row: a random part of it, half at least, so that readers who
/// lost the same node do not come back all at once.
fn pause(failures: u32) -> Duration {
    let most = PAUSE_MIN.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
    let part = RandomState::new().hash_one(failures) % 1000;
    most / 2 + most / 2 * u32::try_from(part).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_are_never_none() {
        for failures in [0, 1, 5, 10, 11, u32::MAX] {
            let most = PAUSE_MIN.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
            let pause = pause(failures);
            assert!(most / 2 <= pause && pause <= most, "{pause:?} after {failures}");
        }
    }

    #[test]
    fn a_snapshot_in_parts_is_told_whole_and_not_taken_up_in_the_middle() {
        let mut watch = watch_with_resume((), WatchEventsRequest::default());
        let part = |name: &str, more| WatchEventsResponse {
            epoch: "e".to_owned(),
            revision: 7,
            item: Some(Item::Snapshot(v1::Snapshot {
                torrents: vec![v1::Torrent { name: name.to_owned(), ..Default::default() }],
                jobs: Vec::new(),
                more,
            })),
        };
        assert!(watch.read(part("lost", true)).is_none());
        assert!(matches!(watch.lost(Status::unavailable("")), News::Lost { .. }));
        assert!(watch.read(part("a", true)).is_none());
        assert_eq!(watch.position(), None);
        let Some(News::Snapshot { snapshot, gap: None }) = watch.read(part("b", false)) else {
            panic!("no snapshot")
        };
        let names = snapshot.torrents.iter().map(|torrent| torrent.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(watch.position().map(|it| it.revision), Some(7));
    }

    #[test]
    fn only_what_another_try_may_change_is_tried_again() {
        assert!(is_final(Code::PermissionDenied) && is_final(Code::NotFound));
        assert!(!is_final(Code::Unavailable) && !is_final(Code::ResourceExhausted));
    }
}
