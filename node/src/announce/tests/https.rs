//! HTTPS trackers: those that are who they say, and those that are not.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

const WELL: &[u8] = b"d8:intervali9e5:peers0:e";

/// An authority made for a test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    fn announcer(&self) -> Announcer {
        let roots = vec![self.root.clone()];
        Announcer::new(AnnouncerConfig { roots, ..Default::default() }).unwrap()
    }

    /// A server with a certificate for `host`, signed by this authority.
    async fn server(&self, host: &str, answer: Vec<u8>) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        serve(cert.der().clone(), &key, answer).await
    }
}

/// Serves the same bytes over TLS to everyone who sent a whole head.
async fn serve(cert: CertificateDer<'static>, key: &KeyPair, answer: Vec<u8>) -> SocketAddr {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![cert], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            read_head(&mut stream).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    });
    addr
}

fn unreachable_cause(result: Result<AnnounceReply, AnnounceError>) -> String {
    let error = result.unwrap_err();
    let AnnounceError::Unreachable { cause, .. } = error else { panic!("{error:?}") };
    cause
}

#[tokio::test]
async fn a_tracker_with_a_good_certificate_is_announced_to() {
    let authority = Authority::new();
    let addr = authority.server("127.0.0.1", answer("200 OK", "", WELL)).await;
    let url = format!("https://{addr}/announce?passkey=secret");
    let reply = authority.announcer().announce(&url, &request()).await.unwrap();
    assert_eq!(reply.interval_s, 9);
    let addr = authority.server("localhost", answer("200 OK", "", b"d5:filesdee")).await;
    let url = format!("https://localhost:{}/announce", addr.port());
    authority.announcer().scrape(&url, &[InfoHash([1; 20])]).await.unwrap();
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    let addr = serve(cert.der().clone(), &key, answer("200 OK", "", WELL)).await;
    let url = format!("https://{addr}/announce?passkey=secret");
    let cause = unreachable_cause(announcer().announce(&url, &request()).await);
    assert_eq!(cause, "invalid peer certificate: UnknownIssuer");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let addr = Authority::new().server("127.0.0.1", answer("200 OK", "", WELL)).await;
    let url = format!("https://{addr}/announce");
    let cause = unreachable_cause(Authority::new().announcer().announce(&url, &request()).await);
    assert!(cause.starts_with("invalid peer certificate: "), "{cause}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let addr = authority.server("tracker.example", answer("200 OK", "", WELL)).await;
    let url = format!("https://localhost:{}/announce", addr.port());
    let cause = unreachable_cause(authority.announcer().announce(&url, &request()).await);
    assert!(cause.contains("not valid for name \"localhost\""), "{cause}");
    assert!(cause.contains("tracker.example"), "{cause}");
}

#[tokio::test]
async fn a_server_without_tls_is_unreachable() {
    let (addr, _told) = server(answer("200 OK", "", WELL)).await;
    // It waits for a whole head, which TLS never sends: a timeout ends that.
    let timeout = Duration::from_millis(200);
    let announcer = Announcer::new(AnnouncerConfig { timeout, ..Default::default() }).unwrap();
    let url = format!("https://{addr}/announce");
    unreachable_cause(announcer.announce(&url, &request()).await);
}

#[tokio::test]
async fn redirects_lead_to_https_and_never_back() {
    let authority = Authority::new();
    let to = |url: String| answer("302 Found", &format!("Location: {url}\r\n"), b"");
    let last = authority.server("127.0.0.1", answer("200 OK", "", WELL)).await;
    let (plain, _told) = server(answer("200 OK", "", WELL)).await;
    let (up, _told) = server(to(format!("https://{last}/announce"))).await;
    let down = authority.server("127.0.0.1", to(format!("http://{plain}/announce"))).await;
    let (up_down, _told) = server(to(format!("https://{down}/announce"))).await;
    let along = authority.server("127.0.0.1", to(format!("https://{last}/announce"))).await;
    let announcer = authority.announcer();
    for url in [format!("http://{up}/announce"), format!("https://{along}/announce")] {
        announcer.announce(&url, &request()).await.unwrap();
    }
    for url in [format!("https://{down}/announce"), format!("http://{up_down}/announce")] {
        let error = announcer.announce(&url, &request()).await.unwrap_err();
        let AnnounceError::Redirect { cause, .. } = error else { panic!("{error:?}") };
        assert_eq!(cause, "leads from HTTPS to HTTP, where anyone can listen");
    }
}
