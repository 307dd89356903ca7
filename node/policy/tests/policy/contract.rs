//! What a policy may answer, and what it sees: §1 of the contract.

use std::{collections::BTreeMap, sync::Arc};

use crate::support::{
    Verdicts as _, choosing, chosen, conn, consultation, last_message, load, load_with, loaded,
    peer, source, three, verdict,
};
use shoal_core::{
    ids::{ConnId, InfoHash, TorrentId},
    policy::{Consultation, Labels, Verdict},
    time::Timestamp,
};
use shoal_policy::{failure::FailureKind, params::ParamValue, script::Script};

fn check(body: &str, expected: &Verdict) {
    assert_eq!(&verdict(&mut choosing(body)), expected, "{body}");
}

fn check_fails(body: &str, kind: FailureKind, message: &str) {
    // Only over three peers, so that the dry run lets it pass.
    let mut script = choosing(&format!("if #peers == 3 then\n{body}\nend"));
    assert_eq!(verdict(&mut script), Verdict::Failed, "{body}");
    let error = script.status().last_error.unwrap().failure;
    assert_eq!((error.kind, error.message.as_str()), (kind, message), "{body}");
    assert!(error.line.is_some(), "{error}");
}

#[test]
fn an_index_or_an_element_is_asked() {
    check("return math.min(2, #peers)", &chosen(1));
    check("return math.min(2.0, #peers)", &chosen(1));
    check("return peers[#peers]", &chosen(2));
    check("return #peers, 'why'", &Verdict::Chosen { conn: conn(2), reason: Some("why".into()) });
    check("return #peers, 3.5", &Verdict::Chosen { conn: conn(2), reason: Some("3.5".into()) });
    check(
        "return #peers, 'a\\27[31m\\nb'",
        &Verdict::Chosen { conn: conn(2), reason: Some("a?[31m?b".into()) },
    );
}

#[test]
fn nothing_leaves_it_to_the_default() {
    check("return nil", &Verdict::Abstained);
    check("return nil, 'a reason'", &Verdict::Abstained);
    check("", &Verdict::Abstained);
    let mut script = loaded("return { api = 1 }");
    assert_eq!(verdict(&mut script), Verdict::Abstained);
}

#[test]
fn false_waits_for_ten_to_a_thousand_milliseconds() {
    for (body, ms) in [
        ("return false", 50),
        ("return false, 9", 10),
        ("return false, 10", 10),
        ("return false, 777.9", 777),
        ("return false, 1000", 1000),
        ("return false, 1001", 1000),
        ("return false, -5", 10),
        ("return false, math.huge", 1000),
    ] {
        check(body, &Verdict::Deferred { ms });
    }
}

#[test]
fn anything_else_is_a_contract_error_with_the_value_and_its_type() {
    for (body, message) in [
        ("return 0", "returned 0 (an integer), expected 1..3"),
        ("return 4", "returned 4 (an integer), expected 1..3"),
        ("return -1", "returned -1 (an integer), expected 1..3"),
        ("return 1.5", "returned 1.5 (a number), expected 1..3"),
        ("return 0/0", "returned nan (a number), expected 1..3"),
        ("return math.huge", "returned inf (a number), expected 1..3"),
        ("return 1e300", "returned 1e+300 (a number), expected 1..3"),
        ("return math.mininteger", "returned -9223372036854775808 (an integer), expected 1..3"),
        ("return true", "returned true (a boolean), expected an index, a peer, false or nil"),
        ("return '1'", "returned '1' (a string), expected an index, a peer, false or nil"),
        ("return choose", "there is no variable 'choose'"),
        ("return {}", "returned a table that is not one of peers"),
        ("return peers", "returned a table that is not one of peers"),
        ("return function() end", "returned a function, expected an index, a peer, false or nil"),
        ("return false, 'x'", "returned false and 'x' (a string), expected milliseconds"),
    ] {
        let kind =
            if message.starts_with("there") { FailureKind::Runtime } else { FailureKind::Contract };
        check_fails(body, kind, message);
    }
}

