//! The environment as a layer: the variable `SHOAL_…` of a flag is read just as the flag is.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{Arg, ArgAction, Args, Command, FromArgMatches};

use super::{ConfigError, layer::Layer};

/// A copy of the environment, handed in so that nothing below reads it.
pub type Env = BTreeMap<String, OsString>;

/// What the environment says for the flags of `T`. Lists are separated by commas; an empty
/// variable counts as none.
///
/// # Errors
/// [`ConfigError::Env`] where a variable does not hold what its flag takes.
pub fn layer<T: Args + FromArgMatches + Layer + Default>(env: &Env) -> Result<T, ConfigError> {
    let command = T::augment_args(Command::new("environment").no_binary_name(true));
    let mut merged = T::default();
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let name = variable(arg);
        let Some(value) = env.get(&name).filter(|value| !value.is_empty()) else { continue };
        let bad = |cause: String| ConfigError::Env { name: name.clone(), cause };
        let text = value.to_str().ok_or_else(|| bad("is not UTF-8".to_owned()))?;
        let many = matches!(arg.get_action(), ArgAction::Append);
        let values = if many { text.split(',').collect() } else { vec![text] };
        let argv = values.iter().map(|value| format!("--{long}={value}"));
        let matches = command.clone().try_get_matches_from(argv);
        let parsed = matches.and_then(|matches| T::from_arg_matches(&matches));
        merged = parsed.map_err(|error| bad(first_line(&error)))?.over(merged);
    }
    Ok(merged)
}

/// The variable of a flag: `--state-dir` → `SHOAL_STATE_DIR`, and the role before `listen`, which
/// both roles have.
#[must_use]
pub fn variable(arg: &Arg) -> String {
    format!("SHOAL_{}", arg.get_id().as_str().replace('-', "_").to_uppercase())
}

/// The first line of clap's message, without `error: `.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
