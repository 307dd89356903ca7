//! `shoald cert`: an authority of one's own, a certificate of a node that it signed, and certificates
//! of callers, for whoever has no public key infrastructure. Never here: anything of a running node.

use std::{
    fmt,
    fs::{self, DirBuilder},
    io,
    net::IpAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, DnsName, pem::PemObject as _};

use super::{
    private_file::{Readers, replace},
    tls::{Fault, in_force_until},
};
use crate::exit::Exit;

/// Days for which certificates hold where nothing is said.
pub const DAYS_DEFAULT: u16 = 365;
/// Days for which an authority holds: ten years.
pub const CA_DAYS: u16 = 3650;
/// Names that every certificate of a node has: those of the machine itself.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How far the clocks of callers may be behind.
const CLOCKS: Duration = Duration::from_secs(3600);

/// What `shoald cert` is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertOptions {
    /// Where the files go.
    pub dir: PathBuf,
    /// Names and addresses by which callers reach the node, beside those of the machine itself.
    pub hosts: Vec<String>,
    /// Callers that get a certificate.
    pub clients: Vec<String>,
    /// Days for which certificates hold.
    pub days: u16,
}

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// Whether it was made: else it was there already.
    pub ca_is_new: bool,
    /// Certificate and key of the node.
    pub server: (PathBuf, PathBuf),
    /// Certificates and keys of callers.
    pub clients: Vec<(PathBuf, PathBuf)>,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Certificates are there that no authority in the folder signed.
    #[error("{} is there, but no ca.crt and ca.key beside it: name another folder", .0.display())]
    Foreign(PathBuf),
    /// The authority of the folder cannot be used.
    #[error("{}: {cause}", path.display())]
    Authority {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A name that no certificate can have.
    #[error("'{0}' is neither a host name nor an IP address")]
    Host(String),
    /// A name that no file can have.
    #[error("'{0}' is no name of a caller: letters, digits, '.', '_' and '-', not ca or server")]
    Client(String),
    /// The library refused.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl fmt::Display for Made {
    /// A line for each file: its path, and what it is for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let was = if self.ca_is_new { "" } else { ", as before" };
        writeln!(f, "{}  authority{was}: shoalctl --ca", self.ca.display())?;
        let (cert, key) = &self.server;
        writeln!(f, "{}  certificate of the node: shoald --tls-cert", cert.display())?;
        writeln!(f, "{}  its key: shoald --tls-key", key.display())?;
        for (cert, key) in &self.clients {
            writeln!(f, "{}  certificate of a caller: shoalctl --cert", cert.display())?;
            writeln!(f, "{}  its key: shoalctl --key", key.display())?;
        }
        Ok(())
    }
}

impl CertError {
    /// With which code the program ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Io { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
                Exit::NotAllowed
            }
            Self::Io { .. } | Self::Make(_) => Exit::Internal,
            Self::Foreign(_) => Exit::Precondition,
            Self::Authority { .. } => Exit::Invalid,
            Self::Host(_) | Self::Client(_) => Exit::Usage,
        }
    }
}

impl Default for CertOptions {
    fn default() -> Self {
        let dir = PathBuf::from(".");
        Self { dir, hosts: Vec::new(), clients: Vec::new(), days: DAYS_DEFAULT }
    }
}

