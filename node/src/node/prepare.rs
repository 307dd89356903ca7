//! What is read and checked before anything runs: an error here costs nothing.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use shoal_core::{config::METAINFO_LEN_MAX, ids::InfoHash, magnet::Magnet, metainfo::Metainfo};

use super::StartError;
use crate::{
    auth::tls::{Tls, TlsFiles},
    config::{NodeConfig, PeerConfig, value::ControlAddr},
    policy_host::PolicyChoice,
    rpc::{policy, roots::ShareRoots},
};

/// A node that could start.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Every path in it absolute.
    pub(super) config: NodeConfig,
    pub(super) only: Option<BTreeSet<InfoHash>>,
    pub(super) torrents: Vec<TorrentFile>,
    pub(super) magnets: Vec<Magnet>,
    pub(super) seeds: Vec<(TorrentFile, PathBuf)>,
    pub(super) policy: Option<NamedPolicy>,
    pub(super) tls: Option<Tls>,
}

/// A metainfo file that was read.
#[derive(Debug)]
pub(super) struct TorrentFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) info_hash: InfoHash,
    pub(super) name: String,
}

/// A policy, and what the configuration calls it.
#[derive(Debug)]
pub(super) struct NamedPolicy {
    pub(super) name: String,
    pub(super) choice: PolicyChoice,
}

impl Prepared {
    pub(super) fn new(mut config: NodeConfig) -> Result<Self, StartError> {
        config.check()?;
        make_absolute(&mut config).map_err(|cause| StartError::File {
            what: "working directory",
            path: PathBuf::from("."),
            cause,
        })?;
        let only = config.tracker.as_ref().map(|tracker| read_only(&tracker.only)).transpose()?;
        let peer = config.peer.as_ref();
        let torrents = peer.map_or_else(|| Ok(Vec::new()), read_torrents)?;
        let magnets = peer.map_or_else(|| Ok(Vec::new()), read_magnets)?;
        let seeds = peer.map_or_else(|| Ok(Vec::new()), read_seeds)?;
        let policy = peer.map(read_policy).transpose()?.flatten();
        let tls = read_tls(&config)?;
        make_state_dir(&config.state_dir)?;
        if let Some(peer) = peer {
            check_writable(&peer.downloads)?;
        }
        if let Some(path) = &config.ready_file {
            remove_stale(path)?;
        }
        Ok(Self { config, only: only.flatten(), torrents, magnets, seeds, policy, tls })
    }
}

/// What may be shared by callers with a token: the downloads folder, the share roots, the data of the seeds.
pub(super) fn share_roots(config: &NodeConfig) -> ShareRoots {
    let Some(peer) = &config.peer else { return ShareRoots::default() };
    let seeds = peer.seed.iter().map(|seed| seed.data.clone());
    let roots = peer.share_root.iter().cloned().chain([peer.downloads.clone()]).chain(seeds);
    ShareRoots::new(roots.collect())
}

fn make_absolute(config: &mut NodeConfig) -> io::Result<()> {
    let absolute = |path: &mut PathBuf| {
        *path = std::path::absolute(&*path)?;
        Ok::<_, io::Error>(())
    };
    absolute(&mut config.state_dir)?;
    for control in &mut config.control {
        if let ControlAddr::Unix(path) = control {
            absolute(path)?;
        }
    }
    let Some(peer) = &mut config.peer else { return Ok(()) };
    absolute(&mut peer.downloads)?;
    peer.chunks.iter_mut().try_for_each(absolute)?;
    peer.share_root.iter_mut().try_for_each(absolute)?;
    peer.seed.iter_mut().try_for_each(|seed| absolute(&mut seed.data))
}

fn read_tls(config: &NodeConfig) -> Result<Option<Tls>, StartError> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let files = TlsFiles { cert, key, client_ca: config.tls_client_ca.as_deref() };
    Ok(Some(Tls::read(files, SystemTime::now())?))
}

