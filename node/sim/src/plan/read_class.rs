//! A class of a plan: its hosts, and how each choice of words is read. Never here: what classes
//! have to do with each other.

use std::{sync::Arc, time::Duration};

use shoal_core::{
    config::{Config, Unchoke},
    policy::native::Native,
};
use toml::{Table, Value};

use super::{
    Arrival, Class, Conduct, Link, PolicyName, Stay, Zone,
    error::PlanError,
    limits::{CONNECTIONS_MAX, HOSTS_MAX, INSTANT, LIMIT_MAX, PERIOD_MIN},
    read,
    section::{Field, Section},
};

/// The keys of `[[class]]`.
pub(super) const CLASS_KEYS: &[&str] = &[
    "name",
    "count",
    "zone",
    "zones",
    "up",
    "down",
    "latency",
    "jitter",
    "queue",
    "has",
    "arrive",
    "stay",
    "policy",
    "unchoke",
    "connections",
    "disk",
    "conduct",
];
/// The keys of `arrive = { … }`.
pub(super) const ARRIVE_KEYS: &[&str] = &["from", "over", "every"];
/// The keys of `stay = { … }`.
pub(super) const STAY_KEYS: &[&str] = &["after_complete", "about"];
/// What `conduct` may be as a text, and then with a value; an error lists both.
pub(super) const CONDUCTS: &[&str] =
    &["honest", "free_rider", "liar", "corrupter", "slow_loris", "flapper"];
/// How many of [`CONDUCTS`] stand for themselves.
const PLAIN_CONDUCTS: usize = 3;

/// What disks verify and write unless a class says otherwise, bytes a second: an NVMe disk, or one
/// core that hashes SHA-1.
const DISK_BPS_DEFAULT: u64 = 1_000_000_000;

/// What a class is read with.
pub(super) struct Defaults<'a> {
    /// The link of hosts whose class names none.
    pub(super) link: Link,
    /// Where hosts may be.
    pub(super) zones: &'a [Zone],
    /// When the run ends: nobody comes after that.
    pub(super) limit: Duration,
}

/// Reads a class: one for each of its zones, alike but for the zone and the count.
pub(super) fn class(
    index: usize,
    table: Table,
    defaults: &Defaults<'_>,
) -> Result<Vec<Class>, PlanError> {
    let place = match table.get("name").and_then(Value::as_str) {
        Some(name) => format!("class {}: ", super::value::quoted(name)),
        None => format!("class {}: ", index + 1),
    };
    let mut section = Section::new(place, table, CLASS_KEYS)?;
    let name = Arc::<str>::from(section.need("name", "\"leecher\"")?.name(&[])?);
    let count = section.need("count", "100")?;
    let zones = zones(&mut section, defaults.zones)?;
    let each = counts(&count, zones.len())?;
    let link = read::link(&mut section, defaults.link)?;
    let has = section.read("has", |field| field.part())?.unwrap_or(0.0);
    let arrival = section.read("arrive", |field| arrival(field, defaults.limit))?;
    let stay = section.read("stay", stay)?.unwrap_or(Stay::Forever);
    let policy = section.read("policy", |field| policy(&field))?;
    let unchoke = section.read("unchoke", |field| unchoke(&field))?.unwrap_or(Unchoke::All);
    let connections_max = section
        .read("connections", |field| field.whole(1..=CONNECTIONS_MAX).map(|most| most as usize))?;
    let disk_bps = section.read("disk", |field| field.rate())?;
    let conduct = section.read("conduct", conduct)?.unwrap_or(Conduct::Honest);
    let class = |(&zone, count): (&usize, u32)| Class {
        name: name.clone(),
        count,
        zone,
        link,
        has,
        arrival: arrival.unwrap_or(Arrival::At(Duration::ZERO)),
        stay,
        policy: policy.clone(),
        unchoke,
        connections_max: connections_max
            .unwrap_or_else(|| Config::default().connections_per_torrent_max),
        disk_bps: disk_bps.unwrap_or(DISK_BPS_DEFAULT),
        conduct,
    };
    Ok(zones.iter().zip(each).map(class).collect())
}

/// The zones of a class; never empty, none twice.
fn zones(section: &mut Section, known: &[Zone]) -> Result<Vec<usize>, PlanError> {
    if section.has("zone") && section.has("zones") {
        return Err(section.bad("zones", "and 'zone' exclude each other; leave one out"));
    }
    if let Some(field) = section.take("zones") {
        let names = field.texts()?;
        let mut zones = Vec::new();
        for name in names {
            let zone = read::zone(&field, name, known)?;
            if zones.contains(&zone) {
                return Err(field.bad(format!("names '{name}' twice; leave one out")));
            }
            zones.push(zone);
        }
        return match zones.is_empty() {
            true => Err(field.bad("is empty; name one zone or more")),
            false => Ok(zones),
        };
    }
    match section.take("zone") {
        Some(field) => Ok(vec![read::zone(&field, field.text()?, known)?]),
        None if known.len() == 1 => Ok(vec![0]),
        None => {
            Err(section.bad("zone", "is missing, and the plan has several; name one, or 'zones'"))
        }
    }
}

