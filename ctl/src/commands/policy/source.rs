//! A policy that the command line names: a file on this side, or a name on the node. Never here: what
//! is done with it.

use std::{collections::HashMap, path::Path};

use shoal::v1::{self, policy_source::Policy};

use crate::{cli::policy::Params, failure::Failure, files::read_bounded, session::Session};

/// Longest policy source that a node takes, bytes.
const SOURCE_LEN_MAX: u64 = 256 * 1024;

/// What is said where the node knows no policy of that name.
const NO_SUCH_NAME: &str = "there is no file of that name here either; shoalctl policy list shows \
                            what the node has";

/// A policy, named or given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// Its name on the node.
    Name(String),
    /// Its text, and its file's name.
    Source { text: String, name: String },
}

impl Given {
    /// What is there is read; what is not is a name, unless it can only be a path.
    pub(super) fn read(given: &str) -> Result<Self, Failure> {
        let path = Path::new(given);
        if path.exists() || given.contains('/') { Self::file(path) } else { Self::named(given) }
    }

    fn named(given: &str) -> Result<Self, Failure> {
        if given.is_empty() {
            return Err(Failure::usage("the name of the policy is empty"));
        }
        Ok(Self::Name(given.to_owned()))
    }

    /// A file on this side.
    pub(super) fn file(path: &Path) -> Result<Self, Failure> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self::Source { text: text(path, SOURCE_LEN_MAX)?, name })
    }

    /// As requests carry it.
    pub(super) fn with(self, params: HashMap<String, String>) -> v1::PolicySource {
        let (policy, source_name) = match self {
            Self::Name(name) => (Policy::Name(name), String::new()),
            Self::Source { text, name } => (Policy::Source(text), name),
        };
        v1::PolicySource { policy: Some(policy), source_name, params }
    }
}

/// A failure of a call that named a policy: where the name is unknown, what else could be meant.
pub(super) fn advise(policy: Option<&Policy>, failure: Failure) -> Failure {
    match policy {
        Some(Policy::Name(_)) => failure.or_where(NO_SUCH_NAME),
        Some(Policy::Source(_)) | None => failure,
    }
}

/// A local file of text.
pub(super) fn text(path: &Path, len_max: u64) -> Result<String, Failure> {
    if path.is_dir() {
        return Err(Failure::invalid(format!("{} is a folder", path.display())));
    }
    String::from_utf8(read_bounded(path, len_max)?)
        .map_err(|_| Failure::invalid(format!("{} is not UTF-8", path.display())))
}

/// Parameters by name; each once.
pub(super) fn params(params: &Params) -> Result<HashMap<String, String>, Failure> {
    let mut by_name = HashMap::new();
    for (key, value) in &params.set {
        if by_name.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("--set names '{key}' twice")));
        }
    }
    Ok(by_name)
}

/// The path by which the node finds the file that it is to watch.
pub(super) fn watched(s: &Session<'_>, given: &str) -> Result<String, Failure> {
    let path = Path::new(given);
    // An absolute path is the node's to find: its socket may have come from elsewhere.
    if s.over_unix && !path.is_absolute() && !path.is_file() {
        return Err(Failure::usage(format!(
            "--watch follows a file, and there is no file '{given}' here"
        )));
    }
    crate::commands::create::node_path(s, "FILE", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Given {
        Given::read(text).unwrap()
    }

    #[test]
    fn a_file_is_sent_as_source_and_anything_else_is_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("near.lua");
        std::fs::write(&path, "return {}").unwrap();
        let source = Given::Source { text: "return {}".to_owned(), name: "near.lua".to_owned() };
        assert_eq!(given(path.to_str().unwrap()), source);
        for name in ["least_uploaded", "rarest.lua"] {
            assert_eq!(given(name), Given::Name(name.to_owned()));
        }
    }

    #[test]
    fn what_can_only_be_a_path_is_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("near.lua");
        assert!(Given::read(path.to_str().unwrap()).is_err(), "it is not there");
        assert!(Given::read(dir.path().to_str().unwrap()).is_err(), "a folder");
        assert!(Given::read("").is_err());
        std::fs::write(&path, [0xff]).unwrap();
        assert!(Given::read(path.to_str().unwrap()).is_err(), "not UTF-8");
    }

    #[test]
    fn a_source_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("near.lua");
        let longest = usize::try_from(SOURCE_LEN_MAX).unwrap();
        for (len, taken) in [(longest - 1, true), (longest, true), (longest + 1, false)] {
            std::fs::write(&path, "-".repeat(len)).unwrap();
            assert_eq!(Given::file(&path).is_ok(), taken, "{len}");
        }
    }
}
