//! An HTTP/1 server for short answers: so many connections, heads of so many bytes, and no
//! connection for ever. A request's body, if it has one, is nobody's. Never here: what a request is
//! answered.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Duration, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What an answer is.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most connections at once; further ones wait to be accepted.
    pub(crate) connections_max: usize,
    /// How long the head of a request may take, and how long a connection may idle before its next.
    pub(crate) header_timeout: Duration,
    /// How long a connection may live in all.
    pub(crate) connection_lifetime: Duration,
    /// Bytes of the head of a request.
    pub(crate) head_len_max: usize,
}

/// Headers of a request; clients send about five.
const HEADERS_MAX: usize = 64;
/// How long connections may take to end once the server stops, or one has lived long enough.
pub(crate) const GRACE: Duration = Duration::from_secs(3);
/// The pause after an accept failed, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`, and then until the requests under way are answered, at most [`GRACE`].
/// `what` is for the log.
pub(crate) async fn serve<A, F>(
    what: &'static str,
    listener: std::net::TcpListener,
    limits: Limits,
    answer: A,
    stop: CancellationToken,
) -> io::Result<()>
where
    A: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let accepting = stop.run_until_cancelled(async {
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let (stream, peer) = accept(what, &listener).await;
            let connection = connection(what, (stream, peer), answer.clone(), limits, stop.clone());
            connections.spawn(async move {
                connection.await;
                drop(slot);
            });
        }
    });
    accepting.await;
    drop(listener);
    connections.close();
    if timeout(GRACE, connections.wait()).await.is_err() {
        tracing::debug!(what, open = connections.len(), "connections cut off");
    }
    Ok(())
}

/// An answer without a body.
pub(crate) fn bare(status: StatusCode) -> Answer {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

async fn accept(what: &'static str, listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(what, %error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, until it ends, idles, has lived long enough or the server stops.
async fn connection<A, F>(
    what: &'static str,
    (stream, peer): (TcpStream, SocketAddr),
    answer: A,
    limits: Limits,
    stop: CancellationToken,
) where
    A: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Answer>,
{
    // Answers are small and whole: none of them is to wait for another's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(what, %peer, %error, "the answers to a connection may be slow");
    }
    let service = service_fn(|request| {
        let answered = answer(request, peer);
        async { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    builder.header_read_timeout(limits.header_timeout);
    builder.max_buf_size(limits.head_len_max);
    builder.max_headers(HEADERS_MAX);
    // Never `pipeline_flush`: with it hyper drops the last answers of a connection on which the client
    // said more than is read.
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log_end(what, peer, ended),
        () = stop.cancelled() => {}
        () = sleep(limits.connection_lifetime) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(GRACE, connection).await {
        log_end(what, peer, ended);
    }
}

fn log_end(what: &'static str, peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::trace!(what, %peer, %error, "connection ended");
    }
}
