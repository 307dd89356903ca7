//! A table of a plan, read key by key: what is wrong with a value is worded here, so that every
//! error names the place and the key and says what to do. Never here: which keys there are.
//!
//! The tables are TOML's own and not structs with `deny_unknown_fields`, whose errors know neither
//! the class they are in nor the name that was meant.

use std::{ops::RangeInclusive, time::Duration};

use toml::{Table, Value};

use super::{
    error::{PlanError, bad, hint},
    limits, value,
};

/// A table whose keys are taken out one after the other.
pub(super) struct Section {
    /// What its errors begin with; empty at the top.
    place: String,
    table: Table,
}

/// A value, and where it stands.
pub(super) struct Field {
    at: String,
    value: Value,
}

impl Section {
    /// Reads the whole text.
    pub(super) fn parse(text: &str, keys: &[&str]) -> Result<Self, PlanError> {
        if text.len() > limits::PLAN_LEN_MAX {
            return Err(PlanError::TooLong { bytes: text.len() });
        }
        let table = text.parse::<Table>().map_err(|error| {
            let begins = error.span().map_or(0, |span| span.start.min(text.len()));
            let newlines = text.bytes().take(begins).filter(|byte| *byte == b'\n').count();
            let message = error.message().lines().collect::<Vec<_>>().join("; ");
            PlanError::Syntax { line: newlines + 1, message }
        })?;
        Self::new(String::new(), table, keys)
    }

    /// Takes a table, all of whose keys must be among `keys`.
    pub(super) fn new(place: String, table: Table, keys: &[&str]) -> Result<Self, PlanError> {
        let section = Self::of_any_keys(place, table);
        section.check(keys).map(|()| section)
    }

    /// Takes a table whose keys are to be [checked](Self::check) later.
    pub(super) fn of_any_keys(place: String, table: Table) -> Self {
        Self { place, table }
    }

    /// Whether all keys that it has still are among `keys`.
    pub(super) fn check(&self, keys: &[&str]) -> Result<(), PlanError> {
        let Some(key) = self.table.keys().find(|key| !keys.contains(&key.as_str())) else {
            return Ok(());
        };
        Err(PlanError::UnknownKey {
            place: self.place.clone(),
            key: value::quoted(key),
            hint: hint(key, keys),
        })
    }

    /// Takes a key out, where it is there.
    pub(super) fn take(&mut self, key: &str) -> Option<Field> {
        let value = self.table.remove(key)?;
        Some(Field { at: format!("{}{key}", self.place), value })
    }

    /// Takes a key out that has to be there.
    pub(super) fn need(
        &mut self,
        key: &'static str,
        example: &'static str,
    ) -> Result<Field, PlanError> {
        self.take(key).ok_or_else(|| PlanError::Missing { place: self.place.clone(), key, example })
    }

    /// Takes a key out and reads it, where it is there.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(Field) -> Result<T, PlanError>,
    ) -> Result<Option<T>, PlanError> {
        self.take(key).map(read).transpose()
    }

    /// Takes a table of its own out; an empty one where there is none.
    pub(super) fn section(&mut self, key: &'static str, keys: &[&str]) -> Result<Self, PlanError> {
        match self.take(key) {
            Some(field) => field.section(keys),
            None => Self::new(format!("{key}: "), Table::new(), keys),
        }
    }

    /// Takes the tables of `[[key]]` out, at most `max`.
    pub(super) fn tables(&mut self, key: &str, max: usize) -> Result<Vec<Table>, PlanError> {
        let Some(field) = self.take(key) else { return Ok(Vec::new()) };
        let problem = format!("are tables, each under a line [[{key}]]");
        let Value::Array(items) = field.value else {
            return Err(bad(field.at, problem));
        };
        if items.len() > max {
            return Err(bad(
                field.at,
                format!("there may be {max}, and these are {}", items.len()),
            ));
        }
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            let Value::Table(table) = item else { return Err(bad(field.at, problem)) };
            tables.push(table);
        }
        Ok(tables)
    }

    /// An error about the whole table, or a key that is not there.
    pub(super) fn bad(&self, key: &str, problem: impl Into<String>) -> PlanError {
        bad(format!("{}{key}", self.place), problem)
    }

    /// Whether it has this key still.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }
}

impl Field {
    /// An error about this value.
    pub(super) fn bad(&self, problem: impl Into<String>) -> PlanError {
        bad(self.at.clone(), problem)
    }

