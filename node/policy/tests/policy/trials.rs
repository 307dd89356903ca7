//! Trials: the shipped scripts under their own tests, and the tests' own behaviour.

use std::{fs, path::Path, time::Duration};

use shoal_policy::{
    shipped,
    trial::{self, TESTS_MAX, TrialFile, TrialLimits, TrialResult},
};

use crate::support::source;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/tests")
}

/// Runs a test file's text against a policy.
fn run(policy: &str, lua: &str) -> Vec<TrialResult> {
    let file = TrialFile { name: "t.lua".to_owned(), source: lua.to_owned() };
    trial::run(Some(&source(policy)), &file)
}

/// The only result of a file with one test around `body`.
fn one(policy: &str, body: &str) -> TrialResult {
    let mut results = run(policy, &format!("test('t', function()\n{body}\nend)"));
    assert_eq!(results.len(), 1, "{results:?}");
    results.remove(0)
}

fn passes(policy: &str, body: &str) {
    let result = one(policy, body);
    assert!(result.passed, "{body}\n{}", result.report);
    assert_eq!((result.message.as_str(), result.line), ("", None));
}

fn fails(policy: &str, body: &str, message: &str) -> TrialResult {
    let result = one(policy, body);
    assert!(!result.passed, "{body}");
    assert!(result.message.contains(message), "{body}\n{}", result.report);
    assert!(!result.report.contains("[C]") && !result.report.contains("0x"), "{}", result.report);
    result
}

const FIRST: &str = "return function(ctx, peers) return #peers > 0 and 1 or nil, 'the first' end";
const TWO: &str = "local s = swarm{ peers = { { name = 'a' }, { name = 'b' } } }";

#[test]
fn every_shipped_script_passes_its_own_tests() {
    let mut failures = Vec::new();
    for (name, _) in shipped::shipped() {
        let path = folder().join(format!("{name}.lua"));
        let source = fs::read_to_string(&path).unwrap_or_default();
        let file = TrialFile { name: format!("scripts/tests/{name}.lua"), source };
        let results = trial::run(None, &file);
        assert!(results.len() >= 5, "{name} has few tests: {results:?}");
        let failed = results.into_iter().filter(|result| !result.passed);
        failures.extend(failed.map(|result| result.report));
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n\n"));
}

#[test]
fn every_test_file_belongs_to_a_shipped_script() {
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let script = name.strip_suffix(".lua").unwrap_or(&name);
        assert!(shipped::find(script).is_some(), "{name}");
    }
}

#[test]
fn a_choice_is_told_and_applied() {
    passes(
        FIRST,
        &format!(
            "{TWO}
            local choice = s.choose()
            expect(choice, {{ peer = 'a', asked = 'a', index = 1, verdict = 'chosen',
              reason = 'the first', us = choice.us }})
            expect(s.peer('a'), {{ uploaded = 524288, inflight = 1, slots = 4, failures = 0,
              tried = false }})
            s.chunk{{ size = 10 }}
            for _ = 1, 3 do s.choose() end
            expect(s.peer('a').uploaded, 524318)
            expect(s.choose().peer, 'b', 'a is full')"
        ),
    );
}

#[test]
fn the_default_decides_where_the_policy_does_not() {
    passes(
        "return function() return nil end",
        "local s = swarm{ peers = { { name = 'a', uploaded = 5 }, { name = 'b' } } }
        local choice = s.choose()
        expect(choice.verdict, 'abstained')
        expect(choice.peer, nil)
        expect(choice.asked, 'b')
        expect(s.peer('b').inflight, 1)
        expect(swarm{}.choose().asked, nil, 'nobody is there')",
    );
}

#[test]
fn waiting_ends_when_nothing_was_in_flight_for_two_seconds() {
    passes(
        "return function() return false, 70 end",
        &format!(
            "{TWO}
            local choice = s.choose()
            expect(choice.verdict, 'deferred')
            expect(choice.ms, 70)
            expect(choice.asked, nil)
            s.advance(1999)
            expect(s.choose().verdict, 'deferred')
            s.advance(1)
            local choice = s.choose()
            expect(choice.verdict, 'starved')
            expect(choice.asked, 'a')"
        ),
    );
}

