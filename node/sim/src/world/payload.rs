//! How payload travels: packets leave a host one after the other, its connections in turn; they pass
//! what lies between two zones, and the receiver's downlink, which have queues that are bounded.
//! Never here: what a packet means.

use std::time::Duration;

use shoal_core::{config::BLOCK_LEN, session::Event};

use super::{
    World,
    agenda::What,
    link::{EndId, Packet, Phase},
};

/// What a connection sends in its turn, bytes: what a socket takes at once, about.
const PACKET_LEN: u32 = 64 * 1024;
/// What a slow sender sends at once, as the time it takes.
const PACED_EVERY: Duration = Duration::from_millis(200);
/// Payload that went out is told to the session after so many bytes, or when a request is done.
const UPLOADED_BYTES: u64 = 256 * 1024;

impl World {
    /// An end has something to send, or may go on.
    pub(super) fn may_send(&mut self, id: EndId) {
        let Some(end) = self.links.get(id) else { return };
        let host = end.host;
        self.hosts[host].uplink.ring.push_back(id);
        self.send_next(host);
    }

    /// Sends the next packet of a host, where its uplink is free.
    fn send_next(&mut self, host: usize) {
        while !self.hosts[host].uplink.busy {
            let Some(id) = self.hosts[host].uplink.ring.pop_front() else { return };
            if let Some(packet) = self.packet(host, id) {
                let uplink = &mut self.hosts[host].uplink;
                uplink.busy = true;
                let nanos = u64::from(packet.bytes) * 1_000_000_000 / uplink.bps.max(1);
                self.plan_for(Duration::from_nanos(nanos), What::Sent(host, packet));
            }
        }
    }

    /// The next packet of an end, where it has one and there is room for it on the way.
    fn packet(&mut self, host: usize, id: EndId) -> Option<Packet> {
        let now = self.now;
        let to = self.links.get(id.other())?.host;
        let end = self.links.get_mut(id)?;
        let open = end.phase == Phase::Open;
        let Some(request) = end.requests.front().filter(|_| open) else {
            end.queued = false;
            return None;
        };
        let (lease, piece, left, pace) = (request.lease, request.piece, request.left, end.pace);
        if end.paced_until > now {
            let wait = end.paced_until.since(now);
            self.plan_for(wait, What::Paced(id));
            return None;
        }
        let most = match pace {
            Some(bps) => (bps * PACED_EVERY.as_millis() as u64 / 1000).clamp(16, 1 << 16) as u32,
            None if self.hosts[host].noise > 0.0 => BLOCK_LEN,
            None => PACKET_LEN,
        };
        let bytes = end.window.room(now, left.min(most));
        if bytes == 0 {
            end.window.blocked = true;
            return None;
        }
        if !self.has_room(host, to, id, bytes) {
            return None;
        }
        let noise = self.noise(host, piece);
        let end = self.links.get_mut(id)?;
        end.window.send(now, bytes);
        let request = end.requests.front_mut()?;
        request.left -= bytes;
        if request.left == 0 {
            end.requests.pop_front();
        }
        if let Some(bps) = pace {
            end.paced_until =
                now + Duration::from_micros(u64::from(bytes) * 1_000_000 / bps.max(1));
        }
        if end.requests.is_empty() {
            end.queued = false;
        } else {
            self.hosts[host].uplink.ring.push_back(id);
        }
        Some(Packet { from: id, sender: host, to, lease, bytes, noise })
    }

    /// Whether a packet may set out; where not, its end waits for what is in the way.
    fn has_room(&mut self, host: usize, to: usize, id: EndId, bytes: u32) -> bool {
        let zones = (self.zone(host), self.zone(to));
        if let Some(cut) = self.cut_between(zones) {
            cut.waiting.push(id);
            return false;
        }
        if let Some((pipe, _)) = self.between.get_mut(&zones)
            && !pipe.has_room(bytes)
        {
            pipe.wait(id);
            return false;
        }
        if !self.hosts[to].downlink.has_room(bytes) {
            self.hosts[to].downlink.wait(id);
            return false;
        }
        self.hosts[to].downlink.reserve(bytes);
        if let Some((pipe, _)) = self.between.get_mut(&zones) {
            pipe.reserve(bytes);
        }
        true
    }

    /// A host's uplink has sent a packet.
    pub(super) fn sent(&mut self, host: usize, packet: Packet) {
        let now = self.now;
        let bytes = u64::from(packet.bytes);
        self.hosts[host].uplink.busy = false;
        self.hosts[host].record.uploaded += bytes;
        let zones = (self.zone(packet.sender), self.zone(packet.to));
        if zones.0 != zones.1 {
            self.across_bytes += bytes;
        }
        match self.between.get_mut(&zones) {
            Some((pipe, _)) => {
                let at = pipe.enter(now, packet.bytes);
                self.agenda.at(at, What::Passed(packet));
            }
            None => self.set_out(packet),
        }
        self.tell_uploaded(packet.from, bytes);
        self.send_next(host);
    }

    /// Tells a session what went out.
    fn tell_uploaded(&mut self, id: EndId, bytes: u64) {
        let Some(end) = self.links.get_mut(id).filter(|end| end.phase == Phase::Open) else {
            return;
        };
        end.untold += bytes;
        if end.untold >= UPLOADED_BYTES || end.requests.is_empty() {
            let (host, conn) = (end.host, end.conn);
            let bytes = std::mem::take(&mut end.untold);
            self.fact(host, Event::Uploaded { conn, bytes });
        }
    }

    fn set_out(&mut self, packet: Packet) {
        let way = self.way(packet.sender, packet.to);
        self.plan_for(way, What::Reached(packet));
    }

    pub(super) fn passed(&mut self, packet: Packet) {
        let zones = (self.zone(packet.sender), self.zone(packet.to));
        if let Some((pipe, _)) = self.between.get_mut(&zones) {
            pipe.release(packet.bytes);
        }
        self.set_out(packet);
        loop {
            let pipe = self.between.get_mut(&zones);
            let Some(next) = pipe.and_then(|(pipe, _)| pipe.next_waiting(PACKET_LEN)) else {
                return;
            };
            self.may_send(next);
        }
    }

    pub(super) fn reached(&mut self, packet: Packet) {
        let zones = (self.zone(packet.sender), self.zone(packet.to));
        if let Some(cut) = self.cut_between(zones) {
            cut.held.push(What::Reached(packet));
            return;
        }
        let at = self.hosts[packet.to].downlink.enter(self.now, packet.bytes);
        self.agenda.at(at, What::Arrived(packet));
    }

    /// An end hears that what it sent has come.
    pub(super) fn acked(&mut self, id: EndId, bytes: u32) {
        let now = self.now;
        let Some(end) = self.links.get_mut(id) else { return };
        end.window.acked(now, bytes);
        if std::mem::take(&mut end.window.blocked) {
            self.may_send(id);
        }
    }

    pub(super) fn arrived(&mut self, packet: Packet) {
        let back = self.way_out(packet.to, packet.sender);
        self.plan_for(back, What::Acked(packet.from, packet.bytes));
        let to = &mut self.hosts[packet.to];
        to.downlink.release(packet.bytes);
        to.record.downloaded += u64::from(packet.bytes);
        self.take_in(packet);
        while let Some(next) = self.hosts[packet.to].downlink.next_waiting(PACKET_LEN) {
            self.may_send(next);
        }
    }

    pub(super) fn zone(&self, host: usize) -> usize {
        self.plan.classes[self.hosts[host].class].zone
    }
}
