//! From an endpoint to a node. Never here: a command.
//!
//! [`Connect`] says how: the endpoint, a token, whom to trust, and a certificate of one's own. What comes
//! of it, a [`Connection`], is what generated clients stand on:
//!
//! ```no_run
//! use shoal::{client::Connect, v1::{GetInfoRequest, node_service_client::NodeServiceClient}};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Connect::to("https://10.0.0.1:7002")
//!     .ca_file("ca.crt")
//!     .token_file("/run/secrets/shoal.token")
//!     .connect()
//!     .await?;
//! let info = NodeServiceClient::new(node).get_info(GetInfoRequest {}).await?;
//! println!("{}", info.into_inner().version);
//! # Ok(())
//! # }
//! ```

mod connect;
mod connection;
mod endpoint;

use std::{io, path::PathBuf};

use tonic::transport::Channel;

pub use connect::Connect;
pub use connection::Connection;

/// The longest path of a Unix socket, bytes: `sun_path` holds 108 with its end on Linux, 104 elsewhere.
pub const SOCKET_PATH_LEN_MAX: usize = 103;

/// Largest reply a client takes, bytes: a metainfo file of 16 MiB and its frame.
pub const REPLY_LEN_MAX: usize = 17 * 1024 * 1024;

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The text is none of the forms of an endpoint.
    #[error("endpoint '{0}' is neither unix:///PATH nor http://HOST:PORT nor https://HOST:PORT")]
    Malformed(String),
    /// A socket path that the system cannot take.
    #[error("socket path '{}' is longer than {SOCKET_PATH_LEN_MAX} bytes; choose a shorter one", .0.display())]
    PathTooLong(PathBuf),
    /// A file with a token, a certificate or a key cannot be used.
    #[error("{}: {cause}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the system said, or what is wrong with it.
        cause: io::Error,
    },
    /// The token holds what cannot be sent.
    #[error("the token is empty, or holds spaces or characters that cannot be sent")]
    BadToken,
    /// Whoever listens on the way could take the token and be the caller.
    #[error(
        "the token is not sent to {0}: without TLS others could read it on the way; use https://, \
         an SSH tunnel to a loopback address, or the Unix socket"
    )]
    PlaintextToken(String),
    /// Certificates without TLS: the caller believes to be safe and is not.
    #[error("certificates are given, but {0} does not speak TLS; use https://HOST:PORT")]
    NoTls(String),
    /// A certificate or key of the caller's cannot be used.
    #[error("certificates: {0}")]
    BadCertificate(String),
    /// The node is not who it should be, or does not take the caller's certificate.
    #[error("{endpoint} is not trusted: {cause}")]
    Untrusted {
        /// The endpoint as it was given.
        endpoint: String,
        /// What is wrong.
        cause: String,
    },
    /// Nobody answers there.
    #[error("no node at {endpoint}: {cause}")]
    Unreachable {
        /// The endpoint as it was given.
        endpoint: String,
        /// The last cause.
        cause: String,
    },
}

/// Connects to a node at `unix:///PATH` (also `unix:PATH`), `http://HOST:PORT` (also `HOST:PORT`) or
/// `https://HOST:PORT`, without a token: as the node's own user over its Unix socket. Over TCP only
/// health is answered so; see [`Connect`].
///
/// # Errors
/// [`ConnectError`] where the endpoint cannot be read or nobody answers within five seconds.
pub async fn connect(endpoint: &str) -> Result<Channel, ConnectError> {
    Ok(Connect::to(endpoint).connect().await?.into_channel())
}
