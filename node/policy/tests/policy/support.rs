//! Consultations and scripts for the tests of the policy host.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use shoal_core::{
    ids::{ConnId, InfoHash, PeerId, PieceIndex, PolicyId, RoundId, TorrentId},
    policy::{
        Candidate, ChunkView, Consultation, DownloadView, Happening, Labels, PeerView, Report,
        Verdict,
    },
    time::Timestamp,
};
use shoal_policy::{
    budget::InstructionBudget,
    failure::Diagnostics,
    load::ScriptSource,
    script::Script,
    sink::{LogLevel, MetricOperation, NoSink, Sink},
};

pub(crate) fn source(lua: impl AsRef<[u8]>) -> ScriptSource {
    ScriptSource { seed: 1, ..ScriptSource::new("test", "scripts/test.lua", lua.as_ref()) }
}

pub(crate) fn load(lua: impl AsRef<[u8]>) -> Result<Script, Diagnostics> {
    source(lua).load(Box::new(InstructionBudget::default()), Box::new(NoSink))
}

pub(crate) fn load_with(
    source: ScriptSource,
    sink: impl Sink + 'static,
) -> Result<Script, Diagnostics> {
    source.load(Box::new(InstructionBudget::default()), Box::new(sink))
}

pub(crate) fn loaded(lua: impl AsRef<[u8]>) -> Script {
    load(lua).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

/// Wraps the body of a `choose`.
pub(crate) fn choosing(body: &str) -> Script {
    loaded(format!("return function(ctx, peers)\n{body}\nend"))
}

pub(crate) fn peer(n: u8) -> PeerView {
    PeerView {
        conn: ConnId(100 + u64::from(n)),
        id: PeerId([n; 20]),
        addr: ([10, 0, 0, n], 7000).into(),
        labels: Arc::new(Labels::from([("zone".to_owned(), "b".to_owned())])),
        uploaded: u64::from(n) * 1000,
        downloaded: 7,
        inflight: 1,
        slots: 4,
        rate_bps: 5000,
        rtt_us: 1500,
        failures: 0,
        fail_streak: 0,
        is_seed: n == 0,
        estimated: false,
        client: Arc::from("shoal 0.1.0.0"),
    }
}

pub(crate) fn conn(n: u8) -> ConnId {
    peer(n).conn
}

pub(crate) fn chunk(peers: usize) -> ChunkView {
    ChunkView {
        piece: PieceIndex(118),
        name: "file1.webm.part119".to_owned(),
        offset: 0,
        size: 1000,
        availability: 3,
        attempts: 0,
        priority: 0,
        deadline_ms: None,
        candidates: (0..peers).map(|peer| Candidate { peer, tried: false }).collect(),
        sampled: false,
    }
}

pub(crate) fn consultation(peers: Vec<PeerView>, chunks: usize) -> Consultation {
    Consultation {
        round: RoundId(1),
        policy: PolicyId(1),
        torrent: TorrentId(1),
        now: Timestamp(10_000_000),
        download: DownloadView {
            id: InfoHash([0x3f; 20]),
            name: "file1".to_owned(),
            total: 1 << 30,
            done: 1 << 20,
            rate_bps: 1_000_000,
            endgame: false,
            elapsed_ms: 1234,
        },
        chunks: (0..chunks).map(|_| chunk(peers.len())).collect(),
        peers,
    }
}

/// What happened to the download of [`consultation`].
pub(crate) fn report(what: Happening) -> Report {
    let Consultation { policy, torrent, now, download, .. } = three();
    Report { policy, torrent, now, download, what }
}

/// A sink that keeps the log, and the log.
pub(crate) fn kept_log() -> (impl Sink, Rc<RefCell<Vec<String>>>) {
    let lines = Rc::default();
    (KeptLog(Rc::clone(&lines)), lines)
}

struct KeptLog(Rc<RefCell<Vec<String>>>);

impl Sink for KeptLog {
    fn log(&mut self, _level: LogLevel, line: &str) {
        self.0.borrow_mut().push(line.to_owned());
    }

    fn metric(&mut self, _operation: MetricOperation, _name: &str, _value: f64) {}
}

/// Verdicts without what they took.
pub(crate) trait Verdicts {
    fn verdicts(&mut self, consultation: &Consultation) -> Vec<Verdict>;
}

impl Verdicts for Script {
    fn verdicts(&mut self, consultation: &Consultation) -> Vec<Verdict> {
        self.answer(consultation.clone()).into_iter().map(|judged| judged.verdict).collect()
    }
}

/// Three peers, one chunk.
pub(crate) fn three() -> Consultation {
    consultation((0..3).map(peer).collect(), 1)
}

/// The verdict on one chunk over three peers.
pub(crate) fn verdict(script: &mut Script) -> Verdict {
    let mut verdicts = script.verdicts(&three());
    assert_eq!(verdicts.len(), 1);
    verdicts.remove(0)
}

pub(crate) fn chosen(n: u8) -> Verdict {
    Verdict::Chosen { conn: conn(n), reason: None }
}

/// The message of the last error.
pub(crate) fn last_message(script: &Script) -> String {
    script.status().last_error.map(|error| error.failure.message).unwrap_or_default()
}
