//! What the sandbox calls in Rust: natives, hashes, networks, log and metrics. Each call's work is
//! bounded by its arguments. Never here: anything that runs Lua.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use mlua::{Error, IntoLuaMulti, Lua, LuaString, MultiValue, Result, Table};

use shoal_core::{
    ids::ConnId,
    policy::{
        Candidate, Consultation,
        native::{Cursor, Native},
    },
    rng::Rng,
};

use crate::{
    extreme::{self, End},
    loader::short,
    sink::{LogLevel, MetricOperation, Outlet},
    suggest,
    vm::{chunk_values, progress_values},
};

/// What `requires` and `shoal.has` know of.
pub const FEATURES: [&str; 11] = [
    "choose", "events", "labels", "log", "metric", "migrate", "order", "params", "score", "slots",
    "state",
];

/// The longest text of `shoal.glob`, bytes: with the pattern it bounds the work.
const GLOB_TEXT_LEN_MAX: usize = 4096;
/// The longest pattern of `shoal.glob`, bytes.
const GLOB_PATTERN_LEN_MAX: usize = 128;

/// What outlives a VM: the decision under way and the way out.
pub(crate) struct Shared {
    pub(crate) live: RefCell<Live>,
    pub(crate) outlet: RefCell<Outlet>,
}

/// The decision under way.
pub(crate) struct Live {
    /// The consultation with every verdict so far applied.
    pub(crate) table: Option<Consultation>,
    /// The open candidates of the chunk.
    pub(crate) open: Vec<Candidate>,
    pub(crate) rng: Rng,
    pub(crate) cursor: Cursor,
}

impl Live {
    /// Notes the open candidates of a chunk, and counts them.
    pub(crate) fn open(&mut self, chunk: usize) -> usize {
        self.open.clear();
        if let Some(table) = &self.table {
            self.open.extend(table.open_candidates(chunk));
        }
        self.open.len()
    }

    /// `choose(ctx, peers), torrent 3f9a07c1…, chunk 118, 41 candidates`.
    pub(crate) fn place(&self, entry: &str, chunk: usize) -> String {
        let Some(table) = &self.table else { return entry.to_owned() };
        let (torrent, piece) = (short(table.download.id), table.chunks[chunk].piece.0);
        let count = self.open.len();
        let noun = if count == 1 { "candidate" } else { "candidates" };
        format!("{entry}, torrent {torrent}…, chunk {piece}, {count} {noun}")
    }

    /// What a native policy would choose: an index into the table's peers. `among` narrows the
    /// candidates to these connections.
    pub(crate) fn native(&mut self, native: Native, among: Option<&[ConnId]>) -> Option<usize> {
        let table = self.table.as_ref()?;
        let Some(among) = among else {
            return native.choose(&table.peers, &self.open, &mut self.rng, &mut self.cursor);
        };
        let listed = |c: &&Candidate| among.contains(&table.peers[c.peer].conn);
        let narrowed: Vec<_> = self.open.iter().filter(listed).copied().collect();
        native.choose(&table.peers, &narrowed, &mut self.rng, &mut self.cursor)
    }
}

