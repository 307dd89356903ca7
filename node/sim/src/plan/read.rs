//! A plan from TOML: which keys there are, what they default to, and what of them fits together.
//! The manual of the keys is `node/sim/plans/README.md`. Never here: units and the words of errors.

use std::{sync::Arc, time::Duration};

use shoal_core::config::{PIECE_LEN_DEFAULT, PIECE_LEN_MAX, PIECE_LEN_MIN, PIECES_MAX};

use super::{
    Between, Class, Expect, Link, Plan, Tracker, Zone,
    error::PlanError,
    limits::{
        CLASSES_MAX, CONTENT_BYTES_MAX, FAULTS_MAX, HOSTS_MAX, INSTANT, LATENCY_MAX, LIMIT_MAX,
        LIMIT_MIN, NUMWANT_MAX, PERIOD_MIN, ZONES_MAX,
    },
    read_class::{self, Defaults},
    read_fault,
    section::{Field, Section},
};

/// The keys at the top of a plan.
pub(super) const PLAN_KEYS: &[&str] = &[
    "name",
    "description",
    "content",
    "piece",
    "limit",
    "link",
    "zone",
    "between",
    "tracker",
    "class",
    "fault",
    "expect",
];
/// The keys of `[link]`, which a class has too.
pub(super) const LINK_KEYS: &[&str] = &["up", "down", "latency", "jitter", "queue"];
/// The keys of `[[zone]]`.
pub(super) const ZONE_KEYS: &[&str] = &["name"];
/// The keys of `[[between]]`.
pub(super) const BETWEEN_KEYS: &[&str] = &["zones", "rate", "latency", "queue"];
/// The keys of `[tracker]`.
pub(super) const TRACKER_KEYS: &[&str] = &["interval", "min_interval", "numwant", "round_trip"];
/// The keys of `[expect]`.
pub(super) const EXPECT_KEYS: &[&str] = &[
    "complete",
    "p99_max",
    "seed_copies_max",
    "across_max",
    "jain_min",
    "waste_max",
    "banned_min",
    "unchoke_spread_max",
];

/// A run ends after an hour, where the plan does not say when.
const LIMIT_DEFAULT: Duration = Duration::from_secs(3600);
/// What waits before a busy link: between the few milliseconds of a managed queue and the tenth of a
/// second and more of a plain one.
const QUEUE_DEFAULT: Duration = Duration::from_millis(50);
/// A link of a cloud's small machine: what it may send is the scarcer.
const LINK_DEFAULT: Link = Link {
    up_bps: 20_000_000,
    down_bps: 100_000_000,
    latency: Duration::from_millis(1),
    jitter: Duration::from_micros(200),
    queue: QUEUE_DEFAULT,
};
/// The tracker's own defaults, and the way to it within a data centre.
const TRACKER_DEFAULT: Tracker = Tracker {
    interval: Duration::from_secs(120),
    min_interval: Duration::from_secs(30),
    numwant_max: 200,
    round_trip: Duration::from_millis(2),
};
/// The zone of plans that name none.
const ZONE_DEFAULT: &str = "main";

impl Plan {
    /// Reads a plan from TOML and checks it. All its keys stand in `node/sim/plans/README.md`.
    ///
    /// # Errors
    ///
    /// [`PlanError`], the first thing that is wrong: the text is too long or no TOML, a key is
    /// unknown or missing, a value is of the wrong kind or out of its range ([`super::limits`]), a
    /// name is taken twice or leads nowhere, a time is beyond the end of the run, or no host has
    /// anything of the content.
    pub fn read(text: &str) -> Result<Self, PlanError> {
        let mut top = Section::parse(text, PLAN_KEYS)?;
        let name = top.need("name", "\"two_zones\"")?.name(&[])?.to_owned();
        let description = top.read("description", |field| field.line())?.unwrap_or_default();
        let (content_bytes, piece_len) = content(&mut top)?;
        let limit = top.read("limit", |field| field.duration(LIMIT_MIN..=LIMIT_MAX))?;
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        let link = link(&mut top.section("link", LINK_KEYS)?, LINK_DEFAULT)?;
        let zones = zones(&mut top)?;
        let between = between(&mut top, &zones)?;
        let tracker = tracker(&mut top.section("tracker", TRACKER_KEYS)?)?;
        let classes = classes(&mut top, &Defaults { link, zones: &zones, limit })?;
        let faults = top.tables("fault", FAULTS_MAX)?;
        let faults = read_fault::faults(faults, &zones, &classes, limit)?;
        if faults.len() > FAULTS_MAX {
            return Err(top.bad("fault", too_many(faults.len(), FAULTS_MAX)));
        }
        let expect = expect(&mut top.section("expect", EXPECT_KEYS)?)?;
        Ok(Self {
            name,
            description,
            content_bytes,
            piece_len,
            limit,
            zones,
            between,
            classes,
            tracker,
            faults,
            expect,
        })
    }

