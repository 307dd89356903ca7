//! Peers of a node that has everything.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use shoal::v1;
use shoal_core::{
    ids::{InfoHash, PieceIndex},
    wire::{BlockRange, Handshake, Message, handshake::HANDSHAKE_LEN},
};

use super::{
    BLOCK, range,
    wire::{Heard, Speaks, Wire},
};
use crate::{
    fake::Content,
    harness::{Host, Party, sample, until, within},
};

/// What the node must do.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// Close, without a byte of payload.
    Close,
    /// Close, which may come after what was asked for next: the session judges, not the connection.
    CloseSoon,
    /// Go on as if nothing was: what is asked for next is what is served next.
    GoOn,
    /// Reject this block, and go on.
    Reject(BlockRange),
    /// Serve this block, and go on.
    Serve(BlockRange),
}

/// A row: what a peer does once hands are shaken.
struct Row(&'static str, Speaks, fn(&mut Wire), Must);

/// Bytes of a chunk: more than any foreign request that is served.
const CHUNK: u32 = 256 * 1024;
/// Chunks of the torrent, the last of them short.
const CHUNKS: u32 = 5;
/// Its length, bytes.
const LEN: u32 = 4 * CHUNK + 1000;
/// The longest request that a foreign peer is served.
const LONGEST: u32 = 128 * 1024;
/// A block that an honest peer asks for.
const HONEST: BlockRange = BlockRange { piece: PieceIndex(2), offset: BLOCK, len: BLOCK };

use Must::{Close, CloseSoon, GoOn, Reject, Serve};
use Speaks::{Extended, Fast, Plain};

const ROWS: &[Row] = &[
    // Lengths and ids.
    Row("a message of 4 GiB", Plain, |w| w.bytes(&[0xff; 5]), Close),
    Row("a message over the longest block", Plain, |w| w.bytes(&[0, 0x10, 0, 10]), Close),
    Row("an id that no message has", Plain, |w| w.raw(99, &[]), Close),
    Row("the id of a message not agreed on (BEP 6)", Plain, |w| w.say(&Message::HaveAll), Close),
    Row("a choke with a body", Plain, |w| w.raw(0, &[1]), Close),
    Row("a have of three bytes", Plain, |w| w.raw(4, &[0, 0, 0]), Close),
    Row("a request of eleven bytes", Plain, |w| w.raw(6, &[0; 11]), Close),
    Row("a block without its own head", Plain, |w| w.raw(7, &[0; 7]), Close),
    Row("an extended message without an id", Extended, |w| w.raw(20, &[]), Close),
    Row("an extended message of 33 KiB", Extended, |w| w.raw(20, &[0; 33 * 1024]), Close),
    Row(
        "a message in two halves",
        Plain,
        |w| {
            w.bytes(&[0, 0, 0, 13, 6, 0, 0]);
            w.bytes(&[0, 1, 0, 0, 0, 7, 0, 0, 0, 9])
        },
        Serve(range(1, 7, 9)),
    ),
    // What it has.
    Row("a bitfield too long", Plain, |w| w.raw(5, &[0, 0]), Close),
    Row("a bitfield too short", Plain, |w| w.raw(5, &[]), Close),
    Row("a bitfield with a spare bit set", Plain, |w| w.raw(5, &[0x04]), CloseSoon),
    Row(
        "a have of a piece that is not there",
        Plain,
        |w| w.say(&Message::Have(PieceIndex(CHUNKS))),
        CloseSoon,
    ),
    Row(
        "two bitfields",
        Plain,
        |w| {
            w.raw(5, &[0x80]);
            w.raw(5, &[0x10])
        },
        GoOn,
    ),
    Row(
        "a bitfield after other messages",
        Plain,
        |w| {
            w.say(&Message::Interested);
            w.raw(5, &[0x80])
        },
        GoOn,
    ),
    Row(
        "have none after haves",
        Fast,
        |w| {
            w.say(&Message::Have(PieceIndex(1)));
            w.say(&Message::HaveNone)
        },
        GoOn,
    ),
    Row(
        "the same have a thousand times",
        Plain,
        |w| (0..1000).for_each(|_| w.say(&Message::Have(PieceIndex(1)))),
        GoOn,
    ),
    // Requests.
    Row(
        "a request without interest",
        Plain,
        |w| w.say(&Message::Request(range(1, 7, 9))),
        Serve(range(1, 7, 9)),
    ),
    Row(
        "a request of 128 KiB",
        Plain,
        |w| w.say(&Message::Request(range(0, 1, LONGEST))),
        Serve(range(0, 1, LONGEST)),
    ),
    Row(
        "a longer request of who can't be told no",
        Plain,
        |w| w.say(&Message::Request(range(0, 1, LONGEST + 1))),
        GoOn,
    ),
    Row(
        "a longer request",
        Fast,
        |w| w.say(&Message::Request(range(0, 1, LONGEST + 1))),
        Reject(range(0, 1, LONGEST + 1)),
    ),
    Row(
        "a request off the grid, of the last piece",
        Plain,
        |w| w.say(&Message::Request(range(4, 999, 1))),
        Serve(range(4, 999, 1)),
    ),
    Row("a request of nothing", Plain, |w| w.say(&Message::Request(range(0, 0, 0))), Close),
    Row(
        "a request over the end of a piece",
        Plain,
        |w| w.say(&Message::Request(range(4, 0, 1001))),
        Close,
    ),
    Row(
        "a request whose end is over 4 GiB",
        Plain,
        |w| w.say(&Message::Request(range(0, u32::MAX, u32::MAX))),
        Close,
    ),
    Row(
        "a request of a piece that is not there",
        Plain,
        |w| w.say(&Message::Request(range(CHUNKS, 0, 1))),
        Close,
    ),
    Row(
        "a request for the same twice",
        Plain,
        |w| (0..2).for_each(|_| w.say(&Message::Request(range(1, 0, 5)))),
        Serve(range(1, 0, 5)),
    ),
    Row("a cancel of nothing", Plain, |w| w.say(&Message::Cancel(range(1, 0, 5))), GoOn),
    Row(
        "a cancel beyond the torrent",
        Plain,
        |w| w.say(&Message::Cancel(range(900, u32::MAX, 5))),
        GoOn,
    ),
    Row(
        "a cancel of what was asked for",
        Fast,
        |w| {
            w.say(&Message::Request(range(1, 0, LONGEST + 1)));
            w.say(&Message::Cancel(range(1, 0, LONGEST + 1)))
        },
        Reject(range(1, 0, LONGEST + 1)),
    ),
    // Blocks that nobody asked for.
    Row("a block", Plain, |w| w.piece(1, 0, &[0; BLOCK as usize]), GoOn),
    Row("a block over the end of its piece", Plain, |w| w.piece(4, 0, &[0; BLOCK as usize]), Close),
    Row("a block of a piece that is not there", Plain, |w| w.piece(CHUNKS, 0, &[0; 16]), Close),
    Row(
        "two thousand blocks",
        Plain,
        |w| (0..2000).for_each(|_| w.piece(1, 0, &[0; BLOCK as usize])),
        Close,
    ),
    Row("a rejection", Fast, |w| w.say(&Message::Reject(range(1, 0, BLOCK))), GoOn),
    Row(
        "endless rejections",
        Fast,
        |w| (0..5000).for_each(|_| w.say(&Message::Reject(range(1, 0, BLOCK)))),
        Close,
    ),
    // Hints.
    Row("a suggestion", Fast, |w| w.say(&Message::Suggest(PieceIndex(1))), GoOn),
    Row(
        "a suggestion of a piece that is not there",
        Fast,
        |w| w.say(&Message::Suggest(PieceIndex(CHUNKS))),
        Close,
    ),
    Row(
        "an allowed piece that is not there",
        Fast,
        |w| w.say(&Message::AllowedFast(PieceIndex(u32::MAX))),
        Close,
    ),
    Row("a DHT port", Plain, |w| w.say(&Message::Port(6881)), GoOn),
    // Extensions.
    Row(
        "an extension that was not offered",
        Plain,
        |w| w.say(&Message::Extended { id: 0, payload: b"de".to_vec() }),
        GoOn,
    ),
    Row("an extended handshake that is none", Extended, |w| w.raw(20, b"\0not bencoded"), GoOn),
    Row("an extended handshake that is a list", Extended, |w| w.raw(20, b"\0le"), GoOn),
    Row(
        "an extended handshake of nested lists",
        Extended,
        |w| w.raw(20, &[&[0][..], &[b'l'; 30_000]].concat()),
        GoOn,
    ),
    Row(
        "an extended handshake with impossible numbers",
        Extended,
        |w| w.raw(20, b"\0d1:md5:shoali-1ee1:pi70000e4:reqqi-5ee"),
        GoOn,
    ),
    Row(
        "ten extended handshakes",
        Extended,
        |w| (0..10).for_each(|_| w.raw(20, b"\0d1:md5:shoali3ee4:reqqi1ee")),
        GoOn,
    ),
    Row(
        "an extended message under an id that we never gave",
        Extended,
        |w| w.raw(20, b"\xffwhatever"),
        GoOn,
    ),
    Row("a shoal message that is none", Extended, |w| w.raw(20, b"\x01d1:t5:helloe"), GoOn),
    Row(
        "a label with a control character",
        Extended,
        |w| w.raw(20, b"\x01d6:labelsd1:z2:\x1b[e1:t5:helloe"),
        GoOn,
    ),
    // Too much of what is right.
    Row("a thousand keep-alives", Plain, |w| w.bytes(&[0; 4000]), GoOn),
    Row(
        "interest that comes and goes a thousand times",
        Plain,
        |w| {
            (0..1000).for_each(|n| {
                w.say(if n % 2 == 0 { &Message::Interested } else { &Message::NotInterested })
            })
        },
        GoOn,
    ),
    Row(
        "choking that comes and goes a thousand times",
        Plain,
        |w| {
            (0..1000)
                .for_each(|n| w.say(if n % 2 == 0 { &Message::Unchoke } else { &Message::Choke }))
        },
        GoOn,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_seeding_node_does_what_the_table_has_it_do() {
    let (party, content, addr) = seeder().await;
    let broken = tokio::task::spawn_blocking(move || {
        let rows = ROWS.iter().zip(1..);
        rows.filter_map(|(row, n)| played(row, n, addr, &content).err()).collect::<Vec<_>>()
    });
    let broken = within(Duration::from_secs(120), "the table", broken).await.unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
    drop(party);
}

/// Plays a row. Says what went otherwise.
fn played(row: &Row, n: u8, addr: SocketAddr, content: &Content) -> Result<(), String> {
    let &Row(what, speaks, act, must) = row;
    let wrong = |heard: &str| Err(format!("{what}: must {must:?}, but {heard}"));
    let mut wire = Wire::connect(addr);
    if wire.shake(content.info_hash, n, speaks).is_none() {
        return wrong("the handshake was refused");
    }
    act(&mut wire);
    wire.say(&Message::Interested);
    wire.say(&Message::Request(HONEST));
    let mut rejected = Vec::new();
    let next = |wire: &mut Wire, rejected: &mut Vec<BlockRange>| {
        wire.until(|heard| match heard {
            Heard::Piece(range, block) => Some((range, block)),
            Heard::Message(Message::Reject(range)) => {
                rejected.push(range);
                None
            }
            Heard::Message(_) => None,
        })
    };
    let mut served = next(&mut wire, &mut rejected);
    if let Serve(expected) = must {
        match served {
            Some((range, block)) if range == expected && block == content.block(range) => {}
            Some((range, _)) => return wrong(&format!("{range:?} was served")),
            None => return wrong("it was closed"),
        }
        served = next(&mut wire, &mut rejected);
        while served.as_ref().is_some_and(|(range, _)| *range == expected) {
            served = next(&mut wire, &mut rejected);
        }
    }
    match (must, served) {
        (CloseSoon, _) => {
            wire.rest();
            Ok(())
        }
        (Close, None) => Ok(()),
        (Close, Some(_)) => wrong("it was served"),
        (GoOn | Reject(_) | Serve(_), None) => wrong("it was closed"),
        (Reject(range), Some(_)) if !rejected.contains(&range) => {
            wrong(&format!("rejected were {rejected:?}"))
        }
        (GoOn | Reject(_) | Serve(_), Some((range, block))) => {
            if (range, &block[..]) == (HONEST, content.block(HONEST)) {
                return Ok(());
            }
            wrong(&format!("{range:?} was served"))
        }
    }
}

/// Handshakes: what a peer says first, and whether it hears anything before it is closed.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_handshakes_are_closed_and_told_nothing() {
    let (party, content, addr) = seeder().await;
    let played = tokio::task::spawn_blocking(move || {
        let unheard = |first: &[u8], what: &str| {
            let mut wire = Wire::connect(addr);
            wire.bytes(first);
            assert!(wire.rest().is_empty(), "{what}");
        };
        unheard(&[20], "an encrypted handshake");
        unheard(b"GET / HTTP/1.1\r\n\r\n", "another protocol");
        unheard(&[&[19], &b"BitTorrent protocoL"[..], &[0; 48]].concat(), "nearly the protocol");
        let shake = |info_hash, n| Wire::connect(addr).shake(info_hash, n, Speaks::Fast);
        assert_eq!(shake(InfoHash([7; 20]), 1), None, "another torrent");
        let mut first = Wire::connect(addr);
        let node = first.shake(content.info_hash, 1, Speaks::Fast).unwrap();
        assert_eq!(shake(content.info_hash, 1), None, "an id that is connected");
        let mut itself = Wire::connect(addr);
        itself.bytes(&Handshake::new(content.info_hash, node.peer_id).encode());
        assert_eq!(itself.rest().len(), HANDSHAKE_LEN, "the node's own id");
        first.say(&Message::Request(HONEST));
        let served = first.until(|heard| match heard {
            Heard::Piece(range, _) => Some(range),
            Heard::Message(_) => None,
        });
        assert_eq!(served, Some(HONEST), "the one that was there first stays");
    });
    within(Duration::from_secs(60), "handshakes", played).await.unwrap();
    drop(party);
}

/// A node that has everything, and what that is.
async fn seeder() -> ((Party, Host), Arc<Content>, SocketAddr) {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("rules.bin", sample(LEN as usize, 77), CHUNK);
    let path = party.write("data/rules.bin", &content.data);
    let host = party.peer("seeder").await;
    let request = v1::AddTorrentRequest {
        source: Some(v1::add_torrent_request::Source::Metainfo(metainfo)),
        seed_path: path.to_str().unwrap().to_owned(),
        ..v1::AddTorrentRequest::default()
    };
    host.torrents().add_torrent(request).await.unwrap();
    until("the seed is verified", async || {
        let torrent = host.torrent().await;
        (torrent.chunks_have == torrent.chunks).then_some(())
    })
    .await;
    let addr = host.addr;
    ((party, host), content, addr)
}
