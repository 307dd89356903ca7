//! Manual pages of the command line. Never here: their words, which are the help's.

use std::{fs, io, path::Path};

use clap_mangen::Man;

/// The page of `shoald` itself, in troff.
///
/// # Errors
/// None that a command line could cause.
pub fn page(command: clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes a page for each command into a folder, which is made where it is missing.
///
/// # Errors
/// The folder cannot be made, or a file not written.
pub fn write(command: clap::Command, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command.disable_help_subcommand(true), dir)
}
