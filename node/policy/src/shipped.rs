//! The scripts that come with the node, embedded. Their sources stand in `scripts/`.

/// The shipped scripts, name and source, in order of name.
#[must_use]
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    &[
        ("cost_deadline", include_str!("../../../scripts/cost_deadline.lua")),
        ("fastest", include_str!("../../../scripts/fastest.lua")),
        ("lowest_uploaded", include_str!("../../../scripts/lowest_uploaded.lua")),
        ("rarest_first", include_str!("../../../scripts/rarest_first.lua")),
        ("rendezvous", include_str!("../../../scripts/rendezvous.lua")),
        ("sequential", include_str!("../../../scripts/sequential.lua")),
        ("two_choices", include_str!("../../../scripts/two_choices.lua")),
        ("weighted_random", include_str!("../../../scripts/weighted_random.lua")),
        ("zone_aware", include_str!("../../../scripts/zone_aware.lua")),
    ]
}

/// The source of the shipped script of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    shipped().iter().find(|(shipped, _)| *shipped == name).map(|(_, source)| *source)
}
