//! A loaded policy: it answers consultations decision by decision (`decide`), is told what happens
//! and advises (`report`), keeps its states (`keep`) and explains itself (`explain`). Whatever
//! its script does, it answers. Never here: how a source becomes a policy, or what a VM holds.

mod decide;
mod explain;
mod keep;
mod report;

pub use explain::Explanation;

use std::{collections::BTreeMap, time::Duration};

use sha1::{Digest, Sha1};

use shoal_core::{
    ids::{InfoHash, TorrentId},
    policy::Hooks,
    time::Timestamp,
};

use crate::{
    breaker::{Breaker, Fault},
    budget::MEMORY_MAX,
    failure::{Failure, FailureKind},
    load::{CHOOSE, SCORE},
    loader::Loader,
    params::Param,
    shape::{Entry, Shape},
    status::{Counters, During, LastError, Status},
    vm::{Scores, Vm},
};

/// The most downloads that are remembered beside their states.
const DOWNLOADS_MAX: usize = 256;

/// A policy in its own VM. Not `Send`: it lives on the thread that loaded it
/// ([`crate::load::ScriptSource`] is what travels).
pub struct Script {
    loader: Loader,
    /// `None` after an error that a VM does not survive: the next call builds another.
    vm: Option<Vm>,
    /// The tables say what the consultation under way says.
    fresh: bool,
    declared_name: Option<String>,
    description: String,
    version: i64,
    params: Vec<Param>,
    warnings: Vec<Failure>,
    hooks: Hooks,
    functions: Vec<String>,
    place: &'static str,
    hash: String,
    breaker: Breaker,
    counters: Counters,
    last_error: Option<LastError>,
    /// The info hash of each torrent that it was asked or told about.
    torrents: BTreeMap<TorrentId, InfoHash>,
    /// Since when nothing is in flight for a download that was consulted for.
    idle: BTreeMap<TorrentId, Timestamp>,
    /// What the decision under way took.
    spent: Duration,
}

impl Script {
    pub(crate) fn new(loader: Loader, vm: Vm, shape: &Shape, warnings: Vec<Failure>) -> Self {
        let hash = hex::encode(Sha1::digest(&loader.source.source));
        Self {
            loader,
            vm: Some(vm),
            fresh: false,
            declared_name: shape.name.clone(),
            description: shape.description.clone(),
            version: shape.version,
            params: shape.params.clone(),
            warnings,
            hooks: shape.hooks(),
            functions: shape.functions(),
            place: if matches!(shape.entry, Entry::Score(_)) { SCORE } else { CHOOSE },
            hash,
            breaker: Breaker::default(),
            counters: Counters::default(),
            last_error: None,
            torrents: BTreeMap::new(),
            idle: BTreeMap::new(),
            spent: Duration::ZERO,
        }
    }

    /// The policy's name, as the operator gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.loader.source.name
    }

    /// The name that its table gives it.
    #[must_use]
    pub fn declared_name(&self) -> Option<&str> {
        self.declared_name.as_deref()
    }

    /// What the policy says of itself; empty where it says nothing.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The version of the shape of its state; 1 where it names none.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Its parameters and their values, in order of name.
    #[must_use]
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// What was found when it was loaded and did not keep it from being loaded.
    #[must_use]
    pub fn warnings(&self) -> &[Failure] {
        &self.warnings
    }

    /// Which of its functions there are: what it need not be asked or told.
    #[must_use]
    pub fn hooks(&self) -> Hooks {
        self.hooks
    }

    /// The names of its functions, as messages call them: `choose`, `order`, `on.tick`.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        self.functions.clone()
    }

    /// Errors so far, and whether it is tripped: what costs nothing to look at after every answer.
    #[must_use]
    pub fn vitals(&self) -> (u64, bool) {
        (self.counters.errors.total(), self.breaker.tripped_until().is_some())
    }

    /// What it is and has done.
    #[must_use]
    pub fn status(&self) -> Status {
        let memory = self.vm.as_ref().map_or(0, |vm| vm.sandbox.memory());
        Status {
            name: self.loader.source.name.clone(),
            file: self.loader.source.file.clone(),
            hash: self.hash.clone(),
            functions: self.functions.clone(),
            version: self.version,
            counters: self.counters.clone(),
            tripped_until: self.breaker.tripped_until(),
            trips: self.breaker.trips(),
            memory_bytes: memory as u64,
            log_lines_suppressed: self.loader.shared.outlet.borrow().suppressed(),
            last_error: self.last_error.clone(),
        }
    }

    /// Closes the breaker, and nothing else.
    pub(crate) fn close_breaker(&mut self) {
        self.breaker.reset();
    }

    /// The VM, built anew where the last one was given up.
    fn ready(&mut self) -> Result<(), Box<Failure>> {
        if self.vm.is_none() {
            let built = self.loader.build(Scores::Dropped);
            let (vm, _) = built.map_err(|errors| self.loader.first(errors))?;
            self.vm = Some(vm);
            self.fresh = false;
            self.counters.rebuilt += 1;
        }
        Ok(())
    }

    fn fail(&mut self, failure: Failure, during: During, now: Timestamp) {
        self.counters.errors.count(failure.kind);
        let exhausted = matches!(failure.kind, FailureKind::Budget | FailureKind::Memory);
        self.breaker.failed(now, if exhausted { Fault::Exhausted } else { Fault::Error });
        let full = self.vm.as_ref().is_some_and(|vm| vm.sandbox.memory() > MEMORY_MAX / 2);
        if exhausted || full {
            self.vm = None;
        }
        self.last_error = Some(LastError::after(self.last_error.take(), failure, during, now));
    }

    fn remember(&mut self, torrent: TorrentId, id: InfoHash) {
        if self.torrents.get(&torrent) == Some(&id) {
            return;
        }
        if self.torrents.len() >= DOWNLOADS_MAX && !self.torrents.contains_key(&torrent) {
            self.torrents.pop_first();
        }
        self.torrents.insert(torrent, id);
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("name", &self.name()).field("hash", &self.hash).finish()
    }
}
