//! A made-up swarm with a policy: what a download sees of its peers, asked and told as the engine
//! does it. Never here: Lua tables.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shoal_core::{
    config::{LABEL_LEN_MAX, PIECE_LEN_DEFAULT},
    ids::{ConnId, InfoHash, PeerId, PieceIndex, PolicyId, RoundId, TorrentId},
    policy::{
        Advice, Candidate, ChunkFault, ChunkOrder, ChunkView, Consultation, DownloadView,
        Happening, Judged, Labels, PeerView, Report, Verdict, native::Cursor, native::Native,
    },
    rng::Rng,
    time::Timestamp,
};

use crate::{budget::HOOK_INSTRUCTIONS, script::Script};

/// The longest name of a peer, bytes: as long as a label.
pub(super) const PEER_NAME_LEN_MAX: usize = LABEL_LEN_MAX;
/// The virtual clock of a swarm begins here: nothing in it is at 0.
const BEGIN: Timestamp = Timestamp(1_000_000_000);
/// How often `on.tick`, `order` and `slots` are called.
const TICK: Duration = Duration::from_secs(1);
/// With nothing in flight for so long, peers that the policy closed are open.
const STARVED_AFTER: Duration = Duration::from_secs(2);

/// There is one policy and one torrent.
const POLICY: PolicyId = PolicyId(1);
const TORRENT: TorrentId = TorrentId(1);

/// A swarm as one download sees it.
pub(super) struct Swarm {
    pub(super) script: Script,
    pub(super) peers: Vec<Peer>,
    pub(super) chunk: ChunkView,
    pub(super) download: DownloadView,
    /// `chunk.availability` was set: else it counts the peers.
    pub(super) availability_set: bool,
    /// An error of the policy is a verdict, not the end of the test.
    pub(super) allow_errors: bool,
    now: Timestamp,
    ticked: Timestamp,
    last_grant: Timestamp,
    order: ChunkOrder,
    /// Errors of the policy that were seen.
    errors: u64,
    /// What the policy's VM held when it was last asked, bytes.
    memory: u64,
}

/// A peer of a swarm.
pub(super) struct Peer {
    pub(super) name: String,
    /// Its slots are those that the engine would give.
    pub(super) view: PeerView,
    /// What the policy's `slots` said.
    pub(super) slots_max: Option<u32>,
    /// It has the chunk.
    pub(super) has: bool,
    /// It failed the chunk.
    pub(super) tried: bool,
    pub(super) connected: bool,
}

/// What came of a decision.
pub(super) struct Outcome {
    pub(super) judged: Judged,
    /// The policy's choice, an index into the peers.
    pub(super) chosen: Option<usize>,
    /// Whom the engine asks: where the policy left it open, the default's choice.
    pub(super) asked: Option<usize>,
}

impl Swarm {
    pub(super) fn new(script: Script) -> Self {
        Self {
            script,
            peers: Vec::new(),
            chunk: chunk(),
            download: download(),
            availability_set: false,
            allow_errors: false,
            now: BEGIN,
            ticked: BEGIN,
            last_grant: BEGIN,
            order: ChunkOrder::default(),
            errors: 0,
            memory: 0,
        }
    }

    /// The download begins: the policy is asked for order and slots, and told of its peers.
    pub(super) fn begin(&mut self) {
        self.ask_order();
        for place in 0..self.peers.len() {
            if self.peers[place].connected {
                self.tell_added(place);
            }
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.peers.iter().position(|peer| peer.name == name)
    }

    /// One decision about the chunk, without consequences.
    pub(super) fn decide(&mut self) -> Outcome {
        let table = self.consultation();
        if table.chunks[0].candidates.is_empty() {
            // The engine does not ask where nobody could be.
            let judged = Judged { verdict: Verdict::Abstained, spent_us: 0 };
            return Outcome { judged, chosen: None, asked: None };
        }
        let default = default(&table);
        let mut answer = self.script.answer(table);
        let judged = answer.pop().unwrap_or(Judged { verdict: Verdict::Bypassed, spent_us: 0 });
        let chosen = match judged.verdict {
            Verdict::Chosen { conn, .. } => self.place_of(conn),
            Verdict::Abstained
            | Verdict::Deferred { .. }
            | Verdict::Starved
            | Verdict::Failed
            | Verdict::Bypassed => None,
        };
        let deferred = matches!(judged.verdict, Verdict::Deferred { .. });
        let asked = if deferred { None } else { chosen.or(default.and_then(|c| self.place_of(c))) };
        Outcome { judged, chosen, asked }
    }

    /// A peer is asked for the chunk.
    pub(super) fn grant(&mut self, place: usize) {
        self.last_grant = self.now;
        let size = u64::from(self.chunk.size);
        let view = &mut self.peers[place].view;
        view.inflight += 1;
        view.uploaded = view.uploaded.saturating_add(size);
    }

    /// Moves the clock; the policy is told of every second that passes.
    pub(super) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while self.ticked + TICK <= end {
            self.ticked = self.ticked + TICK;
            self.now = self.ticked;
            self.tick();
        }
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.now = end;
        self.download.elapsed_ms = self.download.elapsed_ms.saturating_add(ms);
        if let Some(deadline) = &mut self.chunk.deadline_ms {
            *deadline = deadline.saturating_sub(ms);
        }
    }

