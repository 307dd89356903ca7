//! The host against policies that the test holds in its hand, and against real scripts.

use std::{
    net::SocketAddr,
    sync::mpsc::{Receiver, channel},
};

use shoal_core::{
    ids::{ConnId, InfoHash, PeerId, PieceIndex, TorrentId},
    policy::{Candidate, ChunkView, DownloadView, Happening, PeerView},
};

use super::{
    super::{
        PolicyLoaded, PolicyNews, PolicyState, Role, ScriptChoice, ScriptKind,
        held::{self, Hold},
    },
    *,
};

/// How long a test waits for a thread before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The policy that tests put in force.
const POLICY: PolicyId = PolicyId(1);

fn choice(source: &str) -> PolicyChoice {
    PolicyChoice::Script(ScriptChoice {
        name: "test.lua".into(),
        kind: ScriptKind::Custom,
        source: source.into(),
        params: BTreeMap::new(),
        watched: None,
    })
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
        policy: POLICY,
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

fn held() -> (PolicyHost, Receiver<PolicyNews>, Hold) {
    let (news, told) = channel();
    let tell = move |item| drop(news.send(item));
    let (host, hold) = held::host(Clock::start(), Arc::new(tell));
    (host, told, hold)
}

fn real() -> (PolicyHost, Receiver<PolicyNews>) {
    let (news, told) = channel();
    let tell = move |item| drop(news.send(item));
    (PolicyHost::new(Clock::start(), Arc::new(tell)), told)
}

/// Loads a policy, takes its end to the host, and puts it in force.
fn load(
    host: &PolicyHost,
    told: &Receiver<PolicyNews>,
    source: &str,
) -> Result<PolicyLoaded, PolicyRefusal> {
    let loaded = load_as(host, told, Role::Deciding, choice(source), None)?;
    host.put_in_force(Scope::Node, Decided::OnThread(POLICY).into());
    Ok(loaded)
}

fn load_as(
    host: &PolicyHost,
    told: &Receiver<PolicyNews>,
    role: Role,
    choice: PolicyChoice,
    beside: Option<Native>,
) -> Result<PolicyLoaded, PolicyRefusal> {
    let (policy, after) = (POLICY, Some(POLICY));
    host.load(Load { token: 1, policy, role, choice, beside, after })?;
    let (generation, token, result) = loop {
        // What an earlier policy still had to say comes first.
        match told.recv_timeout(PATIENCE).unwrap() {
            PolicyNews::Loaded { generation, token, result } => break (generation, token, result),
            PolicyNews::Answered { .. }
            | PolicyNews::Advised { .. }
            | PolicyNews::Standing { .. } => {}
        }
    };
    assert!(host.settle(generation, token, result.is_ok()).awaited, "nobody awaited the load");
    result
}

/// The next answer.
fn answered(host: &PolicyHost, told: &Receiver<PolicyNews>) -> (Vec<Verdict>, Accepted) {
    loop {
        if let PolicyNews::Answered { generation, answer } = told.recv_timeout(PATIENCE).unwrap() {
            let accepted = host.accept(generation, &answer);
            return (verdicts(answer), accepted);
        }
    }
}

fn verdicts(answer: Answer) -> Vec<Verdict> {
    answer.verdicts.into_iter().map(|judged| judged.verdict).collect()
}

fn join(host: &PolicyHost) {
    // A thread that a test killed is joined with its panic.
    host.stop().into_iter().for_each(|thread| drop(thread.join()));
}

const ALL_BYPASSED: [Verdict; 2] = [Verdict::Bypassed, Verdict::Bypassed];

#[test]
fn nobody_is_asked_before_a_policy_is_loaded() {
    let (host, _told) = real();
    let answer = host.consult(consultation(1)).unwrap_err();
    assert_eq!(verdicts(answer), ALL_BYPASSED);
    assert_eq!(host.status(Scope::Node).name, "lowest_uploaded");
}

#[test]
fn a_script_in_force_is_asked_until_it_is_dropped() {
    let (host, told) = real();
    let source = "return function(ctx, peers) log.info('asked') metric.inc('asks') \
                  metric.observe('peers', #peers) return #peers, 'why' end";
    load(&host, &told, source).unwrap();
    host.consult(consultation(1)).unwrap();
    let (said, accepted) = answered(&host, &told);
    assert!(accepted.believed && !accepted.recovered);
    let chosen = Verdict::Chosen { conn: ConnId(2), reason: Some("why".into()) };
    assert_eq!(said, [chosen.clone(), chosen]);
    let status = host.status(Scope::Node);
    assert_eq!((status.calls, status.chosen, status.state), (2, 2, PolicyState::Active));
    assert_eq!(status.log, ["info: asked", "info: asked"]);
    assert_eq!(status.metrics, [("asks".into(), 2.0), ("peers".into(), 2.0)].into());
    assert_eq!((status.name.as_str(), status.content_hash.len()), ("test.lua", 40));
    assert!(status.thread_cpu_us > 0);
    host.drop_policy(POLICY);
    host.consult(consultation(2)).unwrap();
    assert_eq!(answered(&host, &told).0, ALL_BYPASSED);
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
    let (said, accepted) = answered(&host, &told);
    assert!(accepted.believed);
    assert_eq!(said, [Verdict::Failed, Verdict::Failed]);
    let status = host.status(Scope::Node);
    assert_eq!(status.errors.get("budget"), Some(&2));
    assert_eq!(status.last_error.unwrap().kind, "budget");
    load(&host, &told, "return function(ctx, peers) return 1 end").unwrap();
    host.consult(consultation(2)).unwrap();
    let (said, _) = answered(&host, &told);
    assert!(matches!(said[0], Verdict::Chosen { conn: ConnId(1), .. }));
    assert_eq!(host.status(Scope::Node).last_error, None);
    join(&host);
}

#[test]
fn a_script_that_does_not_load_changes_nothing() {
    let (host, told) = real();
    load(&host, &told, "return function(ctx, peers) return 1 end").unwrap();
    let refusal = load(&host, &told, "return function(ctx, peers").unwrap_err();
    assert_eq!((refusal.errors[0].kind, refusal.errors[0].file.as_str()), ("syntax", "test.lua"));
    host.consult(consultation(1)).unwrap();
    let (said, accepted) = answered(&host, &told);
    assert!(accepted.believed && matches!(said[0], Verdict::Chosen { conn: ConnId(1), .. }));
    join(&host);
}

#[test]
fn a_script_is_told_what_happens_and_its_advice_comes_back() {
    let (host, told) = real();
    let source = "return { api = 1, order = function(ctx) return 'sequential' end, \
                  on = { tick = function(ctx, ev) metric.inc('ticks') end } }";
    let loaded = load(&host, &told, source).unwrap();
    assert!(loaded.hooks.order && loaded.hooks.tick && !loaded.hooks.decides);
    let question = consultation(1);
    let what = Happening::Tick { peers: question.peers };
    let (now, download, torrent) = (question.now, question.download, question.torrent);
    host.inform(Box::new(Report { policy: POLICY, torrent, now, download, what }));
    let advice = loop {
        if let PolicyNews::Advised { generation, advice } = told.recv_timeout(PATIENCE).unwrap() {
            assert!(host.is_current(generation));
            break advice;
        }
    };
    assert_eq!(advice.order.unwrap().strategy.name(), "sequential");
    let ticks = || host.status(Scope::Node).metrics.get("ticks").copied();
    let begun = std::time::Instant::now();
    while ticks() != Some(1.0) {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    join(&host);
}

#[test]
fn state_goes_over_to_a_successor_of_the_same_name() {
    let (host, told) = real();
    let source = "return function(ctx, peers) ctx.state.n = (ctx.state.n or 0) + 1 \
                  return 1, ctx.state.n end";
    load(&host, &told, source).unwrap();
    host.consult(consultation(1)).unwrap();
    answered(&host, &told);
    load(&host, &told, source).unwrap();
    host.consult(consultation(2)).unwrap();
    let (said, _) = answered(&host, &told);
    let reasons = said.iter().map(|verdict| {
        let Verdict::Chosen { reason, .. } = verdict else { panic!("{verdict:?}") };
        reason.clone().unwrap_or_default()
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["3", "4"]);
    join(&host);
}

#[test]
fn a_shadow_is_asked_the_same_and_changes_nothing() {
    let (host, told) = real();
    load(&host, &told, "return function(ctx, peers) return 1 end").unwrap();
    let shadow = choice("return function(ctx, peers) return #peers, 'the last' end");
    load_as(&host, &told, Role::Shadow, shadow, None).unwrap();
    host.consult(consultation(1)).unwrap();
    let (said, _) = answered(&host, &told);
    assert!(said.iter().all(|v| matches!(v, Verdict::Chosen { conn: ConnId(1), .. })));
    let begun = std::time::Instant::now();
    let shadow = loop {
        let shadow = host.shadow(Scope::Node).unwrap();
        if shadow.differed > 0 {
            break shadow;
        }
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    };
    assert_eq!((shadow.agreed, shadow.differed, shadow.status.calls), (0, 2, 2));
    let last = shadow.differences.last().unwrap();
    assert_eq!(last.chosen.as_deref(), Some("10.0.0.1:7000"));
    assert_eq!(last.shadow.as_deref(), Some("10.0.0.2:7000"));
    assert_eq!((last.chunk.as_str(), last.reason.as_str()), ("f.part1", "the last"));
    host.drop_shadow(POLICY);
    host.consult(consultation(2)).unwrap();
    answered(&host, &told);
    assert_eq!(host.shadow(Scope::Node), None);
    join(&host);
}

#[test]
fn a_native_is_consulted_beside_a_shadow() {
    let (host, told) = real();
    let shadow = choice("return function(ctx, peers) return 1 end");
    load_as(&host, &told, Role::Shadow, shadow, Some(Native::LowestUploaded)).unwrap();
    host.put_in_force(Scope::Node, Decided::OnThread(POLICY).into());
    host.consult(consultation(1)).unwrap();
    let (said, _) = answered(&host, &told);
    // The second chunk goes to the other: the first one's bytes count.
    let conns = [ConnId(1), ConnId(2)].map(|conn| Verdict::Chosen { conn, reason: None });
    assert_eq!(said, conns);
    let status = host.status(Scope::Node);
    assert_eq!((status.name.as_str(), status.calls), ("lowest_uploaded", 2));
    join(&host);
}

#[test]
fn a_reset_forgets_counters_and_errors() {
    let (host, told) = real();
    load(&host, &told, "return function(ctx, peers) if #peers == 2 then error('no') end end")
        .unwrap();
    host.consult(consultation(1)).unwrap();
    answered(&host, &told);
    assert!(host.status(Scope::Node).last_error.is_some());
    assert!(host.reset(POLICY));
    let begun = std::time::Instant::now();
    while host.status(Scope::Node).calls > 0 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert_eq!(host.status(Scope::Node).last_error, None);
    join(&host);
}

#[test]
fn an_explanation_changes_no_counter() {
    let (host, told) = real();
    load(&host, &told, "return function(ctx, peers) return #peers, 'because' end").unwrap();
    let (reply, said) = channel();
    host.explain(POLICY, consultation(1), Box::new(move |said| drop(reply.send(said))));
    let said = said.recv_timeout(PATIENCE).unwrap().unwrap();
    let chosen = Verdict::Chosen { conn: ConnId(2), reason: Some("because".into()) };
    assert_eq!((said.verdict, said.failure), (chosen, None));
    assert_eq!(host.status(Scope::Node).calls, 0);
    join(&host);
}

#[test]
fn a_thread_that_does_not_answer_for_a_second_is_bypassed_until_it_does() {
    let (host, told, hold) = held();
    assert_eq!(load(&host, &told, "").unwrap().warnings, ["odd"]);
    host.consult(consultation(1)).unwrap();
    let now = until_late(&host);
    assert!(!host.check(now).wedged, "told once");
    assert_eq!(host.status(Scope::Node).state, PolicyState::Wedged);
    assert_eq!(verdicts(host.consult(consultation(2)).unwrap_err()), ALL_BYPASSED);
    assert!(!host.reset(POLICY), "it would not hear of it");
    hold.let_go();
    let (_, accepted) = answered(&host, &told);
    assert_eq!(accepted, Accepted { believed: false, recovered: true });
    assert_eq!(host.status(Scope::Node).state, PolicyState::Active);
    hold.let_go();
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
            assert_eq!(verdicts(checked.bypassed[0].clone()), ALL_BYPASSED);
            return now;
        }
        assert!(begun.elapsed() < PATIENCE, "the thread never began");
        std::thread::yield_now();
    }
}

#[test]
fn a_new_policy_starts_a_new_thread_beside_a_wedged_one() {
    let (host, told, hold) = held();
    load(&host, &told, "").unwrap();
    host.consult(consultation(1)).unwrap();
    until_late(&host);
    load(&host, &told, "").unwrap();
    assert_eq!(host.status(Scope::Node).state, PolicyState::Active);
    hold.let_go();
    // The old thread answers into the void.
    let (_, accepted) = answered(&host, &told);
    assert_eq!(accepted, Accepted { believed: false, recovered: false });
    host.consult(consultation(2)).unwrap();
    hold.let_go();
    assert!(answered(&host, &told).1.believed);
    join(&host);
}

#[test]
fn a_thread_that_dies_is_wedged_at_once_and_replaced_by_the_next_policy() {
    let (host, told, hold) = held();
    load(&host, &told, "").unwrap();
    host.consult(consultation(1)).unwrap();
    hold.die();
    let begun = std::time::Instant::now();
    let checked = loop {
        let checked = host.check(host.0.clock.now());
        if checked.wedged {
            break checked;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody noticed");
        std::thread::yield_now();
    };
    assert_eq!(checked.bypassed.len(), 1, "what it was asked is answered");
    assert_eq!(host.status(Scope::Node).state, PolicyState::Wedged);
    load(&host, &told, "free").unwrap();
    host.consult(consultation(2)).unwrap();
    assert!(answered(&host, &told).1.believed);
    join(&host);
}

#[test]
fn a_sandbox_that_panics_is_an_error_and_not_the_end() {
    let (host, told, hold) = held();
    let refusal = load(&host, &told, "panic").unwrap_err();
    assert_eq!(refusal.errors[0].kind, "load");
    load(&host, &told, "").unwrap();
    host.consult(consultation(1)).unwrap();
    hold.let_go();
    assert!(answered(&host, &told).1.believed);
    join(&host);
    assert!(load(&host, &told, "").is_err(), "after the end");
}
