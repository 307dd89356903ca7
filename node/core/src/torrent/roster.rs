//! The peers of a torrent as native policies see them, in the order in which they are asked: who is
//! next is found without a look at all of them. Never here: what a row is made of.

use std::collections::BTreeMap;

use crate::{
    ids::{ConnId, PeerId},
    policy::native::{Native, Seen},
    time::Timestamp,
};

/// A peer as the native policies see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its connection.
    pub conn: ConnId,
    /// Where the session keeps that.
    pub place: usize,
    /// Its id.
    pub id: PeerId,
    /// Bytes that it served in its life, as it reported, and since; of one that reports nothing,
    /// since alone.
    pub uploaded: u64,
    /// What it reported; none: it counts as the median of those that report.
    pub reported: Option<u64>,
    /// Extents asked of it now.
    pub inflight: u32,
    /// Extents that may be.
    pub slots: u32,
    /// Bytes a second that it sends us, smoothed.
    pub rate_bps: u64,
    /// It has all of them.
    pub is_seed: bool,
    /// It lets us have something that we want, and has a free slot; the times below apart.
    pub is_open: bool,
    /// Gets nothing before this, as long as others work.
    pub rests_until: Timestamp,
    /// Gets nothing before this.
    pub refuses_until: Timestamp,
}

impl Seen for Row {
    fn id(&self) -> PeerId {
        self.id
    }

    fn uploaded(&self) -> u64 {
        self.uploaded
    }

    fn inflight(&self) -> u32 {
        self.inflight
    }

    fn slots(&self) -> u32 {
        self.slots
    }

    fn rate_bps(&self) -> u64 {
        self.rate_bps
    }
}

/// Where a row stands in the order: the least is asked first.
type Key = (u64, u64, PeerId, ConnId);

/// The peers of a torrent, web seeds apart.
///
/// Invariants: `reporting` and `silent` hold exactly the open rows of `known` that report and that
/// do not, each under its key; `reports` what all report, sorted; `partial` the places of those that
/// lack a piece.
#[derive(Debug, Default)]
pub struct Roster {
    native: Native,
    known: BTreeMap<ConnId, Row>,
    reporting: BTreeMap<Key, Row>,
    /// Apart, for what they count as moves with the median.
    silent: BTreeMap<Key, Row>,
    reports: Vec<u64>,
    partial: BTreeMap<ConnId, usize>,
    /// No peer rests after this.
    rested: Timestamp,
    /// Peers that were found to have no waiting piece, and got none since: when, as the picker counts
    /// the pieces put back to wait.
    barren: BTreeMap<ConnId, u64>,
    /// All open peers were, at that count.
    dry: Option<u64>,
}

impl Roster {
    /// Puts the rows into the order of a policy.
    pub fn order_by(&mut self, native: Native) {
        if self.native == native {
            return;
        }
        self.native = native;
        self.reporting.clear();
        self.silent.clear();
        for row in self.known.clone().into_values() {
            self.file(row);
        }
    }

    /// Takes a peer in, or how it stands.
    pub fn update(&mut self, row: Row) {
        let old = self.known.get(&row.conn).copied();
        if old == Some(row) {
            return;
        }
        self.rested = self.rested.max(row.rests_until);
        if old.is_some_and(|old| self.is_filed_alike(&old, &row)) {
            return self.file_in_place(row);
        }
        if let Some(old) = old {
            self.unfile(&old);
        }
        self.report(old.and_then(|old| old.reported), row.reported);
        match row.is_seed {
            true => self.partial.remove(&row.conn),
            false => self.partial.insert(row.conn, row.place),
        };
        self.known.insert(row.conn, row);
        self.file(row);
    }

    /// A peer is gone.
    pub fn remove(&mut self, conn: ConnId) {
        let Some(old) = self.known.remove(&conn) else { return };
        self.unfile(&old);
        self.report(old.reported, None);
        self.partial.remove(&conn);
        self.barren.remove(&conn);
    }

