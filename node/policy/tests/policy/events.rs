//! What a policy is told and asked beside decisions: `on.*`, `order`, `slots`.

use shoal_core::{
    config::ORDER_WINDOW_MAX,
    policy::{Advice, ChunkFault, ChunkOrder, Happening, Hooks, Order, Report, Verdict},
    time::Timestamp,
};
use shoal_policy::{failure::FailureKind, script::Script, status::During};

use crate::support::{
    Verdicts as _, chunk, conn, kept_log, last_message, load, load_with, loaded, peer, report,
    source, three, verdict,
};

fn tick(peers: u8) -> Report {
    report(Happening::Tick { peers: (0..peers).map(peer).collect() })
}

fn order(body: &str) -> Result<ChunkOrder, String> {
    // The dry run sees another torrent.
    let mut script = loaded(format!(
        "return {{ api = 1, order = function(ctx)
           if ctx.download.name ~= 'file1' then return nil end
           {body}
         end }}"
    ));
    match script.report(&tick(0)) {
        Some(advice) => advice.order.ok_or_else(|| "no order".to_owned()),
        None => Err(last_message(&script)),
    }
}

fn slots(body: &str) -> Result<Vec<u32>, String> {
    let mut script = loaded(format!(
        "return {{ api = 1, slots = function(ctx, peer)
           if ctx.download.name ~= 'file1' then return nil end
           {body}
         end }}"
    ));
    let advice = script.report(&tick(3));
    let error = last_message(&script);
    if error.is_empty() {
        Ok(advice.unwrap().slots.iter().map(|(_, count)| *count).collect())
    } else {
        Err(error)
    }
}

#[test]
fn an_order_is_a_name_or_a_table() {
    let of = |strategy| ChunkOrder { strategy, ..ChunkOrder::default() };
    let windowed = |window| ChunkOrder { window: Some(window), ..of(Order::Sequential) };
    for (body, expected) in [
        ("return 'rarest'", of(Order::Rarest)),
        ("return 'sequential'", of(Order::Sequential)),
        ("return 'random'", of(Order::Random)),
        ("return nil", ChunkOrder::default()),
        ("", ChunkOrder::default()),
        ("return {}", ChunkOrder::default()),
        ("return { strategy = 'random' }", of(Order::Random)),
        ("return { duplicate = false }", ChunkOrder { duplicate: false, ..of(Order::Rarest) }),
        ("return { strategy = 'sequential', window = 8 }", windowed(8)),
        ("return { strategy = 'sequential', window = 8.0 }", windowed(8)),
        ("return { strategy = 'sequential', window = 0 }", windowed(1)),
        ("return { strategy = 'sequential', window = 1 << 40 }", windowed(ORDER_WINDOW_MAX)),
    ] {
        assert_eq!(order(body), Ok(expected), "{body}");
    }
}

#[test]
fn a_wrong_order_is_a_contract_error_with_a_suggestion() {
    const NAMES: &str = "'rarest', 'sequential', 'random'";
    for (body, message) in [
        (
            "return 'rarset'",
            format!("returned the order 'rarset', expected {NAMES} — did you mean 'rarest'?"),
        ),
        ("return 7", format!("returned 7 (an integer), expected {NAMES}")),
        ("return true", format!("returned true (a boolean), expected {NAMES}")),
        ("return order", "there is no variable 'order'".to_owned()),
        (
            "return { strategy = 3 }",
            format!("returned strategy = 3 (an integer), expected {NAMES}"),
        ),
        (
            "return { windw = 3 }",
            "returned a table with the unknown key 'windw' — did you mean 'window'?".to_owned(),
        ),
        ("return { 'rarest' }", "returned a table with the unknown key '[integer]'".to_owned()),
        (
            "return { window = 2.5 }",
            "returned window = 2.5 (a number), expected an integer of 1 to 256".to_owned(),
        ),
        (
            "return { window = 0/0 }",
            "returned window = nan (a number), expected an integer of 1 to 256".to_owned(),
        ),
        (
            "return { duplicate = 1 }",
            "returned duplicate = 1 (an integer), expected true or false".to_owned(),
        ),
        (
            "local t = {} for i = 1, 100 do t['k' .. i] = i end return t",
            "returned a table of more than 16 keys".to_owned(),
        ),
    ] {
        assert_eq!(order(body), Err(message), "{body}");
    }
}