    /// Asks for `order` and `slots`, as at the start and where the phase changes.
    pub(super) fn ask_order(&mut self) -> ChunkOrder {
        let hooks = self.script.hooks();
        if hooks.order || hooks.slots {
            let peers = self.connected();
            self.tell(Happening::Phase { peers });
        }
        self.order
    }

    pub(super) fn tick(&mut self) {
        let hooks = self.script.hooks();
        if hooks.tick || hooks.order || hooks.slots {
            let peers = self.connected();
            self.tell(Happening::Tick { peers });
        }
    }

    pub(super) fn tell_added(&mut self, place: usize) {
        self.peers[place].connected = true;
        let hooks = self.script.hooks();
        if hooks.peer_added || hooks.slots {
            let peer = self.peers[place].seen();
            self.tell(Happening::PeerAdded { peer });
        }
    }

    pub(super) fn tell_removed(&mut self, place: usize) {
        let peer = self.peers[place].seen();
        if self.script.hooks().peer_removed {
            self.tell(Happening::PeerRemoved { peer });
        }
        self.peers[place].connected = false;
        self.peers[place].view.inflight = 0;
    }

    /// A chunk came whole.
    pub(super) fn tell_done(&mut self, place: usize, chunk: ChunkView, bytes: u64, took_us: u64) {
        let peer = self.peers[place].seen();
        if self.script.hooks().chunk_done {
            self.tell(Happening::ChunkDone { peer, chunk, bytes, took_us });
        }
        let view = &mut self.peers[place].view;
        view.inflight = view.inflight.saturating_sub(1);
        view.fail_streak = 0;
        self.download.done = self.download.done.saturating_add(bytes).min(self.download.total);
    }

    /// A chunk failed; where it is the swarm's chunk the peer has tried it.
    pub(super) fn tell_failed(&mut self, place: usize, chunk: ChunkView, fault: ChunkFault) {
        if (chunk.piece, chunk.offset) == (self.chunk.piece, self.chunk.offset) {
            self.peers[place].tried = true;
            self.chunk.attempts += 1;
        }
        let view = &mut self.peers[place].view;
        view.inflight = view.inflight.saturating_sub(1);
        view.failures += 1;
        view.fail_streak += 1;
        let peer = self.peers[place].seen();
        if self.script.hooks().chunk_failed {
            self.tell(Happening::ChunkFailed { peer, chunk, fault });
        }
    }

    pub(super) fn tell_finished(&mut self) {
        if self.script.hooks().finished {
            self.tell(Happening::Finished);
        }
    }

    /// The policy's report, where it failed since this was last asked.
    pub(super) fn failed(&mut self) -> Option<(String, String)> {
        let status = self.script.status();
        self.memory = status.memory_bytes;
        let errors = status.counters.errors.total();
        let failed = std::mem::replace(&mut self.errors, errors) < errors;
        if !failed {
            return None;
        }
        let failure = &status.last_error.as_ref()?.failure;
        let line = failure.line.map(|line| format!(":{line}")).unwrap_or_default();
        let short = format!("the policy failed: {}{line}: {}", failure.file, failure.message);
        Some((short, status.report()?))
    }

    /// What its policy's VM holds, bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    fn tell(&mut self, what: Happening) {
        let report = Report {
            policy: POLICY,
            torrent: TORRENT,
            now: self.now,
            download: self.download.clone(),
            what,
        };
        let Some(Advice { order, slots, .. }) = self.script.report(&report) else { return };
        self.order = order.unwrap_or(self.order);
        for (conn, slots) in slots {
            if let Some(place) = self.place_of(conn) {
                self.peers[place].slots_max = Some(slots);
            }
        }
    }

    fn consultation(&self) -> Consultation {
        let starved = self.is_starved();
        let open = self.peers.iter().filter(|peer| peer.connected).map(|peer| {
            let mut view = peer.seen();
            // A script cannot close every peer for good.
            if starved && peer.slots_max == Some(0) {
                view.slots = view.slots.max(1);
            }
            (peer, view)
        });
        let open = open.filter(|(_, view)| view.inflight < view.slots).collect::<Vec<_>>();
        let having = open.iter().enumerate().filter(|(_, (peer, _))| peer.has);
        let candidates = having.map(|(peer, (of, _))| Candidate { peer, tried: of.tried });
        let candidates = candidates.collect();
        let chunk = ChunkView { candidates, ..self.chunk() };
        Consultation {
            round: RoundId(1),
            policy: POLICY,
            torrent: TORRENT,
            now: self.now,
            download: self.download.clone(),
            peers: open.into_iter().map(|(_, view)| view).collect(),
            chunks: vec![chunk],
        }
    }

    fn is_starved(&self) -> bool {
        let idle = self.peers.iter().all(|peer| peer.view.inflight == 0);
        idle && self.now.since(self.last_grant) >= STARVED_AFTER
    }

    /// The chunk as the policy sees it.
    pub(super) fn chunk(&self) -> ChunkView {
        let holders = self.peers.iter().filter(|peer| peer.connected && peer.has).count();
        let counted = u32::try_from(holders).unwrap_or(u32::MAX);
        let availability = if self.availability_set { self.chunk.availability } else { counted };
        ChunkView { availability, ..self.chunk.clone() }
    }

    fn connected(&self) -> Vec<PeerView> {
        self.peers.iter().filter(|peer| peer.connected).map(Peer::seen).collect()
    }

    fn place_of(&self, conn: ConnId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.view.conn == conn)
    }
}

