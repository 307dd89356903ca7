//! Where every piece and extent stands. Every transition goes through [`Pieces`]; nobody else
//! changes a state.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    bitfield::Bitfield,
    ids::{ConnId, LeaseId, PeerId, PieceIndex},
    session::view::PieceState,
};

/// How one extent of a piece is to be fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtentPlan {
    /// Its length, bytes.
    pub len: u32,
    /// Bytes of blocks that are wholly padding: never requested.
    pub padding: u32,
}

/// Where a piece stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    Missing,
    Open,
    Verifying,
    Checking,
    Have,
}

/// Where an extent stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExtentState {
    /// Nobody fetches it.
    Missing,
    /// A policy is being asked whom to ask.
    Reserved,
    /// One connection fetches it; in endgame perhaps a second.
    Leased(Holder, Option<Holder>),
    /// It is in its buffer.
    Received,
}

/// Who holds a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The generation.
    pub lease: LeaseId,
    /// The connection.
    pub conn: ConnId,
}

/// One extent of an open piece.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Its length, bytes, padding included.
    pub len: u32,
    /// Bytes that its buffer holds, padding included, as of the last ended lease.
    pub filled: u32,
    /// Where it stands.
    pub state: ExtentState,
    /// Who sent it, once it is received.
    pub by: Option<ConnId>,
    /// Leases granted so far.
    pub attempts: u32,
    /// Peers that failed it.
    pub tried: Vec<PeerId>,
}

/// A piece being fetched.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its extents, in order.
    pub extents: Vec<Extent>,
    /// Only this connection may fetch it.
    pub only: Option<ConnId>,
    /// The piece's length, bytes: what it takes from the buffer budget.
    pub len: u32,
    sequence: u64,
}

/// An extent that nobody fetches: by age of its piece, then its place in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Pending {
    sequence: u64,
    extent: u32,
    piece: PieceIndex,
}

/// What followed from a received extent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Every extent of the piece is received: it is being verified.
    pub complete: bool,
    /// The other holder, which lost.
    pub loser: Option<Holder>,
}

/// Where every piece stands.
///
/// Invariants: a piece is in exactly one slot; `open` holds exactly the pieces in slots `Open` and
/// `Verifying`; `pending` exactly the missing extents of `Open` pieces; `have` exactly the pieces in
/// slot `Have`.
#[derive(Debug)]
pub struct Pieces {
    slots: Vec<Slot>,
    have: Bitfield,
    open: BTreeMap<PieceIndex, Open>,
    pending: BTreeSet<Pending>,
    sequence: u64,
    open_bytes: u64,
}

