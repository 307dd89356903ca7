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
    /// Bytes of it that are never requested.
    pub padding: u32,
    /// Where it stands.
    pub state: ExtentState,
    /// Who sent it, once it is received.
    pub by: Option<ConnId>,
    /// Leases granted so far.
    pub attempts: u32,
    /// Peers that failed it.
    pub tried: Vec<PeerId>,
    /// How often it was taken from a holder for another peer.
    pub take_overs: u32,
    /// Bytes of it that came over its ended leases, whatever became of them.
    pub came: u64,
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
    /// Bytes of the extent that came in vain: more than once, or in blocks that were not finished.
    pub in_vain: u64,
}

/// Where every piece stands.
///
/// Invariants: a piece is in exactly one slot; `open` holds exactly the pieces in slots `Open` and
/// `Verifying`; `pending` exactly the missing extents of `Open` pieces; `have` exactly the pieces in
/// slot `Have`; `lacking` exactly the wanted pieces in any other slot.
#[derive(Debug)]
pub struct Pieces {
    slots: Vec<Slot>,
    have: Bitfield,
    wanted: Bitfield,
    lacking: Bitfield,
    open: BTreeMap<PieceIndex, Open>,
    pending: BTreeSet<Pending>,
    sequence: u64,
    open_bytes: u64,
    verifying_bytes: u64,
    /// Open pieces that only one connection may fetch.
    exclusive: usize,
}

