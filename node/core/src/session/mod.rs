//! The session: one machine for all torrents, connections, announces and jobs of a node.
//!
//! [`Session::handle`] takes one fact and appends what is to be done; [`Session::next_deadline`] is
//! the single wake-up. Nothing here waits, reads a clock or touches payload. The state is here; the
//! verbs are in the files beside: [`connect`] (who is connected), [`dial`] (whom we dial),
//! [`exchange`] (what peers say), [`assign`], [`natively`], [`alone`] (pieces for one connection),
//! [`consult`], [`blind`] and [`rescue`] (who fetches what), [`decisions`] and [`explain`] (why),
//! [`inform`] (what a policy is told and advises), [`transfer`] (what became of it), [`disk`] (what else
//! the disk says), [`choke`] (who is served), [`web_seeds`] (HTTP servers), [`metadata`] (who gets it),
//! [`quest`] (magnet links), [`orders`] (commands), [`select`] (what is wanted), [`jobs`],
//! [`announce`], [`gossip`] and [`local`] (sources of peers beside trackers), [`clockwork`] (timers),
//! [`snapshot`] (views), [`census`] (sums).

pub mod action;
mod alone;
mod announce;
mod assign;
mod blind;
pub mod census;
mod choke;
mod clockwork;
pub mod command;
mod connect;
mod conns;
mod consult;
pub mod decisions;
mod dial;
mod disk;
pub mod event;
mod exchange;
pub mod explain;
pub mod fault;
mod gossip;
mod inform;
mod jobs;
mod loads;
mod local;
mod metadata;
mod natively;
pub mod notice;
mod orders;
mod quest;
mod rescue;
mod select;
mod snapshot;
mod timers;
mod transfer;
pub mod view;
mod web_seeds;

pub use action::{Action, Lease, Serving};
pub use event::Event;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    config::Config,
    ids::{CommandId, ConnId, InfoHash, JobId, LeaseId, PeerId, PieceIndex, PolicyId, TorrentId},
    peer::Origin,
    policy::{
        Hooks, Labels,
        native::{Cursor, Native},
    },
    rng::Rng,
    time::Timestamp,
    torrent::Torrent,
};
use census::Tally;
use command::{CommandError, Done};
use conns::Conns;
use consult::Round;
use decisions::Decisions;
use jobs::Job;
use loads::Loads;
use notice::Notice;
use quest::Quest;
use timers::{Timer, Timers};

/// By whom peers are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chooser {
    /// In place, by this native policy.
    Native(Native),
    /// By consulting a script ([`Action::Consult`]) that has these functions; the default native
    /// policy where that fails.
    Consulted(PolicyId, Hooks),
}

impl Default for Chooser {
    fn default() -> Self {
        Self::Native(Native::default())
    }
}

/// Who this node is to others.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Our id.
    pub peer_id: PeerId,
    /// Where we accept connections.
    pub listen_port: u16,
    /// The address given to trackers; none: the tracker takes the one it sees.
    pub advertise: Option<IpAddr>,
    /// Our operator's labels.
    pub labels: Arc<Labels>,
}

/// A dial under way.
#[derive(Debug)]
struct Dial {
    torrent: TorrentId,
    addr: SocketAddr,
    origin: Origin,
    /// `connect_peer` commands that wait for it.
    waiters: Vec<CommandId>,
}

/// A lease that was granted and has not ended.
#[derive(Debug)]
struct LeaseRecord {
    conn: ConnId,
    torrent: TorrentId,
    piece: PieceIndex,
    extent: u32,
    /// Bytes that are to come: the extent without padding, and without what an earlier lease left.
    due: u32,
    received: u32,
    granted: Timestamp,
    revoked: bool,
}

/// A ping under way.
#[derive(Debug)]
struct Ping {
    conn: ConnId,
    command: CommandId,
    sent: Timestamp,
}

/// How far the end of the session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    /// By this command, which waits for the trackers.
    Asked(CommandId),
    /// The command is answered.
    Answered,
}

/// Why a merge was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum MergeFor {
    Command(CommandId, TorrentId),
    Job(JobId),
}

