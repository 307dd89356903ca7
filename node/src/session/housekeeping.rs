//! What the loop does by the clock: commits, totals, looks at files, chunk events, the wedged
//! policy, torrents on their way out.
//!
//! Never here: the acts themselves where they may wait; those go to the store's room.

use std::{collections::BTreeSet, time::Duration};

use shoal_core::{
    config::MIB,
    ids::{InfoHash, PieceIndex, TorrentId},
    session::{Event, event::PieceOutcome},
    time::Timestamp,
};

use super::{
    conducts::Conducts,
    inbox::{DiskNews, Input},
    opening::real_files,
    perform::guarded,
    run::Shell,
    torrents::{self, Torrent},
};
use crate::disk::{CommitError, Place, TorrentStore};

/// Have-bits are committed at least this often while there are writes (§10 of the design).
const COMMIT_EVERY: Duration = Duration::from_secs(2);
/// Have-bits are committed after so many written bytes (§10 of the design).
const COMMIT_BYTES: u64 = 64 * MIB;
/// Lifetime totals are kept this often.
const TOTALS_EVERY: Duration = Duration::from_secs(10);
/// Merged and seeded files are looked at this often, so that a change is noticed even when nobody
/// asks for them.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Files looked at in one round: a round of 2 000 takes some milliseconds.
const LOOKS_MAX: usize = 2000;
/// How often the policy thread is looked at while a script is in force or being loaded.
const POLICY_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether a torrent that left is still in use by a disk job.
const LEAVE_EVERY: Duration = Duration::from_millis(50);
/// Chunk events of one torrent are this far apart (§12 of the design: four a second).
pub(super) const CHUNK_EVENTS_EVERY: Duration = Duration::from_millis(250);
/// Events about a late policy are this far apart.
pub(super) const LATE_EVENTS_EVERY: Duration = Duration::from_secs(10);

/// What is due when.
#[derive(Default)]
pub(super) struct Chores {
    /// Bytes written since the last commit began.
    uncommitted_bytes: u64,
    /// When the next commit is due; none where nothing is uncommitted.
    commit: Option<Timestamp>,
    committing: bool,
    totals: Timestamp,
    look: Timestamp,
    looking: bool,
    look_from: Option<(TorrentId, usize)>,
    policy: Timestamp,
    leave: Timestamp,
    /// What of torrents' conduct waits to be kept.
    pub(super) conducts: Conducts,
    /// Torrents with chunk events to be told.
    pub(super) chunks: BTreeSet<TorrentId>,
    /// Torrents that left and whose data a disk job may still use; whether merged files go too.
    pub(super) leaving: Vec<(Torrent, bool)>,
    pub(super) late_chunks: usize,
    pub(super) late_due: Timestamp,
}

impl Chores {
    /// A round of looks ended.
    pub(super) fn looked(&mut self, now: Timestamp, next: Option<(TorrentId, usize)>) {
        self.looking = false;
        self.look_from = next;
        self.look = now + LOOK_EVERY;
    }
}

impl Shell {
    /// When the next chore is due.
    pub(super) fn next_chore(&self) -> Timestamp {
        let chores = &self.chores;
        let when = |due: bool, at: Timestamp| if due { at } else { Timestamp::NEVER };
        let chunks = chores.chunks.iter().filter_map(|id| self.torrents.get(id));
        let chunks = chunks.map(|torrent| torrent.chunks.due).min();
        let torrents = !self.torrents.is_empty();
        [
            when(!chores.committing, chores.commit.unwrap_or(Timestamp::NEVER)),
            when(torrents, chores.totals),
            when(torrents && !chores.looking, chores.look),
            when(self.policies.is_watched(), chores.policy),
            when(!chores.leaving.is_empty(), chores.leave),
            chunks.unwrap_or(Timestamp::NEVER),
        ]
        .into_iter()
        .min()
        .unwrap_or(Timestamp::NEVER)
    }

