//! `shoalctl policy`. Never here: Lua.

use std::{collections::HashMap, path::Path};

use shoal::v1::{self, set_policy_request::Policy};

use super::{look::tell_of_more, torrent::read_bounded};
use crate::{
    clean::{clean, clean_lines},
    cli::{Limit, node::SetArgs},
    failure::Failure,
    grid::{Column, Grid, block},
    human,
    pages::{PAGE_SIZE_MAX, gather},
    session::Session,
};

/// Longest policy source that a node takes, bytes.
const SOURCE_LEN_MAX: u64 = 256 * 1024;

pub(super) async fn set(s: &mut Session<'_>, args: SetArgs) -> Result<(), Failure> {
    let (policy, source_name) = source(&args.policy)?;
    let mut params = HashMap::new();
    for (key, value) in args.params {
        if params.contains_key(&key) {
            return Err(Failure::usage(format!("--set names '{key}' twice")));
        }
        params.insert(key, value);
    }
    let request = s.request(v1::SetPolicyRequest { policy: Some(policy), source_name, params });
    let reply = s.unary(s.policy().set_policy(request)).await?;
    for warning in &reply.warnings {
        s.say(&format!("warning: {warning}"));
    }
    s.reply(&reply, |reply, _| {
        let status = reply.status.clone().unwrap_or_default();
        format!("policy {} is in force\n", clean(&status.name))
    })
}

/// An existing file is read here and sent; anything else is a name on the node.
fn source(given: &str) -> Result<(Policy, String), Failure> {
    let path = Path::new(given);
    if !path.is_file() {
        return Ok((Policy::Name(given.to_owned()), String::new()));
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let text = String::from_utf8(read_bounded(path, SOURCE_LEN_MAX)?)
        .map_err(|_| Failure::invalid(format!("{given} is not UTF-8")))?;
    Ok((Policy::Source(text), name))
}

pub(super) async fn status(s: &mut Session<'_>) -> Result<(), Failure> {
    let request = s.request(v1::GetPolicyRequest {});
    let reply = s.unary(s.policy().get_policy(request)).await?;
    s.reply(&reply, |reply, _| reply.status.as_ref().map_or_else(String::new, describe))
}

fn describe(status: &v1::PolicyStatus) -> String {
    let mut errors: Vec<String> =
        status.errors.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    errors.sort();
    let kind = human::word(status.kind().as_str_name(), "POLICY_KIND_");
    let hash =
        if status.content_hash.is_empty() { "-".to_owned() } else { status.content_hash.clone() };
    let mut text = block([
        ("policy", format!("{} ({kind})", status.name)),
        ("description", status.description.clone()),
        ("state", human::word(status.state().as_str_name(), "POLICY_STATE_")),
        ("parameters", human::pairs(&status.params)),
        ("decisions", status.calls.to_string()),
        ("chosen", status.chosen.to_string()),
        ("abstained", status.abstained.to_string()),
        ("deferred", status.deferred.to_string()),
        ("errors", if errors.is_empty() { "-".to_owned() } else { errors.join(" ") }),
        ("fallbacks", status.fallbacks.to_string()),
        (
            "time",
            format!(
                "{} median, {} p99",
                human::micros(status.p50_us),
                human::micros(status.p99_us)
            ),
        ),
        ("memory", human::bytes(status.memory_bytes)),
        ("content hash", hash),
    ]);
    if let Some(error) = &status.last_error {
        text.push_str(&last_error(error));
    }
    if !status.log.is_empty() {
        text.push_str("log:\n");
        for line in &status.log {
            text.push_str(&format!("  {}\n", clean(line)));
        }
    }
    text
}

/// The last error: where, what, and the report that its author wants.
fn last_error(error: &v1::PolicyError) -> String {
    let mut text = format!(
        "last error: {}:{}: {} ({}, {} times, last {})\n",
        clean(&error.file),
        error.line,
        clean(&error.message),
        clean(&error.kind),
        error.count,
        human::time(error.at.as_ref()),
    );
    for line in clean_lines(&error.report).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

pub(super) async fn list(s: &mut Session<'_>, limit: Limit) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(limit.limit, PAGE_SIZE_MAX, async |page_size, page_token| {
        let request = node.request(v1::ListPoliciesRequest { page_size, page_token });
        node.unary(node.policy().list_policies(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| table(&reply.policies).render(width))?;
    tell_of_more(s, &reply.next_page_token, "policies");
    Ok(())
}

fn table(policies: &[v1::PolicyInfo]) -> Grid {
    let mut grid = Grid::new([
        Column::Left("POLICY"),
        Column::Left("KIND"),
        Column::Left("ACTIVE"),
        Column::Elastic("DESCRIPTION"),
    ]);
    for policy in policies {
        grid.row([
            policy.name.clone(),
            human::word(policy.kind().as_str_name(), "POLICY_KIND_"),
            if policy.active { "yes" } else { "-" }.to_owned(),
            policy.description.clone(),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_sent_as_source_and_anything_else_is_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("near.lua");
        std::fs::write(&path, "return {}").unwrap();
        let (policy, name) = source(path.to_str().unwrap()).unwrap();
        assert_eq!(policy, Policy::Source("return {}".to_owned()));
        assert_eq!(name, "near.lua");
        for given in ["least_uploaded", "rarest.lua", dir.path().to_str().unwrap()] {
            assert_eq!(source(given).unwrap().0, Policy::Name(given.to_owned()));
        }
        std::fs::write(&path, [0xff]).unwrap();
        assert!(source(path.to_str().unwrap()).is_err());
    }

    #[test]
    fn the_last_error_shows_its_report() {
        let status = v1::PolicyStatus {
            name: "near.lua".to_owned(),
            last_error: Some(v1::PolicyError {
                file: "near.lua".to_owned(),
                line: 3,
                message: "attempt to index nil".to_owned(),
                report: "3 | local x = y.z\n\t^".to_owned(),
                count: 2,
                ..v1::PolicyError::default()
            }),
            ..v1::PolicyStatus::default()
        };
        let text = describe(&status);
        assert!(text.contains("last error: near.lua:3: attempt to index nil"), "{text}");
        assert!(text.contains("\n  3 | local x = y.z\n      ^\n"), "{text}");
    }
}
