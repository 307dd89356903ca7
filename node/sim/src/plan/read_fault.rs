//! A fault of a plan. Never here: what it does to a host.

use std::time::Duration;

use toml::{Table, Value};

use super::{
    Class, Fault, FaultKind, Zone, error::PlanError, read::two_zones, read_class::shares,
    section::Section, value,
};

/// The keys of every fault.
const COMMON: [&str; 3] = ["kind", "at", "until"];
/// Kinds of faults, and the keys that each has beside [`COMMON`].
pub(super) const KINDS: &[(&str, &[&str])] = &[
    ("tracker_outage", &[]),
    ("cut", &["zones"]),
    ("disk_full", &["class", "hosts"]),
    ("slow_disk", &["class", "hosts", "rate"]),
    ("crash", &["class", "hosts"]),
    ("bad_memory", &["class", "hosts", "part"]),
];
/// Every key of `[[fault]]`, as the manual lists them.
#[cfg(test)]
pub(super) const FAULT_KEYS: &[&str] =
    &["kind", "at", "until", "zones", "class", "hosts", "rate", "part"];

/// Reads all faults, in the order of the file; one that befalls a class of several zones becomes
/// one for each, with its share of the hosts.
pub(super) fn faults(
    tables: Vec<Table>,
    zones: &[Zone],
    classes: &[Class],
    limit: Duration,
) -> Result<Vec<Fault>, PlanError> {
    let mut faults = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let (mut section, kind) = begin(index + 1, table)?;
        let at = section.need("at", "\"30s\"")?.duration(Duration::ZERO..=limit)?;
        let until = section.read("until", |field| {
            let until = field.duration(Duration::ZERO..=limit)?;
            match until > at {
                true => Ok(until),
                false => Err(field.bad("is not after 'at'; make it later, or leave it out: never")),
            }
        })?;
        let kinds = kinds(&mut section, kind, zones, classes)?;
        faults.extend(kinds.into_iter().map(|kind| Fault { at, until, kind }));
    }
    Ok(faults)
}

/// The table, whose keys are those of its kind; and that, an index into [`KINDS`].
fn begin(number: usize, table: Table) -> Result<(Section, usize), PlanError> {
    let name = table.get("kind").and_then(Value::as_str);
    let place = match name {
        Some(name) => format!("fault {number} ({}): ", value::quoted(name)),
        None => format!("fault {number}: "),
    };
    let mut section = Section::of_any_keys(place, table);
    let names = KINDS.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
    let kind = section.need("kind", "\"crash\"")?.one_of("kind of fault", &names)?;
    section.check(&COMMON.iter().chain(KINDS[kind].1).copied().collect::<Vec<_>>())?;
    Ok((section, kind))
}

/// What goes wrong: one thing, or for a class of several zones one for each.
fn kinds(
    section: &mut Section,
    kind: usize,
    zones: &[Zone],
    classes: &[Class],
) -> Result<Vec<FaultKind>, PlanError> {
    let name = KINDS[kind].0;
    if name == "tracker_outage" {
        return Ok(vec![FaultKind::TrackerOutage]);
    }
    if name == "cut" {
        let (a, b) = two_zones(&section.need("zones", "[\"a\", \"b\"]")?, zones)?;
        return Ok(vec![FaultKind::Cut(a, b)]);
    }
    let hosts = hosts(section, classes)?;
    let each = |kind: &dyn Fn(usize, u32) -> FaultKind| {
        Ok(hosts.iter().map(|&(class, hosts)| kind(class, hosts)).collect())
    };
    match name {
        "disk_full" => each(&FaultKind::DiskFull),
        "slow_disk" => {
            let rate = section.need("rate", "\"1MB/s\"")?.rate()?;
            each(&|class, hosts| FaultKind::SlowDisk(class, hosts, rate))
        }
        "crash" => each(&FaultKind::Crash),
        _ => {
            let part = section.need("part", "0.1")?.part()?;
            each(&|class, hosts| FaultKind::BadMemory(class, hosts, part))
        }
    }
}

/// Whom it befalls: indexes of classes, and so many hosts of each; all where the fault does not
/// say how many.
fn hosts(section: &mut Section, classes: &[Class]) -> Result<Vec<(usize, u32)>, PlanError> {
    let field = section.need("class", "\"leecher\"")?;
    let mut names = classes.iter().map(|class| &*class.name).collect::<Vec<_>>();
    names.dedup();
    let name = names[field.one_of("class", &names)?];
    let parts =
        (0..classes.len()).filter(|&index| *classes[index].name == *name).collect::<Vec<_>>();
    let count = parts.iter().fold(0_u32, |sum, &index| sum.saturating_add(classes[index].count));
    let hosts = section.read("hosts", |field| {
        let hosts = field.whole(1..=u32::MAX)?;
        match hosts <= count {
            true => Ok(hosts),
            false => Err(field.bad(format!("class '{name}' has no more than {count}"))),
        }
    })?;
    let shares = shares(hosts.unwrap_or(count), u32::try_from(parts.len()).unwrap_or(u32::MAX));
    Ok(parts.into_iter().zip(shares).filter(|(_, hosts)| *hosts > 0).collect())
}
