//! A fresh VM with nothing in it but what its Lua files put there, guarded in time and memory.
//! Never here: what a policy means, or its shape.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use mlua::{
    Error, HookTriggers, Lua, LuaOptions, LuaString, Result, StdLib, Table, VmState,
    chunk::ChunkMode,
};

use crate::{
    budget::{Budget, HOOK_INSTRUCTIONS, MEMORY_MAX, Spend},
    host::{self, Shared},
};

/// How the frames of a policy begin in a traceback.
pub(crate) const POLICY_CHUNK_PREFIX: &str = "policy:";
/// How the frames of the sandbox begin in a traceback.
pub(crate) const SANDBOX_CHUNK_PREFIX: &str = "shoal:";

/// What a policy is called in its VM.
pub(crate) const POLICY_CHUNK: &str = "policy";
/// The inside, in the order in which it runs.
const INSIDE: &str = concat!(
    include_str!("base.lua"),
    include_str!("library.lua"),
    include_str!("views.lua"),
    include_str!("shoal.lua"),
    include_str!("calls.lua"),
);

/// Instructions weigh once more for every so many bytes that the VM holds.
const WEIGHT_BYTES: usize = 64 * 1024;
/// From so many bytes on, one instruction may copy enough to be looked at more often.
const FINE_FROM: usize = 1024 * 1024;
/// Instructions between two looks from [`FINE_FROM`] on.
const FINE_INSTRUCTIONS: u32 = 16;
/// Frames looked through for the line at which a budget was spent.
const FRAMES_MAX: usize = 16;

/// What guards a VM in time.
pub(crate) struct Meter {
    budget: RefCell<Box<dyn Budget>>,
    /// The budget of this call is spent.
    exhausted: Cell<bool>,
    /// Where in the policy it was spent.
    line: Cell<Option<u32>>,
}

impl Meter {
    pub(crate) fn new(budget: Box<dyn Budget>) -> Self {
        let (exhausted, line) = (Cell::new(false), Cell::new(None));
        Self { budget: RefCell::new(budget), exhausted, line }
    }

    pub(crate) fn start(&self, allowance: Duration) {
        self.exhausted.set(false);
        self.line.set(None);
        self.budget.borrow_mut().start(allowance);
    }

    pub(crate) fn spent(&self) -> Duration {
        self.budget.borrow().spent()
    }

    /// The line at which the budget was spent, where it was: `Some(None)` where it is unknown.
    pub(crate) fn exhausted(&self) -> Option<Option<u32>> {
        self.exhausted.get().then(|| self.line.get())
    }
}

/// A VM with the sandbox in it.
pub(crate) struct Sandbox {
    pub(crate) lua: Lua,
    /// What the inside returned: the environment and the calls of the host.
    pub(crate) inside: Table,
    /// What the empty VM holds, bytes.
    base: usize,
}

impl Sandbox {
    /// Builds it.
    ///
    /// # Errors
    /// Only what Lua says, which no policy had a part in yet.
    pub(crate) fn new(shared: &Rc<Shared>, meter: &Rc<Meter>, seed: u64) -> Result<Self> {
        let libraries = StdLib::MATH | StdLib::STRING | StdLib::TABLE;
        let lua = Lua::new_with(libraries, LuaOptions::new())?;
        // Without any limit a failed allocation aborts the process.
        lua.set_memory_limit(2 * MEMORY_MAX)?;
        let chunk = lua.load(INSIDE).set_name("=shoal").set_mode(ChunkMode::Text);
        let inside: Table = chunk.call(host::functions(&lua, shared, seed)?)?;
        lua.set_type_metatable::<LuaString>(Some(inside.raw_get("string_meta")?));
        lua.gc_collect()?;
        let base = lua.used_memory();
        lua.set_memory_limit(base + MEMORY_MAX)?;
        arm(&lua, meter, base, HOOK_INSTRUCTIONS)?;
        Ok(Self { lua, inside, base })
    }

    /// Compiles a policy, as text only, and gives its top level.
    ///
    /// # Errors
    /// What does not compile.
    pub(crate) fn compile(&self, source: &[u8]) -> Result<mlua::Function> {
        let env: Table = self.inside.raw_get("env")?;
        let chunk = self.lua.load(source).set_name(format!("={POLICY_CHUNK}"));
        chunk.set_mode(ChunkMode::Text).set_environment(env).into_function()
    }

    /// What it holds over an empty one, bytes.
    pub(crate) fn memory(&self) -> usize {
        self.lua.used_memory().saturating_sub(self.base)
    }
}

/// Runs what calls into a VM. A panic in there counts as a lack of memory: mlua panics where it can
/// not make room for a reference, and the VM is not used again either way.
///
/// # Errors
/// Those of `act`.
pub(crate) fn guarded<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(Error::MemoryError("no room for a reference".to_owned())))
}

/// Sets the hook to look at the budget after every so many instructions.
fn arm(lua: &Lua, meter: &Rc<Meter>, base: usize, every: u32) -> Result<()> {
    let meter = Rc::clone(meter);
    let triggers = HookTriggers::new().every_nth_instruction(every);
    lua.set_global_hook(triggers, move |lua, debug| {
        let held = lua.used_memory().saturating_sub(base);
        let weight = 1 + (held / WEIGHT_BYTES) as u64;
        let spend = meter.budget.borrow_mut().charge(u64::from(every) * weight);
        if spend == Spend::Exhausted || meter.exhausted.get() {
            if !meter.exhausted.replace(true) {
                meter.line.set(line(lua, debug));
            }
            // From here on every instruction fails, whoever catches the error.
            if every != 1 {
                arm(lua, &meter, base, 1)?;
            }
            return Err(Error::runtime("its budget is spent"));
        }
        let wanted = if held >= FINE_FROM { FINE_INSTRUCTIONS } else { HOOK_INSTRUCTIONS };
        if wanted != every {
            arm(lua, &meter, base, wanted)?;
        }
        Ok(VmState::Continue)
    })
}

/// The line of the innermost frame of the policy.
fn line(lua: &Lua, debug: &mlua::debug::Debug) -> Option<u32> {
    let of = |debug: &mlua::debug::Debug| {
        let ours = debug.source().short_src.as_deref() == Some(POLICY_CHUNK);
        ours.then(|| debug.current_line()).flatten().and_then(|line| u32::try_from(line).ok())
    };
    of(debug).or_else(|| {
        (0..FRAMES_MAX).find_map(|level| lua.inspect_stack(level, |debug| of(debug)).flatten())
    })
}
