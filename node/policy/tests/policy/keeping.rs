//! `ctx.state` beyond the life of a VM: kept, restored, migrated, explained with.

use std::{collections::BTreeMap, time::Duration};

use shoal_core::{
    ids::{InfoHash, TorrentId},
    policy::{Happening, Verdict},
};
use shoal_policy::{
    failure::FailureKind,
    load::ScriptSource,
    script::Script,
    state::{KeptStates, Plain},
};

use crate::support::{
    Verdicts as _, chosen, conn, consultation, kept_log, load_with, loaded, peer, report, source,
    three, verdict,
};

const COUNTING: &str = "init = function(ctx) ctx.state.n = ctx.state.n or 10 end,
  choose = function(ctx, peers)
    ctx.state.n = ctx.state.n + 1
    return #peers > 0 and 1 or nil, ctx.state.n
  end";

fn counting(version: i64, more: &str) -> ScriptSource {
    source(format!("return {{ api = 1, version = {version}, {COUNTING}{more} }}"))
}

fn loaded_from(source: ScriptSource) -> Script {
    load_with(source, kept_log().0).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn reason(script: &mut Script) -> String {
    match verdict(script) {
        Verdict::Chosen { reason, .. } => reason.unwrap_or_default(),
        other => panic!("{other:?}: {:?}", script.status().report()),
    }
}

fn warnings(script: &Script) -> Vec<String> {
    script.warnings().iter().map(|warning| warning.message.clone()).collect()
}

fn text(text: &str) -> Plain {
    Plain::Text(text.as_bytes().to_vec())
}

/// A state `{ n = 41 }` of the usual download.
fn kept(version: i64) -> KeptStates {
    let state = Plain::Table(vec![(text("n"), Plain::Integer(41))]);
    KeptStates { version, states: BTreeMap::from([(three().download.id, state)]) }
}

#[test]
fn a_state_is_restored_by_the_same_version() {
    let mut script = loaded_from(counting(2, ""));
    assert_eq!(reason(&mut script), "11");
    let (kept, failures) = script.keep();
    assert_eq!((kept.version, failures), (2, vec![]));
    let mut source = counting(2, "");
    source.kept = kept;
    let mut script = loaded_from(source);
    assert_eq!(warnings(&script), [""; 0]);
    assert_eq!(reason(&mut script), "12", "and init, which was called, saw it");
}

#[test]
fn a_higher_version_migrates() {
    let migrate = ", migrate = function(old, from) return { n = old.n * 100 + from } end";
    let mut source = counting(3, migrate);
    source.kept = kept(2);
    let mut script = loaded_from(source);
    assert_eq!(warnings(&script), [""; 0]);
    assert_eq!(reason(&mut script), "4103");
    assert_eq!(script.keep().0.version, 3);
}

#[test]
fn what_cannot_be_restored_is_dropped_with_a_warning() {
    for (version, more, warning) in [
        (1, "", "1 state is of version 2 dropped: the policy has version 1"),
        (3, "", "1 state is of version 2 dropped: the policy has version 3 and no migrate"),
        (
            3,
            ", migrate = function() return 7 end",
            "its state is dropped: returned 7 (an integer), expected a table",
        ),
        (3, ", migrate = function() end", "its state is dropped: returned nil, expected a table"),
        (3, ", migrate = function() error('no') end", "its state is dropped: no"),
        (
            3,
            ", migrate = function() while true do end end",
            "its state is dropped: it ran longer than its budget of 250 ms",
        ),
        (
            3,
            ", migrate = function() return { f = function() end } end",
            "its state is dropped: the table it returned.f is a function",
        ),
    ] {
        let mut source = counting(version, more);
        source.kept = kept(2);
        let mut script = loaded_from(source);
        assert_eq!(warnings(&script), [warning], "{more}");
        assert_eq!(reason(&mut script), "11", "{more}");
    }
}

#[test]
fn one_state_that_cannot_be_migrated_does_not_take_the_others_with_it() {
    let migrate =
        ", migrate = function(old) if old.n == 3 then while true do end end return old end";
    let mut source = counting(2, migrate);
    let state = |n| Plain::Table(vec![(text("n"), Plain::Integer(n))]);
    let states = (1..=2).map(|n| (InfoHash([n; 20]), state(i64::from(n))));
    source.kept = KeptStates { version: 1, states: states.collect() };
    source.kept.states.insert(three().download.id, state(3));
    let mut script = loaded_from(source);
    assert_eq!(script.warnings().len(), 1);
    let place = &script.warnings()[0].place;
    assert_eq!(place, "migrate(old, from_version), torrent 3f3f3f3f…");
    assert_eq!(script.keep().0.states.len(), 2);
}

#[test]
fn kept_states_that_are_out_of_bounds_are_not_trusted() {
    let mut source = counting(2, "");
    source.kept = kept(2);
    source.kept.states.insert(InfoHash([9; 20]), text("not a table"));
    let mut script = loaded_from(source);
    assert_eq!(warnings(&script), ["1 state is dropped: not plain data within limits"]);
    assert_eq!(reason(&mut script), "42");
}

#[test]
fn only_plain_data_is_kept() {
    for (body, message) in [
        ("ctx.state.f = function() end", "ctx.state.f is a function"),
        (
            "ctx.state.best = peers[1]",
            "ctx.state.best is a table of the node, such as a peer; keep peer.id",
        ),
        (
            "ctx.state.all = { peers }",
            "ctx.state.all[1] is a table of the node, such as a peer; keep peer.id",
        ),
        ("ctx.state.me = { ctx.state }", "ctx.state.me[1] refers to a table that it is in"),
        ("ctx.state[peers] = 1", "ctx.state has a key that is a table"),
        (
            "local s = 'x' for i = 1, 16 do s = s .. s end ctx.state.s = s",
            "ctx.state is larger than 64 KiB",
        ),
    ] {
        let mut script = loaded(format!("return function(ctx, peers) {body} end"));
        let mut table = three();
        assert_eq!(script.verdicts(&table), [Verdict::Abstained]);
        table.download.id = InfoHash([1; 20]);
        table.torrent = TorrentId(9);
        let (kept, failures) = script.keep();
        assert_eq!(kept.states.len(), 0, "{body}");
        assert_eq!(failures.len(), 1, "{body}");
        assert_eq!(failures[0].kind, FailureKind::Contract);
        assert_eq!(failures[0].message, message, "{body}");
        assert_eq!(failures[0].place, "ctx.state, torrent 3f3f3f3f…");
    }
}

#[test]
fn a_restart_of_the_vm_loses_the_states() {
    let mut script = loaded(format!(
        "return {{ api = 1, {COUNTING}, on = {{ finished = function(ctx)
           if ctx.download.name == 'file1' then while true do end end end }} }}"
    ));
    assert_eq!(reason(&mut script), "11");
    assert_eq!(script.keep().0.states.len(), 1);
    script.report(&report(Happening::Finished));
    assert_eq!(script.keep().0, KeptStates { version: 1, states: BTreeMap::new() });
    assert_eq!(reason(&mut script), "11");
}

