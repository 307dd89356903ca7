//! Leases: granted, asked for, ended; what is kept of their extents. Never here: how their bytes
//! travel.

use std::time::Duration;

use shoal_core::{
    config::BLOCK_LEN,
    ids::{ConnId, LeaseId, PieceIndex},
    session::{Event, Lease, event::LeaseEnd},
    time::Timestamp,
};

use super::{
    World,
    agenda::What,
    host::Buffer,
    link::{Block, EndId, Fetch, Packet, Phase, Request},
};
use crate::checks::Check;

/// Progress is told so often at least, where bytes came.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// And after so many bytes.
const PROGRESS_BYTES: u32 = 256 * 1024;

impl World {
    pub(super) fn grant(&mut self, host: usize, conn: ConnId, lease: Lease) {
        let now = self.now;
        self.checks.granted(now, host, &self.metainfo, &lease, self.hosts[host].node.as_ref());
        let id = self.end_of(host, conn);
        let open = |id: &EndId| self.links.get(*id).is_some_and(|end| end.phase == Phase::Open);
        let Some(id) = id.filter(open) else {
            self.checks.returned(host, &lease);
            let kept = self.node(host).and_then(|n| n.buffers.get(&(lease.piece, lease.extent)));
            let filled = kept.filter(|_| !lease.duplicate).map_or(0, |kept| kept.filled);
            let (lease, end) = (lease.id, LeaseEnd::Closing);
            let event = Event::LeaseEnded { conn, lease, filled, end };
            return self.later(host, Duration::ZERO, event);
        };
        let kept = match lease.duplicate {
            true => None,
            false => self.node(host).and_then(|node| {
                let key = (lease.piece, lease.extent);
                let partial = node.buffers.get(&key).is_some_and(|kept| kept.filled < lease.len);
                partial.then(|| node.buffers.remove(&key)).flatten()
            }),
        };
        let kept = kept.unwrap_or(Buffer { filled: 0, blocks: Vec::new() });
        let request =
            Request { lease: lease.id, piece: lease.piece, left: lease.len - kept.filled };
        let fetch = Fetch {
            lease,
            filled: kept.filled,
            blocks: kept.blocks,
            untold: 0,
            told: now,
            asked: now,
            fresh: true,
            latency_us: 0,
            stale: false,
        };
        if let Some(end) = self.links.get_mut(id) {
            end.fetches.push(fetch);
        }
        self.send_on(id, |other| What::Asked(other, Box::new(request)));
    }

    pub(super) fn revoke(&mut self, host: usize, conn: ConnId, lease: LeaseId) {
        let Some(id) = self.end_of(host, conn) else { return };
        if let Some(fetch) = self.take_fetch(id, lease) {
            self.end_fetch(host, conn, fetch, LeaseEnd::Revoked);
            self.send_on(id, |other| What::Cancelled(other, lease));
        }
    }

    fn take_fetch(&mut self, id: EndId, lease: LeaseId) -> Option<Fetch> {
        let end = self.links.get_mut(id)?;
        let place = end.fetches.iter().position(|fetch| fetch.lease.id == lease)?;
        Some(end.fetches.remove(place))
    }

    /// A lease ends without being filled; what is here of its extent is kept.
    pub(super) fn end_fetch(&mut self, host: usize, conn: ConnId, fetch: Fetch, end: LeaseEnd) {
        self.checks.returned(host, &fetch.lease);
        if fetch.untold > 0 {
            let (lease, bytes) = (fetch.lease.id, fetch.untold);
            let event = Event::LeaseProgress { conn, lease, bytes, latency_us: 0 };
            self.later(host, Duration::ZERO, event);
        }
        let lease = fetch.lease.id;
        let filled = self.keep(host, fetch);
        self.later(host, Duration::ZERO, Event::LeaseEnded { conn, lease, filled, end });
    }

    /// Keeps the whole blocks of an extent, unless more of it is here or its piece was dropped or
    /// taken to be verified meanwhile; bytes that are here of it then.
    fn keep(&mut self, host: usize, fetch: Fetch) -> u32 {
        let filled = fetch.filled - fetch.filled % BLOCK_LEN;
        let key = (fetch.lease.piece, fetch.lease.extent);
        let held = self.hosts[host].disk.holds.get(key.0);
        let Some(node) = self.node(host) else { return 0 };
        let late = held || fetch.stale || node.verifying.contains_key(&key.0);
        if late {
            return 0;
        }
        let held = node.buffers.get(&key).map_or(0, |kept| kept.filled);
        if held >= filled {
            return held;
        }
        let mut blocks = fetch.blocks;
        // A torn block is not kept, nor what of a run lies in it.
        blocks.iter_mut().for_each(|block| block.end = block.end.min(filled));
        blocks.dedup_by_key(|block| block.end);
        node.buffers.insert(key, Buffer { filled, blocks });
        filled
    }