fn make_state_dir(dir: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|cause| StartError::File { what: "--state-dir", path: dir.to_owned(), cause })
}

/// Finds out before anything runs that nothing could be written.
fn check_writable(dir: &Path) -> Result<(), StartError> {
    let tried = fs::create_dir_all(dir).and_then(|()| tempfile::tempfile_in(dir));
    let failed = |cause| StartError::File { what: "--downloads", path: dir.to_owned(), cause };
    tried.map(drop).map_err(failed)
}

/// A ready file of an earlier run would tell of addresses that nobody has.
fn remove_stale(path: &Path) -> Result<(), StartError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(StartError::File { what: "--ready-file", path: path.to_owned(), cause })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read_only(paths: &[PathBuf]) -> Result<Option<BTreeSet<InfoHash>>, StartError> {
    if paths.is_empty() {
        return Ok(None);
    }
    let read = |path: &PathBuf| Ok(read_torrent("--only", path)?.info_hash);
    paths.iter().map(read).collect::<Result<_, StartError>>().map(Some)
}

fn read_torrents(peer: &PeerConfig) -> Result<Vec<TorrentFile>, StartError> {
    let files = peer.torrent.iter().filter(|path| link(path).is_none());
    files.map(|path| read_torrent("--torrent", path)).collect()
}

fn read_magnets(peer: &PeerConfig) -> Result<Vec<Magnet>, StartError> {
    let links = peer.torrent.iter().filter_map(|path| link(path));
    links.map(|text| Magnet::parse(text).map_err(StartError::Magnet)).collect()
}

/// The magnet link that stands in the place of a file.
fn link(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| Magnet::is_meant(text))
}

fn read_seeds(peer: &PeerConfig) -> Result<Vec<(TorrentFile, PathBuf)>, StartError> {
    let read = |seed: &crate::config::value::SeedSpec| {
        let torrent = read_torrent("--seed", &seed.torrent)?;
        let data = fs::canonicalize(&seed.data).map_err(|cause| StartError::File {
            what: "--seed",
            path: seed.data.clone(),
            cause,
        })?;
        Ok((torrent, data))
    };
    peer.seed.iter().map(read).collect()
}

fn read_torrent(what: &'static str, path: &Path) -> Result<TorrentFile, StartError> {
    let bytes = read_file(path, METAINFO_LEN_MAX);
    let bytes = bytes.map_err(|cause| StartError::File { what, path: path.to_owned(), cause })?;
    let metainfo = Metainfo::parse(&bytes);
    let metainfo =
        metainfo.map_err(|cause| StartError::Metainfo { what, path: path.to_owned(), cause })?;
    let Metainfo { info_hash, name, .. } = metainfo;
    Ok(TorrentFile { path: path.to_owned(), bytes, info_hash, name })
}

/// A name of a native policy or a shipped script, unless a file is there by that name: then it is
/// the file. What has a slash in it is always a file.
fn read_policy(peer: &PeerConfig) -> Result<Option<NamedPolicy>, StartError> {
    let Some(name) = &peer.policy else { return Ok(None) };
    let path = Path::new(name);
    let refused = |cause| StartError::Policy { name: name.clone(), cause: Box::new(cause) };
    let choice = if name.contains('/') || path.is_file() {
        let bytes = read_file(path, policy::choose::SOURCE_LEN_MAX as u64);
        let source = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
        let source = source.map_err(|cause| StartError::File {
            what: "--policy",
            path: path.to_owned(),
            cause,
        })?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        policy::choose::watched(source, &absolute, peer.set.clone()).map_err(refused)?
    } else {
        policy::choose::named(name, peer.set.clone()).map_err(refused)?
    };
    Ok(Some(NamedPolicy { name: name.clone(), choice }))
}

/// A file of at most `len_max` bytes; one byte more is read of a longer one, for its reader to
/// refuse.
fn read_file(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(len_max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
