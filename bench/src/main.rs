//! Benchmarks of shoal against the floor of the machine: the command line, and what it starts.
//! How to read the numbers stands in `bench/README.md`. Never here: a measurement.

mod client;
mod floor;
mod interrupt;
mod machine;
mod process;
mod report;
mod source;
mod space;
mod stats;
mod transfer;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    client::{Client, Contest},
    transfer::Plan,
};

/// Benchmarks of shoal against the floor of the machine
#[derive(Parser, Debug)]
#[command(name = "shoal-bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Time the floor: sendfile, read, hash, write, and nothing else
    Floor(Common),
    /// Time whole transfers from one seeder to leechers, in turn with the floor
    Transfer(TransferArgs),
    /// The sending half of the floor
    #[command(hide = true)]
    FloorSend { file: PathBuf, ready_file: PathBuf },
    /// The receiving half of the floor
    #[command(hide = true)]
    FloorReceive { addr: SocketAddr, copy: PathBuf, len: u64, piece_len: u32 },
    /// A program that ends with the one that started it
    #[command(hide = true)]
    Guarded(process::Guarded),
}

/// What every measurement is told.
#[derive(Args, Debug)]
struct Common {
    /// Bytes to transfer to each receiver
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    size: ByteSize,
    /// Bytes of a piece, a power of two from 16KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "512KiB")]
    piece: ByteSize,
    /// Runs of each contestant
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Folder of a temporary folder for source and copies [default: /dev/shm, else the system's]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Take a source of holes, but for the start of each piece: needs next to no room
    #[arg(long)]
    sparse: bool,
    /// Most seconds for one step of one run
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// How the result looks
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Args, Debug)]
struct TransferArgs {
    #[command(flatten)]
    common: Common,
    /// Leechers at once, each with a copy of its own
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    leechers: u16,
    /// The seeder that shoal's leechers download from
    #[arg(long, value_enum, default_value = "shoal")]
    seeder: Client,
    /// Another client to time in the same runs, both seeder and leecher; repeatable
    #[arg(long, value_enum)]
    with: Vec<Client>,
    /// Policy of shoal's leechers: a name, or a Lua file
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// Folder of shoald [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// Aligned text of at most 80 columns.
    Table,
    /// One JSON object with every run.
    Json,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell that stderr is closed.
            let _ = writeln!(io::stderr(), "shoal-bench: {error:#}");
            ExitCode::from(if interrupt::happened() { 130 } else { 1 })
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Floor(common) => measure(common, |plan| plan),
        Command::Transfer(args) => {
            let mut contests = vec![
                Contest::Floor,
                Contest::Swarm { seeder: args.seeder, leecher: Client::Shoal },
            ];
            for client in args.with {
                let pair = Contest::Swarm { seeder: client, leecher: client };
                if !contests.contains(&pair) {
                    contests.push(pair);
                }
            }
            let (leechers, policy, bin_dir) = (args.leechers.into(), args.policy, args.bin_dir);
            measure(args.common, |plan| Plan { contests, leechers, policy, bin_dir, ..plan })
        }
        Command::FloorSend { file, ready_file } => floor::send(&file, &ready_file),
        Command::FloorReceive { addr, copy, len, piece_len } => {
            floor::receive(addr, &copy, len, piece_len)
        }
        Command::Guarded(guarded) => guarded.exec(),
    }
}

fn measure(common: Common, complete: impl FnOnce(Plan) -> Plan) -> anyhow::Result<()> {
    interrupt::install()?;
    let piece_len = u32::try_from(common.piece.as_u64())
        .map_err(|_| anyhow::anyhow!("--piece: {} is over 16MiB", common.piece))?;
    anyhow::ensure!(common.size.as_u64() > 0, "--size: there is nothing to transfer");
    let plan = complete(Plan {
        contests: vec![Contest::Floor],
        len: common.size.as_u64(),
        piece_len,
        runs: common.runs,
        leechers: 1,
        dir: common.dir.unwrap_or_else(space::default_dir),
        sparse: common.sparse,
        timeout: Duration::from_secs(common.timeout),
        policy: None,
        bin_dir: None,
    });
    let report = transfer::measure(&plan)?;
    let text = match common.output {
        Output::Table => report.table(),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        let args = ["shoal-bench", "transfer", "--size", "1GiB", "--with", "aria2"];
        let Command::Transfer(args) = Cli::parse_from(args).command else { panic!("not parsed") };
        assert_eq!(args.common.size.as_u64(), 1 << 30);
        assert_eq!(args.with, [Client::Aria2]);
    }
}
