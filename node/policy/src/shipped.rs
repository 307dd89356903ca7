//! The scripts that come with the node, embedded. Their sources stand in `scripts/`.

/// The shipped scripts, name and source, in order of name.
#[must_use]
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    &[
        ("lowest_uploaded", include_str!("../../../scripts/lowest_uploaded.lua")),
        ("two_choices", include_str!("../../../scripts/two_choices.lua")),
        ("zone_aware", include_str!("../../../scripts/zone_aware.lua")),
    ]
}

/// The source of the shipped script of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    shipped().iter().find(|(shipped, _)| *shipped == name).map(|(_, source)| *source)
}
