//! The peer wire (BEP 3, 6, 10 and the extension `shoal`): bytes to messages and back.
//!
//! [`handshake`] opens a connection, [`frame`] cuts the stream into messages and checks lengths
//! before anything is buffered, [`message`] is what they say, [`extended`] what rides on them,
//! [`metadata`] and [`pex`] two such riders, [`fault`] what is wrong with a peer and its consequence,
//! [`terms`] which messages it knows. [`local`] is no message of a connection: the datagram of local
//! discovery.
//! Never here: a socket, or the state of a connection. Payload of a `piece` message is never decoded:
//! it goes straight to its buffer.

pub mod extended;
pub mod fault;
pub mod frame;
pub mod handshake;
pub mod local;
pub mod message;
pub mod metadata;
pub mod pex;
pub mod terms;

#[cfg(test)]
mod tests;

pub use self::{
    extended::{ExtendedHandshake, Extension, ShoalMessage, ShoalOffer},
    fault::{Consequence, Incompatible, InvalidMessage, Misbehaved, PeerFault},
    frame::{FrameLimits, Head, Next},
    handshake::Handshake,
    local::{LocalAnnounce, LocalError},
    message::{BlockRange, Message, MessageKind},
    metadata::MetadataMessage,
    pex::{PexMessage, PexPeer},
    terms::Terms,
};
