//! opentracker, as Debian builds it: it tracks only the torrents of a list, and does not run as root.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::Path,
};

use shoal_core::{
    ids::{InfoHash, PeerId},
    tracker::announce::AnnounceRequest,
};

use super::{Client, is_here};
use crate::net::Place;

/// Where it listens, TCP and UDP.
pub const PORT: u16 = 6969;
/// Where it reads the list: as an open file, which needs no way to it that another user may go.
const LIST: &str = "/dev/stdin";
/// A torrent that is on every list, for [`probe`].
const PROBED: InfoHash = InfoHash([0x5a; 20]);
/// The user `nobody`.
const USER: u32 = 65534;

/// Whether it can be run: it answers to `-h` with 0 or not, depending on its age.
pub fn is_installed() -> bool {
    is_here("OPENTRACKER", "sh", &["-c", "PATH=$PATH:/usr/sbin command -v opentracker"])
}

/// Starts one.
pub fn start(place: &Place, only: &[InfoHash], home: &Path) -> Client {
    let list = home.join("opentracker.list");
    let lines: String =
        only.iter().chain([&PROBED]).map(|info_hash| format!("{info_hash}\n")).collect();
    fs::write(&list, lines).unwrap();
    let mut command = place.command_as(Some(USER), "opentracker", home);
    let (ip, port) = (place.ip.to_string(), PORT.to_string());
    command.args(["-i", &ip, "-p", &port, "-P", &port, "-w", LIST]);
    // It may not enter the folder, and needs none.
    command.current_dir("/").stdin(File::open(list).unwrap());
    Client::start(command, &home.join("opentracker.log"))
}

/// The announce URL of one at this address.
pub fn url(scheme: &str, ip: Ipv4Addr) -> String {
    format!("{scheme}://{ip}:{PORT}/announce")
}

/// An announce that is refused until the list is read, which happens beside the first answers.
pub fn probe() -> AnnounceRequest {
    AnnounceRequest::new(PROBED, PeerId([0x5a; 20]), 9, 1)
}
