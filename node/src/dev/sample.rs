//! Data to share: always the same, and incompressible; and whether a copy is the same as its
//! source, byte for byte. Blocks.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};

use shoal_core::metainfo::{FileKind, Metainfo};

/// The seed of the data: the same in every run.
const SEED: u64 = 0x5348_4f41_4c00_0001;
/// Bytes written, and compared, at once.
const STEP: usize = 1 << 20;

/// Writes `len` bytes of sample data.
pub(super) fn write(path: &Path, len: u64) -> io::Result<()> {
    let (mut file, mut rng) = (File::create(path)?, fastrand::Rng::with_seed(SEED));
    let (mut buffer, mut left) = (vec![0; STEP], len);
    while left > 0 {
        let step = usize::try_from(left).map_or(STEP, |left| left.min(STEP));
        rng.fill(&mut buffer[..step]);
        file.write_all(&buffer[..step])?;
        left -= step as u64;
    }
    Ok(())
}

/// Compares every file of a torrent in two places: the path that differs, and how.
pub(super) fn compare(
    metainfo: &Metainfo,
    source: &Path,
    copy: &Path,
) -> Result<(), (PathBuf, String)> {
    let regular = metainfo.files.iter().filter(|file| matches!(file.kind, FileKind::Regular));
    for file in regular {
        let below = |root: &Path| match metainfo.is_multi {
            true => file.path.iter().fold(root.to_owned(), |path, part| path.join(part)),
            false => root.to_owned(),
        };
        let copied = below(copy);
        match same(&below(source), &copied) {
            Ok(true) => {}
            Ok(false) => return Err((copied, "differs from its source".to_owned())),
            Err(error) => return Err((copied, error.to_string())),
        }
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (vec![0; STEP], vec![0; STEP]);
    loop {
        let (a, b) = (fill(&mut one, &mut left)?, fill(&mut other, &mut right)?);
        if left[..a] != right[..b] {
            return Ok(false);
        }
        if a == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..])? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_data_is_always_the_same_and_of_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("a"), dir.path().join("b"));
        let len = STEP as u64 * 2 + 7;
        write(&one, len).unwrap();
        write(&other, len).unwrap();
        assert_eq!(one.metadata().unwrap().len(), len);
        assert!(same(&one, &other).unwrap());
    }

    #[test]
    fn one_byte_and_one_length_make_a_difference() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let base = vec![7; STEP + 1];
        let mut flipped = base.clone();
        flipped[STEP] = 8;
        let one = file("one", &base);
        assert!(same(&one, &file("same", &base)).unwrap());
        assert!(!same(&one, &file("flipped", &flipped)).unwrap());
        assert!(!same(&one, &file("short", &base[..STEP])).unwrap());
        assert!(!same(&file("empty", b""), &one).unwrap());
        assert!(same(&one, &dir.path().join("none")).is_err());
    }
}
