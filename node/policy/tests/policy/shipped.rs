//! The shipped scripts: they load, and the mirror of the default agrees with the default.

use proptest::prelude::*;

use shoal_core::{
    policy::{
        ChunkFault, Consultation, Happening, Labels, Report, Verdict,
        native::{Cursor, Native},
    },
    rng::Rng,
    time::Timestamp,
};
use shoal_policy::{
    script::Script,
    shipped,
    trial::{self, TrialFile},
};

use crate::support::{Verdicts as _, consultation, last_message, loaded, peer};

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
            prop_assert_eq!(script.verdicts(&table), natively(&table), "{}", last_message(&script));
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
            for (chunk, verdict) in script.verdicts(&table).into_iter().enumerate() {
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
fn the_mirror_agrees_with_the_default_on_a_hundred_thousand_decisions() {
    const DECISIONS: usize = 100_000;
    let mut rng = Rng::new(7);
    let mut script = script("lowest_uploaded");
    let mut decided = 0;
    let mut chosen = 0;
    while decided < DECISIONS {
        let table = random_table(&mut rng);
        let expected = natively(&table);
        decided += expected.len();
        chosen += expected.iter().filter(|v| matches!(v, Verdict::Chosen { .. })).count();
        assert_eq!(script.verdicts(&table), expected, "{table:?}\n{}", last_message(&script));
    }
    assert!(chosen > DECISIONS / 2, "only {chosen} of {decided} had a candidate");
}

/// Up to twelve peers with numbers that are often equal, and sixteen chunks.
fn random_table(rng: &mut Rng) -> Consultation {
    let count = rng.below(13);
    let peers = (0..count).map(|n| {
        let mut peer = peer(u8::try_from(n).unwrap());
        (peer.uploaded, peer.slots) = (rng.below(6) as u64 * 700, rng.below(9) as u32);
        peer.inflight = rng.below(4) as u32;
        peer
    });
    let mut table = consultation(peers.collect(), 16);
    for chunk in &mut table.chunks {
        chunk.size = 1 + rng.below(1500) as u32;
        chunk.candidates.retain(|_| rng.below(8) > 0);
        chunk.candidates.iter_mut().for_each(|candidate| candidate.tried = rng.below(4) == 0);
    }
    table
}

#[test]
fn every_shipped_script_survives_whatever_it_is_asked_and_told() {
    let mut rng = Rng::new(3);
    for (name, _) in shipped::shipped() {
        let mut script = script(name);
        for round in 0..200_u64 {
            let mut table = random_table(&mut rng);
            table.now = Timestamp(round * 700_000);
            table.download.elapsed_ms = round * 700;
            table.download.endgame = round > 150;
            for peer in &mut table.peers {
                peer.rate_bps = [0, 1, 5000, u64::MAX][rng.below(4)];
                peer.rtt_us = [0, 900, u64::MAX][rng.below(3)];
                let label = ["", "a", "b", "1e999", "-3", "0x10"][rng.below(6)].to_owned();
                let labels = [("zone".to_owned(), label.clone()), ("cost".to_owned(), label)];
                peer.labels = Labels::from(labels).into();
            }
            for chunk in &mut table.chunks {
                chunk.deadline_ms = [None, Some(0), Some(u64::MAX)][rng.below(3)];
                chunk.attempts = rng.below(3) as u32;
            }
            for what in happenings(&table) {
                let Consultation { policy, torrent, now, .. } = table;
                let download = table.download.clone();
                script.report(&Report { policy, torrent, now, download, what });
            }
            script.verdicts(&table);
            let failed = script.status().report().unwrap_or_default();
            assert_eq!(failed, "", "{name}, round {round}: {table:?}");
        }
    }
}

/// Everything that can happen, with the peers and a chunk of a table.
fn happenings(table: &Consultation) -> Vec<Happening> {
    let peers = table.peers.clone();
    let mut happenings = vec![Happening::Phase { peers: peers.clone() }];
    for (n, peer) in peers.iter().cloned().enumerate() {
        let chunk = table.chunks[0].clone();
        happenings.push(match n % 4 {
            0 => Happening::PeerAdded { peer },
            1 => Happening::PeerRemoved { peer },
            2 => Happening::ChunkDone { peer, bytes: u64::from(chunk.size), chunk, took_us: 900 },
            _ => Happening::ChunkFailed { peer, chunk, fault: ChunkFault::Timeout },
        });
    }
    happenings.push(Happening::Tick { peers });
    happenings.push(Happening::Finished);
    happenings
}

#[test]
fn the_examples_of_the_manual_load() {
    let manual = include_str!("../../../../scripts/README.md");
    let blocks: Vec<_> = manual.split("```lua\n").skip(1).collect();
    assert_eq!(blocks.len(), 3);
    let lua = |n: usize| blocks[n].split("```").next().unwrap_or_default();
    for n in [0, 1] {
        let mut script = loaded(lua(n));
        assert!(script.warnings().len() <= 1, "{:?}", script.warnings());
        let verdicts = script.verdicts(&consultation((0..5).map(peer).collect(), 3));
        assert!(verdicts.iter().all(|v| matches!(v, Verdict::Chosen { .. })), "{verdicts:?}");
    }
    let file = TrialFile { name: "README.md".to_owned(), source: lua(2).to_owned() };
    let results = trial::run(None, &file);
    assert!(results.len() == 1 && results[0].passed, "{results:?}");
}
