use super::*;

fn torrent(hash: &str, chunks_have: u32) -> v1::Torrent {
    v1::Torrent { info_hash: hash.to_owned(), chunks: 20, chunks_have, ..v1::Torrent::default() }
}

fn page(hashes: &[&str], last: bool) -> Fact {
    Fact::Page { torrents: hashes.iter().map(|hash| torrent(hash, 0)).collect(), last }
}

fn node(epoch: &str) -> Fact {
    Fact::Node(Box::new(v1::GetInfoResponse {
        epoch: epoch.to_owned(),
        ..v1::GetInfoResponse::default()
    }))
}

fn event(what: &str, hash: &str, detail: Option<v1::event::Detail>) -> Fact {
    Fact::Event(Box::new(v1::Event {
        kind: v1::EventKind::Torrent.into(),
        what: what.to_owned(),
        info_hash: hash.to_owned(),
        message: format!("{what} happened"),
        detail,
        ..v1::Event::default()
    }))
}

fn status(torrent: &str) -> Fact {
    let status = v1::SeeChunkStatusResponse {
        bitfield: vec![0b1010_0000, 0xff, 0xf0],
        total_chunks: 20,
        in_flight: vec![1, 3, 99],
        ..v1::SeeChunkStatusResponse::default()
    };
    Fact::Chunks { torrent: torrent.to_owned(), status: Box::new(status) }
}

fn hashes(world: &World) -> Vec<&str> {
    world.torrents.keys().map(String::as_str).collect()
}

#[test]
fn a_torrent_that_no_sweep_sees_twice_is_forgotten() {
    let mut world = World::default();
    world.hear(page(&["a", "b"], true));
    world.hear(page(&["b"], true));
    assert_eq!(hashes(&world), ["a", "b"]);
    world.hear(page(&["b"], true));
    assert_eq!(hashes(&world), ["b"]);
}

#[test]
fn events_add_change_and_remove_torrents() {
    let mut world = World::default();
    let detail = v1::event::Detail::Torrent(torrent("a", 3));
    world.hear(event("added", "a", Some(detail)));
    world.choose(Some("a"));
    assert_eq!(world.chosen_torrent().map(|it| it.chunks_have), Some(3));
    let change = v1::ChunkChange { chunks_have: 4, ..v1::ChunkChange::default() };
    world.hear(event("verified", "a", Some(v1::event::Detail::Chunks(change))));
    assert_eq!(world.chosen_torrent().map(|it| it.chunks_have), Some(4));
    world.hear(event("removed", "a", None));
    assert!(world.torrents.is_empty() && world.chosen.is_none());
}

#[test]
fn another_start_of_the_node_voids_what_was_known_but_not_the_choice() {
    let mut world = World::default();
    world.hear(node("one"));
    world.hear(page(&["a"], true));
    world.choose(Some("a"));
    world.hear(status("a"));
    world.hear(Fact::Lost("gone".to_owned()));
    world.hear(node("two"));
    assert!(world.lost.is_none() && world.torrents.is_empty());
    let chosen = world.chosen.as_ref().unwrap();
    assert_eq!((chosen.hash.as_str(), chosen.chunks.is_none()), ("a", true));
    world.hear(page(&["a"], true));
    world.hear(node("two"));
    assert_eq!(hashes(&world), ["a"]);
}

#[test]
fn chunks_follow_events_and_are_summed_up_in_parts() {
    let mut world = World::default();
    world.choose(Some("a"));
    world.hear(status("a"));
    let chunks = |world: &World| {
        let chunks = world.chosen.as_ref().unwrap().chunks.as_ref().unwrap();
        let parts = chunks.parts(5);
        let parts = parts.iter().map(|it| (it.chunks, it.have, it.in_flight)).collect::<Vec<_>>();
        (chunks.have, chunks.in_flight(), parts)
    };
    let parts = vec![(4, 2, 2), (4, 0, 0), (4, 4, 0), (4, 4, 0), (4, 4, 0)];
    assert_eq!(chunks(&world), (14, 2, parts));
    let change = v1::ChunkChange { have: vec![1, 1, 50], lost: vec![8], chunks_have: 14 };
    world.hear(event("verified", "a", Some(v1::event::Detail::Chunks(change))));
    let parts = vec![(4, 3, 1), (4, 0, 0), (4, 3, 0), (4, 4, 0), (4, 4, 0)];
    assert_eq!(chunks(&world), (14, 1, parts));
}

#[test]
fn a_map_has_no_more_parts_than_cells_and_counts_every_chunk() {
    for total in [0u32, 1, 7, 8, 9, 100, 1001] {
        let status = v1::SeeChunkStatusResponse {
            bitfield: vec![0xff; 200],
            total_chunks: total,
            ..v1::SeeChunkStatusResponse::default()
        };
        let chunks = Chunks::new(&status);
        for cells in [0, 1, 3, 16, 1000] {
            let parts = chunks.parts(cells);
            assert!(parts.len() <= cells.max(1) as usize, "{total} in {cells}");
            assert_eq!(parts.iter().map(|part| part.have).sum::<u32>(), total);
            assert_eq!(parts.iter().map(|part| part.chunks).sum::<u32>(), total);
        }
    }
}

#[test]
fn facts_of_a_torrent_that_is_not_chosen_change_nothing() {
    let mut world = World::default();
    world.choose(Some("b"));
    world.hear(status("a"));
    world.hear(Fact::Peers { torrent: "a".to_owned(), peers: Vec::new() });
    world.hear(Fact::Decisions { torrent: "a".to_owned(), decisions: Vec::new() });
    let chosen = world.chosen.as_ref().unwrap();
    assert!(chosen.chunks.is_none() && chosen.peers.is_none() && chosen.decisions.is_none());
}

#[test]
fn a_paused_screen_takes_only_what_it_lacks_of_the_torrent_chosen_since() {
    let mut world = World::default();
    world.hear(page(&["a"], true));
    world.choose(Some("a"));
    world.hear_paused(page(&["b"], false));
    assert_eq!(hashes(&world), ["a"]);
    world.hear_paused(status("a"));
    let change = v1::ChunkChange { have: vec![1], ..v1::ChunkChange::default() };
    world.hear_paused(event("verified", "a", Some(v1::event::Detail::Chunks(change))));
    assert_eq!(world.chosen.as_ref().unwrap().chunks.as_ref().unwrap().have, 14);
}

#[test]
fn more_torrents_than_are_kept_are_left_out() {
    let mut world = World::default();
    let all: Vec<String> = (0..=TORRENTS_MAX).map(|n| format!("{n:06}")).collect();
    let torrents = all.iter().map(|hash| torrent(hash, 0)).collect();
    world.hear(Fact::Page { torrents, last: true });
    assert_eq!(world.torrents.len(), TORRENTS_MAX);
}

#[test]
fn what_asks_for_an_operator_is_kept_until_something_newer_does() {
    let mut world = World::default();
    world.hear(event("disk_full", "a", None));
    world.hear(event("connected", "a", None));
    assert_eq!(world.alert.as_deref(), Some("disk_full happened"));
}
