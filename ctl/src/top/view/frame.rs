//! The lines above and below the panes: the node, and the keys. Never here: the panes.

use std::borrow::Cow;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use unicode_width::UnicodeWidthStr as _;

use super::Scene;
use crate::{
    clean::clean,
    grid::{shorten, shorten_head},
    human,
    top::screen::{Pane, Screen},
};

/// Fewest columns that the endpoint keeps.
const ENDPOINT_MIN: usize = 16;

/// The keys, the most needed first.
const KEYS: [(&str, &str); 9] = [
    ("q", "quit"),
    ("?", "help"),
    ("jk", "move"),
    ("tab", "pane"),
    ("s", "sort"),
    ("/", "filter"),
    ("p", "pause"),
    ("enter", "details"),
    ("r", "reverse"),
];

/// The node's lines.
pub(super) fn head(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, screen: &Screen) {
    let look = scene.look;
    let width = usize::from(area.width);
    let node = scene.world.node.as_deref();
    let mut facts = Vec::new();
    if let Some(node) = node {
        let roles = node.roles().map(|role| human::word(role.as_str_name(), "ROLE_"));
        facts.push(roles.collect::<Vec<_>>().join("+"));
        facts.push(format!("up {}", human::millis(node.uptime_ms).replace(' ', "")));
        if !node.policy.is_empty() {
            facts.push(format!("policy {}", clean(&node.policy)));
        }
    }
    if screen.paused {
        facts.push("PAUSED".to_owned());
    }
    let version = node.map(|node| format!(" {}", clean(&node.version))).unwrap_or_default();
    let facts = facts.iter().map(|fact| format!("  {fact}")).collect::<String>();
    let room = width.saturating_sub(version.width() + facts.width() + 10).max(ENDPOINT_MIN);
    let endpoint = shorten_head(&clean(scene.endpoint), room);
    let line = shorten(&format!("shoal{version} at {endpoint}{facts}"), width);
    buf.set_stringn(area.x, area.y, line, width, look.strong());
    let (line, style) = second(scene);
    buf.set_stringn(area.x, area.y + 1, shorten(&line, width), width, style);
}

/// Rates and totals; or that nobody answers; or what asks for an operator behind them.
fn second(scene: &Scene<'_>) -> (String, Style) {
    let (world, look) = (scene.world, scene.look);
    if let Some(why) = &world.lost {
        let line = format!("no node at {}, trying again: {why}", scene.endpoint);
        return (clean(&line).into_owned(), look.bad());
    }
    let Some(node) = &world.node else { return ("waiting for the node".to_owned(), look.faint()) };
    let (got, sent) = world.totals();
    let signs = &look.signs;
    let mut line = format!(
        "{} {}  {} {}  {}  {}  {}  got {}  sent {}",
        signs.down,
        human::rate(node.download_bps),
        signs.up,
        human::rate(node.upload_bps),
        human::count(node.torrents.into(), "torrent"),
        human::count(node.connections.into(), "peer"),
        human::count(node.jobs.into(), "job"),
        human::short_bytes(got),
        human::short_bytes(sent),
    );
    if let Some(alert) = &world.alert {
        line.push_str(&format!("  ! {}", clean(alert)));
    }
    (line, Style::default())
}

/// The keys; or the filter that is typed; or what the last key did.
pub(super) fn foot(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, screen: &mut Screen) {
    let (look, width) = (scene.look, usize::from(area.width));
    if screen.typing {
        let what = match screen.pane {
            Pane::Torrents => "torrents",
            Pane::Peers => "peers",
            Pane::Decisions => "decisions",
        };
        let filter = screen.filter().clone();
        let line = format!("filter {what}: {filter}_   enter keeps, esc clears");
        buf.set_stringn(area.x, area.y, line, width, look.strong());
        return;
    }
    if let Some(notice) = &screen.notice {
        buf.set_stringn(area.x, area.y, notice, width, look.strong());
        return;
    }
    let mut x = area.x;
    for (key, what) in KEYS {
        let needs = u16::try_from(key.width() + what.width() + 3).unwrap_or(u16::MAX);
        if x.saturating_add(needs) > area.right() + 2 {
            break;
        }
        let what: Cow<'_, str> =
            Cow::Borrowed(if key == "p" && screen.paused { "go on" } else { what });
        (x, _) = buf.set_stringn(x, area.y, key, width, look.strong());
        (x, _) = buf.set_stringn(x + 1, area.y, what, width, Style::default());
        x += 2;
    }
}
