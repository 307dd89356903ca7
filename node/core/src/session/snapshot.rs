//! Views: how things stand, as plain values, made on demand.

use super::{
    Chooser, Identity, Session,
    decisions::Decision,
    jobs::Job,
    view::{
        ConnView, JobKind, JobView, PeerSetView, PieceState, TorrentState, TorrentView, TrackerView,
    },
};
use crate::{
    bitfield::Bitfield,
    config::Config,
    ids::{ConnId, InfoHash, JobId, PieceIndex, TorrentId},
    peer::{Conn, Origin},
    torrent::{Condition, Torrent, book::Source},
};

/// Names of chunks that a view lists.
const NAMES_MAX: usize = 20;

impl Session {
    /// Who this node is to others.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The tunables in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// By whom peers are chosen: for a torrent's downloads, or for the node.
    #[must_use]
    pub fn chooser(&self, torrent: Option<TorrentId>) -> Chooser {
        torrent.map_or(self.chooser, |id| self.chooser_of(id))
    }

    /// The last decisions after a sequence, oldest first.
    pub fn decisions_after(&self, sequence: u64) -> impl Iterator<Item = &Decision> {
        self.decisions.after(sequence)
    }

    /// The torrent of an info hash.
    #[must_use]
    pub fn by_hash(&self, info_hash: &InfoHash) -> Option<TorrentId> {
        self.by_hash.get(info_hash).copied()
    }

    /// Every torrent, in order of name, then info hash.
    #[must_use]
    pub fn torrents(&self) -> Vec<TorrentView> {
        let mut views = self.torrents.values().map(|t| self.torrent_view(t)).collect::<Vec<_>>();
        views.sort_by(|a, b| {
            let key = |view: &TorrentView| (view.metainfo.name.clone(), view.metainfo.info_hash);
            key(a).cmp(&key(b))
        });
        views
    }

    /// One torrent.
    #[must_use]
    pub fn torrent(&self, id: TorrentId) -> Option<TorrentView> {
        self.torrents.get(&id).map(|torrent| self.torrent_view(torrent))
    }

    /// The connections of a torrent, in the order they were made.
    #[must_use]
    pub fn connections(&self, id: TorrentId) -> Vec<ConnView> {
        let conns = self.torrents.get(&id).map(|torrent| torrent.conns.as_slice());
        conns.unwrap_or_default().iter().map(|&conn| self.conn_view(conn)).collect()
    }

