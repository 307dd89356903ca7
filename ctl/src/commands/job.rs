//! `shoalctl jobs`. Never here: the work itself.

use shoal::v1;

use super::look::tell_of_more;
use crate::{
    cli::{Limit, node::CancelArgs},
    failure::Failure,
    grid::{Column, Grid},
    human,
    pages::{PAGE_SIZE_MAX, gather},
    session::Session,
};

pub(super) async fn list(s: &mut Session<'_>, limit: Limit) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(limit.limit, PAGE_SIZE_MAX, async |page_size, page_token| {
        let request = node.request(v1::ListJobsRequest { page_size, page_token });
        node.unary(node.jobs().list_jobs(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| table(&reply.jobs).render(width))?;
    if reply.jobs.is_empty() {
        s.say("no job has run");
    }
    tell_of_more(s, &reply.next_page_token, "jobs");
    Ok(())
}

pub(super) async fn cancel(s: &mut Session<'_>, args: &CancelArgs) -> Result<(), Failure> {
    let request = s.request(v1::CancelJobRequest { job_id: args.id });
    let reply = s.unary(s.jobs().cancel_job(request)).await?;
    s.reply(&reply, |reply, _| {
        let state = reply.job.as_ref().map_or_else(|| "cancelled".to_owned(), state);
        format!("job {}: {state}\n", args.id)
    })
}

pub(super) fn table(jobs: &[v1::Job]) -> Grid {
    let mut grid = Grid::new([
        Column::Right("JOB"),
        Column::Left("KIND"),
        Column::Left("STATE"),
        Column::Right("DONE"),
        Column::Right("RATE"),
        Column::Right("TIME"),
        Column::Elastic("TORRENT"),
    ]);
    for job in jobs {
        let progress = job.progress.clone().unwrap_or_default();
        let name = if job.torrent_name.is_empty() {
            human::short_id(&job.info_hash)
        } else {
            job.torrent_name.clone()
        };
        grid.row([
            job.id.to_string(),
            human::word(job.kind().as_str_name(), "JOB_KIND_"),
            state(job),
            human::percent(progress.done_bytes, progress.total_bytes),
            human::short_rate(progress.rate_bps),
            human::millis(job.elapsed_ms),
            if job.error.is_empty() { name } else { format!("{name}: {}", job.error) },
        ]);
    }
    grid
}

/// The short name of a job's state.
pub(super) fn state(job: &v1::Job) -> String {
    human::word(job.state().as_str_name(), "JOB_STATE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_job_tells_why() {
        let job = v1::Job {
            id: 7,
            kind: v1::JobKind::RequestDownload.into(),
            torrent_name: "a.webm".to_owned(),
            state: v1::JobState::Failed.into(),
            error: "peer closed".to_owned(),
            ..v1::Job::default()
        };
        let text = table(&[job]).render(None);
        let line = text.lines().nth(1).unwrap();
        assert!(line.contains("request download  failed"), "{text}");
        assert!(line.ends_with("a.webm: peer closed"), "{text}");
    }
}
