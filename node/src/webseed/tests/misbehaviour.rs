//! Servers that answer badly: each way is a failure, bounded in time and bytes.

use std::time::{Duration, Instant};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::Request,
    response::{IntoResponse as _, Response},
};
use reqwest::{StatusCode, header};
use shoal_core::{metainfo::Pad, session::fault::Retry};

use super::{
    End, LOOPBACK, PIECE, Room, Server, Withheld, bytes, content, dripping, file_of, part, range,
    wanted,
};

type Answer = fn(Request) -> Response;

/// How servers misbehave, what is said of it, and whether they are asked again.
const MISBEHAVIOUR: [(&str, Answer, &str, Retry); 15] = [
    ("no ranges", |r| bytes(file_of(&r)).into_response(), "no ranges", Retry::Never),
    ("404", |_| StatusCode::NOT_FOUND.into_response(), "404", Retry::Never),
    ("410", |_| StatusCode::GONE.into_response(), "410", Retry::Never),
    ("416", |_| StatusCode::RANGE_NOT_SATISFIABLE.into_response(), "shorter", Retry::Never),
    ("500", |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(), "500", Retry::Later),
    ("503", |_| busy(), "503", Retry::After(Duration::from_secs(77))),
    ("other range", |r| other_range(&r), "another part", Retry::Later),
    ("too short", |r| part(&r, wanted(&r).slice(1..).into()), "where 65536", Retry::Later),
    (
        "too long",
        |r| part(&r, [wanted(&r), wanted(&r)].concat().into()),
        "where 65536",
        Retry::Later,
    ),
    ("compressed", |r| compressed(&r), "compressed", Retry::Later),
    ("stops", |r| part(&r, drip_of(&r, 9_000, 1)), "stopped", Retry::Later),
    ("drips", |r| part(&r, drip_of(&r, 100, 900)), "next to nothing", Retry::Later),
    ("endless", |r| part(&r, endless()), "more than", Retry::Later),
    (
        "cut",
        |r| part(&r, dripping(wanted(&r).slice(9..), Bytes::new(), Duration::ZERO, 0)),
        "less than",
        Retry::Later,
    ),
    ("silent", |_| silent(), "no answer", Retry::Later),
];

fn busy() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "77")]).into_response()
}

fn other_range(request: &Request) -> Response {
    let (first, last) = range(request);
    let range = format!("bytes {}-{}/200000", first + 1, last + 1);
    let body = wanted(request);
    (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], body).into_response()
}

fn compressed(request: &Request) -> Response {
    let mut response = part(request, wanted(request).into());
    response.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    response
}

fn drip_of(request: &Request, pause_ms: u64, drops: usize) -> Body {
    let drop = wanted(request).slice(..1);
    dripping(drop.clone(), drop, Duration::from_millis(pause_ms), drops)
}

fn endless() -> Body {
    dripping(Bytes::new(), vec![0; 10_000].into(), Duration::ZERO, usize::MAX)
}

/// The head never comes: a redirect to itself that takes its time would be the same.
fn silent() -> Response {
    (Extension(Withheld), StatusCode::OK).into_response()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_misbehaviour_is_a_bounded_failure() {
    for (kind, answer, says, retry) in MISBEHAVIOUR {
        let server = Server::start(answer).await;
        // Pieces of padded files: the second piece is of the second file alone.
        let mut room = Room::new(LOOPBACK, Pad::Always);
        let began = Instant::now();
        let (cause, found) = room.failed(server.url()).await;
        assert!(cause.contains(says), "{kind}: {cause}");
        assert_eq!(found, retry, "{kind}");
        assert!(began.elapsed() < Duration::from_secs(5), "{kind}: {:?}", began.elapsed());
        assert!(room.progress <= u64::from(PIECE), "{kind}: {} bytes", room.progress);
        assert_eq!(server.asked().len(), 1, "{kind}: {:?}", server.asked());
    }
}

#[tokio::test]
async fn a_server_without_ranges_serves_files_that_are_asked_for_whole() {
    let server = Server::start(|request| bytes(file_of(&request)).into_response()).await;
    let mut room = Room::new(LOOPBACK, Pad::Always);
    room.open(server.url());
    room.opened().await;
    room.grant(0);
    let (_, End::Received(buffer)) = room.end().await else { panic!() };
    assert_eq!(buffer.bytes(), content(&room.metainfo, 0));
}
