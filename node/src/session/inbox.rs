//! What reaches the loop, and the one way to it.
//!
//! Never here: what is done about it.

use std::{path::PathBuf, sync::Arc};

use shoal_core::{
    ids::{InfoHash, JobId, PieceIndex, TorrentId},
    metainfo::Metainfo,
    session::{
        Event, Session,
        command::{Command, CommandError, Done},
        event::{MergeDone, MergeFailure, PieceOutcome},
    },
};
use tokio::sync::{mpsc, oneshot};

use super::{
    creation::CreationEnd,
    handle::{
        AddError, AddSource, AddTorrent, Added, CreateError, CreateTorrent, Creation, Gone,
        SetPolicy, SetPolicyError, TorrentPlace,
    },
    magnets::AddMagnet,
    opening::OpenedTorrent,
    settings::{Settings, SettingsChange, SettingsOf},
    shutdown::ShutdownReport,
};
use crate::{
    disk::{CommitError, CreateError as DiskCreateError, Created as DiskCreated},
    net::ExtentBuffer,
    policy_host::{PolicyNews, PolicySet, Scope, watch::Content},
};

/// Messages that may wait for the loop: several turns' worth of what all rooms report.
pub(super) const INBOX_LEN: usize = 4096;

/// Where to send an answer to a caller who may be gone.
pub(super) type Reply<T> = oneshot::Sender<T>;

/// Something for the loop.
pub(super) enum Input {
    /// An operator's wish.
    Command { command: Box<Command>, reply: Reply<Result<Done, CommandError>> },
    /// A look at the session.
    Query(Box<dyn FnOnce(&Session) + Send>),
    /// A torrent to be added.
    Add { add: AddTorrent, reply: Reply<Result<Added, AddError>> },
    /// A magnet link whose metadata is to be found.
    AddMagnet { add: Box<AddMagnet>, reply: Reply<Result<Added, AddError>> },
    /// A torrent to be made.
    Create { create: Box<CreateTorrent>, reply: Reply<Result<Creation, CreateError>> },
    /// A policy to be put in force.
    SetPolicy { set: Box<SetPolicy>, reply: Reply<Result<PolicySet, SetPolicyError>> },
    /// A policy to begin anew.
    ResetPolicy { scope: Scope, reply: Reply<Result<PolicySet, SetPolicyError>> },
    /// A policy's watched file changed, or cannot be read.
    PolicyFile { scope: Scope, content: Content },
    /// Where the data of these torrents is.
    Places { torrents: Vec<TorrentId>, reply: Reply<Vec<Option<TorrentPlace>>> },
    /// Settings to be told, and changed before that where a change is there.
    Settings { of: SettingsOf, change: Option<Box<SettingsChange>>, reply: Reply<Option<Settings>> },
    /// The end.
    Shutdown { reply: Option<mpsc::Sender<ShutdownReport>> },
    /// A fact for the session as it is.
    Core(Event),
    /// The policy thread said something.
    Policy(PolicyNews),
    /// The policy in force was kept for the next start, or not.
    PolicySaved { token: u64, result: Result<(), String> },
    /// A disk room said something.
    Disk(DiskNews),
}

/// What the disk rooms report.
pub(super) enum DiskNews {
    /// A piece was verified and written, or not; its buffers come back. None come back where the
    /// room failed.
    PieceDone {
        torrent: TorrentId,
        piece: PieceIndex,
        outcome: PieceOutcome,
        buffers: Vec<ExtentBuffer>,
        /// Files that turned out to have changed.
        changed: Vec<usize>,
    },
    /// Pieces were read and hashed; whether each is right.
    PiecesChecked { torrent: TorrentId, results: Vec<(PieceIndex, bool)> },
    /// A file is not what it was.
    FileChanged { torrent: TorrentId, file: usize },
    /// Commits ended, each with what was committed or why not.
    Committed(Vec<(TorrentId, Result<usize, CommitError>)>),
    /// A merge ended.
    Merged {
        torrent: TorrentId,
        merge: u64,
        result: Result<MergeDone, MergeFailure>,
        /// Pieces that its commit lost, and why.
        lost: Option<(Vec<PieceIndex>, String)>,
    },
    /// A round of looks at files ended; where the next one begins.
    Looked { next: Option<(TorrentId, usize)> },
    /// A metainfo file was read.
    Parsed(Box<Parsed>),
    /// A torrent's data was opened.
    Opened { info_hash: InfoHash, result: Result<Box<OpenedTorrent>, AddError>, reply: AddReply },
    /// A torrent's data and record are gone, or not.
    Removed { info_hash: InfoHash, result: Result<(), String> },
    /// A creation ended.
    Created { job: JobId, result: Result<DiskCreated, DiskCreateError> },
}

/// A metainfo file that was read for an addition.
pub(super) struct Parsed {
    pub(super) result: Result<(Arc<Metainfo>, Vec<u8>), AddError>,
    pub(super) source: AddSource,
    pub(super) reply: AddReply,
}

/// Who waits for an addition.
pub(super) enum AddReply {
    /// A caller.
    Caller(Reply<Result<Added, AddError>>),
    /// A quest that found its metadata.
    Quest(TorrentId),
    /// A creation, whose last step it is.
    Creation(Box<CreationEnd>),
}

/// A way to the loop. Cheap to clone.
#[derive(Clone)]
pub(super) struct Inbox(mpsc::Sender<Input>);

impl Inbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Input>) {
        let (sender, receiver) = mpsc::channel(INBOX_LEN);
        (Self(sender), receiver)
    }

    /// Messages that wait for the loop.
    pub(super) fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }

    /// Sends, waiting for room.
    ///
    /// # Errors
    /// [`Gone`] where the loop has ended.
    pub(super) async fn send(&self, input: Input) -> Result<(), Gone> {
        self.0.send(input).await.map_err(|_| Gone)
    }

    /// Sends from a thread that may block. Never from a task: that would panic. What the loop does
    /// not hear any more is dropped.
    pub(super) fn tell(&self, input: Input) {
        let _ = self.0.blocking_send(input);
    }
}

/// The path of a torrent's chunk memory.
pub(super) fn chunks_dir(chunks: &std::path::Path, info_hash: InfoHash) -> PathBuf {
    chunks.join(info_hash.to_string())
}
