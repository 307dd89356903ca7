//! Commands: what an operator wishes, checked whole before anything is changed.

mod peers;
mod trackers;
mod tune;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    Action, Session,
    command::{Command, CommandError, Done, Resume},
    event::Opened,
    fault::CloseCause,
    notice::Notice,
    notify, reply,
    timers::Timer,
};
use crate::{
    ids::{CommandId, JobId, TorrentId},
    metainfo::Metainfo,
    torrent::{Condition, Torrent, book::Source, selection::Selection},
};

/// How long a ping may take.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the trackers are waited for at the end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

impl Session {
    pub(super) fn on_command(&mut self, id: CommandId, command: Command, out: &mut Vec<Action>) {
        if self.leaving.is_some() {
            return reply(out, id, Err(CommandError::ShuttingDown));
        }
        let done = match command {
            Command::Add { metainfo, opened, resume, selection } => {
                self.add(metainfo, &opened, (resume, selection), out).map(Some)
            }
            Command::AddMagnet(magnet) => self.add_magnet(*magnet, out).map(Some),
            Command::LearnPeers(torrent, peers) => self.learn_given(torrent, &peers).map(Some),
            Command::ConnectTracker(torrent) => self.connect_tracker(id, torrent, out),
            Command::GetPeerSet(torrent) | Command::UpdateStatus(torrent) => {
                self.ask_tracker(id, torrent)
            }
            Command::DisconnectTracker(torrent) => self.disconnect_tracker(id, torrent, out),
            Command::Quit(torrent) => self.quit(torrent, out).map(Some),
            Command::ConnectPeer(torrent, addr) => self.connect_peer(id, torrent, addr, out),
            Command::Ping(torrent, addr) => self.ping(id, torrent, addr, out),
            Command::DisconnectPeer(torrent, addr) => {
                self.disconnect_peer(torrent, addr, out).map(Some)
            }
            Command::RequestDownload(torrent, addr, piece) => {
                self.order_request(torrent, addr, piece, out).map(Some)
            }
            Command::AutoDownload { torrent, available_only, patient } => {
                self.order_download(torrent, available_only, patient, out).map(Some)
            }
            Command::Merge(torrent, files) => self.order_merge(id, torrent, files, out),
            Command::Select(torrent, selection) => {
                self.order_selection(torrent, selection, out).map(Some)
            }
            Command::Verify(torrent) => self.order_verify(torrent, out).map(Some),
            Command::Pause(torrent) => self.pause(torrent, out).map(Some),
            Command::Resume(torrent) => self.resume(torrent, out).map(Some),
            Command::Remove { torrent, delete_data } => {
                self.remove(torrent, delete_data, out).map(Some)
            }
            Command::CancelJob(job) => self.order_cancel(job, out).map(Some),
            Command::BeginOutsideJob { name } => {
                let job = self.begin_outside_job(name, out);
                Ok(Some(Done::Job { job, joined: false }))
            }
            Command::Tune(tuning) => Ok(Some(self.tune(tuning, out))),
            Command::SetChooser(torrent, chooser) => {
                self.set_chooser(torrent, chooser).map(|()| Some(Done::Ok))
            }
            Command::Shutdown => {
                self.begin_leaving(id, LEAVE_TIMEOUT, out);
                Ok(None)
            }
        };
        // Nothing yet: the reply follows with the event that is waited for.
        if let Some(result) = done.transpose() {
            reply(out, id, result);
        }
    }

    pub(super) fn find(&mut self, id: TorrentId) -> Result<&mut Torrent, CommandError> {
        if let Some(quest) = self.quests.get(&id) {
            return Err(CommandError::MetadataMissing(quest.magnet.shown_name()));
        }
        self.torrents.get_mut(&id).ok_or(CommandError::UnknownTorrent)
    }

    /// Takes addresses from an operator: they are known from now on.
    pub(super) fn learn_given(
        &mut self,
        id: TorrentId,
        peers: &[SocketAddr],
    ) -> Result<Done, CommandError> {
        let limit = self.config.peers_per_torrent_max;
        let book = match self.quests.get_mut(&id) {
            Some(quest) => &mut quest.book,
            None => &mut self.find(id)?.book,
        };
        for &addr in peers {
            book.learn(addr, Source::Operator, limit);
        }
        self.dirty.insert(id);
        Ok(Done::Ok)
    }

