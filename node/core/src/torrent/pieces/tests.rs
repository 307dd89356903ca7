use proptest::prelude::*;

use super::*;

const PLAN: [ExtentPlan; 2] =
    [ExtentPlan { len: 16, padding: 0 }, ExtentPlan { len: 16, padding: 0 }];

fn holder(lease: u64) -> Holder {
    Holder { lease: LeaseId(lease), conn: ConnId(lease) }
}

#[test]
fn piece_of_padding_alone_is_verified_at_once() {
    let mut pieces = Pieces::new(1);
    assert!(pieces.begin(PieceIndex(0), &[ExtentPlan { len: 16, padding: 16 }], None));
    assert!(pieces.is_verifying(PieceIndex(0)));
    assert_eq!(pieces.verified(PieceIndex(0)), None);
    pieces.check_invariants();
}

#[test]
fn second_lease_wins_and_names_the_loser() {
    let (mut pieces, piece) = (Pieces::new(1), PieceIndex(0));
    pieces.begin(piece, &PLAN[..1], None);
    assert!(!pieces.lease(piece, 0, holder(1)));
    assert!(pieces.lease(piece, 0, holder(2)));
    let received = pieces.received(piece, 0, LeaseId(2)).unwrap();
    assert_eq!(received, Received { complete: true, loser: Some(holder(1)), in_vain: 0 });
    assert_eq!(pieces.received(piece, 0, LeaseId(1)), None);
}

#[test]
fn a_lease_given_back_is_pending_with_what_it_filled() {
    let (mut pieces, piece) = (Pieces::new(1), PieceIndex(0));
    pieces.begin(piece, &PLAN, None);
    pieces.lease(piece, 1, holder(1));
    assert_eq!(pieces.pending().collect::<Vec<_>>(), [(piece, 0)]);
    assert!(pieces.ended(piece, 1, LeaseId(1), 7));
    assert_eq!(pieces.opened(piece).unwrap().extents[1].filled, 7);
    assert_eq!(pieces.pending().count(), 2);
    assert!(!pieces.ended(piece, 1, LeaseId(1), 9), "an old generation changes nothing");
    pieces.check_invariants();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any sequence of transitions keeps the invariants, against a model that knows only
    /// which pieces are had.
    #[test]
    fn transitions_keep_the_invariants(steps in prop::collection::vec((0u8..9, 0u32..4, 0u32..2), 0..200)) {
        let mut pieces = Pieces::new(4);
        let mut had = [false; 4];
        let mut leases = Vec::new();
        let mut next = 0;
        for (step, index, extent) in steps {
            let piece = PieceIndex(index);
            let state = pieces.opened(piece).map(|open| open.extents[extent as usize].state.clone());
            let verifying = pieces.is_verifying(piece);
            match (step, state) {
                (0, None) if pieces.is_missing(piece) => { pieces.begin(piece, &PLAN, None); }
                (1, Some(ExtentState::Missing)) => pieces.reserve(piece, extent),
                (2, Some(ExtentState::Reserved)) => pieces.release(piece, extent),
                (3, Some(ExtentState::Missing | ExtentState::Reserved | ExtentState::Leased(_, None))) => {
                    next += 1;
                    pieces.lease(piece, extent, holder(next));
                    leases.push((piece, extent, LeaseId(next)));
                }
                (4, Some(_)) => if let Some((piece, extent, lease)) = leases.pop()
                    && pieces.opened(piece).is_some() {
                    pieces.ended(piece, extent, lease, 3);
                },
                (5, _) => if let Some((piece, extent, lease)) = leases.pop() {
                    pieces.received(piece, extent, lease);
                },
                (6, Some(_)) if verifying => { pieces.verified(piece); had[index as usize] = true; }
                (7, Some(_)) => { pieces.give_up(piece); }
                (8, None) if had[index as usize] => { pieces.lost(piece); had[index as usize] = false; }
                _ => {}
            }
            pieces.check_invariants();
            for (index, had) in (0..).zip(had) {
                prop_assert_eq!(pieces.have().get(PieceIndex(index)), had);
            }
        }
    }
}
