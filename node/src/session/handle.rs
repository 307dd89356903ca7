//! The door to the session: what the control surface may ask of a running node.
//!
//! Everything is a message to the loop or to a room beside it. A mutation that was sent is carried
//! out whether or not its caller still waits: the loop never depends on the receiver.
//! Never here: state, or how anything is done.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

use shoal_core::{
    ids::{InfoHash, JobId, PeerId, PieceIndex, PolicyId, TorrentId},
    metainfo::{MetainfoError, create::Pad},
    policy::Labels,
    session::{
        Chooser, Session,
        command::{Command, CommandError, Done},
        explain::Explained,
    },
};
use shoal_policy::script::Explanation;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    event_hub::EventHub,
    file_globs::{FileGlobs, FilesError},
    inbox::{Inbox, Input},
    job_watch::{JobBeat, JobWatches},
    meters::Meters,
    settings::{Settings, SettingsChange, SettingsOf},
    shutdown::ShutdownReport,
};
use crate::{
    clock::Clock,
    policy_host::{
        PolicyChoice, PolicyHost, PolicyRefusal, PolicySet, PolicyStatus, Role, Scope, ShadowStatus,
    },
};

/// How long an explanation waits for the policy thread.
const EXPLAIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// A handle on the node's session. Cheap to clone; goes stale once the node has shut down.
#[derive(Clone)]
pub struct SessionHandle {
    pub(super) inbox: Inbox,
    pub(super) events: EventHub,
    pub(super) jobs: JobWatches,
    pub(super) policy: PolicyHost,
    pub(super) facts: Arc<NodeFacts>,
    pub(super) meters: Meters,
}

/// What does not change while the node runs.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Our peer id.
    pub peer_id: PeerId,
    /// Where we listen for peers, as bound.
    pub listen_addr: SocketAddr,
    /// Whether peers on the local network are looked for.
    pub local_discovery: bool,
    /// Where merged files go.
    pub downloads_dir: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// Tells time; [`Clock::wall`] turns the core's timestamps into times of day.
    pub clock: Clock,
}

/// The session has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the node is shutting down")]
pub struct Gone;

/// A torrent to be added.
#[derive(Clone, Debug)]
pub struct AddTorrent {
    /// The bytes of its metainfo file.
    pub metainfo: Vec<u8>,
    /// Where its data is, or will be.
    pub source: AddSource,
}

/// Where the data of an added torrent comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AddSource {
    /// Peers: into the chunk memory.
    Download,
    /// The same, but only files that these patterns match are wanted.
    Chosen(FileGlobs),
    /// The operator: complete at this absolute path, a file or the folder that holds the files.
    /// Verified in the background; never written to.
    Seed(PathBuf),
}

/// A torrent was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Added {
    /// Its handle.
    pub id: TorrentId,
    /// Its info hash.
    pub info_hash: InfoHash,
    /// It was there already; nothing was changed.
    pub already: bool,
}

/// Why a torrent was not added. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The metainfo file is none, or one that is refused.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// The patterns do not fit the torrent's files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The data to be seeded is not there, or has other files or lengths than the torrent.
    #[error("{}: {cause}", path.display())]
    Seed {
        /// The file or folder that is wrong.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The disk or the state directory failed.
    #[error("{0}")]
    Disk(String),
    /// The session refused it.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// A torrent to be made.
#[derive(Clone, Debug)]
pub struct CreateTorrent {
    /// The file or folder, absolute.
    pub path: PathBuf,
    /// Its name; the last component of `path` where absent.
    pub name: Option<String>,
    /// Bytes of a piece, a power of two from 16 KiB to 16 MiB; chosen by size where absent.
    pub piece_len: Option<u32>,
    /// Where padding files go.
    pub pad: Pad,
    /// BEP 27.
    pub private: bool,
    /// Tracker tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// URLs of HTTP servers that have the content (BEP 19).
    pub web_seeds: Vec<String>,
    /// A comment for people.
    pub comment: Option<String>,
    /// Add it to the node as a seed.
    pub seed: bool,
}

/// A creation at work. It goes on when this is dropped; [`Command::CancelJob`] ends it.
#[derive(Debug)]
pub struct Creation {
    /// Its job.
    pub job: JobId,
    /// How far it is.
    pub progress: watch::Receiver<CreateProgress>,
    /// How it ended. The channel closes without a word only where the node shuts down.
    pub result: oneshot::Receiver<Result<Created, CreateError>>,
}

/// How far a creation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CreateProgress {
    /// Bytes hashed.
    pub done_bytes: u64,
    /// Bytes in all; 0 while files are still being listed.
    pub total_bytes: u64,
}

