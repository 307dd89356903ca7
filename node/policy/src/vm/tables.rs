//! The tables of peers, which outlive a decision: a table is patched only where numbers changed (§3
//! of the contract: fresh tables cost ten times as much). Never here: calling the policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mlua::{Function, Lua, Result, Table};

use shoal_core::{
    ids::ConnId,
    policy::{Candidate, Consultation, Labels, PeerView},
};

use super::integer;
use crate::{host::conn_key, sandbox::Sandbox};

/// Beyond so many tables of peers those not in the consultation are dropped. A table takes about
/// 1.5 KB of the policy's 16 MiB.
const PEERS_KEPT_MAX: usize = 1024;

/// So many peers are patched, and so many candidates listed, with one call.
const PATCHED_TOGETHER: usize = 4;
const LISTED_TOGETHER: usize = 8;

/// The tables of peers of a VM.
pub(crate) struct Tables {
    calls: Calls,
    /// The candidates of the decision under way, as the policy is shown them.
    shadow: Table,
    /// The slots whose tables stand in `shadow`.
    shadowed: Vec<usize>,
    slots: Vec<Slot>,
    by_conn: BTreeMap<ConnId, usize>,
    /// The slot of each peer of the consultation under way.
    current: Vec<usize>,
    /// The slots whose tables do not say yet what they should.
    dirty: Vec<usize>,
    /// How many tables say that the peer was tried.
    tried: usize,
}

/// The functions that the host calls for it.
struct Calls {
    new_peer: Function,
    set_labels: Function,
    patch_hot: Function,
    patch_four: Function,
    patch_cold: Function,
    drop_peer: Function,
    shift: Function,
    fill: Function,
}

/// The table of a peer.
struct Slot {
    conn: ConnId,
    proxy: Table,
    data: Table,
    /// What the table says, or will say once it is no longer dirty.
    hot: Hot,
    cold: Cold,
    labels: Option<Arc<Labels>>,
    tried: bool,
    dirty: bool,
}

/// What changes often of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Hot {
    uploaded: u64,
    inflight: u32,
    rate_bps: u64,
    rtt_us: u64,
}

/// What changes seldom.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Cold {
    downloaded: u64,
    slots: u32,
    failures: u32,
    fail_streak: u32,
    is_seed: bool,
    estimated: bool,
}

impl Tables {
    pub(super) fn new(sandbox: &Sandbox) -> Result<Self> {
        let inside = &sandbox.inside;
        let calls = Calls {
            new_peer: inside.raw_get("new_peer")?,
            set_labels: inside.raw_get("set_labels")?,
            patch_hot: inside.raw_get("patch_hot")?,
            patch_four: inside.raw_get("patch_four")?,
            patch_cold: inside.raw_get("patch_cold")?,
            drop_peer: inside.raw_get("drop_peer")?,
            shift: inside.raw_get("shift")?,
            fill: inside.raw_get("fill")?,
        };
        Ok(Self {
            calls,
            shadow: inside.raw_get("shadow")?,
            shadowed: Vec::new(),
            slots: Vec::new(),
            by_conn: BTreeMap::new(),
            current: Vec::new(),
            dirty: Vec::new(),
            tried: 0,
        })
    }

    /// Makes the tables say what the consultation says.
    pub(super) fn refresh(&mut self, lua: &Lua, table: &Consultation) -> Result<()> {
        if self.slots.len() > PEERS_KEPT_MAX {
            let named: BTreeSet<_> = table.peers.iter().map(|p| p.conn).collect();
            self.retain(|conn| named.contains(&conn))?;
        }
        self.current.clear();
        for peer in &table.peers {
            let slot = self.slot(peer)?;
            self.current.push(slot);
            self.update(lua, slot, peer)?;
        }
        self.flush()
    }

    /// The same where nothing but what changes often has changed; tells whether it was so. Calls
    /// nothing.
    pub(super) fn refresh_lightly(&mut self, table: &Consultation) -> bool {
        self.current.truncate(table.peers.len());
        for (index, peer) in table.peers.iter().enumerate() {
            // Mostly the same peers as in the consultation before.
            let before =
                self.current.get(index).filter(|&&slot| self.slots[slot].conn == peer.conn);
            let Some(&slot) = before.or_else(|| self.by_conn.get(&peer.conn)) else { return false };
            match self.current.get_mut(index) {
                Some(place) => *place = slot,
                None => self.current.push(slot),
            }
            if !self.slots[slot].differs_lightly(peer) {
                return false;
            }
            self.mark(slot, Hot::of(peer));
        }
        true
    }

