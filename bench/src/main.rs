//! Benchmarks of shoal against the floor of the machine: the command line, and what it starts.
//! How to read the numbers stands in `bench/README.md`. Never here: a measurement.

mod answer;
mod calls;
mod churn;
mod client;
mod control;
mod decisions;
mod engine;
mod floor;
mod hash;
mod interrupt;
mod machine;
mod many;
mod pairs;
mod process;
mod report;
mod site;
mod source;
mod space;
mod stats;
mod swarm;
mod tracker;
mod transfer;
mod truth;
mod zones;

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use shoal_core::ids::InfoHash;

use crate::{
    client::{Client, Contest, With},
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
    /// Time shoal against each client, both ways, in turn with that client against itself
    Pairs(PairsArgs),
    /// Time how fast a node creates and verifies torrents, beside one core's SHA-1
    Hash(HashArgs),
    /// Count what crosses between two zones of nodes under one policy and under another, in turn
    Zones(ZonesArgs),
    /// Measure what a decision of each policy costs
    Policy(PolicyArgs),
    /// Measure what the engine's decisions cost by peers, pieces and torrents, without a node
    Engine(EngineArgs),
    /// Time downloads in a swarm whose leechers come and go
    Churn(churn::ChurnArgs),
    /// Measure a node with many torrents, most of them idle
    Many(many::ManyArgs),
    /// Count announces a second and bytes a peer of the tracker, beside aquatic's
    Tracker(tracker::TrackerArgs),
    /// Time swarms on links that the kernel limits, which a simulator is to predict; takes root
    Truth(truth::TruthArgs),
    /// Measure what readers of events cost a node, and how long its answers take while it works
    Control(control::ControlArgs),
    /// Readers of events
    #[command(hide = true)]
    ControlWatch(control::callers::WatchArgs),
    /// A caller of everything
    #[command(hide = true)]
    ControlCall(control::callers::CallArgs),
    /// Changes that are events
    #[command(hide = true)]
    ControlStorm(control::callers::StormArgs),
    /// The sending half of the floor
    #[command(hide = true)]
    FloorSend { ip: Ipv4Addr, file: PathBuf, ready_file: PathBuf },
    /// The receiving half of the floor
    #[command(hide = true)]
    FloorReceive { addr: SocketAddr, copy: PathBuf, len: u64, piece_len: u32 },
    /// Ends once a tracker knows a seeder
    #[command(hide = true)]
    AwaitSeeder { tracker: SocketAddr, info_hash: InfoHash },
    /// A program that ends with the one that started it
    #[command(hide = true)]
    Guarded(process::Guarded),
}

/// What every transfer is told.
#[derive(Args, Debug)]
struct Common {
    /// Bytes to transfer to each receiver
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    size: ByteSize,
    /// Take a source of holes, but for the start of each piece: needs next to no room
    #[arg(long)]
    sparse: bool,
    /// Bytes of a piece, a power of two from 16KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "512KiB")]
    piece: ByteSize,
    #[command(flatten)]
    every: Every,
}

