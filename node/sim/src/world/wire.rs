//! Handshakes, messages and ends of connections, and how long they are on their way. Never here:
//! payload.

use std::{net::SocketAddr, time::Duration};

use shoal_core::{
    config::Unchoke,
    ids::{ConnId, PeerId, PieceIndex},
    session::{
        Event, Serving,
        event::{INCOMING_BIT, LeaseEnd},
        fault::CloseCause,
    },
    time::Timestamp,
    wire::{Message, Terms, extended::Extension},
};

use super::{
    World,
    agenda::What,
    link::{End, EndId, Phase},
};
use crate::checks::Check;

/// What one end says to the other.
#[derive(Debug)]
pub(super) enum Said {
    /// Its handshake, to the end that dialled.
    Yes(PeerId),
    Message(Message),
}

/// What all hosts speak.
const TERMS: Terms = Terms { fast: true, extended: true };
/// What an end hears of a piece, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    host: usize,
    end: EndId,
    piece: PieceIndex,
}

/// A turn of a host, microseconds.
const TURN_US: u64 = 10_000;
/// Where dials come from: no host listens there.
const DIAL_PORT: u16 = 40_000;

impl World {
    /// How long a message is on its way between two hosts.
    pub(super) fn way(&mut self, from: usize, to: usize) -> Duration {
        let classes = [from, to].map(|host| &self.plan.classes[self.hosts[host].class]);
        let [a, b] = classes.map(|class| class.zone);
        let still = classes[0].link.latency + classes[1].link.latency;
        let jitter = classes[0].link.jitter.max(classes[1].link.jitter);
        let between = self.between.get(&(a, b)).map_or(Duration::ZERO, |(_, latency)| *latency);
        let most = usize::try_from(jitter.as_micros()).unwrap_or(usize::MAX);
        let extra = self.jitter.below(most.saturating_add(1));
        still + between + Duration::from_micros(extra as u64)
    }

    /// As [`Self::way`], for what waits with the payload of its host: a message, or the word that
    /// payload came.
    pub(super) fn way_out(&mut self, from: usize, to: usize) -> Duration {
        let uplink = &self.hosts[from].uplink;
        let busy = uplink.busy && !uplink.ring.is_empty();
        let queue = self.plan.classes[self.hosts[from].class].link.queue;
        self.way(from, to) + if busy { queue } else { Duration::ZERO }
    }

    /// When a message that an end sends now arrives: not before the one before it.
    fn arrival(&mut self, from: EndId) -> Option<Timestamp> {
        let (a, b) = (self.links.get(from)?.host, self.links.get(from.other())?.host);
        let at = self.now + self.way_out(a, b);
        let end = self.links.get_mut(from)?;
        end.last_arrival = end.last_arrival.max(at);
        Some(end.last_arrival)
    }

    /// Sends something from an end to the other.
    pub(super) fn send_on(&mut self, from: EndId, what: impl FnOnce(EndId) -> What) {
        if let Some(at) = self.arrival(from) {
            self.agenda.at(at, what(from.other()));
        }
    }

    /// The end that a host knows by a connection's id.
    pub(super) fn end_of(&self, host: usize, conn: ConnId) -> Option<EndId> {
        self.hosts[host].node.as_ref()?.conns.get(&conn).copied()
    }

    pub(super) fn dial(&mut self, host: usize, conn: ConnId, addr: SocketAddr) {
        let target = self.by_addr.get(&addr).copied();
        let Some(target) = target.filter(|&target| self.hosts[target].node.is_some()) else {
            let takes = 2 * self.way(host, target.unwrap_or(host));
            let cause = "connection refused".to_owned();
            return self.later(host, takes, Event::DialFailed { conn, cause });
        };
        self.sequence += 1;
        let theirs = ConnId(INCOMING_BIT | self.sequence);
        let ends = [
            End::new(host, conn, Phase::Dialling, self.now),
            End::new(target, theirs, Phase::Offered, self.now),
        ];
        let end = self.links.insert(ends);
        if let Some(node) = self.node(host) {
            node.conns.insert(conn, end);
        }
        // A round trip for the connection, and the way of the handshake.
        let takes = 2 * self.way(host, target);
        if let Some(at) = self.arrival(end) {
            self.agenda.at(at + takes, What::Knock(end.other()));
        }
    }

