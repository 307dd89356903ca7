//! Opening torrents on a disk thread: metainfo read, data looked at, record written.
//!
//! Never here: the loop's state; everything comes in and goes out by value.

use std::{fs, io, path::Path, sync::Arc};

use shoal_core::{
    bitfield::Bitfield,
    ids::InfoHash,
    metainfo::{FileKind, Metainfo},
    session::{command::Resume, event::Opened},
    torrent::selection::Selection,
};

use super::{
    handle::{AddError, AddSource, TorrentPlace},
    inbox::chunks_dir,
};
use crate::{
    disk::{
        DiskError, FileSystem, LayoutError, OpenError, Placement, Store, TorrentRecord,
        TorrentStore,
    },
    net::Rates,
};

/// The key of [`TorrentRecord::extra`] that says that a torrent was quit.
const QUIT: &str = "quit";

/// Where torrents are kept.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    pub(super) downloads: Arc<Path>,
    /// The folder of the chunk memories.
    pub(super) chunks: Arc<Path>,
    /// What carries out what is done to their files.
    pub(super) files: Arc<dyn FileSystem>,
}

/// A torrent whose data is open.
pub(super) struct OpenedTorrent {
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) store: TorrentStore,
    pub(super) opened: Opened,
    pub(super) resume: Resume,
    pub(super) selection: Selection,
    /// What its connections together may send and receive.
    pub(super) rates: Rates,
    /// Its record was written by this opening, and goes again where the session refuses it.
    pub(super) fresh: bool,
}

/// Opens the data of a torrent that is new here, and writes its record.
pub(super) fn open_new(
    store: &Store,
    folders: &Folders,
    metainfo: &Arc<Metainfo>,
    bytes: &[u8],
    source: AddSource,
) -> Result<OpenedTorrent, AddError> {
    let selection = match &source {
        AddSource::Chosen(globs) => globs.select(metainfo)?,
        AddSource::Download | AddSource::Seed(_) => Selection::default(),
    };
    let placement = match source {
        AddSource::Download | AddSource::Chosen(_) => Placement::Downloads {
            chunks_dir: chunks_dir(&folders.chunks, metainfo.info_hash),
            downloads: folders.downloads.to_path_buf(),
        },
        AddSource::Seed(path) => Placement::Seed { path },
    };
    let is_seed = matches!(placement, Placement::Seed { .. });
    let mut record = TorrentRecord::new(placement);
    record.seed_only = is_seed;
    remember_selection(&mut record, &selection);
    let opened = open(store, folders, metainfo.clone(), &record)?;
    if is_seed {
        check_seed(&opened.store, metainfo)?;
    }
    let put = store.put_torrent(metainfo.info_hash, &record, bytes);
    put.map_err(|error| AddError::Disk(error.to_string()))?;
    Ok(OpenedTorrent { fresh: true, ..opened })
}

/// Opens every torrent that the store keeps. Those that cannot be opened are named, stay kept, and
/// are tried again at the next start.
pub(super) fn restore(
    store: &Store,
    folders: &Folders,
) -> Vec<(InfoHash, Result<OpenedTorrent, String>)> {
    let records = match store.torrents() {
        Ok(records) => records,
        Err(error) => {
            tracing::error!(%error, "the kept torrents cannot be read");
            return Vec::new();
        }
    };
    let restored =
        |(hash, record): (InfoHash, TorrentRecord)| (hash, reopen(store, folders, hash, &record));
    records.into_iter().map(restored).collect()
}

fn reopen(
    store: &Store,
    folders: &Folders,
    hash: InfoHash,
    record: &TorrentRecord,
) -> Result<OpenedTorrent, String> {
    let bytes = store.metainfo(hash).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or("its metainfo file is gone")?;
    let metainfo = Metainfo::parse(&bytes).map_err(|error| error.to_string())?;
    if metainfo.info_hash != hash {
        return Err(format!("its metainfo file is that of {}", metainfo.info_hash));
    }
    open(store, folders, Arc::new(metainfo), record).map_err(|error| error.to_string())
}

fn open(
    store: &Store,
    folders: &Folders,
    metainfo: Arc<Metainfo>,
    record: &TorrentRecord,
) -> Result<OpenedTorrent, AddError> {
    let files = folders.files.clone();
    let opened = TorrentStore::open(store, metainfo.clone(), record.placement.clone(), files);
    let (torrent, found) = opened.map_err(open_error)?;
    let opened = Opened {
        have: found.have,
        unverified: found.unverified,
        downloaded: record.downloaded_bytes,
        uploaded: record.uploaded_bytes,
    };
    let resume = Resume {
        announce: record.tracker_connected,
        auto_download: record.auto_download,
        paused: record.paused,
        quit: record.extra.get(QUIT).and_then(serde_json::Value::as_bool).unwrap_or(false),
    };
    let selection = kept_selection(record, &metainfo).map_err(AddError::Disk)?;
    let rates = Rates::of(record.upload_limit_bps, record.download_limit_bps);
    Ok(OpenedTorrent { metainfo, store: torrent, opened, resume, selection, rates, fresh: false })
}

