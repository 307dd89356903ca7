//! From a source to a policy that may decide: size, compile, top level, shape, parameters,
//! `requires`, `init`, dry run (§4 of the contract). Never here: a real decision's consequences.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use mlua::Value;

use shoal_core::{
    ids::ConnId,
    policy::{
        Consultation,
        native::{Cursor, Native},
    },
    rng::Rng,
};

use crate::{
    budget::{Budget, DECISION_BUDGET, LOAD_BUDGET, SOURCE_LEN_MAX},
    failure::{Diagnostics, Failure, FailureKind, Text},
    host::{Live, Shared},
    sandbox::{Meter, Sandbox, guarded},
    script::Script,
    shape::{Entry, Shape, TOP_LEVEL},
    shipped,
    sink::{Outlet, Sink, sanitised},
    synthetic,
    vm::{Said, Vm},
};

/// The longest reason that is kept, bytes.
pub const REASON_LEN_MAX: usize = 200;

/// A policy's source and all that it takes to load it. `Send`: a [`Script`] is not, so this is
/// what travels to the thread that will own it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptSource {
    /// The policy's name, as the operator knows it: `fast`.
    pub name: String,
    /// Its file, for messages: `scripts/fast.lua`.
    pub file: String,
    /// Lua, as text; at most [`SOURCE_LEN_MAX`] bytes.
    pub source: Vec<u8>,
    /// Parameters that were set, `--set zone=b`.
    pub settings: BTreeMap<String, String>,
    /// The seed of everything random in it.
    pub seed: u64,
}

impl ScriptSource {
    /// A source without settings, of seed 0.
    #[must_use]
    pub fn new(name: &str, file: &str, source: &[u8]) -> Self {
        let (name, file, source) = (name.to_owned(), file.to_owned(), source.to_vec());
        Self { name, file, source, settings: BTreeMap::new(), seed: 0 }
    }

    /// A shipped script by its name, without settings, of seed 0.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Self> {
        let source = shipped::find(name)?;
        Some(Self::new(name, &format!("scripts/{name}.lua"), source.as_bytes()))
    }

    /// Loads the policy: compiles it, runs its top level, checks its shape, its parameters and what
    /// it requires, calls its `init` and asks it for decisions over made-up candidates. The policy
    /// that comes out has seen none of that: it is in a fresh VM.
    ///
    /// # Errors
    /// Everything found wrong in the step that failed.
    pub fn load(self, budget: Box<dyn Budget>, sink: Box<dyn Sink>) -> Result<Script, Diagnostics> {
        let policy = sanitised(self.name.as_bytes(), REASON_LEN_MAX);
        let mut loader = Loader::new(self, budget, sink);
        loader.shared.outlet.borrow_mut().mute(true);
        let loaded = loader.tried();
        loader.shared.outlet.borrow_mut().mute(false);
        loaded
            .and_then(|warnings| {
                let (vm, shape) = loader.build()?;
                Ok((vm, shape, warnings))
            })
            .map_err(|errors| Diagnostics { policy, errors, warnings: Vec::new() })
            .map(|(vm, shape, warnings)| Script::new(loader, vm, shape, warnings))
    }
}

/// Builds VMs of one source, and knows how their errors read.
pub(crate) struct Loader {
    pub(crate) source: ScriptSource,
    pub(crate) shared: Rc<Shared>,
    pub(crate) meter: Rc<Meter>,
    rng: Rng,
}

impl Loader {
    fn new(source: ScriptSource, budget: Box<dyn Budget>, sink: Box<dyn Sink>) -> Self {
        let mut rng = Rng::new(source.seed);
        let live =
            Live { table: None, open: Vec::new(), rng: rng.fork(), cursor: Cursor::default() };
        let shared = Shared { live: RefCell::new(live), outlet: RefCell::new(Outlet::new(sink)) };
        Self { source, shared: Rc::new(shared), meter: Rc::new(Meter::new(budget)), rng }
    }

