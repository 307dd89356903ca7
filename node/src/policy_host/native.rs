//! A native policy on the policy thread: only beside a shadow, which has to be asked the same. On
//! its own a native decides inside the engine. Never here: Lua.

use std::collections::BTreeMap;

use shoal_core::{
    ids::TorrentId,
    policy::{
        Advice, Answer, Consultation, Hooks, Judged, Report, Verdict,
        native::{Cursor, Native},
    },
    rng::Rng,
};
use shoal_policy::{
    script::Explanation,
    state::KeptStates,
    status::{Counters, Status},
};

use super::decider::{Decider, Loaded, Vitals};

struct Consulted {
    native: Native,
    rng: Rng,
    cursor: Cursor,
    counters: Counters,
}

/// A native policy that is consulted.
pub(super) fn load(native: Native) -> Loaded {
    let (rng, cursor) = (Rng::new(fastrand::u64(..)), Cursor::default());
    let counters = Counters::default();
    Loaded {
        decider: Box::new(Consulted { native, rng, cursor, counters }),
        hooks: Hooks { decides: true, ..Hooks::default() },
        functions: Vec::new(),
        warnings: Vec::new(),
        params: BTreeMap::new(),
        description: native.description().to_owned(),
        version: 0,
    }
}

impl Decider for Consulted {
    fn answer(&mut self, mut question: Consultation) -> Answer {
        let (round, chunks) = (question.round, question.chunks.len());
        let decide = |chunk| {
            let open = question.open_candidates(chunk).collect::<Vec<_>>();
            self.counters.calls += 1;
            let Self { native, rng, cursor, .. } = self;
            let verdict = match native.choose(&question.peers, &open, rng, cursor) {
                Some(peer) => {
                    self.counters.chosen += 1;
                    question.apply(chunk, peer);
                    Verdict::Chosen { conn: question.peers[peer].conn, reason: None }
                }
                None => Verdict::Abstained,
            };
            Judged { verdict, spent_us: 0 }
        };
        let verdicts = (0..chunks).map(decide).collect();
        Answer { round, verdicts }
    }

    fn report(&mut self, _report: &Report) -> Option<Advice> {
        None
    }

    fn explain(&mut self, _question: &Consultation) -> Option<Explanation> {
        None
    }

    fn keep(&mut self) -> KeptStates {
        KeptStates::default()
    }

    fn forget(&mut self, _torrent: TorrentId) {}

    fn reset(&mut self) {
        self.counters = Counters::default();
    }

    fn vitals(&self) -> Vitals {
        Vitals::default()
    }

    fn status(&self) -> Status {
        Status {
            name: self.native.name().to_owned(),
            counters: self.counters.clone(),
            ..Status::default()
        }
    }
}
