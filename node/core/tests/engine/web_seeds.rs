//! HTTP servers as peers of last resort (BEP 19).

use std::time::Duration;

use shoal_core::{
    config::Config,
    ids::{JobId, PieceIndex},
    policy::{Candidate, Verdict},
    session::{
        command::{Command, CommandError, Done},
        explain::LeftOut,
        fault::Retry,
        notice::Notice,
        view::WebSeedView,
    },
    wire::Message,
};

use crate::{
    MIB, MINUTE, finish, host,
    policies::{DECIDES, scripted},
    world::{Host, World, bits, with_web_seeds},
};

const URL: &str = "http://w/file1.webm";

fn world(len: u64) -> World {
    World::new(with_web_seeds(len, 256 * 1024, &[URL]))
}

/// Payload that a server, or a peer, sent to a node, in leases' bytes.
fn granted(world: &World, node: usize, from: usize) -> u64 {
    let leases = world.granted.iter().filter(|(to, by, _)| (*to, *by) == (node, from));
    leases.map(|(_, _, lease)| u64::from(lease.len)).sum()
}

fn view(world: &World, node: usize) -> WebSeedView {
    world.session(node).torrents()[0].web_seeds[0].clone()
}

fn pieces_have(world: &World, node: usize) -> u32 {
    world.session(node).torrents()[0].pieces_have
}

#[test]
fn a_web_seed_alone_completes_a_download_and_is_told_nothing() {
    let mut world = world(8 * MIB);
    let server = world.web_server(URL, Host::default());
    let leech = world.leech(Host::default());
    let half = |world: &World| pieces_have(world, leech.0) > 10;
    assert!(world.run(MINUTE, half));
    let connections = world.session(leech.0).connections(world.torrent(leech.0));
    let [seed] = &connections[..] else { panic!("{connections:?}") };
    assert_eq!((seed.addr, &*seed.client), (world.addr(server), "web seed"));
    assert_eq!(seed.labels.get("webseed").map(String::as_str), Some("true"));
    assert_eq!((seed.slots, seed.peer_choking, seed.pieces_have), (4, false, 32));
    assert!(view(&world, leech.0).in_use);
    let available = world.session(leech.0).piece(world.torrent(leech.0), PieceIndex(31));
    assert_eq!(available.unwrap().1, 0, "it counts for no piece's availability");
    finish(&mut world, &[leech], MINUTE);
    assert!(world.said.iter().all(|(node, _)| *node != leech.0), "{:?}", world.said);
    world.run(Duration::from_secs(1), |_| false);
    assert!(world.session(leech.0).connections(world.torrent(leech.0)).is_empty());
    let done = world.session(leech.0).job(leech.1).unwrap().ended.unwrap().1.unwrap();
    let served = done.served_by.iter().map(|by| (by.addr, by.pieces)).collect::<Vec<_>>();
    assert_eq!(served, [(world.addr(server), 32)]);
}

#[test]
fn peers_that_have_a_chunk_are_preferred() {
    let mut world = world(32 * MIB);
    let server = world.web_server(URL, host(100_000_000));
    let seed = world.seed(host(5_000_000));
    let leech = world.leech(Host::default());
    finish(&mut world, &[leech], MINUTE);
    let by_http = granted(&world, leech.0, server);
    assert!(by_http <= 2 * MIB, "{by_http} bytes from the web seed");
    assert!(granted(&world, leech.0, seed) >= 30 * MIB);
}

#[test]
fn what_no_peer_has_comes_from_the_web_seed() {
    let mut world = world(16 * MIB);
    let server = world.web_server(URL, Host::default());
    let partial = world.node(host(1_000_000), Config::default(), bits(64, 0..48));
    let torrent = world.torrent(partial);
    world.ask(partial, Command::ConnectTracker(torrent)).unwrap();
    let leech = world.leech(Host::default());
    finish(&mut world, &[leech], MINUTE);
    let ours = world.granted.iter().filter(|(to, by, _)| (*to, *by) == (leech.0, server));
    let held = ours.filter(|(_, _, lease)| lease.piece.0 < 48).count();
    assert!(held <= 4, "{held} extents of the web seed that a peer has");
    assert!(granted(&world, leech.0, server) >= 4 * MIB);
}

#[test]
fn dripping_peers_give_their_chunks_up_to_the_web_seed() {
    let mut world = world(8 * MIB);
    let server = world.web_server(URL, Host::default());
    for _ in 0..3 {
        world.seed(host(1000));
    }
    let leech = world.leech(Host::default());
    finish(&mut world, &[leech], MINUTE);
    assert!(granted(&world, leech.0, server) >= 7 * MIB);
}

