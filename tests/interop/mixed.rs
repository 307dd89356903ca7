//! One swarm of everything: a seeder of each kind in turn, two of each foreign client and two of our
//! nodes that leech. Where Transmission cannot be, it is left out, which is said.

use std::slice;

use crate::{
    clients::{Client, Kind, Role, Task, shoal::Node},
    net::say,
    swarm::{Payload, Room, Shape, Tracker},
    trees,
};

/// Leechers of each kind.
const EACH: usize = 2;

/// A swarm under way.
struct Mixed {
    foreign: Vec<(Kind, String, Client)>,
    ours: Vec<Node>,
    room: Room,
    payload: Payload,
}

/// The kinds of foreign clients that can be in a room.
fn kinds(room: &Room) -> Vec<Kind> {
    let kinds = [Kind::Aria2, Kind::Transmission, Kind::Libtorrent];
    let fits = |kind: &Kind| {
        let fits = *kind != Kind::Transmission || room.net.is_real();
        if !fits {
            say("left out: Transmission, which takes no peer on loopback (root has namespaces)");
        }
        fits && kind.is_here()
    };
    kinds.into_iter().filter(fits).collect()
}

impl Mixed {
    /// A swarm in which nobody is, around what a node of ours made; that node, too.
    async fn new(tracker: Tracker) -> Option<(Self, Node)> {
        let mut room = Room::new().await?;
        if !room.trackers().any(|one| one == tracker) {
            return None;
        }
        let state = room.dir.path().join("maker");
        let maker = Node::peer(&room.shoald, &room.net.host(), &state).await;
        let payload = room.open(&maker, &[(tracker, Shape::Tree)]).await.remove(0);
        Some((Self { foreign: Vec::new(), ours: Vec::new(), room, payload }, maker))
    }

    /// The torrent's payload on a client, and where; nothing if that has to fetch it.
    fn start(&mut self, kind: Kind, name: &str, role: Role) {
        let (place, home) = (self.room.net.host(), self.room.dir.path().join(name));
        let data = home.join("data");
        if role == Role::Seed {
            trees::copy_with_padding(&self.payload.source, &data, &self.payload.metainfo);
        }
        let torrents = slice::from_ref(&self.payload.torrent);
        let task = Task { place: &place, role, torrents, data: &data, home: &home };
        self.foreign.push((kind, name.to_owned(), kind.start(&task)));
    }

    async fn start_ours(&mut self, name: &str) {
        let (place, state) = (self.room.net.host(), self.room.dir.path().join(name));
        let node = Node::leech(&self.room.shoald, &place, &state, &self.payload.torrent).await;
        self.ours.push(node);
    }

    /// Starts the leechers, and waits until everybody has everything and has said so.
    async fn complete(&mut self) {
        let one = slice::from_ref(&self.payload);
        let (_, missing) = self.room.watch(one, |_, entry| entry.complete == 1).await;
        assert!(missing.is_empty(), "the seeder does not announce: {missing:?}\n{}", self.said());
        let kinds = kinds(&self.room);
        for number in 1..=EACH {
            for &kind in &kinds {
                self.start(kind, &format!("{}-{number}", kind.name()), Role::Leech);
            }
            self.start_ours(&format!("ours-{number}")).await;
        }
        let everybody = u32::try_from(1 + EACH * (kinds.len() + 1)).unwrap();
        let one = slice::from_ref(&self.payload);
        let (done, missing) = self.room.watch(one, |_, entry| entry.complete == everybody).await;
        println!("{everybody} have everything: {done:.1?}");
        let late = missing.join(" ");
        assert!(missing.is_empty(), "not everybody completes: {late}\n{}", self.said());
        for (kind, name, client) in &mut self.foreign {
            client.must_run();
            let copy = self.room.dir.path().join(&*name).join("data");
            assert_eq!(self.payload.difference_at(*kind, &copy), None, "{name}");
        }
        for node in &self.ours {
            let info = node.info().await;
            let torrent = node.torrent().await;
            println!("{}: sent {} bytes", info.peer_address, torrent.uploaded_bytes);
            assert_eq!(torrent.failed_chunks, 0);
            assert_eq!(
                self.payload.difference(info.downloads_dir.as_ref()),
                None,
                "{}",
                node.said()
            );
        }
    }

    fn said(&self) -> String {
        let foreign = self.foreign.iter().map(|(_, name, client)| (name.as_str(), client.said()));
        let ours = self.ours.iter().map(|node| ("ours", node.said()));
        foreign.chain(ours).map(|(name, said)| format!("\n== {name}\n{said}")).collect()
    }
}

async fn around(kind: Kind, tracker: Tracker) {
    if kind.is_here()
        && let Some((mut mixed, maker)) = Mixed::new(tracker).await
    {
        maker.kill().await;
        if kinds(&mixed.room).contains(&kind) {
            mixed.start(kind, "seeder", Role::Seed);
            mixed.complete().await;
        }
    }
}

#[tokio::test]
async fn everybody_completes_around_a_seeder_of_ours() {
    if let Some((mut mixed, maker)) = Mixed::new(Tracker::OursHttp).await {
        maker.connect_tracker().await;
        mixed.complete().await;
        assert!(maker.torrent().await.uploaded_bytes > 0);
    }
}

#[tokio::test]
async fn everybody_completes_around_aria2() {
    around(Kind::Aria2, Tracker::OursUdp).await;
}

#[tokio::test]
async fn everybody_completes_around_transmission() {
    around(Kind::Transmission, Tracker::OpenHttp).await;
}

#[tokio::test]
async fn everybody_completes_around_libtorrent() {
    around(Kind::Libtorrent, Tracker::OpenUdp).await;
}
