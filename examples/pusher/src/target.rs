//! One target node: the torrent added, the download started or joined, followed to its end.

use std::time::{Duration, Instant};

use shoal::v1::{self, add_torrent_request::Source, peer_service_client::PeerServiceClient};
use tokio::sync::mpsc;

use crate::{
    args::Args,
    call::{Failure, answer},
    source::{Release, client, next},
};

/// Time between two attempts to reach a node that is away.
const RETRY: Duration = Duration::from_millis(500);

/// What a target tells.
#[derive(Debug)]
pub(crate) enum News {
    /// How far it is.
    Progress { index: usize, bytes: u64, line: String },
    /// It has everything.
    Complete { index: usize, done: v1::AutoDownloadResponse },
    /// It has not, and is not followed any more.
    Failed { index: usize, failure: Failure },
}

/// Follows the target of this index until it is complete, refuses, or is away for too long.
pub(crate) async fn follow(
    args: &Args,
    index: usize,
    release: &Release,
    tell: &mpsc::Sender<News>,
) {
    let mut heard = Instant::now();
    let news = loop {
        match download(args, index, release, tell, &mut heard).await {
            Ok(done) => break News::Complete { index, done },
            // It may be starting again: its job goes on then, and we join it.
            Err(failure) if failure.passing && heard.elapsed() < args.patience => {
                tokio::time::sleep(RETRY).await;
            }
            Err(failure) => break News::Failed { index, failure },
        }
    };
    // Nobody listens any more: the push was ended.
    let _ = tell.send(news).await;
}

async fn download(
    args: &Args,
    index: usize,
    release: &Release,
    tell: &mpsc::Sender<News>,
    heard: &mut Instant,
) -> Result<v1::AutoDownloadResponse, Failure> {
    let connection = args.connect(&args.targets[index]).await?;
    // One that is there already is no error: another run added it.
    let request = v1::AddTorrentRequest {
        source: Some(Source::Metainfo(release.metainfo.clone())),
        peers: release.peers.clone(),
        ..v1::AddTorrentRequest::default()
    };
    answer(client(&connection).add_torrent(request)).await?;
    let request =
        v1::AutoDownloadRequest { torrent: release.info_hash.clone(), available_only: false };
    let mut stream = answer(PeerServiceClient::new(connection).auto_download(request)).await?;
    while let Some(message) = next(&mut stream, args).await? {
        *heard = Instant::now();
        if message.complete {
            return Ok(message);
        }
        let progress = message.progress.unwrap_or_default();
        let line = line(&progress, &message.waiting_for);
        let _ = tell.send(News::Progress { index, bytes: progress.done_bytes, line }).await;
    }
    Err(Failure::broken_promise("last message"))
}

fn line(progress: &v1::Progress, waiting_for: &[String]) -> String {
    let v1::Progress { done_chunks, total_chunks, rate_bps, peers, phase, .. } = progress;
    let waits = if waiting_for.is_empty() { "" } else { ", waits for chunks that nobody has" };
    let rate = rate_bps / 1_000_000;
    format!("{phase}: {done_chunks}/{total_chunks} chunks, {rate} MB/s from {peers} peers{waits}")
}
