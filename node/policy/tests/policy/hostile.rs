//! Scripts that mean harm. Each is stopped, with the right kind of error, in bounded time; the
//! default decides; and the policy answers the next question as if nothing had been.

use std::time::Duration;

use shoal_core::policy::{Consultation, Verdict};
use shoal_policy::{
    budget::{MEMORY_MAX, SOURCE_LEN_MAX},
    failure::FailureKind,
    script::Script,
    sink::NoSink,
};

use crate::support::{
    Verdicts as _, choosing, chosen, consultation, load, load_with, loaded, peer, source, three,
};

use FailureKind::{Budget, Contract, Memory, Runtime, Shape, Size, Syntax};

/// The longest that anything here may take, with room for a busy machine and a debug build. What
/// is counted in instructions is at its slowest where one instruction copies megabytes.
const BOUND: Duration = Duration::from_secs(10);

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "that a script ends in time cannot be seen without a clock"
)]
pub(crate) fn in_time<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begun = std::time::Instant::now();
    let result = act();
    let took = begun.elapsed();
    assert!(took < BOUND, "{took:?}: {what}");
    if took > Duration::from_millis(500) {
        eprintln!("{took:?}: {what}");
    }
    result
}

/// Three peers; `endgame` is what sets a hostile script off.
fn table(endgame: bool) -> Consultation {
    let mut table = three();
    table.download.endgame = endgame;
    table
}

fn last_kind(script: &Script) -> FailureKind {
    let failure = script.status().last_error.unwrap().failure;
    let shown = failure.to_string();
    assert!(!shown.contains("[C]") && !shown.contains("0x"), "{shown}");
    assert!(failure.message.len() <= 400, "{shown}");
    failure.kind
}

/// The body goes off in `choose`, fails as expected, and leaves the policy able to answer.
fn check(kind: FailureKind, body: &str) {
    let mut script = loaded(format!(
        "local kept = {{}}
         return {{ api = 1, choose = function(ctx, peers)
           if ctx.download.endgame then {body} end
           return #peers > 0 and 1 or nil
         end }}"
    ));
    let verdicts = in_time(body, || script.verdicts(&table(true)));
    assert_eq!(verdicts, [Verdict::Failed], "{body}");
    assert_eq!(last_kind(&script), kind, "{body}: {}", script.status().report().unwrap());
    let verdicts = in_time(body, || script.verdicts(&table(false)));
    assert_eq!(verdicts, [chosen(0)], "usable afterwards: {body}");
    let memory = script.status().memory_bytes;
    assert!(memory < MEMORY_MAX as u64 / 2, "{memory} bytes kept: {body}");
}

/// The source is refused, with the right kind of error.
fn check_load(kind: FailureKind, source: impl AsRef<[u8]>) {
    let source = source.as_ref();
    let shown = String::from_utf8_lossy(&source[..source.len().min(80)]).into_owned();
    let diagnostics = in_time(&shown, || load(source)).unwrap_err();
    assert_eq!(diagnostics.errors[0].kind, kind, "{shown}: {diagnostics}");
    assert!(diagnostics.to_string().len() < 2000);
}

