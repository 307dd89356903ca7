//! A policy that takes part in a simulation: what it is called in reports, and by which words a
//! command line names it again. Never here: where its source is from.

use std::collections::BTreeMap;

use shoal_policy::load::ScriptSource;

use crate::{plan::PolicyName, policy::Policy};

/// A policy that takes part.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// What reports call it: `native:fastest`, `fastest.lua`, `mine.lua (zone=b)`.
    pub name: String,
    /// The same without parameters, as a command line has it.
    spelled: String,
    /// What it is.
    pub policy: Policy,
}

impl Entrant {
    /// A native policy.
    #[must_use]
    pub fn native(native: shoal_core::policy::native::Native) -> Self {
        let spelled = format!("native:{}", native.name());
        Self { name: spelled.clone(), spelled, policy: Policy::Native(native) }
    }

    /// A native policy or a shipped script by its name, as [`Policy::find`] knows it.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        match Policy::find(&PolicyName(name.to_owned()))? {
            Policy::Native(native) => Some(Self::native(native)),
            Policy::Script(source) => {
                let spelled = format!("{}.lua", source.name);
                Some(Self { name: spelled.clone(), spelled, policy: Policy::Script(source) })
            }
        }
    }

    /// A script of somebody's own; `spelled` is its path, or what it is called.
    #[must_use]
    pub fn script(spelled: &str, source: &str) -> Self {
        let file = spelled.rsplit('/').next().unwrap_or(spelled);
        let name = file.strip_suffix(".lua").unwrap_or(file);
        let source = ScriptSource::new(name, file, source.as_bytes());
        let policy = Policy::Script(Box::new(source));
        Self { name: spelled.to_owned(), spelled: spelled.to_owned(), policy }
    }

    /// With parameters.
    ///
    /// # Errors
    /// Gives them back where there are some and the policy is native, which takes none.
    pub fn with(
        mut self,
        params: BTreeMap<String, String>,
    ) -> Result<Self, BTreeMap<String, String>> {
        if params.is_empty() {
            return Ok(self);
        }
        let Policy::Script(source) = &mut self.policy else { return Err(params) };
        let said: Vec<_> = params.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.name = format!("{} ({})", self.spelled, said.join(", "));
        source.settings = params;
        Ok(self)
    }

    /// The words of a command line that mean it.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec!["--policy".to_owned(), self.spelled.clone()];
        if let Policy::Script(source) = &self.policy {
            for (key, value) in &source.settings {
                words.extend(["--set".to_owned(), format!("{key}={value}")]);
            }
        }
        words
    }
}

impl Default for Entrant {
    fn default() -> Self {
        Self::native(shoal_core::policy::native::Native::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_and_command_lines_call_it_by_what_it_is() {
        let zone = BTreeMap::from([("zone".to_owned(), "b c".to_owned())]);
        for (entrant, name, words) in [
            (Entrant::default(), "native:lowest_uploaded", "--policy native:lowest_uploaded"),
            (Entrant::find("zone_aware").unwrap(), "zone_aware.lua", "--policy zone_aware.lua"),
            (
                Entrant::script("my/near.lua", "return {}").with(zone.clone()).unwrap(),
                "my/near.lua (zone=b c)",
                "--policy my/near.lua --set zone=b c",
            ),
        ] {
            assert_eq!((entrant.name.as_str(), entrant.words().join(" ").as_str()), (name, words));
        }
        assert!(Entrant::find("nobody").is_none());
        assert_eq!(Entrant::default().with(zone.clone()).unwrap_err(), zone);
    }
}
