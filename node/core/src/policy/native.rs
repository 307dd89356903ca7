//! The native policies: Rust, no Lua involved.