#[test]
fn endless_loops_run_out_of_their_budget() {
    for body in [
        "while true do end",
        "repeat until false",
        "::again:: goto again",
        "for i = 1, math.huge do end",
        "for i = 1, math.maxinteger do local x = i * i end",
        "local function f() return f() end f()",
        "local function f(n) if n == 0 then return 0 end return f(n - 1) + f(n - 1) end f(64)",
        "table.sort({ 3, 2, 1 }, function(a, b) while true do end end)",
        "shoal.argmin(peers, function() while true do end end)",
        "shoal.argmax(peers, function() repeat until false end)",
        "shoal.weighted(peers, function() while true do end end)",
        "while true do shoal.builtin('fastest', ctx, peers) end",
        "while true do shoal.random() math.random(7) end",
        "while true do log.info('%s', 'flood') metric.inc('m') end",
        "while true do ctx.state.n = (ctx.state.n or 0) + 1 end",
        "while true do for k in pairs({ 1, 2, 3 }) do end end",
        "while true do string.format('%99.99f', 1e308) end",
        "local t = {} for i = 1, 60000 do t[i] = i end \
         while true do table.sort(t, math.ult) end",
        "local t = {} for i = 1, 10000 do t[i] = '' end while true do table.concat(t) end",
        "local t = {} for i = 1, 20000 do t[i] = i end while true do table.insert(t, 1, 0) end",
        "local t = {} for i = 1, 20000 do t[i] = i end while true do table.remove(t, 1) end",
        "local s = 'x' for i = 1, 15 do s = s .. s end while true do shoal.hash(s) end",
        "local s = 'x' for i = 1, 15 do s = s .. s end while true do s:upper() end",
        "local s = ('a'):upper() for i = 1, 11 do s = s .. s end \
         while true do shoal.glob(s, '*a*a*a*a*a*a*a*b') end",
        "local s = 'aaaa' for i = 1, 13 do s = s .. s end \
         while true do shoal.split(s, 'aaaaaaaaaaaaaaab') end",
    ] {
        check(Budget, body);
    }
}

#[test]
fn long_strings_are_looked_at_more_often() {
    for body in [
        "local s = 'x' for i = 1, 21 do s = s .. s end \
         while true do local t = s .. 'y' end",
        "local s = 'x' for i = 1, 20 do s = s .. s end \
         local t = s .. 'y' local u = s .. 'y' while t == u do end",
        "local s = 'x' for i = 1, 20 do s = s .. s end \
         local t = s .. 'y' local u = s .. 'z' while t < u do end",
    ] {
        check(Budget, body);
    }
}

#[test]
fn memory_has_an_end() {
    for body in [
        "local s = 'x' while true do s = s .. s end",
        "local s, t = 'x', {} for i = 1, 17 do s = s .. s end \
         for i = 1, 10000 do t[i] = s .. i end",
        "local s = 'x' for i = 1, 16 do s = s .. s end local t = {} \
         for i = 1, 400 do t[i] = s end table.concat(t)",
        "local s = 'x' for i = 1, 16 do s = s .. s end local t = {} \
         for i = 1, 250 do t[i] = s end local f = '' for i = 1, 250 do f = f .. '%s' end \
         local u = {} for i = 1, 9 do u[i] = f:format(table.unpack(t)) end",
        "local s = 'x' for i = 1, 19 do s = s .. s end \
         for i = 1, 1000 do kept[i] = s .. i end",
    ] {
        check(Memory, body);
    }
    // Many small things take many instructions: either limit may be the first.
    for body in [
        "for i = 1, 1e9 do kept[i] = {} end",
        "for i = 1, 1e9 do kept[i] = function() return i end end",
        "for i = 1, 1e9 do kept[i] = 'key ' .. i end",
        "for i = 1, 1e9 do kept['key ' .. i] = i end",
        "local function f(...) return f(1, ...) end f()",
    ] {
        check(Budget, body);
    }
}

#[test]
fn the_host_finds_no_memory_left_and_goes_on() {
    let (mut answered, mut refused) = (0, 0);
    for pieces in (0..270).step_by(3) {
        // From 14.5 MiB to the limit, in steps of 16 to 20 KiB.
        let lua = format!(
            "local s, kept, fine = 'x', {{}}, {{}} for i = 1, 16 do s = s .. s end
             for i = 1, 232 do kept[i] = s .. i end
             s = 'x' for i = 1, 12 do s = s .. s end
             for i = 1, {pieces} * 3 // 2 do fine[i] = s .. i end
             return function(ctx, peers)
               if kept and fine then return #peers > 0 and 1 or nil end
             end"
        );
        let Ok(mut script) = load(lua) else {
            refused += 1;
            continue;
        };
        let verdicts = in_time("no memory", || {
            script.verdicts(&consultation((0..=255).map(peer).collect(), 4))
        });
        assert_eq!(verdicts.len(), 4);
        answered += usize::from(verdicts[0] == chosen(0));
        let wrong = |v: &Verdict| matches!(v, Verdict::Abstained | Verdict::Deferred { .. });
        assert!(!verdicts.iter().any(wrong), "{verdicts:?}");
    }
    assert!(answered > 0 && refused > 0 && answered + refused < 90, "{answered}, {refused}");
}

