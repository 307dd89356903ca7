//! Certificates and keys of the control surface, read and judged before anything listens: a node does
//! not start with what no caller would accept. Never here: a handshake.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost_types::Timestamp;
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::parse_x509_certificate;

use super::private_file;

/// The largest file, bytes: a long chain takes 20 KiB.
const LEN_MAX: u64 = 1 << 20;
/// An end within this time is told at the start.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);

/// Which files TLS is made of.
#[derive(Clone, Copy, Debug)]
pub struct TlsFiles<'a> {
    /// The node's certificate, and those between it and its authority behind it.
    pub cert: &'a Path,
    /// Its key.
    pub key: &'a Path,
    /// The authorities of callers; none = callers need no certificate.
    pub client_ca: Option<&'a Path>,
}

/// What TLS is made of, as PEM, good at the time when it was read.
#[derive(Clone)]
pub struct Tls {
    /// The node's certificate, and those between it and its authority behind it.
    pub cert: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// The authorities of callers.
    pub client_ca: Option<Vec<u8>>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{flag} {}: {cause}", path.display())]
    Io {
        /// The flag that names it.
        flag: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file holds something else.
    #[error("{flag} {}: {cause}", path.display())]
    Malformed {
        /// The flag that names it.
        flag: &'static str,
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Nobody would accept the certificate at this time.
    #[error("{flag} {}: {cause}; `shoald cert` makes another", path.display())]
    NotInForce {
        /// The flag that names it.
        flag: &'static str,
        /// Its path.
        path: PathBuf,
        /// Since when, or from when on.
        cause: String,
    },
    /// The key is that of another certificate.
    #[error("--tls-key {} is not the key of --tls-cert {}", key.display(), cert.display())]
    OtherKey {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("client_ca", &self.client_ca.is_some()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// [`TlsError`], for what cannot be read, is no certificate or key, is not in force at `now`, or
    /// does not belong together.
    pub fn read(files: TlsFiles<'_>, now: SystemTime) -> Result<Self, TlsError> {
        let (cert, chain) = certificates("--tls-cert", files.cert, now)?;
        let malformed = |cause: String| TlsError::Malformed {
            flag: "--tls-key",
            path: files.key.to_owned(),
            cause,
        };
        let key = read("--tls-key", files.key)?;
        let parsed = PrivateKeyDer::from_pem_slice(&key);
        let parsed = parsed.map_err(|_| malformed("holds no private key in PEM".to_owned()))?;
        match CertifiedKey::from_der(chain, parsed, &ring::default_provider()) {
            Ok(_) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let (cert, key) = (files.cert.to_owned(), files.key.to_owned());
                return Err(TlsError::OtherKey { cert, key });
            }
            Err(error) => return Err(malformed(error.to_string())),
        }
        if private_file::readable_by_others(files.key).unwrap_or(false) {
            tracing::warn!(path = %files.key.display(), "others may read the key of TLS");
        }
        let client_ca = files.client_ca.map(|path| certificates("--tls-client-ca", path, now));
        let client_ca = client_ca.transpose()?.map(|(pem, _)| pem);
        Ok(Self { cert, key, client_ca })
    }
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let bytes = private_file::read(path, LEN_MAX);
    bytes.map_err(|cause| TlsError::Io { flag, path: path.to_owned(), cause })
}

/// The certificates of a file, all of them in force.
fn certificates(
    flag: &'static str,
    path: &Path,
    now: SystemTime,
) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), TlsError> {
    let pem = read(flag, path)?;
    let malformed = |cause: String| TlsError::Malformed { flag, path: path.to_owned(), cause };
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| malformed(format!("is no PEM: {error}")))?;
    if chain.is_empty() {
        return Err(malformed("holds no certificate in PEM".to_owned()));
    }
    for cert in &chain {
        let to = in_force_until(cert, now).map_err(|fault| match fault {
            Fault::Malformed(cause) => malformed(cause),
            Fault::NotInForce(cause) => TlsError::NotInForce { flag, path: path.to_owned(), cause },
        })?;
        if to < seconds(now + ENDS_SOON) {
            tracing::warn!(path = %path.display(), ends = %date(to), "a certificate ends soon");
        }
    }
    Ok((pem, chain))
}

/// What is wrong with a certificate.
#[derive(Debug)]
pub(super) enum Fault {
    Malformed(String),
    NotInForce(String),
}

/// Until when a certificate that is in force will be so, seconds since the epoch of Unix.
pub(super) fn in_force_until(cert: &[u8], now: SystemTime) -> Result<i64, Fault> {
    let parsed = parse_x509_certificate(cert);
    let (_, parsed) =
        parsed.map_err(|error| Fault::Malformed(format!("is no certificate: {error}")))?;
    let validity = parsed.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = seconds(now);
    if now < from {
        return Err(Fault::NotInForce(format!("is not in force before {}", date(from))));
    }
    if now > to {
        return Err(Fault::NotInForce(format!("expired at {}", date(to))));
    }
    Ok(to)
}

fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn date(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::auth::cert::{self, CertOptions};

    fn made() -> (TempDir, SystemTime) {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let options = CertOptions { dir: dir.path().to_owned(), ..CertOptions::default() };
        cert::make(&options, now).unwrap();
        (dir, now)
    }

    fn judge(dir: &Path, cert: &str, key: &str, now: SystemTime) -> Result<Tls, String> {
        let (cert, key, ca) = (dir.join(cert), dir.join(key), dir.join("ca.crt"));
        let files = TlsFiles { cert: &cert, key: &key, client_ca: Some(&ca) };
        Tls::read(files, now).map_err(|error| error.to_string())
    }

    #[test]
    fn what_belongs_together_and_is_in_force_is_taken() {
        let (dir, now) = made();
        let tls = judge(dir.path(), "server.crt", "server.key", now).unwrap();
        assert!(tls.client_ca.is_some());
        assert!(!format!("{tls:?}").contains("PRIVATE"));
    }

    #[test]
    fn each_fault_is_one_line_that_names_flag_and_file() {
        let (dir, now) = made();
        let path = dir.path();
        fs::write(path.join("noise"), "noise").unwrap();
        let year = Duration::from_secs(366 * 86_400);
        for (cert, key, now, flag, words) in [
            ("none", "server.key", now, "--tls-cert", "none: No such file"),
            ("noise", "server.key", now, "--tls-cert", "holds no certificate"),
            ("server.key", "server.key", now, "--tls-cert", "holds no certificate"),
            ("server.crt", "server.crt", now, "--tls-key", "holds no private key"),
            ("server.crt", "ca.key", now, "--tls-key", "is not the key of --tls-cert"),
            ("server.crt", "server.key", now + year, "--tls-cert", "expired at "),
            ("server.crt", "server.key", now - year, "--tls-cert", "not in force before "),
            (".", "server.key", now, "--tls-cert", "no regular file"),
        ] {
            let refused = judge(path, cert, key, now).unwrap_err();
            assert!(refused.contains(words) && refused.starts_with(flag), "{refused}");
            assert!(!refused.contains('\n'), "{refused}");
        }
    }
}
