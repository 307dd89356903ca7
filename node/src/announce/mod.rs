//! Announces and scrapes over HTTP, HTTPS and UDP, as a client. Never here: when to announce, or what of it.

mod error;
#[cfg(test)]
mod tests;
mod udp;

use std::{net::IpAddr, time::Duration};

pub use error::AnnounceError;
use reqwest::{Client, Response, Url, redirect};
use rustls::pki_types::CertificateDer;
use shoal_core::{
    config::ANNOUNCE_REPLY_LEN_MAX,
    ids::InfoHash,
    tracker::{
        announce::{AnnounceReply, AnnounceRequest},
        query::{SCRAPE_MAX, scrape_query},
        reply::ReplyError,
        scrape::{ScrapeReply, scrape_url},
    },
};

use crate::http::{self, address};

/// How announces go out. `Default` is the truth.
#[derive(Clone, Debug)]
pub struct AnnouncerConfig {
    /// The address they go out from; `None` or an unspecified one leaves it to the system. Trackers
    /// of the other family are reached all the same.
    pub local_address: Option<IpAddr>,
    /// How long an announce may take in all (default 30 s).
    pub timeout: Duration,
    /// How long its connection may take (default 10 s).
    pub connect_timeout: Duration,
    /// How long the first packet to a UDP tracker may go without a reply before it is sent again,
    /// twice that the next time and so on (default 15 s, BEP 15).
    pub retransmit: Duration,
    /// Authorities whose certificates are believed beside those that browsers trust (default none).
    pub roots: Vec<CertificateDer<'static>>,
}

/// A client of HTTP and UDP trackers. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Announcer {
    client: Client,
    udp: udp::Client,
    config: AnnouncerConfig,
}

/// The most redirects of one announce.
const REDIRECTS_MAX: usize = 5;

impl Default for AnnouncerConfig {
    fn default() -> Self {
        Self {
            local_address: None,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            retransmit: Duration::from_secs(15),
            roots: Vec::new(),
        }
    }
}

