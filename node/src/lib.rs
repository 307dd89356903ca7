//! The tokio shell of a shoal node: carries out what `shoal-core` decides.

pub mod announce;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dev;
pub mod discovery;
pub mod disk;
pub mod exit;
mod http;
pub mod log;
pub mod man;
pub mod metrics;
pub mod net;
pub mod node;
pub mod policy_host;
pub mod rpc;
pub mod session;
pub mod simulation;
pub mod supervise;
pub mod tracker;
pub mod webseed;
