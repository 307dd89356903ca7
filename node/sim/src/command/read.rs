//! What the words of a command line mean: plans and policies by name, or from files that a shell
//! reads. Never here: a run.

use std::{collections::BTreeMap, io};

use shoal_policy::budget::SOURCE_LEN_MAX;

use super::{
    Command, CommandError, SEEDS_COMPARED, Size,
    args::{Host, SimArgs},
    carry::{End, Problem, Shell},
    entrant::Entrant,
};
use crate::{
    plan::{Plan, PolicyName, limits::PLAN_LEN_MAX, shipped},
    policy::{self, Policy},
    run::Words,
};

/// The text of the plan that is named.
pub(super) fn plan_text(named: &str, shell: &dyn Shell) -> Result<String, Problem> {
    if is_path(named) {
        return file(named, PLAN_LEN_MAX, shell);
    }
    let Some(text) = shipped::find(named) else {
        let hint = shipped::near(named).map(|name| format!(" — did you mean '{name}'?"));
        let hint =
            hint.unwrap_or_else(|| "; --list shows them, and a file ends in .toml".to_owned());
        return Err(Problem::new(End::NotFound, format!("unknown plan '{named}'{hint}")));
    };
    Ok(text.to_owned())
}

/// What is to be run.
pub(super) fn command(args: &SimArgs, named: &str, shell: &dyn Shell) -> Result<Command, Problem> {
    let text = plan_text(named, shell)?;
    let plan = Plan::read(&text);
    let plan =
        plan.map_err(|error| Problem::new(End::Invalid, format!("plan {named}: {error}")))?;
    let entrants = entrants(args, shell)?;
    let size = if args.small { Size::Small } else { Size::Whole };
    let count = args.seeds.unwrap_or(if entrants.len() > 1 { SEEDS_COMPARED } else { 1 });
    let files = of_classes(&plan, named, shell)?;
    let command = Command::new(&plan, named, size, entrants, (args.seed, count))?;
    let words = words(args.trace, &command)?;
    Ok(command.with_files(files).with_words(words))
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        Self::new(End::Usage, error.to_string())
    }
}

fn words(trace: Option<Host>, command: &Command) -> Result<Words, Problem> {
    let hosts: usize = command.plan().classes.iter().map(|class| class.count as usize).sum();
    match trace {
        None => Ok(Words::None),
        Some(Host::All) => Ok(Words::Of(None)),
        Some(Host::One(host)) if host < hosts => Ok(Words::Of(Some(host))),
        Some(Host::One(host)) => {
            let last = hosts.saturating_sub(1);
            Err(Problem::new(End::Usage, format!("--trace {host}: the hosts are 0 to {last}")))
        }
    }
}

/// `--policy` first, then those to compare.
fn entrants(args: &SimArgs, shell: &dyn Shell) -> Result<Vec<Entrant>, Problem> {
    let mut entrants = Vec::new();
    if let Some(named) = &args.policy {
        let mut params = BTreeMap::new();
        for (key, value) in &args.set {
            if params.insert(key.clone(), value.clone()).is_some() {
                return Err(Problem::new(End::Usage, format!("--set names '{key}' twice")));
            }
        }
        let entrant = entrant(named, shell)?.with(params).map_err(|_| {
            Problem::new(End::Usage, format!("--set: '{named}' is native and takes no parameters"))
        })?;
        entrants.push(entrant);
    }
    for named in &args.compare {
        entrants.push(entrant(named, shell)?);
    }
    if entrants.is_empty() {
        entrants.push(Entrant::default());
    }
    Ok(entrants)
}

/// What is there as a file is read; what is not is a name, unless it can only be a path.
fn entrant(named: &str, shell: &dyn Shell) -> Result<Entrant, Problem> {
    if named.contains('/') || shell.is_file(named) {
        return Ok(Entrant::script(named, &file(named, SOURCE_LEN_MAX, shell)?));
    }
    Entrant::find(named).ok_or_else(|| {
        let hint = policy::hint(named);
        Problem::new(End::NotFound, format!("unknown policy '{named}', and no such file{hint}"))
    })
}

/// The files that the classes of a plan name: beside the plan, or where a path leads from there.
fn of_classes(
    plan: &Plan,
    named: &str,
    shell: &dyn Shell,
) -> Result<BTreeMap<PolicyName, Policy>, Problem> {
    let mut files = BTreeMap::new();
    if !is_path(named) {
        return Ok(files);
    }
    let folder = named.rsplit_once('/').map(|(folder, _)| format!("{folder}/"));
    for name in plan.classes.iter().filter_map(|class| class.policy.as_ref()) {
        let path = match &folder {
            Some(folder) if !name.0.starts_with('/') => format!("{folder}{}", name.0),
            Some(_) | None => name.0.clone(),
        };
        if name.0.contains('/') || shell.is_file(&path) {
            let source = file(&path, SOURCE_LEN_MAX, shell)?;
            files.insert(name.clone(), Entrant::script(&path, &source).policy);
        }
    }
    Ok(files)
}

fn is_path(named: &str) -> bool {
    named.contains('/') || named.ends_with(".toml")
}

fn file(path: &str, len_max: usize, shell: &dyn Shell) -> Result<String, Problem> {
    let bytes = shell.read(path, len_max + 1).map_err(|error| Problem::file(path, &error))?;
    if bytes.len() > len_max {
        let text = format!("{path}: has more than {len_max} bytes");
        return Err(Problem::new(End::Invalid, text));
    }
    let text = String::from_utf8(bytes);
    text.map_err(|_| Problem::new(End::Invalid, format!("{path}: is not UTF-8")))
}

impl Problem {
    /// Of a file.
    pub(super) fn file(path: &str, error: &io::Error) -> Self {
        let end = match error.kind() == io::ErrorKind::NotFound {
            true => End::NotFound,
            false if error.kind() == io::ErrorKind::PermissionDenied => End::NotAllowed,
            false => End::Internal,
        };
        Self::new(end, format!("{path}: {error}"))
    }
}
