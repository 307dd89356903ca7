//! What a decision of the engine costs, by peers, pieces and torrents: swarms of peers that are not
//! there around one session, without a socket or a disk. Never here: how a session is driven.

mod leecher;
mod report;

use std::io::{self, Write as _};

use crate::{interrupt, machine::Machine};
use leecher::{Costs, Holding, Leecher, torrent};
pub(crate) use report::Report;

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Times that each swarm is measured.
    pub(crate) runs: u32,
    /// The most extents that come in one run, half of them one by one.
    pub(crate) extents: u32,
}

/// A session among others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
struct Swarm {
    /// Torrents without connections, all had.
    idle: u32,
    /// Torrents being downloaded.
    active: u32,
    /// Peers of each of these.
    peers: u32,
    /// Pieces of each.
    pieces: u32,
    /// What the peers have.
    holding: Holding,
}

/// Extents of a turn of the loop where several come in one.
const TURN: u32 = 32;
/// `have` messages in a run.
const HAVES: u32 = 2_000;
/// Ticks in a run beside those that the extents take: fewer than the 4 s after which extents that
/// do not come are taken over.
const TICKS: u32 = 8;
/// Connections that are replaced in a run.
const REPLACED: u32 = 20;

/// The swarms, from small to large: one download, then a node of many torrents.
fn swarms() -> Vec<Swarm> {
    let mut swarms = Vec::new();
    for holding in [Holding::All, Holding::Half] {
        for peers in [10, 100, 1_000] {
            for pieces in [1_000, 10_000, 100_000] {
                swarms.push(Swarm { idle: 0, active: 1, peers, pieces, holding });
            }
        }
    }
    for (idle, active) in [(0, 1), (0, 100), (1_000, 1), (1_000, 100)] {
        swarms.push(Swarm { idle, active, peers: 4, pieces: 1_000, holding: Holding::All });
    }
    swarms
}

/// Measures every swarm, all of them in each run. Says on stderr how it goes.
///
/// # Errors
/// A session that refuses what it is told, or "interrupted".
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let machine = Machine::here();
    let mut measured = Vec::new();
    for run in 1..=plan.runs {
        for swarm in swarms() {
            interrupt::check()?;
            measured.push((swarm, sample(&swarm, plan.extents, u64::from(run))?));
            // A closed stderr is no reason to stop measuring.
            let _ = writeln!(io::stderr(), "run {run}/{}  {swarm}", plan.runs);
        }
    }
    Ok(Report::new(machine, plan.runs, &measured))
}

fn sample(swarm: &Swarm, extents: u32, seed: u64) -> anyhow::Result<Costs> {
    let mut leecher = Leecher::new(seed);
    for number in 0..swarm.idle {
        leecher.add(torrent(&format!("idle{number}"), swarm.pieces)?, true)?;
    }
    let metainfos = (0..swarm.active).map(|number| torrent(&format!("{number}"), swarm.pieces));
    let metainfos = metainfos.collect::<anyhow::Result<Vec<_>>>()?;
    for metainfo in &metainfos {
        let id = leecher.add(metainfo.clone(), false)?;
        leecher.download(id)?;
        for _ in 0..swarm.peers {
            leecher.open(metainfo, swarm.holding);
        }
    }
    // Of a small torrent the last tenth is endgame, and left out.
    let few = (swarm.active * swarm.pieces / 10 * 9).min(extents);
    leecher.receive(few / 4, 1);
    leecher.receive(few / 4, TURN);
    if swarm.holding == Holding::Half {
        leecher.hear(HAVES);
    }
    for _ in 0..TICKS {
        leecher.tick();
    }
    for _ in 0..REPLACED {
        leecher.replace(swarm.holding)?;
    }
    leecher.receive(few / 4, 1);
    leecher.receive(few / 4, TURN);
    Ok(leecher.costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_measured_happens() {
        for holding in [Holding::All, Holding::Half] {
            let swarm = Swarm { idle: 2, active: 2, peers: 3, pieces: 200, holding };
            let costs = sample(&swarm, 200, 1).unwrap();
            let Costs { extent, in_turns, have, tick, opened, closed } = costs;
            for tally in [extent, in_turns, tick, opened, closed] {
                assert!(tally.mean_ns().is_some(), "{costs:?}");
            }
            assert_eq!(have.mean_ns().is_some(), holding == Holding::Half, "{costs:?}");
        }
    }
}
