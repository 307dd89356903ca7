//! Peers of a node that downloads: each says that it has everything, and is asked.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use shoal::v1;
use shoal_core::{
    ids::PieceIndex,
    wire::{BlockRange, Message},
};

use tokio::{sync::Notify, task::JoinHandle};

use super::{
    BLOCK, range,
    wire::{Speaks, Wire},
};
use crate::{
    fake::{Conduct, Content, Fake},
    harness::{CHUNK, Party, last, sample, within},
};

/// What the node must do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Must {
    /// Go on with this peer, and have everything from it alone.
    GoOn,
    /// Close; have everything from an honest peer.
    Close,
    /// Have everything from an honest peer, whatever becomes of this one.
    TurnToOthers,
}

/// A row: what a peer does about the first requests.
struct Row(&'static str, Speaks, fn(&mut Wire, &Content), Must);

/// A peer that plays a row.
struct Script {
    /// The row's part is over.
    acted: Arc<Notify>,
    /// Ends once the node closed.
    task: JoinHandle<()>,
}

/// How long a download of a few chunks may take beside one that keeps a rule less.
const PATIENCE: Duration = Duration::from_secs(60);
/// Chunks of the torrent, the last of them short.
const CHUNKS: u32 = 4;

use Must::{Close, GoOn, TurnToOthers};
use Speaks::{Fast, Plain};

const ROWS: &[Row] = &[
    // Blocks.
    Row(
        "serves the last request first",
        Plain,
        |w, c| serve(w, c, 4, |asked| asked.reverse()),
        GoOn,
    ),
    Row(
        "serves each block twice",
        Plain,
        |w, c| serve(w, c, 4, |asked| *asked = [asked.clone(), asked.clone()].concat()),
        GoOn,
    ),
    Row(
        "serves a block of another piece",
        Plain,
        |w, c| {
            w.request();
            w.piece(CHUNKS - 1, 0, c.block(range(CHUNKS - 1, 0, 9)))
        },
        Close,
    ),
    Row(
        "serves half a block as if it were one",
        Plain,
        |w, c| {
            let r = asked(w);
            w.piece(r.piece.0, r.offset, c.block(range(r.piece.0, r.offset, BLOCK / 2)))
        },
        Close,
    ),
    Row(
        "serves one byte further on",
        Plain,
        |w, c| {
            let r = asked(w);
            w.piece(r.piece.0, r.offset + 1, c.block(range(r.piece.0, r.offset, BLOCK)))
        },
        Close,
    ),
    Row(
        "serves two blocks in one",
        Plain,
        |w, c| {
            let r = asked(w);
            w.piece(r.piece.0, 0, c.block(range(r.piece.0, 0, 2 * BLOCK)))
        },
        Close,
    ),
    Row(
        "serves over the end of the torrent",
        Plain,
        |w, _| {
            w.request();
            w.piece(CHUNKS, 0, &[0; 16])
        },
        Close,
    ),
    Row(
        "leaves in the middle of a block",
        Plain,
        |w, c| {
            let r = asked(w);
            w.bytes(&half_of(c, r));
            w.leave()
        },
        TurnToOthers,
    ),
    Row("talks between its blocks", Plain, talk, GoOn),
    // Choking.
    Row(
        "chokes once asked, and thinks better of it",
        Plain,
        |w, _| {
            w.request();
            w.say(&Message::Choke);
            w.say(&Message::Unchoke)
        },
        GoOn,
    ),
    Row(
        "chokes and unchokes fifty times",
        Plain,
        |w, _| {
            (0..50).for_each(|_| {
                w.say(&Message::Choke);
                w.say(&Message::Unchoke)
            })
        },
        GoOn,
    ),
    Row(
        "chokes for good",
        Plain,
        |w, _| {
            w.request();
            w.say(&Message::Choke)
        },
        TurnToOthers,
    ),
    Row(
        "serves though it chokes",
        Plain,
        |w, c| {
            let r = asked(w);
            w.say(&Message::Choke);
            w.block(r, c);
            w.say(&Message::Unchoke)
        },
        GoOn,
    ),
    // What it has.
    Row("says that it has nothing after all", Fast, |w, _| w.say(&Message::HaveNone), GoOn),
    Row(
        "has a piece that is not there",
        Plain,
        |w, _| w.say(&Message::Have(PieceIndex(CHUNKS))),
        Close,
    ),
    Row(
        "has everything twice over",
        Fast,
        |w, _| (0..2).for_each(|_| w.say(&Message::HaveAll)),
        GoOn,
    ),
    // Rejections.
    Row(
        "rejects a request",
        Fast,
        |w, _| {
            let r = asked(w);
            w.say(&Message::Reject(r))
        },
        GoOn,
    ),
    Row(
        "rejects what was not asked for",
        Fast,
        |w, _| w.say(&Message::Reject(range(0, 3, 5))),
        GoOn,
    ),
    // Requests.
    Row(
        "asks for what the node has not",
        Plain,
        |w, _| w.say(&Message::Request(range(3, 0, 9))),
        GoOn,
    ),
    Row(
        "asks for more than there is",
        Plain,
        |w, _| w.say(&Message::Request(range(3, 0, u32::MAX))),
        Close,
    ),
];

/// The first request.
fn asked(wire: &mut Wire) -> BlockRange {
    wire.request().expect("the node asks")
}

/// Serves so many requests, in an order and number that `change` has made of them.
fn serve(wire: &mut Wire, content: &Content, count: usize, change: fn(&mut Vec<BlockRange>)) {
    let mut ranges: Vec<BlockRange> = (0..count).map(|_| asked(wire)).collect();
    change(&mut ranges);
    ranges.iter().for_each(|range| wire.block(*range, content));
}

/// The first half of a `piece` message.
fn half_of(content: &Content, range: BlockRange) -> Vec<u8> {
    let mut bytes = (range.len + 9).to_be_bytes().to_vec();
    bytes.push(7);
    bytes.extend(range.piece.0.to_be_bytes());
    bytes.extend(range.offset.to_be_bytes());
    bytes.extend(&content.block(range)[..range.len as usize / 2]);
    bytes
}

/// Serves the first requests with other messages in between.
fn talk(wire: &mut Wire, content: &Content) {
    for n in 0..4 {
        let range = asked(wire);
        wire.say(&Message::Have(PieceIndex(n % CHUNKS)));
        wire.bytes(&[0; 4]);
        wire.block(range, content);
        wire.say(&Message::Interested);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downloading_node_does_what_the_table_has_it_do() {
    let party = Party::new().await;
    let mut broken = Vec::new();
    for (row, n) in ROWS.iter().zip(1..) {
        if let Err(how) = played(&party, row, n).await {
            broken.push(format!("{}: must {:?}, but {how}", row.0, row.3));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Plays a row against a node of its own. Says what went otherwise.
async fn played(party: &Party, row: &'static Row, n: u8) -> Result<(), String> {
    let must = row.3;
    let len = (CHUNKS * CHUNK - 100) as usize;
    let (content, metainfo) = Content::new("rules.bin", sample(len, n.into()), CHUNK);
    let mut node = party.leecher(&format!("leecher{n}"), &metainfo).await;
    let script = begin(&content, node.addr, row, n).await;
    let request = v1::AutoDownloadRequest::default();
    let job = node.peer().auto_download(request).await.map_err(|status| status.to_string())?;
    // Who is alone is sure to be asked.
    within(PATIENCE, row.0, script.acted.notified()).await;
    let honest = (must != GoOn).then(|| Fake::start(200, &content, Conduct::Honest));
    let closed = (must == Close).then_some(script.task);
    if let Some(closed) = closed {
        within(PATIENCE, row.0, closed).await.map_err(|_| "it was not closed".to_owned())?;
    }
    if let Some(honest) = &honest {
        node.connect_peer(honest.addr).await;
    }
    let done = within(PATIENCE, row.0, last(job.into_inner())).await;
    let done = done.map_err(|status| status.to_string())?;
    node.stop().await;
    let copy = std::fs::read(node.downloads().join("rules.bin")).map_err(|it| it.to_string())?;
    match done.complete && copy == content.data {
        true => Ok(()),
        false => Err(format!("the copy differs: {done:?}")),
    }
}

/// A peer of the node that has everything, unchokes, and plays the row's part; then it serves, unless
/// it is to be left.
async fn begin(content: &Arc<Content>, addr: SocketAddr, row: &'static Row, n: u8) -> Script {
    let &Row(what, speaks, act, must) = row;
    let (content, acted, connected) = (content.clone(), Arc::default(), Arc::new(Notify::new()));
    let (acting, connecting): (Arc<Notify>, _) = (Arc::clone(&acted), connected.clone());
    let task = tokio::task::spawn_blocking(move || {
        let mut wire = Wire::connect(addr);
        assert!(wire.shake(content.info_hash, n, speaks).is_some(), "{what}: not let in");
        wire.raw(5, &[0xf0]);
        wire.say(&Message::Unchoke);
        connecting.notify_one();
        act(&mut wire, &content);
        acting.notify_one();
        while let Some(range) = wire.request() {
            if must == GoOn {
                wire.block(range, &content);
            }
        }
    });
    within(PATIENCE, what, connected.notified()).await;
    Script { acted, task }
}
