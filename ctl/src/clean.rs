//! Makes text from peers, torrents and trackers harmless for a terminal. Never here: layout.

use std::borrow::Cow;

/// What stands in the place of a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// Whether a terminal could take `c` for something other than a character to show: a control
/// character, an override of the writing direction, or an invisible line break or tag.
#[must_use]
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// `text` as one line: every unsafe character, line breaks too, becomes U+FFFD.
#[must_use]
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        Cow::Owned(text.chars().map(|c| if is_unsafe(c) { REPLACEMENT } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// `text` with its lines kept: line feeds stay, a tab becomes four spaces.
#[must_use]
pub(crate) fn clean_lines(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push('\n'),
            '\t' => safe.push_str("    "),
            c if is_unsafe(c) => safe.push(REPLACEMENT),
            c => safe.push(c),
        }
    }
    safe
}

/// A JSON document with every unsafe character as a `\u` escape: the same document to a program,
/// harmless to a terminal. Line feeds stay; JSON allows no raw ones inside a string.
#[must_use]
pub(crate) fn escape_json(document: &str) -> Cow<'_, str> {
    let risky = |c: char| c != '\n' && is_unsafe(c);
    if !document.chars().any(risky) {
        return Cow::Borrowed(document);
    }
    let mut safe = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        if risky(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_script_stay_as_they_are() {
        for name in [
            "phim tài liệu – Đà Nẵng.webm",
            "Nguyễn Lê Duy Lai",
            "日本語 🎬.mkv",
            "naïve e\u{301}",
            "👩\u{200d}🚀",
        ] {
            assert_eq!(clean(name), name);
            assert_eq!(clean_lines(name), name);
            assert_eq!(escape_json(name), name);
        }
    }

    #[test]
    fn control_characters_and_overrides_are_replaced() {
        assert_eq!(clean("a\x1b[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(
            clean("a\rb\nc\td\x7f\u{9b}31m"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}\u{fffd}31m"
        );
        assert_eq!(clean("gpj.\u{202e}exe\u{2066}\u{200f}"), "gpj.\u{fffd}exe\u{fffd}\u{fffd}");
        assert_eq!(clean("\u{e0041}\u{2028}\u{feff}"), "\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn lines_of_a_report_are_kept() {
        assert_eq!(clean_lines("one\n\ttwo\x1b[0m"), "one\n    two\u{fffd}[0m");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let value = serde_json::json!({ "name": "a\u{202e}b\u{9b}c\u{e0041}d\x1b ế" });
        let plain = serde_json::to_string(&value).unwrap();
        let safe = escape_json(&plain);
        assert!(!safe.chars().any(is_unsafe), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
