//! A look at the node, again and again until it is interrupted or fails. Never here: a look.

use std::time::Duration;

use crate::{cli::Command, commands, failure::Failure, human, session::Session};

/// Carries a command out every so often: on a terminal each look takes the place of the one before,
/// elsewhere it stands behind it. Ends with the first failure.
pub(crate) async fn look(
    s: &mut Session<'_>,
    every: Duration,
    command: &Command,
) -> Result<(), Failure> {
    let ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    let foot = format!("every {}, Ctrl-C ends", human::millis(ms));
    loop {
        s.look_again()?;
        let done = Box::pin(commands::carry_out(s, command.clone())).await;
        s.redraw(&foot)?;
        done?;
        tokio::time::sleep(every).await;
    }
}
