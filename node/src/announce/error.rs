//! Why an announce failed, in words an operator acts on.

use shoal_core::{
    config::ANNOUNCE_REPLY_LEN_MAX,
    session::event::AnnounceFailure,
    tracker::{
        announce::{Failure, RetryIn},
        query::SCRAPE_MAX,
        reply::ReplyError,
        udp::PacketError,
    },
};

/// Why an announce or a scrape got no reply. An *address* is host and port: the rest of an announce
/// URL may be a secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The URL cannot be read.
    #[error("{url:?} is no announce URL: {cause}")]
    InvalidUrl {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The URL is neither HTTP, HTTPS nor UDP.
    #[error("{scheme} trackers are not supported: {address}")]
    UnsupportedScheme {
        /// `WSS` and the like.
        scheme: String,
        /// The tracker.
        address: String,
    },
    /// Nobody answered, in time or at all.
    #[error("tracker {address} is unreachable: {cause}")]
    Unreachable {
        /// The tracker, or where it redirected to.
        address: String,
        /// Why.
        cause: String,
    },
    /// It redirects for ever, or to where we cannot follow.
    #[error("tracker {address} redirects: {cause}")]
    Redirect {
        /// Where it led.
        address: String,
        /// What is wrong with that.
        cause: String,
    },
    /// It answered with another status than success.
    #[error("tracker {address} answered HTTP status {status}")]
    Status {
        /// The tracker.
        address: String,
        /// The status.
        status: u16,
    },
    /// The reply is longer than [`ANNOUNCE_REPLY_LEN_MAX`].
    #[error("tracker {address} answered more than {ANNOUNCE_REPLY_LEN_MAX} bytes")]
    TooLong {
        /// The tracker.
        address: String,
    },
    /// The reply makes no sense.
    #[error("tracker {address} answered nonsense: {error}")]
    Malformed {
        /// The tracker.
        address: String,
        /// What is wrong with it.
        error: ReplyError,
    },
    /// The reply is no packet of BEP 15, or not one that was asked for.
    #[error("tracker {address} answered nonsense: {error}")]
    MalformedPacket {
        /// The tracker.
        address: String,
        /// What is wrong with it.
        error: PacketError,
    },
    /// The tracker said no. From the wire: sanitise before a terminal.
    #[error("tracker refused: {0}")]
    Refused(Failure),
    /// The announce URL leads to no scrape URL (BEP 48).
    #[error("the tracker answers no scrapes")]
    NoScrape,
    /// More torrents than one scrape takes.
    #[error("{0} torrents in a scrape, above {SCRAPE_MAX}")]
    TooManyTorrents(usize),
    /// The system gives no means for an HTTP client.
    #[error("no HTTP client: {0}")]
    Client(String),
}

impl From<AnnounceError> for AnnounceFailure {
    /// As the session wants to know it: nobody there, refused, or nonsense.
    fn from(error: AnnounceError) -> Self {
        let cause = error.to_string();
        match error {
            AnnounceError::Refused(failure) => Self::Refused {
                retry_in_s: failure.retry_in.map(|retry_in| match retry_in {
                    RetryIn::Minutes(minutes) => minutes.saturating_mul(60),
                    RetryIn::Never => u32::MAX,
                }),
                reason: printable(&failure.reason),
            },
            AnnounceError::Status { .. }
            | AnnounceError::TooLong { .. }
            | AnnounceError::Malformed { .. }
            | AnnounceError::MalformedPacket { .. }
            | AnnounceError::NoScrape => Self::Malformed { cause },
            // Whoever hears of it names the tracker.
            AnnounceError::Unreachable { cause, .. } => Self::Unreachable { cause },
            AnnounceError::InvalidUrl { .. }
            | AnnounceError::UnsupportedScheme { .. }
            | AnnounceError::Redirect { .. }
            | AnnounceError::TooManyTorrents(_)
            | AnnounceError::Client(_) => Self::Unreachable { cause },
        }
    }
}

/// Text from the wire without what a terminal would act on.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