/// A torrent was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The metainfo file.
    pub metainfo: Vec<u8>,
    /// Its info hash.
    pub info_hash: InfoHash,
    /// Entries that were left out: symbolic links, special files.
    pub skipped: Vec<String>,
    /// The torrent in this node; none without [`CreateTorrent::seed`].
    pub added: Option<Added>,
}

/// Why a torrent was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A file or folder could not be read, is empty, or changed meanwhile.
    #[error("{}: {cause}", path.display())]
    Source {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// No metainfo file can say it: a bad name, too many files, a bad piece length.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// It was made, but the node did not take it in.
    #[error("the torrent was made but not added: {0}")]
    Add(#[from] AddError),
    /// Too many creations at once.
    #[error("{limit} creations are at work already")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// It was cancelled.
    #[error("the creation was cancelled")]
    Cancelled,
    /// The session ended.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The session refused the job.
    #[error(transparent)]
    Command(CommandError),
}

/// A policy to be set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetPolicy {
    /// Whose downloads it is for.
    pub scope: Scope,
    /// Whether it decides or is only compared.
    pub role: Role,
    /// What; none: nothing of its own any more.
    pub choice: Option<PolicyChoice>,
}

impl SetPolicy {
    /// A policy that decides.
    #[must_use]
    pub fn deciding(scope: Scope, choice: Option<PolicyChoice>) -> Self {
        Self { scope, role: Role::Deciding, choice }
    }
}

/// Why a policy was not put in force. The old one stays.
#[derive(Debug, thiserror::Error)]
pub enum SetPolicyError {
    /// It was checked and refused.
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
    /// There is no policy of its own in the scope, beside which a shadow could run.
    #[error("the torrent has no policy of its own; set one first, or shadow the node's")]
    NothingToShadow,
    /// It is in force, but could not be kept for the next start.
    #[error("the policy is in force but was not saved: {0}")]
    NotSaved(String),
    /// The session ended.
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// Where a torrent's data is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TorrentPlace {
    /// The file or folder that holds the data, or will after the merge.
    pub location: PathBuf,
    /// For each file of the metainfo, in its order: it is in its final place.
    pub merged: Vec<bool>,
    /// The data is the operator's own (added by a seed path).
    pub seed: bool,
}

/// Sums over the node, and its labels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeTotals {
    /// Torrents.
    pub torrents: usize,
    /// Peer connections.
    pub connections: usize,
    /// Running jobs.
    pub jobs_running: usize,
    /// Smoothed bytes a second, in.
    pub download_bps: u64,
    /// Smoothed bytes a second, out.
    pub upload_bps: u64,
    /// Lifetime payload bytes downloaded, over the torrents that are here.
    pub downloaded: u64,
    /// Lifetime payload bytes served, over the torrents that are here.
    pub uploaded: u64,
    /// Our operator's labels.
    pub labels: Arc<Labels>,
}

