//! What test code can call beside the library of policies: `policy`, `test`, `swarm`, `expect…`, and
//! the functions of a swarm. Never here: what a swarm does.

use std::{cell::RefCell, rc::Rc, time::Duration};

use mlua::{Error, FromLuaMulti, Function, IntoLuaMulti, Lua, LuaString, Result, Table, Value};
use shoal_core::{
    config::CANDIDATES_MAX,
    policy::{ChunkFault, Verdict},
};

use super::{
    NAME_LEN_MAX, SWARMS_MAX, TESTS_MAX,
    bench::{Stage, TESTS},
    expect,
    purse::PolicyBudget,
    read::{self, Fields},
    swarm::{self, Outcome, PEER_NAME_LEN_MAX, Peer, Swarm, Tally},
};
use crate::{
    budget::MEMORY_MAX,
    load::ScriptSource,
    params::{PARAM_LEN_MAX, PARAMS_MAX},
    shape::Event,
    shipped,
    sink::{NoSink, sanitised},
    suggest,
    types::FAULTS,
};

/// What loading a policy costs beside its instructions: two VMs are built.
const LOAD_COST: Duration = Duration::from_millis(1);
/// What any other call costs.
const CALL_COST: Duration = Duration::from_micros(1);
/// What comparing one value costs.
const COMPARISON_COST: Duration = Duration::from_nanos(200);
/// The most decisions of one `share`.
const SHARE_MAX: u64 = 100_000;
/// The furthest that the clock is moved at once: an hour.
const ADVANCE_MS_MAX: u64 = 3_600_000;
/// What the policies of a test may hold together, bytes.
const MEMORY_TOGETHER_MAX: u64 = 4 * MEMORY_MAX as u64;
/// What a chunk takes where an event does not say, milliseconds.
const TOOK_MS_DEFAULT: f64 = 100.0;

type Held = Rc<RefCell<Swarm>>;

/// Puts the functions where test code finds them.
///
/// # Errors
/// What Lua says.
pub(super) fn install(lua: &Lua, env: &Table, stage: &Rc<Stage>) -> Result<()> {
    lua.set_named_registry_value(TESTS, lua.create_table()?)?;
    let bind = |name: &str, function: Function| env.raw_set(name, function);
    let of = Rc::clone(stage);
    bind("policy", lua.create_function(move |_, name: LuaString| of.name_policy(&name))?)?;
    let of = Rc::clone(stage);
    bind("test", lua.create_function(move |lua, args| of.declare(lua, args))?)?;
    let of = Rc::clone(stage);
    bind("swarm", lua.create_function(move |lua, table: Table| make(lua, &of, &table))?)?;
    let of = Rc::clone(stage);
    let expect = move |_: &Lua, (value, expected, message): (Value, Value, Option<LuaString>)| {
        let compared = expect::equal(&value, &expected, message.as_ref())?;
        of.pay(CALL_COST + compared * COMPARISON_COST)
    };
    bind("expect", lua.create_function(expect)?)?;
    let of = Rc::clone(stage);
    let between =
        move |_: &Lua, (value, low, high, message): (Value, f64, f64, Option<LuaString>)| {
            of.pay(CALL_COST)?;
            expect::between(&value, low, high, message.as_ref())
        };
    bind("expect_between", lua.create_function(between)?)?;
    let of = Rc::clone(stage);
    let is_true = move |_: &Lua, (value, message): (Value, Option<LuaString>)| {
        of.pay(CALL_COST)?;
        expect::is_true(&value, message.as_ref())
    };
    bind("expect_true", lua.create_function(is_true)?)
}

impl Stage {
    fn name_policy(&self, name: &LuaString) -> Result<()> {
        let name = sanitised(&name.as_bytes(), NAME_LEN_MAX);
        if self.running.get() {
            return Err(Error::runtime("policy: it is named before the first test"));
        }
        let Some(source) = ScriptSource::shipped(&name) else {
            let hint = suggest::hint(&name, shipped::shipped().iter().map(|(name, _)| *name));
            return Err(Error::runtime(format!("there is no shipped script '{name}'{hint}")));
        };
        if !self.given {
            self.policy.replace(Some(ScriptSource { seed: 1, ..source }));
        }
        Ok(())
    }

