//! `shoalctl completions`. Never here: candidates.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    cli::{Cli, CompletionShell, CompletionsArgs},
    complete::registration,
    failure::Failure,
    io::Io,
};

pub(super) fn print(io: &mut Io, args: &CompletionsArgs) -> Result<(), Failure> {
    let shell = match args.shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    if args.r#static {
        clap_complete::generate(shell, &mut Cli::command(), "shoalctl", &mut script);
    } else {
        script = registration(args.shell).map_err(|e| Failure::internal(e.to_string()))?;
    }
    io.put(&String::from_utf8_lossy(&script))
}
