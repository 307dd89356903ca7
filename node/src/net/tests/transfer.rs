//! What two nodes do together.

use shoal_core::config::SHOAL_REQUEST_LEN_MAX;

use super::*;

#[tokio::test]
async fn every_piece_arrives_whole_at_any_request_length() {
    // The last piece is short, and so is its last block.
    let data = Data::single(10 * PIECE_LEN as usize + 20_001);
    let (mut seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    for request_len in [BLOCK_LEN, 2 * BLOCK_LEN, SHOAL_REQUEST_LEN_MAX] {
        let pieces = 0..data.metainfo.piece_count();
        let leases =
            pieces.map(|piece| (piece, leecher.grant_at_most(conn, &swarm, piece, request_len, 7)));
        for (piece, lease) in leases.collect::<Vec<_>>() {
            assert!(leecher.received(lease).await == data.piece(piece), "piece {piece}");
        }
    }
    let mut uploaded = 0;
    while uploaded < 3 * data.bytes.len() as u64 {
        let pick = |event: &NetEvent| match *event {
            NetEvent::Core(Event::Uploaded { bytes, .. }) => Some(bytes),
            _ => None,
        };
        uploaded += seeder.until(pick).await.0;
    }
    assert_eq!(uploaded, 3 * data.bytes.len() as u64);
    leecher.net.close(conn, CloseCause::Operator);
    assert_eq!(leecher.closed().await, CloseCause::Operator);
    assert_eq!(seeder.closed().await, CloseCause::Remote);
    assert_eq!((leecher.net.connection_count(), seeder.net.connection_count()), (0, 0));
    leecher.net.shutdown().await;
    seeder.net.shutdown().await;
}

#[tokio::test]
async fn progress_adds_up_to_the_extent_and_names_a_latency() {
    let data = Data::single(PIECE_LEN as usize);
    let (_seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    leecher.grant(conn, &swarm, 0, BLOCK_LEN);
    let (mut total, mut latency) = (0, 0);
    let pick = |event: &NetEvent| match event {
        NetEvent::Core(Event::LeaseProgress { bytes, latency_us, .. }) => {
            total += bytes;
            latency = latency.max(*latency_us);
            None
        }
        NetEvent::ExtentReceived { .. } => Some(()),
        _ => None,
    };
    leecher.until(pick).await;
    assert_eq!(total, PIECE_LEN);
    assert!(latency > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn padding_is_filled_in_and_served_as_zeros() {
    let data = Data::padded(20_000, 30_000);
    let (_seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    let (first, second) =
        (leecher.grant(conn, &swarm, 0, 1 << 20), leecher.grant(conn, &swarm, 1, 1 << 20));
    assert!(leecher.received(first).await == data.piece(0));
    assert!(leecher.received(second).await == data.piece(1));
    // A peer that asks for padding gets it.
    let mut party = Party::start(3);
    let served = data.swarm(0..2);
    let (mut script, up) = scripted(&data, &mut party, &served).await;
    party.net.serve(up, Serving::Unchoked, 1 << 20);
    assert_eq!(script.hear(), (1, vec![]));
    script.say(&request(0, 0, PIECE_LEN));
    let (id, body) = script.hear();
    assert_eq!((id, &body[8..] == data.piece(0)), (7, true));
}

#[tokio::test]
async fn a_full_buffer_is_received_without_a_request() {
    let data = Data::padded(16_384, 100);
    let (_seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    leecher.net.close(conn, CloseCause::Operator);
    leecher.closed().await;
    let (_seeder, _, _, mut leecher, conn, swarm2) = pair(&data).await;
    drop(swarm);
    let lease = leecher.grant(conn, &swarm2, 0, BLOCK_LEN);
    assert!(leecher.received(lease).await == data.piece(0));
}

#[tokio::test]
async fn a_grant_to_a_connection_that_is_gone_comes_back_at_once() {
    let data = Data::single(PIECE_LEN as usize);
    let (_seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    leecher.net.close(conn, CloseCause::Operator);
    leecher.closed().await;
    let lease = leecher.grant(conn, &swarm, 0, BLOCK_LEN);
    assert_eq!(leecher.seen.len(), 1);
    assert_eq!(leecher.ended(lease).await, 0);
}

#[tokio::test]
async fn only_served_pieces_are_served_and_only_while_unchoked() {
    let data = Data::single(3 * PIECE_LEN as usize);
    let (mut seeder, up, full, mut leecher, conn, swarm) = pair(&data).await;
    served(&full).clear(PieceIndex(0));
    let missing = leecher.grant(conn, &swarm, 0, BLOCK_LEN);
    assert_eq!(leecher.rejected(missing).await, 0);
    let there = leecher.grant(conn, &swarm, 1, BLOCK_LEN);
    assert!(leecher.received(there).await == data.piece(1));
    seeder.net.serve(up, Serving::Choked, 1 << 20);
    leecher.message(&Message::Choke).await;
    // Choked: nothing is asked for.
    let choked = leecher.grant(conn, &swarm, 2, BLOCK_LEN);
    assert_eq!(leecher.rejected(choked).await, 0);
    served(&full).set(PieceIndex(0));
    seeder.net.serve(up, Serving::Unchoked, 1 << 20);
    leecher.message(&Message::Unchoke).await;
    let again = leecher.grant(conn, &swarm, 0, BLOCK_LEN);
    assert!(leecher.received(again).await == data.piece(0));
    leecher.net.close(conn, CloseCause::Shutdown);
    assert_eq!(seeder.closed().await, CloseCause::Remote);
}

#[tokio::test]
async fn every_lease_ends_before_its_connection() {
    let data = Data::single(4 * PIECE_LEN as usize);
    let (seeder, _, full, mut leecher, conn, swarm) = pair(&data).await;
    (0..4).for_each(|piece| served(&full).clear(PieceIndex(piece)));
    let leases = (0..4).map(|piece| leecher.grant(conn, &swarm, piece, BLOCK_LEN));
    let leases = leases.collect::<Vec<_>>();
    // A message that comes back shows that the leases are taken on.
    leecher.net.close(conn, CloseCause::Duplicate);
    for lease in leases {
        leecher.ended(lease).await;
    }
    assert_eq!(leecher.closed().await, CloseCause::Duplicate);
    seeder.net.shutdown().await;
}

#[tokio::test]
async fn what_is_not_in_memory_is_brought_there_and_served() {
    let data = Data::single(20 * PIECE_LEN as usize);
    let (_seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    for request_len in [BLOCK_LEN, PIECE_LEN] {
        // Where the system keeps the pages all the same, this is a transfer like any other.
        data.file.sync_all().unwrap();
        rustix::fs::fadvise(&data.file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let leases = (0..20).map(|piece| leecher.grant(conn, &swarm, piece, request_len));
        for (piece, lease) in (0..).zip(leases.collect::<Vec<_>>()) {
            assert!(leecher.received(lease).await == data.piece(piece));
        }
    }
}

#[tokio::test]
async fn a_truncated_file_closes_the_connection_and_is_reported() {
    let data = Data::single(4 * PIECE_LEN as usize);
    let (mut seeder, _, _, mut leecher, conn, swarm) = pair(&data).await;
    data.file.set_len(u64::from(PIECE_LEN) + 30_000).unwrap();
    let whole = leecher.grant(conn, &swarm, 0, BLOCK_LEN);
    assert!(leecher.received(whole).await == data.piece(0));
    let cut = leecher.grant(conn, &swarm, 1, PIECE_LEN);
    let pick = |event: &NetEvent| match *event {
        NetEvent::SourceChanged { torrent, piece, .. } => Some((torrent, piece)),
        _ => None,
    };
    assert_eq!(seeder.until(pick).await.0, (TORRENT, PieceIndex(1)));
    assert!(matches!(seeder.closed().await, CloseCause::Io(_)));
    // One block of the long request was whole; the rest of it is not kept.
    assert_eq!(leecher.ended(cut).await, BLOCK_LEN);
    assert_eq!(leecher.closed().await, CloseCause::Remote);
}

#[tokio::test]
async fn a_changed_file_is_reported_once_and_not_served() {
    let data = Data::single(4 * PIECE_LEN as usize);
    let (mut seeder, _, full, mut leecher, conn, swarm) = pair(&data).await;
    *data.refusal.lock().unwrap() = Some(SourceError::Changed("data changed".to_owned()));
    let lease = leecher.grant(conn, &swarm, 2, BLOCK_LEN);
    let pick = |event: &NetEvent| match event {
        NetEvent::SourceChanged { piece, cause, .. } => Some((*piece, cause.clone())),
        _ => None,
    };
    let found = seeder.until(pick).await.0;
    assert_eq!(found, (PieceIndex(2), "data changed".to_owned()));
    assert_eq!(leecher.rejected(lease).await, 0);
    served(&full).clear(PieceIndex(2));
    *data.refusal.lock().unwrap() = None;
    let other = leecher.grant(conn, &swarm, 3, BLOCK_LEN);
    assert!(leecher.received(other).await == data.piece(3));
}

#[tokio::test]
async fn a_slow_session_holds_nobody_for_ever() {
    // More reports than the inbox and the outbox take, in both directions at once.
    let data = Data::single(60 * PIECE_LEN as usize);
    let (mut seeder, up, full, mut leecher, conn, swarm) = pair(&data).await;
    leecher.net.serve(conn, Serving::Unchoked, 1 << 20);
    seeder.message(&Message::Unchoke).await;
    let pieces = 0..60;
    pieces.clone().for_each(|piece| served(&swarm).set(PieceIndex(piece)));
    for piece in 0..400 {
        leecher.net.send(conn, Message::Have(PieceIndex(piece % 60)));
        seeder.net.send(up, Message::Have(PieceIndex(piece % 60)));
    }
    let down = pieces.clone().map(|piece| leecher.grant(conn, &swarm, piece, BLOCK_LEN));
    let down = down.collect::<Vec<_>>();
    let back = pieces.map(|piece| seeder.grant(up, &full, piece, BLOCK_LEN)).collect::<Vec<_>>();
    let all = async |party: &mut Party, leases: Vec<LeaseId>| {
        for (piece, lease) in (0..).zip(leases) {
            assert!(party.received(lease).await == data.piece(piece));
        }
    };
    tokio::join!(all(&mut leecher, down), all(&mut seeder, back));
}

pub(super) fn request(piece: u32, offset: u32, len: u32) -> Message {
    let piece = PieceIndex(piece);
    Message::Request(shoal_core::wire::BlockRange { piece, offset, len })
}
