//! What is wrong with a plan. Never here: a rule.

use super::{limits, value};

/// What is wrong with a plan, in one line: where it is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It is longer than [`limits::PLAN_LEN_MAX`].
    #[error("a plan may have {} bytes, and this has {bytes}", limits::PLAN_LEN_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not TOML.
    #[error("line {line}: {message}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// There is no such key here.
    #[error("{place}{key} is no key here; {hint}")]
    UnknownKey {
        /// The table that it stands in, `class 'leecher': `; empty at the top.
        place: String,
        /// As written.
        key: String,
        /// The key that may be meant, or all that there are.
        hint: String,
    },
    /// A key that has no default was left out.
    #[error("{place}{key} is missing; write such as {key} = {example}")]
    Missing {
        /// The table, as in [`PlanError::UnknownKey`].
        place: String,
        /// Which.
        key: &'static str,
        /// A value for it.
        example: &'static str,
    },
    /// A value is not what it should be.
    #[error("{at}: {problem}")]
    BadValue {
        /// The table and the key, `class 'leecher': up`.
        at: String,
        /// What it is, and what it should be.
        problem: String,
    },
}

/// A value that is not what it should be.
pub(super) fn bad(at: String, problem: impl Into<String>) -> PlanError {
    PlanError::BadValue { at, problem: problem.into() }
}

/// The name that is meant, or all that there are.
pub(super) fn hint(wrong: &str, names: &[&str]) -> String {
    const NAMED_MAX: usize = 16;
    match value::near(wrong, names.iter().copied()) {
        Some(name) => format!("did you mean '{name}'?"),
        None if names.is_empty() => "there are none".to_owned(),
        None if names.len() == 1 => format!("there is only {}", names[0]),
        None => {
            let rest = if names.len() > NAMED_MAX { ", …" } else { "" };
            format!("there are {}{rest}", names[..names.len().min(NAMED_MAX)].join(", "))
        }
    }
}
