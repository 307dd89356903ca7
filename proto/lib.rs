//! Stubs of `shoal.v1`, generated from `proto/shoal/v1/*.proto`, and a way to a node.
//!
//! [`v1`] holds the messages, the clients and the server traits; [`client::Connect`] makes a connection
//! to a node from an endpoint such as `unix:///run/shoal/shoald.sock` or `https://10.0.0.1:7002`, a token
//! and certificates; [`watch::watch_with_resume`] follows its events over whatever happens to the
//! connection.

pub mod client;
pub mod watch;

/// The package `shoal.v1`: every message, client and server trait.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("shoal.v1");

    /// The encoded `FileDescriptorSet` of the package and its imports, without comments.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shoal.v1.bin"));

    /// The same with comments, for whoever explains the API.
    pub const DESCRIPTOR_SET_COMMENTED: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/shoal.v1.commented.bin"));
}

#[cfg(test)]
mod baseline;

/// The `domain` of every `google.rpc.ErrorInfo` that a node sends.
pub const ERROR_DOMAIN: &str = "shoal";
