//! Expectations: comparing values of test code, and saying what was expected and what was got.
//! Never here: where in the file.

use mlua::{Error, LuaString, Result, Table, Value};

use crate::sink::sanitised;

/// How deep tables are compared.
const DEPTH_MAX: usize = 6;
/// The most values that one expectation compares.
const VALUES_MAX: u32 = 10_000;
/// The most entries of a table that are looked at to be shown.
const ENTRIES_MAX: usize = 100;
/// The most entries of a table that are shown.
const SHOWN_MAX: usize = 12;
/// The longest string that is shown, bytes.
const TEXT_LEN_MAX: usize = 80;
/// The longest message of a test that is shown, bytes.
const MESSAGE_LEN_MAX: usize = 200;

/// `expect(value, expected [, message])`; tells how many values were compared.
///
/// # Errors
/// They differ.
pub(super) fn equal(value: &Value, expected: &Value, message: Option<&LuaString>) -> Result<u32> {
    let mut left = VALUES_MAX;
    if same(value, expected, 0, &mut left)? {
        return Ok(VALUES_MAX - left);
    }
    Err(failed(&show(expected), value, message))
}

/// `expect_between(value, low, high [, message])`.
///
/// # Errors
/// It is outside, or is no number.
pub(super) fn between(
    value: &Value,
    low: f64,
    high: f64,
    message: Option<&LuaString>,
) -> Result<()> {
    let number = value.as_f64().or(value.as_i64().map(|n| n as f64));
    if number.is_some_and(|n| (low..=high).contains(&n)) {
        return Ok(());
    }
    Err(failed(&format!("{low} to {high}"), value, message))
}

/// `expect_true(value [, message])`.
///
/// # Errors
/// It is false or nil.
pub(super) fn is_true(value: &Value, message: Option<&LuaString>) -> Result<()> {
    if value.as_boolean() != Some(false) && !value.is_nil() {
        return Ok(());
    }
    Err(failed("true", value, message))
}

fn failed(expected: &str, got: &Value, message: Option<&LuaString>) -> Error {
    let about = message.map(|message| sanitised(&message.as_bytes(), MESSAGE_LEN_MAX));
    let about = about.map(|about| format!("{about}: ")).unwrap_or_default();
    Error::runtime(format!("{about}expected {expected}, got {}", show(got)))
}

fn same(a: &Value, b: &Value, depth: usize, left: &mut u32) -> Result<bool> {
    *left = left.checked_sub(1).ok_or_else(|| {
        Error::runtime(format!("an expectation compares at most {VALUES_MAX} values"))
    })?;
    let (Value::Table(a), Value::Table(b)) = (a, b) else { return Ok(a == b) };
    if a == b {
        return Ok(true);
    }
    if depth >= DEPTH_MAX {
        return Err(Error::runtime(format!("tables are compared {DEPTH_MAX} deep")));
    }
    Ok(within(a, b, depth, left)? && within(b, a, depth, left)?)
}

/// Whether `b` has everything that `a` has.
fn within(a: &Table, b: &Table, depth: usize, left: &mut u32) -> Result<bool> {
    for pair in a.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !same(&value, &b.raw_get(key)?, depth + 1, left)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A value as a person writes it.
pub(super) fn show(value: &Value) -> String {
    shown(value, 0)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what has no form of its own is named")]
fn shown(value: &Value, depth: usize) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Boolean(b) => b.to_string(),
        Value::Integer(n) => n.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => format!("'{}'", sanitised(&text.as_bytes(), TEXT_LEN_MAX)),
        Value::Table(table) if depth < 2 => entries(table, depth),
        other => format!("a {}", other.type_name()),
    }
}

/// The entries of a table in order of key: `{ peer = 'near', us = 4 }`.
fn entries(table: &Table, depth: usize) -> String {
    let pairs = table.pairs::<Value, Value>().flatten().take(ENTRIES_MAX + 1);
    let pairs = pairs.collect::<Vec<_>>();
    if pairs.len() > ENTRIES_MAX {
        // Which of them come first differs from run to run.
        return format!("a table of more than {ENTRIES_MAX} entries");
    }
    let shown = |(key, value): &(Value, Value)| {
        let key = match key.as_string() {
            Some(key) => sanitised(&key.as_bytes(), TEXT_LEN_MAX),
            None => format!("[{}]", shown(key, depth + 1)),
        };
        format!("{key} = {}", shown(value, depth + 1))
    };
    let mut entries = pairs.iter().map(shown).collect::<Vec<_>>();
    entries.sort();
    if entries.is_empty() {
        return "{}".to_owned();
    }
    let more = if entries.len() > SHOWN_MAX { ", …" } else { "" };
    entries.truncate(SHOWN_MAX);
    format!("{{ {}{more} }}", entries.join(", "))
}
