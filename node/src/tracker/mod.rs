//! The tracker role: HTTP around `shoal-core`'s registry, on a thread and a runtime of its own, so
//! that neither the session nor the disk can hold it. Never here: what an announce is answered.
//!
//! - [`server`]: start, views, events, shutdown
//! - `http`: connections and their limits, the two paths

mod http;
pub mod server;
#[cfg(test)]
mod tests;

pub use server::{StartError, TrackerConfig, TrackerServer};
