//! The pure state machines of shoal: what the protocol decides, without anyone who carries it out.
//!
//! Lives here: metainfo, the peer wire and tracker codecs, the download engine, the session and
//! the tracker's registry. Never here: a clock, a socket, a file, a thread, an async function or
//! randomness other than the seed a caller passes in.

pub mod address;
pub mod bencode;
pub mod bitfield;
pub mod config;
pub mod fuzzing;
pub mod ids;
pub mod magnet;
pub mod metainfo;
pub mod peer;
pub mod policy;
pub mod rate;
pub mod rng;
pub mod session;
pub mod time;
pub mod torrent;
pub mod tracker;
pub mod wire;
