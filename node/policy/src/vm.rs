//! A policy in a VM: its functions, and the tables of peers that outlive a decision. A table is
//! patched only where numbers changed (§3 of the contract: fresh tables cost ten times as much).
//! Never here: what is done with an answer, or with an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mlua::{Function, Result, Table, Value};

use shoal_core::{
    ids::{ConnId, TorrentId},
    policy::{Candidate, ChunkView, Consultation, Labels, PeerView},
};

use crate::{
    host::{conn_key, conn_of},
    params::{Param, ParamValue},
    sandbox::{POLICY_CHUNK, Sandbox},
    shape::{Entry, Shape},
};

/// Beyond so many tables of peers those not in the consultation are dropped. A table takes about
/// 1.5 KB of the policy's 16 MiB.
const PEERS_KEPT_MAX: usize = 1024;
/// The most downloads whose `ctx.state` is kept.
const STATES_MAX: usize = 256;

/// What `decide` answers, as `sandbox.lua` numbers it.
const CHOSEN: i64 = 1;
const ABSTAINED: i64 = 2;
const DEFERRED: i64 = 3;

/// A loaded policy.
pub(crate) struct Vm {
    pub(crate) sandbox: Sandbox,
    /// The lines between which the deciding function stands, the first of `init` too.
    pub(crate) entry_lines: Option<(u32, u32)>,
    pub(crate) init_lines: Option<(u32, u32)>,
    calls: Calls,
    decide: Option<Function>,
    init: Option<Function>,
    shadow: Table,
    /// What stands in `shadow`.
    shadowed: Vec<ConnId>,
    slots: Vec<Slot>,
    by_conn: BTreeMap<ConnId, usize>,
    /// The slot of each peer of the consultation under way.
    current: Vec<usize>,
    states: BTreeMap<TorrentId, Table>,
}

/// The functions that the host calls, other than the policy's.
struct Calls {
    new_peer: Function,
    set_labels: Function,
    patch_peer: Function,
    drop_peer: Function,
    set_chunk: Function,
    set_download: Function,
}

/// The table of a peer.
struct Slot {
    conn: ConnId,
    proxy: Table,
    data: Table,
    /// What the table says.
    sent: Numbers,
    labels: Option<Arc<Labels>>,
    tried: bool,
}

/// What changes of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Numbers {
    uploaded: u64,
    downloaded: u64,
    inflight: u32,
    slots: u32,
    rate_bps: u64,
    rtt_us: u64,
    failures: u32,
    fail_streak: u32,
    is_seed: bool,
    estimated: bool,
}

/// What a script answered.
pub(crate) enum Said {
    Chosen(ConnId, Value),
    Abstained,
    /// The milliseconds it named.
    Deferred(Option<f64>),
    /// What is wrong with it.
    Broken(String),
}

impl Vm {
    /// Puts a policy's functions and parameters in place.
    pub(crate) fn new(sandbox: Sandbox, shape: &Shape) -> Result<Self> {
        let inside = &sandbox.inside;
        let calls = Calls {
            new_peer: inside.raw_get("new_peer")?,
            set_labels: inside.raw_get("set_labels")?,
            patch_peer: inside.raw_get("patch_peer")?,
            drop_peer: inside.raw_get("drop_peer")?,
            set_chunk: inside.raw_get("set_chunk")?,
            set_download: inside.raw_get("set_download")?,
        };
        let bind = |name: &str, function: &Function| {
            inside.raw_get::<Function>(name)?.call::<Function>(function)
        };
        let (decide, entry_lines) = match &shape.entry {
            Entry::Choose(choose) => (Some(bind("bind_choose", choose)?), lines(choose)),
            Entry::Score(score) => (Some(bind("bind_score", score)?), lines(score)),
            Entry::Nothing => (None, None),
        };
        let init = shape.init.as_ref().map(|init| bind("bind_init", init)).transpose()?;
        let init_lines = shape.init.as_ref().and_then(lines);
        let params: Table = inside.raw_get("params")?;
        for Param { name, value, .. } in &shape.params {
            match value {
                ParamValue::Number(n) => params.raw_set(name.as_str(), *n)?,
                ParamValue::Integer(n) => params.raw_set(name.as_str(), *n)?,
                ParamValue::Text(text) => params.raw_set(name.as_str(), text.as_str())?,
                ParamValue::Boolean(b) => params.raw_set(name.as_str(), *b)?,
            }
        }
        let shadow = inside.raw_get("shadow")?;
        Ok(Self {
            sandbox,
            entry_lines,
            init_lines,
            calls,
            decide,
            init,
            shadow,
            shadowed: Vec::new(),
            slots: Vec::new(),
            by_conn: BTreeMap::new(),
            current: Vec::new(),
            states: BTreeMap::new(),
        })
    }