impl Announcer {
    /// A client. Proxies of the environment are not used: peers would be told the proxy's address.
    ///
    /// # Errors
    /// [`AnnounceError::Client`] where the system gives no means for one.
    pub fn new(config: AnnouncerConfig) -> Result<Self, AnnounceError> {
        let tls = http::client_config(&config.roots);
        let tls = tls.map_err(|error| AnnounceError::Client(error.to_string()))?;
        let client = Client::builder()
            .user_agent(concat!("shoal/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .http1_only()
            .tls_backend_preconfigured(tls)
            .timeout(config.timeout)
            .connect_timeout(config.connect_timeout)
            // opentracker closes a connection after its reply without saying so: a request that is
            // on its way on it then is lost.
            .pool_max_idle_per_host(0)
            .local_address(config.local_address.filter(|ip| !ip.is_unspecified()))
            .redirect(redirect::Policy::custom(follow))
            .build();
        let client = client.map_err(|error| AnnounceError::Client(http::cause(&error)))?;
        Ok(Self { client, udp: udp::Client::new(&config), config })
    }

    /// Announces to the tracker of this URL. Dropping the future gives the announce up.
    ///
    /// # Errors
    /// [`AnnounceError`]: one variant for each way it fails.
    pub async fn announce(
        &self,
        url: &str,
        request: &AnnounceRequest,
    ) -> Result<AnnounceReply, AnnounceError> {
        match Tracker::of(url)? {
            Tracker::Http(url) => {
                let url = with_query(url, &request.to_query());
                self.fetch(url, AnnounceReply::decode).await
            }
            Tracker::Udp(target) => self.udp.announce(&target, request).await,
        }
    }

    /// Scrapes the tracker of this *announce* URL for at most [`SCRAPE_MAX`] torrents.
    ///
    /// # Errors
    /// [`AnnounceError`]; also where BEP 48 knows no scrape URL for this announce URL over HTTP, or
    /// there are too many torrents.
    pub async fn scrape(
        &self,
        announce_url: &str,
        info_hashes: &[InfoHash],
    ) -> Result<ScrapeReply, AnnounceError> {
        if info_hashes.len() > SCRAPE_MAX {
            return Err(AnnounceError::TooManyTorrents(info_hashes.len()));
        }
        if let Tracker::Udp(target) = Tracker::of(announce_url)? {
            return self.udp.scrape(&target, info_hashes).await;
        }
        let url = scrape_url(announce_url).ok_or(AnnounceError::NoScrape)?;
        let url = with_query(parse(&url)?, &scrape_query(info_hashes));
        self.fetch(url, ScrapeReply::decode).await
    }

    async fn fetch<T>(
        &self,
        url: Url,
        decode: impl FnOnce(&[u8]) -> Result<T, ReplyError>,
    ) -> Result<T, AnnounceError> {
        let asked = address(&url);
        let failed = |error: &reqwest::Error| self.failed(&asked, error);
        let mut response = self.client.get(url).send().await.map_err(|error| failed(&error))?;
        let (status, address) = (response.status(), address(response.url()));
        let body = read_body(&mut response).await.map_err(|error| failed(&error))?;
        let Some(body) = body else { return Err(AnnounceError::TooLong { address }) };
        // Some trackers refuse under another status than 200, in the same words.
        match decode(&body) {
            Err(ReplyError::Refused(failure)) => Err(AnnounceError::Refused(failure)),
            _ if !status.is_success() => {
                Err(AnnounceError::Status { address, status: status.as_u16() })
            }
            Err(error) => Err(AnnounceError::Malformed { address, error }),
            Ok(reply) => Ok(reply),
        }
    }

    fn failed(&self, asked: &str, error: &reqwest::Error) -> AnnounceError {
        let address = error.url().map_or_else(|| asked.to_owned(), address);
        if error.is_redirect() {
            return AnnounceError::Redirect { address, cause: http::cause(error) };
        }
        let cause = match (error.is_timeout(), error.is_connect()) {
            (true, true) => format!("no connection within {:?}", self.config.connect_timeout),
            (true, false) => format!("no reply within {:?}", self.config.timeout),
            (false, _) => http::cause(error),
        };
        AnnounceError::Unreachable { address, cause }
    }
}

/// The body as it arrives; `None` where it is longer than [`ANNOUNCE_REPLY_LEN_MAX`], of which no
/// more is read.
async fn read_body(response: &mut Response) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANNOUNCE_REPLY_LEN_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// A tracker, by the scheme of its URL.
enum Tracker {
    Http(Url),
    Udp(udp::Target),
}

impl Tracker {
    fn of(url: &str) -> Result<Self, AnnounceError> {
        let parsed = parse(url)?;
        let address = address(&parsed);
        match parsed.scheme() {
            "http" | "https" => Ok(Self::Http(parsed)),
            "udp" => {
                let target = udp::Target::of(&parsed, address);
                target.map(Self::Udp).map_err(|cause| invalid(url, cause))
            }
            scheme => {
                let scheme = scheme.to_ascii_uppercase();
                Err(AnnounceError::UnsupportedScheme { scheme, address })
            }
        }
    }
}

fn parse(url: &str) -> Result<Url, AnnounceError> {
    Url::parse(url.trim()).map_err(|error| invalid(url, error.to_string()))
}

fn invalid(url: &str, cause: String) -> AnnounceError {
    AnnounceError::InvalidUrl { url: url.to_owned(), cause }
}

/// The URL of a request: that of the tracker, whose own query (a passkey, say) comes first.
fn with_query(mut url: Url, query: &str) -> Url {
    url.set_fragment(None);
    let query = match url.query().filter(|own| !own.is_empty()) {
        Some(own) => format!("{}&{query}", own.trim_end_matches('&')),
        None => query.to_owned(),
    };
    url.set_query(Some(&query));
    url
}

fn follow(attempt: redirect::Attempt) -> redirect::Action {
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error(format!("more than {REDIRECTS_MAX} redirects"));
    }
    let was_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    match attempt.url().scheme() {
        "http" if was_https => attempt.error("leads from HTTPS to HTTP, where anyone can listen"),
        "http" | "https" => attempt.follow(),
        scheme => {
            let scheme = scheme.to_ascii_uppercase();
            attempt.error(format!("leads to {scheme}, which is not supported"))
        }
    }
}
