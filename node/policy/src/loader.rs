//! Builds VMs of one source, calls into them within their budgets, and says how their errors read.
//! Never here: when a policy is called, or what follows.

use std::{cell::RefCell, rc::Rc, time::Duration};

use mlua::{Result as LuaResult, Value};

use shoal_core::{
    ids::{ConnId, InfoHash},
    policy::{
        ChunkOrder, DownloadView, Happening, PeerView,
        native::{Cursor, Native},
    },
    rng::Rng,
    time::Timestamp,
};

use crate::{
    advice,
    budget::{Budget, DECISION_BUDGET, EVENT_BUDGET, LOAD_BUDGET, SLOTS_BUDGET},
    failure::{Failure, FailureKind, Text},
    host::{Live, Shared},
    load::{REASON_LEN_MAX, ScriptSource},
    sandbox::{Meter, Sandbox, guarded},
    shape::{Event, Shape, TOP_LEVEL},
    sink::{NoSink, Outlet, Sink, sanitised},
    vm::{Place, Said, Scores, Vm},
};

/// What was running while tables were filled.
const TABLES: &str = "the tables of its peers";

/// Builds VMs of one source, and knows how their errors read.
pub(crate) struct Loader {
    pub(crate) source: ScriptSource,
    pub(crate) shared: Rc<Shared>,
    pub(crate) meter: Rc<Meter>,
    rng: Rng,
}

/// What a script decided.
pub(crate) enum Decision {
    Chosen {
        /// An index into the table's peers.
        peer: usize,
        conn: ConnId,
        reason: Option<String>,
    },
    Abstained,
    /// The milliseconds it named.
    Deferred(Option<f64>),
}

impl Loader {
    pub(crate) fn new(source: ScriptSource, budget: Box<dyn Budget>, sink: Box<dyn Sink>) -> Self {
        Self::metered(source, Rc::new(Meter::new(budget)), sink)
    }

    fn metered(source: ScriptSource, meter: Rc<Meter>, sink: Box<dyn Sink>) -> Self {
        let mut rng = Rng::new(source.seed);
        let live =
            Live { table: None, open: Vec::new(), rng: rng.fork(), cursor: Cursor::default() };
        let shared = Shared { live: RefCell::new(live), outlet: RefCell::new(Outlet::new(sink)) };
        Self { source, shared: Rc::new(shared), meter, rng }
    }

    /// One of the same source whose VMs say nothing and share nothing but the measure of time.
    pub(crate) fn apart(&self) -> Self {
        let loader = Self::metered(self.source.clone(), Rc::clone(&self.meter), Box::new(NoSink));
        loader.shared.outlet.borrow_mut().mute(true);
        loader
    }

