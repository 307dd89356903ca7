//! What a policy sees is what the engine says, however it looks at it: lists that are filled late,
//! tables that are fetched late, and extremes that are found in Rust.

use proptest::prelude::*;

use shoal_core::policy::{Consultation, Happening, Verdict};

use crate::support::{
    Verdicts as _, choosing, chosen, chunk, conn, consultation, last_message, loaded, peer, report,
    three, verdict,
};

/// The reason that a policy gives for choosing the first peer.
fn reason(script: &mut shoal_policy::script::Script, table: &Consultation) -> String {
    match script.verdicts(table).remove(0) {
        Verdict::Chosen { reason, .. } => reason.unwrap_or_default(),
        other => panic!("{other:?}: {}", script.status().report().unwrap_or_default()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_extreme_is_the_same_of_the_candidates_and_of_a_copy_of_their_list(
        rows in prop::collection::vec(
            (0..3_u64, 0..3_u32, 3..5_u32, 0..3_u64, 0..2_u64, 0..3_u32), 1..30),
        huge in any::<bool>(),
    ) {
        let mut script = choosing(
            "local copy = {}
             local fields = { 'uploaded', 'downloaded', 'inflight', 'slots', 'rate', 'rtt_ms',
                              'failures', 'fail_streak' }
             local fast, slow = {}, {}
             for i, field in ipairs(fields) do
               fast[2 * i - 1] = tostring(shoal.argmin(peers, field))
               fast[2 * i] = tostring(shoal.argmax(peers, field))
             end
             for i = 1, #peers do copy[i] = peers[i] end
             for i, field in ipairs(fields) do
               slow[2 * i - 1] = tostring(shoal.argmin(copy, field))
               slow[2 * i] = tostring(shoal.argmax(copy, function(p) return p[field] end))
             end
             fast, slow = table.concat(fast, ' '), table.concat(slow, ' ')
             if fast ~= slow then return 1, fast .. ' is not ' .. slow end",
        );
        let peers: Vec<_> = rows.iter().enumerate().map(|(n, row)| {
            let mut peer = peer(u8::try_from(n).unwrap());
            (peer.uploaded, peer.inflight, peer.slots, peer.rate_bps) = (row.0, row.1, row.2, row.3);
            (peer.rtt_us, peer.failures, peer.fail_streak) = (row.4 * 1500, row.5, row.5 / 2);
            if huge {
                peer.uploaded += u64::MAX / 2 - 1;
            }
            peer
        }).collect();
        let mut table = consultation(peers, 1);
        // The second decision has a list that is filled beforehand.
        for _ in 0..2 {
            let verdicts = script.verdicts(&table);
            prop_assert_eq!(verdicts, [Verdict::Abstained], "{}", last_message(&script));
            table.peers[0].uploaded += 1;
        }
    }
}

#[test]
fn a_list_is_what_the_host_wrote_however_it_was_left() {
    let mut script = choosing(
        "local seen = {}
         for i = 1, #peers do seen[i] = peers[i].id:sub(1, 2) end
         local text = table.concat(seen)
         for i = #peers, 1, -1 do
           if ctx.now_ms % 3 == 0 then table.remove(peers) else peers[i] = { i } end
         end
         if text == '' then return nil end
         return nil, text",
    );
    let mut spy = choosing(
        "local seen = {}
         for i, p in ipairs(peers) do seen[i] = p.id:sub(1, 2) end
         local text = table.concat(seen)
         table.sort(peers, function(a, b) return a.id > b.id end)
         for i = 2, #peers do peers[i] = nil end
         return #seen > 0 and peers[1] or nil, text",
    );
    for count in [3, 1, 5, 5, 2, 0, 4] {
        let table = consultation((0..count).map(peer).collect(), 1);
        let expected: String = (0..count).map(|n| format!("{n:02x}")).collect();
        script.verdicts(&table);
        assert_eq!(script.status().last_error, None);
        if count > 0 {
            assert_eq!(reason(&mut spy, &table), expected);
        }
    }
}

#[test]
fn a_list_knows_its_length_and_elements_before_it_is_filled() {
    for (body, expected) in [
        ("return 1, #peers", "3"),
        ("return peers[1], #peers .. peers[3].uploaded", "32000"),
        ("return 1, tostring(peers[4]) .. tostring(peers[0]) .. tostring(peers.x)", "nilnilnil"),
        ("local n = 0 for i, p in ipairs(peers) do n = n + i end return 1, n", "6"),
        ("local n = 0 for i, p in pairs(peers) do n = n + i end return 1, n", "6"),
        ("local a, b, c = table.unpack(peers) return 1, c.uploaded", "2000"),
        ("return 1, #{ table.unpack(peers) }", "3"),
        ("peers[2] = peers[1] return 2, 'twice'", "twice"),
        ("table.remove(peers, 1) return 2, peers[2].uploaded", "2000"),
    ] {
        let body = format!("if #peers ~= 3 then return nil end {body}");
        let mut script = choosing(&body);
        for _ in 0..3 {
            assert_eq!(reason(&mut script, &three()), expected, "{body}");
        }
    }
}

#[test]
fn a_candidate_that_goes_closes_the_gap() {
    let mut script = choosing(
        "local seen = {}
         for i, p in ipairs(peers) do seen[i] = p.id:sub(1, 2) end
         return #peers > 0 and 1 or nil, table.concat(seen)",
    );
    let mut table = consultation((0..20).map(peer).collect(), 1);
    let mut ask = |full: &[usize], table: &mut Consultation| {
        for (n, peer) in table.peers.iter_mut().enumerate() {
            peer.inflight = if full.contains(&n) { 4 } else { 0 };
        }
        let open = (0..table.peers.len()).filter(|n| !full.contains(n));
        let expected: String =
            open.map(|n| table.peers[n].id.to_string()[..2].to_owned()).collect();
        assert_eq!(reason(&mut script, table), expected);
    };
    for full in [&[][..], &[0], &[19], &[7], &[7, 8, 9], &[], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[3]]
    {
        ask(full, &mut table);
    }
    // Quite other peers, fewer and more.
    for range in [40..43, 50..90, 0..20] {
        table = consultation(range.map(peer).collect(), 1);
        ask(&[1], &mut table);
    }
}

#[test]
fn a_view_that_was_kept_says_what_is_so() {
    let mut script = loaded(
        "local chunk, download
         return { api = 1,
           init = function(ctx) download = ctx.download end,
           choose = function(ctx, peers)
             chunk = chunk or ctx.chunk
             if not peers[1] then return nil end
             return 1, chunk.index .. ' ' .. download.done .. ' ' .. ctx.now_ms .. ' '
               .. tostring(ctx.sampled) .. ' ' .. tostring(ctx.chunk == chunk)
           end }",
    );
    let mut table = three();
    assert_eq!(reason(&mut script, &table), "118 1048576 10000 false true");
    table.chunks[0].piece.0 = 7;
    table.chunks[0].sampled = true;
    table.download.done = 5;
    table.now = table.now + std::time::Duration::from_millis(1);
    assert_eq!(reason(&mut script, &table), "7 5 10001 true true");
}

#[test]
fn what_is_fetched_late_is_there_whatever_is_read_first() {
    for (first, expected) in [
        ("ctx.sampled", "false"),
        ("ctx.now_ms", "10000"),
        ("ctx.chunk.name", "file1.webm.part119"),
        ("ctx.chunk.deadline_ms", "nil"),
        ("ctx.download.endgame", "false"),
        ("ctx.download.name", "file1"),
        ("ctx.download.elapsed_ms", "1234"),
    ] {
        let mut script =
            choosing(&format!("local first = {first} return peers[1], tostring(first)"));
        for _ in 0..2 {
            assert_eq!(reason(&mut script, &three()), expected, "{first}");
        }
        let all = "local n = 0 for k in pairs(ctx) do n = n + 1 end return peers[1], n";
        assert_eq!(reason(&mut choosing(all), &three()), "6");
    }
}

#[test]
fn each_chunk_of_a_batch_is_shown_in_its_turn() {
    let mut script = choosing("return #peers > 0 and 1 or nil, ctx.chunk.index");
    let mut table = consultation(vec![peer(0)], 3);
    for (n, chunk) in table.chunks.iter_mut().enumerate() {
        chunk.piece.0 = u32::try_from(n).unwrap();
    }
    let verdicts = script.verdicts(&table);
    let expected = |n: u32| Verdict::Chosen { conn: conn(0), reason: Some(n.to_string()) };
    assert_eq!(verdicts, [expected(0), expected(1), expected(2)]);
}

#[test]
fn events_and_decisions_do_not_mix_their_views() {
    let mut script = loaded(
        "local kept
         return { api = 1,
           choose = function(ctx, peers)
             kept = ctx.chunk
             return #peers > 0 and 1 or nil, ctx.chunk.index .. ' ' .. ctx.download.done
           end,
           on = {
             tick = function(ctx)
               if ctx.chunk ~= nil then error('a chunk') end
               if ctx.sampled then error('sampled') end
               if ctx.download.done ~= 99 and ctx.download.name == 'file1' then
                 error(ctx.download.done)
               end
             end,
             chunk_done = function(ctx, ev)
               if ctx.download.name == 'file1' and ev.chunk.index ~= 3 then error(ev.chunk.index) end
             end } }",
    );
    let mut tick = report(Happening::Tick { peers: vec![] });
    tick.download.done = 99;
    let mut other = chunk(0);
    other.piece.0 = 3;
    let done = Happening::ChunkDone { peer: peer(0), chunk: other, bytes: 1, took_us: 1 };
    for _ in 0..2 {
        assert_eq!(reason(&mut script, &three()), "118 1048576");
        script.report(&tick);
        script.report(&report(done.clone()));
        assert_eq!(script.status().last_error, None);
    }
}

#[test]
fn a_batch_is_patched_between_its_decisions() {
    let mut script = choosing("return shoal.argmin(peers, 'inflight')");
    let table = consultation((0..3).map(peer).collect(), 6);
    let verdicts = script.verdicts(&table);
    assert_eq!(verdicts, [0, 1, 2, 0, 1, 2].map(chosen));
    let mut script = choosing(
        "local best = nil
         for i = 1, #peers do
           if best == nil or peers[i].inflight < peers[best].inflight then best = i end
         end
         return best",
    );
    assert_eq!(script.verdicts(&table), [0, 1, 2, 0, 1, 2].map(chosen));
    assert_eq!(verdict(&mut script), chosen(0));
}
