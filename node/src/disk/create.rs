//! Making a torrent of a file or a folder: the walk, and hashing on all cores.
//!
//! Never here: what a metainfo file looks like, see `shoal_core::metainfo::create`.

use std::{
    fs::{self, File},
    io,
    num::NonZero,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use rustix::fs::OFlags;
use sha1::{Digest, Sha1};
use shoal_core::{
    config::{FILES_MAX, MIB, PATH_DEPTH_MAX},
    ids::PieceIndex,
    metainfo::{self, Content, MetainfoError, NewFile, Pad, Plan, paths::RESERVED_TOP},
};

use super::{
    error::DiskError,
    fs::FileStamp,
    window::{hash_range, hash_zeros, read_ahead},
};

/// What a torrent is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateOptions {
    /// The file, or the folder whose files are taken. Followed where it is a symbolic link.
    pub path: PathBuf,
    /// The torrent's name; `None`: that of the file or folder.
    pub name: Option<String>,
    /// Bytes, a power of two within 16 KiB–16 MiB; `None`: by the size of the content.
    pub piece_len: Option<u32>,
    /// Whether files begin at a piece.
    pub pad: Pad,
    /// Whether peers may come from its trackers only (BEP 27).
    pub private: bool,
    /// Tracker URLs in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// URLs of HTTP servers that have the content (BEP 19).
    pub web_seeds: Vec<String>,
    /// A free text.
    pub comment: Option<String>,
    /// When it is made, seconds since 1970.
    pub created_unix: Option<i64>,
}

/// A torrent that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// The metainfo file.
    pub metainfo: Vec<u8>,
    /// What below the folder was left out: symbolic links, devices, sockets, pipes, and a chunk
    /// memory.
    pub skipped: Vec<PathBuf>,
}

/// Why no torrent was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The content cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Neither a file nor a folder.
    #[error("{} is neither a file nor a folder", path.display())]
    NotContent {
        /// The path.
        path: PathBuf,
    },
    /// A name that is no UTF-8, so that other clients would see another one.
    #[error("the name of {} is not UTF-8", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// More files or deeper folders than a torrent may have.
    #[error("{}: more than {FILES_MAX} files or {PATH_DEPTH_MAX} levels", path.display())]
    TooMuch {
        /// Where the walk ended.
        path: PathBuf,
    },
    /// A file was written to while it was hashed.
    #[error("{} changed while it was hashed", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// No metainfo file says this.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
}

/// Makes a torrent. Files are taken in the order of their paths, folders below folders; symbolic
/// links are left out and listed.
///
/// `progress` is told the bytes hashed and the bytes in all, padding included, after each piece
/// and from several threads. `cancel` is looked at before each piece.
///
/// # Errors
/// [`CreateError`]; nothing was written anywhere.
pub fn create(
    options: &CreateOptions,
    progress: &(dyn Fn(u64, u64) + Sync),
    cancel: &AtomicBool,
) -> Result<Created, CreateError> {
    let root = fs::canonicalize(&options.path).map_err(DiskError::at(&options.path))?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => utf8_name(&root)?,
    };
    let metadata = fs::metadata(&root).map_err(DiskError::at(&root))?;
    let mut walked = Walked::default();
    let content = if metadata.is_dir() {
        walk(&root, &mut walked, cancel)?;
        walked.files.sort_by(|a, b| a.components.cmp(&b.components));
        let file = |file: &Found| NewFile { path: file.components.clone(), len: file.stamp.len };
        Content::Multi(walked.files.iter().map(file).collect())
    } else if metadata.is_file() {
        let stamp = FileStamp::of(&metadata);
        walked.files.push(Found { path: root, components: Vec::new(), stamp });
        Content::Single { len: metadata.len() }
    } else {
        return Err(CreateError::NotContent { path: root });
    };
    let plan = Plan::new(metainfo::CreateOptions {
        name,
        content,
        piece_len: options.piece_len,
        pad: options.pad,
        private: options.private,
        trackers: options.trackers.clone(),
        web_seeds: options.web_seeds.clone(),
        comment: options.comment.clone(),
        created_unix: options.created_unix,
    })?;
    let hashes = Hashing::new(&plan, &walked.files, progress, cancel).run()?;
    for file in &walked.files {
        let now = fs::symlink_metadata(&file.path).map_err(DiskError::at(&file.path))?;
        if FileStamp::of(&now) != file.stamp {
            return Err(CreateError::Changed { path: file.path.clone() });
        }
    }
    Ok(Created { metainfo: plan.finish(&hashes)?, skipped: walked.skipped })
}

/// A file to be part of the torrent.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    components: Vec<String>,
    stamp: FileStamp,
}

#[derive(Debug, Default)]
struct Walked {
    files: Vec<Found>,
    skipped: Vec<PathBuf>,
}

/// Finds the regular files below a folder, without recursion and without following links.
fn walk(root: &Path, walked: &mut Walked, cancel: &AtomicBool) -> Result<(), CreateError> {
    let mut folders = vec![(root.to_path_buf(), Vec::new())];
    while let Some((folder, above)) = folders.pop() {
        if cancel.load(Ordering::Relaxed) {
            return Err(CreateError::Cancelled);
        }
        let failed = |error: io::Error| DiskError::at(&folder)(error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let metadata = fs::symlink_metadata(&path).map_err(DiskError::at(&path))?;
            let is_chunk_memory = above.is_empty() && path.ends_with(RESERVED_TOP);
            if is_chunk_memory || (!metadata.is_dir() && !metadata.is_file()) {
                walked.skipped.push(path);
                continue;
            }
            let mut components = above.clone();
            components.push(utf8_name(&path)?);
            if components.len() > PATH_DEPTH_MAX || walked.files.len() >= FILES_MAX {
                return Err(CreateError::TooMuch { path });
            }
            if metadata.is_dir() {
                folders.push((path, components));
            } else {
                let stamp = FileStamp::of(&metadata);
                walked.files.push(Found { path, components, stamp });
            }
        }
    }
    walked.skipped.sort();
    Ok(())
}

