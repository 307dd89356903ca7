//! Colours and signs. Colours are the terminal's own and none is needed to read the screen, so that it
//! reads on a light background as on a dark one, and without any. Never here: where they are used.

use std::env;

use ratatui::style::{Color, Modifier, Style};

/// How the screen looks.
#[derive(Clone, Debug)]
pub(in crate::top) struct Look {
    /// Colours may be used.
    pub(in crate::top) colour: bool,
    /// Its signs.
    pub(in crate::top) signs: Signs,
}

/// Signs of the screen.
#[derive(Clone, Debug)]
pub(in crate::top) struct Signs {
    /// All chunks of a part are had; two thirds, one third, any; none.
    pub(super) had: char,
    pub(super) most: char,
    pub(super) some: char,
    pub(super) few: char,
    pub(super) missing: char,
    /// A chunk of a part is in flight.
    pub(super) in_flight: char,
    /// The selected row.
    pub(super) selected: char,
    /// The order of a column, and the other way round.
    pub(super) falling: char,
    pub(super) rising: char,
    /// Rates to us and from us.
    pub(super) down: char,
    pub(super) up: char,
    /// Between two facts of a line.
    pub(super) between: &'static str,
}

impl Signs {
    /// For a terminal that shows Unicode.
    pub(in crate::top) const UNICODE: Self = Self {
        had: '█',
        most: '▓',
        some: '▒',
        few: '░',
        missing: '·',
        in_flight: '◆',
        selected: '▶',
        falling: '▾',
        rising: '▴',
        down: '↓',
        up: '↑',
        between: " · ",
    };

    /// For any other.
    pub(in crate::top) const ASCII: Self = Self {
        had: '#',
        most: '%',
        some: '+',
        few: '-',
        missing: '.',
        in_flight: 'v',
        selected: '>',
        falling: 'v',
        rising: '^',
        down: 'v',
        up: '^',
        between: ", ",
    };

    /// Only ASCII is to be drawn, but for names.
    pub(super) const fn are_plain(&self) -> bool {
        self.had.is_ascii()
    }
}

impl Look {
    /// As the environment asks: no colours with `NO_COLOR`, no Unicode where the locale has none.
    pub(in crate::top) fn of_environment() -> Self {
        let said = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = said("LC_ALL").or_else(|| said("LC_CTYPE")).or_else(|| said("LANG"));
        Self::told(said("NO_COLOR").is_some(), said("TERM").as_deref(), locale.as_deref())
    }

    fn told(no_color: bool, term: Option<&str>, locale: Option<&str>) -> Self {
        let colour = !no_color && term != Some("dumb");
        let unicode = locale.is_none_or(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Self { colour, signs: if unicode { Signs::UNICODE } else { Signs::ASCII } }
    }

    fn fg(&self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// What is had, or goes well.
    pub(super) fn good(&self) -> Style {
        self.fg(Color::Green)
    }

    /// What is under way.
    pub(super) fn moving(&self) -> Style {
        self.fg(Color::Magenta)
    }

    /// What asks for an operator.
    pub(super) fn bad(&self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub(super) fn faint(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What matters more.
    pub(super) fn strong(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The head of a pane; of the one with the keys where `focused`.
    pub(super) fn title(&self, focused: Focus) -> Style {
        let style = Style::new().add_modifier(Modifier::UNDERLINED);
        match focused {
            Focus::Keys => style.add_modifier(Modifier::BOLD),
            Focus::None => style,
        }
    }

    /// The selected row, in the pane with the keys or in another.
    pub(super) fn selected(&self, focused: Focus) -> Style {
        match focused {
            Focus::Keys => Style::new().add_modifier(Modifier::REVERSED),
            Focus::None => Style::new().add_modifier(Modifier::BOLD),
        }
    }
}

/// Whether a pane has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    /// Keys go here.
    Keys,
    /// Keys go elsewhere.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_signs_follow_the_environment() {
        let look = |no_color, term, locale| {
            let look = Look::told(no_color, term, locale);
            (look.colour, look.signs.had)
        };
        assert_eq!(look(false, Some("xterm"), Some("en_US.UTF-8")), (true, '█'));
        assert_eq!(look(true, Some("xterm"), Some("C.utf8")), (false, '█'));
        assert_eq!(look(false, Some("dumb"), None), (false, '█'));
        assert_eq!(look(false, None, Some("C")), (true, '#'));
    }
}
