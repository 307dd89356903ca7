//! Merging: complete files leave the chunk memory for the downloads folder, so that a crash at any
//! point leaves them in one of the two, known to be complete (§10 of the design).
//!
//! Never here: waiting for missing pieces.

use std::{
    collections::BTreeSet, fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::PoisonError,
};

use super::{
    error::{DiskError, MergeError, OpenError},
    fs::{FileStamp, Location, OpenMode},
    record::{MergeIntent, Place, PlaceRecord, Placement},
    tables::Changes,
    torrent::{TorrentStore, is_missing},
};

/// A merge that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merged {
    /// The file, or what all files of the torrent are below.
    pub path: PathBuf,
    /// Whether there was nothing left to do.
    pub already: bool,
}

/// How a file gets to its place.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It is there.
    Already,
    /// The same content is there: it becomes the file, and the chunk memory's goes.
    Adopt(FileStamp),
    /// By renaming, or by a copy where that is not possible.
    Move(FileStamp),
    /// An empty file is made.
    Empty,
}

impl TorrentStore {
    /// Moves one complete file, by index, or all files, into the downloads folder. Repeating it is
    /// harmless. A seed is merged where it is.
    ///
    /// Every piece is made durable first. An existing file with the same content becomes the
    /// torrent's; a different one is left as it is and the merge refused, before anything moved.
    ///
    /// # Errors
    /// [`MergeError::Incomplete`] with the missing pieces, [`MergeError::Exists`] where another
    /// file is in the way, [`MergeError::NoFile`] for an unknown, pad or link file;
    /// [`MergeError::Commit`], [`MergeError::Disk`] and [`MergeError::Store`] where the disk or
    /// the database fails: repeat it then.
    pub fn merge(&self, file: Option<usize>) -> Result<Merged, MergeError> {
        let layout = &self.0.layout;
        let files: Vec<usize> = match file {
            Some(file) => vec![file],
            None => layout.files().collect(),
        };
        let already = self.merge_files(&files)?;
        let is_seed = matches!(self.0.placement, Placement::Seed { .. });
        let path = match file {
            Some(file) if is_seed => layout.location(file, Place::Seed).path(),
            Some(file) => layout.location(file, Place::Merged).path(),
            None => layout.merged_root(),
        };
        Ok(Merged { path, already })
    }

    /// [`Self::merge`] of some files, by index, at once. Returns whether there was nothing to do.
    ///
    /// # Errors
    /// As [`Self::merge`].
    pub fn merge_files(&self, files: &[usize]) -> Result<bool, MergeError> {
        let _one = self.0.merges.lock().unwrap_or_else(PoisonError::into_inner);
        let layout = &self.0.layout;
        let none = |file: &&usize| **file >= layout.file_count() || !layout.is_on_disk(**file);
        if let Some(&file) = files.iter().find(none) {
            return Err(MergeError::NoFile { file });
        }
        self.require_complete(files)?;
        self.commit()?;
        // A file may have changed, or a sync failed, meanwhile.
        self.require_complete(files)?;
        if matches!(self.0.placement, Placement::Seed { .. }) {
            return Ok(true);
        }
        let steps = files.iter().map(|&file| Ok((file, self.plan(file)?)));
        let mut steps = steps.collect::<Result<Vec<_>, MergeError>>()?;
        steps.retain(|(_, step)| !matches!(step, Step::Already));
        for batch in steps.chunks(BATCH) {
            self.merge_batch(batch)?;
        }
        self.remove_chunks_dirs();
        Ok(steps.is_empty())
    }

