//! The loop: the one task that owns the session. It awaits its inbox, the peers' reports and its
//! timer, takes what there is in batches, and carries out what the session says, in order.
//!
//! Never here: a wait for anything else.

use std::{collections::BTreeMap, sync::Arc};

use shoal_core::{
    ids::{AnnounceId, CommandId, InfoHash, TorrentId},
    session::{
        Action, Event, Session,
        command::{Command, CommandError, Done},
    },
    time::Timestamp,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    checking::Checks,
    creation::Creations,
    disk_rooms::Room,
    event_hub::EventHub,
    fetching::Fetching,
    handle::{AddError, Added, NodeFacts},
    housekeeping::Chores,
    inbox::{AddReply, DiskNews, Inbox, Input, Parsed, Reply},
    job_watch::JobWatches,
    magnets::AddMagnet,
    magnets::Quest,
    meters::Meters,
    opening::{Folders, OpenedTorrent},
    policy::Policies,
    settings::{Settings, SettingsChange, SettingsOf},
    shutdown::ShutdownReport,
    torrents::Torrent,
};
use crate::{
    announce::Announcer,
    clock::Clock,
    discovery::Discovery,
    disk::Store,
    net::{Net, NetEvent, Rates},
    webseed::WebSeeds,
};

/// The most messages taken at once before the timer is looked at.
const BATCH_LEN: usize = 256;
/// The first command id that the loop gives by itself counts down from here; those of callers
/// count up from 0.
const OWN_COMMANDS: u64 = 1 << 63;

/// Everything the loop owns.
pub(super) struct Shell {
    pub(super) session: Session,
    pub(super) clock: Clock,
    pub(super) net: Net,
    /// What all connections together may send and receive.
    pub(super) rates: Rates,
    pub(super) web_seeds: WebSeeds,
    pub(super) inbox: Inbox,
    pub(super) store: Store,
    pub(super) folders: Folders,
    pub(super) facts: Arc<NodeFacts>,
    pub(super) rooms: Rooms,
    pub(super) announcer: Announcer,
    /// Local discovery, where it is on.
    pub(super) discovery: Option<Discovery>,
    /// Announces under way.
    pub(super) tasks: TaskTracker,
    pub(super) events: EventHub,
    pub(super) jobs: JobWatches,
    pub(super) meters: Meters,
    pub(super) torrents: BTreeMap<TorrentId, Torrent>,
    pub(super) quests: BTreeMap<TorrentId, Quest>,
    pub(super) fetching: Fetching,
    pub(super) waiting: Waiting,
    pub(super) creations: Creations,
    pub(super) checks: Checks,
    pub(super) policies: Policies,
    pub(super) chores: Chores,
    pub(super) actions: Vec<Action>,
    /// Facts that carrying out an action brought up: for the next turn.
    pub(super) later: Vec<Event>,
    /// The torrent that is being taken in by the command under way.
    pub(super) arriving: Option<Box<OpenedTorrent>>,
    pub(super) stopping: Option<Stopping>,
}

/// The disk rooms.
pub(super) struct Rooms {
    pub(super) pieces: Room,
    pub(super) files: Room,
    pub(super) store: Room,
}

/// Who waits for what.
#[derive(Default)]
pub(super) struct Waiting {
    commands: BTreeMap<CommandId, ReplyTo>,
    next_command: u64,
    next_own: u64,
    /// Announces that were begun and are not finished; for the log of the end.
    pub(super) announces: BTreeMap<AnnounceId, String>,
    /// Torrents whose data is being opened, and who wants the same ones.
    pub(super) opening: BTreeMap<InfoHash, Vec<Parsed>>,
    /// Torrents whose data is being removed: who waits for the removal, and who wants to add the
    /// same ones again.
    pub(super) removing: BTreeMap<InfoHash, Removal>,
    /// Replies to removals, held back until the data is gone.
    pub(super) removed: Vec<Removed>,
}

