use super::*;

const TRACKER: Source = Source::Tracker;

fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], n))
}

#[test]
fn failed_dials_wait_longer_each_time() {
    let mut book = Book::default();
    book.learn(addr(1), TRACKER, 10);
    let mut now = Timestamp::default();
    for seconds in [2, 4, 8] {
        assert_eq!(book.due(now, 5), [addr(1)]);
        book.dialling(addr(1), ConnId(1));
        book.dial_failed(addr(1), ConnId(1), now);
        now = now + Duration::from_secs(seconds);
        assert!(book.due(now - Duration::from_micros(1), 5).is_empty());
    }
}

#[test]
fn similar_addresses_are_never_our_own() {
    let mut book = Book::default();
    book.is_ourselves(addr(1));
    assert_eq!(book.similar(&addr(2)), None);
    book.learn(addr(3), TRACKER, 10);
    assert_eq!(book.similar(&addr(2)), Some(addr(3)));
}

#[test]
fn full_book_forgets_only_addresses_that_fail() {
    let mut book = Book::default();
    book.learn(addr(1), TRACKER, 2);
    book.learn(addr(2), TRACKER, 2);
    book.learn(addr(3), TRACKER, 2);
    assert!(!book.knows(&addr(3)));
    book.dialling(addr(1), ConnId(1));
    book.dial_failed(addr(1), ConnId(1), Timestamp::default());
    book.learn(addr(3), TRACKER, 2);
    assert!(book.knows(&addr(3)) && !book.knows(&addr(1)));
}

fn pex(host: u8) -> Source {
    Source::Pex([10, 0, 1, host].into())
}

/// Fails every dial that is due.
fn fail_all(book: &mut Book, now: Timestamp) {
    for addr in book.due(now, usize::MAX) {
        book.dialling(addr, ConnId(1));
        book.dial_failed(addr, ConnId(1), now);
    }
}

#[test]
fn hearsay_gives_way_to_trackers_and_never_pushes_their_addresses_out() {
    let mut book = Book::default();
    assert!(book.learn(addr(1), TRACKER, 4) && book.learn(addr(2), Source::Operator, 4));
    assert!(book.learn(addr(3), pex(1), 4) && book.learn(addr(4), pex(1), 4));
    fail_all(&mut book, Timestamp::default());
    // Failing ones of its own kind only.
    assert!(!book.learn(addr(5), Source::Local([10, 0, 1, 2].into()), 2));
    book.forget_hearsay(addr(3), [10, 0, 1, 1].into());
    assert!(book.learn(addr(5), pex(1), 4) && !book.learn(addr(6), pex(2), 4));
    for (n, source) in [(7, TRACKER), (8, TRACKER)] {
        assert!(book.learn(addr(n), source, 4), "{n}");
    }
    assert!([1, 2, 7, 8].into_iter().all(|n| book.knows(&addr(n))), "{book:?}");
    assert!(!book.learn(addr(9), pex(2), 4));
}

#[test]
fn a_host_names_no_more_than_its_share_and_hearsay_has_half_of_the_book() {
    let mut book = Book::default();
    let learnt = |book: &mut Book, source, ports: std::ops::Range<u16>| {
        ports.filter(|&n| book.learn(addr(n), source, 300)).count()
    };
    assert_eq!(learnt(&mut book, pex(1), 1..1000), PEX_ADDRESSES_MAX);
    assert_eq!(learnt(&mut book, pex(1), 1..1000), 0);
    let local = Source::Local([10, 0, 1, 9].into());
    assert_eq!(learnt(&mut book, local, 1000..2000), LOCAL_ADDRESSES_MAX);
    assert_eq!(learnt(&mut book, pex(2), 2000..3000), 150 - 100 - 32);
    assert_eq!(learnt(&mut book, TRACKER, 3000..4000), 300);
}

#[test]
fn hearsay_that_fails_is_forgotten_and_an_address_that_a_tracker_names_is_not() {
    let mut book = Book::default();
    book.learn(addr(1), pex(1), 10);
    book.learn(addr(2), pex(1), 10);
    book.learn(addr(2), TRACKER, 10);
    assert_eq!(book.source(&addr(2)), Some(TRACKER));
    book.learn(addr(2), pex(1), 10);
    assert_eq!(book.source(&addr(2)), Some(TRACKER));
    let mut now = Timestamp::default();
    for _ in 0..HEARSAY_TRIES {
        assert!(book.knows(&addr(1)));
        fail_all(&mut book, now);
        now = now + RETRY_MAX;
    }
    assert!(!book.knows(&addr(1)) && book.knows(&addr(2)));
}