    pub(super) fn do_chores(&mut self, now: Timestamp) {
        if !self.chores.committing && self.chores.commit.is_some_and(|due| due <= now) {
            self.commit();
        }
        if self.chores.totals <= now {
            self.chores.totals = now + TOTALS_EVERY;
            let totals = self.changed_totals();
            self.save_totals(totals);
        }
        if !self.chores.looking && self.chores.look <= now && !self.torrents.is_empty() {
            self.look(now);
        }
        if self.policies.is_watched() && self.chores.policy <= now {
            self.chores.policy = now + POLICY_EVERY;
            self.check_policy(now);
        }
        if !self.chores.leaving.is_empty() && self.chores.leave <= now {
            self.chores.leave = now + LEAVE_EVERY;
            self.remove_unused();
        }
        self.tell_chunks(now);
    }

    /// Runs work in the store's room, in the order it is given.
    pub(super) fn in_store(&self, work: impl FnOnce() + Send + 'static) {
        if let Err(refused) = self.rooms.store.submit(work) {
            tracing::error!(%refused, "something was not kept");
        }
    }

    pub(super) fn note_written(
        &mut self,
        torrent: TorrentId,
        piece: PieceIndex,
        outcome: &PieceOutcome,
    ) {
        if matches!(outcome, PieceOutcome::Written { .. }) {
            let known = self.torrents.get(&torrent);
            let bytes = known.map_or(0, |torrent| torrent.metainfo.layout().piece_size(piece));
            self.mark_uncommitted(torrent, bytes.into());
        }
    }

    /// Something is to be committed: soon, at once where so many bytes were written since the last
    /// commit.
    pub(super) fn mark_uncommitted(&mut self, torrent: TorrentId, bytes: u64) {
        let Some(known) = self.torrents.get_mut(&torrent) else { return };
        known.uncommitted = true;
        let now = self.clock.now();
        let chores = &mut self.chores;
        chores.uncommitted_bytes += bytes;
        let due = chores.commit.unwrap_or(now + COMMIT_EVERY);
        chores.commit = Some(if chores.uncommitted_bytes >= COMMIT_BYTES { now } else { due });
    }

    fn commit(&mut self) {
        self.chores.commit = None;
        self.chores.uncommitted_bytes = 0;
        let due = self.torrents.iter_mut().filter(|(_, torrent)| torrent.uncommitted);
        let due: Vec<_> = due
            .map(|(&id, torrent)| {
                torrent.uncommitted = false;
                (id, torrent.store.clone(), torrent.alive.clone())
            })
            .collect();
        if due.is_empty() {
            return;
        }
        self.chores.committing = true;
        let inbox = self.inbox.clone();
        self.in_store(move || {
            let commit = |(id, store, _): &(TorrentId, TorrentStore, _)| {
                (*id, store.commit().map(|pieces| pieces.len()))
            };
            let results = guarded(|| due.iter().map(commit).collect(), Vec::new);
            inbox.tell(Input::Disk(DiskNews::Committed(results)));
        });
    }

    pub(super) fn on_committed(&mut self, results: Vec<(TorrentId, Result<usize, CommitError>)>) {
        self.chores.committing = false;
        self.meters.committed(results.iter().all(|(_, result)| result.is_ok()));
        for (id, result) in results {
            match result {
                Ok(pieces) => {
                    tracing::debug!(torrent = self.hash_text(id), pieces, "committed");
                }
                Err(CommitError { lost, source }) => {
                    let cause = source.to_string();
                    let torrent = self.hash_text(id);
                    tracing::error!(torrent, cause, lost = lost.len(), "commit failed");
                    // What was not lost is committed the next time.
                    self.mark_uncommitted(id, 0);
                    if !lost.is_empty() {
                        self.on_lost(id, lost, cause);
                    }
                }
            }
        }
    }

    /// Pieces are gone: a sync failed before they were committed.
    pub(super) fn on_lost(&mut self, torrent: TorrentId, pieces: Vec<PieceIndex>, cause: String) {
        if let Some(known) = self.torrents.get(&torrent) {
            pieces.iter().for_each(|&piece| known.served.clear(piece));
        }
        self.feed(Event::PiecesLost { torrent, pieces, cause });
    }

