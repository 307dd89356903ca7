//! `shoalctl top`: a screen of a node that keeps up by itself. [`world`] is what is known, [`screen`]
//! what a person does with it, [`view`] how it is drawn, [`calls`] what is asked, [`live`] the
//! terminal. Never here: anything that changes the node.

use std::env;

use ratatui::layout::Rect;
use tokio::sync::mpsc;

use crate::{cli::TopArgs, failure::Failure, session::Session};

mod calls;
mod list;
mod live;
mod order;
mod screen;
mod view;
mod world;

use calls::Node;
use live::Stage;
use screen::Screen;
use view::Look;
use world::{Fact, World};

/// Columns and lines of a frame where no terminal says.
const FRAME_SIZE: (u16, u16) = (80, 24);

/// Shows the node's screen: on a terminal until a person quits, else, or where one frame is asked
/// for, once as plain text.
pub(crate) async fn top(s: &mut Session<'_>, args: &TopArgs) -> Result<(), Failure> {
    let mut node = Node::of(s);
    let named = Some(s.select(args.target.torrent.as_deref())).filter(|named| !named.is_empty());
    let torrent = match named {
        Some(named) => Some(node.find(&named).await?),
        None => None,
    };
    let screen = Screen::new(torrent.as_ref().map(|torrent| torrent.info_hash.as_str()));
    let mut world = World::default();
    if let Some(torrent) = torrent {
        world.hear(Fact::Torrent(Box::new(torrent)));
    }
    let endpoint = s.endpoint.clone();
    if args.once || !(s.io.terminals.stdin && s.io.terminals.stdout) {
        return once(s, node, screen, world, &endpoint).await;
    }
    let (interval, look) = (args.every, Look::of_environment());
    let stage = Stage { node, interval, endpoint, look, screen, world };
    live::show(stage, &mut *s.io.stdout).await
}

/// Writes one frame as plain text.
async fn once(
    s: &mut Session<'_>,
    mut node: Node,
    mut screen: Screen,
    mut world: World,
    endpoint: &str,
) -> Result<(), Failure> {
    let (sender, facts) = mpsc::channel(calls::FACTS_MAX);
    let asked = async {
        let sender = sender;
        node.all(&sender).await;
    };
    tokio::join!(asked, heard(facts, &mut world));
    screen.settle(&mut world);
    if let Some(torrent) = world.chosen.as_ref().map(|chosen| chosen.hash.clone()) {
        let (sender, facts) = mpsc::channel(calls::FACTS_MAX);
        let asked = async {
            let sender = sender;
            node.all_of(&torrent, &sender).await;
        };
        tokio::join!(asked, heard(facts, &mut world));
        screen.settle(&mut world);
    }
    if let Some(why) = world.lost {
        return Err(Failure::unreachable(format!("no node at {endpoint}: {why}")));
    }
    let (columns, lines) = frame_size(s);
    let look = Look { colour: false, ..Look::of_environment() };
    let scene = view::Scene { world: &world, endpoint, look: &look };
    let text = view::text(Rect::new(0, 0, columns, lines), &scene, &mut screen);
    s.write(&text)
}

/// Takes in what comes until nothing more does.
async fn heard(mut facts: mpsc::Receiver<Fact>, world: &mut World) {
    while let Some(fact) = facts.recv().await {
        world.hear(fact);
    }
}

/// `COLUMNS` and `LINES`, else the terminal's, else a usual size.
fn frame_size(s: &Session<'_>) -> (u16, u16) {
    let said = |name: &str| env::var(name).ok()?.parse::<u16>().ok().filter(|size| *size > 0);
    let terminal = s.io.terminals.stdout.then(|| crossterm::terminal::size().ok()).flatten();
    let (columns, lines) = terminal.unwrap_or(FRAME_SIZE);
    let most = 500;
    (said("COLUMNS").unwrap_or(columns).min(most), said("LINES").unwrap_or(lines).min(most))
}

#[cfg(test)]
mod tests;
