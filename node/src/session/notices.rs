//! From the session's notices to events, served pieces, rung bells and kept records.
//!
//! Never here: a decision.

use shoal_core::{
    ids::{InfoHash, JobId, PieceIndex, TorrentId},
    session::{
        command::Resume,
        notice::{Notice, PeerNews},
        view::{JobKind, JobView, TorrentState, TorrentView},
    },
    time::Timestamp,
    torrent::selection::Selection,
};

use super::{
    event_hub::{ChunkChange, Detail, EventKind, NewEvent},
    housekeeping::{CHUNK_EVENTS_EVERY, LATE_EVENTS_EVERY},
    opening,
    run::Shell,
    torrents::Told,
};

impl Shell {
    pub(super) fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::TorrentAdded(id) => self.on_torrent_added(id),
            Notice::TorrentChanged(id) => self.on_torrent_changed(id),
            Notice::Selected(id) => self.on_selected(id),
            Notice::TorrentRemoved { torrent, delete_data } => {
                self.on_torrent_removed(torrent, delete_data);
            }
            Notice::QuestBegan(id) => self.on_quest_began(id),
            Notice::QuestFailed { quest, cause } => self.on_quest_failed(quest, &cause),
            Notice::QuestEnded { quest, found } => self.on_quest_ended(quest, found),
            Notice::PieceHave { torrent, piece } => self.on_piece(torrent, piece, Change::Had),
            Notice::PieceLost { torrent, piece } => self.on_piece(torrent, piece, Change::Lost),
            Notice::PeerConnected(news) => self.tell_peer("connected", news),
            Notice::PeerDisconnected(news) => self.tell_peer("disconnected", news),
            Notice::PeerSnubbed(news) => self.tell_peer("snubbed", news),
            Notice::PeerCharged(news) => self.tell_peer("charged", news),
            Notice::PeerBanned(news) => self.tell_peer("banned", news),
            Notice::Announced { torrent, url, peers } => {
                let message = format!("{} answered with {peers} peers", tracker_name(&url));
                self.tell(EventKind::Tracker, "announced", torrent, message);
            }
            Notice::AnnounceFailed { torrent, url, cause } => {
                let message = format!("{} failed: {cause}", tracker_name(&url));
                self.tell(EventKind::Tracker, "announce_failed", torrent, message);
            }
            Notice::JobBegan(job) => self.tell_job("began", job),
            Notice::JobProgress(job) => {
                self.jobs.progressed(job);
                self.tell_job("progress", job);
            }
            Notice::JobEnded(job) => {
                self.jobs.ended(job);
                self.tell_job("ended", job);
            }
            Notice::Merged { torrent, paths } => {
                let message = format!("merged into {}", paths.join(", "));
                self.tell(EventKind::Merge, "merged", torrent, message);
            }
            Notice::Disk { torrent, what, cause } => {
                self.meters.count_disk_trouble(what);
                tracing::warn!(torrent = %self.hash_text(torrent), what, cause, "disk");
                self.tell(EventKind::Disk, what, torrent, cause);
            }
            Notice::PolicyLate { chunks } => self.on_policy_late(chunks),
        }
    }

    fn on_torrent_added(&mut self, id: TorrentId) {
        let Some(view) = self.session.torrent(id) else { return };
        let message = format!("{} was added", view.metainfo.name);
        tracing::info!(
            torrent = %view.metainfo.info_hash,
            name = view.metainfo.name,
            trusted = view.pieces_have,
            checking = view.pieces_checking,
            "added"
        );
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.told = Some(told(&view));
        }
        self.policy_for_arrival(view.metainfo.info_hash);
        let detail = self.torrent_detail(view);
        self.tell_with(EventKind::Torrent, "added", Some(id), message, detail);
    }

    /// A torrent changed: what has to survive is kept, and a change of its state is told. Totals
    /// change all the time and are kept by the chores.
    fn on_torrent_changed(&mut self, id: TorrentId) {
        let Some(view) = self.session.torrent(id) else { return };
        self.remember_conduct(id, &view);
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let now = told(&view);
        if torrent.told.as_ref() == Some(&now) {
            return;
        }
        let before = torrent.told.replace(now);
        let state = state_name(view.state);
        if before.is_none_or(|before| before.state != view.state) {
            tracing::info!(torrent = %view.metainfo.info_hash, state, "state");
        }
        let message = match &view.error {
            Some(error) => format!("{} is {state}: {error}", view.metainfo.name),
            None => format!("{} is {state}", view.metainfo.name),
        };
        let detail = self.torrent_detail(view);
        self.tell_with(EventKind::Torrent, "state", Some(id), message, detail);
    }

    /// Other files are wanted: kept, and told.
    fn on_selected(&mut self, id: TorrentId) {
        let Some(view) = self.session.torrent(id) else { return };
        let (metainfo, selection) = (view.metainfo.clone(), view.selection.clone());
        let (wanted, all) = (selection.regular(&metainfo), Selection::default());
        let (wanted, all) = (wanted.count(), all.regular(&metainfo).count());
        let message = format!(
            "{wanted} of {all} files of {} are wanted, {} bytes",
            metainfo.name, view.wanted_bytes
        );
        tracing::info!(torrent = %metainfo.info_hash, wanted, all, "selected");
        let (store, hash) = (self.store.clone(), metainfo.info_hash);
        self.in_store(move || {
            let kept = store
                .update_torrent(hash, |record| opening::remember_selection(record, &selection));
            if let Err(error) = kept {
                tracing::error!(torrent = %hash, %error, "what is wanted was not kept");
            }
        });
        let detail = self.torrent_detail(view);
        self.tell_with(EventKind::Torrent, "selected", Some(id), message, detail);
    }

    /// Keeps what of a torrent's conduct survives a restart. Not once the end has begun: that the
    /// session stops announcing then is no wish of the operator.
    fn remember_conduct(&mut self, id: TorrentId, view: &TorrentView) {
        if self.stopping.is_some() {
            return;
        }
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let resume = Resume {
            announce: view.announcing,
            auto_download: view.auto_download,
            paused: view.state == TorrentState::Paused,
            quit: view.state == TorrentState::Quit,
        };
        if torrent.resume == resume {
            return;
        }
        torrent.resume = resume;
        if !self.chores.conducts.note(torrent.info_hash, resume) {
            return;
        }
        let (store, conducts) = (self.store.clone(), self.chores.conducts.clone());
        self.in_store(move || {
            let changes = conducts.take().into_iter().map(|(hash, resume)| {
                (hash, move |record: &mut _| opening::remember(record, resume))
            });
            if let Err(error) = store.update_torrents(&changes.collect::<Vec<_>>()) {
                tracing::error!(%error, "the conduct of torrents was not kept");
            }
        });
    }

    fn on_torrent_removed(&mut self, id: TorrentId, delete_data: bool) {
        let info_hash = self.torrents.get(&id).map(|torrent| torrent.info_hash);
        let name = self.torrents.get(&id).map(|torrent| torrent.metainfo.name.clone());
        self.let_go(id, delete_data);
        let message = format!("{} was removed", name.unwrap_or_default());
        self.events.emit(NewEvent {
            kind: EventKind::Torrent,
            what: "removed",
            torrent: Some(id),
            info_hash,
            message,
            detail: Detail::None,
        });
    }

    fn on_piece(&mut self, id: TorrentId, piece: PieceIndex, change: Change) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if torrent.chunks.is_empty() {
            let beat = next_beat(self.clock.now());
            torrent.chunks.due = torrent.chunks.due.max(beat);
        }
        match change {
            Change::Had => {
                torrent.served.set(piece);
                torrent.chunks.came(piece);
            }
            Change::Lost => {
                torrent.served.clear(piece);
                torrent.chunks.went(piece);
                // The database may still say that it is had.
                self.mark_uncommitted(id, 0);
            }
        }
        self.chores.chunks.insert(id);
    }

    /// Tells of the pieces that came and went, at most four times a second for each torrent; of
    /// all torrents at the same moments, so that who follows is woken once for all of them.
    pub(super) fn tell_chunks(&mut self, now: Timestamp) {
        let ids: Vec<TorrentId> = self.chores.chunks.iter().copied().collect();
        for id in ids {
            let Some(torrent) = self.torrents.get_mut(&id).filter(|t| !t.chunks.is_empty()) else {
                self.chores.chunks.remove(&id);
                continue;
            };
            if torrent.chunks.due > now {
                continue;
            }
            torrent.chunks.due = next_beat(now);
            let (have, lost) = torrent.chunks.take();
            let (came, went) = (have.len(), lost.len());
            let all = torrent.metainfo.piece_count();
            let chunks_have = self.session.have(id).map_or(0, |have| have.count_ones() as u32);
            let (what, message) = if came > 0 {
                ("verified", format!("{came} chunks verified, {chunks_have} of {all} had"))
            } else {
                ("lost", format!("{went} chunks lost, {chunks_have} of {all} had"))
            };
            let detail = Detail::Chunks(ChunkChange { have, lost, chunks_have });
            self.tell_with(EventKind::Chunk, what, Some(id), message, detail);
        }
    }

    fn tell_peer(&self, what: &'static str, news: PeerNews) {
        let message = if news.reason.is_empty() {
            format!("{} {what}", news.addr)
        } else {
            format!("{} {what}: {}", news.addr, news.reason)
        };
        let torrent = Some(news.torrent);
        self.tell_with(EventKind::Peer, what, torrent, message, Detail::Peer(news));
    }

    fn tell_job(&self, what: &'static str, job: JobId) {
        let Some(view) = self.session.job(job) else { return };
        let message = format!("{} of {} {what}{}", job_name(&view.kind), view.name, ending(&view));
        let (torrent, info_hash) = (view.torrent, view.info_hash);
        log_job(what, &view);
        let detail = Detail::Job(Box::new(view), self.clock.now());
        let kind = EventKind::Job;
        self.events.emit(NewEvent { kind, what, torrent, info_hash, message, detail });
    }

    fn on_policy_late(&mut self, chunks: usize) {
        let now = self.clock.now();
        self.chores.late_chunks += chunks;
        if now < self.chores.late_due {
            return;
        }
        self.chores.late_due = now + LATE_EVENTS_EVERY;
        let late = std::mem::take(&mut self.chores.late_chunks);
        let message = format!("the policy was too late for {late} chunks; the default decided");
        self.tell_with(EventKind::Policy, "error", None, message, Detail::None);
    }

    /// Tells an event about a torrent, without details.
    pub(super) fn tell(
        &self,
        kind: EventKind,
        what: &'static str,
        torrent: TorrentId,
        message: String,
    ) {
        self.tell_with(kind, what, Some(torrent), message, Detail::None);
    }

    pub(super) fn tell_with(
        &self,
        kind: EventKind,
        what: &'static str,
        torrent: Option<TorrentId>,
        message: String,
        detail: Detail,
    ) {
        let info_hash = torrent.and_then(|id| self.info_hash(id));
        self.events.emit(NewEvent { kind, what, torrent, info_hash, message, detail });
    }

    fn torrent_detail(&self, view: TorrentView) -> Detail {
        let place = self.place(view.id).map(|place| place.location.display().to_string());
        Detail::Torrent(Box::new(view), place.unwrap_or_default())
    }

    fn info_hash(&self, id: TorrentId) -> Option<InfoHash> {
        let of_torrent = self.torrents.get(&id).map(|torrent| torrent.info_hash);
        of_torrent.or_else(|| self.quests.get(&id).map(|quest| quest.info_hash))
    }

    pub(super) fn hash_text(&self, id: TorrentId) -> String {
        self.info_hash(id).map(|hash| hash.to_string()).unwrap_or_default()
    }
}