    /// The open peers in the order of the policy, those that report nothing with the median.
    pub fn open(&self) -> impl Iterator<Item = Row> + '_ {
        let (native, median) = (self.native, self.median());
        let raised = move |row: &Row| Row { uploaded: row.uploaded.saturating_add(median), ..*row };
        let mut reporting = self.reporting.values().copied().peekable();
        let mut silent = self.silent.values().map(raised).peekable();
        std::iter::from_fn(move || {
            let reports = match (reporting.peek(), silent.peek()) {
                (Some(one), Some(other)) => key(native, one) <= key(native, other),
                (one, _) => one.is_some(),
            };
            if reports { reporting.next() } else { silent.next() }
        })
    }

    /// How many peers are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.reporting.len() + self.silent.len()
    }

    /// Whether a peer lacks a piece: others than this node download.
    #[must_use]
    pub fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// The places of the peers that lack a piece.
    pub fn partial(&self) -> impl Iterator<Item = (ConnId, usize)> + '_ {
        self.partial.iter().map(|(&conn, &place)| (conn, place))
    }

    /// The median of what peers report as uploaded; 0 where none does.
    #[must_use]
    pub fn median(&self) -> u64 {
        self.reports.get(self.reports.len() / 2).copied().unwrap_or(0)
    }

    /// Whether a peer may rest.
    #[must_use]
    pub fn may_rest(&self, now: Timestamp) -> bool {
        self.rested > now
    }

    /// Whether every open peer was found to have no waiting piece, and none was put back since.
    #[must_use]
    pub fn is_dry(&self, returned: u64) -> bool {
        self.dry == Some(returned)
    }

    /// Every open peer was found to have no waiting piece.
    pub fn is_dry_since(&mut self, returned: u64) {
        self.dry = Some(returned);
    }

    /// Whether a peer was found to have no waiting piece, and neither it got one nor one was put back
    /// since.
    #[must_use]
    pub fn is_barren(&self, conn: ConnId, returned: u64) -> bool {
        self.barren.get(&conn) == Some(&returned)
    }

    /// A peer was found to have no waiting piece.
    pub fn is_barren_since(&mut self, conn: ConnId, returned: u64) {
        self.barren.insert(conn, returned);
    }

    /// A peer told of pieces, and one of them may be waiting.
    pub fn may_be_fertile(&mut self, conn: ConnId) {
        if self.barren.remove(&conn).is_some() {
            self.dry = None;
        }
    }

    /// How a peer was when it was looked at last.
    #[must_use]
    pub fn row(&self, conn: ConnId) -> Option<Row> {
        self.known.get(&conn).copied()
    }

    /// Checks the invariants; for tests and simulation.
    ///
    /// # Panics
    /// Where one is broken: our own mistake.
    pub fn check_invariants(&self) {
        let mut fresh = Self { native: self.native, ..Self::default() };
        self.known.values().for_each(|row| fresh.update(*row));
        assert_eq!(self.reporting, fresh.reporting, "open rows that report");
        assert_eq!(self.silent, fresh.silent, "open rows that do not");
        assert_eq!(self.reports, fresh.reports, "reports");
        assert_eq!(self.partial, fresh.partial, "peers that lack a piece");
    }

    /// Whether two rows of a peer stand at the same place, and count alike in everything else.
    fn is_filed_alike(&self, old: &Row, row: &Row) -> bool {
        (old.is_open, old.is_seed, old.reported) == (row.is_open, row.is_seed, row.reported)
            && key(self.native, old) == key(self.native, row)
    }

    /// Takes in how a peer stands that keeps its place.
    fn file_in_place(&mut self, row: Row) {
        self.known.insert(row.conn, row);
        if !row.is_open {
            return;
        }
        if self.dry.is_some_and(|returned| !self.is_barren(row.conn, returned)) {
            self.dry = None;
        }
        let key = key(self.native, &row);
        let filed = match row.reported {
            Some(_) => self.reporting.get_mut(&key),
            None => self.silent.get_mut(&key),
        };
        if let Some(filed) = filed {
            *filed = row;
        }
    }

    fn file(&mut self, row: Row) {
        if !row.is_open {
            return;
        }
        if self.dry.is_some_and(|returned| !self.is_barren(row.conn, returned)) {
            self.dry = None;
        }
        let key = key(self.native, &row);
        match row.reported {
            Some(_) => self.reporting.insert(key, row),
            None => self.silent.insert(key, row),
        };
    }

    fn unfile(&mut self, row: &Row) {
        let key = key(self.native, row);
        let filed = match row.reported {
            Some(_) => self.reporting.remove(&key),
            None => self.silent.remove(&key),
        };
        assert_eq!(filed.is_some(), row.is_open, "{row:?} under its key");
    }

    fn report(&mut self, old: Option<u64>, new: Option<u64>) {
        if old == new {
            return;
        }
        if let Some(place) = old.and_then(|old| self.reports.binary_search(&old).ok()) {
            self.reports.remove(place);
        }
        if let Some(new) = new {
            let place = self.reports.partition_point(|&report| report < new);
            self.reports.insert(place, new);
        }
    }
}

