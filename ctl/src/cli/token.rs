//! The arguments of `shoalctl token`. Never here: what a command does.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use shoal::v1::TokenScope;

use super::{manner::ListArgs, parse};

/// A command about tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is printed once, and is nowhere else
    Create(CreateArgs),
    /// List tokens, without their secrets
    List(ListArgs),
    /// Revoke a token: it is refused from then on, and streams opened with it end
    Revoke(RevokeArgs),
}

/// Arguments of token create.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// How it is called: 1-64 letters, digits, '.', '_' and '-'
    pub name: String,
    /// What it may be used for; each is for itself, but admin has all
    #[arg(
        long = "scope",
        required = true,
        value_enum,
        value_name = "SCOPE",
        value_delimiter = ','
    )]
    pub scopes: Vec<ScopeArg>,
    /// Refuse it after this long, e.g. 12h, 30d [default: never]
    #[arg(long, value_name = "D", value_parser = parse::duration)]
    pub expires: Option<Duration>,
    /// Write the secret into this new file, which only you can read, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of token revoke.
#[derive(Args, Clone, Debug)]
pub struct RevokeArgs {
    /// The token's id or name, from token list
    #[arg(value_name = "ID|NAME")]
    pub token: String,
}

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeArg {
    /// To look.
    Read,
    /// To change torrents, connections, transfers, jobs.
    Write,
    /// To try policies and to put them in force.
    Policy,
    /// Everything, tokens and the node's end too.
    Admin,
}

impl From<ScopeArg> for TokenScope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Read => Self::Read,
            ScopeArg::Write => Self::Write,
            ScopeArg::Policy => Self::Policy,
            ScopeArg::Admin => Self::Admin,
        }
    }
}
