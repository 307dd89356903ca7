//! The fast extension (BEP 6), what is said only to who knows it, and rules of foreign clients.

use shoal_core::wire::{InvalidMessage, Misbehaved, PeerFault};

use super::{transfer::request, *};

/// The reserved bytes of BEP 3 alone.
const BARE: [u8; 8] = [0; 8];

fn range(piece: u32, offset: u32, len: u32) -> shoal_core::wire::BlockRange {
    shoal_core::wire::BlockRange { piece: PieceIndex(piece), offset, len }
}

fn reject(piece: u32, offset: u32, len: u32) -> Message {
    Message::Reject(range(piece, offset, len))
}

/// The id and the body of a message.
fn heard(message: &Message) -> (u8, Vec<u8>) {
    let mut bytes = Vec::new();
    message::encode(message, &mut bytes);
    (bytes[4], bytes[5..].to_vec())
}

/// A node with two pieces, unchoking, and a scripted peer that offers `reserved`.
async fn serving(reserved: [u8; 8]) -> (Arc<Data>, Party, Arc<Swarm>, Script, ConnId) {
    let data = Data::single(3 * PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm([0, 1]);
    let (mut script, conn) = scripted_with(&data, &mut party, &swarm, reserved).await;
    party.net.serve(conn, Serving::Unchoked, 128 * 1024);
    assert_eq!(script.hear().0, 1);
    (data, party, swarm, script, conn)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_were_not_agreed_on_are_not_sent() {
    let extended = Message::Extended { id: 0, payload: b"de".to_vec() };
    let fast = [
        Message::Suggest(PieceIndex(0)),
        Message::HaveAll,
        Message::HaveNone,
        reject(0, 0, 1),
        Message::AllowedFast(PieceIndex(0)),
    ];
    for (reserved, speaks_fast, speaks_extended) in
        [(BARE, false, false), (PLAIN, false, true), (FAST, true, true)]
    {
        let (_data, party, _swarm, mut script, conn) = serving(reserved).await;
        let mut expected = Vec::new();
        for message in fast.iter().chain([&extended, &Message::Port(1)]) {
            party.net.send(conn, message.clone());
            let known = match message {
                Message::Port(_) => false,
                Message::Extended { .. } => speaks_extended,
                _ => speaks_fast,
            };
            expected.extend(known.then(|| heard(message)));
        }
        party.net.send(conn, Message::Have(PieceIndex(2)));
        expected.push(heard(&Message::Have(PieceIndex(2))));
        let said = (0..expected.len()).map(|_| script.hear()).collect::<Vec<_>>();
        assert_eq!(said, expected, "to a peer that offers {reserved:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_message_of_a_peer_that_did_not_offer_it_closes() {
    for id in 13..=17 {
        let (_data, mut party, _swarm, mut script, _) = serving(PLAIN).await;
        script.bytes(&[0, 0, 0, 1, id]);
        let fault = InvalidMessage::FastNotNegotiated(id);
        assert_eq!(party.closed().await, CloseCause::Fault(fault.into()));
        assert!(script.is_closed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_is_rejected_to_who_knows_the_word() {
    // Not had, too long and cancelled; what is served comes all the same.
    let asked = |script: &mut Script| {
        script.say(&request(2, 0, 5));
        script.say(&request(1, 0, 5));
        script.say(&request(0, 1, 5));
    };
    let (data, party, _swarm, mut script, conn) = serving(FAST).await;
    asked(&mut script);
    assert_eq!(script.hear(), heard(&reject(2, 0, 5)));
    assert_eq!(script.hear().1[8..], data.piece(1)[..5]);
    assert_eq!(script.hear().1[8..], data.piece(0)[1..6]);
    party.net.serve(conn, Serving::Choked, 128 * 1024);
    assert_eq!(script.hear().0, 0);
    script.say(&request(1, 0, 5));
    assert_eq!(script.hear(), heard(&reject(1, 0, 5)));
    let (data, _party, _swarm, mut script, _) = serving(PLAIN).await;
    asked(&mut script);
    assert_eq!(script.hear().1[8..], data.piece(1)[..5]);
    assert_eq!(script.hear().1[8..], data.piece(0)[1..6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_to_128_kib_are_served_and_more_is_rejected_once_the_handshake_was_judged() {
    let data = Data::of_pieces(512 * 1024, 512 * 1024);
    let mut party = Party::start(1);
    let swarm = data.swarm([0]);
    let (mut script, conn) = scripted_with(&data, &mut party, &swarm, FAST).await;
    party.net.serve(conn, Serving::Unchoked, 128 * 1024);
    assert_eq!(script.hear().0, 1);
    script.say(&request(0, 1, 128 * 1024 + 1));
    script.say(&request(0, 0, 128 * 1024));
    // It may speak `shoal`: the long one waits for its handshake.
    assert!(script.hear().1[8..] == data.bytes[..128 * 1024]);
    party.net.serve(conn, Serving::Unchoked, 128 * 1024);
    assert_eq!(script.hear(), heard(&reject(0, 1, 128 * 1024 + 1)));
    for len in [128 * 1024 + 1, 256 * 1024] {
        script.say(&request(0, 0, len));
        assert_eq!(script.hear(), heard(&reject(0, 0, len)));
    }
    script.say(&request(0, 0, 128 * 1024));
    assert!(script.hear().1[8..] == data.bytes[..128 * 1024]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_requests_are_rejected_by_a_choke_a_cancel_and_the_loss_of_the_piece() {
    let (data, mut party, swarm, mut script, conn) = serving(FAST).await;
    // Nothing is answered while this peer reads nothing: its requests stay in the queue.
    let count = 1900;
    let burst = (0..count).flat_map(|at| encoded(&request(1, at, BLOCK_LEN)));
    let burst = burst.chain(encoded(&Message::Cancel(range(1, count - 1, BLOCK_LEN))));
    script.bytes(&burst.chain(encoded(&Message::Interested)).collect::<Vec<_>>());
    party.message(&Message::Interested).await;
    served(&swarm).clear(PieceIndex(1));
    party.net.serve(conn, Serving::Choked, 128 * 1024);
    let (mut answered, mut rejected, mut choked) = (0, 0, false);
    // All may be rejected for the piece before the choke is heard.
    while answered + rejected < count || !choked {
        match script.hear() {
            (7, body) => {
                let at = u32::from_be_bytes(body[4..8].try_into().unwrap()) as usize;
                assert!(body[8..] == data.piece(1)[at..at + BLOCK_LEN as usize]);
                answered += 1;
            }
            (16, _) => rejected += 1,
            (0, _) => choked = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(rejected > 1, "{answered} answered, {rejected} rejected");
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message::encode(message, &mut bytes);
    bytes
}

/// A node that fetches piece 0 of a fast peer in four blocks, which were all asked for.
async fn fetching(data: &Arc<Data>) -> (Party, Arc<Swarm>, Script, ConnId, LeaseId) {
    let mut party = Party::start(1);
    let swarm = data.swarm([]);
    let (mut script, conn) = scripted_with(data, &mut party, &swarm, FAST).await;
    script.say(&Message::Unchoke);
    party.message(&Message::Unchoke).await;
    let lease = party.grant(conn, &swarm, 0, BLOCK_LEN);
    (0..4).for_each(|_| assert_eq!(script.hear().0, 6));
    (party, swarm, script, conn, lease)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choke_of_a_fast_peer_drops_no_request() {
    let data = Data::single(2 * PIECE_LEN as usize);
    let (mut party, _swarm, mut script, _, lease) = fetching(&data).await;
    script.say(&Message::Choke);
    (0..4).for_each(|index| script.piece(0, index * BLOCK_LEN, block(&data, 0, index)));
    assert!(party.received(lease).await == data.piece(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_request_frees_its_lease_as_soon_as_the_others_are_answered() {
    let data = Data::single(2 * PIECE_LEN as usize);
    let (mut party, swarm, mut script, conn, lease) = fetching(&data).await;
    script.piece(0, 0, block(&data, 0, 0));
    script.say(&reject(0, BLOCK_LEN, BLOCK_LEN));
    script.say(&reject(0, 2 * BLOCK_LEN, BLOCK_LEN));
    script.piece(0, 3 * BLOCK_LEN, block(&data, 0, 3));
    assert_eq!(party.rejected(lease).await, 2 * BLOCK_LEN);
    // The connection lives: what is asked for now is received.
    let again = party.grant(conn, &swarm, 1, PIECE_LEN);
    assert_eq!(script.hear(), heard(&request(1, 0, PIECE_LEN)));
    script.piece(1, 0, data.piece(1));
    assert!(party.received(again).await == data.piece(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_after_a_choke_free_the_lease_without_a_timeout() {
    let data = Data::single(2 * PIECE_LEN as usize);
    let (mut party, _swarm, mut script, _, lease) = fetching(&data).await;
    script.piece(0, 0, block(&data, 0, 0));
    script.say(&Message::Choke);
    (1..4).for_each(|index| script.say(&reject(0, index * BLOCK_LEN, BLOCK_LEN)));
    assert_eq!(party.rejected(lease).await, BLOCK_LEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_of_what_was_cancelled_are_no_fault_and_a_flood_of_others_is() {
    let data = Data::single(2 * PIECE_LEN as usize);
    let (mut party, _swarm, mut script, conn, lease) = fetching(&data).await;
    party.net.revoke(conn, lease);
    assert_eq!(party.ended(lease).await, 0);
    (0..4).for_each(|index| script.say(&reject(0, index * BLOCK_LEN, BLOCK_LEN)));
    let flood = (0..1024).flat_map(|_| encoded(&reject(1, 0, BLOCK_LEN))).collect::<Vec<_>>();
    script.bytes(&flood);
    script.say(&Message::Interested);
    party.message(&Message::Interested).await;
    script.say(&reject(1, 0, BLOCK_LEN));
    assert_eq!(party.closed().await, CloseCause::Fault(Misbehaved::Flood.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_are_checked_and_go_no_further() {
    for hint in [Message::Suggest, Message::AllowedFast] {
        let (_data, mut party, _swarm, mut script, _) = serving(FAST).await;
        script.say(&hint(PieceIndex(2)));
        script.say(&Message::HaveAll);
        let pick = |event: &NetEvent| match event {
            NetEvent::Core(Event::MessageReceived { message, .. }) => Some(message.clone()),
            _ => None,
        };
        assert_eq!(party.until(pick).await.0, Message::HaveAll);
        script.say(&hint(PieceIndex(3)));
        let fault: PeerFault = InvalidMessage::PieceOutOfRange { index: 3, pieces: 3 }.into();
        assert_eq!(party.closed().await, CloseCause::Fault(fault));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_reqq_are_rejected() {
    let data = Data::single(PIECE_LEN as usize);
    let mut party = Party::limited(1, |limits| limits.requests_served_max = 10);
    let swarm = data.swarm([0]);
    let (mut script, conn) = scripted_with(&data, &mut party, &swarm, FAST).await;
    party.net.serve(conn, Serving::Unchoked, 1 << 17);
    assert_eq!(script.hear().0, 1);
    script.bytes(&(0..50).flat_map(|at| encoded(&request(0, at, 1))).collect::<Vec<_>>());
    let mut answers = (0..50).map(|_| script.hear().0).collect::<Vec<_>>();
    answers.sort_unstable();
    let served = answers.iter().filter(|id| **id == 7).count();
    assert!((10..50).contains(&served), "{served} of 50 served");
    assert!(answers[served..].iter().all(|id| *id == 16), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_on_the_grid_of_16_kib_and_the_last_is_short() {
    let data = Data::single(PIECE_LEN as usize + 20_000);
    let mut party = Party::start(1);
    let swarm = data.swarm([]);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    script.say(&Message::Unchoke);
    party.message(&Message::Unchoke).await;
    let whole = party.grant(conn, &swarm, 0, BLOCK_LEN);
    let last = party.grant(conn, &swarm, 1, BLOCK_LEN);
    let asked = (0..6).map(|_| script.hear()).collect::<Vec<_>>();
    let blocks = (0..4).map(|index| (0, index * BLOCK_LEN, BLOCK_LEN));
    let blocks = blocks.chain([(1, 0, BLOCK_LEN), (1, BLOCK_LEN, 20_000 - BLOCK_LEN)]);
    let blocks = blocks.collect::<Vec<_>>();
    let expected = blocks.iter().map(|&(piece, offset, len)| heard(&request(piece, offset, len)));
    assert_eq!(asked, expected.collect::<Vec<_>>());
    for (piece, offset, len) in blocks {
        script.piece(piece, offset, &data.piece(piece)[offset as usize..][..len as usize]);
    }
    assert!(party.received(whole).await == data.piece(0));
    assert!(party.received(last).await == data.piece(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_spoken_sends_no_keep_alive() {
    let data = Data::single(100);
    let mut party = Party::limited(1, |limits| limits.keep_alive_after = Duration::from_secs(2));
    let swarm = data.swarm([]);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    let begun = std::time::Instant::now();
    std::thread::sleep(Duration::from_millis(1200));
    party.net.send(conn, Message::Have(PieceIndex(0)));
    assert_eq!(script.read(9)[4], 4);
    // 2 s after the message, not 2 s after the handshake.
    assert_eq!(script.read(4), [0; 4]);
    assert!(begun.elapsed() >= Duration::from_millis(3100), "{:?}", begun.elapsed());
}