fn key(native: Native, row: &Row) -> Key {
    let (uploaded, inflight) = (row.uploaded, u64::from(row.inflight));
    let (first, second) = match native {
        Native::LowestUploaded => (uploaded, inflight),
        Native::LeastInflight => (inflight, uploaded),
        // These look at all, in order of id.
        Native::Fastest
        | Native::TwoChoices
        | Native::WeightedRandom
        | Native::Random
        | Native::RoundRobin => (0, 0),
    };
    (first, second, row.id, row.conn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::{Candidate, native::Cursor},
        rng::Rng,
    };

    fn row(n: u64) -> Row {
        Row {
            conn: ConnId(n),
            place: n as usize,
            id: PeerId([n as u8; 20]),
            uploaded: 0,
            reported: None,
            inflight: 0,
            slots: 4,
            rate_bps: 0,
            is_seed: false,
            is_open: true,
            rests_until: Timestamp(0),
            refuses_until: Timestamp(0),
        }
    }

    #[test]
    fn the_first_in_order_is_whom_the_policy_chooses_of_all() {
        let mut rng = Rng::new(1);
        let mut roster = Roster::default();
        let mut rows: BTreeMap<ConnId, Row> = BTreeMap::new();
        for step in 0..2000 {
            let conn = ConnId(rng.below(12) as u64);
            match rng.below(8) {
                0 => {
                    rows.remove(&conn);
                    roster.remove(conn);
                }
                _ => {
                    let since = rng.below(4) as u64;
                    let reported = (rng.below(2) == 0).then(|| rng.below(5) as u64);
                    let changed = Row {
                        uploaded: reported.unwrap_or(0) + since,
                        reported,
                        inflight: rng.below(4) as u32,
                        is_seed: rng.below(2) == 0,
                        is_open: rng.below(4) > 0,
                        ..row(conn.0)
                    };
                    rows.insert(conn, changed);
                    roster.update(changed);
                }
            }
            let native = Native::ALL[step / 100 % 2];
            roster.order_by(native);
            let all = rows.values().copied().collect::<Vec<_>>();
            roster.check_invariants();
            assert_eq!(roster.known, rows, "step {step}");
            let mut reports = all.iter().filter_map(|row| row.reported).collect::<Vec<_>>();
            reports.sort_unstable();
            let median = reports.get(reports.len() / 2).copied().unwrap_or(0);
            let open = all.into_iter().filter(|row| row.is_open).map(|row| match row.reported {
                Some(_) => row,
                None => Row { uploaded: row.uploaded + median, ..row },
            });
            let open = open.collect::<Vec<_>>();
            let table = (0..open.len()).map(|peer| Candidate { peer, tried: false });
            let table = table.collect::<Vec<_>>();
            let chosen = native.choose(&open, &table, &mut Rng::new(1), &mut Cursor::default());
            let first = roster.open().next();
            assert_eq!(first, chosen.map(|chosen| open[chosen]), "step {step}");
            assert_eq!((roster.open().count(), roster.open_count()), (open.len(), open.len()));
        }
    }

    #[test]
    fn the_rest_are_in_order_of_id() {
        let mut roster = Roster::default();
        for n in [3, 1, 2] {
            roster.update(Row { uploaded: 9 - n, reported: (n == 2).then_some(n), ..row(n) });
        }
        roster.order_by(Native::Random);
        assert_eq!(roster.open().map(|row| row.conn.0).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn it_is_dry_until_a_peer_or_a_piece_comes() {
        let mut roster = Roster::default();
        roster.update(row(1));
        roster.is_barren_since(ConnId(1), 5);
        roster.is_dry_since(5);
        roster.update(Row { inflight: 1, ..row(1) });
        assert!(roster.is_dry(5) && !roster.is_dry(6), "nothing new but a piece put back");
        roster.may_be_fertile(ConnId(1));
        assert!(!roster.is_dry(5), "it has one more");
        roster.is_dry_since(5);
        roster.update(row(2));
        assert!(!roster.is_dry(5), "somebody else came");
    }
}
