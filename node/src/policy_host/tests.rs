//! The host against deciders that the test holds in its hand, and against real scripts.

use std::{
    net::SocketAddr,
    sync::mpsc::{Receiver, Sender, channel},
};

use shoal_core::{
    ids::{ConnId, InfoHash, PeerId, PieceIndex, TorrentId},
    policy::{Candidate, ChunkView, DownloadView, PeerView},
};
use shoal_policy::status::Status;

use super::{
    super::{
        ScriptKind,
        thread::{Decider, Loaded},
    },
    *,
};

/// How long a test waits for a thread before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn choice(source: &str) -> ScriptChoice {
    ScriptChoice {
        name: "test.lua".into(),
        kind: ScriptKind::Custom,
        source: source.into(),
        params: BTreeMap::new(),
    }
}

fn consultation(round: u64) -> Box<Consultation> {
    let peer = |n: u8| PeerView {
        conn: ConnId(u64::from(n)),
        id: PeerId([n; 20]),
        addr: SocketAddr::from(([10, 0, 0, n], 7000)),
        labels: Arc::default(),
        uploaded: u64::from(n),
        downloaded: 0,
        inflight: 0,
        slots: 4,
        rate_bps: 0,
        rtt_us: 0,
        failures: 0,
        fail_streak: 0,
        is_seed: true,
        estimated: false,
        client: "test".into(),
    };
    let chunk = |piece| ChunkView {
        piece: PieceIndex(piece),
        name: format!("f.part{piece}"),
        offset: 0,
        size: 1 << 19,
        availability: 2,
        attempts: 0,
        priority: 0,
        deadline_ms: None,
        candidates: vec![Candidate { peer: 0, tried: false }, Candidate { peer: 1, tried: false }],
        sampled: false,
    };
    Box::new(Consultation {
        round: RoundId(round),
        torrent: TorrentId(1),
        now: Timestamp(round * 1000),
        download: DownloadView {
            id: InfoHash([7; 20]),
            name: "t".into(),
            total: 1 << 20,
            done: 0,
            rate_bps: 0,
            endgame: false,
            elapsed_ms: 0,
        },
        peers: vec![peer(1), peer(2)],
        chunks: vec![chunk(0), chunk(1)],
    })
}

/// Answers when the test says so.
struct Held(Arc<Mutex<Receiver<()>>>);

impl Decider for Held {
    fn answer(&mut self, consultation: Consultation) -> Answer {
        let _ = lock(&self.0).recv_timeout(PATIENCE);
        let verdicts = vec![Verdict::Abstained; consultation.chunks.len()];
        Answer { round: consultation.round, verdicts }
    }

    fn forget(&mut self, _torrent: TorrentId) {}

    fn status(&self) -> Status {
        Status {
            name: "held".into(),
            file: "held.lua".into(),
            hash: String::new(),
            counters: shoal_policy::status::Counters::default(),
            tripped_until: None,
            trips: 0,
            memory_bytes: 0,
            log_lines_suppressed: 0,
            last_error: None,
        }
    }
}

fn held() -> (PolicyHost, Receiver<PolicyNews>, Sender<()>) {
    let (go, gate) = channel();
    let gate = Arc::new(Mutex::new(gate));
    let loader: Loader = Arc::new(move |choice, _, _| match choice.source.as_str() {
        "panic" => std::panic::resume_unwind(Box::new("a bug of ours")),
        _ => Ok(Loaded {
            decider: Box::new(Held(gate.clone())),
            warnings: vec!["odd".into()],
            params: BTreeMap::new(),
            description: String::new(),
        }),
    });
    let (news, told) = channel();
    let tell = move |item| drop(news.send(item));
    (PolicyHost::with_loader(Clock::start(), loader, Arc::new(tell)), told, go)
}

fn real() -> (PolicyHost, Receiver<PolicyNews>) {
    let (news, told) = channel();
    let tell = move |item| drop(news.send(item));
    (PolicyHost::new(Clock::start(), Arc::new(tell)), told)
}

/// Loads a script and takes its end to the host.
fn load(
    host: &PolicyHost,
    told: &Receiver<PolicyNews>,
    source: &str,
) -> Result<Vec<String>, PolicyRefusal> {
    host.load(1, choice(source))?;
    let (generation, token, result) = loop {
        // What an earlier script still had to say comes first.
        match told.recv_timeout(PATIENCE).unwrap() {
            PolicyNews::Loaded { generation, token, result } => break (generation, token, result),
            PolicyNews::Answered { .. }
            | PolicyNews::Failed(_)
            | PolicyNews::Tripped
            | PolicyNews::Recovered => {}
        }
    };
    assert!(host.settle(generation, token, result.is_ok()), "nobody awaited the load");
    result
}

/// The next answer, and what else was told before it.
fn answered(host: &PolicyHost, told: &Receiver<PolicyNews>) -> (Answer, Accepted) {
    loop {
        if let PolicyNews::Answered { generation, answer } = told.recv_timeout(PATIENCE).unwrap() {
            let accepted = host.accept(generation, &answer);
            return (answer, accepted);
        }
    }
}

fn join(host: &PolicyHost) {
    host.stop().into_iter().for_each(|thread| thread.join().unwrap());
}

const ALL_BYPASSED: [Verdict; 2] = [Verdict::Bypassed, Verdict::Bypassed];

