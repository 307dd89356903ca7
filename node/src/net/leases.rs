//! The leases of one connection: which blocks to ask for, what was asked for, where arriving blocks
//! go. Never here: a socket, or the choice of what is leased to whom.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use shoal_core::{
    config::BLOCK_LEN,
    ids::{ConnId, LeaseId},
    session::{Event, Lease, event::LeaseEnd},
    wire::{BlockRange, Consequence, Message, Misbehaved, PeerFault},
};

use super::{
    buffer::ExtentBuffer,
    event::{NetEvent, Outbox, REPORT_BYTES, REPORT_EVERY},
    voice::Voice,
};

/// What one connection fetches.
///
/// Invariant: every outstanding request names a lease in `active`; a block of a lease is filled,
/// wanted, outstanding or arriving, and exactly one of them, or was rejected, and its lease is
/// `ending`, of which something is outstanding or arriving.
#[derive(Debug)]
pub(super) struct Leases {
    conn: ConnId,
    /// The fast extension (BEP 6): every request is answered or rejected.
    fast: bool,
    active: Vec<Active>,
    outstanding: VecDeque<Outstanding>,
    /// Requests taken back whose blocks, or rejections, may still come: no fault of the peer.
    retired: u32,
    /// Blocks and rejections that arrived without any request.
    unrequested: u32,
    /// The longest request made, bytes.
    longest: u32,
    /// The peer serves nothing.
    choked: bool,
}

/// A block on its way from the socket, and where it goes.
#[derive(Debug)]
pub(super) struct Arriving {
    /// None where its bytes are discarded.
    lease: Option<LeaseId>,
    /// Where in the extent the next byte goes; of no meaning for discarded bytes.
    at: u32,
    left: u32,
}

/// After this many blocks or rejections that nobody asked for a peer is a flood and closed: 16 MiB
/// in blocks of 16 KiB, more than any honest confusion makes.
const UNREQUESTED_MAX: u32 = 1024;

#[derive(Debug)]
struct Active {
    lease: Lease,
    buffer: ExtentBuffer,
    /// A bit for every block to ask for.
    wanted: u64,
    /// Nothing more is asked for; it ends when nothing of it is outstanding.
    ending: bool,
    unreported: u32,
    latency: Duration,
    reported_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    range: BlockRange,
    lease: LeaseId,
    asked_at: Instant,
}

impl Leases {
    pub(super) fn new(conn: ConnId, fast: bool) -> Self {
        Self {
            conn,
            fast,
            active: Vec::new(),
            outstanding: VecDeque::new(),
            retired: 0,
            unrequested: 0,
            longest: BLOCK_LEN,
            choked: true,
        }
    }

    /// The longest block that may arrive, bytes.
    pub(super) fn longest(&self) -> u32 {
        self.longest
    }

    /// Whether blocks are on their way.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Takes a lease on. One whose buffer is full already is received at once.
    pub(super) fn grant(
        &mut self,
        lease: Lease,
        buffer: ExtentBuffer,
        now: Instant,
        outbox: &mut Outbox,
    ) {
        assert_eq!(lease.len, buffer.len(), "the buffer of {lease:?}");
        if buffer.is_full() {
            outbox.push(NetEvent::ExtentReceived { conn: self.conn, lease: lease.id, buffer });
            return;
        }
        let wanted = buffer.missing();
        let latency = Duration::ZERO;
        self.active.push(Active {
            lease,
            buffer,
            wanted,
            // The choke was not known where the lease was granted: there it ends no lease.
            ending: self.fast && self.choked,
            unreported: 0,
            latency,
            reported_at: now,
        });
        if self.fast && self.choked {
            self.end_done(outbox);
        }
    }

    /// Ends a lease: appends a `cancel` for what is outstanding. Unknown ones are ignored.
    pub(super) fn revoke(&mut self, id: LeaseId, out: &mut Voice<'_>, outbox: &mut Outbox) {
        let Some(index) = self.active.iter().position(|active| active.lease.id == id) else {
            return;
        };
        let before = self.outstanding.len();
        self.outstanding.retain(|asked| {
            if asked.lease == id {
                out.say(&Message::Cancel(asked.range));
            }
            asked.lease != id
        });
        self.retire(before - self.outstanding.len());
        let active = self.active.remove(index);
        self.end(active, LeaseEnd::Revoked, outbox);
    }

    /// Ends every lease, for the connection is closing.
    pub(super) fn end_all(&mut self, outbox: &mut Outbox) {
        self.outstanding.clear();
        for active in std::mem::take(&mut self.active) {
            self.end(active, LeaseEnd::Closing, outbox);
        }
    }