    pub(crate) fn text(&self) -> Text<'_> {
        Text { file: &self.source.file, source: &self.source.source }
    }

    /// A fresh VM with the policy in it.
    ///
    /// # Errors
    /// Everything that is wrong with the source.
    pub(crate) fn build(&mut self, scores: Scores) -> Result<(Vm, Shape), Vec<Failure>> {
        let seed = self.rng.u64();
        self.meter.start(LOAD_BUDGET);
        let failed = |error: &mlua::Error| vec![*self.failed(error, TOP_LEVEL, None, LOAD_BUDGET)];
        let sandbox = guarded(|| Sandbox::new(&self.shared, &self.meter, seed))
            .map_err(|error| failed(&error))?;
        let compiled = guarded(|| sandbox.compile(&self.source.source));
        let main = compiled.map_err(|error| {
            let mut failures = failed(&error);
            // Lua calls it a run-time error where the source nests too deeply.
            for failure in failures.iter_mut().filter(|f| f.kind == FailureKind::Runtime) {
                failure.kind = FailureKind::Syntax;
            }
            failures
        })?;
        let returned: Value = guarded(|| main.call(())).map_err(|error| failed(&error))?;
        let shape = Shape::read(&returned, &self.source.settings, &self.text())?;
        let vm = guarded(|| Vm::new(sandbox, &shape, scores)).map_err(|error| failed(&error))?;
        Ok((vm, shape))
    }

    /// Puts a download before the policy, and calls `init` where it is due.
    ///
    /// # Errors
    /// `init` failed, or there was no memory.
    pub(crate) fn begin(
        &self,
        vm: &mut Vm,
        download: &DownloadView,
        now: Timestamp,
    ) -> Result<(), Box<Failure>> {
        self.meter.start(LOAD_BUDGET);
        let due = guarded(|| vm.begin(download, now))
            .map_err(|error| self.failed(&error, TABLES, None, LOAD_BUDGET))?;
        if due { self.init(vm, download.id) } else { Ok(()) }
    }

    /// Puts the consultation in [`Shared::live`] before the policy, and calls `init` where it is
    /// due.
    ///
    /// # Errors
    /// `init` failed, or there was no memory for the tables.
    pub(crate) fn refresh(&self, vm: &mut Vm) -> Result<(), Box<Failure>> {
        let (due, id) = {
            let live = self.shared.live.borrow();
            let Some(table) = &live.table else { return Ok(()) };
            if vm.refresh_lightly(table) {
                return Ok(());
            }
            self.meter.start(LOAD_BUDGET);
            let due = guarded(|| {
                vm.refresh(table)?;
                vm.begin(&table.download, table.now)
            });
            let due = due.map_err(|error| self.failed(&error, TABLES, None, LOAD_BUDGET))?;
            (due, table.download.id)
        };
        if due { self.init(vm, id) } else { Ok(()) }
    }

    fn init(&self, vm: &mut Vm, id: InfoHash) -> Result<(), Box<Failure>> {
        self.meter.start(LOAD_BUDGET);
        guarded(|| vm.init(id)).map_err(|error| {
            let place = placed(Place::Init, id, "");
            self.failed(&error, &place, vm.lines(Place::Init), LOAD_BUDGET)
        })
    }

    /// Asks for one decision; the open candidates and the table are in [`Shared::live`].
    ///
    /// # Errors
    /// The script failed or broke its contract.
    pub(crate) fn ask(
        &self,
        vm: &mut Vm,
        chunk: usize,
        place: &dyn Fn() -> String,
    ) -> Result<Decision, Box<Failure>> {
        self.meter.start(DECISION_BUDGET);
        let presented = {
            let live = self.shared.live.borrow();
            guarded(|| vm.present(&live.open)).map(|()| live.open.len())
        };
        // Not while the table is borrowed: the script calls for it.
        let said = presented.and_then(|count| guarded(|| vm.decide(chunk, count)));
        let said =
            said.map_err(|error| self.failed(&error, &place(), vm.entry_lines(), DECISION_BUDGET))?;
        let broken = |message: &str| Err(self.broken(message, vm.entry_lines(), &place()));
        let chosen = |peer, conn, second| Decision::Chosen { peer, conn, reason: reason(&second) };
        match said {
            Said::Nth(place, second) => self.nth(place).map_or_else(
                || broken("returned an index that is not one of peers"),
                |(peer, conn)| Ok(chosen(peer, conn, second)),
            ),
            Said::Chosen(conn, second) => self.candidate(conn).map_or_else(
                || broken("returned a peer that is not a candidate of this chunk"),
                |peer| Ok(chosen(peer, conn, second)),
            ),
            Said::Abstained => Ok(Decision::Abstained),
            Said::Deferred(ms) => Ok(Decision::Deferred(ms)),
            Said::Broken(message) => broken(&message),
        }
    }

    /// Puts what happened before the policy.
    ///
    /// # Errors
    /// There was no memory.
    pub(crate) fn happened(&self, vm: &mut Vm, what: &Happening) -> Result<(), Box<Failure>> {
        self.meter.start(EVENT_BUDGET);
        guarded(|| vm.happened(what))
            .map_err(|error| self.failed(&error, TABLES, None, EVENT_BUDGET))
    }

    /// Calls the function of an event; what happened was put before the policy.
    ///
    /// # Errors
    /// The function failed.
    pub(crate) fn tell(&self, vm: &Vm, event: Event, at: &At<'_>) -> Result<(), Box<Failure>> {
        self.called(vm, Place::On(event), at, || vm.tell(event))
    }

    /// Asks for the order of pieces.
    ///
    /// # Errors
    /// The function failed or broke its contract.
    pub(crate) fn order(&self, vm: &Vm, at: &At<'_>) -> Result<ChunkOrder, Box<Failure>> {
        let returned = self.called(vm, Place::Order, at, || vm.order())?;
        advice::order(&returned).map_err(|message| {
            self.broken(&message, vm.lines(Place::Order), &at.place(Place::Order, ""))
        })
    }

    /// Asks for the slots of each peer, and adds what is said to `slots`.
    ///
    /// # Errors
    /// The function failed or broke its contract; what it said before stays in `slots`.
    pub(crate) fn slots(
        &self,
        vm: &mut Vm,
        peers: &[PeerView],
        at: &At<'_>,
        slots: &mut Vec<(ConnId, u32)>,
    ) -> Result<(), Box<Failure>> {
        self.meter.start(SLOTS_BUDGET);
        for peer in peers {
            let place = || {
                let id = peer.id.to_string();
                at.place(Place::Slots, &format!(", peer {}…", &id[..8]))
            };
            let lines = vm.lines(Place::Slots);
            let returned = guarded(|| vm.slots(peer))
                .map_err(|error| self.failed(&error, &place(), lines, SLOTS_BUDGET))?;
            let said = advice::slots(&returned)
                .map_err(|message| self.broken(&message, lines, &place()))?;
            slots.extend(said.map(|count| (peer.conn, count)));
        }
        Ok(())
    }

    fn called<T>(
        &self,
        vm: &Vm,
        place: Place,
        at: &At<'_>,
        act: impl FnOnce() -> LuaResult<T>,
    ) -> Result<T, Box<Failure>> {
        self.meter.start(EVENT_BUDGET);
        guarded(act).map_err(|error| {
            self.failed(&error, &at.place(place, ""), vm.lines(place), EVENT_BUDGET)
        })
    }

    /// The default policy's choice among the open candidates.
    pub(crate) fn default(&self) -> Option<usize> {
        self.shared.live.borrow_mut().native(Native::LowestUploaded, None)
    }

    /// Everything that is wrong, as one failure of a decision.
    pub(crate) fn first(&self, failures: Vec<Failure>) -> Box<Failure> {
        let first = failures.into_iter().next().unwrap_or_else(|| {
            self.text().failure(FailureKind::Runtime, None, "it could not be loaded", TOP_LEVEL)
        });
        Box::new(first)
    }

    fn nth(&self, place: usize) -> Option<(usize, ConnId)> {
        let live = self.shared.live.borrow();
        let peer = live.open.get(place)?.peer;
        Some((peer, live.table.as_ref()?.peers[peer].conn))
    }

    fn candidate(&self, conn: ConnId) -> Option<usize> {
        let live = self.shared.live.borrow();
        let table = live.table.as_ref()?;
        live.open.iter().map(|c| c.peer).find(|&peer| table.peers[peer].conn == conn)
    }

    /// A contract error in the function that stands between `lines`.
    pub(crate) fn broken(
        &self,
        message: &str,
        lines: Option<(u32, u32)>,
        place: &str,
    ) -> Box<Failure> {
        let line = lines.map(|(first, _)| first);
        Box::new(self.text().failure(FailureKind::Contract, line, message, place))
    }

    /// What Lua said, as a failure of the function that stands between `lines`.
    pub(crate) fn failed(
        &self,
        error: &mlua::Error,
        place: &str,
        lines: Option<(u32, u32)>,
        allowance: Duration,
    ) -> Box<Failure> {
        let Some(line) = self.meter.exhausted() else {
            return Box::new(self.text().raised(error, place, lines));
        };
        let message = format!("it ran longer than its budget of {} ms", allowance.as_millis());
        let line = line.or(lines.map(|(first, _)| first));
        Box::new(self.text().failure(FailureKind::Budget, line, &message, place))
    }
}