/// What every measurement is told.
#[derive(Args, Debug)]
struct Every {
    /// Runs of each contestant
    #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Folder of a temporary folder for all files [default: /dev/shm, else the system's]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
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
    with: Vec<With>,
    /// Try each of these piece lengths in turn, in place of --piece, as 64KiB,512KiB,4MiB,16MiB
    #[arg(long, value_name = "SIZES", value_delimiter = ',', conflicts_with = "piece")]
    pieces: Vec<ByteSize>,
    /// Do not count system calls, which takes a transfer more of each contestant, and root
    #[arg(long)]
    no_calls: bool,
    /// Give each side a network namespace of its own; takes root
    #[arg(long)]
    hosts: bool,
    /// Policy of shoal's leechers: a name, or a Lua file
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// Folder of shoald [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct PairsArgs {
    #[command(flatten)]
    every: Every,
    /// Bytes to transfer
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    size: ByteSize,
    /// Bytes to transfer where Transmission takes part: against itself it does 8 MB/s
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    transmission_size: ByteSize,
    /// Bytes of a piece, a power of two from 16KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "512KiB")]
    piece: ByteSize,
    /// Only this client; repeatable [default: all that are installed]
    #[arg(long, value_enum)]
    with: Vec<Client>,
    /// Folder of shoald [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct HashArgs {
    #[command(flatten)]
    every: Every,
    /// Bytes to hash
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    size: ByteSize,
    /// Bytes of a piece, a power of two from 16KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "512KiB")]
    piece: ByteSize,
    /// Folder of shoald and shoalctl [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct ZonesArgs {
    #[command(flatten)]
    every: Every,
    /// Nodes of each zone, one of the first zone's the seeder
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=32))]
    nodes: u16,
    /// Bytes that each node is to have
    #[arg(long, value_name = "SIZE", default_value = "200MiB")]
    size: ByteSize,
    /// Bytes of a piece, a power of two from 16KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "512KiB")]
    piece: ByteSize,
    /// Most bytes a second that each node sends
    #[arg(long, value_name = "RATE", default_value = "20MB")]
    upload_limit: ByteSize,
    /// The policy that is told its zone, as its parameter `zone`: a name, or a Lua file
    #[arg(long, value_name = "NAME|FILE", default_value = "zone_aware.lua")]
    policy: String,
    /// The policy it is compared with
    #[arg(long, value_name = "NAME|FILE", default_value = "lowest_uploaded")]
    against: String,
    /// Folder of shoald and shoalctl [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct PolicyArgs {
    /// Only these policies: names, or Lua files [default: all that come with the node]
    #[arg(value_name = "NAME|FILE")]
    names: Vec<String>,
    #[command(flatten)]
    every: Every,
    /// Folder of shoald and shoalctl [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct EngineArgs {
    /// Runs of each swarm
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Most extents that come in one run
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    extents: u32,
    /// How the result looks
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
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
            for client in args.with.into_iter().flat_map(With::clients) {
                let pair = Contest::Swarm { seeder: client, leecher: client };
                if !contests.contains(&pair) {
                    contests.push(pair);
                }
            }
            let pieces = args.pieces.into_iter().map(piece_len);
            let pieces = pieces.collect::<anyhow::Result<Vec<u32>>>()?;
            measure(args.common, |plan| Plan {
                contests,
                leechers: args.leechers.into(),
                policy: args.policy,
                bin_dir: args.bin_dir,
                hosts: args.hosts,
                counts_calls: !args.no_calls,
                piece_lens: if pieces.is_empty() { plan.piece_lens } else { pieces },
                ..plan
            })
        }
        Command::Pairs(args) => pairs(args),
        Command::Hash(args) => hash(args),
        Command::Zones(args) => zones(args),
        Command::Policy(args) => policy(args),
        Command::Engine(EngineArgs { runs, extents, output }) => {
            interrupt::install()?;
            let report = engine::measure(&engine::Plan { runs, extents })?;
            show(output, &report, engine::Report::table)
        }
        Command::Churn(args) => churn::run(&args),
        Command::Many(args) => many::run(&args),
        Command::Tracker(args) => tracker::run(&args),
        Command::Truth(args) => truth::run(&args),
        Command::Control(args) => control::run(&args),
        Command::ControlWatch(args) => args.run(),
        Command::ControlCall(args) => args.run(),
        Command::ControlStorm(args) => args.run(),
        Command::FloorSend { ip, file, ready_file } => floor::send(ip, &file, &ready_file),
        Command::FloorReceive { addr, copy, len, piece_len } => {
            floor::receive(addr, &copy, len, piece_len)
        }
        Command::AwaitSeeder { tracker, info_hash } => {
            client::tracker::await_seeder(tracker, info_hash.0);
            Ok(())
        }
        Command::Guarded(guarded) => guarded.exec(),
    }
}

