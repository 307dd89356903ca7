use std::sync::Arc;

use shoal_core::{
    ids::AnnounceId,
    session::Action,
    tracker::announce::AnnounceRequest,
    wire::{Message, extended::Extension},
};

use crate::{
    plan::Plan,
    policy::Policy,
    world::{Setting, Step, World},
};

/// A world in which all hosts are connected and nobody is complete.
fn world() -> World {
    let plan = r#"
        name = "rude"
        content = "64MiB"
        piece = "1MiB"
        link = { up = "256KiB/s" }
        class = [
            { name = "seed", count = 1, has = 1 },
            { name = "leecher", count = 3 },
        ]
    "#;
    let plan = Arc::new(Plan::read(plan).expect("a plan"));
    let policies = plan.classes.iter().map(|_| Policy::default()).collect();
    let mut world = World::new(plan, Setting { policies, ..Setting::default() });
    assert_eq!(world.run(500), Step::On);
    assert!(world.checks.violation().is_none());
    world
}

/// What a host says in place of its session is found out.
fn finds_out(world: &World, check: &str) {
    let found = world.checks.violation().map(|violation| violation.check);
    assert_eq!(found, Some(check));
}

#[test]
fn a_peer_that_is_told_of_others_twice_within_a_minute_is_found_out() {
    let mut world = world();
    let conns = world.hosts[1].node.as_ref().map(|node| node.conns.keys().copied());
    let conn = conns.into_iter().flatten().next().expect("it is connected");
    let id = Extension::offer(&[Extension::Pex])[&Extension::Pex];
    for told in 0..2 {
        let message = Message::Extended { id, payload: b"de".to_vec() };
        // The first one may follow one of its session.
        assert!(told == 1 || world.checks.violation().is_none());
        world.act(1, Action::Send { conn, message });
    }
    finds_out(&world, "gossip");
}

#[test]
fn a_host_that_announces_sooner_than_the_tracker_allows_is_found_out() {
    let mut world = world();
    let (info_hash, peer_id) = (world.metainfo.info_hash, world.hosts[1].peer_id);
    let request = Box::new(AnnounceRequest::new(info_hash, peer_id, 7000, 1));
    let announce = AnnounceId(u64::MAX);
    world.act(1, Action::Announce { announce, url: String::new(), request });
    finds_out(&world, "announces");
}