    /// Makes the tables say what the consultation says. Tells whether `init` is still to be called
    /// for its download.
    pub(crate) fn refresh(&mut self, table: &Consultation) -> Result<bool> {
        if self.slots.len() > PEERS_KEPT_MAX {
            self.drop_absent(table)?;
        }
        self.current.clear();
        for peer in &table.peers {
            let slot = match self.by_conn.get(&peer.conn) {
                Some(&slot) => slot,
                None => self.add(peer)?,
            };
            self.current.push(slot);
            self.patch(slot, peer)?;
        }
        let first = !self.states.contains_key(&table.torrent);
        if first && self.states.len() >= STATES_MAX {
            self.states.pop_first();
        }
        let state = match self.states.get(&table.torrent) {
            Some(state) => state.clone(),
            None => self.sandbox.lua.create_table()?,
        };
        let download = &table.download;
        self.calls.set_download.call::<()>((
            download.id.to_string(),
            download.name.as_str(),
            integer(download.total),
            integer(download.done),
            download.rate_bps as f64,
            download.endgame,
            integer(download.elapsed_ms),
            integer(table.now.millis()),
            &state,
        ))?;
        self.states.insert(table.torrent, state);
        Ok(first && self.init.is_some())
    }

    /// Calls `init` for the download of the last [`Self::refresh`].
    pub(crate) fn init(&self) -> Result<()> {
        self.init.as_ref().map_or(Ok(()), |init| init.call::<()>(()))
    }

    /// Forgets that a download was seen: `init` is called again.
    pub(crate) fn forget(&mut self, torrent: TorrentId) {
        self.states.remove(&torrent);
    }

    /// Whether anything decides.
    pub(crate) fn decides(&self) -> bool {
        self.decide.is_some()
    }

    /// One peer of the consultation under way changed.
    pub(crate) fn changed(&mut self, index: usize, peer: &PeerView) -> Result<()> {
        self.patch(self.current[index], peer)
    }

    /// Puts a chunk and its open candidates before the policy.
    pub(crate) fn present(&mut self, chunk: &ChunkView, open: &[Candidate]) -> Result<()> {
        for (i, candidate) in open.iter().enumerate() {
            let slot = &mut self.slots[self.current[candidate.peer]];
            if self.shadowed.get(i) != Some(&slot.conn) {
                self.shadow.raw_set(i + 1, &slot.proxy)?;
                match self.shadowed.get_mut(i) {
                    Some(conn) => *conn = slot.conn,
                    None => self.shadowed.push(slot.conn),
                }
            }
            if slot.tried != candidate.tried {
                slot.data.raw_set("tried", candidate.tried)?;
                slot.tried = candidate.tried;
            }
        }
        self.calls.set_chunk.call((
            chunk.piece.0,
            chunk.name.as_str(),
            chunk.size,
            chunk.offset,
            chunk.availability,
            chunk.attempts,
            chunk.priority,
            chunk.deadline_ms.map(integer),
            chunk.sampled,
        ))
    }