/// Of what a report is: how the place of a failure reads.
pub(crate) struct At<'a> {
    pub(crate) id: InfoHash,
    pub(crate) what: &'a Happening,
    /// What stands before it: `the dry run: `.
    pub(crate) before: &'a str,
}

impl At<'_> {
    fn place(&self, place: Place, peer: &str) -> String {
        let chunk = match self.what {
            Happening::ChunkDone { chunk, .. } | Happening::ChunkFailed { chunk, .. } => {
                format!(", chunk {}", chunk.piece.0)
            }
            Happening::Phase { .. }
            | Happening::Tick { .. }
            | Happening::PeerAdded { .. }
            | Happening::PeerRemoved { .. }
            | Happening::Finished => String::new(),
        };
        format!("{}{}", self.before, placed(place, self.id, &format!("{chunk}{peer}")))
    }
}

/// `on.tick(ctx, ev), torrent 3f9a07c1…`, and what follows.
pub(crate) fn placed(place: Place, id: InfoHash, more: &str) -> String {
    format!("{}, torrent {}…{more}", place.call(), short(id))
}

/// The first digits of an info hash, as messages name a torrent.
pub(crate) fn short(id: InfoHash) -> String {
    let mut text = id.to_string();
    text.truncate(8);
    text
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only text and numbers are reasons")]
fn reason(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(sanitised(&text.as_bytes(), REASON_LEN_MAX)),
        Value::Integer(n) => Some(n.to_string()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}
