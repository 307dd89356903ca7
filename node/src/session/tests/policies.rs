//! Policies of whole sessions: set, kept, watched, swapped, shadowed; threads that wedge and die.

use std::{collections::BTreeMap, path::PathBuf};

use shoal_core::{
    ids::InfoHash,
    policy::{Verdict, native::Native},
    session::{Chooser, command::Command},
};

use super::{event_hub::Subscription, *};
use crate::{
    policy_host::{
        PolicyChoice, PolicyKind, PolicyState, Role, Scope, ScriptChoice, ScriptKind, held,
    },
    session::{
        handle::{SetPolicy, SetPolicyError},
        start::start_with,
    },
};

fn script(source: &str) -> PolicyChoice {
    PolicyChoice::Script(ScriptChoice {
        name: "mine.lua".into(),
        kind: ScriptKind::Custom,
        source: source.into(),
        params: BTreeMap::new(),
        watched: None,
    })
}

/// Sets the node's policy.
fn deciding(choice: PolicyChoice) -> SetPolicy {
    SetPolicy::deciding(Scope::Node, Some(choice))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_chooses_is_kept_and_is_restored() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&FILES).await;
    let source = "return function(ctx, peers) return #peers, 'the last' end";
    let set = within(leech.handle().set_policy(deciding(script(source)))).await.unwrap();
    assert_eq!(set.status.kind, PolicyKind::Script(ScriptKind::Custom));
    let refused = within(leech.handle().set_policy(deciding(script("return 5")))).await;
    assert!(matches!(refused, Err(SetPolicyError::Refused(_))));
    let torrent = leech.add(&created.metainfo).await;
    leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
    assert_copied(&seed, &leech);
    let status = leech.handle().policy_status(Scope::Node);
    assert!(status.chosen > 0 && status.state == PolicyState::Active, "{status:?}");
    let leech = leech.restart().await;
    let mut events = leech.handle().events().subscribe();
    while leech.handle().policy_status(Scope::Node).kind == PolicyKind::Native {
        within(events.next()).await.unwrap();
    }
    assert_eq!(leech.handle().policy_status(Scope::Node).name, "mine.lua");
    let native = within(leech.handle().set_policy(deciding(Native::Fastest.into()))).await.unwrap();
    assert_eq!(native.status.name, "fastest");
    let leech = leech.restart().await;
    assert_eq!(leech.handle().policy_status(Scope::Node).name, "fastest");
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_always_fails_does_not_keep_a_download_from_its_end() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&FILES).await;
    // It passes the dry run, whose download has another name.
    let source = "return function(ctx, peers) \
                  if ctx.download.name == 'data' then while true do end end return 1 end";
    within(leech.handle().set_policy(deciding(script(source)))).await.unwrap();
    let torrent = leech.add(&created.metainfo).await;
    leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
    assert_copied(&seed, &leech);
    let status = leech.handle().policy_status(Scope::Node);
    assert_eq!((status.chosen, status.state), (0, PolicyState::Tripped));
    assert!(status.last_error.is_some() && status.fallbacks > 0, "{status:?}");
    leech.stop().await;
    seed.stop().await;
}

const FIRST: &str = "return function(ctx, peers) return 1, 'the first' end";
const LAST: &str = "return function(ctx, peers) return #peers, 'the last' end";

impl Node {
    async fn set(&self, scope: Scope, choice: Option<PolicyChoice>) {
        within(self.handle().set_policy(SetPolicy::deciding(scope, choice))).await.unwrap();
    }

    async fn shadow(&self, choice: Option<PolicyChoice>) {
        let set = SetPolicy { scope: Scope::Node, role: Role::Shadow, choice };
        within(self.handle().set_policy(set)).await.unwrap();
    }

