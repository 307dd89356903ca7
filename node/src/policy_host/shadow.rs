//! A second policy beside the one in force: asked the same after the answer went out, and only
//! compared. Never here: anything that its word could change.

use std::collections::VecDeque;

use shoal_core::{
    ids::ConnId,
    policy::{Consultation, Judged, Verdict},
};

use super::status::Difference;

/// Differences that are kept.
const DIFFERENCES_KEPT: usize = 16;

/// How a shadow compares.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) agreed: u64,
    pub(super) differed: u64,
    pub(super) differences: VecDeque<Difference>,
}

impl Comparison {
    /// Compares the answers to one question, chunk by chunk.
    pub(super) fn add(&mut self, question: &Consultation, real: &[Judged], shadow: &[Judged]) {
        for ((chunk, real), shadow) in question.chunks.iter().zip(real).zip(shadow) {
            let (ours, theirs) = (named(&real.verdict), named(&shadow.verdict));
            if ours == theirs {
                self.agreed += 1;
                continue;
            }
            self.differed += 1;
            if self.differences.len() >= DIFFERENCES_KEPT {
                self.differences.pop_front();
            }
            let addr = |conn: Option<ConnId>| {
                let peer = question.peers.iter().find(|peer| Some(peer.conn) == conn)?;
                Some(peer.addr.to_string())
            };
            self.differences.push_back(Difference {
                info_hash: question.download.id,
                chunk: chunk.name.clone(),
                chosen: addr(ours),
                shadow: addr(theirs),
                reason: reason(&shadow.verdict),
            });
        }
    }
}

fn named(verdict: &Verdict) -> Option<ConnId> {
    match verdict {
        Verdict::Chosen { conn, .. } => Some(*conn),
        Verdict::Abstained
        | Verdict::Deferred { .. }
        | Verdict::Starved
        | Verdict::Failed
        | Verdict::Bypassed => None,
    }
}

fn reason(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Chosen { reason, .. } => reason.clone().unwrap_or_default(),
        Verdict::Abstained => "no opinion".to_owned(),
        Verdict::Deferred { ms } => format!("nobody for {ms} ms"),
        Verdict::Starved => "nobody, although nothing is in flight".to_owned(),
        Verdict::Failed => "it failed".to_owned(),
        Verdict::Bypassed => "it is bypassed".to_owned(),
    }
}
