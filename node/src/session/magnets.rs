//! Magnet links in the shell: kept over a restart, told of, followed, and made torrents of once
//! their metadata is here.
//!
//! Never here: whom metadata is asked of.

use std::{sync::Arc, time::Duration};

use shoal_core::{
    config::GIVEN_PEERS_MAX,
    ids::{InfoHash, TorrentId},
    magnet::{Magnet, metainfo_file},
    session::{
        Event,
        command::{Command, CommandError, Done},
    },
};
use tokio::{sync::oneshot, time::timeout};

use super::{
    event_hub::{Detail, EventKind, NewEvent},
    file_globs::FileGlobs,
    handle::{AddError, AddSource, AddTorrent, Added, Gone, SessionHandle},
    inbox::{AddReply, Input, Reply},
    run::{ReplyTo, Shell},
};
use crate::{
    disk::{MagnetRecord, Store},
    net::Swarm,
};

/// How often a quest is looked at of which no event tells.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What the shell keeps of a quest.
pub(super) struct Quest {
    pub(super) info_hash: InfoHash,
    pub(super) swarm: Arc<Swarm>,
    name: String,
    /// What is kept of it over a restart.
    record: MagnetRecord,
}

/// A magnet link, and what is wanted of what it leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddMagnet {
    /// The link.
    pub magnet: Magnet,
    /// Patterns of the files that are wanted, as [`FileGlobs`] reads them; none: all. Whether they
    /// match is seen when the metadata is here: where one does not, that is refused.
    pub files: Vec<String>,
}

/// Why a magnet link came to no torrent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuestError {
    /// Its metadata makes no torrent here.
    #[error("its metadata cannot be used: {0}")]
    Failed(String),
    /// It was removed.
    #[error("it was removed")]
    Removed,
    /// The session ended.
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl Quest {
    /// Takes what a link says, also one that is given again: its peers beside those known, and other
    /// files where any are named.
    fn learn(&mut self, magnet: Magnet, files: Vec<String>) {
        let record = &mut self.record;
        for peer in magnet.peers {
            if record.peers.len() < GIVEN_PEERS_MAX && !record.peers.contains(&peer) {
                record.peers.push(peer);
            }
        }
        record.name = record.name.take().or(magnet.name);
        if !files.is_empty() {
            record.files = files;
        }
    }
}

impl SessionHandle {
    /// Looks for the metadata of a magnet link, from now on and over restarts; its torrent is taken
    /// in when that is here. A link that is here already, or its torrent, learns the peers of this
    /// one.
    ///
    /// # Errors
    /// [`CommandError::NoSource`], [`CommandError::TooManyQuests`] and the end of the session;
    /// [`AddError::Disk`] where it is followed but was not kept for the next start.
    pub async fn add_magnet(&self, add: AddMagnet) -> Result<Added, AddError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.inbox.send(Input::AddMagnet { add: Box::new(add), reply }).await;
        sent.map_err(|Gone| CommandError::ShuttingDown)?;
        answer.await.unwrap_or(Err(AddError::Command(CommandError::ShuttingDown)))
    }

    /// Waits until the torrent of a magnet link is here.
    ///
    /// # Errors
    /// [`QuestError`].
    pub async fn torrent_of(&self, info_hash: InfoHash) -> Result<TorrentId, QuestError> {
        loop {
            let mut events = self.events.subscribe();
            let look = move |session: &shoal_core::session::Session| {
                let quests = session.quests();
                let quest = quests.into_iter().find(|quest| quest.info_hash == info_hash);
                (session.by_hash(&info_hash), quest)
            };
            match self.query(look).await? {
                (Some(torrent), _) => return Ok(torrent),
                (None, None) => return Err(QuestError::Removed),
                (None, Some(quest)) => {
                    if let Some(cause) = quest.failed {
                        return Err(QuestError::Failed(cause));
                    }
                }
            }
            let about = async {
                while events.next().await.is_ok_and(|event| event.info_hash != Some(info_hash)) {}
            };
            // Whatever it was, how things stand is what counts.
            let _ = timeout(LOOK_AGAIN, about).await;
        }
    }
}

impl Shell {
    pub(super) fn add_magnet(
        &mut self,
        add: Box<AddMagnet>,
        reply: Reply<Result<Added, AddError>>,
    ) {
        if self.stopping.is_some() {
            drop(reply.send(Err(AddError::Command(CommandError::ShuttingDown))));
            return;
        }
        let command = Command::AddMagnet(Box::new(add.magnet.clone()));
        self.issue(command, ReplyTo::Magnet(add, reply));
    }

    /// The session has answered: a link is kept before its caller hears of it.
    pub(super) fn on_magnet(
        &mut self,
        add: AddMagnet,
        reply: Reply<Result<Added, AddError>>,
        result: Result<Done, CommandError>,
    ) {
        let AddMagnet { magnet, files } = add;
        let info_hash = magnet.info_hash;
        let (id, already) = match result {
            Ok(Done::Seeking { id, already }) => (id, already),
            Ok(other) => {
                tracing::error!(?other, "a magnet link was answered with something else");
                return;
            }
            Err(error) => return drop(reply.send(Err(AddError::Command(error)))),
        };
        let added = Added { id, info_hash, already };
        let Some(quest) = self.quests.get_mut(&id) else {
            // Its torrent is here.
            return drop(reply.send(Ok(added)));
        };
        quest.learn(magnet, files);
        let (store, record) = (self.store.clone(), quest.record.clone());
        self.in_store(move || {
            let kept = store.put_magnet(info_hash, &record);
            let lost = |error| AddError::Disk(format!("not kept for the next start: {error}"));
            drop(reply.send(kept.map(|()| added).map_err(lost)));
        });
    }

