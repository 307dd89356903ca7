//! Who may call, and how calls are kept from other eyes. Never here: a call, a method, a socket.
//!
//! - [`scope`]: what a token may be used for
//! - [`tokens`]: the tokens of a node, in memory and on disk
//! - [`tls`]: certificates read and judged before anything listens
//! - [`cert`]: certificates made, for whoever has none

pub mod cert;
mod private_file;
pub mod scope;
pub mod tls;
pub mod tokens;