    /// The peer chokes us: without the fast extension (BEP 6) it has dropped every request; with it
    /// each is still answered or rejected, and then its lease ends.
    pub(super) fn on_choke(&mut self, outbox: &mut Outbox) {
        self.choked = true;
        if self.fast {
            self.active.iter_mut().for_each(|active| active.ending = true);
            return self.end_done(outbox);
        }
        self.retire(self.outstanding.len());
        self.outstanding.clear();
        for active in &mut self.active {
            active.wanted = active.buffer.missing();
        }
    }

    pub(super) fn on_unchoke(&mut self) {
        self.choked = false;
    }

    /// The peer will not answer a request (BEP 6): nothing more of its lease is asked for.
    ///
    /// # Errors
    /// The fault of a peer that rejects far too much of what it was not asked for.
    pub(super) fn on_reject(
        &mut self,
        range: BlockRange,
        outbox: &mut Outbox,
    ) -> Result<(), PeerFault> {
        let index = self.outstanding.iter().position(|asked| asked.range == range);
        let Some(asked) = index.and_then(|index| self.outstanding.remove(index)) else {
            let (piece, offset) = (range.piece.0, range.offset);
            return self.unmatched(Misbehaved::UnrequestedReject { piece, offset });
        };
        if let Some(active) = self.active.iter_mut().find(|a| a.lease.id == asked.lease) {
            active.ending = true;
        }
        self.end_done(outbox);
        Ok(())
    }

    /// Says requests for wanted blocks, as many as the peer takes.
    pub(super) fn ask(&mut self, now: Instant, out: &mut Voice<'_>) {
        if self.choked {
            return;
        }
        let allowed = self.active.iter().map(|active| active.lease.requests_max).min();
        let allowed = allowed.unwrap_or(0).max(1) as usize;
        for active in self.active.iter_mut().filter(|active| !active.ending) {
            while active.wanted != 0 && self.outstanding.len() < allowed {
                let range = active.next_request();
                out.say(&Message::Request(range));
                self.longest = self.longest.max(range.len);
                let lease = active.lease.id;
                self.outstanding.push_back(Outstanding { range, lease, asked_at: now });
            }
        }
    }

