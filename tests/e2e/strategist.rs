//! The strategist's day: a policy is written, checked, tested, measured, put in force, watched,
//! compared and explained, through `shoalctl` and through the stubs.

use std::collections::BTreeMap;

use shoal::v1::{self, policy_source, set_policy_request};
use shoal_ctl::Exit;
use tonic::Code;

use crate::{
    fake::{Conduct, Content, Fake},
    harness::{CHUNK, Host, Party, address, refusal, sample, until},
};

/// Prefers whoever listens on the higher port.
const HIGHEST: &str = "return { api = 1, name = 'highest', description = 'the highest port',
  score = function(ctx, peer)
    return tonumber(shoal.split(peer.addr, ':')[2])
  end,
}
";

fn source(source: &str) -> Option<v1::PolicySource> {
    Some(v1::PolicySource {
        policy: Some(policy_source::Policy::Source(source.to_owned())),
        source_name: "mine.lua".to_owned(),
        ..Default::default()
    })
}

async fn policy(host: &Host) -> v1::GetPolicyResponse {
    host.policies().get_policy(v1::GetPolicyRequest::default()).await.unwrap().into_inner()
}

async fn explain(host: &Host, chunk: &str) -> v1::ExplainDecisionResponse {
    let request = v1::ExplainDecisionRequest { chunk: chunk.to_owned(), ..Default::default() };
    host.policies().explain_decision(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_is_left_out_is_named_with_the_reason() {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("file1.webm", sample(16 * CHUNK as usize, 90), CHUNK);
    let fake = |n, conduct| Fake::start(n, &content, conduct);
    let leecher = party.leecher("leecher", &metainfo).await;
    let mut events = leecher.events(&[v1::EventKind::Peer]).await;
    let liar = fake(1, Conduct::Liar);
    leecher.connect_peer(liar.addr).await;
    let request = v1::AutoDownloadRequest::default();
    let _job = leecher.peer().auto_download(request).await.unwrap().into_inner();
    events.what("banned").await;
    let (chokes, poor) = (fake(2, Conduct::Chokes), fake(3, Conduct::Poor));
    let (held, other) = (fake(4, Conduct::Held), fake(5, Conduct::Held));
    for fake in [&chokes, &poor, &held, &other] {
        leecher.connect_peer(fake.addr).await;
    }
    // A new peer has one slot; each of the two that hold on to it has a chunk in it.
    let full = || async {
        let explained = explain(&leecher, "@15").await;
        (explained.candidates.is_empty()).then_some(explained)
    };
    let explained = until("both slots are in use", async || full().await).await;
    let why = |fake: &Fake| {
        let found = explained.left_out.iter().find(|peer| peer.peer == address(fake.addr));
        found.map(|peer| (peer.why(), peer.detail.clone())).unwrap()
    };
    use v1::LeftOut::{Banned, Choking, HasItNot, NoSlot};
    assert_eq!(why(&liar), (Banned, "it sent bad data twice".to_owned()));
    assert_eq!(why(&chokes), (Choking, "it chokes us".to_owned()));
    assert_eq!(why(&poor), (HasItNot, "it has 1 chunk, not this one".to_owned()));
    for fake in [&held, &other] {
        assert_eq!(why(fake), (NoSlot, "1 of 1 slots are in use".to_owned()));
    }
    assert_eq!((explained.left_out.len(), explained.outcome()), (5, v1::Outcome::Nobody));
    assert_eq!((explained.chunk.as_str(), explained.chosen), ("file1.webm.part16", None));
    let out = leecher.ctl(&["policy", "explain", "file1.webm.part16"]).await.ok();
    for words in ["chokes us", "bad data twice", "not this one", "slots are in use"] {
        assert!(out.contains(words), "{words}: {out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_explained_compared_traced_and_put_aside() {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("file1.webm", sample(64 * CHUNK as usize, 91), CHUNK);
    let fakes = [1, 2].map(|n| Fake::start(n, &content, Conduct::Paced(1 << 20)));
    let highest = fakes.iter().map(|fake| fake.addr).max();
    let leecher = party.leecher("leecher", &metainfo).await;
    for fake in &fakes {
        leecher.connect_peer(fake.addr).await;
    }
    let script = party.write("highest.lua", HIGHEST.as_bytes());
    let script = script.to_str().unwrap();
    leecher.ctl(&["policy", "set", script]).await.ok();
    leecher.ctl(&["policy", "set", "lowest_uploaded.lua", "--shadow"]).await.ok();

    let explained = explain(&leecher, "").await;
    assert_eq!(
        (explained.outcome(), explained.policy.as_str()),
        (v1::Outcome::Chosen, "highest.lua")
    );
    assert_eq!(explained.chosen, highest.and_then(address));
    let scores = explained.candidates.iter().map(|peer| {
        let port = peer.peer.as_ref().unwrap().port;
        peer.score == Some(f64::from(port))
    });
    assert_eq!(scores.collect::<Vec<_>>(), [true, true]);
    assert_eq!(policy(&leecher).await.status.unwrap().calls, 0, "explaining counts nothing");

    assert!(leecher.auto_download().await.unwrap().complete);
    let told = policy(&leecher).await;
    let (status, shadow) = (told.status.unwrap(), told.shadow.unwrap());
    assert!(status.chosen > 0 && status.thread_cpu_us > 0, "{status:?}");
    assert_eq!(shadow.agreed + shadow.differed, status.calls);
    assert!(shadow.differed > 0, "one looks at ports, the other at bytes: {shadow:?}");
    let difference = shadow.differences.last().unwrap();
    assert_ne!(difference.chosen, difference.shadow);

    let request = v1::WatchDecisionsRequest::default();
    let mut stream = leecher.policies().watch_decisions(request).await.unwrap().into_inner();
    let decisions = stream.message().await.unwrap().unwrap().decisions;
    assert!(stream.message().await.unwrap().is_none(), "it ends without --follow");
    let chosen = decisions.iter().filter(|made| made.outcome() == v1::Outcome::Chosen);
    let chosen = chosen.collect::<Vec<_>>();
    assert!(chosen.len() as u64 <= status.chosen && !chosen.is_empty());
    assert!(chosen.iter().all(|made| made.policy == "highest.lua" && made.candidates > 0));
    assert!(decisions.is_sorted_by_key(|made| made.sequence));

    leecher.ctl(&["policy", "reset"]).await.ok();
    let begun = async || policy(&leecher).await.status.filter(|status| status.calls == 0);
    until("the counters are back at nought", begun).await;
    leecher.ctl(&["policy", "set", "--none", "--shadow"]).await.ok();
    assert_eq!(policy(&leecher).await.shadow, None);
    leecher.ctl(&["policy", "set", "--none"]).await.ok();
    assert_eq!(policy(&leecher).await.status.unwrap().name, "lowest_uploaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_followed_while_they_are_made() {
    let party = Party::new().await;
    let (content, metainfo) = Content::new("file1.webm", sample(32 * CHUNK as usize, 92), CHUNK);
    let fake = Fake::start(1, &content, Conduct::Paced(2 << 20));
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_peer(fake.addr).await;
    let request = v1::WatchDecisionsRequest { follow: true, ..Default::default() };
    let mut stream = leecher.policies().watch_decisions(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().decisions.is_empty());
    assert!(leecher.auto_download().await.unwrap().complete);
    let mut seen = BTreeMap::new();
    while seen.len() < 32 {
        let message = stream.message().await.unwrap().unwrap();
        assert_eq!(message.skipped, 0);
        for made in message.decisions {
            assert_eq!(made.outcome(), v1::Outcome::Native);
            assert_eq!(made.chosen, address(fake.addr));
            assert!(seen.insert(made.chunk.clone(), made).is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_init_writes_passes_its_check_and_its_tests_and_loads() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    let dir = party.dir.path().join("policies");
    std::fs::create_dir(&dir).unwrap();
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    peer.ctl(&["policy", "init", "near", "--dir", dir.to_str().unwrap()]).await.ok();
    let out = peer.ctl(&["policy", "check", &at("near.lua")]).await.ok();
    assert!(out.contains("near.lua would be put in force"), "{out}");
    let out = peer.ctl(&["policy", "test", dir.to_str().unwrap()]).await.ok();
    assert!(!out.contains("FAILED") && out.contains("prefers our zone"), "{out}");
    let out = peer.ctl(&["policy", "set", &at("near.lua"), "--set", "zone=b", "--watch"]).await;
    out.ok();
    let status = policy(&peer).await.status.unwrap();
    assert_eq!(
        (status.watched_path.as_str(), status.params["zone"].as_str()),
        (&*at("near.lua"), "b")
    );
    let rows = peer.ctl(&["policy", "bench", &at("near.lua"), "-o", "json"]).await.ok();
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let candidates = rows["rows"].as_array().unwrap().iter().map(|row| &row["candidates"]);
    assert_eq!(candidates.collect::<Vec<_>>(), [8, 50, 200]);
    std::fs::write(at("near_test.lua"), "test('never', function() expect(1, 2) end)").unwrap();
    let said = peer.ctl(&["policy", "test", &at("near_test.lua")]).await;
    assert_eq!(said.exit, Exit::Precondition);
    assert!(said.out.contains("FAILED") && said.out.contains("near_test.lua:1"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_everything_and_changes_nothing() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    let broken = "return { api = 1, chose = 1, params = { zone = { type = 'strng' } } }";
    let request = v1::ValidatePolicyRequest { policy: source(broken) };
    let checked = peer.policies().validate_policy(request).await.unwrap().into_inner();
    let messages = checked.errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>();
    assert!(
        messages.iter().any(|message| message.contains("did you mean 'choose'")),
        "{messages:?}"
    );
    assert!(
        messages.iter().any(|message| message.contains("did you mean 'string'")),
        "{messages:?}"
    );
    let request = v1::ValidatePolicyRequest { policy: source(HIGHEST) };
    let checked = peer.policies().validate_policy(request).await.unwrap().into_inner();
    assert_eq!((checked.errors.len(), checked.declared_name.as_str()), (0, "highest"));
    assert_eq!(checked.hooks, ["score"]);
    assert_eq!(policy(&peer).await.status.unwrap().name, "lowest_uploaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_by_name() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    let set = async |policy, shadow, torrent: Option<&str>| {
        let torrent = torrent.map(str::to_owned);
        let request =
            v1::SetPolicyRequest { policy: Some(policy), shadow, torrent, ..Default::default() };
        let refused = peer.policies().set_policy(request).await.unwrap_err();
        let (code, reason, _) = refusal(&refused);
        (code, reason)
    };
    use set_policy_request::Policy::{Name, None as Nothing, Path};
    let path = |path: &str| Path(path.to_owned());
    let name = |name: &str| Name(name.to_owned());
    let is = |code: Code, reason: &str| (code, reason.to_owned());
    let invalid = || is(Code::InvalidArgument, "BAD_ARGUMENT");
    assert_eq!(set(path("near.lua"), false, None).await, invalid());
    // Over TCP only what is shared.
    let outside = set(path("/nowhere.lua"), false, None).await;
    assert_eq!(outside, is(Code::PermissionDenied, "PATH_NOT_SHARED"));
    let downloads = peer.downloads().display().to_string();
    let missing = set(path(&format!("{downloads}/none.lua")), false, None).await;
    assert_eq!(missing, is(Code::NotFound, "PATH_NOT_FOUND"));
    let folder = set(path(&downloads), false, None).await;
    assert_eq!(folder, is(Code::FailedPrecondition, "BAD_PATH"));
    assert_eq!(set(path("/near.lua"), true, None).await, invalid());
    assert_eq!(set(Nothing(false), false, None).await, invalid());
    let unknown = set(name("fastest"), false, Some("nowhere")).await;
    assert_eq!(unknown, is(Code::NotFound, "UNKNOWN_TORRENT"));
    peer.add(&crate::harness::metainfo("file1.webm", &sample(1000, 93), CHUNK, &[])).await.unwrap();
    let alone = set(name("fastest"), true, Some("file1.webm")).await;
    assert_eq!(alone, is(Code::FailedPrecondition, "NO_OWN_POLICY"));

    let request = v1::ExplainDecisionRequest::default();
    let nothing = peer.policies().explain_decision(request).await.unwrap_err();
    assert_eq!(refusal(&nothing).1, "NOTHING_TO_EXPLAIN");
    let test = async |request| {
        let refused = peer.policies().test_policy(request).await.unwrap_err();
        refusal(&refused).1
    };
    assert_eq!(test(v1::TestPolicyRequest::default()).await, "BAD_ARGUMENT");
    let files = vec![v1::TestFile::default(); 65];
    assert_eq!(test(v1::TestPolicyRequest { files, policy: None }).await, "BAD_ARGUMENT");
    let native = Some(v1::PolicySource {
        policy: Some(policy_source::Policy::Name("fastest".to_owned())),
        ..Default::default()
    });
    let files = vec![v1::TestFile::default()];
    assert_eq!(test(v1::TestPolicyRequest { files, policy: native }).await, "BAD_ARGUMENT");
    let request = v1::BenchPolicyRequest { policy: source("return 5") };
    let refused = peer.policies().bench_policy(request).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "BAD_POLICY");
}
