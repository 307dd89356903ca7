//! Frames, as a terminal would show them.

use std::collections::HashMap;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend};
use shoal::v1::{self, TorrentState};
use unicode_width::UnicodeWidthStr as _;

use super::{
    screen::{Flow, Overlay, Screen},
    view::{self, Look, Scene, Signs},
    world::{Fact, World},
};

/// A screen of a size, on which keys are pressed.
struct Test {
    world: World,
    screen: Screen,
    terminal: Terminal<TestBackend>,
    look: Look,
}

impl Test {
    fn new(columns: u16, lines: u16) -> Self {
        Self {
            world: World::default(),
            screen: Screen::new(None),
            terminal: Terminal::new(TestBackend::new(columns, lines)).unwrap(),
            look: Look { colour: true, signs: Signs::UNICODE },
        }
    }

    fn hear(mut self, facts: impl IntoIterator<Item = Fact>) -> Self {
        for fact in facts {
            self.world.hear(fact);
            self.screen.settle(&mut self.world);
        }
        self
    }

    /// Presses keys: a character each, or the one with this name in brackets.
    fn press(&mut self, keys: &str) -> Flow {
        let mut flow = Flow::Next;
        for key in keys.split(' ') {
            let code = match key {
                "enter" => KeyCode::Enter,
                "esc" => KeyCode::Esc,
                "tab" => KeyCode::Tab,
                "end" => KeyCode::End,
                "pgdn" => KeyCode::PageDown,
                "back" => KeyCode::Backspace,
                key => KeyCode::Char(key.chars().next().unwrap()),
            };
            // What was drawn says how far a page is.
            self.lines();
            flow = self.screen.press(KeyEvent::new(code, KeyModifiers::NONE), &mut self.world);
        }
        flow
    }

    fn lines(&mut self) -> Vec<String> {
        let scene =
            Scene { world: &self.world, endpoint: "unix:///run/shoald.sock", look: &self.look };
        let screen = &mut self.screen;
        self.terminal.draw(|frame| view::draw(frame, &scene, screen)).unwrap();
        let buffer = self.terminal.backend().buffer();
        let lines = view::lines(buffer);
        assert!(lines.iter().all(|line| line.width() <= usize::from(buffer.area.width)));
        lines
    }

    fn text(&mut self) -> String {
        self.lines().join("\n")
    }

    fn line(&mut self, with: &str) -> String {
        let lines = self.lines();
        let found = lines.iter().find(|line| line.contains(with));
        found.unwrap_or_else(|| panic!("no line with {with:?}:\n{}", lines.join("\n"))).clone()
    }
}

fn hash(n: usize) -> String {
    format!("{n:040x}")
}

fn torrent(n: usize, name: &str, state: TorrentState) -> v1::Torrent {
    v1::Torrent {
        info_hash: hash(n),
        name: name.to_owned(),
        state: state.into(),
        total_bytes: 4 << 30,
        wanted_bytes: 4 << 30,
        wanted_done_bytes: 1 << 30,
        chunks: 8192,
        chunks_have: 2048,
        chunk_size_bytes: 524_288,
        download_bps: 12 << 20,
        upload_bps: 3 << 20,
        peers: 200,
        downloaded_bytes: 1 << 30,
        uploaded_bytes: 5 << 20,
        ..v1::Torrent::default()
    }
}

fn node() -> Fact {
    Fact::Node(Box::new(v1::GetInfoResponse {
        version: "0.1.0".to_owned(),
        roles: vec![v1::Role::Peer.into()],
        policy: "least_loaded".to_owned(),
        uptime_ms: 7_380_000,
        torrents: 2,
        connections: 200,
        jobs: 1,
        download_bps: 12 << 20,
        epoch: "e".to_owned(),
        ..v1::GetInfoResponse::default()
    }))
}

fn peer(n: u32) -> v1::Connection {
    v1::Connection {
        peer: Some(v1::PeerAddress { ip: format!("10.0.{}.{}", n / 250, n % 250 + 1), port: 7000 }),
        peer_id: format!("{n:040x}"),
        client: "shoal 0.1.0".to_owned(),
        outgoing: true,
        am_interested: true,
        shoal: true,
        download_bps: u64::from(n) * 1000,
        chunks_have: 41 * n,
        inflight_chunks: n % 5,
        slots: 4,
        labels: HashMap::from([("rack".to_owned(), (n % 7).to_string())]),
        source: v1::PeerSource::Tracker.into(),
        ..v1::Connection::default()
    }
}

