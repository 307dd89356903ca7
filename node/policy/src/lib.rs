//! The Lua sandbox and contract of download policies.