    /// Pieces of the content, 1 to [`PIECES_MAX`].
    #[must_use]
    pub fn pieces(&self) -> u32 {
        let pieces = self.content_bytes.div_ceil(u64::from(self.piece_len.max(1)));
        u32::try_from(pieces).unwrap_or(u32::MAX)
    }

    /// Hosts of all classes.
    #[must_use]
    pub fn hosts(&self) -> u32 {
        self.classes.iter().fold(0, |sum, class| sum.saturating_add(class.count))
    }
}

/// Bytes of the content and of a piece.
fn content(top: &mut Section) -> Result<(u64, u32), PlanError> {
    let field = top.need("content", "\"512MiB\"")?;
    let content_bytes = field.size(1..=CONTENT_BYTES_MAX)?;
    let piece_len = top.read("piece", |field| {
        let bytes = field.size(u64::from(PIECE_LEN_MIN)..=u64::from(PIECE_LEN_MAX))?;
        let piece_len = u32::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two());
        piece_len.ok_or_else(|| {
            field.bad(format!("{bytes} bytes are no power of two; take one such as '512KiB'"))
        })
    })?;
    let piece_len = piece_len.unwrap_or(PIECE_LEN_DEFAULT);
    let pieces = content_bytes.div_ceil(u64::from(piece_len));
    if pieces > u64::from(PIECES_MAX) {
        let problem =
            format!("has {pieces} pieces, and may have {PIECES_MAX}; make 'piece' larger");
        return Err(field.bad(problem));
    }
    Ok((content_bytes, piece_len))
}

/// The keys of a link, in `[link]` or in a class.
pub(super) fn link(section: &mut Section, default: Link) -> Result<Link, PlanError> {
    let rate = |field: Field| field.rate();
    let latency = |field: Field| field.duration(Duration::ZERO..=LATENCY_MAX);
    Ok(Link {
        up_bps: section.read("up", rate)?.unwrap_or(default.up_bps),
        down_bps: section.read("down", rate)?.unwrap_or(default.down_bps),
        latency: section.read("latency", latency)?.unwrap_or(default.latency),
        jitter: section.read("jitter", latency)?.unwrap_or(default.jitter),
        queue: section.read("queue", latency)?.unwrap_or(default.queue),
    })
}

fn zones(top: &mut Section) -> Result<Vec<Zone>, PlanError> {
    let mut zones = Vec::<Zone>::new();
    for (index, table) in top.tables("zone", ZONES_MAX)?.into_iter().enumerate() {
        let mut section = Section::new(format!("zone {}: ", index + 1), table, ZONE_KEYS)?;
        let field = section.need("name", "\"a\"")?;
        let name = Arc::<str>::from(field.name(&['-'])?);
        if zones.iter().any(|zone| zone.name == name) {
            return Err(field.bad(format!("there is a zone '{name}' already; take another name")));
        }
        zones.push(Zone { name });
    }
    if zones.is_empty() {
        zones.push(Zone { name: ZONE_DEFAULT.into() });
    }
    Ok(zones)
}

/// The index of a zone that a part of `field` names.
pub(super) fn zone(field: &Field, name: &str, zones: &[Zone]) -> Result<usize, PlanError> {
    let names = zones.iter().map(|zone| &*zone.name).collect::<Vec<_>>();
    field.index_of(name, "zone", &names)
}

/// Two zones, the smaller index first.
pub(super) fn two_zones(field: &Field, zones: &[Zone]) -> Result<(usize, usize), PlanError> {
    let names = field.texts()?;
    let [a, b] = names[..] else {
        return Err(field.bad(format!("takes two zones, and these are {}", names.len())));
    };
    let (a, b) = (zone(field, a, zones)?, zone(field, b, zones)?);
    if a == b {
        return Err(field.bad("names the same zone twice; take two"));
    }
    Ok((a.min(b), a.max(b)))
}

