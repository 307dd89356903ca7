//! A deterministic simulator of swarms: real sessions, real policies and the real tracker in a
//! virtual world of links, disks and time. The same plan and seed give the same run on every
//! machine.
//!
//! [`plan::Plan`] → [`run::Run`] → [`outcome::Outcome`] → [`report::Report`]; [`command::Command`]
//! goes all of that way.
//!
//! Never here: a clock, a file, a thread, or a rule of the engine.

mod checks;
pub mod command;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod report;
pub mod run;
mod trace;
mod world;