/// How the having of a piece changed.
#[derive(Clone, Copy)]
enum Change {
    Had,
    Lost,
}

/// The next of the moments at which chunk events are told.
fn next_beat(now: Timestamp) -> Timestamp {
    let every = CHUNK_EVENTS_EVERY.as_micros() as u64;
    Timestamp((now.0 / every + 1) * every)
}

fn told(view: &TorrentView) -> Told {
    Told {
        state: view.state,
        error: view.error.clone(),
        tracker_connected: view.tracker_connected,
        announcing: view.announcing,
    }
}

fn ending(view: &JobView) -> String {
    match &view.ended {
        Some((_, Err(error))) => format!(": {error}"),
        Some((_, Ok(_))) => " well".to_owned(),
        None => String::new(),
    }
}

/// The beginning and the end of a job; on its way it is in the event stream.
fn log_job(what: &'static str, view: &JobView) {
    if matches!(view.kind, JobKind::RequestDownload(_)) {
        return; // One for each chunk that somebody asks for.
    }
    let (job, kind) = (view.id.0, job_name(&view.kind));
    // A creation has none.
    let torrent = view.info_hash.map(|hash| hash.to_string());
    match &view.ended {
        None if what == "began" => tracing::info!(torrent, job, kind, "job began"),
        None => {}
        Some((_, Ok(_))) => tracing::info!(torrent, job, kind, "job ended"),
        Some((_, Err(error))) => tracing::info!(torrent, job, kind, %error, "job failed"),
    }
}

fn job_name(kind: &JobKind) -> &'static str {
    match kind {
        JobKind::AutoDownload => "auto_download",
        JobKind::RequestDownload(_) => "request_download",
        JobKind::Create => "creation",
        JobKind::Verify => "verification",
    }
}

/// The name of a torrent's state, for programs.
pub(crate) fn state_name(state: TorrentState) -> &'static str {
    match state {
        TorrentState::Checking => "checking",
        TorrentState::Idle => "idle",
        TorrentState::Downloading => "downloading",
        TorrentState::Seeding => "seeding",
        TorrentState::Paused => "paused",
        TorrentState::DiskFull => "disk_full",
        TorrentState::Error => "error",
        TorrentState::Quit => "quit",
    }
}

/// Scheme, host and port of a tracker: the rest of an announce URL may be a secret.
pub(super) fn tracker_name(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_an_announce_url_is_not_told() {
        let name = tracker_name("http://10.0.0.1:7001/announce?passkey=1");
        assert_eq!(name, "http://10.0.0.1:7001");
        assert_eq!(tracker_name("udp://t"), "udp://t");
        assert_eq!(tracker_name("nonsense"), "nonsense");
    }
}
