//! Commands that bring chunks here and make files of them. Never here: torrents as a whole.

use shoal::v1;

use crate::{
    clean::clean,
    cli::peer::{AutoDownloadArgs, MergeChunksArgs, RequestDownloadArgs},
    failure::Failure,
    grid::{Column, Grid},
    human,
    progress::Bar,
    render::Reply,
    session::Session,
};

pub(super) async fn request_download(
    s: &mut Session<'_>,
    args: &RequestDownloadArgs,
) -> Result<(), Failure> {
    let request = s.long_request(v1::RequestDownloadRequest {
        torrent: s.select(args.peer.target.torrent.as_deref()),
        peer: Session::address(&args.peer),
        chunk: args.chunk.clone(),
    });
    s.interrupt_note = Some(job_goes_on(None));
    let mut stream = s.streaming(s.peer().request_download(request)).await?;
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
    match last {
        Some(last) if last.verified || last.already => s.finish(&last, |last, _| received(last)),
        _ => Err(no_result()),
    }
}

/// What is shown where nobody waits: the work is begun, and is the node's.
pub(super) fn begun<R: Reply>(
    s: &mut Session<'_>,
    first: &R,
    job: Option<u64>,
) -> Result<(), Failure> {
    let text = job.map_or_else(
        || "begun; shoalctl jobs list shows how it goes\n".to_owned(),
        |id| format!("job {id} has begun; shoalctl jobs wait {id} waits for it\n"),
    );
    s.finish(first, |_, _| text)
}

pub(super) fn no_result() -> Failure {
    Failure::internal("the node ended the stream without a result")
}

/// What Ctrl-C says: the work is the node's.
pub(super) fn job_goes_on(id: Option<u64>) -> String {
    let job = id.map_or_else(|| "the job".to_owned(), |id| format!("job {id}"));
    format!("{job} goes on in the node (shoalctl jobs list)")
}

fn received(last: &v1::RequestDownloadResponse) -> String {
    let message = clean(&last.message);
    let size = human::bytes(last.bytes);
    if last.already {
        return format!("{message}\nchunk {} was here already, {size}\n", last.index);
    }
    format!(
        "{message}\nchunk {}, {size} in {}, {}, verified\n",
        last.index,
        human::micros(last.elapsed_us),
        human::average_rate(last.bytes, last.elapsed_us),
    )
}

pub(super) async fn merge_chunks(
    s: &mut Session<'_>,
    args: &MergeChunksArgs,
) -> Result<(), Failure> {
    let request = s.long_request(v1::MergeChunksRequest {
        torrent: s.select(args.target.torrent.as_deref()),
        file: args.file.clone().unwrap_or_default(),
    });
    let reply = s.patient(s.peer().merge_chunks(request)).await?;
    s.reply(&reply, |reply, _| lines(&reply.message, &reply.paths))
}

/// A sentence, then a path a line.
fn lines(message: &str, paths: &[String]) -> String {
    let mut text = format!("{}\n", clean(message));
    for path in paths {
        text.push_str(&clean(path));
        text.push('\n');
    }
    text
}

pub(super) async fn auto_download(
    s: &mut Session<'_>,
    args: &AutoDownloadArgs,
) -> Result<(), Failure> {
    let request = s.long_request(v1::AutoDownloadRequest {
        torrent: s.select(args.target.torrent.as_deref()),
        available_only: args.available_only,
    });
    s.interrupt_note = Some(job_goes_on(None));
    let mut stream = s.streaming(s.peer().auto_download(request)).await?;
    let bar = Bar::new(s);
    let mut joined = false;
    let mut last: Option<v1::AutoDownloadResponse> = None;
    while let Some(message) = s.next(&mut stream).await? {
        if last.is_none() {
            s.interrupt_note = Some(job_goes_on(Some(message.job_id)));
        }
        s.step(&message)?;
        if args.wait.no_wait {
            return begun(s, &message, Some(message.job_id));
        }
        bar.update(message.progress.as_ref(), &waiting(&message.waiting_for));
        joined |= message.joined;
        last = Some(message);
    }
    drop(bar);
    let Some(last) = last.filter(|last| last.complete) else { return Err(no_result()) };
    if joined {
        s.say(&format!("joined job {}, which was at work", last.job_id));
    }
    s.finish(&last, summary)
}

/// `waiting for a.part1 and 4 more`; empty where nothing is waited for.
fn waiting(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => format!("waiting for {only}"),
        [first, rest @ ..] => format!("waiting for {first} and {} more", rest.len()),
    }
}

/// The end of a download: sentence, paths, figures, who served what.
fn summary(last: &v1::AutoDownloadResponse, width: Option<usize>) -> String {
    let mut text = lines(&last.message, &last.paths);
    let served: u64 = last.served_by.iter().map(|by| by.bytes).fold(0, u64::saturating_add);
    text.push_str(&format!(
        "{} in {}, {}, {} wasted\n",
        human::bytes(served),
        human::millis(last.elapsed_ms),
        human::average_rate(served, last.elapsed_ms.saturating_mul(1000)),
        human::bytes(last.wasted_bytes),
    ));
    if last.served_by.is_empty() {
        return text;
    }
    let mut grid =
        Grid::new([Column::Left("SERVED BY"), Column::Right("CHUNKS"), Column::Right("BYTES")]);
    for by in &last.served_by {
        grid.row([human::address(by.peer.as_ref()), by.chunks.to_string(), human::bytes(by.bytes)]);
    }
    text.push_str(&grid.render(width));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_paths_time_rate_waste_and_servers() {
        let by = |port, chunks, bytes| v1::ServedBy {
            peer: Some(v1::PeerAddress { ip: "10.0.0.2".to_owned(), port }),
            chunks,
            bytes,
        };
        let last = v1::AutoDownloadResponse {
            complete: true,
            message: "Merge complete!".to_owned(),
            paths: vec!["/downloads/tài liệu.webm".to_owned()],
            served_by: vec![by(7000, 12, 6 << 20), by(7001, 4, 2 << 20)],
            elapsed_ms: 2000,
            wasted_bytes: 16384,
            ..v1::AutoDownloadResponse::default()
        };
        assert_eq!(
            summary(&last, None),
            "Merge complete!\n\
             /downloads/tài liệu.webm\n\
             8.0 MiB in 2.0 s, 4.0 MiB/s, 16.0 KiB wasted\n\
             SERVED BY      CHUNKS    BYTES\n\
             10.0.0.2:7000      12  6.0 MiB\n\
             10.0.0.2:7001       4  2.0 MiB\n"
        );
    }

    #[test]
    fn what_is_waited_for_is_named() {
        assert_eq!(waiting(&[]), "");
        assert_eq!(waiting(&["a.part1".to_owned()]), "waiting for a.part1");
        let three = ["a.part1", "a.part2", "a.part3"].map(str::to_owned);
        assert_eq!(waiting(&three), "waiting for a.part1 and 2 more");
    }
}