impl Pieces {
    /// `count` pieces, all missing.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self {
            slots: vec![Slot::Missing; count as usize],
            have: Bitfield::new(count as usize),
            open: BTreeMap::new(),
            pending: BTreeSet::new(),
            sequence: 0,
            open_bytes: 0,
        }
    }

    /// The pieces had.
    #[must_use]
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Whether nobody has begun the piece and it is not had.
    #[must_use]
    pub fn is_missing(&self, piece: PieceIndex) -> bool {
        self.slot(piece) == Slot::Missing
    }

    /// Bytes of buffers that open and verifying pieces take.
    #[must_use]
    pub fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// The pieces being fetched or verified.
    pub fn open(&self) -> impl Iterator<Item = (PieceIndex, &Open)> {
        self.open.iter().map(|(&piece, open)| (piece, open))
    }

    /// A piece being fetched or verified.
    #[must_use]
    pub fn opened(&self, piece: PieceIndex) -> Option<&Open> {
        self.open.get(&piece)
    }

    /// The state as an operator sees it.
    #[must_use]
    pub fn state(&self, piece: PieceIndex) -> PieceState {
        match self.slot(piece) {
            Slot::Missing => PieceState::Missing,
            Slot::Verifying | Slot::Checking => PieceState::Verifying,
            Slot::Have => PieceState::Have,
            Slot::Open => {
                let extents = &self.open[&piece].extents;
                let reserved = |e: &Extent| e.state == ExtentState::Reserved;
                let idle = |e: &Extent| reserved(e) || e.state == ExtentState::Missing;
                match extents.iter().all(idle) && extents.iter().any(reserved) {
                    true => PieceState::Reserved,
                    false => PieceState::Fetching,
                }
            }
        }
    }

    /// Extents of open pieces that nobody fetches, the oldest piece first.
    pub fn pending(&self) -> impl Iterator<Item = (PieceIndex, u32)> + '_ {
        self.pending.iter().map(|pending| (pending.piece, pending.extent))
    }

    /// Whether every extent of every open piece is leased, reserved or received.
    #[must_use]
    pub fn none_pending(&self) -> bool {
        self.pending.is_empty()
    }

    /// The store has the piece.
    pub fn found(&mut self, piece: PieceIndex) {
        let from = self.slot(piece);
        assert!(
            matches!(from, Slot::Missing | Slot::Checking),
            "found piece {} in {from:?}",
            piece.0
        );
        self.set(piece, Slot::Have);
    }

    /// The store is to look whether it has the piece.
    pub fn check(&mut self, piece: PieceIndex) {
        let from = self.slot(piece);
        assert!(
            matches!(from, Slot::Missing | Slot::Have),
            "check of piece {} in {from:?}",
            piece.0
        );
        self.set(piece, Slot::Checking);
    }

    /// Whether the store is looking.
    #[must_use]
    pub fn is_checking(&self, piece: PieceIndex) -> bool {
        self.slot(piece) == Slot::Checking
    }

    /// The store has not got the piece, or lost it.
    pub fn lost(&mut self, piece: PieceIndex) {
        let from = self.slot(piece);
        assert!(matches!(from, Slot::Checking | Slot::Have), "lost piece {} in {from:?}", piece.0);
        self.set(piece, Slot::Missing);
    }

    /// Begins a missing piece. True where all of it is padding: it is being verified already.
    pub fn begin(&mut self, piece: PieceIndex, plan: &[ExtentPlan], only: Option<ConnId>) -> bool {
        assert_eq!(self.slot(piece), Slot::Missing, "begin of piece {}", piece.0);
        self.sequence += 1;
        let sequence = self.sequence;
        let extents = plan.iter().map(|plan| Extent {
            len: plan.len,
            filled: plan.padding,
            state: match plan.padding == plan.len {
                true => ExtentState::Received,
                false => ExtentState::Missing,
            },
            by: None,
            attempts: 0,
            tried: Vec::new(),
        });
        let extents = extents.collect::<Vec<_>>();
        for (extent, _) in (0..).zip(&extents).filter(|(_, e)| e.state == ExtentState::Missing) {
            self.pending.insert(Pending { sequence, extent, piece });
        }
        let len = plan.iter().map(|plan| plan.len).sum::<u32>();
        self.open_bytes += u64::from(len);
        let complete = extents.iter().all(|e| e.state == ExtentState::Received);
        self.open.insert(piece, Open { extents, only, len, sequence });
        self.set(piece, if complete { Slot::Verifying } else { Slot::Open });
        complete
    }

    /// A policy is asked about a missing extent.
    pub fn reserve(&mut self, piece: PieceIndex, extent: u32) {
        self.take_pending(piece, extent);
        self.extent_mut(piece, extent).state = ExtentState::Reserved;
    }

    /// A reserved extent is to be asked about again.
    pub fn release(&mut self, piece: PieceIndex, extent: u32) {
        let state = &self.extent_mut(piece, extent).state;
        assert_eq!(*state, ExtentState::Reserved, "release of {}/{extent}", piece.0);
        self.put_pending(piece, extent);
    }

    /// Whether a policy is asked about this extent.
    #[must_use]
    pub fn is_reserved(&self, piece: PieceIndex, extent: u32) -> bool {
        let extent = self.open.get(&piece).and_then(|open| open.extents.get(extent as usize));
        extent.is_some_and(|extent| extent.state == ExtentState::Reserved)
    }

    /// A connection gets a missing or reserved extent, or a second one a leased extent. True where
    /// it is the second.
    pub fn lease(&mut self, piece: PieceIndex, extent: u32, holder: Holder) -> bool {
        if self.extent(piece, extent).state == ExtentState::Missing {
            self.take_pending(piece, extent);
        }
        let entry = self.extent_mut(piece, extent);
        entry.attempts += 1;
        let (state, second) = match entry.state {
            ExtentState::Missing | ExtentState::Reserved => {
                (ExtentState::Leased(holder, None), false)
            }
            ExtentState::Leased(first, None) => (ExtentState::Leased(first, Some(holder)), true),
            ExtentState::Leased(_, Some(_)) | ExtentState::Received => {
                unreachable!("a third lease of extent {}/{extent}: {:?}", piece.0, entry.state)
            }
        };
        entry.state = state;
        second
    }

    /// A lease ended unfilled. `filled` is what the extent's buffer holds, where the shell kept it.
    /// True where nobody fetches the extent any more.
    pub fn ended(&mut self, piece: PieceIndex, extent: u32, lease: LeaseId, filled: u32) -> bool {
        let entry = self.extent_mut(piece, extent);
        let ExtentState::Leased(first, second) = entry.state else { return false };
        let rest = match second {
            Some(second) if second.lease == lease => Some(first),
            Some(second) if first.lease == lease => Some(second),
            None if first.lease == lease => None,
            Some(_) | None => return false,
        };
        if let Some(rest) = rest {
            entry.state = ExtentState::Leased(rest, None);
            return false;
        }
        entry.filled = filled.min(entry.len);
        self.put_pending(piece, extent);
        true
    }

    /// An extent is in its buffer.
    pub fn received(&mut self, piece: PieceIndex, extent: u32, lease: LeaseId) -> Option<Received> {
        let entry = self.open.get_mut(&piece)?.extents.get_mut(extent as usize)?;
        let ExtentState::Leased(first, second) = entry.state else { return None };
        let (winner, loser) = match second {
            Some(second) if second.lease == lease => (second, Some(first)),
            _ if first.lease == lease => (first, second),
            Some(_) | None => return None,
        };
        entry.by = Some(winner.conn);
        entry.state = ExtentState::Received;
        entry.filled = entry.len;
        let extents = &self.open[&piece].extents;
        let complete = extents.iter().all(|e| e.state == ExtentState::Received);
        if complete {
            self.set(piece, Slot::Verifying);
        }
        Some(Received { complete, loser })
    }

    /// A piece is verified and written. Returns the connection that sent most of it.
    pub fn verified(&mut self, piece: PieceIndex) -> Option<ConnId> {
        assert_eq!(self.slot(piece), Slot::Verifying, "verified piece {}", piece.0);
        let open = self.drop_open(piece);
        self.set(piece, Slot::Have);
        let mut sent = BTreeMap::new();
        for extent in &open.extents {
            if let Some(conn) = extent.by {
                *sent.entry(conn).or_insert(0u64) += u64::from(extent.len);
            }
        }
        sent.into_iter()
            .max_by_key(|&(conn, bytes)| (bytes, std::cmp::Reverse(conn)))
            .map(|(conn, _)| conn)
    }

    /// A piece being fetched or verified is given up: missing again. Returns who held leases.
    pub fn give_up(&mut self, piece: PieceIndex) -> Vec<Holder> {
        let from = self.slot(piece);
        assert!(matches!(from, Slot::Open | Slot::Verifying), "give up of {} in {from:?}", piece.0);
        let open = self.drop_open(piece);
        self.set(piece, Slot::Missing);
        let holders = open.extents.into_iter().flat_map(|extent| match extent.state {
            ExtentState::Leased(first, second) => [Some(first), second],
            ExtentState::Missing | ExtentState::Reserved | ExtentState::Received => [None, None],
        });
        holders.flatten().collect()
    }

    /// Whether the piece is being verified.
    #[must_use]
    pub fn is_verifying(&self, piece: PieceIndex) -> bool {
        self.slot(piece) == Slot::Verifying
    }

    /// A peer failed an extent: it is asked again only where nobody else is.
    pub fn mark_tried(&mut self, piece: PieceIndex, extent: u32, peer: PeerId) {
        let Some(open) = self.open.get_mut(&piece) else { return };
        let Some(extent) = open.extents.get_mut(extent as usize) else { return };
        if !extent.tried.contains(&peer) && extent.tried.len() < TRIED_MAX {
            extent.tried.push(peer);
        }
    }

    /// Checks the invariants; for tests and simulation.
    ///
    /// # Panics
    /// Where one is broken: our own mistake.
    pub fn check_invariants(&self) {
        for (index, &slot) in (0..).zip(&self.slots) {
            let piece = PieceIndex(index);
            assert_eq!(self.have.get(piece), slot == Slot::Have, "have-bit of piece {index}");
            let is_open = matches!(slot, Slot::Open | Slot::Verifying);
            assert_eq!(self.open.contains_key(&piece), is_open, "openness of piece {index}");
        }
        let bytes = self.open.values().map(|open| u64::from(open.len)).sum::<u64>();
        assert_eq!(bytes, self.open_bytes, "bytes of open pieces");
        let missing = self.open.iter().flat_map(|(&piece, open)| {
            let extents = (0..).zip(&open.extents);
            let missing = extents.filter(|(_, e)| e.state == ExtentState::Missing);
            let sequence = open.sequence;
            missing.map(move |(extent, _)| Pending { sequence, extent, piece })
        });
        assert_eq!(missing.collect::<BTreeSet<_>>(), self.pending, "pending extents");
    }

    fn slot(&self, piece: PieceIndex) -> Slot {
        self.slots[piece.0 as usize]
    }

    fn set(&mut self, piece: PieceIndex, slot: Slot) {
        self.slots[piece.0 as usize] = slot;
        match slot {
            Slot::Have => self.have.set(piece),
            Slot::Missing | Slot::Open | Slot::Verifying | Slot::Checking => self.have.clear(piece),
        };
    }

    fn extent(&self, piece: PieceIndex, extent: u32) -> &Extent {
        &self.open[&piece].extents[extent as usize]
    }

    fn extent_mut(&mut self, piece: PieceIndex, extent: u32) -> &mut Extent {
        let open = self.open.get_mut(&piece).expect("the caller names an open piece");
        &mut open.extents[extent as usize]
    }

    fn take_pending(&mut self, piece: PieceIndex, extent: u32) {
        let sequence = self.open[&piece].sequence;
        let was_there = self.pending.remove(&Pending { sequence, extent, piece });
        assert!(was_there, "extent {}/{extent} was not pending", piece.0);
    }

    fn put_pending(&mut self, piece: PieceIndex, extent: u32) {
        self.extent_mut(piece, extent).state = ExtentState::Missing;
        let sequence = self.open[&piece].sequence;
        self.pending.insert(Pending { sequence, extent, piece });
    }

    fn drop_open(&mut self, piece: PieceIndex) -> Open {
        let open = self.open.remove(&piece).expect("the slot says that it is open");
        self.open_bytes -= u64::from(open.len);
        for extent in 0..open.extents.len() as u32 {
            self.pending.remove(&Pending { sequence: open.sequence, extent, piece });
        }
        open
    }
}

