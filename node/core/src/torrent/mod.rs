//! One torrent: its pieces, the order in which they are fetched, the peers it knows, its trackers.
//!
//! Each state has one owner here: [`pieces`] says where every piece and extent stands, [`picker`]
//! which piece is next, [`selection`] which files are wanted, [`book`] which addresses are known,
//! [`announcing`] how the trackers stand, [`local`] when it is announced on the local network,
//! [`blame`] who sent bad data, [`blind`] whom no policy can starve, [`web_seeds`] how HTTP servers
//! stand, [`roster`] who of the peers is asked first; `ranked` is the picker's order. [`Torrent`] holds
//! them together. Never here: connections, which belong to the session.

pub mod announcing;
pub mod blame;
pub mod blind;
pub mod book;
pub mod local;
pub mod picker;
pub mod pieces;
mod ranked;
pub mod roster;
pub mod selection;
pub mod web_seeds;

use std::sync::Arc;

use crate::{
    bitfield::Bitfield,
    config::EXTENT_LEN,
    ids::{ConnId, JobId, PeerId, PieceIndex, PolicyId, TorrentId},
    metainfo::Metainfo,
    policy::ChunkOrder,
    rate::Rate,
    rng::Rng,
    session::{Chooser, command::Resume, event::Opened, view::PeerSetView},
    time::Timestamp,
    tracker::announce::ShoalPeer,
};
use announcing::Announcing;
use blame::Blame;
use blind::Blind;
use book::Book;
use local::Local;
use picker::Picker;
use pieces::{ExtentPlan, Pieces};
use roster::Roster;
use selection::Selection;
use web_seeds::WebSeeds;

/// What a torrent is at, apart from what its pieces say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// It takes part.
    Active,
    /// Paused by an operator.
    Paused,
    /// Left by `quit_torrent`.
    Quit,
    /// The disk is full; tried again by itself.
    DiskFull(String),
    /// The disk failed; tried again by command.
    Failed(String),
}

/// What the policy of a torrent was told last, and when it advised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Which policy, and whether the download was in endgame.
    pub phase: Option<(PolicyId, bool)>,
    /// When it was told of a tick.
    pub tick: Timestamp,
    /// When it said last how pieces are to be ordered.
    pub order: Option<Timestamp>,
    /// When it said last how many slots are to be given.
    pub slots: Option<Timestamp>,
}

/// One torrent of the node.
#[derive(Debug)]
pub struct Torrent {
    /// Its handle.
    pub id: TorrentId,
    /// What it is.
    pub metainfo: Arc<Metainfo>,
    /// Where every piece stands.
    pub pieces: Pieces,
    /// Which piece is next.
    pub picker: Picker,
    /// Which addresses are known.
    pub book: Book,
    /// How the trackers stand.
    pub announcing: Announcing,
    /// When it is announced on the local network.
    pub local: Local,
    /// Who sent bad data.
    pub blame: Blame,
    /// What it is at.
    pub condition: Condition,
    /// Announcing goes on after a pause.
    pub resume_announcing: bool,
    /// The last peer set a tracker sent, and where in it a peer stands.
    peer_set: PeerSetView,
    places: Vec<(u32, u32)>,
    /// The auto_download at work.
    pub auto_download: Option<JobId>,
    /// Connections, in the order they were made.
    pub conns: Vec<ConnId>,
    /// Those to peers, as native policies see them.
    pub roster: Roster,
    /// Pieces that the store is checking.
    pub checking: u32,
    /// Lifetime payload bytes downloaded.
    pub downloaded: u64,
    /// Lifetime payload bytes served.
    pub uploaded: u64,
    /// Payload bytes received and discarded since the node started.
    pub wasted: u64,
    /// Pieces that failed their hash since the node started.
    pub failed_pieces: u32,
    /// Verified bytes without padding.
    pub done_bytes: u64,
    /// Bytes of the wanted files.
    pub wanted_bytes: u64,
    /// Of these, verified.
    pub wanted_done_bytes: u64,
    /// Smoothed bytes a second, in.
    pub rate_in: Rate,
    /// Smoothed bytes a second, out.
    pub rate_out: Rate,
    /// A script said `false`: no consultation before this.
    pub deferred_until: Timestamp,
    /// When the last lease was granted.
    pub last_grant: Timestamp,
    /// When a connection last gave way to another.
    pub made_room: Timestamp,
    /// By whom peers are chosen for it; none: as for the node.
    pub chooser: Option<Chooser>,
    /// The connections that a policy cannot starve.
    pub blind: Blind,
    /// HTTP servers that have it.
    pub web_seeds: WebSeeds,
    /// The last extents may be fetched twice.
    pub duplicate: bool,
    /// What the policy was told.
    pub told: Told,
    selection: Selection,
}

