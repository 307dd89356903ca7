//! Seeds with which the simulator found something wrong, each with its plan and what must hold.

use std::{sync::Arc, time::Duration};

use shoal_sim::{
    outcome::Outcome,
    plan::{Plan, shipped},
    run::{Options, Run},
};

/// Runs a plan with a seed to its end, under the policy that hosts have by default.
fn run(plan: &str, seed: u64) -> Outcome {
    let plan = Plan::read(plan).expect("a plan");
    let options = Options { seed, ..Options::default() };
    let run = Run::new(&Arc::new(plan), &options, |_| None);
    run.expect("a run").finish()
}

/// No check was violated, and every honest host that stayed has everything.
fn finishes(outcome: &Outcome) {
    assert_eq!(outcome.violation, None);
    let late = |host: &usize| {
        let host = &outcome.hosts[*host];
        host.honest && host.complete.is_none() && host.left.is_none()
    };
    let late = (0..outcome.hosts.len()).filter(late).collect::<Vec<_>>();
    assert_eq!(late, [0; 0], "not complete at {:?}", outcome.ended);
}

/// Bytes that came in vain, and all that came, of honest hosts.
fn waste(outcome: &Outcome) -> (u64, u64) {
    let honest = outcome.hosts.iter().filter(|host| host.honest);
    honest.fold((0, 0), |(vain, all), host| (vain + host.wasted_bytes, all + host.downloaded_bytes))
}

/// An extent that one peer began and another ended was counted twice in `downloaded`.
#[test]
fn an_extent_of_two_senders_is_counted_once() {
    let outcome = run(shipped::find("corrupters").expect("it ships"), 1);
    assert_eq!(outcome.violation, None);
}

/// A lease that brought nothing told 0 bytes as held where an earlier one had left some.
#[test]
fn what_an_earlier_lease_left_is_told_at_the_end_of_the_next() {
    let outcome = run(shipped::find("tracker_outage").expect("it ships"), 2);
    assert_eq!(outcome.violation, None);
}

/// Two seeds 8 s away and back: an extent was taken from one for the other every 4 s, before its
/// first byte could come, and again, for ever.
#[test]
fn peers_far_away_do_not_take_an_extent_from_each_other_for_ever() {
    let plan = r#"
        name = "far_away"
        content = "8MiB"
        piece = "4MiB"
        limit = "30m"
        link = { up = "128KiB/s", latency = "2s" }
        class = [{ name = "seed", count = 2, has = 1 }, { name = "leecher", count = 2 }]
    "#;
    for seed in [2, 5, 12] {
        let outcome = run(plan, seed);
        finishes(&outcome);
        let (vain, all) = waste(&outcome);
        assert!(vain * 2 < all, "{vain} of {all} in vain");
    }
}

/// As above, and nothing of a piece on trial was kept: no witness ever had the time for one.
/// What an endgame duplicate brought was counted in vain though it was kept, and once more when its
/// piece was wrong: more in vain than had come.
const TRIALS: &str = r#"
    name = "trials"
    content = "8MiB"
    piece = "4MiB"
    limit = "30m"
    link = { up = "128KiB/s", latency = "1s" }
    class = [
        { name = "seed", count = 1, has = 1 },
        { name = "leecher", count = 3 },
        { name = "corrupter", count = 4, has = 1, conduct = { corrupter = 0.5 } },
    ]
"#;

#[test]
fn a_witness_far_away_finishes_a_piece_on_trial() {
    finishes(&run(TRIALS, 10));
}

#[test]
fn no_more_is_in_vain_than_came() {
    finishes(&run(TRIALS, 12));
}

/// Of a large piece on trial nobody sends everything in the 30 s for which a slot is kept: each
/// witness was excused when it choked, and what it had brought was thrown away.
#[test]
fn a_large_piece_on_trial_is_fetched_where_slots_change() {
    let plan = r#"
        name = "slots"
        content = "4MiB"
        piece = "4MiB"
        limit = "1h"
        link = { up = "64KiB/s" }
        class = [
            { name = "seed", count = 2, has = 1, unchoke = 1 },
            { name = "leecher", count = 6, unchoke = 2 },
        ]
        [[fault]]
        kind = "bad_memory"
        class = "seed"
        hosts = 1
        part = 0.05
        at = "5s"
        until = "400s"
    "#;
    finishes(&run(plan, 0));
}

