//! The terminal while `top` has it: taken over, drawn on, and given back however the run ends.
//! Never here: what is drawn, or what is asked.

use std::{
    io::{self, Write},
    panic,
    sync::Arc,
    time::Duration,
};

use crossterm::{cursor, event::Event, event::EventStream, execute, terminal, terminal::ClearType};
use ratatui::{Terminal, backend::Backend, backend::CrosstermBackend};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::{Stream, StreamExt as _};

use super::{
    calls::{self, Node},
    screen::{Flow, Screen, Wish},
    view::{self, Look},
    world::{Fact, World},
};
use crate::failure::Failure;

/// Shortest time between two frames that no key asked for: more would only cost.
const FRAME_EVERY: Duration = Duration::from_millis(200);

/// What the screen is made of.
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) interval: Duration,
    pub(super) endpoint: String,
    pub(super) look: Look,
    pub(super) screen: Screen,
    pub(super) world: World,
}

/// Shows the node on the terminal until a person quits.
///
/// # Errors
/// The terminal fails, or a signal ends the run.
pub(super) async fn show(stage: Stage, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let stdio = |error: io::Error| Failure::stdio(&error);
    let mut ends = signal(SignalKind::terminate()).map_err(stdio)?;
    let mut hangups = signal(SignalKind::hangup()).map_err(stdio)?;
    let _given_back = Taken::take().map_err(stdio)?;
    let mut terminal = Terminal::new(CrosstermBackend::new(out)).map_err(stdio)?;
    let shown = Box::pin(run(stage, &mut terminal, EventStream::new()));
    tokio::select! {
        shown = shown => shown,
        _ = ends.recv() => Err(Failure::interrupted(None)),
        _ = hangups.recv() => Err(Failure::Closed),
    }
}

/// Takes facts and keys, and draws, until a person quits or the keys end.
async fn run<B: Backend>(
    stage: Stage,
    terminal: &mut Terminal<B>,
    mut keys: impl Stream<Item = io::Result<Event>> + Unpin,
) -> Result<(), Failure> {
    let Stage { node, interval, endpoint, look, mut screen, mut world } = stage;
    let (sender, mut facts) = mpsc::channel(calls::FACTS_MAX);
    let (wishes, wish) = watch::channel(Wish { torrent: None, ..screen.wish(&world) });
    // Both end when nobody takes their facts.
    let mut polls = tokio::spawn(calls::poll(node.clone(), interval, wish, sender.clone()));
    let mut follows = tokio::spawn(calls::follow(node, sender));
    let mut drawn = Instant::now() - FRAME_EVERY;
    let mut due = Some(drawn);
    loop {
        if due.is_some_and(|due| due <= Instant::now()) {
            screen.settle(&mut world);
            let wished = screen.wish(&world);
            wishes.send_if_modified(|wish| {
                let changed = *wish != wished;
                wish.clone_from(&wished);
                changed
            });
            let scene = view::Scene { world: &world, endpoint: &endpoint, look: &look };
            let frame = terminal.draw(|frame| view::draw(frame, &scene, &mut screen));
            frame.map_err(|error| Failure::stdio(&io::Error::other(error.to_string())))?;
            drawn = Instant::now();
            due = None;
        }
        let next = due.unwrap_or_else(Instant::now);
        tokio::select! {
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) => {
                    if screen.press(key, &mut world) == Flow::Quit {
                        return Ok(());
                    }
                    due = Some(Instant::now());
                }
                Some(Ok(_)) => due = Some(Instant::now()),
                Some(Err(error)) => return Err(Failure::stdio(&error)),
                None => return Ok(()),
            },
            _ = &mut polls => return Err(Failure::internal("the screen asks no more")),
            _ = &mut follows => return Err(Failure::internal("the screen follows no more")),
            Some(fact) = facts.recv() => {
                hear(&mut world, &screen, fact);
                due = due.or(Some(drawn + FRAME_EVERY));
            }
            () = sleep_until(next), if due.is_some() => {}
        }
    }
}

fn hear(world: &mut World, screen: &Screen, fact: Fact) {
    if screen.paused {
        world.hear_paused(fact);
    } else {
        world.hear(fact);
    }
}

/// The hook that tells of panics.
type Hook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Sync + Send>;

/// The terminal, taken over: keys one by one, a screen of its own. Dropping it gives it back; a
/// panic gives it back before it is told of.
struct Taken {
    told: Arc<Hook>,
}

impl Taken {
    fn take() -> io::Result<Self> {
        let told = Arc::new(panic::take_hook());
        let tell = Arc::clone(&told);
        panic::set_hook(Box::new(move |info| {
            give_back();
            tell(info);
        }));
        // From here on dropping undoes whatever of it was done.
        let taken = Self { told };
        terminal::enable_raw_mode()?;
        // Nothing is asked of the terminal here: some never answer.
        let all = terminal::Clear(ClearType::All);
        execute!(io::stdout(), terminal::EnterAlternateScreen, all, cursor::Hide)?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
        if !std::thread::panicking() {
            let told = Arc::clone(&self.told);
            panic::set_hook(Box::new(move |info| told(info)));
        }
    }
}

/// Gives the terminal back. Twice does no harm, and a terminal that has gone needs nothing.
fn give_back() {
    let _ = execute!(
        io::stdout(),
        terminal::Clear(ClearType::All),
        terminal::LeaveAlternateScreen,
        cursor::Show
    );
    let _ = terminal::disable_raw_mode();
}