impl Torrent {
    /// Takes a torrent in, with what the store found of it.
    #[must_use]
    pub fn new(
        id: TorrentId,
        metainfo: Arc<Metainfo>,
        opened: &Opened,
        resume: Resume,
        selection: Selection,
        rng: &mut Rng,
        now: Timestamp,
    ) -> Self {
        let count = metainfo.piece_count();
        let mut pieces = Pieces::new(count);
        let mut picker = Picker::new(count, rng);
        for piece in opened.have.iter_ones() {
            pieces.found(piece);
            picker.remove(piece);
        }
        let mut checking = 0;
        for &piece in &opened.unverified {
            if pieces.is_missing(piece) {
                pieces.check(piece);
                picker.remove(piece);
                checking += 1;
            }
        }
        let condition = match resume {
            Resume { quit: true, .. } => Condition::Quit,
            Resume { paused: true, .. } => Condition::Paused,
            Resume { .. } => Condition::Active,
        };
        let mut torrent = Self {
            id,
            pieces,
            picker,
            book: Book::new(rng.u64()),
            announcing: Announcing::new(&metainfo.trackers, rng),
            local: Local::default(),
            blame: Blame::default(),
            condition,
            resume_announcing: resume.announce && resume.paused && !resume.quit,
            peer_set: PeerSetView::default(),
            places: Vec::new(),
            auto_download: None,
            conns: Vec::new(),
            roster: Roster::default(),
            checking,
            downloaded: opened.downloaded,
            uploaded: opened.uploaded,
            wasted: 0,
            failed_pieces: 0,
            done_bytes: 0,
            wanted_bytes: metainfo.layout().content_len(),
            wanted_done_bytes: 0,
            rate_in: Rate::new(now),
            rate_out: Rate::new(now),
            deferred_until: Timestamp::default(),
            last_grant: now,
            made_room: now,
            chooser: None,
            blind: Blind::default(),
            web_seeds: WebSeeds::new(&metainfo.web_seeds, rng),
            duplicate: true,
            told: Told::default(),
            selection: Selection::default(),
            metainfo,
        };
        torrent.done_bytes = opened.have.iter_ones().map(|piece| torrent.content_of(piece)).sum();
        torrent.wanted_done_bytes = torrent.done_bytes;
        torrent.select(selection);
        torrent
    }

    /// The last peer set a tracker sent.
    #[must_use]
    pub fn peer_set(&self) -> &PeerSetView {
        &self.peer_set
    }

    /// A tracker sent a peer set.
    pub fn take_peer_set(&mut self, set: PeerSetView) {
        let places = set.shoal.iter().zip(0..).map(|(peer, place)| (tail(&peer.id), place));
        self.places = places.collect();
        self.places.sort_unstable();
        self.peer_set = set;
    }

    /// What the tracker reported of a peer: found without a look at all that it named.
    #[must_use]
    pub fn reported(&self, id: &PeerId) -> Option<&ShoalPeer> {
        let tail = tail(id);
        let first = self.places.partition_point(|place| place.0 < tail);
        let alike = self.places[first..].iter().take_while(|place| place.0 == tail);
        let mut alike = alike.map(|place| &*self.peer_set.shoal[place.1 as usize]);
        alike.find(|peer| peer.id == *id)
    }

    /// Which files are wanted.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Changes which files are wanted. Pieces being fetched go on; what is had stays.
    pub fn select(&mut self, selection: Selection) {
        if selection == self.selection {
            return;
        }
        let metainfo = &self.metainfo;
        self.wanted_bytes = selection.bytes(metainfo);
        let had = self.pieces.have().iter_ones();
        self.wanted_done_bytes = had.map(|piece| selection.bytes_of(metainfo, piece)).sum();
        self.pieces.want(selection.pieces(metainfo));
        self.selection = selection;
        for piece in (0..self.metainfo.piece_count()).map(PieceIndex) {
            match self.pieces.waits(piece) {
                true => self.picker.insert(piece),
                false => self.picker.remove(piece),
            }
        }
    }

    /// A piece is neither had nor begun: it waits to be begun, where it is wanted.
    pub fn put_back(&mut self, piece: PieceIndex) {
        if self.pieces.waits(piece) {
            self.picker.insert(piece);
        }
    }

