//! What the engine's decisions cost, as a table and as JSON.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::{
    Swarm,
    leecher::{Costs, Holding, Tally},
};
use crate::{machine::Machine, stats::Spread};

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    runs: u32,
    rows: Vec<Row>,
}

/// One swarm: nanoseconds of each kind of fact, by the means of the runs.
#[derive(Clone, Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    swarm: Swarm,
    extent_ns: Option<Spread>,
    extent_in_turns_ns: Option<Spread>,
    have_ns: Option<Spread>,
    tick_ns: Option<Spread>,
    opened_ns: Option<Spread>,
    closed_ns: Option<Spread>,
}

impl Report {
    pub(super) fn new(machine: Machine, runs: u32, measured: &[(Swarm, Costs)]) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for &(swarm, _) in measured {
            if rows.iter().any(|row| row.swarm == swarm) {
                continue;
            }
            let of = |kind: fn(&Costs) -> Tally| {
                let same = measured.iter().filter(|(other, _)| *other == swarm);
                Spread::of(same.filter_map(|(_, costs)| kind(costs).mean_ns()))
            };
            rows.push(Row {
                swarm,
                extent_ns: of(|costs| costs.extent),
                extent_in_turns_ns: of(|costs| costs.in_turns),
                have_ns: of(|costs| costs.have),
                tick_ns: of(|costs| costs.tick),
                opened_ns: of(|costs| costs.opened),
                closed_ns: of(|costs| costs.closed),
            });
        }
        Self { machine, runs, rows }
    }

    /// As text of at most 80 columns.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{}", self.machine)?;
        writeln!(out, "us; median of {} runs", self.runs)?;
        writeln!(out)?;
        writeln!(
            out,
            "{:<31}{:>8}{:>8}{:>7}{:>9}{:>9}{:>8}",
            "", "extent", "in turn", "have", "tick", "opened", "closed"
        )?;
        for row in &self.rows {
            let show = |spread: Option<Spread>| match spread {
                Some(ns) if ns.median >= 100_000.0 => format!("{:.0}", ns.median / 1e3),
                Some(ns) => format!("{:.2}", ns.median / 1e3),
                None => "-".to_owned(),
            };
            let [extent, in_turns] = [row.extent_ns, row.extent_in_turns_ns].map(show);
            let [have, tick] = [row.have_ns, row.tick_ns].map(show);
            let [opened, closed] = [row.opened_ns, row.closed_ns].map(show);
            let swarm = row.swarm.to_string();
            writeln!(
                out,
                "{swarm:<31}{extent:>8}{in_turns:>8}{have:>7}{tick:>9}{opened:>9}{closed:>8}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { idle, active, peers, pieces, holding } = *self;
        if idle + active > 1 || peers == 4 {
            return write!(f, "{idle} idle, {active} x {peers} x {pieces}");
        }
        let holding = match holding {
            Holding::All => "seeds",
            Holding::Half => "halves",
        };
        write!(f, "{peers} {holding} x {pieces}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_swarm_has_a_row_of_at_most_eighty_columns() {
        let all = super::super::swarms();
        let measured = all.iter().map(|&swarm| (swarm, Costs::default())).collect::<Vec<_>>();
        let table = Report::new(Machine::here(), 1, &measured).table();
        assert_eq!(table.lines().count(), all.len() + 5, "{table}");
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
    }
}
