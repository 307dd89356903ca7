//! `shoalctl torrent create`, and paths that mean something on the node. Never here: hashing.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use shoal::v1;

use super::transfer::{job_goes_on, no_result};
use crate::{
    cli::{
        Format,
        torrent::{CreateArgs, Pad},
    },
    failure::Failure,
    grid::block,
    human,
    progress::Bar,
    session::Session,
};

pub(super) async fn create(s: &mut Session<'_>, args: &CreateArgs) -> Result<(), Failure> {
    if args.no_seed && args.output.is_none() && s.format == Format::Table {
        return Err(Failure::usage("--no-seed makes only a metainfo file: --output says where"));
    }
    if let Some(output) = args.output.as_deref().filter(|output| !args.force && output.exists()) {
        return Err(Failure::already_exists(format!("{} exists", output.display()))
            .with_hint("--force replaces it"));
    }
    let request = s.long_request(request(args, node_path(s, "PATH", &args.path)?));
    s.interrupt_note = Some(job_goes_on(None));
    let mut stream = s.streaming(s.torrents().create_torrent(request)).await?;
    let bar = Bar::new(s);
    let mut last = None;
    while let Some(message) = s.next(&mut stream).await? {
        s.step(&message)?;
        bar.update(message.progress.as_ref(), "");
        last = Some(message);
    }
    drop(bar);
    let Some(made) = last.filter(|last| !last.metainfo.is_empty()) else { return Err(no_result()) };
    if let Some(output) = &args.output {
        save(output, &made.metainfo, args.force)?;
    }
    for entry in &made.skipped {
        s.say(&format!("left out, neither file nor folder: {entry}"));
    }
    match s.format {
        Format::Table => s.write(&summary(&made, args.output.as_deref())),
        Format::Json => Ok(()),
    }
}

fn request(args: &CreateArgs, path: String) -> v1::CreateTorrentRequest {
    let padding = match args.pad {
        Pad::Auto => v1::Padding::Auto,
        Pad::Always => v1::Padding::Always,
        Pad::Never => v1::Padding::Never,
    };
    v1::CreateTorrentRequest {
        path,
        name: args.name.clone().unwrap_or_default(),
        chunk_size_bytes: args.chunk_size.unwrap_or(0),
        padding: padding.into(),
        private: args.private,
        trackers: args
            .trackers
            .iter()
            .map(|tier| v1::TrackerTier { urls: tier.0.clone() })
            .collect(),
        comment: args.comment.clone().unwrap_or_default(),
        no_seed: args.no_seed,
        web_seeds: args.web_seeds.clone(),
    }
}

fn summary(made: &v1::CreateTorrentResponse, output: Option<&Path>) -> String {
    let output = output.map_or_else(|| "-".to_owned(), |path| path.display().to_string());
    let Some(torrent) = &made.torrent else {
        return block([("info hash", made.info_hash.clone()), ("metainfo", output)]);
    };
    block([
        ("name", torrent.name.clone()),
        ("info hash", made.info_hash.clone()),
        ("size", human::bytes(torrent.total_bytes)),
        (
            "chunks",
            format!("{} of {}", torrent.chunks, human::bytes(torrent.chunk_size_bytes.into())),
        ),
        ("files", torrent.files.to_string()),
        ("state", human::word(torrent.state().as_str_name(), "TORRENT_STATE_")),
        ("metainfo", output),
    ])
}

/// A path as the node sees it. Over a Unix socket a relative one begins here; elsewhere it means
/// nothing.
pub(super) fn node_path(s: &Session<'_>, argument: &str, path: &Path) -> Result<String, Failure> {
    let absolute = if path.is_absolute() {
        path.to_owned()
    } else if s.over_unix {
        std::path::absolute(path).map_err(|e| Failure::file(path, &e))?
    } else {
        return Err(Failure::usage(format!(
            "{argument} '{}' must be absolute: it is a path on the node, which is not reached over a Unix socket",
            path.display()
        )));
    };
    absolute.into_os_string().into_string().map_err(|path| {
        Failure::usage(format!("{argument} '{}' is not UTF-8", PathBuf::from(path).display()))
    })
}

/// Writes a file whole or not at all.
fn save(path: &Path, bytes: &[u8], replace: bool) -> Result<(), Failure> {
    let failed = |e: &std::io::Error| Failure::file(path, e);
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    let written =
        fs::File::create_new(&partial)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            // A link refuses a name that exists; a rename replaces it.
            .and_then(|()| {
                if replace { fs::rename(&partial, path) } else { fs::hard_link(&partial, path) }
            });
    // After a rename there is nothing left to remove.
    let _ = fs::remove_file(&partial);
    written.map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.torrent");
        save(&path, b"one", false).unwrap();
        assert!(save(&path, b"two", false).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        save(&path, b"three", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a partial file was left");
    }
}
