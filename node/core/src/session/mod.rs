//! The session: one machine for all torrents, connections, announces and jobs of a node.
//!
//! [`Session::handle`] takes one fact and appends what is to be done; [`Session::next_deadline`] is
//! the single wake-up. Nothing here waits, reads a clock or touches payload.

pub mod action;
pub mod command;
pub mod event;
pub mod fault;
pub mod notice;
pub mod view;

pub use action::{Action, Lease, Serving};
pub use event::Event;

use std::sync::Arc;

use crate::{
    bitfield::Bitfield,
    config::Config,
    ids::{JobId, PeerId, PieceIndex, TorrentId},
    metainfo::Metainfo,
    policy::{Labels, native::Native},
    time::Timestamp,
};
use view::{ConnView, JobView, PeerSetView, PieceState, TorrentView, TrackerView};

/// By whom peers are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chooser {
    /// In place, by this native policy.
    Native(Native),
    /// By consultation ([`Action::Consult`]); the default native policy where that fails.
    Consulted,
}