/// The session of a node.
#[derive(Debug)]
pub struct Session {
    config: Config,
    identity: Identity,
    rng: Rng,
    now: Timestamp,
    torrents: BTreeMap<TorrentId, Torrent>,
    by_hash: BTreeMap<InfoHash, TorrentId>,
    conns: Conns,
    /// Connections that we ended and that have not reported their end: what they sent still counts.
    parting: BTreeMap<ConnId, TorrentId>,
    dials: BTreeMap<ConnId, Dial>,
    /// Web seeds that are being opened.
    web_seed_dials: BTreeMap<ConnId, TorrentId>,
    /// How many of the connections are web seeds.
    web_seed_conns: usize,
    /// Torrents whose dial to an address failed beside another one, which is under way.
    held_up: BTreeMap<SocketAddr, BTreeSet<TorrentId>>,
    /// Magnet links whose metadata is looked for. Their ids are of the same kind as torrents'.
    quests: BTreeMap<TorrentId, Quest>,
    /// The connections of quests.
    quest_conns: BTreeMap<ConnId, TorrentId>,
    /// `connect_peer` commands of connections that have not yet said what they have.
    introductions: BTreeMap<ConnId, Vec<CommandId>>,
    leases: BTreeMap<LeaseId, LeaseRecord>,
    jobs: BTreeMap<JobId, Job>,
    merges: BTreeMap<u64, MergeFor>,
    pings: BTreeMap<u64, Ping>,
    chooser: Chooser,
    cursor: Cursor,
    /// Consultations under way, one a policy.
    rounds: BTreeMap<PolicyId, Round>,
    decisions: Decisions,
    tally: Tally,
    timers: Timers,
    /// Torrents in which something changed that may let work begin or end.
    dirty: BTreeSet<TorrentId>,
    /// Torrents in which extents, slots or pieces that peers have changed, and nothing else: work
    /// may begin.
    hungry: BTreeSet<TorrentId>,
    loads: Loads,
    /// How far the end is, once it was asked for.
    leaving: Option<Leaving>,
    /// One sequence for every id the session gives: never given twice.
    sequence: u64,
}

impl Session {
    /// A session without torrents.
    #[must_use]
    pub fn new(config: Config, identity: Identity, seed: u64, now: Timestamp) -> Self {
        Self {
            config,
            identity,
            rng: Rng::new(seed),
            now,
            torrents: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            conns: Conns::default(),
            parting: BTreeMap::new(),
            dials: BTreeMap::new(),
            web_seed_dials: BTreeMap::new(),
            web_seed_conns: 0,
            held_up: BTreeMap::new(),
            quests: BTreeMap::new(),
            quest_conns: BTreeMap::new(),
            introductions: BTreeMap::new(),
            leases: BTreeMap::new(),
            jobs: BTreeMap::new(),
            merges: BTreeMap::new(),
            pings: BTreeMap::new(),
            chooser: Chooser::default(),
            cursor: Cursor::default(),
            rounds: BTreeMap::new(),
            decisions: Decisions::default(),
            tally: Tally::default(),
            timers: Timers::default(),
            dirty: BTreeSet::new(),
            hungry: BTreeSet::new(),
            loads: Loads::default(),
            leaving: None,
            sequence: 0,
        }
    }