    fn declare(&self, lua: &Lua, (name, test): (LuaString, Function)) -> Result<()> {
        let mut names = self.names.borrow_mut();
        if self.running.get() {
            return Err(Error::runtime("test: a test cannot declare another"));
        } else if names.len() >= TESTS_MAX {
            return Err(Error::runtime(format!("test: at most {TESTS_MAX} in a file")));
        }
        names.push(sanitised(&name.as_bytes(), NAME_LEN_MAX));
        let tests: Table = lua.named_registry_value(TESTS)?;
        tests.raw_set(names.len(), test)
    }

    fn pay(&self, time: Duration) -> Result<()> {
        self.purse.pay(time);
        if self.purse.is_empty() {
            let allowance = self.purse.allowance().as_millis();
            let message = format!("it ran longer than its budget of {allowance} ms");
            return Err(Error::runtime(message));
        }
        Ok(())
    }

    /// Ends the test where the policy failed, or where the policies hold too much.
    fn look(&self, swarm: &mut Swarm) -> Result<()> {
        if let Some((short, report)) = swarm.failed().filter(|_| !swarm.allow_errors) {
            self.report.replace(Some(report));
            return Err(Error::runtime(short));
        }
        // The swarm in hand is borrowed and is not counted by the sum of the others.
        let others = self.swarms.borrow();
        let others = others.iter().filter_map(|swarm| swarm.try_borrow().ok());
        let together = swarm.memory() + others.map(|swarm| swarm.memory()).sum::<u64>();
        if together > MEMORY_TOGETHER_MAX {
            let most = MEMORY_TOGETHER_MAX / (1024 * 1024);
            return Err(Error::runtime(format!(
                "the policies of this test hold more than {most} MiB together"
            )));
        }
        Ok(())
    }

    fn load(&self, table: &Table) -> Result<Swarm> {
        if !self.running.get() {
            return Err(Error::runtime("swarm: it is made inside a test"));
        } else if self.swarms.borrow().len() >= SWARMS_MAX {
            return Err(Error::runtime(format!("swarm: at most {SWARMS_MAX} in a test")));
        }
        self.pay(LOAD_COST)?;
        let fields = Fields::open(
            table,
            "swarm",
            &["peers", "params", "chunk", "download", "seed", "allow_errors"],
        )?;
        let Some(mut source) = self.policy.borrow().clone() else {
            let message = "swarm: no policy is given, and the file names none: policy \"fastest\"";
            return Err(Error::runtime(message));
        };
        if let Some(params) = fields.table("params")? {
            settings(&mut source, &params)?;
        }
        if let Some(seed) = fields.whole("seed", u64::MAX)? {
            source.seed = seed;
        }
        let budget = Box::new(PolicyBudget::new(self.purse.clone()));
        let name = sanitised(source.name.as_bytes(), NAME_LEN_MAX);
        let script = source.load(budget, Box::new(NoSink)).map_err(|diagnostics| {
            self.report.replace(Some(diagnostics.to_string()));
            let first = diagnostics.errors.first().map(|error| error.message.clone());
            Error::runtime(format!("policy '{name}' was not loaded: {}", first.unwrap_or_default()))
        })?;
        let mut swarm = Swarm::new(script);
        swarm.allow_errors = fields.flag("allow_errors")?.unwrap_or(false);
        if let Some(chunk) = fields.table("chunk")? {
            swarm.availability_set = read::chunk(&mut swarm.chunk, &chunk, "swarm.chunk")?;
        }
        if let Some(download) = fields.table("download")? {
            read::download(&mut swarm.download, &download, "swarm.download")?;
        }
        if let Some(peers) = fields.table("peers")? {
            add_peers(&mut swarm, &peers)?;
        }
        Ok(swarm)
    }
}

