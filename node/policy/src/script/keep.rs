//! What a policy remembers: `ctx.state` of each download. Never here: where it is kept.

use std::collections::BTreeMap;

use shoal_core::ids::{InfoHash, TorrentId};

use super::Script;
use crate::{
    failure::{Failure, FailureKind},
    loader::short,
    sandbox::guarded,
    state::{self, KeptStates, NotPlain, Plain},
    status::Counters,
};

impl Script {
    /// The `ctx.state` of every download as plain data, for a successor
    /// ([`crate::load::ScriptSource::kept`]); and why those that are not there could not be kept:
    /// they hold functions, peers or cycles, nest deeper than [`crate::budget::STATE_DEPTH_MAX`], or
    /// are larger than [`crate::budget::STATE_SIZE_MAX`]. There is none after an error of budget or
    /// memory, which takes the VM with it.
    pub fn keep(&mut self) -> (KeptStates, Vec<Failure>) {
        let mut kept = KeptStates { version: self.version, states: BTreeMap::new() };
        let mut failures = Vec::new();
        let Some(vm) = &self.vm else { return (kept, failures) };
        let mut whole = true;
        for (id, table) in vm.states.iter() {
            match guarded(|| Ok(state::taken("ctx.state", table))) {
                Ok(Ok(plain)) => {
                    kept.states.insert(id, plain);
                }
                Ok(Err(fault)) => failures.push(self.not_kept(id, fault)),
                Err(error) => {
                    failures.push(self.not_kept(id, NotPlain::Lua(error)));
                    whole = false;
                    break;
                }
            }
        }
        if !whole {
            // A VM without room for a reference is not used again.
            self.vm = None;
        }
        (kept, failures)
    }

    /// Forgets a download that is gone, and its `ctx.state`.
    pub fn forget(&mut self, torrent: TorrentId) {
        self.idle.remove(&torrent);
        let id = self.torrents.remove(&torrent);
        if let (Some(vm), Some(id)) = (&mut self.vm, id) {
            vm.states.remove(id);
        }
    }

    /// Begins anew: the breaker is closed, the last error forgotten, counters and states emptied.
    pub fn reset(&mut self) {
        self.breaker.reset();
        self.last_error = None;
        self.counters = Counters::default();
        self.idle.clear();
        if let Some(vm) = &mut self.vm {
            vm.states.clear();
        }
    }

    /// A copy of the state of a download, where it has one.
    pub(super) fn state_of(&self, id: InfoHash) -> Result<Option<Plain>, Box<Failure>> {
        let Some(table) = self.vm.as_ref().and_then(|vm| vm.states.find(id)) else {
            return Ok(None);
        };
        let taken = guarded(|| Ok(state::taken("ctx.state", table)));
        let taken = taken.unwrap_or_else(|error| Err(error.into()));
        taken.map(Some).map_err(|fault| Box::new(self.not_kept(id, fault)))
    }

    fn not_kept(&self, id: InfoHash, fault: NotPlain) -> Failure {
        let (kind, message) = match fault {
            NotPlain::Value(message) => (FailureKind::Contract, message),
            NotPlain::Lua(error) => (FailureKind::Memory, error.to_string()),
        };
        let place = format!("ctx.state, torrent {}…", short(id));
        self.loader.text().failure(kind, None, &message, &place)
    }
}