#[test]
fn nobody_is_asked_while_a_native_policy_is_in_force() {
    let (host, _told) = real();
    let answer = host.consult(consultation(1)).unwrap_err();
    assert_eq!(answer.verdicts, ALL_BYPASSED);
    assert_eq!(host.status().name, "lowest_uploaded");
}

#[test]
fn a_script_in_force_is_asked_and_a_native_one_puts_it_out_of_force() {
    let (host, told) = real();
    load(&host, &told, "return function(ctx, peers) log.info('asked') return #peers, 'why' end")
        .unwrap();
    host.consult(consultation(1)).unwrap();
    let (answer, accepted) = answered(&host, &told);
    assert!(accepted.believed && !accepted.recovered);
    let chosen = Verdict::Chosen { conn: ConnId(2), reason: Some("why".into()) };
    assert_eq!(answer.verdicts, [chosen.clone(), chosen]);
    let status = host.status();
    assert_eq!((status.calls, status.chosen, status.state), (2, 2, PolicyState::Active));
    assert_eq!(status.log, ["info: asked", "info: asked"]);
    assert_eq!((status.name.as_str(), status.content_hash.len()), ("test.lua", 40));
    host.use_native(Native::Fastest);
    assert!(host.consult(consultation(2)).is_err());
    assert_eq!(host.status().name, "fastest");
    join(&host);
}

#[test]
fn a_script_that_loops_for_ever_is_stopped_and_the_thread_lives_on() {
    let (host, told) = real();
    // It passes the dry run, whose download has another name.
    let forever = "return function(ctx, peers) \
                   if ctx.download.name == 't' then while true do end end return 1 end";
    load(&host, &told, forever).unwrap();
    host.consult(consultation(1)).unwrap();
    let (answer, accepted) = answered(&host, &told);
    assert!(accepted.believed);
    assert_eq!(answer.verdicts, [Verdict::Failed, Verdict::Failed]);
    let status = host.status();
    assert_eq!(status.errors.get("budget"), Some(&2));
    assert_eq!(status.last_error.unwrap().kind, "budget");
    load(&host, &told, "return function(ctx, peers) return 1 end").unwrap();
    host.consult(consultation(2)).unwrap();
    let (answer, _) = answered(&host, &told);
    assert!(matches!(answer.verdicts[0], Verdict::Chosen { conn: ConnId(1), .. }));
    assert_eq!(host.status().last_error, None);
    join(&host);
}

#[test]
fn a_script_that_does_not_load_changes_nothing() {
    let (host, told) = real();
    load(&host, &told, "return function(ctx, peers) return 1 end").unwrap();
    let refusal = load(&host, &told, "return function(ctx, peers").unwrap_err();
    assert_eq!((refusal.errors[0].kind, refusal.errors[0].file.as_str()), ("syntax", "test.lua"));
    host.consult(consultation(1)).unwrap();
    assert!(answered(&host, &told).1.believed);
    join(&host);
}

#[test]
fn a_thread_that_does_not_answer_for_a_second_is_bypassed_until_it_does() {
    let (host, told, go) = held();
    assert_eq!(load(&host, &told, "").unwrap(), ["odd"]);
    host.consult(consultation(1)).unwrap();
    let now = until_late(&host);
    assert!(!host.check(now).wedged, "told once");
    assert_eq!(host.status().state, PolicyState::Wedged);
    assert_eq!(host.consult(consultation(2)).unwrap_err().verdicts, ALL_BYPASSED);
    go.send(()).unwrap();
    let (_, accepted) = answered(&host, &told);
    assert_eq!(accepted, Accepted { believed: false, recovered: true });
    assert_eq!(host.status().state, PolicyState::Active);
    go.send(()).unwrap();
    host.consult(consultation(3)).unwrap();
    assert!(answered(&host, &told).1.believed);
    join(&host);
}

/// Waits until the thread has begun, and looks at it a second later by the clock it is given.
fn until_late(host: &PolicyHost) -> Timestamp {
    let begun = std::time::Instant::now();
    loop {
        let now = host.0.clock.now() + WEDGED_AFTER;
        let checked = host.check(now);
        if checked.wedged {
            assert_eq!(checked.bypassed.len(), 1);
            assert_eq!(checked.bypassed[0].verdicts, ALL_BYPASSED);
            return now;
        }
        assert!(begun.elapsed() < PATIENCE, "the thread never began");
        std::thread::yield_now();
    }
}

#[test]
fn a_new_policy_starts_a_new_thread_beside_a_wedged_one() {
    let (host, told, go) = held();
    load(&host, &told, "").unwrap();
    host.consult(consultation(1)).unwrap();
    until_late(&host);
    load(&host, &told, "").unwrap();
    assert_eq!(host.status().state, PolicyState::Active);
    go.send(()).unwrap();
    // The old thread answers into the void.
    let (_, accepted) = answered(&host, &told);
    assert_eq!(accepted, Accepted { believed: false, recovered: false });
    host.consult(consultation(2)).unwrap();
    go.send(()).unwrap();
    assert!(answered(&host, &told).1.believed);
    join(&host);
}

#[test]
fn a_sandbox_that_panics_is_an_error_and_not_the_end() {
    let (host, told, go) = held();
    let refusal = load(&host, &told, "panic").unwrap_err();
    assert_eq!(refusal.errors[0].kind, "load");
    load(&host, &told, "").unwrap();
    host.consult(consultation(1)).unwrap();
    go.send(()).unwrap();
    assert!(answered(&host, &told).1.believed);
    join(&host);
    assert!(host.load(9, choice("")).is_err(), "after the end");
}
