//! `shoalctl man`: manual pages of the tree of commands. Never here: their words, which are the help's.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use clap_mangen::Man;
use serde_json::json;

use crate::{
    clean::clean,
    cli::{Cli, Format, ManArgs},
    failure::Failure,
    io::Io,
    session::Shown,
};

/// Prints the page of `shoalctl`, or writes those of every command to a folder.
pub(super) fn man(io: &mut Io, format: Format, args: &ManArgs) -> Result<(), Failure> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page).map_err(|e| Failure::stdio(&e))?;
        let text = String::from_utf8_lossy(&page).into_owned();
        return Shown { value: json!({ "page": text }), text, ..Shown::default() }
            .write(io, format);
    };
    fs::create_dir_all(dir).map_err(|e| Failure::file(dir, &e))?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), dir)
        .map_err(|e| Failure::file(dir, &e))?;
    let names = pages(dir)?;
    let text = names.iter().map(|name| format!("wrote {}\n", clean(name))).collect();
    Shown { value: json!({ "created": names }), list: "", names, text }.write(io, format)
}

/// The pages in a folder, in order of name.
fn pages(dir: &Path) -> Result<Vec<String>, Failure> {
    let failed = |e: &std::io::Error| Failure::file(dir, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| failed(&e))? {
        let path = entry.map_err(|e| failed(&e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("shoalctl") && name.ends_with(".1") {
            names.push(path.display().to_string());
        }
    }
    names.sort();
    Ok(names)
}
