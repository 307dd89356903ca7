//! `shoalctl policy bench`: what a decision costs. Never here: the measuring.

use shoal::v1;

use super::source::{Given, advise, params};
use crate::{
    cli::policy::BenchArgs,
    failure::Failure,
    grid::{Column, Grid},
    human,
    session::Session,
};

pub(super) async fn bench(s: &mut Session<'_>, args: &BenchArgs) -> Result<(), Failure> {
    let policy = Given::read(&args.policy)?.with(params(&args.params)?);
    let named = policy.policy.clone();
    let request = s.request(v1::BenchPolicyRequest { policy: Some(policy) });
    let reply = s
        .unary(s.policy().bench_policy(request))
        .await
        .map_err(|failure| advise(named.as_ref(), failure))?;
    s.reply(&reply, |reply, width| table(&reply.rows).render(width))
}

fn table(rows: &[v1::BenchRow]) -> Grid {
    let mut grid = Grid::new([
        Column::Right("CANDIDATES"),
        Column::Right("DECISIONS"),
        Column::Right("MEDIAN"),
        Column::Right("P99"),
    ]);
    for row in rows {
        grid.row([
            row.candidates.to_string(),
            row.decisions.to_string(),
            human::nanos(row.p50_ns),
            human::nanos(row.p99_ns),
        ]);
    }
    grid
}
