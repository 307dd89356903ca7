//! `ctx.state` of each download, in a VM. Never here: what of it is kept.

use std::collections::BTreeMap;

use mlua::{Lua, Result, Table};

use shoal_core::ids::InfoHash;

/// The most downloads whose `ctx.state` is held; beyond it the one longest unused goes.
const STATES_MAX: usize = 256;

/// The states by download.
#[derive(Default)]
pub(crate) struct States {
    by_download: BTreeMap<InfoHash, State>,
    /// Counts the uses.
    uses: u64,
}

/// The state of a download.
pub(crate) struct State {
    pub(crate) table: Table,
    /// `init` is still to be called.
    pub(crate) due: bool,
    /// No other state of this VM has or had this number.
    pub(crate) number: u64,
    used: u64,
}

impl States {
    /// The state of a download, an empty one where there is none.
    pub(crate) fn state(&mut self, lua: &Lua, id: InfoHash) -> Result<&mut State> {
        if !self.by_download.contains_key(&id) {
            self.insert(id, lua.create_table()?);
        }
        self.uses += 1;
        let used = self.uses;
        let state = self.by_download.get_mut(&id);
        let state = state.ok_or_else(|| mlua::Error::runtime("there is no state"))?;
        state.used = used;
        Ok(state)
    }

    /// Puts a state in place, for which `init` is due.
    pub(crate) fn insert(&mut self, id: InfoHash, table: Table) {
        if self.by_download.len() >= STATES_MAX && !self.by_download.contains_key(&id) {
            let oldest = self.by_download.iter().min_by_key(|(_, state)| state.used);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.by_download.remove(&oldest);
            }
        }
        self.uses += 1;
        let used = self.uses;
        self.by_download.insert(id, State { table, due: true, number: used, used });
    }

    /// Notes a use. The number of the state of a download for which nothing is to be done any more.
    pub(crate) fn touch(&mut self, id: InfoHash) -> Option<u64> {
        let state = self.by_download.get_mut(&id)?;
        self.uses += 1;
        state.used = self.uses;
        (!state.due).then_some(state.number)
    }

    /// `init` was called for a download, or there is none.
    pub(crate) fn initialised(&mut self, id: InfoHash) {
        if let Some(state) = self.by_download.get_mut(&id) {
            state.due = false;
        }
    }

    /// The state of a download, where it has one.
    pub(crate) fn find(&self, id: InfoHash) -> Option<&Table> {
        self.by_download.get(&id).map(|state| &state.table)
    }

    /// Every state, in order of download.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (InfoHash, &Table)> {
        self.by_download.iter().map(|(id, state)| (*id, &state.table))
    }

    /// Forgets a download: it begins anew where it comes again.
    pub(crate) fn remove(&mut self, id: InfoHash) {
        self.by_download.remove(&id);
    }

    /// Forgets every download.
    pub(crate) fn clear(&mut self) {
        self.by_download.clear();
    }
}
