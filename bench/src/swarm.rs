//! How a measurement of a swarm of nodes that stay begins: a tracker, a seeder that it knows, and the
//! torrent. Never here: leechers.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    answer::address,
    client::{Programs, Resident, seed, tracker::has_seeder},
    process::{Member, await_that, text_of},
    source::Source,
};

/// A swarm without leechers.
pub(crate) struct Swarm {
    pub(crate) tracker: Member,
    /// The node `seeder`.
    pub(crate) seeder: Member,
    /// The torrent's file.
    pub(crate) torrent: PathBuf,
}

impl Swarm {
    /// Starts it in a folder of its own; the seeder is told `more` besides. Each step may take
    /// `within`.
    ///
    /// # Errors
    /// A program ended or took too long, or "interrupted".
    pub(crate) fn begin(
        programs: &Programs,
        source: &Source,
        dir: &Path,
        within: Duration,
        more: &[OsString],
    ) -> anyhow::Result<Self> {
        let ready_file = dir.join("tracker.ready");
        let argv = programs.tracker(&dir.join("tracker"), &ready_file);
        let mut tracker = Member::start("tracker", &argv, dir.join("tracker.log"))?;
        let ready = await_that("its address", &mut tracker, within, || text_of(&ready_file))?;
        let addr = address(&ready, "tracker_address")?;
        let torrent = dir.join("payload.torrent");
        let announce = format!("http://{addr}/announce");
        let info_hash = source.torrent(&announce, &torrent)?.info_hash;
        let more = [more, &seed(source, &torrent)].concat();
        let mut seeder = node(programs, dir, "seeder", more)?;
        await_that("seeding", &mut seeder, within, || has_seeder(addr, info_hash.0).then_some(()))?;
        Ok(Self { tracker, seeder, torrent })
    }
}

/// Starts a node that stays, with its state in the folder `name`.
///
/// # Errors
/// It cannot be started.
pub(crate) fn node(
    programs: &Programs,
    dir: &Path,
    name: &str,
    more: Vec<OsString>,
) -> anyhow::Result<Member> {
    let (state_dir, ready_file) = (dir.join(name), ready_file(dir, name));
    let resident = Resident { state_dir: &state_dir, ready_file: &ready_file, more };
    Member::start(name, &programs.resident(&resident), dir.join(format!("{name}.log")))
}

/// The ready file of a node.
pub(crate) fn ready_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.ready"))
}
