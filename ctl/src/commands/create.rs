//! `shoalctl torrent create`, and paths that mean something on the node. Never here: hashing.

use std::path::{Path, PathBuf};

use shoal::v1;

use super::transfer::{begun, job_goes_on, no_result};
use crate::{
    cli::torrent::{CreateArgs, Pad},
    failure::Failure,
    files::{There, write_whole},
    grid::block,
    human,
    progress::Bar,
    session::Session,
};

pub(super) async fn create(s: &mut Session<'_>, args: &CreateArgs) -> Result<(), Failure> {
    if args.wait.no_wait && (args.output.is_some() || args.no_seed) {
        return Err(Failure::usage("--no-wait does not wait for the metainfo that is asked for"));
    }
    if args.no_seed && args.output.is_none() && s.format.is_table() {
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
        if args.wait.no_wait {
            return begun(s, &message, None);
        }
        bar.update(message.progress.as_ref(), "");
        last = Some(message);
    }
    drop(bar);
    let Some(made) = last.filter(|last| !last.metainfo.is_empty()) else { return Err(no_result()) };
    if let Some(output) = &args.output {
        let there = if args.force { There::Replaced } else { There::Stays };
        write_whole(output, &made.metainfo, there)?;
    }
    for entry in &made.skipped {
        s.say(&format!("left out, neither file nor folder: {entry}"));
    }
    s.finish(&made, |made, _| summary(made, args.output.as_deref()))
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
