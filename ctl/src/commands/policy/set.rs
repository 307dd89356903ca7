//! `shoalctl policy set`. Never here: the checks that the node makes.

use shoal::v1::{self, policy_source, set_policy_request::Policy};

use super::{
    of_torrent,
    source::{Given, advise, params, watched},
};
use crate::{clean::clean, cli::policy::SetArgs, failure::Failure, session::Session};

pub(super) async fn set(s: &mut Session<'_>, args: &SetArgs) -> Result<(), Failure> {
    let (policy, source_name) = asked(s, args)?;
    let named = match &policy {
        Policy::Name(name) => Some(policy_source::Policy::Name(name.clone())),
        Policy::Source(_) | Policy::Path(_) | Policy::None(_) => None,
    };
    let request = s.request(v1::SetPolicyRequest {
        policy: Some(policy),
        source_name,
        params: params(&args.params)?,
        torrent: args.scope.torrent.clone(),
        shadow: args.shadow,
    });
    let reply = s
        .unary(s.policy().set_policy(request))
        .await
        .map_err(|failure| advise(named.as_ref(), failure))?;
    for warning in &reply.warnings {
        s.say(&format!("warning: {warning}"));
    }
    s.reply(&reply, |reply, _| in_force(args, &reply.status.clone().unwrap_or_default()))
}

/// The policy that is asked for, and what to call its source.
fn asked(s: &Session<'_>, args: &SetArgs) -> Result<(Policy, String), Failure> {
    let given = match &args.policy {
        Some(given) if !args.none => given,
        _ => return Ok((Policy::None(true), String::new())),
    };
    if args.watch {
        return Ok((Policy::Path(watched(s, given)?), String::new()));
    }
    Ok(match Given::read(given)? {
        Given::Name(name) => (Policy::Name(name), String::new()),
        Given::Source { text, name } => (Policy::Source(text), name),
    })
}

/// A sentence: what holds from here on.
fn in_force(args: &SetArgs, status: &v1::PolicyStatus) -> String {
    let name = clean(&status.name);
    let whose = of_torrent(&status.info_hash);
    let mut text = match (args.none, args.shadow, &args.scope.torrent) {
        (true, true, _) => "nothing runs in the shadow\n".to_owned(),
        (true, false, Some(torrent)) => {
            format!("{} follows the node's policy {name}\n", clean(torrent))
        }
        (false, true, _) => format!("policy {name} runs in the shadow{whose}\n"),
        (true, false, None) | (false, false, _) => {
            format!("policy {name} is in force{}\n", whose.replacen(" of ", " for ", 1))
        }
    };
    if !status.watched_path.is_empty() && !args.none && !args.shadow {
        text.push_str(&format!("the node follows {}\n", clean(&status.watched_path)));
    }
    text
}
