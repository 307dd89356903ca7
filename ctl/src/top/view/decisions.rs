//! The last decisions of the policy for the chosen torrent: which chunk, from which peer, of how many,
//! by whom, how long. Never here: which of them.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use shoal::v1::{self, Outcome};

use super::{
    Scene,
    look::{Focus, Look},
    table::{Cell, Column, Side, Table, left_over, title},
};
use crate::{
    human,
    top::{
        order::{self, DecisionOrder},
        screen::{Pane, Screen},
    },
};

/// Fewest and most columns of an address.
const PEER_MIN: u16 = 14;
const PEER_MAX: u16 = 22;

/// Fewest columns of a chunk's name: those of the head.
const CHUNK_MIN: u16 = 24;

/// Columns of the pane from which the policy's name has more room.
const WIDTH_POLICY: u16 = 110;

/// Columns of the pane from which reasons are shown.
const WIDTH_REASON: u16 = 100;

/// Draws the pane.
pub(super) fn draw(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, screen: &mut Screen) {
    let focus = if screen.pane == Pane::Decisions { Focus::Keys } else { Focus::None };
    let (world, look) = (scene.world, scene.look);
    let told = world.chosen.as_ref().and_then(|chosen| chosen.decisions.as_ref());
    let shown = order::decisions(world, &screen.decisions);
    let list = &mut screen.decisions;
    let rows = usize::from(area.height.saturating_sub(1));
    list.cursor.show(shown.len(), rows);
    let place = (list.cursor.top(), rows, shown.len());
    let mark = |title: &str, order: DecisionOrder| {
        let sign = if list.reversed { look.signs.rising } else { look.signs.falling };
        if list.order == order { format!("{title}{sign}") } else { title.to_owned() }
    };
    let widest = |text: fn(&v1::Decision) -> String| {
        let widths = shown.iter().map(|(_, decision)| text(decision).chars().count());
        u16::try_from(widths.max().unwrap_or(0)).unwrap_or(u16::MAX)
    };
    let peer =
        widest(|decision| human::address(decision.chosen.as_ref())).clamp(PEER_MIN, PEER_MAX);
    let policy = widest(by).clamp(6, if area.width >= WIDTH_POLICY { 32 } else { 16 });
    let fixed = [8, peer, 3, policy, 7];
    let room = left_over(area, fixed).saturating_sub(1);
    // Chunks that come later may have a digit more.
    let chunk = widest(|decision| decision.chunk.clone()).max(CHUNK_MIN) + 2;
    let reasons = shown.iter().any(|(_, decision)| !decision.reason.is_empty());
    let (chunk, reason) = if reasons && area.width >= WIDTH_REASON {
        let chunk = chunk.min(room * 2 / 3);
        (chunk, (room - chunk).saturating_sub(1))
    } else if area.width >= WIDTH_REASON {
        (chunk.min(room), 0)
    } else {
        (room, 0)
    };
    let of = told.map_or(0, Vec::len);
    let name = title("DECISIONS", place, of, &list.filter, chunk.saturating_sub(1));
    let mut columns = vec![
        Column::new(&mark("TIME", DecisionOrder::Time), 8, Side::Left),
        Column::new(&mark(&name, DecisionOrder::Chunk), chunk, Side::Tail),
        Column::new("PEER", peer, Side::Tail),
        Column::new("OF", 3, Side::Right),
        Column::new("BY", policy, Side::Left),
        Column::new(&mark("TOOK", DecisionOrder::Took), 7, Side::Right),
    ];
    if reason > 0 {
        columns.push(Column::new("REASON", reason, Side::Left));
    }
    let table = Table { look, focus, columns };
    table.draw(buf, area, (&mut list.cursor, shown.len()), |index| row(shown[index].1, look));
    if shown.is_empty() && area.height > 1 {
        let text = match (told, list.filter.is_empty()) {
            (Some(_), true) => "no decision yet",
            (Some(_), false) => "no decision matches the filter",
            (None, _) => "",
        };
        buf.set_stringn(area.x + 1, area.y + 1, text, usize::from(area.width), look.faint());
    }
}

fn row(decision: &v1::Decision, look: &Look) -> Vec<Cell> {
    let at = human::time(decision.at.as_ref());
    let time = at.split_once('T').map_or(at.as_str(), |(_, time)| time.trim_end_matches('Z'));
    let took = match decision.spent_us {
        0 => "-".to_owned(),
        us => human::micros(us.into()),
    };
    vec![
        Cell::from(time),
        Cell::from(decision.chunk.as_str()),
        Cell::from(human::address(decision.chosen.as_ref())),
        Cell::from(decision.candidates.to_string()),
        Cell::styled(by(decision), style(decision.outcome(), look)),
        Cell::from(took),
        Cell::from(decision.reason.as_str()),
    ]
}

/// By whose word: the policy, and what came of it where that was not its choice.
pub(super) fn by(decision: &v1::Decision) -> String {
    let word = human::word(decision.outcome().as_str_name(), "OUTCOME_");
    match decision.outcome() {
        Outcome::Native | Outcome::Chosen => decision.policy.clone(),
        Outcome::Blind => "engine: blind".to_owned(),
        Outcome::Unspecified
        | Outcome::Abstained
        | Outcome::Deferred
        | Outcome::Starved
        | Outcome::Failed
        | Outcome::Bypassed
        | Outcome::Late
        | Outcome::Stale
        | Outcome::Nobody => format!("{word}: {}", decision.policy),
    }
}

fn style(outcome: Outcome, look: &Look) -> Style {
    match outcome {
        Outcome::Failed | Outcome::Starved | Outcome::Late => look.bad(),
        Outcome::Deferred | Outcome::Nobody | Outcome::Bypassed | Outcome::Stale => look.moving(),
        Outcome::Unspecified
        | Outcome::Chosen
        | Outcome::Abstained
        | Outcome::Native
        | Outcome::Blind => Style::default(),
    }
}