#[test]
fn shares_add_up_and_change_nothing() {
    passes(
        "return function(ctx, peers)
           if ctx.chunk.index % 4 == 0 then return nil elseif #peers > 1 then return 2 end
         end",
        &format!(
            "{TWO}
            local share = s.share(100, function(i) s.chunk{{ index = i }} end)
            expect(share, {{ a = 0, b = 0.75, abstained = 0.25 }})
            expect(s.peer('b').inflight, 0)"
        ),
    );
}

#[test]
fn what_is_expected_and_got_is_told_with_the_line() {
    let result = fails(FIRST, &format!("{TWO}\nexpect(s.choose().peer, 'b', 'why')"), "");
    assert_eq!(result.message, "why: expected 'b', got 'a'");
    assert_eq!(result.line, Some(3));
    assert_eq!(
        result.report,
        "test 't' failed
  t.lua:3: why: expected 'b', got 'a'
    2 | local s = swarm{ peers = { { name = 'a' }, { name = 'b' } } }
  > 3 | expect(s.choose().peer, 'b', 'why')
      |                          ^
    4 | end)
  in test 't'"
    );
    for (body, message) in [
        ("expect(1, 2)", "expected 2, got 1"),
        (
            "expect({ x = { 1 } }, { x = { 2 } })",
            "expected { x = { [1] = 2 } }, got { x = { [1] = 1 } }",
        ),
        ("expect({ 1, 2 }, { 1 })", "expected { [1] = 1 }, got { [1] = 1, [2] = 2 }"),
        ("expect(nil, false)", "expected false, got nil"),
        ("expect('1', 1)", "expected 1, got '1'"),
        ("expect_between(5, 1, 4)", "expected 1 to 4, got 5"),
        ("expect_between(0/0, 1, 4)", "expected 1 to 4, got NaN"),
        ("expect_between('x', 1, 4, 'it')", "it: expected 1 to 4, got 'x'"),
        ("expect_true(nil, 'it')", "it: expected true, got nil"),
    ] {
        let result = fails(FIRST, body, message);
        assert_eq!(result.line, Some(2), "{}", result.report);
    }
    for body in
        ["expect(1, 1.0)", "expect({ a = { 1 } }, { a = { 1 } })", "expect_between(4, 1, 4)"]
    {
        passes(FIRST, body);
    }
}

#[test]
fn an_error_of_the_policy_is_shown_as_its_own() {
    let policy = "return function(ctx, peers)
  if ctx.download.name == 'trial' then
    local u = peers[1].uplaoded
  end
end";
    let result =
        fails(policy, &format!("{TWO}\ns.choose()"), "the policy failed: scripts/test.lua:3");
    assert_eq!(result.line, Some(3));
    for part in [
        "peer has no field 'uplaoded' — did you mean 'uploaded'?",
        "  > 3 | s.choose()",
        "policy 'test' failed; the default policy decided instead",
        "  > 3 |     local u = peers[1].uplaoded",
        "in choose(ctx, peers), torrent 7a7a7a7a…, chunk 0, 2 candidates",
    ] {
        assert!(result.report.contains(part), "{part}\n{}", result.report);
    }
    passes(
        policy,
        "local s = swarm{ allow_errors = true, peers = { { name = 'a' } } }
        local choice = s.choose()
        expect(choice.verdict, 'failed')
        expect(choice.asked, 'a')",
    );
    let result = fails("return {", TWO, "policy 'test' was not loaded: ");
    assert!(result.report.contains("scripts/test.lua:1: "), "{}", result.report);
}

