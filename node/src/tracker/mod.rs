//! The tracker role: HTTP and UDP around `shoal-core`'s registry, on a thread and a runtime of its
//! own, so that neither the session nor the disk can hold it. Never here: what an announce is answered.
//!
//! - [`server`]: start, views, events, shutdown
//! - `http`: connections and their limits, the two paths
//! - `udp`: packets, and connection ids

mod http;
pub mod server;
#[cfg(test)]
mod tests;
mod udp;

pub use server::{StartError, TrackerConfig, TrackerServer};