fn utf8_name(path: &Path) -> Result<String, CreateError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| CreateError::NotUtf8 { path: path.to_path_buf() })
}

/// The pieces of a plan, hashed by several threads that each take the next run of them.
struct Hashing<'a> {
    plan: &'a Plan,
    /// For each file of the plan, the one on the disk; `None` for padding.
    sources: Vec<Option<&'a Found>>,
    progress: &'a (dyn Fn(u64, u64) + Sync),
    cancel: &'a AtomicBool,
    next: Mutex<u32>,
    done_bytes: AtomicU64,
    failed: AtomicBool,
}

impl<'a> Hashing<'a> {
    fn new(
        plan: &'a Plan,
        found: &'a [Found],
        progress: &'a (dyn Fn(u64, u64) + Sync),
        cancel: &'a AtomicBool,
    ) -> Self {
        // Padding aside, the plan has the files as they were given.
        let mut found = found.iter();
        let is_pad = |file: &metainfo::File| file.kind == metainfo::FileKind::Pad;
        let source = |file| if is_pad(file) { None } else { found.next() };
        Self {
            plan,
            sources: plan.files().iter().map(source).collect(),
            progress,
            cancel,
            next: Mutex::new(0),
            done_bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    fn run(&self) -> Result<Vec<[u8; 20]>, CreateError> {
        let count = self.plan.layout().piece_count();
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.min(count as usize).min(THREADS_MAX);
        let parts = thread::scope(|scope| {
            let running: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| self.hash_pieces())).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            running.into_iter().map(join).collect::<Vec<_>>()
        });
        let mut hashes = vec![[0; 20]; count as usize];
        for part in parts {
            for (piece, hash) in part? {
                hashes[piece.0 as usize] = hash;
            }
        }
        Ok(hashes)
    }

    /// Hashes pieces until none is left, or another thread failed.
    fn hash_pieces(&self) -> Result<Vec<(PieceIndex, [u8; 20])>, CreateError> {
        let outcome = self.hash_until_done();
        if outcome.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn hash_until_done(&self) -> Result<Vec<(PieceIndex, [u8; 20])>, CreateError> {
        let layout = self.plan.layout();
        let mut open = None;
        let mut hashes = Vec::new();
        while let Some(pieces) = self.take() {
            let mut ahead = Some(pieces.clone());
            for piece in pieces.map(PieceIndex) {
                if self.cancel.load(Ordering::Relaxed) {
                    return Err(CreateError::Cancelled);
                }
                hashes.push((piece, self.hash_piece(piece, &mut ahead, &mut open)?));
                let len = u64::from(layout.piece_size(piece));
                let done = self.done_bytes.fetch_add(len, Ordering::Relaxed) + len;
                (self.progress)(done, layout.total_len());
            }
        }
        Ok(hashes)
    }

    /// The next pieces.
    fn take(&self) -> Option<Range<u32>> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        let layout = self.plan.layout();
        let run = (RUN_LEN / layout.piece_len()).max(1);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let end = next.saturating_add(run).min(layout.piece_count());
        let pieces = *next..end;
        *next = end;
        (!pieces.is_empty()).then_some(pieces)
    }

    /// Hashes a piece; `open` keeps the last file from one piece to the next. The disk is told at
    /// the first file of a run what of it is read next.
    fn hash_piece(
        &self,
        piece: PieceIndex,
        ahead: &mut Option<Range<u32>>,
        open: &mut Option<(usize, File)>,
    ) -> Result<[u8; 20], CreateError> {
        let layout = self.plan.layout();
        let mut hash = Sha1::new();
        for slice in layout.slices(piece, 0, u32::MAX) {
            let Some(found) = self.sources[slice.file] else {
                hash_zeros(&mut hash, slice.len);
                continue;
            };
            let file = match open {
                Some((index, file)) if *index == slice.file => &*file,
                _ => &open.insert((slice.file, found.open()?)).1,
            };
            if let Some(run) = ahead.take() {
                let len = u64::from(run.end - run.start) * u64::from(layout.piece_len());
                read_ahead(file, slice.file_offset, len);
            }
            hash_range(&mut hash, file, slice.file_offset, slice.len).map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    return CreateError::Changed { path: found.path.clone() };
                }
                DiskError::at(&found.path)(error).into()
            })?;
        }
        Ok(hash.finalize().into())
    }
}

impl Found {
    /// Opens the file, which must still be the one that was found.
    fn open(&self) -> Result<File, CreateError> {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe in its place must not hold us, nor a link lead elsewhere.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file =
            File::options().read(true).custom_flags(flags.bits().cast_signed()).open(&self.path);
        let file = file.map_err(DiskError::at(&self.path))?;
        let metadata = file.metadata().map_err(DiskError::at(&self.path))?;
        if FileStamp::of(&metadata) != self.stamp {
            return Err(CreateError::Changed { path: self.path.clone() });
        }
        Ok(file)
    }
}

/// The most threads that hash; beyond, the disk is the bound.
const THREADS_MAX: usize = 16;
/// Bytes that a thread takes at a time where pieces are smaller: the disk reads in long runs.
const RUN_LEN: u32 = 4 * MIB as u32;
