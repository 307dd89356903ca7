//! The shipped scripts: they load, and the mirror of the default agrees with the default.

use std::{cell::RefCell, rc::Rc};

use proptest::prelude::*;

use shoal_core::{
    policy::{
        Consultation, Verdict,
        native::{Cursor, Native},
    },
    rng::Rng,
    time::Timestamp,
};
use shoal_policy::{
    script::Script,
    shipped,
    sink::{LogLevel, MetricOperation, Sink},
};

use crate::support::{chosen, consultation, last_message, load_with, loaded, peer, source};

fn script(name: &str) -> Script {
    loaded(shipped::find(name).unwrap())
}

/// What the engine does with the default policy alone.
fn natively(consultation: &Consultation) -> Vec<Verdict> {
    let mut table = consultation.clone();
    let (mut rng, mut cursor) = (Rng::new(0), Cursor::default());
    let mut verdicts = Vec::new();
    for chunk in 0..table.chunks.len() {
        let candidates = &table.chunks[chunk].candidates;
        let chosen = Native::LowestUploaded.choose(&table.peers, candidates, &mut rng, &mut cursor);
        verdicts.push(chosen.map_or(Verdict::Abstained, |peer| {
            table.apply(chunk, peer);
            Verdict::Chosen { conn: table.peers[peer].conn, reason: None }
        }));
    }
    verdicts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_mirror_agrees_with_the_default(
        rows in prop::collection::vec((0..5_u64, 0..4_u32, 0..4_u32), 1..24),
        tried in prop::collection::vec(any::<u32>(), 1..16),
        rounds in 1..4_u64,
    ) {
        let mut script = script("lowest_uploaded");
        let peers: Vec<_> = rows.iter().enumerate().map(|(n, row)| {
            let mut peer = peer(u8::try_from(n).unwrap());
            (peer.uploaded, peer.inflight, peer.slots) = (row.0 * 700, row.1, row.2);
            peer
        }).collect();
        let mut table = consultation(peers, tried.len());
        for (chunk, tried) in table.chunks.iter_mut().zip(&tried) {
            for (n, candidate) in chunk.candidates.iter_mut().enumerate() {
                candidate.tried = tried >> (n % 32) & 1 == 1;
            }
        }
        for round in 0..rounds {
            table.now = Timestamp(round * 1000);
            prop_assert_eq!(script.answer(&table), natively(&table), "{}", last_message(&script));
            // The next round has other numbers in the same tables.
            for peer in &mut table.peers {
                peer.uploaded = (peer.uploaded + 1300 * round) % 2800;
                peer.inflight = (peer.inflight + 1) % 4;
            }
        }
    }

    #[test]
    fn every_shipped_script_chooses_an_open_candidate(
        rows in prop::collection::vec((0..5_u64, 0..4_u32, 0..4_u32, 0..3_u64), 1..40),
    ) {
        let peers: Vec<_> = rows.iter().enumerate().map(|(n, row)| {
            let mut peer = peer(u8::try_from(n).unwrap());
            (peer.uploaded, peer.inflight, peer.slots, peer.rate_bps) = *row;
            peer
        }).collect();
        let table = consultation(peers, 4);
        for (name, _) in shipped::shipped() {
            let mut script = script(name);
            let mut after = table.clone();
            for (chunk, verdict) in script.answer(&table).into_iter().enumerate() {
                let Verdict::Chosen { conn, .. } = verdict else { continue };
                let open = after.open_candidates(chunk).map(|c| c.peer);
                let peer = open.into_iter().find(|&peer| after.peers[peer].conn == conn);
                prop_assert!(peer.is_some(), "{} chose {:?}", name, conn);
                after.apply(chunk, peer.unwrap());
            }
            prop_assert_eq!(script.status().counters.errors.total(), 0, "{}", last_message(&script));
        }
    }
}

#[test]
fn every_shipped_script_says_what_it_is() {
    for (name, source) in shipped::shipped() {
        let script = script(name);
        assert_eq!(script.declared_name(), Some(*name));
        assert!(!script.description().is_empty(), "{name}");
        assert!(script.warnings().is_empty(), "{name}");
        assert!(source.starts_with(&format!("-- {name}: ")), "{name}");
        let header = source.lines().take_while(|line| line.starts_with("--"));
        let header = header.map(|line| line.trim_start_matches("--")).collect::<String>();
        assert!(header.contains(" Bad "), "{name} does not say when it is bad");
        assert!(header.contains("Source: "), "{name}");
    }
    assert_eq!(shipped::find("nothing"), None);
}

