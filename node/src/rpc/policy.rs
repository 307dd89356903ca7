//! `PolicyService`: what decides who is asked for each chunk.

use std::collections::BTreeMap;

use shoal::v1::{self as api, policy_service_server::PolicyService};
use shoal_core::policy::native::Native;
use shoal_policy::shipped;
use tonic::{Request, Response, Status};

use super::{
    context::{Context, owned},
    message::timestamp,
    page::{self, List},
    select::near,
    status::{Reason, Refusal},
};
use crate::{
    policy_host::{
        PolicyChoice, PolicyIssue, PolicyKind, PolicyRefusal, PolicyState, PolicyStatus,
        ScriptChoice, ScriptKind,
    },
    session::handle::SetPolicyError,
};

type Reply<M> = Result<Response<M>, Status>;

const POLICIES: List = List("policies");
/// The longest source, bytes (policy.md §2).
pub const SOURCE_LEN_MAX: usize = 256 * 1024;
/// The longest name of a source, bytes.
const NAME_LEN_MAX: usize = 255;
/// What a source is called that nobody named.
const SOURCE_NAME: &str = "policy.lua";
/// What ends the name of a script.
const SUFFIX: &str = ".lua";

#[tonic::async_trait]
impl PolicyService for Context {
    async fn set_policy(
        &self,
        request: Request<api::SetPolicyRequest>,
    ) -> Reply<api::SetPolicyResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { set(&this, request).await.map(Response::new) }).await
    }

    async fn get_policy(
        &self,
        _request: Request<api::GetPolicyRequest>,
    ) -> Reply<api::GetPolicyResponse> {
        let status = Some(status(self.peer_role()?.policy_status()));
        Ok(Response::new(api::GetPolicyResponse { status }))
    }

    async fn list_policies(
        &self,
        request: Request<api::ListPoliciesRequest>,
    ) -> Reply<api::ListPoliciesResponse> {
        let request = request.into_inner();
        let active = self.peer_role()?.policy_status();
        let (size, offset) =
            (page::size(request.page_size)?, POLICIES.offset(&request.page_token)?);
        let (policies, next_page_token) = POLICIES.page(list(&active), offset, size);
        Ok(Response::new(api::ListPoliciesResponse { policies, next_page_token }))
    }
}

async fn set(
    this: &Context,
    request: api::SetPolicyRequest,
) -> Result<api::SetPolicyResponse, Refusal> {
    use api::set_policy_request::Policy;
    let session = this.peer_role()?;
    let params: BTreeMap<_, _> = request.params.into_iter().collect();
    let choice = match request.policy {
        None => return Err(Refusal::field("policy", "is missing: name or source")),
        Some(Policy::Name(name)) => named(&name, params)?,
        Some(Policy::Source(source)) => sourced(source, request.source_name, params)?,
    };
    let set = session.set_policy(choice).await?;
    Ok(api::SetPolicyResponse { status: Some(status(set.status)), warnings: set.warnings })
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
    Ok(PolicyChoice::Script(ScriptChoice { name, kind: ScriptKind::Custom, source, params }))
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

fn list(active: &PolicyStatus) -> Vec<api::PolicyInfo> {
    let info = |name: String, kind: PolicyKind, description: String| api::PolicyInfo {
        active: active.kind == kind && active.name == name,
        name,
        kind: policy_kind(kind).into(),
        description,
    };
    let natives = Native::ALL.into_iter().map(|native| {
        info(native.name().to_owned(), PolicyKind::Native, describe(native).to_owned())
    });
    let shipped = shipped::shipped().iter().map(|(name, source)| {
        let kind = PolicyKind::Script(ScriptKind::Shipped);
        info(format!("{name}{SUFFIX}"), kind, headline(name, source))
    });
    let custom = (active.kind == PolicyKind::Script(ScriptKind::Custom))
        .then(|| info(active.name.clone(), active.kind, active.description.clone()));
    natives.chain(shipped).chain(custom).collect()
}

fn describe(native: Native) -> &'static str {
    match native {
        Native::LowestUploaded => "the candidate that has uploaded least (the default)",
        Native::LeastInflight => "the candidate of which we ask least now",
        Native::Fastest => "the candidate that is expected to finish first",
        Native::TwoChoices => "two at random, the one of which we ask less",
        Native::WeightedRandom => "at random, in proportion to the rate",
        Native::Random => "at random, all alike",
        Native::RoundRobin => "each in its turn, in order of peer id",
    }
}