/// Which files a record says are wanted.
fn kept_selection(record: &TorrentRecord, metainfo: &Metainfo) -> Result<Selection, String> {
    let Some(kept) = &record.wanted_files else { return Ok(Selection::default()) };
    let bytes = hex::decode(kept).map_err(|error| error.to_string());
    let files = bytes.and_then(|bytes| {
        Bitfield::from_wire(&bytes, metainfo.files.len()).map_err(|error| error.to_string())
    });
    let files = files.map_err(|cause| format!("its record names no files it has: {cause}"))?;
    Ok(Selection::of(metainfo, files.iter_ones().map(|file| file.0 as usize)))
}

/// Writes which files are wanted into a torrent's record.
pub(super) fn remember_selection(record: &mut TorrentRecord, selection: &Selection) {
    record.wanted_files = selection.files().map(|files| hex::encode(files.to_wire()));
}

/// Writes what of a torrent's conduct survives a restart into its record.
pub(super) fn remember(record: &mut TorrentRecord, resume: Resume) {
    record.tracker_connected = resume.announce;
    record.auto_download = resume.auto_download;
    record.paused = resume.paused;
    record.extra.insert(QUIT.to_owned(), resume.quit.into());
}

/// Whether every file to be seeded is there with its length.
fn check_seed(store: &TorrentStore, metainfo: &Metainfo) -> Result<(), AddError> {
    for (index, file) in metainfo.files.iter().enumerate() {
        let Some((_, path)) = store.place_of(index) else { continue };
        let wrong = |cause: String| AddError::Seed { path: path.clone(), cause };
        let found = fs::metadata(&path).map_err(|error| wrong(plain(&error)))?;
        if !found.is_file() {
            return Err(wrong("is not a file".to_owned()));
        }
        if found.len() != file.len {
            return Err(wrong(format!(
                "has {} bytes where the torrent has {}",
                found.len(),
                file.len
            )));
        }
    }
    Ok(())
}

/// Where the data of a torrent is. Waits for no disk.
pub(super) fn place(store: &TorrentStore) -> TorrentPlace {
    let (metainfo, merged) = (store.metainfo(), store.in_place());
    let location = match store.placement() {
        Placement::Seed { path } => path.clone(),
        Placement::Downloads { chunks_dir, downloads } => {
            if merged.contains(&true) {
                downloads.join(&metainfo.name)
            } else {
                chunks_dir.clone()
            }
        }
    };
    let seed = matches!(store.placement(), Placement::Seed { .. });
    TorrentPlace { location, merged, seed }
}

/// The files of a torrent that are on a disk.
pub(super) fn real_files(metainfo: &Metainfo) -> impl Iterator<Item = usize> + '_ {
    let files = metainfo.files.iter().enumerate();
    files.filter(|(_, file)| file.kind == FileKind::Regular).map(|(index, _)| index)
}

fn open_error(error: OpenError) -> AddError {
    match error {
        OpenError::Layout(LayoutError::Seed { path, source }) => {
            AddError::Seed { path, cause: plain(&source) }
        }
        OpenError::Disk(DiskError::Io { path, source })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            AddError::Seed { path, cause: plain(&source) }
        }
        error @ (OpenError::Layout(_) | OpenError::Disk(_) | OpenError::Store(_)) => {
            AddError::Disk(error.to_string())
        }
    }
}

/// An error of the system without its number.
fn plain(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "does not exist".to_owned();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use shoal_core::metainfo::create::{Content, CreateOptions, NewFile, Pad, Plan};

    use super::*;

    fn torrent(files: usize) -> Metainfo {
        let file = |index: usize| NewFile { path: vec![format!("{index:02}")], len: 5 };
        let plan = Plan::new(CreateOptions {
            name: "release".to_owned(),
            content: Content::Multi((0..files).map(file).collect()),
            piece_len: Some(16 * 1024),
            pad: Pad::Never,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_unix: None,
        });
        Metainfo::parse(&plan.unwrap().finish(&[[7; 20]]).unwrap()).unwrap()
    }

    #[test]
    fn a_record_says_which_files_are_wanted_and_what_fits_no_torrent_is_an_error() {
        let metainfo = torrent(9);
        let mut record = TorrentRecord::new(Placement::Seed { path: "/data".into() });
        assert_eq!(kept_selection(&record, &metainfo), Ok(Selection::default()));
        let some = Selection::of(&metainfo, [0, 8]);
        remember_selection(&mut record, &some);
        assert_eq!(record.wanted_files.as_deref(), Some("8080"));
        assert_eq!(kept_selection(&record, &metainfo), Ok(some));
        assert!(kept_selection(&record, &torrent(8)).is_err(), "spare bits");
        assert!(kept_selection(&record, &torrent(20)).is_err(), "too short");
        record.wanted_files = Some("xyz".to_owned());
        assert!(kept_selection(&record, &metainfo).is_err());
        remember_selection(&mut record, &Selection::default());
        assert_eq!(record.wanted_files, None);
    }
}
