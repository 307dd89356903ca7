//! What a policy can call: §1's host library and §2's allow-list.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use shoal_core::policy::Verdict;
use shoal_policy::{
    failure::FailureKind,
    sink::{LogLevel, MetricOperation, Sink},
};

use crate::support::{
    Verdicts as _, choosing, consultation, load_with, loaded, peer, source, three, verdict,
};

/// Runs a function body over three peers and gives the text that it returns.
fn run(body: &str) -> String {
    let mut script = choosing(&format!(
        "if #peers ~= 3 or ctx.download.name ~= 'file1' then return nil end
         local function run() {body} end
         return 1, tostring(run())"
    ));
    match verdict(&mut script) {
        Verdict::Chosen { reason, .. } => reason.unwrap_or_default(),
        other => panic!("{other:?}: {}\n{body}", script.status().report().unwrap_or_default()),
    }
}

/// The message with which a function body fails.
fn fail(body: &str) -> String {
    let mut script =
        choosing(&format!("if #peers == 3 then local function run() {body} end run() end"));
    assert_eq!(verdict(&mut script), Verdict::Failed, "{body}");
    let failure = script.status().last_error.unwrap().failure;
    assert_eq!(failure.kind, FailureKind::Runtime, "{body}: {failure}");
    assert_eq!(failure.line, Some(2), "{body}: {failure}");
    assert!(!failure.to_string().contains("[C]"), "{failure}");
    assert!(!failure.to_string().contains("0x"), "{failure}");
    failure.message
}

#[test]
fn the_library_computes() {
    for (body, expected) in [
        ("return shoal.api", "1"),
        ("return shoal.argmin(peers, 'uploaded')", "1"),
        ("return shoal.argmax(peers, 'uploaded')", "3"),
        ("return shoal.argmin(peers, function(p) return -p.uploaded end)", "3"),
        ("return shoal.argmin(peers, function(p) if p.uploaded > 0 then return 1 end end)", "2"),
        ("return shoal.argmin(peers, function() end)", "nil"),
        ("return shoal.argmin({}, 'uploaded')", "nil"),
        ("return shoal.argmax(peers, 'slots')", "1"),
        ("return shoal.argmin({ { x = 3 }, { x = 1 } }, 'x')", "2"),
        ("return shoal.weighted(peers, function(p) return p.uploaded == 1000 and 1 or 0 end)", "2"),
        ("return shoal.weighted(peers, function() return 0 end)", "nil"),
        ("return shoal.weighted({}, function() return 1 end)", "nil"),
        ("local a, b = shoal.pick2(peers) return a ~= b and a >= 1 and b <= 3", "true"),
        ("local a, b = shoal.pick2({ 7 }) return a .. b", "11"),
        ("return select('#', shoal.pick2({})) .. tostring((shoal.pick2({})))", "2nil"),
        ("return shoal.hash('abc') == shoal.hash('abc', 0)", "true"),
        ("return shoal.hash('abc') ~= shoal.hash('abc', 1)", "true"),
        ("return shoal.hash('abc')", "611314798"),
        ("return shoal.hash(5) == shoal.hash('5')", "true"),
        ("local r = shoal.random() return r >= 0 and r < 1", "true"),
        ("return shoal.builtin('lowest_uploaded', ctx, peers)", "1"),
        ("return shoal.builtin('lowest_uploaded', ctx, { peers[3], peers[2] })", "2"),
        ("return shoal.builtin('random', ctx, {})", "nil"),
        ("return shoal.cidr(peers[1].addr, '10.0.0.0/8')", "true"),
        ("return shoal.cidr('10.1.2.3', '10.1.3.0/23')", "true"),
        ("return shoal.cidr('10.1.2.3', '10.1.3.0/24')", "false"),
        ("return shoal.cidr('10.1.2.3', '0.0.0.0/0')", "true"),
        ("return shoal.cidr('[fe80::1]:7000', 'fe80::/10')", "true"),
        ("return shoal.cidr('::1', '::/0')", "true"),
        ("return shoal.cidr('::1', '0.0.0.0/0')", "false"),
        ("return shoal.cidr('[::ffff:10.0.0.1]:80', '10.0.0.0/8')", "true"),
        ("return shoal.has('labels')", "true"),
        ("return shoal.has('order')", "true"),
        ("return shoal.has('deadline')", "false"),
        ("return table.concat(shoal.split('a,b,,c', ','), '|')", "a|b||c"),
        ("return #shoal.split('', ',')", "1"),
        ("return shoal.starts_with('rack-7', 'rack-')", "true"),
        ("return shoal.starts_with('rack', 'rack-')", "false"),
        ("return shoal.glob('rack-7', 'rack-?')", "true"),
        ("return ('%s %d %5.1f %%'):format('x', 3, 2.25)", "x 3   2.2 %"),
        ("return string.format('%s %s %s', {}, print, nil)", "table function nil"),
        ("return ('AbC'):lower() .. ('AbC'):upper() .. #'abc' .. ('abc'):len()", "abcABC33"),
        ("return ('abcdef'):sub(2, -2)", "bcde"),
        ("return ('a'):byte() .. string.char(98, 99)", "97bc"),
        ("return tostring({}) .. tostring(peers[1]) .. tostring(shoal.hash)", "tabletablefunction"),
        (
            "local t = {} table.insert(t, 2) table.insert(t, 1, 1) return table.concat(t, ',')",
            "1,2",
        ),
        ("local t = { 1, 2, 3 } return table.remove(t, 1) .. #t .. table.remove(t)", "123"),
        ("return tostring(table.remove({}))", "nil"),
        ("local t = { 3, 1, 2 } table.sort(t) return table.concat(t)", "123"),
        (
            "local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return table.concat(t)",
            "321",
        ),
        ("return table.unpack({ 1, 2, 3 }, 2)", "2"),
        ("return select(2, 'a', 'b')", "b"),
        ("return tonumber('0x10') .. tonumber('z', 36) .. tostring(tonumber('q'))", "1635nil"),
        ("return math.max(1, 7) .. math.type(1) .. tostring(math.tointeger(3.0))", "7integer3"),
        ("return type(io) .. type(print) .. type(nil)", "tablefunctionnil"),
        ("local n = 0 for i, p in ipairs(peers) do n = n + i end return n", "6"),
        ("return assert(5, 'no')", "5"),
    ] {
        assert_eq!(run(body), expected, "{body}");
    }
}

