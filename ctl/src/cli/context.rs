//! The arguments of `shoalctl context`. Never here: what a command does.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, parse};

/// A command about contexts.
#[derive(Clone, Debug, Subcommand)]
pub enum ContextCommand {
    /// Keep a node under a name, with what is needed to reach it
    #[command(
        after_help = "A token, an authority and a certificate are kept as the paths of their files, \
                      and used for this context's endpoint only.\n\nWhat holds: a flag, else the \
                      environment (SHOAL_ENDPOINT and its like), else the context (--context, \
                      SHOAL_CONTEXT, or the one in use), else the default node."
    )]
    Add(Box<AddContextArgs>),
    /// List the contexts; * is in use
    List,
    /// Use a context where none is named
    Use(UseContextArgs),
    /// Forget a context; its files stay
    Remove(ContextArgs),
    /// Show a context
    Show(ShowContextArgs),
}

/// Arguments of context add.
#[derive(Args, Clone, Debug)]
pub struct AddContextArgs {
    /// What it is called
    #[arg(value_name = "NAME", value_parser = parse::context_name)]
    pub name: String,
    /// The node: unix:///PATH, http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// A file with the token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificates of the authorities that may vouch for the node, PEM
    #[arg(long, value_name = "FILE.pem")]
    pub ca: Option<PathBuf>,
    /// The certificate to show, PEM
    #[arg(long, value_name = "FILE.pem", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE.pem", requires = "cert")]
    pub key: Option<PathBuf>,
    /// The torrent where a command names none
    #[arg(long, value_name = "NAME|HASH|PREFIX")]
    pub default_torrent: Option<String>,
    /// How replies are written where -o does not say
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub default_format: Option<Format>,
    /// Use it from now on
    #[arg(long = "use")]
    pub in_use: bool,
    /// Replace a context of that name
    #[arg(long)]
    pub replace: bool,
}

/// Arguments of context use.
#[derive(Args, Clone, Debug)]
pub struct UseContextArgs {
    /// Its name
    #[arg(value_name = "CONTEXT", required_unless_present = "none")]
    pub name: Option<String>,
    /// None: the default node again
    #[arg(long, conflicts_with = "name")]
    pub none: bool,
}

/// A context.
#[derive(Args, Clone, Debug)]
pub struct ContextArgs {
    /// Its name
    #[arg(value_name = "CONTEXT")]
    pub name: String,
}

/// Arguments of context show.
#[derive(Args, Clone, Debug)]
pub struct ShowContextArgs {
    /// Its name [default: the one in use]
    #[arg(value_name = "CONTEXT")]
    pub name: Option<String>,
}