/// The first sentence of a script's header comment, without its name.
fn headline(name: &str, source: &str) -> String {
    let comment = source.lines().map_while(|line| line.strip_prefix("--"));
    let text = comment.map(str::trim).collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix(name).and_then(|text| text.strip_prefix(": ")).unwrap_or(&text);
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}

fn status(status: PolicyStatus) -> api::PolicyStatus {
    api::PolicyStatus {
        name: status.name,
        kind: policy_kind(status.kind).into(),
        state: match status.state {
            PolicyState::Active => api::PolicyState::Active,
            PolicyState::Tripped => api::PolicyState::Tripped,
            PolicyState::Wedged => api::PolicyState::Wedged,
        }
        .into(),
        calls: status.calls,
        chosen: status.chosen,
        abstained: status.abstained,
        deferred: status.deferred,
        errors: status.errors.into_iter().map(|(kind, n)| (kind.to_owned(), n)).collect(),
        fallbacks: status.fallbacks,
        p50_us: status.p50_us,
        p99_us: status.p99_us,
        memory_bytes: status.memory_bytes,
        content_hash: status.content_hash,
        last_error: status.last_error.map(issue),
        params: status.params.into_iter().collect(),
        log: status.log,
        description: status.description,
    }
}

fn policy_kind(kind: PolicyKind) -> api::PolicyKind {
    match kind {
        PolicyKind::Native => api::PolicyKind::Native,
        PolicyKind::Script(ScriptKind::Shipped) => api::PolicyKind::Shipped,
        PolicyKind::Script(ScriptKind::Custom) => api::PolicyKind::Custom,
    }
}

fn issue(issue: PolicyIssue) -> api::PolicyError {
    api::PolicyError {
        kind: issue.kind.to_owned(),
        file: issue.file,
        line: issue.line,
        message: issue.message,
        report: issue.report,
        at: Some(timestamp(issue.at)),
        count: issue.count,
    }
}

impl From<SetPolicyError> for Refusal {
    fn from(error: SetPolicyError) -> Self {
        match error {
            SetPolicyError::Refused(refusal) => refusal.into(),
            SetPolicyError::NotSaved(cause) => {
                let message = format!("the policy is in force but was not saved: {cause}");
                Self::new(Reason::PolicyNotSaved, message).with("cause", cause)
            }
            SetPolicyError::Gone(gone) => gone.into(),
        }
    }
}

impl From<PolicyRefusal> for Refusal {
    fn from(refusal: PolicyRefusal) -> Self {
        let first = refusal.errors.first();
        let place = first.map(|issue| match issue.line {
            0 => format!("{}: {}", issue.file, issue.message),
            line => format!("{}:{line}: {}", issue.file, issue.message),
        });
        // The report's first line says that it was not loaded, as the message does.
        let report = refusal.report.split_once('\n').map(|(_, rest)| rest.to_owned());
        let message = format!("the policy was not loaded: {}", place.unwrap_or_default());
        Self::new(Reason::BadPolicy, message)
            .with_some("report", report)
            .with_some("kind", first.map(|issue| issue.kind))
            .with_some("file", first.map(|issue| issue.file.clone()))
            .with_some("line", first.map(|issue| issue.line).filter(|&line| line > 0))
            .with_some("message", first.map(|issue| issue.message.clone()))
    }
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

    #[test]
    fn shipped_scripts_say_what_they_do_in_one_line() {
        for (name, source) in shipped::shipped() {
            let line = headline(name, source);
            assert!(!line.is_empty() && line.len() < 300 && !line.contains('\n'), "{name}: {line}");
        }
        assert_eq!(
            headline("a", "-- a: does this\n-- and that. Bad when late.\nreturn"),
            "does this and that"
        );
    }
}
