//! `shoalctl policy sim`: what is simulated, and where what came of it goes. Never here: the
//! simulating.

use std::{collections::HashMap, fs, path::Path};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shoal::v1::{
    self, policy_source::Policy, simulate_policy_request::Plan, simulate_policy_response::Item,
};

use super::source::{Given, advise, params, text};
use crate::{cli::policy::SimArgs, failure::Failure, human, session::Session};

/// Longest plan that a node takes, bytes.
const PLAN_LEN_MAX: u64 = 256 * 1024;

/// What the node says where it knows no policy of a name.
const UNKNOWN_POLICY: &str = "UNKNOWN_POLICY";

/// Redraws a second.
const DRAWS_PER_SECOND: u8 = 10;

/// Steps of the bar.
const BAR_LEN: u64 = 1000;

pub(super) async fn sim(s: &mut Session<'_>, args: &SimArgs) -> Result<(), Failure> {
    let request = request(args)?;
    let named = request.policies.iter().find_map(|it| match &it.policy {
        Some(Policy::Name(name)) => Some(Policy::Name(name.clone())),
        Some(Policy::Source(_)) | None => None,
    });
    let (mut node, request) = (s.policy(), s.long_request(request));
    let report = followed(s, node.simulate_policy(request)).await;
    let report = report.map_err(|failure| match failure.is(UNKNOWN_POLICY) {
        true => advise(named.as_ref(), failure),
        false => failure,
    })?;
    match s.format.is_table() {
        true => s.write(&report.table)?,
        false => s.made(&report.json)?,
    }
    if let Some(path) = &args.picture {
        fs::write(path, &report.picture_svg).map_err(|e| Failure::file(path, &e))?;
    }
    if report.holds {
        return Ok(());
    }
    let runs = human::count(report.broken.len() as u64, "run");
    let failure = Failure::does_not_hold(format!("{runs} did not hold"));
    Err(match report.broken.first() {
        Some(first) => failure.with_hint(format!("again by: {}", first.replay)),
        None => failure,
    })
}

/// Shows how far it is until the report comes.
async fn followed(
    s: &Session<'_>,
    call: impl Future<
        Output = Result<
            tonic::Response<tonic::Streaming<v1::SimulatePolicyResponse>>,
            tonic::Status,
        >,
    >,
) -> Result<v1::SimulationReport, Failure> {
    let mut stream = s.streaming(call).await?;
    let bar = bar(s);
    let mut report = None;
    while let Some(message) = s.next(&mut stream).await? {
        match message.item {
            Some(Item::Progress(progress)) => {
                if let Some(bar) = &bar.0 {
                    bar.set_position((progress.part.clamp(0.0, 1.0) * BAR_LEN as f64) as u64);
                    bar.set_message(said(&progress));
                }
            }
            Some(Item::Report(last)) => report = Some(last),
            None => {}
        }
    }
    report.ok_or_else(|| Failure::internal("the node ended the stream without a report"))
}

/// `3 of 9 runs, 1.2 s of virtual time, 45000 facts`
fn said(progress: &v1::SimulationProgress) -> String {
    let runs = human::count(progress.runs.into(), "run");
    let time = human::millis((progress.virtual_s * 1000.0) as u64);
    format!("{} of {runs}, {time} of virtual time, {} facts", progress.runs_done, progress.facts)
}

/// A bar that disappears when it is dropped; none where the session draws none.
struct Bar(Option<ProgressBar>);

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn bar(s: &Session<'_>) -> Bar {
    Bar(s.draws_bars().then(|| {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let style = ProgressStyle::with_template("{percent:>3}% {bar:16} {wide_msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::with_draw_target(Some(BAR_LEN), target).with_style(style)
    }))
}

fn request(args: &SimArgs) -> Result<v1::SimulatePolicyRequest, Failure> {
    let (plan, plan_file) = plan(&args.plan)?;
    let mut policies = Vec::new();
    if let Some(policy) = &args.policy {
        policies.push(Given::read(policy)?.with(params(&args.params)?));
    } else if !args.params.set.is_empty() {
        return Err(Failure::usage("--set needs --policy"));
    }
    for policy in &args.compare {
        policies.push(Given::read(policy)?.with(HashMap::new()));
    }
    Ok(v1::SimulatePolicyRequest {
        plan: Some(plan),
        policies,
        seed: Some(args.seed),
        seeds: args.seeds.unwrap_or(0),
        small: args.small,
        picture: args.picture.is_some(),
        plan_file,
    })
}

/// What ends in `.toml` or has a `/` is a file on this side, anything else a name on the node.
fn plan(given: &str) -> Result<(Plan, String), Failure> {
    if given.contains('/') || given.ends_with(".toml") {
        return Ok((Plan::PlanToml(text(Path::new(given), PLAN_LEN_MAX)?), given.to_owned()));
    }
    Ok((Plan::PlanName(given.to_owned()), String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_file_by_its_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        fs::write(&path, "name = 'x'").unwrap();
        let path = path.to_str().unwrap();
        let sent = plan(path).unwrap();
        assert_eq!(sent, (Plan::PlanToml("name = 'x'".to_owned()), path.to_owned()));
        let named = (Plan::PlanName("baseline".to_owned()), String::new());
        assert_eq!(plan("baseline").unwrap(), named);
        assert!(plan("no_such_file.toml").is_err());
    }

    #[test]
    fn progress_is_a_line() {
        let progress = v1::SimulationProgress {
            runs_done: 1,
            runs: 9,
            part: 0.2,
            virtual_s: 12.3,
            facts: 4500,
        };
        assert_eq!(said(&progress), "1 of 9 runs, 12.3 s of virtual time, 4500 facts");
    }
}
