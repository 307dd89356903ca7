//! What disks do: hash and write pieces, refuse where they are full, look at what is there. Never
//! here: bytes; a piece is right where every block of it is.

use shoal_core::{
    config::BLOCK_LEN,
    ids::{PieceIndex, TorrentId},
    session::{
        Event,
        event::{BlockDigest, PieceOutcome},
    },
};

use super::{World, agenda::What, link::Block};
use crate::checks::Check;

impl World {
    pub(super) fn verify(&mut self, host: usize, piece: PieceIndex, compare: bool) {
        let layout = self.metainfo.layout();
        let len = layout.piece_size(piece);
        let extents = (0..layout.extent_count(piece)).map(|e| (e, layout.extent_range(piece, e)));
        let extents = extents.collect::<Vec<_>>();
        let (now, life) = (self.now, self.hosts[host].life);
        let Some(node) = self.node(host) else { return };
        let mut runs = Vec::with_capacity(extents.len());
        let mut whole = true;
        for (extent, range) in extents {
            let kept = node.buffers.remove(&(piece, extent));
            whole &= kept.as_ref().is_some_and(|kept| kept.filled == range.end - range.start);
            runs.push((range.start, kept.map(|kept| kept.blocks).unwrap_or_default()));
        }
        node.verifying.insert(piece, runs);
        self.checks.that(now, host, Check::Whole, whole, || {
            format!("{piece:?} is to be verified and is not whole")
        });
        let at = self.hosts[host].disk.take(now, len);
        self.agenda.at(at, What::Written { host, life, piece, compare });
    }

    /// A disk has done with a piece.
    pub(super) fn written(&mut self, host: usize, life: u32, piece: PieceIndex, compare: bool) {
        if self.hosts[host].life != life {
            return;
        }
        let now = self.now;
        let Some(node) = self.node(host) else { return };
        let torrent = node.torrent;
        let Some(runs) = node.verifying.remove(&piece) else { return };
        let good = runs.iter().all(|(_, blocks)| blocks.iter().all(|block| block.noise == 0));
        let digests = || runs.iter().flat_map(|(start, blocks)| digests(piece, *start, blocks));
        let outcome = if !good {
            PieceOutcome::Mismatch { blocks: digests().collect() }
        } else if self.hosts[host].disk.full {
            PieceOutcome::DiskFull { cause: "chunks: no space left on device".to_owned() }
        } else {
            self.hosts[host].disk.wrote(now, piece);
            let blocks = if compare { digests().collect() } else { Vec::new() };
            PieceOutcome::Written { blocks }
        };
        self.fact(host, Event::PieceVerified { torrent, piece, outcome });
        let it = &self.hosts[host];
        self.checks.after_verification(
            now,
            host,
            piece,
            it.disk.holds.get(piece),
            it.node.as_ref(),
        );
    }

    /// Pieces are read and hashed, one after the other.
    pub(super) fn check_disk(&mut self, host: usize, torrent: TorrentId, pieces: Vec<PieceIndex>) {
        let now = self.now;
        for piece in pieces {
            let len = self.metainfo.layout().piece_size(piece);
            let disk = &mut self.hosts[host].disk;
            let (at, good) = (disk.take(now, len), disk.holds.get(piece));
            self.later(host, at.since(now), Event::PieceChecked { torrent, piece, good });
        }
    }
}

/// The digests of a run of extents' blocks: of right ones what their place says, of wrong ones what
/// is wrong with them.
fn digests(piece: PieceIndex, start: u32, runs: &[Block]) -> impl Iterator<Item = BlockDigest> {
    let mut from = 0;
    runs.iter().flat_map(move |run| {
        let first = (start + from) / BLOCK_LEN;
        let end = (start + run.end).div_ceil(BLOCK_LEN);
        from = run.end;
        (first..end).map(move |block| {
            let mut digest = [0; 20];
            digest[..4].copy_from_slice(&piece.0.to_le_bytes());
            digest[4..8].copy_from_slice(&block.to_le_bytes());
            digest[8..16].copy_from_slice(&run.noise.to_le_bytes());
            BlockDigest { block, from: Some(run.from), digest }
        })
    })
}

#[cfg(test)]
mod tests {
    use shoal_core::ids::ConnId;

    use super::*;

    #[test]
    fn every_block_has_a_digest_and_whoever_sent_it() {
        let run = |end, from, noise| Block { end, from: ConnId(from), noise };
        let runs = [run(2 * BLOCK_LEN, 1, 0), run(3 * BLOCK_LEN, 2, 9), run(50_000, 1, 0)];
        let found = digests(PieceIndex(7), 4 * BLOCK_LEN, &runs).collect::<Vec<_>>();
        let told = found.iter().map(|d| (d.block, d.from.unwrap().0)).collect::<Vec<_>>();
        assert_eq!(told, [(4, 1), (5, 1), (6, 2), (7, 1)]);
        assert_ne!(found[2].digest[8..], [0; 12]);
    }
}