    /// The metadata of a link is here: it goes the way of every metainfo file.
    pub(super) fn on_found(&mut self, id: TorrentId, info_bytes: &[u8]) {
        let Some(quest) = self.quests.get(&id) else { return };
        let message = format!("the metadata of {} is here, {} bytes", quest.name, info_bytes.len());
        tracing::info!(torrent = %quest.info_hash, bytes = info_bytes.len(), "metadata found");
        let metainfo = metainfo_file(&quest.record.trackers, info_bytes);
        let source = match FileGlobs::parse(&quest.record.files) {
            Ok(globs) => AddSource::Chosen(globs),
            // Malformed ones were refused with the link: there are none.
            Err(_) => AddSource::Download,
        };
        self.tell(EventKind::Torrent, "metadata", id, message);
        self.begin_add(AddTorrent { metainfo, source }, AddReply::Quest(id));
    }

    /// Takes a link of an earlier life of this node up again.
    pub(super) fn restore_magnet(&mut self, add: AddMagnet) {
        let AddMagnet { magnet, files } = add;
        self.issue(Command::AddMagnet(Box::new(magnet.clone())), ReplyTo::Nobody);
        let mut quests = self.quests.values_mut();
        if let Some(quest) = quests.find(|quest| quest.info_hash == magnet.info_hash) {
            quest.learn(magnet, files);
        }
    }

    pub(super) fn on_quest_result(&mut self, quest: TorrentId, result: Result<Added, AddError>) {
        if let Err(error) = result {
            self.later(Event::MetadataRefused { quest, cause: error.to_string() });
        }
    }

    pub(super) fn on_quest_began(&mut self, id: TorrentId) {
        let Some(view) = self.session.quest(id) else { return };
        let (info_hash, name) = (view.info_hash, view.name.clone());
        tracing::info!(torrent = %info_hash, name, "looking for metadata");
        let swarm = Arc::new(Swarm::unknown(id, info_hash));
        let before = self.quests.remove(&id);
        let what = if before.is_some() { "state" } else { "added" };
        let record = before.map(|quest| quest.record).unwrap_or_else(|| {
            let trackers = view.trackers.clone();
            MagnetRecord { trackers, ..MagnetRecord::default() }
        });
        self.quests.insert(id, Quest { info_hash, swarm, name, record });
        let message = format!("the metadata of {} is looked for", view.name);
        let detail = Detail::Quest(Box::new(view));
        self.tell_with(EventKind::Torrent, what, Some(id), message, detail);
    }

    pub(super) fn on_quest_failed(&mut self, id: TorrentId, cause: &str) {
        let Some(view) = self.session.quest(id) else { return };
        tracing::warn!(torrent = %view.info_hash, cause, "metadata refused");
        let message = format!("the metadata of {} cannot be used: {cause}", view.name);
        let detail = Detail::Quest(Box::new(view));
        self.tell_with(EventKind::Torrent, "metadata_failed", Some(id), message, detail);
    }

    pub(super) fn on_quest_ended(&mut self, id: TorrentId, found: bool) {
        let Some(quest) = self.quests.remove(&id) else { return };
        let (store, info_hash) = (self.store.clone(), quest.info_hash);
        self.in_store(move || {
            if let Err(error) = store.remove_magnet(info_hash) {
                tracing::error!(torrent = %info_hash, %error, "a magnet link stays kept");
            }
        });
        if !found {
            self.events.emit(NewEvent {
                kind: EventKind::Torrent,
                what: "removed",
                torrent: Some(id),
                info_hash: Some(info_hash),
                message: format!("{} was removed", quest.name),
                detail: Detail::None,
            });
        }
    }
}

/// The magnet links that the store keeps. One whose torrent is kept too is over.
pub(super) fn kept(store: &Store) -> Vec<AddMagnet> {
    let records = store.magnets().unwrap_or_else(|error| {
        tracing::error!(%error, "the kept magnet links cannot be read");
        Vec::new()
    });
    let is_over = |info_hash: &InfoHash| matches!(store.torrent(*info_hash), Ok(Some(_)));
    let (over, kept): (Vec<_>, Vec<_>) = records.into_iter().partition(|(hash, _)| is_over(hash));
    for (info_hash, _) in over {
        if let Err(error) = store.remove_magnet(info_hash) {
            tracing::error!(torrent = %info_hash, %error, "a magnet link stays kept");
        }
    }
    let magnet = |(info_hash, record): (InfoHash, MagnetRecord)| {
        let MagnetRecord { name, trackers, peers, files } = record;
        AddMagnet { magnet: Magnet { info_hash, name, trackers, peers }, files }
    };
    kept.into_iter().map(magnet).collect()
}
