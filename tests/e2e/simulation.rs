//! A swarm that a node simulates for a caller: told how far it is, reported, given up with the
//! caller's stream, refused where it cannot be.

use std::time::Duration;

use shoal::v1::{
    self, policy_source::Policy, simulate_policy_request::Plan, simulate_policy_response::Item,
};
use shoal_ctl::Exit;
use tonic::{Code, Request, Status, Streaming};

use crate::harness::{Host, PATIENCE, Party, refusal, until, within};

/// Seconds and more of work in each of 64 runs.
fn long() -> v1::SimulatePolicyRequest {
    v1::SimulatePolicyRequest { seeds: 64, ..named("heterogeneous") }
}

fn named(plan: &str) -> v1::SimulatePolicyRequest {
    v1::SimulatePolicyRequest { plan: Some(Plan::PlanName(plan.to_owned())), ..Default::default() }
}

fn policy(policy: Policy) -> v1::PolicySource {
    let source_name = "mine.lua".to_owned();
    v1::PolicySource { policy: Some(policy), source_name, ..Default::default() }
}

async fn begin(
    host: &Host,
    request: v1::SimulatePolicyRequest,
) -> Result<Streaming<v1::SimulatePolicyResponse>, Status> {
    host.policies().simulate_policy(request).await.map(tonic::Response::into_inner)
}

