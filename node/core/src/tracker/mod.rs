//! The tracker's side of BitTorrent as values: what is announced and scraped, how it is spelt over
//! HTTP and UDP, and the registry that answers. Never here: a socket, a clock or a session.
//!
//! - [`announce`]: the request, the reply and their bounds
//! - [`query`]: a request as the query of a URL, and back
//! - [`reply`]: a reply as bencoded bytes, and back
//! - [`scrape`]: BEP 48
//! - [`labels`]: operator labels as bencoded bytes
//! - [`registry`]: the swarms of a tracker
//! - [`udp`]: requests and replies as packets

pub mod announce;
pub mod labels;
pub mod query;
pub mod registry;
pub mod reply;
pub mod scrape;
pub mod udp;