    /// Waits for an event about the policy.
    async fn told(&self, events: &mut Subscription, what: &str) -> String {
        loop {
            let event = within(events.next()).await.unwrap();
            if event.kind == EventKind::Policy && event.what == what {
                return event.message.clone();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_has_a_policy_of_its_own_that_goes_with_it() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&FILES).await;
    let torrent = leech.add(&created.metainfo).await;
    let own = Scope::Torrent(created.info_hash);
    leech.set(Scope::Node, Some(Native::Random.into())).await;
    assert_eq!(leech.handle().policy_status(own).name, "random");
    leech.set(own, Some(script(FIRST))).await;
    assert_eq!(leech.handle().policy_status(own).name, "mine.lua");
    assert_eq!(leech.handle().policy_scopes(), [Scope::Node, own]);
    leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
    assert!(leech.handle().policy_status(own).chosen > 0);
    let leech = leech.restart().await;
    let mut events = leech.handle().events().subscribe();
    while leech.handle().policy_status(own).name != "mine.lua" {
        within(events.next()).await.unwrap();
    }
    assert_eq!(leech.handle().policy_status(Scope::Node).name, "random");
    let id = leech.look(move |s| s.by_hash(&created.info_hash)).await.unwrap();
    let removed = leech.command(Command::Remove { torrent: id, delete_data: false }).await;
    assert_eq!(removed, Ok(Done::Ok));
    assert_eq!(leech.handle().policy_scopes(), [Scope::Node]);
    let leech = leech.restart().await;
    assert_eq!(leech.handle().policy_scopes(), [Scope::Node]);
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_follows_the_nodes_policy_again() {
    let node = Node::start().await;
    let created = node.seed(&FILES).await;
    let own = Scope::Torrent(created.info_hash);
    node.set(own, Some(script(FIRST))).await;
    node.set(own, None).await;
    assert_eq!(node.handle().policy_status(own).name, "lowest_uploaded");
    assert_eq!(node.handle().policy_scopes(), [Scope::Node]);
    node.stop().await;
}

fn watched(path: &PathBuf) -> PolicyChoice {
    PolicyChoice::Script(ScriptChoice {
        name: "near.lua".into(),
        kind: ScriptKind::Custom,
        source: fs::read_to_string(path).unwrap(),
        params: BTreeMap::from([("zone".into(), "b".into())]),
        watched: Some(path.display().to_string()),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_file_is_put_in_force_again_and_a_broken_one_is_not() {
    let node = Node::start().await;
    let path = node.dir.path().join("near.lua");
    let version = |n: u32| {
        format!(
            "return {{ api = 1, description = 'version {n}', \
             params = {{ zone = {{ type = 'string', default = 'a' }} }}, \
             choose = function() return 1 end }}"
        )
    };
    fs::write(&path, version(1)).unwrap();
    node.set(Scope::Node, Some(watched(&path))).await;
    let status = || node.handle().policy_status(Scope::Node);
    assert_eq!(status().watched, Some(path.display().to_string()));
    let mut events = node.handle().events().subscribe();
    fs::write(&path, version(2)).unwrap();
    node.told(&mut events, "set").await;
    assert_eq!(status().description, "version 2");
    assert_eq!(status().params["zone"], "b", "what was set survives");
    fs::write(&path, "return { api = 1, chose = 1 }").unwrap();
    let message = node.told(&mut events, "refused").await;
    assert!(message.contains("did you mean 'choose'"), "{message}");
    assert_eq!(status().description, "version 2", "the last good one stays");
    assert_eq!(status().refused.unwrap().kind, "shape");
    fs::write(&path, version(3)).unwrap();
    node.told(&mut events, "set").await;
    assert_eq!((status().description.as_str(), status().refused), ("version 3", None));
    // What changed while the node was down is found at the start.
    let dir = node.stop().await;
    fs::write(&path, version(4)).unwrap();
    let node = Node::start_in(dir).await;
    let mut events = node.handle().events().subscribe();
    while node.handle().policy_status(Scope::Node).description != "version 4" {
        within(events.next()).await.unwrap();
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_swaps_during_a_download_break_nothing() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&[("big.bin", 24 << 20)]).await;
    let torrent = leech.add(&created.metainfo).await;
    leech.set(Scope::Node, Some(script(FIRST))).await;
    let handle = leech.handle().clone();
    let swaps = tokio::spawn(async move {
        let mut refused = 0;
        for n in 0..100_u32 {
            let good = [FIRST, LAST][n as usize / 2 % 2];
            let broken = [
                "return {",
                "return 5",
                "return { api = 1, chose = 1 }",
                "error('no')",
                "while true do end",
            ];
            let source = if n % 2 == 0 { good } else { broken[n as usize / 2 % broken.len()] };
            let before = handle.policy_status(Scope::Node).content_hash;
            let set = within(handle.set_policy(deciding(script(source)))).await;
            let status = handle.policy_status(Scope::Node);
            assert_eq!(set.is_ok(), n % 2 == 0, "{source}: {set:?}");
            if set.is_err() {
                refused += 1;
                assert_eq!(status.content_hash, before, "the last good one is in force");
                assert!(status.refused.is_some(), "and the status tells of the refusal");
            } else {
                assert_eq!(status.refused, None);
            }
            assert_eq!(status.state, PolicyState::Active);
        }
        refused
    });
    let job = leech.download(torrent, &[&seed]).await;
    job.ended.unwrap().1.unwrap();
    assert_eq!(within(swaps).await.unwrap(), 50);
    let view = leech.look(move |s| s.torrent(torrent)).await.unwrap();
    assert_eq!((view.failed_pieces, view.wasted), (0, 0));
    let data = |node: &Node, folder: &str| fs::read(node.dir.path().join(folder)).unwrap();
    assert!(data(&seed, "data/big.bin") == data(&leech, "downloads/data/big.bin"));
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_thread_that_wedges_or_dies_in_a_download_is_told_and_brought_back() {
    for dies in [false, true] {
        let seed = Node::start().await;
        let created = seed.seed(&FILES).await;
        let dir = tempfile::tempdir().unwrap();
        let mut hold = None;
        let running = start_with(options(&dir), real(), |clock, tell| {
            let (host, held) = held::host(clock, tell);
            hold = Some(held);
            host
        });
        let leech = Node { running: running.await.unwrap(), dir };
        let hold = hold.unwrap();
        leech.set(Scope::Node, Some(script("held"))).await;
        let mut events = leech.handle().events().subscribe();
        let torrent = leech.add(&created.metainfo).await;
        if dies {
            hold.die();
        }
        leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
        assert_copied(&seed, &leech);
        let message = leech.told(&mut events, "wedged").await;
        assert!(message.contains("until a policy is set or reset"), "{message}");
        let status = leech.handle().policy_status(Scope::Node);
        assert_eq!(status.state, PolicyState::Wedged, "dies: {dies}");
        leech.set(Scope::Node, Some(script("free"))).await;
        let status = leech.handle().policy_status(Scope::Node);
        assert_eq!((status.name.as_str(), status.state), ("mine.lua", PolicyState::Active));
        // The old thread looks up and ends.
        drop(hold);
        leech.stop().await;
        seed.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_brings_a_dead_thread_back_with_every_policy() {
    let dir = tempfile::tempdir().unwrap();
    let mut hold = None;
    let running = start_with(options(&dir), real(), |clock, tell| {
        let (host, held) = held::host(clock, tell);
        hold = Some(held);
        host
    });
    let leech = Node { running: running.await.unwrap(), dir };
    let seed = Node::start().await;
    let created = seed.seed(&FILES).await;
    let torrent = leech.add(&created.metainfo).await;
    let own = Scope::Torrent(created.info_hash);
    leech.set(Scope::Node, Some(script("held"))).await;
    leech.set(own, Some(script("held"))).await;
    let mut events = leech.handle().events().subscribe();
    hold.unwrap().die();
    leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
    leech.told(&mut events, "wedged").await;
    let set = within(leech.handle().reset_policy(Scope::Node)).await.unwrap();
    assert_eq!(set.status.state, PolicyState::Active);
    while leech.handle().policy_status(own).name != "mine.lua" {
        within(events.next()).await.unwrap();
    }
    assert_eq!(leech.handle().policy_status(own).scope, own);
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_not_restored_is_told_and_can_be_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let running = start_with(options(&dir), real(), |clock, tell| held::host(clock, tell).0);
    let node = Node { running: running.await.unwrap(), dir };
    let created = node.seed(&FILES).await;
    let own = Scope::Torrent(created.info_hash);
    // What that host took is no Lua for the sandbox of the next start.
    node.set(own, Some(script("held"))).await;
    let node = node.restart().await;
    let mut events = node.handle().events().subscribe();
    while node.handle().policy_status(own).last_error.is_none() {
        within(events.next()).await.unwrap();
    }
    let status = node.handle().policy_status(own);
    assert_eq!((status.name.as_str(), status.scope), ("lowest_uploaded", own));
    assert_eq!(status.last_error.unwrap().kind, "syntax");
    node.set(Scope::Node, Some(Native::Random.into())).await;
    node.set(own, None).await;
    assert_eq!(node.handle().policy_scopes(), [Scope::Node]);
    let hash = created.info_hash;
    let chooser = node.look(move |s| s.chooser(s.by_hash(&hash))).await;
    assert_eq!(chooser, Chooser::Native(Native::Random));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_compares_and_the_native_beside_it_decides() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&FILES).await;
    leech.shadow(Some(script(LAST))).await;
    let torrent = leech.add(&created.metainfo).await;
    leech.download(torrent, &[&seed]).await.ended.unwrap().1.unwrap();
    let shadow = leech.handle().policy_shadow(Scope::Node).unwrap();
    assert_eq!(shadow.status.name, "mine.lua");
    // With one peer everybody agrees.
    assert!(shadow.agreed > 0 && shadow.differed == 0, "{shadow:?}");
    let status = leech.handle().policy_status(Scope::Node);
    assert_eq!((status.name.as_str(), status.kind), ("lowest_uploaded", PolicyKind::Native));
    leech.set(Scope::Node, Some(script(FIRST))).await;
    let moved = leech.handle().clone();
    let mut events = moved.events().subscribe();
    while moved.policy_shadow(Scope::Node).is_none() {
        within(events.next()).await.unwrap();
    }
    leech.shadow(None).await;
    assert_eq!(leech.handle().policy_shadow(Scope::Node), None);
    let nobody = SetPolicy {
        scope: Scope::Torrent(InfoHash([9; 20])),
        role: Role::Shadow,
        choice: Some(script(FIRST)),
    };
    let refused = within(leech.handle().set_policy(nobody)).await;
    assert!(matches!(refused, Err(SetPolicyError::NothingToShadow)));
    leech.stop().await;
    seed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_explained_by_the_script_that_makes_it() {
    let (seed, leech) = (Node::start().await, Node::start().await);
    let created = seed.seed(&FILES).await;
    let source = "return { api = 1, score = function(ctx, peer) return 7 end }";
    leech.set(Scope::Node, Some(script(source))).await;
    let torrent = leech.add(&created.metainfo).await;
    let connect = Command::ConnectPeer(torrent, seed.addr());
    leech.command(connect).await.unwrap();
    leech.until(move |s| s.connections(torrent).iter().any(|c| !c.peer_choking)).await;
    let told = within(leech.handle().explain(torrent, None)).await.unwrap();
    let (explained, said) = told.unwrap();
    let said = said.unwrap();
    assert_eq!(explained.question.peers.len(), 1);
    let conn = explained.question.peers[0].conn;
    assert_eq!(said.verdict, Verdict::Chosen { conn, reason: None });
    assert_eq!(said.scores, [Some(7.0)]);
    assert_eq!(leech.handle().policy_status(Scope::Node).calls, 0);
    leech.stop().await;
    seed.stop().await;
}
