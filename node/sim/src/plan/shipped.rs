//! The plans that come with shoal, embedded. Their sources stand in `node/sim/plans/`, each under a
//! comment that says what it shows.

use super::value;

/// The shipped plans, name and text, in order of name.
const SHIPPED: [(&str, &str); 13] = [
    ("baseline", include_str!("../../plans/baseline.toml")),
    ("corrupters", include_str!("../../plans/corrupters.toml")),
    ("disk_full", include_str!("../../plans/disk_full.toml")),
    ("flash_crowd", include_str!("../../plans/flash_crowd.toml")),
    ("free_riders", include_str!("../../plans/free_riders.toml")),
    ("heterogeneous", include_str!("../../plans/heterogeneous.toml")),
    ("partition", include_str!("../../plans/partition.toml")),
    ("thousands", include_str!("../../plans/thousands.toml")),
    ("tracker_outage", include_str!("../../plans/tracker_outage.toml")),
    ("truth_crowd", include_str!("../../plans/truth_crowd.toml")),
    ("truth_ladder", include_str!("../../plans/truth_ladder.toml")),
    ("truth_zones", include_str!("../../plans/truth_zones.toml")),
    ("two_zones", include_str!("../../plans/two_zones.toml")),
];

/// The text of the shipped plan of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    all().find(|(shipped, _)| *shipped == name).map(|(_, text)| text)
}

/// All shipped plans, name and text, in order of name.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    SHIPPED.into_iter()
}

/// The name of a shipped plan that is nearly this.
#[must_use]
pub fn near(named: &str) -> Option<&'static str> {
    value::near(named, all().map(|(name, _)| name))
}