    /// Connections in all, those of quests included.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.conns.len() + self.quest_conns.len()
    }

    /// The last peer set of a torrent.
    #[must_use]
    pub fn peer_set(&self, id: TorrentId) -> Option<&PeerSetView> {
        self.torrents.get(&id).map(Torrent::peer_set)
    }

    /// How the trackers of a torrent stand.
    #[must_use]
    pub fn tracker(&self, id: TorrentId) -> Option<TrackerView> {
        self.torrents.get(&id).map(|torrent| torrent.announcing.view())
    }

    /// The pieces had of a torrent.
    #[must_use]
    pub fn have(&self, id: TorrentId) -> Option<&Bitfield> {
        self.torrents.get(&id).map(Torrent::have)
    }

    /// A piece's state, and how many connected peers have it.
    #[must_use]
    pub fn piece(&self, id: TorrentId, piece: PieceIndex) -> Option<(PieceState, u32)> {
        let torrent = self.torrents.get(&id)?;
        let there = torrent.metainfo.layout().has_piece(piece);
        there.then(|| (torrent.pieces.state(piece), torrent.picker.availability(piece)))
    }

    /// The pieces that are begun and not yet verified, in order.
    pub fn in_flight(&self, id: TorrentId) -> impl Iterator<Item = PieceIndex> + '_ {
        let pieces = self.torrents.get(&id).map(|torrent| &torrent.pieces);
        pieces.into_iter().flat_map(|pieces| pieces.open().map(|(piece, _)| piece))
    }

    /// Every job: running ones first, then ended ones, newest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobView> {
        let mut jobs = self.jobs.values().collect::<Vec<_>>();
        jobs.sort_by_key(|job| (!job.is_running(), std::cmp::Reverse(job.id)));
        jobs.into_iter().map(|job| self.job_view(job)).collect()
    }

    /// One job.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobView> {
        self.jobs.get(&id).map(|job| self.job_view(job))
    }

    /// Checks what must hold across the session; for tests and simulation.
    ///
    /// # Panics
    /// Where it does not: our own mistake.
    pub fn check_invariants(&self) {
        self.check_quests();
        self.check_loads();
        for torrent in self.torrents.values() {
            torrent.pieces.check_invariants();
            torrent.roster.check_invariants();
            torrent.book.check_invariants();
            for conn in &torrent.conns {
                assert_eq!(self.conns[conn].torrent, torrent.id, "torrent of {conn:?}");
            }
            let done: u64 = torrent.have().iter_ones().map(|piece| torrent.content_of(piece)).sum();
            assert_eq!(done, torrent.done_bytes, "done bytes");
            let (selection, metainfo) = (torrent.selection(), &torrent.metainfo);
            let had = torrent.have().iter_ones();
            let done: u64 = had.map(|piece| selection.bytes_of(metainfo, piece)).sum();
            assert_eq!(done, torrent.wanted_done_bytes, "done bytes of what is wanted");
            for piece in (0..metainfo.piece_count()).map(PieceIndex) {
                let waits = torrent.picker.waiting().get(piece);
                assert_eq!(waits, torrent.pieces.waits(piece), "waiting of {piece:?}");
            }
        }
        let web_seeds = self.conns.values().filter(|c| c.origin == Origin::WebSeed).count();
        assert_eq!(web_seeds, self.web_seed_conns, "web seeds");
        let open = self.torrents.values().map(|torrent| torrent.web_seeds.open_count());
        assert_eq!(web_seeds, open.sum::<usize>(), "open web seeds");
        for (id, conn) in self.conns.iter() {
            let torrent = &self.torrents[&conn.torrent];
            assert!(torrent.conns.contains(&id), "{id:?} is not listed in its torrent");
            let lacking = conn.have.iter_ones().filter(|&p| torrent.pieces.lacking().get(p));
            let interesting = conn.interests(torrent.pieces.lacking());
            assert_eq!(lacking.count() as u32, interesting, "interesting pieces of {id:?}");
            let now_known = torrent.roster.row(id).filter(|_| !self.conns.is_noted(id));
            if let Some(row) = now_known.filter(|_| conn.slots_max.is_none()) {
                let place = self.conns.place(&id).expect("it is there");
                assert_eq!(row, self.row_of(place, conn), "{id:?} in the roster");
            }
            for lease in &conn.leases {
                assert_eq!(self.leases[lease].conn, id, "holder of {lease:?}");
            }
        }
    }

    fn torrent_view(&self, torrent: &Torrent) -> TorrentView {
        TorrentView {
            id: torrent.id,
            metainfo: torrent.metainfo.clone(),
            state: state_of(torrent),
            error: match &torrent.condition {
                Condition::DiskFull(cause) | Condition::Failed(cause) => Some(cause.clone()),
                Condition::Active | Condition::Paused | Condition::Quit => None,
            },
            done_bytes: torrent.done_bytes,
            total_bytes: torrent.metainfo.layout().content_len(),
            selection: torrent.selection().clone(),
            wanted_bytes: torrent.wanted_bytes,
            wanted_done_bytes: torrent.wanted_done_bytes,
            pieces_have: torrent.have().count_ones() as u32,
            pieces_checking: torrent.checking,
            peers: torrent.conns.len(),
            downloaded: torrent.downloaded,
            uploaded: torrent.uploaded,
            download_bps: torrent.rate_in.bps(),
            upload_bps: torrent.rate_out.bps(),
            wasted: torrent.wasted,
            failed_pieces: torrent.failed_pieces,
            tracker_connected: torrent.announcing.view().connected,
            announcing: torrent.announcing.is_wanted() || torrent.resume_announcing,
            auto_download: torrent.auto_download.is_some(),
            web_seeds: torrent.web_seeds.views(self.now),
        }
    }

    fn conn_view(&self, conn: ConnId) -> ConnView {
        let state = &self.conns[&conn];
        ConnView {
            conn,
            addr: state.address(),
            peer_id: state.peer_id,
            client: state.client.clone(),
            outgoing: state.origin != Origin::Incoming,
            am_choking: state.am_choking,
            am_interested: state.am_interested,
            peer_choking: state.peer_choking,
            peer_interested: state.peer_interested,
            snubbed: state.snubbed,
            download_bps: state.rate_in.bps(),
            upload_bps: state.rate_out.bps(),
            downloaded: state.downloaded,
            uploaded: state.uploaded,
            pieces_have: state.have.count_ones(),
            inflight: state.leases.len() as u32,
            slots: self.slots_of(conn),
            since: state.since,
            extended: state.terms.extended,
            shoal: state.shoal.is_some(),
            labels: state.labels.clone(),
            verified_pieces: state.verified_pieces,
            source: self.source_of(state),
            ignored_exchanges: state.gossip.ignored,
        }
    }

    /// How we came to a peer: where we had its address from, if we dialled it.
    fn source_of(&self, conn: &Conn) -> Option<Source> {
        let book = self.torrents.get(&conn.torrent).map(|torrent| &torrent.book);
        match conn.origin {
            Origin::Incoming => Some(Source::Incoming),
            Origin::Operator => Some(Source::Operator),
            Origin::Dialled => {
                let known = book.and_then(|book| book.source(&conn.address()));
                Some(known.unwrap_or(Source::Operator))
            }
            Origin::WebSeed => None,
        }
    }

    fn job_view(&self, job: &Job) -> JobView {
        let torrent = job.torrent.and_then(|id| self.torrents.get(&id));
        let mut view = JobView {
            id: job.id,
            kind: job.kind.clone(),
            torrent: torrent.map(|torrent| torrent.id),
            info_hash: job.info_hash,
            name: job.name.clone(),
            done_bytes: job.bytes.0,
            total_bytes: job.bytes.1,
            done_pieces: job.pieces.0,
            total_pieces: job.pieces.1,
            rate_bps: self.rate_of(job, torrent),
            peers: torrent.map_or(0, |torrent| torrent.conns.len()),
            phase: self.phase(job, torrent),
            waiting_for: Vec::new(),
            began: job.began,
            ended: job.ended.clone(),
        };
        let Some(torrent) = torrent.filter(|_| job.is_running()) else { return view };
        match job.kind {
            JobKind::AutoDownload => {
                let (wanted, lacking) = (torrent.pieces.wanted(), torrent.pieces.lacking());
                view.done_bytes = torrent.wanted_done_bytes;
                view.total_bytes = torrent.wanted_bytes;
                view.done_pieces = (wanted.count_ones() - lacking.count_ones()) as u32;
                view.total_pieces = wanted.count_ones() as u32;
                let running = job.ended.is_none() && torrent.condition == Condition::Active;
                if view.phase == WAITING || (running && torrent.conns.is_empty()) {
                    let (_, pieces) = torrent.picker.unavailable(NAMES_MAX);
                    let names = pieces.iter().map(|&piece| torrent.metainfo.chunk_name(piece));
                    view.waiting_for = names.collect();
                }
            }
            JobKind::RequestDownload(piece) => {
                let leases = self.leases.values();
                let of = leases.filter(|l| l.torrent == torrent.id && l.piece == piece);
                let under_way = of.map(|lease| u64::from(lease.received)).sum::<u64>();
                let open = torrent.pieces.opened(piece).map_or(0, |open| {
                    open.extents.iter().map(|extent| u64::from(extent.filled)).sum()
                });
                let had = torrent.have().get(piece);
                view.done_bytes =
                    if had { job.bytes.1 } else { (under_way + open).min(job.bytes.1) };
                view.done_pieces = u32::from(had);
                view.total_pieces = 1;
            }
            JobKind::Verify => view.total_bytes = torrent.metainfo.total_len(),
            JobKind::Create => {}
        }
        view
    }

    /// The rate of a job: its torrent's while it runs, its mean once it has ended.
    fn rate_of(&self, job: &Job, torrent: Option<&Torrent>) -> u64 {
        match (&job.ended, &job.kind) {
            (Some((at, _)), _) => {
                let micros = at.since(job.began).as_micros().max(1);
                u64::try_from(u128::from(job.moved) * 1_000_000 / micros).unwrap_or(u64::MAX)
            }
            (None, JobKind::AutoDownload | JobKind::RequestDownload(_)) => {
                torrent.map_or(0, |torrent| torrent.rate_in.bps())
            }
            (None, JobKind::Create | JobKind::Verify) => {
                let micros = self.now.since(job.began).as_micros().max(1);
                u64::try_from(u128::from(job.bytes.0) * 1_000_000 / micros).unwrap_or(u64::MAX)
            }
        }
    }

    /// What a job is at, for a person.
    fn phase(&self, job: &Job, torrent: Option<&Torrent>) -> String {
        let fixed = match (&job.ended, &job.kind) {
            (Some((_, Ok(_))), _) => "done",
            (Some((_, Err(_))), _) => "ended",
            (None, JobKind::Create) => "hashing",
            (None, JobKind::Verify) => "verifying",
            (None, JobKind::RequestDownload(_)) => "downloading",
            (None, JobKind::AutoDownload) if job.merging => "merging",
            (None, JobKind::AutoDownload) => {
                return torrent.map_or(String::new(), |torrent| self.download_phase(torrent));
            }
        };
        fixed.to_owned()
    }

    fn download_phase(&self, torrent: &Torrent) -> String {
        let announcing = &torrent.announcing;
        match &torrent.condition {
            Condition::Paused => return "paused".to_owned(),
            Condition::DiskFull(_) => return "waiting for room on the disk".to_owned(),
            Condition::Active | Condition::Failed(_) | Condition::Quit => {}
        }
        let fetching = torrent.pieces.open().next().is_some();
        if !fetching && torrent.checking > 0 {
            return "checking what is on disk".to_owned();
        }
        if torrent.conns.is_empty() {
            return match announcing.last_error() {
                Some(cause) => format!("tracker does not answer, trying again: {cause}"),
                None if announcing.has_tracker() && !announcing.is_started() => {
                    "connecting to the tracker".to_owned()
                }
                None => "looking for peers".to_owned(),
            };
        }
        let available = torrent.conns.iter().any(|&conn| self.interests(conn));
        let phase = if fetching || available { "downloading" } else { WAITING };
        phase.to_owned()
    }
}

/// The phase of a download for which nobody has what is left.
const WAITING: &str = "waiting for chunks nobody has";

pub(super) fn state_of(torrent: &Torrent) -> TorrentState {
    match &torrent.condition {
        Condition::Paused => TorrentState::Paused,
        Condition::Quit => TorrentState::Quit,
        Condition::DiskFull(_) => TorrentState::DiskFull,
        Condition::Failed(_) => TorrentState::Error,
        Condition::Active if torrent.is_finished() => TorrentState::Seeding,
        Condition::Active if torrent.auto_download.is_some() => TorrentState::Downloading,
        Condition::Active if torrent.checking > 0 => TorrentState::Checking,
        Condition::Active => TorrentState::Idle,
    }
}
