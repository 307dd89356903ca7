//! Shoal against other clients, one seeder and one leecher: each client against itself, seeding to
//! shoal and downloading from it, in turn, each side on a host of its own. Never here: how a number
//! is shown.

mod report;

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, ensure};

pub(crate) use self::report::Report;
use self::report::Setting;
use crate::{
    client::{Client, Contest, Programs},
    machine::Machine,
    site::{Hosts, Site},
    source::{self, Source},
    space,
    transfer::Bench,
};

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The clients, none of them shoal.
    pub(crate) clients: Vec<Client>,
    /// Bytes of the source.
    pub(crate) len: u64,
    /// Bytes of the source where Transmission takes part.
    pub(crate) transmission_len: u64,
    /// Bytes of a piece.
    pub(crate) piece_len: u32,
    /// Times that each contest takes place.
    pub(crate) runs: u32,
    /// Where everything is written.
    pub(crate) dir: PathBuf,
    /// The most that starting, transferring and comparing may each take.
    pub(crate) timeout: Duration,
    /// Where `shoald` is.
    pub(crate) bin_dir: Option<PathBuf>,
}

/// A client's contests: itself first, the one that the others are compared with.
fn contests(client: Client) -> [Contest; 3] {
    let shoal = Client::Shoal;
    [(client, client), (client, shoal), (shoal, client)]
        .map(|(seeder, leecher)| Contest::Swarm { seeder, leecher })
}

/// Measures everything. Says on stderr how it goes.
///
/// # Errors
/// No root, too little room, a program that is missing or fails, a copy that differs, a timeout, or
/// "interrupted". Every process is ended, every file and namespace removed.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    ensure!(!plan.clients.is_empty(), "--with: shoal against itself is a matter of `transfer`");
    let all: Vec<Contest> = plan.clients.iter().flat_map(|&client| contests(client)).collect();
    let lens = plan.clients.iter().map(|&client| plan.len_for(client));
    let len_max = lens.clone().max().unwrap_or(0);
    for len in lens {
        source::check(len, plan.piece_len)?;
    }
    let sources_len = plan.len.saturating_add(plan.transmission_len);
    space::ensure_room(&plan.dir, sources_len.saturating_add(space::warmth(len_max)))?;
    let machine = Machine::here();
    let medium = space::medium(&plan.dir)?;
    let site = Site::Hosts(Hosts::make()?);
    let programs = Programs::find(plan.bin_dir.as_deref(), None, site, &all)?;
    let work = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(&plan.dir)?;
    let source = |name: &str, len: u64| {
        let dir = work.path().join(name);
        fs::create_dir(&dir)?;
        Source::random(&dir, len, plan.piece_len)
    };
    let (large, small) = (source("large", plan.len)?, source("small", plan.transmission_len)?);
    let mut samples = Vec::new();
    for run in 1..=plan.runs {
        for &client in &plan.clients {
            let bench = Bench {
                programs: &programs,
                source: if Plan::is_small(client) { &small } else { &large },
                work: work.path(),
                leechers: 1,
                has_policy: false,
                timeout: plan.timeout,
            };
            for contest in contests(client) {
                let sample = bench.sample(run, contest).with_context(|| contest.to_string())?;
                // A closed stderr is no reason to stop measuring.
                let _ = writeln!(io::stderr(), "run {run}/{}  {sample}", plan.runs);
                samples.push(sample);
            }
        }
    }
    let setting = Setting {
        size_bytes: plan.len,
        transmission_size_bytes: plan.transmission_len,
        piece_bytes: plan.piece_len,
        medium,
    };
    Ok(Report::new(machine, setting, &plan.clients, samples))
}

impl Plan {
    /// Whether the small source is transferred where a client takes part.
    fn is_small(client: Client) -> bool {
        match client {
            Client::Transmission => true,
            Client::Shoal | Client::Aria2 | Client::Libtorrent | Client::Rqbit => false,
        }
    }

    /// Bytes that are transferred where a client takes part.
    fn len_for(&self, client: Client) -> u64 {
        if Self::is_small(client) { self.transmission_len } else { self.len }
    }
}