fn decision(n: u32) -> v1::Decision {
    v1::Decision {
        sequence: n.into(),
        at: Some(prost_types::Timestamp { seconds: 1_777_890_030 + i64::from(n), nanos: 0 }),
        info_hash: hash(1),
        chunk: format!("film.webm.part{}", n + 1),
        piece: n,
        candidates: 41,
        outcome: v1::Outcome::Chosen.into(),
        chosen: peer(n).peer,
        spent_us: 12,
        policy: "least_loaded".to_owned(),
        ..v1::Decision::default()
    }
}

/// A node with two torrents, of which the first is chosen and has `peers` peers.
fn busy(peers: u32) -> Vec<Fact> {
    let mut bitfield = vec![0; 1024];
    bitfield[..256].fill(0xff);
    let status = v1::SeeChunkStatusResponse {
        bitfield,
        total_chunks: 8192,
        in_flight: vec![2100, 4000],
        ..v1::SeeChunkStatusResponse::default()
    };
    vec![
        node(),
        Fact::Page {
            torrents: vec![
                torrent(1, "film.webm", TorrentState::Downloading),
                torrent(2, "done.iso", TorrentState::Seeding),
            ],
            last: true,
        },
        Fact::Peers { torrent: hash(1), peers: (0..peers).map(peer).collect() },
        Fact::Chunks { torrent: hash(1), status: Box::new(status) },
        Fact::Decisions { torrent: hash(1), decisions: (0..100).map(decision).collect() },
    ]
}

#[test]
fn everything_has_its_place_at_eighty_by_twenty_four() {
    let mut test = Test::new(80, 24).hear(busy(200));
    let head = test.lines()[..2].join("\n");
    for word in ["shoal 0.1.0", "unix:///run/shoald.sock", "up 2h03m", "policy least_loaded"] {
        assert!(head.contains(word), "{head}");
    }
    assert!(head.contains("↓ 12.0 MiB/s") && head.contains("200 peers"), "{head}");
    assert!(head.contains("got 2.0G  sent 10.0M"), "{head}");
    let line = test.line("film.webm ");
    for word in ["▶film.webm", "downloading", "25.0%", "4.0G", "12.0M", "3.0M", "200", "4m16s"] {
        assert!(line.contains(word), "{line}");
    }
    let title = test.line("CHUNKS 2048 of 8192 had · 2 in flight");
    assert!(title.ends_with("█ had  ▓▒░ part  ◆ in flight  · missing"), "{title}");
    let map = test.line("██");
    assert!(map.trim().starts_with("███"), "{map}");
    assert!(test.text().contains('◆') && test.text().contains("····"));
    let first = test.line("10.0.0.200:7000");
    for word in ["shoal 0.1.0", ">TIx", "194.3K", "8159", "4/4", "rack=3"] {
        assert!(first.contains(word), "{first}");
    }
    let last = test.line("film.webm.part100 ");
    for word in ["10:22:09", "10.0.0.100:7000", " 41 ", "least_loaded", "12 µs"] {
        assert!(last.contains(word), "{last}");
    }
    assert!(test.lines()[23].starts_with("q quit  ? help"));
}

#[test]
fn a_wide_terminal_has_torrents_and_peers_beside_each_other() {
    let mut test = Test::new(200, 50).hear(busy(200));
    let heads = test.line("TORRENTS 2");
    assert!(heads.contains("PEERS 1-") && heads.contains("LABELS"), "{heads}");
    let film = test.line("▶film.webm");
    assert!(film.contains("██▓") || film.contains("██·"), "{film}");
    assert!(film.contains("10.0.0.200:7000"), "{film}");
    assert!(test.line("CHUNKS 2048").contains("◆ in flight  · missing"));
    let shown = test.text().matches("10.0.0.").count();
    assert!(shown > 30, "{shown} peers and decisions");
}

