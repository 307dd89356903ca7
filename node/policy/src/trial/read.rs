//! Reading the tables of test code: every key known, every value checked, with suggestions for
//! slips. Never here: what is done with them.

use std::sync::Arc;

use mlua::{Error, Result, Table, Value};
use shoal_core::{
    config::{LABEL_LEN_MAX, LABELS_MAX},
    ids::PieceIndex,
    policy::{ChunkView, DownloadView, Labels},
};

use super::swarm::{PEER_NAME_LEN_MAX, Peer, VERDICTS};
use crate::{sink::sanitised, suggest};

/// The longest text in a table of test code, bytes.
const TEXT_LEN_MAX: usize = 256;
/// The greatest number of chunks in flight and of slots.
const SLOTS_MAX: u64 = 65_536;

/// A table whose keys are known.
pub(super) struct Fields<'a> {
    table: &'a Table,
    /// What it is, for messages: `swarm.peers[2]`.
    what: &'a str,
}

impl<'a> Fields<'a> {
    /// # Errors
    /// A key that is not one of `keys`.
    pub(super) fn open(table: &'a Table, what: &'a str, keys: &[&str]) -> Result<Self> {
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            let known = key
                .as_string()
                .is_some_and(|key| keys.iter().any(|known| known.as_bytes() == &*key.as_bytes()));
            if !known {
                let key = key.to_string()?;
                let shown = sanitised(key.as_bytes(), PEER_NAME_LEN_MAX);
                let hint = suggest::hint(&shown, keys.iter().copied());
                return Err(Error::runtime(format!("{what}: unknown key '{shown}'{hint}")));
            }
        }
        Ok(Self { table, what })
    }

    fn wrong(&self, key: &str, value: &Value, expected: &str) -> Error {
        let shown = super::expect::show(value);
        Error::runtime(format!("{}.{key} is {shown}; expected {expected}", self.what))
    }

    fn value(&self, key: &str) -> Result<Option<Value>> {
        let value: Value = self.table.raw_get(key)?;
        Ok((!value.is_nil()).then_some(value))
    }

    pub(super) fn text(&self, key: &str, len_max: usize) -> Result<Option<String>> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        match value.as_string().map(|text| text.as_bytes()) {
            Some(text) if text.len() <= len_max => Ok(Some(sanitised(&text, len_max))),
            Some(_) | None => {
                Err(self.wrong(key, &value, &format!("a string of at most {len_max} bytes")))
            }
        }
    }

    /// A whole number from 0.
    pub(super) fn whole(&self, key: &str, max: u64) -> Result<Option<u64>> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        match whole(&value) {
            Some(n) if n <= max => Ok(Some(n)),
            Some(_) => Err(self.wrong(key, &value, &format!("at most {max}"))),
            None => Err(self.wrong(key, &value, "a whole number of at least 0")),
        }
    }

    fn count(&self, key: &str, max: u64) -> Result<Option<u32>> {
        Ok(self.whole(key, max)?.map(|n| u32::try_from(n).unwrap_or(u32::MAX)))
    }

    /// A finite number from 0.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        match value.as_f64().or(value.as_i64().map(|n| n as f64)) {
            Some(n) if n.is_finite() && n >= 0.0 => Ok(Some(n)),
            Some(_) | None => Err(self.wrong(key, &value, "a number of at least 0")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        match value.as_boolean() {
            Some(flag) => Ok(Some(flag)),
            None => Err(self.wrong(key, &value, "true or false")),
        }
    }

    pub(super) fn table(&self, key: &str) -> Result<Option<Table>> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        match value.as_table() {
            Some(table) => Ok(Some(table.clone())),
            None => Err(self.wrong(key, &value, "a table")),
        }
    }
}

fn whole(value: &Value) -> Option<u64> {
    let float = value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n));
    value.as_i64().and_then(|n| u64::try_from(n).ok()).or(float.map(|n| n as u64))
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

const PEER_KEYS: [&str; 16] = [
    "name",
    "labels",
    "uploaded",
    "downloaded",
    "inflight",
    "slots",
    "rate",
    "rtt_ms",
    "failures",
    "fail_streak",
    "tried",
    "is_seed",
    "estimated",
    "client",
    "addr",
    "has",
];

