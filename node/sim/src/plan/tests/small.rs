//! What a plan made small keeps, and what it gives up.

use super::*;
use crate::plan::limits::{RATE_BPS_MIN, SMALL_HOSTS, SMALL_PIECES};

#[test]
fn every_shipped_plan_made_small_is_small_and_keeps_its_shape() {
    for (name, text) in shipped::all() {
        let plan = Plan::read(text).unwrap();
        let small = plan.small();
        assert!(small.hosts() <= SMALL_HOSTS && small.pieces() <= SMALL_PIECES, "{name}");
        assert!(small.classes.iter().all(|class| class.count > 0), "{name}");
        assert_eq!(small.classes.len(), plan.classes.len(), "{name}");
        assert_eq!(small.faults.len(), plan.faults.len(), "{name}");
        assert_eq!((&small.expect, small.limit), (&plan.expect, plan.limit), "{name}");
        assert_eq!(small.small(), small, "{name}");
    }
}

#[test]
fn shipped_plans_with_faults_or_slots_are_small_as_they_are() {
    // Their times are against constants of the engine, which do not shrink.
    for (name, text) in shipped::all() {
        let plan = Plan::read(text).unwrap();
        let slots = plan.classes.iter().any(|class| class.unchoke != Unchoke::All);
        if slots || !plan.faults.is_empty() {
            assert_eq!(plan.small(), plan, "{name}");
        }
    }
}

#[test]
fn hosts_shrink_in_proportion_and_pieces_from_the_end() {
    let small = full().small();
    assert_eq!((small.content_bytes, small.pieces()), (128 * (256 << 10), 128));
    // One of each of three, and 37 of the other 100 in proportion.
    let counts = small.classes.iter().map(|class| class.count).collect::<Vec<_>>();
    assert_eq!(counts, [1, 19, 19]);
}

#[test]
fn times_shrink_as_the_pieces_do() {
    let small = full().small();
    let sixteenth = |seconds| secs(seconds) / 16;
    assert_eq!(small.faults[0].at, sixteenth(20));
    assert_eq!(small.faults[0].until, Some(sixteenth(40)));
    assert_eq!(small.classes[1].arrival, Arrival::Over(sixteenth(1), sixteenth(10)));
    assert_eq!(small.classes[1].stay, Stay::AfterComplete(sixteenth(30)));
}

#[test]
fn fewer_random_arrivals_take_the_same_part_of_the_transfer() {
    let plan = changed("over = \"10s\"", "every = \"19ms\"").unwrap();
    // 19 of 51 hosts in a sixteenth of the time.
    let expected = Duration::from_micros(19_000 * 51 / (19 * 16));
    let Arrival::Every(_, every) = plan.small().classes[1].arrival else { unreachable!() };
    assert_eq!(every.as_micros(), expected.as_micros());
}

#[test]
fn the_rate_between_zones_and_faults_shrink_as_the_hosts_do() {
    let small = full().small();
    assert_eq!(small.between[0].rate_bps, Some(20_000_000 * 39 / 103));
    assert_eq!(small.faults[0].kind, FaultKind::Crash(1, 1));
    let all = changed("hosts = 5\n", "").unwrap().small();
    assert_eq!(all.faults[1].kind, FaultKind::Crash(2, 19));
}

#[test]
fn nothing_shrinks_to_nothing() {
    let plan = changed("rate = \"20MB/s\"", "rate = \"1KiB/s\"").unwrap();
    let plan = Plan {
        faults: vec![Fault {
            at: Duration::from_nanos(1),
            until: Some(Duration::from_nanos(2)),
            kind: FaultKind::Crash(0, 1),
        }],
        ..plan
    };
    let small = plan.small();
    assert_eq!(small.between[0].rate_bps, Some(RATE_BPS_MIN));
    assert!(small.faults[0].until > Some(small.faults[0].at));
    assert_eq!(small.faults[0].kind, FaultKind::Crash(0, 1));
}

#[test]
fn a_plan_of_more_classes_than_small_hosts_keeps_one_of_each() {
    let mut plan = Plan::read(LEAST).unwrap();
    plan.classes = vec![Class { count: 2, ..plan.classes[0].clone() }; 50];
    assert!(plan.small().classes.iter().all(|class| class.count == 1));
}
