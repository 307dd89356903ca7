//! The shape of a policy: which keys it has and what they hold, with suggestions for slips. Never
//! here: calling any of its functions.

use std::collections::BTreeMap;

use mlua::{Function, LuaString, Table, Value};

use shoal_core::policy::{Happening, Hooks};

use crate::{
    failure::{Failure, FailureKind, Text},
    host::FEATURES,
    params::{self, Param},
    sink::sanitised,
    suggest,
};

/// The keys of a policy's table.
const KEYS: [&str; 13] = [
    "api",
    "choose",
    "description",
    "init",
    "migrate",
    "name",
    "on",
    "order",
    "params",
    "requires",
    "score",
    "slots",
    "version",
];
/// The most keys of `on` that are looked at.
const EVENTS_LISTED_MAX: usize = 16;
/// The longest name of a policy, bytes.
const NAME_LEN_MAX: usize = 64;
/// The longest description, bytes.
const DESCRIPTION_LEN_MAX: usize = 1024;

/// A policy as its top level returned it.
pub(crate) struct Shape {
    pub(crate) name: Option<String>,
    pub(crate) description: String,
    pub(crate) version: i64,
    pub(crate) params: Vec<Param>,
    pub(crate) entry: Entry,
    pub(crate) order: Option<Function>,
    pub(crate) slots: Option<Function>,
    pub(crate) init: Option<Function>,
    pub(crate) migrate: Option<Function>,
    pub(crate) on: BTreeMap<Event, Function>,
}

/// An event that a policy may have a function for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    ChunkDone,
    ChunkFailed,
    Finished,
    PeerAdded,
    PeerRemoved,
    Tick,
}

impl Event {
    /// Every event, in order of name.
    pub(crate) const ALL: [Self; 6] = [
        Self::ChunkDone,
        Self::ChunkFailed,
        Self::Finished,
        Self::PeerAdded,
        Self::PeerRemoved,
        Self::Tick,
    ];

    /// Its key in `on`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ChunkDone => "chunk_done",
            Self::ChunkFailed => "chunk_failed",
            Self::Finished => "finished",
            Self::PeerAdded => "peer_added",
            Self::PeerRemoved => "peer_removed",
            Self::Tick => "tick",
        }
    }

    /// The event that a happening is, where it is one.
    pub(crate) const fn of(what: &Happening) -> Option<Self> {
        match what {
            Happening::Phase { .. } => None,
            Happening::Tick { .. } => Some(Self::Tick),
            Happening::ChunkDone { .. } => Some(Self::ChunkDone),
            Happening::ChunkFailed { .. } => Some(Self::ChunkFailed),
            Happening::PeerAdded { .. } => Some(Self::PeerAdded),
            Happening::PeerRemoved { .. } => Some(Self::PeerRemoved),
            Happening::Finished => Some(Self::Finished),
        }
    }
}

/// The function that decides.
#[derive(Clone)]
pub(crate) enum Entry {
    Choose(Function),
    Score(Function),
    /// It has none: the default decides always.
    Nothing,
}

impl Shape {
    /// Reads what a top level returned.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub(crate) fn read(
        returned: &Value,
        settings: &BTreeMap<String, String>,
        text: &Text<'_>,
    ) -> Result<Self, Vec<Failure>> {
        let mut reader = Reader { text, errors: Vec::new() };
        if let Value::Function(choose) = returned {
            return reader.one_liner(choose.clone(), settings);
        }
        let Value::Table(table) = returned else {
            let is = returned.type_name();
            let message = format!("a policy returns a table or a function, not {is}");
            return Err(vec![text.failure(FailureKind::Shape, None, &message, TOP_LEVEL)]);
        };
        reader.keys(table);
        reader.api(table);
        let shape = Self {
            order: reader.function(table, "order"),
            slots: reader.function(table, "slots"),
            migrate: reader.function(table, "migrate"),
            on: reader.events(table),
            name: reader.string(table, "name", NAME_LEN_MAX),
            description: reader
                .string(table, "description", DESCRIPTION_LEN_MAX)
                .unwrap_or_default(),
            version: reader.version(table),
            params: reader.params(table, settings),
            entry: reader.entry(table),
            init: reader.function(table, "init"),
        };
        reader.requires(table);
        if reader.errors.is_empty() { Ok(shape) } else { Err(reader.errors) }
    }

    /// Which functions it is told and asked through.
    pub(crate) fn hooks(&self) -> Hooks {
        let on = |event| self.on.contains_key(&event);
        Hooks {
            decides: !matches!(self.entry, Entry::Nothing),
            order: self.order.is_some(),
            slots: self.slots.is_some(),
            chunk_done: on(Event::ChunkDone),
            chunk_failed: on(Event::ChunkFailed),
            peer_added: on(Event::PeerAdded),
            peer_removed: on(Event::PeerRemoved),
            tick: on(Event::Tick),
            finished: on(Event::Finished),
        }
    }

    /// The names of its functions, as messages call them.
    pub(crate) fn functions(&self) -> Vec<String> {
        let named = [
            ("choose", matches!(self.entry, Entry::Choose(_))),
            ("score", matches!(self.entry, Entry::Score(_))),
            ("order", self.order.is_some()),
            ("slots", self.slots.is_some()),
            ("init", self.init.is_some()),
            ("migrate", self.migrate.is_some()),
        ];
        let plain = named.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned());
        plain.chain(self.on.keys().map(|event| format!("on.{}", event.name()))).collect()
    }
}

