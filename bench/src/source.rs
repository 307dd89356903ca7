//! The bytes that are transferred: made once, described by a metainfo file, and what every copy is
//! compared with.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use sha1::{Digest as _, Sha1};
use shoal_core::metainfo::{self, Content, CreateOptions, Metainfo, Pad};

use crate::interrupt;

/// The file to be transferred. But for named ones its folder holds nothing else.
#[derive(Debug)]
pub(crate) struct Source {
    dir: PathBuf,
    name: String,
    len: u64,
    piece_len: u32,
    hashes: Vec<[u8; 20]>,
}

/// What the file, and every copy of it, is called that was given no other name.
pub(crate) const NAME: &str = "payload.bin";
/// Where the random bytes start, so that every run has the same.
const SEED: u64 = 0x5ca1_ab1e;
/// Bytes compared at once.
const BLOCK_LEN: usize = 1 << 20;

impl Source {
    /// Random bytes.
    ///
    /// # Errors
    /// The file cannot be written, or "interrupted".
    pub(crate) fn random(dir: &Path, len: u64, piece_len: u32) -> anyhow::Result<Self> {
        Self::named(dir, NAME, SEED, len, piece_len)
    }

    /// Random bytes, others for each seed.
    ///
    /// # Errors
    /// The file cannot be written, or "interrupted".
    pub(crate) fn named(
        dir: &Path,
        name: &str,
        seed: u64,
        len: u64,
        piece_len: u32,
    ) -> anyhow::Result<Self> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut file = File::create_new(dir.join(name))?;
        let mut piece = vec![0; piece_len as usize];
        let mut hashes = Vec::new();
        for piece_now in lens(len, piece_len) {
            interrupt::check()?;
            let piece = &mut piece[..piece_now];
            rng.fill(piece);
            hashes.push(Sha1::digest(&*piece).into());
            file.write_all(piece)?;
        }
        Ok(Self { dir: dir.to_owned(), name: name.to_owned(), len, piece_len, hashes })
    }

    /// Holes but for the start of each piece, which is its number: takes a page for each piece, and
    /// still no two pieces are equal.
    ///
    /// # Errors
    /// The file cannot be written, or "interrupted".
    pub(crate) fn sparse(dir: &Path, len: u64, piece_len: u32) -> anyhow::Result<Self> {
        let file = File::create_new(dir.join(NAME))?;
        file.set_len(len)?;
        let mut piece = vec![0; piece_len as usize];
        let mut hashes = Vec::new();
        let starts = (0_u64..).map(|index| (index + 1).to_be_bytes());
        for (piece_now, start) in lens(len, piece_len).zip(starts) {
            interrupt::check()?;
            let piece = &mut piece[..piece_now];
            let start = &start[..start.len().min(piece_now)];
            piece[..start.len()].copy_from_slice(start);
            file.write_all_at(start, hashes.len() as u64 * u64::from(piece_len))?;
            hashes.push(Sha1::digest(&*piece).into());
        }
        Ok(Self { dir: dir.to_owned(), name: NAME.to_owned(), len, piece_len, hashes })
    }

    /// The same file in pieces of another length.
    ///
    /// # Errors
    /// The file cannot be read, or "interrupted".
    pub(crate) fn in_pieces(&self, piece_len: u32) -> anyhow::Result<Self> {
        let mut file = File::open(self.path())?;
        let mut piece = vec![0; piece_len as usize];
        let mut hashes = Vec::new();
        for piece_now in lens(self.len, piece_len) {
            interrupt::check()?;
            let piece = &mut piece[..piece_now];
            file.read_exact(piece)?;
            hashes.push(Sha1::digest(&*piece).into());
        }
        let (dir, name) = (self.dir.clone(), self.name.clone());
        Ok(Self { dir, name, len: self.len, piece_len, hashes })
    }

    /// The folder it lies in.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of every piece but the last.
    pub(crate) fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// Writes the metainfo file for the tracker at `announce` and says what is in it.
    ///
    /// # Errors
    /// A piece length that no torrent has, too many pieces, or the file cannot be written.
    pub(crate) fn torrent(&self, announce: &str, path: &Path) -> anyhow::Result<Metainfo> {
        let plan = plan(&self.name, self.len, self.piece_len, vec![vec![announce.to_owned()]])?;
        let bytes = plan.finish(&self.hashes)?;
        fs::write(path, &bytes)?;
        Ok(Metainfo::parse(&bytes)?)
    }

    /// Compares a copy byte for byte.
    ///
    /// # Errors
    /// It differs, cannot be read, or "interrupted".
    pub(crate) fn compare(&self, copy: &Path) -> anyhow::Result<()> {
        let mut theirs = File::open(copy).with_context(|| copy.display().to_string())?;
        let len = theirs.metadata()?.len();
        ensure!(len == self.len, "the copy has {len} bytes, the source {}", self.len);
        let path = self.path();
        let mut ours = File::open(&path).with_context(|| path.display().to_string())?;
        let mut blocks = (vec![0; BLOCK_LEN], vec![0; BLOCK_LEN]);
        let mut offset = 0;
        while offset < len {
            interrupt::check()?;
            let now = usize::try_from(len - offset).map_or(BLOCK_LEN, |left| left.min(BLOCK_LEN));
            let (ours_now, theirs_now) = (&mut blocks.0[..now], &mut blocks.1[..now]);
            ours.read_exact(ours_now)?;
            theirs.read_exact(theirs_now)?;
            if ours_now != theirs_now {
                let at = ours_now.iter().zip(&*theirs_now).position(|(a, b)| a != b).unwrap_or(0);
                anyhow::bail!("the copy differs from the source at byte {}", offset + at as u64);
            }
            offset += now as u64;
        }
        Ok(())
    }
}