#[test]
fn two_hundred_peers_are_scrolled_sorted_and_filtered() {
    let mut test = Test::new(80, 24).hear(busy(200));
    test.press("tab");
    assert!(test.line("PEERS 1-").contains("of 200"));
    test.press("end");
    assert!(test.text().contains("PEERS 193- of 200"), "{}", test.text());
    assert!(test.line("▶10.0.0.1:7000").contains("0/4"));
    // Rate, down, up, chunks, address.
    test.press("s s s s g");
    assert!(test.line("▶10.0.0.1:7000").contains(" - "));
    test.press("r");
    assert!(test.text().contains("by address, the other way round"));
    // Nobody went down: the first row stays selected, whoever stands there.
    assert!(test.text().contains("▶10.0.0.200:7000"), "{}", test.text());
    test.press("/ r a c k = 3");
    assert!(test.text().contains("filter peers: rack=3_"), "{}", test.text());
    assert!(test.text().contains("PEERS 29/200"), "{}", test.text());
    test.press("enter esc");
    assert!(!test.text().contains("29/200"));
}

#[test]
fn a_thousand_torrents_are_walked_through_and_the_choice_holds() {
    let states = [TorrentState::Seeding, TorrentState::Downloading, TorrentState::Paused];
    let torrents = (0..1000).map(|n| torrent(n, &format!("release-{n:04}"), states[n % 3]));
    let list = Fact::Page { torrents: torrents.collect(), last: true };
    let mut test = Test::new(80, 24).hear([node(), list]);
    // What is at work comes first.
    assert!(test.text().contains("▶release-0001"), "{}", test.text());
    test.press("s end");
    assert!(test.text().contains("▶release-0999"));
    assert_eq!(test.world.chosen.as_ref().unwrap().hash, hash(999));
    test.press("g pgdn");
    let chosen = test.world.chosen.as_ref().unwrap().hash.clone();
    // Another order, the same torrent.
    test.press("s s");
    assert_eq!(test.world.chosen.as_ref().unwrap().hash, chosen);
    test.press("/ 0 9 9 9 enter");
    assert!(test.line("TORRENTS").contains("1/1000 /0999"), "{}", test.text());
    assert_eq!(test.screen.wish(&test.world).torrent, Some(hash(999)));
}

#[test]
fn an_empty_node_says_what_to_do() {
    let list = Fact::Page { torrents: Vec::new(), last: true };
    let mut test = Test::new(80, 24).hear([node(), list]);
    assert!(test.text().contains("no torrents: shoalctl torrent add FILE adds one"));
    assert_eq!(test.screen.wish(&test.world).torrent, None);
    for key in ["j", "enter", "tab", "end", "enter", "tab", "enter", "s", "r"] {
        test.press(key);
        test.lines();
    }
}

#[test]
fn a_lost_node_is_told_of_and_what_was_known_stays() {
    let mut test = Test::new(80, 24).hear(busy(3));
    test = test.hear([Fact::Lost("connection refused".to_owned())]);
    let told = test.lines()[1].clone();
    assert!(
        told.starts_with("no node at unix:///run/shoald.sock, trying again: connection refused"),
        "{told}"
    );
    assert!(test.text().contains("▶film.webm") && test.text().contains("10.0.0.3:7000"));
    test = test.hear([node()]);
    assert!(!test.text().contains("no node at"));
}

#[test]
fn a_terminal_that_is_too_small_says_so_and_none_panics() {
    let mut test = Test::new(40, 10).hear(busy(9));
    assert_eq!(test.lines()[..2], ["too small: 40 x 10", "needs 60 x 16"]);
    for (columns, lines) in [(1, 1), (5, 2), (59, 16), (60, 15), (60, 16), (80, 17), (160, 16)] {
        for keys in ["j", "?", "esc", "enter", "esc", "tab", "enter", "esc", "/", "x", "end"] {
            let mut test = Test::new(columns, lines).hear(busy(9));
            test.press(keys);
            test.lines();
        }
    }
}

#[test]
fn every_size_is_drawn_without_a_panic() {
    let facts = || busy(30);
    for columns in (1..240).step_by(17) {
        for lines in (1..80).step_by(7) {
            let mut test = Test::new(columns, lines).hear(facts());
            test.lines();
            test.screen.overlay = Some(Overlay::Help);
            test.lines();
        }
    }
}