fn settings(source: &mut ScriptSource, params: &Table) -> Result<()> {
    for pair in params.pairs::<LuaString, Value>() {
        let (name, value) = pair?;
        let plain = value.is_string() || value.is_number() || value.is_integer();
        let name = sanitised(&name.as_bytes(), PARAM_LEN_MAX);
        if !plain && !value.is_boolean() {
            let shown = expect::show(&value);
            let message = format!("swarm.params.{name} is {shown}; expected text or a number");
            return Err(Error::runtime(message));
        }
        source.settings.insert(name, value.to_string()?);
        if source.settings.len() > PARAMS_MAX {
            return Err(Error::runtime(format!("swarm.params: at most {PARAMS_MAX}")));
        }
    }
    Ok(())
}

fn add_peers(swarm: &mut Swarm, peers: &Table) -> Result<()> {
    if peers.raw_len() > CANDIDATES_MAX {
        return Err(Error::runtime(format!("swarm.peers: at most {CANDIDATES_MAX}")));
    }
    for (place, table) in peers.sequence_values::<Table>().enumerate() {
        let mut peer = Peer::new(place);
        read::peer(&mut peer, &table?, &format!("swarm.peers[{}]", place + 1))?;
        if swarm.find(&peer.name).is_some() {
            return Err(Error::runtime(format!("swarm.peers: two are called '{}'", peer.name)));
        }
        swarm.peers.push(peer);
    }
    Ok(())
}

/// `swarm{…}`: loads the policy and gives the functions of the swarm.
fn make(lua: &Lua, stage: &Rc<Stage>, table: &Table) -> Result<Table> {
    let mut swarm = stage.load(table)?;
    swarm.begin();
    stage.look(&mut swarm)?;
    let held = Rc::new(RefCell::new(swarm));
    stage.swarms.borrow_mut().push(Rc::clone(&held));
    let functions = lua.create_table()?;
    let verb = Verb { lua, stage, held: &held, functions: &functions };
    verb.add("choose", choose)?;
    verb.add("set", |_, swarm, (name, table): (LuaString, Table)| {
        let place = place_of(swarm, &name)?;
        let what = format!("peer '{}'", swarm.peers[place].name);
        if table.contains_key("name")? {
            return Err(Error::runtime(format!("{what} keeps its name")));
        }
        read::peer(&mut swarm.peers[place], &table, &what)
    })?;
    verb.add("chunk", |_, swarm, table: Table| {
        let counted = read::chunk(&mut swarm.chunk, &table, "chunk")?;
        swarm.availability_set |= counted;
        Ok(())
    })?;
    verb.add("download", |_, swarm, table: Table| {
        read::download(&mut swarm.download, &table, "download")
    })?;
    verb.add("event", |_, swarm, (kind, table): (LuaString, Option<Table>)| {
        event(swarm, &sanitised(&kind.as_bytes(), NAME_LEN_MAX), table.as_ref())
    })?;
    verb.add("order", |lua, swarm, ()| {
        let order = swarm.ask_order();
        let table = lua.create_table()?;
        table.raw_set("strategy", order.strategy.name())?;
        table.raw_set("window", order.window)?;
        table.raw_set("duplicate", order.duplicate)?;
        Ok(table)
    })?;
    verb.add("slots", |_, swarm, name: LuaString| {
        let place = place_of(swarm, &name)?;
        swarm.ask_order();
        Ok(swarm.peers[place].slots())
    })?;
    verb.add("peer", |lua, swarm, name: LuaString| {
        let place = place_of(swarm, &name)?;
        let peer = &swarm.peers[place];
        let table = lua.create_table()?;
        table.raw_set("uploaded", peer.view.uploaded)?;
        table.raw_set("inflight", peer.view.inflight)?;
        table.raw_set("slots", peer.slots())?;
        table.raw_set("failures", peer.view.failures)?;
        table.raw_set("tried", peer.tried)?;
        Ok(table)
    })?;
    add_advance(lua, stage, &held, &functions)?;
    add_share(lua, stage, &held, &functions)?;
    Ok(functions)
}

