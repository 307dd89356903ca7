//! What every service stands on: the handles of the node's rooms, what does not change, and the
//! words for when the node ends. One value implements every service of `shoal.v1`.

use std::{
    collections::BTreeSet,
    future::Future,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime},
};

use shoal::v1 as api;
use shoal_core::{
    ids::{InfoHash, TorrentId},
    session::{
        Session,
        command::{Command, CommandError, Done},
        view::{QuestView, TorrentView},
    },
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use tracing::Instrument as _;

use super::{
    calls::Calls,
    gate::Caller,
    message,
    roots::{ShareRoots, Via},
    select,
    status::{Reason, Refusal},
};
use crate::{
    auth::tokens::Tokens,
    policy_host::workbench::Workbench,
    session::{
        event_hub::EventHub,
        handle::{Gone, SessionHandle, TorrentPlace},
    },
    simulation::place::Place,
    tracker::TrackerServer,
};

/// The node as the services see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context(Arc<Rooms>);

/// The rooms of a node, and what they do not know of each other.
#[derive(Debug)]
pub struct Rooms {
    /// The peer role.
    pub session: Option<SessionHandle>,
    /// The tracker role.
    pub tracker: Option<Arc<TrackerServer>>,
    /// The torrents that the tracker is limited to.
    pub only: Option<BTreeSet<InfoHash>>,
    /// Where events are told.
    pub events: EventHub,
    /// When the node started.
    pub started_at: SystemTime,
    /// The same, for measuring.
    pub started: Instant,
    /// Where the node keeps its state.
    pub state_dir: PathBuf,
    /// The announce URL of its tracker.
    pub announce_url: Option<String>,
    /// Where the control surface listens, as bound.
    pub control: Vec<String>,
    /// Our address where nobody has told one: the one that the machine's default route leaves by.
    pub local_ip: IpAddr,
    /// Who may call.
    pub tokens: Tokens,
    /// What may be shared by callers with a token.
    pub roots: ShareRoots,
    /// Where policies are tried.
    pub workbench: Workbench,
    /// Where swarms are simulated.
    pub simulations: Place,
    /// Places of readers of events.
    pub readers: Arc<Semaphore>,
    /// What is counted of calls.
    pub calls: Calls,
    /// Cancelled when streams have to end.
    pub ending: CancellationToken,
    /// Cancelled when a caller wants the node to end.
    pub shutdown: CancellationToken,
}

impl std::ops::Deref for Context {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.0
    }
}

impl From<Gone> for Refusal {
    fn from(gone: Gone) -> Self {
        Self::new(Reason::ShuttingDown, gone.to_string())
    }
}

impl Context {
    /// The services of these rooms.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self(Arc::new(rooms))
    }

    /// The announce URL of its tracker over UDP, where it serves that.
    #[must_use]
    pub fn udp_announce_url(&self) -> Option<String> {
        self.tracker.as_ref().filter(|tracker| tracker.serves_udp())?;
        Some(format!("udp{}", self.announce_url.as_deref()?.strip_prefix("http")?))
    }

    /// The session, where the node is a peer.
    pub(super) fn peer_role(&self) -> Result<&SessionHandle, Refusal> {
        self.session.as_ref().ok_or_else(|| Refusal::not_in_role("peer"))
    }

    /// The tracker, where the node is one.
    pub(super) fn tracker_role(&self) -> Result<&TrackerServer, Refusal> {
        self.tracker.as_deref().ok_or_else(|| Refusal::not_in_role("tracker"))
    }

    /// Looks at the session and the torrent that `selector` means.
    pub(super) async fn look<R: Send + 'static>(
        &self,
        selector: String,
        look: impl FnOnce(&Session, TorrentView) -> Result<R, Refusal> + Send + 'static,
    ) -> Result<R, Refusal> {
        let found = move |session: &Session| look(session, torrent(session, &selector)?);
        self.peer_role()?.query(found).await?
    }

    /// The torrent that `selector` means.
    pub(super) async fn torrent(&self, selector: String) -> Result<TorrentView, Refusal> {
        self.look(selector, |_, view| Ok(view)).await
    }

    /// The torrent or the magnet link that `selector` means.
    pub(super) async fn find(&self, selector: String) -> Result<Known, Refusal> {
        self.peer_role()?.query(move |session| find(session, &selector)).await?
    }

    /// How a torrent or a magnet link stands, as callers see it.
    pub(super) async fn message(&self, known: &Known) -> Result<api::Torrent, Refusal> {
        match known {
            Known::Torrent(view) => Ok(message::torrent(view, self.location(view.id).await?)),
            Known::Quest(view) => Ok(message::quest(view)),
        }
    }

    /// How torrents and magnet links stand, as callers see them, in their order: one question to the
    /// session for all.
    pub(super) async fn messages(&self, known: &[Known]) -> Result<Vec<api::Torrent>, Refusal> {
        let ids = known.iter().map(Known::id).collect();
        let places = self.peer_role()?.torrent_places(ids).await?.into_iter();
        let message = |(known, place): (&Known, Option<TorrentPlace>)| match known {
            Known::Torrent(view) => message::torrent(view, shown(place)),
            Known::Quest(view) => message::quest(view),
        };
        Ok(known.iter().zip(places).map(message).collect())
    }

    /// The torrent that `selector` means, and our address in it.
    pub(super) async fn torrent_and_self(
        &self,
        selector: String,
    ) -> Result<(TorrentView, SocketAddr), Refusal> {
        let fallback = self.fallback_addr()?;
        self.look(selector, move |session, view| {
            let addr = self_addr(session, view.id, fallback);
            Ok((view, addr))
        })
        .await
    }

    /// Our address in a torrent.
    pub(super) async fn self_addr(&self, torrent: TorrentId) -> Result<SocketAddr, Refusal> {
        let fallback = self.fallback_addr()?;
        let look = move |session: &Session| self_addr(session, torrent, fallback);
        Ok(self.peer_role()?.query(look).await?)
    }

    /// Carries out a command that the session answers.
    pub(super) async fn command(&self, command: Command) -> Result<Done, Refusal> {
        Ok(self.peer_role()?.command(command).await?)
    }

    /// Where a torrent's data is; empty where nobody knows.
    pub(super) async fn location(&self, torrent: TorrentId) -> Result<String, Refusal> {
        Ok(shown(self.peer_role()?.torrent_place(torrent).await?))
    }

    /// Where we listen, with an address that somebody else could use.
    pub(super) fn fallback_addr(&self) -> Result<SocketAddr, Refusal> {
        let addr = self.peer_role()?.facts().listen_addr;
        let ip = if addr.ip().is_unspecified() { self.local_ip } else { addr.ip() };
        Ok((ip, addr.port()).into())
    }
}