/// How the call fails, at its beginning or later.
async fn fails(host: &Host, request: v1::SimulatePolicyRequest) -> (Code, String, String) {
    let run = async {
        let mut stream = begin(host, request).await?;
        while stream.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    refusal(&within(PATIENCE, "a refusal", run).await.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_tells_how_far_it_is_and_reports() {
    let party = Party::new().await;
    let host = party.peer("peer").await;
    let score = "return { api = 1, name = 'mine', score = function() return 0 end }";
    let policies = vec![
        policy(Policy::Name("native:fastest".to_owned())),
        policy(Policy::Source(score.to_owned())),
    ];
    let request = v1::SimulatePolicyRequest {
        policies,
        seeds: 2,
        small: true,
        picture: true,
        ..named("baseline")
    };
    let mut stream = begin(&host, request).await.unwrap();
    let (mut last, mut report) = (None, None);
    while let Some(message) = stream.message().await.unwrap() {
        assert_eq!(report, None, "the report is the last message");
        match message.item.unwrap() {
            Item::Progress(progress) => last = Some(progress),
            Item::Report(told) => report = Some(told),
        }
    }
    let (last, report) = (last.unwrap(), report.unwrap());
    assert_eq!((last.runs_done, last.runs, last.part), (4, 4, 1.0));
    assert!(last.facts > 10_000 && last.virtual_s > 10.0, "{last:?}");
    assert!(report.holds && report.broken.is_empty(), "{}", report.table);
    assert!(report.table.contains("mine.lua against native:fastest"), "{}", report.table);
    let json: serde_json::Value = serde_json::from_str(&report.json).unwrap();
    assert_eq!(json["policies"][1]["policy"], "mine.lua");
    assert!(report.picture_svg.starts_with("<svg"));
    let [fastest, mine] = &report.policies[..] else { panic!("{:?}", report.policies) };
    assert_eq!((fastest.name.as_str(), mine.name.as_str()), ("native:fastest", "mine.lua"));
    assert_eq!((mine.runs, mine.complete, mine.incomplete), (2, Some(24.0), Some(0.0)));
    assert!(mine.p50_s <= mine.p90_s && mine.p99_s <= mine.max_s && mine.p50_s > Some(1.0));
    let json = &json["policies"][0]["summary"]["p50_s"]["median"];
    assert_eq!(fastest.p50_s, json.as_f64(), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_and_the_end_of_the_stream_ends_the_work() {
    let party = Party::new().await;
    let host = party.peer("peer").await;
    let mut stream = begin(&host, long()).await.unwrap();
    let first = within(PATIENCE, "progress", stream.message()).await.unwrap().unwrap();
    assert!(matches!(first.item, Some(Item::Progress(_))));
    let small = v1::SimulatePolicyRequest { small: true, ..named("baseline") };
    let (code, reason, message) = fails(&host, small.clone()).await;
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "SIMULATION_RUNNING"));
    assert!(message.contains("shoald sim"), "{message}");
    drop(stream);
    until("the place is free again", async || begin(&host, small.clone()).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_caller_ends_it() {
    let party = Party::new().await;
    let host = party.peer("peer").await;
    let mut request = Request::new(long());
    request.set_timeout(Duration::from_millis(600));
    let mut stream = host.policies().simulate_policy(request).await.unwrap().into_inner();
    let ended = async {
        while stream.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    let status = within(PATIENCE, "the end", ended).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_simulated_is_refused_with_the_reason() {
    let party = Party::new().await;
    let host = party.tracker.ctl(&["policy", "sim", "flash_croud"]).await;
    assert_eq!(host.exit, Exit::NotFound, "a tracker simulates as well: {}", host.err);
    assert!(host.err.contains("did you mean 'flash_crowd'?"), "{}", host.err);
    let host = party.peer("peer").await;
    let toml = |text: &str| v1::SimulatePolicyRequest {
        plan: Some(Plan::PlanToml(text.to_owned())),
        ..Default::default()
    };
    let with = |asked: Policy| v1::SimulatePolicyRequest {
        policies: vec![policy(asked)],
        small: true,
        ..named("baseline")
    };
    let plan = "name = 'x'\ncontent = '1MiB'\n[[class]]\nname = 's'\ncount = 1\n";
    for (request, code, reason, words) in [
        (toml("name = \n"), Code::InvalidArgument, "BAD_PLAN", "line 1"),
        (toml(&format!("{plan}cuont = 1")), Code::InvalidArgument, "BAD_PLAN", "'cuont'"),
        (
            toml(&format!("{plan}has = 1\npolicy = 'my.lua'")),
            Code::InvalidArgument,
            "BAD_PLAN",
            "class 's': unknown policy 'my.lua'",
        ),
        (named("thousands"), Code::FailedPrecondition, "PLAN_TOO_LARGE", "use `shoald sim`"),
        (with(Policy::Name("nobody".to_owned())), Code::NotFound, "UNKNOWN_POLICY", "'nobody'"),
        (
            with(Policy::Source("return { api = 1,".to_owned())),
            Code::InvalidArgument,
            "BAD_POLICY",
            "mine.lua:1: ",
        ),
        (Default::default(), Code::InvalidArgument, "BAD_ARGUMENT", "plan"),
    ] {
        let (got, why, message) = fails(&host, request).await;
        assert_eq!((got, why.as_str()), (code, reason), "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shoalctl_prints_what_the_node_reports() {
    let party = Party::new().await;
    let host = party.peer("peer").await;
    let plan = "name = 'mine'\ncontent = '1MiB'\npiece = '256KiB'\n[[class]]\nname = 'seed'\n\
                count = 1\nhas = 1\n[[class]]\nname = 'leecher'\ncount = 4\n";
    let good = party.write("mine.toml", plan.as_bytes());
    let bad = party.write("late.toml", format!("{plan}[expect]\np99_max = '1ms'\n").as_bytes());
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let picture = party.dir.path().join("curves.svg");
    let words = ["policy", "sim", good, "--compare", "fastest", "random", "--picture"];
    let out = host.ctl(&[&words[..], &[picture.to_str().unwrap()]].concat()).await.ok();
    assert!(out.contains("native:random against native:fastest, 9 seeds in both"), "{out}");
    assert!(std::fs::read_to_string(picture).unwrap().starts_with("<svg"));
    let said = host.ctl(&["policy", "sim", bad, "--seed", "5"]).await;
    assert_eq!(said.exit, Exit::Precondition);
    let again = format!("shoald sim {bad} --seed 5 --policy native:lowest_uploaded");
    assert!(said.out.contains("NOT MET") && said.err.contains(&again), "{said:?}");
    let json = host.ctl(&["policy", "sim", "baseline", "--small", "-o", "json"]).await.ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["holds"], true);
}
