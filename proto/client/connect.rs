//! How to connect: said step by step, carried out at once.

use std::{
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    codegen::http::HeaderValue,
    transport::{self, Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri},
};

use super::{ConnectError, Connection, endpoint::Target};

/// Longest time to establish a connection, before the node counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest file with a token, a certificate or a key, bytes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// How to reach a node. Nothing is read or dialled before [`connect`](Self::connect).
///
/// | endpoint | who may call | needs |
/// |---|---|---|
/// | `unix:///PATH` | the node's own user and root; others with a token | – |
/// | `http://HOST:PORT` | whoever has a token; HOST is a loopback address or `localhost` | a token |
/// | `https://HOST:PORT` | whoever has a token | a token; [`ca`](Self::ca), unless a public authority signed the node's certificate |
#[derive(Clone, Default)]
pub struct Connect {
    endpoint: String,
    token: Option<Source>,
    ca: Option<Source>,
    identity: Option<(Source, Source)>,
    server_name: Option<String>,
}

/// Where a text is from.
#[derive(Clone)]
enum Source {
    Given(Vec<u8>),
    File(PathBuf),
}

impl Connect {
    /// To the node at this endpoint: `unix:///PATH`, `http://HOST:PORT` or `https://HOST:PORT`.
    #[must_use]
    pub fn to(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), ..Self::default() }
    }

    /// With this token in every call. It is refused where it would cross a network in the open.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Source::Given(token.into().into_bytes()));
        self
    }

    /// With the token of this file, such as the node's `admin.token`; white space around it is left
    /// out.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Some(Source::File(path.into()));
        self
    }

    /// Trusts these authorities, PEM, and no others. Without it those that browsers trust, which are
    /// built in.
    #[must_use]
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(Source::Given(pem.into()));
        self
    }

    /// As [`ca`](Self::ca), from a file.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(Source::File(path.into()));
        self
    }

    /// With a certificate of the caller's and its key, PEM, for nodes that ask for one
    /// (`--tls-client-ca`).
    #[must_use]
    pub fn identity(mut self, cert: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((Source::Given(cert.into()), Source::Given(key.into())));
        self
    }

    /// As [`identity`](Self::identity), from two files.
    #[must_use]
    pub fn identity_files(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Source::File(cert.into()), Source::File(key.into())));
        self
    }

    /// The name that the node's certificate has to have, where it is not the endpoint's host: through
    /// a tunnel, say.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Connects. What comes of it restores a broken connection by itself.
    ///
    /// # Errors
    /// [`ConnectError`]: what was said makes no sense, a file cannot be used, the token would cross a
    /// network in the open, the node is not trusted, or nobody answers within five seconds. Whether
    /// the node takes the token is seen with the first call.
    pub async fn connect(self) -> Result<Connection, ConnectError> {
        let target = Target::parse(&self.endpoint)?;
        let authorization = self.authorization()?;
        if authorization.is_some() && !target.keeps_secrets() {
            return Err(ConnectError::PlaintextToken(self.endpoint));
        }
        let with_certificates = self.ca.is_some() || self.identity.is_some();
        let channel = match target {
            Target::Unix(path) => connect_unix(path).await,
            Target::Plain(_) if with_certificates => {
                return Err(ConnectError::NoTls(self.endpoint));
            }
            Target::Plain(uri) => endpoint(uri).connect().await,
            Target::Tls(uri) => {
                let bad = |error| ConnectError::BadCertificate(last_cause(&error).to_string());
                endpoint(uri).tls_config(self.tls()?).map_err(bad)?.connect().await
            }
        };
        let channel = channel.map_err(|error| failed(self.endpoint, &error))?;
        Ok(Connection::new(channel, authorization))
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, ConnectError> {
        let Some(token) = &self.token else { return Ok(None) };
        let text = String::from_utf8(token.read()?).map_err(|_| ConnectError::BadToken)?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ConnectError::BadToken);
        }
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| ConnectError::BadToken)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn tls(&self) -> Result<ClientTlsConfig, ConnectError> {
        let config = ClientTlsConfig::new().timeout(CONNECT_TIMEOUT);
        let config = match &self.ca {
            Some(ca) => config.ca_certificate(Certificate::from_pem(ca.read_certificates()?)),
            None => config.with_webpki_roots(),
        };
        let config = match &self.identity {
            Some((cert, key)) => {
                config.identity(Identity::from_pem(cert.read_certificates()?, key.read()?))
            }
            None => config,
        };
        Ok(match &self.server_name {
            Some(name) => config.domain_name(name),
            None => config,
        })
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connect");
        shown.field("endpoint", &self.endpoint).field("token", &self.token.is_some());
        shown.field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, ConnectError> {
        match self {
            Self::Given(bytes) => Ok(bytes.clone()),
            Self::File(path) => {
                read_file(path).map_err(|cause| ConnectError::File { path: path.clone(), cause })
            }
        }
    }

    /// PEM with a certificate in it: without one TLS would only say that nobody is trusted.
    fn read_certificates(&self) -> Result<Vec<u8>, ConnectError> {
        let pem = self.read()?;
        if pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Ok(pem);
        }
        let cause = "holds no certificate in PEM";
        Err(match self {
            Self::Given(_) => ConnectError::BadCertificate(cause.to_owned()),
            Self::File(path) => {
                ConnectError::File { path: path.clone(), cause: io::Error::other(cause) }
            }
        })
    }
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let len = fs::metadata(path)?.len();
    if len > FILE_LEN_MAX {
        return Err(io::Error::other(format!("{len} bytes, above {FILE_LEN_MAX}")));
    }
    fs::read(path)
}

fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri).connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true)
}

async fn connect_unix(path: PathBuf) -> Result<Channel, transport::Error> {
    // The authority must be a plain host: h2 refuses a path there.
    let base = Endpoint::from_static("http://localhost").connect_timeout(CONNECT_TIMEOUT);
    let dial = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    base.connect_with_connector(dial).await
}

fn failed(endpoint: String, error: &transport::Error) -> ConnectError {
    let cause = last_cause(error).to_string();
    if speaks_of_tls(error) {
        return ConnectError::Untrusted { endpoint, cause };
    }
    ConnectError::Unreachable { endpoint, cause }
}

/// Whether a handshake over TLS failed, rather than the way to the node.
fn speaks_of_tls(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        let within = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if cause.is::<rustls::Error>() || within.is_some_and(|error| error.is::<rustls::Error>()) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn last_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}
