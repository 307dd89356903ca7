//! The client against servers that behave and servers that do not, on loopback.

use std::net::SocketAddr;

use shoal_core::{
    ids::PeerId,
    session::event::AnnounceFailure,
    tracker::announce::{Failure, PeerEntry, RetryIn},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use super::*;

mod https;
mod udp;

fn request() -> AnnounceRequest {
    AnnounceRequest::new(InfoHash([0xff; 20]), PeerId([0; 20]), 7000, 1)
}

fn announcer() -> Announcer {
    Announcer::new(AnnouncerConfig::default()).unwrap()
}

/// Serves the same bytes to everyone who sent a whole head; tells the request lines and sources.
async fn server(answer: Vec<u8>) -> (SocketAddr, mpsc::UnboundedReceiver<(String, SocketAddr)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, source)) = listener.accept().await {
            let line = read_head(&mut stream).await;
            let _ = tell.send((line, source));
            let _ = stream.write_all(&answer).await;
        }
    });
    (addr, told)
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned()
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn announce(answer: Vec<u8>) -> (SocketAddr, Result<AnnounceReply, AnnounceError>) {
    let (addr, _told) = server(answer).await;
    (addr, announcer().announce(&format!("http://{addr}/announce"), &request()).await)
}

#[tokio::test]
async fn the_query_of_the_url_stays_in_front() {
    let (addr, mut told) = server(answer("200 OK", "", b"d8:intervali9e5:peers0:e")).await;
    let url = format!("http://{addr}/announce?passkey=%00a&x#fragment");
    let reply = announcer().announce(&url, &request()).await.unwrap();
    assert_eq!(reply.interval_s, 9);
    let (line, _) = told.recv().await.unwrap();
    let expected = format!("GET /announce?passkey=%00a&x&{} HTTP/1.1", request().to_query());
    assert_eq!(line, expected);
}

#[tokio::test]
async fn announces_go_out_from_the_address_asked_for() {
    let (addr, mut told) = server(answer("200 OK", "", b"d8:intervali9e5:peers0:e")).await;
    let local: IpAddr = [127, 0, 0, 7].into();
    let local_address = Some(local);
    let announcer =
        Announcer::new(AnnouncerConfig { local_address, ..Default::default() }).unwrap();
    announcer.announce(&format!("http://{addr}/announce"), &request()).await.unwrap();
    assert_eq!(told.recv().await.unwrap().1.ip(), local);
}

#[tokio::test]
async fn a_refusal_is_told_whatever_its_status() {
    let body = b"d14:failure reason5:no\x1b[m8:retry ini5ee";
    for status in ["200 OK", "403 Forbidden"] {
        let (_, result) = announce(answer(status, "", body)).await;
        let failure =
            Failure { reason: "no\x1b[m".to_owned(), retry_in: Some(RetryIn::Minutes(5)) };
        assert_eq!(result, Err(AnnounceError::Refused(failure)));
        let told = AnnounceFailure::from(result.unwrap_err());
        let reason = "no\u{fffd}[m".to_owned();
        assert_eq!(told, AnnounceFailure::Refused { reason, retry_in_s: Some(300) });
    }
}

#[tokio::test]
async fn statuses_and_nonsense_are_told_apart() {
    let (addr, result) = announce(answer("404 Not Found", "", b"<html>")).await;
    let address = addr.to_string();
    assert_eq!(result, Err(AnnounceError::Status { address, status: 404 }));
    let (_, result) = announce(answer("200 OK", "", b"<html>")).await;
    assert!(matches!(result, Err(AnnounceError::Malformed { .. })), "{result:?}");
}

#[tokio::test]
async fn a_reply_at_its_limit_passes_and_above_it_does_not() {
    let body = |len: usize| {
        let mut body = b"d8:intervali9e5:peers0:e".to_vec();
        body.resize(len, b' ');
        body
    };
    for (len, passes) in [
        (ANNOUNCE_REPLY_LEN_MAX - 1, true),
        (ANNOUNCE_REPLY_LEN_MAX, true),
        (ANNOUNCE_REPLY_LEN_MAX + 1, false),
    ] {
        let (addr, result) = announce(answer("200 OK", "", &body(len))).await;
        match result {
            Ok(_) => assert!(passes, "{len}"),
            Err(error) => {
                assert!(!passes, "{len}: {error}");
                assert_eq!(error, AnnounceError::TooLong { address: addr.to_string() });
            }
        }
    }
}

