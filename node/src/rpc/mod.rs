//! The control surface: `shoal.v1` over gRPC. It sees the session's handle and the tracker's, and
//! holds no state of its own beside calls in flight.
//!
//! - [`status`]: the one table from domain errors to codes and reasons
//! - [`select`], [`page`], [`field`], [`roots`]: what requests may say
//! - [`socket`]: the listeners

pub mod field;
pub mod page;
pub mod roots;
pub mod select;
pub mod socket;
pub mod status;
