//! The chunks of the chosen torrent, as a map that fits the space. Never here: counting.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use unicode_width::UnicodeWidthStr as _;

use super::{
    Scene,
    look::{Focus, Look},
};
use crate::top::world::{Chunks, Part};

/// Draws the pane.
pub(super) fn draw(buf: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    let look = scene.look;
    if area.height == 0 {
        return;
    }
    let map = Rect { x: area.x + 1, y: area.y + 1, width: area.width - 2, height: area.height - 1 };
    let chunks = scene.world.chosen.as_ref().and_then(|chosen| chosen.chunks.as_ref());
    let cells = u32::from(map.width) * u32::from(map.height);
    let style = look.title(Focus::None);
    buf.set_style(Rect { height: 1, ..area }, style);
    let room = usize::from(area.width - 1);
    let text = chunks.map_or_else(|| "CHUNKS".to_owned(), |chunks| title(chunks, look));
    let size = chunks.map_or(1, |chunks| chunks.total.div_ceil(cells.max(1)));
    let sized = format!("{text}{}{size} a cell", look.signs.between);
    // What a cell stands for gives way to what the signs mean.
    let fits = sized.width() + legend_width(&legend(look, Room::Tight)) + 3 <= room;
    let text = if size > 1 && fits { sized } else { text };
    buf.set_stringn(area.x + 1, area.y, &text, room, style);
    draw_legend(buf, area, text.width(), look);
    let Some(chunks) = chunks else { return };
    let positions =
        (map.top()..map.bottom()).flat_map(|y| (map.left()..map.right()).map(move |x| (x, y)));
    for (part, (x, y)) in chunks.parts(cells).into_iter().zip(positions) {
        let (sign, style) = sign(part, look);
        buf.set_stringn(x, y, sign.to_string(), 1, style);
    }
}

fn title(chunks: &Chunks, look: &Look) -> String {
    let mut text = format!("CHUNKS {} of {} had", chunks.have, chunks.total);
    if chunks.in_flight() > 0 {
        text.push_str(&format!("{}{} in flight", look.signs.between, chunks.in_flight()));
    }
    text
}

/// How much room a legend has.
#[derive(Clone, Copy)]
enum Room {
    Ample,
    Tight,
}

/// What the signs mean.
fn legend(look: &Look, room: Room) -> [(String, Style); 4] {
    let signs = &look.signs;
    let (had, most, some, few) = (signs.had, signs.most, signs.some, signs.few);
    let (flying, missing) = (signs.in_flight, signs.missing);
    let texts = match room {
        Room::Ample => [
            format!("  {had} had"),
            format!("  {most}{some}{few} part"),
            format!("  {flying} in flight"),
            format!("  {missing} missing"),
        ],
        Room::Tight => [
            format!(" {had}had"),
            format!(" {some}part"),
            format!(" {flying}coming"),
            format!(" {missing}missing"),
        ],
    };
    let [first, second, third, last] = texts;
    let (good, moving) = (look.good(), look.moving());
    [(first, good), (second, good), (third, moving), (last, Style::default())]
}

fn legend_width(items: &[(String, Style)]) -> usize {
    items.iter().map(|(text, _)| text.width()).sum()
}

/// The legend on the right of the head, where it has room.
fn draw_legend(buf: &mut Buffer, area: Rect, taken: usize, look: &Look) {
    let room = usize::from(area.width).saturating_sub(taken + 2);
    let fitting = [Room::Ample, Room::Tight].map(|size| legend(look, size));
    let fitting = fitting.iter().find(|items| legend_width(&items[..]) <= room);
    let Some(items) = fitting else { return };
    let wide = u16::try_from(legend_width(items)).unwrap_or(area.width);
    let mut x = area.right().saturating_sub(wide + 1);
    for (text, style) in items {
        let style = look.title(Focus::None).patch(*style);
        (x, _) = buf.set_stringn(x, area.y, text, room, style);
    }
}

/// The sign of a part of the map.
fn sign(part: Part, look: &Look) -> (char, Style) {
    let signs = &look.signs;
    let Part { chunks, have, in_flight } = part;
    if in_flight > 0 {
        return (signs.in_flight, look.moving());
    }
    let sign = match (u64::from(have), u64::from(chunks)) {
        (0, _) => return (signs.missing, look.faint()),
        (have, chunks) if have >= chunks => signs.had,
        (have, chunks) if have * 3 >= chunks * 2 => signs.most,
        (have, chunks) if have * 3 >= chunks => signs.some,
        _ => signs.few,
    };
    (sign, look.good())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::view::look::Signs;

    #[test]
    fn a_part_of_the_map_has_one_sign() {
        let look = Look { colour: false, signs: Signs::UNICODE };
        for (chunks, have, in_flight, expected) in [
            (9, 9, 0, '█'),
            (9, 8, 0, '▓'),
            (9, 6, 0, '▓'),
            (9, 5, 0, '▒'),
            (9, 3, 0, '▒'),
            (9, 2, 0, '░'),
            (9, 0, 0, '·'),
            (9, 8, 1, '◆'),
            (1, 0, 1, '◆'),
        ] {
            let part = Part { chunks, have, in_flight };
            assert_eq!(sign(part, &look).0, expected, "{part:?}");
        }
    }
}
