//! A policy in a VM: its functions, its downloads, and the tables of peers ([`tables`]). Never here:
//! what is done with an answer, or with an error.

mod states;
mod tables;

use std::{collections::BTreeMap, result::Result as StdResult};

use mlua::{Function, IntoLuaMulti, Result, Table, Value};

use shoal_core::{
    ids::{ConnId, InfoHash},
    policy::{Candidate, ChunkView, Consultation, DownloadView, Happening, PeerView},
    time::Timestamp,
};

use self::{states::States, tables::Tables};
use crate::{
    advice,
    host::conn_of,
    params::{Param, ParamValue},
    sandbox::{POLICY_CHUNK, Sandbox},
    shape::{Entry, Event, Shape},
    state::{self, NotPlain, Plain},
};

/// What `decide` answers, as `calls.lua` of the sandbox numbers it.
const CHOSEN: i64 = 1;
const ABSTAINED: i64 = 2;
const DEFERRED: i64 = 3;
const RAW: i64 = 5;

/// A loaded policy.
pub(crate) struct Vm {
    pub(crate) sandbox: Sandbox,
    pub(crate) tables: Tables,
    pub(crate) states: States,
    decide: Option<Bound>,
    /// Where a policy has `score`: what each candidate got, for the curious.
    scores: Option<Table>,
    functions: BTreeMap<Place, Bound>,
    ctx: Table,
    ev: Table,
    set_download: Function,
    set_progress: Function,
    set_chunk: Function,
    set_event: Function,
    settle: Function,
    /// The download that the tables show.
    shown: Option<Shown>,
}

/// What the tables say of a download.
#[derive(PartialEq)]
struct Shown {
    id: InfoHash,
    name: String,
    total: u64,
    /// Which of the states, as they are counted.
    state: u64,
}

/// A function of a policy, other than the one that decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Place {
    Init,
    Migrate,
    Order,
    Slots,
    On(Event),
}

impl Place {
    /// How it is written in messages.
    pub(crate) fn call(self) -> String {
        match self {
            Self::Init => "init(ctx)".to_owned(),
            Self::Migrate => "migrate(old, from_version)".to_owned(),
            Self::Order => "order(ctx)".to_owned(),
            Self::Slots => "slots(ctx, peer)".to_owned(),
            Self::On(event) => format!("on.{}(ctx, ev)", event.name()),
        }
    }
}

/// A function, and where it stands.
struct Bound {
    function: Function,
    /// Its first and last line, where it is the policy's own.
    lines: Option<(u32, u32)>,
}

/// What a script answered.
pub(crate) enum Said {
    /// The candidate at this place, from 0, and the second result.
    Nth(usize, Value),
    Chosen(ConnId, Value),
    Abstained,
    /// The milliseconds it named.
    Deferred(Option<f64>),
    /// What is wrong with it.
    Broken(String),
}

/// Whether the scores of a decision are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scores {
    Kept,
    Dropped,
}

impl Vm {
    /// Puts a policy's functions and parameters in place.
    pub(crate) fn new(sandbox: Sandbox, shape: &Shape, scores: Scores) -> Result<Self> {
        let inside = sandbox.inside.clone();
        let kept = match (&shape.entry, scores) {
            (Entry::Score(_), Scores::Kept) => Some(sandbox.lua.create_table()?),
            (Entry::Score(_), Scores::Dropped) | (Entry::Choose(_) | Entry::Nothing, _) => None,
        };
        let bind = |name: &str, function: &Function| {
            let bind: Function = inside.raw_get(name)?;
            let lines = lines(function);
            Ok::<_, mlua::Error>(Bound { function: bind.call((function, kept.as_ref()))?, lines })
        };
        let decide = match &shape.entry {
            Entry::Choose(choose) => Some(bind("bind_choose", choose)?),
            Entry::Score(score) => Some(bind("bind_score", score)?),
            Entry::Nothing => None,
        };
        let named = [
            (Place::Init, &shape.init),
            (Place::Migrate, &shape.migrate),
            (Place::Order, &shape.order),
            (Place::Slots, &shape.slots),
        ];
        let named = named.into_iter().filter_map(|(place, f)| f.as_ref().map(|f| (place, f)));
        let events = shape.on.iter().map(|(event, function)| (Place::On(*event), function));
        let bound =
            |function: &Function| Bound { function: function.clone(), lines: lines(function) };
        let functions = named.chain(events).map(|(place, f)| (place, bound(f))).collect();
        set_params(&inside.raw_get("params")?, &shape.params)?;
        Ok(Self {
            tables: Tables::new(&sandbox)?,
            states: States::default(),
            decide,
            scores: kept,
            functions,
            ctx: inside.raw_get("ctx")?,
            ev: inside.raw_get("ev")?,
            set_download: inside.raw_get("set_download")?,
            set_progress: inside.raw_get("set_progress")?,
            set_chunk: inside.raw_get("set_chunk")?,
            set_event: inside.raw_get("set_event")?,
            settle: inside.raw_get("settle")?,
            shown: None,
            sandbox,
        })
    }