#[test]
fn a_reset_begins_anew() {
    let mut script = loaded(format!(
        "return {{ api = 1, {COUNTING}, on = {{ tick = function(ctx)
           if ctx.download.name == 'file1' then error('no') end end }} }}"
    ));
    assert_eq!(reason(&mut script), "11");
    for _ in 0..12 {
        script.report(&report(Happening::Tick { peers: vec![] }));
    }
    assert_eq!(verdict(&mut script), Verdict::Bypassed);
    script.reset();
    let status = script.status();
    assert_eq!((status.counters, status.trips), (Default::default(), 0));
    assert_eq!((status.last_error, status.tripped_until), (None, None));
    assert_eq!(reason(&mut script), "11");
}

#[test]
fn the_state_longest_unused_makes_room() {
    let mut script = loaded_from(counting(1, ""));
    let mut ask = |n: u16| {
        let mut table = three();
        table.torrent = TorrentId(u32::from(n));
        table.download.id.0[..2].copy_from_slice(&n.to_be_bytes());
        let Verdict::Chosen { reason, .. } = script.verdicts(&table).remove(0) else {
            panic!("not chosen")
        };
        reason.unwrap()
    };
    for n in 0..256 {
        assert_eq!(ask(n), "11");
    }
    assert_eq!(ask(0), "12");
    assert_eq!(ask(256), "11", "in the place of 1");
    assert_eq!(ask(0), "13");
    assert_eq!(ask(1), "11");
}

