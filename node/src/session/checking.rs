//! Checks of pieces on the disk: in the background, by as many threads as are free, and those of a
//! job until the job is cancelled.
//!
//! Never here: what follows from what they find.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use shoal_core::{
    config::MIB,
    ids::{JobId, PieceIndex, TorrentId},
};

use super::{
    disk_rooms::Step,
    inbox::{DiskNews, Inbox, Input},
    perform::guarded,
};
use crate::disk::{DiskError, TorrentStore};

/// How often a piece is tried again that a failed sync, or a change of its file, overtook.
const TRIES_MAX: u32 = 3;
/// Bytes of a step where pieces are smaller: some milliseconds of hashing.
const STEP_LEN: u64 = 4 * MIB;

/// A check of pieces. Threads take runs of them, in order.
pub(super) struct Check {
    torrent: TorrentId,
    store: TorrentStore,
    pieces: Vec<PieceIndex>,
    /// The first that no thread has taken.
    next: AtomicUsize,
    /// Pieces of a step.
    step_len: usize,
    inbox: Inbox,
    /// Set where the torrent goes.
    gone: Arc<AtomicBool>,
    /// Set where nobody wants to know any more.
    cancelled: AtomicBool,
}

/// The checks that belong to jobs.
#[derive(Default)]
pub(super) struct Checks(BTreeMap<JobId, Weak<Check>>);

impl Checks {
    /// A check is the work of a job.
    pub(super) fn begin(&mut self, job: JobId, check: &Arc<Check>) {
        self.0.retain(|_, check| check.strong_count() > 0);
        self.0.insert(job, Arc::downgrade(check));
    }

    /// Ends the check of a job, where it has one.
    pub(super) fn stop(&self, job: JobId) {
        if let Some(check) = self.0.get(&job).and_then(Weak::upgrade) {
            check.cancelled.store(true, Ordering::Relaxed);
        }
    }
}

impl Check {
    pub(super) fn new(
        torrent: TorrentId,
        store: TorrentStore,
        pieces: Vec<PieceIndex>,
        inbox: Inbox,
        gone: Arc<AtomicBool>,
    ) -> Self {
        let piece_len = u64::from(store.metainfo().layout().piece_len());
        let step_len = usize::try_from(STEP_LEN / piece_len).unwrap_or(1).max(1);
        let (next, cancelled) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { torrent, store, pieces, next, step_len, inbox, gone, cancelled }
    }

    /// Checks the next pieces and tells how they are. Of a cancelled check, those that are left are
    /// told to be as they were.
    pub(super) fn step(&self) -> Step {
        if self.gone.load(Ordering::Relaxed) {
            return Step::Done;
        }
        let from = self.next.fetch_add(self.step_len, Ordering::Relaxed);
        let Some(rest) = self.pieces.get(from..).filter(|rest| !rest.is_empty()) else {
            return Step::Done;
        };
        let pieces = &rest[..self.step_len.min(rest.len())];
        let good = match self.cancelled.load(Ordering::Relaxed) {
            true => self.as_they_were(pieces),
            // Told even where the check panics: the core waits for every piece.
            false => guarded(|| self.are_good(pieces), || vec![false; pieces.len()]),
        };
        let pieces_left = rest.len() > pieces.len();
        let results = pieces.iter().copied().zip(good).collect();
        self.tell(DiskNews::PiecesChecked { torrent: self.torrent, results });
        if pieces_left { Step::More } else { Step::Done }
    }

    fn as_they_were(&self, pieces: &[PieceIndex]) -> Vec<bool> {
        let have = self.store.have();
        pieces.iter().map(|&piece| have.get(piece)).collect()
    }

    fn are_good(&self, pieces: &[PieceIndex]) -> Vec<bool> {
        match self.store.verify_pieces(pieces) {
            Ok(good) => return good,
            Err(error) => self.tell_change(&error),
        }
        // One by one: what is wrong with one is not the others' fault.
        pieces.iter().map(|&piece| self.is_good(piece)).collect()
    }

    fn is_good(&self, piece: PieceIndex) -> bool {
        for _ in 0..TRIES_MAX {
            let error = match self.store.verify_piece(piece) {
                Ok(good) => return good,
                Err(error) => error,
            };
            self.tell_change(&error);
            match error {
                DiskError::Changed { .. } | DiskError::Overtaken { .. } => {}
                DiskError::Full { .. }
                | DiskError::Io { .. }
                | DiskError::ReadOnly { .. }
                | DiskError::Range { .. } => {
                    tracing::warn!(%error, piece = piece.0, "a piece cannot be read");
                    return false;
                }
            }
        }
        false
    }