/// The hosts of each of so many zones: as even as may be, the first have one more.
fn counts(field: &Field, zones: usize) -> Result<Vec<u32>, PlanError> {
    let count = field.whole(1..=HOSTS_MAX)?;
    let zones = u32::try_from(zones).unwrap_or(u32::MAX);
    if count < zones {
        return Err(field.bad(format!("{count} hosts are too few for {zones} zones")));
    }
    Ok(shares(count, zones).collect())
}

/// So many things for so many places: as even as may be, the first get one more.
pub(super) fn shares(things: u32, places: u32) -> impl Iterator<Item = u32> {
    let (each, rest) = (things / places.max(1), things % places.max(1));
    (0..places).map(move |place| each + u32::from(place < rest))
}

fn arrival(field: Field, limit: Duration) -> Result<Arrival, PlanError> {
    if !field.is_table() {
        return Ok(Arrival::At(field.duration(Duration::ZERO..=limit)?));
    }
    let mut section = field.section(ARRIVE_KEYS)?;
    let from = section.read("from", |field| field.duration(Duration::ZERO..=limit))?;
    let from = from.unwrap_or_default();
    let over = section.read("over", |field| {
        let over = field.duration(INSTANT..=limit)?;
        match from.saturating_add(over) > limit {
            true => Err(field.bad("ends after the 'limit' of the plan; make it shorter")),
            false => Ok(over),
        }
    })?;
    let every = section.read("every", |field| field.duration(INSTANT..=limit))?;
    match (over, every) {
        (Some(over), None) => Ok(Arrival::Over(from, over)),
        (None, Some(every)) => Ok(Arrival::Every(from, every)),
        (None, None) => {
            Err(section.bad("over", "is missing; give 'over', or 'every', such as '10s'"))
        }
        (Some(_), Some(_)) => {
            Err(section.bad("every", "and 'over' exclude each other; leave one out"))
        }
    }
}

fn stay(field: Field) -> Result<Stay, PlanError> {
    if !field.is_table() {
        if field.text()? == "forever" {
            return Ok(Stay::Forever);
        }
        return Err(
            field.bad("is \"forever\", { after_complete = \"30s\" } or { about = \"60s\" }")
        );
    }
    let mut section = field.section(STAY_KEYS)?;
    let after =
        section.read("after_complete", |field| field.duration(Duration::ZERO..=LIMIT_MAX))?;
    let about = section.read("about", |field| field.duration(INSTANT..=LIMIT_MAX))?;
    match (after, about) {
        (Some(after), None) => Ok(Stay::AfterComplete(after)),
        (None, Some(about)) => Ok(Stay::ForAbout(about)),
        (None, None) => {
            Err(section
                .bad("about", "is missing; give 'about', or 'after_complete', such as '60s'"))
        }
        (Some(_), Some(_)) => {
            Err(section.bad("about", "and 'after_complete' exclude each other; leave one out"))
        }
    }
}

/// A policy's name; what claims to be native has to be one.
fn policy(field: &Field) -> Result<PolicyName, PlanError> {
    let name = field.line()?;
    if name.trim().is_empty() {
        return Err(field.bad("is empty; name one such as \"lowest_uploaded\", or leave it out"));
    }
    if let Some(native) = name.strip_prefix("native:") {
        let names = Native::ALL.map(Native::name);
        field.index_of(native, "native policy", &names)?;
    }
    Ok(PolicyName(name))
}

fn unchoke(field: &Field) -> Result<Unchoke, PlanError> {
    if !field.is_text() {
        return Ok(Unchoke::Slots(field.whole(1..=CONNECTIONS_MAX)?));
    }
    match field.text()? {
        "all" => Ok(Unchoke::All),
        _ => Err(field.bad("is \"all\", or of how many peers at once the requests are served")),
    }
}

fn conduct(field: Field) -> Result<Conduct, PlanError> {
    if field.is_table() {
        return conduct_with_value(field.section(&CONDUCTS[PLAIN_CONDUCTS..])?);
    }
    let index = field.one_of("conduct", CONDUCTS)?;
    match CONDUCTS[index] {
        "honest" => Ok(Conduct::Honest),
        "free_rider" => Ok(Conduct::FreeRider),
        "liar" => Ok(Conduct::Liar),
        "corrupter" => Err(field.bad("says how much: { corrupter = 0.1 }, a part of the blocks")),
        "slow_loris" => Err(field.bad("says how slow: { slow_loris = \"1KiB/s\" }")),
        _ => Err(field.bad("says how long a connection lasts: { flapper = \"5s\" }")),
    }
}

fn conduct_with_value(mut section: Section) -> Result<Conduct, PlanError> {
    let conducts = [
        section.read("corrupter", |field| field.part().map(Conduct::Corrupter))?,
        section.read("slow_loris", |field| field.rate().map(Conduct::SlowLoris))?,
        section.read("flapper", |field| {
            field.duration(PERIOD_MIN..=LIMIT_MAX).map(Conduct::Flapper)
        })?,
    ];
    let mut given = conducts.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(conduct), None) => Ok(conduct),
        (None, _) => Err(section.bad("corrupter", "is missing; name one conduct, with its value")),
        (Some(_), Some(_)) => Err(section.bad("corrupter", "a host has one conduct; name one")),
    }
}
