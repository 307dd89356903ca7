//! Torrents coming and going: read, opened, taken in, removed, each step on its own thread and the
//! decisions here.
//!
//! Never here: what is read from or written to a disk.

use std::sync::{Arc, atomic::Ordering};

use shoal_core::{
    ids::{InfoHash, TorrentId},
    metainfo::Metainfo,
    session::command::{Command, CommandError},
};

use super::{
    disk_rooms::Refused,
    handle::{AddError, AddTorrent, Added, TorrentPlace},
    inbox::{AddReply, DiskNews, Input, Parsed},
    opening::{self, OpenedTorrent},
    perform::guarded,
    run::{ReplyTo, Shell},
    torrents::Torrent,
};
use crate::{
    disk::{MergedFiles, Store},
    net::HaveMap,
};

impl Shell {
    /// Reads the metainfo of a torrent on a disk thread: it may be 16 MiB.
    pub(super) fn begin_add(&mut self, add: AddTorrent, reply: AddReply) {
        if self.stopping.is_some() {
            self.answer_add(reply, Err(AddError::Command(CommandError::ShuttingDown)));
            return;
        }
        if !self.rooms.files.has_room() {
            self.answer_add(reply, Err(AddError::Disk(Refused.to_string())));
            return;
        }
        let AddTorrent { metainfo: bytes, source } = add;
        let inbox = self.inbox.clone();
        let submitted = self.rooms.files.submit(move || {
            let broken = || Err(AddError::Disk("the disk thread failed".to_owned()));
            let read = || Ok(Metainfo::parse(&bytes).map(Arc::new)?);
            let result = guarded(read, broken).map(|metainfo| (metainfo, bytes));
            let parsed = Box::new(Parsed { result, source, reply });
            inbox.tell(Input::Disk(DiskNews::Parsed(parsed)));
        });
        if let Err(refused) = submitted {
            // The caller learns it by its closed channel.
            tracing::warn!(%refused, "a torrent was not added");
        }
    }

    pub(super) fn on_parsed(&mut self, parsed: Parsed) {
        let Parsed { result, source, reply } = parsed;
        let (metainfo, bytes) = match result {
            Ok(read) => read,
            Err(error) => return self.answer_add(reply, Err(error)),
        };
        let info_hash = metainfo.info_hash;
        let again = |metainfo, bytes| Parsed { result: Ok((metainfo, bytes)), source, reply };
        if let Some(others) = self.waiting.opening.get_mut(&info_hash) {
            others.push(again(metainfo, bytes));
        } else if let Some(removal) = self.waiting.removing.get_mut(&info_hash) {
            removal.adds.push(again(metainfo, bytes));
        } else if let Some(id) = self.session.by_hash(&info_hash) {
            let Parsed { reply, .. } = again(metainfo, bytes);
            self.answer_add(reply, Ok(Added { id, info_hash, already: true }));
        } else {
            self.open(again(metainfo, bytes), info_hash);
        }
    }

    fn open(&mut self, parsed: Parsed, info_hash: InfoHash) {
        let Parsed { result: Ok((metainfo, bytes)), source, reply } = parsed else { return };
        if !self.rooms.files.has_room() {
            self.answer_add(reply, Err(AddError::Disk(Refused.to_string())));
            return;
        }
        self.waiting.opening.insert(info_hash, Vec::new());
        let (store, folders) = (self.store.clone(), self.folders.clone());
        let inbox = self.inbox.clone();
        let submitted = self.rooms.files.submit(move || {
            let broken = || Err(AddError::Disk("the disk thread failed".to_owned()));
            let work = || opening::open_new(&store, &folders, &metainfo, &bytes, source);
            let result = guarded(work, broken).map(Box::new);
            inbox.tell(Input::Disk(DiskNews::Opened { info_hash, result, reply }));
        });
        if let Err(refused) = submitted {
            tracing::warn!(%refused, "a torrent was not added");
            self.waiting.opening.remove(&info_hash);
        }
    }

    pub(super) fn on_opened(
        &mut self,
        info_hash: InfoHash,
        result: Result<Box<OpenedTorrent>, AddError>,
        reply: AddReply,
    ) {
        match result {
            Ok(opened) => self.add(opened, ReplyTo::Add(info_hash, reply)),
            Err(error) => self.answer_add(reply, Err(error)),
        }
        for other in self.waiting.opening.remove(&info_hash).unwrap_or_default() {
            self.on_parsed(other);
        }
    }