    fn tell_change(&self, error: &DiskError) {
        if let DiskError::Changed { file } = *error {
            self.tell(DiskNews::FileChanged { torrent: self.torrent, file });
        }
    }

    fn tell(&self, news: DiskNews) {
        self.inbox.tell(Input::Disk(news));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path, thread};

    use shoal_core::metainfo::{Metainfo, create::Pad};
    use tokio::sync::mpsc::Receiver;

    use super::*;
    use crate::disk::{CreateOptions, Placement, RealFileSystem, Store, create};

    const PIECE_LEN: usize = 16 * 1024;
    const PIECES: u32 = 50;
    /// Does not match.
    const BAD: PieceIndex = PieceIndex(17);
    const JOB: JobId = JobId(1);

    /// A check of a seed of which one piece is bad, three pieces a step.
    fn check_in(dir: &Path) -> (Check, Receiver<Input>) {
        let path = dir.join("f");
        let mut bytes = vec![7; PIECES as usize * PIECE_LEN - 5];
        fs::write(&path, &bytes).unwrap();
        let options = CreateOptions {
            path: path.clone(),
            name: None,
            piece_len: Some(PIECE_LEN as u32),
            pad: Pad::Auto,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_unix: None,
        };
        let made = create(&options, &|_, _| (), &AtomicBool::new(false)).unwrap();
        bytes[BAD.0 as usize * PIECE_LEN] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let metainfo = Arc::new(Metainfo::parse(&made.metainfo).unwrap());
        let store = Store::open(&dir.join("state")).unwrap();
        let placement = Placement::Seed { path };
        let files = Arc::new(RealFileSystem);
        let (store, opened) = TorrentStore::open(&store, metainfo, placement, files).unwrap();
        assert_eq!(opened.unverified.len(), PIECES as usize);
        let (inbox, inputs) = Inbox::new();
        let mut check = Check::new(TorrentId(1), store, opened.unverified, inbox, Arc::default());
        check.step_len = 3;
        (check, inputs)
    }

    /// What was told of each piece, which was told once.
    fn told(inputs: &mut Receiver<Input>) -> BTreeMap<PieceIndex, bool> {
        let mut all = BTreeMap::new();
        while let Ok(input) = inputs.try_recv() {
            let Input::Disk(DiskNews::PiecesChecked { results, .. }) = input else {
                panic!("something else was told")
            };
            for (piece, good) in results {
                assert_eq!(all.insert(piece, good), None, "{piece:?} was told twice");
            }
        }
        all
    }

    #[test]
    fn threads_at_the_same_check_tell_each_piece_once() {
        let dir = tempfile::tempdir().unwrap();
        let (check, mut inputs) = check_in(dir.path());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while check.step() == Step::More {});
            }
        });
        let expected = (0..PIECES).map(|piece| (PieceIndex(piece), PieceIndex(piece) != BAD));
        assert_eq!(told(&mut inputs), expected.collect());
        assert_eq!(check.store.have().iter_zeros().collect::<Vec<_>>(), [BAD]);
        assert!(check.step() == Step::Done, "nothing is left");
    }

    #[test]
    fn a_cancelled_check_reads_no_more_and_tells_what_was_known() {
        let dir = tempfile::tempdir().unwrap();
        let (check, mut inputs) = check_in(dir.path());
        let check = Arc::new(check);
        assert_eq!(check.store.verify_pieces(&[PieceIndex(40)]).unwrap(), [true]);
        let mut checks = Checks::default();
        checks.begin(JOB, &check);
        assert!(check.step() == Step::More);
        checks.stop(JobId(2));
        assert!(check.step() == Step::More);
        checks.stop(JOB);
        while check.step() == Step::More {}
        let looked_at = |piece: u32| piece < 6 || piece == 40;
        let expected = (0..PIECES).map(|piece| (PieceIndex(piece), looked_at(piece)));
        assert_eq!(told(&mut inputs), expected.collect());
    }

    #[test]
    fn a_check_of_a_torrent_that_went_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (check, mut inputs) = check_in(dir.path());
        check.gone.store(true, Ordering::Relaxed);
        assert!(check.step() == Step::Done);
        assert!(told(&mut inputs).is_empty());
    }
}