#[test]
fn the_highest_score_wins_and_ties_go_as_by_default() {
    let score = |body: &str| {
        loaded(format!("return {{ api = 1, score = function(ctx, peer)\n{body}\nend }}"))
    };
    assert_eq!(verdict(&mut score("return peer.uploaded")), chosen(2));
    assert_eq!(verdict(&mut score("return -peer.uploaded")), chosen(0));
    assert_eq!(verdict(&mut score("return 1")), chosen(0), "lowest uploaded");
    assert_eq!(verdict(&mut score("return nil")), Verdict::Abstained);
    assert_eq!(verdict(&mut score("return peer.uploaded == 1000 and 1 or nil")), chosen(1));
    assert_eq!(verdict(&mut score("return peer.id < 'ff' and -math.huge")), chosen(0));
    let mut script = score("return ctx.download.name == 'file1' and 0/0 or 1");
    assert_eq!(verdict(&mut script), Verdict::Failed);
    assert_eq!(last_message(&script), "returned nan (a number), expected a number or nil");
    let mut script = score("return ctx.download.name == 'file1' and 'high' or 1");
    assert_eq!(verdict(&mut script), Verdict::Failed);
    assert_eq!(last_message(&script), "returned 'high' (a string), expected a number or nil");
}

#[test]
fn each_verdict_is_applied_before_the_next_is_made() {
    let mut consultation = consultation((0..2).map(peer).collect(), 8);
    for peer in &mut consultation.peers {
        peer.inflight = 0;
        peer.slots = 3;
        peer.uploaded = 0;
    }
    let mut script = loaded(shoal_policy::shipped::find("lowest_uploaded").unwrap());
    let (a, b) = (chosen(0), chosen(1));
    let expected = [&a, &b, &a, &b, &a, &b, &Verdict::Abstained, &Verdict::Abstained];
    assert_eq!(script.verdicts(&consultation).iter().collect::<Vec<_>>(), expected);
    assert_eq!(script.status().counters.calls, 6, "nobody was open for the last two");
}

#[test]
fn what_the_default_decides_is_applied_too() {
    // It abstains on the first of each batch and then looks at who got it.
    let mut script = choosing(
        "if peers[1].inflight == 1 then return nil end
         return 1, 'in flight ' .. peers[1].inflight .. ', uploaded ' .. peers[1].uploaded",
    );
    let verdicts = script.verdicts(&consultation(vec![peer(1)], 2));
    let reason = Some("in flight 2, uploaded 2000".to_owned());
    assert_eq!(verdicts, [Verdict::Abstained, Verdict::Chosen { conn: conn(1), reason }]);
}

#[test]
fn every_field_is_what_the_engine_says() {
    let mut script = choosing(
        r#"
        local p, c, d = peers[1], ctx.chunk, ctx.download
        if d.id == ("3f"):upper() or #peers ~= 1 then return nil end
        local labels = {}
        for k, v in pairs(p.labels) do labels[#labels + 1] = k .. "=" .. v end
        return 1, table.concat({ p.id:sub(1, 4), p.addr, p.uploaded, p.downloaded, p.inflight,
          p.slots, p.rate, p.rtt_ms, p.failures, p.fail_streak, tostring(p.tried),
          tostring(p.is_seed), tostring(p.estimated), p.client, table.concat(labels, ","),
          c.index, c.name, c.size, c.offset, c.availability, c.attempts, c.priority,
          tostring(c.deadline_ms), d.name, d.total, d.done, d.rate, d.elapsed_ms,
          tostring(d.endgame), ctx.now_ms, tostring(ctx.sampled) }, " ")
        "#,
    );
    let mut table = consultation(vec![peer(5)], 1);
    table.peers[0].failures = 2;
    table.peers[0].fail_streak = 1;
    table.peers[0].uploaded = u64::MAX;
    table.chunks[0].candidates[0].tried = true;
    table.chunks[0].deadline_ms = Some(250);
    let Verdict::Chosen { reason, .. } = &script.verdicts(&table)[0] else { panic!("not chosen") };
    let expected = "0505 10.0.0.5:7000 9223372036854775807 7 1 4 5000.0 1.5 2 1 true false false \
                    shoal 0.1.0.0 zone=b 118 file1.webm.part119 1000 0 3 0 0 250 file1 1073741824 \
                    1048576 1000000.0 1234 false 10000 false";
    assert_eq!(reason.as_deref(), Some(&expected[..200.min(expected.len())]));
}

#[test]
fn a_peer_is_the_same_table_between_calls_and_its_numbers_are_new() {
    let mut script = loaded(
        "local seen
         return function(ctx, peers)
           local p = peers[1]
           if ctx.download.name ~= 'file1' then return nil end
           local same = seen == p
           seen = p
           return 1, tostring(same) .. ' ' .. p.uploaded .. ' ' .. tostring(p.labels.zone)
         end",
    );
    let mut table = consultation(vec![peer(1)], 1);
    let mut ask = |table: &Consultation| match script.verdicts(table).remove(0) {
        Verdict::Chosen { reason, .. } => reason.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&table), "false 1000 b");
    table.peers[0].uploaded = 5;
    table.peers[0].labels = Arc::new(Labels::new());
    assert_eq!(ask(&table), "true 5 nil");
}