#[test]
fn a_slip_is_told_with_what_was_meant() {
    for (body, message) in [
        ("swarm{ pears = {} }", "swarm: unknown key 'pears' — did you mean 'peers'?"),
        ("swarm{ peers = { { uplaoded = 1 } } }", "swarm.peers[1]: unknown key 'uplaoded' — did"),
        (
            "swarm{ peers = { { uploaded = -1 } } }",
            "swarm.peers[1].uploaded is -1; expected a whole",
        ),
        ("swarm{ peers = { { rate = 'x' } } }", "swarm.peers[1].rate is 'x'; expected a number"),
        ("swarm{ peers = { { name = 'a' }, { name = 'a' } } }", "two are called 'a'"),
        ("swarm{ peers = { { name = 'failed' } } }", "no peer can be called 'failed'"),
        ("swarm{ peers = { 7 } }", "error converting Lua integer to table"),
        (
            "swarm{ chunk = { idnex = 1 } }",
            "swarm.chunk: unknown key 'idnex' — did you mean 'index'?",
        ),
        ("swarm{ params = { zone = 'b' } }", "--set zone: there is no such parameter"),
        ("swarm{ params = { zone = {} } }", "swarm.params.zone is {}; expected text or a number"),
        ("swarm{}.set('x', {})", "there is no peer 'x'"),
        ("swarm{}.event('chunk_dnoe', {})", "there is no event 'chunk_dnoe' — did you mean"),
        ("swarm{}.event('chunk_done')", "event 'chunk_done' needs a peer"),
        ("swarm{}.share(0)", "share: 0 decisions; 1 to 100000"),
        ("swarm{}.chooose()", "attempt to call a nil value (field 'chooose')"),
        ("test('inner', function() end)", "a test cannot declare another"),
        ("policy 'fastest'", "policy: it is named before the first test"),
        ("io.open('x')", "'io' is not available in policies"),
        ("expcet(1, 1)", "there is no variable 'expcet'"),
        ("error('as I said')", "as I said"),
    ] {
        let result = fails(FIRST, body, message);
        assert_eq!(result.line, Some(2), "{}", result.report);
    }
}

#[test]
fn a_file_that_cannot_be_run_is_one_failed_result() {
    for (lua, message) in [
        ("test('x', function(", "expected near <eof>"),
        ("error('at once')", "at once"),
        ("local x = 1", "it has no test"),
        ("policy 'fatsest'", "there is no shipped script 'fatsest' — did you mean 'fastest'?"),
        ("swarm{}", "swarm: it is made inside a test"),
        ("while true do end", "it ran longer than its budget of 2000 ms"),
        ("for i = 1, 300 do test('t' .. i, function() end) end", "test: at most 256 in a file"),
    ] {
        let results = run(FIRST, lua);
        assert_eq!(results.len(), 1, "{results:?}");
        let result = &results[0];
        assert!(!result.passed && result.name == "t.lua", "{result:?}");
        assert!(result.message.contains(message), "{}", result.report);
    }
}

#[test]
fn the_policy_of_the_caller_counts_and_else_the_one_the_file_names() {
    let lua = "policy 'fastest' test('t', function()
      local s = swarm{ peers = { { name = 'a', rate = 1 }, { name = 'b', rate = 9 } } }
      expect(s.choose().peer, 'b')
    end)";
    let file = TrialFile { name: "t.lua".to_owned(), source: lua.into() };
    let named = trial::run(None, &file);
    assert!(named[0].passed, "{}", named[0].report);
    assert!(!run(FIRST, lua)[0].passed, "the caller's policy chooses the first");
    let file =
        TrialFile { name: "t.lua".to_owned(), source: "test('t', function() swarm{} end)".into() };
    let nobody = trial::run(None, &file);
    assert!(nobody[0].message.contains("no policy is given"), "{}", nobody[0].report);
}

#[test]
fn settings_and_seed_are_the_swarms() {
    let policy = "return { api = 1, params = { zone = { type = 'string', default = 'a' },
        deep = { type = 'integer', default = 1 }, on_ = { type = 'boolean', default = false } },
        choose = function(ctx, peers)
          if #peers == 0 then return nil end
          return 1, ctx.params.zone .. ctx.params.deep .. tostring(ctx.params.on_)
        end }";
    passes(
        policy,
        "local s = swarm{ params = { zone = 'b', deep = 7, on_ = true }, peers = { {} } }
        expect(s.choose().reason, 'b7true')
        expect(swarm{ peers = { {} } }.choose().reason, 'a1false')",
    );
    let policy = "return function(_, peers) return #peers > 0 and 1 or nil, shoal.random() end";
    passes(
        policy,
        "local function first(seed) return swarm{ seed = seed, peers = { {} } }.choose().reason end
        expect(first(1), first(1))
        expect_true(first(1) ~= first(2))",
    );
}

