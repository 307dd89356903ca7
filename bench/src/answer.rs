//! What nodes say of themselves: their ready files, and the answers of `shoalctl` as canonical proto
//! JSON. Never here: asking.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// A number as canonical proto JSON has it: those of 64 bits are texts.
///
/// # Errors
/// It is none.
pub(crate) fn number(value: &Value) -> anyhow::Result<u64> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.with_context(|| format!("{value} is no number"))
}

/// Who served how many verified bytes of a download, from its last message.
///
/// # Errors
/// It was not the last, or is not understood.
pub(crate) fn served_by(message: &Value) -> anyhow::Result<Vec<(SocketAddr, u64)>> {
    ensure!(message["complete"] == true, "the download is not complete: {message}");
    let by = message["servedBy"].as_array().context("nobody served anything")?;
    let served = |by: &Value| -> anyhow::Result<(SocketAddr, u64)> {
        let ip = by["peer"]["ip"].as_str().context("a peer without an address")?;
        let port = u16::try_from(number(&by["peer"]["port"])?)?;
        Ok((SocketAddr::new(ip.parse()?, port), number(&by["bytes"])?))
    };
    by.iter().map(served).collect()
}

/// An address in the ready file of a node.
///
/// # Errors
/// It names none under this key.
pub(crate) fn address(ready: &str, key: &str) -> anyhow::Result<SocketAddr> {
    let ready: Value = serde_json::from_str(ready).context("the ready file")?;
    let addr = ready.get(key).and_then(Value::as_str);
    let addr = addr.with_context(|| format!("the ready file has no {key}"))?;
    addr.parse().with_context(|| format!("the ready file: {addr:?}"))
}

/// The last JSON object of a text in which each begins a line; other lines may stand around them.
pub(crate) fn last_document(text: &str) -> Option<Value> {
    let starts = text.match_indices('{').map(|(at, _)| at);
    let mut starts = starts.filter(|&at| at == 0 || text.as_bytes()[at - 1] == b'\n');
    let (mut last, mut end) = (None, 0);
    while let Some(at) = starts.find(|&at| at >= end) {
        let mut documents = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        if let Some(Ok(document)) = documents.next() {
            end = at + documents.byte_offset();
            last = Some(document);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_found_in_a_ready_file() {
        let text = r#"{"pid": 7, "peer_address": null, "tracker_address": "127.0.0.1:7001"}"#;
        assert_eq!(address(text, "tracker_address").unwrap().port(), 7001);
        for (text, key) in [
            (text, "peer_address"),
            ("", "tracker_address"),
            ("{}", "tracker_address"),
            (r#"{"tracker_address": 7001}"#, "tracker_address"),
            (r#"{"tracker_address": "here"}"#, "tracker_address"),
        ] {
            assert!(address(text, key).is_err(), "{key} of {text}");
        }
    }

    #[test]
    fn the_last_document_is_found_among_other_lines() {
        let check = |text: &str, expected: Option<u64>| {
            let found = last_document(text).and_then(|it| it["at"].as_u64());
            assert_eq!(found, expected, "{text}");
        };
        check("{\"at\": 1}\n{\"at\": 2}\n", Some(2));
        check(
            "a note\n{\n  \"in\": {\n\"at\": 0},\n  \"at\": 3\n}\nand more {\"at\": 4}\n",
            Some(3),
        );
        check("{\"at\": 5}\n{broken\n", Some(5));
        check("nothing\n", None);
    }

    #[test]
    fn numbers_of_both_widths_are_read() {
        let read = |value: Value| number(&value).ok();
        assert_eq!((read(json!(7)), read(json!("10000000000"))), (Some(7), Some(10_000_000_000)));
        assert_eq!((read(json!("x")), read(json!(-1)), read(Value::Null)), (None, None, None));
    }
}
