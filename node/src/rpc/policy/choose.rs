//! Which policy a request means: a native by its name, a shipped script by its name, a source, or a
//! file on the node.

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path};

use shoal::v1 as api;
use shoal_core::policy::native::Native;
use shoal_policy::shipped;

use crate::{
    policy_host::{PolicyChoice, ScriptChoice, ScriptKind},
    rpc::{
        roots::{ShareRoots, Via},
        select::near,
        status::{Reason, Refusal},
    },
};

/// The longest source, bytes (policy.md §2).
pub const SOURCE_LEN_MAX: usize = shoal_policy::budget::SOURCE_LEN_MAX;
/// The longest name of a source, bytes.
const NAME_LEN_MAX: usize = 255;
/// What a source is called that nobody named.
const SOURCE_NAME: &str = "policy.lua";
/// What ends the name of a script.
pub(super) const SUFFIX: &str = ".lua";

/// The policy of a request that only tries it.
///
/// # Errors
/// As [`named`] and [`sourced`]; a refusal of `policy` where there is none.
pub(super) fn of_source(policy: Option<api::PolicySource>) -> Result<PolicyChoice, Refusal> {
    use api::policy_source::Policy;
    let policy = policy.ok_or_else(|| Refusal::field("policy", "is missing"))?;
    let params = policy.params.into_iter().collect();
    match policy.policy {
        None => Err(Refusal::field("policy", "is missing: name or source")),
        Some(Policy::Name(name)) => named(&name, params),
        Some(Policy::Source(source)) => sourced(source, policy.source_name, params),
    }
}

/// The policy in a file on the node, which is watched from then on. Touches the disk: blocks.
///
/// # Errors
/// As [`ShareRoots::resolve`]; `BAD_PATH` where it cannot be read; a refusal of `path` where it is
/// not UTF-8; as [`sourced`].
pub(super) fn filed(
    roots: &ShareRoots,
    path: &str,
    via: Via,
    params: BTreeMap<String, String>,
) -> Result<PolicyChoice, Refusal> {
    let real = roots.resolve("path", path, via)?;
    let unreadable = |error: std::io::Error| {
        Refusal::new(Reason::BadPath, format!("path: {path}: {error}"))
            .with("path", path)
            .with("cause", error)
    };
    let bytes = read(&real).map_err(unreadable)?;
    let source = String::from_utf8(bytes)
        .map_err(|_| Refusal::field("path", format!("{path} is not UTF-8")))?;
    watched(source, &real, params)
}

/// An operator's own script from a file that is watched from then on.
///
/// # Errors
/// As [`sourced`].
pub fn watched(
    source: String,
    path: &Path,
    params: BTreeMap<String, String>,
) -> Result<PolicyChoice, Refusal> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut choice = sourced(source, name, params)?;
    if let PolicyChoice::Script(script) = &mut choice {
        script.watched = Some(path.display().to_string());
    }
    Ok(choice)
}

/// A byte more than is allowed is read of a longer file, for [`sourced`] to refuse.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(SOURCE_LEN_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The policy of a name: a native one, else a shipped script; `<name>.lua` is always the script.
///
/// # Errors
/// `UNKNOWN_POLICY` with a near name, or a refusal of `params` that no native policy takes.
pub fn named(name: &str, params: BTreeMap<String, String>) -> Result<PolicyChoice, Refusal> {
    if name.is_empty() {
        return Err(Refusal::field("name", "is empty"));
    }
    if let Ok(native) = name.parse::<Native>() {
        if let Some(key) = params.keys().next() {
            let fault = format!("native policy '{name}' takes no parameters, not '{key}'");
            return Err(Refusal::field("params", fault));
        }
        return Ok(PolicyChoice::Native(native));
    }
    let bare = name.strip_suffix(SUFFIX).unwrap_or(name);
    let Some(source) = shipped::find(bare) else { return Err(unknown(name)) };
    Ok(PolicyChoice::Script(ScriptChoice {
        name: format!("{bare}{SUFFIX}"),
        kind: ScriptKind::Shipped,
        source: source.to_owned(),
        params,
        watched: None,
    }))
}

/// An operator's own script.
///
/// # Errors
/// A refusal of a source or a name that is too long or empty.
pub fn sourced(
    source: String,
    name: String,
    params: BTreeMap<String, String>,
) -> Result<PolicyChoice, Refusal> {
    if source.len() > SOURCE_LEN_MAX {
        let len = source.len();
        return Err(Refusal::field("source", format!("{len} bytes, above {SOURCE_LEN_MAX}")));
    }
    if name.len() > NAME_LEN_MAX || name.chars().any(char::is_control) {
        let fault = format!("is longer than {NAME_LEN_MAX} bytes or has control characters");
        return Err(Refusal::field("source_name", fault));
    }
    let name = if name.is_empty() { SOURCE_NAME.to_owned() } else { name };
    let (kind, watched) = (ScriptKind::Custom, None);
    Ok(PolicyChoice::Script(ScriptChoice { name, kind, source, params, watched }))
}

fn unknown(name: &str) -> Refusal {
    let natives = Native::ALL.into_iter().map(Native::name);
    let all = natives.chain(shipped::shipped().iter().map(|(name, _)| *name));
    let suggestion = near(name.strip_suffix(SUFFIX).unwrap_or(name), all);
    let hint = suggestion.map_or_else(
        || "; ListPolicies names those there are".to_owned(),
        |near| format!("; did you mean '{near}'?"),
    );
    Refusal::new(Reason::UnknownPolicy, format!("no policy '{name}'{hint}"))
        .with("policy", name)
        .with_some("suggestion", suggestion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_native_policy_first_and_a_script_with_its_suffix() {
        let none = BTreeMap::new;
        let native = PolicyChoice::Native(Native::LowestUploaded);
        assert_eq!(named("lowest_uploaded", none()).unwrap(), native);
        for (asked, name) in
            [("lowest_uploaded.lua", "lowest_uploaded.lua"), ("zone_aware", "zone_aware.lua")]
        {
            let Ok(PolicyChoice::Script(script)) = named(asked, none()) else { panic!("{asked}") };
            assert_eq!((script.name.as_str(), script.kind), (name, ScriptKind::Shipped));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_a_near_one() {
        let refusal = named("zone_awar", BTreeMap::new()).unwrap_err();
        assert_eq!(refusal.reason, Reason::UnknownPolicy);
        assert_eq!(refusal.metadata["suggestion"], "zone_aware");
        let params = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        assert_eq!(named("fastest", params).unwrap_err().field.unwrap().0, "params");
    }

    #[test]
    fn sources_are_bounded() {
        let take = |len: usize| sourced(" ".repeat(len), String::new(), BTreeMap::new());
        assert!(take(SOURCE_LEN_MAX).is_ok());
        assert_eq!(take(SOURCE_LEN_MAX + 1).unwrap_err().field.unwrap().0, "source");
        let named = sourced(String::new(), "a\nb".into(), BTreeMap::new());
        assert_eq!(named.unwrap_err().field.unwrap().0, "source_name");
    }
}