    /// One peer of the consultation under way has other numbers: its table is patched before the
    /// next decision.
    pub(super) fn changed(&mut self, index: usize, peer: &PeerView) {
        let slot = self.current[index];
        self.mark(slot, Hot::of(peer));
    }

    /// Puts the open candidates of a chunk in `shadow`.
    pub(super) fn present(&mut self, open: &[Candidate]) -> Result<()> {
        self.flush()?;
        self.list(open)?;
        if self.tried > 0 || open.iter().any(|candidate| candidate.tried) {
            for candidate in open {
                self.set_tried(self.current[candidate.peer], candidate.tried)?;
            }
        }
        Ok(())
    }

    /// The table of one peer, outside a consultation, made to say what is said of it.
    pub(super) fn seat(&mut self, lua: &Lua, peer: &PeerView, tried: bool) -> Result<Table> {
        if self.slots.len() > PEERS_KEPT_MAX {
            self.retain(|conn| conn == peer.conn)?;
        }
        let index = self.slot(peer)?;
        self.update(lua, index, peer)?;
        self.flush()?;
        self.set_tried(index, tried)?;
        Ok(self.slots[index].proxy.clone())
    }

    fn set_tried(&mut self, index: usize, tried: bool) -> Result<()> {
        let slot = &mut self.slots[index];
        if slot.tried != tried {
            slot.data.raw_set("tried", tried)?;
            slot.tried = tried;
            self.tried = if tried { self.tried + 1 } else { self.tried - 1 };
        }
        Ok(())
    }

    /// Makes `shadow` the list of the open candidates. Between two decisions mostly nothing changes,
    /// or one candidate goes.
    fn list(&mut self, open: &[Candidate]) -> Result<()> {
        let slot = |place: usize| self.current[open[place].peer];
        let (before, after) = (self.shadowed.len(), open.len());
        let shorter = before.min(after);
        let head = (0..shorter).take_while(|&at| self.shadowed[at] == slot(at)).count();
        if head == before && head == after {
            return Ok(());
        }
        let same = |back: &usize| self.shadowed[before - 1 - back] == slot(after - 1 - back);
        let tail = (0..shorter - head).take_while(same).count();
        let (last, upto) = (before - tail, after - tail);
        if before != after {
            self.calls.shift.call::<()>((last, upto, before))?;
        }
        let mut at = head;
        while at < upto {
            let proxy = |at: usize| &self.slots[slot(at)].proxy;
            if at + LISTED_TOGETHER <= upto {
                let four = |at| (proxy(at), proxy(at + 1), proxy(at + 2), proxy(at + 3));
                let (a, b, c, d) = four(at);
                self.calls.fill.call::<()>((at + 1, a, b, c, d, four(at + 4)))?;
                at += LISTED_TOGETHER;
            } else {
                self.shadow.raw_set(at + 1, proxy(at))?;
                at += 1;
            }
        }
        let listed = (head..upto).map(slot).collect::<Vec<_>>();
        self.shadowed.splice(head..last, listed);
        Ok(())
    }

    fn slot(&mut self, peer: &PeerView) -> Result<usize> {
        match self.by_conn.get(&peer.conn) {
            Some(&slot) => Ok(slot),
            None => self.add(peer),
        }
    }

    fn add(&mut self, peer: &PeerView) -> Result<usize> {
        let args =
            (conn_key(peer.conn), peer.id.to_string(), peer.addr.to_string(), peer.client.as_ref());
        let (proxy, data) = self.calls.new_peer.call::<(Table, Table)>(args)?;
        self.slots.push(Slot {
            conn: peer.conn,
            proxy,
            data,
            hot: Hot::default(),
            cold: Cold::default(),
            labels: None,
            tried: false,
            dirty: false,
        });
        self.by_conn.insert(peer.conn, self.slots.len() - 1);
        Ok(self.slots.len() - 1)
    }