    /// The lines between which the deciding function stands.
    pub(crate) fn entry_lines(&self) -> Option<(u32, u32)> {
        self.decide.as_ref()?.lines
    }

    /// The lines between which another function stands.
    pub(crate) fn lines(&self, place: Place) -> Option<(u32, u32)> {
        self.functions.get(&place)?.lines
    }

    /// Puts a download before the policy. Tells whether `init` is still to be called for it.
    pub(crate) fn begin(&mut self, download: &DownloadView, now: Timestamp) -> Result<bool> {
        let same = self.shows(download);
        let state = self.states.state(&self.sandbox.lua, download.id)?;
        if !same {
            self.set_download.call::<()>((
                download.id.to_string(),
                download.name.as_str(),
                integer(download.total),
                &state.table,
            ))?;
            let (name, state) = (download.name.clone(), state.number);
            self.shown = Some(Shown { id: download.id, name, total: download.total, state });
        }
        self.set_progress.call::<()>(progress_values(download, now))?;
        if state.due && !self.functions.contains_key(&Place::Init) {
            state.due = false;
        }
        Ok(state.due)
    }

    /// The tables say what does not change of a download, and `init` was called for it.
    fn shows(&mut self, download: &DownloadView) -> bool {
        let Some(shown) = &self.shown else { return false };
        let begun = self.states.touch(download.id);
        begun == Some(shown.state)
            && (shown.id, shown.total) == (download.id, download.total)
            && shown.name == download.name
    }

    /// Makes the tables say what a consultation says, where that is a matter of numbers that are
    /// patched before the next decision. Tells whether it was: else [`Self::begin`] and
    /// [`Self::refresh`] it.
    pub(crate) fn refresh_lightly(&mut self, table: &Consultation) -> bool {
        self.shows(&table.download) && self.tables.refresh_lightly(table)
    }

    /// Calls `init` for the download of the last [`Self::begin`].
    pub(crate) fn init(&mut self, id: InfoHash) -> Result<()> {
        self.set_event.call::<()>(())?;
        self.call::<()>(Place::Init, &self.ctx)?;
        self.states.initialised(id);
        Ok(())
    }

    /// Makes the tables of the peers say what the consultation says.
    pub(crate) fn refresh(&mut self, table: &Consultation) -> Result<()> {
        self.tables.refresh(&self.sandbox.lua, table)
    }

    /// Whether anything decides.
    pub(crate) fn decides(&self) -> bool {
        self.decide.is_some()
    }

    /// One peer of the consultation under way changed.
    pub(crate) fn changed(&mut self, index: usize, peer: &PeerView) {
        self.tables.changed(index, peer);
    }

    /// Puts the open candidates of a chunk before the policy.
    pub(crate) fn present(&mut self, open: &[Candidate]) -> Result<()> {
        self.tables.present(open)
    }

    /// Asks for a decision of a chunk among the `count` candidates presented.
    pub(crate) fn decide(&self, chunk: usize, count: usize) -> Result<Said> {
        let Some(decide) = &self.decide else { return Ok(Said::Abstained) };
        let answer: (i64, Value, Value) = decide.function.call((count, chunk))?;
        match answer {
            (RAW, Value::Integer(place), second) => match usize::try_from(place) {
                Ok(place) if (1..=count).contains(&place) => Ok(Said::Nth(place - 1, second)),
                Ok(_) | Err(_) => self.settle(Value::Integer(place), second),
            },
            (RAW, Value::Nil, _) => Ok(Said::Abstained),
            (RAW, choice, second) => self.settle(choice, second),
            settled => Ok(said(settled)),
        }
    }

    fn settle(&self, choice: Value, second: Value) -> Result<Said> {
        self.settle.call((choice, second)).map(said)
    }

    /// What the `count` candidates of the last decision got; `None` where the policy has no `score`.
    pub(crate) fn scores(&self, count: usize) -> Result<Option<Vec<Option<f64>>>> {
        let Some(scores) = &self.scores else { return Ok(None) };
        (1..=count).map(|i| scores.raw_get(i)).collect::<Result<_>>().map(Some)
    }

