//! An ordinary HTTP server on loopback: a folder, files by ranges, and how many bytes it sent.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::Path as Asked,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};

/// The server; it ends when it is dropped.
pub struct WebServer {
    addr: SocketAddr,
    sent: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WebServer {
    /// Serves what is below a folder.
    pub async fn start(folder: &Path) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let (folder, count) = (folder.to_owned(), Arc::clone(&sent));
        let router = Router::new().route(
            "/{*path}",
            get(async move |Asked(path): Asked<String>, headers: HeaderMap| {
                serve(folder.join(path), &headers, &count)
            }),
        );
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, sent, task }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of the folder.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// Bytes of bodies.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn serve(path: PathBuf, headers: &HeaderMap, sent: &AtomicU64) -> Response {
    let Ok(bytes) = std::fs::read(path) else { return StatusCode::NOT_FOUND.into_response() };
    let Some(range) = headers.get(header::RANGE) else {
        sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        return bytes.into_response();
    };
    let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    // Some clients leave the end open.
    let last = last.parse().unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
    let part = bytes[first..=last].to_vec();
    sent.fetch_add(part.len() as u64, Ordering::Relaxed);
    let range = format!("bytes {first}-{last}/{}", bytes.len());
    (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], part).into_response()
}
