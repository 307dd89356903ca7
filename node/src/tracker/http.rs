//! The HTTP of the tracker: connections within their limits, `/announce` and `/scrape`. A refusal is
//! a bencoded `failure reason` under status 200, as BitTorrent clients expect. Never here: swarms.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Extension, RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use shoal_core::tracker::{
    announce::{AnnounceRequest, Failure},
    query::{QUERY_LEN_MAX, parse_scrape_query},
    reply::PeerForm,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{server::GRACE, shared::Shared};

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    pub(super) header_timeout: Duration,
    pub(super) connection_lifetime: Duration,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
struct Source(IpAddr);

/// The head of a request: the longest query, and what browsers and proxies put beside it.
const HEAD_LEN_MAX: usize = QUERY_LEN_MAX + 16 * 1024;
/// Headers of a request; clients send about five.
const HEADERS_MAX: usize = 64;
/// How often silent peers are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// The pause before more of them are forgotten.
const EXPIRE_PAUSE: Duration = Duration::from_millis(1);
/// The pause after an accept failed, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`, and then until the requests under way are answered, at most [`GRACE`].
pub(super) async fn serve(
    listener: std::net::TcpListener,
    limits: Limits,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/announce", get(announce))
        .route("/scrape", get(scrape))
        .with_state(Arc::clone(&shared));
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let expiry = stop.run_until_cancelled(expire(shared));
    let accepting = stop.run_until_cancelled(async {
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let (stream, peer) = accept(&listener).await;
            let connection = connection(stream, peer, router.clone(), limits, stop.clone());
            connections.spawn(async move {
                connection.await;
                drop(slot);
            });
        }
    });
    tokio::join!(expiry, accepting);
    drop(listener);
    connections.close();
    if timeout(GRACE, connections.wait()).await.is_err() {
        tracing::debug!(open = connections.len(), "tracker connections cut off");
    }
    Ok(())
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "tracker cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn expire(shared: Arc<Shared>) {
    let mut ticks = interval(EXPIRE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while shared.expire() {
            // Others wait for the lock, and it is given to nobody in turn.
            sleep(EXPIRE_PAUSE).await;
        }
    }
}

/// One connection, until it ends, idles, has lived long enough or the tracker stops.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Source(peer.ip()));
        router.clone().call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    builder.header_read_timeout(limits.header_timeout);
    builder.max_buf_size(HEAD_LEN_MAX);
    builder.max_headers(HEADERS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log_end(peer, ended),
        () = stop.cancelled() => {}
        () = sleep(limits.connection_lifetime) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(GRACE, connection).await {
        log_end(peer, ended);
    }
}

fn log_end(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::trace!(%peer, %error, "tracker connection ended");
    }
}

async fn announce(
    State(shared): State<Arc<Shared>>,
    Extension(Source(source)): Extension<Source>,
    RawQuery(query): RawQuery,
) -> Response {
    let request = AnnounceRequest::parse_query(query.unwrap_or_default().as_bytes());
    let reply = request.and_then(|request| {
        let reply = shared.announce(&request, source)?;
        Ok(reply.encode(PeerForm::of(&request)))
    });
    respond(reply)
}

async fn scrape(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let info_hashes = parse_scrape_query(query.unwrap_or_default().as_bytes());
    respond(info_hashes.and_then(|info_hashes| match info_hashes.is_empty() {
        true => Err(Failure::never("a scrape names its torrents: info_hash is missing")),
        false => Ok(shared.scrape(&info_hashes).encode()),
    }))
}

fn respond(reply: Result<Vec<u8>, Failure>) -> Response {
    let body = reply.unwrap_or_else(|failure| {
        tracing::debug!(%failure, "tracker refuses");
        failure.encode()
    });
    let headers = [(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}