    /// A torrent that takes part.
    fn find_active(&mut self, id: TorrentId) -> Result<&mut Torrent, CommandError> {
        let torrent = self.find(id)?;
        match torrent.condition {
            Condition::Paused => Err(CommandError::Paused),
            Condition::Quit => Err(CommandError::HasQuit),
            Condition::Active | Condition::DiskFull(_) | Condition::Failed(_) => Ok(torrent),
        }
    }

    fn add(
        &mut self,
        metainfo: Arc<Metainfo>,
        opened: &Opened,
        (resume, selection): (Resume, Selection),
        out: &mut Vec<Action>,
    ) -> Result<Done, CommandError> {
        if self.by_hash.contains_key(&metainfo.info_hash) {
            return Err(CommandError::TorrentExists(metainfo.info_hash));
        }
        let id = TorrentId(self.next_id() as u32);
        let now = self.now;
        let info_hash = metainfo.info_hash;
        let mut torrent = Torrent::new(id, metainfo, opened, resume, selection, &mut self.rng, now);
        let unverified = opened.unverified.iter().copied();
        let unverified = unverified.filter(|&piece| torrent.pieces.is_checking(piece));
        let unverified = unverified.collect::<Vec<_>>();
        if resume.announce && torrent.takes_part() {
            torrent.announcing.want(now);
        }
        let download = resume.auto_download && torrent.takes_part();
        if let Some(quest) = self.fulfil_quest(&info_hash, out) {
            for (addr, source) in quest.book.addresses() {
                torrent.book.learn(addr, source, self.config.peers_per_torrent_max);
            }
            if quest.announcing.is_wanted() && torrent.announcing.has_tracker() {
                torrent.announcing.want(now);
            }
        }
        self.by_hash.insert(info_hash, id);
        self.torrents.insert(id, torrent);
        notify(out, Notice::TorrentAdded(id));
        for piece in opened.have.iter_ones() {
            notify(out, Notice::PieceHave { torrent: id, piece });
        }
        if !unverified.is_empty() {
            out.push(Action::CheckPieces { torrent: id, pieces: unverified, job: None });
        }
        if download {
            self.auto_download(id, false, true, out);
        }
        self.dirty.insert(id);
        Ok(Done::Added(id))
    }

    fn quit(&mut self, id: TorrentId, out: &mut Vec<Action>) -> Result<Done, CommandError> {
        if self.find(id)?.condition == Condition::Quit {
            return Err(CommandError::HasQuit);
        }
        let closed = self.stop(id, Condition::Quit, &CommandError::Cancelled, out);
        Ok(Done::Quit { closed })
    }

    /// Stops everything in a torrent: jobs, transfers, connections, announces.
    fn stop(
        &mut self,
        id: TorrentId,
        condition: Condition,
        jobs_end: &CommandError,
        out: &mut Vec<Action>,
    ) -> usize {
        self.fail_jobs(id, jobs_end, out);
        self.leave_torrent(id, condition, out)
    }

    fn leave_torrent(
        &mut self,
        id: TorrentId,
        condition: Condition,
        out: &mut Vec<Action>,
    ) -> usize {
        let Some(torrent) = self.torrents.get_mut(&id) else { return 0 };
        torrent.condition = condition;
        torrent.announcing.unwant();
        let conns = torrent.conns.clone();
        self.give_up_all(id, out);
        for &conn in &conns {
            self.close(conn, CloseCause::TorrentStopped, out);
        }
        let dials = self.dials.iter().filter(|(_, dial)| dial.torrent == id).map(|(&conn, _)| conn);
        for conn in dials.collect::<Vec<_>>() {
            out.push(Action::Close { conn, cause: CloseCause::TorrentStopped });
            self.on_dial_failed(conn, "the torrent was stopped", out);
        }
        self.dirty.insert(id);
        notify(out, Notice::TorrentChanged(id));
        conns.len()
    }

    fn order_download(
        &mut self,
        id: TorrentId,
        available_only: bool,
        patient: bool,
        out: &mut Vec<Action>,
    ) -> Result<Done, CommandError> {
        let torrent = self.find(id)?;
        match &torrent.condition {
            Condition::Paused => return Err(CommandError::Paused),
            Condition::Failed(cause) => return Err(CommandError::InError(cause.clone())),
            Condition::Quit => torrent.condition = Condition::Active,
            Condition::Active | Condition::DiskFull(_) => {}
        }
        let (job, joined) = self.auto_download(id, available_only, patient, out);
        Ok(Done::Job { job, joined })
    }