#[test]
fn hostile_tests_end() {
    for (body, message) in [
        ("while true do end", "it ran longer than its budget of 2000 ms"),
        ("local t = {} while true do t[#t + 1] = {} end", "needs more than its 16 MiB of memory"),
        ("local s = 'x' while true do s = s .. s end", "memory"),
        ("local function f() return 1 + f() end f()", "needs more than its 16 MiB"),
        ("while true do swarm{ peers = { {} } } end", "swarm: at most 64 in a test"),
        (
            "local s = swarm{ peers = { {} } } while true do s.share(100000) end",
            "it ran longer than its budget of 2000 ms",
        ),
        (
            "local s = swarm{ peers = { {} } } while true do s.advance(3600000) end",
            "it ran longer than its budget of 2000 ms",
        ),
        ("local s = swarm{} s.share(5, function() s.share(5, function() error('x') end) end)", "x"),
        ("expect({}, 1, {})", "error converting Lua table to string"),
        ("local t = {} t.t = t local u = {} u.t = u expect(t, u)", "tables are compared 6 deep"),
        (
            "local t = 1 for _ = 1, 6 do local u = {} for i = 1, 900 do u[i] = t end t = u end
             local v = 2 for _ = 1, 6 do local u = {} for i = 1, 900 do u[i] = v end v = u end
             expect(t, v)",
            "expected a table of more than 100 entries",
        ),
        (
            "local t, u = {}, {} for i = 1, 4000 do t[i], u[i] = i, i end
             while true do expect(t, u) end",
            "it ran longer than its budget of 2000 ms",
        ),
        (
            "local t, u = {}, {} for i = 1, 8000 do t[i], u[i] = i, i end expect(t, u)",
            "an expectation compares at most 10000 values",
        ),
        ("local s = swarm{} local function f() s.share(1, f) end f()", "C stack overflow"),
        ("local s = swarm{} s.share(2, function() s.advance(1) end) s.set(s, s)", "to string"),
        ("error({})", "table"),
        ("error()", "nil"),
    ] {
        let lua = format!(
            "test('t', function()\n{body}\nend) test('after', function() expect(1, 1) end)"
        );
        let results = run(FIRST, &lua);
        assert_eq!(results.len(), 2, "{results:?}");
        assert!(results[0].message.contains(message), "{body}\n{}", results[0].report);
        assert!(results[1].passed, "{body}\n{}", results[1].report);
    }
}

#[test]
fn a_hostile_policy_ends_its_test_and_no_other() {
    for (policy, message) in [
        (
            "return function(ctx) while ctx.download.name == 'trial' do end end",
            "it ran longer than its budget of 5 ms",
        ),
        (
            "return function(ctx) local t = {}
             while ctx.download.name == 'trial' do t[#t + 1] = { {}, {} } end end",
            "the policy failed",
        ),
        ("while true do end", "was not loaded: it ran longer than its budget of 250 ms"),
    ] {
        let lua =
            format!("test('t', function() {TWO} s.choose() end) test('after', function() end)");
        let results = run(policy, &lua);
        assert!(results[0].message.contains(message), "{}", results[0].report);
        assert!(results[1].passed, "{}", results[1].report);
    }
}

#[test]
fn a_file_has_a_budget_of_its_own() {
    let lua =
        format!("for i = 1, {TESTS_MAX} do test('t' .. i, function() while true do end end) end");
    let file = TrialFile { name: "t.lua".to_owned(), source: lua };
    let limits = TrialLimits { test: Duration::from_millis(10), file: Duration::from_millis(55) };
    let results = trial::run_within(limits, Some(&source(FIRST)), &file);
    assert_eq!(results.len(), TESTS_MAX);
    assert!(results[0].message.contains("budget of 10 ms"), "{}", results[0].report);
    let last = results.last().unwrap();
    assert_eq!(last.message, "the file's tests took 55 ms together");
    let spent: Duration = results.iter().map(|result| result.spent).sum();
    assert!(spent < Duration::from_millis(80), "{spent:?}");
}

#[test]
fn the_same_file_says_the_same_every_time() {
    let text = fs::read_to_string(folder().join("weighted_random.lua")).unwrap();
    let file = TrialFile { name: "t.lua".to_owned(), source: text };
    let first = trial::run(None, &file);
    assert_eq!(first, trial::run(None, &file));
}