    /// A handshake reaches the host that is dialled.
    pub(super) fn knock(&mut self, end: EndId) {
        if self.is_held(end, || What::Knock(end)) {
            return;
        }
        let (Some(to), Some(from)) = (self.links.get(end), self.links.get(end.other())) else {
            return;
        };
        let (host, conn, caller, gone) = (to.host, to.conn, from.host, from.phase == Phase::Gone);
        let Some(node) = self.hosts[host].node.as_mut().filter(|_| !gone) else {
            // Nobody listens any more, or nobody waits.
            self.set_gone(end);
            return self.send_on(end, What::Hangup);
        };
        node.conns.insert(conn, end);
        let caller = &self.hosts[caller];
        let addr = SocketAddr::new(caller.addr.ip(), DIAL_PORT);
        let (info_hash, peer_id) = (self.metainfo.info_hash, caller.peer_id);
        self.fact(host, Event::Incoming { conn, addr, info_hash, peer_id, terms: TERMS });
    }

    pub(super) fn accept(&mut self, host: usize, conn: ConnId) {
        let Some(id) = self.end_of(host, conn) else { return };
        self.open(id);
        let peer_id = self.hosts[host].peer_id;
        self.send_on(id, |other| What::Told(other, Box::new(Said::Yes(peer_id))));
        self.set_up(host, id);
    }

    fn open(&mut self, id: EndId) {
        let now = self.now;
        if let Some(end) = self.links.get_mut(id) {
            (end.phase, end.opened) = (Phase::Open, now);
        }
    }

    pub(super) fn send(&mut self, host: usize, conn: ConnId, message: Message) {
        let Some(id) = self.end_of(host, conn) else { return };
        let phase = self.links.get(id).map(|end| end.phase);
        let open = phase == Some(Phase::Open);
        let now = self.now;
        self.checks.that(now, host, Check::Handshake, open, || {
            format!("{message:?} to {conn:?}, which is {phase:?}")
        });
        let Some(message) = self.bend(host, message) else { return };
        if let Message::Have(piece) = message {
            return self.tell_have(id, piece);
        }
        self.note_wishes(id, &message);
        self.note_gossip(host, id, &message);
        self.tell(id, message);
    }

    /// Sends a message to the other end.
    pub(super) fn tell(&mut self, id: EndId, message: Message) {
        self.send_on(id, |other| What::Told(other, Box::new(Said::Message(message))));
    }

    fn note_wishes(&mut self, id: EndId, message: &Message) {
        let wanted = *message == Message::Interested;
        if (wanted || *message == Message::NotInterested)
            && let Some(other) = self.links.get_mut(id.other())
        {
            other.wanted = wanted;
        }
    }

    fn note_gossip(&mut self, host: usize, id: EndId, message: &Message) {
        let Message::Extended { id: extension, .. } = message else { return };
        if Extension::of_id(*extension) != Some(Extension::Pex) {
            return;
        }
        let now = self.now;
        let before = self.links.get_mut(id).and_then(|end| end.gossiped.replace(now));
        self.checks.gossiped(now, host, before);
    }

    pub(super) fn serve(&mut self, host: usize, conn: ConnId, serving: Serving) {
        let Some(id) = self.end_of(host, conn) else { return };
        let unchoked = serving == Serving::Unchoked && self.serves_at_all(host);
        let now = self.now;
        let Some(end) = self.links.get_mut(id) else { return };
        if std::mem::replace(&mut end.serving, unchoked) == unchoked {
            return;
        }
        end.served = match unchoked {
            true => (Some(now), end.served.1),
            false => (None, end.served(now)),
        };
        let dropped = match unchoked {
            true => Default::default(),
            false => std::mem::take(&mut end.requests),
        };
        self.tell(id, if unchoked { Message::Unchoke } else { Message::Choke });
        for request in dropped {
            self.send_on(id, |other| What::Rejected(other, request.lease));
        }
    }

    /// Looked at once what a session says is carried out: it unchokes one before it chokes another.
    pub(super) fn check_slots(&mut self, host: usize) {
        let class = &self.plan.classes[self.hosts[host].class];
        let Unchoke::Slots(slots) = class.unchoke else { return };
        let Some(node) = &self.hosts[host].node else { return };
        let ends = node.conns.values().filter_map(|&id| self.links.get(id));
        let served = ends.filter(|end| end.serving).count();
        let now = self.now;
        self.checks.that(now, host, Check::Slots, served <= slots as usize, || {
            format!("{served} peers are unchoked, and there are {slots} slots")
        });
    }

    /// An end hears something.
    pub(super) fn told(&mut self, id: EndId, event: Said) {
        let Some(end) = self.links.get(id) else { return };
        if end.phase == Phase::Gone {
            return;
        }
        if self.is_cut_off(id) {
            return self.hold(id, What::Told(id, Box::new(event)));
        }
        let (host, conn, phase) = (end.host, end.conn, end.phase);
        let event = match event {
            Said::Yes(peer_id) => Event::Dialled { conn, peer_id, terms: TERMS },
            Said::Message(message) => Event::MessageReceived { conn, message },
        };
        if phase == Phase::Dialling {
            self.open(id);
            self.fact(host, event);
            return self.set_up(host, id);
        }
        self.fact(host, event);
    }