#[test]
fn deep_recursion_ends() {
    for (kind, body) in [
        (Budget, "local function f() return 1 + f() end f()"),
        (
            Runtime,
            "local function f(n) if n == 0 then error('deep') end return 1 + f(n - 1) end f(9000)",
        ),
        (Runtime, "local function f() table.sort({ 2, 1 }, f) end f()"),
    ] {
        check(kind, body);
    }
}

#[test]
fn a_score_is_bounded_as_a_choice_is() {
    for (kind, body) in [
        (Budget, "while true do end"),
        (Memory, "local s = 'x' while true do s = s .. s end"),
        (Contract, "return 0/0"),
        (Contract, "return {}"),
        (Contract, "return '1'"),
        (Contract, "return true"),
        (Runtime, "error(peer)"),
        (Runtime, "peer.uploaded = 0"),
    ] {
        let mut script = loaded(format!(
            "return {{ api = 1, score = function(ctx, peer)
               if ctx.download.endgame then {body} end
               return 1
             end }}"
        ));
        assert_eq!(in_time(body, || script.verdicts(&table(true))), [Verdict::Failed], "{body}");
        assert_eq!(last_kind(&script), kind, "{body}");
        assert_eq!(script.verdicts(&table(false)), [chosen(0)], "{body}");
    }
}

#[test]
fn a_hostile_source_is_not_loaded() {
    let nested = |open: &str, close: &str| {
        format!("return {}1{}", open.repeat(50_000), close.repeat(50_000))
    };
    check_load(Size, vec![b' '; SOURCE_LEN_MAX + 1]);
    check_load(Shape, vec![b' '; SOURCE_LEN_MAX]);
    check_load(Syntax, b"\x1bLua\x54\x00\x19\x93\r\n\x1a\n".as_slice());
    check_load(Syntax, nested("(", ")"));
    check_load(Syntax, nested("{", "}"));
    check_load(Syntax, nested("not ", ""));
    check_load(Syntax, "do ".repeat(60_000));
    check_load(Syntax, format!("return {}1", "1 .. ".repeat(50_000)));
    check_load(Syntax, (0..300).map(|n| format!("local a{n} ")).collect::<String>());
    check_load(Syntax, b"return \xff\xfe\x1b[2J".as_slice());
    check_load(Syntax, "return '\\");
    check_load(Budget, "while true do end");
    check_load(Budget, "local t = {} for i = 1, 1e9 do t[i % 7] = i end");
    check_load(Memory, "local s = 'x' while true do s = s .. s end");
    check_load(Runtime, "error({})");
    check_load(Runtime, "error(nil)");
    check_load(Runtime, "local t = {} t[0/0] = 1");
    check_load(Runtime, "io.open('/etc/passwd')");
    check_load(Runtime, "local f = load('return 1')");
    check_load(Budget, "return { api = 1, init = function() while true do end end }");
    check_load(Runtime, "return { api = 1, init = function(ctx) ctx.chunk.index() end }");
    check_load(Runtime, "return { api = 1, init = function(ctx) ctx.params = {} end }");
    check_load(Budget, "return function() while true do end end");
    check_load(Memory, "return function() local s = 'x' while true do s = s .. s end end");
    check_load(Shape, "local t = {} t.api = t return t");
    check_load(Shape, "local t = { api = 1 } for i = 1, 1e5 do t[i] = i end return t");
    check_load(Shape, "local t = { api = 1 } t[t] = t return t");
    check_load(FailureKind::Param, "local t = {} t.x = t return { api = 1, params = t }");
    check_load(
        FailureKind::Param,
        "local t = {} for i = 1, 100 do t['p' .. i] = { type = 'string', default = '' } end
         return { api = 1, params = t }",
    );
}

