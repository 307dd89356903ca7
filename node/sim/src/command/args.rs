//! The words of `shoald sim` and of `shoal-sim`. Never here: what they mean together.

use clap::{Args, ValueEnum};

use super::SEEDS_MAX;

/// What stands under the help of the command.
pub const AFTER_HELP: &str = "\
The report is all of standard output, and the same for the same plan, seeds, policies and version. \
Progress, times and errors go to standard error.

Exit code: 0 everything held, 7 a check was violated or what the plan expects was not met; 2 usage, \
3 no such plan, policy or file, 8 a bad plan or policy, 130 interrupted.

  shoald sim --list
  shoald sim flash_crowd
  shoald sim flash_crowd --compare native:fastest mine.lua --picture curves.svg
  shoald sim mine.toml --small --seeds 100 -o json";

/// Run a plan in virtual time, on real sessions and policies, and say what came of it.
#[derive(Args, Clone, Debug)]
pub struct SimArgs {
    /// A shipped plan, or the path of a plan: it ends in .toml or has a /
    #[arg(value_name = "PLAN", required_unless_present = "list")]
    pub plan: Option<String>,
    /// The seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many seeds, from --seed on, 1-1000 [default: 1, or 9 where policies are compared]
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(SEEDS_MAX))
    )]
    pub seeds: Option<u32>,
    /// Policy of the classes that name none [default: native:lowest_uploaded]
    #[arg(long, value_name = "NAME|native:NAME|FILE.lua")]
    pub policy: Option<String>,
    /// A parameter of --policy; repeatable
    #[arg(long, value_name = "K=V", value_parser = key_value, requires = "policy")]
    pub set: Vec<(String, String)>,
    /// Policies, each run with the same seeds and compared with the first (--policy, if it is there)
    #[arg(long, value_name = "POLICY", num_args = 1..)]
    pub compare: Vec<String>,
    /// The plan with at most 40 hosts and 128 pieces: a run costs a second
    #[arg(long)]
    pub small: bool,
    /// What the report is
    #[arg(short = 'o', long = "format", value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Draw the completion curves of all policies, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub picture: Option<String>,
    /// List the shipped plans
    #[arg(long, exclusive = true)]
    pub list: bool,
    /// Print the plan's TOML, and run nothing
    #[arg(long)]
    pub show: bool,
    /// Where a check was violated, tell the last facts of this host (its number, or all)
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub trace: Option<Host>,
    /// Threads for several runs, 1-256 [default: as many as there are cores]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

/// What a report is.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For a person, at most 80 columns.
    Table,
    /// For a program: one document.
    Json,
}

/// Hosts, as `--trace` names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host {
    /// Everyone.
    All,
    /// One, by its place in the population, from 0.
    One(usize),
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("is not K=V".to_owned()),
    }
}

fn host(text: &str) -> Result<Host, String> {
    match text.parse() {
        Ok(host) => Ok(Host::One(host)),
        Err(_) if text == "all" => Ok(Host::All),
        Err(_) => Err("is neither the number of a host nor all".to_owned()),
    }
}