/// Adds functions of a swarm to its table.
struct Verb<'a> {
    lua: &'a Lua,
    stage: &'a Rc<Stage>,
    held: &'a Held,
    functions: &'a Table,
}

impl Verb<'_> {
    fn add<A: FromLuaMulti, R: IntoLuaMulti>(
        &self,
        name: &str,
        act: impl Fn(&Lua, &mut Swarm, A) -> Result<R> + 'static,
    ) -> Result<()> {
        let (stage, held) = (Rc::clone(self.stage), Rc::clone(self.held));
        let function = self.lua.create_function(move |lua, args: A| {
            let mut swarm = held.try_borrow_mut().map_err(Error::external)?;
            stage.pay(CALL_COST + swarm::overhead(swarm.peers.len()))?;
            let done = act(lua, &mut swarm, args)?;
            stage.look(&mut swarm)?;
            Ok(done)
        })?;
        self.functions.raw_set(name, function)
    }
}

fn place_of(swarm: &Swarm, name: &LuaString) -> Result<usize> {
    let name = sanitised(&name.as_bytes(), PEER_NAME_LEN_MAX);
    swarm.find(&name).ok_or_else(|| {
        let hint = suggest::hint(&name, swarm.peers.iter().map(|peer| peer.name.as_str()));
        Error::runtime(format!("there is no peer '{name}'{hint}"))
    })
}

/// `s.choose()`: a decision and what follows from it.
fn choose(lua: &Lua, swarm: &mut Swarm, (): ()) -> Result<Table> {
    let outcome = swarm.decide();
    if let Some(place) = outcome.asked {
        swarm.grant(place);
    }
    let table = lua.create_table()?;
    let name = |place: usize| swarm.peers[place].name.as_str();
    table.raw_set("peer", outcome.chosen.map(name))?;
    table.raw_set("index", outcome.chosen.map(|place| place + 1))?;
    table.raw_set("asked", outcome.asked.map(name))?;
    table.raw_set("verdict", swarm::verdict_name(&outcome.judged.verdict))?;
    table.raw_set("us", outcome.judged.spent_us)?;
    match outcome.judged.verdict {
        Verdict::Chosen { reason, .. } => table.raw_set("reason", reason)?,
        Verdict::Deferred { ms } => table.raw_set("ms", ms)?,
        Verdict::Abstained | Verdict::Starved | Verdict::Failed | Verdict::Bypassed => {}
    }
    Ok(table)
}

/// `s.advance(ms)`: second by second, for each may call the policy.
fn add_advance(lua: &Lua, stage: &Rc<Stage>, held: &Held, functions: &Table) -> Result<()> {
    let (stage, held) = (Rc::clone(stage), Rc::clone(held));
    let advance = move |_: &Lua, mut left_ms: u64| {
        if left_ms > ADVANCE_MS_MAX {
            let message = format!("advance: {left_ms} ms; at most {ADVANCE_MS_MAX}");
            return Err(Error::runtime(message));
        }
        let mut swarm = held.try_borrow_mut().map_err(Error::external)?;
        while left_ms > 0 {
            let step = left_ms.min(1000);
            left_ms -= step;
            stage.pay(CALL_COST + swarm::overhead(swarm.peers.len()))?;
            swarm.advance(Duration::from_millis(step));
            stage.look(&mut swarm)?;
        }
        Ok(())
    };
    functions.raw_set("advance", lua.create_function(advance)?)
}

