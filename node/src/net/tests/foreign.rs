//! What a scripted peer does to a node.

use std::time::Instant;

use shoal_core::wire::{
    BlockRange, Handshake, Incompatible, InvalidMessage, Misbehaved, PeerFault,
    handshake::HANDSHAKE_LEN,
};

use super::{transfer::request, *};

/// How a connection ends after a peer sent these bytes, the handshake done.
async fn check(bytes: &[u8], expected: impl Into<PeerFault>) {
    let data = Data::single(2 * PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm(0..2);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    party.net.serve(conn, Serving::Unchoked, 128 * 1024);
    script.bytes(bytes);
    assert_eq!(party.closed().await, CloseCause::Fault(expected.into()));
    assert!(script.is_closed());
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message::encode(message, &mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_are_judged_before_anything_is_buffered() {
    let max = 1024 * 1024 + 9;
    check(&(max + 1_u32).to_be_bytes(), InvalidMessage::TooLong { len: max + 1, max }).await;
    check(&[0xff; 4], InvalidMessage::TooLong { len: u32::MAX, max }).await;
    let wrong = InvalidMessage::WrongLength { id: 5, len: 3, expected: 2 };
    check(&[0, 0, 0, 3, 5], wrong).await;
    let long = InvalidMessage::TooLong { len: 32_769, max: 32_768 };
    check(&[0, 0, 0x80, 1, 20], long).await;
    // Nothing longer than 16 KiB was asked for.
    let long = InvalidMessage::TooLong { len: 16_394, max: 16_393 };
    check(&[0, 0, 0x40, 10, 7], long).await;
    check(&[0, 0, 0, 1, 99], InvalidMessage::UnknownId(99)).await;
    check(&[0, 0, 0, 1, 14], InvalidMessage::FastNotNegotiated(14)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_swarm_that_is_not_known_yet_anything_may_be_said_and_nothing_is_served() {
    let data = Data::single(3 * PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = Arc::new(Swarm::unknown(TORRENT, data.metainfo.info_hash));
    let (mut script, conn) = scripted_with(&data, &mut party, &swarm, FAST).await;
    for message in [
        Message::Bitfield(vec![0xff; 1000]),
        Message::Have(PieceIndex(u32::MAX)),
        Message::Suggest(PieceIndex(u32::MAX)),
        Message::AllowedFast(PieceIndex(7)),
        Message::Unchoke,
    ] {
        script.say(&message);
    }
    party.message(&Message::Unchoke).await;
    let range = BlockRange { piece: PieceIndex(0), offset: 0, len: BLOCK_LEN };
    script.say(&Message::Request(range));
    assert_eq!(script.hear().0, 16, "rejected");
    // Even where somebody unchokes it by mistake.
    party.net.serve(conn, Serving::Unchoked, BLOCK_LEN);
    assert_eq!(script.hear().0, 1);
    script.say(&Message::Request(range));
    assert_eq!(script.hear().0, 16, "rejected");
    script.piece(0, 0, &[0; 100]);
    assert!(script.is_closed(), "payload was never asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_torrent_close_the_connection() {
    let (index, pieces) = (2, 2);
    let beyond = InvalidMessage::PieceOutOfRange { index, pieces };
    check(&encoded(&request(2, 0, 16)), beyond).await;
    let (piece, piece_len) = (1, PIECE_LEN);
    for (offset, len) in [(PIECE_LEN - 1, 2), (0, 0), (u32::MAX, u32::MAX), (0, PIECE_LEN + 1)] {
        let beyond = InvalidMessage::BlockOutOfRange { piece, offset, len, piece_len };
        check(&encoded(&request(1, offset, len)), beyond).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_beyond_the_piece_and_off_the_grid_close_the_connection() {
    let piece = |piece: u32, offset: u32, len: usize| {
        let mut head = [0; 13];
        message::encode_piece_head(PieceIndex(piece), offset, len as u32, &mut head);
        [&head[..], &vec![1; len]].concat()
    };
    let (offset, len, piece_len) = (PIECE_LEN - 16, 17, PIECE_LEN);
    let beyond = InvalidMessage::BlockOutOfRange { piece: 0, offset, len, piece_len };
    check(&piece(0, offset, 17), beyond).await;
    let absent = InvalidMessage::BlockOutOfRange { piece: 9, offset: 0, len: 16, piece_len: 0 };
    check(&piece(9, 0, 16), absent).await;
    check(&piece(1, 100, 16_384), Misbehaved::UnrequestedBlock { piece: 1, offset: 100 }).await;
    check(&piece(1, 0, 16_383), Misbehaved::UnrequestedBlock { piece: 1, offset: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unrequested_blocks_are_wasted_and_a_flood_of_them_is_closed() {
    let data = Data::single(2 * PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm([]);
    let (mut script, _) = scripted(&data, &mut party, &swarm).await;
    script.piece(1, 0, block(&data, 1, 0));
    party.wasted(16_384).await;
    let flood = std::thread::spawn(move || {
        (0..1030).for_each(|_| script.piece(1, PIECE_LEN - BLOCK_LEN, &[0; BLOCK_LEN as usize]));
        script.is_closed()
    });
    assert_eq!(party.closed().await, CloseCause::Fault(Misbehaved::Flood.into()));
    assert!(flood.join().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_may_come_in_any_order_and_between_other_messages() {
    let data = Data::single(2 * PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm([]);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    script.say(&Message::Unchoke);
    party.message(&Message::Unchoke).await;
    let lease = party.grant(conn, &swarm, 1, BLOCK_LEN);
    for offset in 0..4 {
        let (id, body) = script.hear();
        let expected = encoded(&request(1, offset * BLOCK_LEN, BLOCK_LEN));
        assert_eq!((id, &body[..]), (6, &expected[5..]));
    }
    for index in [2, 0, 3, 1] {
        script.say(&Message::Have(PieceIndex(index % 2)));
        script.piece(1, index * BLOCK_LEN, block(&data, 1, index));
        script.say(&Message::KeepAlive);
    }
    assert!(party.received(lease).await == data.piece(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_lease_ends_at_once_and_what_still_comes_is_discarded() {
    let data = Data::single(2 * PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm([]);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    script.say(&Message::Unchoke);
    party.message(&Message::Unchoke).await;
    let (kept, revoked) =
        (party.grant(conn, &swarm, 0, BLOCK_LEN), party.grant(conn, &swarm, 1, BLOCK_LEN));
    (0..8).for_each(|_| assert_eq!(script.hear().0, 6));
    script.piece(1, 0, block(&data, 1, 0));
    // Half of a block is on its way when the lease is revoked; a have before it shows that it is.
    let mut head = [0; 13];
    message::encode_piece_head(PieceIndex(1), BLOCK_LEN, BLOCK_LEN, &mut head);
    script.say(&Message::Have(PieceIndex(0)));
    script.bytes(&[&head, &block(&data, 1, 1)[..8000]].concat());
    party.message(&Message::Have(PieceIndex(0))).await;
    party.net.revoke(conn, revoked);
    assert_eq!(party.ended(revoked).await, BLOCK_LEN);
    let cancels = (0..).map(|_| script.hear()).take_while(|(id, body)| {
        assert_eq!((*id, &body[..4]), (8, &[0, 0, 0, 1][..]));
        body[4..8] != (3 * BLOCK_LEN).to_be_bytes()
    });
    assert!(cancels.count() >= 1);
    script.bytes(&block(&data, 1, 1)[8000..]);
    script.piece(1, 2 * BLOCK_LEN, block(&data, 1, 2));
    (0..4).for_each(|index| script.piece(0, index * BLOCK_LEN, block(&data, 0, index)));
    assert!(party.received(kept).await == data.piece(0));
    // The peer is asked again for the same piece, and the rest is still where it belongs.
    let again = party.grant(conn, &swarm, 1, PIECE_LEN);
    let (id, body) = script.hear();
    assert_eq!((id, &body[..]), (6, &encoded(&request(1, 0, PIECE_LEN))[5..]));
    script.piece(1, 0, data.piece(1));
    assert!(party.received(again).await == data.piece(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffer_that_was_begun_is_finished_and_both_contributors_are_known() {
    let data = Data::single(PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm([]);
    let (mut first, one) = scripted(&data, &mut party, &swarm).await;
    first.say(&Message::Unchoke);
    party.message(&Message::Unchoke).await;
    let lease = party.grant(one, &swarm, 0, BLOCK_LEN);
    (0..4).for_each(|_| assert_eq!(first.hear().0, 6));
    first.piece(0, BLOCK_LEN, block(&data, 0, 1));
    drop(first);
    let pick = |event: &NetEvent| match event {
        NetEvent::LeaseEnded { lease: id, .. } => (*id == lease).then_some(()),
        _ => None,
    };
    let begun = buffer_of(party.until(pick).await.1);
    assert_eq!(begun.filled_bytes(), BLOCK_LEN);
    assert!(matches!(party.closed().await, CloseCause::Remote | CloseCause::Io(_)));
    let (mut second, two) = scripted(&data, &mut party, &swarm).await;
    second.say(&Message::Unchoke);
    party.message(&Message::Unchoke).await;
    party.grant_buffer(two, &swarm, 0, PIECE_LEN, begun);
    for (offset, len) in [(0, BLOCK_LEN), (2 * BLOCK_LEN, 2 * BLOCK_LEN)] {
        assert_eq!(second.hear().1, &encoded(&request(0, offset, len))[5..]);
        second.piece(0, offset, &data.piece(0)[offset as usize..][..len as usize]);
    }
    let pick = |event: &NetEvent| matches!(event, NetEvent::ExtentReceived { .. }).then_some(());
    let buffer = buffer_of(party.until(pick).await.1);
    assert!(buffer.bytes() == data.piece(0));
    let from = (0..4).map(|index| buffer.block_from(index).unwrap()).collect::<Vec<_>>();
    assert_eq!(from, [two, one, two, two]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_choke_nothing_is_asked_until_the_unchoke_and_then_what_is_missing() {
    let data = Data::single(PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm([]);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    let lease = party.grant(conn, &swarm, 0, BLOCK_LEN);
    script.say(&Message::Unchoke);
    (0..4).for_each(|_| assert_eq!(script.hear().0, 6));
    script.piece(0, 0, block(&data, 0, 0));
    script.say(&Message::Choke);
    // Sent before the choke reached the uploader's other half: discarded, not a fault.
    script.piece(0, 3 * BLOCK_LEN, block(&data, 0, 3));
    script.say(&Message::Unchoke);
    for index in 1..4 {
        let (id, body) = script.hear();
        assert_eq!((id, &body[4..8]), (6, &(index * BLOCK_LEN).to_be_bytes()[..]));
        script.piece(0, index * BLOCK_LEN, block(&data, 0, index));
    }
    let mut order = Vec::new();
    let pick = |event: &NetEvent| {
        if let NetEvent::Core(Event::MessageReceived { message, .. }) = event {
            order.push(message.clone());
        }
        matches!(event, NetEvent::ExtentReceived { lease: id, .. } if *id == lease).then_some(())
    };
    party.until(pick).await;
    assert_eq!(order, [Message::Unchoke, Message::Choke, Message::Unchoke]);
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_requests_are_out_than_the_peer_takes() {
    let data = Data::single(2 * PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm([]);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    script.say(&Message::Unchoke);
    party.grant_at_most(conn, &swarm, 0, BLOCK_LEN, 3);
    party.grant_at_most(conn, &swarm, 1, BLOCK_LEN, 3);
    (0..3).for_each(|_| assert_eq!(script.hear().0, 6));
    // The next message after three requests comes only after a block.
    party.net.send(conn, Message::Have(PieceIndex(0)));
    assert_eq!(script.hear().0, 4);
    script.piece(0, 0, block(&data, 0, 0));
    assert_eq!(script.hear().1[4..8], (3 * BLOCK_LEN).to_be_bytes());
    party.net.send(conn, Message::Have(PieceIndex(1)));
    assert_eq!(script.hear().0, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_in_order_unless_cancelled_too_long_or_choked() {
    let data = Data::single(5 * PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm([0, 1, 2, 4]);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    // Choked: ignored.
    script.say(&request(0, 0, 5));
    script.say(&Message::Interested);
    party.message(&Message::Interested).await;
    party.net.serve(conn, Serving::Unchoked, 20_000);
    assert_eq!(script.hear().0, 1);
    let asked = [
        request(1, 3, 20_000),
        request(1, 0, 20_001),
        request(3, 0, 10),
        request(4, 0, 1),
        request(2, 9, 1),
    ];
    let burst = asked.iter().flat_map(encoded);
    let cancel = Message::Cancel(BlockRange { piece: PieceIndex(4), offset: 0, len: 1 });
    script.bytes(&burst.chain(encoded(&cancel)).collect::<Vec<_>>());
    let (id, body) = script.hear();
    assert_eq!((id, &body[..8]), (7, &[0, 0, 0, 1, 0, 0, 0, 3][..]));
    assert!(body[8..] == data.piece(1)[3..20_003]);
    assert_eq!(script.hear(), (7, [&[0, 0, 0, 2, 0, 0, 0, 9], &data.piece(2)[9..10]].concat()));
    // The same state again is not told again: some clients count flips.
    party.net.serve(conn, Serving::Unchoked, 30_000);
    script.say(&request(1, 0, 20_001));
    assert_eq!(script.hear().0, 7);
}

/// A peer that speaks `shoal` has our offer before its own handshake is judged here.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_request_that_overtakes_the_judging_of_its_handshake_is_served_after_it() {
    let data = Data::single(2 * PIECE_LEN as usize);
    let mut party = Party::start(1);
    let swarm = data.swarm([0, 1]);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    party.net.serve(conn, Serving::Unchoked, 20_000);
    assert_eq!(script.hear().0, 1);
    let cancelled = BlockRange { piece: PieceIndex(0), offset: 0, len: 30_001 };
    script.say(&request(1, 0, 30_000));
    script.say(&request(0, 0, 30_001));
    script.say(&Message::Cancel(cancelled));
    script.say(&Message::Interested);
    party.message(&Message::Interested).await;
    party.net.serve(conn, Serving::Unchoked, 1024 * 1024);
    let (id, body) = script.hear();
    assert_eq!((id, &body[..8]), (7, &[0, 0, 0, 1, 0, 0, 0, 0][..]));
    assert!(body[8..] == data.piece(1)[..30_000]);
    script.say(&request(1, 9, 1));
    assert_eq!(script.hear().1[..8], [0, 0, 0, 1, 0, 0, 0, 9], "the cancelled one is not served");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_reqq_are_dropped_and_endless_ones_while_choked_are_closed() {
    let data = Data::single(PIECE_LEN as usize);
    let mut party = Party::limited(1, |limits| limits.requests_served_max = 10);
    let swarm = data.swarm([0]);
    let (mut script, conn) = scripted(&data, &mut party, &swarm).await;
    party.net.serve(conn, Serving::Unchoked, 1 << 17);
    assert_eq!(script.hear().0, 1);
    let burst = (0..50).flat_map(|at| encoded(&request(0, at, 1))).collect::<Vec<_>>();
    script.bytes(&burst);
    (0..10).for_each(|_| assert_eq!(script.hear().0, 7));
    party.net.serve(conn, Serving::Choked, 1 << 17);
    while script.hear().0 != 0 {}
    let flood = (0..310).flat_map(|_| encoded(&request(0, 0, 1))).collect::<Vec<_>>();
    script.bytes(&flood);
    script.say(&Message::Interested);
    party.message(&Message::Interested).await;
    script.say(&request(0, 0, 1));
    let fault = Misbehaved::RequestWhileChoked { count: 311 };
    assert_eq!(party.closed().await, CloseCause::Fault(fault.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_handshake_is_closed_at_its_first_byte() {
    let party = Party::start(1);
    let mut script = Script::connect(party.net.local_addr());
    script.bytes(&[20]);
    assert!(script.is_closed());
    let mut script = Script::connect(party.net.local_addr());
    script.bytes(&[&[19], &[b'x'; 67][..]].concat());
    assert!(script.is_closed());
    assert_eq!(party.net.connection_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_has_to_be_done_in_time_however_it_trickles() {
    let patience = Duration::from_millis(150);
    let party = Party::limited(1, |limits| {
        limits.handshake_timeout = patience;
        limits.shaking_max = 1;
    });
    let begun = Instant::now();
    let mut slow = Script::connect(party.net.local_addr());
    slow.bytes(&[19]);
    // Only one may shake hands at a time: others are closed unheard.
    assert!(Script::connect(party.net.local_addr()).is_closed());
    assert!(begun.elapsed() < patience);
    assert!(slow.is_closed());
    assert!(begun.elapsed() >= patience);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incoming_connection_hears_nothing_unless_it_is_accepted() {
    let mut party = Party::start(1);
    let mut script = Script::dial(party.net.local_addr(), InfoHash([3; 20]));
    let (conn, info_hash, peer_id) = party.incoming().await;
    assert_eq!((info_hash, peer_id), (InfoHash([3; 20]), PeerId([9; 20])));
    party.net.close(conn, CloseCause::UnknownTorrent);
    assert_eq!(party.closed().await, CloseCause::UnknownTorrent);
    let mut heard = Vec::new();
    let _ = script.stream.read_to_end(&mut heard);
    assert!(heard.is_empty(), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_fails_by_another_torrent_by_silence_and_by_refusal() {
    let data = Data::single(100);
    let mut party = Party::limited(1, |limits| {
        limits.handshake_timeout = Duration::from_millis(300);
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let other = Handshake::new(InfoHash([0; 20]), PeerId([9; 20])).encode();
    let answers: [(&[u8], String); 2] = [
        (&other, Incompatible::OtherInfoHash.to_string()),
        (&[], "no handshake in time".to_owned()),
    ];
    for (answer, expected) in answers {
        party.net.dial(ConnId(1), data.swarm([]), addr);
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; HANDSHAKE_LEN]).unwrap();
        stream.write_all(answer).unwrap();
        let cause = party.dial_failed().await;
        assert!(cause.contains(&expected) && cause.contains(&addr.to_string()), "{cause}");
    }
    drop(listener);
    party.net.dial(ConnId(2), data.swarm([]), addr);
    assert!(party.dial_failed().await.contains("refused"));
    assert_eq!(party.net.connection_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_of_ourselves_is_answered_so_that_both_ends_know() {
    let data = Data::single(100);
    let mut party = Party::start(1);
    let addr = party.net.local_addr();
    party.net.dial(ConnId(1), data.swarm([]), addr);
    let pick = |event: &NetEvent| match event {
        NetEvent::Core(Event::Incoming { conn, peer_id, .. }) => Some((*conn, *peer_id)),
        _ => None,
    };
    let (incoming, id) = party.until(pick).await.0;
    party.net.close(incoming, CloseCause::Own);
    let pick = |event: &NetEvent| match event {
        NetEvent::Core(Event::Dialled { conn, peer_id, .. }) => Some((*conn, *peer_id)),
        _ => None,
    };
    assert_eq!(party.until(pick).await.0, (ConnId(1), id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_can_be_called_off() {
    let data = Data::single(100);
    let mut party = Party::start(1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    party.net.dial(ConnId(1), data.swarm([]), listener.local_addr().unwrap());
    party.net.close(ConnId(1), CloseCause::TorrentStopped);
    assert!(party.dial_failed().await.contains("torrent stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_brings_keep_alives_and_then_the_end() {
    let data = Data::single(100);
    let mut party = Party::limited(1, |limits| {
        limits.keep_alive_after = Duration::from_millis(60);
        limits.idle_timeout = Duration::from_millis(400);
    });
    let swarm = data.swarm([]);
    let (mut script, _) = scripted(&data, &mut party, &swarm).await;
    assert_eq!(script.read(8), [0; 8]);
    assert_eq!(party.closed().await, CloseCause::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_is_closed_before_it_takes_the_memory() {
    let data = Data::single(100);
    let mut party = Party::start(1);
    let swarm = data.swarm([]);
    let (_script, conn) = scripted(&data, &mut party, &swarm).await;
    // The system buffers some MiB of it first.
    let payload = vec![0; 30_000];
    let closed = async {
        for _ in 0..20_000 {
            party.net.send(conn, Message::Extended { id: 1, payload: payload.clone() });
            if party.net.connection_count() == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        party.closed().await
    };
    assert!(matches!(closed.await, CloseCause::Io(_)));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let party = Party::start(1);
    let listen = party.net.local_addr();
    let (sender, _inbox) = mpsc::channel(1);
    let limits = NetLimits::of(&Config::default());
    let (peer_id, rates, clock) = (PeerId([2; 20]), Rates::default(), Clock::start());
    let config = NetConfig { listen, peer_id, limits, rates, clock };
    let error = Net::start(config, sender).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}