/// What a selector may mean.
pub(super) enum Known {
    /// A torrent.
    Torrent(Box<TorrentView>),
    /// A magnet link whose metadata is looked for.
    Quest(QuestView),
}

impl Known {
    /// Everything there is, in order of name, then info hash.
    pub(super) fn all(session: &Session) -> Vec<Self> {
        let torrents = session.torrents().into_iter().map(|view| Self::Torrent(Box::new(view)));
        let mut all: Vec<_> =
            torrents.chain(session.quests().into_iter().map(Self::Quest)).collect();
        all.sort_by(|a, b| a.key().cmp(&b.key()));
        all
    }

    /// Its name and its info hash.
    pub(super) fn key(&self) -> (&str, InfoHash) {
        match self {
            Self::Torrent(view) => (&view.metainfo.name, view.metainfo.info_hash),
            Self::Quest(view) => (&view.name, view.info_hash),
        }
    }

    /// Its info hash.
    pub(super) fn info_hash(&self) -> InfoHash {
        self.key().1
    }

    /// Its handle.
    pub(super) fn id(&self) -> TorrentId {
        match self {
            Self::Torrent(view) => view.id,
            Self::Quest(view) => view.id,
        }
    }
}

/// What a selector means in this session.
pub(super) fn find(session: &Session, selector: &str) -> Result<Known, Refusal> {
    if let Ok(hash) = selector.parse::<InfoHash>()
        && let Some(view) = session.by_hash(&hash).and_then(|id| session.torrent(id))
    {
        return Ok(Known::Torrent(Box::new(view)));
    }
    select::pick(selector, Known::all(session), Known::key)
}

/// The torrent that a selector means: none where only a magnet link is known of it.
pub(super) fn torrent(session: &Session, selector: &str) -> Result<TorrentView, Refusal> {
    match find(session, selector)? {
        Known::Torrent(view) => Ok(*view),
        Known::Quest(view) => Err(CommandError::MetadataMissing(view.name).into()),
    }
}

/// Our address as others in the torrent know it: the advertised one, else the one that the tracker
/// saw, else the one we listen on.
fn self_addr(session: &Session, torrent: TorrentId, fallback: SocketAddr) -> SocketAddr {
    let identity = session.identity();
    let seen = || {
        let own = session.peer_set(torrent)?.shoal.iter().find(|p| p.id == identity.peer_id)?;
        Some(own.addr.ip())
    };
    let ip = identity.advertise.or_else(seen).unwrap_or(fallback.ip());
    (ip, identity.listen_port).into()
}

fn shown(place: Option<TorrentPlace>) -> String {
    place.map(|place| place.location.display().to_string()).unwrap_or_default()
}

/// What a caller may share from.
pub(super) fn via<T>(request: &Request<T>) -> Via {
    match request.extensions().get::<Caller>() {
        Some(Caller::Owner) => Via::Owner,
        Some(Caller::Token(_)) | None => Via::Token,
    }
}

/// Carries out a mutation in a task of its own: tonic drops the handler of a caller that went
/// away, and nothing may stay half done.
pub(super) async fn owned<R: Send + 'static>(
    work: impl Future<Output = Result<R, Refusal>> + Send + 'static,
) -> Result<R, Status> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(result) => result.map_err(Status::from),
        Err(error) => Err(Refusal::internal(format!("the command was lost: {error}")).into()),
    }
}
