//! Folders to share, and what became of them elsewhere. Never here: how they got there.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use shoal_core::metainfo::{FileKind, Metainfo};

use crate::harness::sample;

/// Where padding files lie in a torrent (BEP 47).
const PAD_DIR: &str = ".pad";

/// Files by their paths below a folder, and their bytes.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Makes the folder `dir`: files that begin and end inside chunks and on their borders, an empty
/// one, names that are not ASCII.
pub fn plant(dir: &Path) {
    let files = [
        ("a.txt", 3),
        ("empty", 0),
        ("sub/b.bin", 2_000_001),
        ("sub/deeper/grüße 世界.bin", 3_300_000),
        ("sub/whole.bin", 4 * 65_536),
        ("z.bin", 70_000),
    ];
    for (seed, (path, len)) in (1..).zip(files) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, sample(len, seed)).unwrap();
    }
}

/// Copies what lies at `from` below `to`, with the padding files that a client without BEP 47 has.
pub fn copy_with_padding(from: &Path, to: &Path, metainfo: &[u8]) -> PathBuf {
    let metainfo = Metainfo::parse(metainfo).unwrap();
    for file in &metainfo.files {
        let path = place(to, &metainfo, &file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match file.kind {
            FileKind::Regular if metainfo.is_multi => {
                fs::copy(from.join(file.joined()), path).unwrap();
            }
            FileKind::Regular => {
                fs::copy(from, path).unwrap();
            }
            FileKind::Pad => fs::write(path, vec![0; usize::try_from(file.len).unwrap()]).unwrap(),
            FileKind::Symlink => panic!("{} is a symlink", file.joined()),
        }
    }
    to.join(metainfo.name)
}

fn place(below: &Path, metainfo: &Metainfo, path: &[String]) -> PathBuf {
    let base = if metainfo.is_multi { below.join(&metainfo.name) } else { below.to_owned() };
    path.iter().fold(base, |base, part| base.join(part))
}

/// The number of padding files of a torrent.
pub fn padding_files(metainfo: &[u8]) -> usize {
    let files = Metainfo::parse(metainfo).unwrap().files;
    files.iter().filter(|file| file.kind == FileKind::Pad).count()
}

/// `copy` holds the same files as `source`, each with the same bytes, and nothing else.
#[track_caller]
pub fn assert_same(source: &Path, copy: &Path) {
    compare(&contents(source), &contents(copy));
}

/// As [`assert_same`], but for padding files in `copy`, which hold zeros.
#[track_caller]
pub fn assert_same_but_padding(source: &Path, copy: &Path) {
    let mut copied = contents(copy);
    copied.retain(|path, bytes| {
        let is_padding = path.starts_with(PAD_DIR);
        assert!(!is_padding || bytes.iter().all(|&byte| byte == 0), "{}", path.display());
        !is_padding
    });
    compare(&contents(source), &copied);
}

#[track_caller]
fn compare(source: &Files, copy: &Files) {
    if let Some(difference) = difference(source, copy) {
        panic!("{difference}");
    }
}

/// What of `copy` differs from `source`, but for padding files; nothing where both are the same.
/// Empty files need not be there where `empty` is false.
pub fn difference_but_padding(source: &Path, copy: &Path, empty: bool) -> Option<String> {
    let contents = |root| read(root).map_err(|error| error.to_string());
    let (source, copy) = match (contents(source), contents(copy)) {
        (Ok(source), Ok(copy)) => (source, copy),
        (Err(error), _) | (_, Err(error)) => return Some(error),
    };
    let copied: Files = copy.into_iter().filter(|(path, _)| !path.starts_with(PAD_DIR)).collect();
    let expected =
        |path: &PathBuf, bytes: &Vec<u8>| empty || !bytes.is_empty() || copied.contains_key(path);
    let source = source.into_iter().filter(|(path, bytes)| expected(path, bytes)).collect();
    difference(&source, &copied)
}

fn difference(source: &Files, copy: &Files) -> Option<String> {
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    if names(source) != names(copy) {
        return Some(format!("{:?} became {:?}", names(source), names(copy)));
    }
    source.iter().find_map(|(path, bytes)| {
        let copied = &copy[path];
        let at = || bytes.iter().zip(copied).position(|(a, b)| a != b);
        let (path, lens) = (path.display(), (bytes.len(), copied.len()));
        (bytes != copied).then(|| format!("{path}: first differs at {:?} of {lens:?}", at()))
    })
}

/// Every file at or below `root` by its path below it, and its bytes.
fn contents(root: &Path) -> Files {
    read(root).unwrap_or_else(|error| panic!("{error}"))
}

fn read(root: &Path) -> io::Result<Files> {
    let named = |path: &Path, e: io::Error| io::Error::other(format!("{}: {e}", path.display()));
    let (mut files, mut ahead) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(path) = ahead.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).map_err(|error| named(&path, error))? {
                ahead.push(entry?.path());
            }
        } else {
            let bytes = fs::read(&path).map_err(|error| named(&path, error))?;
            files.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
        }
    }
    Ok(files)
}