    fn require_complete(&self, files: &[usize]) -> Result<(), MergeError> {
        let ledger = self.ledger();
        let pieces = files.iter().flat_map(|&file| self.0.layout.pieces_of(file));
        let missing: BTreeSet<_> = pieces.filter(|&piece| !ledger.has(piece)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(MergeError::Incomplete { missing: missing.into_iter().collect() })
    }

    fn plan(&self, file: usize) -> Result<Step, MergeError> {
        if self.ledger().files[file].place == Place::Merged {
            if !self.is_changed(file)? {
                return Ok(Step::Already);
            }
            self.require_complete(&[file])?;
        }
        let exists =
            || MergeError::Exists { path: self.0.layout.location(file, Place::Merged).path() };
        let target = match self.stamp_at(file, Place::Merged) {
            Ok(target) => target,
            // A folder, a link, a device.
            Err(DiskError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                return Err(exists());
            }
            Err(error) => return Err(error.into()),
        };
        let len = self.0.layout.file_len(file);
        match target {
            None if len == 0 => Ok(Step::Empty),
            Some(target) if target.len == len && self.is_same(file)? => Ok(Step::Adopt(target)),
            Some(_) => Err(exists()),
            None => match self.stamp_at(file, Place::Chunks)? {
                Some(stamp) if stamp.len == len => Ok(Step::Move(stamp)),
                Some(_) | None => {
                    // The chunk memory lost it: its pieces are not had.
                    self.is_changed(file)?;
                    Err(DiskError::Changed { file }.into())
                }
            },
        }
    }

    /// Whether what is at a file's merged place has the bytes of the chunk memory's.
    fn is_same(&self, file: usize) -> Result<bool, DiskError> {
        if self.0.layout.file_len(file) == 0 {
            return Ok(true);
        }
        let target = self.0.layout.location(file, Place::Merged);
        let open = |at: &Location| self.0.fs.open(at, OpenMode::Read);
        let chunks = self.0.layout.location(file, Place::Chunks);
        let ours = match open(&chunks) {
            Ok(ours) => ours,
            Err(error) if is_missing(&error) => return Ok(false),
            Err(error) => return Err(DiskError::at(chunks.path())(error)),
        };
        let theirs = open(&target).map_err(DiskError::at(target.path()))?;
        let failed = |error: io::Error| DiskError::at(target.path())(error);
        let same = same_content(&ours, &theirs).map_err(failed)?;
        if same {
            // Before the intent trusts it: nobody else may have synced it.
            self.0.fs.sync_file(&theirs).map_err(failed)?;
        }
        Ok(same)
    }

    /// Intents, moves, syncs, places: each for all files of the batch before the next.
    fn merge_batch(&self, steps: &[(usize, Step)]) -> Result<(), MergeError> {
        self.make_target_dirs(steps)?;
        let intent = |(file, step): &(usize, Step)| match step {
            Step::Adopt(stamp) | Step::Move(stamp) => {
                Some((*file, Some(MergeIntent { stamp: *stamp })))
            }
            Step::Already | Step::Empty => None,
        };
        let intents: Vec<_> = steps.iter().filter_map(intent).collect();
        let hash = self.info_hash();
        self.0.store.commit(hash, &Changes { intents: &intents, ..Changes::default() })?;
        self.hold_checks(steps, 1);
        let mut moved = Vec::new();
        let mut failed = None;
        for &(file, step) in steps {
            match self.move_file(file, step) {
                Ok(stamp) => moved.push((file, stamp)),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let recorded = self.record_moves(&moved);
        self.hold_checks(steps, -1);
        recorded?;
        let Some(error) = failed else {
            return Ok(());
        };
        let left = steps.iter().skip(moved.len());
        let dropped: Vec<_> = left.map(|(file, _)| (*file, None)).collect();
        self.0.store.commit(hash, &Changes { intents: &dropped, ..Changes::default() })?;
        Err(error)
    }

    /// Makes the folders that files go to, durable before anything is renamed into them.
    fn make_target_dirs(&self, steps: &[(usize, Step)]) -> Result<(), DiskError> {
        let targets = steps.iter().map(|(file, _)| self.0.layout.location(*file, Place::Merged));
        let parents: BTreeSet<Location> = targets.filter_map(|target| target.parent()).collect();
        let mut dirs = BTreeSet::new();
        for parent in parents {
            dirs.extend(self.0.fs.create_dirs(&parent).map_err(DiskError::at(parent.path()))?);
        }
        self.sync_dirs(&dirs)
    }

    /// Keeps a look at a file from taking the moment between its two places for a change.
    fn hold_checks(&self, steps: &[(usize, Step)], by: i32) {
        let mut ledger = self.ledger();
        for (file, _) in steps {
            let writers = &mut ledger.files[*file].writers;
            *writers = writers.saturating_add_signed(by);
        }
    }

    /// Brings a file to its place. Returns its stamp there.
    fn move_file(&self, file: usize, step: Step) -> Result<FileStamp, MergeError> {
        let fs = &self.0.fs;
        let target = self.0.layout.location(file, Place::Merged);
        let failed = |error: io::Error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                return MergeError::Exists { path: target.path() };
            }
            DiskError::at(target.path())(error).into()
        };
        let chunks = self.0.layout.location(file, Place::Chunks);
        match step {
            Step::Already | Step::Adopt(_) => {}
            Step::Empty => {
                let open = fs.open(&target, OpenMode::CreateNew).map_err(failed)?;
                fs.sync_file(&open).map_err(failed)?;
            }
            Step::Move(_) => match fs.rename(&chunks, &target) {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    let copy = self.copy_file(file, &chunks)?;
                    fs.rename(&copy, &target).map_err(failed)?;
                }
                renamed => renamed.map_err(failed)?,
            },
        }
        fs.stamp(&target).map_err(failed)
    }

