//! Scripts that mean harm where a policy is told and asked beside decisions, and where its state is
//! kept. Each is stopped, with the right kind of error, in bounded time and memory; and the policy
//! answers the next question as if nothing had been.

use shoal_core::policy::{ChunkFault, Happening, Report, Verdict};
use shoal_policy::{
    budget::MEMORY_MAX,
    failure::FailureKind,
    script::Script,
    sink::NoSink,
    state::{KeptStates, Plain},
};

use crate::{
    hostile::in_time,
    support::{
        Verdicts as _, chosen, chunk, conn, load, load_with, loaded, peer, report, source, three,
    },
};

use FailureKind::{Budget, Contract, Memory, Runtime};

/// What goes off wherever code can run, and how it ends.
const BOMBS: [(FailureKind, &str); 14] = [
    (Budget, "while true do end"),
    (Budget, "local function f() return f() end f()"),
    (Budget, "local function f(n) return n == 0 and 0 or f(n - 1) + f(n - 1) end f(99)"),
    (Budget, "for i = 1, math.maxinteger do ctx.state[i % 3] = i end"),
    (Budget, "table.sort({ 3, 2, 1 }, function() while true do end end)"),
    (Budget, "while true do for k in pairs(ctx) do end end"),
    (Budget, "while true do log.info('%s', ctx.download.name) end"),
    (Budget, "while true do shoal.builtin('fastest', ctx, {}) end"),
    (Memory, "local s = 'x' while true do s = s .. s end"),
    (Runtime, "error({ code = 1 })"),
    (Runtime, "error(setmetatable)"),
    (Runtime, "ctx.now_ms = 0"),
    (Runtime, "ctx.download.done = 0"),
    (Runtime, "local x = ctx.chunk.index + nil"),
];

/// The functions that are told and asked, and a report that reaches each.
const HOOKS: [&str; 8] = [
    "tick",
    "finished",
    "chunk_done",
    "chunk_failed",
    "peer_added",
    "peer_removed",
    "order",
    "slots",
];

fn happening(hook: &str) -> Happening {
    match hook {
        "finished" => Happening::Finished,
        "chunk_done" => {
            Happening::ChunkDone { peer: peer(1), chunk: chunk(0), bytes: 1000, took_us: 10 }
        }
        "chunk_failed" => {
            Happening::ChunkFailed { peer: peer(1), chunk: chunk(0), fault: ChunkFault::Timeout }
        }
        "peer_added" => Happening::PeerAdded { peer: peer(1) },
        "peer_removed" => Happening::PeerRemoved { peer: peer(1) },
        _ => Happening::Tick { peers: (0..3).map(peer).collect() },
    }
}

