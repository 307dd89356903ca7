//! The registry against a tracker that keeps a list and looks at all of it.

use proptest::prelude::*;

use super::*;
use crate::tracker::announce::BYTES_MAX;

#[derive(Default)]
struct Model {
    peers: Vec<ModelPeer>,
    completed: u32,
}

#[derive(Clone, Debug)]
struct ModelPeer {
    key: PeerKey,
    addr: SocketAddr,
    source: IpAddr,
    secret: Option<Vec<u8>>,
    left: u64,
    joined: Timestamp,
    seen: Timestamp,
    completed: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Announce(Box<Announced>),
    Pass { seconds: u64, limit: usize },
}

#[derive(Clone, Debug)]
struct Announced {
    request: AnnounceRequest,
    source: IpAddr,
    room: Room,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => announced().prop_map(|announced| Step::Announce(Box::new(announced))),
        1 => (0..900_u64, 1..9_usize).prop_map(|(seconds, limit)| Step::Pass { seconds, limit }),
    ]
}

fn announced() -> impl Strategy<Value = Announced> {
    use AnnounceEvent::{Completed, Started, Stopped};
    let event = prop::sample::select(vec![None, Some(Started), Some(Completed), Some(Stopped)]);
    let left = prop::sample::select(vec![0, 0, 1, (1 << 48) - 1, 1 << 48, BYTES_MAX]);
    let key = prop::sample::select(vec![None, None, Some(""), Some("12345678"), Some("123456789")]);
    let family = prop::sample::select(vec![None, Some(Family::V4), Some(Family::V6)]);
    let who = (0..12_u16, 0..6_u16, any::<bool>(), 0..3_u16, key);
    (who, left, event, 0..8_u32, family, 0..8_usize).prop_map(
        |((n, source, is_v6, port, key), left, event, numwant, family, peers_max)| {
            let mut request = request(n, left);
            request.port = port;
            request.event = event;
            request.numwant = Some(numwant);
            request.key = key.map(|key| key.as_bytes().to_vec());
            request.shoal = Some(ShoalStatus::default());
            let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, source]);
            let source = if is_v6 { v6 } else { ip(source) };
            Announced { request, source, room: Room { family, peers_max } }
        },
    )
}

impl Model {
    /// Whether the announce is taken.
    fn announce(&mut self, now: Timestamp, announced: &Announced) -> bool {
        let Announced { request, source, .. } = announced;
        let addr = SocketAddr::new(*source, request.port);
        let key = PeerKey::new(request.peer_id, *source);
        let before = self.peers.iter().position(|peer| peer.key == key);
        let known = before.map(|at| &self.peers[at]);
        if known.is_some_and(|peer| {
            peer.secret.is_some() && peer.source != *source && peer.secret != request.key
        }) {
            return false;
        }
        let before = before.map(|at| self.peers.remove(at));
        if request.event == Some(AnnounceEvent::Stopped) {
            return true;
        }
        self.peers.retain(|peer| peer.addr != addr || addr.port() == 0);
        let is_completion = request.event == Some(AnnounceEvent::Completed) && request.left == 0;
        let was_complete = before.as_ref().is_some_and(|peer| peer.completed);
        self.completed += u32::from(is_completion && !was_complete);
        self.peers.push(ModelPeer {
            key,
            addr,
            source: *source,
            secret: request.key.clone(),
            left: request.left,
            joined: before.map_or(now, |peer| peer.joined),
            seen: now,
            completed: is_completion || was_complete,
        });
        true
    }

    fn seeds(&self) -> usize {
        self.peers.iter().filter(|peer| peer.left == 0).count()
    }

    /// Those who may be given to the asking peer.
    fn eligible(&self, announced: &Announced, family: Option<Family>) -> BTreeSet<SocketAddr> {
        let Announced { request, source, .. } = announced;
        let own = PeerKey::new(request.peer_id, *source);
        let others = self.peers.iter().filter(|peer| peer.key != own);
        let seeds_too = request.left != 0 || request.event == Some(AnnounceEvent::Started);
        let others = others.filter(|peer| seeds_too || peer.left != 0);
        let others = others.filter(|peer| family.is_none_or(|only| peer.key.family == only));
        others.map(|peer| peer.addr).collect()
    }