    /// Tells of a piece: by far the most frequent message, and one that nothing waits for. A host
    /// hears them once a turn, as a node does that takes what has come and then sees to it.
    fn tell_have(&mut self, id: EndId, piece: PieceIndex) {
        let Some(at) = self.arrival(id) else { return };
        let Some(host) = self.links.get(id.other()).map(|other| other.host) else { return };
        let turn = Timestamp(at.0.next_multiple_of(TURN_US));
        let agenda = &mut self.agenda;
        let told = self.haves.entry(turn).or_insert_with(|| {
            agenda.at(turn, What::Haves);
            Vec::new()
        });
        told.push(Told { host, end: id.other(), piece });
    }

    /// All hosts hear the `have` messages of a turn, one after the other.
    pub(super) fn hear(&mut self) {
        let Some(mut told) = self.haves.remove(&self.now) else { return };
        // What a host hears stays in order.
        told.sort_by_key(|told| told.host);
        for of_host in told.chunk_by(|one, other| one.host == other.host) {
            let mut heard = Vec::with_capacity(of_host.len());
            for &Told { end: id, piece, .. } in of_host {
                let Some(end) = self.links.get(id).filter(|end| end.phase == Phase::Open) else {
                    continue;
                };
                let conn = end.conn;
                if self.is_cut_off(id) {
                    self.hold(id, What::Have(id, piece));
                    continue;
                }
                heard.push((conn, Message::Have(piece)));
            }
            let heard = heard.into_iter();
            let heard = heard.map(|(conn, message)| Event::MessageReceived { conn, message });
            self.facts(of_host[0].host, heard);
        }
    }

    pub(super) fn told_have(&mut self, id: EndId, piece: PieceIndex) {
        let Some(end) = self.links.get(id).filter(|end| end.phase == Phase::Open) else { return };
        if self.is_cut_off(id) {
            return self.hold(id, What::Have(id, piece));
        }
        let (host, conn) = (end.host, end.conn);
        self.fact(host, Event::MessageReceived { conn, message: Message::Have(piece) });
    }

    /// A session ends a connection.
    pub(super) fn close(&mut self, host: usize, conn: ConnId, cause: CloseCause) {
        let Some(id) = self.end_of(host, conn) else { return };
        let Some(end) = self.links.get(id) else { return };
        if end.phase == Phase::Offered && cause == CloseCause::Own {
            // Only our own answer tells our dial whom it reached.
            let peer_id = self.hosts[host].peer_id;
            self.send_on(id, |other| What::Told(other, Box::new(Said::Yes(peer_id))));
            return self.forget(id);
        }
        self.end(id, cause);
        self.send_on(id, What::Hangup);
    }

    /// An end is over for its host, which is told so.
    pub(super) fn end(&mut self, id: EndId, cause: CloseCause) {
        let Some(end) = self.links.get_mut(id) else { return };
        let (host, conn, was_open) = (end.host, end.conn, end.phase == Phase::Open);
        let fetches = std::mem::take(&mut end.fetches);
        self.note_served(id);
        self.forget(id);
        if !was_open {
            return;
        }
        for fetch in fetches {
            self.end_fetch(host, conn, fetch, LeaseEnd::Closing);
        }
        self.later(host, Duration::ZERO, Event::Closed { conn, cause });
    }

    /// The other end is gone.
    pub(super) fn hung_up(&mut self, id: EndId) {
        let Some(end) = self.links.get(id) else { return };
        if end.phase == Phase::Gone {
            return;
        }
        if self.is_cut_off(id) {
            return self.hold(id, What::Hangup(id));
        }
        let (host, conn, phase) = (end.host, end.conn, end.phase);
        self.end(id, CloseCause::Remote);
        match phase {
            Phase::Dialling => {
                let cause = "closed by the peer during the handshake".to_owned();
                self.fact(host, Event::DialFailed { conn, cause });
            }
            Phase::Offered | Phase::Open | Phase::Gone => {}
        }
    }

    /// A host lets go of an end.
    pub(super) fn forget(&mut self, id: EndId) {
        let Some(end) = self.links.get(id) else { return };
        let (host, conn) = (end.host, end.conn);
        if let Some(node) = self.node(host) {
            node.conns.remove(&conn);
        }
        self.set_gone(id);
    }

    pub(super) fn set_gone(&mut self, id: EndId) {
        if let Some(end) = self.links.get_mut(id) {
            end.phase = Phase::Gone;
            end.requests.clear();
        }
        self.links.release(id);
    }

    fn is_held(&mut self, id: EndId, what: impl FnOnce() -> What) -> bool {
        let cut = self.is_cut_off(id);
        if cut {
            self.hold(id, what());
        }
        cut
    }
}