#[test]
fn a_host_takes_back_only_what_it_named_and_where_nobody_is_connected() {
    let mut book = Book::default();
    let [one, two] = [1, 2].map(|n| IpAddr::from([10, 0, 1, n]));
    book.learn(addr(1), pex(1), 10);
    book.forget_hearsay(addr(1), two);
    book.dialling(addr(1), ConnId(1));
    book.connected(addr(1), ConnId(1));
    book.forget_hearsay(addr(1), one);
    assert!(book.knows(&addr(1)));
    book.closed(addr(1), ConnId(1), Timestamp::default());
    book.forget_hearsay(addr(1), one);
    assert!(!book.knows(&addr(1)));
}

#[test]
fn trusted_addresses_are_dialled_first_and_those_that_fail_last() {
    let mut book = Book::default();
    book.learn(addr(1), pex(1), 10);
    book.learn(addr(2), TRACKER, 10);
    book.learn(addr(3), Source::Operator, 10);
    book.learn(addr(4), Source::Local([10, 0, 1, 2].into()), 10);
    let order = [3, 2, 4, 1].map(addr);
    assert_eq!(book.due(Timestamp::default(), 9), order);
    book.dialling(addr(3), ConnId(1));
    book.dial_failed(addr(3), ConnId(1), Timestamp::default());
    assert_eq!(book.due(Timestamp::default() + RETRY_FIRST, 9), [2, 4, 1, 3].map(addr));
}

#[test]
fn peers_that_come_again_and_again_from_elsewhere_do_not_fill_the_memory() {
    let mut book = Book::default();
    for n in 1..1000 {
        book.introduced(addr(n), ConnId(u64::from(n)), 10);
        book.closed(addr(n), ConnId(u64::from(n)), Timestamp::default());
    }
    assert_eq!(book.entries.len(), 10);
}

#[test]
fn who_comes_again_and_again_with_other_addresses_is_not_believed_for_ever() {
    let mut book = Book::default();
    let mut now = Timestamp::default();
    let heard = |book: &mut Book, now| {
        let mut heard = 0;
        for n in 1..5000 {
            heard += u32::from(book.hear(addr(n), pex(1), 2000, now));
            book.forget_hearsay(addr(n), [10, 0, 1, 1].into());
        }
        heard
    };
    assert_eq!(heard(&mut book, now), HEARSAY_PER_MINUTE_MAX);
    now = now + MINUTE - Duration::from_micros(1);
    assert_eq!(heard(&mut book, now), 0);
    now = now + Duration::from_micros(1);
    assert_eq!(heard(&mut book, now), HEARSAY_PER_MINUTE_MAX);
}

#[test]
fn equals_are_dialled_in_an_order_that_is_each_nodes_own() {
    let order = |seed| {
        let mut book = Book::new(seed);
        for n in 1..100 {
            book.learn(addr(n), TRACKER, 1000);
        }
        book.due(Timestamp::default(), 5)
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn time_is_given_only_to_addresses_that_nobody_tried() {
    let mut book = Book::default();
    let at = Timestamp(1_000_000);
    for n in 1..4 {
        book.learn(addr(n), TRACKER, 10);
    }
    book.connected(addr(1), ConnId(1));
    book.closed(addr(1), ConnId(1), Timestamp(1));
    book.give_time(at);
    assert_eq!(book.due(Timestamp(1), 9), [addr(1)]);
    book.learn(addr(4), TRACKER, 10);
    assert_eq!(book.due(Timestamp(1), 9).len(), 2);
    book.give_time(at + MINUTE);
    assert_eq!(book.due(at, 9).len(), 3, "who has a time keeps it");
    book.check_invariants();
}

#[test]
fn a_full_book_forgets_whom_it_trusts_least_of_those_that_it_may_forget() {
    let mut book = Book::default();
    for (n, source) in [(1, TRACKER), (2, Source::Incoming), (3, pex(1)), (4, pex(1))] {
        assert!(book.learn(addr(n), source, 4), "{n}");
    }
    book.connected(addr(3), ConnId(1));
    let forgotten = |book: &mut Book, new, source| {
        let known = [1, 2, 3, 4].into_iter().filter(|&n| book.knows(&addr(n))).collect::<Vec<_>>();
        let learnt = book.learn(addr(new), source, 4);
        book.check_invariants();
        let gone = known.into_iter().find(|&n| !book.knows(&addr(n)));
        (learnt, gone)
    };
    assert_eq!(forgotten(&mut book, 5, TRACKER), (true, Some(4)));
    assert_eq!(forgotten(&mut book, 6, TRACKER), (true, Some(2)));
    assert_eq!(forgotten(&mut book, 7, TRACKER), (false, None), "who is connected stays");
    assert!(forgotten(&mut book, 8, Source::Operator).0, "in place of one of the tracker");
}
