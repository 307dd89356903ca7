//! `shoalctl` against a node that answers what each test wants.

mod api;
mod calls;
#[expect(clippy::unwrap_used, reason = "a test ends where the program does not answer")]
mod completion;
mod contexts;
mod coverage;
mod failures;
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its node fails")]
mod fake;
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where a format is broken")]
mod formats;
mod policies;
mod shell;
mod streams;
mod tokens;
mod watching;
