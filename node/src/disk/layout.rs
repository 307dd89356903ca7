//! Where each file of a torrent may be, and which pieces touch it.
//!
//! Never here: what is on the disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use shoal_core::{
    ids::PieceIndex,
    metainfo::{FileKind, FileSlice, Metainfo, paths::RESERVED_TOP},
};

use super::{
    fs::Location,
    record::{Place, Placement},
};

/// The files of a torrent under its placement.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) meta: Arc<Metainfo>,
    /// The chunk memory, or the seed's folder.
    origin: Arc<Path>,
    /// The downloads folder, absent for a seed.
    downloads: Option<Arc<Path>>,
    /// The file itself where a seed's path is one.
    seed_file: Option<PathBuf>,
}

impl Layout {
    pub(super) fn new(meta: Arc<Metainfo>, placement: &Placement) -> Result<Self, LayoutError> {
        let (origin, downloads, seed_file) = match placement {
            Placement::Downloads { chunks_dir, downloads } => {
                let name = downloads.join(&meta.name);
                if chunks_dir.starts_with(&name) {
                    return Err(LayoutError::HidesChunks { name: meta.name.clone() });
                }
                (chunks_dir.clone(), Some(Arc::from(downloads.as_path())), None)
            }
            Placement::Seed { path } => {
                let unusable = |source| LayoutError::Seed { path: path.clone(), source };
                let path = fs::canonicalize(path).map_err(unusable)?;
                if path.is_dir() {
                    (path, None, None)
                } else if meta.is_multi {
                    return Err(unusable(io::ErrorKind::NotADirectory.into()));
                } else {
                    let name = path.file_name().map(PathBuf::from);
                    let parent = path.parent().map(Path::to_path_buf).unwrap_or_default();
                    (parent, None, name)
                }
            }
        };
        Ok(Self { meta, origin: Arc::from(origin), downloads, seed_file })
    }

    pub(super) fn file_count(&self) -> usize {
        self.meta.files.len()
    }

    pub(super) fn file_len(&self, file: usize) -> u64 {
        self.meta.files[file].len
    }

    /// Whether the file is one on the disk: neither padding nor a link, which are never made.
    pub(super) fn is_on_disk(&self, file: usize) -> bool {
        self.meta.files[file].kind == FileKind::Regular
    }

    /// The files that are on the disk.
    pub(super) fn files(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.file_count()).filter(|&file| self.is_on_disk(file))
    }

    pub(super) fn piece_count(&self) -> u32 {
        self.meta.piece_count()
    }

    /// The pieces that touch a file; none for an empty one.
    pub(super) fn pieces_of(&self, file: usize) -> impl Iterator<Item = PieceIndex> + use<> {
        self.pieces_of_range(file, 0, self.file_len(file))
    }

    /// The pieces that touch a range of a file.
    pub(super) fn pieces_of_range(
        &self,
        file: usize,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = PieceIndex> + use<> {
        let offset = self.meta.files[file].offset + from;
        let range = self.meta.layout().pieces_of(offset, to.saturating_sub(from));
        range.map(PieceIndex)
    }

    /// A piece's length in bytes, 0 for one that does not exist.
    pub(super) fn piece_size(&self, piece: PieceIndex) -> u32 {
        self.meta.layout().piece_size(piece)
    }

    /// The parts of a piece's range that lie in files, padding among them, in order.
    pub(super) fn slices(&self, piece: PieceIndex, offset: u32, len: u32) -> Vec<FileSlice> {
        self.meta.layout().slices(piece, offset, len).collect()
    }

    /// The parts of a whole piece.
    pub(super) fn whole(&self, piece: PieceIndex) -> Vec<FileSlice> {
        self.slices(piece, 0, self.piece_size(piece))
    }

    /// Where a file is copied to before it is renamed into the downloads folder of another device:
    /// below `.shoal`, which no torrent may name. `None` for a seed.
    pub(super) fn copy_location(&self, file: usize) -> Option<Location> {
        let name = format!("{}-{file}", self.meta.info_hash);
        self.downloads.as_ref().map(|base| Location::new(base, [RESERVED_TOP, "merge", &name]))
    }

    /// What all files of the torrent are below once they are merged.
    pub(super) fn merged_root(&self) -> PathBuf {
        match (&self.downloads, &self.seed_file) {
            (Some(downloads), _) => downloads.join(&self.meta.name),
            (None, Some(name)) => self.origin.join(name),
            (None, None) => self.origin.to_path_buf(),
        }
    }

    /// Where a file is when it is in this place.
    pub(super) fn location(&self, file: usize, place: Place) -> Location {
        let meta = &self.meta;
        let path = || meta.files[file].path.iter();
        match (place, &self.downloads, &self.seed_file) {
            (Place::Seed, _, Some(name)) => Location::new(&self.origin, [name]),
            (Place::Merged, Some(downloads), _) if meta.is_multi => {
                Location::new(downloads, std::iter::once(&meta.name).chain(path()))
            }
            (Place::Merged, Some(downloads), _) => Location::new(downloads, [&meta.name]),
            (Place::Chunks | Place::Seed | Place::Merged, _, _) if meta.is_multi => {
                Location::new(&self.origin, path())
            }
            (Place::Chunks | Place::Seed | Place::Merged, _, _) => {
                Location::new(&self.origin, [&meta.name])
            }
        }
    }

    /// The chunk memory of this torrent, or the seed's folder.
    pub(super) fn origin(&self) -> Location {
        Location { base: self.origin.clone(), relative: PathBuf::new() }
    }
}

/// Why a torrent has no place here.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The torrent's name is that of the folder in which chunk memories are.
    #[error("torrent name {name:?} is that of the chunk memory's folder")]
    HidesChunks {
        /// The name.
        name: String,
    },
    /// The data to seed is missing, or a file where a folder is needed.
    #[error("seed data {}: {source}", path.display())]
    Seed {
        /// The path given.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
}
