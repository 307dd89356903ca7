//! The tokio shell of a shoal node: carries out what `shoal-core` decides.

pub mod announce;
pub mod config;
pub mod disk;
pub mod exit;
pub mod tracker;
