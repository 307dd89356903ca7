//! The tracker role: HTTP and UDP around `shoal-core`'s registry, on threads and a runtime of their
//! own, so that neither the session nor the disk can hold it. Never here: what an announce is answered.
//!
//! - [`server`]: start, views, events, shutdown
//! - [`shared`]: the registry under its lock, what of its events is told
//! - [`meter`]: what is counted
//! - `http`: the two paths
//! - `udp`: packets, and connection ids

mod http;
pub mod meter;
pub mod server;
pub mod shared;
#[cfg(test)]
mod tests;
mod udp;

pub use self::{
    server::{StartError, TrackerConfig, TrackerServer},
    shared::News,
};
