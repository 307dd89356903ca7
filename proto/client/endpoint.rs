//! What an endpoint is, from its text.

use std::{net::IpAddr, path::PathBuf};

use tonic::transport::Uri;

use super::{ConnectError, SOCKET_PATH_LEN_MAX};

/// Where a node listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP in the open.
    Plain(Uri),
    /// TCP with TLS.
    Tls(Uri),
}

impl Target {
    pub(super) fn parse(endpoint: &str) -> Result<Self, ConnectError> {
        let malformed = || ConnectError::Malformed(endpoint.to_owned());
        if let Some(path) = endpoint.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            return match path.as_os_str().len() {
                0 => Err(malformed()),
                1..=SOCKET_PATH_LEN_MAX => Ok(Self::Unix(path)),
                _ => Err(ConnectError::PathTooLong(path)),
            };
        }
        let text = if endpoint.contains("://") {
            endpoint.to_owned()
        } else {
            format!("http://{endpoint}")
        };
        let uri = text.parse::<Uri>().map_err(|_| malformed())?;
        match (uri.scheme_str(), uri.host()) {
            (_, None | Some("")) => Err(malformed()),
            (Some("http"), Some(_)) => Ok(Self::Plain(uri)),
            (Some("https"), Some(_)) => Ok(Self::Tls(uri)),
            (Some(_) | None, Some(_)) => Err(malformed()),
        }
    }

    /// Whether a secret that is sent there stays with the node: never over a network in the open.
    pub(super) fn keeps_secrets(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Tls(_) => true,
            Self::Plain(uri) => is_loopback(uri.host().unwrap_or_default()),
        }
    }
}

/// Whether a host is this machine. Of names only `localhost` counts: where others lead, somebody
/// else decides.
fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(host);
    let ip = bare.parse::<IpAddr>();
    ip.map_or_else(|_| bare.eq_ignore_ascii_case("localhost"), |ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_four_forms() {
        let unix = Target::Unix("/run/x.sock".into());
        assert_eq!(Target::parse("unix:///run/x.sock").unwrap(), unix);
        assert_eq!(Target::parse("unix:/run/x.sock").unwrap(), unix);
        for plain in ["http://127.0.0.1:7002", "127.0.0.1:7002", "http://[::1]:7002"] {
            assert!(matches!(Target::parse(plain), Ok(Target::Plain(_))), "{plain}");
        }
        assert!(matches!(Target::parse("https://node1:7002"), Ok(Target::Tls(_))));
        for bad in ["unix:", "ftp://10.0.0.1", "", "http://", "a b", "unix://"] {
            assert!(matches!(Target::parse(bad), Err(ConnectError::Malformed(_))), "{bad}");
        }
        let long = format!("unix:/{}", "x".repeat(SOCKET_PATH_LEN_MAX));
        assert!(matches!(Target::parse(&long), Err(ConnectError::PathTooLong(_))));
    }

    #[test]
    fn secrets_cross_no_network_in_the_open() {
        for (endpoint, kept) in [
            ("unix:/run/x.sock", true),
            ("https://10.0.0.1:7002", true),
            ("http://127.0.0.1:7002", true),
            ("127.9.9.9:7002", true),
            ("http://[::1]:7002", true),
            ("http://[::ffff:127.0.0.1]:7002", true),
            ("http://LocalHost:7002", true),
            ("http://10.0.0.1:7002", false),
            ("http://[::]:7002", false),
            ("http://node1:7002", false),
            ("http://localhost.example:7002", false),
            ("http://127.0.0.1.example:7002", false),
        ] {
            assert_eq!(Target::parse(endpoint).unwrap().keeps_secrets(), kept, "{endpoint}");
        }
    }
}
