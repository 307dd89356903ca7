//! The log of the program: lines on standard error, and the filter that says which, which can change
//! while it runs. There is one a process, as there is one subscriber. Never here: what is logged.

use std::{
    io::{self, IsTerminal as _},
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing_subscriber::{
    EnvFilter, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::config::value::LogFormat;

/// The longest filter, bytes.
pub const FILTER_LEN_MAX: usize = 4096;

/// Why there is no such filter.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    /// It is none.
    #[error("'{text}' is no filter: {cause}")]
    Malformed {
        /// What was to be the filter.
        text: String,
        /// What is wrong with it.
        cause: String,
    },
    /// It is longer than [`FILTER_LEN_MAX`].
    #[error("{0} bytes, above {FILTER_LEN_MAX}")]
    TooLong(usize),
    /// The process did not begin its log here.
    #[error("this process writes its log by other means")]
    NotOurs,
}

/// The filter in force.
struct InForce {
    handle: reload::Handle<EnvFilter, Registry>,
    text: Mutex<String>,
}

static FILTER: OnceLock<InForce> = OnceLock::new();

/// Begins the log of this process.
///
/// # Errors
/// [`FilterError`]; there is no log then.
///
/// # Panics
/// Where the process has a log already: to be called once, by `main`.
pub fn begin(filter: &str, format: LogFormat) -> Result<(), FilterError> {
    let (layer, handle) = reload::Layer::new(parse(filter)?);
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let log = tracing_subscriber::registry().with(layer);
    match format {
        LogFormat::Text => log.with(lines).init(),
        LogFormat::Json => log.with(lines.json()).init(),
    }
    // `init` would have panicked a second time.
    let _ = FILTER.set(InForce { handle, text: Mutex::new(filter.to_owned()) });
    Ok(())
}

/// The filter in force; none where the process did not [`begin`] its log here.
#[must_use]
pub fn filter() -> Option<String> {
    let text = &FILTER.get()?.text;
    Some(text.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Whether [`set_filter`] would take this.
///
/// # Errors
/// [`FilterError`].
pub fn check(text: &str) -> Result<(), FilterError> {
    parse(text)?;
    FILTER.get().map(drop).ok_or(FilterError::NotOurs)
}

/// Logs by this filter from now on.
///
/// # Errors
/// [`FilterError`]; nothing was changed then.
pub fn set_filter(text: &str) -> Result<(), FilterError> {
    let filter = parse(text)?;
    let in_force = FILTER.get().ok_or(FilterError::NotOurs)?;
    // Locked around both, so that of two changes the same one is last in both.
    let mut kept = in_force.text.lock().unwrap_or_else(PoisonError::into_inner);
    in_force.handle.reload(filter).map_err(|_| FilterError::NotOurs)?;
    text.clone_into(&mut kept);
    Ok(())
}

fn parse(text: &str) -> Result<EnvFilter, FilterError> {
    if text.len() > FILTER_LEN_MAX {
        return Err(FilterError::TooLong(text.len()));
    }
    EnvFilter::builder()
        .parse(text)
        .map_err(|error| FilterError::Malformed { text: text.to_owned(), cause: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused_before_it_is_asked_whose_the_log_is() {
        let refused = check("shoal_node=loud").unwrap_err();
        assert!(matches!(refused, FilterError::Malformed { .. }), "{refused}");
        let long = "a".repeat(FILTER_LEN_MAX + 1);
        assert_eq!(check(&long), Err(FilterError::TooLong(FILTER_LEN_MAX + 1)));
        assert_eq!(check("info"), Err(FilterError::NotOurs), "tests have no log");
        assert_eq!((set_filter("info"), filter()), (Err(FilterError::NotOurs), None));
    }
}
