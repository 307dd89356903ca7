//! The virtual world: hosts, connections, a tracker, and time, which jumps from one thing that
//! happens to the next.
//!
//! - `agenda`: what is to happen
//! - `host`, `link`, `pipe`: what there is
//! - `population`: who there is, when they come and go
//! - `act`: carrying out what sessions say
//! - `wire`: handshakes, messages, ends of connections
//! - `fetch`: leases; `payload`, `window`: how their bytes travel; `disk`: how they are written
//! - `conduct`: what adversaries do instead
//! - `faults`: what goes wrong
//! - `close`: what is told in the end
//!
//! Never here: what a session, a policy or the tracker decides; what must hold (`checks`).

mod act;
mod agenda;
mod close;
mod conduct;
mod disk;
mod faults;
mod fetch;
pub(crate) mod host;
pub(crate) mod link;
mod payload;
mod pipe;
mod population;
mod window;
mod wire;

pub(crate) use close::since_origin;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use shoal_core::{
    ids::{CommandId, PeerId},
    metainfo::Metainfo,
    rng::Rng,
    session::{
        Action, Event,
        command::{Command, CommandError, Done},
    },
    time::Timestamp,
    tracker::registry::Registry,
};

use self::{
    agenda::{Agenda, What},
    faults::Cut,
    host::{Host, Node},
    link::Links,
    pipe::Pipe,
};
use crate::{
    checks::{Check, Checks},
    plan::Plan,
    policy::Policy,
    trace::{Trace, Words},
};

/// When runs begin: not at zero, which may mean something to somebody.
pub(crate) const ORIGIN: Timestamp = Timestamp(1_000_000);

/// The world of one run.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    agenda: Agenda,
    pub(crate) plan: Arc<Plan>,
    pub(crate) metainfo: Arc<Metainfo>,
    pub(crate) hosts: Vec<Host>,
    by_addr: BTreeMap<SocketAddr, usize>,
    by_id: BTreeMap<PeerId, usize>,
    pub(crate) links: Links,
    /// What lies between two zones, in each direction.
    between: BTreeMap<(usize, usize), (Pipe, Duration)>,
    cuts: Vec<Cut>,
    registry: Registry,
    tracker_down: u32,
    /// The policy of each class.
    policies: Vec<Policy>,
    /// Delays of messages.
    jitter: Rng,
    /// What adversaries do.
    mischief: Rng,
    /// The next id of a command, and of an incoming connection.
    sequence: u64,
    pub(crate) across_bytes: u64,
    decisions: BTreeMap<&'static str, u64>,
    pub(crate) trace: Trace,
    pub(crate) checks: Checks,
    /// Honest hosts that are to be complete and are not, and have not left.
    unfinished: usize,
    /// Hosts that have not come.
    absent: usize,
    /// What hosts are yet to hear of pieces, by turn.
    haves: BTreeMap<Timestamp, Vec<wire::Told>>,
    /// Actions of the fact under way; kept for its memory.
    actions: Vec<Action>,
}

/// What a run is told beside its plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    /// The policy of each class.
    pub(crate) policies: Vec<Policy>,
    pub(crate) words: Words,
}

/// Whether a run goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    On,
    Over,
}

