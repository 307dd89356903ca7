//! A job as a stream of replies. The job is the node's: a caller that goes away ends the stream and
//! nothing else.

use std::{future::Future, time::Duration};

use shoal_core::{
    ids::JobId,
    session::{
        command::{CommandError, Done},
        view::{JobDone, JobView},
    },
    time::Timestamp,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    context::Context,
    status::{Reason, Refusal},
};
use crate::session::handle::SessionHandle;

/// A stream of replies.
pub(super) type Replies<M> = ReceiverStream<Result<M, Status>>;

/// Least time between two messages of progress: five a second.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Most time without a message.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Messages that wait for a caller.
pub(super) const REPLIES_MAX: usize = 16;

/// A job that ended well.
pub(super) struct Ended {
    /// As it stood in the end.
    pub(super) view: JobView,
    /// How it ended.
    pub(super) done: JobDone,
    /// When.
    pub(super) at: Timestamp,
}

/// The job of a command's answer, and whether it was at work already.
pub(super) fn job_of(done: &Done) -> Result<(JobId, bool), Refusal> {
    match done {
        Done::Job { job, joined } => Ok((*job, *joined)),
        Done::Ok
        | Done::Added(_)
        | Done::Seeking { .. }
        | Done::Announced { .. }
        | Done::Quit { .. }
        | Done::Connected { .. }
        | Done::Pong { .. }
        | Done::Merged(_) => Err(unexpected(done)),
    }
}

/// What an answer that fits no command is refused with.
pub(super) fn unexpected(done: &Done) -> Refusal {
    Refusal::internal(format!("the session answered {done:?}"))
}

/// Follows a job: `each` makes a message of how it stands, `last` the one of its good end. A bad
/// end becomes the stream's status, behind a message of how far it came.
pub(super) fn follow<M, E, L, F>(
    context: &Context,
    session: SessionHandle,
    job: JobId,
    each: E,
    last: L,
) -> Replies<M>
where
    M: Send + 'static,
    E: Fn(&JobView) -> M + Send + 'static,
    L: FnOnce(Ended) -> F + Send + 'static,
    F: Future<Output = Result<M, Refusal>> + Send,
{
    let (replies, stream) = mpsc::channel(REPLIES_MAX);
    let ending = context.ending.clone();
    let run = async move {
        let told = tokio::select! {
            biased;
            // Nobody listens any more.
            () = replies.closed() => return,
            () = ending.cancelled() => Err(ending_refusal()),
            told = tell(&session, job, each, last, &replies) => told,
        };
        if let Err(refusal) = told {
            // A caller that went away needs no status.
            let _ = replies.send(Err(refusal.into())).await;
        }
    };
    tokio::spawn(run);
    ReceiverStream::new(stream)
}

/// What streams end with when the node ends.
pub(super) fn ending_refusal() -> Refusal {
    Refusal::new(
        Reason::ShuttingDown,
        "the node is shutting down; the job goes on at its next start",
    )
}

async fn tell<M, E, L, F>(
    session: &SessionHandle,
    job: JobId,
    each: E,
    last: L,
    replies: &mpsc::Sender<Result<M, Status>>,
) -> Result<(), Refusal>
where
    E: Fn(&JobView) -> M,
    L: FnOnce(Ended) -> F,
    F: Future<Output = Result<M, Refusal>>,
{
    // Watched first, looked at after: an end in between is not missed.
    let mut bell = session.job_watch(job);
    loop {
        let view = session.query(move |session| session.job(job)).await?;
        let view = view.ok_or(CommandError::UnknownJob(job))?;
        let message = match &view.ended {
            None => each(&view),
            Some((at, Ok(done))) => {
                let (at, done) = (*at, done.clone());
                let message = last(Ended { view, done, at }).await?;
                return send(replies, message).await;
            }
            Some((_, Err(error))) => {
                let error = error.clone();
                send(replies, each(&view)).await?;
                return Err(error.into());
            }
        };
        send(replies, message).await?;
        // Told at once of the end, else after the interval, and of a quiet job all the same.
        let ended = timeout(PROGRESS_INTERVAL, bell.wait_for(|beat| beat.ended)).await;
        match ended.map(|end| end.map(drop)) {
            Ok(Ok(())) => {}
            // The bell is gone with the session's last word: what it was is asked once more.
            Ok(Err(_)) => sleep(PROGRESS_INTERVAL).await,
            Err(_) => drop(timeout(QUIET_MAX, bell.changed()).await),
        }
    }
}

async fn send<M>(replies: &mpsc::Sender<Result<M, Status>>, message: M) -> Result<(), Refusal> {
    let gone = |_| Refusal::internal("the caller went away");
    replies.send(Ok(message)).await.map_err(gone)
}
