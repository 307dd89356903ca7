//! The tracker's side of BitTorrent as values: what is announced and what is answered. Never
//! here: a socket, a clock or a session.

pub mod announce;
