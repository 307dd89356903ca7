//! Torrents being made: read from a request, followed to the end. Never here: the making.

use std::path::PathBuf;

use shoal::v1 as api;
use shoal_core::{
    config::{COMMENT_LEN_MAX, PIECE_LEN_MAX, PIECE_LEN_MIN},
    metainfo::create::Pad,
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    super::{
        context::Context,
        follow::{PROGRESS_INTERVAL, REPLIES_MAX, Replies, ending_refusal},
        page,
        roots::Via,
        status::{Reason, Refusal},
    },
    blocking, described,
};
use crate::session::handle::{CreateError, CreateProgress, CreateTorrent, Created, Creation};

pub(super) async fn create(
    this: &Context,
    via: Via,
    request: api::CreateTorrentRequest,
) -> Result<Replies<api::CreateTorrentResponse>, Refusal> {
    let session = this.peer_role()?;
    let pad = match api::Padding::try_from(request.padding) {
        Ok(api::Padding::Unspecified | api::Padding::Auto) => Pad::Auto,
        Ok(api::Padding::Always) => Pad::Always,
        Ok(api::Padding::Never) => Pad::Never,
        Err(_) => {
            return Err(Refusal::field("padding", format!("{} is no padding", request.padding)));
        }
    };
    let piece_len = piece_len(request.chunk_size_bytes)?;
    if request.comment.len() > COMMENT_LEN_MAX {
        let len = request.comment.len();
        return Err(Refusal::field("comment", format!("{len} bytes, above {COMMENT_LEN_MAX}")));
    }
    // The name as it was asked for, not that of what a link leads to.
    let last = PathBuf::from(&request.path);
    let last = last.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = if request.name.is_empty() { last } else { Some(request.name) };
    let (roots, asked) = (this.roots.clone(), request.path);
    let path = blocking(move || roots.resolve("path", &asked, via)).await?;
    let create = CreateTorrent {
        path,
        name,
        piece_len,
        pad,
        private: request.private,
        trackers: request.trackers.into_iter().map(|tier| tier.urls).collect(),
        web_seeds: request.web_seeds,
        comment: Some(request.comment).filter(|comment| !comment.is_empty()),
        seed: !request.no_seed,
    };
    let creation = session.create_torrent(create).await?;
    Ok(follow_creation(this.clone(), creation))
}

fn piece_len(chunk_size_bytes: u32) -> Result<Option<u32>, Refusal> {
    match chunk_size_bytes {
        0 => Ok(None),
        len if len.is_power_of_two() && (PIECE_LEN_MIN..=PIECE_LEN_MAX).contains(&len) => {
            Ok(Some(len))
        }
        len => Err(Refusal::field(
            "chunk_size_bytes",
            format!("{len} is no power of two from {PIECE_LEN_MIN} to {PIECE_LEN_MAX}"),
        )),
    }
}

fn follow_creation(this: Context, creation: Creation) -> Replies<api::CreateTorrentResponse> {
    let (replies, stream) = mpsc::channel(REPLIES_MAX);
    tokio::spawn(async move {
        let Creation { progress, mut result, .. } = creation;
        let mut tick = interval(PROGRESS_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let last = loop {
            let now = *progress.borrow();
            tokio::select! {
                biased;
                // Nobody listens any more; the creation goes on.
                () = replies.closed() => return,
                ended = &mut result => break match ended {
                    Ok(Ok(created)) => finished(&this, created, now).await,
                    Ok(Err(error)) => Err(error.into()),
                    Err(_) => Err(ending_refusal()),
                },
                () = this.ending.cancelled() => break Err(ending_refusal()),
                _ = tick.tick() => {
                    let message = creating(now, "hashing");
                    if replies.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
            }
        };
        // A caller that went away needs no last word.
        let _ = replies.send(last.map_err(Status::from)).await;
    });
    ReceiverStream::new(stream)
}

fn creating(progress: CreateProgress, phase: &str) -> api::CreateTorrentResponse {
    let progress = api::Progress {
        done_bytes: progress.done_bytes,
        total_bytes: progress.total_bytes,
        phase: phase.to_owned(),
        ..api::Progress::default()
    };
    api::CreateTorrentResponse { progress: Some(progress), ..Default::default() }
}

async fn finished(
    this: &Context,
    created: Created,
    progress: CreateProgress,
) -> Result<api::CreateTorrentResponse, Refusal> {
    let torrent = match created.added {
        Some(added) => Some(described(this, added.id).await?),
        None => None,
    };
    let mut message = creating(progress, "done");
    if let (Some(progress), Some(torrent)) = (&mut message.progress, &torrent) {
        (progress.done_chunks, progress.total_chunks) = (torrent.chunks, torrent.chunks);
    }
    Ok(api::CreateTorrentResponse {
        torrent,
        metainfo: created.metainfo,
        info_hash: created.info_hash.to_string(),
        skipped: page::names(created.skipped.into_iter(), 1000, 256 * 1024),
        ..message
    })
}

impl From<CreateError> for Refusal {
    fn from(error: CreateError) -> Self {
        let message = error.to_string();
        match error {
            CreateError::Source { path, cause } => Self::new(Reason::BadPath, message)
                .with("path", path.display())
                .with("cause", cause),
            CreateError::Metainfo(error) => error.into(),
            CreateError::Add(error) => Self { message, ..error.into() },
            CreateError::TooMany { limit } => {
                Self::new(Reason::TooManyCreations, message).with("limit", limit)
            }
            CreateError::Cancelled => Self::new(Reason::Cancelled, message),
            CreateError::Gone(gone) => gone.into(),
            CreateError::Command(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_powers_of_two_within_bounds() {
        assert_eq!(piece_len(0), Ok(None));
        for len in [16 << 10, 512 << 10, 16 << 20] {
            assert_eq!(piece_len(len), Ok(Some(len)));
        }
        for bad in [1, 8 << 10, (16 << 10) + 1, 32 << 20] {
            assert_eq!(piece_len(bad).unwrap_err().field.unwrap().0, "chunk_size_bytes");
        }
    }
}
