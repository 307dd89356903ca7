//! Transmission. It takes no peer on 127.0.0.0/8. What lies in its watch folder it adds, and
//! verifies what is there of it.
//!
//! By default it dials over µTP, waits 9 s for an answer, and goes on over TCP; 3.00 takes that
//! connect, while it is under way, for failed, and leaves the address alone for 15 minutes. So µTP is
//! off here, but for the test that a seed of ours comes to it then.

use std::fs;

use serde_json::json;
use tokio::process::Command;

use super::{PORT, Role, Task};

pub(super) fn command(task: &Task<'_>) -> Command {
    let watched = task.home.join("watched");
    fs::create_dir_all(&watched).unwrap();
    for torrent in task.torrents {
        fs::copy(torrent, watched.join(torrent.file_name().unwrap())).unwrap();
    }
    let settings = json!({
        "bind-address-ipv4": task.place.ip.to_string(),
        "dht-enabled": false,
        "download-dir": task.data,
        "download-queue-enabled": false,
        "incomplete-dir-enabled": false,
        "lpd-enabled": false,
        "peer-port": PORT,
        "pex-enabled": false,
        "port-forwarding-enabled": false,
        "rename-partial-files": false,
        "rpc-enabled": false,
        "utp-enabled": task.role == Role::LeechByUtp,
        "watch-dir": watched,
        "watch-dir-enabled": true,
    });
    fs::write(task.home.join("settings.json"), settings.to_string()).unwrap();
    let mut command = task.place.command("transmission-daemon", task.home);
    command.args(["--foreground", "--log-info", "--config-dir"]).arg(task.home);
    command
}
