//! The corpus of the fuzzer, and what comes of it when bytes are changed: nothing panics, nothing
//! gets out of bounds.

use shoal_core::rng::Rng;
use shoal_policy::fuzzing;

/// The corpus that the fuzzer starts from.
const CORPUS: [&[u8]; 20] = [
    include_bytes!("../../fuzz/corpus/policy/bytecode.lua"),
    include_bytes!("../../fuzz/corpus/policy/bytes.lua"),
    include_bytes!("../../fuzz/corpus/policy/cycle.lua"),
    include_bytes!("../../fuzz/corpus/policy/deep.lua"),
    include_bytes!("../../fuzz/corpus/policy/defer.lua"),
    include_bytes!("../../fuzz/corpus/policy/empty.lua"),
    include_bytes!("../../fuzz/corpus/policy/endless.lua"),
    include_bytes!("../../fuzz/corpus/policy/errors.lua"),
    include_bytes!("../../fuzz/corpus/policy/library.lua"),
    include_bytes!("../../fuzz/corpus/policy/list.lua"),
    include_bytes!("../../fuzz/corpus/policy/memory.lua"),
    include_bytes!("../../fuzz/corpus/policy/nested.lua"),
    include_bytes!("../../fuzz/corpus/policy/nonsense.lua"),
    include_bytes!("../../fuzz/corpus/policy/one_liner.lua"),
    include_bytes!("../../fuzz/corpus/policy/random.lua"),
    include_bytes!("../../fuzz/corpus/policy/shape.lua"),
    include_bytes!("../../fuzz/corpus/policy/states.lua"),
    include_bytes!("../../fuzz/corpus/policy/unfinished.lua"),
    include_bytes!("../../fuzz/corpus/policy/whole.lua"),
    include_bytes!("../../fuzz/corpus/policy/writes.lua"),
];

/// Changes of each input.
const CHANGES: usize = 40;

/// Pieces of Lua and of the contract that are put in, so that more than syntax errors come out.
const PIECES: [&str; 24] = [
    "ctx",
    "peers",
    "ev",
    ".state",
    ".uploaded",
    "nil",
    "0/0",
    "1e308",
    "{}",
    "function() end",
    "end",
    "return ",
    "error()",
    "for i = 1, 9 do ",
    "while true do ",
    "[1]",
    "(",
    ")",
    "..",
    " = ",
    "#",
    "shoal.argmin(peers, 'rate')",
    "ctx.state.x = peers ",
    "local t = {} t[t] = t ",
];

#[test]
fn the_corpus_stays_within_its_bounds() {
    for data in CORPUS {
        fuzzing::policy(data);
    }
}

#[test]
fn changed_inputs_stay_within_their_bounds() {
    let mut rng = Rng::new(3);
    for data in CORPUS.iter().filter(|data| !data.is_empty()) {
        for _ in 0..CHANGES {
            let mut changed = data.to_vec();
            for _ in 0..=rng.below(3) {
                change(&mut changed, &mut rng);
            }
            fuzzing::policy(&changed);
        }
    }
}

fn change(data: &mut Vec<u8>, rng: &mut Rng) {
    if data.is_empty() {
        return;
    }
    let at = rng.below(data.len());
    match rng.below(5) {
        0 => data[at] = rng.u64().to_le_bytes()[0],
        1 => {
            let piece = PIECES[rng.below(PIECES.len())];
            data.splice(at..at, piece.bytes());
        }
        2 => {
            let other = CORPUS[rng.below(CORPUS.len())];
            let from = rng.below(other.len());
            data.splice(at..at, other[from..].iter().take(80).copied());
        }
        3 if at + 1 < data.len() => {
            let upto = at + rng.below((data.len() - at).min(20));
            data.drain(at..upto);
        }
        _ => {
            // A word for another: `n` for `nil`, one name for another.
            let piece = PIECES[rng.below(PIECES.len())];
            let upto = (at + piece.len()).min(data.len());
            data.splice(at..upto, piece.bytes());
        }
    }
}