/// A policy whose `hook` goes off in the endgame.
fn rigged(hook: &str, body: &str) -> String {
    let function = match hook {
        "order" => "order = function(ctx)",
        "slots" => "slots = function(ctx, peer)",
        _ => "function(ctx, ev)",
    };
    let armed = format!("{function} if ctx.download.endgame then {body} end end");
    let armed = match hook {
        "order" | "slots" => armed,
        _ => format!("on = {{ {hook} = {armed} }}"),
    };
    format!(
        "local kept = {{}}
         return {{ api = 1, choose = function(ctx, peers) return #peers > 0 and 1 or nil end, {armed} }}"
    )
}

fn told(hook: &str, endgame: bool) -> Report {
    let mut told = report(happening(hook));
    told.download.endgame = endgame;
    told
}

fn check_last(script: &Script, kind: FailureKind, what: &str) {
    let status = script.status();
    let failure = status.last_error.as_ref().unwrap_or_else(|| panic!("no error: {what}"));
    let shown = failure.failure.to_string();
    assert_eq!(failure.failure.kind, kind, "{what}: {shown}");
    assert!(!shown.contains("[C]") && !shown.contains("0x"), "{shown}");
    assert!(failure.failure.message.len() <= 400, "{shown}");
    assert!(status.memory_bytes < MEMORY_MAX as u64 / 2, "{what}");
}

/// The hook goes off, fails as expected, and leaves the policy able to hear and to answer.
fn check(kind: FailureKind, hook: &str, body: &str) {
    let what = format!("{hook}: {body}");
    let mut script = loaded(rigged(hook, body));
    let advice = in_time(&what, || script.report(&told(hook, true)));
    assert!(advice.is_none_or(|advice| advice.order.is_none()), "{what}");
    check_last(&script, kind, &what);
    assert_eq!(script.status().counters.event_errors, 1, "{what}");
    let after = script.report(&told(hook, false));
    assert_eq!(after.is_some(), matches!(hook, "order" | "slots"), "usable afterwards: {what}");
    assert_eq!(script.verdicts(&three()), [chosen(0)], "usable afterwards: {what}");
    assert_eq!(script.status().counters.errors.total(), 1, "{what}");
}

#[test]
fn every_hook_is_bounded_as_a_decision_is() {
    for hook in HOOKS {
        for (kind, body) in BOMBS {
            check(kind, hook, body);
        }
    }
}

#[test]
fn many_small_things_end_too() {
    for hook in ["tick", "order", "slots"] {
        for body in [
            "for i = 1, 1e9 do kept[i] = {} end",
            "for i = 1, 1e9 do kept['key ' .. i] = i end",
            "for i = 1, 1e9 do ctx.state[i] = function() return i end end",
        ] {
            check(Budget, hook, body);
        }
    }
}

#[test]
fn what_an_event_brings_is_read_only() {
    for (hook, body, message) in [
        ("tick", "ev.peer = 1", "ev is read-only: cannot set 'peer'"),
        ("tick", "ev.mine = 1", "ev is read-only: cannot set 'mine'"),
        ("tick", "ev[ev] = 1", "ev is read-only: cannot set 'table'"),
        ("tick", "ctx.state = {}", "ctx is read-only: cannot set 'state'"),
        ("tick", "ctx.chunk = {}", "ctx is read-only: cannot set 'chunk'"),
        ("chunk_done", "ev.chunk.size = 1", "ctx.chunk is read-only: cannot set 'size'"),
        (
            "chunk_done",
            "ev.peer.uploaded = 0",
            "peer is read-only: cannot set 'uploaded'; keep notes in ctx.state, by peer.id",
        ),
        ("peer_added", "ev.peer.labels.zone = 'a'", "peer.labels is read-only: cannot set 'zone'"),
        (
            "peer_removed",
            "table.insert(ev.peer, 1)",
            "peer is read-only: cannot set '1'; keep notes in ctx.state, by peer.id",
        ),
        (
            "slots",
            "peer.slots = 99",
            "peer is read-only: cannot set 'slots'; keep notes in ctx.state, by peer.id",
        ),
        ("order", "shoal.argmin = nil", "shoal is read-only: cannot set 'argmin'"),
        ("finished", "on = 1 pairs = 2", "'pairs' belongs to the host and is read-only"),
        ("tick", "return ev.bites", "ev has no field 'bites' — did you mean 'bytes'?"),
        ("tick", "return ev[nil]", "ev has no field 'nil'"),
        ("tick", "return ev[0/0]", "ev has no field 'nan'"),
        ("tick", "return ctx.chunks", "ctx has no field 'chunks' — did you mean 'chunk'?"),
    ] {
        let mut script = loaded(rigged(hook, body));
        script.report(&told(hook, true));
        let found = script.status().last_error.unwrap().failure.message.replace("-nan", "nan");
        assert_eq!(found, message, "{hook}: {body}");
        assert_eq!(script.verdicts(&three()), [chosen(0)]);
    }
}

#[test]
fn nonsense_from_order_and_slots_is_a_contract_error() {
    for body in [
        "return 1",
        "return true",
        "return false",
        "return ''",
        "return 'RAREST'",
        "return string.format",
        "return { {} }",
        "return { [0.5] = 1 }",
        "return { window = '8' }",
        "return { window = {} }",
        "return { window = 0/0 }",
        "return { window = 1 / 0 }",
        "return { strategy = false }",
        "return { duplicate = 'yes' }",
        "return { rarest = true }",
        "local t = {} for i = 1, 2000 do t[i] = i end return t",
        "return { ['\\27[2J\\0'] = 1 }",
        "local s = 'x' for i = 1, 12 do s = s .. s end return s",
        "local s = 'x' for i = 1, 12 do s = s .. s end return { [s] = s }",
    ] {
        check(Contract, "order", body);
    }
    for body in [
        "return 'x'",
        "return true",
        "return 0.5",
        "return 0/0",
        "return -1/0",
        "return ctx",
        "return peer",
        "return {}",
        "return string.sub",
        "return '\\0'",
        "return 2^70 + 0.5 / 0",
    ] {
        check(Contract, "slots", body);
    }
}

#[test]
fn slots_of_many_peers_share_one_budget() {
    let mut script = loaded(
        "return { api = 1, slots = function(ctx, peer)
           if ctx.download.endgame then for i = 1, 10000 do end end
           return 3
         end }",
    );
    let mut told = report(Happening::Tick { peers: (0..200).map(peer).collect() });
    assert_eq!(script.report(&told).unwrap().slots.len(), 200);
    told.download.endgame = true;
    let advice = in_time("two hundred slots", || script.report(&told)).unwrap();
    assert!((1..200).contains(&advice.slots.len()), "{}", advice.slots.len());
    check_last(&script, Budget, "slots");
    assert!(script.status().last_error.unwrap().failure.place.contains(", peer "));
}

#[test]
fn what_is_kept_across_calls_does_no_harm() {
    let mut script = loaded(
        "local old_ev, old_peer, old_peers, old_ctx, old_chunk
         return { api = 1,
           choose = function(ctx, peers)
             old_peers = peers
             if old_peer then return old_peer end
             return #peers > 0 and 1 or nil
           end,
           slots = function(ctx, peer) return old_peer and old_peer.slots or 2 end,
           on = {
             chunk_done = function(ctx, ev)
               if ctx.download.name == 'file1' then
                 old_ev, old_peer, old_ctx, old_chunk = ev, ev.peer, ctx, ev.chunk
               end
             end,
             peer_removed = function(ctx, ev)
               if old_ev and (old_ev ~= ev or old_ctx ~= ctx or old_ev.chunk) then error('new') end
             end,
             tick = function(ctx)
               if not old_peers then return end
               for i = 1, #old_peers do old_peers[i] = nil end
               if old_chunk then ctx.state.size = old_chunk.size end
             end } }",
    );
    for hook in ["tick", "chunk_done", "tick", "peer_removed", "tick"] {
        script.report(&told(hook, false));
        assert_eq!(script.status().last_error, None, "{hook}");
    }
    // The peer of the event is one of the candidates.
    assert_eq!(script.verdicts(&three()), [chosen(1)]);
    let advice = script.report(&told("slots", false)).unwrap();
    assert_eq!(advice.slots, [(conn(0), 4), (conn(1), 4), (conn(2), 4)]);
    assert_eq!(script.verdicts(&three()), [chosen(1)], "what was nilled is there again");
    let mut table = three();
    table.peers.remove(1);
    table.chunks[0].candidates.pop();
    assert_eq!(script.verdicts(&table), [Verdict::Failed], "it is not a candidate here");
}

#[test]
fn a_leak_in_events_is_stopped_and_its_vm_replaced() {
    let mut script = loaded(
        "local kept = {}
         return { api = 1, on = { tick = function(ctx)
           local s = 'x'
           for i = 1, 16 do s = s .. s end
           kept[#kept + 1] = s .. #kept
         end } }",
    );
    for round in 0..600 {
        let mut told = told("tick", false);
        told.now = shoal_core::time::Timestamp(round * 10_000_000);
        script.report(&told);
        assert!(script.status().memory_bytes <= MEMORY_MAX as u64 + 65536);
    }
    let status = script.status();
    assert!((1..=4).contains(&status.counters.rebuilt), "{}", status.counters.rebuilt);
    assert_eq!(status.counters.errors.total(), status.counters.event_errors);
}

#[test]
fn a_thousand_peers_in_events_leave_nothing_behind() {
    let mut script = loaded(
        "return { api = 1, slots = function(ctx, peer) return 2 end,
           on = { peer_removed = function(ctx, ev) return ev.peer.id end } }",
    );
    for round in 0..60_u64 {
        let mut peers: Vec<_> = (0..100).map(peer).collect();
        for peer in &mut peers {
            peer.conn.0 += 1000 * round;
        }
        let gone = peers[0].clone();
        assert!(script.report(&report(Happening::Tick { peers })).is_some());
        script.report(&report(Happening::PeerRemoved { peer: gone }));
    }
    assert_eq!(script.status().last_error, None);
    let memory = script.status().memory_bytes;
    assert!(memory < 4 * 1024 * 1024, "{memory}");
}

/// What a policy may leave in its state, and what is said where it cannot be kept.
#[test]
fn every_state_is_kept_or_refused_in_bounded_time() {
    for (body, refusal) in [
        ("s.s = s", Some("refers to a table that it is in")),
        ("local a, b = {}, {} a.b, b.a = b, a s.a = a", Some("refers to a table that it is in")),
        ("local t = s for i = 1, 15 do t.x = {} t = t.x end", None),
        ("local t = s for i = 1, 16 do t.x = {} t = t.x end", Some("is nested deeper than 16")),
        ("local t = s for i = 1, 1000 do t.x = {} t = t.x end", Some("is nested deeper than 16")),
        (
            "local t = {} for i = 1, 40 do t = { t, t } end s.t = t",
            Some("is nested deeper than 16"),
        ),
        ("local t = {} for i = 1, 14 do t = { t, t, t, t } end s.t = t", Some("is larger than 64")),
        ("for i = 1, 3000 do s[i] = i end", None),
        ("for i = 1, 5000 do s[i] = i end", Some("is larger than 64 KiB")),
        ("local x = 'x' for i = 1, 16 do x = x .. x end s.x = x", Some("is larger than 64 KiB")),
        ("local x = 'x' for i = 1, 15 do x = x .. x end s.x = x", None),
        ("local x = 'x' for i = 1, 16 do x = x .. x end s[x] = 1", Some("is larger than 64 KiB")),
        ("s.f = function() end", Some("ctx.state.f is a function")),
        ("s.f = shoal.random", Some("ctx.state.f is a function")),
        ("s.c = ctx", Some("is a table of the node")),
        ("s.e = _ENV", Some("is a table of the node")),
        ("s.io = io", Some("is a table of the node")),
        ("s.m = math", Some("is a table of the node")),
        ("s.l = peers[1] and peers[1].labels", Some("is a table of the node")),
        ("s[peers[1] or 1] = 1", Some("has a key that is a table")),
        ("s[ctx] = 1", Some("has a key that is a table")),
        ("s[print] = 1", Some("has a key that is a function")),
        ("s.nan, s.inf, s.least = 0/0, -1/0, math.mininteger", None),
        ("s[1.5], s[-0.0], s[1/0], s[true], s[false] = 1, 2, 3, 4, 5", None),
        ("s['\\0\\27[2J\\255'] = '\\0\\27[2J\\255'", None),
        ("s['a\\nb'] = { [''] = print }", Some("ctx.state['a?b'][''] is a function")),
    ] {
        let mut script =
            loaded(format!("return function(ctx, peers) local s = ctx.state {body} end"));
        assert_eq!(in_time(body, || script.verdicts(&three())), [Verdict::Abstained], "{body}");
        let (kept, failures) = in_time(body, || script.keep());
        let shown = failures.iter().map(|f| f.message.as_str()).collect::<String>();
        match refusal {
            Some(refusal) => {
                assert!(kept.states.is_empty() && failures.len() == 1, "{body}");
                assert!(shown.contains(refusal), "{body}: {shown}");
                assert!(!shown.contains('\u{1b}') && shown.len() <= 400, "{shown}");
            }
            None => {
                assert_eq!((kept.states.len(), shown.as_str()), (1, ""), "{body}");
                let mut source = source(format!("return function(ctx, peers) {body} end"));
                source.source = b"return function() end".to_vec();
                source.kept = kept.clone();
                let mut successor = load_with(source, NoSink).unwrap();
                assert_eq!(successor.warnings(), [], "{body}");
                assert_eq!(successor.keep().0, kept, "{body}");
            }
        }
        let explained = in_time(body, || script.explain(&three()));
        assert_eq!(explained.verdict, Verdict::Abstained, "{body}");
        assert_eq!(script.verdicts(&three()), [Verdict::Abstained], "usable afterwards: {body}");
    }
}

#[test]
fn a_nan_cannot_be_a_key_of_a_state() {
    let mut script = loaded(rigged("tick", "ctx.state[0/0] = 1"));
    script.report(&told("tick", true));
    check_last(&script, Runtime, "nan");
}

#[test]
fn migrate_and_init_are_bounded() {
    let state = Plain::Table(vec![(Plain::Text(b"n".to_vec()), Plain::Integer(1))]);
    for (kind, body) in [
        (Budget, "while true do end"),
        (Memory, "local s = 'x' while true do s = s .. s end"),
        (Runtime, "local function f() return 1 + f() end return f()"),
        (Runtime, "error(old)"),
        (Runtime, "return old.n.x.y"),
        (Runtime, "io.write('x')"),
        (Contract, "return 'x'"),
        (Contract, "return print"),
        (Contract, "old.old = old return old"),
        (Contract, "return shoal"),
        (Contract, "return _ENV"),
        (Contract, "for i = 1, 9000 do old[i] = i end return old"),
        (Contract, "local t = {} for i = 1, 50 do t = { t } end return t"),
        (Contract, "return { [function() end] = 1 }"),
    ] {
        let mut source = source(format!(
            "return {{ api = 1, version = 2, migrate = function(old, from) {body} end,
               choose = function(ctx, peers) return #peers > 0 and 1 or nil end }}"
        ));
        let states = [(three().download.id, state.clone())];
        source.kept = KeptStates { version: 1, states: states.into() };
        let mut script = in_time(body, || load_with(source, NoSink)).unwrap();
        // Deep recursion ends by the stack or by the budget.
        let found = script.warnings()[0].kind;
        assert!(found == kind || (found == Budget && body.contains("f()")), "{body}: {found}");
        assert_eq!(script.verdicts(&three()), [chosen(0)], "{body}");
    }
    for (kind, body) in BOMBS {
        let mut script = loaded(format!(
            "return {{ api = 1, init = function(ctx) if ctx.download.endgame then {body} end end,
               on = {{ tick = function() end }} }}"
        ));
        let what = format!("init: {body}");
        in_time(&what, || script.report(&told("tick", true)));
        check_last(&script, kind, &what);
        let place = script.status().last_error.unwrap().failure.place;
        assert_eq!(place, "init(ctx), torrent 3f3f3f3f…", "{body}");
        script.report(&told("tick", false));
        let counters = script.status().counters;
        assert_eq!((counters.events, counters.errors.total()), (1, 1), "init again: {body}");
    }
}