    /// Counts a piece that is had since now.
    pub fn count_had(&mut self, piece: PieceIndex) {
        self.done_bytes += self.content_of(piece);
        self.wanted_done_bytes += self.selection.bytes_of(&self.metainfo, piece);
    }

    /// Counts a piece that is had no longer.
    pub fn count_lost(&mut self, piece: PieceIndex) {
        self.done_bytes -= self.content_of(piece);
        self.wanted_done_bytes -= self.selection.bytes_of(&self.metainfo, piece);
    }

    /// The pieces had.
    #[must_use]
    pub fn have(&self) -> &Bitfield {
        self.pieces.have()
    }

    /// Whether every piece is had, wanted or not.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pieces.have().is_full()
    }

    /// Whether every wanted piece is had: a seed, or a partial seed (BEP 21).
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.pieces.lacking().count_ones() == 0
    }

    /// Bytes without padding that a piece holds.
    #[must_use]
    pub fn content_of(&self, piece: PieceIndex) -> u64 {
        let layout = self.metainfo.layout();
        let padding: u32 = layout.pad_ranges(piece).iter().map(|r| r.end - r.start).sum();
        u64::from(layout.piece_size(piece) - padding)
    }

    /// Bytes of the wanted files that are still missing.
    #[must_use]
    pub fn left_bytes(&self) -> u64 {
        self.wanted_bytes - self.wanted_done_bytes
    }

    /// How a piece is fetched: its extents, and what of them is padding.
    #[must_use]
    pub fn plan(&self, piece: PieceIndex) -> Vec<ExtentPlan> {
        let layout = self.metainfo.layout();
        let pads = layout.pad_ranges(piece);
        let extents = 0..layout.extent_count(piece);
        extents
            .map(|extent| {
                let range = layout.extent_range(piece, extent);
                let padding = pads.iter().map(|pad| whole_blocks(pad, &range)).sum();
                ExtentPlan { len: range.end - range.start, padding }
            })
            .collect()
    }

    /// The wanted files all of whose pieces are had, as indexes into the metainfo's files.
    #[must_use]
    pub fn complete_files(&self) -> Vec<usize> {
        let files = self.selection.regular(&self.metainfo);
        files.filter(|&file| self.missing_of(file).next().is_none()).collect()
    }

    /// The pieces of a file that are not had.
    pub fn missing_of(&self, file: usize) -> impl Iterator<Item = PieceIndex> + '_ {
        let pieces = self.metainfo.file_pieces(file).map(PieceIndex);
        pieces.filter(|&piece| !self.have().get(piece))
    }

    /// Takes an order of pieces, and whether the last ones may be fetched twice.
    pub fn take_order(&mut self, order: ChunkOrder) {
        self.picker.set_order(order.strategy, order.window);
        self.duplicate = order.duplicate;
    }

    /// Connections to peers, web seeds apart.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.conns.len() - self.web_seeds.open_count()
    }

    /// Whether its peers may be told of each other, and believed about it (BEP 27).
    #[must_use]
    pub fn gossips(&self) -> bool {
        !self.metainfo.private
    }

    /// Whether peers may connect and transfer.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        match self.condition {
            Condition::Active | Condition::DiskFull(_) | Condition::Failed(_) => true,
            Condition::Paused | Condition::Quit => false,
        }
    }

    /// Whether new leases may be granted for what is wanted.
    #[must_use]
    pub fn may_download(&self) -> bool {
        self.may_fetch() && !self.is_finished()
    }

    /// Whether new leases may be granted at all: an operator may ask for a piece that is not wanted.
    #[must_use]
    pub fn may_fetch(&self) -> bool {
        self.condition == Condition::Active
    }
}

/// The last bytes of a peer's id: its first ones are those of its client.
fn tail(id: &PeerId) -> u32 {
    let [.., a, b, c, d] = id.0;
    u32::from_be_bytes([a, b, c, d])
}

/// The blocks of `range` that lie wholly in `pad`, in bytes. Both are ranges within a piece; blocks
/// are counted from the piece's start, and its last one may be short.
fn whole_blocks(pad: &std::ops::Range<u32>, range: &std::ops::Range<u32>) -> u32 {
    let block = crate::config::BLOCK_LEN;
    debug_assert!(EXTENT_LEN.is_multiple_of(block));
    let start = pad.start.max(range.start).next_multiple_of(block);
    let end = pad.end.min(range.end);
    // A pad that reaches the end of the range takes its short last block too.
    let end = if end == range.end { end } else { end / block * block };
    end.saturating_sub(start)
}

#[cfg(test)]
mod tests;
