//! YAML with the names and values of the JSON form. Never here: where it goes.

use serde::Serialize;
use serde_saphyr::ser_options;

use super::{Layout, Place, json};
use crate::clean::is_unsafe;

/// A YAML document that ends in a line feed; one among others begins with `---`.
///
/// # Errors
/// A message that JSON cannot hold.
pub(super) fn text(document: &impl Serialize, place: Place) -> Result<String, String> {
    let options = ser_options! { prefer_block_scalars: false };
    let mut text = serde_saphyr::to_string_with_options(document, options)
        .map_err(|e| format!("the reply has no YAML form: {e}"))?;
    // Plain scalars cannot hold escapes. JSON is YAML too, and has some for whatever could drive a
    // terminal.
    if text.chars().any(|c| c != '\n' && is_unsafe(c)) {
        text = json::text(document, Layout::Pretty)?;
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(match place {
        Place::Alone => text,
        Place::Among => format!("---\n{text}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(value: &Value) -> String {
        let text = text(value, Place::Alone).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(&read, value, "{text}");
        assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
        text
    }

    #[test]
    fn what_was_a_string_in_json_is_one_in_yaml() {
        for string in [
            "18446744073709551615",
            "0",
            "1e3",
            "0x1f",
            "true",
            "no",
            "null",
            "~",
            "",
            " ",
            "- a",
            "a: b",
            "a #b",
            "2026-05-04T10:20:30Z",
            "'",
            "\"",
            "\\",
            "a\nb\n",
            "\t",
            "日本語 🎬",
            "gpj.\u{202e}exe",
            "\u{1b}[2J",
            "[a]",
            "{a}",
            "&a",
            "*a",
            "!a",
            "%a",
            "@0",
            "|",
            ">",
            "magnet:?xt=urn:btih:00&tr=http://a/b",
            "---",
            "...",
            "12:30:45",
        ] {
            check(&json!({ "key": string, "list": [string, { "deep": string }] }));
        }
    }

    #[test]
    fn a_document_is_in_block_style_and_several_are_told_apart() {
        let value = json!({ "jobs": [{ "id": "9", "peers": 2 }], "none": [], "nothing": {} });
        assert_eq!(check(&value), "jobs:\n- id: \"9\"\n  peers: 2\nnone: []\nnothing: {}\n");
        assert!(text(&value, Place::Among).unwrap().starts_with("---\njobs:"));
    }
}
