//! Policies as they are told: statuses, lists, refusals.

use std::time::Duration;

use shoal::v1 as api;
use shoal_core::policy::native::Native;
use shoal_policy::{params::Param, shipped};

use super::choose::SUFFIX;
use crate::{
    policy_host::{
        PolicyIssue, PolicyKind, PolicyRefusal, PolicyState, PolicyStatus, Scope, ScriptKind,
        ShadowStatus,
    },
    rpc::{
        message::timestamp,
        status::{Reason, Refusal},
    },
    session::handle::SetPolicyError,
};

pub(super) fn list(active: &PolicyStatus) -> Vec<api::PolicyInfo> {
    let info = |name: String, kind: PolicyKind, description: String| api::PolicyInfo {
        active: active.kind == kind && active.name == name,
        name,
        kind: policy_kind(kind).into(),
        description,
    };
    let natives = Native::ALL.into_iter().map(|native| {
        info(native.name().to_owned(), PolicyKind::Native, native.description().to_owned())
    });
    let shipped = shipped::shipped().iter().map(|(name, source)| {
        let kind = PolicyKind::Script(ScriptKind::Shipped);
        info(format!("{name}{SUFFIX}"), kind, headline(name, source))
    });
    let custom = (active.kind == PolicyKind::Script(ScriptKind::Custom))
        .then(|| info(active.name.clone(), active.kind, active.description.clone()));
    natives.chain(shipped).chain(custom).collect()
}

/// The first sentence of a script's header comment, without its name.
fn headline(name: &str, source: &str) -> String {
    let comment = source.lines().map_while(|line| line.strip_prefix("--"));
    let text = comment.map(str::trim).collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix(name).and_then(|text| text.strip_prefix(": ")).unwrap_or(&text);
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}

pub(super) fn status(status: PolicyStatus) -> api::PolicyStatus {
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
        info_hash: match status.scope {
            Scope::Node => String::new(),
            Scope::Torrent(info_hash) => info_hash.to_string(),
        },
        starved: status.starved,
        slow: status.slow,
        bypassed: status.bypassed,
        events: status.events,
        events_dropped: status.events_dropped,
        trips: status.trips,
        tripped_until: status.tripped_until.map(timestamp),
        hooks: status.hooks,
        watched_path: status.watched.unwrap_or_default(),
        refused: status.refused.map(issue),
        metrics: status.metrics.into_iter().collect(),
        log_suppressed: status.log_suppressed,
        thread_cpu_us: status.thread_cpu_us,
        version: status.version,
    }
}

pub(super) fn shadow(shadow: ShadowStatus) -> api::PolicyShadow {
    let difference = |difference: crate::policy_host::Difference| api::ShadowDifference {
        info_hash: difference.info_hash.to_string(),
        chunk: difference.chunk,
        chosen: difference.chosen.unwrap_or_default(),
        shadow: difference.shadow.unwrap_or_default(),
        reason: difference.reason,
    };
    api::PolicyShadow {
        status: Some(status(shadow.status)),
        agreed: shadow.agreed,
        differed: shadow.differed,
        differences: shadow.differences.into_iter().map(difference).collect(),
    }
}

pub(super) fn param(param: &Param) -> api::PolicyParam {
    api::PolicyParam {
        name: param.name.clone(),
        r#type: param.kind.name().to_owned(),
        value: param.value.to_string(),
        default_value: param.default.to_string(),
        doc: param.doc.clone(),
    }
}

/// Whole microseconds, as far as they fit.
pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn policy_kind(kind: PolicyKind) -> api::PolicyKind {
    match kind {
        PolicyKind::Native => api::PolicyKind::Native,
        PolicyKind::Script(ScriptKind::Shipped) => api::PolicyKind::Shipped,
        PolicyKind::Script(ScriptKind::Custom) => api::PolicyKind::Custom,
    }
}

pub(super) fn issue(issue: PolicyIssue) -> api::PolicyError {
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
            SetPolicyError::NothingToShadow => {
                let message = SetPolicyError::NothingToShadow.to_string();
                Self::new(Reason::NoOwnPolicy, message)
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