#[test]
fn error_objects_are_shown_without_addresses() {
    for (body, message) in [
        ("error({ code = 1 })", "table"),
        ("error(function() end)", "function"),
        ("error(peers[1])", "table"),
        ("error(nil)", "nil"),
        ("error(7)", "7"),
        ("error('\\27[2J\\0bell\\7')", "?[2J"),
        ("error('policy:99: a lie')", "a lie"),
        (
            "error('x\\nstack traceback:\\n\\tpolicy:77: in lies')",
            "x?stack traceback:? policy:77: in lies",
        ),
    ] {
        let mut script = choosing(&format!("if ctx.download.endgame then {body} end"));
        assert_eq!(script.verdicts(&table(true)), [Verdict::Failed]);
        let failure = script.status().last_error.unwrap().failure;
        assert_eq!((failure.kind, failure.message.as_str()), (Runtime, message), "{body}");
    }
    let mut script = choosing(
        "local s = 'x' for i = 1, 20 do s = s .. s end if ctx.download.endgame then error(s) end",
    );
    assert_eq!(in_time("a long message", || script.verdicts(&table(true))), [Verdict::Failed]);
    last_kind(&script);
}

#[test]
fn no_way_leads_to_what_is_not_given() {
    for body in [
        "local g = getmetatable('').__index",
        "local s = ('').rep",
        "string.gsub = nil",
        "local m = (''):getmetatable()",
        "(''):dump()",
        "_ENV.io.open('x')",
        "local _ENV = {} return pairs({})",
        "shoal.hash = function() return 1 end",
        "table.sort = nil",
        "log.info = print",
        "_ENV.pairs = nil",
        "string.format('%q', 1)",
        "return peers[1]:close()",
        "local x <close> = setmetatable({}, {})",
        "local x <close> = 5",
        "table.unpack({}, 1, 1e8)",
        "table.unpack({}, math.mininteger, math.maxinteger)",
        "table.concat({}, '', 1, math.maxinteger)",
        "table.concat({}, '', math.mininteger, 0)",
        "table.insert({}, math.maxinteger, 1)",
        "table.remove({}, math.mininteger)",
        "string.char(-1)",
        "string.char(256)",
        "math.random(2, 1)",
        "math.tointeger({}).x = 1",
        "local x = 1 // 0",
        "local x = 1 % 0",
        "local x = 1 < 'x'",
        "local x = #5",
        "tonumber('1', 99)",
        "('x'):sub('a')",
        "select(0)",
        "ipairs()",
        "pairs()",
        "shoal.cidr('::1/0', '::/0')",
        "shoal.glob('', '%*')()",
    ] {
        // `('').rep` alone is only a look at a stub.
        let body = if body == "local s = ('').rep" { "(('').rep)('x', 1 << 60)" } else { body };
        check(Runtime, body);
    }
}

#[test]
fn odd_numbers_do_no_harm() {
    for body in [
        "return string.sub('abc', math.mininteger, math.maxinteger)",
        "return shoal.hash('x', math.mininteger)",
        "return math.mininteger // -1",
        "return math.mininteger % -1",
        "return string.format('%d', math.mininteger)",
        "return string.format('%5.1f', 0/0)",
        "return ('x'):byte(math.mininteger, math.maxinteger)",
        "return #string.format('%99.99f', -1e308)",
        "return 1 << 64, 1 >> -64, 1 << math.mininteger",
    ] {
        let mut script = choosing(&format!("local function f() {body} end f() return peers[1]"));
        assert_eq!(in_time(body, || script.verdicts(&table(true))), [chosen(0)], "{body}");
    }
}

#[test]
fn what_a_script_keeps_does_not_change_what_it_is_told() {
    let mut script = loaded(
        "local old, old_peers, old_ctx
         return function(ctx, peers)
           if ctx.download.endgame then
             old, old_peers, old_ctx = peers[3], peers, ctx
             for i = 1, #peers do peers[i] = false end
             return nil
           end
           if old and #peers == 1 then return old end
           return #peers > 0 and peers[1] or nil, old and tostring(old_peers == peers)
         end",
    );
    assert_eq!(script.verdicts(&table(true)), [Verdict::Abstained]);
    let reason = Some("true".to_owned());
    let conn = crate::support::conn(0);
    assert_eq!(script.verdicts(&table(false)), [Verdict::Chosen { conn, reason }]);
    // The peer it kept is not a candidate here.
    assert_eq!(script.verdicts(&consultation(vec![peer(0)], 1)), [Verdict::Failed]);
    assert_eq!(last_kind(&script), Contract);
    let message = script.status().last_error.unwrap().failure.message;
    assert_eq!(message, "returned a peer that is not a candidate of this chunk");
}

