//! The arguments of `shoalctl policy`. Never here: what a command does.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    Target,
    manner::{ListArgs, Watch},
    parse,
};

/// A command about policies.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Write a policy to start from, its test, and what an editor wants; needs no node
    #[command(
        after_help = "Writes NAME.lua, NAME_test.lua, .luarc.json and types/shoal.d.lua. Nothing \
                      that is there is overwritten: where one of them exists and is another, \
                      nothing is written and the exit code is 7."
    )]
    Init(InitArgs),
    /// Check a policy as the node would, and change nothing
    #[command(
        after_help = "The node compiles it, reads its parameters, and tries it with made-up \
                      candidates. Errors and warnings are printed in full; the exit code is 8 \
                      where there are errors."
    )]
    Check(CheckArgs),
    /// Put a policy in force, for the node, for one torrent, or in the shadow
    #[command(
        after_help = "A file on this side is sent as it is. With --watch its path is sent, and the \
                      node follows its changes: what fails a check is told by policy status, and \
                      the policy before it stays. A policy that fails a check changes nothing; \
                      the exit code is 8."
    )]
    Set(SetArgs),
    /// Show the policy in force: counters, times, last error, log, and its shadow
    Status(StatusArgs),
    /// Show how one chunk would be decided now: every candidate, and who is none and why
    #[command(after_help = "Marks: * the chosen peer, d whom the default policy would choose. \
                      UPLOADED with ~ is an estimate, the peer reports none. FAILS counts failed \
                      chunks; 'tried' means that it failed this one. Nothing is asked of any peer.")]
    Explain(ExplainArgs),
    /// Show the last 256 decisions, and with --follow those to come
    #[command(
        after_help = "Times are UTC. OF is how many candidates there were, US the time that the \
                      policy took, in microseconds. Decisions that are left out are counted on \
                      standard error. With -o json: a line a message, each with its decisions."
    )]
    Trace(TraceArgs),
    /// Run Lua tests of a policy on the node, in the sandbox and on a virtual clock
    #[command(
        after_help = "A folder means its *.lua files, in order of name, but for a policy whose test \
                      stands beside it.\n\nThe policy is the one that --policy names; else, for \
                      x_test.lua, the file x.lua beside it; else the one that the test names: \
                      policy \"name\".\n\nExit code: 0 every test held, 7 a test failed or there \
                      was none, else as for every command."
    )]
    Test(TestArgs),
    /// Simulate a swarm with it on the node: hundreds of peers, virtual time, a report
    #[command(
        after_help = "Plans and policies that are files here are sent as they are; a plan's classes \
                      may name what the node has. The node does this beside its work, one call at \
                      a time, and gives it up with Ctrl-C. Large plans are for `shoald sim`, which \
                      has the same words and lists the shipped plans (--list).\n\nWith -o json: \
                      the report's own document, as `shoald sim -o json` prints it.\n\nExit code: \
                      0 everything held, 7 a check was violated or what the plan expects was not \
                      met, else as for every command."
    )]
    Sim(SimArgs),
    /// Measure what a decision costs, with 8, 50 and 200 candidates
    Bench(BenchArgs),
    /// List the policies there are
    List(ListArgs),
    /// Begin a policy anew: closes its breaker, forgets its counters, errors and state
    Reset(Scope),
}

/// Whose policy is meant.
#[derive(Args, Clone, Debug)]
pub struct Scope {
    /// Of this torrent's downloads: name, info hash or a prefix of that [default: the node's]
    #[arg(long, value_name = "NAME|HASH|PREFIX")]
    pub torrent: Option<String>,
}

/// Arguments of policy status.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Whose.
    #[command(flatten)]
    pub scope: Scope,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// Parameters of a policy.
#[derive(Args, Clone, Debug)]
pub struct Params {
    /// A parameter; repeatable
    #[arg(long, value_name = "K=V", value_parser = parse::key_value)]
    pub set: Vec<(String, String)>,
}

/// Arguments of policy init.
#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// What the policy is called
    #[arg(default_value = "my_policy", value_parser = parse::policy_name)]
    pub name: String,
    /// Folder to write to; made where it is not there
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
}

/// Arguments of policy check.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// A Lua file on this side
    #[arg(value_name = "FILE.lua")]
    pub file: PathBuf,
    /// Parameters.
    #[command(flatten)]
    pub params: Params,
}

/// Arguments of policy set.
#[derive(Args, Clone, Debug)]
pub struct SetArgs {
    /// A file on this side, or the name of a policy on the node
    #[arg(value_name = "NAME|FILE.lua", required_unless_present = "none")]
    pub policy: Option<String>,
    /// No policy: a torrent follows the node's again, a shadow ends, the node takes the default
    #[arg(long, conflicts_with_all = ["policy", "set", "watch"])]
    pub none: bool,
    /// Parameters.
    #[command(flatten)]
    pub params: Params,
    /// Whose.
    #[command(flatten)]
    pub scope: Scope,
    /// Only compare: it is asked the same after each decision, and has no effect
    #[arg(long)]
    pub shadow: bool,
    /// Let the node follow the file: each change is checked and put in force
    #[arg(long)]
    pub watch: bool,
}

/// Arguments of policy explain.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// The chunk: its name, file1.webm.part3, or @INDEX [default: the next to be fetched]
    pub chunk: Option<String>,
    /// The torrent.
    #[command(flatten)]
    pub target: Target,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// Arguments of policy trace.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// Only of this torrent: name, info hash or a prefix of that [default: of all]
    #[arg(long, value_name = "NAME|HASH|PREFIX")]
    pub torrent: Option<String>,
    /// Go on with the decisions to come, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
}

/// Arguments of policy test.
#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    /// Test files on this side, or folders of them
    #[arg(value_name = "FILE|DIR", required = true)]
    pub tests: Vec<PathBuf>,
    /// The policy under test: a file on this side, or a name on the node
    #[arg(long, value_name = "NAME|FILE.lua")]
    pub policy: Option<String>,
    /// Parameters.
    #[command(flatten)]
    pub params: Params,
    /// Write a JUnit report too; - is standard output, the table then goes to standard error
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Arguments of policy bench.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// A file on this side, or the name of a policy on the node
    #[arg(value_name = "NAME|FILE.lua")]
    pub policy: String,
    /// Parameters.
    #[command(flatten)]
    pub params: Params,
}

/// Arguments of policy sim.
#[derive(Args, Clone, Debug)]
pub struct SimArgs {
    /// A shipped plan, or a plan on this side: it ends in .toml or has a /
    #[arg(value_name = "PLAN", default_value = "flash_crowd")]
    pub plan: String,
    /// The seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many seeds, from --seed on, 1-64 [default: 1, or 9 where policies are compared]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub seeds: Option<u32>,
    /// Policy of the classes that name none: a file on this side, or a name on the node
    #[arg(long, value_name = "NAME|native:NAME|FILE.lua")]
    pub policy: Option<String>,
    /// Parameters of --policy.
    #[command(flatten)]
    pub params: Params,
    /// Policies, each run with the same seeds and compared with the first (--policy, if it is there)
    #[arg(long, value_name = "POLICY", num_args = 1..)]
    pub compare: Vec<String>,
    /// The plan with at most 40 hosts and 128 pieces: a run costs a second
    #[arg(long)]
    pub small: bool,
    /// Draw the completion curves of all policies, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub picture: Option<PathBuf>,
}