    pub(super) fn drop_piece(&mut self, host: usize, piece: PieceIndex) {
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        node.buffers.retain(|(of, _), _| *of != piece);
        for id in node.conns.values() {
            let end = self.links.get_mut(*id);
            let fetches = end.into_iter().flat_map(|end| &mut end.fetches);
            fetches.filter(|fetch| fetch.lease.piece == piece).for_each(|fetch| fetch.stale = true);
        }
    }

    /// A request reaches the end that is to serve it.
    pub(super) fn asked(&mut self, id: EndId, request: Request) {
        if self.is_cut_off(id) {
            return self.hold(id, What::Asked(id, Box::new(request)));
        }
        let Some(end) = self.links.get(id).filter(|end| end.phase == Phase::Open) else { return };
        let (host, serving) = (end.host, end.serving);
        let served = self.hosts[host].node.as_ref().is_some_and(|n| n.serves.get(request.piece));
        let (now, piece) = (self.now, request.piece);
        if serving && self.says_have(host) {
            self.checks.that(now, host, Check::Told, served, || {
                format!("it is asked for {piece:?}, which it has not")
            });
        }
        if !serving || !(served || self.makes_it_up(host)) {
            return self.send_on(id, |other| What::Rejected(other, request.lease));
        }
        let Some(end) = self.links.get_mut(id) else { return };
        end.requests.push_back(request);
        if !std::mem::replace(&mut end.queued, true) {
            self.may_send(id);
        }
    }

    pub(super) fn cancelled(&mut self, id: EndId, lease: LeaseId) {
        if self.is_cut_off(id) {
            return self.hold(id, What::Cancelled(id, lease));
        }
        if let Some(end) = self.links.get_mut(id) {
            end.requests.retain(|request| request.lease != lease);
        }
    }

    pub(super) fn rejected(&mut self, id: EndId, lease: LeaseId) {
        if self.is_cut_off(id) {
            return self.hold(id, What::Rejected(id, lease));
        }
        let Some(end) = self.links.get(id) else { return };
        let (host, conn) = (end.host, end.conn);
        if let Some(fetch) = self.take_fetch(id, lease) {
            self.end_fetch(host, conn, fetch, LeaseEnd::Rejected);
        }
    }

    /// A packet is read.
    pub(super) fn take_in(&mut self, packet: Packet) {
        let (id, now) = (packet.from.other(), self.now);
        let Some(end) = self.links.get_mut(id).filter(|end| end.phase == Phase::Open) else {
            return;
        };
        let (host, conn, bytes) = (end.host, end.conn, packet.bytes);
        let place = end.fetches.iter().position(|fetch| fetch.lease.id == packet.lease);
        let Some(place) = place else {
            return self.fact(host, Event::Wasted { conn, bytes: u64::from(bytes) });
        };
        let fetch = &mut end.fetches[place];
        fetch.take(now, packet, conn);
        let (lease, whole) = (packet.lease, fetch.filled == fetch.lease.len);
        let due = fetch.untold >= PROGRESS_BYTES || now.since(fetch.told) >= PROGRESS_EVERY;
        let progress = (whole || due).then(|| fetch.progress(now, conn));
        let done = whole.then(|| end.fetches.remove(place));
        self.moved(host);
        let Some(fetch) = done else {
            return progress.into_iter().for_each(|progress| self.fact(host, progress));
        };
        self.checks.returned(host, &fetch.lease);
        let key = (fetch.lease.piece, fetch.lease.extent);
        if let Some(node) = self.node(host) {
            node.buffers.insert(key, Buffer { filled: fetch.filled, blocks: fetch.blocks });
        }
        let received = Event::ExtentReceived { conn, lease };
        self.facts(host, progress.into_iter().chain([received]));
    }

    fn moved(&mut self, host: usize) {
        let now = self.now;
        if let Some(node) = self.node(host) {
            node.moved = now;
        }
    }
}

impl Fetch {
    /// What its session is to be told of it.
    fn progress(&mut self, now: Timestamp, conn: ConnId) -> Event {
        self.told = now;
        let (bytes, latency_us) =
            (std::mem::take(&mut self.untold), std::mem::take(&mut self.latency_us));
        Event::LeaseProgress { conn, lease: self.lease.id, bytes, latency_us }
    }

    fn take(&mut self, now: Timestamp, packet: Packet, from: ConnId) {
        let Packet { bytes, noise, .. } = packet;
        if std::mem::take(&mut self.fresh) {
            let latency = now.since(self.asked).as_micros();
            self.latency_us = u64::try_from(latency).unwrap_or(u64::MAX).max(1);
        }
        self.filled = (self.filled + bytes).min(self.lease.len);
        self.untold += bytes;
        let end = self.filled;
        match self.blocks.last_mut() {
            Some(last) if last.from == from && noise == 0 && last.noise == 0 => last.end = end,
            // A torn block is of whoever sent its end.
            _ => self.blocks.push(Block { end, from, noise }),
        }
    }
}