#[test]
fn wrong_data_is_blamed_on_the_web_seed_which_is_then_given_up() {
    let mut world = world(8 * MIB);
    let server = world.web_server(URL, Host { corrupt: true, ..Host::default() });
    let leech = world.leech(Host::default());
    let banned = |world: &World| {
        let addr = world.addr(server);
        let is_ban = |n: &Notice| matches!(n, Notice::PeerBanned(peer) if peer.addr == addr);
        world.notices(leech.0).iter().any(is_ban)
    };
    assert!(world.run(MINUTE, banned));
    let before = world.granted.len();
    assert!(!world.run(10 * MINUTE, |world| world.done(leech.0, leech.1).is_some()));
    assert_eq!(world.granted.len(), before, "it was asked again");
    let view = view(&world, leech.0);
    assert!(view.given_up && !view.in_use, "{view:?}");
    assert!(view.error.as_ref().is_some_and(|error| error.contains("corrupt")), "{view:?}");
    world.seed(Host::default());
    finish(&mut world, &[leech], 10 * MINUTE);
}

#[test]
fn a_web_seed_that_failed_rests_and_is_asked_again() {
    let mut world = world(8 * MIB);
    let server = world.web_server(URL, host(2_000_000));
    let leech = world.leech(Host::default());
    assert!(world.run(MINUTE, |world| pieces_have(world, leech.0) >= 4));
    world.fail_web_seed(leech.0, server);
    world.run(Duration::from_secs(1), |_| false);
    let seen = view(&world, leech.0);
    assert_eq!(
        (seen.in_use, seen.given_up, seen.error.as_deref()),
        (false, false, Some("refused"))
    );
    assert!(seen.rests > Duration::from_secs(8), "{seen:?}");
    let had = pieces_have(&world, leech.0);
    world.run(Duration::from_secs(7), |_| false);
    assert_eq!(pieces_have(&world, leech.0), had);
    finish(&mut world, &[leech], MINUTE);
    assert_eq!(view(&world, leech.0).error, None);
}

#[test]
fn a_web_seed_that_is_not_there_is_given_up_or_asked_ever_more_seldom() {
    for (retry, limit) in [(Retry::Never, 1), (Retry::Later, 8)] {
        let mut world = world(2 * MIB);
        world.web_fault.retry = retry;
        let (node, _) = world.leech(Host::default());
        world.run(20 * MINUTE, |_| false);
        let asked = world.trace.iter().filter(|line| line.contains("WebSeed(")).count();
        assert!((1..=limit).contains(&asked), "{retry:?}: asked {asked} times");
        assert_eq!(view(&world, node).given_up, retry == Retry::Never);
    }
}

#[test]
fn web_seeds_that_are_switched_off_are_not_asked() {
    let mut world = world(2 * MIB);
    world.web_server(URL, Host::default());
    let config = Config { web_seeds: false, ..Config::default() };
    let node = world.node(Host::default(), config, bits(8, []));
    let job = world.download(node, false);
    assert!(!world.run(MINUTE, |world| world.done(node, job).is_some()));
    assert!(world.granted.is_empty() && !view(&world, node).in_use);
}

#[test]
fn a_download_without_a_tracker_that_answers_goes_on_while_a_web_seed_may_deliver() {
    let mut world = world(2 * MIB);
    world.tracker_down = true;
    world.web_server(URL, Host::default());
    let node = world.node(Host::default(), Config::default(), bits(8, []));
    let torrent = world.torrent(node);
    let command = Command::AutoDownload { torrent, available_only: true, patient: false };
    let Some(Ok(Done::Job { job, .. })) = world.command(node, command) else { panic!() };
    finish(&mut world, &[(node, job)], MINUTE);
}

#[test]
fn pause_and_the_end_of_a_job_close_the_web_seed() {
    for end in [|_: JobId, t| Command::Pause(t), |job, _| Command::CancelJob(job)] {
        let mut world = world(8 * MIB);
        world.web_server(URL, host(1_000_000));
        let (node, job) = world.leech(Host::default());
        assert!(world.run(MINUTE, |world| pieces_have(world, node) >= 2));
        let torrent = world.torrent(node);
        world.command(node, end(job, torrent));
        assert!(world.session(node).connections(torrent).is_empty());
        let had = world.granted.len();
        world.run(MINUTE, |_| false);
        assert_eq!(world.granted.len(), had);
    }
}