    /// An error about what kind of value it is.
    fn wrong(&self, expected: &str) -> PlanError {
        self.bad(format!("{expected} is needed, and this is {}", kind(&self.value)))
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&str, PlanError> {
        self.value.as_str().ok_or_else(|| self.wrong("a text"))
    }

    /// A text in one line, of at most [`limits::TEXT_LEN_MAX`] characters.
    pub(super) fn line(&self) -> Result<String, PlanError> {
        let text = self.text()?;
        if text.chars().nth(limits::TEXT_LEN_MAX).is_some() || text.contains(char::is_control) {
            let most = limits::TEXT_LEN_MAX;
            return Err(self.bad(format!("may be one line of at most {most} characters")));
        }
        Ok(text.to_owned())
    }

    /// A name: `[a-z0-9_]`, and what `also` allows.
    pub(super) fn name(&self, also: &[char]) -> Result<&str, PlanError> {
        let name = self.text()?;
        let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_') || also.contains(&c);
        if name.is_empty() || name.len() > limits::NAME_LEN_MAX || !name.chars().all(plain) {
            let also = also.iter().map(|c| format!(", '{c}'")).collect::<String>();
            return Err(self.bad(format!(
                "{} is no name; take 1 to {} of a-z, 0-9, '_'{also}",
                value::quoted(name),
                limits::NAME_LEN_MAX
            )));
        }
        Ok(name)
    }

    /// Texts, between `[` and `]`.
    pub(super) fn texts(&self) -> Result<Vec<&str>, PlanError> {
        let texts = self.value.as_array().map(|items| items.iter().map(Value::as_str).collect());
        texts.flatten().ok_or_else(|| self.bad("a list of texts such as [\"a\", \"b\"] is needed"))
    }

    /// The index of the text among `names`, of which there are `what`.
    pub(super) fn one_of(&self, what: &str, names: &[&str]) -> Result<usize, PlanError> {
        self.index_of(self.text()?, what, names)
    }

    /// The index of a part of this value among `names`, of which there are `what`.
    pub(super) fn index_of(
        &self,
        name: &str,
        what: &str,
        names: &[&str],
    ) -> Result<usize, PlanError> {
        let found = names.iter().position(|known| *known == name);
        found.ok_or_else(|| {
            self.bad(format!("{} is no {what}; {}", value::quoted(name), hint(name, names)))
        })
    }

    /// A whole number.
    pub(super) fn whole(&self, range: RangeInclusive<u32>) -> Result<u32, PlanError> {
        let number = self.value.as_integer().ok_or_else(|| self.wrong("a whole number"))?;
        let fits = u32::try_from(number).ok().filter(|number| range.contains(number));
        fits.ok_or_else(|| self.outside(&number.to_string(), &range.start(), &range.end()))
    }

    /// A number that is not below nothing, and no more than [`limits::MULTIPLE_MAX`].
    pub(super) fn multiple(&self) -> Result<f64, PlanError> {
        let number = self.number().ok_or_else(|| self.wrong("a number"))?;
        match (0.0..=limits::MULTIPLE_MAX).contains(&number) {
            true => Ok(number),
            false => Err(self.outside(&number.to_string(), &0, &limits::MULTIPLE_MAX)),
        }
    }

    /// A part, 0 to 1: a number, or a text with or without `%`.
    pub(super) fn part(&self) -> Result<f64, PlanError> {
        let text = match self.number() {
            Some(number) => number.to_string(),
            None => {
                let text = self.value.as_str().ok_or_else(|| self.wrong("a part such as 0.5"))?;
                text.to_owned()
            }
        };
        value::part(&text).map_err(|problem| self.bad(problem))
    }

    /// Bytes: a text with a unit, or a number.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Result<u64, PlanError> {
        let text = self.text_or_integer("a size such as '512MiB'")?;
        let size = value::size(&text).map_err(|problem| self.bad(problem))?;
        let (least, most) = (value::spell_size(*range.start()), value::spell_size(*range.end()));
        match range.contains(&size) {
            true => Ok(size),
            false => Err(self.outside(&text, &least, &most)),
        }
    }

    /// Bytes a second: a text with a unit, or a number.
    pub(super) fn rate(&self) -> Result<u64, PlanError> {
        let text = self.text_or_integer("a rate such as '20MB/s'")?;
        let rate = value::rate(&text).map_err(|problem| self.bad(problem))?;
        match (limits::RATE_BPS_MIN..=limits::RATE_BPS_MAX).contains(&rate) {
            true => Ok(rate),
            false => Err(self.outside(
                &text,
                &format!("{}/s", value::spell_size(limits::RATE_BPS_MIN)),
                &format!("{}/s", value::spell_size(limits::RATE_BPS_MAX)),
            )),
        }
    }

    /// A duration: a text with a unit.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, PlanError> {
        let text = self.value.as_str().ok_or_else(|| self.wrong("a duration such as '20ms'"))?;
        let time = value::duration(text).map_err(|problem| self.bad(problem))?;
        let (least, most) = (range.start(), range.end());
        match range.contains(&time) {
            true => Ok(time),
            false => Err(self.outside(
                text,
                &value::spell_duration(*least),
                &value::spell_duration(*most),
            )),
        }
    }

    /// A table of its own, all of whose keys must be among `keys`.
    pub(super) fn section(self, keys: &[&str]) -> Result<Section, PlanError> {
        let Value::Table(table) = self.value else { return Err(self.wrong("a table")) };
        Section::new(format!("{}: ", self.at), table, keys)
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Whether it is a text.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    fn number(&self) -> Option<f64> {
        // A TOML integer beyond 2^53 is out of any range in which its last digits would matter.
        self.value.as_float().or_else(|| self.value.as_integer().map(|number| number as f64))
    }

    fn text_or_integer(&self, expected: &str) -> Result<String, PlanError> {
        match &self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Integer(number) => Ok(number.to_string()),
            Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_)
            | Value::Table(_) => Err(self.wrong(expected)),
        }
    }

    fn outside(
        &self,
        shown: &str,
        least: &dyn std::fmt::Display,
        most: &dyn std::fmt::Display,
    ) -> PlanError {
        self.bad(format!(
            "{} is out of range; take one from {least} to {most}",
            value::quoted(shown)
        ))
    }
}

/// What a value is, with its article.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}
