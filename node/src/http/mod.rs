//! What rooms share that speak HTTP: whom HTTPS servers are believed to be, words for what went wrong
//! that give no secret away, and ([`server`]) connections within their limits. Never here: a request,
//! or what one is answered.

pub(crate) mod server;

use std::{error::Error, sync::Arc};

use reqwest::Url;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};

/// TLS 1.2 and 1.3 as rustls has them by default, with the roots of Mozilla's programme, which come
/// with the program, and these: a certificate must be signed by one of them, for the host of the
/// URL.
///
/// # Errors
/// Where a root is no certificate.
pub(crate) fn client_config(
    roots: &[CertificateDer<'static>],
) -> Result<ClientConfig, rustls::Error> {
    let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in roots {
        store.add(root.clone())?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

/// Host and port of a URL. The rest may hold a secret and stays out of errors and logs.
pub(crate) fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The innermost cause of an error: reqwest's own words name the whole URL.
pub(crate) fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
