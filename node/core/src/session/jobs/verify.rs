//! Verification of what is on disk.

use crate::{
    ids::{JobId, PieceIndex, TorrentId},
    session::{
        Action, Session,
        notice::Notice,
        notify,
        view::{JobDone, JobKind},
    },
};

impl Session {
    /// Begins a verification of everything.
    pub(in crate::session) fn verify(&mut self, id: TorrentId, out: &mut Vec<Action>) -> JobId {
        let job = self.new_job(JobKind::Verify, Some(id), out);
        self.give_up_all(id, out);
        let now_had = self.torrents[&id].have().iter_ones().collect::<Vec<_>>();
        let Some(torrent) = self.torrents.get_mut(&id) else { return job };
        let count = torrent.metainfo.piece_count();
        let free =
            |piece: &PieceIndex| torrent.have().get(*piece) || torrent.pieces.is_missing(*piece);
        let pieces = (0..count).map(PieceIndex).filter(free).collect::<Vec<_>>();
        for &piece in &now_had {
            torrent.count_lost(piece);
        }
        for &piece in &pieces {
            torrent.pieces.check(piece);
            torrent.picker.remove(piece);
        }
        torrent.checking += pieces.len() as u32;
        self.count_interesting(id);
        if let Some(state) = self.jobs.get_mut(&job) {
            state.pieces.1 = pieces.len() as u32;
        }
        if !now_had.is_empty() {
            self.recant(id, out);
        }
        for piece in now_had {
            notify(out, Notice::PieceLost { torrent: id, piece });
        }
        notify(out, Notice::TorrentChanged(id));
        if pieces.is_empty() {
            self.end_job(job, Ok(JobDone::default()), out);
        } else {
            out.push(Action::CheckPieces { torrent: id, pieces, job: Some(job) });
        }
        job
    }

    /// A checked piece counts for the verifications at work.
    pub(in crate::session) fn verified_one(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        good: bool,
        out: &mut Vec<Action>,
    ) {
        let size = u64::from(self.torrents[&id].metainfo.layout().piece_size(piece));
        let checking = self.torrents[&id].checking;
        let mut done = Vec::new();
        for job in self.jobs.values_mut() {
            if job.kind == JobKind::Verify && job.torrent == Some(id) && job.is_running() {
                job.pieces.0 += 1;
                job.bytes.0 += size;
                job.pieces.2 += u32::from(!good);
                if checking == 0 || job.pieces.0 >= job.pieces.1 {
                    done.push((job.id, job.pieces.2));
                }
            }
        }
        for (job, bad_pieces) in done {
            self.end_job(job, Ok(JobDone { bad_pieces, ..JobDone::default() }), out);
        }
    }
}