/// Eight that choke everybody took all four connections and kept them.
#[test]
fn peers_that_choke_everybody_do_not_keep_all_connections() {
    let plan = r#"
        name = "riders"
        content = "4MiB"
        piece = "256KiB"
        limit = "15m"
        class = [
            { name = "free_rider", count = 8, has = 1, conduct = "free_rider" },
            { name = "leecher", count = 1, connections = 4 },
            { name = "seed", count = 1, has = 1, arrive = "20s" },
        ]
    "#;
    finishes(&run(plan, 9));
}

/// Of leechers with one connection each, two that had met while both had nothing stayed together.
#[test]
fn leechers_that_have_nothing_part_where_others_might_be_met() {
    let plan = r#"
        name = "pairs"
        content = "4MiB"
        piece = "256KiB"
        limit = "15m"
        link = { up = "256KiB/s" }
        class = [
            { name = "seed", count = 1, has = 1, connections = 3 },
            { name = "leecher", count = 8, connections = 1 },
        ]
    "#;
    finishes(&run(plan, 9));
}

/// Beyond a cut, a peer that had reported least was asked again as soon as it was snubbed, though
/// others were within reach.
#[test]
fn who_is_silent_beyond_a_cut_is_not_asked_again_at_once() {
    let plan = r#"
        name = "cut"
        content = "16MiB"
        piece = "1MiB"
        limit = "20m"
        link = { up = "256KiB/s" }
        zone = [{ name = "a" }, { name = "b" }]
        class = [
            { name = "seed", count = 2, has = 1, zones = ["a", "b"] },
            { name = "leecher", count = 8, has = 0.5, zones = ["a", "b"] },
        ]
        [[fault]]
        kind = "cut"
        at = "15s"
        until = "215s"
        zones = ["a", "b"]
    "#;
    let outcome = run(plan, 15);
    finishes(&outcome);
    let last = outcome.hosts.iter().filter_map(|host| host.took()).max();
    assert!(last < Some(Duration::from_secs(150)), "{last:?}");
}

/// A connection that a script may not starve was fed after it had ended, until the next tick: the
/// session failed an assertion.
#[test]
fn who_is_gone_is_not_fed_beside_a_script() {
    let plan = r#"
        name = "scripted"
        content = "4MiB"
        piece = "256KiB"
        limit = "10m"
        link = { up = "1MB/s" }
        class = [
            { name = "seed", count = 1, has = 1 },
            { name = "leecher", count = 8, policy = "sequential.lua" },
            { name = "flapper", count = 2, conduct = { flapper = "1s" } },
        ]
    "#;
    finishes(&run(plan, 3));
}

/// A host that drew every piece of a small torrent was waited for to the limit.
#[test]
fn who_begins_with_everything_by_chance_is_complete() {
    let plan = r#"
        name = "by_chance"
        content = "16KiB"
        piece = "16KiB"
        limit = "1h"
        class = [
            { name = "seed", count = 1, has = 1 },
            { name = "partial", count = 8, has = 0.9, stay = { after_complete = "1s" } },
        ]
    "#;
    let outcome = run(plan, 1);
    finishes(&outcome);
    assert!(outcome.ended < Duration::from_secs(60), "{:?}", outcome.ended);
}

/// A crash before a host had come brought it back early, and once more when it came.
#[test]
fn who_has_not_come_is_not_brought_back_by_the_end_of_a_crash() {
    let plan = r#"
        name = "too_soon"
        content = "8MiB"
        piece = "1MiB"
        limit = "30m"
        link = { up = "256KiB/s" }
        class = [
            { name = "seed", count = 1, has = 1 },
            { name = "late", count = 2, arrive = "10s" },
        ]
        [[fault]]
        kind = "crash"
        at = "1s"
        until = "2s"
        class = "late"
    "#;
    finishes(&run(plan, 0));
}

/// Who waits for its own disk was said to stand still.
#[test]
fn who_waits_for_a_slow_disk_does_not_stand_still() {
    let plan = r#"
        name = "slow_disk"
        content = "32MiB"
        piece = "16MiB"
        limit = "1h"
        link = { up = "20MB/s" }
        class = [
            { name = "seed", count = 1, has = 1 },
            { name = "leecher", count = 1, disk = "100KiB/s" },
        ]
    "#;
    finishes(&run(plan, 0));
}
