//! Real BitTorrent clients in one swarm with our nodes: they download from us, we download from
//! them, byte for byte; who reads whose torrent files; what libtorrent makes of odd ones; peers that
//! talk nonsense. A client is a process of its own, ended by its id. Never here: what our own nodes
//! do among themselves.
//!
//! [`cells`] is the table: aria2, Transmission, libtorrent × they leech, they seed × our tracker and
//! opentracker, HTTP and UDP × three shapes of torrents. [`mixed`] is one swarm of everything. As
//! root they run in network namespaces, as anybody else on loopback without Transmission. By hand:
//!
//! ```text
//! cargo build -p shoal-node && cargo test -p shoal --test interop -- --list
//! cargo test -p shoal --test interop -- cells::aria2_leeches --nocapture
//! ```
//!
//! What cannot be run is left out, which is said; `SHOAL_REQUIRE_{ARIA2,TRANSMISSION,LIBTORRENT,
//! OPENTRACKER,BINARIES,NAMESPACES}=1` make that a failure.

#[expect(dead_code, reason = "whole-node tests use more of it")]
#[path = "../e2e/harness.rs"]
mod harness;

#[expect(dead_code, reason = "whole-node tests use more of it")]
#[path = "../e2e/binaries.rs"]
mod binaries;
#[expect(dead_code, reason = "whole-node tests look at what was sent")]
#[path = "../e2e/web_server.rs"]
mod web_server;

#[expect(dead_code, reason = "our own column is checked by the tests of the core")]
#[path = "../../node/core/tests/torrents/kinds/mod.rs"]
mod kinds;

mod aria2;
mod cells;
mod clients;
mod exchange;
mod files;
mod magnets;
mod mixed;
mod net;
mod odd;
mod storm;
mod swarm;
mod trees;
mod web_seeds;