#[test]
fn pairs_goes_in_the_order_of_keys() {
    let body = "local t, out = { z = 1, a = 2, [10] = 3, [2.5] = 4, [true] = 5, [1] = 6 }, {}
                for k in pairs(t) do out[#out + 1] = tostring(k) end
                return table.concat(out, ' ')";
    assert_eq!(run(body), "1 2.5 10 a z true");
    let body = "local out = {} for k in pairs(peers[1]) do out[#out + 1] = k end
                return #out .. ' ' .. out[1] .. ' ' .. out[#out]";
    assert_eq!(run(body), "15 addr uploaded");
    let body = "local t, n = { a = 1, b = 2, c = 3 }, 0
                for k in pairs(t) do n = n + 1 t.a, t.b, t.c = nil, nil, nil end return n";
    assert_eq!(run(body), "1");
    assert!(fail("for k in pairs({ [{}] = 1 }) do end").contains("no stable order"));
}

#[test]
fn misuse_has_a_message_and_a_line() {
    for (body, message) in [
        (
            "return shoal.argmin(peers, 'uplaoded') + 1",
            "peer has no field 'uplaoded' — did you mean 'uploaded'?",
        ),
        (
            "return shoal.argmin(peers, 'id') + 1",
            "argmin: the value of a peer is '0000000000000000000000000000000000000000' (a string); expected a number",
        ),
        (
            "local x = shoal.argmax(peers, function() return 0/0 end)",
            "argmax: the value of a peer is nan (a number); expected a number",
        ),
        (
            "local x = shoal.argmin(3, 'id')",
            "bad argument #1 to 'argmin' (table expected, got number)",
        ),
        (
            "local x = shoal.weighted(peers, function() return -1 end)",
            "weighted: the weight of a peer is -1 (an integer); expected at least 0",
        ),
        (
            "local x = shoal.weighted(peers, function() return math.huge end)",
            "weighted: the weights have no finite sum",
        ),
        (
            "local x = shoal.builtin('fastst', ctx, peers)",
            "there is no native policy 'fastst' — did you mean 'fastest'?",
        ),
        (
            "local x = shoal.builtin('fastest', ctx, { 1 })",
            "builtin: element 1 is 1 (an integer), not a peer",
        ),
        ("local x = shoal.cidr('host:1', '10.0.0.0/8')", "cidr: 'host:1' is not an address"),
        (
            "local x = shoal.cidr('10.0.0.1', '10.0.0.0')",
            "cidr: '10.0.0.0' is not a network, as 10.0.0.0/8",
        ),
        ("local x = shoal.split('a', '')", "split: the separator has 0 bytes; 1 to 16"),
        ("local x = shoal.argmn", "shoal has no 'argmn' — did you mean 'argmin'?"),
        ("local x = math.mx", "math has no 'mx' — did you mean 'max'?"),
        ("local x = ctx.chunks", "ctx has no field 'chunks' — did you mean 'chunk'?"),
        ("local x = ctx.chunk.indx", "chunk has no field 'indx' — did you mean 'index'?"),
        ("local x = ctx.download.totl", "download has no field 'totl' — did you mean 'total'?"),
        ("local x = ctx.params.zone", "there is no parameter 'zone'"),
        ("local x = shaol", "there is no variable 'shaol' — did you mean 'shoal'?"),
        ("local x = nil .. 'a'", "attempt to concatenate a nil value"),
        ("local x local y = x.id", "attempt to index a nil value (local 'x')"),
        ("error('mine')", "mine"),
        ("error({ code = 1 })", "table"),
        ("error()", "nil"),
        ("assert(false)", "assertion failed!"),
        ("assert(nil, 'because')", "because"),
        ("local x = ('%p'):format({})", "format: '%p' and '%q' are not available in policies"),
        ("local x = ('%123d'):format(1)", "invalid conversion specification: '%123d'"),
        ("table.insert({}, 5, 1)", "bad argument #2 to 'insert' (position 5 is not in 1..1)"),
        ("table.insert({})", "wrong number of arguments to 'insert'"),
        ("metric.inc('Bad Name')", "metric 'Bad Name': a name is 1 to 64 of a-z, 0-9 and _"),
        ("metric.set('x', 0/0)", "metric 'x': NaN is not finite"),
        ("log.info('%d', 'x')", "bad argument #2 to 'format' (number expected, got string)"),
    ] {
        assert_eq!(fail(body), message, "{body}");
    }
}

#[test]
fn what_belongs_to_the_host_is_read_only() {
    for (body, message) in [
        (
            "peers[1].uploaded = 0",
            "peer is read-only: cannot set 'uploaded'; keep notes in ctx.state, by peer.id",
        ),
        (
            "peers[1].mine = 0",
            "peer is read-only: cannot set 'mine'; keep notes in ctx.state, by peer.id",
        ),
        ("peers[1].labels.zone = 'z'", "peer.labels is read-only: cannot set 'zone'"),
        ("peers[#peers + 1] = peers[1]", "peers has a fixed size: cannot set [4]"),
        ("ctx.state = {}", "ctx is read-only: cannot set 'state'"),
        ("ctx.chunk.size = 1", "ctx.chunk is read-only: cannot set 'size'"),
        ("ctx.params.x = 1", "ctx.params is read-only: cannot set 'x'"),
        ("math.random = 1", "math is read-only: cannot set 'random'"),
        ("shoal.x = 1", "shoal is read-only: cannot set 'x'"),
        ("pairs = ipairs", "'pairs' belongs to the host and is read-only"),
    ] {
        assert_eq!(fail(body), message, "{body}");
    }
}

#[test]
fn a_blocked_name_says_so() {
    for (body, name) in [
        ("io.open('/etc/passwd')", "io"),
        ("local x = os", ""),
        ("os.exit(1)", "os"),
        ("os.time = 1", "os"),
        ("io()", "io"),
        ("debug.getinfo(1)", "debug"),
        ("package.loaded.x = 1", "package"),
        ("coroutine.create(run)", "coroutine"),
        ("utf8.char(1)", "utf8"),
        ("_G.x = 1", "_G"),
        ("load('return 1')", "load"),
        ("loadfile('x')", "loadfile"),
        ("dofile('x')", "dofile"),
        ("require('x')", "require"),
        ("pcall(run)", "pcall"),
        ("xpcall(run, run)", "xpcall"),
        ("setmetatable({}, {})", "setmetatable"),
        ("getmetatable('')", "getmetatable"),
        ("rawget({}, 1)", "rawget"),
        ("rawset({}, 1, 2)", "rawset"),
        ("rawequal(1, 2)", "rawequal"),
        ("rawlen({})", "rawlen"),
        ("next({})", "next"),
        ("print(1)", "print"),
        ("collectgarbage()", "collectgarbage"),
        ("string.rep('x', 1 << 60)", "string.rep"),
        ("(''):rep(1 << 60)", "string.rep"),
        ("('x'):find('x')", "string.find"),
        ("('x'):match('x')", "string.match"),
        ("('x'):gmatch('x')", "string.gmatch"),
        ("('x'):gsub('x', 'y')", "string.gsub"),
        ("string.dump(run)", "string.dump"),
        ("string.pack('i', 1)", "string.pack"),
        ("string.unpack('i', '1')", "string.unpack"),
        ("table.move({}, 1, math.maxinteger - 1, 2)", "table.move"),
        ("math.randomseed(1)", "math.randomseed"),
    ] {
        if name.is_empty() {
            assert_eq!(run(body), "nil", "naming it is no error");
            continue;
        }
        let message = fail(&format!("; {body}"));
        let expected = format!("'{name}' is not available in policies (");
        assert!(message.starts_with(&expected), "{body}: {message}");
        assert!(message.ends_with("; see scripts/README.md)"), "{message}");
    }
}

#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Vec<String>>>);

impl Sink for Kept {
    fn log(&mut self, level: LogLevel, line: &str) {
        self.0.borrow_mut().push(format!("{level:?} {line}"));
    }

    fn metric(&mut self, operation: MetricOperation, name: &str, value: f64) {
        self.0.borrow_mut().push(format!("{operation:?} {name} {value}"));
    }
}

#[test]
fn logs_and_metrics_reach_the_host_and_not_from_the_dry_run() {
    let kept = Kept::default();
    let lua = "log.info('loaded')
               return function(ctx, peers)
                 log.warn('%d peers\\27[2J', #peers)
                 metric.inc('asked')
                 metric.observe('peers', #peers)
                 metric.set('done', 0.5)
               end";
    let mut script = load_with(source(lua), kept.clone()).unwrap();
    script.verdicts(&three());
    assert_eq!(
        *kept.0.borrow(),
        ["Info loaded", "Warn 3 peers?[2J", "Inc asked 1", "Observe peers 3", "Set done 0.5"]
    );
}

#[test]
fn the_same_seed_gives_the_same_choices() {
    let choices = |seed| {
        let mut source = source(
            "local salt = math.random(1000)
             return function(ctx, peers)
               if #peers == 0 then return nil end
               local i = shoal.weighted(peers, function(p) return 1 + shoal.random() end)
               return i, salt .. ' ' .. math.random(1000000) .. ' ' .. shoal.pick2(peers)
             end",
        );
        source.seed = seed;
        let mut script = load_with(source, Kept::default()).unwrap();
        let mut table = consultation((0..20).map(peer).collect(), 16);
        table.now = shoal_core::time::Timestamp(5);
        script.verdicts(&table)
    };
    assert_eq!(choices(7), choices(7));
    assert_ne!(choices(7), choices(8));
}

#[test]
fn sorting_peers_in_place_is_allowed_and_an_index_means_what_it_then_says() {
    let mut script = choosing(
        "table.sort(peers, function(a, b) return a.uploaded > b.uploaded end)
         return #peers > 0 and 1 or nil",
    );
    assert_eq!(verdict(&mut script), crate::support::chosen(2));
    let mut script = choosing("if #peers == 3 then peers[1] = 5 return 1 end return nil");
    assert_eq!(verdict(&mut script), Verdict::Failed);
    let message = script.status().last_error.unwrap().failure.message;
    assert_eq!(message, "returned 1, but peers[1] is no longer a peer");
}

#[test]
fn settings_reach_the_top_level_through_ctx_only() {
    let mut source = source(
        "return { api = 1, params = { n = { type = 'integer', default = 1 } },
           choose = function(ctx, peers) return peers[ctx.params.n] end }",
    );
    source.settings = BTreeMap::from([("n".to_owned(), "2".to_owned())]);
    let mut script = load_with(source, Kept::default()).unwrap();
    assert_eq!(verdict(&mut script), crate::support::chosen(1));
    let mut script =
        loaded("x = 5 function f() return x end return function() return f() == 5 and nil end");
    assert_eq!(verdict(&mut script), Verdict::Abstained, "globals of its own");
}