    /// Copies a file to the downloads folder's device, durable and compared, and lets the intent
    /// name the copy.
    fn copy_file(&self, file: usize, chunks: &Location) -> Result<Location, MergeError> {
        let fs = &self.0.fs;
        let Some(copy) = self.0.layout.copy_location(file) else {
            return Err(MergeError::NoFile { file });
        };
        let failed = |error: io::Error| DiskError::at(copy.path())(error);
        if let Some(parent) = copy.parent() {
            fs.create_dirs(&parent).map_err(DiskError::at(parent.path()))?;
        }
        match fs.remove_file(&copy) {
            // Left by a copy that was interrupted.
            Ok(()) => {}
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(failed(error).into()),
        }
        let from = fs.open(chunks, OpenMode::Read).map_err(DiskError::at(chunks.path()))?;
        let to = fs.open(&copy, OpenMode::CreateNew).map_err(failed)?;
        fs.copy(&from, &to).map_err(failed)?;
        fs.sync_file(&to).map_err(failed)?;
        if !same_content(&from, &to).map_err(failed)? {
            let differs = io::Error::other("the copy differs from the chunk memory");
            return Err(failed(differs).into());
        }
        let stamp = fs.stamp(&copy).map_err(failed)?;
        let intents = [(file, Some(MergeIntent { stamp }))];
        let changes = Changes { intents: &intents, ..Changes::default() };
        self.0.store.commit(self.info_hash(), &changes)?;
        Ok(copy)
    }

