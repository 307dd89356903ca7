//! The node in numbers, over HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever
//! starts and stops nodes. On a thread and a runtime of its own, so that neither the data path nor the
//! control surface can hold it; off unless an address is named.
//!
//! - [`vitals`]: whether the node lives and is ready
//! - `page`: names, units and help of every metric
//! - `process`: the process itself
//!
//! No label is an info hash, a peer, or anything else that others can make more of. Never here: a
//! counter, which is where what it counts happens.

mod page;
mod process;
#[cfg(test)]
mod tests;
pub mod vitals;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::{
    page::Format,
    vitals::{Report, Vitals},
};
use crate::http::server::{self, Answer, Limits, bare};

/// What connections may cost: scrapers keep one each, and ask with a few hundred bytes.
const LIMITS: Limits = Limits {
    connections_max: 32,
    header_timeout: Duration::from_secs(10),
    connection_lifetime: Duration::from_secs(600),
    head_len_max: 16 * 1024,
};
/// How long a stop may take: beyond it the thread is left to itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// A listener that tells. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct Metrics {
    local_addr: SocketAddr,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Metrics {
    /// Listens, and tells of the node from a thread of its own.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system has no thread.
    pub fn start(listen: SocketAddr, vitals: Vitals) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let local_addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, (end, ended)) = (CancellationToken::new(), oneshot::channel());
        let answer = move |request: Request<Incoming>, _: SocketAddr| {
            let vitals = vitals.clone();
            async move { answer(&vitals, &request).await }
        };
        let serving = server::serve("metrics", listener, LIMITS, answer, stop.clone());
        thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serving) {
                tracing::error!(%error, "the metrics listener ended");
            }
            // Nobody waits where it was dropped.
            let _ = end.send(());
        })?;
        Ok(Self { local_addr, stop, ended })
    }

    /// Where it listens, with the port that port 0 became.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers what was asked, and ends: after 4 s at the latest.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, &mut self.ended).await.is_err() {
            tracing::warn!("the metrics listener did not stop in time");
        }
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn answer(vitals: &Vitals, request: &Request<Incoming>) -> Answer {
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    match request.uri().path() {
        "/metrics" if is_read => metrics(vitals, request).await,
        "/healthz" if is_read => told(&vitals.health().await),
        "/readyz" if is_read => told(&vitals.readiness().await),
        "/metrics" | "/healthz" | "/readyz" => {
            let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            response
        }
        _ => bare(StatusCode::NOT_FOUND),
    }
}

async fn metrics(vitals: &Vitals, request: &Request<Incoming>) -> Answer {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::for_accept(accept.unwrap_or_default());
    match page::encode(&vitals.look().await, format) {
        Ok(text) => text_response(StatusCode::OK, format.content_type(), text),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be told");
            bare(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn told(report: &Report) -> Answer {
    let status = if report.is_well() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text_response(status, "text/plain; charset=utf-8", report.to_string())
}

fn text_response(status: StatusCode, content_type: &'static str, text: String) -> Answer {
    let mut response = Response::new(Full::from(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
