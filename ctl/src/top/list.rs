//! Lists on the screen: what is selected, what is scrolled to, in which order, and what is left out.
//! Never here: what is listed.

/// A place in a list that keeps to its item while the list is sorted anew, and to its row where the
/// item goes away.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    key: Option<String>,
    at: usize,
    top: usize,
    /// Rows that were drawn last.
    height: usize,
    /// On the first row it stays there, whatever comes to be the first; and it follows its item only
    /// within the rows that are shown, so that nothing but a step scrolls.
    floats: bool,
}

/// A way through a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One up.
    Up,
    /// One down.
    Down,
    /// A screenful up.
    PageUp,
    /// A screenful down.
    PageDown,
    /// To the first.
    First,
    /// To the last.
    Last,
}

impl Cursor {
    /// At an item, wherever it will be.
    pub(super) fn on(key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::default() }
    }

    /// On the first row, whatever that is, until it is moved; never scrolling by itself.
    pub(super) fn floating() -> Self {
        Self { floats: true, ..Self::default() }
    }

    /// What is selected.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The first row that is shown.
    pub(super) const fn top(&self) -> usize {
        self.top
    }

    /// Finds the item in the list as it is; where it went away the one in its row is selected. An
    /// empty list changes nothing: it may fill again.
    pub(super) fn settle<K: AsRef<str>>(&mut self, keys: &[K]) {
        let Some(last) = keys.len().checked_sub(1) else { return };
        let held = self.key.as_ref().filter(|_| !self.floats || self.at > 0);
        let found = held.and_then(|key| keys.iter().position(|k| k.as_ref() == key));
        let shown = self.top..self.top + self.height;
        let found = found.filter(|at| !self.floats || self.height == 0 || shown.contains(at));
        self.at = found.unwrap_or(self.at.min(last));
        if found.is_none() {
            self.key = Some(keys[self.at].as_ref().to_owned());
        }
    }

    /// Makes the selected row one of the `height` that are shown of `len`, and tells which it is.
    pub(super) fn show(&mut self, len: usize, height: usize) -> Option<usize> {
        self.height = height;
        let lowest = len.saturating_sub(height);
        let until = self.top + height;
        if self.at < self.top {
            self.top = self.at;
        } else if self.at >= until {
            self.top = (self.at + 1).saturating_sub(height);
        }
        self.top = self.top.min(lowest);
        (self.at < len).then_some(self.at)
    }

    /// Goes a step.
    pub(super) fn go<K: AsRef<str>>(&mut self, step: Step, keys: &[K]) {
        self.settle(keys);
        let Some(last) = keys.len().checked_sub(1) else { return };
        let page = self.height.max(2) - 1;
        self.at = match step {
            Step::Up => self.at.saturating_sub(1),
            Step::Down => self.at + 1,
            Step::PageUp => self.at.saturating_sub(page),
            Step::PageDown => self.at + page,
            Step::First => 0,
            Step::Last => last,
        }
        .min(last);
        self.key = Some(keys[self.at].as_ref().to_owned());
    }
}

/// An order of a list.
pub(super) trait Order: Copy + PartialEq + 'static {
    /// Every order, the first by default.
    const ALL: &'static [Self];

    /// What it is called.
    fn name(self) -> &'static str;
}

/// How a list is shown.
#[derive(Debug)]
pub(super) struct List<O> {
    /// Where we are in it.
    pub(super) cursor: Cursor,
    /// Its order.
    pub(super) order: O,
    /// The other way round.
    pub(super) reversed: bool,
    /// Only rows that contain this, lower-case; empty = all.
    pub(super) filter: String,
}

impl<O: Order> List<O> {
    /// In the default order, with nothing left out.
    pub(super) fn new(cursor: Cursor) -> Self {
        Self { cursor, order: O::ALL[0], reversed: false, filter: String::new() }
    }

    /// Turns to the next order, and tells its name.
    pub(super) fn next_order(&mut self) -> &'static str {
        let at = O::ALL.iter().position(|order| *order == self.order).unwrap_or(0);
        self.order = O::ALL[(at + 1) % O::ALL.len()];
        self.reversed = false;
        self.order.name()
    }

    /// Whether a row with these texts is shown.
    pub(super) fn wants<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        self.filter.is_empty()
            || texts.into_iter().any(|text| text.to_lowercase().contains(&self.filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_keeps_to_its_item_and_to_its_row_where_that_goes_away() {
        let mut cursor = Cursor::default();
        cursor.settle(&["a", "b", "c"]);
        assert_eq!(cursor.key(), Some("a"));
        cursor.go(Step::Down, &["a", "b", "c"]);
        cursor.settle(&["c", "a", "b"]);
        assert_eq!(cursor.key(), Some("b"));
        assert_eq!(cursor.show(3, 2), Some(2));
        assert_eq!(cursor.top(), 1);
        cursor.settle(&["c", "a"]);
        assert_eq!(cursor.key(), Some("a"));
        cursor.settle::<&str>(&[]);
        assert_eq!(cursor.key(), Some("a"));
        assert_eq!(cursor.show(0, 2), None);
    }

    #[test]
    fn a_floating_cursor_stays_on_the_first_row_until_it_is_moved() {
        let mut cursor = Cursor::floating();
        cursor.settle(&["a", "b"]);
        cursor.settle(&["c", "a", "b"]);
        assert_eq!(cursor.key(), Some("c"));
        cursor.go(Step::Down, &["c", "a", "b"]);
        cursor.settle(&["d", "c", "a", "b"]);
        assert_eq!((cursor.key(), cursor.at), (Some("a"), 2));
    }

    #[test]
    fn a_floating_cursor_keeps_its_row_where_its_item_leaves_the_shown_rows() {
        let mut cursor = Cursor::floating();
        cursor.show(4, 2);
        cursor.go(Step::Last, &["a", "b", "c", "d"]);
        cursor.show(4, 2);
        cursor.settle(&["a", "b", "d", "c"]);
        assert_eq!(cursor.key(), Some("d"));
        cursor.settle(&["d", "a", "b", "c"]);
        assert_eq!(cursor.key(), Some("b"));
        assert_eq!((cursor.show(4, 2), cursor.top()), (Some(2), 2));
    }

    #[test]
    fn steps_end_at_the_ends() {
        let keys: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        let mut cursor = Cursor::default();
        cursor.show(10, 4);
        for (step, key) in [
            (Step::Up, "0"),
            (Step::PageDown, "3"),
            (Step::PageDown, "6"),
            (Step::PageDown, "9"),
            (Step::Down, "9"),
            (Step::PageUp, "6"),
            (Step::First, "0"),
            (Step::Last, "9"),
        ] {
            cursor.go(step, &keys);
            assert_eq!(cursor.key(), Some(key), "{step:?}");
        }
    }

    #[test]
    fn a_list_of_no_height_shows_no_row_and_does_not_panic() {
        let mut cursor = Cursor::on("b");
        cursor.settle(&["a", "b"]);
        assert_eq!(cursor.show(2, 0), Some(1));
        assert_eq!(cursor.show(2, 1), Some(1));
        assert_eq!(cursor.top(), 1);
    }
}