#[test]
fn a_leak_is_stopped_and_its_vm_replaced() {
    let mut script = loaded(
        "local kept = {}
         return function(ctx, peers)
           local s = 'x'
           for i = 1, 16 do s = s .. s end
           kept[#kept + 1] = s .. #kept
           return #peers > 0 and 1 or nil
         end",
    );
    let mut failed = 0;
    for round in 0..600 {
        let mut table = table(false);
        table.now = shoal_core::time::Timestamp(round * 10_000_000);
        failed += u32::from(script.verdicts(&table) == [Verdict::Failed]);
        assert!(script.status().memory_bytes <= MEMORY_MAX as u64 + 65536);
    }
    let status = script.status();
    assert!((1..=4).contains(&failed), "{failed}");
    assert_eq!(status.counters.errors.total(), u64::from(failed));
    assert_eq!(status.counters.rebuilt, u64::from(failed));
}

#[test]
fn three_exhausted_budgets_in_a_minute_trip_the_breaker() {
    let mut script = choosing("if ctx.download.endgame then while true do end end return nil");
    for _ in 0..3 {
        assert_eq!(script.verdicts(&table(true)), [Verdict::Failed]);
    }
    assert_eq!(script.verdicts(&table(true)), [Verdict::Bypassed]);
    let status = script.status();
    assert_eq!((status.counters.errors.budget, status.trips), (3, 1));
    assert_eq!(status.counters.rebuilt, 2, "the third waits for a question");
    script.reset();
    assert_eq!(script.verdicts(&table(false)), [Verdict::Abstained]);
}

#[test]
fn a_budget_error_names_the_line_that_was_running() {
    let mut script = choosing(
        "if ctx.download.endgame then
           local n = 0
           while true do
             n = shoal.argmin(peers, 'uploaded')
           end
         end",
    );
    assert_eq!(script.verdicts(&table(true)), [Verdict::Failed]);
    let failure = script.status().last_error.unwrap().failure;
    assert_eq!(failure.message, "it ran longer than its budget of 5 ms");
    assert!(matches!(failure.line, Some(4 | 5)), "{failure}");
}

#[test]
fn the_breaker_ends_a_batch_too() {
    let mut script = choosing("if ctx.download.endgame then while true do end end return nil");
    let mut many = consultation((0..3).map(peer).collect(), 16);
    many.download.endgame = true;
    let verdicts = in_time("a batch", || script.verdicts(&many));
    let expected = |n| if n < 3 { Verdict::Failed } else { Verdict::Bypassed };
    let open = 3 * 3;
    assert_eq!(verdicts[..open], (0..open).map(expected).collect::<Vec<_>>());
    assert_eq!(verdicts[open..], vec![Verdict::Abstained; 16 - open], "no slot is left");
}

#[test]
fn a_policy_that_cannot_be_built_again_fails_until_it_can() {
    let lua = "if shoal.random() < 0.5 then error('unlucky') end
               return function(ctx, peers)
                 if ctx.download.endgame then while true do end end
                 return #peers > 0 and 1 or nil
               end";
    let mut unlucky = 0;
    for seed in 0..64 {
        let mut source = source(lua);
        source.seed = seed;
        let Ok(mut script) = load_with(source, NoSink) else { continue };
        assert_eq!(script.verdicts(&table(true)), [Verdict::Failed]);
        let mut verdict = script.verdicts(&table(false));
        while verdict == [Verdict::Failed] {
            unlucky += 1;
            assert_eq!(last_kind(&script), Runtime);
            assert_eq!(script.status().last_error.unwrap().failure.line, Some(1));
            verdict = script.verdicts(&table(false));
        }
        assert_eq!(verdict, [chosen(0)], "seed {seed}");
    }
    assert!(unlucky > 0);
}
