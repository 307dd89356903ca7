//! From a source to a policy that may decide: size, compile, top level, shape, parameters,
//! `requires`, `init`, dry run, kept states (§4 of the contract). Never here: a real decision's
//! consequences.

use std::{collections::BTreeMap, time::Duration};

use shoal_core::{
    ids::InfoHash,
    policy::{Consultation, Happening, Report},
};

use crate::{
    budget::{Budget, LOAD_BUDGET, SOURCE_LEN_MAX},
    failure::{Diagnostics, Failure, FailureKind},
    loader::{At, Decision, Loader, placed},
    sandbox::guarded,
    script::Script,
    shape::{Entry, Event, Shape},
    shipped,
    sink::{Sink, sanitised},
    state::{self, KeptStates, NotPlain, Plain},
    synthetic,
    vm::{Place, Scores, Vm},
};

/// The longest reason that is kept, bytes.
pub const REASON_LEN_MAX: usize = 200;
/// The most states of which it is said one by one that they were dropped.
const DROPPED_LISTED_MAX: usize = 8;

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
    /// What its predecessor kept ([`Script::keep`]): restored where the version is the same, brought
    /// up by `migrate` where it is higher, else dropped with a warning.
    pub kept: KeptStates,
}

impl ScriptSource {
    /// A source without settings and kept states, of seed 0.
    #[must_use]
    pub fn new(name: &str, file: &str, source: &[u8]) -> Self {
        let (name, file, source) = (name.to_owned(), file.to_owned(), source.to_vec());
        let (settings, kept) = (BTreeMap::new(), KeptStates::default());
        Self { name, file, source, settings, seed: 0, kept }
    }

    /// A shipped script by its name, without settings, of seed 0.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Self> {
        let source = shipped::find(name)?;
        Some(Self::new(name, &format!("scripts/{name}.lua"), source.as_bytes()))
    }

    /// Loads the policy: compiles it, runs its top level, checks its shape, its parameters and what
    /// it requires, calls its `init`, asks it for decisions over made-up candidates and tells it of
    /// made-up events. The policy that comes out has seen none of that: it is in a fresh VM, with
    /// the states that were kept.
    ///
    /// # Errors
    /// Everything found wrong in the step that failed.
    pub fn load(
        mut self,
        budget: Box<dyn Budget>,
        sink: Box<dyn Sink>,
    ) -> Result<Script, Diagnostics> {
        let policy = sanitised(self.name.as_bytes(), REASON_LEN_MAX);
        let kept = std::mem::take(&mut self.kept);
        let mut loader = Loader::new(self, budget, sink);
        loader.shared.outlet.borrow_mut().mute(true);
        let loaded = tried(&mut loader).and_then(|(mut warnings, version)| {
            let kept = brought_up(&mut loader, kept, version, &mut warnings)?;
            Ok((kept, warnings))
        });
        loader.shared.outlet.borrow_mut().mute(false);
        loaded
            .and_then(|(kept, mut warnings)| {
                let (mut vm, shape) = loader.build(Scores::Dropped)?;
                if let Err(failure) = restore(&loader, &mut vm, &kept) {
                    warnings.push(*failure);
                    vm = loader.build(Scores::Dropped)?.0;
                }
                Ok((vm, shape, warnings))
            })
            .map_err(|errors| Diagnostics { policy, errors, warnings: Vec::new() })
            .map(|(vm, shape, warnings)| Script::new(loader, vm, &shape, warnings))
    }
}

/// Builds the policy once and tries it out; gives the warnings and its version.
fn tried(loader: &mut Loader) -> Result<(Vec<Failure>, i64), Vec<Failure>> {
    let len = loader.source.source.len();
    if len > SOURCE_LEN_MAX {
        let message = format!("the source has {len} bytes; at most {SOURCE_LEN_MAX}");
        return Err(vec![loader.text().failure(FailureKind::Size, None, &message, "")]);
    }
    let (mut vm, shape) = loader.build(Scores::Dropped)?;
    let mut warnings = Vec::new();
    let name = if matches!(shape.entry, Entry::Score(_)) { SCORE } else { CHOOSE };
    for (candidates, consultation) in synthetic::consultations() {
        let empty = consultation.peers.is_empty();
        let place = format!("the dry run: {name}, {candidates}");
        match try_decision(loader, &mut vm, consultation, &place) {
            Ok(()) => {}
            Err(failure) if !empty => return Err(vec![*failure]),
            // A swarm without candidates is never put before a policy, so it may answer 1; it
            // should not break on it.
            Err(failure) if failure.kind == FailureKind::Contract => {}
            Err(failure) if failure.kind == FailureKind::Runtime => warnings.push(*failure),
            Err(failure) => return Err(vec![*failure]),
        }
    }
    loader.shared.live.borrow_mut().table = None;
    for report in synthetic::reports() {
        try_report(loader, &mut vm, &shape, &report).map_err(|failure| vec![*failure])?;
    }
    Ok((warnings, shape.version))
}

fn try_decision(
    loader: &Loader,
    vm: &mut Vm,
    consultation: Consultation,
    place: &str,
) -> Result<(), Box<Failure>> {
    {
        let mut live = loader.shared.live.borrow_mut();
        live.open.clone_from(&consultation.chunks[0].candidates);
        live.table = Some(consultation);
    }
    loader.refresh(vm)?;
    if !vm.decides() {
        return Ok(());
    }
    match loader.ask(vm, 0, &|| place.to_owned())? {
        Decision::Chosen { .. } | Decision::Abstained | Decision::Deferred(_) => Ok(()),
    }
}