#[test]
fn slots_are_whole_numbers_and_clamped() {
    for (body, expected) in [
        ("return 4", vec![4, 4, 4]),
        ("return 2.0", vec![2, 2, 2]),
        ("return 0", vec![0, 0, 0]),
        ("return -5", vec![0, 0, 0]),
        ("return 65535", vec![65535; 3]),
        ("return 65536", vec![65535; 3]),
        ("return math.maxinteger", vec![65535; 3]),
        ("return nil", vec![]),
        ("if peer.uploaded > 0 then return peer.slots + 1 end", vec![5, 5]),
    ] {
        assert_eq!(slots(body), Ok(expected), "{body}");
    }
    for (body, is) in [
        ("return 1.5", "1.5 (a number)"),
        ("return 0/0", "nan (a number)"),
        ("return math.huge", "inf (a number)"),
        ("return '4'", "'4' (a string)"),
        ("return false", "false (a boolean)"),
        ("return {}", "a table"),
        ("return peer", "a table"),
    ] {
        let message = format!("returned {is}, expected an integer of at least 0");
        assert_eq!(slots(body), Err(message), "{body}");
    }
}

#[test]
fn advice_names_the_policy_the_torrent_and_the_peers() {
    let mut script = loaded(
        "return { api = 1,
           order = function(ctx) return ctx.download.endgame and 'random' or 'sequential' end,
           slots = function(ctx, peer) return peer.is_seed and 8 or nil end }",
    );
    let told = tick(2);
    let sequential = ChunkOrder { strategy: Order::Sequential, ..ChunkOrder::default() };
    let advice = Advice {
        policy: told.policy,
        torrent: told.torrent,
        order: Some(sequential),
        slots: vec![(conn(0), 8)],
    };
    assert_eq!(script.report(&told), Some(advice.clone()));
    let mut phase = report(Happening::Phase { peers: vec![peer(1)] });
    phase.download.endgame = true;
    let random = ChunkOrder { strategy: Order::Random, ..sequential };
    let expected = Advice { order: Some(random), slots: vec![], ..advice };
    assert_eq!(script.report(&phase), Some(expected));
    let added = report(Happening::PeerAdded { peer: peer(0) });
    assert_eq!(script.report(&added), Some(Advice { order: None, ..advice }));
    let removed = report(Happening::PeerRemoved { peer: peer(0) });
    assert_eq!(script.report(&removed), None);
    assert_eq!(script.status().counters.events, 3 + 2 + 1, "two orders, four times slots");
    assert_eq!(script.status().counters.calls, 0);
}

#[test]
fn what_a_policy_has_no_function_for_never_reaches_it() {
    let mut script = loaded("return function() return nil end");
    assert_eq!(script.hooks(), Hooks { decides: true, ..Hooks::default() });
    assert_eq!(script.functions(), ["choose"]);
    assert_eq!(script.report(&tick(3)), None);
    assert_eq!(script.status().counters.events, 0);
    let script = loaded(
        "local function f() end
         return { api = 1, init = f, migrate = function(s) return s end, order = f, slots = f, score = f,
           on = { tick = f, chunk_done = f, chunk_failed = f, peer_added = f, peer_removed = f,
                  finished = f } }",
    );
    let all = [
        "score",
        "order",
        "slots",
        "init",
        "migrate",
        "on.chunk_done",
        "on.chunk_failed",
        "on.finished",
        "on.peer_added",
        "on.peer_removed",
        "on.tick",
    ];
    assert_eq!(script.functions(), all);
    assert_eq!(script.status().functions, all);
    let hooks = script.hooks();
    assert!(hooks.decides && hooks.order && hooks.slots && hooks.tick && hooks.finished);
    assert!(hooks.chunk_done && hooks.chunk_failed && hooks.peer_added && hooks.peer_removed);
}

const WITNESS: &str = r#"
local function told(name)
  return function(ctx, ev)
    log.info("%s: peer %s tried %s, chunk %s %s, bytes %s, ms %s, kind %s", name,
      ev.peer and ev.peer.id:sub(1, 4), ev.peer and ev.peer.tried, ctx.chunk and ctx.chunk.index,
      ctx.chunk == ev.chunk, ev.bytes, ev.ms, ev.kind)
    ctx.state.seen = (ctx.state.seen or 0) + 1
  end
end
return { api = 1,
  init = function(ctx) log.info("init %s", ctx.chunk) end,
  on = { chunk_done = told("done"), chunk_failed = told("failed"), peer_added = told("added"),
         peer_removed = told("removed"), tick = told("tick"),
         finished = function(ctx) log.info("finished after %d", ctx.state.seen) end } }
