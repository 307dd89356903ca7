//! Peers that shake hands and then say anything at all: the node closes what it does not understand
//! and goes on serving the others.

use std::{io, net::SocketAddr, time::Duration};

use shoal_core::{
    ids::{InfoHash, PeerId},
    wire::{Handshake, handshake::HANDSHAKE_LEN},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::harness::{Host, Party, info_hash, sample, until, within};

/// Connections that talk nonsense, in all.
const CONNECTIONS: u64 = 1000;
/// As many of them at a time.
const AT_A_TIME: u64 = 20;
/// The longest nonsense, bytes.
const NONSENSE_MAX: usize = 4096;
/// How long the node may take to close a connection whose other side said its last.
const GOODBYE: Duration = Duration::from_secs(10);
/// Bytes shared: downloaded by one while the nonsense goes on, and by another after it.
const LEN: usize = 24 * 1024 * 1024 + 77;

/// Any bytes, any bytes in messages of a plausible length, or those behind a bitfield that fits.
fn nonsense(rng: &mut fastrand::Rng, bitfield_len: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.usize(1..=NONSENSE_MAX)];
    rng.fill(&mut bytes);
    match rng.u8(..3) {
        0 => return bytes,
        1 => {}
        _ => {
            let mut bitfield = vec![0; 4 + 1 + bitfield_len];
            bitfield[..4].copy_from_slice(&(1 + bitfield_len as u32).to_be_bytes());
            bitfield[4] = 5;
            bytes.splice(0..0, bitfield);
        }
    }
    // Lengths that some kind of message has: 1 to 13 and longer ones, under ids that exist.
    const IDS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 16, 17, 20, 21];
    const LENS: [u32; 7] = [0, 1, 3, 5, 9, 13, 300];
    for _ in 0..rng.usize(1..20) {
        let (len, id) = (LENS[rng.usize(..LENS.len())], IDS[rng.usize(..IDS.len())]);
        let mut message = vec![0; len as usize];
        rng.fill(&mut message);
        message.first_mut().into_iter().for_each(|first| *first = id);
        bytes.splice(0..0, [&len.to_be_bytes()[..], &message].concat());
    }
    bytes
}

/// One connection: what is said to it, until it is closed from the other side.
async fn babble(to: SocketAddr, info_hash: InfoHash, said: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    let mut id = *b"-XX0000-000000000000";
    fastrand::Rng::with_seed(said.len() as u64).fill(&mut id[8..]);
    stream.write_all(&Handshake::new(info_hash, PeerId(id)).encode()).await?;
    let mut answer = [0; HANDSHAKE_LEN];
    stream.read_exact(&mut answer).await?;
    stream.write_all(said).await?;
    stream.shutdown().await?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    Ok(())
}

/// All of them; says how many were answered to their end, and not cut short.
async fn storm(to: [SocketAddr; 2], info_hash: InfoHash, bitfield_len: usize) -> u64 {
    let mut rng = fastrand::Rng::with_seed(0x5708_0100);
    let (mut talking, mut whole) = (JoinSet::new(), 0);
    for index in 0..CONNECTIONS {
        let said = nonsense(&mut rng, bitfield_len);
        let to = to[(index % 2) as usize];
        talking.spawn(async move {
            within(GOODBYE, "the end of a connection", babble(to, info_hash, &said)).await
        });
        if index >= AT_A_TIME {
            whole += u64::from(talking.join_next().await.unwrap().unwrap().is_ok());
        }
    }
    while let Some(ended) = talking.join_next().await {
        whole += u64::from(ended.unwrap().is_ok());
    }
    whole
}

async fn connections(host: &Host) -> usize {
    let request = shoal::v1::SeeConnectedRequest::default();
    host.peer().see_connected(request).await.unwrap().into_inner().connections.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_peers_that_talk_nonsense_stop_nobody() {
    let party = Party::new().await;
    let data = sample(LEN, 60);
    let (seeder, metainfo) = party.seeder("file.bin", &data).await;
    let chunks = seeder.torrent().await.chunks as usize;
    let leecher = party.leecher("leecher", &metainfo).await;
    let storm = storm([seeder.addr, leecher.addr], info_hash(&metainfo), chunks.div_ceil(8));
    let (whole, done) = tokio::join!(storm, leecher.auto_download());
    assert!(done.unwrap().complete, "a download goes on beside it");
    assert!(whole > 0, "the node answers");
    println!("{whole} of {CONNECTIONS} connections were heard to their end");

    let late = party.leecher("late", &metainfo).await;
    assert!(late.auto_download().await.unwrap().complete, "and one begins after it");
    for host in [&leecher, &late] {
        let copy = std::fs::read(host.downloads().join("file.bin")).unwrap();
        assert!(copy == data, "the copy differs");
        assert_eq!(host.torrent().await.failed_chunks, 0);
    }
    until("nobody is left but those who share", async || {
        (connections(&seeder).await <= 2).then_some(())
    })
    .await;
}
