//! What a fuzzer calls: any bytes as a policy, through everything that a policy goes through. Never
//! here: how the bytes are found.

use std::time::Duration;

use shoal_core::{
    config::ORDER_WINDOW_MAX,
    policy::{Advice, Consultation, Happening, Judged, Report, Verdict},
};

use crate::{
    advice::SLOTS_MAX,
    budget::{Budget, InstructionBudget, MEMORY_MAX, Spend},
    load::{REASON_LEN_MAX, ScriptSource},
    script::Script,
    sink::NoSink,
    state::KeptStates,
    synthetic::{self, Known},
};

/// By how much allowances are cut, so that a bad input takes milliseconds.
const HASTE: u32 = 50;
/// What a VM may hold beyond its limit where the limit is noticed late, bytes.
const MEMORY_SLACK: u64 = 64 * 1024;

/// Loads the bytes as a policy; asks it, tells it everything, keeps its states, explains a decision,
/// and loads it again with its states.
///
/// # Panics
/// Where the bytes get the policy out of its bounds: our bug.
pub fn policy(data: &[u8]) {
    let source = ScriptSource::new("fuzzed", "fuzzed.lua", data);
    let Some(kept) = lived(source.clone()) else { return };
    let again = ScriptSource { kept: kept.clone(), ..source.clone() };
    // What is random may make it refuse to load the second time.
    lived(again);
    // As if an earlier version had kept them.
    lived(ScriptSource { kept: KeptStates { version: 0, ..kept }, ..source });
}

/// The life of a policy. `None` where it does not load.
fn lived(source: ScriptSource) -> Option<KeptStates> {
    let mut script = match source.load(Box::new(Hasty::default()), Box::new(NoSink)) {
        Ok(script) => script,
        Err(diagnostics) => {
            assert!(!diagnostics.errors.is_empty(), "refused without a word");
            check_text(&diagnostics.to_string());
            return None;
        }
    };
    let mut table = synthetic::consultation(5, Known::All);
    let chunk = table.chunks[0].clone();
    table.chunks.push(chunk);
    for endgame in [false, true] {
        table.download.endgame = endgame;
        table.now = table.now + Duration::from_secs(1);
        let verdicts = script.answer(table.clone());
        check_verdicts(&table, &verdicts);
        for report in reports(&table) {
            let advice = script.report(&report);
            check_advice(advice.as_ref());
            check_bounds(&script);
        }
    }
    let explanation = script.explain(&table);
    assert!(explanation.scores.len() <= table.chunks[0].candidates.len());
    let (kept, failures) = script.keep();
    assert!(kept.states.values().all(crate::state::Plain::is_bounded), "kept too much");
    failures.iter().for_each(|failure| check_text(&failure.to_string()));
    script.reset();
    check_bounds(&script);
    Some(kept)
}

/// One report of each kind, of the download of a consultation.
fn reports(table: &Consultation) -> Vec<Report> {
    let of = |what| Report {
        policy: table.policy,
        torrent: table.torrent,
        now: table.now,
        download: table.download.clone(),
        what,
    };
    let phase = of(Happening::Phase { peers: table.peers.clone() });
    let others = synthetic::reports().map(|report| of(report.what));
    std::iter::once(phase).chain(others).collect()
}

fn check_verdicts(table: &Consultation, verdicts: &[Judged]) {
    assert_eq!(verdicts.len(), table.chunks.len(), "a verdict a chunk");
    for judged in verdicts {
        match &judged.verdict {
            Verdict::Chosen { conn, reason } => {
                assert!(table.peers.iter().any(|peer| peer.conn == *conn), "a stranger");
                let len = reason.as_ref().map_or(0, String::len);
                assert!(len <= REASON_LEN_MAX, "a reason of {len} bytes");
            }
            Verdict::Deferred { ms } => assert!((10..=1000).contains(ms), "deferred by {ms} ms"),
            Verdict::Abstained | Verdict::Starved | Verdict::Failed | Verdict::Bypassed => {}
        }
    }
}

fn check_advice(advice: Option<&Advice>) {
    let Some(advice) = advice else { return };
    assert!(advice.slots.iter().all(|(_, slots)| (1..=SLOTS_MAX).contains(slots)), "slots");
    let window = advice.order.and_then(|order| order.window);
    assert!(window.is_none_or(|window| (1..=ORDER_WINDOW_MAX).contains(&window)), "{window:?}");
}

fn check_bounds(script: &Script) {
    let status = script.status();
    let most = MEMORY_MAX as u64 + MEMORY_SLACK;
    assert!(status.memory_bytes <= most, "{} bytes", status.memory_bytes);
    if let Some(report) = status.report() {
        check_text(&report);
    }
}

/// A message is of bounded length and clean.
fn check_text(text: &str) {
    assert!(text.len() < 64 * 1024, "a message of {} bytes", text.len());
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "control characters: {text:?}");
}

/// Counts instructions, and has little patience.
#[derive(Default)]
struct Hasty(InstructionBudget);

impl Budget for Hasty {
    fn start(&mut self, allowance: Duration) {
        self.0.start(allowance / HASTE);
    }

    fn charge(&mut self, instructions: u64) -> Spend {
        self.0.charge(instructions)
    }

    fn spent(&self) -> Duration {
        self.0.spent()
    }
}