/// Refuses lengths that no torrent has, before anything is written.
///
/// # Errors
/// Names the length.
pub(crate) fn check(len: u64, piece_len: u32) -> anyhow::Result<()> {
    plan(NAME, len, piece_len, Vec::new()).map(drop)
}

fn plan(
    name: &str,
    len: u64,
    piece_len: u32,
    trackers: Vec<Vec<String>>,
) -> anyhow::Result<metainfo::Plan> {
    Ok(metainfo::Plan::new(CreateOptions {
        name: name.to_owned(),
        content: Content::Single { len },
        piece_len: Some(piece_len),
        pad: Pad::Never,
        private: false,
        trackers,
        web_seeds: Vec::new(),
        comment: None,
        created_unix: None,
    })?)
}

/// The length of each piece.
fn lens(len: u64, piece_len: u32) -> impl Iterator<Item = usize> {
    let piece_len = u64::from(piece_len);
    (0..len.div_ceil(piece_len)).map(move |piece| piece_len.min(len - piece * piece_len) as usize)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const LEN: u64 = 3 * 16_384 + 5;

    #[test]
    fn a_copy_is_compared_to_its_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::random(dir.path(), LEN, 16_384).unwrap();
        let copy = dir.path().join("copy");
        let mut bytes = fs::read(source.path()).unwrap();
        fs::write(&copy, &bytes).unwrap();
        source.compare(&copy).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&copy, &bytes).unwrap();
        let error = source.compare(&copy).unwrap_err().to_string();
        assert!(error.contains(&format!("at byte {}", LEN - 1)), "{error}");
        bytes.pop();
        fs::write(&copy, &bytes).unwrap();
        assert!(source.compare(&copy).unwrap_err().to_string().contains("bytes, the source"));
    }

    #[test]
    fn a_sparse_source_is_described_as_what_it_reads_as() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::sparse(dir.path(), LEN, 16_384).unwrap();
        let bytes = fs::read(source.path()).unwrap();
        let torrent = dir.path().join("t.torrent");
        let metainfo = source.torrent("http://127.0.0.1:1/announce", &torrent).unwrap();
        let hashes: Vec<[u8; 20]> =
            bytes.chunks(16_384).map(|piece| Sha1::digest(piece).into()).collect();
        assert_eq!((metainfo.total_len(), &metainfo.pieces), (LEN, &hashes));
        assert!(hashes.iter().enumerate().all(|(at, hash)| !hashes[..at].contains(hash)));
    }

    #[test]
    fn a_sparse_source_takes_little_room() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::sparse(dir.path(), 64 << 20, 1 << 20).unwrap();
        let taken = fs::metadata(source.path()).unwrap().blocks() * 512;
        assert!((1..=4 << 20).contains(&taken), "{taken} bytes");
    }

    #[test]
    fn lengths_of_no_torrent_are_refused() {
        assert!(check(LEN, 16_384).is_ok());
        assert!(check(LEN, 16_385).unwrap_err().to_string().contains("16385"));
    }
}
