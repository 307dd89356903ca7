//! `shoalctl` against a node that answers what each test wants.

mod calls;
mod coverage;
mod failures;
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its node fails")]
mod fake;
mod policies;
mod shell;
mod streams;
mod tokens;