    /// When to hand in [`Event::Wake`] if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Timestamp {
        self.timers.next()
    }

    /// Takes a fact in at `now`, and appends what is to be done to `out`. A `now` before an earlier
    /// one counts as that one.
    pub fn handle(&mut self, now: Timestamp, event: Event, out: &mut Vec<Action>) {
        self.take(now, event, out);
        self.settle(now, out);
    }

    /// Takes a fact in as [`Self::handle`] does, without seeing to what it lets begin or end: where
    /// several came at once that is done once for all, by [`Self::settle`], which must follow
    /// before anything is waited for.
    pub fn take(&mut self, now: Timestamp, event: Event, out: &mut Vec<Action>) {
        self.now = self.now.max(now);
        match event {
            Event::CommandIssued { id, command } => self.on_command(id, command, out),
            Event::Incoming { conn, addr, info_hash, peer_id, terms } => {
                self.on_incoming(conn, addr, info_hash, peer_id, terms, out);
            }
            Event::Dialled { conn, peer_id, terms } => self.on_dialled(conn, peer_id, terms, out),
            Event::DialFailed { conn, cause } => self.on_dial_failed(conn, &cause, out),
            Event::WebSeedOpened { conn, addr } => self.on_web_seed_opened(conn, addr, out),
            Event::MessageReceived { conn, message } => self.on_message(conn, message, out),
            Event::Closed { conn, cause } => self.on_closed(conn, &cause, out),
            Event::LeaseProgress { conn, lease, bytes, latency_us } => {
                self.on_progress(conn, lease, bytes, latency_us);
            }
            Event::ExtentReceived { conn, lease } => self.on_extent_received(conn, lease, out),
            Event::LeaseEnded { conn, lease, filled, end } => {
                self.on_lease_ended((conn, lease), filled, end, out);
            }
            Event::Wasted { conn, bytes } => self.on_wasted(conn, bytes),
            Event::Uploaded { conn, bytes } => self.on_uploaded(conn, bytes),
            Event::PieceVerified { torrent, piece, outcome } => {
                self.on_piece_verified(torrent, piece, outcome, out);
            }
            Event::PieceChecked { torrent, piece, good } => {
                self.on_piece_checked(torrent, piece, good, out);
            }
            Event::PiecesDoubtful { torrent, pieces, cause } => {
                self.on_pieces_doubtful(torrent, &pieces, cause, out);
            }
            Event::PiecesLost { torrent, pieces, cause } => {
                self.on_pieces_lost(torrent, &pieces, cause, out);
            }
            Event::Merged { torrent, merge, result } => self.on_merged(torrent, merge, result, out),
            Event::AnnounceFinished { announce, result } => {
                self.on_announce_finished(announce, result, out);
            }
            Event::HeardLocally { addr, info_hashes } => self.on_heard_locally(addr, &info_hashes),
            Event::PolicyAnswered(answer) => self.on_policy_answered(answer, out),
            Event::PolicyAdvised(advice) => self.on_policy_advised(&advice),
            Event::MetadataRefused { quest, cause } => self.on_metadata_refused(quest, cause, out),
            Event::OutsideJob { job, news } => self.on_outside_job(job, news, out),
            Event::Wake => {}
        }
    }

    /// Does what is due, and lets work begin or end in every torrent where something changed.
    pub fn settle(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        self.now = self.now.max(now);
        // How torrents share is known before the first of them takes.
        self.weigh_changed();
        self.run_timers(out);
        self.weigh_changed();
        self.step_dirty(out);
        while let Some(id) = self.hungry.pop_first() {
            self.weigh(id);
            self.fill(id, out);
            self.step_dirty(out);
        }
        let busy = !self.conns.is_empty() || self.jobs.values().any(Job::is_running);
        match (busy, self.timers.is_set(Timer::Tick)) {
            (true, false) => self.timers.set(Timer::Tick, self.now + clockwork::TICK),
            (false, true) => self.timers.clear(Timer::Tick),
            (true, true) | (false, false) => {}
        }
    }

    fn step_dirty(&mut self, out: &mut Vec<Action>) {
        while let Some(id) = self.dirty.pop_first() {
            self.hungry.remove(&id);
            self.weigh(id);
            if self.quests.contains_key(&id) {
                self.step_quest(id, out);
                continue;
            }
            self.step_jobs(id, out);
            self.announce_due(id, out);
            self.stand_locally(id);
            self.dial_more(id, out);
            self.tend_web_seeds(id, out);
            self.fill(id, out);
        }
    }

    fn weigh_changed(&mut self) {
        for id in self.dirty.union(&self.hungry).copied().collect::<Vec<_>>() {
            self.weigh(id);
        }
    }

    fn next_id(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

fn reply(out: &mut Vec<Action>, command: CommandId, result: Result<Done, CommandError>) {
    out.push(Action::Reply { command, result });
}

fn notify(out: &mut Vec<Action>, notice: Notice) {
    out.push(Action::Notify(notice));
}
