//! By whom the hosts of a run choose peers: native policies, and scripts in the real sandbox, whose
//! time is a count of instructions. Never here: a file, or a decision.

use shoal_core::policy::native::Native;
use shoal_policy::{
    budget::InstructionBudget, failure::Diagnostics, load::ScriptSource, script::Script,
    sink::NoSink,
};

use crate::plan::PolicyName;

/// What [`PolicyName`]s begin with that mean a native policy and nothing else.
const NATIVE: &str = "native:";

/// A policy that can be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Policy {
    /// In place.
    Native(Native),
    /// In the sandbox, one VM for each host. Where it has a parameter `zone` that nobody set, it is
    /// told the zone of its host.
    Script(Box<ScriptSource>),
}

impl Default for Policy {
    fn default() -> Self {
        Self::Native(Native::default())
    }
}

impl Policy {
    /// A native policy, or a script that comes with shoal, by its name: `native:fastest`, `fastest`
    /// (native where there is one), `fastest.lua`.
    #[must_use]
    pub fn find(PolicyName(name): &PolicyName) -> Option<Self> {
        if let Some(native) = name.strip_prefix(NATIVE) {
            return native.parse().ok().map(Self::Native);
        }
        if let Ok(native) = name.parse() {
            return Some(Self::Native(native));
        }
        let script = name.strip_suffix(".lua").unwrap_or(name);
        ScriptSource::shipped(script).map(|source| Self::Script(Box::new(source)))
    }

    /// Every name that [`Policy::find`] knows, for suggestions.
    pub fn names() -> impl Iterator<Item = String> {
        let natives = Native::ALL.iter().map(|native| native.name().to_owned());
        natives
            .chain(shoal_policy::shipped::shipped().iter().map(|(name, _)| format!("{name}.lua")))
    }

    /// The policy as the hosts of a zone run it.
    ///
    /// # Errors
    /// What the sandbox found wrong with a script.
    pub(crate) fn of_zone(&self, zone: &str) -> Result<Self, Box<Diagnostics>> {
        let Self::Script(source) = self else { return Ok(self.clone()) };
        let script = load(source)?;
        let told = script.params().iter().any(|param| param.name == "zone");
        let mut source = source.clone();
        if told && !source.settings.contains_key("zone") {
            source.settings.insert("zone".to_owned(), zone.to_owned());
            load(&source)?;
        }
        Ok(Self::Script(source))
    }
}

/// What may have been meant by a name that is none: ` — did you mean 'fastest'?`, or nothing.
pub(crate) fn hint(name: &str) -> String {
    let near = |known: &String| (strsim::damerau_levenshtein(known, name), known.clone());
    let best = Policy::names().map(|known| near(&known)).min();
    match best.filter(|(distance, _)| *distance <= 3) {
        Some((_, known)) => format!(" — did you mean '{known}'?"),
        None => String::new(),
    }
}

/// Loads a script as a host runs it.
pub(crate) fn load(source: &ScriptSource) -> Result<Script, Box<Diagnostics>> {
    source.clone().load(Box::new(InstructionBudget::default()), Box::new(NoSink)).map_err(Box::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> Option<Policy> {
        Policy::find(&PolicyName(name.to_owned()))
    }

    #[test]
    fn a_name_means_the_native_policy_unless_it_says_otherwise() {
        assert_eq!(found("fastest"), Some(Policy::Native(Native::Fastest)));
        assert_eq!(found("native:two_choices"), Some(Policy::Native(Native::TwoChoices)));
        assert!(matches!(found("fastest.lua"), Some(Policy::Script(_))));
        assert!(matches!(found("rarest_first"), Some(Policy::Script(_))));
        assert_eq!(found("native:rarest_first"), None);
        assert_eq!(found("nobody"), None);
    }

    #[test]
    fn a_script_that_asks_for_its_zone_is_told() {
        let Some(policy) = found("zone_aware") else { panic!() };
        let Ok(Policy::Script(source)) = policy.of_zone("b") else { panic!() };
        assert_eq!(source.settings.get("zone").map(String::as_str), Some("b"));
        let Some(policy) = found("rarest_first") else { panic!() };
        let Ok(Policy::Script(source)) = policy.of_zone("b") else { panic!() };
        assert!(source.settings.is_empty());
    }
}
