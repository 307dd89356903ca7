//! Real BitTorrent clients.
