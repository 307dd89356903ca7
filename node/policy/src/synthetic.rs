//! Consultations that no swarm asked: what a policy is tried with before it is let near one.
//! Never here: the judgement.

use std::sync::Arc;

use shoal_core::{
    config::CANDIDATES_MAX,
    ids::{ConnId, InfoHash, PeerId, PieceIndex, PolicyId, RoundId, TorrentId},
    policy::{
        Candidate, ChunkFault, ChunkView, Consultation, DownloadView, Happening, Labels, PeerView,
        Report,
    },
    time::Timestamp,
};

/// A dry run: what is tried, and a consultation of one chunk.
pub(crate) fn consultations() -> [(&'static str, Consultation); 4] {
    [
        ("no candidate", consultation(0, Known::All)),
        ("1 candidate", consultation(1, Known::All)),
        ("50 candidates", consultation(50, Known::All)),
        ("8 candidates of unknown rates", consultation(8, Known::Nothing)),
    ]
}

/// A dry run of what a policy is told beside decisions: one report of each kind.
pub(crate) fn reports() -> [Report; 6] {
    let Consultation { peers, chunks, download, policy, torrent, now, .. } =
        consultation(8, Known::All);
    let (peer, mut chunk) = (peers[3].clone(), chunks[0].clone());
    chunk.candidates.clear();
    let whats = [
        Happening::PeerAdded { peer: peer.clone() },
        Happening::Tick { peers },
        Happening::ChunkDone {
            peer: peer.clone(),
            chunk: chunk.clone(),
            bytes: u64::from(chunk.size),
            took_us: 12_345,
        },
        Happening::ChunkFailed { peer: peer.clone(), chunk, fault: ChunkFault::Timeout },
        Happening::PeerRemoved { peer },
        Happening::Finished,
    ];
    whats.map(|what| Report { policy, torrent, now, download: download.clone(), what })
}

/// What is known of the peers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    All,
    Nothing,
}

/// A consultation of one chunk over so many peers, at most [`CANDIDATES_MAX`], in order of id.
pub(crate) fn consultation(count: usize, known: Known) -> Consultation {
    let count = u16::try_from(count.min(CANDIDATES_MAX)).unwrap_or(u16::MAX);
    let peers = (0..count).map(|n| peer(n, known)).collect();
    let candidates = (0..usize::from(count))
        .map(|peer| Candidate { peer, tried: peer == 3 })
        .collect::<Vec<_>>();
    let chunk = ChunkView {
        piece: PieceIndex(117),
        name: "file1.webm.part118".to_owned(),
        offset: 0,
        size: 512 * 1024,
        availability: u32::from(count),
        attempts: u32::from(count > 3),
        priority: 0,
        deadline_ms: None,
        candidates,
        sampled: false,
    };
    let download = DownloadView {
        id: InfoHash([0x5a; 20]),
        name: "dry-run".to_owned(),
        total: 1 << 30,
        done: 117 << 19,
        rate_bps: 40_000_000,
        endgame: false,
        elapsed_ms: 1500,
    };
    Consultation {
        round: RoundId(0),
        policy: PolicyId(0),
        torrent: TorrentId(u32::MAX),
        now: Timestamp(2_000_000),
        download,
        peers,
        chunks: vec![chunk],
    }
}

fn peer(n: u16, known: Known) -> PeerView {
    let low = n.to_be_bytes()[1];
    let wide = u64::from(n);
    let all = known == Known::All;
    let mut labels = Labels::new();
    if all && n % 4 != 3 {
        labels.insert("zone".to_owned(), if n.is_multiple_of(2) { "a" } else { "b" }.to_owned());
        labels.insert("cost".to_owned(), (n % 3).to_string());
    }
    PeerView {
        conn: ConnId(u64::MAX - wide),
        id: PeerId([low; 20]),
        addr: ([10, 0, 0, low], 7000).into(),
        labels: Arc::new(labels),
        uploaded: if all { wide.wrapping_mul(7919) % 64 * 1_000_000 } else { 0 },
        downloaded: if all { wide * 500_000 } else { 0 },
        inflight: u32::from(n % 3),
        slots: 4,
        rate_bps: if all { (wide % 7) * 1_000_000 } else { 0 },
        rtt_us: if all { 300 + wide * 10 } else { 0 },
        failures: u32::from(n == 3),
        fail_streak: u32::from(n == 3),
        is_seed: n.is_multiple_of(5),
        estimated: !all,
        client: Arc::from(if all { "shoal 0.1.0.0" } else { "unknown" }),
    }
}