fn measure(common: Common, complete: impl FnOnce(Plan) -> Plan) -> anyhow::Result<()> {
    interrupt::install()?;
    let Every { runs, dir, timeout, output } = common.every;
    anyhow::ensure!(common.size.as_u64() > 0, "--size: there is nothing to transfer");
    let plan = complete(Plan {
        contests: vec![Contest::Floor],
        len: common.size.as_u64(),
        piece_lens: vec![piece_len(common.piece)?],
        runs,
        leechers: 1,
        dir: dir.unwrap_or_else(space::default_dir),
        sparse: common.sparse,
        timeout: Duration::from_secs(timeout),
        policy: None,
        bin_dir: None,
        hosts: false,
        counts_calls: false,
    });
    let report = transfer::measure(&plan)?;
    show(output, &report, report::Report::table)
}

fn pairs(args: PairsArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let Every { runs, dir, timeout, output } = args.every;
    for (size, flag) in [(args.size, "--size"), (args.transmission_size, "--transmission-size")] {
        anyhow::ensure!(size.as_u64() > 0, "{flag}: there is nothing to transfer");
    }
    let foreign = |client: &Client| *client != Client::Shoal;
    let clients = if args.with.is_empty() { client::installed() } else { args.with };
    let report = pairs::measure(&pairs::Plan {
        clients: clients.into_iter().filter(foreign).collect(),
        len: args.size.as_u64(),
        transmission_len: args.transmission_size.as_u64(),
        piece_len: piece_len(args.piece)?,
        runs,
        dir: dir.unwrap_or_else(space::default_dir),
        timeout: Duration::from_secs(timeout),
        bin_dir: args.bin_dir,
    })?;
    show(output, &report, pairs::Report::table)
}

fn hash(args: HashArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let Every { runs, dir, timeout, output } = args.every;
    anyhow::ensure!(args.size.as_u64() > 0, "--size: there is nothing to hash");
    let report = hash::measure(&hash::Plan {
        len: args.size.as_u64(),
        piece_len: piece_len(args.piece)?,
        runs,
        dir: dir.unwrap_or_else(space::default_dir),
        timeout: Duration::from_secs(timeout),
        bin_dir: args.bin_dir,
    })?;
    show(output, &report, hash::Report::table)
}

fn zones(args: ZonesArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let Every { runs, dir, timeout, output } = args.every;
    anyhow::ensure!(args.size.as_u64() > 0, "--size: there is nothing to transfer");
    let report = zones::measure(&zones::Plan {
        nodes: args.nodes.into(),
        len: args.size.as_u64(),
        piece_len: piece_len(args.piece)?,
        upload_bps: args.upload_limit.as_u64(),
        runs,
        policy: args.policy,
        against: args.against,
        dir: dir.unwrap_or_else(space::default_dir),
        timeout: Duration::from_secs(timeout),
        bin_dir: args.bin_dir,
    })?;
    show(output, &report, zones::Report::table)
}

fn policy(args: PolicyArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let Every { runs, dir, timeout, output } = args.every;
    let report = decisions::measure(&decisions::Plan {
        runs,
        names: args.names,
        dir: dir.unwrap_or_else(space::default_dir),
        timeout: Duration::from_secs(timeout),
        bin_dir: args.bin_dir,
    })?;
    show(output, &report, decisions::Report::table)
}

fn piece_len(piece: ByteSize) -> anyhow::Result<u32> {
    u32::try_from(piece.as_u64()).map_err(|_| anyhow::anyhow!("--piece: {piece} is over 16MiB"))
}

fn show<R: Serialize>(
    output: Output,
    report: &R,
    table: impl FnOnce(&R) -> String,
) -> anyhow::Result<()> {
    let text = match output {
        Output::Table => table(report),
        Output::Json => serde_json::to_string_pretty(report)? + "\n",
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
        assert_eq!(args.with, [With::One(Client::Aria2)]);
        let args = ["shoal-bench", "zones", "--upload-limit", "20MB", "--runs", "3"];
        let Command::Zones(args) = Cli::parse_from(args).command else { panic!("not parsed") };
        assert_eq!((args.upload_limit.as_u64(), args.size.as_u64()), (20_000_000, 200 << 20));
        assert_eq!((args.every.runs, args.nodes), (3, 4));
        let args = ["shoal-bench", "policy", "random"];
        let Command::Policy(args) = Cli::parse_from(args).command else { panic!("not parsed") };
        assert_eq!(args.names, ["random"]);
    }
}
