//! The tokio shell around the core's [`Session`](shoal_core::session::Session): one loop that owns
//! it, and the rooms that do what takes time.
//!
//! | file | what |
//! |---|---|
//! | `start` | the beginning: store, sockets, kept torrents |
//! | `handle` | the door for the control surface |
//! | `run` | the loop |
//! | `perform` | carrying out actions |
//! | `adding`, `opening` | torrents coming and going |
//! | `file_globs` | which files of a torrent patterns mean |
//! | `magnets` | magnet links: kept, followed, made torrents |
//! | `creation` | torrents being made |
//! | `fetching` | the buffers of pieces being fetched |
//! | `disk_rooms`, `piece_work` | the disk threads, and their work on received pieces |
//! | `checking` | checks of what is on the disk |
//! | `notices`, `conducts` | what is told and kept of what changed |
//! | `housekeeping` | commits, totals, looks at files: what the clock asks for |
//! | `policy` | the policy in force |
//! | `settings` | what an operator changes while the node runs |
//! | `meters` | what its rooms count |
//! | `event_hub`, `job_watch` | who follows what |
//! | `shutdown` | the end |
//!
//! Never here: a decision about peers or pieces, or gRPC.

mod adding;
mod checking;
mod conducts;
mod creation;
mod disk_rooms;
pub mod event_hub;
mod fetching;
pub mod file_globs;
pub mod handle;
mod housekeeping;
mod inbox;
pub mod job_watch;
pub mod magnets;
pub mod meters;
mod notices;
mod opening;
mod perform;
mod piece_work;
mod policy;
mod run;
pub mod settings;
pub mod shutdown;
pub mod start;
#[cfg(test)]
mod tests;
mod torrents;

pub use event_hub::{EventHub, NewEvent, NodeEvent, Subscription};
pub use handle::SessionHandle;
pub(crate) use notices::state_name;
pub use shutdown::ShutdownReport;
pub use start::{Running, SessionOptions, StartError, start};
