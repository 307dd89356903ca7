//! Every part of the API is explained, and every number says what it counts.

use prost_reflect::{FieldDescriptor, Kind};

use crate::api::{Api, comment};

/// What says what a number is: a unit, or the thing that is counted.
const UNITS: &[&str] = &[
    "bytes",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "seconds",
    "second",
    "times",
    "rises",
    "chunk",
    "chunks",
    "pieces",
    "peers",
    "torrents",
    "connections",
    "jobs",
    "files",
    "decisions",
    "events",
    "runs",
    "leechers",
    "downloads",
    "messages",
    "errors",
    "failures",
    "policies",
    "seed",
    "seeds",
    "swarms",
    "version",
    "score",
    "index",
    "indexes",
    "id",
    "line",
    "revision",
    "multiples",
    "tokens",
    "metrics",
    "watchers",
    "candidates",
    "calls",
];

#[test]
fn every_part_of_the_api_has_a_comment() {
    let api = Api::load();
    let mut bare = Vec::new();
    let mut look = |file: &prost_reflect::FileDescriptor, path: &[i32], name: &str| {
        let text = comment(file, path);
        if !text.ends_with(['.', '…']) {
            bare.push(format!("{name}: {text:?}"));
        }
    };
    for service in api.services() {
        let file = service.parent_file();
        look(&file, service.path(), service.full_name());
        for method in service.methods() {
            look(&file, method.path(), method.full_name());
        }
    }
    for message in api.messages() {
        let file = message.parent_file();
        look(&file, message.path(), message.full_name());
        for field in message.fields() {
            look(&file, field.path(), field.full_name());
        }
        for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
            look(&file, choice.path(), choice.full_name());
        }
    }
    for words in api.enums() {
        let file = words.parent_file();
        look(&file, words.path(), words.full_name());
        for value in words.values() {
            look(&file, value.path(), value.full_name());
        }
    }
    assert!(bare.is_empty(), "no comment, or no sentence: {bare:#?}");
}

#[test]
fn every_number_says_its_unit_or_range() {
    let api = Api::load();
    let mut bare = Vec::new();
    let mut seen = 0;
    for message in api.messages() {
        for field in message.fields().filter(is_number) {
            seen += 1;
            let text = comment(&message.parent_file(), field.path());
            if !says_unit(&text) {
                bare.push(format!("{}: {text}", field.full_name()));
            }
        }
    }
    assert!(seen > 100, "{seen}");
    assert!(bare.is_empty(), "{bare:#?}");
}

fn is_number(field: &FieldDescriptor) -> bool {
    let number = |kind: &Kind| {
        !matches!(kind, Kind::Bool | Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Enum(_))
    };
    match field.kind() {
        Kind::Message(entry) if field.is_map() => number(&entry.map_entry_value_field().kind()),
        kind => number(&kind),
    }
}

fn says_unit(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    // Or a range: "1-65535", "0 to 1".
    let range = |(from, to): (&str, &str)| {
        from.ends_with(|c: char| c.is_ascii_digit()) && to.starts_with(|c: char| c.is_ascii_digit())
    };
    words.any(|word| UNITS.contains(&word))
        || text.split_once('-').is_some_and(range)
        || text.split_once(" to ").is_some_and(range)
}
