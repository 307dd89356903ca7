//! Making torrents.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use shoal_core::metainfo::{FileKind, Metainfo, Pad};

use super::sample::{Home, PIECE, Sample};
use crate::disk::{CreateError, CreateOptions, create};

fn options(path: &std::path::Path) -> CreateOptions {
    CreateOptions {
        path: path.to_path_buf(),
        name: None,
        piece_len: Some(PIECE as u32),
        pad: Pad::Auto,
        private: false,
        trackers: vec![vec!["http://127.0.0.1:7001/announce".to_owned()]],
        web_seeds: Vec::new(),
        comment: Some("made in a test".to_owned()),
        created_unix: Some(1),
    }
}

fn make(options: &CreateOptions) -> Result<Metainfo, CreateError> {
    let created = create(options, &|_, _| (), &AtomicBool::new(false))?;
    Ok(Metainfo::parse(&created.metainfo).unwrap())
}

#[test]
fn folder_becomes_the_torrent_that_was_put_there() {
    for pad in [Pad::Never, Pad::Always] {
        let home = Home::new();
        let files = [("a", 20_000), ("d/b", 30_000), ("d/e/c", 50_000), ("d/nil", 0)];
        let sample = Sample::multi(&files, pad);
        let folder = home.state_dir().with_file_name("sample");
        sample.meta.files.iter().enumerate().filter(|(_, f)| f.kind == FileKind::Regular).for_each(
            |(index, file)| {
                let path = folder.join(file.joined());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, sample.file(index)).unwrap();
            },
        );
        let meta = make(&CreateOptions { pad, ..options(&folder) }).unwrap();
        assert_eq!(meta.info_hash, sample.meta.info_hash);
        assert_eq!(meta.comment.as_deref(), Some("made in a test"));
    }
}

#[test]
fn file_becomes_a_single_file_torrent_and_every_byte_is_reported() {
    let (home, sample) = (Home::new(), Sample::single(5 * PIECE + 1));
    let path = home.state_dir().with_file_name("sample");
    fs::write(&path, &sample.bytes).unwrap();
    let seen = Mutex::new(Vec::new());
    let progress = |done, total| seen.lock().unwrap().push((done, total));
    let created = create(&options(&path), &progress, &AtomicBool::new(false)).unwrap();
    let meta = Metainfo::parse(&created.metainfo).unwrap();
    assert_eq!(meta.info_hash, sample.meta.info_hash);
    let seen = seen.into_inner().unwrap();
    let total = sample.bytes.len() as u64;
    assert_eq!(seen.len(), 6);
    assert_eq!(seen.iter().max(), Some(&(total, total)));
}

#[test]
fn links_and_a_chunk_memory_are_left_out_and_listed() {
    let home = Home::new();
    let folder = home.state_dir().with_file_name("folder");
    fs::create_dir_all(folder.join(".shoal/x")).unwrap();
    fs::write(folder.join(".shoal/x/part"), "no").unwrap();
    fs::write(folder.join("real"), "yes").unwrap();
    symlink("/etc/passwd", folder.join("link")).unwrap();
    symlink("/etc", folder.join("dirlink")).unwrap();
    let created = create(&options(&folder), &|_, _| (), &AtomicBool::new(false)).unwrap();
    let folder = folder.canonicalize().unwrap();
    assert_eq!(created.skipped, [".shoal", "dirlink", "link"].map(|name| folder.join(name)));
    let meta = Metainfo::parse(&created.metainfo).unwrap();
    assert_eq!(meta.files.iter().map(|file| file.joined()).collect::<Vec<_>>(), ["real"]);
}

#[test]
fn file_that_changes_while_it_is_hashed_is_noticed() {
    let home = Home::new();
    let path = home.state_dir().with_file_name("file");
    fs::write(&path, vec![1; 4 * PIECE]).unwrap();
    let touch = |_, _| {
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    let refused = create(&options(&path), &touch, &AtomicBool::new(false));
    assert!(matches!(refused, Err(CreateError::Changed { .. })), "{refused:?}");
    let shrink = |_, _| {
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(1).unwrap();
    };
    let refused = create(&options(&path), &shrink, &AtomicBool::new(false));
    assert!(matches!(refused, Err(CreateError::Changed { .. })), "{refused:?}");
}

#[test]
fn cancelled_hashing_ends() {
    let home = Home::new();
    let path = home.state_dir().with_file_name("file");
    fs::write(&path, vec![1; 40 * PIECE]).unwrap();
    let cancel = AtomicBool::new(false);
    let stop = |_, _| cancel.store(true, Ordering::Relaxed);
    assert!(matches!(create(&options(&path), &stop, &cancel), Err(CreateError::Cancelled)));
}

#[test]
fn what_is_no_content_is_named() {
    let home = Home::new();
    let missing = home.state_dir().with_file_name("missing");
    let error = make(&options(&missing)).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(matches!(
        make(&options(std::path::Path::new("/dev/null"))),
        Err(CreateError::NotContent { .. })
    ));
}
