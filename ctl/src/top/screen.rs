//! What a person does with the screen: panes, selections, orders, filters, overlays. Keys come in,
//! wishes come out. Never here: a call, or how anything is drawn.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use shoal::v1;

use super::{
    list::{Cursor, List, Order as _, Step},
    order::{self, DecisionOrder, PeerOrder, TorrentOrder},
    world::{Chosen, World},
};

/// Longest filter, characters.
const FILTER_LEN_MAX: usize = 64;

/// A list that can be walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    /// The torrents.
    Torrents,
    /// The chosen torrent's peers.
    Peers,
    /// Its last decisions.
    Decisions,
}

impl Pane {
    const fn next(self) -> Self {
        match self {
            Self::Torrents => Self::Peers,
            Self::Peers => Self::Decisions,
            Self::Decisions => Self::Torrents,
        }
    }

    const fn previous(self) -> Self {
        self.next().next()
    }
}

/// What lies over the panes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Overlay {
    /// The keys and signs.
    Help,
    /// Everything of the torrent with this hash.
    Torrent(String),
    /// Everything of the peer with this key.
    Peer(String),
    /// How this piece of this torrent would be decided.
    Decision {
        /// The torrent's hash.
        torrent: String,
        /// The piece's index.
        piece: u32,
    },
}

/// What the screen wants from the node beside what it always shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// The torrent that was chosen, its hash.
    pub(super) torrent: Option<String>,
    /// What the details need.
    pub(super) details: Option<Overlay>,
    /// Nothing else is to change.
    pub(super) paused: bool,
    /// The torrent is whole and its chunks are known: only its peers change.
    pub(super) still: bool,
}

/// What a key press leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Draw, and go on.
    Next,
    /// The end.
    Quit,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Quit,
    Help,
    Go(Step),
    NextPane,
    PreviousPane,
    Sort,
    Reverse,
    Filter,
    Pause,
    Details,
    Back,
}

/// The keys, where no filter is typed.
const KEYS: [(KeyCode, Act); 23] = [
    (KeyCode::Char('q'), Act::Quit),
    (KeyCode::Char('?'), Act::Help),
    (KeyCode::Char('h'), Act::Help),
    (KeyCode::Up, Act::Go(Step::Up)),
    (KeyCode::Char('k'), Act::Go(Step::Up)),
    (KeyCode::Down, Act::Go(Step::Down)),
    (KeyCode::Char('j'), Act::Go(Step::Down)),
    (KeyCode::PageUp, Act::Go(Step::PageUp)),
    (KeyCode::PageDown, Act::Go(Step::PageDown)),
    (KeyCode::Char(' '), Act::Go(Step::PageDown)),
    (KeyCode::Home, Act::Go(Step::First)),
    (KeyCode::Char('g'), Act::Go(Step::First)),
    (KeyCode::End, Act::Go(Step::Last)),
    (KeyCode::Char('G'), Act::Go(Step::Last)),
    (KeyCode::Tab, Act::NextPane),
    (KeyCode::BackTab, Act::PreviousPane),
    (KeyCode::Char('s'), Act::Sort),
    (KeyCode::Char('S'), Act::Reverse),
    (KeyCode::Char('r'), Act::Reverse),
    (KeyCode::Char('/'), Act::Filter),
    (KeyCode::Char('p'), Act::Pause),
    (KeyCode::Enter, Act::Details),
    (KeyCode::Esc, Act::Back),
];

fn act_of(code: KeyCode) -> Option<Act> {
    KEYS.iter().find(|(key, _)| *key == code).map(|(_, act)| *act)
}

/// What a person sees of the world.
#[derive(Debug)]
pub(super) struct Screen {
    /// Where the keys go.
    pub(super) pane: Pane,
    pub(super) torrents: List<TorrentOrder>,
    pub(super) peers: List<PeerOrder>,
    pub(super) decisions: List<DecisionOrder>,
    pub(super) overlay: Option<Overlay>,
    /// Lines by which the overlay is scrolled.
    pub(super) scrolled: usize,
    /// A filter of the pane is being typed.
    pub(super) typing: bool,
    /// The screen stands still.
    pub(super) paused: bool,
    /// What the last key did, where nothing else shows it.
    pub(super) notice: Option<String>,
}

