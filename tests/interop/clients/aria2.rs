//! aria2. It asks UDP trackers only where its DHT is on (`--enable-dht` says so), over the DHT's
//! socket; without an entry point the DHT finds nobody.

use tokio::process::Command;

use super::{PORT, Role, Task};

/// Torrents that are at work at once; by default five.
const TORRENTS: &str = "--max-concurrent-downloads=100";

pub(super) fn command(task: &Task<'_>) -> Command {
    let mut command = task.place.command("aria2c", task.home);
    command
        .args(["--no-conf", "--enable-dht=true", "--enable-dht6=false", "--disable-ipv6=true"])
        .arg(format!("--dht-file-path={}", task.home.join("dht.dat").display()))
        .args(["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--enable-color=false"])
        .args(["--file-allocation=none", "--summary-interval=0", "--console-log-level=notice"])
        .arg(format!("--interface={}", task.place.ip))
        .args([format!("--listen-port={PORT}"), format!("--dht-listen-port={PORT}")])
        .args([TORRENTS, "--seed-ratio=0.0"])
        .arg("--dir")
        .arg(task.data);
    if task.role == Role::Seed {
        command.arg("--bt-seed-unverified=true");
    }
    command.args(task.torrents);
    command
}