#[test]
fn zone_aware_stays_in_its_zone_until_it_is_saturated() {
    let mut script = script("zone_aware");
    let mut table = consultation((0..4).map(peer).collect(), 1);
    let ours = shoal_core::policy::Labels::from([("zone".to_owned(), "a".to_owned())]);
    table.peers[2].labels = ours.into();
    let mut ask = |table: &Consultation| match script.answer(table).remove(0) {
        Verdict::Chosen { conn, reason } => {
            (Verdict::Chosen { conn, reason: None }, reason.unwrap())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&table), (chosen(2), "in the zone".to_owned()));
    table.peers[2].inflight = 3;
    assert_eq!(ask(&table), (chosen(0), "the zone is saturated".to_owned()));
    table.peers[2].inflight = 0;
    table.peers[2].rate_bps = 1000;
    assert_eq!(ask(&table), (chosen(0), "the zone is slow".to_owned()));
    table.peers[2].rate_bps = 5000;
    table.chunks[0].candidates[2].tried = true;
    assert_eq!(ask(&table), (chosen(0), "nobody in the zone".to_owned()));
}

#[test]
fn two_choices_prefers_the_shorter_queue() {
    let mut script = script("two_choices");
    let mut table = consultation((0..2).map(peer).collect(), 1);
    table.peers[0].inflight = 3;
    for _ in 0..20 {
        let reason = Some("fewer in flight of two".to_owned());
        let expected = Verdict::Chosen { conn: table.peers[1].conn, reason };
        assert_eq!(script.answer(&table), [expected]);
    }
}

#[test]
fn the_examples_of_the_manual_load() {
    let manual = include_str!("../../../../scripts/README.md");
    let blocks: Vec<_> = manual.split("```lua\n").skip(1).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let lua = block.split("```").next().unwrap();
        let mut script = loaded(lua);
        assert!(script.warnings().len() <= 1, "{:?}", script.warnings());
        let verdicts = script.answer(&consultation((0..5).map(peer).collect(), 3));
        assert!(verdicts.iter().all(|v| matches!(v, Verdict::Chosen { .. })), "{verdicts:?}");
    }
}

/// The sorted keys of a table that an expression names, as a policy sees them.
fn keys(expression: &str) -> Vec<String> {
    let lua = format!(
        "return function(ctx, peers)
           if #peers ~= 3 then return nil end
           for key in pairs({expression}) do log.info('%s', key) end
         end"
    );
    let kept = Lines::default();
    load_with(source(lua), kept.clone())
        .unwrap()
        .answer(&consultation((0..3).map(peer).collect(), 1));
    kept.0.take()
}

#[derive(Clone, Default)]
struct Lines(Rc<RefCell<Vec<String>>>);

impl Sink for Lines {
    fn log(&mut self, _level: LogLevel, line: &str) {
        self.0.borrow_mut().push(line.to_owned());
    }

    fn metric(&mut self, _operation: MetricOperation, _name: &str, _value: f64) {}
}

#[test]
fn the_types_are_what_a_policy_sees() {
    let types = include_str!("../../../../scripts/types/shoal.d.lua");
    for (class, expression) in
        [("Peer", "peers[1]"), ("Chunk", "ctx.chunk"), ("Download", "ctx.download"), ("Ctx", "ctx")]
    {
        let start = types.split(&format!("---@class shoal.{class} ")).nth(1).unwrap();
        let fields = start.lines().skip(1).map_while(|line| line.strip_prefix("---@field "));
        let mut fields: Vec<_> =
            fields.map(|field| field.split(' ').next().unwrap().to_owned()).collect();
        fields.sort();
        let mut seen = keys(expression);
        if class == "Chunk" {
            // There only where there is one.
            seen.push("deadline_ms".to_owned());
            seen.sort();
        }
        assert_eq!(fields, seen, "{class}");
    }
    for library in ["shoal", "log", "metric"] {
        let prefix = format!("function {library}.");
        let functions = types.lines().filter_map(|line| line.strip_prefix(&prefix));
        let mut functions: Vec<_> =
            functions.map(|line| line.split('(').next().unwrap().to_owned()).collect();
        if library == "shoal" {
            functions.push("api".to_owned());
        }
        functions.sort();
        assert_eq!(functions, keys(library), "{library}");
    }
    for feature in shoal_policy::FEATURES {
        assert!(types.contains(&format!("\"{feature}\"")), "{feature}");
    }
}
