//! One web seed of one torrent: its leases, two of which are fetched at a time. Never here: HTTP.

use std::{
    collections::VecDeque, future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, task::Poll,
};

use reqwest::Url;
use shoal_core::{
    ids::{ConnId, LeaseId},
    session::{
        Event, Lease,
        event::LeaseEnd,
        fault::{CloseCause, Retry, WebSeedFault},
    },
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::{Shared, Target, ended, fetch::Fetch};
use crate::{
    http,
    net::{ExtentBuffer, NetEvent},
};

/// What a web seed is told.
#[derive(Debug)]
pub(super) enum Command {
    Grant(Lease, ExtentBuffer),
    Revoke(LeaseId),
    Close(CloseCause),
}

/// Leases that are fetched at once, each by one request after the other: while one body comes the
/// next request is on its way. The other leases wait.
const FETCHES_MAX: usize = 2;

/// What is known of a web seed.
pub(super) struct Seed {
    pub(super) shared: Arc<Shared>,
    pub(super) conn: ConnId,
    pub(super) target: Target,
    /// As the metainfo has it.
    pub(super) url: String,
}

struct Running {
    lease: LeaseId,
    stop: CancellationToken,
    fetch: Pin<Box<dyn Future<Output = Done> + Send>>,
}

/// A lease that is over, and how.
struct Done {
    lease: LeaseId,
    buffer: ExtentBuffer,
    outcome: Outcome,
}

enum Outcome {
    Received,
    Stopped,
    Failed(WebSeedFault),
}

/// Runs a web seed until it is closed, or fails.
pub(super) async fn run(
    shared: Arc<Shared>,
    conn: ConnId,
    target: Target,
    url: String,
    mut commands: UnboundedReceiver<Command>,
) {
    let seed = Arc::new(Seed { shared: Arc::clone(&shared), conn, target, url });
    let opened = tokio::select! {
        biased;
        cause = closed(&mut commands) => Err(cause),
        opened = seed.open() => opened.map_err(CloseCause::WebSeed),
    };
    let cause = match opened {
        Ok(addr) => {
            shared.tell(NetEvent::Core(Event::WebSeedOpened { conn, addr })).await;
            serve(&seed, &mut commands).await
        }
        Err(cause) => cause,
    };
    if let CloseCause::WebSeed(fault) = &cause {
        let torrent = &seed.target.metainfo.name;
        let host = Url::parse(&seed.url).as_ref().map_or_else(|_| "?".to_owned(), http::address);
        let again = fault.retry != Retry::Never;
        tracing::info!(torrent, host, %fault, again, "a web seed failed");
    }
    shared.leave(conn, cause, commands).await;
}

/// Waits for the word to close: no lease is granted before the host is found.
async fn closed(commands: &mut UnboundedReceiver<Command>) -> CloseCause {
    loop {
        match commands.recv().await {
            Some(Command::Close(cause)) => return cause,
            Some(Command::Grant(..) | Command::Revoke(_)) => {}
            None => return CloseCause::Shutdown,
        }
    }
}

impl Seed {
    /// Finds an address of the host that may be asked.
    async fn open(&self) -> Result<SocketAddr, WebSeedFault> {
        let fault = |cause: String, retry| WebSeedFault { cause, retry };
        let url = Url::parse(&self.url);
        let url = url.map_err(|error| fault(format!("no URL: {error}"), Retry::Never))?;
        let guard = self.shared.config.guard;
        let refused = |error: super::guard::Refused| fault(error.to_string(), Retry::Never);
        guard.check_url(&url).map_err(refused)?;
        let host = url.host_str().unwrap_or_default();
        let limit = self.shared.config.connect_timeout;
        let found = guard.find(host, url.port_or_known_default().unwrap_or(80));
        let found = match tokio::time::timeout(limit, found).await {
            // A name may get another address.
            Ok(found) => found.map_err(|error| fault(error.to_string(), Retry::Later))?,
            Err(_) => return Err(fault(format!("{host} was not found in time"), Retry::Later)),
        };
        found.first().copied().ok_or_else(|| fault(format!("{host} has no address"), Retry::Later))
    }
}

/// Fetches what is granted until the end, and says why it came.
async fn serve(seed: &Arc<Seed>, commands: &mut UnboundedReceiver<Command>) -> CloseCause {
    let (conn, shared) = (seed.conn, &seed.shared);
    let mut waiting: VecDeque<(Lease, ExtentBuffer)> = VecDeque::new();
    let mut running: Vec<Running> = Vec::new();
    let cause = loop {
        while running.len() < FETCHES_MAX
            && let Some((lease, buffer)) = waiting.pop_front()
        {
            running.push(start(Arc::clone(seed), lease, buffer));
        }
        let command = tokio::select! {
            command = commands.recv() => command,
            done = next_done(&mut running) => {
                if let Some(fault) = report(seed, done).await {
                    break CloseCause::WebSeed(fault);
                }
                continue;
            }
        };
        match command {
            Some(Command::Grant(lease, buffer)) => waiting.push_back((lease, buffer)),
            Some(Command::Revoke(id)) => {
                let place = waiting.iter().position(|(lease, _)| lease.id == id);
                if let Some((lease, buffer)) = place.and_then(|place| waiting.remove(place)) {
                    shared.tell(ended(conn, lease.id, buffer, LeaseEnd::Revoked)).await;
                }
                running.iter().filter(|fetch| fetch.lease == id).for_each(|f| f.stop.cancel());
            }
            Some(Command::Close(cause)) => break cause,
            None => break CloseCause::Shutdown,
        }
    };
    running.iter().for_each(|fetch| fetch.stop.cancel());
    while !running.is_empty() {
        let Done { lease, buffer, outcome } = next_done(&mut running).await;
        let end = match outcome {
            Outcome::Received => NetEvent::ExtentReceived { conn, lease, buffer },
            Outcome::Stopped | Outcome::Failed(_) => ended(conn, lease, buffer, LeaseEnd::Closing),
        };
        shared.tell(end).await;
    }
    for (lease, buffer) in waiting {
        shared.tell(ended(conn, lease.id, buffer, LeaseEnd::Closing)).await;
    }
    cause
}

fn start(seed: Arc<Seed>, lease: Lease, mut buffer: ExtentBuffer) -> Running {
    let (id, stop) = (lease.id, CancellationToken::new());
    let stopped = stop.clone();
    let fetch = Box::pin(async move {
        let mut fetch = Fetch::new(&seed, lease, &mut buffer);
        let outcome = tokio::select! {
            biased;
            () = stopped.cancelled() => Outcome::Stopped,
            fetched = fetch.run() => match fetched {
                Ok(()) => Outcome::Received,
                Err(fault) => Outcome::Failed(fault),
            },
        };
        // What came and was not told yet counts too.
        fetch.tell_progress().await;
        drop(fetch);
        Done { lease: id, buffer, outcome }
    });
    Running { lease: id, stop, fetch }
}

/// Tells that a lease is over; its fault, where it failed.
async fn report(seed: &Seed, done: Done) -> Option<WebSeedFault> {
    let (conn, Done { lease, buffer, outcome }) = (seed.conn, done);
    let (event, fault) = match outcome {
        Outcome::Received => (NetEvent::ExtentReceived { conn, lease, buffer }, None),
        Outcome::Stopped => (ended(conn, lease, buffer, LeaseEnd::Revoked), None),
        Outcome::Failed(fault) => (ended(conn, lease, buffer, LeaseEnd::Closing), Some(fault)),
    };
    seed.shared.tell(event).await;
    fault
}

/// The next fetch that is over; never comes where none runs.
async fn next_done(running: &mut Vec<Running>) -> Done {
    poll_fn(|cx| {
        for index in 0..running.len() {
            if let Poll::Ready(done) = running[index].fetch.as_mut().poll(cx) {
                drop(running.swap_remove(index));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}
