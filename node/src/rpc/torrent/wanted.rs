//! Which files of a torrent are wanted: read from a request, and ordered. Never here: what a pattern
//! matches.

use shoal::v1 as api;
use shoal_core::{session::command::Command, torrent::selection::Selection};

use super::{
    super::{
        context::Context,
        status::{Reason, Refusal},
    },
    blocking, described,
};
use crate::session::file_globs::{FileGlobs, FilesError};

/// What an addition says of files; none: all are wanted.
pub(super) fn globs_of_addition(
    files: &[String],
    seed_path: &str,
) -> Result<Option<FileGlobs>, Refusal> {
    match (files.is_empty(), seed_path.is_empty()) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(FileGlobs::parse(files)?)),
        (false, false) => {
            Err(Refusal::field("files", "cannot be given with seed_path: a seed has every file"))
        }
    }
}

pub(super) async fn select(
    this: &Context,
    request: api::SelectFilesRequest,
) -> Result<api::SelectFilesResponse, Refusal> {
    let globs = match (request.all, request.files.is_empty()) {
        (true, true) => None,
        (true, false) => return Err(Refusal::field("all", "cannot be set beside files")),
        (false, _) => Some(FileGlobs::parse(&request.files)?),
    };
    let view = this.torrent(request.torrent).await?;
    let place = this.peer_role()?.torrent_place(view.id).await?;
    if let (Some(_), Some(place)) = (&globs, place.filter(|place| place.seed)) {
        let (name, path) = (&view.metainfo.name, place.location.display());
        let message = format!("{name} is seeded from {path}: it has every file, and keeps them");
        return Err(Refusal::new(Reason::IsSeed, message).with("path", path));
    }
    let metainfo = view.metainfo.clone();
    let selection = match globs {
        None => Selection::default(),
        // Up to 100 000 paths and 64 patterns.
        Some(globs) => blocking(move || Ok(globs.select(&metainfo)?)).await?,
    };
    this.command(Command::Select(view.id, selection)).await?;
    Ok(api::SelectFilesResponse { torrent: Some(described(this, view.id).await?) })
}

impl From<FilesError> for Refusal {
    fn from(error: FilesError) -> Self {
        let message = error.to_string();
        match error {
            FilesError::Malformed(fault) => Self::field("files", fault),
            FilesError::NoMatch(no_match) => Self::new(Reason::UnknownFile, message)
                .with("file", no_match.glob)
                .with_some("suggestion", no_match.suggestion),
            FilesError::Nothing { .. } => Self::field("files", message),
        }
    }
}
