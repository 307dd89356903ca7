//! Whom HTTPS trackers are believed to be: the certificate must be signed by an authority that
//! browsers trust, for the host of the URL. Never here: HTTP.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};

use super::AnnounceError;

/// TLS 1.2 and 1.3 as rustls has them by default, with the roots of Mozilla's programme, which come
/// with the program, and these.
///
/// # Errors
/// [`AnnounceError::Client`] for a root that is no certificate.
pub(super) fn client_config(
    roots: &[CertificateDer<'static>],
) -> Result<ClientConfig, AnnounceError> {
    let failed = |error: rustls::Error| AnnounceError::Client(error.to_string());
    let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in roots {
        store.add(root.clone()).map_err(failed)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}
