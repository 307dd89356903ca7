//! A torrent with content, and a node's folders to put it in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use shoal_core::{
    ids::PieceIndex,
    metainfo::{Content, CreateOptions, Metainfo, NewFile, Pad, Plan},
};

use super::forgetful::{Forgetful, open_store};
use crate::disk::{
    FileSystem, OpenError, Opened, Placement, RealFileSystem, Source, Store, TorrentStore,
    hash_parts,
};

/// The piece length of samples, bytes.
pub(super) const PIECE: usize = 16 * 1024;

pub(super) struct Sample {
    pub(super) meta: Arc<Metainfo>,
    /// All bytes, padding included.
    pub(super) bytes: Vec<u8>,
}

impl Sample {
    /// Files by path and length, with random content.
    pub(super) fn multi(files: &[(&str, usize)], pad: Pad) -> Self {
        let file = |(path, len): &(&str, usize)| NewFile {
            path: path.split('/').map(str::to_owned).collect(),
            len: *len as u64,
        };
        Self::new(Content::Multi(files.iter().map(file).collect()), pad)
    }

    pub(super) fn single(len: usize) -> Self {
        Self::new(Content::Single { len: len as u64 }, Pad::Never)
    }

    /// Three files; the second piece lies in two of them, the fourth in three. An empty one too.
    pub(super) fn straddling() -> Self {
        let files = [("a", 20_000), ("d/b", 30_000), ("d/e/c", 50_000), ("d/nil", 0)];
        Self::multi(&files, Pad::Never)
    }

    fn new(content: Content, pad: Pad) -> Self {
        let plan = Plan::new(CreateOptions {
            name: "sample".to_owned(),
            content,
            piece_len: Some(PIECE as u32),
            pad,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_unix: None,
        })
        .unwrap();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut bytes = vec![0; plan.layout().total_len() as usize];
        for file in plan.files().iter().filter(|file| file.path[0] != ".pad") {
            rng.fill(&mut bytes[file.offset as usize..file.end() as usize]);
        }
        let hashes: Vec<_> = bytes.chunks(PIECE).map(|piece| hash_parts(&[piece])).collect();
        let meta = Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap();
        Self { meta: Arc::new(meta), bytes }
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.meta.piece_count()).map(PieceIndex)
    }

    pub(super) fn piece(&self, piece: PieceIndex) -> &[u8] {
        self.bytes.chunks(PIECE).nth(piece.0 as usize).unwrap()
    }

    pub(super) fn file(&self, file: usize) -> &[u8] {
        let file = &self.meta.files[file];
        &self.bytes[file.offset as usize..file.end() as usize]
    }

    pub(super) fn write(&self, torrent: &TorrentStore, piece: PieceIndex) {
        torrent.write_piece(piece, &[self.piece(piece)]).unwrap();
    }

    pub(super) fn write_all(&self, torrent: &TorrentStore) {
        self.pieces().for_each(|piece| self.write(torrent, piece));
    }

    /// Writes the files below a folder, as an operator has them.
    pub(super) fn put(&self, folder: &Path) {
        for (index, file) in self.meta.files.iter().enumerate() {
            let path = file.path.iter().fold(folder.to_path_buf(), |path, part| path.join(part));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, self.file(index)).unwrap();
        }
    }
}

/// The folders of a node.
pub(super) struct Home {
    dir: tempfile::TempDir,
    pub(super) fs: Arc<Forgetful>,
}

impl Home {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["disk", "staging"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let fs = Forgetful::new(&dir.path().join("disk"), &dir.path().join("staging"));
        Self { dir, fs }
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(super) fn downloads(&self) -> PathBuf {
        self.dir.path().join("disk/downloads")
    }

    pub(super) fn chunks(&self, sample: &Sample) -> PathBuf {
        self.downloads().join(".shoal").join(sample.meta.info_hash.to_string())
    }

    pub(super) fn placement(&self, sample: &Sample) -> Placement {
        Placement::Downloads { chunks_dir: self.chunks(sample), downloads: self.downloads() }
    }

    /// Opens a sample with its state directory on the real file system.
    pub(super) fn open(&self, sample: &Sample) -> (TorrentStore, Opened) {
        self.open_on(sample, Arc::new(RealFileSystem)).unwrap()
    }

    pub(super) fn open_on(
        &self,
        sample: &Sample,
        fs: Arc<dyn FileSystem>,
    ) -> Result<(TorrentStore, Opened), OpenError> {
        let store = Store::open(&self.state_dir()).unwrap();
        TorrentStore::open(&store, sample.meta.clone(), self.placement(sample), fs)
    }

    /// Opens a sample on the file system that forgets.
    pub(super) fn open_forgetful(
        &self,
        sample: &Sample,
    ) -> Result<(TorrentStore, Opened), OpenError> {
        let store = open_store(&self.state_dir(), &self.fs)?;
        let placement = self.placement(sample);
        TorrentStore::open(&store, sample.meta.clone(), placement, self.fs.clone())
    }

    pub(super) fn seed(&self, sample: &Sample, path: &Path) -> (TorrentStore, Opened) {
        let store = Store::open(&self.state_dir()).unwrap();
        let placement = Placement::Seed { path: path.to_path_buf() };
        let fs = Arc::new(RealFileSystem);
        TorrentStore::open(&store, sample.meta.clone(), placement, fs).unwrap()
    }
}

/// The bytes that sources name.
pub(super) fn bytes_of(sources: &[Source]) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = Vec::new();
    for source in sources {
        match source {
            Source::Zeros(len) => bytes.resize(bytes.len() + *len as usize, 0),
            Source::File { file, offset, len } => {
                let mut part = vec![0; *len as usize];
                file.read_exact_at(&mut part, *offset).unwrap();
                bytes.append(&mut part);
            }
        }
    }
    bytes
}