/// Sets what a table says of a peer.
///
/// # Errors
/// What is wrong with it.
pub(super) fn peer(peer: &mut Peer, table: &Table, what: &str) -> Result<()> {
    let fields = Fields::open(table, what, &PEER_KEYS)?;
    if let Some(name) = fields.text("name", PEER_NAME_LEN_MAX)? {
        if name.is_empty() || VERDICTS.contains(&name.as_str()) {
            return Err(Error::runtime(format!("{what}: no peer can be called '{name}'")));
        }
        peer.name = name;
    }
    set(&mut peer.has, fields.flag("has")?);
    set(&mut peer.tried, fields.flag("tried")?);
    let view = &mut peer.view;
    if let Some(table) = fields.table("labels")? {
        view.labels = Arc::new(labels(&table, what)?);
    }
    set(&mut view.uploaded, fields.whole("uploaded", u64::MAX)?);
    set(&mut view.downloaded, fields.whole("downloaded", u64::MAX)?);
    set(&mut view.inflight, fields.count("inflight", SLOTS_MAX)?);
    set(&mut view.slots, fields.count("slots", SLOTS_MAX)?);
    set(&mut view.rate_bps, fields.number("rate")?.map(|rate| rate as u64));
    set(&mut view.rtt_us, fields.number("rtt_ms")?.map(|ms| (ms * 1000.0) as u64));
    set(&mut view.failures, fields.count("failures", SLOTS_MAX)?);
    set(&mut view.fail_streak, fields.count("fail_streak", SLOTS_MAX)?);
    set(&mut view.is_seed, fields.flag("is_seed")?);
    set(&mut view.estimated, fields.flag("estimated")?);
    set(&mut view.client, fields.text("client", TEXT_LEN_MAX)?.map(Arc::from));
    if let Some(addr) = fields.text("addr", TEXT_LEN_MAX)? {
        let parsed = addr.parse();
        view.addr = parsed.map_err(|_| {
            Error::runtime(format!("{what}.addr is '{addr}'; expected \"ip:port\""))
        })?;
    }
    Ok(())
}

fn labels(table: &Table, what: &str) -> Result<Labels> {
    let mut labels = Labels::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let text = |value: &Value| {
            let plain = value.is_string() || value.is_number() || value.is_integer();
            let text = if plain { value.to_string().ok() } else { None };
            text.filter(|text| text.len() <= LABEL_LEN_MAX)
        };
        let (Some(key), Some(value)) = (text(&key), text(&value)) else {
            let message = format!("{what}.labels: strings of at most {LABEL_LEN_MAX} bytes");
            return Err(Error::runtime(message));
        };
        labels.insert(key, value);
        if labels.len() > LABELS_MAX {
            return Err(Error::runtime(format!("{what}.labels: at most {LABELS_MAX}")));
        }
    }
    Ok(labels)
}

const CHUNK_KEYS: [&str; 8] =
    ["index", "name", "size", "offset", "availability", "attempts", "priority", "deadline_ms"];

/// Sets what a table says of a chunk; tells whether it says how many have it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn chunk(chunk: &mut ChunkView, table: &Table, what: &str) -> Result<bool> {
    let fields = Fields::open(table, what, &CHUNK_KEYS)?;
    let most = u64::from(u32::MAX);
    if let Some(index) = fields.count("index", most)? {
        chunk.piece = PieceIndex(index);
        chunk.name = format!("trial.part{}", u64::from(index) + 1);
    }
    set(&mut chunk.name, fields.text("name", TEXT_LEN_MAX)?);
    set(&mut chunk.size, fields.count("size", most)?);
    set(&mut chunk.offset, fields.count("offset", most)?);
    let availability = fields.count("availability", most)?;
    set(&mut chunk.availability, availability);
    set(&mut chunk.attempts, fields.count("attempts", most)?);
    if let Some(priority) = fields.whole("priority", i32::MAX as u64)? {
        chunk.priority = i32::try_from(priority).unwrap_or(i32::MAX);
    }
    if let Some(ms) = fields.number("deadline_ms")? {
        chunk.deadline_ms = Some(ms as u64);
    }
    Ok(availability.is_some())
}

const DOWNLOAD_KEYS: [&str; 6] = ["name", "total", "done", "rate", "endgame", "elapsed_ms"];

/// Sets what a table says of the download.
///
/// # Errors
/// What is wrong with it.
pub(super) fn download(download: &mut DownloadView, table: &Table, what: &str) -> Result<()> {
    let fields = Fields::open(table, what, &DOWNLOAD_KEYS)?;
    set(&mut download.name, fields.text("name", TEXT_LEN_MAX)?);
    set(&mut download.total, fields.whole("total", u64::MAX)?);
    set(&mut download.done, fields.whole("done", u64::MAX)?);
    set(&mut download.rate_bps, fields.number("rate")?.map(|rate| rate as u64));
    set(&mut download.endgame, fields.flag("endgame")?);
    set(&mut download.elapsed_ms, fields.whole("elapsed_ms", u64::MAX)?);
    Ok(())
}
