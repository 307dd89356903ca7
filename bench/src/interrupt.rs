//! Whether the person at the terminal wants it to end. Loops that take long ask here, so that the
//! way out is the ordinary one, past every destructor. Never here: ending anything.

use std::sync::atomic::{AtomicBool, Ordering};

static HAPPENED: AtomicBool = AtomicBool::new(false);

/// Remembers SIGINT, SIGTERM and SIGHUP from here on.
///
/// # Errors
/// Where a handler is installed already.
pub(crate) fn install() -> anyhow::Result<()> {
    Ok(ctrlc::set_handler(|| HAPPENED.store(true, Ordering::Relaxed))?)
}

/// Whether one of them came.
pub(crate) fn happened() -> bool {
    HAPPENED.load(Ordering::Relaxed)
}

/// An error once one of them came.
///
/// # Errors
/// "interrupted".
pub(crate) fn check() -> anyhow::Result<()> {
    anyhow::ensure!(!happened(), "interrupted");
    Ok(())
}
