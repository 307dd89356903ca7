//! `shoalctl policy check`: everything the node finds in a policy. Never here: the checks.

use shoal::v1;

use super::{
    report::diagnostic,
    source::{Given, params},
};
use crate::{
    clean::clean,
    cli::policy::CheckArgs,
    failure::Failure,
    grid::{Column, Grid, block_within},
    human,
    session::Session,
};

pub(super) async fn check(s: &mut Session<'_>, args: &CheckArgs) -> Result<(), Failure> {
    let policy = Given::file(&args.file)?.with(params(&args.params)?);
    let file = policy.source_name.clone();
    let request = s.request(v1::ValidatePolicyRequest { policy: Some(policy) });
    let reply = s.unary(s.policy().validate_policy(request)).await?;
    s.reply(&reply, |reply, width| found(&file, reply, width))?;
    match reply.errors.len() as u64 {
        0 => Ok(()),
        count => Err(Failure::bad_policy(format!(
            "{file} would not be put in force: {}",
            human::count(count, "error")
        ))),
    }
}

fn found(file: &str, reply: &v1::ValidatePolicyResponse, width: Option<usize>) -> String {
    let mut text = String::new();
    for (label, findings) in [("error", &reply.errors), ("warning", &reply.warnings)] {
        for finding in findings {
            text.push_str(&diagnostic(label, finding));
        }
    }
    if reply.errors.is_empty() {
        text.push_str(&format!("{} would be put in force\n", clean(file)));
        text.push_str(&summary(reply, width));
    }
    text
}

fn summary(reply: &v1::ValidatePolicyResponse, width: Option<usize>) -> String {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let mut text = block_within(
        width,
        [
            ("name", or_dash(reply.declared_name.clone())),
            ("description", or_dash(reply.description.clone())),
            ("functions", or_dash(reply.hooks.join(" "))),
        ],
    );
    if reply.params.is_empty() {
        return text;
    }
    let mut grid = Grid::new([
        Column::Left("PARAMETER"),
        Column::Left("TYPE"),
        Column::Elastic("VALUE"),
        Column::Elastic("DEFAULT"),
        Column::Elastic("MEANING"),
    ]);
    for param in &reply.params {
        grid.row([
            param.name.clone(),
            param.r#type.clone(),
            param.value.clone(),
            param.default_value.clone(),
            or_dash(param.doc.clone()),
        ]);
    }
    text.push_str(&grid.render(width));
    text
}