/// How many peers are remembered that failed an extent.
const TRIED_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAN: [ExtentPlan; 2] =
        [ExtentPlan { len: 16, padding: 0 }, ExtentPlan { len: 16, padding: 0 }];

    fn holder(lease: u64) -> Holder {
        Holder { lease: LeaseId(lease), conn: ConnId(lease) }
    }

    #[test]
    fn piece_of_padding_alone_is_verified_at_once() {
        let mut pieces = Pieces::new(1);
        assert!(pieces.begin(PieceIndex(0), &[ExtentPlan { len: 16, padding: 16 }], None));
        assert!(pieces.is_verifying(PieceIndex(0)));
        assert_eq!(pieces.verified(PieceIndex(0)), None);
        pieces.check_invariants();
    }

    #[test]
    fn second_lease_wins_and_names_the_loser() {
        let (mut pieces, piece) = (Pieces::new(1), PieceIndex(0));
        pieces.begin(piece, &PLAN[..1], None);
        assert!(!pieces.lease(piece, 0, holder(1)));
        assert!(pieces.lease(piece, 0, holder(2)));
        let received = pieces.received(piece, 0, LeaseId(2)).unwrap();
        assert_eq!(received, Received { complete: true, loser: Some(holder(1)) });
        assert_eq!(pieces.received(piece, 0, LeaseId(1)), None);
    }

    #[test]
    fn a_lease_given_back_is_pending_with_what_it_filled() {
        let (mut pieces, piece) = (Pieces::new(1), PieceIndex(0));
        pieces.begin(piece, &PLAN, None);
        pieces.lease(piece, 1, holder(1));
        assert_eq!(pieces.pending().collect::<Vec<_>>(), [(piece, 0)]);
        assert!(pieces.ended(piece, 1, LeaseId(1), 7));
        assert_eq!(pieces.opened(piece).unwrap().extents[1].filled, 7);
        assert_eq!(pieces.pending().count(), 2);
        assert!(!pieces.ended(piece, 1, LeaseId(1), 9), "an old generation changes nothing");
        pieces.check_invariants();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Any sequence of transitions keeps the invariants, against a model that knows only
        /// which pieces are had.
        #[test]
        fn transitions_keep_the_invariants(steps in prop::collection::vec((0u8..9, 0u32..4, 0u32..2), 0..200)) {
            let mut pieces = Pieces::new(4);
            let mut had = [false; 4];
            let mut leases = Vec::new();
            let mut next = 0;
            for (step, index, extent) in steps {
                let piece = PieceIndex(index);
                let state = pieces.opened(piece).map(|open| open.extents[extent as usize].state.clone());
                let verifying = pieces.is_verifying(piece);
                match (step, state) {
                    (0, None) if pieces.is_missing(piece) => { pieces.begin(piece, &PLAN, None); }
                    (1, Some(ExtentState::Missing)) => pieces.reserve(piece, extent),
                    (2, Some(ExtentState::Reserved)) => pieces.release(piece, extent),
                    (3, Some(ExtentState::Missing | ExtentState::Reserved | ExtentState::Leased(_, None))) => {
                        next += 1;
                        pieces.lease(piece, extent, holder(next));
                        leases.push((piece, extent, LeaseId(next)));
                    }
                    (4, Some(_)) => if let Some((piece, extent, lease)) = leases.pop()
                        && pieces.opened(piece).is_some() {
                        pieces.ended(piece, extent, lease, 3);
                    },
                    (5, _) => if let Some((piece, extent, lease)) = leases.pop() {
                        pieces.received(piece, extent, lease);
                    },
                    (6, Some(_)) if verifying => { pieces.verified(piece); had[index as usize] = true; }
                    (7, Some(_)) => { pieces.give_up(piece); }
                    (8, None) if had[index as usize] => { pieces.lost(piece); had[index as usize] = false; }
                    _ => {}
                }
                pieces.check_invariants();
                for (index, had) in (0..).zip(had) {
                    prop_assert_eq!(pieces.have().get(PieceIndex(index)), had);
                }
            }
        }
    }
}