    /// Asks for a decision among the `count` candidates presented.
    pub(crate) fn decide(&self, count: usize) -> Result<Said> {
        let Some(decide) = &self.decide else { return Ok(Said::Abstained) };
        let (kind, value, second): (i64, Value, Value) = decide.call(count)?;
        Ok(match (kind, &value) {
            (CHOSEN, Value::Integer(key)) => Said::Chosen(conn_of(*key), second),
            (ABSTAINED, _) => Said::Abstained,
            (DEFERRED, Value::Integer(ms)) => Said::Deferred(Some(*ms as f64)),
            (DEFERRED, Value::Number(ms)) => Said::Deferred(Some(*ms)),
            (DEFERRED, _) => Said::Deferred(None),
            (_, Value::String(message)) => Said::Broken(message.to_string_lossy()),
            (_, _) => Said::Broken("returned something unreadable".to_owned()),
        })
    }

    fn add(&mut self, peer: &PeerView) -> Result<usize> {
        let args =
            (conn_key(peer.conn), peer.id.to_string(), peer.addr.to_string(), peer.client.as_ref());
        let (proxy, data) = self.calls.new_peer.call::<(Table, Table)>(args)?;
        let (conn, sent) = (peer.conn, Numbers::default());
        self.slots.push(Slot { conn, proxy, data, sent, labels: None, tried: false });
        self.by_conn.insert(peer.conn, self.slots.len() - 1);
        Ok(self.slots.len() - 1)
    }

    fn patch(&mut self, slot: usize, peer: &PeerView) -> Result<()> {
        let slot = &mut self.slots[slot];
        let same =
            |labels: &Arc<Labels>| Arc::ptr_eq(labels, &peer.labels) || *labels == peer.labels;
        if !slot.labels.as_ref().is_some_and(same) {
            let labels = peer.labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            let labels = self.sandbox.lua.create_table_from(labels)?;
            self.calls.set_labels.call::<()>((&slot.data, labels))?;
            slot.labels = Some(Arc::clone(&peer.labels));
        }
        let numbers = Numbers::of(peer);
        if slot.sent != numbers {
            self.calls.patch_peer.call::<()>((
                &slot.data,
                integer(peer.uploaded),
                integer(peer.downloaded),
                peer.inflight,
                peer.slots,
                peer.rate_bps as f64,
                peer.rtt_us as f64 / 1000.0,
                peer.failures,
                peer.fail_streak,
                peer.is_seed,
                peer.estimated,
            ))?;
            slot.sent = numbers;
        }
        Ok(())
    }

    /// Drops the tables of peers that the consultation does not name.
    fn drop_absent(&mut self, table: &Consultation) -> Result<()> {
        let named: BTreeSet<_> = table.peers.iter().map(|p| p.conn).collect();
        for slot in self.slots.iter().filter(|slot| !named.contains(&slot.conn)) {
            self.calls.drop_peer.call::<()>(&slot.proxy)?;
        }
        self.slots.retain(|slot| named.contains(&slot.conn));
        self.by_conn = self.slots.iter().enumerate().map(|(i, slot)| (slot.conn, i)).collect();
        // The shadow may hold a table that was dropped.
        self.shadow.clear()?;
        self.shadowed.clear();
        Ok(())
    }
}

impl Numbers {
    fn of(peer: &PeerView) -> Self {
        Self {
            uploaded: peer.uploaded,
            downloaded: peer.downloaded,
            inflight: peer.inflight,
            slots: peer.slots,
            rate_bps: peer.rate_bps,
            rtt_us: peer.rtt_us,
            failures: peer.failures,
            fail_streak: peer.fail_streak,
            is_seed: peer.is_seed,
            estimated: peer.estimated,
        }
    }
}

/// The lines of a function of the policy, from 1.
fn lines(function: &Function) -> Option<(u32, u32)> {
    let info = function.info();
    // It may be one of the library's.
    if info.short_src.as_deref() != Some(POLICY_CHUNK) {
        return None;
    }
    let first = u32::try_from(info.line_defined?).ok()?;
    let last = info.last_line_defined.and_then(|line| u32::try_from(line).ok());
    Some((first, last.unwrap_or(first)))
}

/// A count as Lua's integer; what does not fit is the greatest.
fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