fn between(top: &mut Section, zones: &[Zone]) -> Result<Vec<Between>, PlanError> {
    let mut all = Vec::<Between>::new();
    let pairs = ZONES_MAX * (ZONES_MAX - 1) / 2;
    for (index, table) in top.tables("between", pairs)?.into_iter().enumerate() {
        let mut section = Section::new(format!("between {}: ", index + 1), table, BETWEEN_KEYS)?;
        let field = section.need("zones", "[\"a\", \"b\"]")?;
        let pair = two_zones(&field, zones)?;
        if all.iter().any(|other| other.zones == pair) {
            return Err(field.bad("these two have a [[between]] already; write one for both ways"));
        }
        let time = |field: Field| field.duration(Duration::ZERO..=LATENCY_MAX);
        let latency = section.read("latency", time)?.unwrap_or_default();
        let queue = section.read("queue", time)?.unwrap_or(QUEUE_DEFAULT);
        let rate_bps = section.read("rate", |field| field.rate())?;
        all.push(Between { zones: pair, rate_bps, latency, queue });
    }
    Ok(all)
}

fn tracker(section: &mut Section) -> Result<Tracker, PlanError> {
    let period = |field: Field| field.duration(PERIOD_MIN..=LIMIT_MAX);
    let default = TRACKER_DEFAULT;
    let interval = section.read("interval", period)?.unwrap_or(default.interval);
    let min_interval = match section.take("min_interval") {
        None => default.min_interval.min(interval),
        Some(field) => {
            let least = field.duration(PERIOD_MIN..=LIMIT_MAX)?;
            if least > interval {
                return Err(field.bad("is longer than 'interval'; make it shorter"));
            }
            least
        }
    };
    let numwant = section.read("numwant", |field| field.whole(1..=NUMWANT_MAX))?;
    let trip = section.read("round_trip", |field| field.duration(Duration::ZERO..=LATENCY_MAX))?;
    Ok(Tracker {
        interval,
        min_interval,
        numwant_max: numwant.unwrap_or(default.numwant_max),
        round_trip: trip.unwrap_or(default.round_trip),
    })
}

fn classes(top: &mut Section, defaults: &Defaults<'_>) -> Result<Vec<Class>, PlanError> {
    let mut classes = Vec::<Class>::new();
    for (index, table) in top.tables("class", CLASSES_MAX)?.into_iter().enumerate() {
        let split = read_class::class(index, table, defaults)?;
        let name = split.first().map(|class| class.name.clone()).unwrap_or_default();
        if classes.iter().any(|class| class.name == name) {
            let problem =
                format!("there is a class '{name}' already; take another name, or give it 'zones'");
            return Err(top.bad("class", problem));
        }
        classes.extend(split);
    }
    if classes.is_empty() {
        return Err(PlanError::Missing {
            place: String::new(),
            key: "class",
            example: "[{ name = \"seed\", count = 1, has = 1 }, …], or lines [[class]]",
        });
    }
    if classes.len() > CLASSES_MAX {
        return Err(top.bad("class", too_many(classes.len(), CLASSES_MAX)));
    }
    let hosts = classes.iter().map(|class| u64::from(class.count)).sum::<u64>();
    if hosts > u64::from(HOSTS_MAX) {
        let problem = format!("have {hosts} hosts together, and may have {HOSTS_MAX}");
        return Err(top.bad("class", problem));
    }
    if classes.iter().all(|class| class.has == 0.0) {
        let problem = "none has anything of the content; give one 'has = 1', and it is a seed";
        return Err(top.bad("class", problem));
    }
    Ok(classes)
}

/// What is said where classes, or their faults, were split into too many.
fn too_many(count: usize, most: usize) -> String {
    format!("what is in several zones counts in each: these are {count}, and there may be {most}")
}

fn expect(section: &mut Section) -> Result<Expect, PlanError> {
    let part = |field: Field| field.part();
    let multiple = |field: Field| field.multiple();
    Ok(Expect {
        complete: Some(section.read("complete", part)?.unwrap_or(1.0)),
        p99_max: section.read("p99_max", |field| field.duration(INSTANT..=LIMIT_MAX))?,
        seed_copies_max: section.read("seed_copies_max", multiple)?,
        across_max: section.read("across_max", multiple)?,
        jain_min: section.read("jain_min", part)?,
        waste_max: section.read("waste_max", part)?,
        banned_min: section.read("banned_min", part)?,
        unchoke_spread_max: section.read("unchoke_spread_max", multiple)?,
    })
}
