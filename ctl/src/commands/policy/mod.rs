//! `shoalctl policy`: which file has which command, and the two that are short. Never here: Lua.

use shoal::v1;

use super::look::tell_of_more;
use crate::{
    clean::clean,
    cli::{
        Limit,
        policy::{PolicyCommand, Scope},
    },
    failure::Failure,
    grid::{Column, Grid},
    human,
    pages::{PAGE_SIZE_MAX, gather},
    session::Session,
};

mod bench;
mod check;
mod explain;
mod init;
mod junit;
mod report;
mod set;
mod sim;
mod source;
mod status;
mod test;
mod trace;

pub(crate) use init::init;

pub(super) async fn carry_out(s: &mut Session<'_>, command: PolicyCommand) -> Result<(), Failure> {
    match command {
        // `local` has carried it out.
        PolicyCommand::Init(_) => Ok(()),
        PolicyCommand::Check(args) => check::check(s, &args).await,
        PolicyCommand::Set(args) => set::set(s, &args).await,
        PolicyCommand::Status(args) => status::status(s, args.scope).await,
        PolicyCommand::Explain(args) => explain::explain(s, args).await,
        PolicyCommand::Trace(args) => Box::pin(trace::trace(s, &args)).await,
        PolicyCommand::Test(args) => test::test(s, &args).await,
        PolicyCommand::Sim(args) => Box::pin(sim::sim(s, &args)).await,
        PolicyCommand::Bench(args) => bench::bench(s, &args).await,
        PolicyCommand::List(args) => list(s, args.limit).await,
        PolicyCommand::Reset(scope) => reset(s, scope).await,
    }
}

async fn list(s: &mut Session<'_>, limit: Limit) -> Result<(), Failure> {
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

async fn reset(s: &mut Session<'_>, scope: Scope) -> Result<(), Failure> {
    let request = s.request(v1::ResetPolicyRequest { torrent: scope.torrent });
    let reply = s.unary(s.policy().reset_policy(request)).await?;
    s.reply(&reply, |reply, _| {
        let status = reply.status.clone().unwrap_or_default();
        format!("policy {}{} begins anew\n", clean(&status.name), of_torrent(&status.info_hash))
    })
}

/// ` of torrent 0123456789ab`; empty for the node's policy.
fn of_torrent(info_hash: &str) -> String {
    if info_hash.is_empty() {
        String::new()
    } else {
        format!(" of torrent {}", clean(&human::short_id(info_hash)))
    }
}
