//! Policies that are broken or mean harm: the download finishes with the default policy, and the
//! operator is told what happened and where.

use shoal::v1;
use shoal_ctl::Exit;
use tonic::Code;

use crate::harness::{CHUNK, Host, Party, refusal, sample};

/// Where every hostile body stands, and where its function begins: of what a call returned, and of
/// memory that ran out, no other line is known.
const BODY: u32 = 4;
const FUNCTION: u32 = 1;

/// A script that chooses well until it is asked in earnest: made-up candidates are not on loopback.
fn source(body: &str) -> String {
    format!(
        "return {{ api = 1, choose = function(ctx, peers)\n  \
           local real = #peers > 0 and shoal.starts_with(peers[1].addr, '127.')\n  \
           if not real then return nil end\n  \
           {body}\n\
         end }}\n"
    )
}

async fn status(host: &Host) -> v1::PolicyStatus {
    let reply = host.policies().get_policy(v1::GetPolicyRequest::default()).await.unwrap();
    reply.into_inner().status.unwrap()
}

/// The download finishes by itself, and `policy status` tells the kind of error, the file, the line
/// and these words.
async fn check(body: &str, kind: &str, line: u32, words: &str) {
    let party = Party::new().await;
    let data = sample(40 * CHUNK as usize, 70);
    let (_seeder, metainfo) = party.seeder("file1.webm", &data).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    let script = party.write("hostile.lua", source(body).as_bytes());
    let out = leecher.ctl(&["policy", "set", script.to_str().unwrap()]).await.ok();
    assert_eq!(out, "policy hostile.lua is in force\n");
    let done = leecher.auto_download().await.unwrap();
    assert!(done.complete);
    assert!(std::fs::read(leecher.downloads().join("file1.webm")).unwrap() == data);
    let status = status(&leecher).await;
    let error = status.last_error.clone().unwrap_or_else(|| panic!("{status:?}"));
    assert_eq!((error.kind.as_str(), error.file.as_str(), error.line), (kind, "hostile.lua", line));
    assert!(error.message.contains(words), "{}", error.message);
    assert!(error.count > 0 && status.errors.get(kind).is_some_and(|&n| n > 0), "{status:?}");
    assert!(status.fallbacks > 0, "{status:?}");
    let out = leecher.ctl(&["policy", "status"]).await.ok();
    assert!(out.contains(&format!("last error: hostile.lua:{line}: ")), "{out}");
    assert!(out.contains(&format!("{kind}=")), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_loops_for_ever() {
    check("while true do end", "budget", BODY, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_allocates_for_ever() {
    check("local s = 'x' while true do s = s .. s end", "memory", FUNCTION, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_raises() {
    check("error('no idea')", "runtime", BODY, "no idea").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_returns_seven_and_a_half() {
    check("return 7.5", "contract", FUNCTION, "7.5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_returns_a_string() {
    check("return 'the first'", "contract", FUNCTION, "string").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_lua_is_refused_and_the_old_one_stays() {
    let party = Party::new().await;
    let data = sample(20 * CHUNK as usize, 71);
    let (_seeder, metainfo) = party.seeder("file1.webm", &data).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.ctl(&["policy", "set", "two_choices.lua"]).await.ok();
    let text = "return {\n  api = 1,\n  choose = funktion(ctx, peers) return 1 end,\n}\n";
    let request = v1::SetPolicyRequest {
        policy: Some(v1::set_policy_request::Policy::Source(text.to_owned())),
        source_name: "broken.lua".to_owned(),
        ..Default::default()
    };
    let refused = leecher.policies().set_policy(request).await.unwrap_err();
    let (code, reason, message) = refusal(&refused);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BAD_POLICY"));
    assert!(message.contains("broken.lua:3"), "{message}");
    let script = party.write("broken.lua", text.as_bytes());
    let said = leecher.ctl(&["policy", "set", script.to_str().unwrap()]).await;
    assert_eq!((said.exit, said.out.as_str()), (Exit::Invalid, ""));
    assert!(said.err.contains("broken.lua:3"), "{}", said.err);
    let before = status(&leecher).await;
    assert_eq!((before.name.as_str(), before.calls), ("two_choices.lua", 0));
    assert!(leecher.auto_download().await.unwrap().complete);
    assert!(status(&leecher).await.chosen > 0, "the old one decides");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_are_refused_with_a_near_one_suggested() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    let request = v1::SetPolicyRequest {
        policy: Some(v1::set_policy_request::Policy::Name("two_choises".to_owned())),
        ..Default::default()
    };
    let refused = peer.policies().set_policy(request).await.unwrap_err();
    let (code, reason, _) = refusal(&refused);
    assert_eq!((code, reason.as_str()), (Code::NotFound, "UNKNOWN_POLICY"));
    let said = peer.ctl(&["policy", "set", "two_choises"]).await;
    assert_eq!(said.exit, Exit::NotFound);
    assert!(said.err.contains("two_choices"), "{}", said.err);
    assert_eq!(status(&peer).await.name, "lowest_uploaded");
}