#[test]
fn one_chunk_may_be_asked_of_a_web_seed_by_hand() {
    let mut world = world(8 * MIB);
    let server = world.web_server(URL, host(100_000));
    let (node, _) = world.leech(Host::default());
    let (torrent, addr) = (world.torrent(node), world.addr(server));
    let there = |world: &World| !world.session(node).connections(torrent).is_empty();
    assert!(world.run(MINUTE, there));
    let request = Command::RequestDownload(torrent, addr, PieceIndex(31));
    let asked = world.ask(node, request);
    let Ok(Done::Job { job, .. }) = asked else { panic!("{asked:?}") };
    assert!(world.run(MINUTE, |world| world.done(node, job).is_some()));
    assert_eq!(world.done(node, job), Some(Ok(())));
    world.ask(node, Command::DisconnectPeer(torrent, addr)).unwrap();
    assert!(view(&world, node).rests > Duration::from_secs(59));
    let unknown = world.ask(node, Command::Ping(torrent, addr));
    assert!(matches!(unknown, Err(CommandError::UnknownPeer { .. })), "{unknown:?}");
}

#[test]
fn scripts_see_a_web_seed_as_any_candidate_and_decide() {
    let mut world = world(8 * MIB);
    world.policy = Some(Box::new(|question| {
        let (mut question, chunks) = (question.clone(), question.chunks.len());
        let choose = |chunk: usize| {
            let labelled = |c: &Candidate| question.peers[c.peer].labels.contains_key("webseed");
            let chosen = question.open_candidates(chunk).find(labelled);
            let Some(Candidate { peer, .. }) = chosen else { return Verdict::Deferred { ms: 10 } };
            question.apply(chunk, peer);
            Verdict::Chosen { conn: question.peers[peer].conn, reason: None }
        };
        (0..chunks).map(choose).collect()
    }));
    let server = world.web_server(URL, Host::default());
    let seed = world.seed(Host::default());
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(DECIDES));
    finish(&mut world, &[leech], MINUTE);
    let (by_http, by_peer) = (granted(&world, leech.0, server), granted(&world, leech.0, seed));
    assert!(by_http > 4 * MIB && by_http > by_peer, "{by_http} and {by_peer}");
}

#[test]
fn a_script_without_an_opinion_leaves_the_web_seed_for_last() {
    let mut world = world(8 * MIB);
    world.policy = Some(Box::new(|question| vec![Verdict::Abstained; question.chunks.len()]));
    let server = world.web_server(URL, host(100_000));
    let seed = world.seed(host(50_000_000));
    let leech = world.leech(Host::default());
    world.command(leech.0, scripted(DECIDES));
    finish(&mut world, &[leech], MINUTE);
    assert!(granted(&world, leech.0, seed) > 2 * granted(&world, leech.0, server));
}

#[test]
fn peers_cannot_claim_the_label_of_web_seeds() {
    use shoal_core::wire::extended::{Extension, ShoalMessage};
    let mut world = world(8 * MIB);
    let seed = world.seed(host(100_000));
    let (node, _) = world.leech(Host::default());
    let torrent = world.torrent(node);
    let there = |world: &World| !world.session(node).connections(torrent).is_empty();
    assert!(world.run(MINUTE, there));
    world.run(Duration::from_secs(1), |_| false);
    let label = |key: &str| (key.to_owned(), "true".to_owned());
    let hello = ShoalMessage::Hello { labels: [label("webseed"), label("x")].into() };
    let id = Extension::offer(&[Extension::Shoal])[&Extension::Shoal];
    world.say(seed, node, Message::Extended { id, payload: hello.encode() });
    world.run(Duration::from_secs(1), |_| false);
    let labels = world.session(node).connections(torrent)[0].labels.clone();
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["x"]);
}

#[test]
fn explanations_say_why_a_web_seed_is_left_out_and_name_it_where_it_is_asked() {
    let mut world = world(8 * MIB);
    let server = world.web_server(URL, host(100_000));
    let (node, _) = world.leech(Host::default());
    let torrent = world.torrent(node);
    assert!(world.run(MINUTE, |world| pieces_have(world, node) >= 1));
    let explained = |world: &World| world.session(node).explain(torrent, Some(PieceIndex(31)));
    let full = explained(&world).unwrap().left_out;
    assert_eq!((full[0].addr, full[0].why), (world.addr(server), LeftOut::NoSlot));
    world.seed(host(50_000_000));
    let two = |world: &World| world.session(node).connections(torrent).len() == 2;
    assert!(world.run(MINUTE, two));
    let left_out = explained(&world).unwrap().left_out;
    let web_seed = left_out.iter().find(|peer| peer.addr == world.addr(server)).unwrap();
    assert!(matches!(web_seed.why, LeftOut::NoSlot | LeftOut::LastResort), "{web_seed:?}");
}
