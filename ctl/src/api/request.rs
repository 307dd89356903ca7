//! A request from its JSON form, with errors that say where. Never here: where the text is from.

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor};
use serde_json::Value;

use super::near;
use crate::failure::Failure;

/// Well-known types have JSON forms of their own.
const WELL_KNOWN: &str = "google.protobuf";

/// Reads a request.
///
/// # Errors
/// It is no JSON, names a field that the message does not have, or holds a value of another kind.
pub(crate) fn read(kind: &MessageDescriptor, text: &str) -> Result<DynamicMessage, Failure> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let value: Value =
        serde_json::from_str(text).map_err(|e| Failure::bad_request(format!("no JSON: {e}")))?;
    check(kind, &value, "")?;
    DynamicMessage::deserialize(kind.clone(), value)
        .map_err(|e| Failure::bad_request(format!("no {}: {e}", kind.name())))
}

/// Whether every key of every object is a field; a value of another kind is found later.
fn check(kind: &MessageDescriptor, value: &Value, at: &str) -> Result<(), Failure> {
    let Value::Object(object) = value else { return Ok(()) };
    if kind.package_name() == WELL_KNOWN {
        return Ok(());
    }
    for (key, value) in object {
        let field = kind.get_field_by_json_name(key).or_else(|| kind.get_field_by_name(key));
        let Some(field) = field else { return Err(unknown(kind, key, at)) };
        let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        let inner = if field.is_map() {
            let Kind::Message(entry) = field.kind() else { continue };
            entry.map_entry_value_field().kind()
        } else {
            field.kind()
        };
        let Kind::Message(inner) = inner else { continue };
        match value {
            Value::Array(items) => {
                items.iter().try_for_each(|item| check(&inner, item, &at))?;
            }
            Value::Object(entries) if field.is_map() => {
                entries.values().try_for_each(|entry| check(&inner, entry, &at))?;
            }
            Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => {
                check(&inner, value, &at)?;
            }
        }
    }
    Ok(())
}

fn unknown(kind: &MessageDescriptor, key: &str, at: &str) -> Failure {
    let place = if at.is_empty() { String::new() } else { format!("{at}: ") };
    let known: Vec<String> = kind.fields().map(|field| field.json_name().to_owned()).collect();
    let failure = Failure::bad_request(format!("{place}{} has no field '{key}'", kind.name()));
    match near(key, known.clone()) {
        Some(near) => failure.with_hint(format!("did you mean '{near}'?")),
        None if known.is_empty() => failure.with_hint("it has none"),
        None => failure.with_hint(format!("it has {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Api;

    fn input(method: &str) -> MessageDescriptor {
        Api::built_in().ok().unwrap().method(method).ok().unwrap().input()
    }

    fn refused(method: &str, text: &str) -> String {
        match read(&input(method), text) {
            Err(Failure::Report(report)) => report.text(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn both_spellings_of_a_field_are_taken_and_nothing_is_empty() {
        for text in [
            r#"{"withBitfields": true, "pageSize": 3}"#,
            r#"{"with_bitfields": true, "page_size": 3}"#,
        ] {
            let message = read(&input("SeePeerSet"), text).ok().unwrap();
            let size = message.get_field_by_name("page_size").unwrap().as_u32();
            assert_eq!(size, Some(3));
        }
        assert!(read(&input("GetInfo"), " ").is_ok());
    }

    #[test]
    fn an_unknown_field_is_named_with_its_place_and_what_could_be_meant() {
        let text = refused("Ping", r#"{"torent": "film"}"#);
        assert!(text.contains("PingRequest has no field 'torent'"), "{text}");
        assert!(text.contains("did you mean 'torrent'?"), "{text}");
        let text = refused("Ping", r#"{"peer": {"host": "10.0.0.1"}}"#);
        assert!(text.contains("peer: PeerAddress has no field 'host'"), "{text}");
        assert!(text.contains("hint: it has ip, port"), "{text}");
        let text = refused("AddTorrent", r#"{"peers": [{"ip": "10.0.0.1", "prt": 1}]}"#);
        assert!(text.contains("peers: PeerAddress has no field 'prt'"), "{text}");
        assert!(refused("GetInfo", r#"{"a": 1}"#).contains("it has none"));
    }

    #[test]
    fn what_is_no_json_or_of_another_kind_is_refused() {
        assert!(refused("Ping", "{").contains("no JSON"));
        assert!(refused("Ping", "[]").contains("no PingRequest"));
        assert!(refused("Ping", r#"{"peer": {"port": "many"}}"#).contains("no PingRequest"));
    }
}
