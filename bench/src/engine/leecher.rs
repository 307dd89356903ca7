//! One session that downloads from peers which are not there: what it grants comes whole and at
//! once, in virtual time. Each fact is timed by itself, the arithmetic around it is not. Never here:
//! which swarms are measured.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use fastrand::Rng;
use shoal_core::{
    bitfield::Bitfield,
    config::{BLOCK_LEN, Config},
    ids::{CommandId, ConnId, InfoHash, LeaseId, PeerId, PieceIndex, TorrentId},
    metainfo::{
        Metainfo,
        create::{Content, CreateOptions, Pad, Plan},
    },
    session::{
        Action, Event, Identity, Session,
        command::{Command, Done, Resume},
        event::{INCOMING_BIT, LeaseEnd, Opened, PieceOutcome},
        fault::CloseCause,
    },
    time::Timestamp,
    torrent::selection::Selection,
    wire::{Message, Terms},
};

/// Buffers of the session, in pieces: what 64 MiB are for pieces of 512 KiB, twice over.
const OPEN_PIECES: u64 = 256;
/// Virtual time from one extent to the next: that of 1 GB/s.
const EXTENT_TIME: Duration = Duration::from_micros(16);

/// What the peers of a swarm have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Holding {
    /// Everything.
    All,
    /// A random half each, and a `have` now and then.
    Half,
}

/// How often something happened, and what it took in all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    times: u32,
    spent: Duration,
}

impl Tally {
    /// Nanoseconds of one; none where it never happened.
    pub(super) fn mean_ns(self) -> Option<f64> {
        (self.times > 0).then(|| self.spent.as_nanos() as f64 / f64::from(self.times))
    }

    fn add(&mut self, times: u32, spent: Duration) {
        self.times += times;
        self.spent += spent;
    }
}

/// What each kind of fact took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Costs {
    /// An extent that came, its piece verified, and another one granted: one at a time.
    pub(super) extent: Tally,
    /// The same, several in a turn of the loop.
    pub(super) in_turns: Tally,
    /// A `have` of a peer.
    pub(super) have: Tally,
    /// A tick.
    pub(super) tick: Tally,
    /// A connection made, up to its unchoke.
    pub(super) opened: Tally,
    /// A connection ended.
    pub(super) closed: Tally,
}

/// A peer that is not there.
struct Peer {
    info_hash: InfoHash,
    have: Bitfield,
}

/// The session and what it waits for.
pub(super) struct Leecher {
    session: Session,
    now: Timestamp,
    rng: Rng,
    actions: Vec<Action>,
    granted: VecDeque<(ConnId, LeaseId)>,
    verifying: VecDeque<(TorrentId, PieceIndex)>,
    /// By connection, the first being 0; the ids of those that ended are not given again.
    peers: Vec<Option<Peer>>,
    commands: u64,
    pub(super) costs: Costs,
}

impl Leecher {
    pub(super) fn new(seed: u64) -> Self {
        let config = Config {
            connections_max: 1 << 16,
            connections_per_torrent_max: 1 << 16,
            buffer_budget_bytes: OPEN_PIECES * u64::from(BLOCK_LEN),
            ..Config::default()
        };
        let identity = Identity {
            peer_id: peer_id(u64::MAX),
            listen_port: 7000,
            advertise: None,
            labels: Arc::default(),
        };
        let now = Timestamp(1);
        Self {
            session: Session::new(config, identity, seed, now),
            now,
            rng: Rng::with_seed(seed),
            actions: Vec::new(),
            granted: VecDeque::new(),
            verifying: VecDeque::new(),
            peers: Vec::new(),
            commands: 0,
            costs: Costs::default(),
        }
    }

