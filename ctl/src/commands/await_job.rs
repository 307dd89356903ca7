//! `shoalctl jobs wait`: follows jobs until they have ended. Never here: their work.

use std::collections::BTreeMap;

use shoal::v1::{self, event::Detail, watch_events_response::Item};

use super::job;
use crate::{
    cli::node::WaitArgs,
    failure::Failure,
    pages::{PAGE_SIZE_MAX, gather},
    progress::Bar,
    session::Session,
};

pub(super) async fn wait(s: &mut Session<'_>, args: &WaitArgs) -> Result<(), Failure> {
    s.interrupt_note = Some("the jobs go on in the node (shoalctl jobs list)".to_owned());
    // Events first: a job that ends between the two is in the list as ended.
    let request = s.long_request(v1::WatchEventsRequest {
        kinds: vec![v1::EventKind::Job.into()],
        ..v1::WatchEventsRequest::default()
    });
    let mut stream = s.streaming(s.node().watch_events(request)).await?;
    let mut jobs = known(s, args).await?;
    let bar = Bar::new(s);
    let mut waiting = args.ids.iter().copied().find(|id| is_at_work(jobs.get(id)));
    while waiting.is_some() {
        let Some(message) = s.next(&mut stream).await? else {
            return Err(Failure::internal("the node ended the stream of events"));
        };
        for job in told(message) {
            if waiting == Some(job.id) {
                bar.update(job.progress.as_ref(), "");
            }
            if let Some(known) = jobs.get_mut(&job.id) {
                *known = job;
            }
        }
        waiting = args.ids.iter().copied().find(|id| is_at_work(jobs.get(id)));
    }
    drop(bar);
    let ended: Vec<v1::Job> = args.ids.iter().filter_map(|id| jobs.get(id).cloned()).collect();
    show(s, &ended)?;
    judge(&ended)
}

/// The jobs as they stand.
async fn known(s: &Session<'_>, args: &WaitArgs) -> Result<BTreeMap<u64, v1::Job>, Failure> {
    let reply = gather(None, PAGE_SIZE_MAX, async |page_size, page_token| {
        let request = s.request(v1::ListJobsRequest { page_size, page_token });
        s.unary(s.jobs().list_jobs(request)).await
    })
    .await?;
    let jobs: BTreeMap<u64, v1::Job> = reply
        .jobs
        .into_iter()
        .filter(|job| args.ids.contains(&job.id))
        .map(|job| (job.id, job))
        .collect();
    match args.ids.iter().find(|id| !jobs.contains_key(id)) {
        Some(id) => Err(Failure::no_job(format!("the node knows no job {id}"))),
        None => Ok(jobs),
    }
}

fn is_at_work(job: Option<&v1::Job>) -> bool {
    job.is_some_and(|job| job.state() == v1::JobState::Running)
}

/// The jobs that a message tells of.
fn told(message: v1::WatchEventsResponse) -> Vec<v1::Job> {
    match message.item {
        Some(Item::Snapshot(snapshot)) => snapshot.jobs,
        Some(Item::Event(event)) => match event.detail {
            Some(Detail::Job(job)) => vec![job],
            Some(
                Detail::Torrent(_) | Detail::Chunks(_) | Detail::Peer(_) | Detail::Settings(_),
            )
            | None => Vec::new(),
        },
        Some(Item::Idle(_)) | None => Vec::new(),
    }
}

fn show(s: &mut Session<'_>, ended: &[v1::Job]) -> Result<(), Failure> {
    if s.format.is_table() {
        let table = job::table(ended).render(s.width());
        return s.write(&table);
    }
    for job in ended {
        s.step(job)?;
        s.finish(job, |_, _| String::new())?;
    }
    Ok(())
}

fn judge(ended: &[v1::Job]) -> Result<(), Failure> {
    match ended.iter().find(|job| job.state() != v1::JobState::Done) {
        None => Ok(()),
        Some(job) if job.error.is_empty() => {
            Err(Failure::job_failed(format!("job {}: {}", job.id, job::state(job))))
        }
        Some(job) => {
            Err(Failure::job_failed(format!("job {}: {}: {}", job.id, job::state(job), job.error)))
        }
    }
}
