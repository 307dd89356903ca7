//! Who opens whose torrent files: what we make, Transmission and libtorrent read as we do; what they
//! make, we read as they do, and their hashes fit the files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use shoal::v1;
use shoal_core::metainfo::Metainfo;

use crate::{
    clients::{Kind, PYTHON, is_here},
    harness::{CHUNK, Party, last, sample, until},
    trees,
};

/// What a reader says of a torrent: info hash, name, and every file with its size.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    info_hash: String,
    name: String,
    files: Vec<(String, String)>,
}

/// As we read it, sizes written by `size`.
fn ours(metainfo: &[u8], size: fn(u64) -> String) -> Seen {
    let metainfo = Metainfo::parse(metainfo).unwrap();
    let path = |path: String| match metainfo.is_multi {
        true => format!("{}/{path}", metainfo.name),
        false => path,
    };
    let files = metainfo.files.iter().map(|file| (path(file.joined()), size(file.len)));
    let mut files: Vec<_> = files.collect();
    files.sort();
    Seen { info_hash: metainfo.info_hash.to_string(), name: metainfo.name.clone(), files }
}

/// As Transmission writes sizes: decimal, three digits and a bit.
fn rounded(len: u64) -> String {
    let (value, unit) = match len {
        ..1_000_000 => (len as f64 / 1e3, "kB"),
        _ => (len as f64 / 1e6, "MB"),
    };
    if value < 100.0 { format!("{value:.2} {unit}") } else { format!("{value:.1} {unit}") }
}

/// Runs a program to its end.
#[track_caller]
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).env("LC_ALL", "C.UTF-8").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn transmission_show(torrent: &Path) -> Seen {
    let said = run("transmission-show", &[torrent.to_str().unwrap()]);
    let after = |key: &str| {
        let value = said.lines().find_map(|line| line.trim().strip_prefix(key));
        value.unwrap_or_else(|| panic!("no {key} in {said}")).to_owned()
    };
    let (_, files) = said.split_once("FILES").unwrap();
    let files = files.lines().filter_map(|line| line.trim().strip_suffix(')')?.rsplit_once(" ("));
    let mut files: Vec<_> = files.map(|(path, size)| (path.to_owned(), size.to_owned())).collect();
    files.sort();
    Seen { info_hash: after("Hash: "), name: after("Name: "), files }
}

fn script(name: &str) -> String {
    format!("{}/tests/interop/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn libtorrent_opens(torrent: &Path) -> Seen {
    let said = run(PYTHON, &[&script("verdicts.py"), torrent.to_str().unwrap()]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
    let files = said["files"].as_array().unwrap_or_else(|| panic!("{said}"));
    let mut files: Vec<_> =
        files.iter().map(|file| (text(&file[0]), file[1].to_string())).collect();
    files.sort();
    Seen { info_hash: text(&said["info_hash"]), name: text(&said["name"]), files }
}

fn has_transmission() -> bool {
    Kind::Transmission.is_here()
        && is_here("TRANSMISSION", "transmission-show", &["--version"])
        && is_here("TRANSMISSION", "transmission-create", &["--version"])
}

/// A file and a folder to share.
fn sources(party: &Party) -> [PathBuf; 2] {
    let tree = party.dir.path().join("source/tree");
    trees::plant(&tree);
    [party.write("source/one file.bin", &sample(300_001, 9)), tree]
}

#[tokio::test]
async fn what_we_make_transmission_and_libtorrent_read_as_we_do() {
    let party = Party::new().await;
    let maker = party.peer("maker").await;
    let readers = (has_transmission(), Kind::Libtorrent.is_here());
    for (index, path) in sources(&party).iter().enumerate() {
        for padding in [v1::Padding::Never, v1::Padding::Always] {
            let request = v1::CreateTorrentRequest {
                path: path.to_str().unwrap().to_owned(),
                // The same file again is another torrent under another name.
                name: format!("shared {index} {padding:?}"),
                chunk_size_bytes: CHUNK,
                padding: padding.into(),
                trackers: vec![v1::TrackerTier { urls: vec![party.announce_url().await] }],
                ..v1::CreateTorrentRequest::default()
            };
            let made = maker.torrents().create_torrent(request).await.unwrap().into_inner();
            let metainfo = last(made).await.unwrap().metainfo;
            let torrent = party.dir.path().join("ours.torrent");
            fs::write(&torrent, &metainfo).unwrap();
            if readers.0 {
                assert_eq!(transmission_show(&torrent), ours(&metainfo, rounded));
            }
            if readers.1 {
                assert_eq!(libtorrent_opens(&torrent), ours(&metainfo, |len| len.to_string()));
            }
        }
    }
}

/// A node of ours reads a torrent that another program made of `source`, and finds that it fits.
async fn we_seed(party: &Party, name: &str, torrent: &Path, source: &Path) -> Vec<u8> {
    let node = party.peer(name).await;
    let metainfo = fs::read(torrent).unwrap();
    let request = v1::AddTorrentRequest {
        source: Some(v1::add_torrent_request::Source::Metainfo(metainfo.clone())),
        seed_path: source.to_str().unwrap().to_owned(),
        ..v1::AddTorrentRequest::default()
    };
    node.torrents().add_torrent(request).await.unwrap();
    let seeds = until("every chunk is found good", async || {
        let torrent = node.torrent().await;
        (torrent.chunks_checking == 0).then_some(torrent)
    });
    let seeds = seeds.await;
    assert_eq!((seeds.chunks_have, seeds.failed_chunks), (seeds.chunks, 0), "{seeds:?}");
    metainfo
}

#[tokio::test]
async fn what_transmission_makes_we_read_as_it_does() {
    if !has_transmission() {
        return;
    }
    let party = Party::new().await;
    for (index, source) in sources(&party).iter().enumerate() {
        let torrent = party.dir.path().join("theirs.torrent");
        let paths = [source, &torrent].map(|path| path.to_str().unwrap());
        let url = party.announce_url().await;
        run("transmission-create", &["-s", "64", "-t", &url, "-o", paths[1], paths[0]]);
        let metainfo = we_seed(&party, &format!("seeder{index}"), &torrent, source).await;
        assert_eq!(ours(&metainfo, rounded), transmission_show(&torrent));
    }
}

#[tokio::test]
async fn what_libtorrent_makes_we_read_as_it_does() {
    if !Kind::Libtorrent.is_here() {
        return;
    }
    let party = Party::new().await;
    for (index, source) in sources(&party).iter().enumerate() {
        let torrent = party.dir.path().join("theirs.torrent");
        let paths = [source, &torrent].map(|path| path.to_str().unwrap());
        let url = party.announce_url().await;
        let chunk = CHUNK.to_string();
        run(PYTHON, &[&script("clients/make.py"), paths[0], paths[1], &chunk, &url]);
        let metainfo = we_seed(&party, &format!("seeder{index}"), &torrent, source).await;
        assert_eq!(ours(&metainfo, |len| len.to_string()), libtorrent_opens(&torrent));
    }
}