    /// What operators see of it.
    fn view(&self, now: Timestamp) -> Vec<(PeerKey, SocketAddr, u64, Duration, Duration)> {
        let ages = |peer: &ModelPeer| (now.since(peer.joined), now.since(peer.seen));
        let view = self.peers.iter().map(|peer| {
            let (joined, age) = ages(peer);
            (peer.key, peer.addr, peer.left, joined, age)
        });
        let mut view: Vec<_> = view.collect();
        view.sort();
        view
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_registry_agrees_with_a_list(steps in prop::collection::vec(step(), 1..80)) {
        // A swarm that is always there: the count of completions outlives its last peer.
        let only = Some(BTreeSet::from([TORRENT]));
        let mut registry = Registry::new(RegistryConfig { only, ..RegistryConfig::default() }, 3);
        let (mut model, mut now) = (Model::default(), START);
        for step in steps {
            match step {
                Step::Pass { seconds, limit } => {
                    now = now + Duration::from_secs(seconds);
                    while registry.expire(now, limit) {}
                    let after = registry.config().expire_after;
                    model.peers.retain(|peer| peer.seen + after > now);
                }
                Step::Announce(announced) => check_announce(&mut registry, &mut model, now, &announced),
            }
            registry.check();
            prop_assert_eq!(registry.counts().1, model.peers.len());
            check_views(&registry, &model, now);
        }
    }
}

fn check_announce(
    registry: &mut Registry,
    model: &mut Model,
    now: Timestamp,
    announced: &Announced,
) {
    let Announced { request, source, room } = announced;
    let reply = registry.announce(now, request, *source);
    if !model.announce(now, announced) {
        assert!(reply.is_err(), "{announced:?}");
        return;
    }
    let reply = reply.unwrap();
    let (seeds, all) = (model.seeds(), model.peers.len());
    let expected = (seeds as u32, (all - seeds) as u32, model.completed);
    assert_eq!(counts(&reply), expected);
    let given = reply.peers.iter().map(|peer| peer.addr).collect();
    check_peers(model, announced, given, Room::AMPLE);
    check_set(model, announced, &reply);
    // The same again changes nothing, but who is drawn.
    let mut given = Vec::new();
    let give = |peer: PeerRef<'_>| given.push(peer.addr());
    let answer = registry.announce_with(now, request, *source, *room, give).unwrap();
    assert_eq!((answer.complete, answer.incomplete, answer.downloaded), expected);
    check_peers(model, announced, given, *room);
}

/// The peers given are distinct, allowed, as many as there should be.
fn check_peers(model: &Model, announced: &Announced, list: Vec<SocketAddr>, room: Room) {
    let len = list.len();
    let given: BTreeSet<SocketAddr> = list.into_iter().collect();
    assert_eq!(given.len(), len, "a peer twice");
    if announced.request.event == Some(AnnounceEvent::Stopped) {
        assert!(given.is_empty());
        return;
    }
    let eligible = model.eligible(announced, room.family);
    let dialable: BTreeSet<_> = eligible.iter().copied().filter(|addr| addr.port() != 0).collect();
    assert!(given.is_subset(&dialable), "{given:?} of {dialable:?}");
    let most = (announced.request.numwant.unwrap() as usize).min(room.peers_max);
    assert!(given.len() <= most);
    if dialable.len() == eligible.len() {
        assert_eq!(given.len(), most.min(eligible.len()));
    }
}

/// The peer set is the asking peer and then everyone.
fn check_set(model: &Model, announced: &Announced, reply: &AnnounceReply) {
    let Announced { request, source, .. } = announced;
    let set = &reply.shoal.as_ref().unwrap().peers;
    if request.event == Some(AnnounceEvent::Stopped) {
        assert!(set.is_empty());
        return;
    }
    let own = PeerKey::new(request.peer_id, *source);
    let key = |id, addr: SocketAddr| PeerKey::new(id, addr.ip());
    let keys: BTreeSet<PeerKey> = set.iter().map(|peer| key(peer.id, peer.addr)).collect();
    let everyone = request.numwant != Some(0);
    let listed =
        model.peers.iter().filter(|peer| peer.key == own || (everyone && peer.addr.port() != 0));
    assert_eq!(keys, listed.map(|peer| peer.key).collect());
    assert_eq!((key(set[0].id, set[0].addr), set.len()), (own, keys.len()));
    assert!(set[1..].is_sorted_by_key(|peer| peer.left == 0), "leechers first");
}

/// Pages of every size hold everyone once and in order.
fn check_views(registry: &Registry, model: &Model, now: Timestamp) {
    let expected = model.view(now);
    for limit in [1, 3, usize::MAX] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let view = registry.swarm(now, TORRENT, after, limit).unwrap();
            assert!(view.peers.len() <= limit);
            seen.extend(view.peers.into_iter().map(|peer| {
                let key = PeerKey::new(peer.id, peer.addr.ip());
                (key, peer.addr, peer.left, peer.joined, peer.age)
            }));
            after = view.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
}
