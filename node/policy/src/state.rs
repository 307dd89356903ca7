//! `ctx.state` as plain data: what of it outlives its VM. Never here: when it is taken, or put back.

use std::{cmp::Ordering, collections::BTreeMap, ffi::c_void};

use mlua::{Lua, Table, Value};

use shoal_core::ids::InfoHash;

use crate::{
    budget::{STATE_DEPTH_MAX, STATE_SIZE_MAX},
    sink::sanitised,
};

/// The longest piece of a path that is shown, bytes.
const PATH_PIECE_LEN_MAX: usize = 40;
/// What a value weighs in [`Plain::size`], bytes.
const VALUE_SIZE: usize = 8;

/// The `ctx.state` of each download of a policy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeptStates {
    /// The version of its shape: the `version` of the policy that kept it.
    pub version: i64,
    /// Each a [`Plain::Table`].
    pub states: BTreeMap<InfoHash, Plain>,
}

/// A value without functions, peers or cycles.
#[derive(Clone, Debug)]
pub enum Plain {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number; NaN is one.
    Number(f64),
    /// Text, as bytes.
    Text(Vec<u8>),
    /// Keys and values, in order of key: numbers, text, booleans.
    Table(Vec<(Self, Self)>),
}

impl Plain {
    /// How much it is, bytes: 8 for every value, key and table, and the length of every text. What
    /// is referred to twice counts twice.
    #[must_use]
    pub fn size(&self) -> usize {
        VALUE_SIZE
            + match self {
                Self::Boolean(_) | Self::Integer(_) | Self::Number(_) => 0,
                Self::Text(text) => text.len(),
                Self::Table(entries) => entries.iter().map(|(k, v)| k.size() + v.size()).sum(),
            }
    }

    /// Whether it is a table within the limits of a kept state.
    pub(crate) fn is_bounded(&self) -> bool {
        matches!(self, Self::Table(_)) && self.is_within(STATE_DEPTH_MAX) && {
            // Only what is not too deep may be measured.
            self.size() <= STATE_SIZE_MAX
        }
    }

    fn is_within(&self, depth: usize) -> bool {
        match self {
            Self::Boolean(_) | Self::Integer(_) | Self::Number(_) | Self::Text(_) => true,
            Self::Table(entries) => {
                depth > 0 && entries.iter().all(|(k, v)| k.is_key() && v.is_within(depth - 1))
            }
        }
    }

    fn is_key(&self) -> bool {
        match self {
            Self::Boolean(_) | Self::Integer(_) | Self::Text(_) => true,
            Self::Number(n) => !n.is_nan(),
            Self::Table(_) => false,
        }
    }

    /// The order of keys: numbers, text, booleans.
    fn key_order(&self, other: &Self) -> Ordering {
        let number = |key: &Self| match key {
            Self::Integer(n) => Some(*n as f64),
            Self::Number(n) => Some(*n),
            Self::Boolean(_) | Self::Text(_) | Self::Table(_) => None,
        };
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (a, b) => match (number(a), number(b)) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                (a_number, b_number) => {
                    let rank =
                        |is_number: bool, key: &Self| (!is_number, matches!(key, Self::Boolean(_)));
                    rank(a_number.is_some(), a).cmp(&rank(b_number.is_some(), b))
                }
            },
        }
    }
}

/// Numbers are the same where their bits are, so that a value equals itself.
impl PartialEq for Plain {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Table(a), Self::Table(b)) => a == b,
            (
                Self::Boolean(_)
                | Self::Integer(_)
                | Self::Number(_)
                | Self::Text(_)
                | Self::Table(_),
                _,
            ) => false,
        }
    }
}

impl Eq for Plain {}

/// Why a state is not plain data.
#[derive(Debug)]
pub(crate) enum NotPlain {
    /// What is wrong, with the path to it: `ctx.state.best is a function`.
    Value(String),
    /// Lua could not read it: a lack of memory.
    Lua(mlua::Error),
}