    /// Offers an opened torrent to the session.
    pub(super) fn add(&mut self, opened: Box<OpenedTorrent>, reply: ReplyTo) {
        let (metainfo, resume) = (opened.metainfo.clone(), opened.resume);
        let selection = opened.selection.clone();
        let (found, hash, fresh) = (opened.opened.clone(), metainfo.info_hash, opened.fresh);
        self.arriving = Some(opened);
        self.issue(Command::Add { metainfo, opened: found, resume, selection }, reply);
        if self.arriving.take().is_some() && fresh {
            // The session refused it: nothing was changed, so nothing stays.
            let store = self.store.clone();
            self.in_store(move || {
                if let Err(error) = store.remove_torrent(hash) {
                    tracing::warn!(%hash, %error, "the record of a refused torrent stays");
                }
            });
        }
    }

    /// Makes the shell's half of the torrent that the session has just taken in, before any action
    /// about it is carried out.
    pub(super) fn take_in(&mut self) {
        let Some(opened) = self.arriving.take() else { return };
        let id = self.session.by_hash(&opened.metainfo.info_hash);
        let Some(id) = id.filter(|id| !self.torrents.contains_key(id)) else {
            self.arriving = Some(opened);
            return;
        };
        let OpenedTorrent { metainfo, store, opened, resume, rates, .. } = *opened;
        let served = HaveMap::of(&opened.have);
        let totals = (opened.downloaded, opened.uploaded);
        let mut torrent = Torrent::new(id, metainfo, store, served, resume, totals);
        torrent.rates = rates;
        self.net.set_torrent_limits(&torrent.swarm, rates);
        self.torrents.insert(id, torrent);
    }

    pub(super) fn answer_add(&mut self, reply: AddReply, result: Result<Added, AddError>) {
        match reply {
            AddReply::Caller(reply) => drop(reply.send(result)),
            AddReply::Quest(quest) => self.on_quest_result(quest, result),
            AddReply::Creation(end) => self.end_creation(*end, result),
        }
    }

    /// Lets go of a torrent that the session has forgotten. Its data is removed once no disk job
    /// uses it ([`Self::remove_unused`]).
    pub(super) fn let_go(&mut self, id: TorrentId, delete_data: bool) {
        let Some(torrent) = self.torrents.remove(&id) else { return };
        self.fetching.drop_torrent(id);
        self.forget_policy_of(id, torrent.info_hash);
        torrent.stop.store(true, Ordering::Relaxed);
        self.waiting.removing.entry(torrent.info_hash).or_default();
        self.chores.leaving.push((torrent, delete_data));
        self.remove_unused();
    }

    /// Removes the data of torrents that left and that nobody uses any more.
    pub(super) fn remove_unused(&mut self) {
        let unused = |(torrent, _): &mut (Torrent, bool)| torrent.is_unused();
        let gone: Vec<_> = self.chores.leaving.extract_if(.., unused).collect();
        for (torrent, delete_data) in gone {
            let (store, info_hash) = (self.store.clone(), torrent.info_hash);
            let inbox = self.inbox.clone();
            let submitted = self.rooms.files.submit(move || {
                let work = || remove_data(&store, &torrent, delete_data);
                let result = guarded(work, || Err("the disk thread failed".to_owned()));
                inbox.tell(Input::Disk(DiskNews::Removed { info_hash, result }));
            });
            if let Err(refused) = submitted {
                self.on_removed(info_hash, &Err(refused.to_string()));
            }
        }
    }

    pub(super) fn on_removed(&mut self, info_hash: InfoHash, result: &Result<(), String>) {
        if let Err(cause) = result {
            tracing::error!(%info_hash, cause, "a torrent's data was not removed");
        }
        let Some(removal) = self.waiting.removing.remove(&info_hash) else { return };
        for reply in removal.replies {
            let result = result.clone().map_err(CommandError::Disk);
            drop(reply.send(result.map(|()| shoal_core::session::command::Done::Ok)));
        }
        for add in removal.adds {
            self.on_parsed(add);
        }
    }

    /// Answers those who removed a torrent: at once where the session refused, else when its data
    /// is gone.
    pub(super) fn answer_removers(&mut self) {
        for (info_hash, reply, result) in std::mem::take(&mut self.waiting.removed) {
            match self.waiting.removing.get_mut(&info_hash) {
                Some(removal) if result.is_ok() => removal.replies.push(reply),
                Some(_) | None => drop(reply.send(result)),
            }
        }
    }

    /// Where a torrent's data is, as the store's memory has it: no caller waits for a disk.
    pub(super) fn place(&self, torrent: TorrentId) -> Option<TorrentPlace> {
        self.torrents.get(&torrent).map(|known| opening::place(&known.store))
    }
}

/// Removes the data of a torrent that nobody uses, and then what the store keeps of it.
pub(super) fn remove_data(
    store: &Store,
    torrent: &Torrent,
    delete_data: bool,
) -> Result<(), String> {
    let merged = if delete_data { MergedFiles::Delete } else { MergedFiles::Keep };
    torrent.store.remove(merged).map_err(|error| error.to_string())?;
    store.remove_torrent(torrent.info_hash).map_err(|error| error.to_string())
}