    /// Takes a torrent in, of which everything or nothing is had.
    pub(super) fn add(&mut self, metainfo: Arc<Metainfo>, had: bool) -> anyhow::Result<TorrentId> {
        let pieces = metainfo.piece_count() as usize;
        let have = if had { Bitfield::full(pieces) } else { Bitfield::new(pieces) };
        let opened = Opened { have, unverified: Vec::new(), downloaded: 0, uploaded: 0 };
        let (resume, selection) = (Resume::default(), Selection::default());
        let done = self.command(Command::Add { metainfo, opened, resume, selection })?;
        let Done::Added(torrent) = done else { bail!("an addition was answered with {done:?}") };
        Ok(torrent)
    }

    /// Begins to download a torrent.
    pub(super) fn download(&mut self, torrent: TorrentId) -> anyhow::Result<()> {
        let command = Command::AutoDownload { torrent, available_only: false, patient: true };
        self.command(command).map(drop)
    }

    /// A peer connects, says what it has, and unchokes us.
    pub(super) fn open(&mut self, metainfo: &Metainfo, holding: Holding) {
        let pieces = metainfo.piece_count() as usize;
        let mut have = Bitfield::full(pieces);
        if holding == Holding::Half {
            have = Bitfield::new(pieces);
            for piece in (0..pieces).filter(|_| self.rng.bool()) {
                have.set(piece);
            }
        }
        let peer = Peer { info_hash: metainfo.info_hash, have };
        self.arrive(peer, holding);
    }

    fn arrive(&mut self, peer: Peer, holding: Holding) {
        let number = self.peers.len() as u64;
        let conn = ConnId(INCOMING_BIT | number);
        let ip = Ipv4Addr::from_bits(0x0a00_0000 | self.peers.len() as u32);
        let said = match holding {
            Holding::All => Message::HaveAll,
            Holding::Half => Message::Bitfield(peer.have.to_wire()),
        };
        let incoming = Event::Incoming {
            conn,
            addr: SocketAddr::from((ip, 7000)),
            info_hash: peer.info_hash,
            // Scattered, so that the order of ids is not that of arrival.
            peer_id: peer_id(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            terms: Terms { fast: true, extended: true },
        };
        self.peers.push(Some(peer));
        let unchoked = Event::MessageReceived { conn, message: Message::Unchoke };
        let told = Event::MessageReceived { conn, message: said };
        let spent = self.turn([incoming, told, unchoked]);
        self.costs.opened.add(1, spent);
    }

    /// A connection ends, and another peer that has the same takes its place.
    pub(super) fn replace(&mut self, holding: Holding) -> anyhow::Result<()> {
        let living = (0..self.peers.len()).filter(|&n| self.peers[n].is_some()).collect::<Vec<_>>();
        let number = *self.rng.choice(&living).context("nobody is connected")?;
        let peer = self.peers[number].take().context("it was connected")?;
        let conn = ConnId(INCOMING_BIT | number as u64);
        let mut events = Vec::new();
        self.granted.retain(|&(holder, lease)| {
            if holder == conn {
                let (filled, end) = (0, LeaseEnd::Closing);
                events.push(Event::LeaseEnded { conn, lease, filled, end });
            }
            holder != conn
        });
        events.push(Event::Closed { conn, cause: CloseCause::Remote });
        let spent = self.turn(events);
        self.costs.closed.add(1, spent);
        self.arrive(peer, holding);
        Ok(())
    }

    /// Lets `count` extents come, `at_once` of them in each turn. Tells how many came: fewer where
    /// nothing more is granted.
    pub(super) fn receive(&mut self, count: u32, at_once: u32) -> u32 {
        let mut came = 0;
        while came < count && !self.granted.is_empty() {
            let verified = self.verifying.drain(..).map(|(torrent, piece)| {
                let outcome = PieceOutcome::Written { blocks: Vec::new() };
                Event::PieceVerified { torrent, piece, outcome }
            });
            let mut events = verified.collect::<Vec<_>>();
            let (before, take) = (came, at_once.min(self.granted.len() as u32));
            for (conn, lease) in self.granted.drain(..take as usize) {
                events.push(Event::ExtentReceived { conn, lease });
                came += 1;
            }
            self.now = self.now + EXTENT_TIME * take;
            let spent = self.turn(events);
            let tally =
                if at_once == 1 { &mut self.costs.extent } else { &mut self.costs.in_turns };
            tally.add(came - before, spent);
            self.pass_time();
        }
        came
    }

    /// A random peer gets a piece that it has not got, so many times.
    pub(super) fn hear(&mut self, count: u32) {
        for _ in 0..count {
            let number = self.rng.usize(..self.peers.len());
            let Some(peer) = &mut self.peers[number] else { continue };
            let piece = PieceIndex(self.rng.u32(..peer.have.len() as u32));
            if !peer.have.set(piece) {
                continue;
            }
            let conn = ConnId(INCOMING_BIT | number as u64);
            let spent = self.turn([Event::MessageReceived { conn, message: Message::Have(piece) }]);
            self.costs.have.add(1, spent);
        }
    }

    /// Lets the time of one tick pass.
    pub(super) fn tick(&mut self) {
        self.now = self.now.max(self.session.next_deadline());
        self.pass_time();
    }

    fn pass_time(&mut self) {
        if self.session.next_deadline() <= self.now {
            let spent = self.turn([Event::Wake]);
            self.costs.tick.add(1, spent);
        }
    }

    /// Hands facts in, as the loop does in one turn.
    fn turn(&mut self, events: impl IntoIterator<Item = Event>) -> Duration {
        let began = Instant::now();
        for event in events {
            self.session.take(self.now, event, &mut self.actions);
        }
        self.session.settle(self.now, &mut self.actions);
        let spent = began.elapsed();
        self.carry_out();
        spent
    }

    fn carry_out(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            if let Action::GrantLease { conn, lease } = action {
                self.granted.push_back((conn, lease.id));
            } else if let Action::VerifyAndWrite { torrent, piece, .. } = action {
                self.verifying.push_back((torrent, piece));
            } else if let Action::RevokeLease { conn, lease } = action {
                self.granted.retain(|&(_, granted)| granted != lease);
                let (filled, end) = (0, LeaseEnd::Revoked);
                let ended = Event::LeaseEnded { conn, lease, filled, end };
                self.session.handle(self.now, ended, &mut self.actions);
            }
        }
        if !self.actions.is_empty() {
            return self.carry_out();
        }
        self.actions = actions;
    }