    fn order_merge(
        &mut self,
        command: CommandId,
        id: TorrentId,
        files: Vec<usize>,
        out: &mut Vec<Action>,
    ) -> Result<Option<Done>, CommandError> {
        let torrent = self.find(id)?;
        for &file in &files {
            let missing = torrent.missing_of(file).collect::<Vec<_>>();
            if !missing.is_empty() {
                let named = missing.iter().take(20);
                return Err(CommandError::MergeIncomplete {
                    file: torrent.metainfo.files[file].joined(),
                    missing: missing.len(),
                    names: named.map(|&piece| torrent.metainfo.chunk_name(piece)).collect(),
                });
            }
        }
        let merge = self.next_id();
        self.merges.insert(merge, super::MergeFor::Command(command, id));
        out.push(Action::Merge { torrent: id, merge, files });
        Ok(None)
    }

    fn order_verify(&mut self, id: TorrentId, out: &mut Vec<Action>) -> Result<Done, CommandError> {
        if self.find(id)?.checking > 0 {
            return Err(CommandError::Checking);
        }
        let job = self.verify(id, out);
        Ok(Done::Job { job, joined: false })
    }

    fn pause(&mut self, id: TorrentId, out: &mut Vec<Action>) -> Result<Done, CommandError> {
        let torrent = self.find_active(id)?;
        let announced = torrent.announcing.is_wanted();
        // The auto_download waits; what was asked of one peer ends with its connection.
        self.leave_torrent(id, Condition::Paused, out);
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.resume_announcing = announced;
        }
        Ok(Done::Ok)
    }

    fn resume(&mut self, id: TorrentId, out: &mut Vec<Action>) -> Result<Done, CommandError> {
        let now = self.now;
        let torrent = self.find(id)?;
        match torrent.condition {
            Condition::Quit => return Err(CommandError::HasQuit),
            Condition::Active => return Ok(Done::Ok),
            Condition::Paused | Condition::DiskFull(_) | Condition::Failed(_) => {}
        }
        torrent.condition = Condition::Active;
        torrent.book.retry_all();
        if std::mem::take(&mut torrent.resume_announcing) {
            torrent.announcing.want(now);
        }
        notify(out, Notice::TorrentChanged(id));
        self.update_interests(id, out);
        self.dirty.insert(id);
        Ok(Done::Ok)
    }

    fn remove(
        &mut self,
        id: TorrentId,
        delete_data: bool,
        out: &mut Vec<Action>,
    ) -> Result<Done, CommandError> {
        if self.quests.contains_key(&id) {
            self.remove_quest(id, out);
            return Ok(Done::Ok);
        }
        self.find(id)?;
        self.stop(id, Condition::Quit, &CommandError::UnknownTorrent, out);
        // `stopped` is said at once or not at all: nobody is here to hear the answer.
        self.announce_due(id, out);
        for timer in [
            Timer::Announce(id),
            Timer::Redial(id),
            Timer::Gossip(id),
            Timer::Deferred(id),
            Timer::DiskRetry(id),
        ] {
            self.timers.clear(timer);
        }
        self.drop_merges(id, out);
        if let Some(torrent) = self.torrents.remove(&id) {
            self.by_hash.remove(&torrent.metainfo.info_hash);
        }
        self.weigh(id);
        self.dirty.remove(&id);
        self.hungry.remove(&id);
        self.leases.retain(|_, lease| lease.torrent != id);
        self.drop_round_of(id);
        notify(out, Notice::TorrentRemoved { torrent: id, delete_data });
        Ok(Done::Ok)
    }

    fn drop_merges(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let of = |merge: &super::MergeFor| match merge {
            super::MergeFor::Command(_, torrent) => *torrent == id,
            super::MergeFor::Job(_) => false,
        };
        let waiting = self.merges.iter().filter(|(_, merge)| of(merge)).map(|(&n, _)| n);
        for n in waiting.collect::<Vec<_>>() {
            if let Some(super::MergeFor::Command(command, _)) = self.merges.remove(&n) {
                reply(out, command, Err(CommandError::UnknownTorrent));
            }
        }
    }

    fn order_cancel(&mut self, job: JobId, out: &mut Vec<Action>) -> Result<Done, CommandError> {
        match self.jobs.get(&job) {
            None => Err(CommandError::UnknownJob(job)),
            Some(state) if !state.is_running() => Err(CommandError::JobEnded(job)),
            Some(_) => {
                self.cancel(job, CommandError::Cancelled, out);
                Ok(Done::Ok)
            }
        }
    }
}