#[tokio::test]
async fn an_unreachable_tracker_is_named_without_its_secrets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{addr}/announce?passkey=secret");
    let error = announcer().announce(&url, &request()).await.unwrap_err();
    let AnnounceError::Unreachable { address, cause } = &error else { panic!("{error:?}") };
    assert_eq!(*address, addr.to_string());
    assert!(cause.contains("refused"), "{cause}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_connection_cut_off_is_unreachable() {
    let whole = answer("200 OK", "", b"d8:intervali9e5:peers0:e");
    for cut in [0, whole.len() - 3] {
        let (_, result) = announce(whole[..cut].to_vec()).await;
        assert!(matches!(result, Err(AnnounceError::Unreachable { .. })), "{cut}: {result:?}");
    }
}

#[tokio::test]
async fn a_tracker_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let timeout = Duration::from_millis(50);
    let announcer = Announcer::new(AnnouncerConfig { timeout, ..Default::default() }).unwrap();
    let error = announcer.announce(&url, &request()).await.unwrap_err();
    let AnnounceError::Unreachable { cause, .. } = error else { panic!("{error:?}") };
    assert_eq!(cause, "no reply within 50ms");
}

#[tokio::test]
async fn redirects_are_followed_up_to_the_limit() {
    let (last, _told) = server(answer("200 OK", "", b"d8:intervali9e5:peers0:e")).await;
    let mut next = last;
    for hop in 1..=REDIRECTS_MAX + 1 {
        let location = format!("Location: http://{next}/announce\r\n");
        let (addr, _told) = server(answer("302 Found", &location, b"")).await;
        next = addr;
        let result = announcer().announce(&format!("http://{next}/announce"), &request()).await;
        assert_eq!(result.is_ok(), hop <= REDIRECTS_MAX, "{hop}: {result:?}");
        let is_redirect = matches!(result, Err(AnnounceError::Redirect { .. }));
        assert_eq!(is_redirect, hop > REDIRECTS_MAX);
    }
}

#[tokio::test]
async fn a_redirect_to_another_scheme_says_that_it_is_not_supported() {
    let (_, result) =
        announce(answer("302 Found", "Location: ftp://127.0.0.1:1/announce\r\n", b"")).await;
    let text = result.unwrap_err().to_string();
    assert!(text.contains("leads to FTP, which is not supported"), "{text}");
}

#[tokio::test]
async fn other_schemes_and_bad_urls_are_refused_at_once() {
    for (url, text) in [
        ("wss://t.example/a?k=s", "WSS trackers are not supported: t.example:443"),
        ("udp://t.example/a", "\"udp://t.example/a\" is no announce URL: it names no port"),
        ("udp:///a", "\"udp:///a\" is no announce URL: it names no host"),
        ("announce", "\"announce\" is no announce URL: relative URL without a base"),
    ] {
        let error = announcer().announce(url, &request()).await.unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    let error = announcer().scrape("http://127.0.0.1:1/a", &[]).await.unwrap_err();
    assert_eq!(error, AnnounceError::NoScrape);
    let many = [InfoHash([0; 20]); SCRAPE_MAX + 1];
    let error = announcer().scrape("http://127.0.0.1:1/announce", &many).await.unwrap_err();
    assert_eq!(error, AnnounceError::TooManyTorrents(SCRAPE_MAX + 1));
}

#[tokio::test]
async fn a_connection_is_not_used_again() {
    let body = b"d8:intervali60e5:peers0:e";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    // It does not say that it closes, and never reads a second request.
    let server = tokio::spawn(async move {
        let mut kept = Vec::new();
        while kept.len() < 3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
            kept.push(stream);
        }
    });
    let announcer = announcer();
    for _ in 0..3 {
        announcer.announce(&url, &request()).await.unwrap();
    }
    server.await.unwrap();
}
