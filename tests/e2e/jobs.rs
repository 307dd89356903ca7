//! auto_download as a job of the node: joined, left, cancelled, and taken up after a restart.

use shoal::v1;
use shoal_ctl::Exit;
use tonic::{Code, Streaming};

use crate::{
    commands::Ask,
    harness::{CHUNK, Host, PATIENCE, Party, last, refusal, sample, within},
};

type Progress = Streaming<v1::AutoDownloadResponse>;

/// Begins, or joins, and returns the first message with the rest of the stream.
async fn begin(host: &Host) -> (v1::AutoDownloadResponse, Progress) {
    let request = v1::AutoDownloadRequest::default();
    let mut stream = host.peer().auto_download(request).await.unwrap().into_inner();
    let first = within(PATIENCE, "the first message", stream.message()).await;
    (first.unwrap().unwrap(), stream)
}

async fn jobs(host: &Host) -> Vec<v1::Job> {
    let request = v1::ListJobsRequest::default();
    host.jobs().list_jobs(request).await.unwrap().into_inner().jobs
}

/// A seeder that nobody can find yet, and a leecher whose download waits for it.
async fn waiting(party: &Party) -> (Host, Host, Vec<u8>) {
    let data = sample(10 * CHUNK as usize, 80);
    let path = party.write("data/file1.webm", &data);
    let seeder = party.peer("seeder").await;
    let metainfo = seeder.create(&path, &[party.announce_url().await]).await;
    party.write("file1.torrent", &metainfo);
    let leecher = party.leecher("leecher", &metainfo).await;
    (seeder, leecher, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_caller_joins_and_the_first_one_leaving_stops_nothing() {
    let party = Party::new().await;
    let (seeder, leecher, data) = waiting(&party).await;
    let (first, mut stream) = begin(&leecher).await;
    assert!(!first.joined && first.job_id > 0, "{first:?}");
    let named = async {
        loop {
            let message = stream.message().await.unwrap().unwrap();
            if !message.waiting_for.is_empty() {
                return message;
            }
        }
    };
    let message = within(PATIENCE, "what it waits for", named).await;
    assert_eq!(message.waiting_for[0], "file1.webm.part1");
    assert_eq!(message.waiting_for.len(), 10);
    let (second, other) = begin(&leecher).await;
    assert!(second.joined && second.job_id == first.job_id, "{second:?}");
    drop(stream);
    let running = jobs(&leecher).await;
    assert_eq!((running.len(), running[0].id), (1, first.job_id));
    assert_eq!(running[0].state(), v1::JobState::Running);
    assert_eq!(running[0].kind(), v1::JobKind::AutoDownload);
    assert_eq!(leecher.torrent().await.state(), v1::TorrentState::Downloading);
    seeder.connect_tracker().await;
    leecher.connect_peer(seeder.addr).await;
    let done = within(PATIENCE, "the download", last(other)).await.unwrap();
    assert!(done.complete);
    assert!(std::fs::read(leecher.downloads().join("file1.webm")).unwrap() == data);
    let ended = jobs(&leecher).await;
    assert_eq!((ended.len(), ended[0].state()), (1, v1::JobState::Done));
    let out = leecher.ctl(&["jobs", "list"]).await.ok();
    assert!(out.contains("auto download") && out.contains("done"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_tells_its_callers_and_can_be_begun_again() {
    let party = Party::new().await;
    let (seeder, leecher, _) = waiting(&party).await;
    let (first, stream) = begin(&leecher).await;
    let id = first.job_id.to_string();
    let out = leecher.ctl(&["jobs", "cancel", &id]).await.ok();
    assert_eq!(out, format!("job {id}: cancelled\n"));
    let ended = within(PATIENCE, "the end of the stream", last(stream)).await.unwrap_err();
    let (code, reason, _) = refusal(&ended);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "JOB_CANCELLED"));
    assert_eq!(jobs(&leecher).await[0].state(), v1::JobState::Cancelled);
    for (job_id, code, reason, exit) in [
        (first.job_id, Code::FailedPrecondition, "JOB_ENDED", Exit::Precondition),
        (999_999, Code::NotFound, "UNKNOWN_JOB", Exit::NotFound),
    ] {
        let request = v1::CancelJobRequest { job_id };
        let refused = refusal(&leecher.jobs().cancel_job(request).await.unwrap_err());
        assert_eq!((refused.0, refused.1.as_str()), (code, reason));
        let said = leecher.ctl(&["jobs", "cancel", &job_id.to_string()]).await;
        assert_eq!((said.exit, said.err), (exit, format!("shoalctl: {}\n", refused.2)));
    }
    assert_eq!(leecher.torrent().await.state(), v1::TorrentState::Idle);
    seeder.connect_tracker().await;
    assert!(leecher.auto_download().await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_after_a_restart() {
    let party = Party::new().await;
    let (seeder, leecher, data) = waiting(&party).await;
    // Somebody with one chunk: the job takes that and waits.
    let metainfo = std::fs::read(party.dir.path().join("file1.torrent")).unwrap();
    let half = party.leecher("half", &metainfo).await;
    half.connect_peer(seeder.addr).await;
    Ask::chunk(seeder.addr, "@3").call(&half, "request-download").await.unwrap();
    Ask::default().call(&half, "quit-torrent").await.unwrap();
    half.connect_tracker().await;
    let (_, mut stream) = begin(&leecher).await;
    let message = within(PATIENCE, "what it waits for", async {
        loop {
            let message = stream.message().await.unwrap().unwrap();
            if message.waiting_for.len() == 9 {
                return message;
            }
        }
    });
    assert_eq!(message.await.waiting_for[3], "file1.webm.part5");
    drop(half);
    let leecher = leecher.restart().await;
    drop(stream);
    let torrent = leecher.torrent().await;
    assert_eq!((torrent.state(), torrent.chunks_have), (v1::TorrentState::Downloading, 1));
    let (joined, stream) = begin(&leecher).await;
    assert!(joined.joined, "{joined:?}");
    seeder.connect_tracker().await;
    leecher.connect_peer(seeder.addr).await;
    let done = within(PATIENCE, "the download", last(stream)).await.unwrap();
    assert!(done.complete);
    assert!(std::fs::read(leecher.downloads().join("file1.webm")).unwrap() == data);
    let torrent = leecher.torrent().await;
    assert_eq!(torrent.downloaded_bytes, data.len() as u64, "totals span both lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn quitting_ends_the_job_and_pausing_makes_it_wait() {
    let party = Party::new().await;
    let (seeder, leecher, _) = waiting(&party).await;
    let (first, stream) = begin(&leecher).await;
    leecher.ctl(&["torrent", "pause"]).await.ok();
    assert_eq!(jobs(&leecher).await[0].state(), v1::JobState::Running);
    leecher.ctl(&["torrent", "resume"]).await.ok();
    assert_eq!(jobs(&leecher).await[0].id, first.job_id);
    leecher.ctl(&["quit-torrent"]).await.ok();
    let ended = within(PATIENCE, "the end of the stream", last(stream)).await.unwrap_err();
    assert_eq!(refusal(&ended).1, "JOB_CANCELLED");
    seeder.connect_tracker().await;
    assert!(leecher.auto_download().await.unwrap().complete);
}
