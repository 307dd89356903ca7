//! Commands that need no node: which they are. Never here: what each does.

use super::{completions, context, man, policy};
use crate::{
    cli::{Command, Format, policy::PolicyCommand},
    failure::Failure,
    io::Io,
};

/// Carries a command out that needs no node; `None` where it needs one.
pub(crate) fn carry_out(
    io: &mut Io,
    format: Format,
    command: &Command,
) -> Option<Result<(), Failure>> {
    if let Command::Completions(args) = command {
        return Some(completions::print(io, args));
    }
    if let Command::Man(args) = command {
        return Some(man::man(io, format, args));
    }
    if let Command::Context(command) = command {
        return Some(context::carry_out(io, format, command));
    }
    if let Command::Policy(PolicyCommand::Init(args)) = command {
        return Some(policy::init(io, format, args));
    }
    None
}