    fn text(&self) -> Text<'_> {
        Text { file: &self.source.file, source: &self.source.source }
    }

    /// Builds the policy once and tries it out; gives the warnings.
    fn tried(&mut self) -> Result<Vec<Failure>, Vec<Failure>> {
        let len = self.source.source.len();
        if len > SOURCE_LEN_MAX {
            let message = format!("the source has {len} bytes; at most {SOURCE_LEN_MAX}");
            return Err(vec![self.text().failure(FailureKind::Size, None, &message, "")]);
        }
        let (mut vm, shape) = self.build()?;
        let mut warnings = shape.warnings;
        let name = if matches!(shape.entry, Entry::Score(_)) { SCORE } else { CHOOSE };
        for (candidates, consultation) in synthetic::consultations() {
            let empty = consultation.peers.is_empty();
            let place = format!("the dry run: {name}, {candidates}");
            let tried = self.try_out(&mut vm, consultation, &place);
            match tried {
                Ok(()) => {}
                Err(failure) if !empty => return Err(vec![*failure]),
                // A swarm without candidates is never put before a policy, so it may answer 1; it
                // should not break on it.
                Err(failure) if failure.kind == FailureKind::Contract => {}
                Err(failure) if failure.kind == FailureKind::Runtime => warnings.push(*failure),
                Err(failure) => return Err(vec![*failure]),
            }
        }
        Ok(warnings)
    }

    fn try_out(
        &self,
        vm: &mut Vm,
        consultation: Consultation,
        place: &str,
    ) -> Result<(), Box<Failure>> {
        {
            let mut live = self.shared.live.borrow_mut();
            live.open = consultation.chunks[0].candidates.clone();
            live.table = Some(consultation);
        }
        self.refresh(vm)?;
        match self.ask(vm, 0, &|| place.to_owned())? {
            Decision::Chosen { .. } | Decision::Abstained | Decision::Deferred(_) => Ok(()),
        }
    }

    /// A fresh VM with the policy in it.
    ///
    /// # Errors
    /// Everything that is wrong with the source.
    pub(crate) fn build(&mut self) -> Result<(Vm, Shape), Vec<Failure>> {
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
        let vm = guarded(|| Vm::new(sandbox, &shape)).map_err(|error| failed(&error))?;
        Ok((vm, shape))
    }

    /// Makes the tables say what the consultation says, and calls `init` where it is due.
    ///
    /// # Errors
    /// `init` failed, or there was no memory for the tables.
    pub(crate) fn refresh(&self, vm: &mut Vm) -> Result<(), Box<Failure>> {
        self.meter.start(LOAD_BUDGET);
        let (due, torrent) = {
            let live = self.shared.live.borrow();
            let Some(table) = &live.table else { return Ok(()) };
            let due = guarded(|| vm.refresh(table))
                .map_err(|error| self.failed(&error, TABLES, None, LOAD_BUDGET))?;
            (due, table.torrent)
        };
        if due {
            self.meter.start(LOAD_BUDGET);
            guarded(|| vm.init()).map_err(|error| {
                vm.forget(torrent);
                self.failed(&error, INIT, vm.init_lines, LOAD_BUDGET)
            })?;
        }
        Ok(())
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
        let failed =
            |error: &mlua::Error, lines| self.failed(error, &place(), lines, DECISION_BUDGET);
        let count = {
            let live = self.shared.live.borrow();
            let Some(table) = &live.table else { return Ok(Decision::Abstained) };
            guarded(|| vm.present(&table.chunks[chunk], &live.open))
                .map_err(|error| failed(&error, None))?;
            live.open.len()
        };
        let said = guarded(|| vm.decide(count)).map_err(|error| failed(&error, vm.entry_lines))?;
        match said {
            Said::Chosen(conn, second) => self.candidate(conn).map_or_else(
                || {
                    let message = "returned a peer that is not a candidate of this chunk";
                    Err(self.broken(message, vm, &place()))
                },
                |peer| Ok(Decision::Chosen { peer, reason: reason(&second) }),
            ),
            Said::Abstained => Ok(Decision::Abstained),
            Said::Deferred(ms) => Ok(Decision::Deferred(ms)),
            Said::Broken(message) => Err(self.broken(&message, vm, &place())),
        }
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

    fn candidate(&self, conn: ConnId) -> Option<usize> {
        let live = self.shared.live.borrow();
        let table = live.table.as_ref()?;
        live.open.iter().map(|c| c.peer).find(|&peer| table.peers[peer].conn == conn)
    }

    fn broken(&self, message: &str, vm: &Vm, place: &str) -> Box<Failure> {
        let line = vm.entry_lines.map(|(first, _)| first);
        Box::new(self.text().failure(FailureKind::Contract, line, message, place))
    }

    fn failed(
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

/// What a script decided.
pub(crate) enum Decision {
    /// This peer, an index into the table's.
    Chosen {
        peer: usize,
        reason: Option<String>,
    },
    Abstained,
    /// The milliseconds it named.
    Deferred(Option<f64>),
}

/// How the functions are written in messages.
pub(crate) const CHOOSE: &str = "choose(ctx, peers)";
pub(crate) const SCORE: &str = "score(ctx, peer)";
const INIT: &str = "init(ctx)";
const TABLES: &str = "the tables of its peers";

#[expect(clippy::wildcard_enum_match_arm, reason = "only text and numbers are reasons")]
fn reason(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(sanitised(&text.as_bytes(), REASON_LEN_MAX)),
        Value::Integer(n) => Some(n.to_string()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}
