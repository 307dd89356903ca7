//! Asks a person before something is lost. Never here: what.

use crate::{failure::Failure, session::Session};

/// Goes on where `yes` was given, or where a person at a terminal says so. Elsewhere nobody can answer.
///
/// # Errors
/// Nobody can answer, or the answer is not yes: nothing is done then.
pub(crate) async fn confirm(
    s: &mut Session<'_>,
    yes: bool,
    question: &str,
    what: &str,
) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !s.io.terminals.stdin || !s.io.terminals.stderr {
        return Err(Failure::usage(format!("{what} asks first: --yes answers")));
    }
    s.ask(&format!("{question} [y/N]"));
    let answer = s.io.read_line().await.map_err(|e| Failure::stdio(&e))?;
    // The answer's time is not the node's.
    s.restart_clock();
    match answer.as_deref().map(str::trim) {
        Some("y" | "Y" | "yes" | "Yes" | "YES") => Ok(()),
        _ => Err(Failure::usage("nothing was done")),
    }
}