#[test]
fn a_name_cannot_forge_the_screen() {
    let mut hostile = torrent(1, "a\x1b[2Jb\u{202e}c\nd", TorrentState::Downloading);
    hostile.error = "\x07".to_owned();
    let mut stranger = peer(1);
    stranger.client = "\x1b]0;x\x07".to_owned();
    stranger.labels = HashMap::from([("k\r".to_owned(), "v\u{9b}".to_owned())]);
    let mut made = decision(1);
    made.chunk = "x\x1b[31m".to_owned();
    made.reason = "y\u{2066}".to_owned();
    let facts = [
        node(),
        Fact::Page { torrents: vec![hostile], last: true },
        Fact::Peers { torrent: hash(1), peers: vec![stranger] },
        Fact::Decisions { torrent: hash(1), decisions: vec![made] },
        Fact::Lost("z\x1b".to_owned()),
    ];
    let mut test = Test::new(120, 40).hear(facts);
    for keys in ["j", "enter", "esc", "tab", "enter", "esc"] {
        test.press(keys);
        let text = test.text();
        assert!(!text.chars().any(|c| c != '\n' && crate::clean::is_unsafe(c)), "{text:?}");
    }
    assert!(test.text().contains("a\u{fffd}[2Jb\u{fffd}c\u{fffd}d"));
}

#[test]
fn no_colour_is_used_where_none_is_wanted_and_no_background_ever() {
    use ratatui::style::Color;
    for colour in [true, false] {
        let mut test = Test::new(80, 24).hear(busy(20));
        test.look.colour = colour;
        test.lines();
        let cells = test.terminal.backend().buffer().content();
        assert!(cells.iter().all(|cell| cell.bg == Color::Reset));
        assert_eq!(cells.iter().any(|cell| cell.fg != Color::Reset), colour);
    }
}

#[test]
fn signs_are_plain_where_the_terminal_knows_no_others() {
    let mut test = Test::new(100, 30).hear(busy(20));
    test.look.signs = Signs::ASCII;
    let text = test.text();
    assert!(text.is_ascii(), "{text}");
    assert!(text.contains("####") && text.contains("...."));
}

#[test]
fn keys_open_details_and_help_and_close_them_again() {
    let mut test = Test::new(80, 24).hear(busy(3));
    test.press("?");
    assert!(test.text().contains("keys and signs"));
    test.press("q enter");
    assert!(test.text().contains("info hash:") && test.text().contains(&hash(1)));
    assert_eq!(test.screen.wish(&test.world).details, Some(Overlay::Torrent(hash(1))));
    let file = v1::TorrentFile { path: "film.webm".to_owned(), wanted: true, ..Default::default() };
    let details = v1::GetTorrentResponse { files: vec![file], ..Default::default() };
    test = test.hear([Fact::Details(Box::new(details))]);
    assert!(test.text().contains("wanted"));
    test.press("esc tab enter");
    assert!(test.text().contains("dialled by us; known from: tracker"), "{}", test.text());
    test.press("esc tab enter");
    let overlay = Overlay::Decision { torrent: hash(1), piece: 99 };
    assert_eq!(test.screen.wish(&test.world).details, Some(overlay));
    assert!(test.text().contains("asking the node"));
    test = test.hear([Fact::Explained(Err("nothing to explain".to_owned()))]);
    assert!(test.text().contains("nothing to explain"));
    test.press("esc");
    assert_eq!(test.press("q"), Flow::Quit);
}

#[test]
fn a_paused_screen_says_so_and_asks_for_nothing_new() {
    let mut test = Test::new(80, 24).hear(busy(3));
    test.press("p");
    assert!(test.lines()[0].contains("PAUSED") && test.screen.wish(&test.world).paused);
    test.press("p");
    assert!(!test.screen.wish(&test.world).paused);
}

#[test]
fn a_filter_takes_the_letters_that_are_commands_elsewhere() {
    let mut test = Test::new(80, 24).hear(busy(3));
    assert_eq!(test.press("/ q s back"), Flow::Next);
    assert_eq!(test.screen.torrents.filter, "q");
    assert!(test.text().contains("no torrent matches the filter"));
    test.press("esc");
    assert_eq!(test.screen.torrents.filter, "");
}
