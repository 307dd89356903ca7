//! What of torrents' conduct is to be kept and is not yet: however many torrents change at once, a
//! transaction or two keep them all. Never here: the records.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shoal_core::{ids::InfoHash, session::command::Resume};

/// Conduct that waits for the store's thread.
#[derive(Clone, Default)]
pub(super) struct Conducts(Arc<Mutex<BTreeMap<InfoHash, Resume>>>);

impl Conducts {
    /// Notes what is to be kept of a torrent, in place of what waits. Says whether nothing waited:
    /// then somebody has to be sent to take it.
    #[must_use]
    pub(super) fn note(&self, info_hash: InfoHash, resume: Resume) -> bool {
        let mut waiting = self.waiting();
        let first = waiting.is_empty();
        waiting.insert(info_hash, resume);
        first
    }

    /// Everything that waits.
    pub(super) fn take(&self) -> BTreeMap<InfoHash, Resume> {
        std::mem::take(&mut *self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<InfoHash, Resume>> {
        // Nothing under the lock can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_errand_takes_all_that_changed_meanwhile_and_the_last_word_counts() {
        let conducts = Conducts::default();
        let (one, other) = (InfoHash([1; 20]), InfoHash([2; 20]));
        let announcing = Resume { announce: true, ..Resume::default() };
        assert!(conducts.note(one, Resume::default()));
        assert!(!conducts.note(other, Resume::default()));
        assert!(!conducts.note(one, announcing));
        let taken = conducts.take();
        assert_eq!((taken.len(), taken[&one]), (2, announcing));
        assert!(conducts.take().is_empty());
        assert!(conducts.note(other, announcing), "the next one needs an errand of its own");
    }
}
