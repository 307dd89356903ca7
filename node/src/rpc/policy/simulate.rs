//! `SimulatePolicy`: what a request asks of the simulator, how far it is, what came of it. The work
//! is the caller's: it ends with the stream. Never here: a run.

use std::time::{Duration, SystemTime};

use shoal::{
    client::REPLY_LEN_MAX,
    v1::{self as api, simulate_policy_request::Plan as Asked, simulate_policy_response::Item},
};
use shoal_core::policy::native::Native;
use shoal_policy::failure::Diagnostics;
use shoal_sim::{
    command::{Command, CommandError, SEEDS_COMPARED, Size, entrant::Entrant},
    plan::{Plan, PlanError, shipped},
    report::{Broken, Report, metric::Metric, summary::Summary},
    run::SetupError,
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::choose;
use crate::{
    policy_host::{PolicyChoice, PolicyRefusal, script::issue},
    rpc::{
        context::Context,
        follow::{REPLIES_MAX, Replies},
        status::{Reason, Refusal},
    },
    simulation::place::{Failed, PlaceError, Working},
};

/// The most seeds of a call.
const SEEDS_MAX: u32 = 64;
/// The most policies of a call.
const POLICIES_MAX: usize = 8;
/// The largest run, [`cells`]: some 250 MiB, measured.
const CELLS_MAX: u64 = 200_000;
/// What a host costs beside its pieces, in pieces: sessions, connections.
const HOST_CELLS: u64 = 256;
/// The most hosts of all runs together: each is a row of the JSON document, some 120 bytes.
const ROWS_MAX: u64 = 65_536;
/// The longest name of a plan's file, bytes.
const NAME_LEN_MAX: usize = 255;
/// The longest parameters of a policy together, bytes: they are in its name.
const PARAMS_LEN_MAX: usize = 4096;
/// What a plan is called that nobody named.
const PLAN_NAME: &str = "plan.toml";
/// What names a native policy and nothing else.
const NATIVE: &str = "native:";
/// Least time between two messages of progress: four a second.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// The most runs that are told to be broken.
const BROKEN_MAX: usize = 64;

type Sender = mpsc::Sender<Result<api::SimulatePolicyResponse, Status>>;

/// Begins, or says why not.
pub(super) fn begin(
    this: &Context,
    request: Request<api::SimulatePolicyRequest>,
) -> Result<Replies<api::SimulatePolicyResponse>, Refusal> {
    let limit = limit(&request);
    let request = request.into_inner();
    let picture = request.picture;
    let command = command(request)?;
    let working = this.simulations.begin(&command, threads(&command))?;
    let (replies, stream) = mpsc::channel(REPLIES_MAX);
    let this = this.clone();
    tokio::spawn(async move {
        let ended = tokio::select! {
            biased;
            // Nobody reads any more: what works is dropped.
            () = replies.closed() => return,
            () = this.ending.cancelled() => {
                Err(Refusal::new(Reason::ShuttingDown, "the node is shutting down"))
            }
            () = until(limit) => {
                Err(Refusal::new(Reason::DeadlineExceeded, "the time of the call is up"))
            }
            ended = follow(working, command, picture, &replies) => ended,
        };
        if let Err(refusal) = ended {
            // A reader that is gone misses it.
            let _ = replies.send(Err(refusal.into())).await;
        }
    });
    Ok(ReceiverStream::new(stream))
}

/// Tells how far it is, then what came of it.
async fn follow(
    mut working: Working,
    command: Command,
    picture: bool,
    replies: &Sender,
) -> Result<(), Refusal> {
    let gone = |_| Refusal::internal("the caller went away");
    let mut ticks = interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcomes = loop {
        tokio::select! {
            biased;
            outcomes = working.ended() => break outcomes?,
            _ = ticks.tick() => {
                let item = Item::Progress(progress(&working));
                // A slow reader hears less of it.
                let _ = replies.try_send(Ok(api::SimulatePolicyResponse { item: Some(item) }));
            }
        }
    };
    let last = Item::Progress(progress(&working));
    drop(working);
    let told =
        tokio::task::spawn_blocking(move || report(&command.report(outcomes), picture)).await;
    let told = told.map_err(|error| Refusal::internal(error.to_string()))?;
    if prost::Message::encoded_len(&told) > REPLY_LEN_MAX {
        let message = "the report is too large for a reply; fewer seeds, or `shoald sim`";
        return Err(Refusal::new(Reason::ReplyTooLarge, message));
    }
    for item in [last, Item::Report(told)] {
        replies.send(Ok(api::SimulatePolicyResponse { item: Some(item) })).await.map_err(gone)?;
    }
    Ok(())
}

fn progress(working: &Working) -> api::SimulationProgress {
    let shown = working.shown();
    api::SimulationProgress {
        runs_done: u32::try_from(shown.done).unwrap_or(u32::MAX),
        runs: u32::try_from(shown.runs).unwrap_or(u32::MAX),
        part: shown.part,
        virtual_s: shown.virtual_time.as_secs_f64(),
        facts: shown.facts,
    }
}

fn report(report: &Report<'_>, picture: bool) -> api::SimulationReport {
    let policy = |(name, summary): (&str, &Summary)| policy(name, summary);
    api::SimulationReport {
        holds: report.holds(),
        table: report.table(),
        json: format!("{}\n", report.json()),
        picture_svg: if picture { report.picture() } else { String::new() },
        policies: report.summaries().map(policy).collect(),
        broken: report.broken().take(BROKEN_MAX).map(broken).collect(),
    }
}

fn policy(name: &str, summary: &Summary) -> api::SimulatedPolicy {
    let of = |metric: Metric| summary.metrics.get(&metric).map(|spread| spread.median);
    api::SimulatedPolicy {
        name: name.to_owned(),
        runs: u32::try_from(summary.runs).unwrap_or(u32::MAX),
        complete: of(Metric::Complete),
        incomplete: of(Metric::Incomplete),
        p50_s: of(Metric::P50),
        p90_s: of(Metric::P90),
        p99_s: of(Metric::P99),
        max_s: of(Metric::Max),
        seed_copies: of(Metric::SeedCopies),
        across_copies: of(Metric::Across),
        jain_index: of(Metric::Jain),
        waste_part: of(Metric::Waste),
    }
}

fn broken(run: Broken<'_>) -> api::BrokenRun {
    api::BrokenRun {
        policy: run.policy.to_owned(),
        seed: run.seed,
        what: run.what.to_owned(),
        replay: run.replay.to_owned(),
    }
}

/// What is asked for, within what a node does for its callers.
fn command(request: api::SimulatePolicyRequest) -> Result<Command, Refusal> {
    let (text, words) = plan_text(request.plan, request.plan_file)?;
    let plan = Plan::read(&text)?;
    let size = if request.small { Size::Small } else { Size::Whole };
    let entrants = entrants(request.policies)?;
    let seeds = match request.seeds {
        0 if entrants.len() > 1 => SEEDS_COMPARED,
        0 => 1,
        seeds @ 1..=SEEDS_MAX => seeds,
        seeds => return Err(Refusal::field("seeds", format!("{seeds} is not 1-{SEEDS_MAX}"))),
    };
    let command = Command::new(&plan, &words, size, entrants, (request.seed.unwrap_or(1), seeds))?;
    fits(&command, &words)?;
    Ok(command)
}

/// The text of a plan, and what commands call it.
fn plan_text(asked: Option<Asked>, file: String) -> Result<(String, String), Refusal> {
    match asked {
        None => Err(Refusal::field("plan", "is missing: plan_name or plan_toml")),
        Some(Asked::PlanName(name)) => {
            let Some(text) = shipped::find(&name) else {
                let near = shipped::near(&name);
                let names: Vec<_> = shipped::all().map(|(name, _)| name).collect();
                let hint = near.map_or_else(
                    || format!("; there are {}", names.join(", ")),
                    |near| format!("; did you mean '{near}'?"),
                );
                let refusal = Refusal::new(Reason::UnknownPlan, format!("no plan '{name}'{hint}"));
                return Err(refusal.with("plan", name).with_some("suggestion", near));
            };
            Ok((text.to_owned(), name))
        }
        Some(Asked::PlanToml(text)) => {
            if file.len() > NAME_LEN_MAX || file.chars().any(char::is_control) {
                let fault =
                    format!("is longer than {NAME_LEN_MAX} bytes or has control characters");
                return Err(Refusal::field("plan_file", fault));
            }
            Ok((text, if file.is_empty() { PLAN_NAME.to_owned() } else { file }))
        }
    }
}

fn entrants(policies: Vec<api::PolicySource>) -> Result<Vec<Entrant>, Refusal> {
    if policies.is_empty() {
        return Ok(vec![Entrant::default()]);
    }
    if policies.len() > POLICIES_MAX {
        let fault = format!("{} policies, above {POLICIES_MAX}", policies.len());
        return Err(Refusal::field("policies", fault));
    }
    policies.into_iter().map(entrant).collect()
}

fn entrant(mut policy: api::PolicySource) -> Result<Entrant, Refusal> {
    use api::policy_source::Policy;
    let len: usize = policy.params.iter().map(|(key, value)| key.len() + value.len()).sum();
    if len > PARAMS_LEN_MAX {
        let fault = format!("{len} bytes of parameters, above {PARAMS_LEN_MAX}");
        return Err(Refusal::field("policies.params", fault));
    }
    if let Some(Policy::Name(name)) = &mut policy.policy
        && let Some(native) = name.strip_prefix(NATIVE)
        && native.parse::<Native>().is_ok()
    {
        *name = native.to_owned();
    }
    match choose::of_source(Some(policy))? {
        PolicyChoice::Native(native) => Ok(Entrant::native(native)),
        PolicyChoice::Script(script) => {
            let taken = Entrant::script(&script.name, &script.source).with(script.params);
            taken.map_err(|_| Refusal::internal("a script was taken for a native"))
        }
    }
}

/// What a run costs in memory: pieces of all hosts, and the hosts.
fn cells(command: &Command) -> u64 {
    let plan = command.plan();
    let pieces = plan.content_bytes.div_ceil(u64::from(plan.piece_len.max(1)));
    hosts(command).saturating_mul(pieces.saturating_add(HOST_CELLS))
}

fn hosts(command: &Command) -> u64 {
    command.plan().classes.iter().map(|class| u64::from(class.count)).sum()
}

/// Runs at a time: as many as two of the largest would take.
fn threads(command: &Command) -> usize {
    usize::try_from(2 * CELLS_MAX / cells(command).max(1)).unwrap_or(usize::MAX)
}

fn fits(command: &Command, words: &str) -> Result<(), Refusal> {
    let (cells, hosts) = (cells(command), hosts(command));
    if cells > CELLS_MAX {
        let message = format!(
            "plan '{words}' is too large for a node: hosts times (pieces + {HOST_CELLS}) is \
             {cells}, above {CELLS_MAX}; make it small, or use `shoald sim`"
        );
        let refusal = Refusal::new(Reason::PlanTooLarge, message);
        return Err(refusal.with("size", cells).with("limit", CELLS_MAX));
    }
    let rows = hosts.saturating_mul(command.runs() as u64);
    if rows > ROWS_MAX {
        let message = format!(
            "{} runs of {hosts} hosts are too many for a reply: {rows} hosts, above {ROWS_MAX}; \
             ask for fewer seeds, or use `shoald sim`",
            command.runs()
        );
        let refusal = Refusal::new(Reason::PlanTooLarge, message);
        return Err(refusal.with("size", rows).with("limit", ROWS_MAX));
    }
    Ok(())
}

/// The time that a caller gives, `grpc-timeout`: 1 to 8 digits and a unit. tonic heeds it until a
/// stream begins, and its clients no longer.
fn limit<T>(request: &Request<T>) -> Option<Duration> {
    let text = request.metadata().get("grpc-timeout")?.to_str().ok()?;
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = Some(count).filter(|count| count.len() <= 8)?.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

async fn until(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

impl From<PlaceError> for Refusal {
    fn from(error: PlaceError) -> Self {
        let message = error.to_string();
        match error {
            PlaceError::Busy => Self::new(Reason::SimulationRunning, message),
            PlaceError::Thread(_) => Self::internal(message),
        }
    }
}

impl From<PlanError> for Refusal {
    fn from(error: PlanError) -> Self {
        Self::new(Reason::BadPlan, format!("plan: {error}")).with("cause", error)
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Seeds { .. } => Self::field("seed", error.to_string()),
            CommandError::Twice(_) => Self::field("policies", error.to_string()),
        }
    }
}

impl From<Failed> for Refusal {
    fn from(error: Failed) -> Self {
        match error {
            Failed::Setup(SetupError::Script(diagnostics)) => policy_refusal(&diagnostics).into(),
            Failed::Setup(error @ SetupError::UnknownPolicy { .. }) => {
                Self::new(Reason::BadPlan, format!("plan: {error}")).with("cause", error)
            }
            Failed::Lost => Self::internal(error.to_string()),
        }
    }
}

fn policy_refusal(diagnostics: &Diagnostics) -> PolicyRefusal {
    let at = SystemTime::now();
    let errors = diagnostics.errors.iter().map(|failure| issue(failure, at)).collect();
    PolicyRefusal { errors, report: diagnostics.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(plan: Asked) -> api::SimulatePolicyRequest {
        api::SimulatePolicyRequest { plan: Some(plan), ..Default::default() }
    }

    fn named(name: &str) -> api::SimulatePolicyRequest {
        request(Asked::PlanName(name.to_owned()))
    }

    fn policies(names: &[&str]) -> Vec<api::PolicySource> {
        let name = |name: &&str| Some(api::policy_source::Policy::Name((*name).to_owned()));
        let source = |it| api::PolicySource { policy: name(it), ..Default::default() };
        names.iter().map(source).collect()
    }

    fn of_hosts(leechers: u64) -> api::SimulatePolicyRequest {
        request(Asked::PlanToml(format!(
            "name = 'x'\ncontent = '64MiB'\npiece = '256KiB'\n[[class]]\nname = 's'\ncount = 1\n\
             has = 1\n[[class]]\nname = 'l'\ncount = {leechers}\n"
        )))
    }

    #[test]
    fn a_request_without_much_has_defaults() {
        assert_eq!(command(named("flash_crowd")).unwrap().runs(), 1);
        let compared = policies(&["native:fastest", "fastest.lua", "random"]);
        let request = api::SimulatePolicyRequest { policies: compared, ..named("baseline") };
        assert_eq!(command(request).unwrap().runs(), 27);
    }

    #[test]
    fn what_is_asked_has_limits() {
        let seeds = |seeds| command(api::SimulatePolicyRequest { seeds, ..named("baseline") });
        assert!(seeds(SEEDS_MAX - 1).is_ok() && seeds(SEEDS_MAX).is_ok());
        assert_eq!(seeds(SEEDS_MAX + 1).unwrap_err().field.unwrap().0, "seeds");
        let many = ["fastest"; POLICIES_MAX + 1];
        let request = api::SimulatePolicyRequest { policies: policies(&many), ..named("baseline") };
        assert_eq!(command(request).unwrap_err().field.unwrap().0, "policies");
        // 390 hosts of 512 cells each.
        assert!(command(of_hosts(388)).is_ok() && command(of_hosts(389)).is_ok());
        let refusal = command(of_hosts(390)).unwrap_err();
        assert_eq!(refusal.reason, Reason::PlanTooLarge);
        assert!(refusal.message.contains("shoald sim"), "{}", refusal.message);
        let rows = |seeds| {
            let policies = policies(&["fastest", "random", "round_robin"]);
            command(api::SimulatePolicyRequest { policies, seeds, ..of_hosts(380) })
        };
        assert!(rows(57).is_ok());
        assert_eq!(rows(58).unwrap_err().reason, Reason::PlanTooLarge);
    }

    #[test]
    fn parameters_have_a_limit() {
        let of = |len: usize| {
            let mut asked = policies(&["zone_aware"]);
            asked[0].params = [("zone".to_owned(), "b".repeat(len - "zone".len()))].into();
            entrants(asked).map(|_| ()).map_err(|refusal| refusal.field.unwrap().0)
        };
        assert_eq!(of(PARAMS_LEN_MAX - 1), Ok(()));
        assert_eq!(of(PARAMS_LEN_MAX), Ok(()));
        assert_eq!(of(PARAMS_LEN_MAX + 1), Err("policies.params"));
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is_near() {
        let refusal = command(named("flash_croud")).unwrap_err();
        assert_eq!(refusal.reason, Reason::UnknownPlan);
        assert_eq!(refusal.metadata["suggestion"], "flash_crowd");
        let policies = policies(&["native:zone_aware"]);
        let request = api::SimulatePolicyRequest { policies, ..named("baseline") };
        assert_eq!(command(request).unwrap_err().reason, Reason::UnknownPolicy);
        let plan = "name = 'x'\ncontent = = 1\n".to_owned();
        let refusal = command(request_of(plan)).unwrap_err();
        assert_eq!(refusal.reason, Reason::BadPlan);
        assert!(refusal.message.contains("line 2"), "{}", refusal.message);
    }

    fn request_of(plan: String) -> api::SimulatePolicyRequest {
        request(Asked::PlanToml(plan))
    }

    #[test]
    fn the_time_of_a_caller_is_read() {
        let read = |text: &'static str| {
            let mut request = Request::new(());
            request.metadata_mut().insert("grpc-timeout", text.parse().unwrap());
            limit(&request)
        };
        assert_eq!(read("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "5", "m", "123456789m", "5x"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(limit(&Request::new(())), None);
    }

    #[test]
    fn a_policy_is_called_by_what_it_is() {
        let params = std::collections::HashMap::from([("zone".to_owned(), "b".to_owned())]);
        let mut asked = policies(&["zone_aware", "native:fastest"]);
        asked[0].params = params;
        let names: Vec<_> = entrants(asked).unwrap().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["zone_aware.lua (zone=b)", "native:fastest"]);
    }
}
