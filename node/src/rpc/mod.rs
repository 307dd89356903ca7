//! The control surface: `shoal.v1` over gRPC. It sees the session's handle and the tracker's, and
//! holds no state of its own beside calls in flight.
//!
//! - [`context`]: what every service stands on
//! - `peer`, `look`, `torrent`, `node`, `settings`, `events`, `tracker`, `policy`: the services
//! - `follow`: a job as a stream
//! - [`status`]: the one table from domain errors to codes and reasons
//! - [`select`], [`page`], [`field`], [`roots`]: what requests may say
//! - `complete`: deadlines and details of errors, around all services
//! - `message`: views as messages
//! - [`socket`], [`serve`]: the listeners, and serving on them

mod complete;
pub mod context;
pub mod events;
pub mod field;
mod follow;
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
mod torrent;
mod tracker;
