//! What the peer sockets carried since the start, after handshakes. Connections add once a turn,
//! never by message or block. Never here: whose bytes they were.

use prometheus_client::metrics::counter::Counter;

/// Bytes of all connections, those that are gone included.
#[derive(Clone, Debug, Default)]
pub struct NetMeter {
    /// From peers.
    pub received: Traffic,
    /// To peers.
    pub sent: Traffic,
}

/// Bytes of one direction.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Of pieces, wanted or not.
    pub payload: Counter,
    /// Everything else.
    pub protocol: Counter,
}

impl Traffic {
    /// Adds bytes, of which so many were payload.
    pub(super) fn add(&self, all: usize, payload: usize) {
        if all > 0 {
            self.payload.inc_by(payload as u64);
            self.protocol.inc_by(all.saturating_sub(payload) as u64);
        }
    }
}