    /// The head of a block arrived, of a piece of `piece_len` bytes: says where its bytes go.
    ///
    /// # Errors
    /// The fault of a peer that sends what cannot be an answer, or far too much of it.
    pub(super) fn begin(
        &mut self,
        range: BlockRange,
        piece_len: u32,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Result<Arriving, PeerFault> {
        range.check(piece_len)?;
        let discard = Arriving { lease: None, at: 0, left: range.len };
        let Some(index) = self.outstanding.iter().position(|asked| asked.range == range) else {
            outbox.wasted(range.len.into());
            return self.unasked(range, piece_len).map(|()| discard);
        };
        let Some(asked) = self.outstanding.remove(index) else { return Ok(discard) };
        let lease = asked.lease;
        let Some(active) = self.active.iter_mut().find(|active| active.lease.id == lease) else {
            outbox.wasted(range.len.into());
            return Ok(discard);
        };
        if index == 0 {
            active.latency = now.saturating_duration_since(asked.asked_at);
        }
        let at = range.offset - active.lease.offset;
        Ok(Arriving { lease: Some(lease), at, left: range.len })
    }

    /// The memory for the rest of a block; none where its bytes are discarded.
    pub(super) fn target(&mut self, arriving: &Arriving) -> Option<&mut [u8]> {
        let index = self.index_of(arriving)?;
        Some(self.active[index].buffer.target(arriving.at..arriving.at + arriving.left))
    }

    /// The next `got` bytes of a block are in its memory, or discarded.
    pub(super) fn advance(
        &mut self,
        arriving: &mut Arriving,
        got: u32,
        now: Instant,
        outbox: &mut Outbox,
    ) {
        debug_assert!(got <= arriving.left, "{got} bytes of {}", arriving.left);
        let index = self.index_of(arriving);
        let range = arriving.at..arriving.at + got;
        arriving.at += got;
        arriving.left -= got;
        let Some(index) = index else {
            // Its lease was revoked under way; of others all was counted when they began.
            outbox.wasted(if arriving.lease.is_some() { got.into() } else { 0 });
            return;
        };
        let active = &mut self.active[index];
        active.buffer.filled_by(self.conn, range);
        active.unreported += got;
        if active.buffer.is_full() {
            let mut active = self.active.remove(index);
            active.report(self.conn, now, outbox);
            let Active { lease, buffer, .. } = active;
            outbox.push(NetEvent::ExtentReceived { conn: self.conn, lease: lease.id, buffer });
        } else if arriving.left == 0 && active.ending {
            self.end_done(outbox);
        } else if u64::from(active.unreported) >= REPORT_BYTES || active.due() <= now {
            active.report(self.conn, now, outbox);
        }
    }

    /// When progress has to be reported, where there is any.
    pub(super) fn due(&self) -> Option<Instant> {
        self.active.iter().filter(|active| active.unreported > 0).map(Active::due).min()
    }

    /// Reports progress that has waited long enough.
    pub(super) fn tally(&mut self, now: Instant, outbox: &mut Outbox) {
        for active in &mut self.active {
            if active.unreported > 0 && active.due() <= now {
                active.report(self.conn, now, outbox);
            }
        }
    }

    /// Reports progress of no bytes: the peer has sent more than was read.
    pub(super) fn vouch(&self, outbox: &mut Outbox) {
        for active in &self.active {
            let (conn, lease) = (self.conn, active.lease.id);
            let (bytes, latency_us) = (0, 0);
            outbox.push(NetEvent::Core(Event::LeaseProgress { conn, lease, bytes, latency_us }));
        }
    }

    fn index_of(&self, arriving: &Arriving) -> Option<usize> {
        let id = arriving.lease?;
        self.active.iter().position(|active| active.lease.id == id)
    }

    fn end(&self, mut active: Active, end: LeaseEnd, outbox: &mut Outbox) {
        if active.unreported > 0 {
            active.report(self.conn, active.reported_at, outbox);
        }
        let Active { lease, buffer, .. } = active;
        outbox.push(NetEvent::LeaseEnded { conn: self.conn, lease: lease.id, buffer, end });
    }

    /// Ends the leases that are ending and have nothing outstanding any more.
    fn end_done(&mut self, outbox: &mut Outbox) {
        let outstanding = &self.outstanding;
        let waits = |id: LeaseId| outstanding.iter().any(|asked| asked.lease == id);
        let done = |active: &mut Active| active.ending && !waits(active.lease.id);
        for active in self.active.extract_if(.., done).collect::<Vec<_>>() {
            self.end(active, LeaseEnd::Rejected, outbox);
        }
    }

    fn retire(&mut self, requests: usize) {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        self.retired = self.retired.saturating_add(requests);
    }

    /// A block that answers nothing outstanding: late, a second copy, or made up.
    fn unasked(&mut self, range: BlockRange, piece_len: u32) -> Result<(), PeerFault> {
        let BlockRange { piece, offset, len } = range;
        let fault = Misbehaved::UnrequestedBlock { piece: piece.0, offset };
        let whole = len % BLOCK_LEN == 0 || range.end() == u64::from(piece_len);
        if offset % BLOCK_LEN != 0 || !whole {
            // No request of ours was ever like that.
            return Err(fault.into());
        }
        self.unmatched(fault)
    }

    /// An answer to nothing outstanding.
    fn unmatched(&mut self, fault: Misbehaved) -> Result<(), PeerFault> {
        if self.retired > 0 {
            self.retired -= 1;
            return Ok(());
        }
        self.unrequested += 1;
        if self.unrequested > UNREQUESTED_MAX {
            return Err(Misbehaved::Flood.into());
        }
        let fault = PeerFault::from(fault);
        match fault.consequence() {
            Consequence::Ignore => Ok(()),
            Consequence::Close | Consequence::Ban => Err(fault),
        }
    }
}

impl Arriving {
    /// Bytes still to come.
    pub(super) fn left(&self) -> u32 {
        self.left
    }
}

impl Active {
    /// The next run of wanted blocks, as long as one request may be; there is a wanted block.
    fn next_request(&mut self) -> BlockRange {
        let first = self.wanted.trailing_zeros();
        let run = (self.wanted >> first).trailing_ones();
        let blocks = run.min((self.lease.request_len / BLOCK_LEN).max(1));
        self.wanted &= !(u64::MAX >> (u64::BITS - blocks) << first);
        let start = first * BLOCK_LEN;
        let len = (blocks * BLOCK_LEN).min(self.lease.len - start);
        BlockRange { piece: self.lease.piece, offset: self.lease.offset + start, len }
    }

    fn due(&self) -> Instant {
        self.reported_at + REPORT_EVERY
    }

    fn report(&mut self, conn: ConnId, now: Instant, outbox: &mut Outbox) {
        let bytes = std::mem::take(&mut self.unreported);
        let latency = std::mem::take(&mut self.latency);
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.reported_at = now;
        let lease = self.lease.id;
        outbox.push(NetEvent::Core(Event::LeaseProgress { conn, lease, bytes, latency_us }));
    }
}
