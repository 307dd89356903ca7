//! The arguments of `shoalctl call` and `describe`. Never here: what a command does.

use clap::Args;

/// Arguments of call.
#[derive(Args, Clone, Debug)]
pub struct CallArgs {
    /// The method: GetInfo, NodeService/GetInfo or shoal.v1.NodeService/GetInfo
    #[arg(value_name = "METHOD")]
    pub method: String,
    /// The request in proto JSON, or @FILE, or - for standard input
    #[arg(value_name = "JSON", default_value = "{}")]
    pub request: String,
}

/// Arguments of describe.
#[derive(Args, Clone, Debug)]
pub struct DescribeArgs {
    /// A service, method, message or enum [default: every service]
    #[arg(value_name = "SERVICE|METHOD|MESSAGE")]
    pub name: Option<String>,
    /// Print the request of a method, or a message, as JSON to fill in
    #[arg(long, requires = "name")]
    pub template: bool,
    /// As this shoalctl knows it, without asking the node
    #[arg(long)]
    pub built_in: bool,
}