#[test]
fn state_is_kept_per_download() {
    let mut script = loaded(
        "return { api = 1,
           init = function(ctx) ctx.state.n = 10 end,
           choose = function(ctx, peers)
             ctx.state.n = ctx.state.n + 1
             return #peers > 0 and 1 or nil, ctx.state.n
           end }",
    );
    let mut table = three();
    let mut ask = |table: &Consultation| match script.verdicts(table).remove(0) {
        Verdict::Chosen { reason, .. } => reason.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&table), "11", "the dry run left nothing behind");
    assert_eq!(ask(&table), "12");
    let (torrent, id) = (table.torrent, table.download.id);
    table.torrent = TorrentId(2);
    table.download.id = InfoHash([2; 20]);
    assert_eq!(ask(&table), "11");
    (table.torrent, table.download.id) = (torrent, id);
    assert_eq!(ask(&table), "13");
    script.forget(table.torrent);
    assert_eq!(script.verdicts(&table).len(), 1);
    assert_eq!(script.status().counters.chosen, 5);
}

#[test]
fn a_starving_download_is_not_made_to_wait() {
    let mut script = choosing("return false, 100");
    let mut table = consultation(vec![peer(1)], 1);
    table.peers[0].inflight = 0;
    let mut at = |micros: u64, inflight| {
        table.now = Timestamp(10_000_000 + micros);
        table.peers[0].inflight = inflight;
        script.verdicts(&table).remove(0)
    };
    assert_eq!(at(0, 0), Verdict::Deferred { ms: 100 });
    assert_eq!(at(1_999_999, 0), Verdict::Deferred { ms: 100 });
    assert_eq!(at(2_000_000, 0), Verdict::Starved, "two seconds with nothing in flight");
    assert_eq!(at(2_500_000, 1), Verdict::Deferred { ms: 100 }, "something is in flight");
    assert_eq!(at(3_000_000, 0), Verdict::Deferred { ms: 100 });
    assert_eq!(script.status().counters.starved, 1);
}

fn with(settings: &[(&str, &str)], lua: &str) -> Result<Script, String> {
    let mut source = source(lua);
    source.settings = settings
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect::<BTreeMap<_, _>>();
    load_with(source, shoal_policy::sink::NoSink).map_err(|diagnostics| diagnostics.to_string())
}

const PARAMS: &str = r#"return { api = 1,
  params = {
    zone = { type = "string", default = "a", doc = "our zone" },
    share = { type = "number", default = 1, min = 0, max = 1 },
    depth = { type = "integer", default = 3.0, min = 1 },
    strict = { type = "boolean", default = false },
    mode = { type = "enum", default = "near", values = { "near", "far" } },
  },
  choose = function(ctx, peers)
    local p = ctx.params
    return #peers > 0 and 1 or nil, p.zone .. " " .. p.share .. " " .. p.depth .. " "
      .. tostring(p.strict) .. " " .. p.mode
  end,
}"#;

