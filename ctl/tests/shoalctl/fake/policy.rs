//! The policies of the node: each reply has something of everything. Where a request names no
//! torrent, the name of the policy chooses what goes wrong; `bad.lua` fails its checks.

use std::collections::HashMap;

use shoal::v1::{self, policy_source, set_policy_request};
use tonic::{Request, Response, Status};

use super::{Fake, Messages, messages, obstacle};

service! {
    v1::policy_service_server::PolicyService;
    unary validate_policy(ValidatePolicyRequest) -> ValidatePolicyResponse = |r| {
        let policy = r.policy.clone().unwrap_or_default();
        let warning = v1::PolicyError { line: 7, ..error("warned of") };
        let reply = if policy.source_name == "bad.lua" {
            v1::ValidatePolicyResponse {
                errors: vec![error("'=' expected"), error("no 'api'")],
                warnings: vec![warning],
                ..Default::default()
            }
        } else {
            v1::ValidatePolicyResponse {
                warnings: vec![warning],
                declared_name: "near".to_owned(),
                description: "our zone first".to_owned(),
                hooks: vec!["score".to_owned(), "on.tick".to_owned()],
                params: vec![v1::PolicyParam {
                    name: "zone".to_owned(),
                    r#type: "string".to_owned(),
                    value: "b".to_owned(),
                    default_value: "a".to_owned(),
                    doc: "our\u{1b}zone".to_owned(),
                }],
                ..Default::default()
            }
        };
        (named(Some(&policy)), reply)
    };
    unary set_policy(SetPolicyRequest) -> SetPolicyResponse = |r| {
        let mut status = v1::PolicyStatus {
            name: r.source_name.clone(),
            info_hash: r.torrent.as_ref().map(|_| "ab".repeat(20)).unwrap_or_default(),
            ..Default::default()
        };
        let mut obstacle = r.torrent.clone().unwrap_or_default();
        match &r.policy {
            Some(set_policy_request::Policy::Name(name)) => {
                status.name = name.clone();
                obstacle.clone_from(name);
            }
            Some(set_policy_request::Policy::Path(path)) => status.watched_path = path.clone(),
            Some(set_policy_request::Policy::None(_)) => status.name = "lowest_uploaded".to_owned(),
            Some(set_policy_request::Policy::Source(_)) | None => {}
        }
        let warnings = vec!["'pairs' has no order".to_owned()];
        (obstacle, v1::SetPolicyResponse { status: Some(status), warnings })
    };
    unary get_policy(GetPolicyRequest) -> GetPolicyResponse = |r| {
        let shadow = v1::PolicyShadow {
            status: Some(status("shadow.lua")),
            agreed: 3,
            differed: 1,
            differences: vec![v1::ShadowDifference {
                chunk: "film.webm.part3".to_owned(),
                shadow: "10.0.0.3:7000".to_owned(),
                reason: "in the zone".to_owned(),
                ..Default::default()
            }],
        };
        let own = v1::PolicyStatus { info_hash: "cd".repeat(20), ..status("own.lua") };
        let reply = v1::GetPolicyResponse {
            status: Some(status("near.lua")),
            shadow: Some(shadow),
            torrents: vec![own],
        };
        (r.torrent.clone().unwrap_or_default(), reply)
    };
    unary reset_policy(ResetPolicyRequest) -> ResetPolicyResponse = |r| {
        let status = v1::PolicyStatus {
            info_hash: r.torrent.as_ref().map(|_| "ab".repeat(20)).unwrap_or_default(),
            ..status("near.lua")
        };
        (
            r.torrent.clone().unwrap_or_default(),
            v1::ResetPolicyResponse { status: Some(status) },
        )
    };
    unary list_policies(ListPoliciesRequest) -> ListPoliciesResponse = |_| {
        let policies = vec![v1::PolicyInfo {
            name: "fastest".to_owned(),
            kind: v1::PolicyKind::Native.into(),
            active: true,
            ..Default::default()
        }];
        (String::new(), v1::ListPoliciesResponse { policies, next_page_token: String::new() })
    };
    unary explain_decision(ExplainDecisionRequest) -> ExplainDecisionResponse = |r| {
        let candidate = |port, score| v1::ExplainedPeer {
            peer: at(port),
            slots: 4,
            inflight: 1,
            labels: HashMap::from([("zone".to_owned(), "a\n".to_owned())]),
            score: Some(score),
            ..Default::default()
        };
        let reply = v1::ExplainDecisionResponse {
            chunk: "film.webm.part3".to_owned(),
            state: "missing".to_owned(),
            outcome: v1::Outcome::Chosen.into(),
            chosen: at(7001),
            default_choice: at(7002),
            reason: "in the\u{1b} zone".to_owned(),
            candidates: vec![candidate(7001, 2.5), candidate(7002, 1.0)],
            left_out: vec![v1::LeftOutPeer {
                peer: at(7003),
                why: v1::LeftOut::HasItNot.into(),
                detail: "it has 2 of 3 chunks".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        (r.torrent.clone(), reply)
    };
    unary test_policy(TestPolicyRequest) -> TestPolicyResponse = |r| {
        let results = r.files.iter().filter(|file| !file.source.contains("no tests"));
        let result = |file: &v1::TestFile| {
            let passed = !file.source.contains("fails");
            let told = |text: &str| if passed { String::new() } else { text.to_owned() };
            v1::TestResult {
                file: file.name.clone(),
                name: "prefers our zone".to_owned(),
                passed,
                message: told("expected \"near\", got \"far\""),
                line: if passed { 0 } else { 3 },
                report: told("> 3 | expect(s.choose().peer, \"near\")\u{1b}"),
                spent_us: 12,
            }
        };
        (named(r.policy.as_ref()), v1::TestPolicyResponse { results: results.map(result).collect() })
    };
    unary bench_policy(BenchPolicyRequest) -> BenchPolicyResponse = |r| {
        let row = |candidates| v1::BenchRow {
            candidates,
            decisions: 1000,
            p50_ns: 850,
            p99_ns: 12_300,
        };
        let rows = [8, 50, 200].map(row).to_vec();
        (named(r.policy.as_ref()), v1::BenchPolicyResponse { rows })
    };
    stream WatchDecisionsStream watch_decisions(WatchDecisionsRequest) -> WatchDecisionsResponse = |r| {
        let decision = |sequence, chunk: &str| v1::Decision {
            sequence,
            at: Some(prost_types::Timestamp { seconds: 1_777_890_030, nanos: 5 }),
            chunk: chunk.to_owned(),
            candidates: 41,
            outcome: v1::Outcome::Chosen.into(),
            chosen: at(7001),
            reason: "in the\u{1b} zone".to_owned(),
            spent_us: 12,
            ..Default::default()
        };
        let all = vec![
            v1::WatchDecisionsResponse {
                decisions: vec![decision(1, "film.webm.part1"), decision(2, "film.webm.part2")],
                skipped: 0,
            },
            v1::WatchDecisionsResponse { decisions: Vec::new(), skipped: 1 },
            v1::WatchDecisionsResponse { decisions: vec![decision(12, "film.webm.part9")], skipped: 8 },
        ];
        (r.torrent.clone().unwrap_or_default(), all)
    };
    stream SimulatePolicyStream simulate_policy(SimulatePolicyRequest) -> SimulatePolicyResponse = |r| {
        use v1::simulate_policy_response::Item;
        let message = |item| v1::SimulatePolicyResponse { item: Some(item) };
        let progress = v1::SimulationProgress { runs: 2, runs_done: 1, ..Default::default() };
        let holds = r.seed != Some(13);
        let broken = v1::BrokenRun {
            seed: 13,
            replay: "shoald sim flash_crowd --seed 13".to_owned(),
            ..Default::default()
        };
        let report = v1::SimulationReport {
            holds,
            table: "flash_crowd\n  hosts\u{1b}  121\n".to_owned(),
            json: "{\"holds\":true}\n".to_owned(),
            picture_svg: if r.picture { "<svg/>".to_owned() } else { String::new() },
            broken: if holds { Vec::new() } else { vec![broken] },
            ..Default::default()
        };
        let all = vec![message(Item::Progress(progress)), message(Item::Report(report))];
        (named(r.policies.first()), all)
    };
}

#[expect(clippy::unnecessary_wraps, reason = "the field is optional")]
fn at(port: u32) -> Option<v1::PeerAddress> {
    Some(v1::PeerAddress { ip: "10.0.0.2".to_owned(), port })
}

fn error(message: &str) -> v1::PolicyError {
    v1::PolicyError {
        kind: "syntax".to_owned(),
        file: "bad.lua".to_owned(),
        line: 3,
        message: message.to_owned(),
        report: "> 3 |\tchoose\u{1b}".to_owned(),
        ..Default::default()
    }
}

fn status(name: &str) -> v1::PolicyStatus {
    v1::PolicyStatus {
        name: name.to_owned(),
        kind: v1::PolicyKind::Custom.into(),
        state: v1::PolicyState::Active.into(),
        calls: 120,
        chosen: 100,
        errors: HashMap::from([("syntax".to_owned(), 2)]),
        last_error: Some(error("'=' expected")),
        watched_path: "/policies/near.lua".to_owned(),
        hooks: vec!["score".to_owned()],
        metrics: HashMap::from([("near".to_owned(), 0.5)]),
        log: vec!["hello\u{1b}[2J".to_owned()],
        ..Default::default()
    }
}

/// The name of a policy that is named.
fn named(policy: Option<&v1::PolicySource>) -> String {
    match policy.and_then(|policy| policy.policy.as_ref()) {
        Some(policy_source::Policy::Name(name)) => name.clone(),
        Some(policy_source::Policy::Source(_)) | None => String::new(),
    }
}
