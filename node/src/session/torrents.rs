//! What the shell keeps of a torrent: its data on disk, what is served of it, what is yet to be
//! told and kept.
//!
//! Never here: what the session knows.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};

use shoal_core::{
    ids::{InfoHash, PieceIndex, TorrentId},
    metainfo::Metainfo,
    session::{command::Resume, view::TorrentState},
    time::Timestamp,
};

use crate::{
    disk::{self, DiskError, TorrentStore},
    net::{BlockSource, Content, HaveMap, Rates, Source, SourceError, Swarm},
};

/// A torrent of the shell.
pub(super) struct Torrent {
    pub(super) info_hash: InfoHash,
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) store: TorrentStore,
    pub(super) swarm: Arc<Swarm>,
    /// The pieces that its swarm serves.
    pub(super) served: Arc<HaveMap>,
    /// A copy is with every disk job of the torrent: alone, nobody uses its data.
    pub(super) alive: Arc<()>,
    /// Ends its background checks.
    pub(super) stop: Arc<AtomicBool>,
    /// Something of it is to be committed.
    pub(super) uncommitted: bool,
    /// What its record says.
    pub(super) resume: Resume,
    /// The totals its record says: downloaded, uploaded.
    pub(super) totals: (u64, u64),
    /// What its connections together may send and receive, beside the node's limits.
    pub(super) rates: Rates,
    /// What was told last of its state.
    pub(super) told: Option<Told>,
    pub(super) chunks: Chunks,
}

/// What an event about a torrent's state says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Told {
    pub(super) state: TorrentState,
    pub(super) error: Option<String>,
    pub(super) tracker_connected: bool,
    pub(super) announcing: bool,
}

/// Pieces that came and went and were not told yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    have: BTreeSet<PieceIndex>,
    lost: BTreeSet<PieceIndex>,
    /// When the next event may go out.
    pub(super) due: Timestamp,
}

/// The most pieces of one event, had and lost each (node.proto, `ChunkChange`).
pub(super) const CHUNKS_PER_EVENT: usize = 4096;

impl Torrent {
    pub(super) fn new(
        id: TorrentId,
        metainfo: Arc<Metainfo>,
        store: TorrentStore,
        served: HaveMap,
        resume: Resume,
        totals: (u64, u64),
    ) -> Self {
        let served = Arc::new(served);
        let content = Content {
            metainfo: metainfo.clone(),
            served: served.clone(),
            source: Arc::new(OnDisk(store.clone())),
        };
        let swarm = Arc::new(Swarm {
            torrent: id,
            info_hash: metainfo.info_hash,
            content: Some(content),
            limits: Arc::default(),
        });
        Self {
            info_hash: metainfo.info_hash,
            metainfo,
            store,
            swarm,
            served,
            alive: Arc::new(()),
            stop: Arc::default(),
            uncommitted: false,
            resume,
            totals,
            rates: Rates::default(),
            told: None,
            chunks: Chunks::default(),
        }
    }

    /// Whether no disk job uses its data.
    pub(super) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.alive) == 1
    }

    /// The pieces that touch a file, as far as they are served; they are not from then on.
    pub(super) fn withdraw(&self, file: usize) -> Vec<PieceIndex> {
        let Some(entry) = self.metainfo.files.get(file) else { return Vec::new() };
        let pieces = self.metainfo.layout().pieces_of(entry.offset, entry.len);
        let served = &self.served;
        pieces
            .map(PieceIndex)
            .filter(|&piece| {
                let was = served.get(piece);
                served.clear(piece);
                was
            })
            .collect()
    }

    /// The files that hold bytes of a piece.
    pub(super) fn files_of(&self, piece: PieceIndex) -> Vec<usize> {
        let layout = self.metainfo.layout();
        let slices = layout.slices(piece, 0, layout.piece_len());
        slices.filter(|slice| !slice.pad).map(|slice| slice.file).collect()
    }
}

impl Chunks {
    pub(super) fn came(&mut self, piece: PieceIndex) {
        self.lost.remove(&piece);
        self.have.insert(piece);
    }

    pub(super) fn went(&mut self, piece: PieceIndex) {
        self.have.remove(&piece);
        self.lost.insert(piece);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.have.is_empty() && self.lost.is_empty()
    }

    /// The pieces of the next event, had and lost, in order; the rest stays.
    pub(super) fn take(&mut self) -> (Vec<PieceIndex>, Vec<PieceIndex>) {
        (first(&mut self.have), first(&mut self.lost))
    }
}

/// The first [`CHUNKS_PER_EVENT`] pieces.
fn first(pieces: &mut BTreeSet<PieceIndex>) -> Vec<PieceIndex> {
    std::iter::from_fn(|| pieces.pop_first()).take(CHUNKS_PER_EVENT).collect()
}

/// The data of a torrent as its connections read it.
struct OnDisk(TorrentStore);

impl BlockSource for OnDisk {
    fn source(&self, piece: PieceIndex, offset: u32, len: u32) -> Result<Vec<Source>, SourceError> {
        let sources = self.0.source(piece, offset, len).map_err(|error| match error {
            DiskError::Changed { file } => SourceError::Changed(changed(self.0.metainfo(), file)),
            DiskError::Range { .. } => SourceError::Missing(piece.0),
            DiskError::Full { .. }
            | DiskError::Io { .. }
            | DiskError::ReadOnly { .. }
            | DiskError::Overtaken { .. } => SourceError::Io(error.to_string()),
        })?;
        // No slice is longer than its piece, of at most 64 MiB.
        let to_net = |source| match source {
            disk::Source::File { file, offset, len } => {
                Source::File { file, offset, len: len as u32 }
            }
            disk::Source::Zeros(len) => Source::Zeros(len as u32),
        };
        Ok(sources.into_iter().map(to_net).collect())
    }
}

/// That a file changed, for a person.
pub(super) fn changed(metainfo: &Metainfo, file: usize) -> String {
    let path = metainfo.files.get(file).map(|file| file.joined());
    let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| metainfo.name.clone());
    format!("{path} changed on disk")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(indexes: std::ops::Range<u32>) -> Vec<PieceIndex> {
        indexes.map(PieceIndex).collect()
    }

    #[test]
    fn an_event_holds_so_many_pieces_and_the_rest_follows() {
        let mut chunks = Chunks::default();
        for piece in pieces(0..CHUNKS_PER_EVENT as u32 + 1).into_iter().rev() {
            chunks.came(piece);
        }
        assert_eq!(chunks.take(), (pieces(0..CHUNKS_PER_EVENT as u32), vec![]));
        assert!(!chunks.is_empty());
        let last = CHUNKS_PER_EVENT as u32;
        assert_eq!(chunks.take(), (pieces(last..last + 1), vec![]));
        assert!(chunks.is_empty());
    }

    #[test]
    fn a_piece_that_came_and_went_is_told_as_it_ended() {
        let mut chunks = Chunks::default();
        chunks.came(PieceIndex(1));
        chunks.went(PieceIndex(1));
        chunks.went(PieceIndex(2));
        chunks.came(PieceIndex(2));
        assert_eq!(chunks.take(), (pieces(2..3), pieces(1..2)));
    }
}