/// A removal that the session answered: of what, to whom, and how.
pub(super) type Removed = (InfoHash, CommandReply, Ended);
/// Who waits for a command.
type CommandReply = Reply<Ended>;
/// How a command ended.
type Ended = Result<Done, CommandError>;

/// A removal under way.
#[derive(Default)]
pub(super) struct Removal {
    pub(super) replies: Vec<Reply<Result<Done, CommandError>>>,
    pub(super) adds: Vec<Parsed>,
}

/// What is to be done with the answer to a command.
pub(super) enum ReplyTo {
    /// A caller.
    Caller(Reply<Result<Done, CommandError>>),
    /// A caller that removes this torrent.
    Remover(InfoHash, Reply<Result<Done, CommandError>>),
    /// An addition of this torrent.
    Add(InfoHash, AddReply),
    /// A magnet link that is to be kept.
    Magnet(Box<AddMagnet>, Reply<Result<Added, AddError>>),
    /// A creation that waits for its job.
    Create(Box<super::creation::Wanted>),
    /// The end.
    Shutdown,
    /// Nobody.
    Nobody,
}

/// The end, once it has begun.
#[derive(Default)]
pub(super) struct Stopping {
    pub(super) replies: Vec<mpsc::Sender<ShutdownReport>>,
    /// When it goes on even if the session has not answered.
    pub(super) deadline: Timestamp,
    /// The session has answered.
    pub(super) answered: bool,
}

