//! The policy host as its caller sees it: the contract, the library, the sandbox under attack, and
//! the shipped scripts.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests may, and clippy knows only functions marked as tests"
)]

mod contract;
mod events;
mod fuzzed;
mod hostile;
mod hostile_hooks;
mod keeping;
mod library;
mod shipped;
mod support;
mod trials;
mod types;
mod views;