fn try_report(
    loader: &Loader,
    vm: &mut Vm,
    shape: &Shape,
    report: &Report,
) -> Result<(), Box<Failure>> {
    let at = At { id: report.download.id, what: &report.what, before: "the dry run: " };
    loader.begin(vm, &report.download, report.now)?;
    loader.happened(vm, &report.what)?;
    if let Some(event) = Event::of(&report.what).filter(|event| shape.on.contains_key(event)) {
        loader.tell(vm, event, &at)?;
    }
    if let Happening::Tick { peers } = &report.what {
        if shape.order.is_some() {
            loader.order(vm, &at)?;
        }
        if shape.slots.is_some() {
            loader.slots(vm, peers, &at, &mut Vec::new())?;
        }
    }
    Ok(())
}

/// The kept states in the shape of this version of the policy.
///
/// # Errors
/// The source, which was built before, could not be built again.
fn brought_up(
    loader: &mut Loader,
    mut kept: KeptStates,
    version: i64,
    warnings: &mut Vec<Failure>,
) -> Result<KeptStates, Vec<Failure>> {
    let text = loader.text();
    let strange: Vec<_> = kept.states.iter().filter(|(_, plain)| !plain.is_bounded()).collect();
    if !strange.is_empty() {
        let message = format!("{} dropped: not plain data within limits", states(strange.len()));
        warnings.push(text.failure(FailureKind::Contract, None, &message, STATES));
        kept.states.retain(|_, plain| plain.is_bounded());
    }
    if kept.states.is_empty() || kept.version == version {
        return Ok(KeptStates { version, ..kept });
    }
    let from = kept.version;
    let count = states(kept.states.len());
    let line = text.line_of_key("version");
    let drop = |why: &str| {
        let message =
            format!("{count} of version {from} dropped: the policy has version {version}{why}");
        text.failure(FailureKind::Contract, line, &message, STATES)
    };
    if version < from {
        warnings.push(drop(""));
        return Ok(KeptStates { version, states: BTreeMap::new() });
    }
    let without = drop(" and no migrate");
    let (vm, shape) = loader.build(Scores::Dropped)?;
    if shape.migrate.is_none() {
        warnings.push(without);
        return Ok(KeptStates { version, states: BTreeMap::new() });
    }
    Ok(KeptStates { version, states: migrated(loader, vm, kept, warnings)? })
}

/// Calls `migrate` for every state, within one budget for all of them.
fn migrated(
    loader: &mut Loader,
    mut vm: Vm,
    kept: KeptStates,
    warnings: &mut Vec<Failure>,
) -> Result<BTreeMap<InfoHash, Plain>, Vec<Failure>> {
    let mut states = BTreeMap::new();
    let mut dropped = 0;
    let mut spent = Duration::ZERO;
    for (id, plain) in kept.states {
        let left = LOAD_BUDGET.saturating_sub(spent);
        loader.meter.start(left);
        let lines = vm.lines(Place::Migrate);
        let place = placed(Place::Migrate, id, "");
        let migrated = guarded(|| Ok(vm.migrate(&plain, kept.version)));
        let failure = match migrated {
            Ok(Ok(plain)) => {
                states.insert(id, plain);
                spent += loader.meter.spent();
                continue;
            }
            Ok(Err(NotPlain::Value(message))) => loader.broken(&message, lines, &place),
            Ok(Err(NotPlain::Lua(error))) | Err(error) => {
                loader.failed(&error, &place, lines, LOAD_BUDGET)
            }
        };
        spent += loader.meter.spent();
        if matches!(failure.kind, FailureKind::Budget | FailureKind::Memory) {
            vm = loader.build(Scores::Dropped)?.0;
        }
        dropped += 1;
        if dropped <= DROPPED_LISTED_MAX {
            let message = format!("its state is dropped: {}", failure.message);
            warnings.push(Failure { message, ..*failure });
        }
    }
    if dropped > DROPPED_LISTED_MAX {
        let more = format!("{} more dropped", self::states(dropped - DROPPED_LISTED_MAX));
        warnings.push(loader.text().failure(FailureKind::Contract, None, &more, STATES));
    }
    Ok(states)
}

/// Puts the kept states in a VM.
///
/// # Errors
/// They find no room there; the VM is not to be used.
fn restore(loader: &Loader, vm: &mut Vm, kept: &KeptStates) -> Result<(), Box<Failure>> {
    loader.meter.start(LOAD_BUDGET);
    for (id, plain) in &kept.states {
        let put = guarded(|| state::put(&vm.sandbox.lua, plain));
        let Ok(mlua::Value::Table(table)) = put else {
            let message = format!("{} dropped: no memory for them", states(kept.states.len()));
            let failure = loader.text().failure(FailureKind::Memory, None, &message, STATES);
            return Err(Box::new(failure));
        };
        vm.states.insert(*id, table);
    }
    Ok(())
}

fn states(count: usize) -> String {
    if count == 1 { "1 state is".to_owned() } else { format!("{count} states are") }
}

/// How the functions are written in messages.
pub(crate) const CHOOSE: &str = "choose(ctx, peers)";
pub(crate) const SCORE: &str = "score(ctx, peer)";
/// Where it is said that states are dropped.
const STATES: &str = "ctx.state";
