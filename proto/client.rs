//! From an endpoint to a channel. Never here: a command.

use std::{io, path::PathBuf, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// The longest path of a Unix socket, bytes: `sun_path` holds 108 with its end on Linux, 104 elsewhere.
pub const SOCKET_PATH_LEN_MAX: usize = 103;

/// Longest time to establish a connection, before the node counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest reply a client takes, bytes: a metainfo file of 16 MiB and its frame.
pub const REPLY_LEN_MAX: usize = 17 * 1024 * 1024;

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The text is neither `unix://PATH` nor `http://HOST:PORT`.
    #[error("endpoint '{0}' is neither unix:///PATH nor http://HOST:PORT")]
    Malformed(String),
    /// A socket path that the system cannot take.
    #[error("socket path '{}' is longer than {SOCKET_PATH_LEN_MAX} bytes; choose a shorter one", .0.display())]
    PathTooLong(PathBuf),
    /// Nobody answers there.
    #[error("no node at {endpoint}: {cause}")]
    Unreachable {
        /// The endpoint as it was given.
        endpoint: String,
        /// The last cause.
        cause: String,
    },
}

/// Connects to a node at `unix:///PATH` (also `unix:PATH`) or `http://HOST:PORT` (also `HOST:PORT`).
///
/// # Errors
/// [`ConnectError`] where the endpoint cannot be read or nobody answers within five seconds.
pub async fn connect(endpoint: &str) -> Result<Channel, ConnectError> {
    match endpoint.strip_prefix("unix:") {
        Some(path) => {
            connect_unix(endpoint, PathBuf::from(path.strip_prefix("//").unwrap_or(path))).await
        }
        None => connect_tcp(endpoint).await,
    }
}

async fn connect_unix(endpoint: &str, path: PathBuf) -> Result<Channel, ConnectError> {
    if path.as_os_str().is_empty() {
        return Err(ConnectError::Malformed(endpoint.to_owned()));
    }
    if path.as_os_str().len() > SOCKET_PATH_LEN_MAX {
        return Err(ConnectError::PathTooLong(path));
    }
    // The authority must be a plain host: h2 refuses a path there.
    let base = Endpoint::from_static("http://localhost").connect_timeout(CONNECT_TIMEOUT);
    let dial = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    base.connect_with_connector(dial).await.map_err(|e| unreachable(endpoint, &e))
}

async fn connect_tcp(endpoint: &str) -> Result<Channel, ConnectError> {
    let uri =
        if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    if !uri.starts_with("http://") {
        return Err(ConnectError::Malformed(endpoint.to_owned()));
    }
    let base =
        Endpoint::from_shared(uri).map_err(|_| ConnectError::Malformed(endpoint.to_owned()))?;
    base.connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .connect()
        .await
        .map_err(|e| unreachable(endpoint, &e))
}

fn unreachable(endpoint: &str, error: &tonic::transport::Error) -> ConnectError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    ConnectError::Unreachable { endpoint: endpoint.to_owned(), cause: cause.to_string() }
}