    /// A connection found that it cannot read a piece.
    pub(super) fn on_source_changed(&mut self, id: TorrentId, piece: PieceIndex, cause: &str) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        let files = torrent.files_of(piece);
        let mut pieces: Vec<_> =
            files.into_iter().flat_map(|file| torrent.withdraw(file)).collect();
        pieces.sort_unstable();
        pieces.dedup();
        self.doubt(id, pieces, cause.to_owned());
    }

    /// A file is not what it was.
    pub(super) fn on_file_changed(&mut self, id: TorrentId, file: usize) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        let (pieces, cause) = (torrent.withdraw(file), torrents::changed(&torrent.metainfo, file));
        self.doubt(id, pieces, cause);
    }

    fn doubt(&mut self, torrent: TorrentId, pieces: Vec<PieceIndex>, cause: String) {
        self.mark_uncommitted(torrent, 0);
        if !pieces.is_empty() {
            self.feed(Event::PiecesDoubtful { torrent, pieces, cause });
        }
    }

    /// The totals that are not kept yet.
    pub(super) fn changed_totals(&mut self) -> Vec<(InfoHash, u64, u64)> {
        let mut changed = Vec::new();
        for (&id, torrent) in &mut self.torrents {
            let Some(view) = self.session.torrent(id) else { continue };
            let totals = (view.downloaded, view.uploaded);
            if torrent.totals != totals {
                torrent.totals = totals;
                changed.push((torrent.info_hash, view.uploaded, view.downloaded));
            }
        }
        changed
    }

    fn save_totals(&self, totals: Vec<(InfoHash, u64, u64)>) {
        if totals.is_empty() {
            return;
        }
        let store = self.store.clone();
        self.in_store(move || {
            if let Err(error) = store.save_totals(&totals) {
                tracing::error!(%error, "totals were not kept");
            }
        });
    }

    /// Looks at merged and seeded files, so many a round.
    fn look(&mut self, now: Timestamp) {
        self.chores.looking = true;
        self.chores.look = now + LOOK_EVERY;
        let from = self.chores.look_from.take();
        let begins = from.map_or(TorrentId(0), |(id, _)| id);
        let torrents = self.torrents.range(begins..);
        let torrents: Vec<_> = torrents
            .map(|(&id, torrent)| (id, torrent.store.clone(), torrent.alive.clone()))
            .collect();
        let inbox = self.inbox.clone();
        self.in_store(move || {
            let look = || {
                let found = |torrent, file| {
                    inbox.tell(Input::Disk(DiskNews::FileChanged { torrent, file }));
                };
                let torrents = torrents.iter().map(|(id, store, _)| (*id, store));
                look_at(torrents, from, found)
            };
            let next = guarded(look, || None);
            inbox.tell(Input::Disk(DiskNews::Looked { next }));
        });
    }
}

/// Looks at files from a place on, as many as make a round. Tells which changed, and where the
/// next round begins: none where everything was looked at.
fn look_at<'a>(
    torrents: impl Iterator<Item = (TorrentId, &'a TorrentStore)>,
    from: Option<(TorrentId, usize)>,
    mut found: impl FnMut(TorrentId, usize),
) -> Option<(TorrentId, usize)> {
    let mut left = LOOKS_MAX;
    for (id, store) in torrents {
        let first = from.filter(|(at, _)| *at == id).map_or(0, |(_, file)| file);
        for file in real_files(store.metainfo()).filter(|&file| file >= first) {
            if left == 0 {
                return Some((id, file));
            }
            left -= 1;
            if store.place_of(file).is_none_or(|(place, _)| place == Place::Chunks) {
                continue;
            }
            match store.is_changed(file) {
                Ok(true) => found(id, file),
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "a file cannot be looked at"),
            }
        }
    }
    None
}
