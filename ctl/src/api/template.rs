//! A request to fill in, in its JSON form. Never here: where it goes.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// Messages within messages that are written out.
const DEPTH_MAX: usize = 4;

/// Every field of a message with its default value; one that may be left out, and all but the first
/// of those of which only one may be there, are null. Lists of messages have one.
pub(crate) fn template(kind: &MessageDescriptor) -> String {
    let mut text = String::new();
    object(kind, 0, &mut text);
    text.push('\n');
    text
}

fn object(kind: &MessageDescriptor, depth: usize, text: &mut String) {
    if kind.fields().len() == 0 {
        text.push_str("{}");
        return;
    }
    text.push_str("{\n");
    let indent = "  ".repeat(depth + 1);
    for (index, field) in kind.fields().enumerate() {
        if index > 0 {
            text.push_str(",\n");
        }
        text.push_str(&format!("{indent}\"{}\": ", field.json_name()));
        value(&field, depth, text);
    }
    text.push_str(&format!("\n{}}}", "  ".repeat(depth)));
}

fn value(field: &FieldDescriptor, depth: usize, text: &mut String) {
    if field.is_map() {
        return text.push_str("{}");
    }
    if is_optional(field) {
        return text.push_str("null");
    }
    let kind = field.kind();
    match kind.as_message() {
        Some(inner) if inner.package_name() == "google.protobuf" => text.push_str("null"),
        Some(_) if depth >= DEPTH_MAX => text.push_str(if field.is_list() { "[]" } else { "null" }),
        Some(inner) if field.is_list() => {
            text.push('[');
            object(inner, depth + 1, text);
            text.push(']');
        }
        Some(inner) => object(inner, depth + 1, text),
        None if field.is_list() => text.push_str("[]"),
        None => text.push_str(&scalar(&kind)),
    }
}

/// One that may be absent, or stands in the place of another.
fn is_optional(field: &FieldDescriptor) -> bool {
    match field.containing_oneof() {
        Some(oneof) if oneof.is_synthetic() => true,
        Some(oneof) => oneof.fields().next().is_some_and(|first| first != *field),
        None => false,
    }
}

fn scalar(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "false".to_owned(),
        Kind::String | Kind::Bytes => "\"\"".to_owned(),
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => {
            "\"0\"".to_owned()
        }
        Kind::Enum(kind) => format!("\"{}\"", kind.default_value().name()),
        Kind::Double
        | Kind::Float
        | Kind::Int32
        | Kind::Uint32
        | Kind::Sint32
        | Kind::Fixed32
        | Kind::Sfixed32
        | Kind::Message(_) => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Api, read};

    #[test]
    fn the_template_of_every_method_is_a_request_of_it() {
        let api = Api::built_in().ok().unwrap();
        for service in api.services() {
            for method in service.methods() {
                let text = template(&method.input());
                assert!(read(&method.input(), &text).is_ok(), "{}: {text}", method.full_name());
            }
        }
    }

    #[test]
    fn what_may_be_absent_is_null_and_a_list_shows_its_items() {
        let api = Api::built_in().ok().unwrap();
        let text = template(&api.method("WatchEvents").ok().unwrap().input());
        assert!(text.contains("\"torrent\": \"\"") && text.contains("\"afterRevision\": null"));
        let text = template(&api.method("AddTorrent").ok().unwrap().input());
        assert!(text.contains("\"peers\": [{\n    \"ip\": \"\",\n    \"port\": 0\n  }]"), "{text}");
    }
}
