//! Where requests may lead: names, addresses and redirects, and what other hosts are told.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use axum::response::IntoResponse as _;
use reqwest::{StatusCode, header};
use shoal_core::{
    metainfo::Pad,
    session::fault::{CloseCause, Retry},
};

use super::{super::Guard, End, LOOPBACK, Room, Server, good};

#[tokio::test]
async fn redirects_are_followed_within_bounds() {
    let target = Server::start(good).await;
    let to = target.addr;
    let hops = Arc::new(AtomicU32::new(0));
    for (limit, fails) in [(5, None), (6, Some("more than 5 redirects"))] {
        hops.store(limit, Ordering::Relaxed);
        let left = hops.clone();
        let server = Server::start(move |request| {
            let again = left.fetch_sub(1, Ordering::Relaxed) > 1;
            let path = request.uri().path();
            let to = if again { path.to_owned() } else { format!("http://{to}{path}") };
            (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
        });
        let server = server.await;
        let mut room = Room::new(LOOPBACK, Pad::Always);
        match fails {
            None => {
                room.open(server.url());
                room.opened().await;
                room.grant(1);
                assert!(matches!(room.end().await, (_, End::Received(_))));
            }
            Some(says) => assert_eq!(room.failed(server.url()).await, (says.into(), Retry::Later)),
        }
    }
}

#[tokio::test]
async fn redirects_lead_to_no_forbidden_place_and_to_no_other_protocol() {
    let places = [
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254:80", Retry::Never),
        ("http://[::ffff:169.254.169.254]/", "link-local", Retry::Never),
        ("http://[fe80::1]:81/", "link-local", Retry::Never),
        ("http://0.0.0.0/", "no address of a host", Retry::Never),
        ("ftp://127.0.0.1/", "ftp", Retry::Never),
        // The client does not even begin.
        ("file:///etc/passwd", "HTTP status 302", Retry::Later),
    ];
    for (place, says, expected) in places {
        let redirect = move |_| (StatusCode::FOUND, [(header::LOCATION, place)]).into_response();
        let server = Server::start(redirect).await;
        let mut room = Room::new(LOOPBACK, Pad::Always);
        let (cause, retry) = room.failed(server.url()).await;
        assert!(cause.contains(says), "{place}: {cause}");
        assert_eq!(retry, expected, "{place}: {cause}");
    }
}

#[tokio::test]
async fn nothing_is_asked_of_this_machine_without_the_flag() {
    let server = Server::start(good).await;
    let port = server.addr.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "169.254.1.1"] {
        let mut room = Room::new(Guard::default(), Pad::Always);
        room.open(format!("http://user:secret@{host}:{port}/"));
        let cause = room.closed().await;
        let CloseCause::WebSeed(fault) = &cause else { panic!("{host}: {cause:?}") };
        let says = ["--web-seeds-loopback", "not for web seeds"];
        assert!(says.iter().any(|says| fault.cause.contains(says)), "{host}: {fault}");
        assert!(!fault.cause.contains("secret"), "{fault}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_name_is_judged_again_when_it_is_connected_to() {
    // What the HTTP client itself resolves: as if the name had meant something else before.
    let server = Server::start(good).await;
    let room = Room::new(Guard::default(), Pad::Always);
    let url = format!("http://localhost:{}/", server.addr.port());
    let error = room.seeds.shared.client.get(url).send().await.unwrap_err();
    assert!(crate::http::cause(&error).contains("--web-seeds-loopback"), "{error:?}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn credentials_of_a_url_go_to_its_host_alone_and_into_no_error() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let other_saw = seen.clone();
    let other = Server::start(move |request| {
        let header = |name| request.headers().get(name).cloned();
        let headers = [header(header::AUTHORIZATION), header(header::REFERER)];
        other_saw.lock().unwrap().extend(headers.into_iter().flatten());
        StatusCode::NOT_FOUND.into_response()
    });
    let other = other.await;
    let to = other.addr;
    let first = Server::start(move |request| {
        assert!(request.headers().contains_key(header::AUTHORIZATION));
        let to = format!("http://{to}/");
        (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
    });
    let first = first.await;
    let mut room = Room::new(LOOPBACK, Pad::Always);
    let url = format!("http://user:secret@{}/", first.addr);
    let (cause, retry) = room.failed(url).await;
    assert_eq!((retry, other.asked().len()), (Retry::Never, 1), "{cause}");
    assert!(seen.lock().unwrap().is_empty() && !cause.contains("secret"), "{cause}");
}
