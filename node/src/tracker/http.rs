//! The HTTP of the tracker: connections within their limits, `/announce` and `/scrape`. A refusal is
//! a bencoded `failure reason` under status 200, as BitTorrent clients expect. Never here: swarms.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use shoal_core::tracker::{
    announce::{AnnounceRequest, Failure},
    query::{QUERY_LEN_MAX, parse_scrape_query},
    registry::{PeerRef, Room},
    reply::{CompactPeers, PeerForm},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{server::GRACE, shared::Shared};

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    pub(super) header_timeout: Duration,
    pub(super) connection_lifetime: Duration,
}

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
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let expiry = stop.run_until_cancelled(expire(&shared));
    let accepting = stop.run_until_cancelled(async {
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let (stream, peer) = accept(&listener).await;
            let connection = connection(stream, peer, Arc::clone(&shared), limits, stop.clone());
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

async fn expire(shared: &Shared) {
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
    shared: Arc<Shared>,
    limits: Limits,
    stop: CancellationToken,
) {
    // Answers are small and whole: none of them is to wait for another's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%peer, %error, "the answers to a connection may be slow");
    }
    let service = service_fn(|request| {
        let response = answer(&shared, &request, peer.ip());
        async { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    builder.header_read_timeout(limits.header_timeout);
    builder.max_buf_size(HEAD_LEN_MAX);
    builder.max_headers(HEADERS_MAX);
    // Never `pipeline_flush`: with it hyper drops the last answers of a connection on which the client
    // said more than is read.
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

/// What a request is answered. Its body, if it has one, is nobody's.
fn answer(shared: &Shared, request: &Request<Incoming>, source: IpAddr) -> Response<Full<Bytes>> {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    let reply = match request.uri().path() {
        "/announce" if is_read => announce(shared, query, source),
        "/scrape" if is_read => scrape(shared, query),
        "/announce" | "/scrape" => {
            let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            return response;
        }
        _ => return bare(StatusCode::NOT_FOUND),
    };
    let body = reply.unwrap_or_else(|failure| {
        tracing::debug!(%failure, "tracker refuses");
        failure.encode()
    });
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn announce(shared: &Shared, query: &[u8], source: IpAddr) -> Result<Vec<u8>, Failure> {
    let request = AnnounceRequest::parse_query(query)?;
    let form = PeerForm::of(&request);
    if form != PeerForm::Compact || request.shoal.is_some() {
        return Ok(shared.announce(&request, source)?.encode(form));
    }
    let mut peers = CompactPeers::default();
    let room = Room { family: None, peers_max: usize::MAX };
    let give = |peer: PeerRef<'_>| peers.push(peer.compact());
    let answer =
        shared.with(|registry, now| registry.announce_with(now, &request, source, room, give));
    Ok(peers.encode(&answer?))
}

fn scrape(shared: &Shared, query: &[u8]) -> Result<Vec<u8>, Failure> {
    let info_hashes = parse_scrape_query(query)?;
    if info_hashes.is_empty() {
        return Err(Failure::never("a scrape names its torrents: info_hash is missing"));
    }
    Ok(shared.scrape(&info_hashes).encode())
}
