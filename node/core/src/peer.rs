//! One connection as the core sees it: flags, what the peer has, what it offered, how it does.
//! Never here: sockets, or decisions about other connections.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crate::{
    bitfield::Bitfield,
    config::{BLOCK_LEN, EXTENT_LEN},
    ids::{ConnId, LeaseId, PeerId, PolicyId, TorrentId},
    policy::Labels,
    rate::Rate,
    time::Timestamp,
    torrent::blame::Suspect,
    wire::Terms,
};

/// Requests that a foreign peer takes at once where it does not say (libtorrent's documented
/// default).
const REQUESTS_DEFAULT: u32 = 250;
/// A peer that lost an extent for slowness or silence gets no other for this long, times its failures
/// in a row, as long as others work: or it would hold one extent after the other.
const REST: Duration = Duration::from_secs(10);
/// The most rests in a row.
const REST_MAX: u32 = 6;

/// Who made a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The peer dialled us.
    Incoming,
    /// We dialled it for a download.
    Dialled,
    /// We dialled it for an operator: a seed keeps it even to a seed.
    Operator,
    /// It is an HTTP server (BEP 19), not a peer: `session/web_seeds`.
    WebSeed,
}

/// Peer exchange over one connection (BEP 11).
#[derive(Debug, Default)]
pub struct Gossip {
    /// The id under which the peer takes messages of `ut_pex`.
    pub id: Option<u8>,
    /// Whom it was told of, and not told that they are gone.
    pub told: BTreeSet<SocketAddr>,
    /// When it was told something last.
    pub told_at: Option<Timestamp>,
    /// When it told us of others last, of the messages that count.
    pub heard_at: Option<Timestamp>,
    /// Messages that came too soon, and were not read.
    pub ignored: u32,
}

/// What a peer gets of the metadata (BEP 9).
#[derive(Debug, Default)]
pub struct MetadataServing {
    /// The id under which it takes messages of `ut_metadata`.
    pub id: Option<u8>,
    /// Pieces that it is to get, in the order it asked for them.
    pub queue: VecDeque<u32>,
    /// Pieces sent to it since the last tick.
    pub burst: u32,
    /// Pieces that it asked for and gets, since `granted_since`.
    pub granted: u32,
    /// See `granted`.
    pub granted_since: Timestamp,
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    /// Its handle.
    pub id: ConnId,
    /// Its torrent.
    pub torrent: TorrentId,
    /// The socket's address.
    pub addr: SocketAddr,
    /// Where the peer listens, once known.
    pub listen: Option<SocketAddr>,
    /// Who made it.
    pub origin: Origin,
    /// The peer's id.
    pub peer_id: PeerId,
    /// What both handshakes offered.
    pub terms: Terms,
    /// When it was made.
    pub since: Timestamp,
    /// When it was last heard of.
    pub last_heard: Timestamp,
    /// We choke it.
    pub am_choking: bool,
    /// When we last choked or unchoked it; none: it is as it was from the start.
    pub choke_flipped: Option<Timestamp>,
    /// It has the optimistic slot, since then.
    pub optimistic: Option<Timestamp>,
    /// The rate by which upload slots are given, bytes a second.
    pub order_bps: u64,
    /// We told it that we want something.
    pub am_interested: bool,
    /// It chokes us.
    pub peer_choking: bool,
    /// It wants something.
    pub peer_interested: bool,
    /// It said that it wants nothing, whatever we have (BEP 21).
    pub upload_only: bool,
    /// We said that of us.
    pub told_upload_only: bool,
    /// It told what it has, or began to.
    pub told_pieces: bool,
    /// What it has.
    pub have: Bitfield,
    /// Of that, what we want and have not; of a seed not kept, see [`Self::interests`].
    pub interesting: u32,
    /// What it calls itself.
    pub client: Arc<str>,
    /// Its operator's labels.
    pub labels: Arc<Labels>,
    /// The id under which it takes messages of the extension `shoal`.
    pub shoal: Option<u8>,
    /// What it is told of others, and tells.
    pub gossip: Gossip,
    /// What it gets of the metadata.
    pub metadata: MetadataServing,
    /// The longest request it serves, bytes.
    pub request_len: u32,
    /// The most requests it takes at once.
    pub requests_max: u32,
    /// Lifetime bytes it served, as it or the tracker reported.
    pub reported_up: Option<u64>,
    /// Lifetime bytes it downloaded, as reported.
    pub reported_down: u64,
    /// Bytes received from it since that report.
    pub received_since: u64,
    /// Bytes of its leases that are still to come.
    pub outstanding: u64,
    /// Its leases.
    pub leases: BTreeSet<LeaseId>,
    /// Leases that slow start allows; none once that is over.
    pub slow_start: Option<u32>,
    /// The rate at the last look of slow start.
    pub slow_start_bps: u64,
    /// Silent with requests out.
    pub snubbed: bool,
    /// When bytes of a lease last came, or its first lease was granted, or it was snubbed for their
    /// absence.
    pub last_progress: Timestamp,
    /// When bytes of a lease last came, or the connection was made.
    pub last_payload: Timestamp,
    /// Payload in.
    pub rate_in: Rate,
    /// The best rate in it had over this connection: what a peer that waits could do.
    pub best_bps: u64,
    /// Payload out.
    pub rate_out: Rate,
    /// Payload bytes received on this connection.
    pub downloaded: u64,
    /// Payload bytes sent on this connection.
    pub uploaded: u64,
    /// Smoothed latency of the first byte, microseconds; 0 = unknown.
    pub rtt_us: u64,
    /// Extents or pieces that it failed.
    pub failures: u32,
    /// Of these, without a success since.
    pub fail_streak: u32,
    /// Most leases that the policy allows; none: it does not say.
    pub slots_max: Option<u32>,
    /// The policy that was told of this peer.
    pub told_to: Option<PolicyId>,
    /// Too slow, or silent: gets nothing before this, as long as others work.
    pub rests_until: Timestamp,
    /// It rejected requests though it does not choke us: gets nothing before this.
    pub refuses_until: Timestamp,
    /// Pieces received from it and verified.
    pub verified_pieces: u32,
    /// Bytes of them.
    pub verified_bytes: u64,
    /// Our totals as last told.
    pub told_status: (u64, u64),
    /// When they were told.
    pub told_status_at: Timestamp,
}

