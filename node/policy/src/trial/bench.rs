//! A test file in its VM: its top level, its tests, and what became of each. Never here: what the
//! tests can call.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use mlua::{Function, Table, Value};
use shoal_core::{policy::native::Cursor, rng::Rng};

use super::{
    TrialFile, TrialResult,
    purse::{Purse, TestBudget},
    swarm::Swarm,
    verbs,
};
use crate::{
    budget::LOAD_BUDGET,
    failure::{Failure, FailureKind, Text},
    host::{Live, Shared},
    load::ScriptSource,
    sandbox::{Meter, Sandbox, guarded},
    sink::{NoSink, Outlet},
};

/// Where the functions of the tests stand in the VM's registry.
pub(super) const TESTS: &str = "shoal.trials";
/// The seed of a test VM: `math.random` in test code says the same in every run.
const SEED: u64 = 1;

/// A test file that was run up to its tests.
pub(super) struct Bench<'a> {
    file: &'a TrialFile,
    sandbox: Sandbox,
    meter: Rc<Meter>,
    stage: Rc<Stage>,
    /// It ran out of its budget or memory.
    broken: Cell<bool>,
}

/// What the host functions of a test file share.
pub(super) struct Stage {
    pub(super) purse: Purse,
    /// The policy under test.
    pub(super) policy: RefCell<Option<ScriptSource>>,
    /// The caller named it: what the file names does not count.
    pub(super) given: bool,
    pub(super) names: RefCell<Vec<String>>,
    /// A test runs: no other can be declared.
    pub(super) running: Cell<bool>,
    /// The swarms of this test.
    pub(super) swarms: RefCell<Vec<Rc<RefCell<Swarm>>>>,
    /// What a policy under test reported of itself.
    pub(super) report: RefCell<Option<String>>,
}

impl<'a> Bench<'a> {
    /// Runs the top level of a file.
    ///
    /// # Errors
    /// Why it cannot be run.
    pub(super) fn open(
        policy: Option<&ScriptSource>,
        file: &'a TrialFile,
        allowance: Duration,
    ) -> Result<Self, Box<Failure>> {
        let purse = Purse::default();
        let meter = Rc::new(Meter::new(Box::new(TestBudget(purse.clone()))));
        let stage = Rc::new(Stage {
            purse,
            policy: RefCell::new(policy.cloned()),
            given: policy.is_some(),
            names: RefCell::default(),
            running: Cell::new(false),
            swarms: RefCell::default(),
            report: RefCell::default(),
        });
        let mut rng = Rng::new(SEED);
        let live =
            Live { table: None, open: Vec::new(), rng: rng.fork(), cursor: Cursor::default() };
        let outlet = RefCell::new(Outlet::new(Box::new(NoSink)));
        let shared = Rc::new(Shared { live: RefCell::new(live), outlet });
        meter.start(LOAD_BUDGET);
        let text = Text { file: &file.name, source: file.source.as_bytes() };
        let raised = |error: &mlua::Error| Box::new(text.raised(error, "", None));
        let sandbox =
            guarded(|| Sandbox::new(&shared, &meter, SEED)).map_err(|error| raised(&error))?;
        guarded(|| verbs::install(&sandbox.lua, &sandbox.inside.raw_get("env")?, &stage))
            .map_err(|error| raised(&error))?;
        let bench = Self { file, sandbox, meter, stage, broken: Cell::new(false) };
        bench.meter.start(allowance);
        let main =
            guarded(|| bench.sandbox.compile(file.source.as_bytes())).map_err(|e| raised(&e))?;
        let ran = guarded(|| main.call::<Value>(()));
        ran.map_err(|error| Box::new(bench.failed(&error, "the top level", None)))?;
        Ok(bench)
    }

    /// The names of its tests.
    pub(super) fn names(&self) -> Vec<String> {
        self.stage.names.borrow().clone()
    }

    /// What was spent since the top level began, or the last test.
    pub(super) fn spent(&self) -> Duration {
        self.stage.purse.spent()
    }

    /// It is not to be used again.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Runs one test.
    pub(super) fn test(&self, index: usize, name: &str, allowance: Duration) -> TrialResult {
        self.stage.swarms.borrow_mut().clear();
        self.stage.report.replace(None);
        self.stage.running.set(true);
        self.meter.start(allowance);
        let mut lines = None;
        let ran = guarded(|| {
            let tests: Table = self.sandbox.lua.named_registry_value(TESTS)?;
            let test: Function = tests.raw_get(index + 1)?;
            lines = crate::vm::lines(&test);
            test.call::<()>(())
        });
        self.stage.running.set(false);
        let spent = self.spent();
        let mut result = TrialResult {
            file: self.file.name.clone(),
            name: name.to_owned(),
            passed: true,
            message: String::new(),
            line: None,
            report: String::new(),
            spent,
        };
        if let Err(error) = ran {
            let failure = self.failed(&error, &format!("test '{name}'"), lines);
            result.report = format!("test '{name}' failed\n{failure}");
            if let Some(report) = self.stage.report.take() {
                result.report.push('\n');
                result.report.push_str(&report);
            }
            (result.passed, result.message, result.line) = (false, failure.message, failure.line);
        }
        self.stage.swarms.borrow_mut().clear();
        result
    }

    fn failed(&self, error: &mlua::Error, place: &str, lines: Option<(u32, u32)>) -> Failure {
        let text = Text { file: &self.file.name, source: self.file.source.as_bytes() };
        let allowance = self.stage.purse.allowance().as_millis();
        let failure = match self.meter.exhausted() {
            Some(line) => {
                let message = format!("it ran longer than its budget of {allowance} ms");
                let line = line.or(lines.map(|(first, _)| first));
                text.failure(FailureKind::Budget, line, &message, place)
            }
            None => text.raised(error, place, lines),
        };
        if self.stage.purse.is_empty() || failure.kind == FailureKind::Memory {
            self.broken.set(true);
        }
        failure
    }
}