/// The functions that the sandbox takes as its argument.
pub(crate) fn functions(lua: &Lua, shared: &Rc<Shared>, seed: u64) -> Result<Table> {
    let host = lua.create_table()?;
    host.raw_set("seed_high", i64::from_ne_bytes(seed.to_ne_bytes()))?;
    host.raw_set("seed_low", i64::from_ne_bytes(seed.rotate_left(32).to_ne_bytes()))?;
    host.raw_set("unknown", lua.create_function(unknown)?)?;
    host.raw_set("hash", lua.create_function(hash)?)?;
    host.raw_set("cidr", lua.create_function(cidr)?)?;
    host.raw_set("glob", lua.create_function(glob)?)?;
    host.raw_set("has", lua.create_function(has)?)?;
    let out = Rc::clone(shared);
    let log = move |_: &Lua, (level, line): (LuaString, LuaString)| {
        let level = match &*level.as_bytes() {
            b"debug" => LogLevel::Debug,
            b"info" => LogLevel::Info,
            b"warn" => LogLevel::Warn,
            _ => LogLevel::Error,
        };
        out.outlet.borrow_mut().log(level, &line.as_bytes());
        Ok(())
    };
    host.raw_set("log", lua.create_function(log)?)?;
    let out = Rc::clone(shared);
    let metric = move |_: &Lua, (operation, name, value): (LuaString, LuaString, f64)| {
        let operation = match &*operation.as_bytes() {
            b"inc" => MetricOperation::Inc,
            b"set" => MetricOperation::Set,
            _ => MetricOperation::Observe,
        };
        let name = name.to_string_lossy();
        out.outlet.borrow_mut().metric(operation, &name, value).map_err(Error::runtime)
    };
    host.raw_set("metric", lua.create_function(metric)?)?;
    let live = Rc::clone(shared);
    let builtin = move |_: &Lua, (name, among): (LuaString, Option<Table>)| {
        builtin(&mut live.live.borrow_mut(), &name.to_string_lossy(), among.as_ref())
    };
    host.raw_set("builtin", lua.create_function(builtin)?)?;
    let live = Rc::clone(shared);
    let chunk = move |lua: &Lua, at: usize| {
        let live = live.live.borrow();
        let chunk = live.table.as_ref().and_then(|table| table.chunks.get(at));
        chunk.map_or_else(|| Ok(MultiValue::new()), |chunk| chunk_values(chunk).into_lua_multi(lua))
    };
    host.raw_set("chunk", lua.create_function(chunk)?)?;
    let live = Rc::clone(shared);
    let progress = move |lua: &Lua, ()| {
        let live = live.live.borrow();
        let table = live.table.as_ref();
        let values = table.map(|table| progress_values(&table.download, table.now));
        values.map_or_else(|| Ok(MultiValue::new()), |values| values.into_lua_multi(lua))
    };
    host.raw_set("progress", lua.create_function(progress)?)?;
    let live = Rc::clone(shared);
    let extreme = move |_: &Lua, (most, field): (bool, LuaString)| {
        let which = if most { ("argmax", End::Most) } else { ("argmin", End::Least) };
        let live = live.live.borrow();
        let Some(table) = &live.table else { return Ok(None) };
        let found = extreme::extreme(&table.peers, &live.open, which, &field.as_bytes());
        found.map_err(Error::runtime)
    };
    host.raw_set("extreme", lua.create_function(extreme)?)?;
    Ok(host)
}

/// The message for a name that is not there.
fn unknown(_: &Lua, (phrase, key, names): (LuaString, LuaString, LuaString)) -> Result<String> {
    let (key, names) = (key.to_string_lossy(), names.to_string_lossy());
    let hint = suggest::hint(&key, names.split('\n'));
    Ok(format!("{} '{key}'{hint}", phrase.to_string_lossy()))
}

/// Whether this node has a feature that a policy may require.
#[expect(clippy::needless_pass_by_value, reason = "what a callback takes")]
fn has(_: &Lua, feature: LuaString) -> Result<bool> {
    Ok(FEATURES.iter().any(|known| known.as_bytes() == &*feature.as_bytes()))
}

fn builtin(live: &mut Live, name: &str, among: Option<&Table>) -> Result<Option<i64>> {
    let native: Native = name.parse().map_err(|_| {
        let hint = suggest::hint(name, Native::ALL.map(Native::name));
        Error::runtime(format!("there is no native policy '{name}'{hint}"))
    })?;
    let among = match among {
        None => None,
        Some(conns) => {
            let conns = conns.sequence_values::<i64>().map(|conn| conn.map(conn_of));
            Some(conns.collect::<Result<Vec<_>>>()?)
        }
    };
    let chosen = live.native(native, among.as_deref());
    Ok(chosen.and_then(|peer| Some(conn_key(live.table.as_ref()?.peers[peer].conn))))
}