/// `s.share(n [, before])`: decisions without consequences, and the share of each answer. `before`
/// is called with the number of each, to change the chunk.
fn add_share(lua: &Lua, stage: &Rc<Stage>, held: &Held, functions: &Table) -> Result<()> {
    let (stage, held) = (Rc::clone(stage), Rc::clone(held));
    let share = move |lua: &Lua, (count, before): (u64, Option<Function>)| {
        if count == 0 || count > SHARE_MAX {
            return Err(Error::runtime(format!("share: {count} decisions; 1 to {SHARE_MAX}")));
        }
        let mut tally = Tally::new(&*held.try_borrow().map_err(Error::external)?);
        for n in 1..=count {
            if let Some(before) = &before {
                before.call::<()>(n)?;
            }
            let mut swarm = held.try_borrow_mut().map_err(Error::external)?;
            stage.pay(swarm::overhead(swarm.peers.len()))?;
            let outcome: Outcome = swarm.decide();
            stage.look(&mut swarm)?;
            tally.count(&swarm, &outcome);
        }
        let shares = lua.create_table()?;
        for (name, share) in tally.shares(count) {
            shares.raw_set(name, share)?;
        }
        Ok(shares)
    };
    functions.raw_set("share", lua.create_function(share)?)
}

/// `s.event(kind, {…})`: something happens, and the policy is told.
fn event(swarm: &mut Swarm, kind: &str, table: Option<&Table>) -> Result<()> {
    let what = format!("event '{kind}'");
    let fields = table
        .map(|table| Fields::open(table, &what, &["peer", "chunk", "bytes", "ms", "kind"]))
        .transpose()?;
    let place = |swarm: &Swarm| {
        let name = fields.as_ref().map(|f| f.text("peer", PEER_NAME_LEN_MAX)).transpose()?;
        let Some(name) = name.flatten() else {
            return Err(Error::runtime(format!("{what} needs a peer: {{ peer = \"near\" }}")));
        };
        swarm.find(&name).ok_or_else(|| {
            let hint = suggest::hint(&name, swarm.peers.iter().map(|peer| peer.name.as_str()));
            Error::runtime(format!("{what}: there is no peer '{name}'{hint}"))
        })
    };
    let mut chunk = swarm.chunk();
    if let Some(table) = fields.as_ref().map(|f| f.table("chunk")).transpose()?.flatten() {
        read::chunk(&mut chunk, &table, &format!("{what}.chunk"))?;
    }
    let bytes = fields.as_ref().map(|f| f.whole("bytes", u64::MAX)).transpose()?.flatten();
    let ms = fields.as_ref().map(|f| f.number("ms")).transpose()?.flatten();
    let fault = fields.as_ref().map(|f| f.text("kind", NAME_LEN_MAX)).transpose()?.flatten();
    match kind {
        "chunk_done" => {
            let bytes = bytes.unwrap_or(u64::from(chunk.size));
            let took_us = (ms.unwrap_or(TOOK_MS_DEFAULT) * 1000.0) as u64;
            swarm.tell_done(place(swarm)?, chunk, bytes, took_us);
        }
        "chunk_failed" => {
            let fault = fault_of(fault.as_deref().unwrap_or(ChunkFault::Timeout.name()))?;
            swarm.tell_failed(place(swarm)?, chunk, fault);
        }
        "peer_added" => swarm.tell_added(place(swarm)?),
        "peer_removed" => swarm.tell_removed(place(swarm)?),
        "tick" => swarm.tick(),
        "finished" => swarm.tell_finished(),
        other => {
            let hint = suggest::hint(other, Event::ALL.map(Event::name));
            return Err(Error::runtime(format!("there is no event '{other}'{hint}")));
        }
    }
    Ok(())
}

fn fault_of(name: &str) -> Result<ChunkFault> {
    FAULTS.into_iter().find(|fault| fault.name() == name).ok_or_else(|| {
        let hint = suggest::hint(name, FAULTS.map(ChunkFault::name));
        let names = FAULTS.map(ChunkFault::name).join(", ");
        Error::runtime(format!("'{name}' is no kind of failure: {names}{hint}"))
    })
}
