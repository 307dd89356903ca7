//! What a download policy sees and answers: plain values, shared by the engine, the native
//! policies ([`native`]) and the Lua host. Consultations are here, what a policy is told beside them
//! in [`report`], what it says of the order of pieces in [`order`]. Never here: Lua, or the engine's
//! own state.

pub mod native;
pub mod order;
pub mod report;

pub use order::{ChunkOrder, Order};
pub use report::{Advice, ChunkFault, Happening, Hooks, Report};

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::{
    ids::{ConnId, InfoHash, PeerId, PieceIndex, PolicyId, RoundId, TorrentId},
    time::Timestamp,
};

/// Operator labels of a peer, in key order.
pub type Labels = BTreeMap<String, String>;

/// A connected peer as a policy sees it. The host owns every number in it.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerView {
    /// The connection: stable while connected.
    pub conn: ConnId,
    /// The peer's id.
    pub id: PeerId,
    /// Its address.
    pub addr: SocketAddr,
    /// Its operator's labels.
    pub labels: Arc<Labels>,
    /// Payload bytes it has served in its life, projected: as last reported, plus what we received
    /// or requested from it since.
    pub uploaded: u64,
    /// Payload bytes it has downloaded in its life, as reported.
    pub downloaded: u64,
    /// Chunks that we have outstanding there.
    pub inflight: u32,
    /// Chunks that we may have outstanding there.
    pub slots: u32,
    /// Smoothed bytes a second that we get from it; 0 = unknown.
    pub rate_bps: u64,
    /// Smoothed latency of the first byte, microseconds; 0 = unknown.
    pub rtt_us: u64,
    /// Failed chunks from this peer in this download.
    pub failures: u32,
    /// Consecutive failures; 0 after a success.
    pub fail_streak: u32,
    /// Has every piece.
    pub is_seed: bool,
    /// `uploaded` is our estimate: the peer reports none.
    pub estimated: bool,
    /// What it calls itself. From the wire: sanitise before a terminal.
    pub client: Arc<str>,
}

/// A candidate for one chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Index into [`Consultation::peers`].
    pub peer: usize,
    /// It already failed this chunk.
    pub tried: bool,
}

/// One extent to be fetched, and who could serve it.
#[derive(Clone, PartialEq, Debug)]
pub struct ChunkView {
    /// The piece.
    pub piece: PieceIndex,
    /// Its chunk name, `file1.webm.part3`.
    pub name: String,
    /// Where the extent begins in the piece, bytes.
    pub offset: u32,
    /// Bytes to fetch: the piece, or 1 MiB of a larger one.
    pub size: u32,
    /// Known peers that have the piece.
    pub availability: u32,
    /// Earlier attempts; 0 on the first.
    pub attempts: u32,
    /// 0 = ordinary.
    pub priority: i32,
    /// Milliseconds until it is wanted, where that is known.
    pub deadline_ms: Option<u64>,
    /// Never empty, at most [`crate::config::CANDIDATES_MAX`], in order of peer id.
    pub candidates: Vec<Candidate>,
    /// The candidates are a random sample of more.
    pub sampled: bool,
}

/// The download for which chunks are being chosen.
#[derive(Clone, PartialEq, Debug)]
pub struct DownloadView {
    /// Its info hash.
    pub id: InfoHash,
    /// The torrent's name. From the metainfo: sanitise before a terminal.
    pub name: String,
    /// Bytes of the wanted files.
    pub total: u64,
    /// Of these, verified.
    pub done: u64,
    /// Smoothed bytes a second from all peers.
    pub rate_bps: u64,
    /// The last extents are being fetched.
    pub endgame: bool,
    /// Milliseconds since the download began.
    pub elapsed_ms: u64,
}

/// A question to a policy: a batch of chunks over one table of peers. It is answered decision by
/// decision, each verdict applied to the table before the next is made ([`Consultation::apply`]).
#[derive(Clone, PartialEq, Debug)]
pub struct Consultation {
    /// Repeated in the answer.
    pub round: RoundId,
    /// Which policy is asked.
    pub policy: PolicyId,
    /// The torrent.
    pub torrent: TorrentId,
    /// When it was asked.
    pub now: Timestamp,
    /// The download.
    pub download: DownloadView,
    /// Every candidate of any chunk of the batch, in order of peer id.
    pub peers: Vec<PeerView>,
    /// At most [`crate::config::CONSULT_CHUNKS_MAX`].
    pub chunks: Vec<ChunkView>,
}

/// What a policy said of one chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Ask this peer.
    Chosen {
        /// The peer, as in [`PeerView::conn`].
        conn: ConnId,
        /// The script's second result, bounded and sanitised.
        reason: Option<String>,
    },
    /// No opinion: the default decides.
    Abstained,
    /// Nobody now; ask again after this many milliseconds (10–1000).
    Deferred {
        /// Milliseconds.
        ms: u32,
    },
    /// It asked to wait although nothing was in flight for 2 s: the default decides.
    Starved,
    /// The script failed, ran out of its budget or broke the contract: the default decides.
    Failed,
    /// The policy was bypassed (tripped, wedged, busy): the default decides.
    Bypassed,
}

/// A verdict and what it took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Time that the policy took for it, microseconds.
    pub spent_us: u32,
}

/// The answer to a [`Consultation`]: one verdict a chunk, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The consultation's.
    pub round: RoundId,
    /// As many as the consultation had chunks; missing ones count as [`Verdict::Bypassed`].
    pub verdicts: Vec<Judged>,
}

impl Answer {
    /// The answer where nobody was asked.
    #[must_use]
    pub fn all(round: RoundId, chunks: usize, verdict: &Verdict) -> Self {
        let judged = Judged { verdict: verdict.clone(), spent_us: 0 };
        Self { round, verdicts: vec![judged; chunks] }
    }
}

impl Consultation {
    /// The candidates of chunk `chunk` that still have a free slot in this table.
    pub fn open_candidates(&self, chunk: usize) -> impl Iterator<Item = Candidate> + '_ {
        let candidates = self.chunks[chunk].candidates.iter().copied();
        candidates.filter(|c| self.peers[c.peer].inflight < self.peers[c.peer].slots)
    }

    /// Applies a choice to the table: one chunk more in flight at that peer, its bytes counted as
    /// uploaded. Both sides of a consultation do the same, so that they agree.
    pub fn apply(&mut self, chunk: usize, peer: usize) {
        let size = u64::from(self.chunks[chunk].size);
        let peer = &mut self.peers[peer];
        peer.inflight += 1;
        peer.uploaded = peer.uploaded.saturating_add(size);
    }
}