impl Shell {
    /// Runs until the end of the session, and ends everything.
    pub(super) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut peers: mpsc::Receiver<NetEvent>,
    ) -> ShutdownReport {
        let mut input_batch = Vec::with_capacity(BATCH_LEN);
        let mut peer_batch = Vec::with_capacity(BATCH_LEN);
        while !self.is_over() {
            let due = self.clock.instant(self.next_due());
            tokio::select! {
                _ = peers.recv_many(&mut peer_batch, BATCH_LEN) => {}
                _ = inputs.recv_many(&mut input_batch, BATCH_LEN) => {}
                () = wait_until(due) => {}
            }
            // Both are drained whichever woke us: neither starves the other.
            drain(&mut peers, &mut peer_batch);
            drain(&mut inputs, &mut input_batch);
            let later = std::mem::take(&mut self.later);
            // What peers and disks say is taken in whole before work begins or ends: one look at a
            // torrent, and one consultation, for all that came.
            for event in peer_batch.drain(..) {
                self.on_net(event);
            }
            self.settle();
            for event in later {
                self.feed(event);
            }
            for input in input_batch.drain(..) {
                self.on_input(input);
            }
            self.settle();
            self.on_time();
            self.answer_removers();
        }
        drop(peers);
        self.finish(inputs).await
    }

    /// Hands a fact to the session and carries out what follows.
    pub(super) fn feed(&mut self, event: Event) {
        self.with_session(|session, now, actions| session.handle(now, event, actions));
    }

    /// Hands a fact to the session, and leaves what it lets begin or end to [`Self::settle`].
    fn take(&mut self, event: Event) {
        self.with_session(|session, now, actions| session.take(now, event, actions));
    }

    /// Lets work begin or end after what was taken.
    fn settle(&mut self) {
        self.with_session(Session::settle);
    }

    fn with_session(&mut self, act: impl FnOnce(&mut Session, Timestamp, &mut Vec<Action>)) {
        let now = self.clock.now();
        let mut actions = std::mem::take(&mut self.actions);
        act(&mut self.session, now, &mut actions);
        self.take_in();
        for action in actions.drain(..) {
            self.perform(action);
        }
        // Performing may have fed the session in turn: keep the larger buffer.
        if self.actions.capacity() < actions.capacity() {
            self.actions = actions;
        }
    }

    /// Hands a fact to the session in the next turn.
    pub(super) fn later(&mut self, event: Event) {
        self.later.push(event);
    }

    /// Issues a command of the loop's own or of a caller.
    pub(super) fn issue(&mut self, command: Command, reply: ReplyTo) {
        let id = match reply {
            ReplyTo::Nobody | ReplyTo::Shutdown => {
                self.waiting.next_own += 1;
                CommandId(OWN_COMMANDS + self.waiting.next_own)
            }
            ReplyTo::Caller(_)
            | ReplyTo::Remover(..)
            | ReplyTo::Add(..)
            | ReplyTo::Magnet(..)
            | ReplyTo::Create(_) => {
                self.waiting.next_command += 1;
                CommandId(self.waiting.next_command)
            }
        };
        self.waiting.commands.insert(id, reply);
        self.feed(Event::CommandIssued { id, command });
    }

    /// The session has answered a command.
    pub(super) fn on_reply(&mut self, command: CommandId, result: Result<Done, CommandError>) {
        let Some(reply) = self.waiting.commands.remove(&command) else { return };
        match reply {
            ReplyTo::Caller(reply) => drop(reply.send(result)),
            ReplyTo::Remover(info_hash, reply) => {
                self.waiting.removed.push((info_hash, reply, result));
            }
            ReplyTo::Add(info_hash, reply) => self.on_added(info_hash, reply, result),
            ReplyTo::Magnet(add, reply) => self.on_magnet(*add, reply, result),
            ReplyTo::Create(wanted) => self.on_creation_job(*wanted, result),
            ReplyTo::Shutdown => {
                if let Some(stopping) = &mut self.stopping {
                    stopping.answered = true;
                }
            }
            ReplyTo::Nobody => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a command of the node's own failed");
                }
            }
        }
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Command { command, reply } => self.on_command(*command, reply),
            Input::Query(look) => look(&self.session),
            Input::Add { add, reply } => self.begin_add(add, AddReply::Caller(reply)),
            Input::AddMagnet { add, reply } => self.add_magnet(add, reply),
            Input::Create { create, reply } => self.begin_creation(*create, reply),
            Input::SetPolicy { set, reply } => self.set_policy(*set, Some(reply)),
            Input::ResetPolicy { scope, reply } => self.reset_policy(scope, reply),
            Input::PolicyFile { scope, content } => self.on_policy_file(scope, content),
            Input::Places { torrents, reply } => {
                drop(reply.send(torrents.into_iter().map(|id| self.place(id)).collect()));
            }
            Input::Settings { of, change, reply } => self.on_settings(of, change, reply),
            Input::Shutdown { reply } => self.begin_shutdown(reply),
            Input::Core(event) => self.on_fact(event),
            Input::Policy(news) => self.on_policy(news),
            Input::PolicySaved { token, result } => self.on_policy_saved(token, result),
            Input::Disk(news) => self.on_disk(news),
        }
    }

    fn on_command(&mut self, command: Command, reply: Reply<Result<Done, CommandError>>) {
        if self.stopping.is_some() {
            drop(reply.send(Err(CommandError::ShuttingDown)));
            return;
        }
        let removed = if let Command::Remove { torrent, .. } = &command {
            self.torrents.get(torrent).map(|torrent| torrent.info_hash)
        } else {
            None
        };
        let reply = match removed {
            Some(info_hash) => ReplyTo::Remover(info_hash, reply),
            None => ReplyTo::Caller(reply),
        };
        self.issue(command, reply);
    }

    fn on_settings(
        &mut self,
        of: SettingsOf,
        change: Option<Box<SettingsChange>>,
        reply: Reply<Option<Settings>>,
    ) {
        let settings = match change {
            None => self.settings(of),
            // Dropping the reply says that the node ends.
            Some(_) if self.stopping.is_some() => return,
            Some(change) => self.change_settings(of, *change),
        };
        drop(reply.send(settings));
    }

    fn on_fact(&mut self, event: Event) {
        if let Event::AnnounceFinished { announce, result } = &event {
            self.waiting.announces.remove(announce);
            self.meters.count_announce(result);
        }
        self.feed(event);
    }

    fn on_net(&mut self, event: NetEvent) {
        match event {
            NetEvent::Core(event) => self.take(event),
            NetEvent::ExtentReceived { conn, lease, buffer } => {
                self.fetching.received(lease, buffer);
                self.take(Event::ExtentReceived { conn, lease });
            }
            NetEvent::LeaseEnded { conn, lease, buffer, end } => {
                let filled = self.fetching.ended(lease, buffer);
                self.take(Event::LeaseEnded { conn, lease, filled, end });
            }
            NetEvent::SourceChanged { torrent, piece, cause } => {
                self.on_source_changed(torrent, piece, &cause);
            }
        }
    }

    fn on_disk(&mut self, news: DiskNews) {
        match news {
            DiskNews::PieceDone { torrent, piece, outcome, buffers, changed } => {
                self.fetching.recycle(buffers);
                changed.into_iter().for_each(|file| self.on_file_changed(torrent, file));
                self.note_written(torrent, piece, &outcome);
                self.take(Event::PieceVerified { torrent, piece, outcome });
            }
            DiskNews::PiecesChecked { torrent, results } => {
                // What a crash loses of it is hashed again: no reason to sync early.
                self.mark_uncommitted(torrent, 0);
                for (piece, good) in results {
                    self.take(Event::PieceChecked { torrent, piece, good });
                }
            }
            DiskNews::FileChanged { torrent, file } => self.on_file_changed(torrent, file),
            DiskNews::Committed(results) => self.on_committed(results),
            DiskNews::Merged { torrent, merge, result, lost } => {
                if let Some((pieces, cause)) = lost {
                    self.on_lost(torrent, pieces, cause);
                }
                self.feed(Event::Merged { torrent, merge, result });
            }
            DiskNews::Looked { next } => self.chores.looked(self.clock.now(), next),
            DiskNews::Parsed(parsed) => self.on_parsed(*parsed),
            DiskNews::Opened { info_hash, result, reply } => {
                self.on_opened(info_hash, result, reply);
            }
            DiskNews::Removed { info_hash, result } => self.on_removed(info_hash, &result),
            DiskNews::Created { job, result } => self.on_created(job, result),
        }
    }

    fn on_added(
        &mut self,
        info_hash: InfoHash,
        reply: AddReply,
        result: Result<Done, CommandError>,
    ) {
        let result = match result {
            Ok(Done::Added(id)) => Ok(Added { id, info_hash, already: false }),
            Ok(other) => {
                tracing::error!(?other, "an addition was answered with something else");
                Err(AddError::Disk("the session answered with something else".to_owned()))
            }
            Err(error) => Err(AddError::Command(error)),
        };
        self.answer_add(reply, result);
    }

    fn is_over(&self) -> bool {
        self.stopping
            .as_ref()
            .is_some_and(|stopping| stopping.answered || self.clock.now() >= stopping.deadline)
    }

    /// When the loop has something to do even if nothing comes.
    fn next_due(&self) -> Timestamp {
        if !self.later.is_empty() {
            return Timestamp(0);
        }
        let stop = self.stopping.as_ref().map_or(Timestamp::NEVER, |stopping| stopping.deadline);
        self.session.next_deadline().min(self.next_chore()).min(stop)
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        if self.session.next_deadline() <= now {
            self.feed(Event::Wake);
        }
        self.do_chores(now);
    }
}

/// Takes what is there without waiting.
fn drain<T>(receiver: &mut mpsc::Receiver<T>, batch: &mut Vec<T>) {
    while batch.len() < BATCH_LEN {
        match receiver.try_recv() {
            Ok(item) => batch.push(item),
            Err(_) => return,
        }
    }
}

/// Waits until a point in time, or for ever.
async fn wait_until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(Instant::from_std(due)).await,
        None => std::future::pending().await,
    }
}