/// Makes certificates: `ca.crt` and `ca.key`, unless the folder has them; `server.crt` and
/// `server.key`; and such a pair for each caller. What the authority signed before is replaced.
///
/// # Errors
/// [`CertError`].
pub fn make(options: &CertOptions, now: SystemTime) -> Result<Made, CertError> {
    let CertOptions { dir, hosts, clients, days } = options;
    let hosts = checked_hosts(hosts)?;
    if let Some(bad) = clients.iter().find(|name| !is_client(name)) {
        return Err(CertError::Client(bad.clone()));
    }
    let io = |cause| CertError::Io { path: dir.clone(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
    let (authority, ca_is_new) = authority(dir, now)?;
    let mut params = CertificateParams::new(hosts)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = sign(dir, "server", params, &authority, (now, *days))?;
    let mut made = Vec::new();
    for name in clients {
        let mut params = CertificateParams::new(Vec::new())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        made.push(sign(dir, name, params, &authority, (now, *days))?);
    }
    Ok(Made { ca: dir.join("ca.crt"), ca_is_new, server, clients: made })
}

/// The authority of the folder, and whether it was made.
fn authority(dir: &Path, now: SystemTime) -> Result<(Issuer<'static, KeyPair>, bool), CertError> {
    let (cert, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|cause| CertError::Io { path: path.to_owned(), cause })
    };
    if cert.exists() && key.exists() {
        let broken = |path: &Path, error: rcgen::Error| CertError::Authority {
            path: path.to_owned(),
            cause: error.to_string(),
        };
        let pair = KeyPair::from_pem(&read(&key)?).map_err(|error| broken(&key, error))?;
        let pem = read(&cert)?;
        let of_file = |cause: String| CertError::Authority { path: cert.clone(), cause };
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|error| of_file(format!("is no PEM: {error}")))?;
        in_force_until(&der, now).map_err(|fault| match fault {
            Fault::Malformed(cause) | Fault::NotInForce(cause) => of_file(cause),
        })?;
        let issuer = Issuer::from_ca_cert_der(&der, pair);
        return Ok((issuer.map_err(|error| broken(&cert, error))?, false));
    }
    for name in ["ca.crt", "ca.key", "server.crt", "server.key"] {
        if dir.join(name).exists() {
            return Err(CertError::Foreign(dir.join(name)));
        }
    }
    let mut params = CertificateParams::new(Vec::new())?;
    let pair = KeyPair::generate()?;
    let id = hex::encode(&params.key_identifier(&pair)[..4]);
    params.distinguished_name = named(&format!("shoal authority {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    hold(&mut params, now, CA_DAYS);
    let made = params.self_signed(&pair)?;
    put(&key, &pair.serialize_pem(), Readers::User)?;
    put(&cert, &made.pem(), Readers::All)?;
    Ok((Issuer::new(params, pair), true))
}

/// Makes a key and a certificate of it, and writes both.
fn sign(
    dir: &Path,
    name: &str,
    mut params: CertificateParams,
    authority: &Issuer<'static, KeyPair>,
    (now, days): (SystemTime, u16),
) -> Result<(PathBuf, PathBuf), CertError> {
    let (cert, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    params.distinguished_name = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    hold(&mut params, now, days);
    let pair = KeyPair::generate()?;
    let made = params.signed_by(&pair, authority)?;
    put(&key, &pair.serialize_pem(), Readers::User)?;
    put(&cert, &made.pem(), Readers::All)?;
    Ok((cert, key))
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn hold(params: &mut CertificateParams, now: SystemTime, days: u16) {
    params.not_before = (now - CLOCKS).into();
    params.not_after = (now + Duration::from_secs(u64::from(days) * 86_400)).into();
}

fn put(path: &Path, pem: &str, readers: Readers) -> Result<(), CertError> {
    let put = replace(path, pem.as_bytes(), readers);
    put.map_err(|cause| CertError::Io { path: path.to_owned(), cause })
}

/// The names of a node: those of the machine itself, then the others, each once.
fn checked_hosts(hosts: &[String]) -> Result<Vec<String>, CertError> {
    let mut names: Vec<String> = LOCAL.iter().map(|&name| name.to_owned()).collect();
    for host in hosts {
        let host = host.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(host);
        let plain = host.strip_prefix("*.").unwrap_or(host);
        let is_name = || DnsName::try_from(plain).is_ok();
        if host.parse::<IpAddr>().is_err() && !is_name() {
            return Err(CertError::Host(host.to_owned()));
        }
        if !names.iter().any(|known| known == host) {
            names.push(host.to_owned());
        }
    }
    Ok(names)
}

fn is_client(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(plain);
    fits && !name.starts_with('.') && !["ca", "server"].contains(&name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn options(dir: &Path) -> CertOptions {
        CertOptions {
            dir: dir.join("certs"),
            hosts: vec!["node1.example".to_owned(), "10.0.0.1".to_owned(), "[::1]".to_owned()],
            clients: vec!["ci".to_owned()],
            ..CertOptions::default()
        }
    }

    #[test]
    fn the_authority_is_made_once_and_keys_are_for_their_user() {
        let dir = tempfile::tempdir().unwrap();
        let (options, now) = (options(dir.path()), SystemTime::now());
        let made = make(&options, now).unwrap();
        assert!(made.ca_is_new);
        let (authority, server) = (fs::read(&made.ca).unwrap(), fs::read(&made.server.0).unwrap());
        let again = make(&options, now).unwrap();
        assert!(!again.ca_is_new);
        assert_eq!(fs::read(&made.ca).unwrap(), authority);
        assert_ne!(fs::read(&made.server.0).unwrap(), server);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&options.dir), 0o700);
        for key in ["ca.key", "server.key", "ci.key"] {
            assert_eq!(mode(&options.dir.join(key)), 0o600, "{key}");
        }
        assert_eq!(mode(&made.ca), 0o644);
    }

    #[test]
    fn certificates_of_somebody_else_are_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("server.key"), "theirs").unwrap();
        let options = CertOptions { dir: dir.path().to_owned(), ..CertOptions::default() };
        let refused = make(&options, SystemTime::now());
        assert!(matches!(refused, Err(CertError::Foreign(_))));
        assert_eq!(fs::read(dir.path().join("server.key")).unwrap(), b"theirs");
    }

    #[test]
    fn an_authority_that_is_in_force_no_longer_signs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (options, now) = (options(dir.path()), SystemTime::now());
        make(&options, now).unwrap();
        let later = now + Duration::from_secs(u64::from(CA_DAYS + 1) * 86_400);
        let refused = make(&options, later).unwrap_err().to_string();
        assert!(refused.contains("ca.crt: expired at "), "{refused}");
    }

    #[test]
    fn names_that_no_certificate_or_file_can_have_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for host in ["", "a b", "http://x", "10.0.0.1:7002", "*"] {
            let options = CertOptions { hosts: vec![host.to_owned()], ..options(dir.path()) };
            let refused = make(&options, SystemTime::now());
            assert!(matches!(refused, Err(CertError::Host(_))), "{host}");
        }
        for client in ["", "ca", "server", "../x", ".x"] {
            let options = CertOptions { clients: vec![client.to_owned()], ..options(dir.path()) };
            let refused = make(&options, SystemTime::now());
            assert!(matches!(refused, Err(CertError::Client(_))), "{client}");
        }
        assert!(!dir.path().join("certs").exists(), "nothing was made");
    }
}