    fn command(&mut self, command: Command) -> anyhow::Result<Done> {
        self.commands += 1;
        let id = CommandId(self.commands);
        self.session.handle(self.now, Event::CommandIssued { id, command }, &mut self.actions);
        let mut result = None;
        for action in &self.actions {
            if let Action::Reply { command, result: answer } = action
                && *command == id
            {
                result = Some(answer.clone());
            }
        }
        self.carry_out();
        Ok(result.context("a command was not answered")??)
    }
}

fn peer_id(number: u64) -> PeerId {
    let mut id = *b"-SH0100-000000000000";
    id[12..].copy_from_slice(&number.to_be_bytes());
    PeerId(id)
}

/// A torrent of so many pieces of 16 KiB, each of them one extent.
///
/// # Errors
/// Where the core makes none of that size.
pub(super) fn torrent(name: &str, pieces: u32) -> anyhow::Result<Arc<Metainfo>> {
    let plan = Plan::new(CreateOptions {
        name: name.to_owned(),
        content: Content::Single { len: u64::from(pieces) * u64::from(BLOCK_LEN) },
        piece_len: Some(BLOCK_LEN),
        pad: Pad::Never,
        private: false,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        comment: None,
        created_unix: None,
    })?;
    let bytes = plan.finish(&vec![[7; 20]; pieces as usize])?;
    Ok(Arc::new(Metainfo::parse(&bytes)?))
}