impl Peer {
    /// The `place`th peer of a swarm: idle, and nothing known of it.
    pub(super) fn new(place: usize) -> Self {
        let number = place as u64 + 1;
        let mut id = *b"-SH0100-trial-000000";
        id[16..].copy_from_slice(format!("{number:04}").as_bytes());
        let view = PeerView {
            conn: ConnId(number),
            id: PeerId(id),
            addr: ([10, 0, (number >> 8) as u8, number as u8], 7000).into(),
            labels: Arc::new(Labels::new()),
            uploaded: 0,
            downloaded: 0,
            inflight: 0,
            slots: 4,
            rate_bps: 0,
            rtt_us: 0,
            failures: 0,
            fail_streak: 0,
            is_seed: false,
            estimated: false,
            client: Arc::from("shoal"),
        };
        let name = format!("peer{number}");
        Self { name, view, slots_max: None, has: true, tried: false, connected: true }
    }

    pub(super) fn slots(&self) -> u32 {
        self.slots_max.map_or(self.view.slots, |max| max.min(self.view.slots))
    }

    /// As the policy sees it.
    fn seen(&self) -> PeerView {
        PeerView { slots: self.slots(), ..self.view.clone() }
    }
}

/// How often each came out of many decisions.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(super) fn new(swarm: &Swarm) -> Self {
        Self(swarm.peers.iter().map(|peer| (peer.name.clone(), 0)).collect())
    }

    pub(super) fn count(&mut self, swarm: &Swarm, outcome: &Outcome) {
        let name = match outcome.chosen {
            Some(place) => swarm.peers[place].name.as_str(),
            None => verdict_name(&outcome.judged.verdict),
        };
        *self.0.entry(name.to_owned()).or_default() += 1;
    }

    pub(super) fn shares(&self, decisions: u64) -> impl Iterator<Item = (&str, f64)> {
        let share = move |count: u64| count as f64 / decisions.max(1) as f64;
        self.0.iter().map(move |(name, &count)| (name.as_str(), share(count)))
    }
}

/// What test code calls a verdict.
pub(super) const fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Chosen { .. } => "chosen",
        Verdict::Abstained => "abstained",
        Verdict::Deferred { .. } => "deferred",
        Verdict::Starved => "starved",
        Verdict::Failed => "failed",
        Verdict::Bypassed => "bypassed",
    }
}

/// Names that no peer of a swarm may have.
pub(super) const VERDICTS: [&str; 6] =
    ["chosen", "abstained", "deferred", "starved", "failed", "bypassed"];

fn default(table: &Consultation) -> Option<ConnId> {
    let (peers, candidates) = (&table.peers, &table.chunks[0].candidates);
    let (mut rng, mut cursor) = (Rng::new(0), Cursor::default());
    let chosen = Native::LowestUploaded.choose(peers, candidates, &mut rng, &mut cursor);
    chosen.map(|place| peers[place].conn)
}

fn chunk() -> ChunkView {
    ChunkView {
        piece: PieceIndex(0),
        name: "trial.part1".to_owned(),
        offset: 0,
        size: PIECE_LEN_DEFAULT,
        availability: 0,
        attempts: 0,
        priority: 0,
        deadline_ms: None,
        candidates: Vec::new(),
        sampled: false,
    }
}

fn download() -> DownloadView {
    DownloadView {
        id: InfoHash([0x7a; 20]),
        name: "trial".to_owned(),
        total: 1 << 30,
        done: 0,
        rate_bps: 0,
        endgame: false,
        elapsed_ms: 0,
    }
}

/// What a decision costs beside the instructions of the policy: instructions between two looks of
/// the hook, and those of the host for each peer.
pub(super) fn overhead(peers: usize) -> Duration {
    let hook = u64::from(HOOK_INSTRUCTIONS) * 10;
    Duration::from_nanos(hook + 10_000 + 500 * peers as u64)
}
