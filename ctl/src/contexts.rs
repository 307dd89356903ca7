//! The file of contexts: nodes by name, each with what is needed to reach it. Never here: which one
//! holds for a command.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    cli::Format,
    failure::Failure,
    files::{There, read_bounded, write_whole},
    places::Places,
};

/// Name of the file in the folder of configuration.
const FILE: &str = "shoalctl.toml";

/// Longest file that is read, bytes.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// First line of the file.
const HEAD: &str = "# Contexts of shoalctl; `shoalctl context` changes this file.\n";

/// All contexts, and the one in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that holds where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// Each by its name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// A node, and how to reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Context {
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// A file with the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificates of the authorities that may vouch for it, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of that, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// The torrent where a command names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) torrent: Option<String>,
    /// How replies are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<Format>,
}

impl Contexts {
    /// Reads the file; without one there are no contexts.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub(crate) fn load(places: &Places) -> Result<Self, Failure> {
        let Some(path) = path(places) else { return Ok(Self::default()) };
        if fs::symlink_metadata(&path).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
            return Ok(Self::default());
        }
        let text = String::from_utf8(read_bounded(&path, FILE_LEN_MAX)?)
            .map_err(|_| Failure::invalid(format!("{} is not UTF-8", path.display())))?;
        toml::from_str(&text)
            .map_err(|e| Failure::invalid(format!("{}: {}", path.display(), e.message())))
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// A folder that cannot be made, or a file that cannot be written.
    pub(crate) fn save(&self, places: &Places) -> Result<(), Failure> {
        let path = path(places).ok_or_else(|| {
            Failure::usage(
                "neither XDG_CONFIG_HOME nor HOME is set: there is no place for contexts",
            )
        })?;
        let body = toml::to_string(self).map_err(|e| Failure::internal(e.to_string()))?;
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|e| Failure::file(dir, &e))?;
        }
        // A link stays one: the file it leads to is replaced.
        let path = fs::canonicalize(&path).unwrap_or(path);
        write_whole(&path, format!("{HEAD}{body}").as_bytes(), There::Replaced)
    }

    /// The context of a name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let failure = Failure::no_context(format!("there is no context '{name}'"));
            let near = self
                .contexts
                .keys()
                .filter(|other| strsim::jaro_winkler(name, other) > 0.8)
                .max_by(|a, b| {
                    strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b))
                });
            match near {
                Some(near) => failure.with_hint(format!("did you mean '{near}'?")),
                None => failure.with_hint("shoalctl context list shows those there are"),
            }
        })
    }
}

/// Where the file is.
fn path(places: &Places) -> Option<PathBuf> {
    places.config.as_ref().map(|dir| dir.join(FILE))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn places(dir: &Path) -> Places {
        Places { config: Some(dir.join("a/b")), state: None }
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        assert_eq!(Contexts::load(&places).unwrap(), Contexts::default());
        let lab = Context {
            endpoint: Some("http://10.0.0.1:7002".to_owned()),
            format: Some(Format::Jsonl),
            ..Context::default()
        };
        let contexts = Contexts {
            current: Some("lab".to_owned()),
            contexts: BTreeMap::from([("lab".to_owned(), lab)]),
        };
        contexts.save(&places).unwrap();
        assert_eq!(Contexts::load(&places).unwrap(), contexts);
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_understood_names_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        Contexts::default().save(&places).unwrap();
        let path = path(&places).unwrap();
        fs::write(&path, "[contexts.a]\nendpont = 'x'\n").unwrap();
        let Err(Failure::Report(report)) = Contexts::load(&places) else { panic!("it was read") };
        assert!(report.text().contains("endpont"), "{}", report.text());
    }

    #[test]
    fn a_near_name_is_a_hint() {
        let contexts = Contexts {
            current: None,
            contexts: BTreeMap::from([("production".to_owned(), Context::default())]),
        };
        let Err(Failure::Report(report)) = contexts.named("producton") else { panic!("found") };
        assert!(report.text().contains("did you mean 'production'?"), "{}", report.text());
        assert!(contexts.named("production").is_ok());
    }
}