#[test]
fn parameters_are_coerced_and_bounded() {
    let mut script = with(&[], PARAMS).unwrap();
    let reason = |text: &str| Verdict::Chosen { conn: conn(0), reason: Some(text.to_owned()) };
    assert_eq!(verdict(&mut script), reason("a 1.0 3 false near"));
    let set =
        [("zone", "b"), ("share", "0.5"), ("depth", "7"), ("strict", "true"), ("mode", "far")];
    let mut script = with(&set, PARAMS).unwrap();
    assert_eq!(verdict(&mut script), reason("b 0.5 7 true far"));
    let zone = script.params().iter().find(|param| param.name == "zone").unwrap();
    assert_eq!((zone.doc.as_str(), &zone.value), ("our zone", &ParamValue::Text("b".to_owned())));
    for (name, value, message) in [
        ("share", "1.5", "--set share: 1.5 is more than 1"),
        ("share", "-1", "--set share: -1 is less than 0"),
        ("share", "nan", "--set share: NaN is not finite"),
        ("depth", "0", "--set depth: 0 is less than 1"),
        ("depth", "2.5", "--set depth: '2.5' is not of type integer"),
        ("strict", "maybe", "--set strict: 'maybe' is not of type boolean"),
        ("mode", "fra", "--set mode: 'fra' is not one of near, far — did you mean 'far'?"),
        ("zoen", "b", "--set zoen: there is no such parameter — did you mean 'zone'?"),
    ] {
        let error = with(&[(name, value)], PARAMS).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_wrong_shape_is_refused_with_the_line_and_a_suggestion() {
    for (lua, message) in [
        ("return 1", "a policy returns a table or a function, not integer"),
        ("local x = 1", "a policy returns a table or a function, not nil"),
        ("return { choose = function() end }", "it has no api; this node has api = 1"),
        ("return { api = 2 }", "scripts/test.lua:1: api = 2; this node has api = 1"),
        (
            "return {\n api = 1,\n chose = function() end }",
            "scripts/test.lua:3: unknown key 'chose' — did you mean 'choose'?",
        ),
        ("return { api = 1, 7 }", "unknown key '[integer]'"),
        ("return { api = 1, choose = 3 }", "choose is of type integer, not a function"),
        (
            "return { api = 1, choose = function() end, score = function() end }",
            "it has both score and choose",
        ),
        ("return { api = 1, name = {} }", "name is of type table, not a string"),
        ("return { api = 1, version = 0 }", "version is not an integer of at least 1"),
        ("return { api = 1, requires = 'labels' }", "requires is not a list of strings"),
        (
            "return { api = 1, requires = { 'lables' } }",
            "it requires 'lables', which this node has not — did you mean 'labels'?",
        ),
        ("return { api = 1, requires = { 'ordr' } }", "did you mean 'order'?"),
        ("return { api = 1, on = { chunk_dnoe = function() end } }", "did you mean 'chunk_done'?"),
        ("return { api = 1, on = { tick = 1 } }", "on.tick is not a function"),
        ("return { api = 1, on = { 1 } }", "unknown event '[integer]'"),
        ("return { api = 1, on = print }", "on is of type function, not a table"),
        ("return { api = 1, slots = 4 }", "slots is of type integer, not a function"),
        (
            "return { api = 1, params = { x = 1 } }",
            "parameter 'x': is of type integer, not a table",
        ),
        ("return { api = 1, params = { x = { type = 'string' } } }", "it has no default"),
        (
            "return { api = 1, params = { x = { type = 'strnig', default = '' } } }",
            "unknown type 'strnig' — did you mean 'string'?",
        ),
        (
            "return { api = 1, params = { x = { type = 'number', default = 'a' } } }",
            "its default is of type string, not number",
        ),
        (
            "return { api = 1, params = { x = { type = 'enum', default = 'a' } } }",
            "it has no values, a list of strings",
        ),
    ] {
        let error = load(lua).unwrap_err().to_string();
        assert!(error.contains(message), "{lua}\n{error}");
    }
}

#[test]
fn a_policy_that_fails_its_dry_run_is_not_loaded() {
    let error = load("return function(ctx, peers)\n  return peers[1].uplaoded\nend").unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy 'test' was not loaded\n  scripts/test.lua:2: peer has no field 'uplaoded' — did \
         you mean 'uploaded'?\n    1 | return function(ctx, peers)\n  > 2 |   return \
         peers[1].uplaoded\n      |                   ^^^^^^^^\n    3 | end\n  in the dry run: choose(ctx, peers), 1 candidate"
    );
    let error = load("return function(ctx, peers) return 51 end").unwrap_err();
    assert!(error.to_string().contains("returned 51 (an integer), expected 1..1"), "{error}");
    let error = load("error('at once')").unwrap_err();
    assert!(error.to_string().contains("scripts/test.lua:1: at once"), "{error}");
    let error = load("return {\n  api = = 1 }").unwrap_err();
    assert!(error.to_string().contains("scripts/test.lua:2: unexpected symbol"), "{error}");
}

#[test]
fn an_error_shows_where_it_happened() {
    let mut script = choosing(
        "if ctx.download.name ~= 'file1' then return nil end
  for i = 1, #peers do
    local u = peers[i].uplaoded
  end",
    );
    for _ in 0..3 {
        assert_eq!(verdict(&mut script), Verdict::Failed);
    }
    assert_eq!(
        script.status().report().unwrap(),
        "policy 'test' failed; the default policy decided instead (1st of 3 in 0 s)
  scripts/test.lua:4: peer has no field 'uplaoded' — did you mean 'uploaded'?
    3 |   for i = 1, #peers do
  > 4 |     local u = peers[i].uplaoded
      |                        ^^^^^^^^
    5 |   end
  in choose(ctx, peers), torrent 3f3f3f3f…, chunk 118, 3 candidates"
    );
}

#[test]
fn an_error_in_a_tail_called_library_function_has_the_right_line() {
    let mut script = loaded(
        "return function(ctx, peers)
           if #peers ~= 3 then return nil end
           local unused = 1
           return shoal.argmin(peers, 'uplaoded')
         end",
    );
    assert_eq!(verdict(&mut script), Verdict::Failed);
    let failure = script.status().last_error.unwrap().failure;
    assert_eq!(failure.line, Some(4), "{failure}");
    assert!(!failure.to_string().contains("[C]"));
    assert!(failure.traceback.iter().all(|frame| frame.starts_with("scripts/test.lua:")));
}

#[test]
fn a_failing_policy_is_bypassed_and_probed() {
    let mut script = choosing("if ctx.download.endgame then error('bad') end return nil");
    let mut table = three();
    table.download.endgame = true;
    for _ in 0..10 {
        assert_eq!(script.verdicts(&table), [Verdict::Failed]);
    }
    assert_eq!(script.verdicts(&table), [Verdict::Bypassed]);
    table.download.endgame = false;
    assert_eq!(script.verdicts(&table), [Verdict::Bypassed]);
    table.now = table.now + std::time::Duration::from_secs(30);
    assert_eq!(script.verdicts(&table), [Verdict::Abstained], "the probe");
    let status = script.status();
    assert_eq!((status.trips, status.tripped_until), (1, None));
    assert_eq!((status.counters.errors.runtime, status.counters.bypassed), (10, 2));
    assert_eq!(status.counters.fallbacks(), 12);
}

#[test]
fn a_thousand_peers_come_and_go() {
    let mut script = loaded(shoal_policy::shipped::find("lowest_uploaded").unwrap());
    for round in 0..40_u64 {
        let mut table = consultation((0..100).map(peer).collect(), 2);
        for peer in &mut table.peers {
            peer.conn = ConnId(peer.conn.0 + 100 * round);
        }
        let first = table.peers[0].conn;
        assert_eq!(script.verdicts(&table)[0], Verdict::Chosen { conn: first, reason: None });
    }
    let memory = script.status().memory_bytes;
    assert!(memory < 4 * 1024 * 1024, "{memory}");
}
