//! libtorrent, by its Python module.

use std::path::Path;

use tokio::process::Command;

use super::{PORT, PYTHON, Task};

pub(super) fn command(task: &Task<'_>) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/clients/session.py");
    let mut command = task.place.command(PYTHON, task.home);
    command.arg("-u").arg(script).arg(format!("{}:{PORT}", task.place.ip));
    command.arg(task.data).args(task.torrents);
    command
}