    /// Makes moves durable and then known, and drops what they leave behind.
    fn record_moves(&self, moved: &[(usize, FileStamp)]) -> Result<(), MergeError> {
        let folders = |place| {
            let parent = move |&(file, _): &(usize, FileStamp)| {
                self.0.layout.location(file, place).parent().map(|parent| parent.path())
            };
            moved.iter().filter_map(parent).collect::<BTreeSet<_>>()
        };
        let (targets, sources) = (folders(Place::Merged), folders(Place::Chunks));
        // No commit may write what it knew of these files before.
        let commits = self.0.commits.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut ledger = self.ledger();
            for &(file, stamp) in moved {
                let state = &mut ledger.files[file];
                (state.place, state.stamp) = (Place::Merged, Some(stamp));
                ledger.moved.insert(file);
            }
        }
        // The new entries before the old ones are gone for good.
        let synced = self.sync_dirs(&targets).and_then(|()| self.sync_dirs(&sources));
        if let Err(error) = synced {
            // The files are where they are: the next commit syncs and records it.
            self.ledger().dirty_dirs.extend(targets.into_iter().chain(sources));
            return Err(error.into());
        }
        let record = |&(file, stamp): &(usize, FileStamp)| {
            (file, Some(PlaceRecord { place: Place::Merged, stamp }))
        };
        let places: Vec<_> = moved.iter().map(record).collect();
        let intents: Vec<_> = moved.iter().map(|&(file, _)| (file, None)).collect();
        let changes = Changes { have: None, places: &places, intents: &intents };
        self.0.store.commit(self.info_hash(), &changes)?;
        {
            let mut ledger = self.ledger();
            moved.iter().for_each(|(file, _)| {
                ledger.moved.remove(file);
            });
        }
        drop(commits);
        for &(file, _) in moved {
            // After a copy, or where the same content was there, the old file is left.
            let chunks = self.0.layout.location(file, Place::Chunks);
            if self.0.fs.remove_file(&chunks).is_ok() {
                self.0.store.files().remove(self.info_hash(), file);
            }
        }
        Ok(())
    }

    /// Settles the merges that an earlier life of this node began: one that reached its place is
    /// recorded, one that did not is to be begun again. Returns the files of the latter.
    pub(super) fn settle_merges(&self) -> Result<Vec<usize>, OpenError> {
        let layout = &self.0.layout;
        let hash = self.info_hash();
        let intents = self.0.store.intents(hash)?;
        let mut again = Vec::new();
        let (mut places, mut settled, mut dirs) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (file, intent) in intents {
            settled.push((file, None));
            let known = file < layout.file_count() && layout.is_on_disk(file);
            let Some(copy) = layout.copy_location(file).filter(|_| known) else {
                continue;
            };
            // Whatever was copied is either in its place or copied again.
            let _ = self.0.fs.remove_file(&copy);
            let inode = |stamp: Option<FileStamp>| stamp.map(|stamp| stamp.inode);
            let target = self.stamp_at(file, Place::Merged).ok().flatten();
            if inode(target) != Some(intent.stamp.inode) {
                again.push(file);
                continue;
            }
            let target = layout.location(file, Place::Merged);
            let mut at = target.parent();
            while let Some(dir) = at {
                dirs.insert(dir.path());
                at = dir.parent();
            }
            // Should its content have changed since, the stamp tells.
            places.push((file, Some(PlaceRecord { place: Place::Merged, stamp: intent.stamp })));
            let state = &mut self.ledger().files[file];
            (state.place, state.stamp) = (Place::Merged, Some(intent.stamp));
        }
        if settled.is_empty() {
            return Ok(again);
        }
        for dir in &dirs {
            self.0.fs.sync_dir(dir).map_err(DiskError::at(dir))?;
        }
        self.0.store.commit(hash, &Changes { have: None, places: &places, intents: &settled })?;
        Ok(again)
    }

    /// Removes what merges that were cut short left in the chunk memory of files that are in their
    /// place as they were merged.
    pub(super) fn remove_leftovers(&self, changed: &BTreeSet<usize>) {
        let layout = &self.0.layout;
        let is_merged = |file: &usize| self.ledger().files[*file].place == Place::Merged;
        let merged = layout.files().filter(|file| is_merged(file) && !changed.contains(file));
        let merged: Vec<_> = merged.collect();
        if merged.is_empty() || !layout.origin().path().exists() {
            return;
        }
        for file in merged {
            let _ = self.0.fs.remove_file(&layout.location(file, Place::Chunks));
        }
        self.remove_chunks_dirs();
    }

    /// Removes the chunk memory's folders once no file needs them; what else is in them stays.
    pub(super) fn remove_chunks_dirs(&self) {
        let layout = &self.0.layout;
        let needed = {
            let ledger = self.ledger();
            let in_chunks = |file: usize| ledger.files[file].place != Place::Merged;
            layout.files().any(|file| layout.file_len(file) > 0 && in_chunks(file))
        };
        if needed {
            return;
        }
        let mut dirs = BTreeSet::from([layout.origin()]);
        for file in layout.files() {
            let mut at = layout.location(file, Place::Chunks).parent();
            while let Some(dir) = at {
                at = dir.parent();
                dirs.insert(dir);
            }
        }
        // Paths sort before those below them. A folder that is not empty stays.
        for dir in dirs.iter().rev() {
            let _ = self.0.fs.remove_dir(dir);
        }
        if let Some(parent) = layout.copy_location(0).and_then(|copy| copy.parent()) {
            let _ = self.0.fs.remove_dir(&parent);
        }
    }
}

fn same_content(a: &File, b: &File) -> io::Result<bool> {
    let len = a.metadata()?.len();
    if b.metadata()?.len() != len {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; COMPARE_LEN], vec![0; COMPARE_LEN]);
    let mut at = 0;
    while at < len {
        let now = COMPARE_LEN.min(usize::try_from(len - at).unwrap_or(COMPARE_LEN));
        a.read_exact_at(&mut left[..now], at)?;
        b.read_exact_at(&mut right[..now], at)?;
        if left[..now] != right[..now] {
            return Ok(false);
        }
        at += now as u64;
    }
    Ok(true)
}

/// Files merged between two transactions: each transaction is a sync.
const BATCH: usize = 1024;
/// Bytes compared at once.
const COMPARE_LEN: usize = 256 * 1024;
