//! The Lua sandbox and contract of download policies.
//!
//! Lives here: loading a script, asking it, bounding it, and saying what went wrong. Never here: a
//! clock, a thread, a file, or the engine; the caller brings the measure of time
//! ([`budget::Budget`]) and takes what the script says ([`sink::Sink`]).
//!
//! [`load::ScriptSource`] → [`script::Script`] → [`script::Script::answer`].

pub mod breaker;
pub mod budget;
pub mod failure;
pub mod load;
pub mod params;
pub mod script;
pub mod shipped;
pub mod sink;
pub mod status;

mod host;
mod sandbox;
mod shape;
mod suggest;
mod synthetic;
mod vm;

pub use host::FEATURES;