impl Pieces {
    /// `count` pieces, all missing and all wanted.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self {
            slots: vec![Slot::Missing; count as usize],
            have: Bitfield::new(count as usize),
            wanted: Bitfield::full(count as usize),
            lacking: Bitfield::full(count as usize),
            open: BTreeMap::new(),
            pending: BTreeSet::new(),
            sequence: 0,
            open_bytes: 0,
            verifying_bytes: 0,
            exclusive: 0,
        }
    }

    /// The pieces had.
    #[must_use]
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// The pieces that are wanted.
    #[must_use]
    pub fn wanted(&self) -> &Bitfield {
        &self.wanted
    }

    /// The pieces that are wanted and not had.
    #[must_use]
    pub fn lacking(&self) -> &Bitfield {
        &self.lacking
    }

    /// Changes which pieces are wanted. Where they stand stays.
    pub fn want(&mut self, wanted: Bitfield) {
        self.lacking = wanted.without(&self.have);
        self.wanted = wanted;
    }

    /// Whether the piece waits to be begun: wanted, not had, and nobody is at it.
    #[must_use]
    pub fn waits(&self, piece: PieceIndex) -> bool {
        self.is_missing(piece) && self.wanted.get(piece)
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

    /// Bytes of pieces that came whole and are being verified or written.
    #[must_use]
    pub fn verifying_bytes(&self) -> u64 {
        self.verifying_bytes
    }

    /// Whether only one connection may fetch any of the open pieces.
    #[must_use]
    pub fn are_any_exclusive(&self) -> bool {
        self.exclusive > 0
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
            Slot::Missing if !self.wanted.get(piece) => PieceState::Unwanted,
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

    /// Bytes of an extent of an open piece that are still to come, for a lease that begins with an
    /// empty buffer, or with what earlier ones left.
    #[must_use]
    pub fn due(&self, piece: PieceIndex, extent: u32, anew: bool) -> u32 {
        let extent = self.extent(piece, extent);
        extent.len.saturating_sub(if anew { extent.padding } else { extent.filled })
    }

    /// Whether an extent of an open piece is fetched by nobody.
    #[must_use]
    pub fn has_pending(&self, piece: PieceIndex) -> bool {
        let missing = |open: &Open| open.extents.iter().any(|e| e.state == ExtentState::Missing);
        !self.pending.is_empty() && self.open.get(&piece).is_some_and(missing)
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
            padding: plan.padding,
            state: match plan.padding == plan.len {
                true => ExtentState::Received,
                false => ExtentState::Missing,
            },
            by: None,
            attempts: 0,
            take_overs: 0,
            came: 0,
            tried: Vec::new(),
        });
        let extents = extents.collect::<Vec<_>>();
        for (extent, _) in (0..).zip(&extents).filter(|(_, e)| e.state == ExtentState::Missing) {
            self.pending.insert(Pending { sequence, extent, piece });
        }
        let len = plan.iter().map(|plan| plan.len).sum::<u32>();
        self.open_bytes += u64::from(len);
        self.exclusive += usize::from(only.is_some());
        let complete = extents.iter().all(|e| e.state == ExtentState::Received);
        self.open.insert(piece, Open { extents, only, len, sequence });
        if complete {
            self.verify(piece);
        } else {
            self.set(piece, Slot::Open);
        }
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

    /// So many bytes came over a lease that is about to end. False where the extent is no longer
    /// fetched by it: they came in vain.
    pub fn came(&mut self, piece: PieceIndex, extent: u32, lease: LeaseId, bytes: u32) -> bool {
        let open = self.open.get_mut(&piece);
        let Some(entry) = open.and_then(|open| open.extents.get_mut(extent as usize)) else {
            return false;
        };
        let ExtentState::Leased(first, second) = entry.state else { return false };
        let holds = first.lease == lease || second.is_some_and(|second| second.lease == lease);
        entry.came += u64::from(if holds { bytes } else { 0 });
        holds
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
        entry.filled = filled.max(entry.padding).min(entry.len);
        self.put_pending(piece, extent);
        true
    }

    /// An extent is in its buffer; what came of it was told by [`Self::came`].
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
        let in_vain = entry.came.saturating_sub(u64::from(entry.len - entry.padding));
        entry.came -= in_vain;
        let extents = &self.open[&piece].extents;
        let complete = extents.iter().all(|e| e.state == ExtentState::Received);
        if complete {
            self.verify(piece);
        }
        Some(Received { complete, loser, in_vain })
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

    /// A piece being fetched or verified is given up: missing again. Returns who held leases, and how
    /// many bytes of it came in vain over those that ended.
    pub fn give_up(&mut self, piece: PieceIndex) -> (Vec<Holder>, u64) {
        let from = self.slot(piece);
        assert!(matches!(from, Slot::Open | Slot::Verifying), "give up of {} in {from:?}", piece.0);
        let open = self.drop_open(piece);
        self.set(piece, Slot::Missing);
        let came = open.extents.iter().map(|extent| extent.came).sum();
        let holders = open.extents.into_iter().flat_map(|extent| match extent.state {
            ExtentState::Leased(first, second) => [Some(first), second],
            ExtentState::Missing | ExtentState::Reserved | ExtentState::Received => [None, None],
        });
        (holders.flatten().collect(), came)
    }

    /// Whether the piece is being verified.
    #[must_use]
    pub fn is_verifying(&self, piece: PieceIndex) -> bool {
        self.slot(piece) == Slot::Verifying
    }

    /// An extent is taken from a slow holder.
    pub fn mark_taken_over(&mut self, piece: PieceIndex, extent: u32, from: PeerId) {
        self.mark_tried(piece, extent, from);
        let open = self.open.get_mut(&piece);
        if let Some(extent) = open.and_then(|open| open.extents.get_mut(extent as usize)) {
            extent.take_overs += 1;
        }
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
        assert_eq!(self.lacking, self.wanted.without(&self.have), "wanted pieces not had");
        let bytes = self.open.values().map(|open| u64::from(open.len)).sum::<u64>();
        assert_eq!(bytes, self.open_bytes, "bytes of open pieces");
        let verifying = self.open.iter().filter(|(piece, _)| self.is_verifying(**piece));
        let bytes = verifying.map(|(_, open)| u64::from(open.len)).sum::<u64>();
        assert_eq!(bytes, self.verifying_bytes, "bytes of pieces being verified");
        let exclusive = self.open.values().filter(|open| open.only.is_some());
        assert_eq!(exclusive.count(), self.exclusive, "pieces for one connection alone");
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
            Slot::Have => {
                self.have.set(piece);
                self.lacking.clear(piece);
            }
            Slot::Missing | Slot::Open | Slot::Verifying | Slot::Checking => {
                self.have.clear(piece);
                if self.wanted.get(piece) {
                    self.lacking.set(piece);
                }
            }
        }
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

    /// An open piece came whole.
    fn verify(&mut self, piece: PieceIndex) {
        self.set(piece, Slot::Verifying);
        self.verifying_bytes += u64::from(self.open[&piece].len);
    }

    fn drop_open(&mut self, piece: PieceIndex) -> Open {
        let open = self.open.remove(&piece).expect("the slot says that it is open");
        self.open_bytes -= u64::from(open.len);
        if self.slot(piece) == Slot::Verifying {
            self.verifying_bytes -= u64::from(open.len);
        }
        self.exclusive -= usize::from(open.only.is_some());
        for extent in 0..open.extents.len() as u32 {
            self.pending.remove(&Pending { sequence: open.sequence, extent, piece });
        }
        open
    }
}

/// How many peers are remembered that failed an extent.
const TRIED_MAX: usize = 32;

#[cfg(test)]
mod tests;
