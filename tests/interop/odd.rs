//! Odd torrent files before libtorrent: it opens or refuses what we do, with the same info hash,
//! name and files, but for the differences that the table of kinds gives a reason for.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use shoal_core::metainfo::{FileKind, Metainfo};

use crate::kinds::{self, Libtorrent, Odd};

/// The interpreter whose packages Debian's python3-libtorrent is among, then whatever else is here.
const PYTHONS: [&str; 2] = ["/usr/bin/python3", "python3"];
/// Says what libtorrent makes of files.
const SCRIPT: &str = "tests/interop/verdicts.py";

/// An interpreter with libtorrent. Where there is none, a test is skipped, and says so; with
/// `SHOAL_REQUIRE_LIBTORRENT=1` it fails.
fn python(test: &str) -> Option<&'static str> {
    let has_it = |python: &&str| {
        let output = Command::new(python).args(["-c", "import libtorrent"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = PYTHONS.into_iter().find(has_it);
    let required = std::env::var_os("SHOAL_REQUIRE_LIBTORRENT").is_some_and(|value| value == "1");
    assert!(
        found.is_some() || !required,
        "SHOAL_REQUIRE_LIBTORRENT is set, and no python3 has libtorrent"
    );
    if found.is_none() {
        // Past the capture of the test harness: a skip is to be seen.
        let _ = writeln!(std::io::stderr(), "skipped: {test}: no python3 has libtorrent");
    }
    found
}

/// What is compared of a torrent that opens. The paths of padding are left out.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    name: String,
    private: bool,
    files: Vec<(String, u64, &'static str)>,
}

fn ours(metainfo: &Metainfo) -> Seen {
    let kind = |kind| match kind {
        FileKind::Regular => "regular",
        FileKind::Pad => "pad",
        FileKind::Symlink => "symlink",
    };
    let files = metainfo.files.iter().map(|file| {
        let path = match (file.kind, metainfo.is_multi) {
            (FileKind::Pad, _) => String::new(),
            (FileKind::Regular | FileKind::Symlink, true) => {
                format!("{}/{}", metainfo.name, file.joined())
            }
            (FileKind::Regular | FileKind::Symlink, false) => file.joined(),
        };
        (path, file.len, kind(file.kind))
    });
    Seen { name: metainfo.name.clone(), private: metainfo.private, files: files.collect() }
}

fn theirs(verdict: &Value) -> Seen {
    let files = verdict["files"].as_array().unwrap().iter().map(|file| {
        let kind = match file[2].as_str().unwrap() {
            "pad" => "pad",
            "symlink" => "symlink",
            _ => "regular",
        };
        let path = if kind == "pad" { "" } else { file[0].as_str().unwrap() };
        (path.to_owned(), file[1].as_u64().unwrap(), kind)
    });
    Seen {
        name: verdict["name"].as_str().unwrap().to_owned(),
        private: verdict["private"].as_bool().unwrap(),
        files: files.collect(),
    }
}

/// What differs from the table, if anything does.
fn difference(odd: &Odd, verdict: &Value) -> Option<String> {
    let ours_is = Metainfo::parse(&odd.torrent.bytes);
    let error = verdict["error"].as_str();
    let found = match (&ours_is, error) {
        (Err(_), Some(_)) => "both refuse it",
        (Err(_), None) => "it opens what we refuse",
        (Ok(_), Some(_)) => "it refuses what we open",
        (Ok(metainfo), None) => {
            let hash = verdict["info_hash"].as_str().unwrap();
            if hash != metainfo.info_hash.to_string() {
                return Some(format!("{}: its info hash is {hash}", odd.kind));
            }
            if ours(metainfo) == theirs(verdict) { "both open it" } else { "names differ" }
        }
    };
    let is_as_told = match odd.libtorrent {
        Libtorrent::Agrees => matches!(found, "both refuse it" | "both open it"),
        Libtorrent::NamesOtherwise(_) => found == "names differ",
        Libtorrent::Opens(_) => found == "it opens what we refuse",
        Libtorrent::Refuses(_) => found == "it refuses what we open",
    };
    let reason = odd.libtorrent.reason().unwrap_or("it agrees");
    let seen = || {
        let mut seen = format!("{:?} / {verdict}", ours_is.map(|metainfo| ours(&metainfo)));
        seen.truncate(seen.floor_char_boundary(500.min(seen.len())));
        seen
    };
    (!is_as_told).then(|| format!("{}: told: {reason}; found: {found}: {}", odd.kind, seen()))
}

fn write_all(dir: &Path, kinds: &[Odd]) -> Vec<PathBuf> {
    let write = |(index, odd): (usize, &Odd)| {
        let path = dir.join(format!("{index}.torrent"));
        std::fs::write(&path, &odd.torrent.bytes).unwrap();
        path
    };
    kinds.iter().enumerate().map(write).collect()
}

#[test]
fn libtorrent_opens_what_we_open_and_refuses_what_we_refuse() {
    let test = "libtorrent_opens_what_we_open_and_refuses_what_we_refuse";
    let Some(python) = python(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let kinds = kinds::all();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT);
    let paths = write_all(dir.path(), &kinds);
    let output = Command::new(python).arg(script).args(paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdicts = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<Value> =
        verdicts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.len(), kinds.len());
    let differ = kinds.iter().filter(|odd| odd.libtorrent.reason().is_some()).count();
    println!("{} kinds, {differ} of them differ for a reason", kinds.len());
    let wrong = kinds.iter().zip(&verdicts).filter_map(|(odd, verdict)| difference(odd, verdict));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} kinds:\n{}", wrong.len(), wrong.join("\n"));
}
