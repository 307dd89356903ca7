//! The control surface: `shoal.v1` over gRPC. It sees the session's handle and the tracker's, and
//! holds no state of its own beside calls in flight.
//!
//! - [`context`]: what every service stands on
//! - `peer`, `look`, `torrent`, `node`, `settings`, `events`, `tracker`, `policy`, `tokens`: the
//!   services
//! - [`access`]: the one table from methods to scopes
//! - [`gate`]: who is let in, before any service
//! - `follow`: a job as a stream
//! - [`status`]: the one table from domain errors to codes and reasons
//! - [`select`], [`page`], [`field`], [`roots`]: what requests may say
//! - `complete`: deadlines and details of errors, around all services
//! - `message`: views as messages
//! - [`socket`], [`serve`]: the listeners, and serving on them
//! - [`calls`]: every call counted, timed and told

pub mod access;
pub mod calls;
mod complete;
pub mod context;
pub mod events;
pub mod field;
mod follow;
pub mod gate;
mod look;
mod message;
mod node;
pub mod page;
mod peer;
pub mod policy;
pub mod roots;
pub mod select;
pub mod serve;
mod settings;
pub mod socket;
pub mod status;
mod tokens;
mod torrent;
mod tracker;