    /// Notes what is new of a peer; what changes seldom is patched at once.
    fn update(&mut self, lua: &Lua, index: usize, peer: &PeerView) -> Result<()> {
        let slot = &mut self.slots[index];
        if slot.labels.as_ref().is_none_or(|labels| *labels != peer.labels) {
            let labels = peer.labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            let labels = lua.create_table_from(labels)?;
            self.calls.set_labels.call::<()>((&slot.data, labels))?;
        }
        slot.labels = Some(Arc::clone(&peer.labels));
        let cold = Cold::of(peer);
        if slot.cold != cold {
            let Cold { downloaded, slots, failures, fail_streak, is_seed, estimated } = cold;
            let downloaded = integer(downloaded);
            let args = (&slot.data, downloaded, slots, failures, fail_streak, is_seed, estimated);
            self.calls.patch_cold.call::<()>(args)?;
            slot.cold = cold;
        }
        self.mark(index, Hot::of(peer));
        Ok(())
    }

    fn mark(&mut self, index: usize, hot: Hot) {
        let slot = &mut self.slots[index];
        if slot.hot != hot {
            slot.hot = hot;
            if !slot.dirty {
                slot.dirty = true;
                self.dirty.push(index);
            }
        }
    }

    /// Patches what is dirty.
    fn flush(&mut self) -> Result<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        let arguments = |index: &usize| self.slots[*index].arguments();
        let mut chunks = dirty.chunks_exact(PATCHED_TOGETHER);
        for four in &mut chunks {
            if let [a, b, c, d] = four {
                let (a1, a2, a3, a4, a5) = arguments(a);
                let (b1, b2, b3, b4, b5) = arguments(b);
                let (c1, c2, c3, c4, c5) = arguments(c);
                let last = (c1, c2, c3, c4, c5, arguments(d));
                let args = (a1, a2, a3, a4, a5, b1, b2, b3, b4, b5, last);
                self.calls.patch_four.call::<()>(args)?;
            }
        }
        for one in chunks.remainder() {
            self.calls.patch_hot.call::<()>(arguments(one))?;
        }
        for index in dirty.drain(..) {
            self.slots[index].dirty = false;
        }
        // Its room is used again.
        self.dirty = dirty;
        Ok(())
    }

    /// Drops the tables of the peers that are not named. Whatever was presented is no longer.
    fn retain(&mut self, named: impl Fn(ConnId) -> bool) -> Result<()> {
        self.flush()?;
        for slot in self.slots.iter().filter(|slot| !named(slot.conn)) {
            self.calls.drop_peer.call::<()>(&slot.proxy)?;
        }
        self.slots.retain(|slot| named(slot.conn));
        self.by_conn = self.slots.iter().enumerate().map(|(i, slot)| (slot.conn, i)).collect();
        self.tried = self.slots.iter().filter(|slot| slot.tried).count();
        self.current.clear();
        // The shadow may hold a table that was dropped.
        self.shadow.clear()?;
        self.shadowed.clear();
        Ok(())
    }
}

impl Slot {
    /// Only what changes often of a peer may differ from what its table says.
    fn differs_lightly(&self, peer: &PeerView) -> bool {
        self.labels.as_ref().is_some_and(|labels| Arc::ptr_eq(labels, &peer.labels))
            && self.cold == Cold::of(peer)
    }

    /// What `patch_hot` takes.
    fn arguments(&self) -> (&Table, i64, u32, f64, f64) {
        let Hot { uploaded, inflight, rate_bps, rtt_us } = self.hot;
        let (rate, rtt_ms) = (rate_bps as f64, rtt_us as f64 / 1000.0);
        (&self.data, integer(uploaded), inflight, rate, rtt_ms)
    }
}

impl Hot {
    fn of(peer: &PeerView) -> Self {
        Self {
            uploaded: peer.uploaded,
            inflight: peer.inflight,
            rate_bps: peer.rate_bps,
            rtt_us: peer.rtt_us,
        }
    }
}

impl Cold {
    fn of(peer: &PeerView) -> Self {
        Self {
            downloaded: peer.downloaded,
            slots: peer.slots,
            failures: peer.failures,
            fail_streak: peer.fail_streak,
            is_seed: peer.is_seed,
            estimated: peer.estimated,
        }
    }
}