impl World {
    /// Lets so much happen, or until the run is over.
    pub(crate) fn run(&mut self, steps: u32) -> Step {
        let end = ORIGIN + self.plan.limit;
        // An assertion of the core that fails is what the simulator is there to find.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..steps {
                if self.checks.violation().is_some() || self.is_over() {
                    return Step::Over;
                }
                match self.agenda.next() {
                    Some((at, what)) if at <= end => {
                        self.now = self.now.max(at);
                        self.happen(what);
                    }
                    Some(_) | None => {
                        self.now = self.now.max(end);
                        return Step::Over;
                    }
                }
            }
            Step::On
        }));
        ran.unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let detail = words.unwrap_or_else(|| "an assertion failed".to_owned());
            let host = self.checks.at_work();
            self.checks.violated(self.now, host, Check::Core, || detail);
            Step::Over
        })
    }

    /// Everybody came, and everybody who is to be complete is.
    fn is_over(&self) -> bool {
        self.absent == 0 && self.unfinished == 0
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Come(host) => self.come(host),
            What::Go(host) => self.go(host),
            What::Ended(host, life) => self.ended(host, life),
            What::Wake(host) => self.wake(host),
            What::Fact(host, life, event) => {
                if self.hosts[host].life == life {
                    self.fact(host, *event);
                }
            }
            What::Told(end, event) => self.told(end, *event),
            What::Have(end, piece) => self.told_have(end, piece),
            What::Haves => self.hear(),
            What::Knock(end) => self.knock(end),
            What::Hangup(end) => self.hung_up(end),
            What::Asked(end, request) => self.asked(end, *request),
            What::Cancelled(end, lease) => self.cancelled(end, lease),
            What::Rejected(end, lease) => self.rejected(end, lease),
            What::Sent(host, packet) => self.sent(host, packet),
            What::Passed(packet) => self.passed(packet),
            What::Reached(packet) => self.reached(packet),
            What::Arrived(packet) => self.arrived(packet),
            What::Acked(end, bytes) => self.acked(end, bytes),
            What::Paced(end) => self.may_send(end),
            What::Flap(end) => self.flap(end),
            What::Written { host, life, piece, compare } => {
                self.written(host, life, piece, compare);
            }
            What::Fault(fault, turn) => self.on_fault(fault, turn),
            What::GiveUp(fault) => self.give_up(fault),
            What::Inspect => self.inspect(),
        }
    }

    /// Hands a session a fact and carries out what it says.
    pub(crate) fn fact(&mut self, host: usize, event: Event) {
        self.facts(host, [event]);
    }

    /// Hands a session what came in one turn of it.
    fn facts(&mut self, host: usize, events: impl IntoIterator<Item = Event>) {
        let Some(node) = &mut self.hosts[host].node else { return };
        self.checks.begin(host);
        let mut actions = std::mem::take(&mut self.actions);
        for event in events {
            self.trace.fact(self.now, host, &event);
            node.count(&event);
            node.session.take(self.now, event, &mut actions);
        }
        node.session.settle(self.now, &mut actions);
        for action in actions.drain(..) {
            self.act(host, action);
        }
        self.actions = actions;
        self.check_slots(host);
        self.mind_deadline(host);
    }

    fn wake(&mut self, host: usize) {
        let Some(node) = &mut self.hosts[host].node else { return };
        if node.wake != self.now {
            return;
        }
        node.wake = Timestamp::NEVER;
        self.fact(host, Event::Wake);
    }

    /// Sees to it that a session is woken when it wants to be.
    fn mind_deadline(&mut self, host: usize) {
        let now = self.now;
        let Some(node) = &mut self.hosts[host].node else { return };
        let next = node.session.next_deadline();
        self.checks.deadline(now, host, next);
        if next < node.wake {
            node.wake = next;
            self.agenda.at(next.max(now), What::Wake(host));
        }
    }

    /// Issues a command; its reply, where it came at once.
    fn command(&mut self, host: usize, command: Command) -> Option<Result<Done, CommandError>> {
        self.sequence += 1;
        let id = CommandId(self.sequence);
        self.fact(host, Event::CommandIssued { id, command });
        self.hosts[host].node.as_mut()?.replies.remove(&id)
    }

    /// A fact of this life of a host, after a while.
    fn later(&mut self, host: usize, delay: Duration, event: Event) {
        let life = self.hosts[host].life;
        self.agenda.after(self.now, delay, What::Fact(host, life, Box::new(event)));
    }

    /// The whole is looked at, every virtual second.
    fn inspect(&mut self) {
        let now = self.now;
        for host in 0..self.hosts.len() {
            self.count_decisions(host);
            if self.checks.is_turn(now, host, self.hosts.len()) && self.hosts[host].node.is_some() {
                let able = self.is_able(host);
                if let Some(node) = self.node(host) {
                    node.able = if able { node.able.or(Some(now)) } else { None };
                }
                self.checks.begin(host);
                self.checks.whole(now, host, &self.hosts[host]);
            }
        }
        self.checks.end();
        self.agenda.after(now, Duration::from_secs(1), What::Inspect);
    }

    /// Whether an honest host has a peer that has everything, is sound, within reach and serves it, and room
    /// for what it would send, with nothing that waits for its disk.
    fn is_able(&self, host: usize) -> bool {
        let it = &self.hosts[host];
        // Seeds part with who claims everything.
        let honest = self.conduct(host).is_honest();
        let able =
            |node: &&Node| honest && !node.leaving && !it.disk.full && node.verifying.is_empty();
        let Some(node) = it.node.as_ref().filter(able) else { return false };
        node.conns.values().any(|&id| {
            let Some(other) = self.links.get(id.other()).filter(|other| other.serving) else {
                return false;
            };
            let there = &self.hosts[other.host];
            let has = there.node.as_ref().is_some_and(|node| node.serves.is_full());
            has && other.pace.is_none() && self.is_harmless(other.host) && !self.is_cut_off(id)
        })
    }

    fn node(&mut self, host: usize) -> Option<&mut Node> {
        self.hosts[host].node.as_mut()
    }
}