impl Conn {
    /// A connection whose handshakes are done.
    #[must_use]
    pub fn new(
        id: ConnId,
        torrent: TorrentId,
        addr: SocketAddr,
        origin: Origin,
        peer_id: PeerId,
        pieces: usize,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            torrent,
            addr,
            listen: (origin != Origin::Incoming).then_some(addr),
            origin,
            peer_id,
            terms: Terms::default(),
            since: now,
            last_heard: now,
            am_choking: true,
            choke_flipped: None,
            optimistic: None,
            order_bps: 0,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            upload_only: false,
            told_upload_only: false,
            told_pieces: false,
            have: Bitfield::new(pieces),
            interesting: 0,
            client: peer_id.client().into(),
            labels: Arc::default(),
            shoal: None,
            gossip: Gossip::default(),
            metadata: MetadataServing::default(),
            request_len: BLOCK_LEN,
            requests_max: REQUESTS_DEFAULT,
            reported_up: None,
            reported_down: 0,
            received_since: 0,
            outstanding: 0,
            leases: BTreeSet::new(),
            slow_start: Some(1),
            slow_start_bps: 0,
            snubbed: false,
            last_progress: now,
            last_payload: now,
            rate_in: Rate::new(now),
            best_bps: 0,
            rate_out: Rate::new(now),
            downloaded: 0,
            uploaded: 0,
            rtt_us: 0,
            failures: 0,
            fail_streak: 0,
            slots_max: None,
            told_to: None,
            rests_until: Timestamp::default(),
            refuses_until: Timestamp::default(),
            verified_pieces: 0,
            verified_bytes: 0,
            told_status: (0, 0),
            told_status_at: Timestamp::default(),
        }
    }

    /// Where it listens, or else its socket's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen.unwrap_or(self.addr)
    }

    /// As it is remembered for blame.
    #[must_use]
    pub fn suspect(&self) -> Suspect {
        Suspect { conn: self.id, peer_id: self.peer_id, addr: self.address() }
    }

    /// The longest request to make of it now, bytes.
    #[must_use]
    pub fn request_len(&self) -> u32 {
        if self.snubbed { BLOCK_LEN } else { self.request_len }
    }

    /// Leases it may hold (design §6): three seconds of its rate, as many bytes as its requests may
    /// cover, a quarter of the buffers, in extents; at least one.
    #[must_use]
    pub fn slots(&self, extent_len: u32, budget: u64) -> u32 {
        if self.snubbed {
            return 1;
        }
        let extent = u64::from(extent_len.clamp(1, EXTENT_LEN));
        let requests = u64::from(self.requests_max) * u64::from(self.request_len);
        let ceiling = requests.min(budget / 4);
        let window = self.rate_in.bps().saturating_mul(3).min(ceiling);
        let by_rate = window.div_ceil(extent);
        let by_start = u64::from(self.slow_start.unwrap_or(0)).min(ceiling.div_ceil(extent));
        u32::try_from(by_rate.max(by_start).max(1)).unwrap_or(u32::MAX)
    }

    /// How many of the pieces that we lack it has.
    #[must_use]
    pub fn interests(&self, lacking: &Bitfield) -> u32 {
        if self.have.is_full() { lacking.count_ones() as u32 } else { self.interesting }
    }

    /// An extent came whole: slow start allows one more.
    pub fn grow(&mut self) {
        if let Some(slots) = &mut self.slow_start {
            *slots = slots.saturating_add(1);
        }
    }

    /// It lost an extent for slowness or silence: others are asked for a while.
    pub fn rest(&mut self, now: Timestamp) {
        self.rests_until = now + REST * self.fail_streak.min(REST_MAX);
    }

    /// Looks at the rates; ends slow start once the rate grows no more.
    pub fn tick(&mut self, now: Timestamp) {
        self.rate_in.tick(now);
        self.rate_out.tick(now);
        let bps = self.rate_in.bps();
        self.best_bps = self.best_bps.max(bps);
        let grew = bps > self.slow_start_bps + self.slow_start_bps / 4;
        if self.slow_start_bps > 0 && !grew && !self.leases.is_empty() {
            self.slow_start = None;
        }
        self.slow_start_bps = bps;
    }

    /// The peer or the tracker reported totals: the largest counts, and what came since it.
    pub fn report(&mut self, up: u64, down: u64) {
        if self.reported_up.is_none_or(|known| up > known) {
            self.reported_up = Some(up);
            self.received_since = 0;
        }
        self.reported_down = self.reported_down.max(down);
    }

    /// A measured latency.
    pub fn latency(&mut self, sample_us: u64) {
        self.rtt_us = match (self.rtt_us, sample_us) {
            (known, 0) => known,
            (0, sample) => sample,
            (known, sample) => (known * 7 + sample) / 8,
        };
    }
}