"#;

#[test]
fn an_event_brings_what_it_is_about() {
    let (sink, lines) = kept_log();
    let mut script = load_with(source(WITNESS), sink).unwrap();
    let gone = chunk(0);
    for what in [
        Happening::PeerAdded { peer: peer(1) },
        Happening::ChunkDone { peer: peer(1), chunk: gone.clone(), bytes: 1000, took_us: 2500 },
        Happening::Tick { peers: vec![peer(1)] },
        Happening::ChunkFailed { peer: peer(2), chunk: gone, fault: ChunkFault::Hash },
        Happening::PeerRemoved { peer: peer(2) },
        Happening::Phase { peers: vec![] },
        Happening::Finished,
    ] {
        assert_eq!(script.report(&report(what)), None, "no order, no slots");
    }
    assert_eq!(
        *lines.borrow(),
        [
            "init nil",
            "added: peer 0101 tried false, chunk nil true, bytes nil, ms nil, kind nil",
            "done: peer 0101 tried false, chunk 118 true, bytes 1000, ms 2.5, kind nil",
            "tick: peer nil tried nil, chunk nil true, bytes nil, ms nil, kind nil",
            "failed: peer 0202 tried true, chunk 118 true, bytes nil, ms nil, kind hash",
            "removed: peer 0202 tried false, chunk nil true, bytes nil, ms nil, kind nil",
            "finished after 5",
        ]
    );
    assert_eq!(script.status().counters.events, 6);
    assert_eq!(script.status().last_error, None);
}

#[test]
fn init_comes_before_the_first_of_either() {
    let (sink, lines) = kept_log();
    let lua = "return { api = 1,
      init = function(ctx) log.info('init') end,
      choose = function(ctx, peers) log.info('choose') end,
      on = { tick = function(ctx) log.info('tick') end } }";
    let mut script = load_with(source(lua), sink).unwrap();
    script.report(&tick(1));
    script.verdicts(&three());
    script.report(&tick(1));
    assert_eq!(*lines.borrow(), ["init", "tick", "choose", "tick"]);
}

#[test]
fn what_an_event_leaves_in_the_state_is_there_for_a_decision() {
    let mut script = loaded(
        "return { api = 1,
           on = { chunk_failed = function(ctx, ev) ctx.state[ev.peer.id] = ev.kind end },
           choose = function(ctx, peers)
             for i, p in ipairs(peers) do
               if ctx.state[p.id] then return i, ctx.state[p.id] end
             end
           end }",
    );
    assert_eq!(verdict(&mut script), Verdict::Abstained);
    script.report(&report(Happening::ChunkFailed {
        peer: peer(1),
        chunk: chunk(0),
        fault: ChunkFault::Reject,
    }));
    let reason = Some("reject".to_owned());
    assert_eq!(verdict(&mut script), Verdict::Chosen { conn: conn(1), reason });
}

#[test]
fn a_failing_event_is_reported_with_its_place() {
    let mut script = loaded(
        "return { api = 1, on = {
           tick = function(ctx, ev)
             if ctx.download.name == 'file1' then
               return ev.per.id
             end
           end } }",
    );
    for second in 0..3 {
        let mut told = tick(0);
        told.now = Timestamp(told.now.0 + second * 1_000_000);
        assert_eq!(script.report(&told), None);
    }
    let status = script.status();
    assert_eq!(
        status.report().unwrap().lines().next(),
        Some("policy 'test' failed outside a decision (1st of 3 in 2 s)")
    );
    let error = status.last_error.unwrap();
    assert_eq!(error.failure.place, "on.tick(ctx, ev), torrent 3f3f3f3f…");
    assert_eq!(error.failure.message, "ev has no field 'per' — did you mean 'peer'?");
    assert_eq!((error.failure.line, error.during), (Some(4), During::Event));
    assert_eq!((status.counters.errors.runtime, status.counters.event_errors), (3, 3));
    assert_eq!(status.counters.fallbacks(), 0, "no decision was made by another");
}