/// What was running when the top level returned something.
pub(crate) const TOP_LEVEL: &str = "the top level";

struct Reader<'a> {
    text: &'a Text<'a>,
    errors: Vec<Failure>,
}

impl Reader<'_> {
    fn fault(&mut self, kind: FailureKind, key: Option<&str>, message: &str) {
        let line = key.and_then(|key| self.text.line_of_key(key));
        self.errors.push(self.text.failure(kind, line, message, TOP_LEVEL));
    }

    fn shape(&mut self, key: &str, message: &str) {
        self.fault(FailureKind::Shape, Some(key), message);
    }

    /// `return function(ctx, peers) … end` means `{api = 1, choose = …}`.
    fn one_liner(
        mut self,
        choose: Function,
        settings: &BTreeMap<String, String>,
    ) -> Result<Shape, Vec<Failure>> {
        let params = self.settled(None, settings);
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        Ok(Shape {
            name: None,
            description: String::new(),
            version: 1,
            params,
            entry: Entry::Choose(choose),
            order: None,
            slots: None,
            init: None,
            migrate: None,
            on: BTreeMap::new(),
        })
    }

    fn keys(&mut self, table: &Table) {
        let mut unknown = Vec::new();
        for pair in table.pairs::<Value, Value>() {
            match pair {
                Ok((Value::String(key), _)) => unknown.push(key.to_string_lossy()),
                Ok((key, _)) => unknown.push(format!("[{}]", key.type_name())),
                Err(_) => {}
            }
        }
        unknown.retain(|key| !KEYS.contains(&key.as_str()));
        unknown.sort();
        for key in unknown.iter().take(8) {
            let hint = suggest::hint(key, KEYS);
            let shown = sanitised(key.as_bytes(), NAME_LEN_MAX);
            self.shape(key, &format!("unknown key '{shown}'{hint}"));
        }
    }

    fn api(&mut self, table: &Table) {
        match table.raw_get::<Value>("api") {
            Ok(Value::Integer(1)) => {}
            Ok(Value::Nil) => self.shape("api", "it has no api; this node has api = 1"),
            Ok(value) => {
                let shown = value.to_string().unwrap_or_default();
                let shown = sanitised(shown.as_bytes(), NAME_LEN_MAX);
                self.shape("api", &format!("api = {shown}; this node has api = 1"));
            }
            Err(error) => self.shape("api", &error.to_string()),
        }
    }

    fn string(&mut self, table: &Table, key: &str, len_max: usize) -> Option<String> {
        match table.raw_get::<Value>(key) {
            Ok(Value::Nil) => None,
            Ok(Value::String(s)) if s.as_bytes().len() <= len_max => {
                Some(sanitised(&s.as_bytes(), len_max))
            }
            Ok(Value::String(s)) => {
                let len = s.as_bytes().len();
                self.shape(key, &format!("{key} has {len} bytes; at most {len_max}"));
                None
            }
            Ok(value) => {
                self.shape(key, &format!("{key} is of type {}, not a string", value.type_name()));
                None
            }
            Err(error) => {
                self.shape(key, &error.to_string());
                None
            }
        }
    }

    fn version(&mut self, table: &Table) -> i64 {
        match table.raw_get::<Value>("version") {
            Ok(Value::Nil) => 1,
            Ok(Value::Integer(version)) if version >= 1 => version,
            Ok(_) | Err(_) => {
                self.shape("version", "version is not an integer of at least 1");
                1
            }
        }
    }

    fn function(&mut self, table: &Table, key: &str) -> Option<Function> {
        match table.raw_get::<Value>(key) {
            Ok(Value::Nil) => None,
            Ok(Value::Function(function)) => Some(function),
            Ok(value) => {
                self.shape(key, &format!("{key} is of type {}, not a function", value.type_name()));
                None
            }
            Err(error) => {
                self.shape(key, &error.to_string());
                None
            }
        }
    }

    fn entry(&mut self, table: &Table) -> Entry {
        match (self.function(table, "choose"), self.function(table, "score")) {
            (Some(choose), None) => Entry::Choose(choose),
            (None, Some(score)) => Entry::Score(score),
            (None, None) => Entry::Nothing,
            (Some(_), Some(_)) => {
                self.shape("score", "it has both score and choose; one of them decides");
                Entry::Nothing
            }
        }
    }

    fn params(&mut self, table: &Table, settings: &BTreeMap<String, String>) -> Vec<Param> {
        match table.raw_get::<Value>("params") {
            Ok(Value::Nil) => self.settled(None, settings),
            Ok(Value::Table(declared)) => self.settled(Some(&declared), settings),
            Ok(value) => {
                self.shape(
                    "params",
                    &format!("params is of type {}, not a table", value.type_name()),
                );
                Vec::new()
            }
            Err(error) => {
                self.shape("params", &error.to_string());
                Vec::new()
            }
        }
    }

    fn settled(
        &mut self,
        declared: Option<&Table>,
        settings: &BTreeMap<String, String>,
    ) -> Vec<Param> {
        params::read(declared, settings).unwrap_or_else(|faults| {
            for (key, message) in faults {
                self.fault(FailureKind::Param, key.as_deref(), &message);
            }
            Vec::new()
        })
    }

    fn requires(&mut self, table: &Table) {
        let listed = match table.raw_get::<Option<Vec<String>>>("requires") {
            Ok(listed) => listed.unwrap_or_default(),
            Err(_) => return self.shape("requires", "requires is not a list of strings"),
        };
        for feature in listed.iter().filter(|feature| !FEATURES.contains(&feature.as_str())) {
            let hint = suggest::hint(feature, FEATURES);
            let shown = sanitised(feature.as_bytes(), NAME_LEN_MAX);
            let message = format!(
                "it requires '{shown}', which this node has not{hint}; it has {}",
                FEATURES.join(", ")
            );
            self.fault(FailureKind::Requires, Some("requires"), &message);
        }
    }

    /// The functions of `on`.
    fn events(&mut self, table: &Table) -> BTreeMap<Event, Function> {
        let mut functions = BTreeMap::new();
        let listed = match table.raw_get::<Value>("on") {
            Ok(Value::Nil) => return functions,
            Ok(Value::Table(listed)) => listed,
            Ok(value) => {
                self.shape("on", &format!("on is of type {}, not a table", value.type_name()));
                return functions;
            }
            Err(error) => {
                self.shape("on", &error.to_string());
                return functions;
            }
        };
        let mut found = Vec::new();
        for (key, value) in listed.pairs::<Value, Value>().flatten() {
            let name = key.as_string().map(LuaString::to_string_lossy);
            found.push((name.unwrap_or_else(|| format!("[{}]", key.type_name())), value));
            if found.len() > EVENTS_LISTED_MAX {
                self.shape("on", "on has too many keys");
                return functions;
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, value) in found {
            let shown = sanitised(name.as_bytes(), NAME_LEN_MAX);
            match (Event::ALL.into_iter().find(|event| event.name() == name), value) {
                (Some(event), Value::Function(function)) => {
                    functions.insert(event, function);
                }
                (Some(_), _) => self.shape(&name, &format!("on.{shown} is not a function")),
                (None, _) => {
                    let hint = suggest::hint(&name, Event::ALL.map(Event::name));
                    self.shape(&name, &format!("unknown event '{shown}'{hint}"));
                }
            }
        }
        functions
    }
}