impl SessionHandle {
    /// Carries out a command and waits for its end.
    ///
    /// # Errors
    /// As the session says; [`CommandError::ShuttingDown`] where it has ended.
    pub async fn command(&self, command: Command) -> Result<Done, CommandError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.inbox.send(Input::Command { command: Box::new(command), reply }).await;
        sent.map_err(|Gone| CommandError::ShuttingDown)?;
        answer.await.unwrap_or(Err(CommandError::ShuttingDown))
    }

    /// Looks at the session. `look` runs on the loop: it must be short and must not block.
    ///
    /// # Errors
    /// [`Gone`] where the session has ended.
    pub async fn query<R, F>(&self, look: F) -> Result<R, Gone>
    where
        R: Send + 'static,
        F: FnOnce(&Session) -> R + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |session: &Session| {
            // A caller that went away needs no answer.
            let _ = reply.send(look(session));
        });
        self.inbox.send(Input::Query(look)).await?;
        answer.await.map_err(|_| Gone)
    }

    /// Adds a torrent: reads its metainfo, opens its data on a disk thread, takes it in.
    ///
    /// # Errors
    /// [`AddError`]; nothing was changed then.
    pub async fn add_torrent(&self, add: AddTorrent) -> Result<Added, AddError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.inbox.send(Input::Add { add, reply }).await;
        sent.map_err(|Gone| CommandError::ShuttingDown)?;
        answer.await.unwrap_or(Err(AddError::Command(CommandError::ShuttingDown)))
    }

    /// Makes a torrent of a file or folder, as a job.
    ///
    /// # Errors
    /// [`CreateError::TooMany`], [`CreateError::Command`] or [`CreateError::Gone`] where the job
    /// did not begin; everything else is told by [`Creation::result`].
    pub async fn create_torrent(&self, create: CreateTorrent) -> Result<Creation, CreateError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Input::Create { create: Box::new(create), reply }).await?;
        answer.await.unwrap_or(Err(CreateError::Gone(Gone)))
    }

    /// Follows a job: the value changes on every progress and at the end. Watch first, then look
    /// at the job itself ([`Session::job`]): a job that had ended before changes no more.
    #[must_use]
    pub fn job_watch(&self, job: JobId) -> watch::Receiver<JobBeat> {
        self.jobs.watch(job)
    }

    /// Checks a policy, puts it in force between two consultations, and keeps it for the next
    /// start.
    ///
    /// # Errors
    /// [`SetPolicyError`].
    pub async fn set_policy(&self, set: SetPolicy) -> Result<PolicySet, SetPolicyError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Input::SetPolicy { set: Box::new(set), reply }).await?;
        answer.await.unwrap_or(Err(SetPolicyError::Gone(Gone)))
    }

    /// Lets the policy of a scope begin anew: counters, last error and state are gone, the breaker
    /// is closed, and a thread that does not answer is replaced.
    ///
    /// # Errors
    /// [`SetPolicyError`], where it had to be loaded again.
    pub async fn reset_policy(&self, scope: Scope) -> Result<PolicySet, SetPolicyError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Input::ResetPolicy { scope, reply }).await?;
        answer.await.unwrap_or(Err(SetPolicyError::Gone(Gone)))
    }

    /// The policy of a scope and how it does: the node's where the scope has none of its own.
    #[must_use]
    pub fn policy_status(&self, scope: Scope) -> PolicyStatus {
        self.policy.status(scope)
    }

    /// What runs in the shadow of a scope's own policy.
    #[must_use]
    pub fn policy_shadow(&self, scope: Scope) -> Option<ShadowStatus> {
        self.policy.shadow(scope)
    }

    /// The scopes that have a policy of their own, the node first.
    #[must_use]
    pub fn policy_scopes(&self) -> Vec<Scope> {
        self.policy.scopes()
    }

    /// The names of the policies on the thread.
    #[must_use]
    pub fn policy_names(&self) -> std::collections::BTreeMap<PolicyId, String> {
        self.policy.names()
    }

    /// Events that policies were not told because their queues were full, and the CPU time of the
    /// policy threads.
    #[must_use]
    pub fn policy_work(&self) -> (u64, std::time::Duration) {
        (self.policy.events_dropped(), self.policy.cpu_time())
    }

    /// How a piece would be decided now, and the word of the script that decides, where one does and
    /// its thread answers within a second. Changes nothing.
    ///
    /// # Errors
    /// [`Gone`] where the session has ended.
    pub async fn explain(
        &self,
        torrent: TorrentId,
        piece: Option<PieceIndex>,
    ) -> Result<Option<(Explained, Option<Explanation>)>, Gone> {
        let explained = self.query(move |session| session.explain(torrent, piece)).await?;
        let Some(explained) = explained else { return Ok(None) };
        let said = match explained.chooser {
            Chooser::Consulted(policy, _) => {
                let (reply, answer) = oneshot::channel();
                let question = Box::new(explained.question.clone());
                self.policy.explain(policy, question, Box::new(|said| drop(reply.send(said))));
                let answer = tokio::time::timeout(EXPLAIN_TIMEOUT, answer).await;
                answer.ok().and_then(Result::ok).flatten()
            }
            Chooser::Native(_) => None,
        };
        Ok(Some((explained, said)))
    }

    /// The event hub: subscribe, take up after a revision, or tell an event of another room
    /// ([`EventHub::emit`]).
    #[must_use]
    pub fn events(&self) -> &EventHub {
        &self.events
    }

    /// Where a torrent's data is, as the store knows it; `None` for an unknown torrent.
    ///
    /// # Errors
    /// [`Gone`] where the session has ended.
    pub async fn torrent_place(&self, torrent: TorrentId) -> Result<Option<TorrentPlace>, Gone> {
        Ok(self.torrent_places(vec![torrent]).await?.pop().flatten())
    }

    /// Where the data of these torrents is, in their order, as [`Self::torrent_place`] tells of one.
    ///
    /// # Errors
    /// [`Gone`] where the session has ended.
    pub async fn torrent_places(
        &self,
        torrents: Vec<TorrentId>,
    ) -> Result<Vec<Option<TorrentPlace>>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Input::Places { torrents, reply }).await?;
        answer.await.map_err(|_| Gone)
    }

    /// The settings as they stand; `None` for an unknown torrent.
    ///
    /// # Errors
    /// [`Gone`] where the session has ended.
    pub async fn settings(&self, of: SettingsOf) -> Result<Option<Settings>, Gone> {
        self.ask_settings(of, None).await
    }

    /// Changes settings, and tells how they stand then; `None` for an unknown torrent. Values are
    /// taken as they are: whoever asks has judged them.
    ///
    /// # Errors
    /// [`Gone`] where the session has ended, or is about to; nothing was changed then.
    pub async fn change_settings(
        &self,
        of: SettingsOf,
        change: SettingsChange,
    ) -> Result<Option<Settings>, Gone> {
        self.ask_settings(of, Some(Box::new(change))).await
    }

    async fn ask_settings(
        &self,
        of: SettingsOf,
        change: Option<Box<SettingsChange>>,
    ) -> Result<Option<Settings>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Input::Settings { of, change, reply }).await?;
        answer.await.map_err(|_| Gone)
    }

    /// Sums over the node.
    ///
    /// # Errors
    /// [`Gone`] where the session has ended.
    pub async fn node_totals(&self) -> Result<NodeTotals, Gone> {
        self.query(totals).await
    }

    /// What its rooms count. Reading it waits for nobody.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Messages that wait for the loop.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inbox.waiting()
    }

    /// What does not change while the node runs.
    #[must_use]
    pub fn facts(&self) -> &NodeFacts {
        &self.facts
    }

    /// When the node started.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.facts.clock.started()
    }

    /// Ends the session in order: trackers are told, connections closed, data synced, the store
    /// closed. Every step has a deadline; what did not finish is named. A second call waits for
    /// the same end.
    pub async fn shutdown(&self) -> ShutdownReport {
        let (reply, mut answer) = mpsc::channel(1);
        if self.inbox.send(Input::Shutdown { reply: Some(reply) }).await.is_err() {
            return ShutdownReport::default();
        }
        answer.recv().await.unwrap_or_default()
    }
}

impl std::fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionHandle").field("facts", &self.facts).finish_non_exhaustive()
    }
}

fn totals(session: &Session) -> NodeTotals {
    let torrents = session.torrents();
    let running = session.jobs().iter().filter(|job| job.ended.is_none()).count();
    let sums = NodeTotals {
        torrents: torrents.len(),
        connections: session.connection_count(),
        jobs_running: running,
        labels: session.identity().labels.clone(),
        ..NodeTotals::default()
    };
    torrents.iter().fold(sums, |sums, torrent| NodeTotals {
        download_bps: sums.download_bps.saturating_add(torrent.download_bps),
        upload_bps: sums.upload_bps.saturating_add(torrent.upload_bps),
        downloaded: sums.downloaded.saturating_add(torrent.downloaded),
        uploaded: sums.uploaded.saturating_add(torrent.uploaded),
        ..sums
    })
}
