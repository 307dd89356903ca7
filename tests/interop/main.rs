//! Real BitTorrent clients in one swarm with our nodes, over loopback: they download from us, we
//! download from them, byte for byte; what libtorrent makes of odd torrent files; peers that talk
//! nonsense. A client is a process of its own, ended by its id. Never here: what our own nodes do
//! among themselves.

#[expect(dead_code, reason = "whole-node tests use more of it")]
#[path = "../e2e/harness.rs"]
mod harness;

#[expect(dead_code, reason = "whole-node tests look at what was sent")]
#[path = "../e2e/web_server.rs"]
mod web_server;

#[expect(dead_code, reason = "our own column is checked by the tests of the core")]
#[path = "../../node/core/tests/torrents/kinds/mod.rs"]
mod kinds;

mod aria2;
mod exchange;
mod odd;
mod storm;
mod trees;
mod web_seeds;
