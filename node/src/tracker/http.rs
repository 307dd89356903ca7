//! The HTTP of the tracker: `/announce` and `/scrape`. A refusal is a bencoded `failure reason` under
//! status 200, as BitTorrent clients expect. Never here: swarms, or connections.

use std::{
    future::ready,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use shoal_core::tracker::{
    announce::{AnnounceRequest, Failure},
    query::{QUERY_LEN_MAX, parse_scrape_query},
    registry::{PeerRef, Room},
    reply::{CompactPeers, PeerForm},
};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::http::server::{self, Answer, Limits, bare};

/// The head of a request: the longest query, and what browsers and proxies put beside it.
pub(super) const HEAD_LEN_MAX: usize = QUERY_LEN_MAX + 16 * 1024;
/// How often silent peers are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// The pause before more of them are forgotten.
const EXPIRE_PAUSE: Duration = Duration::from_millis(1);

/// Serves until `stop`, and then until the requests under way are answered.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    limits: Limits,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let asked = Arc::clone(&shared);
    let answer = move |request: Request<Incoming>, peer: SocketAddr| {
        ready(answer(&asked, &request, peer.ip()))
    };
    let serving = server::serve("tracker", listener, limits, answer, stop.clone());
    let (_, served) = tokio::join!(stop.run_until_cancelled(expire(&shared)), serving);
    served
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

/// What a request is answered. Its body, if it has one, is nobody's.
fn answer(shared: &Shared, request: &Request<Incoming>, source: IpAddr) -> Answer {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    let meter = &shared.meter().http;
    let (reply, counted) = match request.uri().path() {
        "/announce" if is_read => (announce(shared, query, source), &meter.announce),
        "/scrape" if is_read => (scrape(shared, query), &meter.scrape),
        "/announce" | "/scrape" => {
            meter.malformed.inc();
            let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            return response;
        }
        _ => {
            meter.malformed.inc();
            return bare(StatusCode::NOT_FOUND);
        }
    };
    counted.count(&reply);
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
