//! What a policy advises beside decisions, read from what its functions returned. Never here: when
//! it is asked.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enum of Lua's values is another crate's")]

use mlua::{Table, Value};

use shoal_core::{
    config::ORDER_WINDOW_MAX,
    policy::{ChunkOrder, Order},
};

use crate::{sink::sanitised, suggest};

/// The most chunks in flight at a peer that a policy can ask for.
pub const SLOTS_MAX: u32 = 65_535;

/// The keys of an order that is a table.
const ORDER_KEYS: [&str; 3] = ["duplicate", "strategy", "window"];
/// The most keys of one that are looked at.
const ORDER_KEYS_LISTED_MAX: usize = 16;
/// The longest text of the policy's that a message repeats, bytes.
const SHOWN_LEN_MAX: usize = 40;

/// Reads what `order` returned.
///
/// # Errors
/// What the contract does not know of it.
pub(crate) fn order(returned: &Value) -> Result<ChunkOrder, String> {
    match returned {
        Value::Nil => Ok(ChunkOrder::default()),
        Value::String(_) => Ok(ChunkOrder { strategy: strategy(returned)?, ..Default::default() }),
        Value::Table(table) => from_table(table),
        other => Err(format!("returned {}, expected {}", describe(other), names())),
    }
}

/// Reads what `slots` returned; `None` where it has no opinion.
///
/// # Errors
/// What the contract does not know of it.
pub(crate) fn slots(returned: &Value) -> Result<Option<u32>, String> {
    if returned.is_nil() {
        return Ok(None);
    }
    let Some(slots) = whole(returned) else {
        let is = describe(returned);
        return Err(format!("returned {is}, expected an integer of at least 0"));
    };
    Ok(Some(clamped(slots, 0, SLOTS_MAX)))
}

fn from_table(table: &Table) -> Result<ChunkOrder, String> {
    let mut unknown = Vec::new();
    for (count, pair) in table.pairs::<Value, Value>().enumerate() {
        let (key, _) = pair.map_err(|error| error.to_string())?;
        match &key {
            Value::String(name) => unknown.push(name.to_string_lossy()),
            key => unknown.push(format!("[{}]", key.type_name())),
        }
        if count >= ORDER_KEYS_LISTED_MAX {
            return Err(format!("returned a table of more than {ORDER_KEYS_LISTED_MAX} keys"));
        }
    }
    unknown.retain(|key| !ORDER_KEYS.contains(&key.as_str()));
    if let Some(key) = unknown.iter().min() {
        let shown = sanitised(key.as_bytes(), SHOWN_LEN_MAX);
        let hint = suggest::hint(key, ORDER_KEYS);
        return Err(format!("returned a table with the unknown key '{shown}'{hint}"));
    }
    let field = |key: &str| table.raw_get::<Value>(key).map_err(|error| error.to_string());
    let window = match field("window")? {
        Value::Nil => None,
        value => match whole(&value) {
            Some(window) => Some(clamped(window, 1, ORDER_WINDOW_MAX)),
            None => {
                let is = describe(&value);
                return Err(format!(
                    "returned window = {is}, expected an integer of 1 to {ORDER_WINDOW_MAX}"
                ));
            }
        },
    };
    let duplicate = match field("duplicate")? {
        Value::Nil => ChunkOrder::default().duplicate,
        Value::Boolean(duplicate) => duplicate,
        other => {
            let is = describe(&other);
            return Err(format!("returned duplicate = {is}, expected true or false"));
        }
    };
    Ok(ChunkOrder { strategy: strategy(&field("strategy")?)?, window, duplicate })
}

fn strategy(value: &Value) -> Result<Order, String> {
    let Value::String(name) = value else {
        return match value {
            Value::Nil => Ok(Order::default()),
            other => Err(format!("returned strategy = {}, expected {}", describe(other), names())),
        };
    };
    let name = name.to_string_lossy();
    Order::ALL.into_iter().find(|order| order.name() == name).ok_or_else(|| {
        let hint = suggest::hint(&name, Order::ALL.map(Order::name));
        let shown = sanitised(name.as_bytes(), SHOWN_LEN_MAX);
        format!("returned the order '{shown}', expected {}{hint}", names())
    })
}

fn names() -> String {
    Order::ALL.map(|order| format!("'{}'", order.name())).join(", ")
}

/// A whole number; one that is written as a float is one too.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(n) => Some(*n),
        Value::Number(n) if n.fract() == 0.0 && n.is_finite() => Some(*n as i64),
        _ => None,
    }
}

fn clamped(n: i64, min: u32, max: u32) -> u32 {
    u32::try_from(n.clamp(i64::from(min), i64::from(max))).unwrap_or(max)
}

/// A value and its type, as the sandbox describes them.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Boolean(b) => format!("{b} (a boolean)"),
        Value::Integer(n) => format!("{n} (an integer)"),
        Value::Number(n) if n.is_nan() => "nan (a number)".to_owned(),
        Value::Number(n) => format!("{n} (a number)"),
        Value::String(text) => {
            format!("'{}' (a string)", sanitised(&text.as_bytes(), SHOWN_LEN_MAX))
        }
        other => format!("a {}", other.type_name()),
    }
}