    /// Puts what happened before the policy: `ctx.chunk` and `ev`.
    pub(crate) fn happened(&mut self, what: &Happening) -> Result<()> {
        match what {
            Happening::Phase { .. } | Happening::Tick { .. } | Happening::Finished => {
                self.set_event.call(())
            }
            Happening::PeerAdded { peer } | Happening::PeerRemoved { peer } => {
                let peer = self.tables.seat(&self.sandbox.lua, peer, false)?;
                self.set_event.call(peer)
            }
            Happening::ChunkDone { peer, chunk, bytes, took_us } => {
                let peer = self.tables.seat(&self.sandbox.lua, peer, false)?;
                self.set_chunk.call::<()>(chunk_values(chunk))?;
                let ms = *took_us as f64 / 1000.0;
                self.set_event.call((peer, true, integer(*bytes), ms))
            }
            Happening::ChunkFailed { peer, chunk, fault } => {
                let peer = self.tables.seat(&self.sandbox.lua, peer, true)?;
                self.set_chunk.call::<()>(chunk_values(chunk))?;
                self.set_event.call((peer, true, Value::Nil, Value::Nil, fault.name()))
            }
        }
    }

    /// Calls the function of an event; what happened was put before the policy.
    pub(crate) fn tell(&self, event: Event) -> Result<()> {
        self.call(Place::On(event), (&self.ctx, &self.ev))
    }

    /// Asks for the order of pieces.
    pub(crate) fn order(&self) -> Result<Value> {
        self.call(Place::Order, &self.ctx)
    }

    /// Asks how many chunks may be in flight at a peer.
    pub(crate) fn slots(&mut self, peer: &PeerView) -> Result<Value> {
        let peer = self.tables.seat(&self.sandbox.lua, peer, false)?;
        self.call(Place::Slots, (&self.ctx, peer))
    }

    /// Brings a state of an earlier version into the shape of this one.
    ///
    /// # Errors
    /// `migrate` failed, or returned what is not a plain table.
    pub(crate) fn migrate(&self, old: &Plain, from_version: i64) -> StdResult<Plain, NotPlain> {
        let old = state::put(&self.sandbox.lua, old)?;
        let returned: Value = self.call(Place::Migrate, (old, from_version))?;
        let Value::Table(table) = &returned else {
            let is = advice::describe(&returned);
            return Err(NotPlain::Value(format!("returned {is}, expected a table")));
        };
        state::taken("the table it returned", table)
    }

    fn call<T: mlua::FromLuaMulti>(&self, place: Place, args: impl IntoLuaMulti) -> Result<T> {
        match self.functions.get(&place) {
            Some(bound) => bound.function.call(args),
            None => Err(mlua::Error::runtime(format!("there is no {}", place.call()))),
        }
    }
}

/// A chunk as `set_chunk` takes it.
pub(crate) fn chunk_values(chunk: &ChunkView) -> impl IntoLuaMulti + '_ {
    (
        chunk.piece.0,
        chunk.name.as_str(),
        chunk.size,
        chunk.offset,
        chunk.availability,
        chunk.attempts,
        chunk.priority,
        chunk.deadline_ms.map(integer),
        chunk.sampled,
    )
}

/// The progress of a download as `set_progress` takes it.
pub(crate) fn progress_values(download: &DownloadView, now: Timestamp) -> impl IntoLuaMulti {
    (
        integer(download.done),
        download.rate_bps as f64,
        download.endgame,
        integer(download.elapsed_ms),
        integer(now.millis()),
    )
}

/// What an answer means that `settle` has seen.
fn said((kind, value, second): (i64, Value, Value)) -> Said {
    match (kind, &value) {
        (CHOSEN, Value::Integer(key)) => Said::Chosen(conn_of(*key), second),
        (ABSTAINED, _) => Said::Abstained,
        (DEFERRED, Value::Integer(ms)) => Said::Deferred(Some(*ms as f64)),
        (DEFERRED, Value::Number(ms)) => Said::Deferred(Some(*ms)),
        (DEFERRED, _) => Said::Deferred(None),
        (_, Value::String(message)) => Said::Broken(message.to_string_lossy()),
        (_, _) => Said::Broken("returned something unreadable".to_owned()),
    }
}

fn set_params(table: &Table, params: &[Param]) -> Result<()> {
    for Param { name, value, .. } in params {
        match value {
            ParamValue::Number(n) => table.raw_set(name.as_str(), *n)?,
            ParamValue::Integer(n) => table.raw_set(name.as_str(), *n)?,
            ParamValue::Text(text) => table.raw_set(name.as_str(), text.as_str())?,
            ParamValue::Boolean(b) => table.raw_set(name.as_str(), *b)?,
        }
    }
    Ok(())
}

/// The lines of a function of the policy, from 1.
pub(crate) fn lines(function: &Function) -> Option<(u32, u32)> {
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
pub(crate) fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
