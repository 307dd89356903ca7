//! How shells ask for candidates: a script that registers with the shell, and answers to it. Never
//! here: what the candidates are.

use std::{ffi::OsString, io, sync::Arc};

use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Zsh};

use super::{Asker, Reach, tree};
use crate::{cli::CompletionShell, places::Places};

/// The variable by which a shell's script asks.
const VARIABLE: &str = "_SHOALCTL_COMPLETE";

/// Name of the program.
const NAME: &str = "shoalctl";

/// Answers a shell that asks for candidates, on standard output; `false` where none asks. To be called
/// first of all, while the process has one thread.
///
/// # Errors
/// Standard output fails, or a shell asks that is not known.
pub fn complete(args: &[OsString]) -> io::Result<bool> {
    // What stands behind `--` is the line so far.
    let words = args.iter().skip_while(|word| *word != "--").skip(1).cloned().collect();
    let asker = Arc::new(Asker::new(Reach::Line { words, places: Places::of_user() }));
    let current_dir = std::env::current_dir().ok();
    CompleteEnv::with_factory(|| tree(&asker))
        .var(VARIABLE)
        .try_complete(args.iter().cloned(), current_dir.as_deref())
        .map_err(io::Error::other)
}

/// The script that registers with a shell.
///
/// # Errors
/// None that a shell could cause.
pub fn registration(shell: CompletionShell) -> io::Result<Vec<u8>> {
    let shell: &dyn EnvCompleter = match shell {
        CompletionShell::Bash => &Bash,
        CompletionShell::Zsh => &Zsh,
        CompletionShell::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)?;
    Ok(script)
}
