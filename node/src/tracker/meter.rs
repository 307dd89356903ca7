//! What the tracker was asked and what it answered, since the start. Never here: by whom, or about
//! which torrent.

use prometheus_client::metrics::counter::Counter;

/// The requests of both ways.
#[derive(Clone, Debug, Default)]
pub struct TrackerMeter {
    /// Over HTTP.
    pub http: WayMeter,
    /// Over UDP.
    pub udp: WayMeter,
}

/// The requests of one way, each a counter of its own: a flood of packets is counted without a
/// look-up.
#[derive(Clone, Debug, Default)]
pub struct WayMeter {
    /// Announces.
    pub announce: Counted,
    /// Scrapes.
    pub scrape: Counted,
    /// Connection ids (BEP 15): given, or found to be another's, too old or made up.
    pub connect: Counted,
    /// What is no request; over UDP it is not answered, or refused where its sender is known.
    pub malformed: Counter,
}

/// Requests of one kind.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Answered.
    pub ok: Counter,
    /// Refused.
    pub refused: Counter,
}

impl Counted {
    /// Counts a request by its end.
    pub(super) fn count<T, E>(&self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.ok.inc(),
            Err(_) => self.refused.inc(),
        };
    }
}