impl From<mlua::Error> for NotPlain {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// The plain data in a table that messages call `name`.
///
/// # Errors
/// It holds what cannot be kept, or too much.
pub(crate) fn taken(name: &str, table: &Table) -> Result<Plain, NotPlain> {
    let mut taker = Taker { path: vec![name.to_owned()], above: Vec::new(), size: 0 };
    taker.table(table)
}

/// A value in `lua`.
///
/// # Errors
/// There was no memory.
pub(crate) fn put(lua: &Lua, plain: &Plain) -> mlua::Result<Value> {
    Ok(match plain {
        Plain::Boolean(b) => Value::Boolean(*b),
        Plain::Integer(n) => Value::Integer(*n),
        Plain::Number(n) => Value::Number(*n),
        Plain::Text(text) => Value::String(lua.create_string(text)?),
        Plain::Table(entries) => {
            let table = lua.create_table()?;
            for (key, value) in entries {
                table.raw_set(put(lua, key)?, put(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}

/// Reads a table, and knows where it is.
struct Taker {
    path: Vec<String>,
    /// The tables that lead here, to see a cycle.
    above: Vec<*const c_void>,
    size: usize,
}

impl Taker {
    fn refuse<T>(&self, what: &str) -> Result<T, NotPlain> {
        Err(NotPlain::Value(format!("{} {what}", self.path.concat())))
    }

    fn weigh(&mut self, len: usize) -> Result<(), NotPlain> {
        self.size += VALUE_SIZE + len;
        if self.size > STATE_SIZE_MAX {
            let max = STATE_SIZE_MAX / 1024;
            return Err(NotPlain::Value(format!("{} is larger than {max} KiB", self.path[0])));
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<Plain, NotPlain> {
        Ok(match value {
            Value::Table(table) => return self.table(table),
            Value::Boolean(b) => {
                self.weigh(0)?;
                Plain::Boolean(*b)
            }
            Value::Integer(n) => {
                self.weigh(0)?;
                Plain::Integer(*n)
            }
            Value::Number(n) => {
                self.weigh(0)?;
                Plain::Number(*n)
            }
            Value::String(text) => {
                let text = text.as_bytes();
                self.weigh(text.len())?;
                Plain::Text(text.to_vec())
            }
            Value::Nil
            | Value::LightUserData(_)
            | Value::Function(_)
            | Value::Thread(_)
            | Value::UserData(_)
            | Value::Error(_)
            | Value::Other(_) => return self.refuse(&format!("is a {}", value.type_name())),
        })
    }

    fn table(&mut self, table: &Table) -> Result<Plain, NotPlain> {
        // Only the node gives tables a metatable.
        if table.metatable().is_some() {
            return self.refuse("is a table of the node, such as a peer; keep peer.id");
        }
        let address = table.to_pointer();
        if self.above.contains(&address) {
            return self.refuse("refers to a table that it is in");
        }
        if self.above.len() >= STATE_DEPTH_MAX {
            return self.refuse(&format!("is nested deeper than {STATE_DEPTH_MAX} tables"));
        }
        self.weigh(0)?;
        self.above.push(address);
        let mut entries = Vec::new();
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !matches!(
                key,
                Value::Boolean(_) | Value::Integer(_) | Value::Number(_) | Value::String(_)
            ) {
                return self.refuse(&format!("has a key that is a {}", key.type_name()));
            }
            // The weight of keys first: it ends a table of too many before all of it is read.
            entries.push((self.value(&key)?, value));
        }
        // In order, so that of several faults always the same is told.
        entries.sort_by(|(a, _), (b, _)| a.key_order(b));
        let mut plain = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            self.path.push(piece(&key));
            let value = self.value(&value)?;
            self.path.pop();
            plain.push((key, value));
        }
        self.above.pop();
        Ok(Plain::Table(plain))
    }
}

/// A key in a path: `.name`, `[3]`, `['a b']`.
fn piece(key: &Plain) -> String {
    match key {
        Plain::Boolean(b) => format!("[{b}]"),
        Plain::Integer(n) => format!("[{n}]"),
        Plain::Number(n) => format!("[{n}]"),
        Plain::Table(_) => "[a table]".to_owned(),
        Plain::Text(text) => {
            let shown = sanitised(text, PATH_PIECE_LEN_MAX);
            let first = shown.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
            if first && shown.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                format!(".{shown}")
            } else {
                format!("['{shown}']")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Plain {
        Plain::Text(text.as_bytes().to_vec())
    }

    fn state(lua: &str) -> Result<Plain, String> {
        let vm = Lua::new();
        let table: Table = vm.load(lua).eval().unwrap();
        taken("ctx.state", &table).map_err(|fault| match fault {
            NotPlain::Value(message) => message,
            NotPlain::Lua(error) => panic!("{error}"),
        })
    }

    #[test]
    fn plain_data_comes_back_as_it_was() {
        let lua = "{ a = 1, [2.5] = 'x\\0y', [true] = { 1, 2.0, 0/0 }, [3] = false }";
        let plain = state(lua).unwrap();
        let Plain::Table(entries) = &plain else { panic!("{plain:?}") };
        let keys: Vec<_> = entries.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys, [Plain::Number(2.5), Plain::Integer(3), text("a"), Plain::Boolean(true)]);
        let vm = Lua::new();
        let Value::Table(again) = put(&vm, &plain).unwrap() else { panic!("not a table") };
        assert_eq!(taken("ctx.state", &again).unwrap(), plain);
        assert!(plain.is_bounded());
    }

    #[test]
    fn what_is_not_plain_is_named_with_its_path() {
        for (lua, message) in [
            ("{ a = { [3] = print } }", "ctx.state.a[3] is a function"),
            ("{ ['a b'] = { c = coroutine.create(print) } }", "ctx.state['a b'].c is a thread"),
            ("{ [print] = 1 }", "ctx.state has a key that is a function"),
            ("{ a = { [{}] = 1 } }", "ctx.state.a has a key that is a table"),
            (
                "{ p = setmetatable({}, {}) }",
                "ctx.state.p is a table of the node, such as a peer; keep peer.id",
            ),
            (
                "(function() local t = {} t.x = { t } return t end)()",
                "ctx.state.x[1] refers to a table that it is in",
            ),
            ("{ b = print, a = print, [1] = 1 }", "ctx.state.a is a function"),
        ] {
            assert_eq!(state(lua).unwrap_err(), message, "{lua}");
        }
    }

    #[test]
    fn a_state_is_bounded_in_size_and_depth() {
        let filled = |len: usize| state(&format!("{{ ('x'):rep({len}) }}"));
        let most = STATE_SIZE_MAX - 3 * VALUE_SIZE;
        assert_eq!(filled(most).unwrap().size(), STATE_SIZE_MAX);
        assert_eq!(filled(most + 1).unwrap_err(), "ctx.state is larger than 64 KiB");
        let nested = |depth: usize| state(&format!("{}{}", "{".repeat(depth), "}".repeat(depth)));
        assert!(nested(STATE_DEPTH_MAX).unwrap().is_bounded());
        let error = nested(STATE_DEPTH_MAX + 1).unwrap_err();
        assert!(error.ends_with("[1] is nested deeper than 16 tables"), "{error}");
    }

    #[test]
    fn a_table_that_doubles_itself_ends_at_the_limit() {
        let lua = "(function() local t = {} for i = 1, 14 do t = { t, t, t, t, t, t } end return t end)()";
        assert_eq!(state(lua).unwrap_err(), "ctx.state is larger than 64 KiB");
    }

    #[test]
    fn what_did_not_come_from_a_policy_is_not_trusted() {
        let mut deep = Plain::Table(Vec::new());
        for _ in 0..STATE_DEPTH_MAX {
            deep = Plain::Table(vec![(Plain::Integer(1), deep)]);
        }
        assert!(!deep.is_bounded());
        assert!(!text("not a table").is_bounded());
        let nan = Plain::Table(vec![(Plain::Number(f64::NAN), text("x"))]);
        assert!(!nan.is_bounded());
        assert!(!Plain::Table(vec![(text("x"), text(&"y".repeat(STATE_SIZE_MAX)))]).is_bounded());
    }
}