#[test]
fn an_explanation_changes_nothing() {
    let (sink, lines) = kept_log();
    let lua = "return { api = 1, init = function(ctx) ctx.state.n = 10 end,
           choose = function(ctx, peers)
             ctx.state.n = ctx.state.n + 1
             log.info('%d', ctx.state.n)
             return #peers > 0 and 1 or nil, ctx.state.n
           end }";
    let mut script = load_with(source(lua), sink).unwrap();
    let why = |n: &str| Verdict::Chosen { conn: conn(0), reason: Some(n.to_owned()) };
    assert_eq!(script.explain(&three()).verdict, why("11"), "init is called where it would be");
    assert_eq!(verdict(&mut script), why("11"));
    for _ in 0..2 {
        let explanation = script.explain(&three());
        assert_eq!((explanation.verdict, explanation.failure), (why("12"), None));
        assert!(explanation.scores.is_empty());
    }
    let status = script.status();
    assert_eq!(status.counters.calls, 1);
    assert_eq!(verdict(&mut script), why("12"));
    assert_eq!(*lines.borrow(), ["11", "12"]);
}

#[test]
fn an_explanation_lists_the_scores() {
    let mut script = loaded(
        "return { api = 1, score = function(ctx, p)
           if p.uploaded ~= 2000 then return p.uploaded / 2 end
         end }",
    );
    let mut table = consultation((0..4).map(peer).collect(), 1);
    table.peers[1].inflight = 4;
    let explanation = script.explain(&table);
    assert_eq!(explanation.scores, [Some(0.0), None, None, Some(1500.0)]);
    assert_eq!(explanation.verdict, chosen(3));
}

#[test]
fn an_explanation_tells_of_a_failure() {
    let mut script = loaded(
        "return function(ctx, peers)
           if ctx.download.endgame then error('no') end
           ctx.state.f = print
         end",
    );
    let mut table = three();
    table.download.endgame = true;
    let explanation = script.explain(&table);
    assert_eq!(explanation.verdict, Verdict::Failed);
    let failure = explanation.failure.unwrap();
    assert_eq!(failure.message, "no");
    assert_eq!(failure.place, "choose(ctx, peers), torrent 3f3f3f3f…, chunk 118, 3 candidates");
    assert_eq!(script.status().last_error, None);
    table.download.endgame = false;
    assert_eq!(script.verdicts(&table), [Verdict::Abstained]);
    let explanation = script.explain(&table);
    assert_eq!(explanation.verdict, Verdict::Abstained);
    assert_eq!(explanation.failure.unwrap().message, "ctx.state.f is a function");
}

#[test]
fn a_measurement_has_one_duration_a_run() {
    let mut ticks = 0;
    let mut clock = || {
        ticks += 1;
        Duration::from_millis(ticks)
    };
    let budget = Box::new(shoal_policy::budget::InstructionBudget::default());
    let source = ScriptSource::shipped("lowest_uploaded").unwrap();
    let durations = shoal_policy::measure::decisions(source, budget, &mut clock, 50, 7).unwrap();
    assert_eq!(durations, vec![Duration::from_millis(1); 7]);
}