#[test]
fn an_order_that_fails_leaves_the_slots_their_say() {
    let mut script = loaded(
        "return { api = 1,
           order = function(ctx) return ctx.download.name == 'file1' and 'rarset' or nil end,
           slots = function() return 3 end }",
    );
    let advice = script.report(&tick(1)).unwrap();
    assert_eq!((advice.order, advice.slots), (None, vec![(conn(0), 3)]));
    let failure = script.status().last_error.unwrap().failure;
    assert_eq!(failure.kind, FailureKind::Contract);
    assert_eq!(failure.place, "order(ctx), torrent 3f3f3f3f…");
    assert_eq!(failure.line, Some(2));
}

#[test]
fn slots_that_fail_keep_what_was_said_before() {
    let mut script = loaded(
        "return { api = 1, slots = function(ctx, peer)
           if ctx.download.name == 'file1' and peer.uploaded == 1000 then return 'many' end
           return 2
         end }",
    );
    let advice = script.report(&tick(3)).unwrap();
    assert_eq!(advice.slots, [(conn(0), 2)]);
    let failure = script.status().last_error.unwrap().failure;
    assert_eq!(failure.place, "slots(ctx, peer), torrent 3f3f3f3f…, peer 01010101…");
}

/// Fails in `choose` where the download is in its endgame, and in `on.tick` where it is named bad.
fn fragile() -> Script {
    loaded(
        "return { api = 1,
           choose = function(ctx, peers) if ctx.download.endgame then error('choose') end end,
           on = { tick = function(ctx) if ctx.download.name == 'bad' then error('tick') end end } }",
    )
}

#[test]
fn failing_events_trip_the_breaker_and_a_tripped_policy_is_told_nothing() {
    let mut script = fragile();
    let mut bad = tick(0);
    bad.download.name = "bad".to_owned();
    for _ in 0..10 {
        script.report(&bad);
    }
    assert_eq!(script.status().trips, 1);
    assert_eq!(verdict(&mut script), Verdict::Bypassed);
    script.report(&tick(0));
    assert_eq!(script.status().counters.events, 10, "not told");
    // The probe is a decision.
    let later = bad.now + std::time::Duration::from_secs(31);
    let mut well = tick(0);
    well.now = later;
    script.report(&well);
    assert_eq!(script.status().counters.events, 10);
    let mut table = three();
    table.now = later;
    assert_eq!(script.verdicts(&table), [Verdict::Abstained]);
    script.report(&well);
    assert_eq!(script.status().counters.events, 11);
}

#[test]
fn events_that_go_well_do_not_hide_that_decisions_fail() {
    let mut script = fragile();
    let mut table = three();
    table.download.endgame = true;
    for _ in 0..10 {
        assert_eq!(script.verdicts(&table), [Verdict::Failed]);
        script.report(&tick(0));
    }
    assert_eq!(script.verdicts(&table), [Verdict::Bypassed]);
}

#[test]
fn a_policy_that_decides_nothing_is_probed_by_an_event() {
    let mut script = loaded(
        "return { api = 1, order = function(ctx)
           return ctx.download.name == 'bad' and 'x' or 'random'
         end }",
    );
    let mut told = tick(0);
    told.download.name = "bad".to_owned();
    for _ in 0..10 {
        assert_eq!(script.report(&told), None);
    }
    told.download.name = "file1".to_owned();
    assert_eq!(script.report(&told), None, "tripped");
    told.now = told.now + std::time::Duration::from_secs(31);
    assert!(script.report(&told).is_some());
    assert_eq!(script.status().tripped_until, None);
}

#[test]
fn the_dry_run_tries_every_function() {
    for (lua, place) in [
        ("order = function(ctx) return 'x' end", "order(ctx)"),
        ("slots = function(ctx, peer) return peer.slts end", "slots(ctx, peer)"),
        ("on = { tick = function(ctx, ev) return ev.x end }", "on.tick(ctx, ev)"),
        ("on = { chunk_done = function(ctx, ev) error('x') end }", "on.chunk_done(ctx, ev)"),
        ("on = { chunk_failed = function() return x end }", "on.chunk_failed(ctx, ev)"),
        ("on = { peer_added = function(c, ev) return ev.x end }", "on.peer_added(ctx, ev)"),
        ("on = { peer_removed = function() error() end }", "on.peer_removed(ctx, ev)"),
        ("on = { finished = function() while true do end end }", "on.finished(ctx, ev)"),
    ] {
        let diagnostics = load(format!("return {{ api = 1, {lua} }}")).unwrap_err();
        let found = &diagnostics.errors[0].place;
        assert!(found.starts_with(&format!("the dry run: {place}, torrent 5a5a5a5a…")), "{found}");
    }
}