impl Screen {
    /// With this torrent chosen, where one is named.
    pub(super) fn new(torrent: Option<&str>) -> Self {
        Self {
            pane: Pane::Torrents,
            torrents: List::new(torrent.map(Cursor::on).unwrap_or_default()),
            peers: List::new(Cursor::floating()),
            decisions: List::new(Cursor::floating()),
            overlay: None,
            scrolled: 0,
            typing: false,
            paused: false,
            notice: None,
        }
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent, world: &mut World) -> Flow {
        if key.kind == KeyEventKind::Release {
            return Flow::Next;
        }
        self.notice = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Flow::Quit;
        }
        if self.typing {
            self.typed(key.code);
        } else if let Some(act) = act_of(key.code).filter(|_| !control)
            && self.act(act, world) == Flow::Quit
        {
            return Flow::Quit;
        }
        self.settle(world);
        Flow::Next
    }

    /// Finds the selections in the world as it is, and turns it to the torrent that is selected.
    pub(super) fn settle(&mut self, world: &mut World) {
        let hashes: Vec<&str> =
            order::torrents(world, &self.torrents).iter().map(|t| t.info_hash.as_str()).collect();
        self.torrents.cursor.settle(&hashes);
        let chosen = self.torrents.cursor.key().filter(|_| !hashes.is_empty()).map(str::to_owned);
        let chosen = chosen.filter(|hash| world.torrents.contains_key(hash));
        world.choose(chosen.as_deref());
        self.peers.cursor.settle(&keys(order::peers(world, &self.peers)));
        self.decisions.cursor.settle(&keys(order::decisions(world, &self.decisions)));
        let is_there = match &self.overlay {
            Some(Overlay::Torrent(hash)) => world.torrents.contains_key(hash),
            Some(Overlay::Help | Overlay::Peer(_) | Overlay::Decision { .. }) | None => true,
        };
        if !is_there {
            self.overlay = None;
        }
    }

    /// What the node is to be asked for.
    pub(super) fn wish(&self, world: &World) -> Wish {
        let details = self.overlay.clone().filter(|overlay| match overlay {
            Overlay::Help | Overlay::Peer(_) => false,
            Overlay::Torrent(_) | Overlay::Decision { .. } => true,
        });
        let torrent = world.chosen.as_ref().map(|chosen| chosen.hash.clone());
        // Before the list is here: whatever was named.
        let torrent = torrent.or_else(|| self.torrents.cursor.key().map(str::to_owned));
        let whole = |torrent: &v1::Torrent| {
            torrent.chunks_have == torrent.chunks && torrent.chunks_checking == 0
        };
        let known = |chosen: &Chosen| chosen.decisions.is_some() && chosen.is_whole();
        let still =
            world.chosen_torrent().is_some_and(whole) && world.chosen.as_ref().is_some_and(known);
        Wish { torrent, details, paused: self.paused, still }
    }

    /// The filter of the pane.
    pub(super) fn filter(&mut self) -> &mut String {
        match self.pane {
            Pane::Torrents => &mut self.torrents.filter,
            Pane::Peers => &mut self.peers.filter,
            Pane::Decisions => &mut self.decisions.filter,
        }
    }

    fn act(&mut self, act: Act, world: &mut World) -> Flow {
        if self.overlay.is_some() {
            return self.act_over(act);
        }
        match act {
            Act::Quit => return Flow::Quit,
            Act::Help => self.open(Overlay::Help),
            Act::Go(step) => self.go(step, world),
            Act::NextPane => self.pane = self.pane.next(),
            Act::PreviousPane => self.pane = self.pane.previous(),
            Act::Sort => self.sort(),
            Act::Reverse => self.reverse(),
            Act::Filter => self.typing = true,
            Act::Pause => self.paused = !self.paused,
            Act::Details => self.details(world),
            Act::Back => self.filter().clear(),
        }
        Flow::Next
    }

    /// A key while an overlay lies over the panes.
    fn act_over(&mut self, act: Act) -> Flow {
        match act {
            Act::Quit | Act::Help | Act::Details | Act::Back => self.overlay = None,
            Act::Go(Step::Up) => self.scrolled = self.scrolled.saturating_sub(1),
            Act::Go(Step::Down) => self.scrolled += 1,
            Act::Go(Step::PageUp) => self.scrolled = self.scrolled.saturating_sub(10),
            Act::Go(Step::PageDown) => self.scrolled += 10,
            Act::Go(Step::First) => self.scrolled = 0,
            Act::Go(Step::Last) => self.scrolled = usize::MAX / 2,
            Act::Pause => self.paused = !self.paused,
            Act::NextPane | Act::PreviousPane | Act::Sort | Act::Reverse | Act::Filter => {}
        }
        Flow::Next
    }

    fn go(&mut self, step: Step, world: &World) {
        match self.pane {
            Pane::Torrents => {
                let shown = order::torrents(world, &self.torrents);
                let hashes: Vec<&str> = shown.iter().map(|t| t.info_hash.as_str()).collect();
                self.torrents.cursor.go(step, &hashes);
            }
            Pane::Peers => {
                let keys = keys(order::peers(world, &self.peers));
                self.peers.cursor.go(step, &keys);
            }
            Pane::Decisions => {
                let keys = keys(order::decisions(world, &self.decisions));
                self.decisions.cursor.go(step, &keys);
            }
        }
    }

    fn sort(&mut self) {
        self.notice = Some(match self.pane {
            Pane::Torrents => format!("torrents by {}", self.torrents.next_order()),
            Pane::Peers => format!("peers by {}", self.peers.next_order()),
            Pane::Decisions => format!("decisions by {}", self.decisions.next_order()),
        });
    }

    fn reverse(&mut self) {
        let (reversed, name) = match self.pane {
            Pane::Torrents => (&mut self.torrents.reversed, self.torrents.order.name()),
            Pane::Peers => (&mut self.peers.reversed, self.peers.order.name()),
            Pane::Decisions => (&mut self.decisions.reversed, self.decisions.order.name()),
        };
        *reversed = !*reversed;
        let way = if *reversed { ", the other way round" } else { "" };
        self.notice = Some(format!("by {name}{way}"));
    }

    fn details(&mut self, world: &mut World) {
        let overlay = match self.pane {
            Pane::Torrents => world.chosen.as_ref().map(|it| Overlay::Torrent(it.hash.clone())),
            Pane::Peers => self.peers.cursor.key().map(|key| Overlay::Peer(key.to_owned())),
            Pane::Decisions => {
                let shown = order::decisions(world, &self.decisions);
                let selected = self.decisions.cursor.key();
                let found = shown.iter().find(|(key, _)| Some(key.as_str()) == selected);
                found.map(|(_, decision)| Overlay::Decision {
                    torrent: decision.info_hash.clone(),
                    piece: decision.piece,
                })
            }
        };
        if let Some(overlay) = overlay {
            world.details = None;
            world.explained = None;
            self.open(overlay);
        }
    }

    fn open(&mut self, overlay: Overlay) {
        self.overlay = Some(overlay);
        self.scrolled = 0;
    }

    /// A key while a filter is typed.
    fn typed(&mut self, code: KeyCode) {
        if code == KeyCode::Enter {
            self.typing = false;
        } else if code == KeyCode::Esc {
            self.filter().clear();
            self.typing = false;
        } else if code == KeyCode::Backspace {
            self.filter().pop();
        } else if let KeyCode::Char(c) = code {
            let filter = self.filter();
            if filter.chars().count() < FILTER_LEN_MAX && !crate::clean::is_unsafe(c) {
                filter.extend(c.to_lowercase());
            }
        }
    }
}

fn keys<T>(shown: Vec<(String, T)>) -> Vec<String> {
    shown.into_iter().map(|(key, _)| key).collect()
}