#[test]
fn hostile_states_from_outside_are_dropped() {
    let mut deep = Plain::Table(Vec::new());
    for _ in 0..5000 {
        deep = Plain::Table(vec![(Plain::Integer(1), deep)]);
    }
    let large = Plain::Table(vec![(Plain::Integer(1), Plain::Text(vec![b'x'; 1 << 20]))]);
    let nan = Plain::Table(vec![(Plain::Number(f64::NAN), Plain::Integer(1))]);
    let nested = Plain::Table(vec![(Plain::Table(Vec::new()), Plain::Integer(1))]);
    for state in [deep, large, nan, nested, Plain::Boolean(true)] {
        let mut source = source("return function(ctx, peers) return #peers > 0 and 1 or nil end");
        source.kept = KeptStates { version: 1, states: [(three().download.id, state)].into() };
        let mut script = in_time("a state from outside", || load_with(source, NoSink)).unwrap();
        assert_eq!(script.warnings().len(), 1);
        assert_eq!(script.keep().0.states.len(), 0);
        assert_eq!(script.verdicts(&three()), [chosen(0)]);
    }
}

#[test]
fn states_that_do_not_fit_together_are_dropped() {
    let state = Plain::Table(vec![(Plain::Integer(1), Plain::Text(vec![b'x'; 60_000]))]);
    let states = (0..=255_u8).map(|n| (shoal_core::ids::InfoHash([n; 20]), state.clone()));
    let mut source = source(
        "local s, kept = 'x', {} for i = 1, 17 do s = s .. s end
         for i = 1, 60 do kept[i] = s .. i end
         return function(ctx, peers) return kept and #peers > 0 and 1 or nil end",
    );
    source.kept = KeptStates { version: 1, states: states.collect() };
    let mut script = in_time("256 states", || load_with(source, NoSink)).unwrap();
    assert_eq!(script.warnings()[0].message, "256 states are dropped: no memory for them");
    assert_eq!(script.verdicts(&three()), [chosen(0)]);
}

#[test]
fn a_shape_that_means_harm_is_refused() {
    for lua in [
        "local t = {} t.t = t return { api = 1, on = t }",
        "local on = {} for i = 1, 1e5 do on['e' .. i] = print end return { api = 1, on = on }",
        "return { api = 1, on = { [{}] = function() end } }",
        "return { api = 1, order = {} }",
        "return { api = 1, slots = 'x' }",
        "return { api = 1, migrate = true }",
        "return { api = 1, version = 0/0 }",
        "return { api = 1, version = math.huge }",
        "local r = {} for i = 1, 1e5 do r[i] = 'labels' end r[7] = 'x' return { api = 1, requires = r }",
        "return { api = 1, on = { tick = function() local s = 'x' while true do s = s .. s end end } }",
        "return { api = 1, order = function() while true do end end }",
        "return { api = 1, slots = function() return {} end }",
    ] {
        let Err(diagnostics) = in_time(lua, || load(lua)) else { panic!("loaded: {lua}") };
        assert!(!diagnostics.errors.is_empty() && diagnostics.to_string().len() < 4000, "{lua}");
        assert!(!diagnostics.to_string().contains("[C]"), "{diagnostics}");
    }
}
