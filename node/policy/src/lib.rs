//! The Lua sandbox and contract of download policies.
//!
//! Lives here: loading a script, asking it, bounding it, and saying what went wrong. Never here: a
//! clock, a thread, a file, or the engine; the caller brings the measure of time
//! ([`budget::Budget`]) and takes what the script says ([`sink::Sink`]).
//!
//! [`load::ScriptSource`] → [`script::Script`] → [`script::Script::answer`],
//! [`script::Script::report`].

pub mod advice;
pub mod breaker;
pub mod budget;
pub mod failure;
pub mod fuzzing;
pub mod load;
pub mod measure;
pub mod params;
pub mod script;
pub mod shipped;
pub mod sink;
pub mod state;
pub mod status;
pub mod trial;
pub mod types;

mod extreme;
mod host;
mod loader;
mod sandbox;
mod shape;
mod suggest;
mod synthetic;
mod vm;

pub use host::FEATURES;