/// FNV-1a over the bytes, then the final mix of `MurmurHash3`, which FNV lacks: its high bits are
/// poor on short texts. 32 bits, the same on every node.
fn hash(_: &Lua, (text, seed): (LuaString, i64)) -> Result<i64> {
    let start = seed.to_le_bytes().into_iter().fold(0x811c_9dc5_u32, fnv);
    let mut h = text.as_bytes().iter().copied().fold(start, fnv);
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    Ok(i64::from(h ^ (h >> 16)))
}

fn fnv(h: u32, byte: u8) -> u32 {
    (h ^ u32::from(byte)).wrapping_mul(0x0100_0193)
}

/// Whether `addr` (`ip:port` or `ip`) is inside `network` (`10.0.0.0/8`).
fn cidr(_: &Lua, (addr, network): (LuaString, LuaString)) -> Result<bool> {
    let (addr, network) = (addr.to_string_lossy(), network.to_string_lossy());
    let ip = addr.parse::<SocketAddr>().map(|addr| addr.ip()).or_else(|_| addr.parse::<IpAddr>());
    let Ok(ip) = ip else {
        return Err(Error::runtime(format!("cidr: '{addr}' is not an address")));
    };
    let Some((base, bits)) = network_of(&network) else {
        return Err(Error::runtime(format!("cidr: '{network}' is not a network, as 10.0.0.0/8")));
    };
    Ok(match (ip.to_canonical(), base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            ip.to_bits() & mask == base.to_bits() & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(base)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            ip.to_bits() & mask == base.to_bits() & mask
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    })
}

fn network_of(text: &str) -> Option<(IpAddr, u32)> {
    let (base, bits) = text.split_once('/')?;
    let base: IpAddr = base.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    (bits <= if base.is_ipv4() { 32 } else { 128 }).then_some((base, bits))
}

/// Shell-style match with `*` and `?`, byte by byte.
fn glob(_: &Lua, (text, pattern): (LuaString, LuaString)) -> Result<bool> {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    if text.len() > GLOB_TEXT_LEN_MAX || pattern.len() > GLOB_PATTERN_LEN_MAX {
        return Err(Error::runtime(format!(
            "glob: {} and {} bytes; at most {GLOB_TEXT_LEN_MAX} of text and \
             {GLOB_PATTERN_LEN_MAX} of pattern",
            text.len(),
            pattern.len()
        )));
    }
    Ok(globbed(&text, &pattern))
}

fn globbed(text: &[u8], pattern: &[u8]) -> bool {
    let (mut t, mut p) = (0, 0);
    // Where to go on from after the last `*`: its place in the pattern, and in the text.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&b) if b == b'?' || b == text[t] => {
                t += 1;
                p += 1;
            }
            Some(_) | None => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                t = from + 1;
                p = at + 1;
            }
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// A connection as Lua holds it: the same 64 bits.
pub(crate) fn conn_key(conn: ConnId) -> i64 {
    i64::from_ne_bytes(conn.0.to_ne_bytes())
}

/// The connection of [`conn_key`].
pub(crate) fn conn_of(key: i64) -> ConnId {
    ConnId(u64::from_ne_bytes(key.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_a_shell() {
        for (text, pattern, expected) in [
            ("abc", "abc", true),
            ("abc", "a*", true),
            ("abc", "*c", true),
            ("abc", "a?c", true),
            ("abc", "a?", false),
            ("", "*", true),
            ("", "?", false),
            ("aXbXc", "*X*X*", true),
            ("mississippi", "m*iss*ip*i", true),
            ("mississippi", "m*iss*iss*iss*", false),
        ] {
            assert_eq!(globbed(text.as_bytes(), pattern.as_bytes()), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn networks_are_read_whole() {
        assert!(network_of("10.0.0.0/8").is_some());
        assert!(network_of("::/0").is_some());
        for wrong in ["10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0/8", "/8", "10.0.0.0/x"] {
            assert!(network_of(wrong).is_none(), "{wrong}");
        }
    }
}
